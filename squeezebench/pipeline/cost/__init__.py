"""What an experiment costs: time, memory, disk, before anything runs."""
