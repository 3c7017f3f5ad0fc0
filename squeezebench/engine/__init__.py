"""Training, checkpoints, measurement: one run, from its settings to its record."""
