"""Augmentation: training images are moved and mirrored exactly, nothing else changes, and interrupted runs go on."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from refusals import refusal_of

from squeezebench.base.errors import InputError
from squeezebench.data.dataset import Dataset
from squeezebench.data.splits import make_split
from squeezebench.data.task import Task, task_spec
from squeezebench.engine.training.augment import Augmentation
from squeezebench.engine.training.loop import Trainer
from squeezebench.method.discovery import find_methods, load
from squeezebench.pipeline.planner import make_plan
from squeezebench.schema.experiment import check_experiment
from squeezebench.schema.run import RunSpec
from squeezebench.schema.task import TaskSpec
from squeezebench.schema.training import Augment, TrainingSettings
from squeezebench.tools.check_method import Interrupted, Interrupting
from squeezebench.tools.recorded import read_recorded

QUICK = Path(__file__).resolve().parents[1] / "results/reference/quick"
FRAME = (2, 5, 6)  # C, H, W: two channels, and no square, so that no axis can be mistaken for another


def made(normalise: str = "channel", steps: int = 1, frame=FRAME, length=None) -> Task:
    """60 images, or videos, of random bytes in two classes."""
    rng = np.random.default_rng(3)
    x = rng.integers(1, 256, (60, steps, math.prod(FRAME)), dtype=np.uint8)
    data = Dataset("synthetic", x, np.arange(60) % 2, ("a", "b"), length=length, frame=frame)
    spec = TaskSpec(name="images", source="synthetic", normalise=normalise)
    return Task(spec, data, make_split(data, "random"))


def batch(task: Task, count: int = 40) -> tuple[torch.Tensor, np.ndarray]:
    """(normalised (B, T, D), the raw images (B, T, C, H, W)) of the first training positions."""
    positions = np.resize(np.arange(task.size("train")), count)
    raw = task._data.x[task._rows["train"][positions]]
    return torch.from_numpy(task.batch("train", positions).x), raw.reshape(*raw.shape[:2], *FRAME)


def moved(raw: np.ndarray, down: int, across: int, mirrored: bool) -> np.ndarray:
    """Raw images (..., H, W) mirrored, then moved down and across; black comes in."""
    out, (height, width) = np.zeros_like(raw), FRAME[1:]
    for row in range(height):
        for column in range(width):
            there = row - down, column - across
            if 0 <= there[0] < height and 0 <= there[1] < width:
                from_column = width - 1 - there[1] if mirrored else there[1]
                out[..., row, column] = raw[..., there[0], from_column]
    return out


@given(
    shift=st.integers(0, 3),
    flip=st.booleans(),
    normalise=st.sampled_from(["none", "std", "channel"]),
    steps=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_each_image_is_a_moved_one_as_if_it_had_been_moved_before_it_was_normalised(
    shift, flip, normalise, steps, seed
):
    task = made(normalise, steps)
    x, raw = batch(task, 6)
    found = Augmentation(Augment(shift=shift, flip=flip), task)(x, None, np.random.default_rng(seed)).numpy()
    assert found.shape == x.shape and found.dtype == np.float32
    ways = [(a, b, m) for a in range(-shift, shift + 1) for b in range(-shift, shift + 1) for m in range(1 + flip)]
    for one, image in zip(found, raw, strict=True):  # one way for all frames of a video
        could = [task.affine.apply(moved(image, *way).reshape(steps, -1)) for way in ways]
        assert min(np.abs(one - other).max() for other in could) < 1e-6


@pytest.mark.parametrize(("wanted", "ways"), [({"shift": 1}, 9), ({"flip": True}, 2), ({"shift": 1, "flip": True}, 18)])
def test_every_way_comes_up_as_often(wanted, ways):
    task = made()
    x, _ = batch(task, 1)
    many = x.expand(200 * ways, -1, -1)
    found = Augmentation(Augment(**wanted), task)(many, None, np.random.default_rng(0))
    _, counts = np.unique(found.numpy(), axis=0, return_counts=True)
    assert len(counts) == ways and (np.abs(counts - 200) < 5 * math.sqrt(200)).all()


def test_frames_past_the_end_of_a_video_stay_zero():
    task = made(steps=3, length=np.resize([1, 3], 60))
    batch = task.batch("train", np.arange(task.size("train")))
    x, length = torch.from_numpy(batch.x), torch.from_numpy(batch.length)
    found = Augmentation(Augment(shift=2), task)(x, length, np.random.default_rng(0))
    assert not found[length == 1, 1:].any() and found[length == 3].all() and found[:, 0].all()


@pytest.mark.parametrize(
    ("task", "wanted", "words"),
    [
        ({"frame": None, "normalise": "std"}, {"shift": 1}, "is for images and videos; task images is a sequence"),
        ({"normalise": "standard"}, {"flip": True}, "give normalise: channel"),
        ({}, {"shift": 5}, "shift: 5 moves images of 5 x 6 pixels away"),
    ],
)
def test_what_cannot_be_augmented_is_one_line(task, wanted, words):
    assert words in refusal_of(Trainer, None, made(**task), TrainingSettings(augment=wanted), 0)


def test_channels_are_normalised_as_wholes():
    task = made()
    x, _ = batch(task, task.size("train"))
    channels = x.reshape(-1, FRAME[0], FRAME[1] * FRAME[2]).transpose(0, 1).flatten(1)
    assert channels.mean(1).abs().max() < 1e-5 and (channels.std(1, correction=0) - 1).abs().max() < 1e-5
    assert task.background.shape == (2,) and (made("std").background == 0).all() and made("standard").background is None
    with pytest.raises(InputError, match="normalise: channel is for images"):
        made(frame=None)


def trainer(**augment) -> Trainer:
    settings = TrainingSettings(epochs=4, batch_size=8, augment=augment)
    method = load(find_methods()["dense_network"])
    return Trainer(method(method.Settings(network="lenet_300_100", width=0.1)), made(), settings, 0)


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path):
    whole, stopped = trainer(shift=1, flip=True), set()
    expected = weights(whole.run(None, 4))
    for _ in range(2):
        again = trainer(shift=1, flip=True)
        again.checkpoints = Interrupting(tmp_path / "c.safetensors", again, stopped)
        try:
            found = weights(again.run(None, 4))
        except Interrupted:
            continue
    assert again.resumed == 1 and torch.equal(found, expected) and again.history.rows == whole.history.rows
    assert not torch.equal(expected, weights(trainer().run(None, 4)))


def test_a_run_without_is_described_as_before_it_could_be_augmented():
    plain = TrainingSettings()
    assert "augment" not in plain.model_dump() and plain == TrainingSettings(augment={"shift": 0})
    asked = TrainingSettings(augment={"shift": 2})
    assert asked.model_dump(mode="json")["augment"] == {"shift": 2, "flip": False}
    assert TrainingSettings.model_validate_json(asked.model_dump_json()) == asked
    specs = [RunSpec(task=task_spec("digits_images"), method="vibnet", settings={}, training=t) for t in (plain, asked)]
    assert specs[0].digest_with("") != specs[1].digest_with("")
    for path in sorted(QUICK.glob("runs/*/*/*/seed-0/record.json"))[::20]:
        record = read_recorded(path)
        assert (
            record.spec().digest_with(record.record.provenance.method_digest) == record.record.provenance.inputs_digest
        )


@pytest.mark.parametrize("wrong", [{"shift": -1}, {"shift": 1.5}, {"turn": 3}, {"flip": "often"}])
def test_a_wrong_augmentation_is_refused(wrong):
    with pytest.raises(ValidationError):
        TrainingSettings(augment=wrong)


def test_a_plan_refuses_it_where_pixels_have_statistics_of_their_own():
    content = {"name": "e", "tasks": ["digits_images"], "methods": {"dense_network": {}},
               "model": {"network": "lenet_300_100"}, "training": {"augment": {"shift": 1}}}  # fmt: skip
    with pytest.raises(InputError, match=r"e.yaml: tasks: digits_images: training: augment: .* normalise: channel"):
        make_plan(check_experiment(content, "e.yaml"), "e.yaml")
    plan = make_plan(check_experiment(content | {"tasks": {"digits_images": {"normalise": "std"}}}, "e.yaml"), "e.yaml")
    assert plan.tasks["digits_images"].training.augment == Augment(shift=1)
    assert type(plan).model_validate_json(plan.model_dump_json()) == plan
