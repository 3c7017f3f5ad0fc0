"""Errors, atomic files, safe reading, digests, locks, suggestions. Imports nothing of squeezebench but itself."""
