"""What is read from the states of a recurrence."""
