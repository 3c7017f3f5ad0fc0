"""What `squeezebench compare` prints: for people, and for programs."""

from __future__ import annotations

from collections import Counter
from typing import Any

from squeezebench.base.errors import printable
from squeezebench.report import formats
from squeezebench.report.compare.differences import CHANGED, IDENTICAL, NOTHING, RANK, TIMES
from squeezebench.schema.differences import FolderDifferences, GroupDifference, Interval

HEAD = ("task", "method", "settings", "seeds", "verdict", "test accuracy", "difference, points", "p (Holm)", "size",
        "training time")  # fmt: skip
MOST_LINES = 40  # of runs in one folder only, and of what differs in origin


def as_json(differences: FolderDifferences) -> dict[str, Any]:
    """Everything, in plain values."""
    content = differences.model_dump(mode="json")
    return {
        **dict(zip("ab", content["folders"], strict=True)),
        "unchanged": differences.unchanged,
        "verdicts": dict(Counter(group.verdict for group in differences.groups)),
        "damaged": content["damaged"],
        "left_out": content["left_out"],
        **dict(zip(("only_in_a", "only_in_b"), content["only"], strict=True)),
        "overall_difference": content["overall"],
        "groups": [group.pop("key") | group for group in content["groups"]],
        "times_b_over_a": content["times"],
        "made_with": {name: {"a": a, "b": b} for name, (a, b) in content["origins"].items()},
    }


def as_text(differences: FolderDifferences) -> str:
    """A table of the groups that are not identical, what could explain them, and a last line that sums up."""
    lines = [f"A: {differences.folders[0]}", f"B: {differences.folders[1]}"]
    for name, runs in zip("AB", differences.only, strict=True):
        lines += _only(name, runs)
    damaged = [f"{n} in {name}" for name, n in zip("AB", differences.damaged, strict=True) if n]
    lines += ["", f"Damaged records, left out: {', '.join(damaged)}"] if damaged else []
    others = [f"{n} in {name}" for name, n in zip("AB", differences.left_out, strict=True) if n]
    words = "Records of other inputs than the rest of their folder, left out"
    lines += ["", f"{words}: {', '.join(others)}"] if others else []
    rows = [_row(group) for group in differences.groups if group.verdict not in (IDENTICAL, NOTHING)]
    if rows:
        lines += ["", *_table([HEAD, *rows])]
    notes = [f"{group.key['task']} {group.key['method']} {group.label}: {note}"
             for group in differences.groups for note in group.notes]  # fmt: skip
    if notes:
        lines += ["", *_some(notes)]
    if differences.overall:
        shift = (
            f"Test accuracy, B - A, mean over the groups that are not identical: {_points(differences.overall)} points"
        )
        lines += ["", f"{shift} (they share seeds and data: it decides nothing)"]
    if differences.times:
        ratios = (f"{TIMES[name]} {_ratio(ratio)}" for name, ratio in differences.times.items())
        lines += ["", f"Times, B / A, over all groups (they decide nothing): {', '.join(ratios)}"]
    if differences.origins:
        lines += ["", "The runs in both differ in what they were made with:"]
        lines += _some([f"{name}: {_values(a)} -> {_values(b)}" for name, (a, b) in differences.origins.items()])
    elif any(group.verdict != IDENTICAL for group in differences.groups):
        lines += ["", "The records of both were made with the same versions on the same kind of machine."]
    return "\n".join(map(printable, [*lines, "", summary(differences)])).replace(formats.NBSP, " ")


def summary(differences: FolderDifferences) -> str:
    """One line: how many groups of each verdict."""
    if not differences.groups:
        return "Nothing to compare: no run is in both."
    verdicts = Counter(group.verdict for group in differences.groups)
    parts = [f"{verdicts[v]} {v}" for v in RANK if verdicts[v]]
    what = Counter(kind for group in differences.groups for kind in group.changed)
    why = f" ({', '.join(f'{kind} in {n}' for kind, n in what.items())})" if what else ""
    parts = [part + why if part.endswith(f" {CHANGED}") else part for part in parts]
    return f"{formats.plural(len(differences.groups), 'run group')} in both: {'; '.join(parts)}."


def _only(name: str, runs: list[dict]) -> list[str]:
    if not runs:
        return []
    number = sum(len(run["seeds"]) for run in runs)
    words = [f"{run['task']} {run['method']} {run['label']} ({run['protocol']}), {_seeds(run['seeds'])}"
             for run in runs]  # fmt: skip
    return ["", f"Only in {name}: {formats.plural(number, 'run')}", *_some(words)]


def _some(lines: list[str]) -> list[str]:
    more = len(lines) - MOST_LINES
    return [f"  {line}" for line in lines[:MOST_LINES]] + ([f"  and {more} more (--json has them)"] if more > 0 else [])


def _row(group: GroupDifference) -> tuple[str, ...]:
    verdict = group.verdict + (f": {', '.join(group.changed)}" if group.changed else "")
    a, b = group.accuracy or (None, None)
    return (
        group.key["task"],
        group.key["method"] + ("" if group.key["protocol"] == "sound" else f" ({group.key['protocol']})"),
        group.label,
        str(len(group.seeds)),
        verdict,
        f"{formats.percent(a)} -> {formats.percent(b)}",
        _points(group.difference),
        "" if group.p_holm is None else f"{group.p_holm:.2g}",
        _size(group),
        _ratio(group.times.get("train_seconds")),
    )


def _points(difference: Interval | None) -> str:
    if difference is None:
        return ""
    if difference.low is None:
        return formats.points(difference.value)
    return formats.points_interval(difference.value, difference.high - difference.value)


def _size(group: GroupDifference) -> str:
    if group.size is None:
        return ""
    if not group.sizes_differ:
        return "equal"
    a, b = group.size
    text = f"{a:,.6g} -> {b:,.6g}"
    if a == b:  # the counts agree, or their means do
        text = ", ".join(name.removeprefix("count_").replace("_", " ") for name in group.sizes_differ)
    return f"{text} ({max(group.sizes_differ.values())} of {len(group.seeds)} seeds)"


def _ratio(ratio: Interval | None) -> str:
    if ratio is None:
        return ""
    text = f"{ratio.value:.2f}×"
    return text if ratio.low is None else f"{text} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _seeds(seeds: list[int]) -> str:
    return f"seed{'s' * (len(seeds) != 1)} {' '.join(map(str, seeds))}"


def _values(values: list[str]) -> str:
    return ", ".join(formats.digest(value) if len(value) == 64 else value for value in values) or "not recorded"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
