"""What the tensor-decomposition methods share: settings, start, counts. Each of them is a file in `methods/`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, PositiveInt

from squeezebench import nn
from squeezebench.method.base import Method, Stage
from squeezebench.method.dense import dense_classifier
from squeezebench.method.rate import RateSettings
from squeezebench.method.start import FromDense
from squeezebench.method.target import TargetSettings, budget_of, recurrent_size, unreachable
from squeezebench.nn.rnn.closed_form import closed_form
from squeezebench.schema.models import RecurrentSettings, TaskInfo
from squeezebench.schema.settings import setting


def _numbers(value: Any) -> Any:
    """`8x20x20x18` and `[8, 20, 20, 18]` mean the same; the first form can stand in a grid."""
    if isinstance(value, str) and all(part.strip().isdigit() for part in value.split("x")):
        return [int(part) for part in value.split("x")]
    return value


Modes = Annotated[list[PositiveInt] | None, BeforeValidator(_numbers)]


class TensorSettings(RateSettings, RecurrentSettings):
    """Settings of an input-to-hidden map in tensor form (the first layer's; later layers stay dense)."""

    in_modes: Modes = setting(None, "factors of the inputs, as 8x20x20x18; none: balanced")
    hidden_modes: Modes = setting(None, "factors of the hidden units; the first output mode also carries the gates")
    order: PositiveInt = setting(3, "number of balanced modes where none are given")
    rank: PositiveInt = setting(4, "rank of every bond, lowered where the modes allow less", search=[2, 3, 4, 6, 8])
    budget: PositiveInt | None = setting(None, "parameters of the map: the largest rank that fits (instead of rank)")
    compact_to: Literal["cores", "dense", "smaller"] = setting("smaller", "form of the map in the compact network")


def choice(kind: str, settings: TensorSettings, budget: int | None = None) -> nn.MapChoice:
    """The map that `settings` describe; `budget`: instead of theirs."""
    own = ("in_modes", "hidden_modes", "order", "rank", "budget", "ring_rank", "inner_rank", "blocks")
    given = {name: getattr(settings, name) for name in own if hasattr(settings, name)}
    return nn.MapChoice(kind, **(given if budget is None else given | {"budget": budget}))


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


class RatioOfMap(Method):
    """Base of the methods whose size is that of one map in tensor form and of parts that stay as they are.

    With `ratio` the map gets what the budget leaves beside those parts, and takes the largest rank that fits.
    """

    kind: ClassVar[str]
    beside: ClassVar[str] = "hidden-to-hidden and biases"  # what stays as it is

    def stages(self) -> list[Stage]:
        return [Stage("train", 1.0, learning_rate=self.settings.learning_rate)]

    def map_inputs(self, inputs: int) -> int:
        """The inputs of the map, of a layer that reads `inputs`."""
        return inputs

    def rest(self, inputs: int) -> int:
        """The size of what stays as it is."""
        return closed_form(inputs, [self.settings.hidden] * self.settings.layers, self.settings.cell, 0)["lstm_total"]

    def choice(self, inputs: int) -> nn.MapChoice:
        """The map for a layer that reads `inputs`. With a ratio its budget is at least 1, for `skip` to measure."""
        s = self.settings
        if s.ratio is None:
            return choice(self.kind, s)
        return choice(self.kind, s, max(1, budget_of(recurrent_size(inputs, s.hidden, s), s.ratio) - self.rest(inputs)))

    @classmethod
    def inactive_settings(cls, settings: Any) -> tuple[str, ...]:
        return ("rank",) if settings.budget or settings.ratio else ()

    def skip(self, task: TaskInfo) -> str | None:
        s, read = self.settings, self.map_inputs(task.inputs)
        smallest = choice(self.kind, s.model_copy(update={"budget": None, "rank": 1}))
        if reason := super().skip(task) or unfit(task, smallest if s.ratio else self.choice(task.inputs), s, read):
            return reason
        if s.ratio is None:
            return None
        dense, gates = recurrent_size(task.inputs, s.hidden, s), len(nn.cell_of(s.cell).gates)
        cores = smallest.count(read, s.hidden, gates)
        least = self.rest(task.inputs) + self.stored(cores, gates * s.hidden * task.inputs)
        return unreachable(task, s.ratio, dense, least, f"{self.beside}, and a map of rank 1,")

    def stored(self, cores: int, dense: int) -> int:
        """What the map stores in the compact network, `cores` numbers as cores and `dense` as a matrix."""
        return {"cores": cores, "dense": dense, "smaller": min(cores, dense)}[self.settings.compact_to]


class TensorMethod(RatioOfMap, FromDense):
    """Base of TT-, TR-, BT-, HT-LSTM: the input-to-hidden map of all gates is one tensor network, U stays dense."""

    class Settings(TargetSettings, TensorSettings):
        start: Literal["scratch", "dense"] = setting("scratch", "random cores, or the decomposed dense pretraining")

    def build(self, task: TaskInfo):
        return tensorise(dense_classifier(task, self.settings), self.choice(task.inputs))

    def load_dense(self, model, dense):
        return tensorise(dense, self.choice(dense.inputs), from_weights=True)

    def compact(self, model):
        return nn.keep_smaller(model, self.settings.compact_to)

    def closed_form(self, task: TaskInfo) -> dict[str, int]:
        s = self.settings
        gates = len(nn.cell_of(s.cell).gates)
        cores, dense = self.choice(task.inputs).count(task.inputs, s.hidden, gates), gates * s.hidden * task.inputs
        kept = self.stored(cores, dense)
        return closed_form(task.inputs, [s.hidden] * s.layers, s.cell, input_to_hidden=kept)
