"""ITPCC on image networks and on a CNN-LSTM: its loss, its stages, a smaller network with the same output, records."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch

from squeezebench.base.errors import InputError
from squeezebench.engine.measurement.cost import precisions
from squeezebench.engine.measurement.counts import count
from squeezebench.engine.measurement.macs import closed_form_macs, macs
from squeezebench.engine.run import execute
from squeezebench.engine.training.loop import Trainer
from squeezebench.method import Method, NetworkSettings, RecurrentSettings, TaskInfo, dense_classifier
from squeezebench.method.discovery import find_methods, load
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.pruning.masked_network import MaskedNetwork
from squeezebench.nn.registry import module_from_spec
from squeezebench.pipeline.cost.estimate import estimate
from squeezebench.pipeline.planner import make_plan
from squeezebench.schema.experiment import check_experiment
from squeezebench.schema.run import RunSpec
from squeezebench.schema.task import TaskSpec
from squeezebench.schema.training import TrainingSettings
from squeezebench.tools.counting import count_method
from squeezebench.tools.tiny_tasks import tiny_task
from squeezebench.tools.verify.saved import verify

EXACT = {"rtol": 1e-10, "atol": 1e-10}
IMAGE = TaskInfo("t", "image", 16 * 16, 1, 3, False, 50, (1, 16, 16))
VIDEO = dataclasses.replace(IMAGE, kind="video", steps=4)


def itpcc(**settings) -> Method:
    method = load(find_methods()["itpcc"])
    return method(method.Settings(**({"width": 0.1} | settings)))


def under_masks(method: Method, task: TaskInfo, seed: int = 0) -> MaskedNetwork:
    """In double precision; every mask loses its second set, fifth, and so on, and no mean is 1."""
    torch.manual_seed(seed)
    model = method.build(task).double()
    with torch.no_grad():
        for mask in (m for m in model.modules() if isinstance(m, BottleneckMask)):
            mask.mu.copy_(0.5 + torch.rand(mask.units))
            mask.log_var.copy_(torch.where(torch.arange(mask.units) % 3 == 1, 3.0, -5.0))
        for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
    return model.eval()


# ------------------------------------------------------------------------------------------------ the method


def test_one_mask_for_each_set_and_a_unit_of_the_lstm_is_a_set():
    model = itpcc(network="resnet_20", recurrent=5).build(VIDEO)
    widths = {name: mask.units for name, mask in model.masks.items()}
    assert widths.pop("network_conv1") == 2  # the stem's channels and what is added to them, in all three stages
    gates = model.network.recurrent.layers[0].gate_masks
    assert {name: mask.units for name, mask in gates.items()} == {"o": 5}
    assert sum(isinstance(m, BottleneckMask) for m in model.modules()) == len(model.masks) + 1


def test_the_penalty_is_equation_20():
    method = itpcc(network="resnet_20", recurrent=5, gamma=3.0)
    model = method.build(VIDEO)
    with torch.no_grad():
        for mask in (m for m in model.modules() if isinstance(m, BottleneckMask)):
            mask.mu.fill_(1.0)
            mask.log_var.zero_()  # log(1 + 1) a set
    method.clock.examples = 50
    channels = sum(one.size * one.width for one in model.sets)
    assert channels == 2 * 10 + 2 * 6 + 4 * 3 + 3 * (2 + 4 + 8)  # the stream's by stage, then inside the blocks
    expected = 3.0 / 50 * (channels + 4 * 5) * torch.tensor(2.0).log()
    torch.testing.assert_close(method.penalty(model), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["lenet_5", "resnet_20"])  # every network: test_coupled_compact
def test_what_is_fine_tuned_is_smaller_and_gives_what_the_masks_gave(name):
    method = itpcc(network=name)
    masked, x = under_masks(method, IMAGE), torch.randn(2, 1, IMAGE.inputs).double()
    small = method.end_stage(masked, method.stages()[0])
    torch.testing.assert_close(small(x), masked(x), **EXACT)
    assert type(small) is type(masked.network) and count(small.float()).weights < count(masked.network.float()).weights
    assert method.end_stage(small, method.stages()[1]) is small is method.compact(small)


@pytest.mark.parametrize("name", ["lenet_5", "resnet_20"])
def test_backbone_and_lstm_shrink_together(name):
    method = itpcc(network=name, recurrent=6)
    masked, x = under_masks(method, VIDEO), torch.randn(3, 4, VIDEO.inputs).double()
    small = method.end_stage(masked, method.stages()[0])
    kept = masked.network.recurrent.layers[0].gate_masks["o"].keep()
    assert small.hidden == [int(kept.sum())] == [4]
    assert small.recurrent.inputs == small.network.widths()[-1] < masked.network.recurrent.inputs
    torch.testing.assert_close(small(x), masked(x), **EXACT)
    length = torch.tensor([4, 1, 2])
    torch.testing.assert_close(small(x, length), masked(x, length), **EXACT)
    assert small.structure().widths[-1:] == small.hidden


def test_a_network_without_any_channel_left_is_stored_in_every_precision():
    method = itpcc(network="resnet_20", width=0.5)
    masked = under_masks(method, IMAGE).float()
    with torch.no_grad():
        for mask in masked.masks.values():
            mask.log_var.fill_(3.0)
    small = method.end_stage(masked, method.stages()[0])
    assert small.structure().widths == [0] * (1 + 3 * (3 + 1)) and count(small).weights == 0
    x = torch.randn(2, 1, IMAGE.inputs)
    torch.testing.assert_close(small(x), masked(x))
    assert set(precisions(small, None)[0]) == {"float32", "float16", "int8"}


def test_the_masks_keep_their_rate_while_the_weights_rate_falls():
    method = itpcc(network="lenet_300_100", mask_learning_rate=0.02, fine_tune_rate=0.1)
    trainer = Trainer(method, tiny_task("image"), TrainingSettings(epochs=8, learning_rate=0.01), 0)
    model, plan = trainer.build(None), trainer.plan(8)
    first = trainer.open(model, plan, 0)
    method.clock.step = method.clock.steps
    first.optimiser.step()
    for _ in range(method.clock.steps):
        first.schedule.step()
    rates = [group["lr"] for group in first.optimiser.param_groups]
    assert rates[-1] == 0.02 and rates[0] < 1e-4
    second = trainer.open(method.end_stage(model, plan[0][0]), plan, 1)
    assert [group["initial_lr"] for group in second.optimiser.param_groups] == pytest.approx([0.001])


# --------------------------------------------------------------------------- a CNN-LSTM as an experiment's model


def test_masks_under_adam_beside_weights_under_sgd_have_a_rate_of_their_own():
    """mu had the 0.03 of SGD once, which Adam moves it by at every step: 15 times the printed rate."""
    method = itpcc(network="lenet_300_100", mask_optimiser="adam", start="scratch")
    model = method.build(IMAGE)
    method.clock = dataclasses.replace(method.clock, optimiser="sgd", steps=12_000)
    of_mu, of_noise = method.mask_groups(model)
    assert of_mu["lr"] == of_noise["lr"] == 2e-3 and of_mu["optimiser"] == "adam"
    method.clock = dataclasses.replace(method.clock, optimiser="adam")
    assert "lr" not in method.mask_groups(model)[0]  # the stage's, which is Adam's


@pytest.mark.parametrize("name", ["lenet_300_100", "vgg16_g5", "resnet_20"])
def test_counts_and_multiply_accumulates_of_a_cnn_lstm(name):
    side = 32 if name == "vgg16_g5" else 16
    task = dataclasses.replace(VIDEO, inputs=side * side, frame=(1, side, side))
    settings = NetworkSettings(network=name, width=0.1, recurrent=7)
    model = dense_classifier(task, settings).eval()
    found = count(model)
    method = load(find_methods()["dense_network"])
    formula = method(method.Settings(**settings.model_dump())).closed_form(task)
    assert formula == {key: getattr(found, key) for key in formula} and formula["weights"] > 0
    assert found.lstm_total == 4 * 7 * (model.recurrent.inputs + 7 + 2)
    norms_and_biases = sum(p.numel() for p in model.parameters() if p.dim() < 2)
    assert found.weights == found.model_total - norms_and_biases and found.neurons is None
    assert macs(model, task.inputs, 4) == closed_form_macs(model, 4) > 4 * found.lstm_total


def test_the_small_control_narrows_both_parts():
    found = count_method("small_network", 64, None, 8, {"network": "resnet_20", "recurrent": 32, "ratio": 4})
    whole = count_method("dense_network", 64, None, 8, {"network": "resnet_20", "recurrent": 32})
    assert found["agree"] and whole["agree"] and 0.9 < whole["weights"] / (4 * found["weights"]) < 1.2
    assert found["lstm_total"] < whole["lstm_total"] / 3 and whole["lstm_total"] == 4 * 32 * (64 + 32 + 2)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_network_reads_what_it_is_for(kind):
    task = {"image": IMAGE, "video": VIDEO}[kind]
    wrong = NetworkSettings(network="vgg_8", recurrent=4 if kind == "image" else None)
    words = {"image": r"vgg_8 \+ lstm 4 reads videos", "video": "vgg_8 reads one image; a video needs `recurrent`"}
    with pytest.raises(InputError, match=f"task t: {words[kind]}"):
        dense_classifier(task, wrong)
    assert words[kind].replace("\\", "") in itpcc(**(wrong.model_dump() | {"width": 1.0})).skip(task)


def test_a_hostile_file_cannot_ask_for_many_segments():
    spec = dense_classifier(VIDEO, NetworkSettings(network="vgg_8", width=0.1, recurrent=3)).spec()
    spec["recurrent"]["front"] = {"inputs": 1, "segments": 1 << 30}
    with pytest.raises(ValueError, match="has a front"):
        module_from_spec(spec)


def spec(method: str, model, **settings) -> RunSpec:
    task = TaskSpec(name="moving", source="moving_shapes", options={"groups": 8, "size": 8, "frames": 4})
    setting_names = load(find_methods()[method]).Settings
    shared = {
        setting: value
        for setting, value in model.model_dump(exclude_unset=True).items()
        if setting in setting_names.model_fields
    }
    whole = setting_names(**(shared | settings)).model_dump(mode="json")
    training = TrainingSettings(epochs=4, batch_size=16, learning_rate=0.01)
    return RunSpec(task=task, method=method, settings=whole, training=training, model=model)


NETWORK = NetworkSettings(network="lenet_300_100", width=0.2, recurrent=6)


def test_a_run_on_videos_from_its_record_to_its_verification(tmp_path):
    folder = tmp_path / "runs" / "moving" / "itpcc" / "x" / "seed-0"
    asked = spec("itpcc", NETWORK, gamma=300.0, mask_learning_rate=0.9, threshold=3.0)
    record = execute(asked, find_methods()["itpcc"], folder, tmp_path / "starts")
    assert record.status == "ok", record.reason
    assert record.baseline.name == "lenet_300_100 x 0.2 + lstm 6"
    pixels, first, features, units = record.kept.structure
    assert record.kept.of_structure == [64, 60, 20, 6] and record.kept.hidden == [units]
    assert units < 6 or features < 20
    counts = record.counts
    assert counts.lstm_total == 4 * units * (features + units + 2)
    matrices = 4 * units * (features + units) + 8 * units
    assert counts.weights == pixels * first + first * features + matrices
    assert record.ratio.weights == round(record.baseline.counts.weights / counts.weights, 4)
    assert record.ratio.lstm_total == round(record.baseline.counts.lstm_total / counts.lstm_total, 4)
    assert record.cost.macs == record.cost.macs_closed_form
    assert [stage.name for stage in record.stages] == ["dense pretraining", "prune", "fine-tune"]
    found = verify(tmp_path)
    assert found.problems == [] and (found.measured, found.scored) == (1, 1)


@pytest.mark.parametrize(
    ("method", "model", "status", "words"),
    [
        ("itpcc", NetworkSettings(), "skipped", "lenet_300_100 reads one image; a video needs `recurrent`"),
        ("vib_lstm", NETWORK, "failed", "vib_lstm is for recurrent classifiers; the `model:` of task moving is lenet"),
    ],
)
def test_what_does_not_go_together_is_said(method, model, status, words, tmp_path):
    record = execute(spec(method, model), find_methods()[method], tmp_path / "r", tmp_path / "starts")
    assert record.status == status and words in record.reason


def test_a_method_on_networks_is_not_held_against_a_recurrent_model(tmp_path):
    asked = spec("itpcc", RecurrentSettings(), network="vgg_8", recurrent=4)
    record = execute(asked, find_methods()["itpcc"], tmp_path / "r", tmp_path / "starts")
    assert record.status == "failed" and record.reason.startswith("itpcc is for networks; the `model:` of task moving")


def test_the_costs_of_a_cnn_lstm_count_the_network_at_each_frame():
    content = {
        "name": "e", "seeds": [0], "methods": {"dense_network": {}, "small_network": {"ratio": 4}, "itpcc": {}},
        "tasks": {"moving_shapes": {"options": {"groups": 10, "size": 8}}}, "training": {"epochs": 10},
        "model": {"network": "vgg_8", "recurrent": 8},
    }  # fmt: skip
    plan = make_plan(check_experiment(content, "e.yaml"), "e.yaml")
    assert {run.settings["recurrent"] for run in plan.runs} == {8}
    costs = estimate(plan)
    model = dense_classifier(
        TaskInfo("t", "video", 64, 16, 8, False, 1, (1, 8, 8)), NetworkSettings(network="vgg_8", recurrent=8)
    )
    clips = round(0.8 * round(0.7 * 80))
    alone = partial(closed_form_macs, model)
    assert costs.unknown == []
    assert 6 * 10 * clips * alone(16) < costs.tasks["moving_shapes"].training_flops < 3 * 6 * 10 * clips * alone(16)
