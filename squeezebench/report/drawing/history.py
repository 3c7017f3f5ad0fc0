"""Curves over training, from the `history.csv` of one run per method."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes

from squeezebench.base.reading import regular
from squeezebench.report.drawing.axes import short
from squeezebench.report.drawing.palette import Look
from squeezebench.report.gather import Gathered
from squeezebench.report.results import Results
from squeezebench.report.sizes import DENSE
from squeezebench.schema.record import HISTORY_NAME

MOST_EPOCHS = 1_000_000  # of a history that is read


def histories(results: Results, task: str, more: tuple[str, ...] = ()) -> Iterator[tuple[pd.Series, pd.DataFrame]]:
    """The group of each method that is best on validation, with the history of its first seed: stage, epoch,
    validation accuracy, and the columns `more` of what a method observes."""
    for _, group in results.best_per_method(task).iterrows():
        runs = results.gathered.runs_of(group).sort_values("seed")
        curve = read_history(results.gathered, runs["path"].iloc[0], more) if len(runs) else None
        if curve is not None:
            names = {"task": task, "method": group["method"], "settings": group["settings"]}
            yield group, curve.assign(seed=runs["seed"].iloc[0], baseline_size=runs["baseline_size"].iloc[0], **names)


def read_history(gathered: Gathered, place: str, more: tuple[str, ...] = ()) -> pd.DataFrame | None:
    """One run's history; None if there is nothing to draw. Epochs are counted over all stages."""
    try:
        history = pd.read_csv(regular(gathered.folder / place / HISTORY_NAME), nrows=MOST_EPOCHS)
        history = history.dropna(subset=["stage", "epoch", "validation_accuracy"])
        kinds = {"epoch": int, "validation_accuracy": float} | dict.fromkeys(more, float)
        history = history.astype(kinds).reset_index(drop=True)
    except (OSError, ValueError, KeyError):
        return None  # optional, and never worth losing the report for
    if history.empty:
        return None
    stage = (history["stage"] != history["stage"].shift()).cumsum()  # two stages may share a name
    lengths = history.groupby(stage)["epoch"].max() + 1
    history["epoch"] += 1 + stage.map(lengths.cumsum() - lengths)
    return history[["stage", "epoch", "validation_accuracy", *more]]


def curve(axes: Axes, group: pd.Series, history: pd.DataFrame, column: str, look: Look, named: bool = True) -> None:
    """A column over the epochs, with a tick at the start of each stage but the first."""
    axes.plot(history["epoch"], history[column], color=look.colour, lw=1.1,
              ls="-" if group["method"] in DENSE else look.line,
              label=short(group["method_label"]) if named else None)  # fmt: skip
    starts = history[(history["stage"] != history["stage"].shift()) & (history.index > 0)]
    axes.plot(starts["epoch"], starts[column], marker="|", ms=7, ls="none", color=look.colour)
