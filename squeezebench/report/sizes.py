"""What the size of a network is: the one place that decides the rule, by the records of a task.

Recurrent networks are compared by the parameters of the recurrent part, 4h(d+h+2) (`lstm_total` of a record's counts),
feed-forward ones by the weights of their matrices and kernels (`weights`, the papers' r_W). A record that counts
weights says so by itself: recurrent runs leave the field out. Everything that orders, picks, draws or compares by size
reads the columns `size`, whatever the rule; `Rule` has the names that they go by on the page and in the CSV files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from squeezebench.report import formats

DENSE = ("dense", "dense_network")  # the uncompressed reference of recurrent and of feed-forward tasks
SMALLER = ("small_dense", "small_network")  # the control that every method has to beat: a dense model of the same size


@dataclass(frozen=True)
class Rule:
    """How sizes are counted. `name` is also the block of captions.yaml with the words that differ."""

    name: str
    noun: str  # what is counted
    nothing: str  # in the place of a ratio where nothing is left to count
    example: str  # what one input of the task is called
    smaller: str  # the method that is the dense model of the same size
    compression: str  # a ratio of sizes, as a heading
    column: str  # `size` in the CSV files
    count: str  # `count_size` there
    base: str  # `baseline_size` there

    def title(self) -> str:
        """As a heading."""
        return self.noun[0].upper() + self.noun[1:]

    def csv(self, name: str) -> str:
        """The name that a column of sizes has in a CSV file."""
        fixed = {"count_size": self.count, "baseline_size": self.base, "size_rule": "size_rule"}
        return fixed.get(name) or re.sub(r"(?<![^_])size(?![^_])", self.column, name)

    def raw(self, names) -> dict[str, str]:
        """Columns of a frame -> their names in a CSV file."""
        return {name: self.csv(name) for name in names}

    def ratio(self, value: float | None) -> str:
        return formats.ratio(value, self.nothing)


RECURRENT = Rule(
    "lstm_total", noun="LSTM parameters", nothing="no LSTM", example="sequence", smaller=SMALLER[0],
    compression="Compression of the LSTM", column="lstm_parameters", count="count_lstm_total",
    base="baseline_lstm_total",
)  # fmt: skip
WEIGHTS = Rule(
    "weights", noun="weights", nothing="no weights", example="example", smaller=SMALLER[1], compression="Compression",
    column="weights", count="count_weights", base="baseline_weights",
)  # fmt: skip
MIXED = Rule(  # of a page with tasks of both kinds; each task has the words of its own rule
    "mixed", noun="LSTM parameters or weights", nothing="nothing left", example="example", smaller="small dense",
    compression="Compression", column="size", count="count_size", base="baseline_size",
)  # fmt: skip
RULES = {rule.name: rule for rule in (RECURRENT, WEIGHTS, MIXED)}

# Columns that only feed-forward tasks have: of the runs what a group has a mean and an interval of, by its name there.
SHARES = {"count_neurons": "neurons", "share_weights": "share_weights", "share_neurons": "share_neurons",
          "share_macs": "share_macs"}  # fmt: skip
FEED_FORWARD = {*(f"{name}_{part}" for name in SHARES.values() for part in ("mean", "half_width")), "baseline_neurons",
                "kept_structure", "of_structure", "size_rule"}  # fmt: skip
OF_RUNS = ("size_rule", "count_neurons", "baseline_neurons", "kept_structure", "of_structure")  # columns of runs.csv


def sized(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the size rule of their task (`size_rule`), their size and their baseline's by it (`count_size`,
    `baseline_size`), and the shares of the baseline's weights, neurons and multiply-accumulates that are left."""
    counted = runs["count_weights"].notna() | runs["baseline_weights"].notna()
    tasks = set(runs.loc[counted, "task"])
    by_weights = runs["task"].isin(tasks)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = {f"share_{what}": runs[f"count_{what}"] / runs[f"baseline_{what}"] for what in ("weights", "neurons")}
        shares["share_macs"] = (runs["macs"] / runs["dense_macs"]).where(by_weights)
    return runs.assign(
        size_rule=np.where(by_weights, WEIGHTS.name, RECURRENT.name).astype(object),
        count_size=runs["count_weights"].where(by_weights, runs["count_lstm_total"]),
        baseline_size=runs["baseline_weights"].where(by_weights, runs["baseline_lstm_total"]),
        **shares,
    )


def rule_of(frame: pd.DataFrame) -> Rule:
    """The rule of all rows of a table of runs or groups; MIXED where they have several, RECURRENT without rows."""
    names = set(frame["size_rule"].dropna())
    return RULES[names.pop()] if len(names) == 1 else MIXED if names else RECURRENT


def of_row(row) -> Rule:
    """The rule of one run group (a row of either kind)."""
    return RULES[row["size_rule"]]


def structure(text: str) -> str:
    """The widths of one group as the papers print them: `97-71-33`. `text` has one structure a seed; where they differ
    the mean of each width, rounded to whole units."""
    every = [tuple(map(int, part.split("-"))) for part in text.split()]
    if not every or len({len(widths) for widths in every}) > 1:
        return " ".join(dict.fromkeys(text.split()))
    return "-".join(f"{np.mean(widths):.0f}" for widths in zip(*every, strict=True))
