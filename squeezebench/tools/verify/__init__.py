"""Measuring again from saved models, and checking that a record agrees with itself."""
