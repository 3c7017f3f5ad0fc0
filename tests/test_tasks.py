"""Tasks: the embedded data sets, batches, normalisation, frame choice, caches, discovery of sources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from refusals import refusal_of

from squeezebench.base.errors import InputError
from squeezebench.data.cache import cached_arrays
from squeezebench.data.frames import choose_steps
from squeezebench.data.sources import available
from squeezebench.data.sources import file as file_source
from squeezebench.data.task import PARTS, load_task, task_spec
from squeezebench.schema.task import TaskSpec

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("SQUEEZEBENCH_SHARED", ROOT.parent / "shared"))
UCF = SHARED / "data" / "ucf101_vgg16_14classes.npz"

EMBEDDED = {
    "digits": (8, 8, 10, (1797,), False),
    "basic_motions": (6, 100, 4, (40, 40), False),
    "japanese_vowels": (12, 29, 9, (270, 370), True),
    "spoken_digits": (320, 16, 10, (3000,), True),
}


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    """Prepared arrays of this test run only: an older cache must not hide a mistake."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SQUEEZEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def folder(tmp_path):
    """A synthetic folder task: (60, 12, 4) float32 with lengths 2..12 and three classes."""
    generator = np.random.default_rng(0)
    n = 60
    arrays = {
        "x": (generator.normal(size=(n, 12, 4)) * [1, 10, 0.1, 0] + [0, 5, 100, 7]).astype("f4"),
        "y": np.arange(n) % 3,
        "subset": np.where(np.arange(n) % 4 == 3, 2, 1),
        "length": np.arange(n) % 11 + 2,
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path, arrays


def load(path, cache_bytes=1 << 30, seed=0, **spec):
    return load_task(TaskSpec(name="mine", source="file", options={"path": str(path)}, **spec), seed, cache_bytes)


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_task(name):
    inputs, steps, classes, sizes, has_lengths = EMBEDDED[name]
    task = load_task(TaskSpec(name=name))
    assert (task.inputs, task.steps, len(task.classes), task.has_lengths) == (inputs, steps, classes, has_lengths)
    assert task.kind == "sequence" and task.origin and len(task.split_digest) == 64
    assert sum(task.size(part) for part in PARTS) == sum(sizes)
    if len(sizes) == 2:
        assert task.size("test") == sizes[1]
    for part in PARTS:
        batch = task.batch(part, np.arange(task.size(part)))
        assert batch.x.dtype == np.float32 and batch.x.flags.c_contiguous
        assert batch.x.shape == (task.size(part), steps, inputs) and np.isfinite(batch.x).all()
        assert batch.y.dtype == np.int64 and np.array_equal(batch.y, task.labels(part))
        assert set(batch.y.tolist()) == set(range(classes))
        assert (batch.length is not None) == has_lengths


def test_digits_are_the_rows_of_the_image():
    from sklearn.datasets import load_digits

    task = load_task(TaskSpec(name="digits", normalise="none"))
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    for part in PARTS:
        rows = task._rows[part]
        batch = task.batch(part, np.arange(task.size(part)))
        assert np.array_equal(batch.x, images[rows]) and np.array_equal(batch.y, labels[rows])


@pytest.mark.parametrize("name", ["japanese_vowels", "basic_motions"])
def test_aeon_sets_keep_order_axis_and_exact_lengths(name):
    import aeon.datasets

    x, y = getattr(aeon.datasets, f"load_{name}")(split="test")
    task = load_task(TaskSpec(name=name, normalise="none"))
    batch = task.batch("test", np.arange(task.size("test")))
    assert [task.classes[label] for label in batch.y] == list(y)
    for row, sequence in enumerate(x):
        steps = sequence.shape[1]
        assert np.array_equal(batch.x[row, :steps], sequence.T.astype("f4"))
        assert not batch.x[row, steps:].any()
        assert batch.length is None or batch.length[row] == steps
    if name == "japanese_vowels":
        assert (batch.length.min(), batch.length.max()) == (7, 29)


def test_validation_rotates_with_the_seed_and_test_stays():
    tasks = [load_task(TaskSpec(name="digits"), seed) for seed in (0, 0, 1)]
    assert tasks[0].split_digest == tasks[1].split_digest != tasks[2].split_digest
    assert np.array_equal(tasks[0]._rows["test"], tasks[2]._rows["test"])


def test_statistics_come_from_the_training_parts_valid_steps(folder):
    path, arrays = folder
    task = load(path)
    rows = task._rows["train"]
    valid = np.arange(12) < arrays["length"][rows][:, None]
    raw = arrays["x"][rows][valid].astype("f8")
    batch = task.batch("train", np.arange(len(rows)))
    got = batch.x[np.arange(12) < batch.length[:, None]]
    assert np.allclose(got[:, :3], ((raw - raw.mean(0)) / np.maximum(raw.std(0), 1e-30))[:, :3], atol=2e-4)
    assert not got[:, 3].any()  # a constant feature is centred, not divided by 0
    assert not batch.x[np.arange(12) >= batch.length[:, None]].any()
    overall = load(path, normalise="std").batch("train", np.arange(len(rows))).x
    assert np.allclose(overall[np.arange(12) < batch.length[:, None]], raw / raw.std(), rtol=1e-5)


@pytest.mark.parametrize("normalise", ["none", "std", "standard"])
@pytest.mark.parametrize("choice", [{}, {"frames": 5}, {"frames": 5, "sampling": "random"}])
def test_a_map_larger_than_the_limit_gives_the_same_batches(folder, normalise, choice):
    path, _ = folder
    small = load(path, cache_bytes=0, normalise=normalise, **choice)
    large = load(path, normalise=normalise, **choice)
    for part in PARTS:
        order = np.random.default_rng(1).permutation(small.size(part))
        for generator in (None, 7):
            one, other = (
                task.batch(part, order, None if generator is None else np.random.default_rng(generator))
                for task in (small, large)
            )
            assert np.array_equal(one.x, other.x) and np.array_equal(one.length, other.length)
    assert isinstance(small._data.x, np.memmap)
    assert not small._cache and set(large._cache) == set(PARTS)


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_batches_are_contiguous_whatever_the_order_of_the_file(folder, cache_bytes):
    path, arrays = folder
    rows = load(path).batch("train", [0, 1]).x
    np.save(path / "x.npy", np.asfortranarray(arrays["x"].astype(">f4")))
    batch = load(path, cache_bytes).batch("train", [0, 1])
    assert batch.x.flags.c_contiguous and batch.x.dtype == np.dtype("f4") and np.array_equal(batch.x, rows)


def test_features_larger_than_the_limit_are_not_materialised(tmp_path):
    """256 MiB of features in a sparse file: the process grows by a small part of that."""
    n, steps, inputs = 64, 16, 65536
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "f4", (n, steps, inputs)).flush()
    np.save(tmp_path / "y.npy", np.arange(n) % 2)
    program = f"""
import resource, numpy as np
from squeezebench.data.task import load_task
from squeezebench.schema.task import TaskSpec
load_task(TaskSpec(name="digits"))
anonymous = lambda: sum(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon"))
before = anonymous()
spec = TaskSpec(name="mine", source="file", options={{"path": {str(tmp_path)!r}}})
task = load_task(spec, cache_bytes=1 << 20)
batch = task.batch("train", [0, 1])
assert batch.x.shape == (2, {steps}, {inputs}) and isinstance(task._data.x, np.memmap)
print((anonymous() - before) // 1024)
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc to read the memory in use")
    grown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 100, f"grew by {grown.stdout} MiB"


def test_random_frames_are_drawn_in_training_only(folder):
    path, _ = folder
    task = load(path, frames=4, sampling="random", normalise="none")
    positions = np.arange(task.size("train"))
    draws = [task.batch("train", positions, np.random.default_rng(seed)).x for seed in (0, 0, 1)]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])
    uniform = task.batch("train", positions).x
    assert np.array_equal(uniform, load(path, frames=4, normalise="none").batch("train", positions).x)
    test = np.arange(task.size("test"))
    generator = np.random.default_rng(0)
    assert np.array_equal(task.batch("test", test).x, task.batch("test", test, generator).x)
    assert task.has_lengths  # sequences of 2 and 3 steps are padded to 4
    assert (task.steps, task.inputs) == (4, 4)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_chosen_steps_are_rising_valid_and_one_of_each_segment(seed):
    length = np.repeat(np.arange(1, 40), 20)
    generator = None if seed is None else np.random.default_rng(seed)
    steps, valid = choose_steps(length, 8, 8, generator)
    for row, wide in enumerate(length):
        assert valid[row] == min(wide, 8)
        chosen = steps[row, : valid[row]]
        assert (np.diff(chosen) > 0).all() and chosen[0] >= 0 and chosen[-1] < wide
        if wide >= 8 and seed is not None:
            assert (chosen >= np.arange(8) * wide // 8).all() and (chosen < np.arange(1, 9) * wide // 8).all()
    if seed is None:
        assert steps[length == 16][0].tolist() == [1, 3, 5, 7, 9, 11, 13, 15]


def test_lengths_vanish_where_all_sequences_have_enough_steps(folder):
    path, _ = folder
    assert not load(path, frames=2).has_lengths


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "digits", "frames": 9}, "frames is 9, but digits has 8 steps"),
        ({"name": "digts"}, "unknown task source 'digts'; did you mean digits or spoken_digits or digits_images?"),
        ({"name": "x", "source": "zzz"}, "known: basic_motions, cifar10, cifar100, clips, digits"),
        ({"name": "digits", "options": {"size": 8}}, "option size of source digits"),
        ({"name": "mine", "source": "file"}, "option path of source file: Field required"),
        ({"name": "mine", "source": "file", "options": {"path": "no/such.npz"}}, "no/such.npz: no such file"),
        ({"name": "x", "source": "ucr", "options": {"name": "Coffeee"}}, "did you mean Coffee?"),
        ({"name": "x", "source": "ucr", "options": {"name": "../x"}}, "option name of source ucr"),
    ],
)
def test_a_wrong_spec_is_one_line(spec, message):
    assert message in refusal_of(lambda: load_task(TaskSpec(**spec)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"test_share": 0}, {"test_share": 1.0}, {"validation_share": -0.1}, {"frames": 0}, {"split": "best"},
        {"sampling": "random"}, {"normalise": "max"}, {"name": "a/b"}, {"tset_share": 0.3},
        {"split_seed": -1},
    ],
    ids=str,
)  # fmt: skip
def test_a_spec_is_validated_on_reading(wrong):
    with pytest.raises(ValidationError):
        TaskSpec(**({"name": "digits"} | wrong))


def test_the_short_form_of_the_command_line(folder):
    path, _ = folder
    assert task_spec("digits") == TaskSpec(name="digits")
    assert task_spec("ucr:ArrowHead").options == {"name": "ArrowHead"}
    spec = task_spec(f"file:{path}")
    assert spec.source == "file" and load_task(spec).steps == 12
    assert task_spec("file:some dir/my features.npz").name == "my-features"
    for wrong in ("digits:3", "file:"):
        with pytest.raises(InputError, match="after"):
            task_spec(wrong)


def test_negative_seeds_are_refused():
    with pytest.raises(InputError, match="seeds are 0 or more"):
        load_task(TaskSpec(name="digits"), seed=-1)


def test_ucr_reads_ts_files_with_unequal_lengths(tmp_path):
    """aeon's own loader on a tiny archive set in the official layout."""
    header = "@problemName Tiny\n@timeStamps false\n@missing false\n@univariate false\n@dimensions 2\n"
    header += "@equalLength false\n@classLabel true a b\n@data\n"
    (tmp_path / "Tiny").mkdir()
    for split in ("TRAIN", "TEST"):
        rows = [f"{i},2,3{',4' * (i % 2)}:5,6,7{',8' * (i % 2)}:{'ab'[i // 2 % 2]}" for i in range(12)]
        (tmp_path / "Tiny" / f"Tiny_{split}.ts").write_text(header + "\n".join(rows) + "\n")
    spec = TaskSpec(name="tiny", source="ucr", options={"name": "Tiny", "folder": str(tmp_path)}, normalise="none")
    task = load_task(spec)
    batch = task.batch("test", [0, 1])
    assert (task.inputs, task.steps, task.classes, task.size("test")) == (2, 4, ("a", "b"), 12)
    assert batch.length.tolist() == [3, 4]
    assert batch.x.tolist() == [[[0, 5], [2, 6], [3, 7], [0, 0]], [[1, 5], [2, 6], [3, 7], [4, 8]]]


BROKEN = ["no header", "@classLabel true a b\n@data\n1,x:a\n", "@problemName Tiny\n@classLabel true a b\n@data\n"]


@pytest.mark.parametrize("name", ["Tiny", "Coffee"])  # Coffee is in the archive, but these files are the user's
@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_file_of_ones_own_is_named_with_the_reason_of_its_reader(tmp_path, name, content):
    (tmp_path / name).mkdir()
    for split in ("TRAIN", "TEST"):
        (tmp_path / name / f"{name}_{split}.ts").write_text(content)
    with pytest.raises(InputError, match=rf"{name}_TRAIN.ts and {name}_TEST.ts cannot be read \(\w+: .+\)") as caught:
        load_task(TaskSpec(name="x", source="ucr", options={"name": name, "folder": str(tmp_path)}))
    assert "archive" not in str(caught.value) and "network" not in str(caught.value)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "own.npz"
    np.savez(path, x=np.zeros((4, 2, 1)), y=[0, 1, 0, 1])

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("zipfile.ZipFile", refuse)
    with pytest.raises(InputError, match=r"own.npz: cannot be read \(Permission denied\)$"):
        load_task(task_spec(f"file:{path}"))

    def grab(*_, **__):
        raise MemoryError("Unable to allocate 40 GiB")

    monkeypatch.setattr("zipfile.ZipFile", grab)
    with pytest.raises(InputError, match=r"does not fit in memory .* a folder of .npy files is memory-mapped"):
        load_task(task_spec(f"file:{path}"))


def test_a_failed_download_is_one_line(tmp_path, monkeypatch):
    from aeon.datasets import _data_loaders

    def fail(*_):
        raise OSError("no route\nto host")

    monkeypatch.setattr(_data_loaders, "_download_all_zenodo_files", fail)
    with pytest.raises(InputError, match=r"Coffee could not be downloaded or read .*no route to host") as caught:
        load_task(TaskSpec(name="x", source="ucr", options={"name": "Coffee", "folder": str(tmp_path)}))
    assert "\n" not in str(caught.value)


def test_the_prepared_arrays_survive_damage(tmp_path, monkeypatch):
    monkeypatch.setenv("SQUEEZEBENCH_CACHE", str(tmp_path / "cache"))
    built = []

    def build():
        built.append(1)
        return {"x": np.arange(5), "names": np.array(["a", "b"])}

    for _ in range(3):
        arrays = cached_arrays("mine", "numpy", build)
        assert arrays["x"].tolist() == [0, 1, 2, 3, 4] and arrays["names"].tolist() == ["a", "b"]
    assert len(built) == 1
    (file,) = (tmp_path / "cache").glob("*.cache")
    for damage in (file.read_bytes()[:-7], b"", b"x" * 200):
        file.write_bytes(damage)
        cached_arrays("mine", "numpy", build)
    assert len(built) == 4
    monkeypatch.setenv("SQUEEZEBENCH_CACHE", str(file / "not a folder"))
    assert cached_arrays("mine", "numpy", build)["x"].size == 5


def test_sources_are_files():
    sources = available()
    assert {*EMBEDDED, "ucr", "file"} <= set(sources)
    for info in sources.values():
        assert info.summary.endswith(".") and info.options["type"] == "object"


@pytest.mark.skipif(not UCF.exists(), reason="the shared UCF101 features are not here")
def test_real_ucf101_features():
    task = load(UCF, frames=8, normalise="std")
    assert (task.inputs, task.steps, len(task.classes), task.size("test")) == (4096, 8, 14, 524)
    assert task.size("train") + task.size("validation") == 1341
    assert task.classes[:2] == ("ApplyLipstick", "Archery")
    arrays = np.load(UCF)
    names = arrays["name"]
    groups, everything = file_source._group_from_names("names", names), np.ones(len(names), bool)
    tested = [file_source._by_group("groups", groups, [*range(k, k + 7)], everything) == "test" for k in (1, 8, 15)]
    assert np.array_equal(tested[0], arrays["subset"] == 2)  # official split 1; 2 and 3 test other groups
    assert not (tested[0] & tested[1] | tested[1] & tested[2] | tested[0] & tested[2]).any()
    sides = [{name.rsplit("_", 1)[0] for name in names[task._rows[part]]} for part in PARTS]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    batch = task.batch("train", np.arange(64))
    assert not task.has_lengths and batch.length is None and 0.5 < batch.x.std() < 2 and batch.x.min() >= 0
