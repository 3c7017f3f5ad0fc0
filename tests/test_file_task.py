"""The user's own features: .npz, folder and .parquet say the same, and bad input is one clear line."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refusal_of

from squeezebench.base.errors import InputError
from squeezebench.data.sources import source_module
from squeezebench.data.task import PARTS, load_task
from squeezebench.schema.task import TaskSpec

DTYPES = ["uint8", "int16", "int64", "float16", "float32", "float64", ">f4", "bool"]


def features(n=24, t=5, d=3, dtype="float32", seed=0):
    """Arrays of a valid data set: two classes, every third sequence in test."""
    generator = np.random.default_rng(seed)
    x = (generator.normal(size=(n, t, d)) * 10 + 20).astype(dtype)
    return {"x": x, "y": np.arange(n) % 2, "subset": np.where(np.arange(n) % 3 == 2, 2, 1)}


def write(where, form, arrays):
    """Write `arrays` as an .npz, a compressed .npz or a folder; the path as a string."""
    if form == "folder":
        where.mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            np.save(where / f"{name}.npy", array)
        return str(where)
    path = where.with_suffix(".npz")
    (np.savez_compressed if form == "compressed" else np.savez)(path, **arrays)
    return str(path)


def load(path, cache_bytes=1 << 30, seed=0, **spec):
    return load_task(TaskSpec(name="mine", source="file", options={"path": str(path)}, **spec), seed, cache_bytes)


def everything(task):
    """All parts of a task in order."""
    return {part: task.batch(part, np.arange(task.size(part))) for part in PARTS}


def assert_same(one, other):
    assert one.split_digest == other.split_digest and one.classes == other.classes
    for part, batch in everything(one).items():
        twin = other.batch(part, np.arange(other.size(part)))
        assert np.array_equal(batch.x, twin.x) and np.array_equal(batch.y, twin.y)
        assert (batch.length is None) == (twin.length is None)
        assert batch.length is None or np.array_equal(batch.length, twin.length)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=st.sampled_from(DTYPES),
    optional=st.sets(st.sampled_from(["length", "group", "scale", "name", "classes", "text"])),
    normalise=st.sampled_from(["none", "std", "standard"]),
)
def test_npz_compressed_and_folder_are_the_same_task(tmp_path_factory, dtype, optional, normalise):
    where = tmp_path_factory.mktemp("data")
    arrays = features(dtype=dtype)
    n = len(arrays["y"])
    extra = {
        "length": np.arange(n) % 5 + 1,
        "group": np.arange(n) // 2,
        "scale": np.array([0.5, 2, 1e-3]),
        "name": np.array([f"clip{i}" for i in range(n)]),
        "classes": np.array(["a", "b"]),
    }
    arrays |= {name: extra[name] for name in optional if name in extra}
    if "text" in optional:
        arrays |= {"y": np.array(["a", "b"] * (n // 2)), "subset": np.where(arrays["subset"] == 1, "train", "test")}
    tasks = [load(write(where / form, form, arrays), normalise=normalise) for form in ("npz", "compressed", "folder")]
    assert_same(tasks[0], tasks[1])
    assert_same(tasks[0], tasks[2])
    assert tasks[0].has_lengths == ("length" in optional)
    assert all(np.isfinite(batch.x).all() for batch in everything(tasks[0]).values())
    if normalise == "none" and "length" not in optional:
        raw = arrays["x"].astype("f4") * extra["scale"].astype("f4") ** ("scale" in optional)
        assert np.allclose(everything(tasks[0])["test"].x, raw[2::3], rtol=1e-6)  # float64 is scaled as it is


@pytest.mark.parametrize("form", ["npz", "folder"])
def test_only_plain_arrays_are_loaded(tmp_path, form, monkeypatch):
    """An object array is refused from its header, wherever it is, and nothing of it runs."""

    class Attack:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    for name in ("x", "extra") if form == "npz" else ("x", "y"):
        arrays = features() | {name: np.array([Attack()], dtype=object)}
        path = write(tmp_path / f"bad_{name}", form, arrays)
        with pytest.raises(InputError, match=f"array {name} holds pickled Python objects.*never loaded"):
            load(path)
    plain = tmp_path / "plain.npz"
    plain.write_bytes(pickle.dumps(Attack()))
    with pytest.raises(InputError, match="is a pickle; pickles can run code and are never loaded"):
        load(plain)
    assert not (tmp_path / "owned").exists()


def broken(**changes):
    return features() | changes


def with_value(name, index, value):
    array = features()[name]
    array[index] = value
    return {name: array}


N = 24
BAD = [
    (with_value("x", (3, 4, 1), np.nan), "x[3, 4, 1] is nan; features must be finite"),
    (with_value("x", (0, 0, 2), -np.inf), "x[0, 0, 2] is -inf"),
    ({"x": features(dtype="float64")["x"] * 1e200}, "x[0, 0, 0] is 2"),
    ({"x": np.zeros((0, 5, 3)), "y": np.zeros(0, int), "subset": np.zeros(0, int)}, "N (sequences) is 0"),
    ({"x": np.zeros((N, 0, 3))}, "T (steps) is 0; it must be at least 1"),
    ({"x": np.zeros((N, 5, 0))}, "D (features) is 0; it must be at least 1"),
    ({"x": np.zeros((N, 5))}, "x has shape (24, 5); it must be (N, T, D)"),
    ({"x": np.zeros((N, 5, 3), complex)}, "x has dtype complex128; it must be integer or float"),
    ({"x": np.full((N, 5, 3), "a")}, "x has dtype <U1; it must be integer or float"),
    ({"y": np.arange(23) % 2}, "y has shape (23,), but x has 24 sequences"),
    ({"y": np.eye(24)[:, :2]}, "y has shape (24, 2), but x has 24 sequences"),
    ({"y": np.arange(N) % 2 * 1.0}, "y has dtype float64; labels must be integers or strings"),
    ({"y": np.zeros(N, int)}, "y has 1 class; a classification task needs at least 2"),
    ({"classes": np.array(["a", "b"]), **with_value("y", 7, 5)}, "y[7] is 5, outside the 2 classes (0..1)"),
    ({"classes": np.array(["a", "b"]), **with_value("y", 7, -1)}, "y[7] is -1, outside the 2 classes"),
    ({"classes": np.array(["a", "b"]), "y": np.array(["a", "c"] * 12)}, "y[1] is 'c', which is not one of the 2"),
    ({"classes": np.array(["a", "b", "c"])}, "class 'c' (index 2) has no training example"),
    ({"classes": np.array(["a", "a"])}, "classes has a name twice"),
    ({"y": np.where(features()["subset"] == 2, 7, np.arange(N) % 2)}, "class '7' (index 2) has no training example"),
    (with_value("subset", 4, 3), "subset[4] is 3; use 1 or train, 2 or test"),
    ({"subset": np.array(["train"] * 23 + ["tset"])}, "subset[23] is tset; use 1 or train"),
    ({"subset": np.ones(N, int)}, "subset has no test part"),
    ({"subset": np.zeros(N, int)}, "subset marks every sequence as unused"),
    ({"length": np.full(N, 6)}, "length[0] is 6; it must be in 1..5, the T of x"),
    ({"length": np.arange(N) % 5}, "length[0] is 0; it must be in 1..5"),
    ({"length": np.full(N, 5.0)}, "length has dtype float64; it must be integer"),
    ({"length": np.full(N - 1, 5)}, "length has shape (23,)"),
    ({"scale": np.ones(4)}, "scale has shape (4,); it must be (3,), one per feature"),
    ({"scale": np.array([1, np.nan, 1])}, "scale[1] is nan"),
    ({"scale": np.array(["a", "b", "c"])}, "scale has dtype <U1"),
    ({"group": np.arange(N) / 2}, "group has dtype float64; it must be integers or strings"),
    ({"lenght": np.full(N, 5)}, "unknown array lenght; did you mean length?"),
]


@pytest.mark.parametrize("form", ["npz", "folder"])
@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_arrays_are_refused_in_one_line(tmp_path, form, changes, message):
    path = write(tmp_path / "bad", form, broken(**changes))
    line = refusal_of(load, path)
    assert message in line and line.startswith(path)


def test_missing_arrays_and_files(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        load(tmp_path / "none.npz")
    np.savez(tmp_path / "no_y.npz", x=np.zeros((2, 2, 2)), labels=np.zeros(2))
    with pytest.raises(InputError, match=r"there is no array y, \(N,\) labels; it has: x, labels"):
        load(tmp_path / "no_y.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.npy file in this folder"):
        load(tmp_path / "empty")


@pytest.mark.parametrize("form", ["npz", "compressed"])
@pytest.mark.parametrize("keep", [0, 3, 40, 200, 0.5, 0.99])
def test_truncated_npz(tmp_path, form, keep):
    path = write(tmp_path / "whole", form, features())
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "whole.npz").write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(InputError, match=r"truncated or damaged \.npz|is empty"):
        load(path)


def test_flipped_bits_and_foreign_files(tmp_path):
    path = write(tmp_path / "whole", "npz", features())
    content = bytearray((tmp_path / "whole.npz").read_bytes())
    content[600] ^= 0xFF  # inside x: the archive's checksum notices
    (tmp_path / "whole.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"truncated or damaged \.npz.*write it again"):
        load(path)
    (tmp_path / "text.npz").write_text("a,b,c\n1,2,3\n")
    with pytest.raises(InputError, match=r"is not an \.npz file"):
        load(tmp_path / "text.npz")
    np.save(tmp_path / "x.npy", np.zeros((2, 2, 2)))
    with pytest.raises(InputError, match=r"is a single \.npy array"):
        load(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("x.npy", b"not an array")
    with pytest.raises(InputError, match=r"truncated or damaged \.npz"):
        load(tmp_path / "other.npz")


@pytest.mark.parametrize("keep", [0, 20, 300])
def test_truncated_npy_in_a_folder(tmp_path, keep):
    path = write(tmp_path / "set", "folder", features())
    file = tmp_path / "set" / "x.npy"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"x\.npy: truncated or damaged \.npy"):
        load(path)


def test_padding_is_never_read(tmp_path):
    """NaN behind `length` is no error and never reaches a batch or the statistics."""
    arrays = features()
    arrays["length"] = np.arange(N) % 5 + 1
    clean = load(write(tmp_path / "clean", "npz", arrays))
    arrays["x"] = np.where(np.arange(5)[None, :, None] >= arrays["length"][:, None, None], np.nan, arrays["x"])
    for limit in (1 << 30, 0):
        assert_same(clean, load(write(tmp_path / "dirty", "folder", arrays), cache_bytes=limit))


def test_unused_sequences_are_dropped(tmp_path):
    """HMDB51's 0: neither their features nor their labels matter."""
    arrays = features()
    arrays["subset"][5], arrays["y"][5], arrays["x"][5] = 0, 99, np.nan
    task = load(write(tmp_path / "set", "npz", arrays))
    assert sum(task.size(part) for part in PARTS) == N - 1 and task.classes == ("0", "1")


def test_labels_need_not_start_at_zero(tmp_path):
    arrays = features()
    arrays |= {"y": np.array([3, 17] * 12), "action": np.array(["Archery", "Biking"])}
    task = load(write(tmp_path / "set", "npz", arrays))
    assert task.classes == ("Archery", "Biking") and set(task.labels("train").tolist()) == {0, 1}


def test_groups_come_from_ucf_names(tmp_path):
    names = np.array([f"v_{'AB'[i % 2]}_g{i // 4:02d}_c{i % 4:02d}" for i in range(N)])
    arrays = features() | {"name": names}
    del arrays["subset"]
    task = load(write(tmp_path / "set", "npz", arrays))
    sides = [{names[row][:7] for row in task._rows[part]} for part in PARTS]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_the_numbers_of_groups_can_name_the_test_part(tmp_path):
    names = np.array([f"v_{'AB'[i % 2]}_g{i // 4 + 1:02d}_c{i % 4:02d}" for i in range(N)])
    arrays = features() | {"name": names}
    arrays["subset"][0] = 0  # unused, whichever group is tested
    options = {"path": write(tmp_path / "set", "npz", arrays), "test_groups": [2, 6]}
    task = load_task(TaskSpec(name="mine", source="file", options=options))
    assert {names[row][4:7] for row in task._rows["test"]} == {"g02", "g06"}
    assert sum(task.size(part) for part in PARTS) == N - 1 and task.size("test") == 8
    module = source_module("file")
    assert module.expected(module.Options(**options)).train == N - 1 - 8
    for numbers, group, message in (
        ([7], names, "no group has the number 7"),
        ([1], np.full(N, "a"), "groups whose names end in a number"),
    ):
        path = write(tmp_path / "other", "npz", features() | {"group": np.char.rpartition(group, "_")[:, 0]})
        with pytest.raises(InputError, match=message):
            load_task(TaskSpec(name="mine", source="file", options={"path": path, "test_groups": numbers}))


def test_a_rewritten_file_is_read_again(tmp_path):
    path = write(tmp_path / "set", "npz", features(seed=0))
    before = load(path)
    write(tmp_path / "set", "npz", features(seed=1))
    os.utime(path, ns=(1, 1))
    after = load(path)
    assert before.origin != after.origin
    assert not np.array_equal(everything(before)["train"].x, everything(after)["train"].x)


def long_table(arrays, shuffle=True):
    """The long format of `arrays`: one row a step, shuffled."""
    length = arrays.get("length", np.full(len(arrays["y"]), arrays["x"].shape[1]))
    rows = [(i, step) for i in range(len(length)) for step in range(length[i])]
    if shuffle:
        first = [(i, 0) for i in range(len(length))]  # sequences keep the order of their first row
        rows = first + [rows[i] for i in np.random.default_rng(0).permutation(len(rows)) if rows[i][1] > 0]
    i, step = np.array(rows).T
    columns = {"sequence": [f"s{n}" for n in i], "step": step, "y": arrays["y"][i], "subset": arrays["subset"][i]}
    return columns | {f"f{d}": arrays["x"][i, step, d] for d in range(arrays["x"].shape[2])}


def test_parquet_is_the_same_task_as_npz(tmp_path):
    arrays = features() | {"length": np.arange(N) % 5 + 1}
    table = pa.table(long_table(arrays))
    table = table.set_column(0, "sequence", table["sequence"].dictionary_encode())
    parquet.write_table(table, tmp_path / "set.parquet")
    assert_same(load(tmp_path / "set.parquet"), load(write(tmp_path / "set", "npz", arrays)))


def test_parquet_without_varying_length_has_no_lengths(tmp_path):
    parquet.write_table(pa.table(long_table(features())), tmp_path / "set.parquet")
    task = load(tmp_path / "set.parquet")
    assert not task.has_lengths and (task.steps, task.inputs) == (5, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("step"), "there is no column step"),
        (lambda c: [c.pop(f"f{d}") for d in range(3)], "has no feature column"),
        (lambda c: c.update(step=c["step"] * 0), "sequence s0 has step 0 twice"),
        (lambda c: c.update(step=c["step"] * 0.5), "column step has type double; it must be integer"),
        (lambda c: c.update(y=np.arange(len(c["y"]))), "has two values of y"),
        (lambda c: c.update(f1=["a"] * len(c["y"])), "feature column f1 has type string; it must be numeric"),
        (lambda c: c.update(f1=[None] + [1.0] * (len(c["y"]) - 1)), "x[0, 0, 1] is nan"),
        (lambda c: c.update(y=[None] + [1] * (len(c["y"]) - 1)), "column y has no value in row 0"),
        (lambda c: [c.update({name: c[name][:0]}) for name in list(c)], "has no rows"),
    ],
)
def test_bad_parquet_is_refused_in_one_line(tmp_path, change, message):
    columns = long_table(features(), shuffle=False)
    change(columns)
    parquet.write_table(pa.table(columns), tmp_path / "bad.parquet")
    assert message in refusal_of(load, tmp_path / "bad.parquet")


def test_truncated_parquet(tmp_path):
    path = tmp_path / "set.parquet"
    parquet.write_table(pa.table(long_table(features())), path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"not a readable \.parquet file"):
        load(path)
