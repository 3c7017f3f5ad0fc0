"""Low-rank factorisation of the trained matrices by truncated SVD, then fine-tuning."""

from pydantic import PositiveInt

from squeezebench import nn
from squeezebench.method import DenseMethod, FromDense, RecurrentSettings, Stage, closed_form, setting
from squeezebench.method.rate import RateSettings
from squeezebench.method.target import TargetSettings, budget_of, largest, recurrent_size, unreachable


class LowRank(FromDense, DenseMethod):
    """W = U V with r (m + n) parameters, for input-to-hidden and hidden-to-hidden; worth it for r < m n / (m + n)."""

    title = "low rank (SVD)"
    paper = "Grachev et al., Neural Networks Compression for Language Modeling (2017); Winata et al. (2019)"

    class Settings(TargetSettings, RateSettings, RecurrentSettings):
        rank: PositiveInt = setting(
            4, "rank of each factorisation; a matrix that would grow stays dense", search=[1, 2, 4, 8, 16]
        )
        hidden_to_hidden: bool = setting(True, "factorise hidden-to-hidden as well")

    @classmethod
    def inactive_settings(cls, settings):
        return ("rank",) if settings.ratio else ()

    def skip(self, task):
        s = self.settings
        dense, least = recurrent_size(task.inputs, s.hidden, s), self._counts(task.inputs, 1, 1)["lstm_total"]
        kept = "" if s.hidden_to_hidden else "hidden-to-hidden, "
        too_far = s.ratio and unreachable(task, s.ratio, dense, least, f"{kept}biases and factors of rank 1")
        return super().skip(task) or too_far or None

    def stages(self):
        return [Stage("fine-tune", 1.0, learning_rate=self.settings.learning_rate)]

    def build(self, task):
        s = self.settings
        if s.ratio is None:
            nn.check_rank("rank", s.rank, max(min(task.inputs, len(nn.cell_of(s.cell).gates) * s.hidden), s.hidden))
        return super().build(task)

    def load_dense(self, model, dense):
        of_inputs, of_state = self._ranks(dense.inputs)
        for layer in dense.layers:
            layer.input_map = _factorised(layer.input_map, of_inputs)
            if self.settings.hidden_to_hidden:
                layer.hidden_map = _factorised(layer.hidden_map, of_state)
        return dense

    def closed_form(self, task):
        return self._counts(task.inputs, *self._ranks(task.inputs))

    def _ranks(self, inputs):
        """(rank of input-to-hidden, of hidden-to-hidden): under a ratio the largest that fit, at most one apart."""
        s = self.settings
        if s.ratio is None:
            return s.rank, s.rank

        def size(of_inputs, of_state):
            return self._counts(inputs, of_inputs, of_state)["lstm_total"]

        budget, full = budget_of(recurrent_size(inputs, s.hidden, s), s.ratio), max(inputs, s.hidden)
        rank = max(1, largest(lambda rank: size(rank, rank), budget, full))
        fits = [ranks for ranks in ((rank, rank + 1), (rank + 1, rank)) if size(*ranks) <= budget]
        return max([(rank, rank), *fits], key=lambda ranks: size(*ranks))

    def _counts(self, inputs, of_inputs, of_state):
        s = self.settings
        cell = nn.cell_of(s.cell)
        rows, products = len(cell.gates) * s.hidden, len(cell.recurrent) * s.hidden
        counts = closed_form(inputs, [s.hidden] * s.layers, s.cell)
        w = sum(_stored(d, rows, of_inputs) for d in [inputs] + [s.hidden] * (s.layers - 1))
        u = s.layers * _stored(s.hidden, products, of_state) if s.hidden_to_hidden else counts["hidden_to_hidden"]
        return counts | {"input_to_hidden": w, "hidden_to_hidden": u, "lstm_total": w + u + counts["bias"]}


def _stored(inputs, outputs, rank):
    return min(inputs * outputs, rank * (inputs + outputs))


def _factorised(dense_map, rank):
    if _stored(dense_map.in_features, dense_map.out_features, rank) == dense_map.weight.numel():
        return dense_map
    return nn.LowRankMap.from_dense(dense_map.weight.detach(), rank)
