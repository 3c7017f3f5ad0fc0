"""The comparisons that a claim can be made of, and the verdict that an interval gives.

Settings are picked on validation; test accuracies and sizes are compared (see `outcome.py` for the verdicts).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from squeezebench.report import formats
from squeezebench.report.claims import file as files
from squeezebench.report.claims.outcome import (
    CONTRADICTED,
    NOT_RUN,
    SUPPORTED,
    UNDECIDED,
    Outcome,
    asked,
    bounds_of,
    difference_outcome,
    few,
    judge,
    point_bounds,
    points_text,
    t_interval,
    times,
)
from squeezebench.report.gather import Gathered, canonical
from squeezebench.report.paper.match import matching, pick, swept, told_apart
from squeezebench.report.sizes import DENSE
from squeezebench.report.statistics.compare import ranked
from squeezebench.report.statistics.groups import ENOUGH_SEEDS, LEVEL, bootstrap_interval
from squeezebench.schema.inference import Comparison, Inference, Model


@dataclass(frozen=True)
class Case:
    """A task's run groups of one protocol, and what else a comparison may read."""

    task: str
    groups: pd.DataFrame
    gathered: Gathered
    models: list[Model] = field(default_factory=list)  # of inference.json, of this task


class NotRun(Exception):
    """The runs that a comparison needs do not exist; the message says which."""


def evaluate(check: files.Check, case: Case) -> Outcome:
    """One comparison on one task."""
    try:
        return _FORMS[type(check)](check, case)
    except NotRun as reason:
        return Outcome(NOT_RUN, str(reason))


def read_inference_models(found: Inference | None, task: str) -> list[Model]:
    return [model for model in found.models if model.task == task] if found else []


# --- which runs


def _pick(group: files.Group, case: Case) -> tuple[pd.Series, str]:
    """The run group that is meant, and its name for readers."""
    able = _able(group, case)
    dense = case.groups[case.groups["method"].isin(DENSE) & (case.groups["task"] == case.task)]
    # The dense groups come along: what is "within 1 point" is so of dense.
    found = pick(group.row(), case.task, able if group.method in DENSE else pd.concat([able, dense]))
    if found.group is None:
        raise NotRun(f"{group.method}: {found.words}")
    words = ", ".join(part for part in (told_apart(found.group, case.groups), found.words) if part)
    return found.group, f"{found.group['method_label']}" + (f" ({words})" if words else "")


def _able(group: files.Group, case: Case) -> pd.DataFrame:
    """The groups of the method with the settings that are asked for; NotRun where there are none."""
    here = case.groups[(case.groups["task"] == case.task) & (case.groups["method"] == group.method)]
    if here.empty:
        raise NotRun(f"no run of {group.method}")
    some = matching(group.row(), case.task, here)
    some = some[[group.allows(json.loads(text)) for text in some["settings"]]]
    if some.empty:
        asked = [f"{key} = {formats.setting(value)}" for key, value in group.where.items()]
        asked += [f"{key} other than {formats.setting(value)}" for key, value in group.unlike.items()]
        raise NotRun(f"no run of {group.method} with {', '.join(asked)}")
    return some


def _seeds(group: pd.Series, case: Case) -> pd.DataFrame:
    return case.gathered.runs_of(group).set_index("seed").sort_index()


def _test_by_seed(groups: Sequence[pd.Series], case: Case) -> tuple[pd.DataFrame, float]:
    """(seeds, groups) test accuracy over the seeds that all of them finished; the accuracy of one test sequence."""
    runs = [_seeds(group, case) for group in groups]
    table = pd.concat([one["test"] for one in runs], axis=1, keys=range(len(runs))).dropna()
    sizes = pd.concat([one["test_size"] for one in runs]).dropna()
    return table, 1 / sizes.min() if len(sizes) and sizes.min() else 0.0


# --- the forms


def _ratio(check: files.RatioCheck, case: Case) -> Outcome:
    group, picked = _pick(check.of, case)
    names = [picked]
    parts = [_seeds(group, case)[["baseline_size", "count_size"]]]
    if check.over is not None:
        other, name = _pick(check.over, case)
        parts.append(_seeds(other, case)[["count_size", "baseline_size"]].add_suffix("_over"))
        names.append(name)
    table = pd.concat(parts, axis=1).dropna()
    bounds = {"at_least": check.at_least, "more_than": check.more_than, "at_most": None}
    bound = asked(bounds, times)
    if check.about:
        value, factor = check.about.value, check.about.factor
        bounds |= {"at_least": value / factor, "at_most": value * factor}
        bound = f"{times(value)} within a factor of {factor:g}"
    if len(table) < ENOUGH_SEEDS:
        return few(len(table), tuple(names), bound)
    values = [table[column].to_numpy() for column in table]
    if not all((value > 0).all() for value in values):
        raise NotRun("a model without an LSTM has no ratio")
    value = float(_quotient(*values))
    low, high = bootstrap_interval(values, _quotient)
    interval = f" [{formats.ratio(low)}, {formats.ratio(high)}]" if low < high else " in every seed"
    words = formats.ratio(value) + interval
    return Outcome(judge(low, high, **bounds), words, value, float(low), float(high), bound, len(table), tuple(names))


def _quotient(*values: np.ndarray, axis: int = -1) -> np.ndarray:
    """mean(1st) / mean(2nd) x mean(3rd) / mean(4th) ..."""
    means = [value.mean(axis) for value in values]
    return np.prod([a / b for a, b in zip(means[::2], means[1::2], strict=True)], axis=0)


def _difference(check: files.DifferenceCheck, case: Case) -> Outcome:
    (group, picked), (other, name) = _pick(check.of, case), _pick(check.minus, case)
    table, least = _test_by_seed([group, other], case)
    bounds, bound = point_bounds(check)
    return difference_outcome((table[0] - table[1]).to_numpy(), least, bounds, bound, (picked, name))


def _equal(check: files.EqualCheck, case: Case) -> Outcome:
    def rest(group):
        return canonical({k: v for k, v in json.loads(group["settings"]).items() if k != check.setting})

    ours, others = ([row for _, row in _able(g, case).iterrows() if row["ok"]] for g in (check.of, check.to))
    others = {rest(group): group for group in others}
    pairs = [(group, others[rest(group)]) for group in ours if rest(group) in others]
    if not pairs:
        raise NotRun(f"no finished settings that differ in {check.setting} alone")
    tables = [_test_by_seed(pair, case) for pair in pairs]
    by_pair = pd.concat([table[0] - table[1] for table, _ in tables], axis=1).dropna()
    least = max(one for _, one in tables) / np.sqrt(len(pairs))
    width = check.within / 100
    return difference_outcome(
        by_pair.mean(axis=1).to_numpy(), least, {"at_least": -width, "at_most": width},
        f"within {check.within:g} points", (f"{formats.plural(len(pairs), 'pair')} of settings",),
    )  # fmt: skip


def _along(group: files.Group, setting: str, case: Case) -> pd.DataFrame:
    """The groups along a setting, one for each value."""
    return swept(group.row(), case.task, setting, _able(group, case))


def _falls(check: files.FallsCheck, case: Case) -> Outcome:
    some = _along(check.of, check.setting, case)
    before, after = some[some["value"] < check.start], some[some["value"] >= check.start]
    if before.empty or after.empty:
        raise NotRun(f"no finished run with {check.setting} {'below' if before.empty else 'from'} {check.start:g}")
    groups = [before.iloc[-1], *(group for _, group in after.iterrows())]
    table, least = _test_by_seed(groups, case)
    values = (table.iloc[:, 1:].mean(axis=1) - table[0]).to_numpy()
    named = ", ".join(f"{value:g}" for value in after["value"])
    picked = f"{check.setting} {named} minus {before['value'].iloc[-1]:g}"
    bounds, bound = point_bounds(check)
    return difference_outcome(values, least, bounds, bound, (picked,))


def _monotone(check: files.MonotoneCheck, case: Case) -> Outcome:
    some = _along(check.of, check.setting, case)
    some = some[some["value"] > 0]
    if len(some) < 3:
        raise NotRun(f"fewer than three values of {check.setting} above 0")
    runs = [_seeds(group, case) for _, group in some.iterrows()]
    if check.quantity == "ratio":
        curves = [np.log10(one["baseline_size"] / one["count_size"]) for one in runs]
    else:
        curves = [one["test"] for one in runs]
    table = pd.concat(curves, axis=1).dropna()
    picked = f"{check.setting} {some['value'].min():g} to {some['value'].max():g}, {len(some)} values"
    bound = f"the slope {check.direction}"
    if len(table) < ENOUGH_SEEDS:
        return few(len(table), (picked,), bound)
    slopes = np.polynomial.polynomial.polyfit(np.log10(some["value"]), table.to_numpy().T, 1)[1]
    value, low, high = t_interval(slopes)
    sign = 1 if check.direction == "rises" else -1
    verdict = judge(*sorted((sign * low, sign * high)), more_than=0)
    if check.quantity == "ratio":
        shown = [f"{number:+.2f}".replace("-", formats.MINUS) for number in (value, low, high)]
        words = f"{shown[0]} [{shown[1]}, {shown[2]}] decades of ratio for a factor of 10 in {check.setting}"
    else:
        words = f"{points_text(value, low, high)} for a factor of 10 in {check.setting}"
    return Outcome(verdict, words, value, low, high, bound, len(table), (picked,))


def _equal_size(check: files.EqualSizeCheck, case: Case) -> Outcome:
    ours, dense = ranked(_able(check.of, case)), _able(check.against, case)
    pairs: dict[int, pd.Series] = {}
    for _, partner in dense[dense["ok"] > 0].sort_values("size_mean").iterrows():
        least, most = partner["size_mean"] / check.factor, partner["size_mean"]
        able = ours[ours["size_mean"].between(least, most)]
        if len(able):
            pairs.setdefault(able.index[0], partner)  # of two partners the nearer one
    if len(pairs) < 2:
        raise NotRun(f"fewer than two sizes at which {check.of.method} and {check.against.method} can be compared")
    bounds, bound = point_bounds(check)
    level = 1 - (1 - LEVEL) / len(pairs)
    names, parts = (formats.plural(len(pairs), "size"),), []
    for index, partner in pairs.items():
        table, least = _test_by_seed([ours.loc[index], partner], case)
        if len(table) < ENOUGH_SEEDS:
            return few(len(table), names, bound)
        interval = t_interval((table[0] - table[1]).to_numpy(), least, level)
        words = f"at {formats.ratio(ours.at[index, 'ratio_size'])} {points_text(*interval)}"
        parts.append((judge(*interval[1:], **bounds), interval, words, len(table)))
    verdicts = [part[0] for part in parts]
    verdict = next((v for v in (CONTRADICTED, UNDECIDED) if v in verdicts), SUPPORTED)
    _, interval, decided, _ = min((part for part in parts if part[0] == verdict), key=lambda part: part[1])
    seeds = min(n for *_, n in parts)
    return Outcome(verdict, "; ".join(part[2] for part in parts), *interval, bound, seeds, names, decided)


def _stored(check: files.StoredCheck, case: Case) -> Outcome:
    groups = [group for _, group in _able(check.of, case).iterrows() if group["ok"]]
    found = pd.concat([_seeds(group, case)[f"count_{check.count}"] for group in groups]) if groups else pd.Series()
    found = found.dropna()
    if found.empty:
        raise NotRun(f"no finished run of {check.of.method}")
    low, high = float(found.min()), float(found.max())
    verdict = SUPPORTED if low == high == check.equals else CONTRADICTED
    what = check.count.replace("_", " ")
    words = f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
    words += f" {what} in {formats.plural(len(found), 'compact module')}"
    return Outcome(verdict, words, float(found.mean()), low, high, f"{check.equals} {what}", len(found))


def _speed(check: files.SpeedCheck, case: Case) -> Outcome:
    models = [model for model in case.models if model.method in ("", check.of.method)]
    if not models:
        raise NotRun("not measured: squeezebench inference")
    found = [_speeds(comparison, check.against, model) for model in models for comparison in model.comparisons]
    value, low, high, picked = max(one for some in found for one in some)
    bounds = bounds_of(check)
    words = f"{formats.ratio(value)} [{formats.ratio(low)}, {formats.ratio(high)}] (quartiles)"
    return Outcome(judge(low, high, **bounds), words, value, low, high, asked(bounds, times), 0, (picked,))


def _speeds(comparison: Comparison, against: str, model: Model) -> list[tuple[float, float, float, str]]:
    """Ratios of the medians, from the quartiles' worst to their best, for each runtime that has both sides."""
    found = []
    for runtime, own in comparison.compact.ms.items():
        name = runtime if against == "same_runtime" else comparison.fastest_dense
        if (dense := comparison.dense.ms.get(name)) is None:
            continue
        words = f"{model.dense_size} to {model.compact_size}, batch {comparison.batch}, {runtime}"
        words += "" if name == runtime else f" against {name}"
        found.append((dense.median / own.median, dense.low / own.high, dense.high / own.low, words))
    return found


_FORMS = {
    files.RatioCheck: _ratio,
    files.DifferenceCheck: _difference,
    files.EqualCheck: _equal,
    files.FallsCheck: _falls,
    files.MonotoneCheck: _monotone,
    files.EqualSizeCheck: _equal_size,
    files.StoredCheck: _stored,
    files.SpeedCheck: _speed,
}
