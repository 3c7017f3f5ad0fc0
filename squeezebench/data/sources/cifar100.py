"""CIFAR-100: colour images of 32 x 32 pixels, 100 classes, 50,000 train and 10,000 test; downloads 169 MB.

The classes are the fine labels. Files, split and form as of `cifar10`. Source: Krizhevsky (2009), Learning Multiple
Layers of Features from Tiny Images, University of Toronto, https://www.cs.toronto.edu/~kriz/cifar.html (format); the
checksum is the one that page gives for the binary version.

Licence: none is stated; cite Krizhevsky (2009).

Leak: 10 % of the test images have a near-duplicate among the training images (Barz and Denzler 2020, J. Imaging 6).
"""

from __future__ import annotations

from functools import partial

from squeezebench.data import cifar

DEFAULT_SPLIT = "official"
MAIN_OPTION = "folder"
Options = cifar.Options

FACTS = cifar.Cifar(
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
load = partial(cifar.load, FACTS)
expected = partial(cifar.expected, FACTS)
stamp = partial(cifar.stamp, FACTS)
