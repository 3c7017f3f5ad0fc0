"""The claims of the VIB-LSTM paper held against our runs: a verdict for each claim and task, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.claims.file import CLAIMS, Claim, read_claims
from squeezebench.report.claims.forms import Case, evaluate, read_inference_models
from squeezebench.report.claims.outcome import CONTRADICTED, NOT_RUN, SUPPORTED, UNDECIDED, Outcome
from squeezebench.report.gather import Gathered
from squeezebench.report.paper.match import of_one_protocol
from squeezebench.report.words import captions
from squeezebench.schema.inference import read_inference

SIZES_ALONE = ""  # the task of networks in inference.json that are the paper's sizes, not runs
COLUMNS = ["claim", "title", "place", "task", "papers_task", "protocol", "printed", "audited", "audited_items",
           "ours", "verdict", "decided_by", "value", "low", "high", "asked_for", "seeds", "settings",
           "reason"]  # fmt: skip


def judge_claims(groups: pd.DataFrame, gathered: Gathered, folder: Path = CLAIMS) -> pd.DataFrame:
    """One line per claim and task that it can be tested on; one `not run` line for a claim with no such task.

    Raises InputError for a malformed claim file or inference.json.
    """
    shown = of_one_protocol(groups, gathered)
    found = read_inference(gathered.folder)
    specs = task_specs(gathered)
    lines = []
    for claim in read_claims(folder):
        tested = [task for task in gathered.tasks if claim.elsewhere or _papers(claim, specs.get(task, {}))]
        if any(test.form == "speed" for test in claim.tests) and read_inference_models(found, SIZES_ALONE):
            tested = [SIZES_ALONE, *tested]
        for task in tested:
            case = Case(task, shown, gathered, read_inference_models(found, task))
            outcomes = [evaluate(test, case) for test in claim.tests]
            papers = task == SIZES_ALONE or _papers(claim, specs.get(task, {}))
            lines.append(_line(claim, outcomes) | {"task": task or "sizes of the paper", "papers_task": papers})
        if not tested:
            needed = " or ".join(pattern.words() for pattern in claim.tasks)
            reason = captions()["claims"]["no_task"].format(tasks=needed)
            reason += f". {claim.otherwise}" if claim.otherwise else ""
            lines.append(_common(claim) | {"verdict": NOT_RUN, "reason": reason, "task": "", "papers_task": False})
    frame = pd.DataFrame(lines, columns=COLUMNS)
    frame["protocol"] = ", ".join(shown["protocol"].unique())
    not_run = frame["verdict"] == NOT_RUN  # below what there is to say something about
    return pd.concat([frame[~not_run], frame[not_run]], ignore_index=True) if not_run.any() else frame


def task_specs(gathered: Gathered) -> dict[str, dict[str, Any]]:
    """What each task was made from: of the plan, or of the records."""
    planned = gathered.plan.get("tasks")
    found = {task: spec for task, spec in zip(gathered.runs["task"], gathered.runs["task_spec"], strict=True) if spec}
    if isinstance(planned, dict):
        found |= {name: entry["spec"] for name, entry in planned.items() if isinstance(entry, dict) and "spec" in entry}
    return found


def _papers(claim: Claim, spec: dict[str, Any]) -> bool:
    return any(pattern.matches(spec) for pattern in claim.tasks)


def _common(claim: Claim) -> dict[str, Any]:
    return {
        "claim": claim.name,
        "title": claim.title,
        "place": claim.place,
        "printed": "; ".join(figure.text() for figure in claim.printed),
        "audited": "; ".join(f"{check.recomputed} ({check.verdict})" for check in claim.audited()),
        "audited_items": "; ".join(check.item for check in claim.audited()),
    }


def verdict_of(outcomes: list[Outcome], optional: list[bool]) -> tuple[str, int]:
    """The verdict of a claim and the comparison that decided it: all of them have to hold.

    One that is contradicted contradicts the claim, whatever else is missing.
    """
    counted = [n for n, one in enumerate(outcomes) if not (optional[n] and one.verdict == NOT_RUN)]
    for verdict in (CONTRADICTED, NOT_RUN, UNDECIDED, SUPPORTED):
        for number in counted:
            if outcomes[number].verdict == verdict:
                return verdict, number
    return NOT_RUN, 0


def _line(claim: Claim, outcomes: list[Outcome]) -> dict[str, Any]:
    verdict, number = verdict_of(outcomes, [test.optional for test in claim.tests])
    decided, test = outcomes[number], claim.tests[number]
    ours = [f"{test.says}: {one.words}" for test, one in zip(claim.tests, outcomes, strict=True)
            if one.verdict != NOT_RUN]  # fmt: skip
    words = captions()["claims"]["because"]
    key = "few" if verdict == UNDECIDED and formats.absent(decided.low) else verdict
    reason = words[key].format(says=test.says, words=decided.decided or decided.words, asked=decided.bound)
    if verdict == NOT_RUN and claim.otherwise:
        reason += f". {claim.otherwise}"
    return _common(claim) | {
        "ours": "; ".join(ours),
        "verdict": verdict,
        "decided_by": test.says,
        "value": decided.value,
        "low": decided.low,
        "high": decided.high,
        "asked_for": decided.bound,
        "seeds": decided.seeds,
        "settings": "; ".join(dict.fromkeys(name for one in outcomes for name in one.picked)),
        "reason": reason,
    }
