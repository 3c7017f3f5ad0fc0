"""Handwritten digits as images of 8 x 8 pixels, 10 classes, 1,797 of them; bundled with scikit-learn, no download.

The images and the split are those of `digits`, which reads the same images row by row.

Licence: as `digits`.

Leak: as `digits`: each writer is in every part.
"""

from __future__ import annotations

from squeezebench.data.dataset import Dataset, Expected
from squeezebench.data.sources import digits

DEFAULT_SPLIT = digits.DEFAULT_SPLIT
Options = digits.Options


def load(options: Options) -> Dataset:
    """x (1797, 1, 64) uint8, rows from top to bottom."""
    return digits.load(options).as_images("digits_images", replaces="digits")


def expected(options: Options) -> Expected:
    """The sizes of digits, as images."""
    return digits.expected(options).as_images()
