"""CIFAR-100: colour images of 32 x 32 pixels, 100 classes, 50,000 train and 10,000 test; downloads 169 MB.

The classes are the fine labels. Files, split and form as of `cifar10`. Source: Krizhevsky (2009), Learning Multiple
Layers of Features from Tiny Images, University of Toronto, https://www.cs.toronto.edu/~kriz/cifar.html (format); the
checksum is the one that page gives for the binary version.
"""

from __future__ import annotations

from squeezebench.data import cifar as _cifar
from squeezebench.data.dataset import Dataset, Expected

DEFAULT_SPLIT = "official"
MAIN_OPTION = "folder"
Options = _cifar.Options

FACTS = _cifar.Cifar(
    name="cifar100",
    archive="cifar-100-binary.tar.gz",
    md5="03b5dce01913d631647c71ecec9e9cb8",
    size=168_513_733,
    folder="cifar-100-binary",
    files={"train": ("train.bin",), "test": ("test.bin",)},
    names="fine_label_names.txt",
    classes=100,
    labels=2,
)


def load(options: Options) -> Dataset:
    """x (60000, 1, 3072) uint8, mapped."""
    return _cifar.load(FACTS, options)


def expected(options: Options) -> Expected:
    """The published sizes, or those of a folder."""
    return _cifar.expected(FACTS, options)


def stamp(options: Options) -> str:
    """Changes whenever one of the user's files is written."""
    return _cifar.stamp(FACTS, options)
