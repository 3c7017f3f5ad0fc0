"""Published tables and figures beside our results."""
