"""What the baselines that remove channels of a feed-forward network share. Each of them is a file in `methods/`.

PartMethod: a given part of each layer stays. OneShotMethod: that part is chosen once, in the trained dense network.
GatedMethod: masks decide while they are trained. All of them cut sets of coupled channels (units, pixels, channels tied
by additions) and fine-tune the smaller plain network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from squeezebench import nn
from squeezebench.method.base import Stage
from squeezebench.method.dense import dense_classifier, dense_closed_form
from squeezebench.method.masked import DecaySettings, MaskedMethod, MaskedSettings, decayed_groups, example
from squeezebench.method.start import DenseMethod, FromDense
from squeezebench.method.unit_pruning import kept_count
from squeezebench.schema.kind import Kind
from squeezebench.schema.models import TaskInfo
from squeezebench.schema.settings import setting

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def example_of(network: Module) -> Tensor:
    """One image for `network`, (1, 1, D), where its weights are."""
    return example(network.inputs).to(next(network.parameters()).device)


class PartSettings(DecaySettings):
    """How much of each set of coupled channels stays."""

    keep: float = setting(
        0.5, "part of the units or channels of each layer that is kept", search=(0.02, 0.9), gt=0, le=1
    )
    keep_inputs: float = setting(1.0, "part of the pixels kept, of LeNet-300-100", search=(0.05, 1.0), gt=0, le=1)
    start_share: float = setting(0.3, "part of the epochs spent on the dense pretraining", gt=0, lt=1)


class PartMethod(FromDense, DenseMethod):
    """Base of the methods that keep the settings `keep` of the units of each layer, and `keep_inputs` of the pixels.

    Elements of a flattened map are not chosen by themselves; they go with their channel.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)

    class Settings(PartSettings):
        pass

    @classmethod
    def inactive_settings(cls, settings: PartSettings) -> tuple[str, ...]:
        return () if settings.network == "lenet_300_100" else ("keep_inputs",)

    def parameter_groups(self, model: Module) -> list[dict[str, Any]]:
        return decayed_groups(list(model.parameters()), self.settings.weight_decay)

    def closed_form(self, task: TaskInfo) -> dict[str, int]:
        masked = nn.MaskedNetwork(dense_classifier(task, self.settings), example(task.inputs))
        count = self.counts(nn.UnitGroups(masked.network, masked.graph))
        first = {one.name: nn.chosen(slice(count.get(one.name, one.width)), one.width) for one in masked.sets}
        left = nn.track_sizes(masked).sizes(nn.track_sizes(masked).alive(first))
        return dense_closed_form(task, self.settings) | {"weights": left.weights}

    def counts(self, groups: nn.UnitGroups, left: float = 0.0) -> dict[str, int]:
        """How many channels of each set stay, at least one; `left`: part of the removal that is still to come."""
        pixels, elements = groups.inputs(), groups.elements()
        s = self.settings
        keep, keep_inputs = (part + (1 - part) * left for part in (s.keep, s.keep_inputs))
        chosen = [units for units in groups.graph.sets if units.name not in elements]
        return {units.name: kept_count(units.width, keep_inputs if units.name in pixels else keep) for units in chosen}


class OneShotMethod(PartMethod):
    """Base of the methods that choose once: a subclass scores the units of the trained dense network."""

    def scores(self, groups: nn.UnitGroups) -> Tensor:
        """One number for each set of the network's graph, (S + 1,) as in nn.UnitGroups; the largest stay."""
        raise TypeError(f"{type(self).__name__} does not define scores(groups)")

    def stages(self) -> list[Stage]:
        return [Stage("fine-tune", 1.0)]

    def load_dense(self, model: Module, dense: Module) -> Module:
        one = example_of(dense)
        groups = nn.UnitGroups(dense, nn.follow(dense, one))
        scores, count = groups.of(self.scores(groups)), self.counts(groups)
        return nn.select_channels(dense, {name: nn.largest(scores[name], kept) for name, kept in count.items()}, one)


class GatedSettings(MaskedSettings):
    """How long the masks are trained."""

    ramp: float = setting(0.3, "part of compression over which the penalty rises from 0", ge=0, lt=1)
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
        return s.strength * clock.ramp(s.ramp) / clock.examples * sum(self.cost(mask) for mask in model.masks.values())

    def observe(self, model: Module) -> dict[str, float]:
        if not isinstance(model, nn.MaskedNetwork):
            return {}
        kept = {name: mask.keep() for name, mask in model.masks.items()}
        return {"kept_weights": nn.track_sizes(model).sizes(nn.track_sizes(model).alive(kept)).weights}

    def end_stage(self, model: Module, stage: Stage) -> Module:
        return nn.compact_network(model) if stage.name == "compress" else model
