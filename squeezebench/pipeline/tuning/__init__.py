"""Equal tuning: every method gets the same number of trials of its own search space, on validation.

    settings (what an experiment asks for) -> space (what may be drawn) -> tuner (the trials) -> result (a file)

The winner's settings then run with all seeds like any other point of an experiment.
"""
