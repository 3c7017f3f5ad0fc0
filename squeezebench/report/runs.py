"""`squeezebench.results`: the runs of an experiment as one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from squeezebench.base.errors import InputError
from squeezebench.report.gather import gather

# What a row holds beside its numbers that is no number or text, or names files and digests.
NESTED = ("confusion", "predictions", "group_codes", "class_names", "notes", "task_spec", "packages")
OF_THE_REPORT = ("folder", "inputs", "shared_inputs", "left_out", "size_rule")


def results(folder: str | Path) -> pd.DataFrame:
    """The records of an experiment's folder, or of one run's, as a DataFrame with one row for each run.

    `method`, `task`, `seed`, `varied` (the settings that differ from the defaults, JSON), `ratio` (how many times fewer
    parameters than the dense network, by the rule of the task), `test`, `validation` and `train` (accuracies, fractions
    in [0, 1]), counts, latencies in milliseconds, and the rest of what the report reads (see
    squeezebench/schema/metrics.py). `status` is ok, failed or skipped, with `reason`. A number that was not measured is
    NaN. Runs whose inputs are not those of the plan are left out, as in the report.
    Raises InputError if there are no records in `folder`.
    """
    folder = Path(folder)
    gathered = gather(folder) if folder.is_dir() else None
    if gathered is None or gathered.runs.empty:
        raise InputError(f"{folder}: no such folder of results, or no records in it")
    runs = gathered.runs.drop(columns=[*NESTED, *OF_THE_REPORT])
    runs.insert(runs.columns.get_loc("test"), "ratio", runs["baseline_size"] / runs["count_size"])
    return runs
