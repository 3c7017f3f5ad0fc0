"""The documentation site: `python -m docs.generator FOLDER`, what `make docs` calls.

Pages that people write lie in docs/; a card for each method and each data set is generated from the code and from the
records of results/reference, so that it cannot go stale. Sphinx then makes HTML that loads nothing from elsewhere.
"""
