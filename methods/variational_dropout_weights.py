"""Sparse variational dropout as it was published: by single weights, and the units that these leave."""

from typing import ClassVar

from squeezebench import nn
from squeezebench.method import DenseMethod, FromDense, NetworkSettings, Stage, StartSettings, setting
from squeezebench.method.convergence import mask_learning_rate
from squeezebench.method.network_pruning import example_of


class VariationalDropoutWeights(FromDense, DenseMethod):
    """Molchanov et al., ICML 2017: w ~ N(theta, sigma^2) for each weight, removed if log(sigma^2 / theta^2) > 3.

    Loss: mean cross-entropy + strength / N sum_w KL(w), N training images, with the paper's approximation of the KL
    (Eq. 14); strength 1 is the variational bound, to which it rises over `ramp`. The rows called VD in VIBNet's tables
    count the pixels, units and channels that such a network happens to have left (512-114-72 of 784-300-100): at the
    end of compression the weights that go are 0, and every unit goes that nothing reads any more. What stays are dense
    matrices, counted as such. They are fine-tuned without noise; the record keeps the accuracy before that.

    Other than the paper: a dense pretraining and the fine-tuning. Its learning rates are those of the experiment; that
    of log sigma^2 covers its way in the steps there are, as for other masks.
    """

    title = "variational dropout by weight"
    paper = "Molchanov, Ashukha, Vetrov, Variational Dropout Sparsifies Deep Neural Networks, ICML 2017"
    kinds: ClassVar = ("image",)

    class Settings(StartSettings, NetworkSettings):
        strength: float = setting(1.0, "weight of the KL terms; 1: the variational bound", search=(0.1, 30.0), ge=0)
        threshold: float = setting(3.0, "a weight stays iff log(sigma^2 / theta^2) is at most this")
        ramp: float = setting(0.3, "part of compression over which the penalty rises from 0", ge=0, lt=1)
        compress_share: float = setting(0.6, "part of the remaining epochs with noise; the rest fine-tunes", gt=0, lt=1)
        start_share: float = setting(0.2, "part of the epochs spent on the dense pretraining", gt=0, lt=1)
        fine_tune_rate: float = setting(1.0, "factor on the learning rate while fine-tuning", gt=0)

    def stages(self):
        s = self.settings
        tuned = Stage("fine-tune", 1 - s.compress_share, penalised=False, learning_rate=s.fine_tune_rate)
        return [Stage("compress", s.compress_share), tuned]

    def build(self, task):
        return nn.NoisyWeights(super().build(task), self.settings.threshold)

    def load_dense(self, model, dense):
        super().load_dense(model.network, dense)
        return model

    def parameter_groups(self, model):
        if not isinstance(model, nn.NoisyWeights):
            return super().parameter_groups(model)
        rate = mask_learning_rate(None, self.clock.steps)
        noise = {"params": list(model.log_var.values()), "lr": rate, "schedule": "constant", "weight_decay": 0.0}
        return [{"params": list(model.network.parameters())}, noise]

    def penalty(self, model):
        s, clock = self.settings, self.clock
        return s.strength * clock.ramp(s.ramp) / clock.examples * model.kl()

    def observe(self, model):
        """Single weights that stay."""
        if not isinstance(model, nn.NoisyWeights):
            return {}
        return {"nonzero_weights": sum(int(stays.sum()) for stays in model.kept().values())}

    def end_stage(self, model, stage):
        if not isinstance(model, nn.NoisyWeights):
            return model
        network = model.network
        network.load_state_dict({name: values.detach() for name, values in model.pruned().items()}, strict=False)
        return read_alone(network, self.notes)


def read_alone(network, notes):
    """The smaller network without the units that no weight reads; a set never loses its last unit."""
    example = example_of(network)
    groups = nn.unit_groups(nn.MaskedNetwork(network, example, sets=()))
    stays, norms = groups.of(groups.alive()), groups.of(groups.square_norms().detach().cpu())
    for name, units in stays.items():
        units[norms[name].argmax()] = True
    if all(bool(units.all()) for units in stays.values()):
        notes.append("removed no unit: every one is read by some weight that stays")
    return nn.select_channels(network, {name: units.nonzero().flatten() for name, units in stays.items()}, example)
