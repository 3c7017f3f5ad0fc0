"""Learning rules beside exact gradients on the same network."""

from __future__ import annotations

from squeezebench.report import formats
from squeezebench.report.results import Results
from squeezebench.report.rules import COLUMNS, EXACT
from squeezebench.report.tabular import cells
from squeezebench.report.tabular.table import Cell, Row, Table, number_column, numeric, text_column
from squeezebench.report.words import captions

SECTION, PAGE = "rules", "rules"
SHOWN = ("task", "protocol", "method", "rule_label", "settings", "control", "seeds", "ok",
         "train_accuracy_mean", "validation_accuracy_mean", "test_accuracy_mean", "test_accuracy_half_width",
         "train_seconds_mean")  # fmt: skip


def build(results: Results) -> Table:
    """A line for each task and rule."""
    hints = captions(results.rule.name)["rules"]["hints"]
    columns = [
        text_column("Task", "task"),
        text_column("Rule", "rule_label"),
        numeric("Seeds", cells.seeds),
        numeric("Test accuracy", cells.accuracy("test_accuracy")),
        number_column("Training accuracy", "train_accuracy_mean", formats.percent),
        numeric("To BP", _to("exact"), hint=hints["exact"]),
        numeric("To BP per tick", _to("tick"), hint=hints["tick"]),
        number_column("Training, s", "train_seconds_mean", formats.amount, hint=hints["seconds"]),
    ]
    raw = [*SHOWN, *(f"{name}_{part}" for name in EXACT for part in COLUMNS)]
    return Table(columns, results.rules, {name: name for name in raw}, filters=("Task", "Rule"))


def _to(name: str):
    """The paired difference to one kind of partner; below it the smallest that could have been detected."""

    def cell(row: Row) -> Cell:
        if not row[f"{name}_n"] > 0:
            return Cell(formats.NONE)
        smallest = row[f"{name}_detectable"]
        note = "" if formats.absent(smallest) else f"detectable: {formats.points(smallest).lstrip('+')}"
        return cells.points(row[f"{name}_difference"], row[f"{name}_half_width"], int(row[f"{name}_n"]), note)

    return cell
