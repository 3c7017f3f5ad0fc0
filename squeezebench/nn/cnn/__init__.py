"""Feed-forward networks, their sets of coupled channels, masks on them, and what is left when channels go."""
