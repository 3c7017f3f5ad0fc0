"""One look per method, the same in every report: a method's colour and marker follow from its name alone.

Okabe and Ito's colours for methods, greys for controls. Methods of one family share a colour; the marker tells them
apart, so that neither colour nor marker is needed alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from squeezebench.report.drawing.svg import INK

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]  # safe for colour-blind readers
GREYS = ["#4a5560", "#8a949e", "#6b7580"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
PLUGIN_MARKERS = ["p", "h", "<", ">", "d"]  # no method of the project has one of these
DASHES = [(0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (2, 2))]


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str
    line: str | tuple


_BLUE, _RED, _GREEN, _PINK, _ORANGE, _SKY = COLOURS
_DENSE = Look(INK, "o", (0, (6, 3)))
_SMALL = Look(GREYS[0], "s", DASHES[0])
_RANDOM = Look(GREYS[1], "^", DASHES[1])
_MAGNITUDE = Look(GREYS[2], "D", DASHES[2])
# A control of feed-forward networks looks like the same control of recurrent ones.
FIXED: Mapping[str, Look] = {
    "dense": _DENSE,
    "dense_network": _DENSE,
    "small_dense": _SMALL,
    "small_network": _SMALL,
    "random_units": _RANDOM,
    "random_network": _RANDOM,
    "magnitude": _MAGNITUDE,
    "magnitude_network": _MAGNITUDE,
    "pooled_linear": Look(GREYS[1], "X", DASHES[3]),
    "vib_lstm": Look(_BLUE, "o", "-"),
    "vibnet": Look(_BLUE, "D", "-"),
    "iss": Look(_RED, "s", "-"),
    "group_lasso_network": Look(_RED, "D", "-"),
    "itpcc_lstm": Look(_GREEN, "^", "-"),
    "itpcc": Look(_GREEN, "D", "-"),
    "skip_sideways": Look(_GREEN, "s", "-"),
    "low_rank": Look(_PINK, "v", "-"),
    "bt_lstm": Look(_PINK, "^", "-"),
    "l0_network": Look(_PINK, "D", "-"),
    "fdht_lstm": Look(_ORANGE, "P", "-"),
    "ht_lstm": Look(_ORANGE, "X", "-"),
    "tt_lstm": Look(_SKY, "s", "-"),
    "tr_lstm": Look(_SKY, "o", "-"),
    "lottery_ticket": Look(_ORANGE, "s", "-"),
    "distillation": Look(_RED, "v", "-"),
    "variational_dropout_network": Look(_SKY, "D", "-"),
    "variational_dropout_weights": Look(_SKY, "^", "-"),
}


def look(name: str, control: bool) -> Look:
    """The look of a method. A method from outside has one by a hash of its name."""
    if name in FIXED:
        return FIXED[name]
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    rest, marker = divmod(number, len(PLUGIN_MARKERS))
    if control:
        return Look(GREYS[rest % len(GREYS)], PLUGIN_MARKERS[marker], DASHES[rest % len(DASHES)])
    return Look(COLOURS[rest % len(COLOURS)], PLUGIN_MARKERS[marker], "-")


def looks(groups: pd.DataFrame) -> dict[str, Look]:
    """The look of each method of a report, by its name."""
    control = groups.groupby("method")["control"].any()
    return dict(FIXED) | {name: look(name, bool(control[name])) for name in control.index}
