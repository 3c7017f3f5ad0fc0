"""Recurrent classifiers: cells, layers, heads."""
