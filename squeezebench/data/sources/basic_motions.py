"""Human activity from a smart watch: 100 steps of 6 sensors (10 s at 10 Hz), 4 classes, 40 train and 40 test.

Bundled with aeon (`load_basic_motions`), no download; the official split. 3-D accelerometer and 3-D
gyroscope while standing, walking, running and playing badminton. Source: BasicMotions of the UEA
multivariate archive, Bagnall et al. (2018), arXiv:1811.00075,
https://timeseriesclassification.com/description.php?Dataset=BasicMotions

Licence: the archive states none for this set; cite it.

Leak: four people made all recordings and are not named, so that one person may be in both parts.
"""

from __future__ import annotations

from squeezebench.data.aeon_sets import official_arrays, official_dataset
from squeezebench.data.cache import Arrays
from squeezebench.data.dataset import Dataset, Expected, NoOptions

DEFAULT_SPLIT = "official"
Options = NoOptions


def load(options: Options) -> Dataset:
    """x (80, 100, 6) float64; all sequences have 100 steps."""
    return official_dataset(
        "basic_motions", "basic_motions", _build, "aeon load_basic_motions; UEA archive, arXiv:1811.00075"
    )


def expected(options: Options) -> Expected:
    """What aeon ships."""
    return Expected(80, 100, 6, 4, disk_bytes=80 * (100 * 6 * 8 + 8), download_bytes=0, train=40, groups=False)


def _build() -> Arrays:
    from aeon.datasets import load_basic_motions

    return official_arrays(load_basic_motions(split="train"), load_basic_motions(split="test"))
