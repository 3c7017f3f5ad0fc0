"""What belongs together when units are removed, what is kept, and the smaller network that results."""
