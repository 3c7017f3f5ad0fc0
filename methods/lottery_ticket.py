"""Lottery tickets of hidden units: train, prune by magnitude, rewind what stays to its first weights, train again."""

from pydantic import NonNegativeInt, PositiveInt

from squeezebench import nn
from squeezebench.method import Method, Stage, setting, without_gradients
from squeezebench.method.unit_pruning import UnitPruning, UnitSettings


class LotteryTicket(UnitPruning):
    """The units that are largest after training are trained again from the weights that they had before it.

    The paper prunes single weights. Here a unit goes with its whole weight group (and an input with its column), so
    that the ticket is a smaller dense network. Each of `rounds` rounds trains, keeps the units whose weights have the
    largest norm and rewinds them; the last stage trains the ticket. All stages are equally long. A round keeps the part
    p^(1/rounds) of the units that it starts with, so that the part p stays in the end (iterative pruning).
    """

    title = "lottery ticket (units)"
    paper = (
        "Frankle & Carbin, The Lottery Ticket Hypothesis, ICLR 2019; rewind_steps: Frankle, Dziugaite, Roy, Carbin, "
        "Linear Mode Connectivity and the Lottery Ticket Hypothesis, ICML 2020"
    )

    class Settings(UnitSettings):
        rewind_steps: NonNegativeInt = setting(
            0, "gradient steps of the first stage after which a unit has the weights that it is rewound to; 0: none"
        )
        rounds: PositiveInt = setting(1, "how often it prunes and rewinds")
        fine_tune_rate: float = setting(1.0, "factor on the learning rate of the ticket", search=(0.3, 10.0), gt=0)

    start_share = Method.start_share  # none: the early weights of the shared dense pretraining are not kept

    def stages(self):
        rounds = self.settings.rounds
        share = 1 / (rounds + 1)
        search = [Stage(f"round {number}", share) for number in range(1, rounds + 1)]
        return [*search, Stage("ticket", share, learning_rate=self.settings.fine_tune_rate)]

    def build(self, task):
        model = super().build(task)
        self.inputs = task.inputs
        self._keep_early(model)
        return model

    def after_step(self, model):
        clock, steps = self.clock, self.settings.rewind_steps
        if clock.stage != "round 1" or not steps:
            return
        if steps > clock.steps:
            raise ValueError(f"rewind_steps {steps}: round 1 has {clock.steps} steps; give at most so many")
        if clock.step + 1 == steps:  # the clock counts this step after the hook
            self._keep_early(model)

    @without_gradients
    def end_stage(self, model, stage):
        if stage.name == "ticket":
            return model
        inputs, units = self._kept_after(int(stage.name.split()[1]))
        chosen = [nn.largest(norms, units) for norms in nn.unit_square_norms(model)]
        read = nn.largest(nn.input_square_norms(model), inputs)
        model.load_state_dict(self.early)
        ticket = nn.select_units(model, read, chosen)
        self._keep_early(ticket)
        return ticket

    def _kept_after(self, number):
        """How many inputs and units of each layer stay after round `number`."""
        part, whole = number / self.settings.rounds, (self.inputs, self.settings.hidden)
        return [round(n * (kept / n) ** part) for n, kept in zip(whole, self.kept(self.inputs), strict=True)]

    def _keep_early(self, model):
        """Note the present weights as those to rewind to."""
        self.early = {name: value.detach().clone() for name, value in model.state_dict().items()}
