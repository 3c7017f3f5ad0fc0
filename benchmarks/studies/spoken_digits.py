"""Makes the arrays of the data source `spoken_digits` from the recordings of the Free Spoken Digit Dataset.

    python -m benchmarks.studies.spoken_digits FOLDER OUT.npz     # FOLDER: `recordings/` of the data set

Log-mel bands as speech recognition uses them: frames of 25 ms every 10 ms under a Hamming window, the power spectrum
of a discrete Fourier transform of 256 points, 40 triangular filters that are equally spaced on the mel scale
(mel = 2595 log10(1 + f / 700), O'Shaughnessy 1987) from 20 Hz to 4 kHz, in decibels, quantised.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from squeezebench.base.errors import InputError

RATE = 8000
WINDOW, HOP, POINTS = 200, 80, 256  # samples: 25 ms, 10 ms, and what the Fourier transform pads to
BANDS = 40
LOW, HIGH = 20.0, RATE / 2  # Hz
MOST = 68  # frames that are kept of a recording, its first 0.7 s: what 16 steps of 8 frames with hop 4 read
FLOOR, STEP = -80.0, 2.0  # decibels: what the byte 0 stands for, and what one more adds


def filters() -> np.ndarray:
    """(40, 129) weights of the triangular mel filters."""
    mel = np.linspace(*(2595 * np.log10(1 + np.array([LOW, HIGH]) / 700)), BANDS + 2)
    left, centre, right = (edges[:, None] for edges in np.lib.stride_tricks.sliding_window_view(
        700 * (10 ** (mel / 2595) - 1), BANDS
    ))  # fmt: skip
    frequency = np.fft.rfftfreq(POINTS, 1 / RATE)
    return np.clip(np.minimum((frequency - left) / (centre - left), (right - frequency) / (right - centre)), 0, None)


def log_mel(samples: np.ndarray) -> np.ndarray:
    """(S,) int16 -> (F, 40) uint8, at most 68 frames. Raises InputError if the recording is shorter than a frame."""
    if samples.dtype != np.int16 or samples.ndim != 1 or len(samples) < WINDOW:
        raise InputError(f"give (S,) int16 samples, at least {WINDOW} (got {samples.dtype} {samples.shape})")
    frames = np.lib.stride_tricks.sliding_window_view(samples / 32768, WINDOW)[::HOP][:MOST]
    power = np.abs(np.fft.rfft(frames * np.hamming(WINDOW), POINTS)) ** 2
    decibels = 10 * np.log10(np.maximum(power @ filters().T, 10 ** (FLOOR / 10)))
    return np.clip(np.rint((decibels - FLOOR) / STEP), 0, 255).astype(np.uint8)


def read(path: Path) -> np.ndarray:
    """(S,) int16 samples of one recording."""
    rate, samples = wavfile.read(path)
    if rate != RATE:
        raise InputError(f"{path}: {rate} Hz; the recordings have {RATE}")
    return samples


def prepare(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of all recordings `DIGIT_SPEAKER_INDEX.wav` of a folder, by digit, speaker and index."""
    named = []
    for path in folder.glob("*.wav"):
        digit, speaker, index = path.stem.split("_")
        named.append((int(digit), speaker, int(index), path))
    if not named:
        raise InputError(f"{folder}: no recordings DIGIT_SPEAKER_INDEX.wav")
    digit, speaker, index, paths = zip(*sorted(named), strict=True)
    bands = [log_mel(read(path)) for path in paths]
    return {
        "frames": np.concatenate(bands),  # (F, 40) of all recordings one after another
        "count": np.array([len(frames) for frames in bands], np.uint8),
        "digit": np.array(digit, np.uint8),
        "speaker": np.array(speaker),
        "index": np.array(index, np.uint8),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    np.savez_compressed(given.out, **prepare(given.folder))
    print(f"{given.out}: {given.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
