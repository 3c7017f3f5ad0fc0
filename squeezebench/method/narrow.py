"""Base of the methods that train a narrower dense network: its width follows from a ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveFloat, PositiveInt

from squeezebench.method.base import Method, Stage
from squeezebench.method.dense import dense_classifier
from squeezebench.method.rate import RateSettings
from squeezebench.method.target import budget_of, largest, recurrent_size, unreachable
from squeezebench.nn.rnn.closed_form import closed_form
from squeezebench.schema.models import RecurrentSettings, TaskInfo
from squeezebench.schema.settings import setting

if TYPE_CHECKING:
    from torch.nn import Module


class NarrowSettings(RateSettings, RecurrentSettings):
    """The width, given or by ratio."""

    width: PositiveInt | None = setting(None, "hidden units; none: by ratio")
    ratio: PositiveFloat = setting(
        10.0, "at least this many times fewer recurrent parameters than dense", search=(2, 500)
    )


class NarrowDense(Method):
    """A dense classifier of fewer units: a given width, or the widest that meets a parameter budget."""

    class Settings(NarrowSettings):
        pass

    @classmethod
    def inactive_settings(cls, settings: NarrowSettings) -> tuple[str, ...]:
        return ("ratio",) if settings.width is not None else ()

    def skip(self, task: TaskInfo) -> str | None:
        s = self.settings
        dense, least = recurrent_size(task.inputs, s.hidden, s), recurrent_size(task.inputs, 1, s)
        unit = "hidden unit" if s.layers == 1 else "hidden unit a layer"
        inputs = f"one {unit} on {task.inputs} inputs"
        too_far = s.width is None and unreachable(task, s.ratio, dense, least, f"the weights of {inputs}")
        return super().skip(task) or too_far or None

    def stages(self) -> list[Stage]:
        return [Stage("train", 1.0, learning_rate=self.settings.learning_rate)]

    def build(self, task: TaskInfo) -> Module:
        return dense_classifier(task, self.settings.model_copy(update={"hidden": self._width(task)}))

    def closed_form(self, task: TaskInfo) -> dict[str, int]:
        return closed_form(task.inputs, [self._width(task)] * self.settings.layers, self.settings.cell)

    def _width(self, task: TaskInfo) -> int:
        s = self.settings
        if s.width is not None:
            return s.width
        budget = budget_of(recurrent_size(task.inputs, s.hidden, s), s.ratio)
        return max(1, largest(lambda width: recurrent_size(task.inputs, width, s), budget, s.hidden))
