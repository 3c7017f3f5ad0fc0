"""The check of the contract that concerns the size at which a method ends."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from squeezebench.engine.measurement.counts import count
from squeezebench.method.dense import dense_classifier
from squeezebench.method.target import budget_of
from squeezebench.schema.models import ModelSettings
from squeezebench.tools.counting import construct

RATIO = 2.0  # that is asked for, if the case does not give one


def ends_at_the_ratio_it_is_given(case: Any) -> None:
    """A method with a setting `ratio` ends at least that many times smaller than dense, or skips the task."""
    if "ratio" not in case.method_class.Settings.model_fields:
        return
    try:
        asked = type(case)(case.method_class, {"ratio": RATIO} | case.settings)
    except ValidationError:  # other settings of the case leave no room for a ratio
        return
    method = asked.new()
    settings, ratio = method.settings, method.settings.ratio
    if not (ratio and isinstance(settings, ModelSettings)) or getattr(settings, "ratio_of", "weights") == "macs":
        return
    if method.skip(asked.info):
        return
    dense = count(dense_classifier(asked.info, settings.shared())).size
    size = count(construct(method, asked.info)).size
    if size > budget_of(dense, ratio):  # training may decide what goes
        size = count(asked.trained[2]).size
    assert size <= budget_of(dense, ratio), (
        f"ratio = {ratio:g} gives {size:,} of {dense:,} parameters, {dense / size:.3g}x: remove so many, "
        "or say in skip() why that is impossible"
    )
