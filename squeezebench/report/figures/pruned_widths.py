"""ITPCC's Figure 1: the width of each layer before and after compression, for the smallest network of each method."""

from __future__ import annotations

import numpy as np
import pandas as pd

from squeezebench.report import formats
from squeezebench.report.drawing.axes import heading
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import new_figure
from squeezebench.report.results import Results
from squeezebench.report.sizes import rule_of

SECTION, EACH, WHEN, ORDER, WIDE = "classes", "task", "optional", 3, True
POINTS = ["task", "method", "settings", "seeds", "layer", "kept", "dense"]
FEWEST = 8  # layers below which a row of widths says as much
MOST = 5  # panels
BACK = "#d5dce2"


def draw(results: Results, task: str) -> Drawing | None:
    """None if no method has pruned a network of many layers."""
    shown = [(group, *widths) for group in _smallest(results, task) if (widths := _widths(group)) is not None][:MOST]
    if not shown:
        return None
    figure, lines = new_figure(9, 0.9 + 1.1 * len(shown)), []
    panels = figure.subplots(len(shown), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (group, kept, dense) in zip(panels, shown, strict=True):
        layers = np.arange(1, len(dense) + 1)
        axes.bar(layers, dense, 0.9, color=BACK, lw=0)
        axes.bar(layers, kept, 0.9, color=results.looks[group["method"]].colour, lw=0)
        axes.set_xlim(0.3, len(dense) + 0.7)
        axes.grid(False, axis="x")
        accuracy = formats.percent(group["test_accuracy_mean"])
        heading(axes, formats.clean(f"{group['method_label']}: {group['settings_label']}, {_fewer(group)}{accuracy}"))
        names = {"task": task, "method": group["method"], "settings": group["settings"], "seeds": int(group["ok"])}
        lines.append(pd.DataFrame({**names, "layer": layers, "kept": kept, "dense": dense}))
    panels[-1].set_xlabel("Width of the network, from its input to its output (grey: before compression)")
    return Drawing(figure, pd.concat(lines)[POINTS], rule=rule_of(results.of(task)))


def _smallest(results: Results, task: str) -> list[pd.Series]:
    """Of each method the finished group with the fewest multiply-accumulates, methods before controls."""
    groups = results.of(task)
    groups = groups[(groups["ok"] > 0) & groups["kept_structure"].notna() & groups["macs_mean"].notna()]
    first = groups.sort_values(["control", "macs_mean", "method"], kind="stable").drop_duplicates("method")
    return [group for _, group in first.iterrows()]


def _widths(group: pd.Series) -> tuple[np.ndarray, np.ndarray] | None:
    """Widths kept (mean over the seeds) and before; None if there are few, or none is smaller."""
    dense = _numbers(group["of_structure"])
    kept = [_numbers(text) for text in str(group["kept_structure"]).split()]
    if len(dense) < FEWEST or any(len(widths) != len(dense) for widths in kept):
        return None
    mean = np.mean(kept, axis=0)
    return (mean, dense) if (mean < dense).any() else None


def _numbers(text: object) -> np.ndarray:
    """`16-32` -> (16, 32); of several structures the first, of none no number."""
    first = text.split()[:1] if isinstance(text, str) else []
    return np.array([int(width) for structure in first for width in structure.split("-")])


def _fewer(group: pd.Series) -> str:
    if formats.absent(group["dense_macs_mean"]) or not group["macs_mean"]:
        return ""
    return f"{formats.ratio(group['dense_macs_mean'] / group['macs_mean'])} fewer operations, "
