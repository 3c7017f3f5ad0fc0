"""Skip-Sideways: a learning rule for per-frame networks on videos. It trains; it compresses nothing."""

from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat

from squeezebench import nn
from squeezebench.base.errors import InputError
from squeezebench.method import DenseMethod, PerFrameSettings, setting


class SkipSideways(DenseMethod):
    """Malinowski et al., CVPR 2021: gradients go forward in time, through the same wiring as the activations.

    Without shortcuts it is Sideways (CVPR 2020). `rule: backpropagation` trains the same network by exact
    back-propagation over the whole clip, with the same schedule and clipping: the control that the rule approximates.
    `rule: backpropagation_per_tick` also normalises the frames of each tick by themselves, as the pipeline does: the
    rule differs from it in the gap alone. `exact_epochs: 4` is the start from 4 epochs of back-propagation.
    Not of the paper: warm-up, clipping, and a learning rate that falls with the number of frames between a unit's
    pseudo-gradients and its activations (`slower`, off by default): Adam makes steps of the same length out of good
    directions and of bad ones. On eight motions that no frame shows it helps, and not enough: 36 % of test clips with
    `slower: 0.7`, 15 % with 1, where chance is 12.5 % and exact gradients reach 92 % (results/reference/sideways).
    The compact module is the trained one, so the ratio to the dense model, the same network, is 1 (`model:` names the
    wiring; a point with other shortcuts has other weights). What the rule saves is memory and time in training: memory
    with `one_by_one`, time on a device for each unit.

    The paper's wiring of shortcuts is not at hand: squeezebench/nn/sideways/network.py says how it is read here. Its
    batch norm is normalised by each tick's frames, so running statistics move once a tick; `momentum` is per clip, as
    ticks that follow each other are nearly the same frames and the last ones of a clip are still.
    """

    title = "Skip-Sideways (a learning rule)"
    paper = (
        "Malinowski, Vytiniotis, Swirszcz, Patraucean, Carreira, "
        "Gradient Forward-Propagation for Large-Scale Temporal Video Modelling, CVPR 2021"
    )
    kinds: ClassVar = ("video",)

    class Settings(PerFrameSettings):
        rule: Literal["sideways", "backpropagation", "backpropagation_per_tick"] = setting(
            "sideways", "pseudo-gradients, or exact ones as a control; `per_tick`: with the pipeline's batch norm"
        )
        exact_epochs: NonNegativeInt = setting(
            0, "epochs of exact back-propagation over the clip before the rule", later=True
        )
        learning_rate: PositiveFloat | None = setting(None, "largest learning rate; none: the experiment's")
        slower: float = setting(
            1.0, "factor on a unit's learning rate for each frame that its activations are newer; not with exact ones",
            search=(0.3, 1.0), gt=0, le=1,
        )  # fmt: skip
        warm_up: float = setting(0.1, "part of training over which the learning rate rises from 0", ge=0, lt=1)
        clip: NonNegativeFloat = setting(1.0, "largest norm of the gradients of a step; 0: any")
        momentum: float = setting(0.1, "of batch norm's running statistics, a clip", gt=0, le=1)
        flush: Literal["hold", "drop"] = setting(
            "hold",
            "the end of a clip: its last frame stays until all gradients are down, or the next clip begins",
            later=True,
        )
        one_by_one: bool = setting(
            False,
            "tick by tick, with the rule's memory; else the same with all ticks of a unit at once: faster if small",
            later=True,
        )

    def __init__(self, settings):
        super().__init__(settings)
        self.control = self.settings.rule != "sideways"

    # --- what is trained
    def build(self, task):
        model = super().build(task)
        model.flush = self.settings.flush
        if self.settings.rule == "sideways" and not model.timetable(task.steps).learning[1]:
            raise InputError(
                f"flush drop: in clips of {task.steps} frames no gradient reaches the lowest of {model.depth} units; "
                f"give {2 * model.depth - 1} frames or more, or flush: hold"
            )
        nn.forget_by_clip(model, self.settings.rule, task.steps, self.settings.momentum)
        return model

    def parameter_groups(self, model):
        rate = self.settings.learning_rate
        return [{"params": list(unit.parameters())} | ({} if rate is None else {"lr": rate}) for unit in model.units]

    def train_step(self, model, x, length, y, optimiser):
        """Source: supplementary, section 1: temporally averaged gradients; the optimiser is the engine's."""
        s, warm = self.settings, self.settings.warm_up * self.clock.steps
        rule = "backpropagation" if self.clock.epoch < s.exact_epochs else s.rule
        risen = min(1.0, (self.clock.step + 1) / warm) if warm else 1.0
        for number, group in enumerate(optimiser.param_groups, 1):  # the schedule sets `lr` anew after each step
            newer = 2 * (model.depth - number) if rule == "sideways" else 0
            group["lr"] *= risen * s.slower**newer
        if s.exact_epochs:
            nn.forget_by_clip(model, rule, x.shape[1], s.momentum)
        if rule == "sideways":
            return nn.sideways_step(model, x, length, y, optimiser, s.clip, not s.one_by_one)
        return nn.backpropagation_step(model, x, length, y, optimiser, s.clip, rule == "backpropagation_per_tick")
