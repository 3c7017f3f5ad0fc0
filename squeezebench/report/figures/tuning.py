"""The budget of each method and the curve of its best so far: was a method better only because it was tuned more?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from squeezebench.report import formats
from squeezebench.report.figures.palette import Look
from squeezebench.report.figures.scatter import Plot, nothing, plot
from squeezebench.report.figures.svg import SOFT, new_figure, style
from squeezebench.report.gather import Gathered, canonical, number
from squeezebench.report.sizes import DENSE, RECURRENT, Rule, rule_of
from squeezebench.report.tables.table import Cell, Column, Table, number_column, text_column
from squeezebench.report.words import captions
from squeezebench.schema.tuning_result import Axis, TuningError, TuningResult, best_so_far, read_result

CURVE = ["task", "method", "trial", "status", "reason", "drawn", "validation_accuracy", "size", "ratio",
         "meets_the_ratio", "value", "best_trial", "best_value", "best_validation_accuracy", "seconds"]  # fmt: skip


@dataclass(frozen=True)
class Tuned:
    """One method on one task that was to be tuned; `problem` says why there is no result."""

    task: str
    method: str
    result: TuningResult | None
    problem: str = ""

    @property
    def title(self) -> str:
        return formats.clean(self.result.method_title if self.result else self.method)


def gather_tuning(gathered: Gathered) -> list[Tuned]:
    """What the plan asks for; without a plan, what lies in `tuning/`."""
    planned = [(one["task"], one["method"], one["path"]) for one in gathered.plan.get("tunings") or []]
    if not gathered.plan:
        found = sorted((gathered.folder / "tuning").glob("*/*.json"))
        planned = [(path.parent.name, path.stem, path.relative_to(gathered.folder).as_posix()) for path in found]
    return [_read(task, method, gathered.folder / path) for task, method, path in planned]


def _read(task: str, method: str, path: Path) -> Tuned:
    if not path.exists():
        return Tuned(task, method, None, "not tuned yet, or stopped")
    try:
        return Tuned(task, method, read_result(path))
    except TuningError as error:
        return Tuned(task, method, None, str(error).removeprefix(f"{path}: "))


def tuning_table(tuned: list[Tuned], gathered: Gathered) -> Table:
    """One line for each method on each task: its budget, what it was spent on, and what came of it."""
    frame = pd.DataFrame([_line(one, gathered) for one in tuned])
    rule = rule_of(gathered.runs)
    columns = [
        text_column("Task", "task"),
        Column("Method", _method),
        text_column("Drawn from", "space_words", tex=False),
        Column("Trials", _trials, numeric=True),
        number_column("Met the ratio", "trials_that_meet_the_ratio", lambda n: f"{n:.0f}"),
        number_column("Epochs each", "epochs", lambda n: f"{n:.0f}"),
        number_column("Seconds in all", "seconds", formats.amount, tex=False),
        Column("Picked", _picked),
        number_column("Validation", "validation_accuracy", formats.percent),
        number_column(f"Ratio ({rule.noun})", "ratio", formats.ratio),
    ]
    raw = [name for name in frame if name not in ("space_words", "drawn_words", "title", "problem_words")]
    return Table("tuning", columns, frame, {name: name for name in raw}, captions()["tables"]["tuning"])


def _line(one: Tuned, gathered: Gathered) -> dict[str, Any]:
    result, best = one.result, one.result and one.result.best
    trials = result.trials if result else []
    meets = [t for t in trials if t.status == "ok" and result.tuning.objective.met(t.ratio)]
    wanted = gathered.plan.get("engine_digest", "")
    same_rule = bool(result) and result.provenance.digest_rule == gathered.plan.get("digest_rule", 1)
    return {
        "task": formats.clean(one.task),
        "method": one.method,
        "title": one.title,
        "control": bool(result and result.control),
        "stale": bool(wanted) and same_rule and any(trial.engine not in ("", wanted) for trial in trials),
        "problem": one.problem,
        "objective_ratio": number(result and result.tuning.objective.ratio),
        "trials_asked": number(result and result.tuning.trials),
        "trials": number(len(trials) if result else None),
        "every_point_tried": bool(result and result.enumerated),
        **{kind: number(sum(t.status == kind for t in trials) if result else None) for kind in ("failed", "skipped")},
        "repeated": number(sum(t.repeats is not None for t in trials) if result else None),
        "trials_that_meet_the_ratio": number(len(meets) if result else None),
        "epochs": number(result and result.epochs),
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


def tuning_curves(task: str, tuned: list[Tuned], looks: Mapping[str, Look], rule: Rule = RECURRENT) -> Plot:
    """Best validation accuracy so far, among the trials that meet the ratio, against the number of trials."""
    kind, here = "tuning", [one for one in tuned if one.task == task and one.result]
    if not here:
        return nothing(kind, "No method of this task has been tuned yet.", CURVE, task, rule)
    points = pd.DataFrame([line for one in here for line in _points(one)], columns=CURVE)
    with style():
        figure = new_figure(5.3, 3.3)
        axes = figure.add_subplot()
        for one in here:
            look = looks.get(one.method, Look(SOFT, "o", "-"))
            curve = points[(points["method"] == one.method) & points["best_validation_accuracy"].notna()]
            if len(curve):  # where every point was tried, more trials would change nothing
                curve = pd.concat([curve, curve.tail(1).assign(trial=points["trial"].max())]).drop_duplicates("trial")
            words = one.title[:26] + ("" if len(curve) else " (never met)")
            line = "-" if one.method in DENSE else look.line
            axes.plot(curve["trial"] + 1, curve["best_validation_accuracy"], drawstyle="steps-post", color=look.colour,
                      ls=line, lw=1.1, marker=look.marker, ms=4.5, mec="white", mew=0.5, label=words)  # fmt: skip
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0.5, points["trial"].max() + 1.5)
        ratio = here[0].result.tuning.objective.ratio
        least = f" at {formats.ratio(ratio)} or more" if ratio else ""
        axes.set_title(f"Best validation accuracy so far{least}, %", loc="left", fontsize=8)
        axes.set_xlabel("Trials")
        figure.legend(loc="outside lower left", ncols=3, handlelength=2.6)
        return plot(kind, figure, points, {}, task, rule=rule)


def _points(one: Tuned) -> list[dict[str, Any]]:
    result, lines = one.result, []
    for trial, best in zip(result.trials, best_so_far(result), strict=True):
        reached = best is not None and result.tuning.objective.met(best.ratio)
        lines.append(
            {
                "task": one.task,
                "method": one.method,
                "trial": trial.number,
                "status": trial.status,
                "reason": trial.reason,
                "drawn": canonical(trial.drawn),
                "validation_accuracy": number(trial.validation),
                "size": number(trial.lstm_total),
                "ratio": number(trial.ratio),
                "meets_the_ratio": trial.status == "ok" and result.tuning.objective.met(trial.ratio),
                "value": number(trial.value),
                "best_trial": number(best and best.number),
                "best_value": number(best and best.value),
                "best_validation_accuracy": number(best.validation if reached else None),
                "seconds": trial.seconds,
            }
        )
    return lines
