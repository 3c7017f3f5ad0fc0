"""A folder of images as ImageNet's: train/CLASS/*.JPEG and val/CLASS/*.JPEG, of any size; give its path as `folder`.

Each image is resized until its shorter side has `shorter` pixels (bilinear, antialiased) and cut to `side` x `side` in
the middle, in one step; grey images and those with transparency become RGB. `val` is the test part, as results on
ImageNet are reported; the engine cuts the validation part from `train`. ImageNet's own validation archive is flat, with
a list of labels: move its images into class folders first.

The first run prepares the images, one file of bytes that all runs map (3 side^2 bytes an image: 193 GB for ImageNet at
224); others wait for it, and one that was killed is gone on with. Images that cannot be decoded are left out, said in
the log and counted in the record's origin. `normalise: channel` reads the training part once at the start of each run,
`none` (pixels in 0..1) does not.

Licence: yours.

Leak: nothing is checked but the folders: near-copies of an image in `train` and `val` are not noticed.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from squeezebench.base.contents import digest_of_contents, files_below
from squeezebench.base.errors import InputError
from squeezebench.base.files import stamp_of
from squeezebench.data.dataset import Dataset, Expected
from squeezebench.data.store import Small, Store, cores, prepared_images

if TYPE_CHECKING:
    from PIL import Image as Pillow

DEFAULT_SPLIT = "official"
MAIN_OPTION = "folder"
FORMAT = 2  # raise it when the same images give other bytes
PARTS = {"train": "train", "val": "test"}  # folder -> part
ENDINGS = (".jpeg", ".jpg", ".png")
PIECE = 256  # images decoded before the disk is waited for

log = logging.getLogger("squeezebench")


class Options(BaseModel):
    """Which folder, and how large images become."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    folder: str = Field(min_length=1, description="holds train/CLASS/ and val/CLASS/")
    side: int = Field(default=224, ge=8, le=1024, description="height and width of the images, pixels")
    shorter: int | None = Field(
        default=None, ge=8, description="shorter side before the middle is cut out (ImageNet: 256); null: side"
    )

    @model_validator(mode="after")
    def _enough_to_cut_from(self) -> Options:
        if self.shorter is not None and self.shorter < self.side:
            raise ValueError(f"shorter is {self.shorter}; it must be at least side, {self.side}")
        return self


class Image(NamedTuple):
    """One file."""

    path: str  # below the folder
    label: str
    part: str


def load(options: Options) -> Dataset:
    """x (N, 1, 3 side^2) uint8, mapped: red, green and blue, each row by row; scale 1/255."""
    images = _images(options.folder, stamp(options))
    inputs = _inputs(options)
    key = {"format": FORMAT, "folder": options.folder, "side": options.side, "shorter": options.shorter or options.side,
           "images": _digest(options.folder, images)}  # fmt: skip
    x, small, meta = prepared_images("image_folder", key, inputs, lambda store: _fill(options, images, store))
    return Dataset(
        name=options.folder,
        x=x,
        y=small["y"],
        classes=tuple(map(str, small["classes"])),
        subset=small["subset"],
        scale=np.full(inputs, 1 / 255),
        origin=f"{meta['rows']} images, {meta['skipped']} left out; pixels sha256:{meta['digests']['x']}",
        frame=(3, options.side, options.side),
    )


def expected(options: Options) -> Expected:
    """From the names of the files."""
    images = _images(options.folder, stamp(options))
    train = sum(image.part == "train" for image in images)
    count, inputs = len(images), _inputs(options)
    frame = (3, options.side, options.side)
    return Expected(count, 1, inputs, len(_classes(images)), count * inputs, 0, train=train, frame=frame, groups=False)


def _inputs(options: Options) -> int:
    """Numbers of one image."""
    return 3 * options.side**2


def stamp(options: Options) -> str:
    """Changes when an image or a class is added, renamed, removed or written over."""
    folder = Path(options.folder).expanduser()
    classes = [path for part in PARTS for path in _class_folders(folder, part)]
    return hashlib.sha256("\n".join(f"{path} {stamp_of(files_below(path))}" for path in classes).encode()).hexdigest()


def fingerprint(options: Options) -> str:
    """A digest of the names and contents of all images."""
    return _digest(options.folder, _images(options.folder, stamp(options)))


# ---------------------------------------------------------------------- which images


@lru_cache(maxsize=1)
def _images(folder: str, stamp: str) -> tuple[Image, ...]:
    """All of them, by part, class and name. `stamp` is part of the key."""
    root = Path(folder).expanduser()
    images = []
    for part, subset in PARTS.items():
        for class_folder in _class_folders(root, part):
            with os.scandir(class_folder) as entries:
                files = sorted(entry.name for entry in entries if entry.is_file() and _is_image(entry.name))
            images += [Image(f"{part}/{class_folder.name}/{name}", class_folder.name, subset) for name in files]
    classes = {image.label for image in images if image.part == "train"}
    for image in images:
        if image.label not in classes:
            raise InputError(f"{folder}: val/{image.label} holds images and train/{image.label} none; give both")
    if {image.part for image in images} != set(PARTS.values()):
        raise InputError(f"{folder}: train/CLASS and val/CLASS hold no images ({', '.join(ENDINGS)}) of both parts")
    return tuple(images)


def _class_folders(root: Path, part: str) -> list[Path]:
    """The folders of the classes of one part, by name."""
    folder = root / part
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; image_folder needs train/CLASS/ and val/CLASS/ with images")
    with os.scandir(folder) as entries:
        kinds = [(entry.name, entry.is_dir()) for entry in entries]
    if not any(is_folder for _, is_folder in kinds):
        flat = "images without class folders" if any(_is_image(name) for name, _ in kinds) else "no class folders"
        raise InputError(f"{folder}: holds {flat}; each image belongs into {part}/CLASS/ (CLASS as in train)")
    return [folder / name for name in sorted(name for name, is_folder in kinds if is_folder)]


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def _classes(images: tuple[Image, ...]) -> list[str]:
    return sorted({image.label for image in images})


def _digest(folder: str, images: tuple[Image, ...]) -> str:
    root = Path(folder).expanduser()
    return digest_of_contents(root, [root / image.path for image in images])


# ---------------------------------------------------------------------- decoding


def _fill(options: Options, images: tuple[Image, ...], store: Store) -> tuple[dict[str, Any], Small]:
    """Bring the store to the last image from wherever it stands."""
    for piece, arrays in _decoded(options, images[len(store.ledger) :]):
        rows = [array.reshape(1, -1) for array in arrays if not isinstance(array, str)]
        lines = []
        for image, array in zip(piece, arrays, strict=True):
            line = {"skipped": array} if isinstance(array, str) else {"length": 1}
            lines.append({"clip": image.path} | line)
            if isinstance(array, str):
                log.warning("%s/%s: left out: %s", options.folder, image.path, array)
        store.extend(lines, x=np.stack(rows) if rows else np.empty((0, 1, _inputs(options)), np.uint8))
    kept = [image for image, line in zip(images, store.ledger, strict=True) if "length" in line]
    classes = _classes(images)
    number = {name: position for position, name in enumerate(classes)}
    small = {
        "y": np.array([number[image.label] for image in kept], np.int64),
        "subset": np.array([image.part for image in kept]),
        "classes": np.array(classes),
    }
    return {"skipped": len(images) - len(kept)}, small


def _decoded(options: Options, images: tuple[Image, ...]) -> Iterator[tuple[tuple[Image, ...], list[np.ndarray | str]]]:
    """Images with their pixels (3, side, side), or why there are none; read by one thread a core."""
    folder = Path(options.folder).expanduser()
    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(images), PIECE):
            piece = images[start : start + PIECE]
            yield piece, list(pool.map(lambda image: _read(folder / image.path, options), piece))


def _read(path: Path, options: Options) -> np.ndarray | str:
    """(3, side, side) uint8, or a reason."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    side = options.side
    try:
        with Pillow.open(path, formats=("JPEG", "PNG")) as opened:
            image = _eight_bits(ImageOps.exif_transpose(opened))  # cameras store how they were held
            cut = min(image.size) * side / (options.shorter or side)  # of the image as it is, in its own pixels
            left, top = ((length - cut) / 2 for length in image.size)
            box = (left, top, left + cut, top + cut)
            small = image.convert("RGB").resize((side, side), Pillow.Resampling.BILINEAR, box)
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:  # what Pillow raises for damage
        return " ".join(str(error).split())[:200] or type(error).__name__
    return np.asarray(small).transpose(2, 0, 1)


def _eight_bits(image: Pillow.Image) -> Pillow.Image:
    """The image with 8 bits a channel, which `convert("RGB")` takes for granted: it would cut 16 bits off at 255.

    Raises ValueError for numbers whose range the file does not say.
    """
    from PIL import Image as Pillow

    if image.mode.startswith("I;16"):
        return Pillow.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))  # 65,535 becomes 255
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode}: the range of its numbers is unknown; save it with 8 or 16 bits")
    return image
