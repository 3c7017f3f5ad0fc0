"""The budget of each method on each task, what it was spent on, and what came of it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.gather import Gathered, canonical, number
from squeezebench.report.results import Results
from squeezebench.report.sizes import rule_of
from squeezebench.report.tabular.table import Cell, Column, Table, number_column, text_column
from squeezebench.report.tuned import Tuned
from squeezebench.schema.training import UNITS
from squeezebench.schema.tuning_result import Axis

SECTION, WHEN = "tuning", "tuned"


def build(results: Results) -> Table | None:
    """One line for each method on each task; None if nothing was to be tuned."""
    if not results.tuned:
        return None
    frame = pd.DataFrame([_line(tuning, results.gathered) for tuning in results.tuned])
    rule = rule_of(results.gathered.runs)
    columns = [
        text_column("Task", "task"),
        Column("Method", _method),
        text_column("Drawn from", "space_words", tex=False),
        Column("Trials", _trials, numeric=True),
        number_column("Met the ratio", "trials_that_meet_the_ratio", lambda n: f"{n:.0f}"),
        text_column("Length of each", "length"),
        number_column("Seconds in all", "seconds", formats.amount, tex=False),
        Column("Picked", _picked),
        number_column("Validation", "validation_accuracy", formats.percent),
        number_column(f"Ratio ({rule.noun})", "ratio", formats.ratio),
    ]
    raw = [name for name in frame if name not in ("space_words", "drawn_words", "title", "length")]
    return Table(columns, frame, {name: name for name in raw})


def _line(tuning: Tuned, gathered: Gathered) -> dict[str, Any]:
    result, best = tuning.result, tuning.result and tuning.result.best
    trials = result.trials if result else []
    meets = [t for t in trials if t.status == "ok" and result.tuning.objective.met(t.ratio)]
    wanted = gathered.plan.get("engine_digest", "")
    same_rule = bool(result) and result.provenance.digest_rule == gathered.plan.get("digest_rule", 1)
    return {
        "task": formats.clean(tuning.task),
        "method": tuning.method,
        "title": tuning.title,
        "control": bool(result and result.control),
        "stale": bool(wanted) and same_rule and any(trial.engine not in ("", wanted) for trial in trials),
        "problem": tuning.problem,
        "objective_ratio": number(result and result.tuning.objective.ratio),
        "trials_asked": number(result and result.tuning.trials),
        "trials": number(len(trials) if result else None),
        "every_point_tried": bool(result and result.enumerated),
        **{kind: number(sum(t.status == kind for t in trials) if result else None) for kind in ("failed", "skipped")},
        "repeated": number(sum(t.repeats is not None for t in trials) if result else None),
        "trials_that_meet_the_ratio": number(len(meets) if result else None),
        **{unit: number(result and getattr(result, unit)) for unit in UNITS},
        "length": next((f"{n} {unit}" for unit in UNITS if result and (n := getattr(result, unit))), ""),
        "seed": number(result and result.tuning.seed),
        "seconds": number(round(sum(t.seconds for t in trials), 3) if result else None),
        "space": canonical({name: axis.model_dump() for name, axis in result.space.items()} if result else {}),
        "space_words": ", ".join(f"{k} {_range(v)}" for k, v in result.space.items()) or "nothing" if result else "",
        "picked_trial": number(best and best.number),
        "picked": canonical(best.drawn if best else {}),
        "drawn_words": formats.settings(best.drawn) if best else "",
        "validation_accuracy": number(best and best.validation),
        "ratio": (float("inf") if best.ratio is None else best.ratio) if best else float("nan"),
        "meets_the_ratio": bool(result and result.met),
        "study": result.study if result else "",
    }


def _range(axis: Axis) -> str:
    if axis.kind == "choice":
        return "of " + ", ".join(map(formats.setting, axis.choices))
    return f"{axis.low:g} to {axis.high:g}" + (" (log)" if axis.kind == "log" else "")


def _method(row: dict[str, Any]) -> Cell:
    marks = (["control"] if row["control"] else []) + (["stale"] if row["stale"] else [])
    return Cell(row["title"], marks=tuple(marks), note=formats.clean(row["problem"]))


def _trials(row: dict[str, Any]) -> Cell:
    if formats.absent(row["trials"]):
        return Cell(formats.NONE)
    notes = [f"{row[kind]:.0f} {kind}" for kind in ("failed", "skipped", "repeated") if row[kind]]
    if row["space"] == "{}":
        notes.append("nothing to draw")
    elif row["every_point_tried"]:
        notes.append("every point once")
    return Cell(f"{row['trials']:.0f} of {row['trials_asked']:.0f}", row["trials"], note=", ".join(notes))


def _picked(row: dict[str, Any]) -> Cell:
    if formats.absent(row["picked_trial"]):
        return Cell(formats.NONE, note="no trial finished" if row["trials"] == row["trials"] else "")
    short = "" if row["meets_the_ratio"] else "below the ratio"
    return Cell(formats.clean(row["drawn_words"]), marks=(short,) if short else ())
