"""The claims of the papers, each judged from records."""
