"""VOC2007 trainval in COCO's format: folders train, valid and test, each with `_annotations.coco.json` and its images.

Such a copy is public (github.com/nekloyh/VOC_2007_in_Coco_format, folder PASCAL-VOC-2007-1: 5,026 images, CC BY 4.0;
most images lie in its other folder, and have to be linked to the annotations).
Its parts are its own: none is VOC2007's official test part, and objects marked as difficult are not marked here, so
that no mAP on it is one of the literature's. The first six characters of a file's name are VOC's number of the image.
Numbers that occur twice are used once, and never on both sides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.studies.detection.mean_ap import Truth
from squeezebench.base.errors import InputError

ANNOTATIONS = "_annotations.coco.json"
LEAST_SIDE = 1  # pixels of a box that counts


@dataclass(frozen=True)
class Part:
    """images (N, 3, S, S) uint8, every one resized to a square; boxes as parts of its sides in [0, 1]."""

    images: Tensor
    truth: list[Truth]
    names: list[str]
    classes: list[str]


def read(folder: Path, parts: Sequence[str], side: int, without: Sequence[str] = (), most: int | None = None) -> Part:
    """The images of some parts, at most `most`, without the numbers `without`. Raises InputError for other folders."""
    images, truth, names, classes = [], [], [], []
    for part in parts:
        path = folder / part / ANNOTATIONS
        try:
            content = json.loads(path.read_text())
            boxes: dict[int, list] = {image["id"]: [] for image in content["images"]}
            labels = {entry["id"]: entry["name"] for entry in content["categories"] if entry["supercategory"] != "none"}
            classes = [labels[number] for number in sorted(labels)]
            places = {number: place for place, number in enumerate(sorted(labels), 1)}
            for entry in content["annotations"]:
                boxes[entry["image_id"]].append((*entry["bbox"], places[entry["category_id"]]))
            lines = sorted(
                (image["file_name"], image["id"], image["width"], image["height"]) for image in content["images"]
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: no annotations in COCO's format ({type(error).__name__}: {error})") from None
        for file, number, width, height in lines:
            name = file[:6]
            if name in names or name in without or (most is not None and len(names) == most):
                continue
            with Image.open(folder / part / file) as image:
                small = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
            images.append(torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1))
            truth.append(_truth(boxes[number], width, height))
            names.append(name)
    if not names:
        raise InputError(f"{folder}: no images in {', '.join(parts)}")
    return Part(torch.stack(images), truth, names, classes)


def _truth(lines: list[tuple], width: int, height: int) -> Truth:
    kept = [line for line in lines if line[2] >= LEAST_SIDE and line[3] >= LEAST_SIDE]
    boxes = torch.tensor([line[:4] for line in kept], dtype=torch.float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    boxes /= torch.tensor([width, height, width, height])
    return Truth(boxes.clamp(0, 1), torch.tensor([line[4] for line in kept], dtype=torch.long))


def augmented(image: Tensor, truth: Truth, size: int, generator: np.random.Generator) -> tuple[Tensor, Truth]:
    """(3, S, S) uint8 -> (3, size, size) in 0..1: a random window of at least half a side, half of them mirrored.

    Objects stay whose centre is in the window, as in SSD; a window without one is not taken. Boxes are parts of a side.
    """
    left, top, wide, high = 0.0, 0.0, 1.0, 1.0
    boxes, labels = truth.boxes, truth.labels
    if generator.random() < 0.5 and len(boxes):
        wide, high = generator.uniform(0.5, 1.0, 2)
        left, top = generator.uniform(0, 1 - wide), generator.uniform(0, 1 - high)
        window = torch.tensor([left, top, left + wide, top + high])
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((centre > window[:2]) & (centre < window[2:])).all(1)
        if inside.any():
            boxes, labels = boxes[inside], labels[inside]
            boxes = (boxes - window[:2].repeat(2)) / torch.tensor([wide, high] * 2)
        else:
            left, top, wide, high = 0.0, 0.0, 1.0, 1.0
    side = image.shape[1]
    rows = slice(int(top * side), max(int(top * side) + 1, round((top + high) * side)))
    columns = slice(int(left * side), max(int(left * side) + 1, round((left + wide) * side)))
    pixels = resized(image[:, rows, columns][None], size)[0]
    boxes = boxes.clamp(0, 1)
    if generator.random() < 0.5:
        pixels, boxes = pixels.flip(2), torch.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], 1)
    return pixels, Truth(boxes, labels)


def resized(images: Tensor, size: int) -> Tensor:
    """(N, 3, H, W) uint8 -> (N, 3, size, size) in 0..1."""
    scaled = images.float() / 255
    if scaled.shape[2:] == (size, size):
        return scaled
    return F.interpolate(scaled, (size, size), mode="bilinear", antialias=True)
