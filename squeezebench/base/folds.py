"""Names of the folds of a task that holds out each of its groups in turn."""

from __future__ import annotations

import re

_FOLD = re.compile(r"(.+)\.fold-\d+")


def fold_name(task: str, fold: int, folds: int) -> str:
    """The name of one fold of a task that tests all its folds; their order is that of the names."""
    return f"{task}.fold-{fold:0{len(str(folds - 1))}}"


def task_of_fold(name: str) -> str | None:
    """The task of which a name is one fold, None if it is none."""
    match = _FOLD.fullmatch(name)
    return match[1] if match else None
