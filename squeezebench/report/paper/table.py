"""Published tables beside ours: each printed row with its numbers as printed, recomputed, and as measured here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.audit import Check, audit
from squeezebench.report.gather import Gathered
from squeezebench.report.paper import cells
from squeezebench.report.paper.cells import parameters
from squeezebench.report.paper.match import pick, rule_of_table
from squeezebench.report.sizes import RECURRENT
from squeezebench.report.tabular.cells import accuracy, points
from squeezebench.report.tabular.table import Cell, Column, Row, Table, number_cell, number_column, numeric
from squeezebench.report.words import captions
from squeezebench.schema.printed import OurRow, PublishedTable
from squeezebench.schema.reference import Block, backbone_parameters, read_block, share

PRINTED = ["row", "kind", "printed_accuracy", "printed_lstm_parameters", "printed_total_parameters", "printed_ratio",
           "recomputed_lstm_parameters", "lstm_verdict", "lstm_remark", "lstm_readings",
           "recomputed_total_parameters", "total_verdict", "total_remark", "total_readings"]  # fmt: skip
OURS = ["task", "protocol", "method", "settings", "control", "stale", "seeds", "ok",
        "validation_accuracy_mean",
        "test_accuracy_mean", "test_accuracy_half_width", "size_mean", "size_half_width",
        "ratio_size", "baseline", "model_parameters_mean", "kept_inputs_mean", "of_inputs",
        "kept_hidden_mean", "of_hidden"]  # fmt: skip
ADDED = ["picked", "backbone", "backbone_parameters", "total_parameters", "difference", "differs"]
AUDITED = {"lstm": "LSTM sizes", "total": "Totals"}  # parts of the audit, in report/audit
DOUBTED = ("mismatch", "unexplained")  # verdicts of the audit that the table marks
TEXTS = ["printed_accuracy_text", "printed_lstm_parameters_text", "printed_total_parameters_text"]


def beside(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> pd.DataFrame:
    """One line per printed row, in the paper's order, then the rows that the paper does not have.

    `kind`: `run`, `not run` (asked for, no result), `cited` (the paper took it from elsewhere) or `printed only`.
    """
    block = read_block(table.printed)
    lines = []
    for number, key in enumerate(block.keys):
        line = {"row": key, "kind": "cited" if "[" in key else "printed only"} | _printed(block, number)
        lines.append(line | (_ours(table, table.rows[key], groups, gathered) if key in table.rows else {}))
    lines += [{"row": name} | _ours(table, row, groups, gathered) for name, row in table.also.items()]
    names = [*PRINTED, *OURS, *ADDED, *TEXTS, "printed_inputs", "printed_hidden", "label", "folds"]
    frame = pd.DataFrame(lines, columns=names)
    numbers = [name for name in names if name.endswith(("_mean", "_half_width", "parameters", "accuracy", "_readings"))]
    numbers += ["ratio_size", "of_inputs", "of_hidden", "ok", "printed_ratio", "printed_inputs", "printed_hidden"]
    frame = frame.astype(dict.fromkeys(numbers, float))
    return frame.assign(
        difference=frame["test_accuracy_mean"] - frame["printed_accuracy"],
        also=frame["row"].isin(list(table.also)),
        differs=table.differs,
    )


def _printed(block: Block, number: int) -> Row:
    """What line `number` of a block prints, and the audit of its sizes."""
    line = block.lines[number]
    printed: Row = {
        "printed_accuracy": share(line, "accuracy_pct"),
        "printed_accuracy_text": line.get("accuracy_pct", ""),
        "printed_ratio": block.ratio(line),
        "printed_inputs": line.get("input"),
        "printed_hidden": line.get("hidden"),
    }
    for what in ("lstm", "total"):
        printed[f"printed_{what}_parameters"] = block.size(line, what)
        printed[f"printed_{what}_parameters_text"] = block.size_text(line, what)
        checks = _audited().get((AUDITED[what], (block.name, block.size_column(what), number)), [])
        for check in checks[:1]:  # the first reading of several
            printed |= {f"recomputed_{what}_parameters": int(check.value), f"{what}_verdict": check.verdict,
                        f"{what}_remark": check.remark, f"{what}_readings": len(checks)}  # fmt: skip
    return printed


@cache
def _audited() -> dict[tuple, list[Check]]:
    """The audit's checks of sizes, by the part of the audit and the printed figure that each of them checks."""
    checks: dict[tuple, list[Check]] = {}
    for check in audit():
        if check.group in AUDITED.values() and check.value is not None:
            checks.setdefault((check.group, check.cells[0]), []).append(check)
    return checks


def _ours(table: PublishedTable, row: OurRow, groups: pd.DataFrame, gathered: Gathered) -> Row:
    (task,) = table.tasks_of(row, gathered.tasks) or [""]
    line = cells.ours(pick(row, task, groups), row, task, groups, [*OURS, "folds"] if "folds" in groups else OURS)
    backbone = row.backbone or table.backbone
    if line["kind"] == "run" and backbone:
        extra = backbone_parameters(backbone)
        line |= {"backbone_parameters": extra, "total_parameters": line["model_parameters_mean"] + extra}
    return line | ({"backbone": backbone or ""} if line["kind"] == "run" else {})


def paper_table(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Table:
    """Layouts `table` and `ladder`."""
    frame, rule = beside(table, groups, gathered), rule_of_table(table, groups, gathered)
    hints = captions(rule.name)["hints"] | captions()["paper"]["hints"]
    paper, ours = cells.headings(table)
    ladder = table.layout == "ladder"
    optional = [  # columns without a number are left out
        (frame["printed_lstm_parameters"].notna().any(),
         numeric("LSTM parameters", cells.printed("printed_lstm_parameters"), group=paper)),
        (frame["recomputed_lstm_parameters"].notna().any(),
         numeric("Recomputed", _recomputed, group=paper, hint=hints["recomputed"], tex=False)),
        (frame["printed_total_parameters"].notna().any(),
         numeric("Whole model", cells.printed("printed_total_parameters", note=_total_again), group=paper,
                 hint=hints["total"], tex=False)),
        (ladder, numeric("Share kept", _share(frame), group=paper, hint=hints["kept"])),
    ]  # fmt: skip
    columns = [
        Column("Inputs × hidden" if ladder else "Method", cells.name),
        numeric("Accuracy", cells.printed("printed_accuracy", " %"), group=paper),
        *(column for shown, column in optional if shown),
        numeric("Accuracy", cells.if_run(accuracy("test_accuracy")), group=ours, hint=hints["interval"]),
        number_column(rule.title(), "size_mean", parameters, group=ours),
        number_column("Ratio", "ratio_size", rule.ratio, group=ours, hint=hints["ratio"]),
    ]
    if frame["total_parameters"].notna().any():
        columns.append(numeric("Whole model", _total, group=ours, hint=hints["total"], tex=False))
    if frame["kept_hidden_mean"].notna().any() or rule is RECURRENT:
        columns.append(numeric("Inputs × hidden", _kept, group=ours, hint=hints["kept"], tex=ladder))
    columns.append(numeric("Points to printed", _difference, hint=hints["difference"]))
    return Table(columns, frame, rule.raw([*PRINTED, *OURS, *ADDED]), cells.caption(table), table.name)


def shares(inputs: float, hidden: float) -> str:
    """Parts of the inputs and of the hidden units that are kept: `4.7 % × 58.0 %`."""
    return " × ".join(f"{formats.significant(100 * share)}{formats.NBSP}%" for share in (inputs, hidden))


def _readings(row: Row, what: str) -> str:
    """Says so if the sources name several sizes: the first is shown."""
    return f"1 of {row[f'{what}_readings']:.0f} readings" if row[f"{what}_readings"] > 1 else ""


def _recomputed(row: Row) -> Cell:
    marks = (row["lstm_verdict"],) if row["lstm_verdict"] in DOUBTED else ()
    return number_cell(row["recomputed_lstm_parameters"], parameters, _readings(row, "lstm"), marks=marks)


def _total_again(row: Row) -> str:
    if row["total_verdict"] not in DOUBTED:
        return ""
    again = f"recomputed {parameters(row['recomputed_total_parameters'])}"
    return ", ".join(filter(None, [again, _readings(row, "total")]))


def _total(row: Row) -> Cell:
    return number_cell(row["total_parameters"], parameters, f"with {row['backbone']}")


def _kept(row: Row) -> Cell:
    """Kept inputs and hidden units, with their shares of the uncompressed model's below them."""
    inputs, hidden = row["kept_inputs_mean"], row["kept_hidden_mean"]
    if formats.absent(inputs) or formats.absent(hidden):
        return Cell(formats.NONE)
    whole = not (formats.absent(row["of_inputs"]) or formats.absent(row["of_hidden"]))
    note = shares(inputs / row["of_inputs"], hidden / row["of_hidden"]) if whole else ""
    return number_cell(inputs, lambda _: f"{formats.units(inputs, None)} × {formats.units(hidden, None)}", note)


def _share(frame: pd.DataFrame) -> Callable[[Row], Cell]:
    """Printed inputs and hidden units as shares of the block's largest."""
    whole = frame[["printed_inputs", "printed_hidden"]].max()

    def cell(row: Row) -> Cell:
        inputs, hidden = row["printed_inputs"], row["printed_hidden"]
        shown = inputs if not formats.absent(hidden) else None
        return number_cell(shown, lambda _: shares(inputs / whole["printed_inputs"], hidden / whole["printed_hidden"]))

    return cell


def _difference(row: Row) -> Cell:
    if formats.absent(row["difference"]):
        return Cell(formats.NONE)
    return points(row["difference"], row["test_accuracy_half_width"], row["ok"])
