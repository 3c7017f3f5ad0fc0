"""What is done with the result of a run: verify, reproduce, export, measure latency, check a method."""
