"""One summary of each method on each task: hypervolume, size at dense accuracy, accuracy at fixed ratios.

Every number reads the test part of settings that were picked on validation. The accuracy of a picked setting has that
setting's own interval, as everywhere in the report: it covers the seeds and, if all its records hold their
predictions, the test sequences, and not the choice of the setting. Hypervolumes and ratios are given without one.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from squeezebench.report.gather import Gathered
from squeezebench.report.sizes import DENSE
from squeezebench.report.statistics.picks import ranked, reaches
from squeezebench.report.statistics.spread import ENOUGH_SEEDS

NEAR = 0.005  # "dense accuracy": half a point below it
RATIOS = (10, 30, 100)
REGISTERED = "accuracy_registered"  # at the ratio of the task that was fixed in advance
STATISTICS = ("near_dense", *(f"accuracy_{ratio}" for ratio in RATIOS), REGISTERED)  # each of one setting
PICKED = {  # column of the group behind a number -> what it is called behind the name of the statistic
    "settings": "settings",
    "settings_label": "settings_label",
    "ratio_size": "ratio",
    "size_mean": "size",
    "test_accuracy_mean": "test_accuracy",
    "test_accuracy_half_width": "test_accuracy_half_width",
    "test_accuracy_covers": "test_accuracy_covers",
}
_COLUMNS = ["task", "protocol", "method", "size_rule", "method_label", "control", "stale", "n_settings", "n_seeds",
            "chance", "compare_at", "hypervolume"]  # fmt: skip


def summaries(groups: pd.DataFrame, gathered: Gathered) -> pd.DataFrame:
    """One row per task, protocol and method but dense. For each of STATISTICS its value (minus infinity: no setting
    gets there) and what was picked (`PICKED`). Below ENOUGH_SEEDS all of them are missing."""
    lines = []
    able = ranked(groups)
    for (task, protocol), here in able.groupby(["task", "protocol"], sort=True):
        dense = here[here["method"].isin(DENSE)]
        for method, settings in here[~here["method"].isin(DENSE)].groupby("method", sort=False):
            first = settings.iloc[0]
            line = {"task": task, "protocol": protocol, "method": method, "n_settings": len(settings)}
            line |= {key: first[key] for key in ("size_rule", "method_label", "control", "compare_at")}
            line |= {"stale": settings["stale"].sum(), "n_seeds": int(settings["ok"].max())}
            line["chance"] = chance_accuracy(gathered.runs_of(first))
            lines.append(line | (_summary(settings, dense, line["chance"]) if line["n_seeds"] >= ENOUGH_SEEDS else {}))
    columns = [*_COLUMNS]
    for name in STATISTICS:
        columns += [name, *(f"{name}_{part}" for part in PICKED.values())]
    frame = pd.DataFrame(lines, columns=columns)
    return frame.sort_values(["task", "control", "method", "protocol"], kind="stable").reset_index(drop=True)


def _summary(settings: pd.DataFrame, dense: pd.DataFrame, chance: float) -> dict:
    """The numbers of one method on one task. settings: a row each, the best on validation first."""
    settings = settings.loc[settings["test_accuracy_mean"].notna()]
    measures = (settings[f"{name}_accuracy_mean"].to_numpy(float) for name in ("validation", "test"))
    summary = {"hypervolume": hypervolume(settings["ratio_size"].to_numpy(float), *measures, chance)}
    if len(dense):
        least = dense["validation_accuracy_mean"].iloc[0] - NEAR
        near = settings[(settings["validation_accuracy_mean"] >= least) & settings["ratio_size"].notna()]
        near = near.sort_values(["ratio_size", "settings"], ascending=[False, True])
        summary |= _in_columns("near_dense", "ratio_size", near)
    ratios = {f"accuracy_{least}": least for least in RATIOS} | {REGISTERED: settings["compare_at"].iloc[0]}
    for name, least in ratios.items():
        summary |= _in_columns(name, "test_accuracy_mean", settings[reaches(settings["ratio_size"], least)])
    return summary


def _in_columns(name: str, column: str, able: pd.DataFrame) -> dict:
    """A statistic as columns of the summary: `column` of the first row of `able`, and that row."""
    if able.empty:
        return {name: -np.inf}  # no setting gets there
    picked = able.iloc[0]
    return {name: picked[column]} | {f"{name}_{part}": picked[own] for own, part in PICKED.items()}


def chance_accuracy(runs: pd.DataFrame) -> float:
    """One over the number of classes; missing where no run says how many there are."""
    both = zip(runs["class_names"], runs["confusion"], strict=True)
    numbers = [len(names) or len(matrix or ()) for names, matrix in both]
    return 1 / max(numbers) if numbers and max(numbers) else float("nan")


def hypervolume(ratio: np.ndarray, validation: np.ndarray, test: np.ndarray, chance: float) -> float:
    """Area under the test accuracy above chance, over log10 of the ratio from 1 on; one value a setting.

    At each ratio the setting that is best on validation among those at least that small stands (the first of equals).
    Reference point: ratio 1 (the dense model's size), accuracy of guessing. With test = validation this is the
    hypervolume of the Pareto front in two dimensions, where it is a sum of rectangles and needs no library. Settings
    larger than dense add nothing; models without an LSTM have no ratio and are left out. NaN if no setting has one.
    """
    here = np.flatnonzero(np.isfinite(ratio) & ~np.isnan(validation) & ~np.isnan(test))
    if not len(here):
        return float("nan")
    order = here[np.argsort(-ratio[here], kind="stable")]  # from small models to large ones
    best = np.maximum.accumulate(validation[order])
    stands = order[np.searchsorted(best, best)]
    widths = -np.diff(np.log10(np.maximum(ratio[order], 1)), append=0)
    return float(widths @ np.maximum(test[stands] - chance, 0))
