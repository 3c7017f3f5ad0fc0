"""The command line: argparse, and one call into the floor that does the work."""
