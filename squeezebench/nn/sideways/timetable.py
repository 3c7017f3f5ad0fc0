"""Which module works on what at each tick of the clock: plain arithmetic, the same for one process or for D of them.

Modules count from 1 (next to the frames) to D (the top, where the loss is), ticks and frames from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from squeezebench.base.errors import InputError

Flush = Literal["hold", "drop"]


@dataclass(frozen=True)
class Timetable:
    """A clip of `frames` frames in a pipeline of `depth` modules, with shortcuts over `span` modules or without.

    At tick t module l works on what module l - 1 made at tick t - 1, so it sees frame t - (l - 1). The top computes its
    loss in the tick in which a frame leaves it. A pseudo-gradient goes down one module a tick while newer frames come
    up, so that the one which meets module l at tick t belongs to the loss of frame t - (2D - l - 1): 2 (D - l) frames
    older than the activation whose Jacobian it is multiplied by. The gap is even: the paper's remark that a video
    interleaved of two clips does not mix them (supplementary, section 6) holds for this timetable, and would not if the
    loss came one tick later.

    flush: what happens when the clip ends.
        `hold`: its last frame stays in front of the camera for 2 (D - 1) more ticks, without a loss of its own. Every
        frame's loss then reaches every module exactly once along every way down, and all of it counts.
        `drop`: no further tick. The last D - 1 frames never leave the top. A module learns at the ticks at which
        gradients arrive along *all* ways (after the warm-up), so module l learns from the losses of the first
        T - (2D - l - 1) frames only: none, for the lowest modules, where T < 2D - 1.
    """

    depth: int
    frames: int
    flush: Flush = "hold"
    span: int | None = None

    def __post_init__(self) -> None:
        if self.depth < 1 or self.frames < 1:
            raise InputError(f"{self.depth} modules and {self.frames} frames: both must be at least 1")
        if self.span is not None and self.span < 2:
            raise InputError(f"a shortcut spans 2 modules at least, not {self.span} (1 is the direct connection)")
        if self.flush == "drop" and self.frames < self.depth:
            raise InputError(
                f"a clip of {self.frames} frames never leaves the top of {self.depth} modules: "
                f"flush 'hold', or clips of {self.depth} frames and more"
            )

    @property
    def ticks(self) -> int:
        """Ticks that a clip takes."""
        return self.frames + (2 * (self.depth - 1) if self.flush == "hold" else 0)

    @property
    def losses(self) -> int:
        """Frames that leave the top, and so have a loss."""
        return self.frames if self.flush == "hold" else self.frames - self.depth + 1

    def sources(self, module: int) -> tuple[int, ...]:
        """Whose outputs `module` reads: 0 is the frame; the direct connection first."""
        if self.span is None or module - self.span < 1:
            return (module - 1,)
        return module - 1, module - self.span

    def readers(self, module: int) -> tuple[int, ...]:
        """The modules that read `module`, and so send it pseudo-gradients; ascending."""
        return tuple(m for m in range(module + 1, self.depth + 1) if module in self.sources(m))

    def working(self, module: int) -> range:
        """Ticks at which `module` has something to do: from the first activation that reaches it (warm-up) to the
        last pseudo-gradient."""
        return range(module - 1, min(self.ticks, self.frames + 2 * self.depth - module - 1))

    def frame(self, tick: int) -> int:
        """The frame that enters the bottom at `tick`."""
        return min(tick, self.frames - 1)

    def loss_frame(self, tick: int) -> int | None:
        """The frame whose loss the top takes at `tick`; None while there is none."""
        frame = tick - (self.depth - 1)
        return frame if 0 <= frame < self.losses else None

    def senders(self, module: int, tick: int) -> tuple[int, ...]:
        """The readers of `module` whose pseudo-gradients meet it at `tick`; empty: it only passes activations on."""
        if tick not in self.learning[module]:
            return ()
        return tuple(reader for reader in self.readers(module) if tick - 1 in self.learning[reader])

    def arrived(self, module: int) -> range:
        """The frames whose losses count in the update of `module`."""
        if self.flush == "hold" or module == self.depth:
            return range(self.losses)
        return range(len(self.learning[module]))

    @cached_property
    def learning(self) -> dict[int, frozenset[int]]:
        """By module, the ticks at which pseudo-gradients meet it; by induction from the top."""
        learning = {self.depth: frozenset(range(self.depth - 1, self.depth - 1 + self.losses))}
        combine = frozenset.union if self.flush == "hold" else frozenset.intersection
        for module in range(self.depth - 1, 0, -1):
            arrivals = [frozenset(tick + 1 for tick in learning[reader]) for reader in self.readers(module)]
            learning[module] = combine(*arrivals) & frozenset(self.working(module))
        return learning
