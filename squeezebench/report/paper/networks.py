"""Published tables of feed-forward networks beside ours: error, r_W, r_N and FLOP, and whether the printed row is met.

A printed row is a target: its error at no more of the weights, of the neurons and of the multiply-accumulates. Sizes
are read with the precision they are printed with, as the paper's own structure has to meet its own row (97-71-33 has
3.5906 % of the weights, printed as 3.59); the error is taken as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from squeezebench.report import formats
from squeezebench.report.gather import Gathered
from squeezebench.report.paper import cells
from squeezebench.report.paper.match import Pick, matching, pick
from squeezebench.report.sizes import SHARES, WEIGHTS
from squeezebench.report.statistics.picks import ranked
from squeezebench.report.statistics.spread import VERDICT_SEEDS
from squeezebench.report.tabular.cells import error, latency, share, structure_cell
from squeezebench.report.tabular.table import Cell, Column, Row, Table, number_column, numeric, text_cell
from squeezebench.report.words import captions
from squeezebench.schema.printed import OurRow, PublishedTable
from squeezebench.schema.reference import plain_number, read_block

# What a row may print: (column of the block, its unit, column of a run group, of a run, name on the page).
TARGETS = {
    "error": ("error_pct", 1e-2, "test_error_mean", "error", "error"),
    "weights": ("r_W_pct", 1e-2, "share_weights_mean", "share_weights", "r_W"),
    "neurons": ("r_N_pct", 1e-2, "share_neurons_mean", "share_neurons", "r_N"),
    "macs": ("flop_M", 1e6, "macs_mean", "macs", "FLOP"),
}
PRINTED = ["row", "kind", *(f"printed_{what}" for what in TARGETS), "printed_structure", "printed_error_extra"]
OURS = ["task", "protocol", "method", "settings", "control", "stale", "seeds", "ok",
        "validation_accuracy_mean", "test_accuracy_mean", "test_accuracy_half_width",
        "test_accuracy_before_fine_tuning_mean", "test_accuracy_before_fine_tuning_half_width",
        "size_mean", "size_half_width",
        "ratio_size", "baseline", *(f"{name}_{part}" for name in (*SHARES.values(), "macs", "bytes")
        for part in ("mean", "half_width")), "dense_macs_mean", "kept_structure", "of_structure",
        "latency_ms_batch_1_mean", "same_runtime_dense_latency_ms_batch_1_mean"]  # fmt: skip
ADDED = ["test_error_mean", "test_error_half_width", "verdict", "seeds_that_meet_all", *(f"meets_{t}" for t in TARGETS),
         "picked", "differs"]  # fmt: skip
CHIPS = {"reached": "supported", "missed": "contradicted", "undecided": "undecided", "not run": "not-run"}


def most(line: Mapping[str, str], what: str) -> float:
    """The largest value that meets a printed figure, as a fraction or a count; NaN if nothing is printed."""
    column, unit, *_ = TARGETS[what]
    text = line.get(column, "").strip()
    if (value := plain_number(text)) is None:
        return math.nan
    digits = len(text.partition(".")[2])
    room = 0.0 if what == "error" else 0.5 * 10.0**-digits
    return (value + room) * unit * (1 + 1e-12)


def networks_table(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Table:
    """Layout `networks`: one line per printed row in the paper's order, then those that the paper does not have."""
    frame = beside(table, groups, gathered)
    hints = captions(WEIGHTS.name)["hints"] | captions()["paper"]["hints"]
    paper, ours = cells.headings(table)
    columns = [Column("Method", cells.name), numeric("Error", cells.printed("printed_error", " %"), group=paper)]
    if frame["printed_error_extra"].notna().any():
        columns.append(numeric("In brackets", _extra, group=paper, hint=hints["extra"]))
    for what, unit in (("weights", " %"), ("neurons", " %"), ("macs", " M")):
        if frame[f"printed_{what}"].notna().any():
            columns.append(numeric(TARGETS[what][4], cells.printed(f"printed_{what}", unit), group=paper))
    if frame["printed_structure"].notna().any():
        columns.append(Column("Structure", lambda row: text_cell(_text(row["printed_structure"])), group=paper))
    before = numeric("Before fine-tuning", cells.if_run(error("test_accuracy_before_fine_tuning")), group=ours,
                     hint=hints["before"])  # fmt: skip
    columns += [
        numeric("Error", cells.if_run(error("test_accuracy")), group=ours, hint=hints["error"]),
        *([before] if frame["test_accuracy_before_fine_tuning_mean"].notna().any() else []),
        numeric("r_W", share("share_weights"), group=ours, hint=hints["share_weights"]),
        numeric("r_N", share("share_neurons"), group=ours, hint=hints["share_neurons"]),
        number_column("FLOP", "macs_mean", _millions, group=ours, hint=hints["macs"]),
        Column("Structure", _structure, group=ours, hint=hints["structure"]),
        number_column("On disk", "bytes_mean", formats.size, group=ours, hint=hints["bytes"], tex=False),
        numeric("Latency, ms", latency("latency_ms_batch_1"), group=ours, hint=hints["latency"], tex=False),
        Column("Printed row", _verdict, hint=hints["met"]),
    ]
    return Table(columns, frame, WEIGHTS.raw([*PRINTED, *OURS, *ADDED]), cells.caption(table), table.name)


def beside(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> pd.DataFrame:
    """The lines of the table. `kind` as in paper.beside; `verdict` and the facts behind it only if a row has both."""
    block = read_block(table.printed)
    lines = []
    for key, line in zip(block.keys, block.lines, strict=True):
        printed: Row = {"row": key, "kind": "printed only", "printed_structure": line.get("pruned_model") or None,
                        "printed_error_extra": line.get("error_extra") or None}  # fmt: skip
        for what, (column, unit, *_) in TARGETS.items():
            value = plain_number(line.get(column, ""))
            printed[f"printed_{what}"] = None if value is None else round(value * unit, 9)
            printed[f"printed_{what}_text"] = line.get(column, "")
        ours = _ours(table, table.rows[key], line, groups, gathered) if key in table.rows else {}
        lines.append(printed | ours)
    lines += [{"row": name} | _ours(table, row, {}, groups, gathered) for name, row in table.also.items()]
    texts = [f"printed_{what}_text" for what in TARGETS]
    frame = pd.DataFrame(lines, columns=[*PRINTED, *OURS, *ADDED, *texts, "label", "said"])
    numbers = [name for name in frame if name.endswith(("_mean", "_half_width"))]
    frame = frame.astype(dict.fromkeys([*numbers, *(f"printed_{w}" for w in TARGETS), "ratio_size", "ok"], float))
    frame = frame.astype({"seeds_that_meet_all": "Int64"})
    return frame.assign(also=frame["row"].isin(list(table.also)), differs=table.differs)


def _ours(table: PublishedTable, row: OurRow, line: Mapping[str, str], groups: pd.DataFrame, gathered: Gathered) -> Row:
    (task,) = table.tasks_of(row, gathered.tasks) or [""]
    chosen = closest(row, line, task, groups)
    ours, group = cells.ours(chosen, row, task, groups, OURS), chosen.group
    if group is None:
        return ours
    error = {
        "test_error_mean": 1 - group["test_accuracy_mean"],
        "test_error_half_width": group["test_accuracy_half_width"],
    }
    return ours | error | (_judged(line, group, gathered) if line else {})


def closest(row: OurRow, line: Mapping[str, str], task: str, groups: pd.DataFrame) -> Pick:
    """Of a row's settings those that are as small as printed, the best of them on validation; if none is, the
    smallest. A row that says itself how to pick (`at_least`, `pick: smallest`) is picked as in every other table."""
    candidates = matching(row, task, groups)
    able = ranked(candidates)
    if not line or row.at_least is not None or row.pick != "best" or len(able) < 2:
        return pick(row, task, groups)
    fits = pd.Series(True, index=able.index)
    for what in ("weights", "neurons", "macs"):
        if not math.isnan(bound := most(line, what)):
            fits &= able[TARGETS[what][2]] <= bound
    of = f"{len(able)} settings"
    if fits.any():
        return Pick(able[fits].iloc[0], f"best on validation of {int(fits.sum())} of {of} that are as small as printed")
    return Pick(able.loc[able["size_mean"].idxmin()], f"the smallest of {of}; none is as small as printed")


def _judged(line: Mapping[str, str], group: pd.Series, gathered: Gathered) -> Row:
    """Whether every printed figure is met: by the whole interval over seeds, by none of one, or undecided."""
    runs = gathered.runs_of(group)
    runs = runs.assign(error=1 - runs["test"])
    wanted = {what: bound for what in TARGETS if not math.isnan(bound := most(line, what))}
    meets, outside, undecided, every = {}, [], [], np.ones(len(runs), bool)
    for what, bound in wanted.items():
        *_, column, name = TARGETS[what]
        of_group = "test_accuracy" if what == "error" else TARGETS[what][2].removesuffix("_mean")
        mean = 1 - group["test_accuracy_mean"] if what == "error" else group[TARGETS[what][2]]
        half = 0.0 if formats.absent(group[f"{of_group}_half_width"]) else group[f"{of_group}_half_width"]
        every &= (runs[column] <= bound).to_numpy()
        meets[f"meets_{what}"] = bool(mean <= bound)
        if mean - half > bound:
            outside.append(name)
        elif not mean + half <= bound:
            undecided.append(name)
    over = [TARGETS[what][4] for what in wanted if not meets[f"meets_{what}"]]
    verdict = "missed" if outside else "undecided" if undecided else "reached"
    said = f"on average {', '.join(over)} {'is' if len(over) == 1 else 'are'} above" if over else "on average all met"
    if group["ok"] < VERDICT_SEEDS:
        verdict, said = "undecided", f"not enough seeds; {said}"
    elif undecided and not outside:
        said += f"; the interval of {', '.join(undecided)} does not settle it"
    number = f"{int(every.sum())} of {formats.plural(len(runs), 'seed')}"
    return meets | {"verdict": verdict, "seeds_that_meet_all": int(every.sum()),
                    "said": f"{said}; {number} {'meets' if len(runs) == 1 else 'meet'} all"}  # fmt: skip


def _extra(row: Row) -> Cell:
    """The second error of a row, which the paper prints in brackets."""
    extra = _text(row["printed_error_extra"])
    return Cell(f"{extra}{formats.NBSP}%" if extra else formats.NONE)


def _text(value: str | float | None) -> str:
    """A missing text is NaN in a frame."""
    return value if isinstance(value, str) else ""


def _millions(value: float) -> str:
    """Multiply-accumulates in the unit that the papers print them in."""
    return f"{formats.significant(value / 1e6)}{formats.NBSP}M"


def _structure(row: Row) -> Cell:
    return structure_cell(row) if row["kind"] == "run" else Cell(formats.NONE)


def _verdict(row: Row) -> Cell:
    if row["kind"] == "not run" and not row["also"]:
        return Cell("not run", chip=CHIPS["not run"])
    if not isinstance(row["verdict"], str):
        return Cell(formats.NONE)
    return Cell(row["verdict"], chip=CHIPS[row["verdict"]], note=row["said"])
