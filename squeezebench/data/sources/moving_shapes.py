"""Synthetic videos of eight motions that no single frame tells apart: 1,440 clips of 16 grey frames of 16 x 16 pixels.

A shape (a few soft spots at random places) moves left, right, up or down, turns clockwise or counterclockwise, grows or
shrinks. Space is a torus, angles are, and sizes start again at the other end: place, angle and size of the shape are
uniform at every frame, whatever the class, so the best that any per-frame classifier can do is chance. Clips of one
group show the same shape with the same background, noise, speed and *first frame*, once in each class; the split keeps
groups together. Everything follows from the seed.

With `appearances: k` the classes are k shapes instead, so that every frame shows the class: clips of one group have the
same motion, background, noise, speed, first place, angle and size, once with each shape, and the test part shows the
same shapes elsewhere, turned otherwise and moving otherwise.

Licence: none is needed: the clips are computed.

Leak: clips of a group show the same shape, or the same motion; the split keeps groups together.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from squeezebench.data.dataset import Dataset, Expected

DEFAULT_SPLIT = "group"

CLASSES = ("left", "right", "up", "down", "clockwise", "counterclockwise", "growing", "shrinking")
SPOTS = 4  # of a shape
SPOT = 0.45  # width of a spot, in units of the shape's size
SMALLEST, LARGEST = 0.18, 0.32  # size of a shape, from its centre to its spots, as a part of the frame's side
SHIFT = (0.03, 0.06)  # sides a frame
TURN = (0.15, 0.3)  # radians a frame
GROWTH = (0.03, 0.06)  # of the way from the smallest to the largest size, a frame; below a half after eight frames
NOISE = 0.02  # of the full range, standard deviation


class Options(BaseModel):
    """Number and form of the clips."""

    model_config = ConfigDict(extra="forbid")

    groups: int = Field(default=180, ge=4, le=10_000, description="shapes; each gives one clip in each class")
    size: int = Field(default=16, ge=8, le=128, description="height and width of a frame in pixels")
    frames: int = Field(default=16, ge=2, le=256, description="frames of a clip")
    every: int = Field(
        default=1, ge=1, le=8, description="take every n-th frame of the smooth motion: 2 halves the frame rate"
    )
    speed: float = Field(default=1.0, gt=0, le=1, description="factor on every motion: less is smoother")
    appearances: int = Field(
        default=0, ge=0, le=64, description="classes are so many shapes, which a frame shows; 0: the eight motions"
    )
    seed: int = Field(default=0, ge=0, description="of everything that is random")

    @model_validator(mode="after")
    def _appearances_differ(self) -> Options:
        if self.appearances == 1:
            raise ValueError("appearances needs two shapes at least")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """What the labels stand for."""
        return tuple(f"shape {number}" for number in range(self.appearances)) or CLASSES


def load(options: Options) -> Dataset:
    """x (classes * groups, frames, size * size) uint8, each frame row by row."""
    videos = [_videos(options, group) for group in range(options.groups)]
    count = len(options.classes)
    return Dataset(
        name="moving_shapes",
        x=np.concatenate(videos).reshape(count * options.groups, options.frames, options.size**2),
        y=np.tile(np.arange(count), options.groups),
        classes=options.classes,
        group=np.repeat(np.arange(options.groups), count),
        origin=f"made by squeezebench, seed {options.seed}",
        frame=(1, options.size, options.size),
    )


def expected(options: Options) -> Expected:
    """All of it is known."""
    frame = (1, options.size, options.size)
    count = len(options.classes) * options.groups
    return Expected(count, options.frames, options.size**2, len(options.classes), 0, 0, frame=frame, groups=True)


def _videos(options: Options, group: int) -> np.ndarray:
    """(classes, frames, H, W) uint8 of one group: the same draws for all, so that only motion or shape differs."""
    generator = np.random.default_rng([options.seed, group, 0])
    if options.appearances:
        shapes = [_shape(np.random.default_rng([options.seed, number])) for number in range(options.appearances)]
        kinds = [(CLASSES[group % len(CLASSES)], shape) for shape in shapes]
    else:
        shape = _shape(generator)
        kinds = [(motion, shape) for motion in CLASSES]
    place, angle, phase = generator.uniform(0, 1, 2), generator.uniform(0, 2 * np.pi), generator.uniform()
    shift, turn, growth = (generator.uniform(*limits) for limits in (SHIFT, TURN, GROWTH))
    background, contrast = generator.uniform(0.1, 0.3), generator.uniform(0.4, 0.6)
    noise = generator.normal(0, NOISE, (options.frames, options.size, options.size))
    time = np.arange(options.frames) * options.every * options.speed
    still = np.zeros_like(time)
    videos = []
    for motion, (spots, weights) in kinds:
        right = {"right": time, "left": -time}.get(motion, still) * shift
        down = {"down": time, "up": -time}.get(motion, still) * shift
        turned = angle + {"clockwise": time, "counterclockwise": -time}.get(motion, still) * turn
        grown = (phase + {"growing": time, "shrinking": -time}.get(motion, still) * growth) % 1
        centre = place + np.stack([right, down], 1)  # (T, 2), in sides; clockwise as seen, for y points down
        size = SMALLEST * (LARGEST / SMALLEST) ** grown
        image = _draw(spots, weights, centre, turned, size, options.size)
        videos.append(background + contrast * image + noise)
    return np.round(255 * np.clip(videos, 0, 1)).astype(np.uint8)


def _shape(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The places (S, 2) of a shape's spots around its centre, and their brightness (S,)."""
    angles = generator.uniform(0, 2 * np.pi, SPOTS)
    spots = np.stack([np.cos(angles), np.sin(angles)], 1) * generator.uniform(0.5, 1, (SPOTS, 1))  # x, y
    return spots, generator.uniform(0.5, 1, SPOTS)


def _draw(
    spots: np.ndarray, weights: np.ndarray, centre: np.ndarray, angle: np.ndarray, size: np.ndarray, pixels: int
) -> np.ndarray:
    """(T, pixels, pixels) in 0..1: the brightest spot at each pixel, with distances on the torus; lengths in sides."""
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]  # (T, 1)
    x = centre[:, :1] + size[:, None] * (cos * spots[:, 0] - sin * spots[:, 1])  # (T, S)
    y = centre[:, 1:] + size[:, None] * (sin * spots[:, 0] + cos * spots[:, 1])
    grid = (np.arange(pixels) + 0.5) / pixels
    away = [(grid - place[..., None] + 0.5) % 1 - 0.5 for place in (x, y)]  # (T, S, pixels) each
    squared = away[1][..., :, None] ** 2 + away[0][..., None, :] ** 2  # (T, S, H, W)
    width = (SPOT * size)[:, None, None, None]
    return (weights[:, None, None] * np.exp(-0.5 * squared / width**2)).max(axis=1)
