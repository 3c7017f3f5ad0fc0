"""Every record in one line, with the place of its file: what each number can be traced to."""

from __future__ import annotations

import pandas as pd

from squeezebench.report.results import Results
from squeezebench.report.sizes import OF_RUNS, RECURRENT, rule_of, sized
from squeezebench.report.statistics.groups import MEASURED
from squeezebench.report.tabular.table import Table

SECTION = ""  # raw data, which makes no sense in print
SUFFIXES = ("csv",)


def build(results: Results) -> Table:
    """Files only: a page of thousands of lines helps nobody."""
    rule = rule_of(results.gathered.runs)
    names = ["path", "status", "reason", "task", "protocol", "method", "settings", "seed", "control", "stale",
             "left_out", *MEASURED, "baseline", "baseline_size", *([] if rule is RECURRENT else OF_RUNS),
             "inputs_digest", "engine_digest", "method_digest", "split_digest", "machine", "threads",
             "finished"]  # fmt: skip
    return Table([], pd.concat([results.gathered.runs, sized(results.gathered.left_out)]), rule.raw(names))
