"""The control without recurrence: does the task need a recurrent network at all?"""

from squeezebench import nn
from squeezebench.method import Method, Settings, closed_form


class PooledLinear(Method):
    """Mean of the features over the valid steps, then one linear layer."""

    title = "mean pool + linear"
    paper = "no recurrence"
    control = True

    class Settings(Settings):
        pass

    def build(self, task):
        return nn.MeanPoolLinear(task.inputs, task.classes)

    def closed_form(self, task):
        return closed_form(0, [0])
