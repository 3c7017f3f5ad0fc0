"""The embedded spoken digits: steps, the parts by speaker, and the file as the recordings give it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies.spoken_digits import log_mel, prepare, read
from squeezebench.base.errors import InputError
from squeezebench.data.sources import spoken_digits as source
from squeezebench.data.splits import make_split

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("SQUEEZEBENCH_SHARED", ROOT.parent / "shared"))
RECORDINGS = SHARED / "data" / "free-spoken-digit-dataset" / "recordings"


@pytest.fixture(scope="module")
def data():
    return source.load(source.Options())


def tone(frequency: float, seconds: float, amplitude: float = 0.5) -> np.ndarray:
    """(S,) int16 samples of a sine."""
    time = np.arange(int(8000 * seconds)) / 8000
    return (32767 * amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.int16)


def test_a_step_is_eight_frames_and_the_next_begins_four_later():
    frames = np.arange(15 * 2).reshape(15, 2)
    steps = source.stacked(frames)
    assert steps.shape == (2, 16)
    assert np.array_equal(steps, [np.arange(16), np.arange(8, 24)])  # the last three frames fill no step


def test_every_band_has_mean_zero_over_a_recording_and_padding_is_zero(data):
    with np.load(source.FILE) as file:
        first = 2.0 * file["frames"][: file["count"][0]]
    steps = data.x[0, : data.length[0]]
    assert np.allclose(steps[0].reshape(8, 40), first[:8] - first.mean(0), atol=1e-4)
    assert data.length.min() == 2 and data.length.max() == 16
    padding = np.arange(16) >= data.length[:, None]
    assert not data.x[padding].any() and data.x[~padding].any(-1).all()


def test_by_default_each_part_has_speakers_of_its_own_and_validation_rotates(data):
    splits = [make_split(data, source.DEFAULT_SPLIT, seed=seed) for seed in range(6)]
    for split in splits:
        parts = [set(data.group[rows]) for rows in (split.train, split.validation, split.test)]
        assert [len(part) for part in parts] == [3, 1, 2] and len(set.union(*parts)) == 6
        assert parts[2] == {"lucas", "nicolas"}
    assert len({data.group[split.validation[0]] for split in splits}) == 4


def test_the_official_split_tests_the_first_five_recordings_of_everybody(data):
    split = make_split(data, "official")
    assert (len(split.train) + len(split.validation), len(split.test)) == (2700, 300)
    assert np.array_equal(np.unique(data.group[split.test], return_counts=True)[1], [50] * 6)
    assert len(set(data.group[split.validation])) == 6


def test_a_tone_is_in_its_band_and_ten_times_the_amplitude_is_ten_steps_more():
    mel = np.linspace(*(2595 * np.log10(1 + np.array([20, 4000]) / 700)), 42)
    centres = 700 * (10 ** (mel[1:-1] / 2595) - 1)
    for band in (5, 20, 35):
        frames = log_mel(tone(centres[band], 0.2))
        assert frames.shape == (18, 40) and (frames.argmax(1) == band).all()
    loud, quiet = (log_mel(tone(1000, 0.2, amplitude)).max() for amplitude in (0.5, 0.05))
    assert loud - quiet == 10  # 20 dB in steps of 2 dB


def test_silence_is_the_floor_and_a_long_recording_is_cut():
    assert not log_mel(np.zeros(400, np.int16)).any()
    assert len(log_mel(tone(440, 3))) == 68


@pytest.mark.parametrize("samples", [np.zeros(199, np.int16), np.zeros(400), np.zeros((400, 2), np.int16)])
def test_what_is_no_recording_is_refused(samples):
    with pytest.raises(InputError, match="at least 200"):
        log_mel(samples)


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"{RECORDINGS} is not there (the recordings, 27 MB)")
def test_the_embedded_file_is_what_the_recordings_give(tmp_path):
    """Three recordings: one of a usual length, the shortest, and one that is cut."""
    with np.load(source.FILE) as file:
        arrays = dict(file)
    ends = np.cumsum(arrays["count"], dtype=np.int64)
    names = [
        f"{d}_{s}_{i}.wav" for d, s, i in zip(*(arrays[key] for key in ("digit", "speaker", "index")), strict=True)
    ]
    for row in (0, int(arrays["count"].argmin()), int(arrays["count"].argmax())):
        frames = arrays["frames"][ends[row] - arrays["count"][row] : ends[row]]
        assert np.array_equal(frames, log_mel(read(RECORDINGS / names[row])))
        (tmp_path / names[row]).write_bytes((RECORDINGS / names[row]).read_bytes())
    assert prepare(tmp_path)["count"].sum() == len(prepare(tmp_path)["frames"])
