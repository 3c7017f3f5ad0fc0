"""Sequences of different lengths become one array."""

from __future__ import annotations

import numpy as np
import pytest

import squeezebench.data
from squeezebench.base.errors import InputError
from squeezebench.data.task import load_task, task_spec


def test_sequences_are_padded_with_zeros_and_keep_their_lengths_and_type():
    rng = np.random.default_rng(0)
    sequences = [rng.normal(size=(steps, 2)).astype(np.float32) for steps in (3, 1, 5)]
    x, length = squeezebench.data.pad(sequences)
    assert x.shape == (3, 5, 2) and x.dtype == np.float32 and length.tolist() == [3, 1, 5]
    for row, sequence in enumerate(sequences):
        assert np.array_equal(x[row, : len(sequence)], sequence) and not x[row, len(sequence) :].any()
    x, length = squeezebench.data.pad([[1, 2, 3], np.array([4.5])])  # one feature, and the type that holds all
    assert x[..., 0].tolist() == [[1, 2, 3], [4.5, 0, 0]] and length.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("sequences", "words"),
    [
        ([], "no sequences to pad"),
        ([[[1, 2]], [[1, 2, 3]]], "sequence 1 has 3 features, sequence 0 has 2"),
        ([[[1, 2]], np.zeros((0, 2))], r"sequence 1 has shape \(0, 2\)"),
        ([np.zeros((2, 2, 2))], r"sequence 0 has shape \(2, 2, 2\)"),
        ([["a", "b"]], "sequence 0 .* numbers"),
        ([[[1, 2], [3]]], "sequence 0 is no array"),
        ([np.array([None, 1])], "sequence 0 has .* dtype object"),
    ],
)
def test_what_is_no_sequence_is_named_by_its_number(sequences, words):
    with pytest.raises(InputError, match=words):
        squeezebench.data.pad(sequences)


def test_an_array_of_objects_names_the_way_out_which_works(tmp_path, complaint):
    sequences = [np.random.default_rng(row).normal(size=(row % 5 + 1, 2)) for row in range(20)]
    ragged = np.empty(20, object)
    ragged[:] = sequences
    path, y = tmp_path / "own.npz", np.arange(20) % 2
    np.savez(path, x=ragged, y=y)
    said = complaint("run", "--task", f"file:{path}", "--method", "dense", "--out", tmp_path / "run")
    assert "x, length = squeezebench.data.pad(list_of_arrays)" in said
    x, length = squeezebench.data.pad(sequences)
    np.savez(path, x=x, length=length, y=y)
    assert load_task(task_spec(f"file:{path}")).has_lengths
