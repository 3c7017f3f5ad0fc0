"""Handwritten digits: each image row by row, 8 steps of 8 pixels, 10 classes, 1,797 sequences.

Bundled with scikit-learn (`load_digits`), no download. Pixels are 0..16. There is no official split: 30 %
test, stratified at random. Source: Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits,
UCI Machine Learning Repository, https://archive.ics.uci.edu/dataset/80 (the test half of the original,
which scikit-learn ships).

Licence: CC BY 4.0, as the repository's page states.

Leak: the writers (13 people) are not named, so that each of them is in every part: the accuracy is not that on new
writers.
"""

from __future__ import annotations

import numpy as np

from squeezebench.data.cache import Arrays, cached_arrays
from squeezebench.data.dataset import Dataset, Expected, NoOptions

DEFAULT_SPLIT = "random"
Options = NoOptions


def load(options: Options) -> Dataset:
    """x (1797, 8, 8) uint8, rows from top to bottom."""
    arrays = cached_arrays("digits", "scikit-learn", _build)
    return Dataset(
        name="digits",
        x=arrays["x"],
        y=arrays["y"],
        classes=tuple(str(digit) for digit in range(10)),
        origin="scikit-learn load_digits; UCI https://archive.ics.uci.edu/dataset/80",
    )


def expected(options: Options) -> Expected:
    """What scikit-learn ships."""
    return Expected(1797, 8, 8, 10, disk_bytes=1797 * (8 * 8 + 8), download_bytes=0, groups=False)


def _build() -> Arrays:
    from sklearn.datasets import load_digits

    bundle = load_digits()
    return {"x": bundle.images.astype(np.uint8), "y": bundle.target.astype(np.int64)}
