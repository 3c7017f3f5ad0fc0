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
RATES = {1: 30, 2: 15, 4: 7, 8: 4}  # every n-th frame -> frames a second, as the paper names them
NETWORKS = ("Sideways", "Skip-Sideways")


def write_study(rows: Sequence[Row], folder: Path, chance: float) -> list[Path]:
    """stability.csv and the figures into `folder`; the files written. chance: the accuracy of guessing."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    plain = [row for row in rows if row["clips"] == 1]
    cuts = [row for row in rows if row["clips"] > 1]
    files = {"stability.csv": text.getvalue()}
    if plain:
        panels = [(name, [row for row in plain if row["network"] == name]) for name in NETWORKS]
        rate, frames = "learning rate {}".format, lambda every: f"{RATES[every]} frames a second"
        files["learning_rates.svg"] = curves(panels, "learning_rate", rate, chance, "Learning rates")
        files["frame_rates.svg"] = curves(panels, "every", frames, chance, "Frame rates")
    if cuts:
        cells = [(mixed, clips) for mixed in (False, True) for clips in (2, 3)]
        panels = [
            (f"{clips} clips, {'interleaved' if mixed else 'one after the other'}",
             [row for row in cuts if (row["interleaved"], row["clips"]) == (mixed, clips)])
            for mixed, clips in cells
        ]  # fmt: skip
        files["montage.svg"] = curves(panels, "learning_rate", "learning rate {}".format, chance, "Montages")
    for name, content in files.items():
        write_atomically(folder / name, content.encode())
    return [folder / name for name in files]


def curves(
    panels: Sequence[tuple[str, Sequence[Row]]], key: str, label: Callable[[Any], str], chance: float, title: str
) -> str:
    """An SVG: a panel for each title and its rows, in it a line for each value of `key`."""
    with style():
        figure = new_figure(2.6 * len(panels) + 0.4, 2.6)
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        values = sorted({row[key] for _, rows in panels for row in rows})
        for place, (name, rows) in zip(axes, panels, strict=True):
            place.set_title(name, loc="left", fontsize=9)
            place.axhline(100 * chance, color=GRID, linewidth=1.5, linestyle="--")
            for number, value in enumerate(values):
                epochs, low, mean, high = summary([row for row in rows if row[key] == value])
                colour = COLOURS[number % len(COLOURS)]
                place.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
                place.plot(epochs, mean, color=colour, linewidth=1.4, label=label(value))
            place.set_xlabel("epoch")
        axes[0].set_ylabel("accuracy on the training clips, %")
        axes[0].set_ylim(0, 100)
        axes[0].legend(loc="upper left")
        return render(figure, title.lower().replace(" ", "-"), title, {})


def summary(rows: Sequence[Row]) -> tuple[list[int], list[float], list[float], list[float]]:
    """(epochs from 1, least, mean, largest accuracy in per cent) over the settings that reached an epoch.

    A training that diverged counts with its last row, accuracy 0, in all epochs that it did not reach.
    """
    if not rows:
        return [], [], [], []
    settings: dict[tuple, dict[int, float]] = {}
    for row in rows:
        cell = tuple(value for name, value in row.items() if name not in ("epoch", "loss", "accuracy"))
        settings.setdefault(cell, {})[row["epoch"]] = 100 * row["accuracy"]
    epochs = range(max(row["epoch"] for row in rows) + 1)
    columns = [[accuracies.get(epoch, 0.0) for accuracies in settings.values()] for epoch in epochs]
    return (
        [epoch + 1 for epoch in epochs],
        [min(column) for column in columns],
        [sum(column) / len(column) for column in columns],
        [max(column) for column in columns],
    )
