"""How tables are made: columns and cells, as a page, as CSV and as LaTeX."""
