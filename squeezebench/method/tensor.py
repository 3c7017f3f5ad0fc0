"""What the tensor-decomposition methods share: settings, start, counts. Each of them is a file in `methods/`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, PositiveInt

from squeezebench import nn
from squeezebench.method.dense import dense_classifier
from squeezebench.method.start import FromDense
from squeezebench.nn.rnn.closed_form import closed_form
from squeezebench.schema.models import RecurrentSettings, TaskInfo
from squeezebench.schema.settings import setting


def _numbers(value: Any) -> Any:
    """`8x20x20x18` and `[8, 20, 20, 18]` mean the same; the first form can stand in a grid."""
    if isinstance(value, str) and all(part.strip().isdigit() for part in value.split("x")):
        return [int(part) for part in value.split("x")]
    return value


Modes = Annotated[list[PositiveInt] | None, BeforeValidator(_numbers)]


class TensorSettings(RecurrentSettings):
    """Settings of an input-to-hidden map in tensor form (the first layer's; later layers stay dense)."""

    in_modes: Modes = setting(None, "factors of the inputs, as 8x20x20x18; none: balanced")
    hidden_modes: Modes = setting(None, "factors of the hidden units; the first output mode also carries the gates")
    order: PositiveInt = setting(3, "number of balanced modes where none are given")
    rank: PositiveInt = setting(4, "rank of every bond, lowered where the modes allow less", search=[2, 3, 4, 6, 8])
    budget: PositiveInt | None = setting(None, "parameters of the map: the largest rank that fits (instead of rank)")
    compact_to: Literal["cores", "dense", "smaller"] = setting("smaller", "form of the map in the compact network")


def choice(kind: str, settings: TensorSettings) -> nn.MapChoice:
    """The map that `settings` describe."""
    own = ("in_modes", "hidden_modes", "order", "rank", "budget", "ring_rank", "inner_rank", "blocks")
    return nn.MapChoice(kind, **{name: getattr(settings, name) for name in own if hasattr(settings, name)})


def tensorise(
    model: nn.RecurrentClassifier, chosen: nn.MapChoice, from_weights: bool = False
) -> nn.RecurrentClassifier:
    """Replace the first layer's input map by random cores, or by the decomposition of its weights."""
    layer = model.layers[0]
    gates = len(layer.cell.gates)
    if from_weights:
        layer.input_map = chosen.decompose(layer.input_map.dense().detach(), gates)
    else:
        layer.input_map = chosen.random(layer.inputs, layer.hidden, gates)
    return model


def unfit(task: TaskInfo, chosen: nn.MapChoice, settings: TensorSettings, inputs: int) -> str | None:
    """Why a task is too small for the rank, in words; None where modes or a budget were given, whose errors speak."""
    if settings.in_modes or settings.hidden_modes or settings.budget:
        return None
    try:
        chosen.count(inputs, settings.hidden, len(nn.cell_of(settings.cell).gates))
    except ValueError as error:
        return f"{task.inputs} inputs and {settings.hidden} hidden units are too small for it: {error}"
    return None


class TensorMethod(FromDense):
    """Base of TT-, TR-, BT-, HT-LSTM: the input-to-hidden map of all gates is one tensor network, U stays dense."""

    kind: ClassVar[str]

    class Settings(TensorSettings):
        start: Literal["scratch", "dense"] = setting("scratch", "random cores, or the decomposed dense pretraining")

    @classmethod
    def inactive_settings(cls, settings: TensorSettings) -> tuple[str, ...]:
        return ("rank",) if settings.budget else ()

    def skip(self, task: TaskInfo) -> str | None:
        return super().skip(task) or unfit(task, choice(self.kind, self.settings), self.settings, task.inputs)

    def build(self, task: TaskInfo):
        return tensorise(dense_classifier(task, self.settings), choice(self.kind, self.settings))

    def load_dense(self, model, dense):
        return tensorise(dense, choice(self.kind, self.settings), from_weights=True)

    def compact(self, model):
        return nn.keep_smaller(model, self.settings.compact_to)

    def closed_form(self, task: TaskInfo) -> dict[str, int]:
        s = self.settings
        gates = len(nn.cell_of(s.cell).gates)
        cores, dense = choice(self.kind, s).count(task.inputs, s.hidden, gates), gates * s.hidden * task.inputs
        kept = {"cores": cores, "dense": dense, "smaller": min(cores, dense)}[s.compact_to]
        return closed_form(task.inputs, [s.hidden] * s.layers, s.cell, input_to_hidden=kept)
