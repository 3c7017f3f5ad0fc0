"""Data sources, splits, normalisation, video, download, archives. No torch."""
