"""Clips to frames, flow and features of one clip: decoding, TV-L1, the two backbones, synthetic clips."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeezebench.base.errors import InputError
from squeezebench.data.frames import choose_steps
from squeezebench.data.video import synthetic as synthetic
from squeezebench.data.video.backbones import backbone, parameters
from squeezebench.data.video.clips import index_clips
from squeezebench.data.video.decode import ClipError, read_frames, scan, spread
from squeezebench.data.video.flow import as_image, cached_flow, mirror, to_bytes, tvl1
from squeezebench.data.video.lists import official_split
from squeezebench.data.video.options import BACKBONES


@pytest.fixture
def clip(tmp_path):
    """20 frames of 32 x 48; frame i has the grey level 10 i."""
    frames = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None] * 10, (20, 32, 48, 3))
    path = tmp_path / "steps.avi"
    synthetic.write_clip(path, frames, "mpeg4")
    return path


@given(total=st.integers(1, 400), frames=st.integers(1, 60))
def test_frames_are_chosen_as_the_engine_chooses_steps(total, frames):
    ours = spread(total, frames)
    steps, valid = choose_steps(np.array([total]), frames, frames, None)
    assert np.array_equal(ours, steps[0, : valid[0]]) and (np.diff(ours) > 0).all() and ours[-1] < total


def test_the_frames_asked_for_are_the_ones_that_come(clip):
    assert scan(clip).frames == 20
    indices = spread(20, 5)
    frames = read_frames(clip, indices)
    assert frames.shape == (5, 32, 48, 3) and frames.dtype == np.uint8
    assert np.abs(frames.mean((1, 2, 3)) - 10 * indices).max() < 3
    small = read_frames(clip, indices, (16, 12))
    assert small.shape == (5, 16, 12, 3) and np.abs(small.mean((1, 2, 3)) - frames.mean((1, 2, 3))).max() < 1
    with pytest.raises(ClipError, match="frame 20 was asked for, but only 20"):
        read_frames(clip, np.array([3, 20]))


def test_a_container_that_promises_too_much_gives_what_can_be_decoded(clip):
    import av

    whole = clip.read_bytes()
    clip.write_bytes(whole[: _chunk(whole, 12)])
    with av.open(str(clip)) as container:
        promised = container.streams.video[0].frames
    found = scan(clip)
    assert promised == 20 and found.frames == 12
    frames = read_frames(clip, spread(found.frames, 6))
    assert np.array_equal(frames, read_frames(clip, spread(found.frames, 6)))
    assert np.abs(frames[0].mean() - 10 * spread(found.frames, 6)[0]) < 3


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"no video\n" * 50, "not a readable video"), (b"RIFF\0\0\0\0AVI ", "no")]
)
def test_what_is_no_video_is_refused_in_words(tmp_path, content, reason):
    path = tmp_path / "clip.avi"
    path.write_bytes(content)
    with pytest.raises(ClipError, match=reason) as caught:
        scan(path)
    assert "\n" not in str(caught.value)


def test_damage_inside_a_clip_is_counted_and_read_the_same_each_time(clip):
    whole = bytearray(clip.read_bytes())
    start = _chunk(whole, 10) + 8
    whole[start : _chunk(whole, 11)] = b"\xff" * (_chunk(whole, 11) - start)
    clip.write_bytes(whole)
    found = scan(clip)
    assert found.damaged == 1 and found.frames == 19 and found == scan(clip)
    frames = read_frames(clip, np.arange(19))
    assert np.abs(frames[:10].mean((1, 2, 3)) - 10 * np.arange(10)).max() < 3  # all before the damage
    assert np.array_equal(frames, read_frames(clip, np.arange(19)))


def test_flow_is_the_displacement_in_pixels():
    noise = np.random.default_rng(0).integers(0, 256, (60, 80)).astype(np.uint8)
    image = cv2.GaussianBlur(noise, (0, 0), 2)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    moved = np.roll(image, (1, 3), axis=(0, 1))
    flow = tvl1(image, moved)[10:-10, 10:-10]
    assert np.abs(np.median(flow.reshape(-1, 2), axis=0) - (3, 1)).max() < 0.2
    planes = to_bytes(np.array([[[0, 20], [-20, 99], [3, 1]]], np.float32), 20)
    assert planes.tolist() == [[[128, 255], [1, 255], [147, 134]]]
    assert mirror(planes).tolist() == [[[109, 134], [255, 255], [128, 255]]]
    assert np.array_equal(mirror(mirror(planes)), planes)
    assert as_image(planes)[0, :, 2].tolist() == [255, 255, 40]  # sqrt(19^2 + 6^2) * 255 / 127


def test_flow_is_read_from_its_cache_and_made_again_where_that_is_damaged(tmp_path):
    frames = np.zeros((3, 24, 32, 3), np.uint8)
    for step in range(3):
        cv2.circle(frames[step], (10 + 3 * step, 12), 5, (255, 200, 90), -1)
    clip, image = tmp_path / "clip.avi", tmp_path / "flow" / "clip.png"
    synthetic.write_clip(clip, frames, "mpeg4")
    made = cached_flow(clip, np.arange(3), 3, 20.0, image)
    assert made.shape == (3, 24, 32, 2) and made[0, ..., 0].max() > 128
    assert np.array_equal(made[1], made[2])  # the last frame has no next one
    clip.unlink()
    assert np.array_equal(cached_flow(clip, np.arange(3), 3, 20.0, image), made)
    synthetic.write_clip(clip, frames, "mpeg4")
    image.write_bytes(image.read_bytes()[:60])
    assert np.array_equal(cached_flow(clip, np.arange(3), 3, 20.0, image), made)
    single = cached_flow(clip, np.array([0]), 1, 20.0, tmp_path / "one.png")
    assert (single == 128).all()


@pytest.mark.parametrize(("name", "count"), [("inception_v3", 21_785_568), ("efficientnet_b1", 6_513_184)])
def test_backbones_without_their_heads(name, count):
    assert parameters(name) == count
    least = BACKBONES[name].least
    network = backbone(name, "random", least, "cpu")
    frames = np.random.default_rng(0).integers(0, 256, (3, least, least, 3)).astype(np.uint8)
    found = network.features(frames)
    assert found.shape == (3, BACKBONES[name].features)
    assert 1e-3 < np.abs(found).max() < 6e4, "random features must fit half precision"
    assert np.abs(found[0] - found[1]).max() > 1e-4
    assert backbone(name, "random", least, "cpu").digest == network.digest
    assert backbone(name, "random", least, "cpu", seed=1).digest != network.digest
    with pytest.raises(InputError, match=f"at least {least} pixels"):
        backbone(name, "random", least - 1, "cpu")


def test_weights_that_cannot_be_fetched_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for proxy in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(InputError, match="ImageNet weights could not be loaded") as caught:
        backbone("efficientnet_b1", "imagenet", 240)
    assert "efficientnet_b1_rwightman" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["ucf11", "ucf101", "hmdb51"])
def test_made_up_clips_have_the_official_layout_and_repeat(tmp_path, monkeypatch, source):
    monkeypatch.setenv("SQUEEZEBENCH_DATA", str(tmp_path / "data"))
    folders = [synthetic.make_clips(source, tmp_path / name, 6) for name in ("one", "two")]
    assert _digest(folders[0]) == _digest(folders[1])
    index = index_clips(source, folders[0], classes=synthetic.classes_of(source))
    assert len(index.clips) == 24 and not index.problems and len({c.group for c in index.clips}) >= 3
    numbers = () if source == "ucf11" else (1, 2, 3)
    tests = [set(np.flatnonzero(official_split(index, n, folders[0]).subset == "test")) for n in numbers]
    assert all(len(test) == 8 for test in tests)
    assert not tests or not set.intersection(*tests)


def _chunk(whole: bytes, number: int) -> int:
    """Where the `number`-th frame's chunk of an AVI starts."""
    return [match.start() for match in re.finditer(b"00dc", whole) if match.start() > whole.find(b"movi")][number]


def _digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert files
    sha = hashlib.sha256()
    for path in files:
        sha.update(os.fsencode(path.relative_to(folder)) + path.read_bytes())
    return sha.hexdigest()
