"""cifar10, cifar100, image_folder: synthetic files in the published forms, and one line for what is wrong with them."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusals import refusal_of

from squeezebench.base.errors import InputError
from squeezebench.data import cifar
from squeezebench.data import store as store_module
from squeezebench.data import task as task_module
from squeezebench.data.sources import cifar10, cifar100, image_folder, source_module
from squeezebench.data.task import Task, load_task, task_spec
from squeezebench.pipeline.planner import fingerprint
from squeezebench.schema.task import TaskSpec

SETS = {"cifar10": cifar10.FACTS, "cifar100": cifar100.FACTS}


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("SQUEEZEBENCH_DATA", str(tmp_path / "data"))
    task_module._dataset.cache_clear()  # keeps the last data set of a process


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def loaded(source: str, folder: Path, **options) -> Task:
    return load_task(TaskSpec(name="t", source=source, options={"folder": str(folder)} | options))


def refusal(source: str, folder: Path, **options) -> str:
    return refusal_of(loaded, source, folder, **options)


# ---------------------------------------------------------------------- CIFAR


def cifar_files(source: str, per_file: int = 220) -> tuple[dict[str, bytes], np.ndarray, np.ndarray]:
    """File name -> content, and the images (N, 3, 32, 32) and classes in them, part after part."""
    facts, rng = SETS[source], np.random.default_rng(1)
    files, images, labels = {facts.names: "".join(f"c{n}\n" for n in range(facts.classes)).encode()}, [], []
    for name in (name for names in facts.files.values() for name in names):
        x = rng.integers(0, 256, (per_file, 3, 32, 32), dtype=np.uint8)
        y = np.arange(per_file, dtype=np.uint8) % facts.classes
        before = [y // 5] if facts.labels == 2 else []
        files[name] = np.concatenate([np.stack([*before, y], 1), x.reshape(per_file, -1)], 1).tobytes()
        images, labels = [*images, x], [*labels, y]
    return files, np.concatenate(images), np.concatenate(labels)


def packed(source: str, files: dict[str, bytes]) -> bytes:
    """The archive as it is published."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{SETS[source].folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def check(task: Task, source: str, images: np.ndarray, labels: np.ndarray, test: int = 220) -> None:
    assert (task.kind, task.frame, task.steps) == ("image", (3, 32, 32), 1)
    assert isinstance(task._data.x, np.memmap) and not task._data.x.flags.writeable
    assert np.array_equal(task._data.x.reshape(images.shape), images) and np.array_equal(task._data.y, labels)
    assert task.classes == tuple(f"c{n}" for n in range(SETS[source].classes))
    assert task.size("test") == test and set(task._rows["test"]) == set(range(len(labels) - test, len(labels)))
    assert task.size("train") + task.size("validation") == len(labels) - test and task.size("validation") > 0


@pytest.mark.parametrize("source", SETS)
def test_cifar_reads_the_same_from_every_form(source, tmp_path):
    files, images, labels = cifar_files(source)
    facts = SETS[source]
    write(tmp_path / "a" / facts.folder, files)
    write(tmp_path / "b", {facts.archive: packed(source, files)})
    forms = [tmp_path / "a", tmp_path / "a" / facts.folder, tmp_path / "b", tmp_path / "b" / facts.archive]
    tasks = [loaded(source, form) for form in forms]
    for task in tasks:
        check(task, source, images, labels)
    assert len({task.origin for task in tasks}) == 1 == len({task.split_digest for task in tasks})
    expected = source_module(source).expected(source_module(source).Options(folder=str(forms[2])))
    assert (expected.sequences, expected.train) == (len(labels), len(labels) - 220)
    assert (expected.steps, expected.inputs, expected.frame) == (1, 3072, (3, 32, 32))


@pytest.mark.parametrize(("source", "bytes_"), [("cifar10", 170_052_171), ("cifar100", 168_513_733)])
def test_cifar_is_downloaded_once_and_checked(source, bytes_, tmp_path, monkeypatch):
    module, facts = source_module(source), SETS[source]
    official = module.expected(module.Options())
    assert (official.sequences, official.train, official.download_bytes) == (60_000, 50_000, bytes_)
    files, images, labels = cifar_files(source)
    content = packed(source, files)
    write(tmp_path / "web", {facts.archive: content})
    monkeypatch.setenv("SQUEEZEBENCH_MIRROR", str(tmp_path / "web"))
    with pytest.raises(InputError, match=f"not what is expected .md5:{facts.md5}"):
        load_task(task_spec(source))
    own = facts.__class__(**vars(facts) | {"md5": hashlib.md5(content).hexdigest()})
    monkeypatch.setattr(module, "load", partial(cifar.load, own))
    check(load_task(task_spec(source)), source, images, labels)
    (tmp_path / "web" / facts.archive).unlink()
    task_module._dataset.cache_clear()
    check(load_task(task_spec(source)), source, images, labels)


def test_cifar_is_brought_into_one_file_once_and_goes_on_after_a_kill(tmp_path, monkeypatch):
    files, images, labels = cifar_files("cifar10", 1300)
    folder, extend, calls = write(tmp_path / "c", files), store_module.Store.extend, []

    def killed(self, lines, **values):
        calls.append(len(lines))
        if len(calls) == 4:
            raise KeyboardInterrupt
        extend(self, lines, **values)

    monkeypatch.setattr(store_module.Store, "extend", killed)
    with pytest.raises(KeyboardInterrupt):
        loaded("cifar10", folder)
    check(loaded("cifar10", folder), "cifar10", images, labels, 1300)
    assert sum(calls) - calls[3] == 6 * 1300  # nothing was written twice
    written = len(calls)
    task_module._dataset.cache_clear()
    check(loaded("cifar10", folder), "cifar10", images, labels, 1300)
    assert len(calls) == written
    more, images, labels = cifar_files("cifar10", 1310)
    write(folder, more)  # another content under the same names
    check(loaded("cifar10", folder), "cifar10", images, labels, 1310)


def test_made_up_images_are_learnable_and_the_same_everywhere(tmp_path, monkeypatch):
    for source, facts in SETS.items():
        task = load_task(TaskSpec(name=source, options={"synthetic": 5}))
        assert task.size("test") == facts.classes and len(task.classes) == facts.classes
        expected = source_module(source).expected(source_module(source).Options(synthetic=5))
        assert (expected.sequences, expected.download_bytes) == (5 * facts.classes, 0)
        x, test = (task.batch(part, np.arange(task.size(part))) for part in ("train", "test"))
        means = np.stack([x.x[x.y == c].mean((0, 1)) for c in range(facts.classes)])
        nearest = ((test.x[:, 0, None] - means) ** 2).sum(-1).argmin(1)
        assert (nearest == test.y).mean() > 0.9
        monkeypatch.setenv("SQUEEZEBENCH_DATA", str(tmp_path / f"another {source}"))
        task_module._dataset.cache_clear()
        assert load_task(TaskSpec(name=source, options={"synthetic": 5})).origin == task.origin


def changed(name: str, change):
    def make(tmp_path: Path) -> Path:
        files = cifar_files("cifar10", 20)[0]
        files[name] = change(files[name])
        return write(tmp_path / "c", {k: v for k, v in files.items() if v is not None})

    return make


def cut_archive(tmp_path: Path) -> Path:
    content = packed("cifar10", cifar_files("cifar10", 20)[0])
    return write(tmp_path, {SETS["cifar10"].archive: content[: len(content) // 2]})


BATCH = "data_batch_3.bin"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path / "nowhere", "no such file or folder; cifar10 needs its binary version"),
        (lambda path: path, "there is no test_batch.bin in it"),
        (changed(BATCH, lambda _: None), "there is no data_batch_3.bin; it has: batches.meta.txt, data_batch_1.bin"),
        (changed(BATCH, lambda c: c[:-1]), "data_batch_3.bin has 61,459 bytes; records of 3,073 bytes are needed"),
        (changed(BATCH, lambda c: b""), "data_batch_3.bin has 0 bytes"),
        (changed(BATCH, lambda c: c[:3073] + b"\x0b" + c[3074:]), "record 1 has label 11; 0..9 are known"),
        (changed("batches.meta.txt", lambda c: b"cat\ndog\n"), "batches.meta.txt has 2 names; 10 are needed"),
        (cut_archive, "truncated, damaged or no tar archive"),
        (lambda path: write(path, {"x.tar.gz": gzip.compress(b"none")}) / "x.tar.gz", "no tar archive"),
        (lambda path: write(path, {"data_batch_1": b"\x80\x03"}) / "data_batch_1", "no tar archive"),
    ],
)
def test_cifar_that_is_damaged_is_refused_in_one_line(make, words, tmp_path):
    assert words in refusal("cifar10", make(tmp_path))


def test_a_data_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(store_module, "locked", refuse)
    folder = write(tmp_path / "c", cifar_files("cifar10", 20)[0])
    assert "Permission denied; prepared images are kept below $SQUEEZEBENCH_DATA" in refusal("cifar10", folder)


# ---------------------------------------------------------------------- folders of images

SIDE = 8


def jpeg(rng, size: tuple[int, int], colour: int, form: str = "JPEG", mode: str = "RGB") -> bytes:
    """An image of about one colour."""
    pixels = np.clip(colour + rng.normal(0, 3, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, form)
    return buffer.getvalue()


@cache
def image_files() -> dict[str, bytes]:
    """Three classes of different brightness, sizes and forms; one that is damaged, and files that are no images."""
    rng = np.random.default_rng(0)
    files = {"train/dark/notes.txt": b"none", "train/dark/.hidden.jpg": b"none"}
    for part, count in (("train", 10), ("val", 4)):
        for colour, name in ((40, "dark"), (120, "grey"), (220, "light")):
            for number in range(count):
                form, ending = (("JPEG", "JPEG"), ("PNG", "png"), ("JPEG", "jpg"))[number % 3]
                mode = ("RGB", "L")[number % 4 == 3]
                size = (int(rng.integers(8, 40)), int(rng.integers(8, 40)))
                files[f"{part}/{name}/{number}.{ending}"] = jpeg(rng, size, colour, form, mode)
    files["train/grey/2.jpg"] = files["train/grey/2.jpg"][:200]
    return files


def test_a_folder_of_images_is_prepared_once_and_mapped(tmp_path, caplog):
    folder = write(tmp_path / "i", image_files())
    task = loaded("image_folder", folder, side=SIDE)
    assert (task.kind, task.frame, task.classes) == ("image", (3, SIDE, SIDE), ("dark", "grey", "light"))
    assert (task.size("test"), task.size("train") + task.size("validation")) == (12, 29)
    assert isinstance(task._data.x, np.memmap) and "41 images, 1 left out" in task.origin
    assert "train/grey/2.jpg: left out" in caplog.text
    means = task._data.x.mean((1, 2))
    assert np.abs(means - np.array([40, 120, 220])[task._data.y]).max() < 6
    expected = image_folder.expected(image_folder.Options(folder=str(folder), side=SIDE))
    assert (expected.sequences, expected.train, expected.inputs) == (42, 30, 3 * SIDE**2)
    before, first = fingerprint(task_spec(f"image_folder:{folder}")), task.origin
    (folder / "val/dark/0.JPEG").rename(folder / "val/light/9.JPEG")
    assert fingerprint(task_spec(f"image_folder:{folder}")) != before
    again = loaded("image_folder", folder, side=SIDE)
    assert again.origin != first and np.bincount(again.labels("test")).tolist() == [3, 4, 5]


def test_the_middle_is_cut_from_the_resized_image(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255  # a white middle square
    wide[5:15, 25:35] = (255, 0, 0)  # and a red one in it
    buffer = io.BytesIO()
    Image.fromarray(wide).save(buffer, "PNG")
    files = {f"{part}/{name}/{n}.png": buffer.getvalue() for part in ("train", "val") for name in "ab" for n in (1, 2)}
    folder = write(tmp_path / "i", files)
    whole = loaded("image_folder", folder, side=20)._data.x[0].reshape(3, 20, 20)
    assert np.array_equal(whole, wide[:, 20:40].transpose(2, 0, 1))
    middle = loaded("image_folder", folder, side=10, shorter=20)._data.x[0].reshape(3, 10, 10)
    assert np.array_equal(middle, wide[5:15, 25:35].transpose(2, 0, 1))


def without(*names: str) -> dict[str, bytes]:
    return {name: content for name, content in image_files().items() if not name.startswith(names)}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "train: no such folder; image_folder needs train/CLASS/ and val/CLASS/"),
        (without("val/"), "val: no such folder"),
        (without("val/") | {"val/1.JPEG": b""}, "val: holds images without class folders; each image belongs into"),
        (without("val/") | {"val/readme": b""}, "val: holds no class folders"),
        (without("train/light"), "val/light holds images and train/light none"),
        (without("val/") | {"val/dark/readme": b""}, "hold no images (.jpeg, .jpg, .png) of both parts"),
    ],
)
def test_a_folder_of_another_form_is_refused_in_one_line(files, words, tmp_path):
    assert words in refusal("image_folder", write(tmp_path / "i", files), side=SIDE)


def test_a_crop_larger_than_the_image_is_refused(tmp_path):
    assert "shorter is 10; it must be at least side, 20" in refusal("image_folder", tmp_path, side=20, shorter=10)
