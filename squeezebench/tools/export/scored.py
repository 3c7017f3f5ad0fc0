"""What an exported file answers: its accuracy on the test part, and how far its logits are from the module's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from squeezebench.data.task import Task
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.tools.export.about import random_sequences
from squeezebench.tools.export.runtime import session
from squeezebench.tools.export.standard import Standard

CHUNK = 256  # sequences that are read, and given to the module, at once
RANDOM = 20  # sequences where there are none of the task


@dataclass(frozen=True)
class Scored:
    """One file, run one sequence at a time: a file in int8 rounds by the range of all that it is given at once."""

    test: float | None  # top-1 on the test part; None: see `not_scored`
    difference: float  # of a logit, the largest: on the test part, or on random sequences where that is not there
    sequences: int  # that these two are of
    not_scored: str | None = None  # why there is no accuracy


@torch.no_grad()
def score(content: bytes, model: RecurrentClassifier, task: Task, form: Standard) -> Scored:
    """`content` (an ONNX file) against the labels of the test part, and against the module it was made from."""
    running, labels, gap = session(content), task.labels("test"), 0.0
    correct = 0
    for first in range(0, len(labels), CHUNK):
        positions = np.arange(first, min(first + CHUNK, len(labels)))
        batch = task.batch("test", positions)
        x, length = torch.from_numpy(batch.x), None if batch.length is None else torch.from_numpy(batch.length)
        given = batch if form.normalisation is None else task.raw("test", positions)
        logits = one_by_one(running, given.x, batch.length)
        gap = max(gap, float(np.abs(logits - model(x, length).numpy()).max()))
        correct += int((logits.argmax(-1) == labels[first : first + CHUNK]).sum())
    if not np.isfinite(gap):
        return Scored(None, gap, len(labels), "its outputs are not finite")
    return Scored(correct / len(labels), gap, len(labels))


@torch.no_grad()
def compare(content: bytes, model: RecurrentClassifier, form: Standard, steps: int, reason: str) -> Scored:
    """Logits against the module's on random sequences, where `reason` says why there is no test part."""
    x, raw = random_sequences(form, RANDOM, steps)
    gap = float(np.abs(one_by_one(session(content), raw.numpy(), None) - model(x).numpy()).max())
    return Scored(None, gap, RANDOM, reason)


def one_by_one(running, x: np.ndarray, length: np.ndarray | None) -> np.ndarray:
    """Logits (B, classes) of x (B, T, D), each sequence by itself, without its padding."""
    has_length = "length" in {given.name for given in running.get_inputs()}
    logits = []
    for number, sequence in enumerate(x):
        steps = len(sequence) if length is None else int(length[number])
        given = {"x": sequence[None, :steps]} | ({"length": np.array([steps], np.int64)} if has_length else {})
        logits.append(running.run(["logits"], given)[0])
    return np.concatenate(logits)
