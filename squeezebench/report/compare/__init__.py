"""Two folders of results: what changed beyond noise."""
