"""The networks over space and time that Table 1 of Skip-Sideways' supplementary compares with: small forms.

Source: Malinowski et al. (CVPR 2021), supplementary, sections 3 and 4. 3D VGG: a VGG whose 3 x 3 kernels are inflated
to 3 x 3 x 3, pooling too. Causal 3D VGG: kernels of 2 or 3 frames that end at the current one. I3D: a stem and
Inception blocks (Carreira and Zisserman, CVPR 2017), here two of them. Rematerialisation computes each unit's
activations again in the backward pass. Space-to-depth turns patches of 2 x 2 pixels into channels, space-time-to-depth
also pairs of frames. All read (B, T, C * H * W) and give the frames' logits, whose mean is the clip's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


class Inflated(nn.Module):
    """Convolution over `frames` x 3 x 3, batch norm, ReLU; stride one, the number of frames stays.

    causal: an output reads its own frame and the `frames - 1` before it, zeros before the first; otherwise the frames
    around it, which takes an odd number.
    """

    def __init__(self, channels: int, width: int, frames: int = 3, causal: bool = False, side: int = 3):
        super().__init__()
        before, after = (frames - 1, 0) if causal else (frames // 2, frames // 2)
        self.pads = (0, 0, 0, 0, before, after)
        self.convolution = nn.Conv3d(
            channels, width, (frames, side, side), padding=(0, side // 2, side // 2), bias=False
        )
        self.norm = nn.BatchNorm3d(width)

    def forward(self, h: Tensor) -> Tensor:
        return functional.relu(self.norm(self.convolution(functional.pad(h, self.pads))))


class Pool(nn.Module):
    """The largest of `frames` x 3 x 3 with stride 2 in space and 1 in time; `causal` as in `Inflated`."""

    def __init__(self, frames: int = 3, causal: bool = False):
        super().__init__()
        before, after = (frames - 1, 0) if causal else (frames // 2, frames // 2)
        self.frames, self.pads = frames, (0, 0, 0, 0, before, after)

    def forward(self, h: Tensor) -> Tensor:
        padded = functional.pad(h, self.pads, value=float("-inf"))
        return functional.max_pool3d(padded, (self.frames, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))


class Inception(nn.Module):
    """Four branches side by side: 1 x 1 x 1; two times 1 x 1 x 1, then 3 x 3 x 3; pooling, then 1 x 1 x 1."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.one = Inflated(channels, width, 1, side=1)
        self.threes = nn.ModuleList(
            nn.Sequential(Inflated(channels, width, 1, side=1), Inflated(width, width)) for _ in range(2)
        )
        self.pool = nn.Sequential(nn.MaxPool3d(3, stride=1, padding=1), Inflated(channels, width, 1, side=1))

    def forward(self, h: Tensor) -> Tensor:
        return torch.cat([self.one(h), *(branch(h) for branch in self.threes), self.pool(h)], 1)


class VideoNetwork(nn.Module):
    """Units over (B, C, T, H, W), then the mean over space and a linear layer for each frame: (B, T', classes).

    remat: keep the inputs of the units alone, and compute the rest again in the backward pass.
    space, time: patches of so many pixels, and so many frames, become channels first; T has to divide by `time`.
    """

    def __init__(
        self, units: Sequence[nn.Module], width: int, frame: Sequence[int], classes: int, remat: bool = False,
        space: int = 1, time: int = 1,
    ):  # fmt: skip
        super().__init__()
        self.units, self.head = nn.ModuleList(units), nn.Linear(width, classes)
        self.frame, self.remat, self.space, self.time = tuple(frame), remat, space, time

    def forward(self, x: Tensor) -> Tensor:
        h = to_depth(x.unflatten(-1, self.frame), self.space, self.time).transpose(1, 2)
        for unit in self.units:
            if self.remat and torch.is_grad_enabled():
                h = checkpoint(unit, h, use_reentrant=False, context_fn=lambda unit=unit: (nullcontext(), again(unit)))
            else:
                h = unit(h)
        return self.head(h.mean((-2, -1)).transpose(1, 2))


@contextmanager
def again(unit: nn.Module) -> Iterator[None]:
    """While a unit's activations are computed again, batch norm's running statistics stay: they have moved already."""
    before = [(buffer, buffer.clone()) for buffer in unit.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.data.copy_(value)  # past autograd, which would take this for a change of what it has kept


def to_depth(frames: Tensor, space: int = 1, time: int = 1) -> Tensor:
    """(B, T, C, H, W) -> (B, T / time, time * space^2 * C, H / space, W / space)."""
    batch, steps = frames.shape[:2]
    patches = functional.pixel_unshuffle(frames.flatten(0, 1), space).unflatten(0, (batch, steps))
    return patches.unflatten(1, (steps // time, time)).flatten(2, 3)


def vgg_3d(
    frame: Sequence[int], classes: int, widths: Sequence[int], pools: Sequence[int], frames: int = 3,
    causal: bool = False, remat: bool = False, space: int = 1, time: int = 1,
) -> VideoNetwork:  # fmt: skip
    """An inflated VGG; `pools` as in VideoVGG. frames: of a kernel in time."""
    channels = [frame[0] * space**2 * time, *widths]
    units = [
        nn.Sequential(
            Inflated(channels[number - 1], width, frames, causal), *([Pool(frames, causal)] if number in pools else [])
        )
        for number, width in enumerate(widths, 1)
    ]
    return VideoNetwork(units, widths[-1], frame, classes, remat, space, time)


def i3d(frame: Sequence[int], classes: int, width: int, space: int = 1, time: int = 1) -> VideoNetwork:
    """A stem with pooling and two Inception blocks of four branches each, with pooling between them."""
    units = [
        nn.Sequential(Inflated(frame[0] * space**2 * time, width), Pool()),
        Inception(width, width),
        nn.Sequential(Pool(), Inception(4 * width, width)),
    ]
    return VideoNetwork(units, 4 * width, frame, classes, space=space, time=time)


def video_loss(net: VideoNetwork, x: Tensor, y: Tensor) -> Tensor:
    """The mean over clips and frames of the cross-entropy, as the rules' objective."""
    logits = net(x)
    return functional.cross_entropy(logits.flatten(0, 1), y[:, None].expand(-1, logits.shape[1]).flatten())


def video_step(net: VideoNetwork, x: Tensor, y: Tensor, optimiser: torch.optim.Optimizer) -> float:
    """One optimiser step by back-propagation over the clip."""
    optimiser.zero_grad(set_to_none=True)
    loss = video_loss(net, x, y)
    loss.backward()
    optimiser.step()
    return loss.item()
