"""The claims of the VIB-LSTM paper compared with our runs: a verdict for each claim and task, and why."""

from __future__ import annotations

from typing import Any

import pandas as pd

from squeezebench.report.claims.file import Claim, read_claims
from squeezebench.report.claims.forms import evaluate
from squeezebench.report.claims.outcome import CONTRADICTED, NOT_TESTABLE, SUPPORTED, UNDECIDED, Outcome
from squeezebench.report.claims.runs import Case, task_specs
from squeezebench.report.gather import Gathered, measured_inference
from squeezebench.report.paper.match import of_one_protocol
from squeezebench.report.words import captions

SIZES_ALONE = ""  # the task of networks in inference.json that are the paper's sizes, not runs
COLUMNS = ["claim", "title", "place", "task", "papers_task", "protocol", "printed", "audited", "audited_items",
           "ours", "verdict", "why", "takes", "decided_by", "value", "low", "high", "asked_for", "seeds", "settings",
           "reason"]  # fmt: skip


def judge_claims(groups: pd.DataFrame, gathered: Gathered) -> pd.DataFrame:
    """One line per claim and task that it can be tested on; one `not testable` line for a claim with no such task.

    Raises InputError for a malformed claim file or inference.json.
    """
    shown = of_one_protocol(groups, gathered)
    measured = measured_inference(gathered)
    specs = task_specs(gathered)
    lines = []
    for claim in read_claims():
        tested = [task for task in gathered.tasks if claim.elsewhere or _papers(claim, specs.get(task, {}))]
        models = {task: [model for model in measured.models if model.task == task] if measured else []
                  for task in [SIZES_ALONE, *tested]}  # fmt: skip
        if any(test.form == "speed" for test in claim.tests) and models[SIZES_ALONE]:
            tested = [SIZES_ALONE, *tested]
        for task in tested:
            case = Case(task, shown, gathered, models[task])
            papers = task == SIZES_ALONE or _papers(claim, specs.get(task, {}))
            outcomes = [evaluate(test, case) for test in claim.tests]
            lines.append(_line(claim, outcomes) | {"task": task or "sizes of the paper", "papers_task": papers})
        if not tested:
            needed = " or ".join(pattern.words() for pattern in claim.tasks)
            why = captions()["claims"]["no_task"].format(tasks=needed)
            missing = Outcome(NOT_TESTABLE, why=why, takes=claim.takes or captions()["claims"]["takes_task"])
            lines.append(_line(claim, [missing] * len(claim.tests)) | {"task": "", "papers_task": False})
    frame = pd.DataFrame(lines, columns=COLUMNS)
    frame["protocol"] = ", ".join(shown["protocol"].unique())
    last = frame["verdict"] == NOT_TESTABLE  # below what there is to say something about
    return pd.concat([frame[~last], frame[last]], ignore_index=True) if last.any() else frame


def _papers(claim: Claim, spec: dict[str, Any]) -> bool:
    return any(pattern.matches(spec) for pattern in claim.tasks)


def verdict_of(outcomes: list[Outcome]) -> tuple[str, int]:
    """The verdict of a claim and the comparison that decided it: all of them have to hold.

    One that is contradicted contradicts the claim, whatever else cannot be tested.
    """
    verdicts = [outcome.verdict for outcome in outcomes]
    verdict = next(v for v in (CONTRADICTED, NOT_TESTABLE, UNDECIDED, SUPPORTED) if v in verdicts)
    return verdict, verdicts.index(verdict)


def _line(claim: Claim, outcomes: list[Outcome]) -> dict[str, Any]:
    verdict, number = verdict_of(outcomes)
    decided, test = outcomes[number], claim.tests[number]
    takes = decided.takes
    if verdict == NOT_TESTABLE and claim.takes and not decided.words:
        takes = claim.takes
    words = {"says": test.says, "words": decided.decided or decided.words, "asked": decided.bound,
             "why": decided.why, "takes": takes}  # fmt: skip
    return {
        "claim": claim.name,
        "title": claim.title,
        "place": claim.place,
        "printed": "; ".join(figure.text() for figure in claim.printed),
        "audited": "; ".join(f"{check.recomputed} ({check.verdict})" for check in claim.audited()),
        "audited_items": "; ".join(check.item for check in claim.audited()),
        "ours": "; ".join(f"{check.says}: {outcome.words}" for check, outcome in zip(claim.tests, outcomes, strict=True)
                          if outcome.words),
        "verdict": verdict,
        "why": decided.why,
        "takes": takes,
        "decided_by": test.says,
        "value": decided.value,
        "low": decided.low,
        "high": decided.high,
        "asked_for": decided.bound,
        "seeds": decided.seeds,
        "settings": "; ".join(dict.fromkeys(name for outcome in outcomes for name in outcome.picked)),
        "reason": captions()["claims"]["because"][verdict].format(**words),
    }  # fmt: skip
