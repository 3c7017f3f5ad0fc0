"""Figures, one declaration each."""
