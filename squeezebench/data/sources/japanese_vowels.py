"""Nine speakers saying two vowels: up to 29 steps of 12 cepstral coefficients, 270 train and 370 test.

Bundled with aeon (`load_japanese_vowels`), no download; the official split. Lengths vary from 7 to 29 and
are kept exactly: steps past a sequence's length are padding. Source: Kudo, Toyama and Shimbo (1999),
Multidimensional Curve Classification Using Passing-Through Regions, Pattern Recognition Letters 20; UCI
https://doi.org/10.24432/C5NS47

Licence: CC BY 4.0, as the repository's page states.

Leak: the class is the speaker, so that every speaker is in every part by design.
"""

from __future__ import annotations

from squeezebench.data.aeon_sets import official_arrays, official_dataset
from squeezebench.data.cache import Arrays
from squeezebench.data.dataset import Dataset, Expected, NoOptions

DEFAULT_SPLIT = "official"
Options = NoOptions


def load(options: Options) -> Dataset:
    """x (640, 29, 12) float64, zero-padded, with lengths."""
    return official_dataset(
        "japanese_vowels", "japanese_vowels", _build, "aeon load_japanese_vowels; UCI https://doi.org/10.24432/C5NS47"
    )


def expected(options: Options) -> Expected:
    """What aeon ships."""
    return Expected(640, 29, 12, 9, disk_bytes=640 * (29 * 12 * 8 + 8), download_bytes=0, train=270, groups=False)


def _build() -> Arrays:
    from aeon.datasets import load_japanese_vowels

    return official_arrays(load_japanese_vowels(split="train"), load_japanese_vowels(split="test"))
