"""Files that were once read as something else without a word: each has its right value, or one line that refuses it."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from squeezebench.base.contents import digest_of_content
from squeezebench.base.errors import InputError
from squeezebench.data.task import load_task, task_spec
from squeezebench.pipeline.planner import fingerprint

SEQUENCES = np.random.default_rng(0).normal(size=(30, 4, 2))


def load(place):
    return load_task(task_spec(f"{'image_folder' if place.is_dir() and (place / 'val').exists() else 'file'}:{place}"))


@pytest.mark.parametrize("kind", ["f8", "f4", "f2", "i8", "i4", "i2", "u4"])
def test_byte_order_changes_nothing(tmp_path, kind):
    x, batches = (1000 * SEQUENCES + 13_000).astype(kind), []
    for order in "<>":
        path = tmp_path / f"{order == '<'}.npz"
        np.savez(path, x=x.astype(x.dtype.newbyteorder(order)), y=np.arange(30, dtype=f"{order}i8") % 3)
        batches.append(load(path).batch("train", range(10)))
    assert np.array_equal(batches[0].x, batches[1].x) and np.array_equal(batches[0].y, batches[1].y)


def classes_of(path, y, names):
    np.savez(path, x=SEQUENCES, y=y, classes=np.array(names))
    task = load(path)
    return [task.classes[label] for label in task._data.y]


def test_class_names_that_are_the_labels_are_looked_up(tmp_path):
    y = np.repeat([10, 20, 30], 10)
    assert classes_of(tmp_path / "n.npz", y, [30, 20, 10]) == list(map(str, y))
    assert classes_of(tmp_path / "t.npz", y, ["20", "10", "30"]) == list(map(str, y))
    assert (
        classes_of(tmp_path / "o.npz", np.repeat([0, 1, 2], 10), ["2", "0", "1"])
        == ["0"] * 10 + ["1"] * 10 + ["2"] * 10
    )
    assert classes_of(tmp_path / "w.npz", y, ["walk", "run", "sit"]) == ["walk"] * 10 + ["run"] * 10 + ["sit"] * 10


def test_numbers_as_class_names_that_are_other_labels_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"classes are 30, 20, 40, y has 10, 20, 30; give the labels themselves"):
        classes_of(tmp_path / "n.npz", np.repeat([10, 20, 30], 10), [30, 20, 40])


@pytest.fixture
def frame():
    rows = {
        "sequence": np.repeat(np.arange(30), 4),
        "step": np.tile(np.arange(4), 30),
        "y": np.repeat(np.arange(30) % 3, 4),
    }
    return pd.DataFrame(rows | {"a": SEQUENCES[:, :, 0].ravel(), "b": SEQUENCES[:, :, 1].ravel()})


def test_the_index_that_pandas_saves_is_no_feature(tmp_path, frame, caplog):
    frame[frame["step"] < 3].to_parquet(tmp_path / "left.parquet")  # keeps its row numbers as a column
    assert load(tmp_path / "left.parquet").inputs == 2
    assert "column __index_level_0__ is the index that pandas saved" in caplog.text
    frame.set_index(["sequence", "step"]).to_parquet(tmp_path / "keys.parquet")
    assert load(tmp_path / "keys.parquet").inputs == 2


@pytest.mark.parametrize(
    ("name", "meant"),
    [("label", "y"), ("Target", "y"), ("groups", "group"), ("Unnamed: 0", "step"), ("index", "step"),
     ("split", "subset"), ("sequence_id", "sequence"), ("speaker", "group"), ("Y", "y")],
)  # fmt: skip
def test_a_column_that_is_hardly_a_feature_is_refused(tmp_path, frame, name, meant):
    frame.assign(**{name: 1.0}).to_parquet(tmp_path / "f.parquet", index=False)
    with pytest.raises(InputError, match=rf"column '{name}' would be a feature; did you mean {meant}\?"):
        load(tmp_path / "f.parquet")


def images(folder, make):
    for part, count in (("train", 8), ("val", 4)):
        for name in ("dark", "light"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                make(name, folder / part / name / f"{number}.png")
    return folder


def values(task):
    """The mean brightness of each class, 0 to 1."""
    x, y = task._data.x, task._data.y
    return {name: float(x[y == code].mean() / 255) for code, name in enumerate(task.classes)}


def test_sixteen_bits_are_scaled_to_eight(tmp_path, monkeypatch):
    monkeypatch.setenv("SQUEEZEBENCH_DATA", str(tmp_path / "data"))
    grey = {"dark": 3_000, "light": 40_000}
    folder = images(tmp_path / "p", lambda name, to: Image.fromarray(np.full((20, 24), grey[name], "u2")).save(to))
    found = values(load(folder))
    assert found == pytest.approx({name: value / 65_535 for name, value in grey.items()}, abs=0.003)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_of_a_png_keeps_its_brightness(tmp_path, monkeypatch, mode):
    monkeypatch.setenv("SQUEEZEBENCH_DATA", str(tmp_path / "data"))
    grey = {"dark": 0, "light": 255}
    folder = images(tmp_path / "p", lambda name, to: Image.new("L", (24, 20), grey[name]).convert(mode).save(to))
    assert values(load(folder)) == {"dark": 0.0, "light": 1.0}


def test_a_photograph_is_turned_as_its_camera_says(tmp_path, monkeypatch):
    """Orientation 3: upside down. The white half is stored at the top and belongs at the bottom."""
    monkeypatch.setenv("SQUEEZEBENCH_DATA", str(tmp_path / "data"))
    pixels = np.zeros((32, 32), np.uint8)
    pixels[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    task = load(images(tmp_path / "p", lambda name, to: Image.fromarray(pixels).save(to, exif=exif)))
    rows = task._data.x[0, 0].reshape(3, 224, 224)[0].mean(1)
    assert rows[0] < 5 and rows[-1] > 250


def test_a_fingerprint_covers_the_middle_of_a_file_and_what_is_rewritten_in_place(tmp_path):
    x = np.zeros((600, 10, 200), "f4")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.arange(600) % 3)
    prints = [fingerprint(task_spec(f"file:{tmp_path}"))]
    for value in (7, 8):
        x[250:350] = value
        np.save(tmp_path / "x.npy", x)
        prints.append(fingerprint(task_spec(f"file:{tmp_path}")))
    assert len(set(prints)) == 3


def test_a_digest_is_kept_until_the_file_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("SQUEEZEBENCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a"
    path.write_bytes(b"one")
    os.utime(path, (1, 1))
    first = digest_of_content(path)
    path.write_bytes(b"two")
    os.utime(path, (1, 1))  # same size and time
    assert digest_of_content(path) != first
