"""Benchmarks run and write what they print; how fast anything is, no test says."""

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import forked
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import c_file, clips, inference, memory, on_gpu, recurrence, summary, throughput  # noqa: E402
from benchmarks.studies import across_splits, leads, rule_forms  # noqa: E402
from benchmarks.timing import compare  # noqa: E402
from squeezebench.base.errors import InputError  # noqa: E402
from squeezebench.report.answers import Answers  # noqa: E402
from squeezebench.report.gather import gather  # noqa: E402
from squeezebench.report.statistics.spread import over_both  # noqa: E402
from squeezebench.schema.record import Provenance, Record, Stage  # noqa: E402


def run(module: ModuleType, *words: str, folder: Path) -> subprocess.CompletedProcess:
    """The script's `main` in a process of its own, as `python -m` calls it. clips computes on all cores: a copy of this
    process, whose threads have worked, would wait for them."""
    if module is clips:
        command = [sys.executable, "-m", "benchmarks.clips", *words]
        return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return forked.call(list(words), folder, folder / "log", lambda: None, module.main)


def test_variants_are_interleaved_and_warmed_up():
    calls = []
    timings = compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=4, warmup=2)
    assert len(calls) == 12 and all(set(calls[k : k + 2]) == {"a", "b"} for k in range(0, 12, 2))
    assert all(0 <= t.low <= t.median <= t.high for t in timings.values())


@pytest.mark.parametrize(
    ("module", "words", "name"),
    [
        (inference, "--seconds 0.01 --dense 32 32 --compact 4 2", "PyTorch, oneDNN off"),
        (recurrence, "--repeats 1 --only 32x32x64x128", "nn.LSTM"),
        (clips, "--repeats 1 --clips 1 --frames 2 --size 32 --weights random", "backbone alone"),
        pytest.param(
            *(c_file, "--repeats 1 --dense 32 32 --compact 4 2", "compact, C int8"),
            marks=pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed"),
        ),
    ],
    ids=("inference", "recurrence", "clips", "c_file"),
)
def test_a_benchmark_prints_a_table_and_writes_json(module, words, name, tmp_path):
    file = tmp_path / "out.json"
    done = run(module, *words.split(), "--json", str(file), folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert name in done.stdout and "median" in done.stdout
    assert name in json.dumps(json.loads(file.read_text()))


def test_peak_memory_of_a_run_is_measured_and_compared_with_its_limit(tmp_path, monkeypatch):
    case = memory.Case((36, 4, 6), "dense", ("hidden=4",), frames=2, limit=1e5)
    monkeypatch.setattr(memory, "CASES", {"small": case, "other": case})
    file = tmp_path / "out.json"
    done = run(memory, "--only", "small", "--steps", "1", "--json", str(file), folder=tmp_path)
    assert done.returncode == 0, done.stdout
    (peak,) = json.loads(file.read_text())["peak_memory"].values()
    assert 100 < peak["megabytes"] < 1e5 and peak["ratio"] == peak["megabytes"] / 1e5
    assert "small" in done.stdout and "other" not in done.stdout


def test_the_script_for_a_gpu_runs_every_section_on_the_cpu_and_writes_its_page(tmp_path):
    done = run(on_gpu, "--device", "cpu", "--quick", "--out", str(tmp_path), folder=tmp_path)
    assert done.returncode == 0, done.stdout
    results = json.loads((tmp_path / "gpu.json").read_text())
    titles = " ".join(table["title"] for table in results["tables"])
    assert all(word in titles for word in ("LSTM, B", "GRU, B", "Map alone", "Whole LSTM", "Runs on", "Backbone"))
    assert "dense twice on cpu with one seed: the same bits" in results["notes"]
    assert not [note for note in results["notes"] if "fails" in note or "skipped" in note]
    page = (tmp_path / "gpu.md").read_text()
    assert "| vib_lstm | cpu |" in page and results["machine"]["torch"] in page


def test_a_section_that_does_not_fit_the_budget_of_the_gpu_leaves_a_line(tmp_path):
    bench = on_gpu.Bench(torch.device("cpu"), on_gpu.QUICK, tmp_path, budget=1)
    on_gpu.whole_runs(bench)
    bench.write()
    assert "run of dense on cpu: skipped" in (tmp_path / "gpu.md").read_text()


def test_the_summary_says_what_is_reached_missed_failed_and_not_measured(tmp_path):
    def stored(name: str, content: object) -> None:
        (tmp_path / f"{name}.json").write_text(json.dumps(content))

    medians = {"TT LSTM": 2.0, "BT LSTM": 4.2, "TR LSTM": 0.8, "HT LSTM": 10.0, "nn.LSTM": 40.0}
    stored("tensor_maps", {"lstm": {name: {"median": value} for name, value in medians.items()}})
    stored("throughput", {"throughput": {"share_outside": 0.15}})
    stored("report", {"failed": "Killed"})
    stored("recurrence", {"results": []})
    costs = {"seconds": 15.0, "processor_seconds": 1.0, "megabytes": 1200.0}
    stored("scale", {"costs": {size: {summary.PLANNED: costs} for size in ("500", "20000")}})
    (tmp_path / "clips.json").write_text("{")
    rows = {row.what: summary.line_of(row, tmp_path) for row in summary.ROWS}
    cells = {what: tuple(row[-3:]) for what, row in rows.items()}
    assert cells["BT LSTM of TT LSTM"] == ("2.1", "at most 2.2", "reached")
    assert cells["TR LSTM of nn.LSTM"] == ("0.02", "at most 0.0296", "reached")
    assert cells["HT LSTM of nn.LSTM"] == ("0.25", "at most 0.044", "missed by 468%")
    assert cells["core seconds outside training"] == ("0.15", "at most 0.12", "missed by 25%")
    assert cells["20,000 runs planned"] == ("15 s", "at most 20 s", "reached")
    assert cells["20,000 runs planned, memory"] == ("1,200 MB", "at most 300 MB", "missed by 300%")
    assert cells["20,000 runs gathered"] == ("-", "at most 10 s", "scale.json does not say (KeyError: 'gather')")
    assert cells["report on 2,000 records"] == ("-", "", "the benchmark failed: Killed")
    assert cells[summary.ROWS[0].what][2].startswith("recurrence.json does not say (StopIteration")
    words = {row.benchmark: cells[row.what][2] for row in summary.ROWS}
    assert words["clips"] == "clips.json cannot be read (JSONDecodeError)"
    assert words["c_file"] == "not measured: `python -m benchmarks.summary --run --only c_file`"
    assert len(summary.table(tmp_path).split("\n")) == 1 + len(summary.ROWS)
    assert set(words) == set(summary.SHORT), "`make bench` measures what the table states, and states what it measures"
    assert all((summary.ROOT / "benchmarks" / f"{name}.py").exists() for name in summary.SHORT)


def test_a_benchmark_that_fails_leaves_its_last_line_for_the_summary(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(summary.SHORT, "report", ["--records", "none"])
    summary.main(["--run", "--only", "report", "--folder", str(tmp_path)])
    assert (
        "argument --records: invalid int value: 'none'" in json.loads((tmp_path / "report.json").read_text())["failed"]
    )
    assert "the benchmark failed: report.py: error:" in capsys.readouterr().out


def test_a_shared_pretraining_counts_once_as_training():
    def record(seconds: float, start: str | None) -> Record:
        stages = [Stage(name="train", epochs=1, steps=1, seconds=9, core_seconds=seconds)]
        if start:
            stages.append(Stage(name="dense", epochs=1, steps=1, seconds=9, core_seconds=5.0, shared=True))
        origin = Provenance(start_digest=start)
        return Record(status="ok", task="t", method="m", settings={}, seed=0, stages=stages, provenance=origin)

    records = [record(1.0, "a"), record(2.0, "a"), record(4.0, "b"), record(8.0, None)]
    assert throughput.training(records) == 1 + 2 + 4 + 8 + 5 + 5


def test_two_networks_of_one_seed_are_compared_on_the_same_sequences():
    """8 sequences that only the first network gets, 2 that only the other does: McNemar's exact p is 0.109."""
    first, other = np.ones((1, 100)), np.ones((1, 100))
    first[0, :2], other[0, 2:10] = 0, 0
    found = across_splits._difference(pd.DataFrame(first), pd.DataFrame(other), "random_network", {})
    assert found["difference"] == pytest.approx(0.06)
    assert found["p"] == pytest.approx(2 * sum(math.comb(10, k) for k in range(3)) / 2**10)
    assert found["low"] < 0 < found["high"] < 0.13  # sqrt(10 - 0.36) / 100 is the standard error, nearly
    assert found["covers"] == "test sequences"


def test_each_family_of_a_control_is_a_partner_of_its_own(monkeypatch):
    """A small network without segments once stood in for the one with them, and the other way round."""
    draws = np.random.default_rng(0)
    table = lambda share: pd.concat({"t": pd.DataFrame(draws.random((3, 200)) < share)}, axis=1).astype(float)  # noqa: E731
    monkeypatch.setattr(across_splits, "_tables", lambda *_: ({
        (10.0, "small_dense", ""): table(0.2), (10.0, "small_dense", "front segments"): table(0.5),
        (10.0, "vib_lstm", ""): table(0.9),
    }, {}))  # fmt: skip
    frame = across_splits.across([])
    rows = frame[frame["method"] == "vib_lstm"].set_index("against")["difference"]
    assert rows["small_dense"] == pytest.approx(0.7, abs=0.1)
    assert rows["small_dense front segments"] == pytest.approx(0.4, abs=0.1)
    assert list(frame[frame["method"] == "small_dense"]["against"]) == ["small_dense front segments", "small_dense"]


def test_every_size_is_compared_with_the_dense_network_by_the_corrected_test(monkeypatch):
    draws = np.random.default_rng(0)
    table = lambda share: pd.concat({"t": pd.DataFrame(draws.random((5, 200)) < share)}, axis=1).astype(float)  # noqa: E731
    shares = {(1.0, "dense", ""): 0.9, (10.0, "vib_lstm", ""): 0.8, (10.0, "itpcc_lstm", ""): 0.8}
    tables = {key: table(share) for key, share in shares.items()}
    monkeypatch.setattr(across_splits, "_tables", lambda *_: (tables, {}))
    frame = across_splits.across([]).set_index("method")
    assert list(frame["against"].dropna()) == ["dense", "dense"] and "task" not in frame
    alone = []
    for name in ("vib_lstm", "itpcc_lstm"):
        spread = across_splits.over_both(tables[10.0, name, ""].to_numpy() - tables[1.0, "dense", ""].to_numpy())
        smallest = across_splits.detectable(spread.error, spread.degrees, 0.05 / 2)
        assert frame.loc[name, "detectable"] == pytest.approx(smallest)
        assert frame.loc[name, "accuracy"] == tables[10.0, name, ""].to_numpy().mean()
        alone.append(spread.p)
    low, high = sorted(alone)
    assert sorted(frame["p"].dropna()) == pytest.approx([2 * low, max(2 * low, high)]), "Holm's, of two"


def test_validation_picks_between_values_of_a_setting(monkeypatch):
    """By task: 3.3 is better on one, 1 on the other, and the test part, which says the opposite, is not asked."""
    columns = ["task", "rate", "validation_accuracy_mean", "test"]
    points = [("one", 1, 0.8, 1), ("one", 3.3, 0.9, 0), ("two", 3.3, 0.6, 1), ("two", 1, 0.7, 0)]
    groups = pd.DataFrame(points, columns=columns).assign(method="random_units")
    groups["varied"] = [json.dumps({"ratio": 10, "fine_tune_rate": rate}) for rate in groups["rate"]]
    groups["settings"] = groups["varied"]
    monkeypatch.setattr(across_splits, "run_groups", lambda gathered: groups)
    gathered = SimpleNamespace(
        runs_of=lambda group: pd.DataFrame({"seed": [0], "path": [group["test"]]}),
        correct=lambda paths: Answers(np.zeros(5), np.full((1, 5), paths[0])),
    )
    ((key, table),) = across_splits._tables([gathered], ["fine_tune_rate"])[0].items()
    assert key == (10.0, "random_units", "") and table.shape == (1, 10) and not table.to_numpy().any()
    assert len(across_splits._tables([gathered])[0]) == 2


@pytest.mark.parametrize(
    ("ended", "given", "at", "macs", "ratio"),
    [(17, None, [10, 18.3], False, 18.3), (17, None, [], False, None), (25, None, [18.3], False, None),
     (25, 30, [25], False, 30), (25, 30, [4.5], True, 4.5), (25, 4.5, [9], True, None)],
)  # fmt: skip
def test_a_size_of_its_own_is_compared_at_the_ratio_that_it_is_near(ended, given, at, macs, ratio):
    group = pd.Series({"method": "vibnet", "ratio_size": ended, "dense_macs_mean": 90.0, "macs_mean": 20.0})
    assert across_splits._ratio(group, given, at, macs) == ratio


def test_what_two_folders_have_counts_from_the_first(monkeypatch):
    """The second training of a setting must not be a second chance on validation."""

    def experiment(validation, test, rates):
        varied = [json.dumps({"ratio": 10, "rate": rate}) for rate in rates]
        groups = {"task": "t", "method": "m", "varied": varied, "settings": varied,
                  "validation_accuracy_mean": validation}  # fmt: skip
        return SimpleNamespace(
            groups=pd.DataFrame(groups), runs_of=lambda group: pd.DataFrame({"seed": [0], "path": [test]}),
            correct=lambda paths: Answers(np.zeros(5), np.full((1, 5), paths[0])),
        )  # fmt: skip

    monkeypatch.setattr(across_splits, "run_groups", lambda gathered: gathered.groups)
    first, second = experiment([0.5], 0.3, [1]), experiment([0.9, 0.4], 0.7, [1, 3.3])
    tables, _ = across_splits._tables([first, second])
    assert {key[2]: table.iloc[0, 0] for key, table in tables.items()} == {"rate 1": 0.3, "rate 3.3": 0.7}
    ((_, table),) = across_splits._tables([first, second], ["rate"])[0].items()
    assert table.iloc[0, 0] == 0.3


def test_a_data_set_counts_the_same_however_many_sequences_it_has():
    """1,000 sequences with a difference of 0 once hid 100 with one of 0.2."""
    draws = np.random.default_rng(0)
    answers = lambda size, share: pd.DataFrame(draws.random((5, size)) < share).astype(float)  # noqa: E731
    sides = [pd.concat({"narrow": answers(100, share), "wide": answers(1000, 0.5)}, axis=1) for share in (0.7, 0.5)]
    each = [across_splits._difference(*(side[[task]] for side in sides), "c", {}) for task in ("narrow", "wide")]
    equal, together = (across_splits._difference(*sides, "c", {}, kind) for kind in (True, False))
    means = [sides[0][task].to_numpy().mean() for task in ("narrow", "wide")]
    for kind, weights in ((True, [1, 1]), (False, [1, 10])):
        (line,) = across_splits._lines({(10.0, "c", ""): sides[0]}, {}, kind)
        assert line["accuracy"] == pytest.approx(np.average(means, weights=weights))
    assert equal["difference"] == pytest.approx(np.mean([part["difference"] for part in each]))
    assert together["difference"] == pytest.approx(np.average([part["difference"] for part in each], weights=[1, 10]))
    halves = [(part["high"] - part["low"]) / 2 for part in each]
    assert (equal["high"] - equal["low"]) / 2 == pytest.approx(np.hypot(*halves) / 2, rel=0.15)  # but for Student's t


def test_groups_are_kept_apart_by_task_and_count_where_there_are_ten_of_them():
    """Groups of one name in two tasks are two; sequences of a task with two groups stay what they are."""
    draws, tasks = np.random.default_rng(1), ("many", "few", "none")
    drop = lambda group: (draws.random((5, 200)) < 0.5 + 0.5 * np.repeat(draws.random(20) - 0.5, 10) * group) * 1.0  # noqa: E731
    sides = [pd.concat({task: pd.DataFrame(drop(task == "many")) for task in tasks}, axis=1) for _ in range(2)]
    groups = {"many": np.arange(200) // 10, "few": np.arange(200) // 100}
    found = across_splits._difference(*sides, "c", groups)
    by_hand = [20 + np.arange(400), np.arange(200) // 10]
    spread = over_both((sides[0] - sides[1])[["few", "none", "many"]].to_numpy(), np.concatenate(by_hand))
    assert (found["high"] - found["low"]) / 2 == pytest.approx(spread.half) and found["p"] == pytest.approx(spread.p)
    assert found["covers"] == "seeds and test groups, test sequences, test sequences of these 2 groups"
    alone = across_splits._difference(*sides, "c", {})
    assert alone["covers"] == "seeds and test sequences" and alone["p"] < found["p"]
    equal = across_splits._difference(*sides, "c", groups, True)
    assert equal["covers"] == found["covers"] and equal["high"] - equal["low"] == pytest.approx(
        2 * spread.half, rel=0.15
    )
    twice = [pd.concat(dict.fromkeys(("one", "two"), side["many"]), axis=1) for side in sides]
    both = across_splits._difference(*twice, "c", {"one": groups["many"], "two": groups["many"]})
    assert both["covers"] == "seeds and test groups"
    one = across_splits._difference(*(side[["many"]].iloc[:1] for side in sides), "c", groups)
    means = (sides[0] - sides[1])["many"].iloc[0].to_numpy().reshape(20, 10).mean(axis=1)
    assert one["covers"] == "test groups" and one["p"] == pytest.approx(stats.ttest_1samp(means, 0).pvalue)


def test_leads_over_a_control_are_drawn_of_whole_units_and_filled_where_they_are_shown(tmp_path):
    table = tmp_path / "across.csv"
    table.write_text(
        "ratio,method,settings,against,difference,low,high,p\n"
        "10,vib_lstm,,random_units,2.0,0.8,3.3,0.02\n"
        "10,vib_lstm,,dense,-1.0,-2.0,0.0,0.2\n"
        "10,magnitude,structure element,random_units,9.0,8.0,9.9,0.001\n"
        "30,magnitude,structure unit,random_units,1.0,-1.0,3.0,0.5\n"
    )
    rows = leads.leads(table, ["vib_lstm", "magnitude"], "random_units")
    assert rows.difference.to_list() == [2.0, 1.0]
    leads.main([str(tmp_path / "leads.svg"), f"one={table}", "--methods", "vib_lstm", "magnitude"])
    drawn = (tmp_path / "leads.svg").read_text()
    markers = re.findall(r"<use [^>]*fill: (#\w+); stroke: (#440154)", drawn)  # one experiment: one colour
    assert [fill == edge for fill, edge in markers] == [True, False, True]  # shown, not shown, the legend's
    with pytest.raises(InputError, match="no row compares one of iss with random_units"):
        leads.leads(table, ["iss"], "random_units")


def test_forms_of_a_rule_are_compared_network_by_network_and_on_average():
    drawn = np.random.default_rng(0).random((4, 3, 60))
    one, other = ({name: pd.DataFrame((part > limit) * 1.0) for name, part in zip("ab", half, strict=True)}
                  for half, limit in ((drawn[:2], 0.5), (drawn[2:], 0.2)))  # fmt: skip
    lines = rule_forms.compared({"no pause": one, "pause": other}).set_index("network")
    expected = {name: (one[name] - other[name]).to_numpy().mean() for name in "ab"}
    assert lines["difference"].to_dict() == pytest.approx(expected | {"all": sum(expected.values()) / 2})
    assert lines.loc["all", "high"] - lines.loc["all", "low"] < lines.loc["a", "high"] - lines.loc["a", "low"]
    assert lines.loc["all", "high"] < 0 and pd.isna(lines.loc["all", "p_holm"])
    assert lines.loc["b", "p_holm"] >= lines.loc["b", "p"]


def test_forms_of_one_network_do_not_take_each_others_place():
    published = gather(ROOT / "results/reference/sideways/without_pause")
    forms = rule_forms.answers([published])
    assert list(forms) == ["no pause"] and len(forms["no pause"]) == 12
    with pytest.raises(InputError, match=r"a second group of runs of vgg_4_frames_32, \w+ by the form 'no pause'"):
        rule_forms.answers([published, published])
