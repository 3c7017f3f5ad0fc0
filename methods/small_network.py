"""The control that compression has to beat on images and videos: the same network, narrower, for the same budget."""

from typing import ClassVar

from pydantic import PositiveFloat

from squeezebench.method import Method, NetworkSettings, Stage, dense_classifier, dense_closed_form, setting
from squeezebench.method.network_size import NOUNS, SizeSettings, dense_size
from squeezebench.method.rate import RateSettings
from squeezebench.method.target import budget_of, unreachable


class SmallNetwork(Method):
    """A dense network of narrower layers: by a given factor, or the widest that meets a budget of weights.

    An LSTM above it is narrowed by the same factor.
    """

    title = "small network"
    paper = "direct design"
    control = True
    kinds: ClassVar = ("image", "video")

    class Settings(SizeSettings, NetworkSettings, RateSettings):
        narrower: PositiveFloat | None = setting(None, "factor on the dense network's widths; none: by ratio", le=1)
        ratio: PositiveFloat = setting(
            10.0, "at least this many times fewer weights than dense, or what `ratio_of` says", search=(2, 100)
        )

    @classmethod
    def inactive_settings(cls, settings):
        return ("ratio",) if settings.narrower is not None else ()

    def skip(self, task):
        s = self.settings
        if (reason := super().skip(task)) or s.narrower:
            return reason
        least, dense = (self._size(task, factor) for factor in (1e-9, 1.0))
        return unreachable(task, s.ratio, dense, least, "layers of one unit", NOUNS[s.ratio_of])

    def stages(self):
        return [Stage("train", 1.0, learning_rate=self.settings.learning_rate)]

    def build(self, task):
        return dense_classifier(task, self._narrowed(task))

    def closed_form(self, task):
        return dense_closed_form(task, self._narrowed(task))

    def _of(self, factor):
        """The settings of the network whose widths are `factor` times the dense ones, at least one unit each."""
        s = self.settings
        units = s.recurrent and max(1, round(s.recurrent * factor))
        return s.model_copy(update={"width": s.width * factor, "recurrent": units})

    def _size(self, task, factor):
        return dense_size(task, self._of(factor))

    def _narrowed(self, task):
        """The settings of the narrower network: by halving the interval, as sizes never fall with the width."""
        s = self.settings
        if s.narrower is not None:
            return self._of(s.narrower)

        budget, low, high = budget_of(self._size(task, 1.0), s.ratio), 1e-6, 1.0
        while high - low > 1e-5 * high:
            middle = (low + high) / 2
            low, high = (middle, high) if self._size(task, middle) <= budget else (low, middle)
        return self._of(low)
