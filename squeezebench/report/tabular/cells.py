"""Cells of run groups that several tables show."""

from __future__ import annotations

from collections.abc import Callable

from squeezebench.report import formats
from squeezebench.report.sizes import DENSE, of_row, structure
from squeezebench.report.statistics.spread import ENOUGH_SEEDS
from squeezebench.report.tabular.table import Cell, Column, Row, number_cell, text_cell, text_column
from squeezebench.schema.metrics import Metric

FEW = "not enough seeds"


def marks(row: Row) -> tuple[str, ...]:
    """What a reader must know about a group wherever it appears."""
    shown = ["control"] if row["control"] else []
    shown += {"as_released": ["as released"], "paper": ["paper's protocol"]}.get(row["protocol"], [])
    shown += [f"{int(row['stale'])} stale"] if row["stale"] else []
    return tuple(shown)


def _letters(name: str) -> str:
    """Letters and digits alone: `vib_lstm` under the title VIB-LSTM would say nothing new."""
    return "".join(character for character in name.lower() if character.isalnum())


def method(row: Row) -> Cell:
    """A method's title with its marks, and its name if the title does not contain it."""
    label, name = row["method_label"], row["method"]
    return text_cell(label, "" if _letters(name) in _letters(formats.clean(label)) else name, marks(row))


NAMED = (text_column("Task", "task"), Column("Method", method), text_column("Settings", "settings_label"))


def seeds(row: Row) -> Cell:
    """`3`, or `2 of 3` with what became of the others."""
    parts = {kind: int(row[kind]) for kind in ("failed", "skipped", "missing") if row[kind]}
    ok, wanted = int(row["ok"]), int(row["ok"]) + sum(parts.values())
    note = ", ".join(f"{number} {kind}" for kind, number in parts.items())
    return Cell(f"{ok}{formats.NBSP}of{formats.NBSP}{wanted}" if parts else str(ok), ok, note=note)


def with_interval(key: str, show: Callable[[float, float], str], complement: bool = False, said: bool = True):
    """A mean with half of its interval, as `show` writes the two; `complement`: 1 minus the mean."""

    def cell(row: Row) -> Cell:
        mean, half = row[f"{key}_mean"], row[f"{key}_half_width"]
        note = _no_interval(row) if said and formats.absent(half) else ""
        return number_cell(1 - mean if complement else mean, lambda value: show(value, half), note)

    return cell


def _no_interval(row: Row) -> str:
    """Of how many seeds the mean is that has no interval: of one or two, or of runs that lack the number."""
    ok = int(row["ok"])
    few = "one seed" if ok == 1 else formats.plural(ok, "seed")
    return f"{few}, no interval" if ok < ENOUGH_SEEDS else "no interval"


def accuracy(key: str) -> Callable[[Row], Cell]:
    return with_interval(key, formats.percent_interval)


def error(key: str) -> Callable[[Row], Cell]:
    """100 % minus an accuracy, with two digits after the point: the papers on images print errors of a few per cent."""
    return with_interval(key, formats.share_interval, complement=True)


def share(key: str) -> Callable[[Row], Cell]:
    """A share of the baseline's count in per cent, as the papers print r_W and r_N."""
    return with_interval(key, formats.share_interval, said=False)


def ratio(row: Row) -> Cell:
    """The ratio, its interval if the seeds have different sizes, and its baseline."""
    value, low = row["ratio_size"], row["ratio_size_low"]
    ends = [of_row(row).ratio(row[f"ratio_size_{end}"]) for end in ("low", "high")]
    interval = "" if formats.absent(low) or ends[0] == ends[1] else f" [{ends[0]}, {ends[1]}]"
    note = f"vs {row['baseline']}" if row["baseline"] else ""
    return number_cell(value, lambda number: of_row(row).ratio(number) + interval, note)


def structure_cell(row: Row) -> Cell:
    """The widths that are kept, `97-71-33`, with the uncompressed network's below them."""
    of = structure(row["of_structure"])
    return Cell(structure(row["kept_structure"]) or formats.NONE, note=f"of {of}" if of else "")


def kept(key: str) -> Callable[[Row], Cell]:
    """Kept units of so many."""
    return lambda row: number_cell(
        row[f"{key}_mean"], lambda value: formats.units(value, row[key.replace("kept", "of")])
    )


def beside_dense(key: str, dense: str, show: Callable[[float], str]) -> Callable[[Row], Cell]:
    """A number of the compact module, with that of the dense model (column `dense`) below it."""

    def cell(row: Row) -> Cell:
        note = "" if row["method"] in DENSE or formats.absent(row[dense]) else f"dense {show(row[dense])}"
        return number_cell(row[key], show, note)

    return cell


def latency(key: str) -> Callable[[Row], Cell]:
    """Milliseconds, beside those of the dense network in the same runtime."""
    return beside_dense(f"{key}_mean", f"same_runtime_dense_{key}_mean", formats.amount)


def timed(median: str, low: str, high: str) -> Callable[[Row], Cell]:
    """A median of milliseconds with its quartiles below it, from the columns of these names."""

    def cell(row: Row) -> Cell:
        quartiles = f"{formats.amount(row[low])} to {formats.amount(row[high])}"
        return number_cell(row[median], formats.amount, "" if formats.absent(row[low]) else quartiles)

    return cell


def of_metric(metric: Metric) -> Callable[[Row], Cell]:
    """The mean of a metric over the seeds of a run group, as its unit is written."""
    if metric.unit in (special := {"fraction": accuracy, "units": kept, "ms": latency}):
        return special[metric.unit](metric.group)
    show = {"parameters": formats.count, "MACs": formats.count, "bytes": formats.size, "s": formats.amount}[metric.unit]
    return lambda row: number_cell(row[f"{metric.group}_mean"], show)


def points(mean: float, half: float, number: int, note: str = "", few: str = "") -> Cell:
    """A difference of accuracies with its interval; below ENOUGH_SEEDS these words instead."""
    if number < ENOUGH_SEEDS or formats.absent(half):
        return Cell(FEW, note=formats.clean(few))
    return number_cell(mean, lambda value: formats.points_interval(value, half), note)
