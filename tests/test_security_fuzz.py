"""Readers against damaged, random and crafted content: one line of InputError or what was meant, never anything else.

Three kinds of content for each reader: random bytes, valid files with bytes changed or cut off, and valid files whose
digest is right and whose content is not (a digest shields nothing from a person who writes files).
"""

from __future__ import annotations

import copy
import io
import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
import yaml
from altered_records import signed
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy
from safetensors.torch import save
from synthetic_records import record as synthetic

from squeezebench.base.errors import LONGEST_LINE, InputError
from squeezebench.base.reading import planned_path
from squeezebench.base.yaml_file import parse_yaml
from squeezebench.cli.main import main
from squeezebench.data.sources.file import Options, expected
from squeezebench.data.task import load_task
from squeezebench.engine.measurement.files import save_model
from squeezebench.engine.training import checkpoint
from squeezebench.nn.rnn.classifier import recurrent_classifier
from squeezebench.pipeline.plan_file import read_plan
from squeezebench.report import outputs
from squeezebench.report.drawing.history import read_history
from squeezebench.report.drawing.svg import style
from squeezebench.report.gather import Gathered, gather
from squeezebench.report.overview import overview
from squeezebench.report.page import build_tables
from squeezebench.report.paper.part import paper_parts
from squeezebench.report.results import Results
from squeezebench.report.statistics.verdicts import headlines
from squeezebench.report.verified import verified
from squeezebench.schema.experiment import Experiment, read_experiment
from squeezebench.schema.inference import Inference, read_inference
from squeezebench.schema.record import RECORD_NAME, Provenance, read_record, write_record
from squeezebench.schema.task import TaskSpec
from squeezebench.schema.tuning import Tuning
from squeezebench.schema.tuning_result import Axis, Trial, TuningResult, read_result
from squeezebench.tools.export import read_module

FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
SLOW = settings(FUZZ, max_examples=10)


def one_line(read, *arguments) -> Any:
    """What `read` gives; None where it refuses in one printable line."""
    try:
        return read(*arguments)
    except InputError as error:
        assert str(error).isprintable() and len(str(error)) <= LONGEST_LINE
        return None


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """A valid file, cut, or with bytes changed, put in or taken out."""
    made = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(made) - 1)))
        kind = draw(st.sampled_from(["flip", "flip", "byte", "cut", "insert", "remove", "swap"]))
        if not made:
            break
        if kind == "flip":
            made[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "byte":
            made[place] = draw(st.sampled_from([0, 255, 127, 128, 10, 34, 123]))
        elif kind == "cut":
            del made[place:]
        elif kind == "insert":
            made[place:place] = draw(st.binary(max_size=8))
        elif kind == "remove":
            del made[place : place + draw(st.integers(1, 16))]
        else:
            made[place : place + 8] = made[place : place + 8][::-1]
    return bytes(made)


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**18) + 1, 10**18 - 1), st.sampled_from([0, -1, 2**31, 2**53, 10**12]),
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([1e308, -1e308, 5e-324, -0.0]),
    st.sampled_from(["", "../../x", "/etc/passwd", "a\nb", "\x1b[2J", "\u202e", "\0", "<script>", "$x_{$", "é" * 300]),
    st.sampled_from([[], {}, [[]], [{}], {"": ""}, [0] * 50, {"a": {"b": {"c": []}}}]),
)  # fmt: skip


@st.composite
def altered(draw, content: Any) -> Any:
    """JSON with values at random places replaced, taken out or doubled: its structure is known, its content is not."""
    made = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        place: Any = made
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = draw(st.sampled_from(list(keys)))
            inner = place[key]
            if not (isinstance(inner, dict | list) and inner) or draw(st.integers(0, 4)) == 0:
                what = draw(st.sampled_from(["replace", "replace", "replace", "remove", "double"]))
                if what == "remove":
                    del place[key]
                elif what == "double" and isinstance(place, list):
                    place.append(copy.deepcopy(inner))
                else:
                    place[key] = copy.deepcopy(draw(ODD))
                break
            place = inner
    return made


# ---------------------------------------------------------------------- records, plans, tuning, inference


@cache
def a_record() -> dict:
    return synthetic("digits", "vib_lstm", 2, 0).model_dump(mode="json")


@cache
def a_plan() -> dict:
    from squeezebench.pipeline.planner import make_plan
    from squeezebench.schema.experiment import check_experiment

    content = {"name": "e", "tasks": ["digits"], "seeds": [0, 1], "methods": {"dense": {}, "small_dense": {}}}
    content |= {"tuning": {"trials": 2, "methods": ["small_dense"]}}
    return make_plan(check_experiment(content, "e.yaml"), "e.yaml").model_dump(mode="json") | {"key": "k"}


@cache
def a_tuning() -> dict:
    axis, trial = Axis(kind="log", low=0.1, high=2), {"drawn": {"beta": 0.5}, "status": "ok", "lstm_total": 9}
    trials = [Trial(number=k, validation=0.5, ratio=2.0, value=0.5, **trial) for k in range(2)]
    return TuningResult(
        experiment="e", protocol="sound", task="digits", method="small_dense", method_title="small", control=True,
        tuning=Tuning(), epochs=3, space={"beta": axis}, enumerated=False, fixed={"beta": 1.0}, trials=trials,
        winner=0, settings={"beta": 0.5}, study="s", provenance=Provenance(),
    ).model_dump(mode="json")  # fmt: skip


@cache
def an_inference() -> dict:
    time = {"median": 1.0, "low": 0.9, "high": 1.1}
    side = {"ms": {"PyTorch": time}, "int8_ms": time, "memory_ms": 0.1, "arithmetic_ms": 0.1}
    one = {"batch": 1, "dense": side, "compact": side, "overhead_ms": {"PyTorch": 0.1}, "fastest_dense": "PyTorch",
           "same_runtime": {"PyTorch": 1.0}, "against_fastest": {"PyTorch": 1.0}}  # fmt: skip
    model = {"source": "runs/x", "steps": 3, "dense_size": "3 x 4", "compact_size": "3 x 2", "parameters": 9,
             "dense_parameters": 20, "macs": 5, "dense_macs": 9, "comparisons": [one]}  # fmt: skip
    return Inference(machine="m", packages={"torch": "2"}, finished="2026-11-21", bandwidth={1000: 1e9},
                     macs_per_second=1e9, models=[model]).model_dump(mode="json")  # fmt: skip


def of_kind(kind: str, folder: Path, content: bytes) -> Any:
    """Read `content` as a file of the kind, as the engine does."""
    path = folder / {"record": RECORD_NAME, "inference": "inference.json"}.get(kind, f"{kind}.json")
    path.write_bytes(content)
    read = {"record": read_record, "plan": read_plan, "tuning": read_result}.get(kind)
    return one_line(read, path) if read else one_line(read_inference, folder)


KINDS = {"record": a_record, "plan": a_plan, "inference": an_inference, "tuning": a_tuning}


@pytest.mark.parametrize("kind", KINDS)
@FUZZ
@given(data=st.data())
def test_json_files_of_results(tmp_path, kind, data):
    whole = KINDS[kind]()
    how = data.draw(st.sampled_from(["random", "damaged", "altered", "altered"]))
    if how == "random":
        content = data.draw(st.binary(max_size=100))
    elif how == "damaged":
        content = data.draw(damaged(signed(whole)))
    else:
        content = signed(data.draw(altered(whole)))
    of_kind(kind, tmp_path, content)


def without_figures(folder: Path) -> None:
    """All that a report reads and computes; drawing takes seconds and reads nothing more."""
    gathered = gather(folder)
    results = Results(gathered)
    for _, table in build_tables(results):
        table.csv(), table.tex(), [list(row) for row in table.rows()]
    for task in gathered.tasks:
        headlines(task, results.groups, results.chosen)
    with style():
        overview(gathered), verified(folder), paper_parts(results.groups, gathered)
    if gathered.plan:
        for name in outputs(gathered.plan):
            assert planned_path(name)


@SLOW
@given(data=st.data())
def test_the_report_of_crafted_records_with_right_digests(tmp_path_factory, data):
    """Whatever passes the schema has to be shown, or refused in one line; nothing is written elsewhere."""
    top = tmp_path_factory.mktemp("report")
    folder = top / "a" / "results"
    for seed in range(2):
        write_record(folder / "runs" / "digits" / "dense" / f"seed-{seed}", synthetic("digits", "dense", 0, seed))
        crafted = data.draw(altered(synthetic("digits", "vib_lstm", 2, seed).model_dump(mode="json")))
        place = folder / "runs" / "digits" / "vib_lstm" / f"seed-{seed}"
        place.mkdir(parents=True)
        (place / RECORD_NAME).write_bytes(signed(crafted))
    if data.draw(st.booleans()):
        (folder / "plan.json").write_text(json.dumps(data.draw(altered(a_plan()))))
    if data.draw(st.booleans()):
        (folder / "inference.json").write_bytes(signed(data.draw(altered(an_inference()))))
    if data.draw(st.booleans()):
        path = folder / "tuning" / "digits" / "small_dense.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(signed(data.draw(altered(a_tuning()))))
    if data.draw(st.booleans()):
        verification = {"records": 1, "measured": 1, "scored": 1, "without_model": 0, "problems": [], "notes": [],
                        "not_measured": {"x": 1}, "finished": "2026", "records_digest": "x"}  # fmt: skip
        (folder / "verification.json").write_text(json.dumps(data.draw(altered(verification))))
    one_line(without_figures, folder)
    one_line(main, ["compare", str(folder), str(folder)])
    assert [path.name for path in top.iterdir()] == ["a"]
    assert [path.name for path in (top / "a").iterdir()] == ["results"]


HISTORY = "stage,epoch,loss,validation_accuracy\ntrain,1,0.5,0.25\ntrain,2,0.4,0.5\n"


@FUZZ
@given(content=st.binary(max_size=200) | damaged(HISTORY.encode()))
@example(content=b"stage,epoch,validation_accuracy\n" + b'"' * 10)
@example(content=b"stage,epoch,validation_accuracy\na,1e999,inf\n")
@example(content=b"\xff\xfe" + HISTORY.encode("utf-16-le"))
def test_history_csv(tmp_path, content):
    import pandas as pd

    (tmp_path / "history.csv").write_bytes(content)
    read_history(Gathered(tmp_path, pd.DataFrame(), pd.DataFrame()), ".")
    from squeezebench.tools.reproduce import _histories

    list(_histories(tmp_path / "history.csv", tmp_path / "none.csv"))
    list(_histories(tmp_path / "history.csv", tmp_path / "history.csv"))


# ---------------------------------------------------------------------- configurations

YAML_ATTACKS = [
    "a: &a [x]\nb: &b [*a, *a]\n", "&a [*a]", "tasks: &a\n  x: *a\n", "? [a]\n: b", "!!int ''", "!!bool x",
    "!!float ''", "!!timestamp x", "!!python/object/apply:os.system [touch pwned]", "!!python/name:os.system",
    "a: !!binary '%'", "[" * 5000, "{" * 3000, "- " * 3000, "a: 2026-99-99", "=", "<<: 1", "<<: [1]", "a: 1:99:99",
    "a: 0o9", "a: " + "9" * 5000, "%YAML 9.9\n---\na: 1", "a: 1\n---\nb: 2", "\ufeffa: 1", "a: \x85", "!<tag:x> a",
    "? " * 3000, "[[{[{" * 5000, '["]",' * 3000, "a: " + ":".join("1" * 9000), "a: " + "x" * 600_000,
    "name: !!null x", "seeds: [.nan, .inf]", "seeds: [99999999999999999999999]", "methods: {dense: {hidden: 1e400}}",
]  # fmt: skip
BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join([f'*{chr(97 + k)}'] * 9)}]\n" for k in range(12)
)


@pytest.mark.parametrize("text", [*YAML_ATTACKS, BOMB], ids=range(len(YAML_ATTACKS) + 1))
def test_yaml_that_is_no_experiment(tmp_path, text):
    path = tmp_path / "e.yaml"
    path.write_text(text, encoding="utf-8")
    assert one_line(read_experiment, path) is None
    assert list(tmp_path.iterdir()) == [path]


CONFIG = {
    "name": "e", "tasks": {"digits": {"split": "random"}}, "seeds": [0, 1], "methods": {"dense": {"hidden": [4, 8]}},
    "training": {"epochs": 3}, "model": {"hidden": 8}, "tuning": {"trials": 2}, "tiny": {"seeds": [0]},
    "protocols": {"paper": {"training": {"epochs": 2}}}, "scale": "full", "resources": {"minutes": 5},
}  # fmt: skip


@FUZZ
@given(data=st.data())
def test_experiment_files(tmp_path, data):
    how = data.draw(st.sampled_from(["random", "text", "damaged", "altered"]))
    path = tmp_path / "e.yaml"
    if how == "random":
        path.write_bytes(data.draw(st.binary(max_size=100)))
    elif how == "text":
        path.write_text("\n".join(data.draw(st.lists(st.sampled_from(YAML_ATTACKS[:20]) | st.text(max_size=20)))),
                        encoding="utf-8", errors="ignore")  # fmt: skip
    elif how == "damaged":
        path.write_bytes(data.draw(damaged(yaml.safe_dump(CONFIG).encode())))
    else:
        path.write_text(yaml.safe_dump(data.draw(altered(CONFIG))))
    found = one_line(read_experiment, path)
    assert found is None or isinstance(found, Experiment)


# ---------------------------------------------------------------------- features


def an_npz(compressed: bool) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(
        buffer, x=np.arange(24, dtype="f4").reshape(4, 3, 2), y=np.array([0, 1, 0, 1]), name=np.array(["a"] * 4),
        subset=np.array(["train", "train", "test", "test"]), length=np.array([3, 3, 2, 1]),
    )  # fmt: skip
    return buffer.getvalue()


def a_parquet() -> bytes:
    buffer = io.BytesIO()
    columns = {"sequence": [0, 0, 1, 1, 2, 2, 3, 3], "step": [0, 1] * 4, "y": list("aabbaabb"), "f": [0.5] * 8}
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def features(path: Path) -> Any:
    one_line(expected, Options(path=str(path)))
    return one_line(load_task, TaskSpec(name="t", source="file", options={"path": str(path)}, split="random"), 0)


@pytest.mark.parametrize("compressed", [False, True])
@FUZZ
@given(data=st.data())
def test_npz_files(tmp_path, compressed, data):
    path = tmp_path / "f.npz"
    path.write_bytes(data.draw(st.binary(max_size=60) | damaged(an_npz(compressed))))
    features(path)


@FUZZ
@given(data=st.data())
def test_parquet_files(tmp_path, data):
    path = tmp_path / "f.parquet"
    path.write_bytes(data.draw(st.binary(max_size=60) | damaged(a_parquet())))
    features(path)


DTYPES = st.sampled_from(["<f4", "<f8", "<f2", "<i8", "|u1", "|b1", "<U3", "|S2", "<c8", "<M8[s]", "|V8", "<u8", ">f4"])


@FUZZ
@given(data=st.data())
def test_npz_files_of_odd_arrays_that_are_whole(tmp_path, data):
    """Sound zip, sound checksums; arrays of any type, shape and content."""
    arrays = {}
    for name in data.draw(st.lists(st.sampled_from(["x", "y", "subset", "length", "group", "name", "classes", "scale"]),
                                   unique=True)):  # fmt: skip
        shape = data.draw(st.sampled_from([(4, 3, 2), (4,), (), (0,), (4, 0, 2), (2, 2), (4, 1)]))
        kind = np.dtype(data.draw(DTYPES))
        size = int(np.prod(shape)) * kind.itemsize
        arrays[name] = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), kind).reshape(shape)
    path = tmp_path / "f.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            npy.write_array(buffer, array, allow_pickle=False)
            archive.writestr(f"{name}.npy", buffer.getvalue())
    features(path)


def header(descr: str, shape: str, extra: str = "") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}{extra}}}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


HEADERS = {
    "10^12 numbers": header("'<f4'", "(1000000, 1000000, 1)"),
    "2^80 numbers": header("'<f4'", f"({2**40}, {2**40}, 1)"),
    "negative": header("'<f4'", "(-4, -3, 2)"),
    "objects": header("'|O'", "(4, 3, 2)"),
    "hidden objects": header("[('a', '<f4'), ('b', '|O')]", "(4, 3, 2)"),
    "a vast item": header("'|S1000000000000'", "(4, 3, 2)"),
    "code": header("__import__('os').system('touch pwned')", "(4, 3, 2)"),
    "nested": header("(" * 3000 + "1" + ")" * 3000, "(4,)"),
    "minus signs": header("'<f4'", "(" + "-" * 4000 + "1,)"),
    "no header": b"\x93NUMPY\x01\x00\xff\xff",
    "version 9": b"\x93NUMPY\x09\x00\x10\x00",
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("form", ["npz", "folder"])
def test_headers_that_claim_what_is_not_there(tmp_path, monkeypatch, form, content):
    monkeypatch.chdir(tmp_path)
    sound = io.BytesIO()
    npy.write_array(sound, np.array([0, 1, 0, 1]))
    for wrong in ("x", "y"):
        arrays = {"x": header("'<f4'", "(4, 3, 2)") + bytes(96), "y": sound.getvalue()} | {wrong: content + bytes(32)}
        path = tmp_path / f"{wrong}.npz" if form == "npz" else tmp_path / wrong
        if form == "npz":
            with zipfile.ZipFile(path, "w") as archive:
                for name, array in arrays.items():
                    archive.writestr(f"{name}.npy", array)
        else:
            path.mkdir()
            for name, array in arrays.items():
                (path / f"{name}.npy").write_bytes(array)
        assert features(path) is None
    assert not (tmp_path / "pwned").exists()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """Zeros shrink a thousandfold: megabytes of zip hold more than the machine has."""
    monkeypatch.setattr("squeezebench.base.reading.memory_bytes", lambda: 50_000_000)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros((1000, 100, 200), "f4"), y=np.arange(1000) % 2)
    assert path.stat().st_size < 200_000
    with pytest.raises(InputError, match=r"array x needs 0\.1 GB of memory; this machine has"):
        load_task(TaskSpec(name="t", source="file", options={"path": str(path)}), 0)


def test_a_parquet_of_one_repeated_value_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("squeezebench.base.reading.memory_bytes", lambda: 10_000_000)
    path, rows = tmp_path / "bomb.parquet", 1_000_000
    table = pa.table({"sequence": np.zeros(rows, int), "step": np.arange(rows), "y": np.zeros(rows, int),
                      "f": np.zeros(rows)})  # fmt: skip
    parquet.write_table(table, path)
    with pytest.raises(InputError, match=r"its table needs .* GB of memory"):
        load_task(TaskSpec(name="t", source="file", options={"path": str(path)}), 0)


def test_a_parquet_whose_padding_would_be_vast(tmp_path, monkeypatch):
    """One long sequence among many short ones: N x T is far more than the rows of the file."""
    monkeypatch.setattr("squeezebench.base.reading.memory_bytes", lambda: 10_000_000)
    path, long = tmp_path / "f.parquet", 3000
    ids = np.concatenate([np.zeros(long, int), np.arange(1, long)])
    table = pa.table({"sequence": ids, "step": np.concatenate([np.arange(long), np.zeros(long - 1, int)]),
                      "y": ids % 2 * 0, "f": np.zeros(len(ids))})  # fmt: skip
    parquet.write_table(table, path)
    with pytest.raises(InputError, match="padded to the longest sequence, needs"):
        load_task(TaskSpec(name="t", source="file", options={"path": str(path)}), 0)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_pipe_in_the_place_of_features(tmp_path, suffix):
    import os

    os.mkfifo(tmp_path / f"f{suffix}")
    assert features(tmp_path / f"f{suffix}") is None


# ---------------------------------------------------------------------- models, checkpoints, lists


@cache
def a_model(folder: str) -> bytes:
    path = Path(folder) / "whole"
    save_model(path, recurrent_classifier(3, 4, 2))
    return path.read_bytes()


@FUZZ
@given(data=st.data())
def test_model_files(tmp_path, data):
    path = tmp_path / "model.safetensors"
    if data.draw(st.booleans()):
        content = data.draw(st.binary(max_size=60) | damaged(a_model(str(tmp_path))))
    else:
        model = recurrent_classifier(3, 4, 2)
        spec = data.draw(altered(model.spec()))
        content = save({k: v.contiguous() for k, v in model.state_dict().items()}, metadata={"spec": json.dumps(spec)})
    path.write_bytes(content)
    one_line(read_module, path)


@FUZZ
@given(data=st.data())
def test_checkpoints(tmp_path, data):
    path = tmp_path / checkpoint.NAME
    checkpoint.save(path, {"epoch": 3, "nested": {"a": [1, 2]}, "w": torch.arange(6.0).reshape(2, 3)})
    path.write_bytes(data.draw(st.binary(max_size=60) | damaged(path.read_bytes())))
    try:
        content = checkpoint.load(path)
    except (OSError, ValueError) as error:  # what its reader says of a file that is none; training then starts again
        assert str(error)
    else:
        assert torch.equal(content.pop("w"), torch.arange(6.0).reshape(2, 3))
        assert content == {"epoch": 3, "nested": {"a": [1, 2]}}


# ---------------------------------------------------------------------- messages


@pytest.mark.parametrize("deep", ["[" * 65 + "]" * 65, "{a: " * 65 + "1" + "}" * 65, "- " * 65 + "1", '["]",' * 65])
def test_yaml_is_read_down_to_a_depth_and_no_further(tmp_path, deep):
    with pytest.raises(InputError, match=r"^x, line 1: not valid YAML: nested deeper than 64$"):
        parse_yaml(deep, "x")
    assert parse_yaml("[" * 64 + "]" * 64, "x") is not None


def test_yaml_longer_than_any_experiment_is_refused_unread(tmp_path):
    (tmp_path / "e.yaml").write_text("a: 1\n" * 200_000)
    with pytest.raises(InputError, match=r"e\.yaml: longer than 524,288 characters$"):
        read_experiment(tmp_path / "e.yaml")


def test_a_message_quotes_the_ends_of_a_long_value_and_says_how_long_it_is():
    value = "a" * 2500 + "b" * 2500
    quoted, unquoted = (
        str(InputError(f"e.yaml: name: not {value!r}; give a name")),
        str(InputError(f"no {value} there")),
    )
    assert quoted.startswith("e.yaml: name: not 'aaa") and quoted.endswith("bbb'; give a name") and len(quoted) < 350
    assert "(5,002 characters)" in quoted
    assert len(unquoted) <= LONGEST_LINE and unquoted.startswith("no aaa") and unquoted.endswith("bbb there")
    assert str(InputError(f"not {'c' * 200!r}")) == f"not {'c' * 200!r}"


def test_the_command_line_quotes_no_more_of_its_arguments(capsys):
    with pytest.raises(SystemExit):
        main(["plan", "x", "a" * 5000])
    assert len(capsys.readouterr().err) < 2000
