"""Magnitude pruning of the trained dense network, by unit or by element, with the gradual schedule."""

from squeezebench import nn
from squeezebench.method import Stage, closed_form, setting, without_gradients
from squeezebench.method.target import budget_of, largest, recurrent_size, unreachable
from squeezebench.method.unit_pruning import UnitPruning, UnitSettings, kept_count


class Magnitude(UnitPruning):
    """What is smallest goes, a little more at every update: s_t = s (1 - (1 - p)^3), p the part of the stage done.

    `unit`: hidden units by the norm of their weight group (and inputs by their column); the compact network is dense.
    `element`: single weights, per matrix; zeros only count for what a sparse format saves, indices included.
    """

    title = "magnitude"
    paper = "Zhu & Gupta, To prune, or not to prune (2017); Narang et al., Exploring Sparsity in RNNs (2017)"
    control = True

    class Settings(UnitSettings):
        structure: str = setting("unit", "what is removed", search=["unit", "element"], pattern="^(unit|element)$")
        every: int = setting(10, "steps between updates of the masks", gt=0)

    @classmethod
    def inactive_settings(cls, settings):
        element = ("keep_inputs",) if settings.structure == "element" else ()
        return (*super().inactive_settings(settings), *element)

    def skip(self, task):
        s = self.settings
        if s.ratio is None or s.structure == "unit":
            return super().skip(task)
        dense, least = recurrent_size(task.inputs, s.hidden, s), self._sparse(task.inputs, 0.0)["lstm_total"]
        too_far = unreachable(task, s.ratio, dense, least, "row pointers, biases and one weight of each matrix")
        return super().skip(task) or too_far

    def stages(self):
        return [Stage("prune", 0.5), Stage("fine-tune", 0.5, learning_rate=self.settings.fine_tune_rate)]

    def closed_form(self, task):
        if self.settings.structure == "unit":
            return super().closed_form(task)
        return self._sparse(task.inputs, self._kept_weights(task.inputs))

    def _sparse(self, inputs, keep):
        """Counts of the sparse network that keeps the part `keep` of each matrix."""
        s = self.settings
        whole = closed_form(inputs, [s.hidden] * s.layers, s.cell)
        cell, reads = nn.cell_of(s.cell), [inputs] + [s.hidden] * (s.layers - 1)
        w = sum(_stored(len(cell.gates) * s.hidden, d, keep) for d in reads)
        u = s.layers * _stored(len(cell.recurrent) * s.hidden, s.hidden, keep)
        return whole | {"input_to_hidden": w, "hidden_to_hidden": u, "lstm_total": w + u + whole["bias"]}

    def _kept_weights(self, inputs):
        """The part of each matrix's weights that stays (element)."""
        s = self.settings
        if s.ratio is None:
            return s.keep
        dense = recurrent_size(inputs, s.hidden, s)  # one in `dense` is finer than a weight of any matrix
        budget = budget_of(dense, s.ratio)
        return largest(lambda k: self._sparse(inputs, k / dense)["lstm_total"], budget, dense) / dense

    def after_step(self, model):
        if self.clock.stage == "prune" and self.clock.step % self.settings.every == 0:
            self._choose(model, self.clock.progress)
        self._apply(model)

    def end_stage(self, model, stage):
        if stage.name == "prune":
            self._choose(model, 1.0)
            self._apply(model)
            if self.settings.structure == "unit":
                model = nn.select_units(model, self.inputs, self.units)
                self.zeros = []
        return model

    @without_gradients
    def compact(self, model):
        if self.settings.structure == "unit":
            return model
        layers = []
        for layer in model.layers:
            maps = [
                nn.SparseMap.from_dense(m.dense()) if m.out_features else m for m in (layer.input_map, layer.hidden_map)
            ]
            sparse = nn.RecurrentLayer(*maps, layer.cell)
            sparse.bias_ih.copy_(layer.bias_ih)
            sparse.bias_hh.copy_(layer.bias_hh)
            layers.append(sparse)
        return nn.RecurrentClassifier(layers, model.head, front=model.front, top=model.top)

    @without_gradients
    def _choose(self, model, progress):
        """Masks for the present sparsity: `zeros` holds (weights, bool mask of what is removed)."""
        left = (1 - progress) ** 3
        if self.settings.structure == "element":
            kept = self._kept_weights(model.inputs)
            matrices = [m.weight for layer in model.layers for m in (layer.input_map, layer.hidden_map)]
            self.zeros = [(w, w.abs() < self._cut(w.abs(), kept + (1 - kept) * left)) for w in matrices if w.numel()]
            return
        inputs, units = self.kept(model.inputs)
        norms = nn.unit_square_norms(model)
        self.units = [nn.largest(n, units + round((len(n) - units) * left)) for n in norms]
        self.inputs = nn.largest(nn.input_square_norms(model), inputs + round((model.inputs - inputs) * left))
        self.zeros = []
        for layer, units in zip(model.layers, self.units, strict=True):
            gone = ~nn.chosen(units, layer.hidden)
            u = layer.hidden_map.weight
            self.zeros.append((u, gone.expand_as(u)))  # its recurrent column: nobody reads the unit any more
            reader = self._reader(model, layer)
            self.zeros.append((reader, gone.expand_as(reader)))
        w = model.layers[0].input_map.weight
        gone = ~nn.chosen(self.inputs, model.inputs)
        self.zeros.append((w, gone.expand_as(w)))

    @staticmethod
    def _reader(model, layer):
        place = list(model.layers).index(layer)
        return model.head.weight if layer is model.layers[-1] else model.layers[place + 1].input_map.weight

    @staticmethod
    def _cut(magnitudes, keep):
        rank = magnitudes.numel() - kept_count(magnitudes.numel(), keep) + 1
        return magnitudes.flatten().kthvalue(rank).values

    @without_gradients
    def _apply(self, model):
        for weights, gone in getattr(self, "zeros", ()):
            weights.masked_fill_(gone, 0.0)


def _stored(rows, columns, keep):
    """Numbers of a sparse matrix: values, their columns, row pointers. A matrix without rows stores nothing."""
    return 2 * kept_count(rows * columns, keep) + rows + 1 if rows else 0
