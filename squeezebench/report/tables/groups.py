"""Every run group."""

from __future__ import annotations

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.results import Results
from squeezebench.report.sizes import FEED_FORWARD, RECURRENT, WEIGHTS, rule_of
from squeezebench.report.statistics.compare import COMPARED
from squeezebench.report.statistics.picks import PARTNERS
from squeezebench.report.tabular import cells
from squeezebench.report.tabular.table import Column, Table, number_column, numeric
from squeezebench.report.words import captions
from squeezebench.schema.metrics import GROUPS, Unit

SECTION = "groups"
DETAILS = ("validation_accuracy", "macro_f1", "balanced_accuracy", "model_parameters", "kept_inputs", "bytes")


def build(results: Results) -> Table:
    """One line per task, protocol, method and settings."""
    groups, rule = results.groups, results.rule
    hints = captions(rule.name)["hints"]
    of_images = [
        numeric("Error", cells.error("test_accuracy"), hint=hints["error"], detail=True),
        numeric("r_W", cells.share("share_weights"), hint=hints["share_weights"], detail=True),
        numeric("r_N", cells.share("share_neurons"), hint=hints["share_neurons"], detail=True),
        Column("Structure", cells.structure_cell, hint=hints["structure"]),
    ]
    columns = [
        *cells.NAMED,
        numeric("Seeds", cells.seeds, hint=hints["seeds"]),
        *_metrics(hints, "fraction"),
        number_column(rule.title(), "size_mean", formats.count, hint=hints["lstm_parameters"]),
        numeric(f"Ratio ({rule.noun})", cells.ratio, hint=hints["ratio"]),
        *_metrics(hints, "parameters"),
        *([] if rule is WEIGHTS else _metrics(hints, "units")),
        *([] if rule is RECURRENT else of_images),
        *_metrics(hints, "bytes", "MACs", "ms", "s"),
    ]
    return Table(columns, groups, _raw(groups))


def _metrics(hints: dict[str, str], *units: Unit) -> list[Column]:
    """The columns of the metric table that are counted in these units, in its order."""
    return [
        numeric(
            f"{metric.title}, {metric.unit}" if metric.unit in ("ms", "s") else metric.title,
            cells.of_metric(metric),
            hint=hints.get(metric.hint, metric.hint),
            tex=metric.tex,
            detail=metric.group in DETAILS,
        )
        for metric in GROUPS
        if metric.title and metric.unit in units
    ]


def _raw(groups: pd.DataFrame) -> dict[str, str]:
    """All columns with every digit; without those of feed-forward tasks if there is no such task."""
    rule = rule_of(groups)
    hidden = {"folder", "method_label", "settings_label"}
    hidden |= {f"{which}_{part}" for which in PARTNERS for part in COMPARED}
    hidden |= FEED_FORWARD if rule is RECURRENT else set()
    return rule.raw(name for name in groups if name not in hidden)
