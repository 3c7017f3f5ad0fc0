"""Masks that decide which units stay: the information bottleneck, hard concrete gates."""
