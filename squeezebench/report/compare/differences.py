"""`squeezebench compare A B`: what changed between two folders of results beyond noise. Imports no torch.

For a run group (task, protocol, method, settings) in both folders the seeds in common are paired. Accuracy: the paired
difference of test accuracy, its 95 % t interval and t test, corrected over the groups (Holm 1979). Sizes are whole
numbers and compared as such; only where they vary from seed to seed (the data decide what is kept) does a difference
have to stand out of that variation, by the same test on their logarithms. Times: ratio of geometric means over the
seeds with the t interval of its logarithm; they depend on what else ran, so they are shown and decide nothing.
"identical": accuracies, confusions and sizes agree in every seed, and so do the weights where both records name them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from squeezebench.base.errors import InputError
from squeezebench.base.reading import results_folder
from squeezebench.report import formats
from squeezebench.report.gather import GROUP, Gathered, gather
from squeezebench.report.inputs import input_text
from squeezebench.report.statistics.compare import holm
from squeezebench.report.statistics.spread import ENOUGH_SEEDS, LEVEL, VERDICT_SEEDS, over_seeds
from squeezebench.schema.differences import FolderDifferences, GroupDifference, Interval
from squeezebench.schema.metrics import ENVIRONMENT, METRICS

IDENTICAL, SAME, CHANGED, FEW = "identical", "no change beyond noise", "changed", "not enough seeds"
NOTHING = "no result in either"
ANSWERS = [metric.column for metric in METRICS if metric.column and metric.compared == "near"]
EXACT = [metric for metric in METRICS if metric.column and metric.compared == "exact" and metric.unit != "widths"]
COUNTS = [metric.column for metric in EXACT if metric.unit in ("parameters", "units")]
SIZES = [metric.column for metric in EXACT]  # bytes and MACs follow from the module, whatever its counts are
TIMES = {metric.column: metric.title.lower() for metric in METRICS if metric.title and metric.unit in ("ms", "s")}
RANK = (CHANGED, FEW, SAME, IDENTICAL, NOTHING)  # the order of the groups


def compare_folders(first: Path, second: Path) -> FolderDifferences:
    """Raises InputError where one of the two holds no records."""
    both = [_gathered(folder) for folder in (first, second)]
    a, b = (g.runs for g in both)
    pairs = _match(a, b)
    a = a.assign(group=_numbered(a, list(pairs)))
    b = b.assign(group=_numbered(b, list(pairs.values())))
    shared = a[a["group"] >= 0].merge(b[b["group"] >= 0], on=["group", "seed"], suffixes=("_a", "_b"))
    keys = list(pairs.items())
    drafts = [_draft(*keys[number], seeds) for number, seeds in shared.groupby("group")]
    return FolderDifferences(
        folders=(str(first), str(second)),
        only=(_lonely(a, b), _lonely(b, a)),
        damaged=tuple(int((g.problems["kind"] == "damaged").sum()) for g in both),
        left_out=tuple(len(g.left_out) for g in both),
        groups=(groups := _judged(drafts)),
        overall=_overall(groups),
        times=_over_all(drafts),
        origins=_origins(a[a["group"] >= 0], b[b["group"] >= 0]),
    )


def _numbered(runs: pd.DataFrame, keys: list[tuple]) -> list[int]:
    """The place of each run's group in `keys`, -1 where it is not among them."""
    numbers = {key: number for number, key in enumerate(keys)}
    return [numbers.get(key, -1) for key in map(tuple, runs[GROUP].to_numpy())]


def _gathered(folder: Path) -> Gathered:
    gathered = gather(results_folder(folder))
    if len(gathered.left_out) and gathered.runs.empty:
        number = len(gathered.left_out)
        raise InputError(f"{folder}: none of its {number} records is of its plan; `squeezebench report` says why")
    if gathered.runs.empty:
        damaged = (gathered.problems["kind"] == "damaged").sum()
        raise InputError(f"{folder}: holds no record below runs/" + (f" ({damaged} damaged)" if damaged else ""))
    return gathered


def _match(a: pd.DataFrame, b: pd.DataFrame) -> dict[tuple, tuple]:
    """Groups of A -> groups of B. Settings agree; or, as settings come and go with versions, they agree in every
    setting that both versions have, and no other group does."""
    ours, theirs = (list(dict.fromkeys(map(tuple, f[GROUP].to_numpy()))) for f in (a, b))
    pairs = {key: key for key in ours if key in set(theirs)}
    rest = [[key for key in side if key not in pairs] for side in (ours, theirs)]
    for family in dict.fromkeys(key[:3] for key in rest[0]):
        sides = [[key for key in side if key[:3] == family] for side in rest]
        setting_names = [set().union(*(json.loads(key[3]) for key in side)) for side in sides]
        shared = sorted(setting_names[0] & setting_names[1])
        if setting_names[0] == setting_names[1]:
            continue  # the same settings with other values
        by_shared: list[dict[str, list]] = [{}, {}]
        for side, alike in zip(sides, by_shared, strict=True):
            for key in side:
                values = json.loads(key[3])
                alike.setdefault(json.dumps([values.get(name) for name in shared]), []).append(key)
        for values, mine in by_shared[0].items():
            other = by_shared[1].get(values, [])
            if len(mine) == len(other) == 1:
                pairs[mine[0]] = other[0]
    return pairs


@dataclass(frozen=True)
class _Draft:
    """A group's paired runs, before the correction over all groups."""

    key: tuple
    label: str
    both: pd.DataFrame  # one row a common seed, columns of A with suffix _a, of B with _b
    status: list[str]
    notes: list[str]

    @cached_property
    def same(self) -> bool:
        """Accuracies, confusion and sizes agree in every common seed."""
        return not self.both.empty and not _sizes_that_differ(self.both) and _same_results(self.both)


def _draft(key: tuple, other: tuple, seeds: pd.DataFrame) -> _Draft:
    moved = seeds[seeds["status_a"] != seeds["status_b"]]
    status = [f"seed {row.seed}: {row.status_a} -> {row.status_b}" for row in moved.itertuples()]
    setting_names = [json.loads(k[3]) for k in (key, other)]
    notes = [f"settings only in {name}: {', '.join(sorted(x.keys() - y.keys()))}"
             for name, x, y in (("A", *setting_names), ("B", *setting_names[::-1])) if x.keys() - y.keys()]  # fmt: skip
    done = seeds[(seeds["status_a"] == "ok") & (seeds["status_b"] == "ok")].sort_values("seed")
    label = _label(seeds["varied_a"].iloc[0])
    return _Draft(key, label, done, status, notes)


def _label(varied: str) -> str:
    return formats.clean(formats.settings(json.loads(varied))).replace(formats.NBSP, " ")


def _judged(drafts: list[_Draft]) -> list[GroupDifference]:
    """Verdicts, the accuracy and the size tests each corrected over all groups that were tested."""
    tests = [difference_test(d.both["test_b"] - d.both["test_a"], _one_sequence(d.both)) for d in drafts]
    tests = [(gap, np.nan if d.same else p) for d, (gap, p) in zip(drafts, tests, strict=True)]  # bits need no test
    sizes = [_size_test(d.both) for d in drafts]
    p_accuracy, p_size = (holm(pd.Series([p for _, p in outcomes], dtype=float)) for outcomes in (tests, sizes))
    groups = [
        _paired(draft, tests[n][0], _number(p_accuracy[n]), sizes[n][0], _number(p_size[n]))
        for n, draft in enumerate(drafts)
    ]
    return sorted(groups, key=lambda group: (RANK.index(group.verdict), *group.key.values()))


def _paired(draft: _Draft, difference: Interval | None, p: float | None, size_verdict: str, p_size: float | None):
    both, alpha = draft.both, 1 - LEVEL
    differing, same = _sizes_that_differ(both), draft.same
    changed, notes = [], list(draft.notes)
    if p is not None and p < alpha:
        changed.append("accuracy")
    if size_verdict == CHANGED or (p_size is not None and p_size < alpha):
        changed.append("size")
    if draft.status:
        changed.append("status")
        notes += draft.status
    if same and (other := _other_bits(both)):
        notes.append(f"the weights have other bits in {other} of {len(both)} seeds")
    if changed:
        verdict = CHANGED
    elif same:
        verdict = IDENTICAL if not _other_bits(both) else SAME
    else:
        verdict = NOTHING if both.empty else FEW if len(both) < VERDICT_SEEDS else SAME
    column = "count_size" if (both["count_size_a"] > 0).all() else "count_model_total"
    return GroupDifference(
        key=dict(zip(GROUP, draft.key, strict=True)),
        label=draft.label,
        seeds=[int(seed) for seed in both["seed"]],
        verdict=verdict,
        changed=changed,
        accuracy=_means(both, "test"),
        difference=difference,
        p_holm=p,
        size=_means(both, column),
        sizes_differ=differing,
        times={} if both.empty else _times(both),
        notes=notes,
    )


def _means(both: pd.DataFrame, column: str) -> tuple[float, float] | None:
    """In A and in B; None where nothing is recorded."""
    means = tuple(float(both[f"{column}_{side}"].mean()) for side in "ab")
    return None if np.isnan(means).any() else means


def _sizes_that_differ(both: pd.DataFrame) -> dict[str, int]:
    """Column -> number of seeds where it is not the same whole number; only columns with any."""
    unequal = {c: _unequal(both[f"{c}_a"], both[f"{c}_b"]) for c in SIZES}
    return {column: number for column, number in unequal.items() if number}


def _unequal(a: pd.Series, b: pd.Series) -> int:
    """How many pairs are not the same number; what only one side recorded is not compared."""
    ours, theirs = a.to_numpy(float, na_value=np.nan), b.to_numpy(float, na_value=np.nan)
    return int(((ours != theirs) & ~np.isnan(ours) & ~np.isnan(theirs)).sum())


def _same_results(both: pd.DataFrame) -> bool:
    """Accuracies and confusion agree in every seed."""
    accuracies = not any(_unequal(both[f"{name}_a"], both[f"{name}_b"]) for name in ANSWERS)
    return accuracies and all(a == b for a, b in zip(both["confusion_a"], both["confusion_b"], strict=True))


def _other_bits(both: pd.DataFrame) -> int:
    """Seeds whose models are known, on both sides, to differ."""
    known = (both["model_digest_a"] != "") & (both["model_digest_b"] != "")
    return int((known & (both["model_digest_a"] != both["model_digest_b"])).sum())


def _one_sequence(both: pd.DataFrame) -> float:
    """The smallest step of an accuracy. Accuracies move in whole sequences, and a few seeds can agree on a difference
    by chance: their deviation is taken as one sequence at least, else one sequence in each of three would be certain.
    """
    sizes = both["test_size_a"].dropna()
    return 1 / sizes.min() if len(sizes) and sizes.min() else 0.0


def _size_test(both: pd.DataFrame) -> tuple[str, float]:
    """(verdict where no statistics are needed, else p of the paired t test on the logarithms)."""
    differs = _sizes_that_differ(both)
    if not differs:
        return "", np.nan
    if not differs.keys() & set(COUNTS):
        return CHANGED, np.nan  # the same module, counted or stored in another way
    steady = all(both[f"{c}_{side}"].nunique() <= 1 for c in COUNTS for side in "ab")
    if len(both) >= 2 and steady:
        return CHANGED, np.nan  # settings alone decide this size, and it is another one
    return "", difference_test(pd.Series(_logs(both, "count_model_total")))[1]


def _times(both: pd.DataFrame) -> dict[str, Interval]:
    return {column: mean_ratio(_logs(both, column)) for column in TIMES if len(_logs(both, column))}


def _logs(both: pd.DataFrame, column: str) -> np.ndarray:
    a, b = both[f"{column}_a"].to_numpy(), both[f"{column}_b"].to_numpy()
    known = (a > 0) & (b > 0)
    return np.log(b[known] / a[known])


def _overall(groups: list[GroupDifference]) -> Interval | None:
    """Small shifts that no single group can show; groups share seeds and data, so it decides nothing."""
    means = [group.difference.value for group in groups if group.difference and group.verdict != IDENTICAL]
    return difference_test(pd.Series(means, dtype=float))[0]


def _over_all(drafts: list[_Draft]) -> dict[str, Interval]:
    """Ratios of times over all groups, each group once."""
    means = {c: [logs.mean() for d in drafts if len(logs := _logs(d.both, c))] for c in TIMES}
    return {column: mean_ratio(np.array(logs)) for column, logs in means.items() if logs}


def _lonely(mine: pd.DataFrame, other: pd.DataFrame) -> list[dict]:
    """Runs, by group, whose seed (or whole group) the other folder lacks."""
    there = set(zip(other["group"], other["seed"], strict=True))
    runs = zip(mine["group"], mine["seed"], strict=True)
    alone = mine[[group < 0 or (group, seed) not in there for group, seed in runs]]
    return [
        dict(zip(GROUP, key, strict=True))
        | {"label": _label(runs["varied"].iloc[0]), "seeds": sorted(map(int, runs["seed"]))}
        for key, runs in alone.groupby(GROUP, sort=True)
    ]


def _origins(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, tuple[list[str], list[str]]]:
    """What the runs in both folders were made with, where that is not the same."""
    values = {name.replace("_", " "): tuple(_values(f[name]) for f in (a, b)) for name in ENVIRONMENT}
    for kind, column in (("method", "method_digest"), ("task", "split_digest")):
        for name in sorted({*a[kind], *b[kind]}):
            what = f"{column.replace('_', ' ')}, {name}"
            values[what] = tuple(_values(f.loc[f[kind] == name, column]) for f in (a, b))
    for task in sorted({*a["task"], *b["task"]}):
        inputs = [pd.DataFrame(list(f.loc[f["task"] == task, "shared_inputs"])) for f in (a, b)]
        for name in sorted({*inputs[0]} & {*inputs[1]}):
            values[f"{name}, {task}"] = tuple(_values(frame[name].map(input_text)) for frame in inputs)
    versions = [pd.DataFrame(list(f["packages"])) for f in (a, b)]
    for name in sorted({*versions[0], *versions[1]}):
        values[f"package {name}"] = tuple(_values(f[name]) if name in f else ["none"] for f in versions)
    return {name: pair for name, pair in values.items() if pair[0] != pair[1]}


def _values(column: pd.Series) -> list[str]:
    return sorted({str(value) for value in column if str(value) not in ("", "nan")})


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def difference_test(difference: pd.Series, least: float = 0.0) -> tuple[Interval | None, float]:
    """Mean with its 95 % t interval, and the t test's p (NaN below VERDICT_SEEDS). least: of the standard deviation."""
    values = difference.dropna().to_numpy()
    if not len(values):
        return None, np.nan
    if len(values) < ENOUGH_SEEDS:
        return Interval(value=float(values.mean())), np.nan
    if not values.any():
        return Interval(value=0.0, low=0.0, high=0.0), 1.0
    # Sizes may differ by the same factor throughout.
    spread = over_seeds(values, max(least, np.sqrt(np.finfo(float).tiny)))
    interval = Interval(value=spread.mean, low=spread.mean - spread.half, high=spread.mean + spread.half)
    return interval, spread.p if len(values) >= VERDICT_SEEDS else np.nan


def mean_ratio(logs: np.ndarray) -> Interval:
    """Geometric mean of ratios, given by their logarithms, with the 95 % t interval of these."""
    spread = over_seeds(logs)
    if len(logs) < ENOUGH_SEEDS:
        return Interval(value=float(np.exp(spread.mean)))
    value, low, high = (float(np.exp(spread.mean + side * spread.half)) for side in (0, -1, 1))
    return Interval(value=value, low=low, high=high)
