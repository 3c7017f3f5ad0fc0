"""From an experiment to its records: the planner, the worker, tuning, isolation, Slurm, the cost estimate."""
