"""`squeezebench inference`: the same networks in every runtime, the fastest dense one, and what time is made of."""

from __future__ import annotations

import json
import shutil
import time

import pytest

from squeezebench.base.errors import InputError
from squeezebench.cli.main import main
from squeezebench.engine.measurement.latency import Variant, timings
from squeezebench.nn.factorized.low_rank import LowRankMap
from squeezebench.nn.rnn.classifier import recurrent_classifier
from squeezebench.report.gather import gather
from squeezebench.report.results import Results
from squeezebench.report.tables.inference import build
from squeezebench.schema.inference import INT8, Side, Time, read_inference
from squeezebench.schema.record import read_record
from squeezebench.tools.export import export
from squeezebench.tools.latency import Sizes, comparison, measure
from squeezebench.tools.latency.hardware import bandwidth, memory_seconds, speed_of, weight_bytes
from squeezebench.tools.latency.runtimes import ENGINE, ONNX, PYTORCH, RUNTIMES, WITHOUT, in_every_runtime

SMALL = Sizes((600, 300), (6, 3), 5, 4, "synthetic")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two short runs on digits, one of them without recurrence, measured with one pair of sizes."""
    place = tmp_path_factory.mktemp("results")
    runs = {"tt_lstm": ["hidden=16", "compact_to=cores"], "dense": ["hidden=16"], "pooled_linear": []}
    for name, options in runs.items():
        arguments = ["run", "--task", "digits", "--method", name, "--train", "epochs=2"]
        arguments += [part for option in options for part in ("--set", option)]
        assert main([*arguments, "--out", str(place / "runs" / name)]) == 0
    runs = [place / "runs" / name for name in ("dense", "tt_lstm", "pooled_linear")]
    measure(place, runs, [SMALL], seconds=0.05)
    return place


def test_both_networks_in_every_runtime_against_the_same_and_the_fastest(folder):
    found = read_inference(folder)
    assert [model.source for model in found.models] == ["synthetic", "runs/dense", "runs/tt_lstm"]
    assert "MeanPoolLinear" in found.left_out["runs/pooled_linear"]
    for model in found.models:
        assert [comparison.batch for comparison in model.comparisons] == [1, 10]
        for c in model.comparisons:
            assert set(c.dense.ms) == set(c.compact.ms) == set(c.overhead_ms) - {INT8} == set(RUNTIMES)
            for name in RUNTIMES:
                dense, compact = c.dense.ms[name], c.compact.ms[name]
                assert 0 < compact.low <= compact.median <= compact.high
                assert c.same_runtime[name] == pytest.approx(dense.median / compact.median, rel=1e-3)
                fastest = min(t.median for t in c.dense.ms.values())
                assert c.against_fastest[name] == pytest.approx(fastest / compact.median, rel=1e-3)
                assert c.dense.ms[c.fastest_dense].median == fastest
    synthetic, _, tensor = found.models
    assert (synthetic.dense_size, synthetic.compact_size) == ("600 x 300", "6 x 3")
    assert synthetic.comparisons[1].same_runtime[ENGINE] > 2  # 1.1 million weights against 132, ten sequences
    assert any("TensorTrainMap" in note and "multiplied out" in note for note in tensor.notes)
    assert tensor.steps == 8 and tensor.method == "tt_lstm" and tensor.inputs_digest


def test_int8_is_timed_beside_the_others_and_no_side_of_a_float32_ratio(folder):
    for model in read_inference(folder).models:
        for c in model.comparisons:
            dense, compact = c.dense.int8_ms.median, c.compact.int8_ms.median
            assert dense > 0 < compact and c.fastest_dense in RUNTIMES and INT8 in c.overhead_ms
            assert c.same_runtime[INT8] == pytest.approx(dense / compact, rel=1e-3)
            fastest = {name: t.median for name, t in c.dense.ms.items()} | {INT8: dense}
            assert fastest[c.fastest_dense_of_all] == min(fastest.values())
            assert c.against_fastest[INT8] == pytest.approx(min(fastest.values()) / compact, rel=1e-3)


def test_int8_faster_than_every_dense_float32_is_the_rival_of_int8_alone():
    def time(ms):
        return Time(median=ms, low=ms, high=ms)

    def side(ms, int8):
        return Side(ms={PYTORCH: time(ms)}, int8_ms=time(int8), memory_ms=0, arithmetic_ms=0)

    found = comparison(1, side(8, 2), side(4, 1), {})
    assert (found.fastest_dense, found.fastest_dense_of_all) == (PYTORCH, INT8)
    assert found.against_fastest == {PYTORCH: 2, INT8: 2} and found.same_runtime == {PYTORCH: 2, INT8: 2}
    assert comparison(1, side(1, 2), side(4, 1), {}).against_fastest == {PYTORCH: 0.25, INT8: 1}


def test_int8_has_the_accuracy_and_size_of_the_exported_file(folder):
    synthetic, dense, tensor = read_inference(folder).models
    for side in synthetic.int8.values():
        assert side.test is None and side.not_scored == "random weights" and side.logit_difference > 0
    for model, place in ((dense, "runs/dense"), (tensor, "runs/tt_lstm")):
        record = read_record(folder / place / "record.json")
        done = export(folder / place, "onnx", folder / f"{model.method}.onnx", precision="int8")
        side = model.int8["compact"]
        assert side.test == done.test and side.float32_test == record.accuracy.test and side.weights == place
        assert side.sequences == record.test_size and side.logit_difference == pytest.approx(done.gap, rel=1e-3)
        assert 0 < done.bytes - side.bytes < 1000  # the exported file says what it is of
        assert model.int8["dense"] == dense.int8["compact"]  # the trained dense network of the same task and seed


def test_without_a_trained_dense_network_its_int8_is_not_scored(folder, tmp_path):
    shutil.copytree(folder / "runs" / "tt_lstm", tmp_path / "runs" / "tt_lstm")
    measure(tmp_path, [tmp_path / "runs" / "tt_lstm"], [], seconds=0.01)
    (model,) = read_inference(tmp_path).models
    assert "no trained dense network" in model.int8["dense"].not_scored and model.int8["dense"].test is None
    assert model.int8["compact"].test is not None
    row = build(Results(gather(tmp_path))).frame.set_index("runtime").loc[INT8].iloc[0]
    assert row["compact_test"] == model.int8["compact"].test and "no trained dense" in row["dense_not_scored"]
    assert "not scored: no trained dense" in str(build(Results(gather(tmp_path))).rows())


def test_what_the_time_is_made_of_is_bytes_and_products():
    speeds = {1000: 1e6, 100_000: 1e5}
    assert speed_of(900, speeds) == speed_of(1000, speeds) == 1e6
    assert speed_of(1001, speeds) == speed_of(10**9, speeds) == 1e5
    dense = recurrent_classifier(6, 5, 3)
    assert weight_bytes(dense) == (4 * sum(p.numel() for p in dense.parameters()), 4 * 4 * 5 * 5)
    assert memory_seconds(800, 100, 3, speeds) == pytest.approx((800 + 2 * 100) / 1e6)
    low_rank = recurrent_classifier(6, 5, 3)
    low_rank.layers[0].hidden_map = LowRankMap(5, 20, 1)
    assert weight_bytes(low_rank) == weight_bytes(dense)  # the matrix is built, and that is what each step reads


def test_bandwidth_is_measured_for_every_size():
    assert all(1e8 < speed < 1e13 for speed in bandwidth(0.001).values())


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_runtimes_agree_and_one_that_does_not_is_refused(cell, monkeypatch):
    model = recurrent_classifier(6, 5, 3, cell)
    found, notes = in_every_runtime(model, 6, 4)
    assert set(found) == {ENGINE, PYTORCH, WITHOUT, ONNX} and not notes
    monkeypatch.setattr(
        "squeezebench.tools.latency.runtimes.forward_of", lambda m: Variant(lambda x: lambda: m(x) + 0.01)
    )
    with pytest.raises(InputError, match="gives logits that differ by"):
        in_every_runtime(model, 6, 4)


def test_a_short_call_is_timed_in_a_row_and_reported_for_one(monkeypatch):
    """By a clock that only the calls move, so that nothing depends on what else the machine does."""
    calls = []
    monkeypatch.setattr(time, "perf_counter", lambda: 1e-4 * len(calls))
    variant = Variant(lambda x: lambda: calls.append(x))
    alone = timings({"a": variant}, 1, 1, batches=(1,), seconds=0.001)["a"]["1"].median
    before = len(calls)
    in_a_row = timings({"a": variant}, 1, 1, batches=(1,), seconds=0.001, row_seconds=0.005)["a"]["1"].median
    assert len(calls) - before > 10 * before
    assert in_a_row == pytest.approx(alone) and alone == pytest.approx(0.1)  # ms


def test_the_file_is_checked(folder, tmp_path):
    assert read_inference(tmp_path) is None
    content = (folder / "inference.json").read_text()
    changed = json.loads(content)
    changed["models"][0]["comparisons"][0]["against_fastest"][ENGINE] = 1e6
    for text, says in [
        (content[:-20], "not a complete JSON file"),
        (json.dumps(changed), "does not match its digest"),
        ("[]", "a JSON object is expected"),
    ]:
        (tmp_path / "inference.json").write_text(text)
        with pytest.raises(InputError, match=says):
            read_inference(tmp_path)


def test_nothing_to_measure_and_wrong_options_are_one_line(folder, tmp_path, complaint):
    with pytest.raises(InputError, match=r"no compact recurrent module to measure \(1 runs have none\)"):
        measure(folder, [folder / "runs" / "pooled_linear"], [])
    for arguments, says in [
        ([str(tmp_path / "none")], "no such folder"),
        ([str(folder), "--seconds", "0"], "give more than 0"),
    ]:
        assert says in complaint("inference", *arguments)


def test_the_reports_table_says_what_was_measured(folder):
    found, table = read_inference(folder), build(Results(gather(folder)))
    frame = table.frame
    assert len(frame) == len(found.models) * 2 * (len(RUNTIMES) + 1)
    for model in found.models:
        for c in model.comparisons:
            mine = frame[(frame["source"] == model.source) & (frame["batch"] == c.batch)].set_index("runtime")
            for name, taken in c.compact.ms.items():
                row = mine.loc[name]
                assert row["compact_ms"] == taken.median and row["dense_ms"] == c.dense.ms[name].median
                assert row["against_fastest"] == pytest.approx(row["fastest_dense_ms"] / taken.median, rel=1e-3)
                assert 0 < row["overhead_share"] <= 1
            assert mine.loc[INT8, "compact_ms"] == c.compact.int8_ms.median
            assert mine.loc[INT8, "fastest_dense"] == c.fastest_dense_of_all
            for side, made in model.int8.items():
                assert mine.loc[INT8, f"{side}_bytes"] == made.bytes
                assert mine.loc[ONNX, f"{side}_bytes"] == made.float32_bytes
                if made.test is not None:
                    assert mine.loc[INT8, f"{side}_test"] == made.test
                    assert mine.loc[ONNX, f"{side}_test"] == made.float32_test
            assert mine.loc[[PYTORCH, WITHOUT, ENGINE], ["dense_bytes", "compact_test"]].isna().all(axis=None)
    assert all(len(cells) == len(table.columns) for cells in table.rows())
    assert found.machine in table.caption and "GB/s from memory" in table.caption
    assert "compact_ms_high" in table.csv().splitlines()[0] and r"\toprule" in table.tex()
    assert build(Results(gather(folder / "runs"))) is None
