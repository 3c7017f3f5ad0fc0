"""One look per method, the same in every figure: Okabe and Ito's colours for methods, greys for controls."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from squeezebench.report.drawing.svg import INK
from squeezebench.report.sizes import DENSE

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]  # safe for colour-blind readers
GREYS = ["#4a5560", "#8a949e", "#6b7580"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "p", "h", "<", ">"]
CONTROL_MARKERS = ["s", "^", "v", "D", "P", "X"]
DASHES = [(0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (2, 2))]


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str
    line: str | tuple


def looks(groups: pd.DataFrame) -> dict[str, Look]:
    """By method name. Colour and marker differ together, so that neither is needed alone."""
    control = groups.groupby("method")["control"].any()
    found = {name: Look(INK, "o", (0, (6, 3))) for name in DENSE}
    coloured = [name for name in sorted(control.index) if not control[name] and name not in DENSE]
    grey = [name for name in sorted(control.index) if control[name] and name not in DENSE]
    for index, name in enumerate(coloured):
        # The marker's cycle is of another length than the colour's, so that their pairs repeat late.
        found[name] = Look(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], "-")
    for index, name in enumerate(grey):
        found[name] = Look(GREYS[index % len(GREYS)], CONTROL_MARKERS[index % len(CONTROL_MARKERS)],
                           DASHES[index % len(DASHES)])  # fmt: skip
    return found
