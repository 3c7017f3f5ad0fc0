"""MNIST as images of 28 x 28 pixels, 10 classes, 60,000 train and 10,000 test; downloads 11.6 MB.

The files, the folder and the split are those of `mnist_rows`, which reads the same images row by row.

Licence: as `mnist_rows`.

Leak: as `mnist_rows`.
"""

from __future__ import annotations

from squeezebench.data.dataset import Dataset, Expected
from squeezebench.data.sources import mnist_rows

DEFAULT_SPLIT = mnist_rows.DEFAULT_SPLIT
MAIN_OPTION = mnist_rows.MAIN_OPTION
Options = mnist_rows.Options
stamp = mnist_rows.stamp


def load(options: Options) -> Dataset:
    """x (70000, 1, 784) uint8, rows from top to bottom."""
    return mnist_rows.load(options).as_images("mnist", replaces="mnist_rows")


def expected(options: Options) -> Expected:
    """The sizes of mnist_rows, as images."""
    return mnist_rows.expected(options).as_images()
