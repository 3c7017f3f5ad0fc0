"""The supplementary's Figures 3 to 5 (Malinowski et al., CVPR 2021), drawn from the rows of the stability study.

Accuracy on the training clips over the epochs: a line is the mean over the other axis of the grid, the band its
smallest to largest value (the paper's bands are variances, which four values hardly give).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from squeezebench.base.files import write_atomically
from squeezebench.report.drawing.palette import COLOURS
from squeezebench.report.drawing.svg import GRID, new_figure, render, style

Row = dict[str, Any]
Band = tuple[list[float], list[float], list[float], list[float]]  # x, least, mean, largest value at each
RATES = {1: 30, 2: 15, 4: 7, 8: 4}  # every n-th frame -> frames a second, as the paper names them
NETWORKS = ("Sideways", "Skip-Sideways", "BP", "BP, concat")
MEASURED = ("epoch", "loss", "accuracy", "held_out")  # columns of a row that are no setting
CLIPS = {"accuracy": "training", "held_out": "held-out"}  # which clips an accuracy is of


def write_study(rows: Sequence[Row], folder: Path, chance: float) -> list[Path]:
    """stability.csv and the figures into `folder`, of held-out clips too if the rows have them; the files written.

    chance: the accuracy of guessing.
    """
    files = {"stability.csv": table(rows)}
    for column in CLIPS:
        if column in rows[0]:
            files |= figures(rows, column, chance, "" if column == "accuracy" else f"_{column}")
    return write_all(files, folder)


def figures(rows: Sequence[Row], column: str, chance: float, suffix: str) -> dict[str, str]:
    """Figures 3 to 5 by their file's name, as far as there are rows for them."""
    plain, cuts = ([row for row in rows if (row["clips"] > 1) == cut] for cut in (False, True))
    rate, frames = "learning rate {}".format, lambda every: f"{RATES[every]} frames a second"
    sheets = []
    if plain:
        panels = [(name, of) for name in NETWORKS if (of := [row for row in plain if row["network"] == name])]
        sheets += [("learning_rates", panels, "learning_rate", rate, "Learning rates")]
        sheets += [("frame_rates", panels, "every", frames, "Frame rates")]
    if cuts:
        panels = [
            (f"{clips} clips, {'interleaved' if mixed else 'one after the other'}",
             [row for row in cuts if (row["interleaved"], row["clips"]) == (mixed, clips)])
            for mixed in (False, True) for clips in (2, 3)
        ]  # fmt: skip
        sheets += [("montage", panels, "learning_rate", rate, "Montages")]
    return {f"{name}{suffix}.svg": curves(*sheet, chance, column) for name, *sheet in sheets}


def table(rows: Sequence[Row]) -> str:
    """The rows as CSV; a column that a row lacks is empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_all(files: dict[str, str], folder: Path) -> list[Path]:
    """Write each text into `folder`; the files."""
    for name, content in files.items():
        write_atomically(folder / name, content.encode())
    return [folder / name for name in files]


def curves(
    panels: Sequence[tuple[str, Sequence[Row]]], key: str, label: Callable[[Any], str], title: str, chance: float,
    column: str,
) -> str:  # fmt: skip
    """An SVG: a panel for each title and its rows, in it a line for each value of `key`."""
    values = sorted({row[key] for _, rows in panels for row in rows})
    drawn = [
        (name, {label(value): summary([row for row in rows if row[key] == value], column) for value in values})
        for name, rows in panels
    ]
    up = f"accuracy on the {CLIPS[column]} clips, %"
    return draw(drawn, "epoch", up, title, guide=100 * chance, limits=(0, 100))


def draw(
    panels: Sequence[tuple[str, dict[str, Band]]], across: str, up: str, title: str, *, guide: float,
    limits: tuple[float, float] | None = None, logarithmic: bool = False, ordered: bool = False,
) -> str:  # fmt: skip
    """An SVG: a panel for each title, in it a line with its band for each label; `guide` is a dashed line. `ordered`:
    the labels have an order, and so have their colours."""
    with style():
        figure = new_figure(2.6 * len(panels) + 1.8, 2.6)
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        labels = list(dict.fromkeys(label for _, bands in panels for label in bands))
        colours = shades(len(labels)) if ordered else COLOURS
        for place, (name, bands) in zip(axes, panels, strict=True):
            place.set_title(name, loc="left", fontsize=9)
            place.axhline(guide, color=GRID, linewidth=1.5, linestyle="--")
            for label, (x, low, mean, high) in bands.items():
                colour = colours[labels.index(label) % len(colours)]
                place.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
                place.plot(x, mean, color=colour, linewidth=1.4, label=label)
            if logarithmic:
                values = sorted({value for x, *_ in bands.values() for value in x})
                place.set_xscale("log")
                place.set_xticks(values, [f"{value:.2g}" for value in values])
                place.minorticks_off()
            place.set_xlabel(across)
        axes[0].set_ylabel(up)
        if limits:
            axes[0].set_ylim(*limits)
        axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1.02, 0.5))
        return render(figure, title.lower().replace(" ", "-"), title, {})


def shades(count: int) -> list[str]:
    """Colours from dark to light, for what has an order."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](0.92 * place / max(1, count - 1))) for place in range(count)]


def band(pairs: Sequence[tuple[float, float]]) -> Band:
    """The least, the mean and the largest value at each x, in the order of x."""
    places: dict[float, list[float]] = {}
    for x, value in sorted(pairs):
        places.setdefault(x, []).append(value)
    columns = list(places.values())
    return list(places), [*map(min, columns)], [sum(some) / len(some) for some in columns], [*map(max, columns)]


def summary(rows: Sequence[Row], column: str = "accuracy") -> Band:
    """(epochs from 1, least, mean, largest accuracy in per cent) over the settings and seeds that reached an epoch.

    A training that diverged counts with its last row, accuracy 0, in all epochs that it did not reach.
    """
    settings: dict[tuple, dict[int, float]] = {}
    for row in rows:
        cell = tuple(value for name, value in row.items() if name not in MEASURED)
        settings.setdefault(cell, {})[row["epoch"]] = 100 * row.get(column, 0.0)
    epochs = range(max((row["epoch"] for row in rows), default=-1) + 1)
    return band([(epoch + 1, reached.get(epoch, 0.0)) for epoch in epochs for reached in settings.values()])
