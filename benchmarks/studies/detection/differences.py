"""How far two backbones' mAP differ, and how sure that is: paired by seed and image.

mAP is no mean over images, so the variance that the images bring is measured by drawing them anew, with replacement,
for both backbones alike. From three seeds on the variance over seeds is added. What seed and image bring together is
counted in both, so that the interval is rather too wide than too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from benchmarks.studies.detection.mean_ap import Ranked, mean_ap
from squeezebench.report.statistics.spread import ENOUGH_SEEDS, LEVEL

DRAWS = 400
Seeds = Sequence[Sequence[Ranked]]  # of each seed, of each class


@dataclass(frozen=True)
class Difference:
    """Of the mean over the seeds, with half of its 95 % interval."""

    mean: float
    half: float
    covers: str

    def __str__(self) -> str:
        low, high = 100 * (self.mean - self.half), 100 * (self.mean + self.half)
        return f"{100 * self.mean:.1f} [{low:.1f}, {high:.1f}]"


def difference(ours: Seeds, theirs: Seeds, key: str = "map_07") -> Difference:
    """mAP of `ours` minus that of `theirs`: the same seeds, in one order, on the same images."""

    def apart(drawn: np.ndarray | None = None) -> np.ndarray:
        return np.array([mean_ap(a, drawn)[key] - mean_ap(b, drawn)[key] for a, b in zip(ours, theirs, strict=True)])

    images, generator = len(ours[0][0].objects), np.random.default_rng(0)
    drawn = [np.bincount(generator.integers(0, images, images), minlength=images) for _ in range(DRAWS)]
    variance = np.var([apart(counts).mean() for counts in drawn], ddof=1)
    by_seed = apart()
    if len(by_seed) < ENOUGH_SEEDS:
        return Difference(float(by_seed.mean()), float(special.ndtri((1 + LEVEL) / 2) * np.sqrt(variance)), "images")
    variance += by_seed.var(ddof=1) / len(by_seed)
    factor = special.stdtrit(len(by_seed) - 1, (1 + LEVEL) / 2)
    return Difference(float(by_seed.mean()), float(factor * np.sqrt(variance)), "seeds and images")
