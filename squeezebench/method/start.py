"""Bases for methods that train the dense model of their settings, from scratch or from the shared dense pretraining."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from squeezebench.method.base import Method
from squeezebench.method.dense import dense_classifier, dense_closed_form
from squeezebench.schema.models import TaskInfo
from squeezebench.schema.settings import Settings, setting
from squeezebench.schema.start import AnyStart

if TYPE_CHECKING:
    from torch.nn import Module


class DenseMethod(Method):
    """Base of the methods that build the dense model of their settings, whose size a formula gives."""

    def build(self, task: TaskInfo) -> Module:
        return dense_classifier(task, self.settings)

    def closed_form(self, task: TaskInfo) -> dict[str, int] | None:
        return dense_closed_form(task, self.settings)


class StartSettings(Settings):
    """Settings of a start that can be chosen; joined with those of a model, as in `Settings(StartSettings, ...)`."""

    start: AnyStart = setting("dense", "`scratch`, `dense` (the dense pretraining), or `{file: PATH}`: trained weights")
    start_share: float = setting(0.3, "part of the epochs spent on the dense pretraining", gt=0, lt=1)


class FromDense(Method):
    """Mixin: the method starts from the dense pretraining, unless its setting `start` says `scratch` or names a file.

    The pretraining takes the setting `start_share` of the epochs, or `dense_share` if the method has no such setting.
    """

    dense_share: ClassVar[float] = 0.3

    def start_share(self) -> float:
        if getattr(self.settings, "start", "dense") != "dense":
            return 0.0
        return getattr(self.settings, "start_share", self.dense_share)
