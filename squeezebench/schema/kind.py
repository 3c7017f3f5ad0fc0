"""What a task is made of: sequences, images or videos."""

from __future__ import annotations

from typing import Literal

Kind = Literal["sequence", "image", "video"]
KINDS: tuple[Kind, ...] = ("sequence", "image", "video")


def kind_of(frame: tuple[int, int, int] | None, steps: int) -> Kind:
    """What a task of `steps` steps is: steps that are no images make a sequence."""
    if frame is None:
        return "sequence"
    return "image" if steps == 1 else "video"
