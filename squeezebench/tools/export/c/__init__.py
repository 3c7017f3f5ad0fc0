"""A standard classifier as one C99 file that needs nothing but C's own library."""
