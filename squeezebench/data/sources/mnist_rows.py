"""MNIST image by image row: 28 steps of 28 pixels, 10 classes, 60,000 train and 10,000 test; downloads 11.6 MB.

Downloaded on first use, or read from `folder`, where the four files lie under their usual names, packed (.gz) or
not; any other set in that form (Fashion-MNIST, KMNIST) reads as well. Pixels are 0..255; the official split.
Sources: LeCun, Bottou, Bengio and Haffner (1998), Gradient-Based Learning Applied to Document Recognition,
Proceedings of the IEEE 86, http://yann.lecun.com/exdb/mnist/ (format and file names). Mirrors and MD5 sums of the
packed files are those of torchvision.datasets.MNIST, https://github.com/pytorch/vision/blob/main/torchvision/datasets/mnist.py,
the second mirror and the sizes those of Google's copy, https://storage.googleapis.com/cvdf-datasets/mnist/.

Licence: none is stated; cite LeCun et al. (1998).

Leak: the writers of the training and of the test part are different people. The validation part is cut at random, so
that its writers are in training too: its accuracy may be above that of the test part.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from squeezebench.base.errors import InputError, first_line
from squeezebench.base.files import stamp_of
from squeezebench.data.dataset import Dataset, Expected

DEFAULT_SPLIT = "official"
MAIN_OPTION = "folder"

MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
PARTS = {"train": "train", "t10k": "test"}  # how file names begin -> part
IMAGES, LABELS = "{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"
MD5 = {  # of the packed files
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
DOWNLOAD_BYTES = 9_912_422 + 28_881 + 1_648_877 + 4_542
SIDE = 28
MAGIC = {1: 0x0801, 3: 0x0803}  # unsigned bytes, so many axes


class Options(BaseModel):
    """Where the four files are."""

    model_config = ConfigDict(extra="forbid")
    folder: str | None = Field(default=None, min_length=1, description="with the four idx files; null: download")


def load(options: Options) -> Dataset:
    """x (70000, 28, 28) uint8, rows from top to bottom."""
    folder = _downloaded() if options.folder is None else Path(options.folder).expanduser()
    x, y, subset, digests = [], [], [], []
    for stem, part in PARTS.items():
        images, of_images = _read(folder, IMAGES.format(stem), (SIDE, SIDE))
        labels, of_labels = _read(folder, LABELS.format(stem), ())
        if len(images) != len(labels):
            raise InputError(f"{folder}: {stem} has {len(images)} images and {len(labels)} labels; one label each")
        x, y = [*x, images], [*y, labels]
        subset += [part] * len(images)
        digests += [of_images, of_labels]
    return Dataset(
        name="mnist_rows" if options.folder is None else options.folder,
        x=np.concatenate(x),
        y=np.concatenate(y).astype(np.int64),
        classes=tuple(str(digit) for digit in range(10)),
        subset=np.array(subset),
        origin="idx files " + "; ".join(digests),
    )


def expected(options: Options) -> Expected:
    """The official sizes; those of a folder come from its files' headers."""
    kept = DOWNLOAD_BYTES if options.folder is None else 0
    sizes = [60_000, 10_000]
    if options.folder is not None:
        folder = Path(options.folder).expanduser()
        sizes = [_header(folder, IMAGES.format(stem), (SIDE, SIDE)) for stem in PARTS]
    return Expected(sum(sizes), SIDE, SIDE, 10, disk_bytes=0, download_bytes=kept, train=sizes[0], groups=False)


def stamp(options: Options) -> str:
    """Changes whenever one of the folder's files is written."""
    if options.folder is None:
        return ""
    return stamp_of(_find(Path(options.folder).expanduser(), name) for name in MD5)


def _downloaded() -> Path:
    from squeezebench.base.places import data_folder
    from squeezebench.data.download import fetch

    folder = data_folder() / "mnist"
    for name, digest in MD5.items():
        for place, mirror in enumerate(MIRRORS):
            try:
                fetch(f"{mirror}{name}.gz", folder / f"{name}.gz", f"md5:{digest}")
                break
            except InputError:
                if place == len(MIRRORS) - 1:
                    raise
    return folder


def _find(folder: Path, name: str) -> Path:
    """The packed file, else the one that is not."""
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    reason = "no such folder" if not folder.is_dir() else f"there is no {name}.gz (nor {name})"
    raise InputError(f"{folder}: {reason}; the four idx files of MNIST are needed")


def _content(path: Path, size: int = -1) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(size)
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise InputError(f"{path}: truncated or damaged ({first_line(error)}); fetch it again") from None


def _shape(path: Path, head: bytes, image: tuple[int, ...]) -> tuple[int, ...]:
    """The shape an idx header tells: a magic number, then 4 bytes for each axis, big-endian."""
    axes = 1 + len(image)
    size = 4 + 4 * axes
    if len(head) < size or struct.unpack(">I", head[:4])[0] != MAGIC[axes]:
        raise InputError(f"{path}: not an idx file of bytes with {axes} axes (magic number {head[:4].hex() or 'none'})")
    shape = struct.unpack(f">{axes}I", head[4:size])
    if shape[1:] != image:
        raise InputError(f"{path}: images of shape {shape[1:]}; mnist_rows needs {SIDE} x {SIDE} pixels")
    return shape


def _header(folder: Path, name: str, image: tuple[int, ...]) -> int:
    path = _find(folder, name)
    return _shape(path, _content(path, 4 + 4 * (1 + len(image))), image)[0]


def _read(folder: Path, name: str, image: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """(uint8 array, name and digest of the unpacked content)."""
    path = _find(folder, name)
    content = _content(path)
    shape = _shape(path, content, image)
    start, wanted = 4 + 4 * len(shape), int(np.prod(shape))
    if len(content) - start != wanted:
        raise InputError(f"{path}: {len(content) - start} bytes of data where its header promises {wanted}: truncated?")
    array = np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    return array, f"{name} sha256:{hashlib.sha256(content).hexdigest()}"
