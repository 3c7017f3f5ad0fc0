"""FDHT-LSTM: all gate matrices, input-to-hidden and hidden-to-hidden, as one hierarchical Tucker map."""

from pydantic import PositiveInt

from squeezebench import nn
from squeezebench.method import closed_form, dense_classifier, setting
from squeezebench.method.target import TargetSettings
from squeezebench.method.tensor import RatioOfMap, TensorSettings


class FDHTLSTM(RatioOfMap):
    """One map (D + H) -> 4H is integrated first and decomposed then ("fully decomposed").

    The source's modes, ranks and training are not public; the modes here factorise D + H (`in_modes`) and H. What is
    counted as input-to-hidden is the whole map; hidden-to-hidden stores nothing of its own.
    """

    title = "FDHT-LSTM"
    paper = "Yin et al., Towards Extremely Compact RNNs for Video Recognition with Fully Decomposed HT, CVPR 2021"

    kind = "ht"
    beside = "biases"

    class Settings(TargetSettings, TensorSettings):
        inner_rank: PositiveInt | None = setting(None, "rank of the tree's inner nodes; none: rank")
        compact_to: str = setting("cores", "the joint map is kept as cores", pattern="^cores$")

    def skip(self, task):
        s = self.settings
        cell = nn.cell_of(s.cell)
        if cell.recurrent != cell.gates:
            return f"not for {cell.title}: the joint map needs a hidden-to-hidden product for every gate"
        if s.layers > 1:
            return "one layer only: the joint map spans one layer's matrices"
        return super().skip(task)

    def map_inputs(self, inputs):
        return inputs + self.settings.hidden

    def rest(self, inputs):
        return closed_form(inputs, [self.settings.hidden], self.settings.cell)["bias"]

    def build(self, task):
        model = dense_classifier(task, self.settings)
        layer = model.layers[0]
        # the map is made for D + H inputs; its entries then have the variance that a dense pretraining would have
        whole = self.choice(task.inputs).random(self.map_inputs(layer.inputs), layer.hidden, len(layer.cell.gates))
        layer.input_map = nn.JointInput(whole, layer.hidden)
        layer.hidden_map = nn.JointHidden(layer.input_map)
        return model

    def closed_form(self, task):
        s = self.settings
        gates = len(nn.cell_of(s.cell).gates)
        cores = self.choice(task.inputs).count(self.map_inputs(task.inputs), s.hidden, gates)
        counts = closed_form(task.inputs, [s.hidden], s.cell, input_to_hidden=cores)
        return counts | {"hidden_to_hidden": 0, "lstm_total": cores + counts["bias"]}
