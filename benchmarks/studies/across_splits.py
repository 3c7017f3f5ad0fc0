"""One experiment on several official splits: each method beside the controls of its size, over all splits at once.

    python -m benchmarks.studies.across_splits RESULTS

The test parts of the splits hold different sequences, so those of one seed are laid side by side; a difference is
paired by seed and sequence, and its interval covers both (see squeezebench/report/statistics/spread.py). One line for
each method and ratio: the mean accuracy, the difference to each control with its 95 % interval, and the smallest
difference that would have been detected in 80 % of all experiments. p values are corrected by Holm's method over the
methods of one ratio and control. A network that has collapsed is compared like any other.

With one seed two trained networks are compared on the same test sequences: McNemar's exact test, and an interval that
another training may leave (column `covers`).
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from squeezebench.report.gather import Gathered, gather
from squeezebench.report.statistics.groups import run_groups
from squeezebench.report.statistics.power import detectable
from squeezebench.report.statistics.spread import LEVEL, Spread, over_both

CONTROLS = ("small_dense", "random_units", "magnitude", "small_network", "random_network", "magnitude_network")
COLUMNS = ["ratio", "method", "settings", "splits", "seeds", "accuracy", "against", "difference", "low", "high",
           "detectable", "p", "covers"]  # fmt: skip


def across(gathered: Gathered) -> pd.DataFrame:
    """One row for each ratio, method and control; a control that is by itself has no difference."""
    tables = _tables(gathered)
    lines = []
    for (ratio, method, settings), table in sorted(tables.items()):
        splits = table.columns.get_level_values(0).nunique()
        line = {"ratio": ratio, "method": method, "settings": settings, "splits": splits, "seeds": len(table),
                "accuracy": table.to_numpy().mean()}  # fmt: skip
        others = {f"{name} {own}".strip(): other for (at, name, own), other in tables.items()
                  if at == ratio and name in CONTROLS and (name, own) != (method, settings)}  # fmt: skip
        lines += [line | _difference(table, other, name) for name, other in others.items()] or [line]
    frame = pd.DataFrame(lines, columns=COLUMNS)
    for _, rows in frame.dropna(subset="p").groupby(["ratio", "against"]):
        frame.loc[rows.index, "p"] = multipletests(rows["p"], method="holm")[1]
    return frame


def _tables(gathered: Gathered) -> dict[tuple[float, str, str], pd.DataFrame]:
    """(ratio, method, its other settings) -> whether each test sequence of each split is correct, a row for each seed.

    A point that did not finish on every split is left out.
    """
    parts: dict[tuple, dict[str, pd.DataFrame]] = defaultdict(dict)
    for _, group in run_groups(gathered).iterrows():
        runs, varied = gathered.runs_of(group).sort_values("seed"), dict(json.loads(group["varied"]))
        answers = gathered.correct(list(runs["path"]))
        if answers is not None and "ratio" in varied:
            ratio = float(varied.pop("ratio"))
            family = ", ".join(f"{name} {value}" for name, value in sorted(varied.items()))
            parts[ratio, group["method"], family][group["task"]] = pd.DataFrame(answers[1], index=runs["seed"])
    whole = {key: by_task for key, by_task in parts.items() if len(by_task) == len(gathered.tasks)}
    return {key: pd.concat(by_task, axis=1, join="inner").astype(float) for key, by_task in whole.items()}


def _difference(table: pd.DataFrame, other: pd.DataFrame, name: str) -> dict[str, object]:
    seeds = table.index.intersection(other.index)
    differences = (table.loc[seeds] - other.loc[seeds]).to_numpy()
    if len(seeds) == 1:  # each network is given: only the test sequences could have been others
        mean, degrees, covers = float(differences.mean()), differences.size - 1, "test sequences"
        error, p = float(differences.std(ddof=1)) / np.sqrt(differences.size), _mcnemar(differences)
    else:
        spread: Spread = over_both(differences)
        mean, error, degrees, p, covers = spread.mean, spread.error, spread.degrees, spread.p, spread.covers
    half = special.stdtrit(degrees, (1 + LEVEL) / 2) * error
    smallest = float(detectable(np.asarray(error), np.asarray(degrees), 0.05))
    return {"against": name, "difference": mean, "low": mean - half, "high": mean + half, "detectable": smallest,
            "p": p, "covers": covers}  # fmt: skip


def _mcnemar(differences: np.ndarray) -> float:
    """The exact test's p; differences: 1 or -1 where one of two networks alone is correct."""
    only = [[0, int((differences > 0).sum())], [int((differences < 0).sum()), 0]]
    return float(mcnemar(only, exact=True).pvalue)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    frame = across(gather(parser.parse_args().results))
    shares = ["accuracy", "difference", "low", "high", "detectable"]
    frame[shares] = (100 * frame[shares]).round(1)
    print(frame.assign(p=frame["p"].map("{:.3g}".format)).to_csv(index=False).rstrip())


if __name__ == "__main__":
    main()
