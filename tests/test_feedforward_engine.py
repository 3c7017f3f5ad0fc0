"""Feed-forward networks in the engine: image tasks, `model:` that names a network, counts, files, records."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from refusals import refusal_of

from squeezebench.base.errors import InputError
from squeezebench.data.checks import check_dataset
from squeezebench.data.sources import available, digits, digits_images, source_module
from squeezebench.data.task import Task, load_task
from squeezebench.engine.measurement.counts import count
from squeezebench.engine.measurement.macs import closed_form_macs, macs
from squeezebench.engine.training.loop import describe
from squeezebench.method import NetworkSettings, RecurrentSettings, TaskInfo, dense_classifier
from squeezebench.nn.cnn.named import named_features, named_network, named_weights
from squeezebench.pipeline.planner import make_plan
from squeezebench.schema.experiment import check_experiment
from squeezebench.schema.models import AnyModel
from squeezebench.schema.record import Counts
from squeezebench.schema.task import TaskSpec
from squeezebench.tools.tiny_tasks import tiny_task

NAMES = get_args(NetworkSettings.model_fields["network"].annotation)
IMAGE = TaskInfo("t", "image", 3 * 32 * 32, 1, 7, False, 100, (3, 32, 32))


def task(source: str, **more) -> Task:
    return load_task(TaskSpec(name=source, source=source, **more))


@pytest.mark.parametrize(
    ("source", "options", "kind", "frame"),
    [
        ("digits", {}, "sequence", None),
        ("digits_images", {}, "image", (1, 8, 8)),
        ("moving_shapes", {"groups": 10, "size": 8}, "video", (1, 8, 8)),
    ],
)
def test_a_task_says_what_its_steps_are(source, options, kind, frame):
    made = task(source, options=options)
    info = describe(made)
    assert (info.kind, info.frame, made.kind) == (kind, frame, kind)
    expected = source_module(source).expected(source_module(source).Options(**options))
    assert expected.frame == frame and (expected.steps, expected.inputs) == (info.steps, info.inputs)


def test_images_are_the_rows_of_the_same_digits():
    rows, images = (source.load(source.Options()) for source in (digits, digits_images))
    assert np.array_equal(rows.x, images.x.reshape(images.x.shape[0], *images.frame[1:]))
    assert np.array_equal(rows.y, images.y) and (rows.name, images.name) == ("digits", "digits_images")
    assert task("digits").split_digest == task("digits_images").split_digest
    assert {"mnist", "digits_images"} <= set(available())


@pytest.mark.parametrize("frame", [(1, 8, 9), (64,), (0, 8, 8), (-1, -8, 8)])
def test_a_frame_that_does_not_fit_its_features_is_refused(frame):
    data = dataclasses.replace(digits_images.load(digits_images.Options()), frame=frame)
    with pytest.raises(InputError, match=r"a step has 64 features; it must be \(C, H, W\)"):
        check_dataset(data)


@pytest.mark.parametrize("name", NAMES)
def test_features_and_weights_of_a_named_network_are_known_without_its_values(name):
    state = torch.get_rng_state()
    features, weights = named_features(name, IMAGE.frame, 0.1), named_weights(name, IMAGE.frame, None, 0.1)
    assert torch.equal(torch.get_rng_state(), state)  # a run that asks for them draws what it would have drawn
    network = named_network(name, IMAGE.frame, None, 0.1).eval()
    assert network(torch.zeros(1, *IMAGE.frame)).shape == (1, features)
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert weights == sum(m.weight.numel() for m in layers) > 0


def test_an_image_that_a_network_cannot_read_is_one_line():
    with pytest.raises(InputError, match="lenet_5 reads images of at least 16 x 16 pixels; the task's are 8 x 8"):
        named_network("lenet_5", (1, 8, 8), 10)
    with pytest.raises(InputError, match="vgg_8 reads square images; the task's are 8 x 9"):
        named_network("vgg_8", (1, 8, 9), 10)
    with pytest.raises(InputError, match="lenet_5 reads images; the task's steps are a sequence"):
        dense_classifier(dataclasses.replace(IMAGE, kind="sequence", frame=None), NetworkSettings(network="lenet_5"))


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet_5", "vgg_8", "resnet_20", "mobilenet_v2"])
def test_counts_and_multiply_accumulates_by_formula_and_by_counting(name):
    model = dense_classifier(IMAGE, NetworkSettings(network=name, width=0.1)).eval()
    found = count(model)
    assert found.weights == named_weights(name, IMAGE.frame, IMAGE.classes, 0.1)
    assert found.lstm_total == 0 and found.model_total == found.head == sum(p.numel() for p in model.parameters())
    assert macs(model, IMAGE.inputs, 1) == closed_form_macs(model, 1) > 0


def test_the_published_lenets():
    grey = TaskInfo("t", "image", 784, 1, 10, False, 100, (1, 28, 28))
    for name, weights, neurons, products in (
        ("lenet_300_100", 266_200, 1_184, 266_200),
        ("lenet_5", 430_500, 19_700, 2_293_000),
    ):
        model = dense_classifier(grey, NetworkSettings(network=name))
        found = count(model)
        assert (found.weights, found.neurons, closed_form_macs(model, 1)) == (weights, neurons, products)
        assert (found.rule, found.size) == ("weights", weights)


def test_a_recurrent_model_has_no_weights_rule():
    sequence = TaskInfo("t", "sequence", 5, 4, 3, False, 10)
    found = count(dense_classifier(sequence, RecurrentSettings(hidden=6)))
    assert (found.weights, found.neurons, found.rule, found.size) == (None, None, "lstm_total", 4 * 6 * (5 + 6 + 2))
    assert Counts(**{k: v for k, v in found.model_dump().items() if k not in ("weights", "neurons")}) == found


@pytest.mark.parametrize(
    ("given", "kind"),
    [({}, RecurrentSettings), ({"hidden": 3}, RecurrentSettings), ({"network": "lenet_5"}, NetworkSettings)],
)
def test_a_model_is_read_by_whether_it_names_a_network(given, kind):
    made = TypeAdapter(AnyModel).validate_python(given)
    assert type(made) is kind
    assert TypeAdapter(AnyModel).validate_json(made.model_dump_json()) == made


def experiment(model, **more):
    content = {"name": "e", "tasks": ["digits_images"], "methods": {"dense_network": {}}, "model": model}
    return check_experiment(content | more, "e.yaml")


def test_an_experiments_model_may_be_a_network():
    plan = make_plan(experiment({"network": "vgg_8", "width": 0.25}), "e.yaml")
    assert plan.tasks["digits_images"].model == NetworkSettings(network="vgg_8", width=0.25)
    assert {run.settings["network"] for run in plan.runs} == {"vgg_8"}
    assert type(plan).model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"network": "lenet"}, "e.yaml: model: network: Input should be 'lenet_300_100'"),
        ({"network": "vgg_8", "hidden": 4}, "e.yaml: model: unknown key 'hidden'; allowed"),
        ({"network": "vgg_8", "width": 0}, "e.yaml: model: width: Input should be greater than 0"),
        ({"width": 2}, "e.yaml: model: unknown key 'width'"),
    ],
)
def test_what_is_wrong_with_a_model_is_one_line(model, words):
    assert words.partition(";")[0] in refusal_of(lambda: make_plan(experiment(model), "e.yaml"))


def test_the_tiny_tasks_of_the_contract_are_of_every_kind():
    for kind in ("sequence", "image", "video"):
        assert tiny_task(kind).kind == kind
