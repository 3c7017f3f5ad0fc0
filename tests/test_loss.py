"""The hook `loss`, and the two methods that need it or the weights of an early step: distillation, lottery tickets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from squeezebench.engine.measurement.counts import count
from squeezebench.engine.training.loop import Trainer, describe
from squeezebench.method import DenseMethod, dense_classifier
from squeezebench.method.discovery import find_methods, load
from squeezebench.nn import input_square_norms, select_units, unit_square_norms
from squeezebench.schema.training import TrainingSettings
from squeezebench.tools.tiny_tasks import tiny_task

SMALL = {"hidden": 6}


def weights(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def train(method_class, given=SMALL, length=3, start=None, **training):
    """(method, trained module) of a few passes over the tiny task."""
    method = method_class(method_class.Settings(**given))
    settings = TrainingSettings(epochs=length, batch_size=16, **training)
    return method, Trainer(method, tiny_task(), settings, 0).run(start, length)


def same(first, second) -> bool:
    return all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


# ---------------------------------------------------------------------- the hook


class Dense(DenseMethod):
    name = "dense"


class Written(Dense):
    """Writes the default loss out."""

    def loss(self, model, x, length, y):
        assert torch.is_autocast_enabled("cpu") == (model(x, length).dtype == torch.bfloat16)
        torch.manual_seed(0)  # of nothing: the module has no dropout
        return functional.cross_entropy(model(x, length).float(), y, label_smoothing=0.2)


class Steep(Dense):
    """A gradient a thousand times as long, and a penalty beside it."""

    def loss(self, model, x, length, y):
        return 1000 * self.cross_entropy(model(x, length), y)

    def penalty(self, model):
        return 500 * model.head.weight.square().sum()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_loss_that_writes_the_default_out_trains_to_the_same_bits(precision):
    (_, default), (_, written) = (train(kind, label_smoothing=0.2, precision=precision) for kind in (Dense, Written))
    assert same(default, written)


def test_the_experiments_softmax_before_the_cross_entropy_reaches_the_method():
    method, _ = train(Dense, loss="double_softmax")
    logits, y = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([1])
    first = np.exp([2.0, -1.0, 0.5]) / np.exp([2.0, -1.0, 0.5]).sum()
    assert method.cross_entropy(logits, y).item() == pytest.approx(np.log(np.exp(first).sum()) - first[1], rel=1e-6)


@pytest.mark.parametrize(("clip", "length"), [(0.5, 0.5), (0.0, None)])
def test_the_gradient_of_loss_and_penalty_is_clipped_as_one(clip, length):
    """One step of SGD moves the weights by the learning rate times the clipped gradient."""
    method = Steep(Steep.Settings(**SMALL))
    settings = TrainingSettings(
        steps=1, batch_size=16, learning_rate=0.1, optimiser="sgd", momentum=0, clip=clip, schedule="constant"
    )
    trainer = Trainer(method, tiny_task(), settings, 0)
    before = trainer.build(None).state_dict()
    after = trainer.run(None, 1).state_dict()
    moved = float(sum((after[name] - value).square().sum() for name, value in before.items()) ** 0.5)
    assert moved == pytest.approx(0.1 * length, rel=1e-4) if length else moved > 1


@pytest.mark.parametrize(
    ("value", "words"),
    [(lambda x: x.new_zeros(3), "a tensor of shape (3,)"), (lambda x: 0.5, "a float"), (lambda x: None, "a NoneType")],
)
def test_a_loss_that_is_no_scalar_is_refused_in_words(value, words):
    class Wrong(Dense):
        def loss(self, model, x, length, y):
            return value(x)

    with pytest.raises(TypeError) as error:
        train(Wrong)
    assert str(error.value) == f"loss() returns {words}: return a scalar tensor, the mean over the batch"


# ---------------------------------------------------------------------- distillation


def by_hand(z, teacher, y, temperature, weight) -> float:
    """The loss of the paper, in NumPy."""

    def softmax(values):
        return np.exp(values) / np.exp(values).sum(1, keepdims=True)

    p, q = softmax(teacher / temperature), softmax(z / temperature)
    divergence = (p * np.log(p / q)).sum(1).mean()
    hard = -np.log(softmax(z)[np.arange(len(y)), y]).mean()
    return (1 - weight) * hard + weight * temperature**2 * divergence


@pytest.mark.parametrize(("temperature", "weight"), [(4.0, 0.7), (1.0, 1.0), (2.5, 0.0)])
def test_the_distillation_loss_is_the_papers(temperature, weight):
    distillation, dice = load(find_methods()["distillation"]), np.random.default_rng(0)
    z, teacher, y = dice.normal(size=(5, 3)), 3 * dice.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    method = distillation(distillation.Settings(temperature=temperature, weight=weight))
    outputs = torch.tensor(z, dtype=torch.float32, requires_grad=True)
    method.load_dense(None, torch.nn.Identity())
    method.teacher = Outputs(torch.tensor(teacher, dtype=torch.float32))
    loss = method.loss(lambda x, length: outputs, torch.zeros(5, 1, 1), None, torch.tensor(y))
    assert loss.item() == pytest.approx(by_hand(z, teacher, y, temperature, weight), rel=1e-5)


class Outputs(torch.nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, x, length=None):
        return self.outputs


def test_a_student_is_drawn_afresh_and_the_teacher_does_not_learn():
    distillation, small_dense = (load(find_methods()[name]) for name in ("distillation", "small_dense"))
    given = {"hidden": 8, "ratio": 3, "dropout": 0.4}
    teacher = train(Dense, {"hidden": 8, "dropout": 0.4})[1]
    before = weights(teacher)
    method, student = train(distillation, given, start=teacher)
    assert all(torch.equal(value, method.teacher.state_dict()[name]) for name, value in before.items())
    assert not method.teacher.training and not any(p.requires_grad for p in method.teacher.parameters())
    assert not same(student, train(distillation, given | {"weight": 0.0}, start=teacher)[1])
    fresh, control = (Trainer(kind(kind.Settings(**given)), tiny_task(), TrainingSettings(), 0).build(None)
                      for kind in (distillation, small_dense))  # fmt: skip
    assert same(fresh, control)


# ---------------------------------------------------------------------- lottery tickets


@pytest.mark.parametrize(("rewind", "layers"), [(0, 1), (3, 2)])
def test_a_ticket_has_the_largest_units_with_the_weights_they_had_before(rewind, layers):
    """What the last stage starts from: the units that are largest after the first stage, as they were after `rewind`
    steps of it."""
    ticket = load(find_methods()["lottery_ticket"])
    states = {}

    class Watched(ticket):
        def after_step(self, model):
            super().after_step(model)
            if self.clock.stage == "round 1":
                states[self.clock.step + 1] = weights(model)

        def end_stage(self, model, stage):
            self.trained = dense(weights(model)) if stage.name == "round 1" else self.trained
            after = super().end_stage(model, stage)
            states[stage.name] = weights(after)
            return after

    method = Watched(Watched.Settings(hidden=8, layers=layers, ratio=3, rewind_steps=rewind))
    trainer = Trainer(method, tiny_task(), TrainingSettings(epochs=4, batch_size=16), 0)

    def dense(values):
        model = dense_classifier(describe(tiny_task()), method.settings)
        model.load_state_dict(values)
        return model

    states[0] = weights(trainer.build(None))
    final = trainer.run(None, 4)
    read, kept = method.kept(trainer.task.inputs)
    chosen = [norms.topk(kept).indices.sort().values for norms in unit_square_norms(method.trained)]
    inputs = input_square_norms(method.trained).topk(read).indices.sort().values
    expected = select_units(dense(states[rewind]), inputs, chosen)
    assert all(torch.equal(value, states["round 1"][name]) for name, value in expected.state_dict().items())
    assert not same(final, expected)
    sizes = count(final).lstm_total, count(dense_classifier(describe(tiny_task()), method.settings)).lstm_total
    assert sizes[0] * 3 <= sizes[1]


def test_rounds_prune_evenly_on_a_log_scale_and_end_at_the_same_size():
    ticket = load(find_methods()["lottery_ticket"])
    method = ticket(ticket.Settings(hidden=64, keep=1 / 16, rounds=4))
    method.inputs = 10
    assert [method._kept_after(number) for number in (1, 2, 3, 4)] == [[10, 32], [10, 16], [10, 8], [10, 4]]
    assert [stage.name for stage in method.stages()] == ["round 1", "round 2", "round 3", "round 4", "ticket"]
    assert sum(stage.share for stage in method.stages()) == pytest.approx(1)


def test_more_rewind_steps_than_the_first_stage_has_are_refused():
    ticket = load(find_methods()["lottery_ticket"])
    with pytest.raises(ValueError, match=r"rewind_steps 500: round 1 has \d+ steps; give at most so many"):
        train(ticket, {"hidden": 8, "rewind_steps": 500}, length=2)
