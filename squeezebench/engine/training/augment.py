"""Images changed anew in each epoch of training: moved by a few pixels, mirrored. Validation and test stay as they are.

The draws come from the generator of the order of data: the same for every method, and part of every checkpoint. All
frames of a video share one draw, which is what a moved or mirrored camera would see.

Batches are normalised already when they are moved. That is exact where all pixels of a channel are normalised alike
(`normalise:` none, std or channel): what comes in from outside is the raw value 0, black, as normalised. Under
`standard` each pixel has a mean and a deviation of its own, and a moved image would be scaled by those of other
pixels (by a deviation of almost 0 at a border that is nearly always black): there it is refused.

Whether a moved or mirrored image still is of its class is for whoever asks for it: mirrored digits are not, and the
motions of `moving_shapes` are turned into one another.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from squeezebench.base.errors import InputError
from squeezebench.data.task import Task
from squeezebench.schema.training import STANDARD, Augment


class Augmentation:
    """Applies `wanted` to the training batches of `task`. Raises InputError where its images cannot be moved.

    `shift: n` is the usual random crop of an image that was padded with n black pixels on each side.
    """

    def __init__(self, wanted: Augment, task: Task) -> None:
        if task.frame is None:
            raise InputError(f"training: augment: is for images and videos; task {task.name} is a {task.kind}")
        if task.background is None:
            raise InputError(f"task {task.name}: {STANDARD}")
        height, width = task.frame[1:]
        if wanted.shift >= min(height, width):
            raise InputError(f"training: augment: shift: {wanted.shift} moves images of {height} x {width} pixels away")
        self.wanted, self.frame = wanted, task.frame
        self.background = torch.from_numpy(task.background)

    def __call__(self, x: Tensor, length: Tensor | None, generator: np.random.Generator) -> Tensor:
        """x (B, T, C * H * W) normalised -> the same shape, a new tensor; steps past `length` (B,) stay 0."""
        batch, steps = x.shape[:2]
        down, across, mirrored = self._draw(batch, generator)
        height, width = self.frame[1:]
        rows = torch.from_numpy(down[:, None] + np.arange(height))  # (B, H): where each row comes from
        columns = np.where(mirrored[:, None], np.arange(width)[::-1], np.arange(width))
        columns = torch.from_numpy(across[:, None] + columns)  # (B, W)
        number = torch.arange(batch, device=x.device)[:, None, None]
        moved = self._padded(x)[number, rows[:, :, None].to(x.device), columns[:, None].to(x.device)]
        moved = moved.permute(0, 3, 4, 1, 2).reshape(x.shape)  # from (B, H, W, T, C)
        if length is not None:
            moved[torch.arange(steps, device=x.device) >= length[:, None]] = 0.0
        return moved

    def _draw(self, batch: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows and columns (B,) that the window is moved by, 0 to 2 * shift, and which images are mirrored (B,)."""
        most = 2 * self.wanted.shift
        down, across = generator.integers(0, most + 1, (2, batch)) if most else np.zeros((2, batch), np.int64)
        mirrored = generator.random(batch) < 0.5 if self.wanted.flip else np.zeros(batch, bool)
        return down, across, mirrored

    def _padded(self, x: Tensor) -> Tensor:
        """(B, H + 2 n, W + 2 n, T, C): the images in a frame of n black pixels."""
        height, width = self.frame[1:]
        n = self.wanted.shift
        images = x.reshape(*x.shape[:2], *self.frame).permute(0, 3, 4, 1, 2)
        black = self.background.to(x.device, x.dtype)
        padded = black.repeat(len(x), height + 2 * n, width + 2 * n, x.shape[1], 1)
        padded[:, n : n + height, n : n + width] = images
        return padded
