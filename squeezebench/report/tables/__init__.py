"""The tables of the report: one file each, discovered by its name (see `declarations.py`)."""
