"""Handwritten digits as images of 8 x 8 pixels, 10 classes, 1,797 of them; bundled with scikit-learn, no download.

The images and the split are those of `digits`, which reads the same images row by row.
"""

from __future__ import annotations

from squeezebench.data.dataset import Dataset, Expected
from squeezebench.data.images import as_images, images_expected
from squeezebench.data.sources import digits

DEFAULT_SPLIT = digits.DEFAULT_SPLIT
Options = digits.Options


def load(options: Options) -> Dataset:
    """x (1797, 1, 64) uint8, rows from top to bottom."""
    return as_images(digits.load(options), "digits_images", "digits")


def expected(options: Options) -> Expected:
    """As of digits."""
    return images_expected(digits.expected(options))
