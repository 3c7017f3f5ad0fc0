"""What an exported file answers: its accuracy on the test part, and how far its logits are from the module's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from squeezebench.data.task import Task
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.tools.export.about import random_sequences
from squeezebench.tools.export.standard import Standard

CHUNK = 256  # sequences that are read, and given to the module, at once
RANDOM = 20  # sequences where there are none of the task


@dataclass(frozen=True)
class Scored:
    """One file, run one sequence at a time: a file in int8 rounds by the range of all that it is given at once."""

    test: float | None  # top-1 on the test part; None: see `not_scored`
    difference: float | None  # of a logit, the largest: on the test part, or on random sequences if that is not there
    sequences: int  # that these two are of
    not_scored: str | None = None  # why there is no accuracy


# x (B, T, D) as the file reads it, length (B,) or None -> logits (B, classes)
Answer = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


@torch.no_grad()
def score(answer: Answer, model: RecurrentClassifier, task: Task, form: Standard) -> Scored:
    """What a file answers against the labels of the test part, and against the module it was made from."""
    labels, gap, correct = task.labels("test"), 0.0, 0
    for first in range(0, len(labels), CHUNK):
        positions = np.arange(first, min(first + CHUNK, len(labels)))
        batch = task.batch("test", positions)
        x, length = torch.from_numpy(batch.x), None if batch.length is None else torch.from_numpy(batch.length)
        given = batch if form.normalisation is None else task.raw("test", positions)
        logits = answer(given.x, batch.length)
        gap = max(gap, float(np.abs(logits - model(x, length).numpy()).max()))
        correct += int((logits.argmax(-1) == labels[first : first + CHUNK]).sum())
    if not np.isfinite(gap):
        return Scored(None, gap, len(labels), "its outputs are not finite")
    return Scored(correct / len(labels), gap, len(labels))


@torch.no_grad()
def compare(answer: Answer, model: RecurrentClassifier, form: Standard, steps: int, reason: str) -> Scored:
    """Logits against the module's on random sequences, where `reason` says why there is no test part."""
    x, raw = random_sequences(form, RANDOM, steps)
    gap = float(np.abs(answer(raw.numpy(), None) - model(x).numpy()).max())
    return Scored(None, gap, RANDOM, reason)
