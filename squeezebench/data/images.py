"""Images that another source reads row by row: one step each, of all their pixels."""

from __future__ import annotations

from dataclasses import replace

from squeezebench.data.dataset import Dataset, Expected


def as_images(rows: Dataset, source: str, replaces: str) -> Dataset:
    """(N, H, W) -> (N, 1, H * W) of frame (1, H, W), a view. The data set's own name, where it is that of `replaces`,
    becomes `source`."""
    count, height, width = rows.x.shape
    name = source if rows.name == replaces else rows.name
    return replace(rows, name=name, x=rows.x.reshape(count, 1, height * width), frame=(1, height, width))


def images_expected(rows: Expected) -> Expected:
    """The same of what is known without the data."""
    return replace(rows, steps=1, inputs=rows.steps * rows.inputs, frame=(1, rows.steps, rows.inputs))
