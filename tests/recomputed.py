"""The report's numbers again, from the raw JSON of the records: plain Python, numpy and scipy's distributions.

Nothing of squeezebench is imported, so that a mistake in its report is not repeated here.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from recomputed_means import NAN, Sure, answers, half, mean

ENOUGH, VERDICT = 3, 5  # seeds
SAME = 1.1  # factor of sizes that count as equal
REGISTERED = 10.0  # ratio, as the experiments of the tests name none
DENSE, SMALLER = ("dense", "dense_network"), ("small_dense", "small_network")
BRACKETS = tuple(base * 10.0**power for power in range(7) for base in (3, 10))


def canonical(value) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def at(content: dict, path: str):
    """`cost.latency_ms.1` of a record; None where there is none."""
    for key in path.split("/"):
        content = content.get(key) if isinstance(content, dict) else content[int(key)] if content else None
        if content is None:
            return None
    return content


# Names of groups.csv -> where the record has it.
FIELDS = {
    "test_accuracy": "accuracy/test",
    "test_accuracy_final_epoch": "accuracy/test_final_epoch",
    "validation_accuracy": "accuracy/validation",
    **{f"{part}_accuracy_before_fine_tuning": f"before_fine_tuning/{part}" for part in ("validation", "test")},
    "train_accuracy": "accuracy/train",
    "lstm_parameters": "counts/lstm_total",
    "weights": "counts/weights",
    "neurons": "counts/neurons",
    "input_to_hidden_parameters": "counts/input_to_hidden",
    "model_parameters": "counts/model_total",
    "kept_inputs": "kept/inputs",
    "bytes": "cost/bytes",
    "macs": "cost/macs",
    "dense_macs": "cost/dense_macs",
    "peak_activation_bytes": "cost/peak_activation_bytes",
    "dense_peak_activation_bytes": "cost/dense_peak_activation_bytes",
    "train_seconds": "seconds/train",
    **{f"bytes_{kind}": f"cost/stored_as/{kind}/bytes" for kind in ("float16", "int8")},
    **{f"test_accuracy_{kind}": f"cost/stored_as/{kind}/test" for kind in ("float16", "int8")},
    **{f"{side}latency_ms_batch_{batch}": f"cost/{side}latency_ms/{batch}"
       for side in ("", "dense_", "fastest_dense_", "same_runtime_dense_") for batch in (1, 10)},
    **{f"{side}latency_ms_batch_{batch}_{end}": f"cost/{side}latency_quartiles_ms/{batch}/{place}"
       for side in ("", "dense_") for batch in (1, 10) for place, end in enumerate(("low", "high"))},
}  # fmt: skip


# Names of groups.csv -> a score of each class, by a confusion matrix (a row for each true class).
CLASSES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "macro_f1": lambda matrix: 2 * matrix.diagonal() / (matrix.sum(0) + matrix.sum(1)),
    "balanced_accuracy": lambda matrix: matrix.diagonal() / matrix.sum(1),
}


@dataclass
class Group:
    """Records of one task, protocol, method and settings."""

    key: tuple[str, str, str, str]
    runs: list[dict] = field(default_factory=list)

    @cached_property
    def ok(self) -> list[dict]:
        return sorted((run for run in self.runs if run["status"] == "ok"), key=lambda run: run["seed"])

    def values(self, name: str) -> list[float]:
        if name.startswith("share_"):  # of the baseline's count that is left
            what = name.removeprefix("share_")
            pair = ("macs", "dense_macs") if what == "macs" else (f"counts/{what}", f"baseline/counts/{what}")
            own, base = map(self.values, pair)
            return [a / b for a, b in zip(own, base, strict=True)]
        if name in CLASSES:
            return [float(np.mean(CLASSES[name](np.array(run["confusion"])))) for run in self.ok]
        if name == "kept_hidden":
            found = [at(run, "kept/hidden") for run in self.ok]
            return [NAN if units is None else float(sum(units)) for units in found]
        found = [at(run, FIELDS.get(name, name)) for run in self.ok]
        return [NAN if value is None else float(value) for value in found]

    def mean(self, name: str) -> float:
        return mean(self.values(name))

    def half(self, name: str) -> float:
        if name == "test_accuracy" and self.answers is not None:
            return Sure.over_both(self.answers).half
        return half(self.values(name))

    def by_seed(self, name: str) -> dict[int, float]:
        return {run["seed"]: value for run, value in zip(self.ok, self.values(name), strict=True)}

    @cached_property
    def rule(self) -> str:
        """What a size is: weights where the records count them, else parameters of the recurrent part."""
        return "lstm_total" if any(math.isnan(value) for value in self.values("counts/weights")) else "weights"

    def ratio(self, rule: str = "") -> float:
        rule = rule or self.rule
        own, base = mean(self.values(f"counts/{rule}")), mean(self.values(f"baseline/counts/{rule}"))
        return NAN if math.isnan(own) or math.isnan(base) else base / own if own else math.inf

    @cached_property
    def ratio_interval(self) -> tuple[float, float]:
        own, base = (np.array(self.values(name)) for name in (f"counts/{self.rule}", f"baseline/counts/{self.rule}"))
        if len(own) < ENOUGH or not (own > 0).all() or np.isnan(base).any():
            return NAN, NAN
        width = half(base / base.mean() - own / own.mean())
        return self.ratio() * math.exp(-width), self.ratio() * math.exp(width)

    @cached_property
    def answers(self) -> np.ndarray | None:
        """(seeds, sequences)"""
        tables = [answers(run) for run in self.ok]
        return np.array(tables) if tables and all(table is not None for table in tables) else None

    @property
    def covers(self) -> str:
        return "seeds" if self.answers is None else "seeds and test sequences"

    @property
    def size(self) -> float:
        return self.mean(f"counts/{self.rule}")

    @property
    def validation(self) -> float:
        return self.mean("validation_accuracy")


def holm(p: dict) -> dict:
    """Step-down correction of a family of p values."""
    found, worst = {}, 0.0
    for place, key in enumerate(sorted(p, key=p.get)):
        worst = max(worst, (len(p) - place) * p[key])
        found[key] = min(1.0, worst)
    return found


@dataclass
class Paired:
    """A group minus its partner, by seed."""

    partner: Group
    n: int
    sure: Sure
    covers: str
    p_holm: float = NAN
    level: float = NAN  # of the test: corrected for the registered comparisons, if it is one of them
    detectable: float = NAN
    seeds_needed: float = NAN

    @property
    def difference(self) -> float:
        return self.sure.mean

    @property
    def half(self) -> float:
        return self.sure.half

    @property
    def p(self) -> float:
        return self.sure.p


class Results:
    """Everything a report says of the records below a folder."""

    def __init__(self, folder: Path):
        self.plan = json.loads((folder / "plan.json").read_text())
        found = [json.loads(path.read_text()) | {"path": path.parent.relative_to(folder).as_posix()}
                 for path in sorted(folder.glob("runs/**/record.json"))]  # fmt: skip
        planned = {run["path"] for run in self.plan["runs"]}
        self.records = [one for one in found if one["path"] in planned or not planned]
        self.left_out = [one for one in found if one["path"] not in planned and planned]
        self.groups: dict[tuple, Group] = {}
        for one in self.records:
            key = (one["task"], one["protocol"], one["method"], canonical(one["settings"]))
            self.groups.setdefault(key, Group(key)).runs.append(one)
        done = {one["path"] for one in self.records}
        self.missing = [run for run in self.plan["runs"] if run["path"] not in done]

    @cached_property
    def dice(self) -> dict[tuple, list[Group]]:
        """Groups that may be picked, by (task, protocol), best validation first, of equals the smaller one."""
        found: dict[tuple, list[Group]] = {}
        for group in self.groups.values():
            if group.ok and not math.isnan(group.validation):
                found.setdefault(group.key[:2], []).append(group)
        for key, some in found.items():
            most = min(ENOUGH, max(len(group.ok) for group in some))
            order = sorted(some, key=lambda group: (-group.validation, group.size, group.key[3]))
            found[key] = [group for group in order if len(group.ok) >= most]
        return found

    def able(self, task: str, protocol: str) -> list[Group]:
        return self.dice.get((task, protocol), [])

    @cached_property
    def picks(self) -> dict[tuple[str, str, int, str], Group]:
        """(task, protocol, bracket, method) -> the setting picked on validation."""
        found = {}
        for (task, protocol), some in self.dice.items():
            for bracket in BRACKETS:
                aimed = [group for group in some if group.runs[0]["settings"].get("ratio") == bracket]
                for group in (*aimed, *some):  # the best comes first, of what was to be of this size
                    if math.isfinite(group.ratio()) and SAME * group.ratio() >= bracket:
                        found.setdefault((task, protocol, bracket, group.key[2]), group)
        return found

    def control(self, group: Group) -> bool:
        return group.runs[0]["control"]

    def partner(self, group: Group, which: str) -> Group | None:
        """What `group` is held against: dense, small (of equal or larger size) or control (of equal or smaller, or
        at the registered ratio as it is). Nothing that has collapsed but dense."""
        task, protocol, method, _ = group.key
        here = [other for other in self.groups.values() if other.key[:2] == (task, protocol) and other.ok]
        here = [other for other in here if len(other.ok) >= min(ENOUGH, max(len(one.ok) for one in here))]
        if which == "dense":
            if method in DENSE:
                return None
            dense = sorted((g for g in here if g.key[2] in DENSE), key=lambda g: -g.validation)
            base = mean(group.values(f"baseline/counts/{group.rule}"))
            return next((g for g in dense if g.size == base), dense[0] if dense else None)
        if which == "small":
            if method in (*DENSE, *SMALLER) or not group.size > 0:
                return None
            large = [g for g in here if g.key[2] in SMALLER and SAME * g.size >= group.size]
            nearest = min(large, key=lambda g: (g.size, -g.validation), default=None)
            return None if nearest is None or self.collapsed(nearest) else nearest
        if self.control(group):
            return None
        able = [g for g in self.able(task, protocol) if self.control(g) and g.key[2] not in DENSE]
        also = group.key in self.registered
        able = [g for g in able if g.size <= SAME * group.size or (also and SAME * g.ratio() >= REGISTERED)]
        total = "counts/model_total"
        able = [g for g in able if g.size or mean(g.values(total)) <= SAME * mean(group.values(total))]
        return next((g for g in able if not self.collapsed(g)), None)

    @cached_property
    def compared(self) -> dict[tuple[tuple, str], Paired]:
        """(group key, partner's kind) -> the paired difference, with Holm's correction."""
        found: dict[tuple[tuple, str], Paired] = {}
        for key, group in self.groups.items():
            for which in ("dense", "small", "control"):
                if (partner := self.partner(group, which)) is not None:
                    found[key, which] = _paired(group, partner)
        for which in ("dense", "small", "control"):
            for protocol in {key[1] for key in self.groups}:
                family = {key: found[key, which] for key in self.registered if key[1] == protocol
                          and (key, which) in found and not self.collapsed(self.groups[key])}  # fmt: skip
                sure = {key: pair.p for key, pair in family.items() if pair.n >= VERDICT}
                for key, corrected in holm(sure).items():
                    found[key, which].p_holm = corrected
                number = sum(pair.n >= ENOUGH for pair in family.values())
                for key in (key for key in self.groups if key[1] == protocol and (key, which) in found):
                    self._power(found[key, which], 0.05 / number if key in family else 0.05, key in self.registered)
        return found

    def _power(self, pair: Paired, level: float, registered: bool) -> None:
        if pair.n < ENOUGH:
            return
        pair.level, pair.detectable = level, pair.sure.detectable(level)
        if registered:
            enough = (n for n in range(2, 1001) if pair.sure.detectable(level, n) <= 0.01)
            pair.seeds_needed = next(enough, math.inf)

    @cached_property
    def registered(self) -> set[tuple]:
        """The groups that are compared at the ratio that was fixed in advance."""
        return {group.key for key, group in self.picks.items() if key[2] == REGISTERED and not self.control(group)}

    def collapsed(self, group: Group) -> bool:
        dense = [other.validation for other in self.able(*group.key[:2]) if other.key[2] in DENSE]
        rows = next([sum(row) for row in run["confusion"]] for run in self.records
                    if run["task"] == group.key[0] and run["confusion"])  # fmt: skip
        guess = max(rows) / sum(rows)
        return group.validation < guess + 0.1 * (max(dense, default=1.0) - guess)


def _paired(group: Group, partner: Group) -> Paired:
    mine, theirs = group.by_seed("test_accuracy"), partner.by_seed("test_accuracy")
    seeds = sorted(mine.keys() & theirs.keys())
    if group.answers is not None and partner.answers is not None:
        first, second = ({run["seed"]: answers(run).astype(int) for run in one.ok} for one in (group, partner))
        table = np.array([first[seed] - second[seed] for seed in seeds])
        return Paired(partner, len(seeds), Sure.over_both(table), "seeds and test sequences")
    sizes = [run["test_size"] for run in group.ok if run["test_size"]]
    differences = [mine[seed] - theirs[seed] for seed in seeds]
    sure = Sure.over_seeds(differences, 1 / min(sizes) if sizes else 0.0)
    return Paired(partner, len(seeds), sure, "seeds" if seeds else "")


# --- the summary of a method


@cache
def summary(results: Results, task: str, protocol: str, method: str) -> dict[str, tuple[float, Group | None]]:
    """Statistic -> value and the setting behind it. -inf: no setting gets there."""
    some = [group for group in results.able(task, protocol) if group.key[2] == method]
    some.sort(key=lambda group: (group.size, group.key[3]))
    dense = next((group for group in results.able(task, protocol) if group.key[2] in DENSE), None)
    classes = max(len(run["class_names"]) for run in some[0].ok)
    points = [(group.ratio(), group.validation, group.mean("test_accuracy")) for group in some]
    found = {}
    for name, measure in _measures(dense and dense.validation, 1 / classes).items():
        value, place = measure(points)
        found[name] = (value, some[place] if place >= 0 else None)
    return found


def _measures(reference: float | None, chance: float) -> dict[str, Callable]:
    """Statistic -> function of points (ratio, validation, test) that gives its value and the place of its setting."""

    def best(points, least):
        able = [(-points[i][1], i) for i in range(len(points)) if points[i][0] >= least]
        return min(able)[1] if able else -1

    def accuracy(least):
        def of(points):
            place = best(points, least / SAME)
            return (points[place][2], place) if place >= 0 else (-math.inf, -1)

        return of

    def near(points):
        able = [(-p[0], i) for i, p in enumerate(points) if p[1] >= reference - 0.005]
        return (-min(able)[0], min(able)[1]) if able else (-math.inf, -1)

    def volume(points):
        """Integral over log10 of the ratio of what stands at each ratio, by its steps."""
        real = [p for p in points if math.isfinite(p[0])]
        if not real:
            return NAN, -1
        steps = sorted({1.0, *(max(p[0], 1.0) for p in real)})
        area = 0.0
        for low, high in itertools.pairwise(steps):
            place = best(real, high)
            area += math.log10(high / low) * max(0.0, real[place][2] - chance)
        return area, -1

    found = {"hypervolume": volume, **{f"accuracy_{least}": accuracy(least) for least in (10, 30, 100)},
             "accuracy_registered": accuracy(REGISTERED)}  # fmt: skip
    return found | ({"near_dense": near} if reference is not None else {})
