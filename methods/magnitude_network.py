"""Magnitude pruning of a feed-forward network: the units that matter least to their readers go, a few at a time."""

from squeezebench import nn
from squeezebench.method import Stage, dense_classifier, setting, without_gradients
from squeezebench.method.masked import example
from squeezebench.method.network_pruning import PartMethod, PartSettings, example_of


class MagnitudeNetwork(PartMethod):
    """Units by the norm of the weights that read them times the standard deviation of what they give.

    The square of this score is the variance that a unit adds to what its readers give, or what the network loses if
    the unit is replaced by its mean. The norm alone (Li et al.: of a filter) says nothing under Adam, which moves the
    weights that read an almost constant pixel as far as any other. The deviation is measured in the training batches
    of the stage `prune`; older batches lose half of their weight at every update.

    In each set of coupled channels a part s_t = s (1 - (1 - p)^3) is removed, p the part of the stage done (Zhu &
    Gupta, Eq. 1): the smallest scores go, what reads them stays 0, and at the end of the stage they are cut out. A
    pixel that nothing needs keeps its initial weights unless weights decay (`weight_decay`).
    """

    title = "magnitude (network)"
    paper = "Li et al., Pruning Filters, ICLR 2017; Zhu & Gupta, To prune, or not to prune (2017)"
    control = True

    class Settings(PartSettings):
        prune_share: float = setting(0.5, "part of the remaining epochs in which units go", gt=0, lt=1)
        every: int = setting(50, "steps between updates of what is removed", gt=0)

    def stages(self):
        share = self.settings.prune_share
        return [Stage("prune", share, schedule="constant"), Stage("fine-tune", 1 - share)]

    def build(self, task):
        return nn.ObservedNetwork(dense_classifier(task, self.settings), example(task.inputs))

    def load_dense(self, model, dense):
        import torch

        model.network.load_state_dict(dense.state_dict())
        self.counts_at_end = self.counts(model)
        self.stays = torch.ones(nn.unit_groups(model).count + 1, dtype=torch.bool)
        return model

    @without_gradients
    def after_step(self, model):
        clock = self.clock
        if clock.stage == "prune":
            step = clock.step + 1
            if step == clock.steps or step % self.settings.every == 0:
                self._choose(model, (1 - step / clock.steps) ** 3)
            nn.unit_groups(model).scale(self.stays)  # what reads a removed unit stays 0, whatever Adam's moments do

    def end_stage(self, model, stage):
        if stage.name != "prune":
            return model
        self._choose(model, 0.0)
        keep = {name: stays.nonzero().flatten() for name, stays in nn.unit_groups(model).of(self.stays).items()}
        return nn.select_channels(model.network, keep, example_of(model.network))

    def observe(self, model):
        if not isinstance(model, nn.ObservedNetwork):
            return {}
        alive = nn.track_sizes(model).alive(nn.unit_groups(model).of(self.stays))
        return {"kept_weights": nn.track_sizes(model).sizes(alive).weights}

    def _choose(self, model, left):
        """Decide what stays if the part `left` of the removal is still to come; what was removed cannot return."""
        groups = nn.unit_groups(model)
        scores = (groups.square_norms() * model.variances()).cpu().masked_fill(~self.stays, -1.0)
        model.fade(0.5)
        sets = {units.name: units for units in groups.graph.sets}
        ends = self.counts_at_end.items()
        counts = {name: last + round((sets[name].width - last) * left) for name, last in ends}
        for name, keep in nn.best_channels(groups.graph, groups.of(scores), counts).items():
            self.stays[list(sets[name].labels)] = nn.chosen(keep, sets[name].width)
