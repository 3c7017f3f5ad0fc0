"""Sideways and Skip-Sideways: gradient forward-propagation for per-frame video networks, depth-parallel.

timetable  who works on what at which tick          network   a network as a list of modules, with shortcuts
rule       the learning rule, all in one process    parallel  the same with a process for each module
training   steps for an optimiser                   vgg       small VGG-like networks
montage    videos put together from several clips   study     stability over learning rates and frame rates
"""
