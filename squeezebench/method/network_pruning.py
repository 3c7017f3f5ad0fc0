"""What the baselines that remove channels of a feed-forward network share. Each of them is a file in `methods/`.

OneShotMethod: channels are chosen once, in the trained dense network. GatedMethod: masks decide while they are trained.
Both cut sets of coupled channels (units, pixels, channels tied by additions) and fine-tune the smaller plain network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from squeezebench import nn
from squeezebench.method.base import Stage
from squeezebench.method.dense import dense_classifier, dense_closed_form
from squeezebench.method.masked import MaskedMethod, MaskedSettings, example
from squeezebench.method.start import DenseMethod, FromDense
from squeezebench.method.unit_pruning import kept_count
from squeezebench.schema.kind import Kind
from squeezebench.schema.models import NetworkSettings, TaskInfo
from squeezebench.schema.settings import setting

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def example_of(network: Module) -> Tensor:
    """One image for `network`, (1, 1, D), where its weights are."""
    return example(network.inputs).to(next(network.parameters()).device)


class OneShotSettings(NetworkSettings):
    """How much of each set of coupled channels stays."""

    keep: float = setting(
        0.5, "part of the units or channels of each layer that is kept", search=(0.02, 0.9), gt=0, le=1
    )
    keep_inputs: float = setting(1.0, "part of the pixels kept, of LeNet-300-100", search=(0.05, 1.0), gt=0, le=1)
    start_share: float = setting(0.3, "part of the epochs spent on the dense pretraining", gt=0, lt=1)


class OneShotMethod(FromDense, DenseMethod):
    """Base of the methods that choose once: a subclass scores the units of the trained dense network.

    Elements of a flattened map are not chosen by themselves; they go with their channel.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)

    class Settings(OneShotSettings):
        pass

    def scores(self, groups: nn.UnitGroups) -> Tensor:
        """One number for each set of the network's graph, (S + 1,) as in nn.UnitGroups; the nn.largest stay."""
        raise TypeError(f"{type(self).__name__} does not define scores(groups)")

    @classmethod
    def inactive_settings(cls, settings: OneShotSettings) -> tuple[str, ...]:
        return () if settings.network == "lenet_300_100" else ("keep_inputs",)

    def stages(self) -> list[Stage]:
        return [Stage("fine-tune", 1.0)]

    def load_dense(self, model: Module, dense: Module) -> Module:
        one = example_of(dense)
        groups = nn.UnitGroups(dense, nn.follow(dense, one))
        scores, count = groups.of(self.scores(groups)), self._counts(groups)
        return nn.select_channels(dense, {name: nn.largest(scores[name], kept) for name, kept in count.items()}, one)

    def closed_form(self, task: TaskInfo) -> dict[str, int]:
        masked = nn.MaskedNetwork(dense_classifier(task, self.settings), example(task.inputs))
        count = self._counts(nn.UnitGroups(masked.network, masked.graph))
        first = {one.name: nn.chosen(slice(count.get(one.name, one.width)), one.width) for one in masked.sets}
        left = nn.track_sizes(masked).sizes(nn.track_sizes(masked).alive(first))
        return dense_closed_form(task, self.settings) | {"weights": left.weights}

    def _counts(self, groups: nn.UnitGroups) -> dict[str, int]:
        """How many channels of each set stay; at least one."""
        pixels, elements = groups.inputs(), groups.elements()
        s = self.settings
        chosen = [units for units in groups.graph.sets if units.name not in elements]
        return {
            units.name: kept_count(units.width, s.keep_inputs if units.name in pixels else s.keep) for units in chosen
        }


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
