"""The control for every way of choosing units: choose them at random."""

from squeezebench import nn
from squeezebench.method import Method, RecurrentSettings, Stage, closed_form, dense_classifier, setting


class RandomUnits(Method):
    """Units (and inputs) of the trained dense network removed at random, the rest fine-tuned."""

    title = "random units"
    paper = "control"
    control = True

    class Settings(RecurrentSettings):
        keep: float = setting(0.25, "part of the hidden units kept", search=(0.01, 0.9), gt=0, le=1)
        keep_inputs: float = setting(1.0, "part of the inputs kept", search=(0.01, 1.0), gt=0, le=1)

    def start_share(self):
        return 0.3

    def stages(self):
        return [Stage("fine-tune", 1.0)]

    def build(self, task):
        return dense_classifier(task, self.settings)

    def load_dense(self, model, dense):
        inputs = self._draw(dense.inputs, self.settings.keep_inputs)
        return nn.select_units(dense, inputs, [self._draw(h, self.settings.keep) for h in dense.hidden])

    def closed_form(self, task):
        s = self.settings
        return closed_form(_part(task.inputs, s.keep_inputs), [_part(s.hidden, s.keep)] * s.layers, s.cell)

    def _draw(self, units, part):
        import torch

        return torch.randperm(units)[: _part(units, part)].sort().values


def _part(units, part):
    return max(1, round(part * units))
