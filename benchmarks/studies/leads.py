"""A picture of what several experiments say of methods' leads over one control, from their tables of `across_splits`.

    python -m benchmarks.studies.leads OUT.svg "one rate"=quick/across_equal.csv "better of two"=...

A panel for each method, in it each experiment's difference to the control at every size, with its 95 % interval. A
filled marker: a difference is shown after Holm's correction over the rows of its size (p below 0.05).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.sideways_figures import shades
from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.report.drawing.svg import GRID, new_figure, render, style

SHOWN = 0.05  # largest p at which a difference counts as shown
TITLES = {"vib_lstm": "VIB-LSTM", "itpcc_lstm": "ITPCC-LSTM", "magnitude": "magnitude, units (control)"}


def leads(path: Path, methods: Sequence[str], control: str) -> pd.DataFrame:
    """The rows of one table that compare a method with the control. Magnitude: those that remove whole units.

    Raises InputError if there is none.
    """
    table = pd.read_csv(path).fillna({"settings": ""})
    rows = table[(table.against == control) & table.method.isin(methods) & (table.settings != "structure element")]
    if rows.empty:
        raise InputError(f"{path}: no row compares one of {', '.join(methods)} with {control}")
    return rows


def draw(tables: Mapping[str, pd.DataFrame], methods: Sequence[str], control: str, what: str = "") -> str:
    """An SVG: x the compression ratio, y the difference in points; the experiments of `tables` side by side.

    what: in words, above their labels, what the experiments differ in.
    """
    ratios = sorted({ratio for table in tables.values() for ratio in table.ratio})
    with style():
        figure = new_figure(2.4 * len(methods) + 1.8, 2.8)
        axes = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
        for axis, method in zip(axes, methods, strict=True):
            axis.set_title(TITLES.get(method, method), loc="left", fontsize=9)
            axis.axhline(0, color=GRID, linewidth=1.5, linestyle="--")
            for number, ((label, table), colour) in enumerate(zip(tables.items(), shades(len(tables)), strict=True)):
                shift = 0.17 * (number - (len(tables) - 1) / 2)
                rows = table[table.method == method]
                places = [ratios.index(ratio) + shift for ratio in rows.ratio]
                axis.vlines(places, rows.low, rows.high, color=colour, linewidth=1.2)
                filled = [colour if p < SHOWN else "white" for p in rows.p]
                axis.scatter(places, rows.difference, s=22, color=filled, edgecolors=colour, label=label, zorder=3)
            axis.set_xticks(range(len(ratios)), [f"{ratio:g}x" for ratio in ratios])
            axis.set_xlabel("compression of the LSTM")
        axes[0].set_ylabel(f"minus {control.replace('_', ' ')}, points")
        legend = axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1, 0.5))
        legend.set_title(what, prop={"size": 8})
        for marker in legend.legend_handles:
            marker.set_facecolor(marker.get_edgecolor())
        return render(figure, "leads", "Leads over a control in several experiments", {})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.leads", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("tables", nargs="+", metavar="LABEL=FILE", help="in the order in which they are drawn")
    parser.add_argument("--methods", nargs="+", default=list(TITLES))
    parser.add_argument("--control", default="random_units")
    parser.add_argument("--what", default="", help="what the experiments differ in")
    parser.add_argument("--ratios", nargs="+", type=float, default=[10, 30, 100])
    options = parser.parse_args(arguments)
    tables = {}
    for label, _, file in (entry.partition("=") for entry in options.tables):
        if not file:
            parser.error(f"{label!r}: write LABEL=FILE")
        rows = leads(Path(file), options.methods, options.control)
        tables[label] = rows[rows.ratio.isin(options.ratios)]
    write_atomically(options.out, draw(tables, options.methods, options.control, options.what).encode())


if __name__ == "__main__":
    main()
