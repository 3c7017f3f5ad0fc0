"""Low-rank factorisation of the trained matrices by truncated SVD, then fine-tuning."""

from pydantic import PositiveInt

from squeezebench import nn
from squeezebench.method import DenseMethod, FromDense, RecurrentSettings, Stage, closed_form, setting


class LowRank(FromDense, DenseMethod):
    """W = U V with r (m + n) parameters, for input-to-hidden and hidden-to-hidden; worth it for r < m n / (m + n)."""

    title = "low rank (SVD)"
    paper = "Grachev et al., Neural Networks Compression for Language Modeling (2017); Winata et al. (2019)"

    class Settings(RecurrentSettings):
        rank: PositiveInt = setting(
            4, "rank of each factorisation; a matrix that would grow stays dense", search=[1, 2, 4, 8, 16]
        )
        hidden_to_hidden: bool = setting(True, "factorise hidden-to-hidden as well")

    def stages(self):
        return [Stage("fine-tune", 1.0)]

    def build(self, task):
        rows = len(nn.cell_of(self.settings.cell).gates) * self.settings.hidden
        nn.check_rank("rank", self.settings.rank, max(min(task.inputs, rows), self.settings.hidden))
        return super().build(task)

    def load_dense(self, model, dense):
        for layer in dense.layers:
            layer.input_map = self._factorise(layer.input_map)
            if self.settings.hidden_to_hidden:
                layer.hidden_map = self._factorise(layer.hidden_map)
        return dense

    def _factorise(self, dense_map):
        if self._stored(dense_map.in_features, dense_map.out_features) == dense_map.weight.numel():
            return dense_map
        return nn.LowRankMap.from_dense(dense_map.weight.detach(), self.settings.rank)

    def _stored(self, inputs, outputs):
        return min(inputs * outputs, self.settings.rank * (inputs + outputs))

    def closed_form(self, task):
        s = self.settings
        cell = nn.cell_of(s.cell)
        rows, products = len(cell.gates) * s.hidden, len(cell.recurrent) * s.hidden
        counts = closed_form(task.inputs, [s.hidden] * s.layers, s.cell)
        w = sum(self._stored(d, rows) for d in [task.inputs] + [s.hidden] * (s.layers - 1))
        u = s.layers * self._stored(s.hidden, products) if s.hidden_to_hidden else counts["hidden_to_hidden"]
        return counts | {"input_to_hidden": w, "hidden_to_hidden": u, "lstm_total": w + u + counts["bias"]}
