"""benchmarks/studies/kept_pixels: the inputs that saved networks read, and how far runs agree on them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from synthetic_records import record, write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.studies import kept_pixels
from squeezebench.schema.record import Shape

INPUTS = 2 * 4 * 3  # a frame of 2 x 4 pixels


def made(folder, seed, index):
    one = record("digits", "vib_lstm", 0, seed)
    shape = Shape(inputs=INPUTS, steps=2, classes=10, has_lengths=False)
    path = write(folder, one.model_copy(update={"shape": shape}), f"runs/pixels/vib_lstm/x/seed-{seed}")
    tensors = {} if index is None else {"input_index": np.array(index, np.int32)}
    save_file({"head": np.zeros(1, np.float32)} | tensors, path.with_name("model.safetensors"))


def test_runs_share_the_inputs_that_both_keep(tmp_path):
    for seed, index in enumerate([[0, 1, 2, 3], [2, 3, 4], None]):
        made(tmp_path, seed, index)
    kept_pixels.main([str(tmp_path), "--height", "2", "--out", str(tmp_path / "kept")])
    table = pd.read_csv(tmp_path / "kept.csv")
    assert table[["kept", "other_kept", "both"]].to_numpy().tolist() == [[4, 3, 2], [4, 24, 4], [3, 24, 3]]
    assert table["by_chance"].tolist() == [4 * 3 / 24, 4, 3]
    assert (tmp_path / "kept.svg").read_text().count("<image") == 3


def test_results_without_networks_say_what_is_missing(tmp_path):
    with pytest.raises(SystemExit, match="no finished run of vib_lstm"):
        kept_pixels.main([str(tmp_path)])
    made(tmp_path, 0, [1])
    next(tmp_path.rglob("model.safetensors")).unlink()
    with pytest.raises(SystemExit, match=r"model.safetensors: not there; a published page has no networks"):
        kept_pixels.main([str(tmp_path)])
