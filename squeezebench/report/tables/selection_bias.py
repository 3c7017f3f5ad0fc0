"""What the protocol `as_released` adds: the accuracy of the best test epoch minus that of the final epoch."""

from __future__ import annotations

from squeezebench.report import formats
from squeezebench.report.results import Results
from squeezebench.report.statistics.groups import selection_bias
from squeezebench.report.tabular import cells
from squeezebench.report.tabular.table import Table, number_column, numeric

SECTION = "protocol"


def build(results: Results) -> Table:
    """One line per run group of that protocol."""
    keys = ["task", "protocol", "method", "settings"]
    names = [*keys, "method_label", "settings_label", "control", "stale"]
    frame = selection_bias(results.gathered).merge(results.groups[names], on=keys, how="left")
    columns = [
        *cells.NAMED,
        number_column("Seeds", "n", "{:.0f}".format),
        number_column("Best test epoch", "test", formats.percent),
        number_column("Final epoch", "test_final_epoch", formats.percent),
        numeric(
            "Selection bias, points", lambda row: cells.points(row["selection_bias"], row["half_width"], int(row["n"]))
        ),
    ]
    return Table(columns, frame, {name: name for name in frame if not name.endswith("_label")})
