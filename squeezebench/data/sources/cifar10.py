"""CIFAR-10: colour images of 32 x 32 pixels, 10 classes, 50,000 train and 10,000 test; downloads 170 MB.

The binary version, downloaded on first use or read from `folder` (the unpacked folder, or the .tar.gz itself); the
published split, of whose training part the engine cuts the validation part. Pixels are brought into one file that runs
map. `normalise: channel` is the usual normalisation, and `training: {augment: {shift: 4, flip: true}}` the usual
augmentation. Source: Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images, University of Toronto,
https://www.cs.toronto.edu/~kriz/cifar.html (format, checksum).

Licence: none is stated; cite Krizhevsky (2009).

Leak: 3.3 % of the test images have a near-duplicate among the training images (Barz and Denzler 2020, J. Imaging 6).
"""

from __future__ import annotations

from functools import partial

from squeezebench.data import cifar

DEFAULT_SPLIT = "official"
MAIN_OPTION = "folder"
Options = cifar.Options

FACTS = cifar.Cifar(
    name="cifar10",
    archive="cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    size=170_052_171,
    folder="cifar-10-batches-bin",
    files={"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
    names="batches.meta.txt",
    classes=10,
    labels=1,
)
load = partial(cifar.load, FACTS)
expected = partial(cifar.expected, FACTS)
stamp = partial(cifar.stamp, FACTS)
