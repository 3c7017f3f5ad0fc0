"""Sideways and Skip-Sideways: gradient forward-propagation for per-frame video networks, depth-parallel.

timetable  the module that works on each frame at each tick    network   a network as a list of modules, with shortcuts
rule       the learning rule, tick by tick in one process        training  one optimiser step by each learning rule
together   the same, all ticks of a module at once                norm      batch norm that knows the ticks
vgg        small VGG-like networks

`benchmarks/studies/` has the same pipeline with one process per module, the studies of its stability and of its limits,
Full-Res networks, and what the paper compares it with.
"""
