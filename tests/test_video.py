"""Clips to frames, flow and features of one clip: decoding, TV-L1, the two backbones, synthetic clips."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from squeezebench.base.errors import InputError
from squeezebench.data.frames import choose_steps
from squeezebench.data.video import efficientnet_lite
from squeezebench.data.video import synthetic as synthetic
from squeezebench.data.video.backbones import backbone, parameters
from squeezebench.data.video.clips import Clip, checked, list_clips
from squeezebench.data.video.decode import ClipError, check_first_frame, resize, sample, spread
from squeezebench.data.video.features import read_views
from squeezebench.data.video.flow import as_image, mirror, planes_of, read_planes, to_bytes, tvl1, write_planes
from squeezebench.data.video.lists import official_split
from squeezebench.data.video.options import BACKBONES, VideoOptions

IMAGENET = os.environ.get("SQUEEZEBENCH_IMAGENET", "")


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
    indices = spread(20, 5)
    scan, kept = sample(clip, lambda total: spread(total, 5), lambda frame: frame)
    assert (scan.frames, scan.damaged) == (20, 0) and list(kept) == indices.tolist()
    frames = np.stack(list(kept.values()))
    assert frames.shape == (5, 32, 48, 3) and frames.dtype == np.uint8
    assert np.abs(frames.mean((1, 2, 3)) - 10 * indices).max() < 3
    _, small = sample(clip, lambda total: spread(total, 5), lambda frame: resize(frame, (16, 12)))
    small = np.stack(list(small.values()))
    assert small.shape == (5, 16, 12, 3) and np.abs(small.mean((1, 2, 3)) - frames.mean((1, 2, 3))).max() < 1


def test_a_container_that_promises_too_much_gives_what_can_be_decoded(clip):
    import av

    whole = clip.read_bytes()
    clip.write_bytes(whole[: _chunk(whole, 12)])
    with av.open(str(clip)) as container:
        promised = container.streams.video[0].frames
    scan, kept = sample(clip, lambda total: spread(total, 6), np.mean)
    assert promised == 20 and scan.frames == 12 and list(kept) == [1, 3, 5, 7, 9, 11]
    assert np.abs(np.array(list(kept.values())) - 10 * np.array(list(kept))).max() < 3


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"no video\n" * 50, "not a readable video"), (b"RIFF\0\0\0\0AVI ", "no")]
)
def test_what_is_no_video_is_refused_in_words(tmp_path, content, reason):
    path = tmp_path / "clip.avi"
    path.write_bytes(content)
    with pytest.raises(ClipError, match=reason):
        check_first_frame(path)
    with pytest.raises(ClipError, match=reason) as caught:
        sample(path, lambda total: spread(total, 2), np.mean)
    assert "\n" not in str(caught.value)


def test_damage_inside_a_clip_is_counted_and_read_the_same_each_time(clip):
    whole = bytearray(clip.read_bytes())
    start = _chunk(whole, 10) + 8
    whole[start : _chunk(whole, 11)] = b"\xff" * (_chunk(whole, 11) - start)
    clip.write_bytes(whole)
    scan, kept = sample(clip, lambda total: np.array([total - 1]), np.mean)  # 20 packets, 19 frames: decoded again
    assert (scan.damaged, scan.frames) == (1, 19) and list(kept) == [18] and abs(kept[18] - 190) < 3
    frames, again = (
        np.stack(list(sample(clip, lambda total: np.arange(19), lambda frame: frame)[1].values())) for _ in range(2)
    )
    assert np.abs(frames[:10].mean((1, 2, 3)) - 10 * np.arange(10)).max() < 3  # all before the damage
    assert np.array_equal(frames, again)


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


def test_flow_of_a_clip_is_kept_and_made_again_where_what_is_kept_is_damaged(tmp_path):
    grey = {step: np.zeros((24, 32), np.uint8) for step in range(3)}
    for step, frame in grey.items():
        cv2.circle(frame, (10 + 3 * step, 12), 5, 255, -1)
    planes, image = planes_of(grey, np.arange(3), 3, 20.0), tmp_path / "flow" / "clip.png"
    assert planes.shape == (3, 24, 32, 2) and planes[0, ..., 0].max() > 128
    assert np.array_equal(planes[1], planes[2])  # the last frame has no next one
    assert (planes_of({0: grey[0]}, np.array([0]), 1, 20.0) == 128).all()
    write_planes(image, planes)
    assert np.array_equal(read_planes(image, 3), planes) and read_planes(tmp_path / "none.png", 3) is None
    image.write_bytes(image.read_bytes()[:60])
    assert read_planes(image, 3) is None


def test_flow_is_computed_small_and_in_pixels_of_what_the_network_sees(tmp_path):
    """A texture that moves by 4 of 256 pixels: the network's 64 pixels are cut out of 96, so it sees 96/256 of it."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 400)).astype(np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 8), None, 0, 255, cv2.NORM_MINMAX)
    frames = np.stack([np.roll(texture, 4 * step, axis=1)[:, :320] for step in range(3)])
    synthetic.write_clip(tmp_path / "clip.avi", np.repeat(frames[..., None], 3, axis=3), "mpeg4")
    clip = Clip(tmp_path / "clip.avi", 0, "", "clip")
    options = VideoOptions(features="efficientnet_lite0", size=64, frames=2, stream="both", flow_bound=10)
    views = read_views(clip, options, tmp_path / "flow")
    (kept,) = (tmp_path / "flow").iterdir()
    assert read_planes(kept, 2).shape == (2, 32, 32, 2)
    colour, flow = views.plain
    assert colour.shape == flow.shape == (2, 64, 64, 3)
    moved = (np.median(flow[:, 16:-16, 16:-16, 0]) - 128) / 127 * 10
    assert abs(moved - 4 * 96 / 256) < 0.15
    for again in (read_views(clip, options, tmp_path / "flow"), read_views(clip, options, tmp_path / "other")):
        assert np.array_equal(again.plain[1], flow)


def test_the_middle_of_a_frame_is_cut_out_as_the_lite_networks_were_trained():
    image = np.zeros((256, 340, 3), np.uint8)
    image[16:240, 58:282] = 200
    assert (resize(image, (224, 224), 224 / 256) == 200).all()
    assert (resize(image, (224, 224)) == 0).any()


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("inception_v3", 21_785_568),
        ("efficientnet_b1", 6_513_184),
        ("efficientnet_lite0", 4_652_008 - 1_281_000),
        ("efficientnet_lite1", 5_416_680 - 1_281_000),
    ],
)
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
    with pytest.raises(InputError, match=f"at least {least} pixels"):
        backbone(name, "random", least - 1, "cpu")


@pytest.mark.parametrize(
    ("name", "mean", "largest", "seventh"),
    [("efficientnet_lite0", 0.849284, 7, 0.118767), ("efficientnet_lite1", 1.058535, 160, 0.0)],
)
def test_the_pretrained_lite_networks_give_known_features(name, mean, largest, seventh):
    rows, columns = np.mgrid[:64, :64]
    image = np.stack([rows * 3 % 256, columns * 5 % 256, rows * columns % 256], -1).astype(np.uint8)
    (features,) = backbone(name, "imagenet", 64, "cpu").features(image[None])
    assert features.shape == (1280,) and features.argmax() == largest
    assert (features.mean(), features[4]) == (pytest.approx(mean, abs=1e-4), pytest.approx(seventh, abs=1e-3))


def test_missing_or_other_weights_of_the_lite_networks_are_one_line(monkeypatch):
    for table, value, words in [
        ("SHA256", "0" * 64, "expected 0000"),
        ("PACKAGE", "no-such-package", "are not installed"),
    ]:
        monkeypatch.setitem(getattr(efficientnet_lite, table), "efficientnet_lite0", value)
        with pytest.raises(InputError, match=words) as caught:
            efficientnet_lite.pretrained("efficientnet_lite0")
        assert "squeezebench[backbones]" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(not IMAGENET, reason="SQUEEZEBENCH_IMAGENET names no folder of 1,000 images, one a class")
def test_the_lite_network_recognises_images_of_imagenet():
    """Every 40th class; a wrong order of colours, another scale or another padding costs tens of points."""
    network, right = efficientnet_lite.pretrained("efficientnet_lite0").eval(), 0
    files = sorted(Path(IMAGENET).glob("*.JPEG"))
    assert len(files) == 1000
    head = network.classifier
    extractor = backbone("efficientnet_lite0", "imagenet", 224, "cpu")
    for label in range(0, 1000, 40):
        image = cv2.cvtColor(cv2.imread(str(files[label])), cv2.COLOR_BGR2RGB)
        features = extractor.features(resize(image, (224, 224), 224 / 256)[None])
        right += int(head(torch.from_numpy(features)).argmax()) == label
    assert right >= 21  # of 25


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
    index = checked(list_clips(source, folders[0], classes=synthetic.classes_of(source)))
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
