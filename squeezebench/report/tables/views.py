"""The tables of the report: which columns they have and how each reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.gather import Gathered
from squeezebench.report.sizes import FEED_FORWARD, MIXED, OF_RUNS, RECURRENT, of_row, rule_of, structure
from squeezebench.report.statistics.compare import COMPARED, PARTNERS
from squeezebench.report.statistics.groups import ENOUGH_SEEDS, MEASURED, selection_bias
from squeezebench.report.tables.table import Cell, Column, Table, number_column, text_column
from squeezebench.report.words import captions
from squeezebench.schema.metrics import GROUPS, Metric, Unit

Row = dict[str, Any]


def marks(row: Row) -> tuple[str, ...]:
    """What a reader must know about a group wherever it appears."""
    found = ["control"] if row["control"] else []
    found += {"as_released": ["as released"], "paper": ["paper's protocol"]}.get(row["protocol"], [])
    found += [f"{int(row['stale'])} stale"] if row["stale"] else []
    found += ["not in the plan"] if row["unplanned"] else []
    return tuple(found)


def _bare(name: str) -> str:
    """Letters and digits alone: `vib_lstm` under the title VIB-LSTM would say nothing new."""
    return "".join(character for character in name.lower() if character.isalnum())


def method_cell(row: Row) -> Cell:
    label = formats.clean(row["method_label"])
    return Cell(
        label,
        marks=marks(row),
        note="" if _bare(row["method"]) in _bare(label) else formats.clean(row["method"]),
    )


def _seeds(row: Row) -> Cell:
    """`3`, or `2 of 3` with what became of the rest."""
    parts = {kind: int(row[kind]) for kind in ("failed", "skipped", "missing") if row[kind]}
    ok, wanted = int(row["ok"]), int(row["ok"]) + sum(parts.values())
    note = ", ".join(f"{number} {kind}" for kind, number in parts.items())
    return Cell(f"{ok}{formats.NBSP}of{formats.NBSP}{wanted}" if parts else str(ok), ok, note=note)


def accuracy(key: str):
    def cell(row: Row) -> Cell:
        mean, half = row[f"{key}_mean"], row[f"{key}_half_width"]
        note = "one seed, no interval" if not formats.absent(mean) and formats.absent(half) else ""
        return Cell(formats.percent_interval(mean, half), None if formats.absent(mean) else mean, note=note)

    return cell


def ratio(row: Row) -> Cell:
    """The ratio, its interval where the seeds have different sizes, and what it is a ratio to."""
    value, low, high = (row[f"ratio_size{end}"] for end in ("", "_low", "_high"))
    note = f"vs {formats.clean(row['baseline'])}" if row["baseline"] and not formats.absent(value) else ""
    shown, shown_low, shown_high = map(of_row(row).ratio, (value, low, high))
    text = shown if formats.absent(low) or shown_low == shown_high else f"{shown} [{shown_low}, {shown_high}]"
    return Cell(text, None if formats.absent(value) else value, note=note)


def error(key: str):
    """100 % minus an accuracy, with two digits after the point: the papers on images print errors of a few per cent."""

    def cell(row: Row) -> Cell:
        mean, half = row[f"{key}_mean"], row[f"{key}_half_width"]
        if formats.absent(mean):
            return Cell(formats.NONE)
        note = "one seed, no interval" if formats.absent(half) else ""
        return Cell(formats.share_interval(1 - mean, half), float(1 - mean), note=note)

    return cell


def share(key: str):
    """A share of the baseline's count in per cent, as the papers print r_W and r_N."""

    def cell(row: Row) -> Cell:
        mean = row[f"{key}_mean"]
        if formats.absent(mean):
            return Cell(formats.NONE)
        return Cell(formats.share_interval(mean, row[f"{key}_half_width"]), float(mean))

    return cell


def structure_cell(row: Row) -> Cell:
    """The widths that are kept, `97-71-33`, with the uncompressed network's below them."""
    of = structure(row["of_structure"])
    return Cell(structure(row["kept_structure"]) or formats.NONE, note=f"of {of}" if of else "")


def _kept(which: str):
    def cell(row: Row) -> Cell:
        kept = row[f"{which}_mean"]
        of = row["of_inputs" if which == "kept_inputs" else "of_hidden"]
        return Cell(formats.units(kept, of), None if formats.absent(kept) else kept)

    return cell


def latency(key: str):
    """A latency with the dense network's below it."""

    def cell(row: Row) -> Cell:
        own, dense = row[f"{key}_mean"], row[f"dense_{key}_mean"]
        note = "" if formats.absent(dense) else f"dense {formats.amount(dense)}"
        return Cell(formats.amount(own), None if formats.absent(own) else own, note=note)

    return cell


CELLS = {"fraction": accuracy, "units": _kept, "ms": latency}  # units whose cells are more than a number


def _metric_columns(hints: dict[str, str], *units: Unit) -> list[Column]:
    """The columns of the metric table that are counted in these units, in its order."""
    return [
        Column(
            f"{metric.title}, {metric.unit}" if metric.unit in ("ms", "s") else metric.title,
            _metric_cell(metric),
            numeric=True,
            hint=hints.get(metric.hint, metric.hint),
            tex=metric.tex,
        )
        for metric in GROUPS
        if metric.title and metric.unit in units
    ]


def _metric_cell(metric: Metric) -> Callable[[Row], Cell]:
    if metric.unit in CELLS:
        return CELLS[metric.unit](metric.group)
    show = {"parameters": formats.count, "MACs": formats.count, "bytes": formats.size, "s": formats.amount}[metric.unit]
    return number_column("", f"{metric.group}_mean", show).cell


def groups_table(groups: pd.DataFrame) -> Table:
    """Every run group."""
    rule = rule_of(groups)
    words = captions(rule.name)
    hints = words["hints"]
    of_recurrent = _metric_columns(hints, "units")
    of_images = [
        Column("Error", error("test_accuracy"), numeric=True, hint=hints["error"]),
        Column("r_W", share("share_weights"), numeric=True, hint=hints["share_weights"]),
        Column("r_N", share("share_neurons"), numeric=True, hint=hints["share_neurons"]),
        Column("Structure", structure_cell, hint=hints["structure"]),
    ]
    kept = {RECURRENT: of_recurrent, MIXED: [*of_recurrent, *of_images]}.get(rule, of_images)
    columns = [
        text_column("Task", "task"),
        Column("Method", method_cell),
        text_column("Settings", "settings_label"),
        Column("Seeds", _seeds, numeric=True, hint=hints["seeds"]),
        *_metric_columns(hints, "fraction"),
        number_column(rule.title(), "size_mean", formats.count, hint=hints["lstm_parameters"]),
        Column(f"Ratio ({rule.noun})", ratio, numeric=True, hint=hints["ratio"]),
        *_metric_columns(hints, "parameters"),
        *kept,
        *_metric_columns(hints, "bytes", "MACs", "ms", "s"),
    ]
    return Table("groups", columns, groups, _raw(groups), words["tables"]["groups"])


def _raw(groups: pd.DataFrame) -> dict[str, str]:
    """Columns of groups.csv, all of them with every digit; without those of feed-forward tasks where there is none."""
    rule = rule_of(groups)
    hidden = {"folder", "method_label", "settings_label"}
    hidden |= {f"{which}_{part}" for which in PARTNERS for part in COMPARED}
    hidden |= FEED_FORWARD if rule is RECURRENT else set()
    return rule.raw(name for name in groups if name not in hidden)


def _difference(which: str, names: dict[int, str]):
    """The paired difference of a group to its partner, with the partner's name below it."""

    def cell(row: Row) -> Cell:
        partner, n = row[f"{which}_group"], int(row[f"{which}_n"])
        if formats.absent(partner):
            return Cell(formats.NONE)
        note = formats.clean(names[int(partner)])
        mean, half = row[f"{which}_difference"], row[f"{which}_half_width"]
        if n < ENOUGH_SEEDS:
            return Cell("not enough seeds", note=f"{note}, {formats.plural(n, 'pair')}")
        return Cell(formats.points_interval(mean, half), float(mean), note=note)

    return cell


def selected_table(chosen: pd.DataFrame, groups: pd.DataFrame) -> Table:
    """Per task, method and bracket the setting picked on validation, against dense and small dense."""
    rule = rule_of(groups)
    words = captions(rule.name)
    hints = words["hints"]
    small_names, dense_names, control_names = {}, {}, {}
    for index, row in zip(groups.index, groups.to_dict("records"), strict=True):
        label = row["settings_label"]
        small_names[index] = f"vs {label}, {of_row(row).ratio(row['ratio_size'])}"
        control_names[index] = f"vs {row['method_label']} {label}, {of_row(row).ratio(row['ratio_size'])}"
        dense_names[index] = f"vs {row['method_label']}" + ("" if label == "defaults" else f" {label}")
    columns = [
        text_column("Task", "task"),
        Column("At least", lambda row: Cell(formats.ratio_tick(row["bracket"]), row["bracket"]), numeric=True),
        Column("Method", method_cell),
        text_column("Settings picked", "settings_label"),
        Column("Seeds", _seeds, numeric=True, hint=hints["seeds"], tex=False),
        Column(f"Ratio ({rule.noun})", ratio, numeric=True, hint=hints["ratio"]),
        Column("Validation", accuracy("validation_accuracy"), numeric=True, hint=hints["interval"], tex=False),
        Column("Test accuracy", accuracy("test_accuracy"), numeric=True, hint=hints["interval"]),
        Column("Points to dense", _difference("dense", dense_names), numeric=True, hint=hints["dense"]),
        Column(f"Points to {rule.smaller}", _difference("small", small_names), numeric=True, hint=hints["small"]),
        Column("Points to best control", _difference("control", control_names), numeric=True, hint=hints["control"]),
    ]
    frame = chosen.copy()
    for which in PARTNERS:
        partner = frame[f"{which}_group"]
        for part in ("method", "settings", "size_mean"):
            frame[f"{which}_partner_{part}"] = partner.map(groups[part])
    raw = ["task", "protocol", "bracket", "method", "method_title", "control", "settings", "varied", "seeds",
           "ok", "stale", "size_mean", "ratio_size",
           "ratio_size_low", "ratio_size_high", "baseline",
           "validation_accuracy_mean", "validation_accuracy_half_width",
           "test_accuracy_mean", "test_accuracy_half_width",
           *(f"{which}_{part}" for which in PARTNERS for part in
             ("partner_method", "partner_settings", "partner_size_mean", "n", "difference",
              "half_width", "p", "p_holm"))]  # fmt: skip
    return Table("selected", columns, frame, rule.raw(raw), words["tables"]["selected"])


def selection_bias_table(gathered: Gathered, groups: pd.DataFrame) -> Table:
    """What `as_released` adds: best test epoch minus final epoch."""
    keys = ["task", "protocol", "method", "settings"]
    names = [*keys, "method_label", "settings_label", "control", "stale", "unplanned"]
    frame = selection_bias(gathered).merge(groups[names], on=keys, how="left")

    def flattered(row: Row) -> Cell:
        if row["n"] < ENOUGH_SEEDS:
            return Cell("not enough seeds")
        return Cell(formats.points_interval(row["flattered"], row["half_width"]), row["flattered"])

    columns = [
        text_column("Task", "task"),
        Column("Method", method_cell),
        text_column("Settings", "settings_label"),
        number_column("Seeds", "n", lambda n: f"{n:.0f}"),
        number_column("Best test epoch", "test", formats.percent),
        number_column("Final epoch", "test_final_epoch", formats.percent),
        Column("Flattered by, points", flattered, numeric=True),
    ]
    raw = {name: name for name in frame if not name.endswith("_label")}
    return Table("selection_bias", columns, frame, raw, captions()["tables"]["selection_bias"])


def runs_table(gathered: Gathered) -> Table:
    """Every record in one line, where its file is: what each figure can be traced to."""
    kept = ["path", "status", "reason", "task", "protocol", "method", "settings", "seed", "control", "stale",
            "planned", *MEASURED, "baseline", "baseline_size", "inputs_digest", "engine_digest",
            "method_digest", "split_digest", "machine", "threads", "finished"]  # fmt: skip
    rule = rule_of(gathered.runs)
    place = kept.index("baseline_size") + 1
    kept[place:place] = [] if rule is RECURRENT else OF_RUNS
    return Table("runs", [], gathered.runs, rule.raw(kept))
