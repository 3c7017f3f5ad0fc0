"""What the baselines that remove channels of a feed-forward network share. Each of them is a file in `methods/`.

PartMethod: a given part of each layer stays. OneShotMethod: that part is chosen once, in the trained dense network.
GatedMethod: masks decide while they are trained. All of them cut sets of coupled channels (units, pixels, channels tied
by additions) and fine-tune the smaller plain network.
"""

from __future__ import annotations

from operator import gt
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from squeezebench import nn
from squeezebench.method.base import Stage
from squeezebench.method.dense import dense_classifier, dense_closed_form
from squeezebench.method.masked import (
    DecaySettings,
    MaskedMethod,
    MaskedSettings,
    decayed_groups,
    example,
)
from squeezebench.method.network_size import NetworkTargetSettings, too_small
from squeezebench.method.start import DenseMethod, FromDense
from squeezebench.method.target import budget_of, largest
from squeezebench.method.unit_pruning import kept_count
from squeezebench.nn.protocol import structure_of
from squeezebench.nn.rnn.closed_form import closed_form
from squeezebench.schema.kind import Kind
from squeezebench.schema.models import TaskInfo
from squeezebench.schema.settings import setting
from squeezebench.schema.start import DenseStart

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from torch.nn import Module


FINE = 10_000  # parts of a layer that a ratio is looked for in


def example_of(network: Module) -> Tensor:
    """One image for `network`, (1, 1, D), where its weights are."""
    return example(network.inputs).to(next(network.parameters()).device)


class PartSettings(NetworkTargetSettings, DecaySettings):
    """How much of each set of coupled channels stays."""

    keep: float = setting(
        0.5, "part of the units or channels of each layer kept, if no ratio is given", search=(0.02, 0.9), gt=0, le=1
    )
    keep_inputs: float = setting(
        1.0, "part of the pixels kept, of LeNet-300-100, if no ratio is given", search=(0.05, 1.0), gt=0, le=1
    )
    structure: str | None = setting(
        None,
        "widths of the network that is left, as a record names them: 97-71-33; in place of a ratio",
        pattern=r"^[1-9]\d*(-[1-9]\d*)*$",
        later=True,
    )
    start: DenseStart = setting(
        "dense", "`dense` (the dense pretraining), or `{file: PATH}`: trained weights", later=True
    )
    start_share: float = setting(0.3, "part of the epochs spent on the dense pretraining", gt=0, lt=1)

    @property
    def widths(self) -> list[int]:
        """The numbers of `structure`."""
        return [int(width) for width in self.structure.split("-")] if self.structure else []

    @model_validator(mode="after")
    def _one_size(self) -> PartSettings:
        if self.structure and (self.ratio or self.recurrent):
            raise ValueError("structure: without a ratio, and for networks without `recurrent`")
        return self


class PartMethod(FromDense, DenseMethod):
    """Base of the methods that keep a given part of the units of each layer, and of the pixels of LeNet-300-100.

    The parts are the settings `keep` and `keep_inputs`. With a `ratio` they are one number, the largest that fits, and
    layers get one unit more in turn so far as that fits too. Elements of a flattened map are not chosen by themselves;
    they go with their channel. Layers of an LSTM above the network are layers like its own.

    With a `structure` each layer has the width that it names, elements of a flattened map too: a control in the shape
    that another method has found, which tells the choice of units from the choice of widths.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)

    class Settings(PartSettings):
        pass

    @classmethod
    def inactive_settings(cls, settings: PartSettings) -> tuple[str, ...]:
        if settings.structure:
            return ("ratio", "keep", "keep_inputs")
        if settings.ratio:
            return ("keep", "keep_inputs")
        return () if nn.reads_pixels(settings.network) else ("keep_inputs",)

    def skip(self, task: TaskInfo) -> str | None:
        s = self.settings
        if (reason := super().skip(task)) or not s.structure:
            return reason or too_small(task, s)
        return _impossible(s.widths, self._followed(task))

    def parameter_groups(self, model: Module) -> list[dict[str, Any]]:
        return decayed_groups(list(model.parameters()), self.settings.weight_decay)

    def closed_form(self, task: TaskInfo) -> dict[str, int]:
        followed = self._followed(task)
        counts = self.counts(followed)
        sizes = dense_closed_form(task, self.settings) | {"weights": _size(followed, counts)}
        if hidden := _of_layers(followed, counts):
            inputs = nn.track_sizes(followed).features_read(_alive(followed, counts))
            sizes |= closed_form(inputs, hidden, followed.network.recurrent.cell.name)
        return sizes

    def _followed(self, task: TaskInfo) -> nn.MaskedNetwork:
        return nn.MaskedNetwork(dense_classifier(task, self.settings), example(task.inputs), sets=())

    def counts(self, followed: nn.MaskedNetwork) -> dict[str | int, int]:
        """How many channels of each set (and units of each recurrent layer, by its number) stay, at least one.

        followed: the dense network with its coupled channels.
        """
        s = self.settings
        if s.structure:
            return {units.name: width for units, width in zip(followed.graph.sets, s.widths, strict=True)}
        if s.ratio is None:
            return _parts(followed, s.keep, s.keep_inputs)
        whole = _parts(followed, 1.0, 1.0)
        budget = budget_of(_size(followed, whole, s.ratio_of), s.ratio)

        def size(part: int) -> int:
            return _size(followed, _parts(followed, part / FINE, part / FINE), s.ratio_of)

        part = largest(size, budget, FINE) / FINE
        counts = _parts(followed, part, part)
        waiting = list(counts)
        while waiting:
            name = waiting.pop(0)
            more = counts | {name: counts[name] + 1}
            if more[name] <= whole[name] and _size(followed, more, s.ratio_of) <= budget:
                counts = more
                waiting.append(name)
        return counts


def _parts(followed: nn.MaskedNetwork, keep: float, keep_inputs: float) -> dict[str | int, int]:
    """How many channels of each set, and units of each recurrent layer, these parts are."""
    groups = nn.unit_groups(followed)
    pixels, elements = groups.inputs(), groups.elements()
    widths = {units.name: units.width for units in groups.graph.sets if units.name not in elements}
    parts = {name: kept_count(width, keep_inputs if name in pixels else keep) for name, width in widths.items()}
    return parts | {layer: kept_count(units, keep) for layer, units in enumerate(_hidden(followed.network))}


def _impossible(structure: list[int], followed: nn.MaskedNetwork) -> str | None:
    """Why the network cannot have these widths, in one line; None if it can."""
    sets, parents = followed.graph.sets, nn.parents_of(followed.graph)
    widths = structure_of(followed.network).widths
    if widths != [units.width for units in sets]:
        return "structure: only layers with channels of their own (LeNet-300-100, LeNet-5, VGG) have widths to choose"
    if len(structure) != len(widths) or any(map(gt, structure, widths)):
        return f"structure: {'-'.join(map(str, widths))} has no part {'-'.join(map(str, structure))}"
    for place, units in enumerate(sets):
        if units.labels[0] in parents:
            channels, each = structure[place - 1], units.width // sets[place - 1].width
            if not channels <= structure[place] <= each * channels:
                most = each * channels
                return f"structure: {channels} channels have {channels} to {most} elements, not {structure[place]}"
    return None


def _size(followed: nn.MaskedNetwork, counts: dict[str | int, int], rule: str = "weights") -> int:
    """Weights, or multiply-accumulates, of the network that keeps so many channels of each set."""
    tracker, alive = nn.track_sizes(followed), _alive(followed, counts)
    if hidden := _of_layers(followed, counts):  # by multiply-accumulates no LSTM can be asked for
        return round(tracker.weights(alive, hidden))
    return getattr(tracker.sizes(alive), rule)


def _alive(followed: nn.MaskedNetwork, counts: dict[str | int, int]) -> np.ndarray:
    """Whether each set of the graph stays, if the first channels do (see SizeTracker.alive)."""
    widths = {units.name: units.width for units in followed.graph.sets}
    return nn.track_sizes(followed).alive(
        {name: nn.chosen(slice(counts[name]), widths[name]) for name in counts if name in widths}
    )


def _of_layers(followed: nn.MaskedNetwork, counts: dict[str | int, int]) -> list[int]:
    """How many units of each layer of the LSTM stay; none if there is no LSTM."""
    return [counts[layer] for layer in range(len(_hidden(followed.network)))]


def _hidden(network: Module) -> list[int]:
    """The units of each layer of the LSTM above a network; none if there is no LSTM."""
    return network.hidden if isinstance(network, nn.FrameRecurrent) else []


class OneShotMethod(PartMethod):
    """Base of the methods that choose once: a subclass scores the units of the trained dense network."""

    def scores(self, groups: nn.UnitGroups) -> Tensor:
        """One number for each set of the network's graph, (S + 1,) as in nn.UnitGroups; the largest stay."""
        raise TypeError(f"{type(self).__name__} does not define scores(groups)")

    def hidden_scores(self, recurrent: Module, layer: int) -> Tensor:
        """One number for each hidden unit of a layer of the LSTM above the network, for methods of videos."""
        raise TypeError(f"{type(self).__name__} does not define hidden_scores(recurrent, layer)")

    def stages(self) -> list[Stage]:
        return [Stage("fine-tune", 1.0)]

    def load_dense(self, model: Module, dense: Module) -> Module:
        batch = example_of(dense)
        followed = nn.MaskedNetwork(dense, batch, sets=())
        groups = nn.unit_groups(followed)
        scores, count = groups.of(self.scores(groups)), self.counts(followed)
        layers = range(len(_hidden(dense)))
        keep = nn.best_channels(followed.graph, scores, count)
        units = [nn.largest(self.hidden_scores(dense.recurrent, layer), count[layer]) for layer in layers]
        small = nn.select_channels(dense, keep, batch)
        if units:
            small.recurrent = nn.select_units(small.recurrent, None, units)
        return small


def anew(network: Module) -> Module:
    """A network of the same widths, freshly initialised, that reads the same elements."""
    fresh = nn.module_from_spec(network.spec())
    for name, buffer in network.named_buffers():
        if name.endswith(".index"):
            fresh.get_buffer(name).copy_(buffer)
    return fresh


class GatedSettings(MaskedSettings):
    """How long the masks are trained."""

    ramp: float = setting(0.3, "part of compression over which the penalty rises from 0 (no ratio)", ge=0, lt=1)
    compress_share: float = setting(0.6, "part of the remaining epochs under masks; the rest fine-tunes", gt=0, lt=1)


class GatedMethod(MaskedMethod):
    """Base of the methods whose masks pay for what they let through: `strength` / N of `cost`, N training images.

    Stages: a dense pretraining; compress, under the masks; fine-tune, the smaller plain network that they leave.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)

    class Settings(GatedSettings):
        pass

    def cost(self, mask: Module) -> Tensor:
        """What one layer's mask pays, ()."""
        raise TypeError(f"{type(self).__name__} does not define cost(mask)")

    def stages(self) -> list[Stage]:
        s = self.settings
        tuned = Stage("fine-tune", 1 - s.compress_share, penalised=False, learning_rate=s.fine_tune_rate)
        return [Stage("compress", s.compress_share), tuned]

    def penalty(self, model: Module) -> Tensor | float:
        s, clock = self.settings, self.clock
        weight = self.weight if s.ratio else self.weight * clock.ramp(s.ramp)
        return weight / clock.examples * sum(self.cost(mask) for mask in model.masks.values())

    def end_stage(self, model: Module, stage: Stage) -> Module:
        if stage.name != "compress":
            return model
        self.choose(model)
        return nn.compact_network(model)
