"""Variational dropout by weight: the noise of its layers, the weights that go, and the units that these leave."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from squeezebench.data.task import task_spec
from squeezebench.engine.run import execute
from squeezebench.method import NetworkSettings, TaskInfo
from squeezebench.method.discovery import find_methods, load
from squeezebench.nn.masks.hard_concrete import log_uniform_kl
from squeezebench.nn.masks.noisy_weights import NoisyWeights
from squeezebench.schema.run import RunSpec
from squeezebench.schema.training import TrainingSettings

NAME = "variational_dropout_weights"
DRAWS = 5_000
IMAGE = TaskInfo("t", "image", 256, 1, 3, False, 50, (1, 16, 16))


def of(**settings):
    kind = load(find_methods()[NAME])
    return kind(kind.Settings(**settings))


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Linear(3, 2), (3,)), (nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 5, 5))]
)
def test_a_layer_gives_the_mean_and_the_variance_of_random_weights(layer, shape):
    torch.manual_seed(0)
    noisy, x = NoisyWeights(nn.Sequential(layer)).train(), torch.randn(1, *shape)
    ((_, log_var),) = noisy.layers()
    nn.init.uniform_(log_var, -3.0, 0.0)
    with torch.no_grad():
        given = noisy(x.expand(DRAWS, *shape))
        theta, deviation, outputs = layer.weight.clone(), (log_var / 2).exp(), []
        expected = layer(x)[0]
        for _ in range(1500):
            layer.weight.copy_(theta + deviation * torch.randn_like(theta))
            outputs.append(layer(x)[0])
        variance = torch.stack(outputs).var(0)
    assert ((given.mean(0) - expected).abs() < 5 * (variance / DRAWS).sqrt()).all()
    assert (given.var(0) / variance - 1).abs().max() < 0.25


def test_weights_of_much_noise_are_0_at_evaluation_and_pay_the_least():
    network = nn.Sequential(nn.Linear(2, 2, bias=False))
    noisy = NoisyWeights(network).eval()
    ((_, log_var),) = noisy.layers()
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 1.0], [2.0, 0.1]]))
        log_var.copy_(torch.tensor([[2.9, 3.1], [0.0, 0.0]]))  # log a: 2.9, 3.1, -1.4, 4.6
    assert noisy.kept()["0"].tolist() == [[True, False], [True, False]]
    assert noisy(torch.ones(1, 2)).tolist() == [[1.0, 2.0]]
    expected = log_uniform_kl(torch.tensor([2.9, 3.1, -2 * torch.tensor(2.0).log(), 4.60517])).sum()
    torch.testing.assert_close(noisy.kl(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet_5"])
def test_units_that_nothing_reads_go_and_the_output_stays(name):
    method, x = of(network=name, width=0.1), torch.randn(4, 1, 256)
    torch.manual_seed(0)
    model = method.build(IMAGE).eval()
    for layer, log_var in model.layers():
        with torch.no_grad():
            log_var[:, ::3] = 5.0 + layer.weight[:, ::3].square().log()  # the readers of every third unit
    before = model(x)
    small = method.end_stage(model, method.stages()[0])
    torch.testing.assert_close(small.eval()(x), before, rtol=1e-4, atol=1e-5)
    dense = NetworkSettings(network=name, width=0.1)
    widths = load(find_methods()["dense_network"])(dense).build(IMAGE).structure().widths
    kept = small.structure().widths
    assert kept[-1] == widths[-1] - -(-widths[-1] // 3) and all(k < w for k, w in zip(kept, widths, strict=True))


def test_a_run_loses_pixels_and_keeps_the_accuracy_before_fine_tuning(tmp_path):
    whole = load(find_methods()[NAME]).Settings(width=0.2, strength=10.0).model_dump(mode="json")
    training = TrainingSettings(epochs=40, batch_size=64, learning_rate=5e-3)
    spec = RunSpec(task=task_spec("digits_images"), method=NAME, settings=whole, training=training,
                   model=NetworkSettings(width=0.2))  # fmt: skip
    record = execute(spec, find_methods()[NAME], tmp_path / "r", tmp_path / "starts")
    assert record.status == "ok", record.reason
    assert record.ratio.weights > 1.2 and record.accuracy.test > 0.7 and record.before_fine_tuning.test > 0.5
    assert record.kept.structure[0] < 64
