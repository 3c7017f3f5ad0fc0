"""`squeezebench count`: a method's parameters by formula and by construction, without any data."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.engine.measurement.counts import count
from squeezebench.method.base import Method
from squeezebench.method.dense import dense_classifier
from squeezebench.method.discovery import find_methods, load, pick
from squeezebench.method.settings import settings_of
from squeezebench.schema.models import TaskInfo

KEYS = ("input_to_hidden", "hidden_to_hidden", "bias", "lstm_total")


def construct(method: Method, task: TaskInfo) -> nn.Module:
    """Return the compact module without any training: every hook is called once."""
    torch.manual_seed(0)
    model = method.build(task)
    if method.start_share():
        model = method.load_dense(model, dense_classifier(task, method.settings.shared()))
    for stage in method.stages():
        model = method.end_stage(model, stage)
    return method.compact(model)


def count_method(
    name: str, inputs: int, hidden: int | None, classes: int, settings: dict[str, Any], plugins: list[str | Path] = ()
) -> dict[str, Any]:
    """Closed-form and constructed counts of method `name` on `inputs` features and `hidden` units.

    A method for images has no hidden units. It reads a square grey image of that many pixels, or else a square RGB
    image. Raises InputError if the numbers or the settings fit no network.
    """
    method_class = load(pick(find_methods(plugins), name))
    knows = "hidden" in method_class.Settings.model_fields
    if hidden is None and knows:
        raise InputError(f"{name}: --hidden is missing: give the number of units of a layer")
    if inputs < 1 or (hidden is not None and hidden < 1) or classes < 2:
        raise InputError(f"--input {inputs} --hidden {hidden} --classes {classes}: give at least 1, 1 and 2")
    given = settings | ({"hidden": hidden} if knows else {})
    method = method_class(settings_of(method_class, given, "--set"))
    task = _task_for(method, name, inputs, classes)
    try:
        constructed = count(construct(method, task)).model_dump()
        formula = method.closed_form(task)
    except InputError:
        raise
    except (ValueError, MemoryError, RuntimeError) as error:  # RuntimeError: torch's way to be out of memory
        raise InputError(f"{name}: {' '.join(str(error).split())[:200]}") from None
    keys = keys_of(constructed)
    constructed = {key: constructed[key] for key in keys}
    return {
        "method": name,
        "input": inputs,
        "hidden": hidden,
        "settings": method.settings.model_dump(mode="json"),
        **constructed,
        "closed_form": None if formula is None else {key: formula[key] for key in keys},
        "constructed": constructed,
        "agree": formula is None or all(formula[key] == constructed[key] for key in keys),
    }


def _task_for(method: Method, name: str, inputs: int, classes: int) -> TaskInfo:
    """A task of a kind that the method reads. Raises InputError if there is none."""
    task = TaskInfo("count", "sequence", inputs, 8, classes, False, 1000)
    if "sequence" not in method.kinds:
        task = TaskInfo("count", "image", inputs, 1, classes, False, 1000, _square(inputs))
    if "video" in method.kinds and method.skip(task):
        task = replace(task, kind="video", steps=8)
    if reason := method.skip(task):
        raise InputError(f"{name}: {reason}")
    return task


def keys_of(counts: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the counts for which a method of this kind has a formula."""
    return KEYS if counts["weights"] is None else (*KEYS, "weights")


def _square(inputs: int) -> tuple[int, int, int]:
    """(channels, height, width) of a square image with that many pixels."""
    for channels in (1, 3):
        if channels * (side := isqrt(inputs // channels)) ** 2 == inputs:
            return channels, side, side
    raise InputError(
        f"--input {inputs}: a method for images reads a square image, such as 784 (28 x 28) or 3072 (3 x 32 x 32)"
    )
