"""Magnitude pruning of the trained dense network, by unit or by element, with the gradual schedule."""

from squeezebench import nn
from squeezebench.method import RecurrentSettings, Stage, closed_form, setting, without_gradients
from squeezebench.method.unit_pruning import UnitPruning, kept_count


class Magnitude(UnitPruning):
    """What is smallest goes, a little more at every update: s_t = s (1 - (1 - p)^3), p the part of the stage done.

    `unit`: hidden units by the norm of their weight group (and inputs by their column); the compact network is dense.
    `element`: single weights, per matrix; zeros only count for what a sparse format saves, indices included.
    """

    title = "magnitude"
    paper = "Zhu & Gupta, To prune, or not to prune (2017); Narang et al., Exploring Sparsity in RNNs (2017)"
    control = True

    class Settings(RecurrentSettings):
        structure: str = setting("unit", "what is removed", search=["unit", "element"], pattern="^(unit|element)$")
        keep: float = setting(
            0.25, "part of the units (or of each matrix's weights) kept", search=(0.01, 0.9), gt=0, le=1
        )
        keep_inputs: float = setting(1.0, "part of the inputs kept (unit)", search=(0.01, 1.0), gt=0, le=1)
        every: int = setting(10, "steps between updates of the masks", gt=0)

    @classmethod
    def inactive_settings(cls, settings):
        return ("keep_inputs",) if settings.structure == "element" else ()

    def stages(self):
        return [Stage("prune", 0.5), Stage("fine-tune", 0.5)]

    def closed_form(self, task):
        s = self.settings
        if s.structure == "unit":
            return super().closed_form(task)
        whole = closed_form(task.inputs, [s.hidden] * s.layers, s.cell)
        cell, reads = nn.cell_of(s.cell), [task.inputs] + [s.hidden] * (s.layers - 1)
        w = sum(self._stored(len(cell.gates) * s.hidden, d) for d in reads)
        u = s.layers * self._stored(len(cell.recurrent) * s.hidden, s.hidden)
        return whole | {"input_to_hidden": w, "hidden_to_hidden": u, "lstm_total": w + u + whole["bias"]}

    def _stored(self, rows, columns):
        """Numbers of a sparse matrix: values, their columns, row pointers. A matrix without rows stores nothing."""
        return 2 * kept_count(rows * columns, self.settings.keep) + rows + 1 if rows else 0

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
        s = self.settings
        left = (1 - progress) ** 3
        keep, keep_inputs = s.keep + (1 - s.keep) * left, s.keep_inputs + (1 - s.keep_inputs) * left
        if s.structure == "element":
            matrices = [m.weight for layer in model.layers for m in (layer.input_map, layer.hidden_map)]
            self.zeros = [(w, w.abs() < self._cut(w.abs(), keep)) for w in matrices if w.numel()]
            return
        norms = nn.unit_square_norms(model)
        self.units = [nn.largest(n, round(keep * len(n))) for n in norms]
        self.inputs = nn.largest(nn.input_square_norms(model), round(keep_inputs * model.inputs))
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
