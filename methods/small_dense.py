"""The control that compression has to beat: the same cell, narrower, from scratch, for the same budget."""

from pydantic import PositiveFloat, PositiveInt

from squeezebench.method import Method, RecurrentSettings, closed_form, dense_classifier, setting


class SmallDense(Method):
    """A dense classifier of fewer units: a given width, or the widest that meets a parameter budget."""

    title = "small dense"
    paper = "direct design, as in Wen et al. (ICLR 2018), Table 1"
    control = True

    class Settings(RecurrentSettings):
        width: PositiveInt | None = setting(None, "hidden units; none: by ratio")
        ratio: PositiveFloat = setting(
            10.0, "at least this many times fewer recurrent parameters than dense", search=(2, 500)
        )

    @classmethod
    def inactive_settings(cls, settings):
        return ("ratio",) if settings.width is not None else ()

    @classmethod
    def initial_trial(cls, ratio):
        return {} if ratio is None else {"ratio": ratio}

    def skip(self, task):
        if self._width(task) < 1:
            return (
                f"one hidden unit on {task.inputs} inputs is larger than 1/{self.settings.ratio:g} of the dense model"
            )
        return super().skip(task)

    def build(self, task):
        return dense_classifier(task, self.settings.model_copy(update={"hidden": self._width(task)}))

    def closed_form(self, task):
        return closed_form(task.inputs, [self._width(task)] * self.settings.layers, self.settings.cell)

    def _width(self, task):
        s = self.settings
        if s.width is not None:
            return s.width
        budget = self._count(task.inputs, s.hidden) / s.ratio
        width = 0
        while self._count(task.inputs, width + 1) <= budget:
            width += 1
        return width

    def _count(self, inputs, hidden):
        return closed_form(inputs, [hidden] * self.settings.layers, self.settings.cell)["lstm_total"]
