"""A task's batches as tensors, in the order of training or of the part, and what a module makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from squeezebench.data.task import Task

EVALUATION_BATCH = 256
EVALUATION_BYTES = 1 << 26  # of a batch of wide inputs, which has fewer sequences


class Diverged(RuntimeError):
    """The loss left the finite numbers."""


def tensors(batch, device: torch.device) -> tuple[Tensor, Tensor | None, Tensor]:
    """A task's numpy batch as (x, length, y) on `device`."""
    length = None if batch.length is None else torch.from_numpy(batch.length).to(device)
    return torch.from_numpy(batch.x).to(device), length, torch.from_numpy(batch.y).to(device)


def batches(
    task: Task,
    part: str,
    size: int,
    device: torch.device,
    order: np.ndarray | None = None,
    generator: np.random.Generator | None = None,
) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
    """The sequences of `part` at the positions `order` (default: all of them as they come), `size` at a time.

    generator: draws what a task samples anew in training.
    """
    order = np.arange(task.size(part)) if order is None else order
    for start in range(0, len(order), size):
        yield tensors(task.batch(part, order[start : start + size], generator), device)


def wrong_shape(logits: object, sequences: int, classes: int) -> str:
    """What is wrong with a module's output for `sequences` sequences; empty if it is (sequences, classes)."""
    if not isinstance(logits, Tensor):
        return f"the module gives a {type(logits).__name__}, not logits {(sequences, classes)}"
    if logits.shape == (sequences, classes):
        return ""
    return f"logits have shape {tuple(logits.shape)}, not {(sequences, classes)}: one for each sequence and class"


@torch.no_grad()
def predict(
    model: nn.Module, task: Task, part: str, device: torch.device, between: Callable[[], None] = lambda: None
) -> np.ndarray:
    """Predicted class of every sequence of `part`, in its own order. Raises Diverged where a logit is not finite.

    between: called before each batch.
    """
    model.eval()
    classes = []
    size = max(1, min(EVALUATION_BATCH, EVALUATION_BYTES // (4 * task.steps * task.inputs)))
    for x, length, _ in batches(task, part, size, device):
        between()
        logits = model(x, length)
        if not torch.isfinite(logits).all():
            raise Diverged(f"the module's outputs on the {part} part are not finite")
        classes.append(logits.argmax(-1).cpu())
    return torch.cat(classes).numpy()


def accuracy(
    model: nn.Module, task: Task, part: str, device: torch.device, between: Callable[[], None] = lambda: None
) -> float:
    """Top-1 accuracy on `part`, a fraction; `between` as in predict."""
    return float((predict(model, task, part, device, between) == task.labels(part)).mean())


def score_of(task: Task, part: str = "test") -> Callable[[nn.Module], float | None]:
    """Accuracy of a module on a part, on the CPU; None if its outputs are not finite, as after rounding its weights."""

    def score(module: nn.Module) -> float | None:
        try:
            return accuracy(module, task, part, torch.device("cpu"))
        except Diverged:
            return None

    return score
