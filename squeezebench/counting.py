"""`squeezebench count`: a method's parameters by formula and by construction, without any data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from .discovery import find_methods, load, pick
from .errors import InputError
from .measurement import count
from .method import Method, TaskInfo, dense_classifier
from .run import settings_of
from .start import recurrent_settings

KEYS = ("input_to_hidden", "hidden_to_hidden", "bias", "lstm_total")


def construct(method: Method, task: TaskInfo) -> nn.Module:
    """The compact module as it is before any training: every hook is called, nothing is learned."""
    torch.manual_seed(0)
    model = method.build(task)
    if method.start_share():
        model = method.adopt(model, dense_classifier(task, recurrent_settings(method.settings)))
    for stage in method.stages():
        model = method.end_stage(model, stage)
    return method.compact(model)


def count_method(
    name: str, inputs: int, hidden: int, classes: int, settings: dict[str, Any], plugins: list[str | Path] = ()
) -> dict[str, Any]:
    """Closed-form and constructed counts of method `name` on `inputs` features and `hidden` units."""
    method_class = load(pick(find_methods(plugins), name))
    if inputs < 1 or hidden < 1 or classes < 2:
        raise InputError(f"--input {inputs} --hidden {hidden} --classes {classes}: give at least 1, 1 and 2")
    given = settings | ({"hidden": hidden} if "hidden" in method_class.Settings.model_fields else {})
    method = method_class(settings_of(method_class, given, "--set"))
    task = TaskInfo("count", "sequence", inputs, 8, classes, False, 1000)
    if reason := method.skip(task):
        raise InputError(f"{name}: {reason}")
    try:
        made = count(construct(method, task)).model_dump()
        formula = method.closed_form(task)
    except (ValueError, MemoryError, RuntimeError) as error:  # RuntimeError: torch's way to be out of memory
        raise InputError(f"{name}: {' '.join(str(error).split())[:200]}") from None
    made = {key: made[key] for key in KEYS}
    return {
        "method": name,
        "input": inputs,
        "hidden": hidden,
        "settings": method.settings.model_dump(mode="json"),
        **made,
        "closed_form": {key: formula[key] for key in KEYS},
        "constructed": made,
        "agree": all(formula[key] == made[key] for key in KEYS),
    }
