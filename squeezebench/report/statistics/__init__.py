"""Groups of runs, intervals, tests, comparisons."""
