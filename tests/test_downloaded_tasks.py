"""uci_har and mnist_rows: small archives in the official layout, downloaded and from folders."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import os
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from refusals import refusal_of

from squeezebench.cli.main import main
from squeezebench.data import task as task_module
from squeezebench.data.sources import mnist_rows, source_module, uci_har
from squeezebench.data.task import load_task, task_spec
from squeezebench.schema.record import read_record
from squeezebench.schema.task import TaskSpec

ROOT = Path(__file__).resolve().parents[1]
REAL = Path(os.environ.get("SQUEEZEBENCH_SHARED", ROOT.parent / "shared")) / "data" / "mnist"
ACTIVITIES = ("WALKING", "WALKING_UPSTAIRS", "WALKING_DOWNSTAIRS", "SITTING", "STANDING", "LAYING")


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("SQUEEZEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SQUEEZEBENCH_DATA", raising=False)
    monkeypatch.delenv("SQUEEZEBENCH_MIRROR", raising=False)
    task_module._dataset.cache_clear()  # keeps the last data set of a process


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A folder that stands for every official address; test_archives downloads from a server."""
    folder = tmp_path / "web"
    folder.mkdir()
    monkeypatch.setenv("SQUEEZEBENCH_MIRROR", str(folder))
    return folder


# ---------------------------------------------------------------------- synthetic data in the official layouts


def har_files() -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """Path below `UCI HAR Dataset` -> content, and the numbers behind it; people 1 to 3 train, 4 and 5 test."""
    files, truth = _har_files()
    return dict(files), truth


@functools.cache
def _har_files(windows: int = 12) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """Written as text once."""
    generator = np.random.default_rng(0)
    files = {"activity_labels.txt": "".join(f"{n} {a}\n" for n, a in enumerate(ACTIVITIES, 1)).encode()}
    truth = {}
    for part, people, size in (("train", (1, 2, 3), 3 * windows), ("test", (4, 5), windows)):
        x = generator.normal(size=(size, 128, 9))
        y = np.arange(size) % 6 + 1
        person = np.resize(np.repeat(people, 6), size)
        for channel, signal in enumerate(uci_har.SIGNALS):
            text = io.BytesIO()
            np.savetxt(text, x[:, :, channel], fmt="% .7e")  # the official files: blanks between, 7 decimals
            files[f"{part}/Inertial Signals/{signal}_{part}.txt"] = text.getvalue()
        files[f"{part}/y_{part}.txt"] = "".join(f"{v}\n" for v in y).encode()
        files[f"{part}/subject_{part}.txt"] = "".join(f"{v}\n" for v in person).encode()
        truth |= {f"x_{part}": x, f"y_{part}": y, f"person_{part}": person}
    return files, truth


def har_archive(files: dict[str, bytes]) -> bytes:
    """The repository's archive: a notice, and the archive of the data."""

    def packed(members: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    inner = {f"{uci_har.ROOT}/{name}": content for name, content in files.items()}
    return packed({"UCI HAR Dataset.names": b"notice", uci_har.INNER: packed(inner | {"__MACOSX/._x": b"junk"})})


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def mnist_files(train: int = 60, test: int = 20) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """File name -> packed content, and the numbers behind it."""
    generator = np.random.default_rng(0)
    truth = {}
    for stem, size in (("train", train), ("t10k", test)):
        truth[mnist_rows.IMAGES.format(stem)] = generator.integers(0, 256, (size, 28, 28))
        truth[mnist_rows.LABELS.format(stem)] = np.arange(size) % 10
    return {f"{name}.gz": gzip.compress(idx(array)) for name, array in truth.items()}, truth


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def loaded(source: str, folder: Path | None = None, **spec):
    options = {} if folder is None else {"folder": str(folder)}
    return load_task(TaskSpec(name="t", source=source, options=options, **spec))


def refusal(source: str, folder: Path | None = None) -> str:
    return refusal_of(loaded, source, folder)


# ---------------------------------------------------------------------- UCI HAR


def check_har(task, truth) -> None:
    assert (task.steps, task.inputs, task.classes) == (128, 9, tuple(name.lower() for name in ACTIVITIES))
    data, rows = task._data, task._rows
    count = len(truth["y_train"])
    assert np.allclose(data.x[:count], truth["x_train"], atol=1e-6)
    assert np.allclose(data.x[count:], truth["x_test"], atol=1e-6)
    assert np.array_equal(data.y, np.concatenate([truth["y_train"], truth["y_test"]]) - 1)
    assert np.array_equal(rows["test"], np.arange(count, len(data.y)))
    held = set(data.group[rows["validation"]])
    assert held and not held & set(data.group[rows["train"]]) and set(data.group[rows["test"]]) == {4, 5}


def test_har_is_downloaded_once_and_read_through_both_archives(web, monkeypatch):
    files, truth = har_files()
    content = har_archive(files)
    (web / uci_har.OUTER).write_bytes(content)
    monkeypatch.setattr(uci_har, "SHA256", hashlib.sha256(content).hexdigest())
    check_har(loaded("uci_har"), truth)
    (web / uci_har.OUTER).unlink()
    task_module._dataset.cache_clear()
    check_har(loaded("uci_har"), truth)  # from the prepared arrays


def test_har_reads_the_same_from_every_form_of_folder(tmp_path):
    files, truth = har_files()
    write(tmp_path / "a" / uci_har.ROOT, files)
    (tmp_path / "b").mkdir()
    archive = har_archive(files)
    (tmp_path / "b" / uci_har.OUTER).write_bytes(archive)
    (tmp_path / "c").mkdir()
    with zipfile.ZipFile(io.BytesIO(archive)) as outer:
        (tmp_path / "c" / uci_har.INNER).write_bytes(outer.read(uci_har.INNER))
    tasks = [
        loaded("uci_har", tmp_path / place)
        for place in ("a", f"a/{uci_har.ROOT}", "b", f"b/{uci_har.OUTER}", "c", f"c/{uci_har.INNER}")
    ]
    for task in tasks:
        check_har(task, truth)
    assert len({task.origin for task in tasks}) == 1 == len({task.split_digest for task in tasks})


def test_har_leaves_out_one_person_at_a_time(tmp_path):
    folder = write(tmp_path / uci_har.ROOT, har_files()[0])
    for fold, person in enumerate((1, 2, 3, 4, 5)):
        task = loaded("uci_har", folder, split="leave_one_group_out", fold=fold)
        assert set(task._data.group[task._rows["test"]]) == {person}


def test_har_with_another_checksum_is_refused(web):
    (web / uci_har.OUTER).write_bytes(har_archive(har_files()[0]))
    message = refusal("uci_har")  # the pinned digest is that of the real archive
    assert "not what is expected" in message and uci_har.SHA256 in message


def damaged(change):
    """A folder whose files went through `change`."""

    def make(tmp_path: Path) -> Path:
        files, _ = har_files()
        change(files)
        return write(tmp_path / uci_har.ROOT, files)

    return make


def cut_archive(tmp_path: Path) -> Path:
    (tmp_path / uci_har.OUTER).write_bytes(har_archive(har_files()[0])[:-200])
    return tmp_path


def archive_without(tmp_path: Path) -> Path:
    files, _ = har_files()
    del files["test/subject_test.txt"]
    (tmp_path / uci_har.OUTER).write_bytes(har_archive(files))
    return tmp_path


SIGNAL = "train/Inertial Signals/body_gyro_y_train.txt"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (cut_archive, "truncated or damaged archive"),
        (archive_without, "UCI HAR Dataset/test/subject_test.txt: cannot be read (it is not there)"),
        (lambda tmp_path: tmp_path, "there is no train folder"),
        (lambda tmp_path: tmp_path / "nowhere", "no such folder"),
        (damaged(lambda f: f.pop("train/y_train.txt")), "y_train.txt: cannot be read (No such file or directory)"),
        (damaged(lambda f: f.update({SIGNAL: b"1 2 3\n" * 36})), "has 3 numbers in a row; it must have 128"),
        (damaged(lambda f: f.update({SIGNAL: f[SIGNAL].split(b"\n", 1)[1]})), "has 35 windows, y_train.txt 36 labels"),
        (damaged(lambda f: f.update({SIGNAL: f[SIGNAL][:-30]})), "body_gyro_y_train.txt"),
        (damaged(lambda f: f.update({SIGNAL: b"\n"})), "body_gyro_y_train.txt is empty"),
        (damaged(lambda f: f.update({"test/subject_test.txt": b"4\n"})), "subject_test.txt has 1 rows"),
        (damaged(lambda f: f.update({"test/y_test.txt": b"7\n" * 12})), "label 7; 1..6 are known"),
        (damaged(lambda f: f.update({"activity_labels.txt": b"WALKING\n"})), "lines `1 WALKING`"),
    ],
)
def test_har_that_is_damaged_is_refused_in_one_line(make, words, tmp_path):
    assert words in refusal("uci_har", make(tmp_path))


# ---------------------------------------------------------------------- MNIST


def check_mnist(task, truth) -> None:
    assert (task.steps, task.inputs, len(task.classes)) == (28, 28, 10)
    images = [truth[mnist_rows.IMAGES.format(stem)] for stem in mnist_rows.PARTS]
    labels = [truth[mnist_rows.LABELS.format(stem)] for stem in mnist_rows.PARTS]
    assert np.array_equal(task._data.x, np.concatenate(images)) and task._data.x.dtype == np.uint8
    assert np.array_equal(task._data.y, np.concatenate(labels))
    assert task.size("test") == len(labels[1])


def test_mnist_is_downloaded_from_the_second_mirror_where_the_first_is_gone(monkeypatch, tmp_path):
    files, truth = mnist_files()
    write(tmp_path / "second", files)
    monkeypatch.setattr(mnist_rows, "MIRRORS", [f"{(tmp_path / name).as_uri()}/" for name in ("first", "second")])
    digests = {name.removesuffix(".gz"): hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(mnist_rows, "MD5", digests)
    check_mnist(loaded("mnist_rows"), truth)


def test_mnist_with_another_checksum_is_refused(web):
    write(web, mnist_files()[0])
    assert "not what is expected (md5:f68b3c2dcbeaaa9fbdd348bbdeb94873)" in refusal("mnist_rows")


def test_mnist_reads_packed_and_unpacked_files(tmp_path):
    files, truth = mnist_files()
    packed = loaded("mnist_rows", write(tmp_path / "packed", files))
    plain = {name.removesuffix(".gz"): gzip.decompress(content) for name, content in files.items()}
    unpacked = loaded("mnist_rows", write(tmp_path / "unpacked", plain))
    check_mnist(packed, truth)
    check_mnist(unpacked, truth)
    assert packed.origin == unpacked.origin


IMAGES = "train-images-idx3-ubyte.gz"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({IMAGES: None}, "there is no train-images-idx3-ubyte.gz"),
        ({IMAGES: mnist_files()[0][IMAGES][:-40]}, "truncated or damaged"),
        ({IMAGES: b"no gzip"}, "truncated or damaged (Not a gzipped file"),
        ({IMAGES: gzip.compress(idx(np.zeros((60, 14, 14))))}, "images of shape (14, 14); mnist_rows needs 28 x 28"),
        ({IMAGES: gzip.compress(idx(np.zeros((59, 28, 28))))}, "59 images and 60 labels"),
        ({IMAGES: gzip.compress(idx(np.zeros(60)))}, "not an idx file of bytes with 3 axes (magic number 00000801)"),
        ({IMAGES: gzip.compress(idx(np.zeros((60, 28, 28)))[:-5])}, "where its header promises 47040"),
        ({IMAGES: gzip.compress(b"")}, "magic number none"),
        ({"t10k-labels-idx1-ubyte.gz": gzip.compress(idx(np.full(20, 11)))}, "outside the 10 classes"),
    ],
)
def test_mnist_that_is_damaged_is_refused_in_one_line(changed, words, tmp_path):
    files = {name: content for name, content in (mnist_files()[0] | changed).items() if content is not None}
    assert words in refusal("mnist_rows", write(tmp_path, files))


def test_mnist_in_a_folder_that_is_not_there_is_refused(tmp_path):
    assert "no such folder" in refusal("mnist_rows", tmp_path / "nowhere")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real MNIST files are not at {REAL}")
def test_the_real_mnist():
    task = loaded("mnist_rows", REAL)
    assert (task.size("test"), task.size("train") + task.size("validation")) == (10_000, 60_000)
    assert np.bincount(task.labels("test")).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert task._data.x[0].sum() == 27525  # the first image, a five: the sum everybody gets


# ---------------------------------------------------------------------- as tasks of the suite


@pytest.mark.parametrize("source", ["uci_har", "mnist_rows"])
def test_what_is_expected_is_what_comes(source, tmp_path):
    """Of a small MNIST folder the headers tell; the official sizes are the ones in the papers."""
    module = source_module(source)
    official = module.expected(module.Options())
    assert (official.sequences, official.train) == {"uci_har": (10299, 7352), "mnist_rows": (70000, 60000)}[source]
    write(tmp_path, mnist_files()[0] if source == "mnist_rows" else har_files()[0])
    found = module.expected(module.Options(folder=str(tmp_path)))
    task = loaded(source, tmp_path)
    assert (found.steps, found.inputs, found.classes) == (task.steps, task.inputs, len(task.classes))
    assert found.download_bytes == found.disk_bytes == 0 < official.download_bytes
    if source == "mnist_rows":
        assert (found.sequences, found.train) == (80, 60)


def test_a_run_on_a_folder_of_each(tmp_path, capsys):
    har = write(tmp_path / uci_har.ROOT, har_files()[0])
    mnist = write(tmp_path / "mnist", mnist_files()[0])
    for task in (f"uci_har:{har}", f"mnist_rows:{mnist}"):
        out = tmp_path / "out" / task_spec(task).name
        status = main(
            ["run", "--task", task, "--method", "dense", "--set", "hidden=4", "--train", "epochs=1", "--out", str(out)]
        )
        assert status == 0, capsys.readouterr().err
        assert read_record(out / "record.json").status == "ok"
    assert task_spec(f"mnist_rows:{mnist}").name == "mnist" and task_spec(f"uci_har:{har}").name == "UCI-HAR-Dataset"


def test_a_folder_that_changed_is_read_again_and_planned_anew(tmp_path):
    from squeezebench.pipeline.planner import fingerprint

    folder = write(tmp_path / "mnist", mnist_files()[0])
    spec = task_spec(f"mnist_rows:{folder}")
    before, first = fingerprint(spec), load_task(spec).origin
    shutil.rmtree(folder)
    write(folder, mnist_files(train=70)[0])
    assert fingerprint(spec) != before and load_task(spec).origin != first
