"""The record: what is written is what is read, and nothing that is damaged passes for a result."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import stat

import pytest
from altered_records import signed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_records import record as synthetic

from squeezebench.base.digests import digest_of
from squeezebench.base.files import clear_half_written, write_atomically
from squeezebench.schema.record import RECORD_NAME, Record, RecordError, read_record, write_record

ONE_FOLDER = [HealthCheck.function_scoped_fixture]  # each example overwrites the file of the one before


def a_record(**changed) -> Record:
    return synthetic("digits", "vib_lstm", 2, 0, **changed)


def test_what_is_written_is_what_is_read(tmp_path):
    record = a_record(notes=['β rises, a umlaut: ä, a quote: "'], varied={"beta": 0.1, "cell": "lstm", "width": None},
                      settings={"digits": [0.1 + 0.2, 1e-300, 1.0, 2**53 - 1.0, 5e-324]})  # fmt: skip
    path = write_record(tmp_path / "runs" / "one", record)
    assert path.name == RECORD_NAME
    assert read_record(path) == record


def test_a_record_of_a_failed_run_needs_no_results(tmp_path):
    record = Record(status="failed", reason="out of memory", task="t", method="m", settings={}, seed=3)
    assert read_record(write_record(tmp_path, record)) == record


def test_same_record_same_bytes(tmp_path):
    one = write_record(tmp_path / "a", a_record()).read_bytes()
    assert write_record(tmp_path / "b", a_record()).read_bytes() == one


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_umask_says_who_may_read_and_write_the_file(tmp_path, umask, mode):
    """Results in the folder of a group are the group's, and private ones are private."""
    before = os.umask(umask)
    try:
        path = write_record(tmp_path, a_record())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


# ---------------------------------------------------------------------- damage


def test_every_cut_is_noticed(tmp_path):
    path = write_record(tmp_path, a_record())
    whole = path.read_bytes().rstrip()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(RecordError, match="half written or damaged"):
            read_record(path)


@settings(suppress_health_check=ONE_FOLDER)
@given(data=st.data())
def test_a_flipped_bit_never_changes_what_is_read(tmp_path, data):
    """Either it is noticed, or the record is the same: white space, and 1.0 for 1.0000 are no damage."""
    record = a_record()
    content = bytearray(write_record(tmp_path, record).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    (tmp_path / RECORD_NAME).write_bytes(content)
    try:
        found = read_record(tmp_path / RECORD_NAME)
    except RecordError as error:
        assert "\n" not in str(error)
    else:
        assert found == record


@pytest.mark.parametrize(
    ("old", "new"), [('"test": 0.', '"test": 1.'), ('"seed": 0', '"seed": 1'), ('"status": "ok"', '"status": "ko"')]
)
def test_an_altered_figure_is_noticed(tmp_path, old, new):
    path = write_record(tmp_path, a_record())
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(RecordError, match="does not match its digest"):
        read_record(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 0}, "schema_version"),
        ({"status": "fine"}, "status"),
        ({"settings": None}, "settings"),
        ({"surprise": 1}, "surprise"),
        ({"accuracy": {"test": "high"}}, "accuracy.test"),
    ],
)
def test_another_schema_is_refused_by_the_name_of_its_key(tmp_path, change, says):
    path = tmp_path / RECORD_NAME
    path.write_bytes(signed(a_record().model_dump(mode="json") | change))
    with pytest.raises(RecordError, match=f"not a valid record: {says}"):
        read_record(path)


@pytest.mark.parametrize("text", ["[]", '"record"', "3", "null", "true"])
def test_json_that_is_no_object_is_refused(tmp_path, text):
    path = tmp_path / RECORD_NAME
    path.write_text(text)
    with pytest.raises(RecordError, match="object is expected"):
        read_record(path)


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path):
    for path in (tmp_path / "none" / RECORD_NAME, tmp_path):
        with pytest.raises(RecordError, match="cannot be read"):
            read_record(path)


# ---------------------------------------------------------------------- writing


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["fsync", "replace", "fdopen"])
def test_a_full_disk_leaves_the_old_file_and_no_half_one(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_an_interrupt_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_record(tmp_path, a_record())
    assert not list(tmp_path.iterdir())


def test_what_killed_writers_left_is_cleared_and_nothing_else(tmp_path):
    """A kill -9 in the middle of the write, for real; the next process that makes the run clears it."""
    for name in ("model.safetensors", "record.json"):
        (tmp_path / name).write_bytes(b"whole")
        writer = os.fork()
        if not writer:
            os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
            write_atomically(tmp_path / name, b"half")
        os.waitpid(writer, 0)
    left = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert {path.read_bytes() for path in left} == {b"half"} and len(left) == 2
    clear_half_written(tmp_path, "record.json")
    assert [path for path in left if path.exists()] == [path for path in left if "model" in path.name]
    clear_half_written(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "model.safetensors": b"whole",
        "record.json": b"whole",
    }


def test_writing_makes_the_folder_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two" and len(list(path.parent.iterdir())) == 1


# ---------------------------------------------------------------------- digests


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest_of({"a": 1, "b": [1, {"c": 2, "d": 3}]}) == digest_of({"b": [1, {"d": 3, "c": 2}], "a": 1})
    assert digest_of([1, 2]) != digest_of([2, 1])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_a_digest_survives_json(value):
    assert digest_of(json.loads(json.dumps(value))) == digest_of(value)


def test_what_is_not_a_number_becomes_null_and_the_file_stays_json(tmp_path):
    path = write_record(tmp_path, a_record(settings={"beta": math.nan, "gamma": math.inf}))
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert read_record(path).settings == {"beta": None, "gamma": None}
