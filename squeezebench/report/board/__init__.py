"""A board: verified submissions, merged into one static site. Reads files only."""
