"""The checks of the contract that concern the size at which a method ends, and what is counted as its recurrence."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import ValidationError

from squeezebench.engine.measurement.counts import count
from squeezebench.method.dense import dense_classifier
from squeezebench.method.target import budget_of
from squeezebench.schema.models import ModelSettings
from squeezebench.tools.counting import construct

RATIO = 2.0  # that is asked for, if the case does not give one
ROUNDING = 1e-5  # of logits, if the steps of a sequence are added up in another order
UNSEEN = (
    "the order of the steps changes the logits, but no layer is counted as recurrent, so that the method would have no "
    "LSTM parameters and every ratio: use torch.nn.LSTM, GRU or their cells, or the layers of squeezebench.nn; gates "
    "of your own are counted as the head"
)


def recurrence_is_counted(case: Any) -> None:
    """A compact module whose answer depends on the order of the steps has a layer that is counted as recurrent."""
    compact, (x, length) = case.trained[2], case.batch()
    counts = count(compact)
    if counts.rule != "lstm_total" or counts.lstm_total:
        return
    backwards = x.flip(1)
    for row, valid in enumerate([] if length is None else length.tolist()):
        backwards[row] = torch.cat([x[row, :valid].flip(0), x[row, valid:]])
    with torch.no_grad():
        gap = (compact(x, length) - compact(backwards, length)).abs().max().item()
    assert gap <= ROUNDING, UNSEEN


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
