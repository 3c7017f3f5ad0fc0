"""The first screen: one look per method in every report, what is missing, and what validation is worth."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from synthetic_records import make, record, write

from squeezebench.report import build_report
from squeezebench.report.drawing.palette import COLOURS, FIXED, GREYS, PLUGIN_MARKERS, look
from squeezebench.report.figures.ranked import _own_ratio
from squeezebench.report.formats import ratio_tick
from squeezebench.report.gather import gather
from squeezebench.report.headline import headline, validation_above_test
from squeezebench.report.ranking import ranking
from squeezebench.report.results import Results


def test_each_method_of_the_project_has_a_look_of_its_own(root):
    """A control of feed-forward networks shares that of the same control of recurrent ones."""
    names = {path.stem for path in (root / "methods").glob("*.py")}
    assert names == set(FIXED)
    shared = {"dense_network", "small_network", "random_network", "magnitude_network"}
    pairs = [(FIXED[name].colour, FIXED[name].marker) for name in names - shared]
    assert len(set(pairs)) == len(pairs)


def test_the_look_of_a_plugin_follows_from_its_name():
    mine = look("my_method", control=False)
    assert (mine.colour, mine.marker, mine.line) == (COLOURS[2], "d", "-")
    assert look("my_method", control=True).colour in GREYS
    assert {look(f"plugin_{number}", control=False).marker for number in range(50)} == set(PLUGIN_MARKERS)


@pytest.mark.parametrize(("gap", "spread", "said"), [(0.05, 0.004, "5.0"), (0.05, 0.05, ""), (0.005, 0.0001, "")])
def test_validation_above_test_is_said_if_it_is_certain_and_a_point_or_more(tmp_path, gap, spread, said):
    noise = spread * np.array([-1.0, 0.0, 1.0])
    for seed in range(3):
        accuracy = {"validation": 0.9 + gap + noise[seed], "test": 0.9}
        write(tmp_path, record("digits", "dense", 0, seed, accuracy=accuracy), f"runs/digits/dense/d/seed-{seed}")
    text = validation_above_test("digits", Results(gather(tmp_path)))
    assert bool(text) == bool(said)
    if said:
        half = 4.302653 * spread / np.sqrt(3)  # Student's t of two degrees of freedom
        assert f"{said} points [+{100 * (gap - half):.1f}, +{100 * (gap + half):.1f}] above test" in text


def lines(folder: Path) -> list[str]:
    """What the page says is missing."""
    page = build_report(folder).read_text(encoding="utf-8")
    box = re.search(r'id="missing">(.*?)</div>', page, re.DOTALL)
    return re.findall(r"<li>(.*?)</li>", box[1]) if box else []


@pytest.mark.usefixtures("undrawn")
def test_a_single_run_says_what_it_cannot_show(tmp_path):
    write(tmp_path, record("digits", "vib_lstm", 0, 0), ".")
    said = lines(tmp_path)
    assert len(said) == 3
    assert "No finished dense run on digits" in said[0] and "No finished small_dense run on digits" in said[1]
    assert said[2] == "1 seed: no intervals and no comparisons; these need 3 seeds, verdicts 5."


@pytest.mark.usefixtures("undrawn")
def test_an_unfinished_experiment_says_which_runs_wait(tmp_path):
    make(tmp_path, tasks=("digits",), steps=2, seeds=5)
    assert lines(tmp_path) == []
    for path in tmp_path.glob("runs/digits/iss/*/seed-[01]/record.json"):
        path.unlink()
    planned = len(json.loads((tmp_path / "plan.json").read_text())["runs"])
    (said,) = lines(tmp_path)
    assert said.startswith(f"4 of {planned} planned runs have no result yet: digits/iss (4).")


def test_a_method_that_does_not_reach_the_ratio_has_the_reason_of_its_runs(tmp_path):
    for seed in range(3):
        write(tmp_path, record("digits", "dense", 0, seed), f"runs/digits/dense/d/seed-{seed}")
        empty = dict.fromkeys(("counts", "confusion", "cost", "baseline")) | {"accuracy": {}}
        given = {"varied": {"ratio": 10.0}, "settings": {"ratio": 10.0}}
        gone = record("digits", "tt_lstm", 0, seed, status="skipped", reason="cannot reach 10x", **given, **empty)
        write(tmp_path, gone, f"runs/digits/tt_lstm/t/seed-{seed}")
        write(tmp_path, record("digits", "iss", 0, seed), f"runs/digits/iss/i/seed-{seed}")
    found = ranking(Results(gather(tmp_path)), "digits")
    told = {one.method: (one.brief, one.reason) for one in found.absent}
    assert told["tt_lstm"] == ("skipped", "skipped: cannot reach 10x")
    assert re.fullmatch(r"its smallest network is [\d.]+×", told["iss"][1])
    assert list(found.references["method"]) == ["dense"] and found.groups.empty


def test_every_method_without_a_recurrence_stands_beside_dense(tmp_path):
    """The best of each, not the best of all: the others have finished runs too, and would be listed as missing."""
    none = record("digits", "pooled_linear", 0, 0)
    for method, validation in (("dense", 0.9), ("pooled_linear", 0.7), ("iss", 0.8)):
        for seed in range(3):
            accuracy = {"validation": validation, "test": 0.6}
            without = {} if method == "dense" else {"counts": none.counts, "accuracy": accuracy}
            write(tmp_path, record("digits", method, 0, seed, **without), f"runs/digits/{method}/x/seed-{seed}")
    found = ranking(Results(gather(tmp_path)), "digits")
    assert list(found.references["method"]) == ["dense", "iss", "pooled_linear"] and not found.absent


def test_of_two_methods_equal_on_validation_the_test_part_picks_none(tmp_path):
    """The better one on test is the later one in the order of the tables."""
    for method, test in (("dense", 0.95), ("iss", 0.7), ("vib_lstm", 0.9)):
        for seed in range(3):
            one = record("digits", method, 4, seed, accuracy={"validation": 0.9, "test": test})
            write(tmp_path, one, f"runs/digits/{method}/x/seed-{seed}")
    results = Results(gather(tmp_path))
    assert list(ranking(results, "digits").groups["method"]) == ["vib_lstm", "iss"]
    assert "ISS" in headline("digits", results) and "70.0" in headline("digits", results)


def test_a_ranked_network_beyond_the_ratio_shows_its_own():
    row = {"rank": 1.0, "compare_at": 10.0}
    shown = [_own_ratio(row | {"ratio_size": ratio}) for ratio in (9.5, 10.0, 11.0, 15.0)]
    assert shown == ["", "", "", " (15.0×)"]
    assert _own_ratio(row | {"rank": float("nan"), "ratio_size": 15.0}) == ""  # a reference is not ranked


def test_a_ratio_has_the_digits_that_were_asked_for():
    assert [ratio_tick(ratio) for ratio in (3, 1.4, 18.3, 332, 1000)] == ["3×", "1.4×", "18.3×", "332×", "1,000×"]
