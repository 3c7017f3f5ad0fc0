"""The synthetic motions: no frame tells the class, the motion does; deterministic; groups keep near-copies together."""

from __future__ import annotations

import numpy as np
import pytest

from squeezebench.base.errors import InputError
from squeezebench.data.sources.moving_shapes import CLASSES, Options, expected, load
from squeezebench.data.task import load_task
from squeezebench.schema.task import TaskSpec


def frames(data, size=16):
    return data.x.reshape(len(data.x), -1, size, size).astype(float)


@pytest.fixture(scope="module")
def data():
    return load(Options())


def test_it_is_what_it_announces(data):
    sizes = expected(Options())
    assert data.x.shape == (sizes.sequences, sizes.steps, sizes.inputs) == (1440, 16, 256)
    assert len(data.classes) == sizes.classes and np.bincount(data.y).tolist() == [180] * 8
    odd = Options(groups=4, size=9, frames=5)
    assert load(odd).x.shape == (32, 5, 81) == (expected(odd).sequences, expected(odd).steps, expected(odd).inputs)


def test_everything_follows_from_the_seed(data):
    few = load(Options(groups=5))
    assert np.array_equal(few.x, data.x[:40])  # a group does not depend on how many there are
    assert np.array_equal(few.x, load(Options(groups=5)).x)
    assert not np.array_equal(few.x, load(Options(groups=5, seed=1)).x)


def test_a_frame_does_not_tell_the_class(data):
    """In a group all classes start with the same frame, and the best classifier of single frames stays at chance."""
    from sklearn.ensemble import RandomForestClassifier

    x = frames(data)
    assert (x[:, 0].reshape(180, 8, -1) == x[::8, 0].reshape(180, 1, -1)).all()
    known, new = data.group < 120, data.group >= 120
    forest = RandomForestClassifier(40, min_samples_leaf=3, random_state=0)
    forest.fit(data.x[known, 8], data.y[known])
    assert abs(forest.score(data.x[new, 8], data.y[new]) - 1 / 8) < 0.06  # 480 frames: 4 standard deviations


def shift(clip: np.ndarray) -> np.ndarray:
    """Mean displacement from frame to frame on the torus (right, down), in pixels, by phase correlation."""
    transforms = np.fft.fft2(clip - clip.mean((1, 2), keepdims=True))
    cross = (transforms[1:] * np.conj(transforms[:-1])).sum(0)  # the same motion in each pair
    return -np.array([np.angle(cross[0, 1]), np.angle(cross[1, 0])]) * clip.shape[-1] / (2 * np.pi)


def test_the_motion_tells_the_class(data):
    moves = np.array([shift(clip) for clip in frames(data)])
    for name, axis, sign in (("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)):
        own = moves[data.y == CLASSES.index(name)]
        assert (sign * own[:, axis] > 0.3).mean() > 0.95
        assert np.abs(own[:, 1 - axis]).mean() < 0.2
    for name in CLASSES[4:]:
        assert np.abs(moves[data.y == CLASSES.index(name)]).mean() < 0.35
    bright = frames(data).sum((2, 3))
    steps = np.sign(np.diff(bright, axis=1)).mean(1)  # a larger shape is brighter; it starts again once in a clip
    assert steps[data.y == 6].mean() > 0.5 and steps[data.y == 7].mean() < -0.5 and abs(steps[data.y < 6].mean()) < 0.1


def test_turning_has_a_direction():
    """What turns clockwise, played backwards, turns counterclockwise, and starts where the other starts."""
    one = load(Options(groups=4, frames=9))
    x = frames(one)
    clockwise, counter = x[one.y == 4], x[one.y == 5]
    assert np.array_equal(clockwise[:, 0], counter[:, 0])
    assert np.abs(clockwise[:, 1:] - counter[:, 1:]).max((1, 2, 3)).min() > 30


def test_a_lower_frame_rate_is_the_same_motion_seen_less_often():
    """Every second frame of the smooth video, but for the noise, which is of the frame's place in the clip."""
    smooth, fast = frames(load(Options(groups=6, frames=15))), frames(load(Options(groups=6, frames=8, every=2)))
    assert np.abs(smooth[:, ::2] - fast).mean() < 8  # two noises of 5 grey levels
    assert np.abs(smooth[:, :8] - fast).mean() > 10


def test_a_slower_motion_is_nearly_the_same_frame_by_frame():
    """At half the speed every second frame is what full speed shows, but for the noise; steps between are smaller."""
    full, half = frames(load(Options(groups=6, frames=8))), frames(load(Options(groups=6, frames=15, speed=0.5)))
    assert np.abs(half[:, ::2] - full).mean() < 8
    assert np.abs(np.diff(half, axis=1)).mean() < 0.8 * np.abs(np.diff(full, axis=1)).mean()


def test_with_appearances_a_frame_tells_the_class_and_the_motion_does_not():
    """The brightness of the pixels, in order, tells the shapes of new groups apart; within a group all move alike."""
    from sklearn.ensemble import RandomForestClassifier

    few = load(Options(appearances=8, groups=60, frames=9))
    assert few.x.shape == (480, 9, 256) == (expected(Options(appearances=8, groups=60)).sequences, 9, 256)
    assert len(few.classes) == 8 and np.bincount(few.y).tolist() == [60] * 8
    brightness = np.sort(few.x[:, 4].astype(float), axis=1)
    brightness = (brightness - brightness[:, :1]) / np.ptp(brightness, axis=1, keepdims=True)
    known = few.group < 40
    forest = RandomForestClassifier(40, min_samples_leaf=2, random_state=0).fit(brightness[known], few.y[known])
    assert forest.score(brightness[~known], few.y[~known]) > 0.35  # 160 frames at 1/8: eight standard deviations
    moves = np.array([shift(clip) for clip in frames(few)]).reshape(60, 8, 2)
    across = np.arange(60) % 8 < 4  # left, right, up, down: the same displacement, whatever the shape
    assert np.abs(moves[across] - moves[across].mean(1, keepdims=True)).mean() < 0.1
    assert np.abs(moves[across]).max(2).mean() > 0.4


def test_as_a_task_its_groups_stay_on_one_side():
    task = load_task(TaskSpec(name="moving_shapes", normalise="std", options={"groups": 20}))
    assert (task.inputs, task.steps, len(task.classes)) == (256, 16, 8)
    for part in ("train", "validation", "test"):
        counts = np.bincount(task.labels(part), minlength=8)
        assert counts[0] > 0 and (counts == counts[0]).all()  # whole groups: each class as often


def test_wrong_options_are_refused_in_one_line():
    with pytest.raises(InputError, match="option clips of source moving_shapes"):
        load_task(TaskSpec(name="moving_shapes", options={"clips": 2}))
    with pytest.raises(InputError, match="appearances needs two shapes at least"):
        load_task(TaskSpec(name="moving_shapes", options={"appearances": 1}))
    with pytest.raises(InputError, match="option every"):
        load_task(TaskSpec(name="moving_shapes", options={"every": 9}))
