"""Published tables beside ours: each printed row with its figures as printed, recomputed, and as measured here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.gather import Gathered
from squeezebench.report.paper.audited import audited_size
from squeezebench.report.paper.match import pick, rule_of_table, told_apart
from squeezebench.report.statistics.groups import ENOUGH_SEEDS
from squeezebench.report.tables.table import Cell, Column, Table
from squeezebench.report.tables.views import accuracy, marks
from squeezebench.report.words import captions
from squeezebench.schema.printed import OurRow, PublishedTable, backbone_parameters, read_block

Row = dict[str, Any]

PRINTED = ["row", "kind", "printed_accuracy", "printed_lstm_parameters", "printed_total_parameters", "printed_ratio",
           "recomputed_lstm_parameters", "lstm_verdict", "lstm_remark", "lstm_readings",
           "recomputed_total_parameters", "total_verdict", "total_remark", "total_readings"]  # fmt: skip
OURS = ["task", "protocol", "method", "settings", "control", "stale", "unplanned", "seeds", "ok",
        "validation_accuracy_mean",
        "test_accuracy_mean", "test_accuracy_half_width", "size_mean", "size_half_width",
        "ratio_size", "baseline", "model_parameters_mean", "kept_inputs_mean", "of_inputs",
        "kept_hidden_mean", "of_hidden"]  # fmt: skip
ADDED = ["picked", "backbone", "backbone_parameters", "total_parameters", "difference", "differs"]


def beside(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> pd.DataFrame:
    """One line per printed row, in the paper's order, then the rows that the paper does not have.

    `kind`: `run`, `not run` (asked for, no result), `cited` (the paper took it from elsewhere) or `printed only`.
    """
    block = read_block(table.printed)
    lines = []
    for number, (key, line) in enumerate(zip(block.keys, block.lines, strict=True)):
        printed = {
            "row": key,
            "printed_accuracy": block.accuracy(line),
            "printed_accuracy_text": line.get("accuracy_pct", ""),
            "printed_lstm_parameters": block.size(line),
            "printed_lstm_text": block.size_text(line),
            "printed_total_parameters": block.size(line, "total"),
            "printed_total_text": block.size_text(line, "total"),
            "printed_ratio": block.ratio(line),
            "printed_inputs": line.get("input"),
            "printed_hidden": line.get("hidden"),
        }
        for what in ("lstm", "total"):
            if found := audited_size(block, number, what):
                printed |= {f"recomputed_{what}_parameters": found.value, f"{what}_verdict": found.verdict,
                            f"{what}_remark": found.remark, f"{what}_readings": found.readings}  # fmt: skip
        ours = _ours(table, table.rows[key], groups, gathered) if key in table.rows else {}
        lines.append(printed | ({"kind": "cited" if "[" in key else "printed only"} | ours))
    lines += [{"row": name} | _ours(table, row, groups, gathered) for name, row in table.also.items()]
    names = [*PRINTED, *OURS, *ADDED, "printed_accuracy_text", "printed_lstm_text", "printed_total_text",
             "printed_inputs", "printed_hidden", "label"]  # fmt: skip
    frame = pd.DataFrame(lines, columns=names)
    numbers = [name for name in names if name.endswith(("_mean", "_half_width", "parameters", "accuracy"))]
    numbers += ["ratio_size", "of_inputs", "of_hidden", "ok"]
    numbers += ["printed_ratio", "printed_inputs", "printed_hidden", "lstm_readings", "total_readings"]
    frame = frame.astype(dict.fromkeys(numbers, float))
    frame["difference"] = frame["test_accuracy_mean"] - frame["printed_accuracy"]
    frame["also"] = frame["row"].isin(list(table.also))
    frame["differs"] = table.differs
    return frame


def _ours(table: PublishedTable, row: OurRow, groups: pd.DataFrame, gathered: Gathered) -> Row:
    (task,) = table.tasks_of(row, gathered.tasks) or [""]
    found = pick(row, task, groups)
    if found.group is None:
        return {"kind": "not run", "picked": found.words, "method": row.method, "task": task}
    backbone = row.backbone or table.backbone or ""
    extra = backbone_parameters(backbone) if backbone else None
    return {
        **{name: found.group[name] for name in OURS},
        "label": told_apart(found.group, groups),
        "kind": "run",
        "picked": found.words,
        "backbone": backbone,
        "backbone_parameters": extra,
        "total_parameters": None if extra is None else found.group["model_parameters_mean"] + extra,
    }


def paper_table(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Table:
    """Layouts `table` and `ladder`."""
    frame, rule = beside(table, groups, gathered), rule_of_table(table, groups, gathered)
    hints = captions(rule.name)["hints"] | captions()["paper"]["hints"]
    paper, ours = "Printed", "Ours, other data or protocol" if table.differs else "Ours"
    columns = [
        Column(_first(table), _name),
        Column("Accuracy", _printed("accuracy", " %"), numeric=True, group=paper),
        Column("LSTM parameters", _printed("lstm"), numeric=True, group=paper),
    ]
    if frame["recomputed_lstm_parameters"].notna().any():
        hint = hints["recomputed"]
        columns.append(Column("Recomputed", _recomputed, numeric=True, group=paper, hint=hint, tex=False))
    if frame["printed_total_parameters"].notna().any():
        total = _printed("total")
        columns.append(Column("Whole model", total, numeric=True, group=paper, hint=hints["total"], tex=False))
    if table.layout == "ladder":
        share = _share(frame, "printed_inputs", "printed_hidden")
        columns.append(Column("Share kept", share, numeric=True, group=paper, hint=hints["kept"]))
    columns += [
        Column("Accuracy", _our_accuracy, numeric=True, group=ours, hint=hints["interval"]),
        Column(rule.title(), _number("size_mean", parameters), numeric=True, group=ours),
        Column("Ratio", _number("ratio_size", rule.ratio), numeric=True, group=ours, hint=hints["ratio"]),
    ]
    if frame["total_parameters"].notna().any():
        columns.append(Column("Whole model", _total, numeric=True, group=ours, hint=hints["total"], tex=False))
    columns += [
        Column("Inputs × hidden", _kept, numeric=True, group=ours, hint=hints["kept"], tex=table.layout == "ladder"),
        Column("Points to printed", _difference, numeric=True, hint=hints["difference"]),
    ]
    return Table(table.name, columns, frame, rule.raw([*PRINTED, *OURS, *ADDED]), caption(table))


def caption(table: PublishedTable) -> str:
    """Title of the table and how ours differs, for the page and for print."""
    words = captions()["paper"]
    return formats.clean(f"{table.title}. {words['captions'][table.layout]}" + (
        f" {words['differs'].format(differs=table.differs)}" if table.differs else ""))  # fmt: skip


def parameters(value: float) -> str:
    """Few parameters to the last one, many to four digits, as the papers print them."""
    if value < 100_000:
        return f"{value:,.0f}"
    size, unit = (1e6, "M") if value >= 1e6 else (1e3, "k")
    return f"{formats.significant(value / size, 4)}{formats.NBSP}{unit}"


def shares(inputs: float, hidden: float) -> str:
    """Parts of the inputs and of the hidden units that are left: `4.7 % × 58.0 %`."""
    return " × ".join(f"{formats.significant(100 * share)}{formats.NBSP}%" for share in (inputs, hidden))


def _first(table: PublishedTable) -> str:
    return "Inputs × hidden" if table.layout == "ladder" else "Method"


def _name(row: Row) -> Cell:
    """The printed name, what kind of row it is, and which setting of ours stands beside it."""
    name = formats.clean(row["row"].replace(" x ", " × "))
    found = () if row["kind"] in ("run", "not run") else (row["kind"],)
    found += ("not in the paper",) if row["also"] else ()
    note = ""
    if row["kind"] == "run":
        found += tuple(mark for mark in marks(row) if row["also"] or mark != "control")
        note = formats.clean("; ".join(part for part in (row["label"], row["picked"]) if part))
    return Cell(name, marks=found, note=note)


def _number(key: str, show: Callable[[float], str]) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        return Cell(formats.NONE) if formats.absent(row[key]) else Cell(show(row[key]), float(row[key]))

    return cell


def _printed(what: str, unit: str = "") -> Callable[[Row], Cell]:
    """A figure as printed, digit by digit."""
    key = {"accuracy": "printed_accuracy", "lstm": "printed_lstm_parameters", "total": "printed_total_parameters"}[what]

    def cell(row: Row) -> Cell:
        if formats.absent(row[key]):
            return Cell(formats.NONE)
        text = re.sub(r"(?<=\d)M$", f"{formats.NBSP}M", formats.clean(row[f"printed_{what}_text"]))
        parts = []
        if what == "total" and row["total_verdict"] == "mismatch":
            parts = [f"recomputed {parameters(row['recomputed_total_parameters'])}", readings(row, "total")]
        return Cell(text + unit.replace(" ", formats.NBSP), row[key], note=", ".join(filter(None, parts)))

    return cell


def _recomputed(row: Row) -> Cell:
    value = row["recomputed_lstm_parameters"]
    if formats.absent(value):
        return Cell(formats.NONE)
    found = ("mismatch",) if row["lstm_verdict"] == "mismatch" else ()
    return Cell(parameters(value), value, marks=found, note=readings(row, "lstm"))


def readings(row: Row, what: str) -> str:
    """Says so where the sources name several sizes: the first is shown."""
    number = int(row[f"{what}_readings"])
    return f"1 of {number} readings" if number > 1 else ""


def _our_accuracy(row: Row) -> Cell:
    if row["kind"] == "run":
        cell = accuracy("test_accuracy")(row)
        return cell if cell.note else replace(cell, note=formats.plural(int(row["ok"]), "seed"))
    if row["kind"] == "not run":
        return Cell("not run", note="" if row["picked"] == "not run" else row["picked"])
    return Cell(formats.NONE)


def _total(row: Row) -> Cell:
    if row["kind"] != "run" or formats.absent(row["model_parameters_mean"]):
        return Cell(formats.NONE)
    if formats.absent(row["total_parameters"]):
        return Cell(formats.NONE)
    return Cell(parameters(row["total_parameters"]), row["total_parameters"], note=f"with {row['backbone']}")


def _kept(row: Row) -> Cell:
    inputs, hidden = row["kept_inputs_mean"], row["kept_hidden_mean"]
    if formats.absent(inputs) or formats.absent(hidden):
        return Cell(formats.NONE)
    text = f"{formats.units(inputs, None)} × {formats.units(hidden, None)}"
    if formats.absent(row["of_inputs"]) or formats.absent(row["of_hidden"]):
        return Cell(text, inputs)
    return Cell(text, inputs, note=shares(inputs / row["of_inputs"], hidden / row["of_hidden"]))


def _share(frame: pd.DataFrame, inputs: str, hidden: str) -> Callable[[Row], Cell]:
    """Kept inputs and hidden units as shares of the block's largest."""
    of_inputs, of_hidden = frame[inputs].max(), frame[hidden].max()

    def cell(row: Row) -> Cell:
        if formats.absent(row[inputs]) or formats.absent(row[hidden]):
            return Cell(formats.NONE)
        return Cell(shares(row[inputs] / of_inputs, row[hidden] / of_hidden), row[inputs])

    return cell


def _difference(row: Row) -> Cell:
    mean, half = row["difference"], row["test_accuracy_half_width"]
    if formats.absent(mean):
        return Cell(formats.NONE)
    if formats.absent(half) or row["ok"] < ENOUGH_SEEDS:
        return Cell("not enough seeds")
    return Cell(formats.points_interval(mean, half), mean)
