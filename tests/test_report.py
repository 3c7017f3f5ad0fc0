"""The report: every number traced to its records, nothing dropped in silence, all text escaped."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from csv_files import read_csv
from drawing import drawing_only
from hypothesis import given
from hypothesis import strategies as st
from page_tables import Reader
from synthetic_records import make, record, write

from squeezebench.base.errors import InputError
from squeezebench.report import build_report, formats, outputs, words
from squeezebench.report.figures.accuracy_vs_cost import places
from squeezebench.report.gather import gather
from squeezebench.report.headline import headline
from squeezebench.report.results import Results
from squeezebench.report.statistics.compare import compared, holm, selected
from squeezebench.report.statistics.groups import pareto_front, run_groups
from squeezebench.report.statistics.verdicts import headlines
from squeezebench.report.tabular.cells import accuracy
from squeezebench.report.tabular.table import tex

DRAWN = ("accuracy_vs_size_digits", "per_class_digits", "ranks")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A small experiment with its report; read only."""
    folder = tmp_path_factory.mktemp("results") / "synthetic"
    make(folder, tasks=("digits", "basic_motions"), steps=3)
    with drawing_only(*DRAWN):
        build_report(folder)
    return folder


@given(
    st.lists(
        st.tuples(st.sampled_from([1.0, 2, 3, 5, math.nan]), st.sampled_from([0.1, 0.2, 0.3, math.nan])), max_size=9
    )
)
def test_the_pareto_front_is_what_nothing_beats(points):
    front = pareto_front(np.array([p[0] for p in points]), np.array([p[1] for p in points]))
    real = [p for p in points if not any(map(math.isnan, p))]

    def beaten(p):
        return any(q[0] <= p[0] and q[1] >= p[1] and q != p for q in real)

    assert front.tolist() == [p in real and not beaten(p) for p in points]


def test_holm_is_the_step_down_correction():
    corrected = holm(pd.Series([0.01, 0.04, 0.03, np.nan]))
    assert corrected[:3].tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(corrected[3])


# --- what is said in words


OPEN = (  # what the data do not decide
    "Not enough seeds", "no verdict", "Undecided", "No method", "There is no", "finished seeds has 10",
)  # fmt: skip


def verdict_of(tmp_path: Path, accuracies: dict[str, list[float]]) -> dict[str, str]:
    """Headlines of a task where each method has one setting and these test accuracies by seed."""
    for method, values in accuracies.items():
        for seed, value in enumerate(values):
            accuracy = {"train": 1.0, "validation": value, "test": value}
            step = {"small_dense": 1, "magnitude": 2, "vib_lstm": 2}.get(method, 0)
            one = record("digits", method, step, seed, accuracy=accuracy)
            if method in ("magnitude", "vib_lstm"):  # one size for all seeds
                one = one.model_copy(update={"counts": record("digits", method, step, 0).counts})
            one = one.model_copy(update={"control": method != "vib_lstm"})
            write(tmp_path, one)
    gathered = gather(tmp_path)
    groups = compared(run_groups(gathered), gathered)
    said = headlines("digits", groups, selected(groups))
    for one in said:  # the page shows an open statement in another colour
        assert one.settled != any(words in one.text for words in OPEN), one
    return {headline.kind: headline.text for headline in said}


DENSE = [0.950, 0.952, 0.948, 0.951, 0.949]


NOISE = (0.001, -0.001, 0.0005, 0, 0.0005)


def test_a_method_that_loses_nothing_and_beats_the_control_is_called_so(tmp_path):
    said = verdict_of(tmp_path, {
        "dense": DENSE, "small_dense": [v - 0.1 for v in (0.951, 0.950, 0.949, 0.952, 0.95)],
        "vib_lstm": [v - 0.004 + e for v, e in zip(DENSE, NOISE, strict=True)],
    })  # fmt: skip
    assert "VIB-LSTM" in said["at_ratio"] and "That is within 1 point of dense" in said["at_ratio"]
    assert said["equal_size"].startswith("Better than small_dense of equal size at 10×, after Holm's")
    said = verdict_of(tmp_path / "above", {"dense": DENSE, "vib_lstm": [v + 0.02 for v in DENSE]})
    assert "That is above dense: +2.0 [" in said["at_ratio"]


@pytest.mark.parametrize(("gap", "said"), [
    (-0.02, "No method is shown to beat the best control at 10× or more (Magnitude, 20.5×)"),
    (0.02, "Better than the best control at 10× or more (Magnitude, 20.5×), after Holm's"),
])  # fmt: skip
def test_a_better_control_than_the_small_dense_one_is_named(tmp_path, gap, said):
    """A method that beats a small dense model may still be no better than pruning by magnitude."""
    vib = [v + gap + e for v, e in zip(DENSE, NOISE, strict=True)]
    found = verdict_of(tmp_path, {"dense": DENSE, "small_dense": [0.9, 0.91, 0.9, 0.9, 0.9], "magnitude": DENSE,
                                  "vib_lstm": vib})  # fmt: skip
    assert found["equal_size"].startswith("Better than small_dense of equal size at 10×")
    assert found["best_control"].startswith(said)
    assert ("Shown to be worse: VIB-LSTM" in found["best_control"]) == (gap < 0)
    text = headline("digits", Results(gather(tmp_path)))
    side, verdict = ("below", "worse") if gap < 0 else ("above", "better")
    assert f"It is 2.0 points {side} Magnitude (20.5×) [" in text
    assert text.endswith(f"the best on validation of the controls at 10× or more: {verdict}, after Holm's correction.")


def test_a_method_that_loses_much_is_called_so(tmp_path):
    vib = [v - 0.2 + e for v, e in zip(DENSE, NOISE, strict=True)]
    said = verdict_of(tmp_path, {"dense": DENSE, "small_dense": [0.93, 0.931, 0.929, 0.93, 0.93], "vib_lstm": vib})
    assert said["equal_size"].startswith("No method is shown to beat small_dense")
    assert "Shown to be worse: VIB-LSTM" in said["equal_size"]
    assert "VIB-LSTM" in said["at_ratio"] and "That is more than 1 point below dense" in said["at_ratio"]
    alone = verdict_of(tmp_path / "controls", {"dense": DENSE, "small_dense": DENSE})
    assert "equal_size" not in alone, "without a method there is nothing that a control could lose to"


@pytest.mark.parametrize(("gap", "spread", "words"), [
    (-0.012, 0.012, "of dense, too little power: −1.2 ["),  # could not have told 1 point from 0
    (-0.0095, 0.003, "of dense, near the bound: −0.9 ["),  # could have, and is too near to 1 point
])  # fmt: skip
def test_undecided_says_why(tmp_path, gap, spread, words):
    vib = [v + gap + spread * e for v, e in zip(DENSE, (1, -1, 0.5, -0.5, 0), strict=True)]
    said = verdict_of(tmp_path, {"dense": DENSE, "vib_lstm": vib})
    assert words in said["at_ratio"] and "There is no small_dense run" in said["equal_size"]


def test_four_seeds_have_intervals_and_no_verdict(tmp_path):
    said = verdict_of(tmp_path, {"dense": DENSE[:4], "small_dense": [0.5, 0.52, 0.51, 0.5], "vib_lstm": DENSE[:4]})
    assert "4 paired seeds carry no verdict: 0.0 [" in said["at_ratio"]
    assert said["equal_size"].startswith("4 seeds carry no verdict on whether a method beats small_dense")
    assert "could have detected" in said["equal_size"]


def test_a_collapsed_network_is_no_part_of_the_comparison_and_is_named(tmp_path):
    guess = [0.12, 0.1, 0.11, 0.1, 0.1]
    said = verdict_of(tmp_path, {"dense": DENSE, "small_dense": [0.9, 0.91, 0.9, 0.9, 0.9], "vib_lstm": guess})
    assert said["collapsed"].replace(formats.NBSP, " ") == (
        "Collapsed at 10×, and so no part of the comparison: VIB-LSTM (10.6 % on validation)."
    )
    assert said["equal_size"].startswith("No method reaches 10") and "learnt" in said["equal_size"]
    for value, gone in ((0.18, True), (0.19, False)):  # a tenth of the way from 0.1 to 0.95 is 0.185
        said = verdict_of(tmp_path / str(value), {"dense": DENSE, "vib_lstm": [value] * 5})
        assert ("collapsed" in said) == gone


def test_two_seeds_are_not_enough_for_a_statement(tmp_path):
    said = verdict_of(tmp_path, {"dense": DENSE[:2], "small_dense": [0.93, 0.931], "vib_lstm": [0.94, 0.945]})
    assert "Not enough seeds (2 paired seeds)" in said["at_ratio"]
    assert said["equal_size"].startswith("Not enough seeds")


@pytest.mark.usefixtures("undrawn")
def test_one_seed_has_no_interval_and_says_so(tmp_path):
    make(tmp_path, tasks=("digits",), steps=2, seeds=1)
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "one seed, no interval" in page and "not enough seeds" in page.lower()
    assert {row["test_accuracy_half_width"] for row in read_csv(tmp_path / "tables/groups.csv")} == {""}


def test_a_mean_without_an_interval_says_of_how_many_seeds_it_is():
    row = {"test_accuracy_mean": 0.9, "test_accuracy_half_width": float("nan")}
    notes = [accuracy("test_accuracy")(row | {"ok": ok}).note for ok in (1, 2, 5)]
    assert notes == ["one seed, no interval", "2 seeds, no interval", "no interval"]


# --- nothing is dropped in silence


def problems(folder: Path) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for row in read_csv(folder / "tables/problems.csv"):
        found.setdefault(row["kind"], []).append(row)
    return found


@pytest.mark.usefixtures("undrawn")
def test_failed_skipped_missing_damaged_stale_and_duplicate_runs_are_shown(tmp_path):
    make(tmp_path, tasks=("digits",), steps=2)
    runs = tmp_path / "runs/digits"
    vib, iss = sorted((runs / "vib_lstm").iterdir())[0], sorted((runs / "iss").iterdir())[0]
    shutil.rmtree(vib / "seed-0")
    (vib / "seed-1/record.json").write_text('{"status": "ok"')
    altered = json.loads((vib / "seed-2/record.json").read_text())
    altered["accuracy"]["test"] = 1.0
    (vib / "seed-2/record.json").write_text(json.dumps(altered))
    shutil.copytree(iss / "seed-0", runs / "iss/copy/seed-0")
    other = sorted((runs / "magnitude").iterdir())[0]
    shutil.copytree(iss / "seed-0", other / "seed-0", dirs_exist_ok=True)

    def put(method, step, seed, **changed):
        one = record("digits", method, step, seed, 2, **changed)
        place = next(p["path"] for p in json.loads((tmp_path / "plan.json").read_text())["runs"]
                     if (p["method"], p["seed"], p["settings"]) == (method, seed, one.varied))  # fmt: skip
        write(tmp_path, one, place)

    empty = {"accuracy": {}, "counts": None, "confusion": None, "cost": None}
    put("tt_lstm", 0, 1, status="failed", reason="loss is NaN at step 12", **empty)
    put("random_units", 1, 0, status="skipped", reason="needs two layers", **empty)
    old = record("digits", "small_dense", 0, 0).provenance.model_copy(update={"engine_digest": "0" * 64})
    put("small_dense", 0, 0, provenance=old.model_dump())
    put("dense", 0, 0, provenance=old.model_copy(update={"digest_rule": 2}).model_dump())

    page = build_report(tmp_path).read_text(encoding="utf-8")
    found = problems(tmp_path)
    assert [row["reason"] for row in found["failed"]] == ["loss is NaN at step 12"]
    assert [row["reason"] for row in found["skipped"]] == ["needs two layers"]
    assert {(row["method"], row["seeds"]) for row in found["missing"]} == {("vib_lstm", "0"), ("dense", "0")}
    assert sorted(row["reason"].split(" (")[0] for row in found["damaged"]) == [
        "content does not match its digest",
        "not a complete JSON file",
        "the record in this place is of another run",
    ]
    assert [row["method"] for row in found["stale"]] == ["small_dense"]
    assert [row["method"] for row in found["left out"]] == ["dense"] and "cannot be compared" in page
    assert len(found["duplicate"]) == 1
    for kind in found:
        assert re.search(rf"<b>\d+</b> {kind}", page), f"{kind} runs are counted on the first screen"
    groups = read_csv(tmp_path / "tables/groups.csv")
    assert sum(int(row["ok"]) for row in groups) == len(list(tmp_path.glob("runs/**/record.json"))) - 7
    assert any(row["failed"] == "1" and row["ok"] == "2" for row in groups)
    assert any(row["stale"] == "1" for row in groups) and "1 stale" in page
    assert str(tmp_path) not in page, "reasons carry no path of this machine"


@pytest.mark.usefixtures("undrawn")
def test_a_folder_without_any_record_still_makes_a_page(tmp_path):
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "No run was found" in page


@pytest.mark.usefixtures("undrawn")
def test_a_plan_of_which_nothing_has_run_yet(tmp_path):
    make(tmp_path, tasks=("digits",), steps=1)
    shutil.rmtree(tmp_path / "runs")
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "No run of this task has finished." in page
    assert sum(int(row["runs"]) for row in problems(tmp_path)["missing"]) == 24
    for path in outputs(tmp_path / "plan.json"):
        assert (tmp_path / path).is_file()


@pytest.mark.usefixtures("undrawn")
def test_only_failed_runs(tmp_path):
    for seed in range(3):
        write(tmp_path, record("digits", "iss", 0, seed, status="failed", reason="out of memory", accuracy={},
                               counts=None, confusion=None, cost=None, baseline=None))  # fmt: skip
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "out of memory" in page and "0 of 3".replace(" ", formats.NBSP) in page
    assert [row["front"] for row in read_csv(tmp_path / "tables/groups.csv")] == ["False"]


@pytest.mark.usefixtures("undrawn")
def test_a_damaged_history_costs_only_its_curve(tmp_path):
    make(tmp_path, tasks=("digits",), methods=("dense", "iss"), steps=1, seeds=1)
    for path in tmp_path.glob("runs/digits/iss/*/seed-0/history.csv"):
        path.write_bytes(b"\xff\xfe\x00,,,\n1")
    build_report(tmp_path)
    assert {row["method"] for row in read_csv(tmp_path / "figures/training_digits.csv")} == {"dense"}


# --- protocols


def test_as_released_runs_are_marked_and_never_compared_with_sound_ones(tmp_path):
    make(tmp_path, tasks=("digits",), methods=("dense", "small_dense"), steps=2)
    (tmp_path / "plan.json").unlink()  # a plan has one protocol
    for seed in range(3):
        test = 0.95 + 0.002 * seed
        accuracy = {"validation": 0.94, "test": test, "test_final_epoch": test - 0.01 * (seed + 1)}
        write(tmp_path, record("digits", "vib_lstm", 1, seed, protocol="as_released", accuracy=accuracy))
    with drawing_only("accuracy_vs_size"):
        page = build_report(tmp_path).read_text(encoding="utf-8")
    assert '<span class="mark warn">as released</span>' in page
    picked = [r for r in read_csv(tmp_path / "tables/selected.csv") if r["method"] == "vib_lstm"]
    assert picked and all(r["dense_difference"] == "" and r["dense_n"] == "0" for r in picked)
    gathered = gather(tmp_path)
    groups = compared(run_groups(gathered), gathered)
    said = headlines("digits", groups, selected(groups))
    assert said and not any("VIB-LSTM" in headline.text for headline in said)
    lost = read_csv(tmp_path / "figures/difference_vs_ratio.csv")
    assert {row["method"] for row in lost} == {"small_dense"}
    assert "as released, best test epoch" in (tmp_path / "figures/accuracy_vs_size_digits.svg").read_text()


# --- the page


def test_the_page_may_load_nothing_and_run_only_its_own_script(built):
    page = (built / "report.html").read_text(encoding="utf-8")
    policy = next(a["content"] for _, a in Reader(page).tags if a.get("http-equiv") == "Content-Security-Policy")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    own = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{own}'" in policy


def test_ids_are_unique_and_inner_links_lead_somewhere(built):
    reader = Reader((built / "report.html").read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes.get(name, "") for _, attributes in reader.tags for name in ("href", "xlink:href")}
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)


def test_tables_and_figures_are_accessible(built):
    reader = Reader((built / "report.html").read_text(encoding="utf-8"))
    by_tag: dict[str, list[dict]] = {}
    for tag, attributes in reader.tags:
        by_tag.setdefault(tag, []).append(attributes)
    assert len(by_tag["table"]) == len(by_tag["caption"]) and all(a.get("scope") for a in by_tag["th"])
    assert all(a.get("role") == "img" and a.get("aria-label") for a in by_tag["svg"])
    assert len(by_tag["h1"]) == 1 and by_tag["html"] == [{"lang": "en"}]


def test_the_same_records_make_the_same_bytes(built, tmp_path):
    again = tmp_path / "synthetic"
    shutil.copytree(built / "runs", again / "runs")
    shutil.copy(built / "plan.json", again)
    with drawing_only(*DRAWN):
        build_report(again)
    for path in outputs(built / "plan.json"):
        assert (built / path).read_bytes() == (again / path).read_bytes(), path


def test_latex_is_escaped_and_rounded(built):
    assert tex("a_b & 50 % {x} 3× \\") == r"a\_b \& 50 \% \{x\} 3$\times$ \textbackslash{}"
    text = (built / "tables/selected.tex").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and not line.startswith(r"\caption")]
    assert len({line.count(" & ") for line in rows}) == 1 and r"\toprule" in text
    assert text.isascii()


@pytest.mark.parametrize(("function", "value", "text"), [
    (formats.count, 812, "812"), (formats.count, 12_345, "12.3 k"), (formats.count, 999_999, "1.00 M"),
    (formats.count, 9_441_280, "9.44 M"), (formats.tick, 10_000, "10 k"), (formats.ratio, 33.24, "33.2×"),
    (formats.ratio, 16_360, "16,400×"), (formats.ratio, math.inf, "no LSTM"),
    (formats.percent, 0.9412, "94.1 %"),
    (formats.points, -0.0004, "0.0"), (formats.points, 0.012, "+1.2"), (formats.percent, None, "–"),
    (formats.setting, 1e-05, "1e-05"), (formats.setting, True, "yes"),
])  # fmt: skip
def test_numbers_read_as_people_write_them(function, value, text):
    assert function(value).replace(formats.NBSP, " ") == text


# --- what it costs, and errors


@pytest.mark.long
def test_two_thousand_records_stay_below_ten_megabytes(tmp_path):  # how long they take: benchmarks/report.py
    assert len(make(tmp_path, steps=37)) >= 2000
    page = build_report(tmp_path)
    assert page.stat().st_size < 10_000_000


def test_clear_errors(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no such folder"):
        build_report(tmp_path / "nowhere")
    (tmp_path / "plan.json").write_text('{"runs": [{"task": "digits"}]}')
    with pytest.raises(InputError, match=r"runs\[0\] lacks one of method, path, seed, task"):
        build_report(tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(InputError, match="not a complete JSON file"):
        outputs(tmp_path / "plan.json")
    monkeypatch.setattr(words, "ASSETS", tmp_path / "report")
    with pytest.raises(InputError, match="folder `report` at the root of the repository"):
        build_report(tmp_path)


def test_equal_labels_are_told_apart_by_the_settings_they_differ_in(tmp_path):
    for rate in (0.1, 0.01):
        one = record("digits", "iss", 0, 0)
        write(tmp_path, one.model_copy(update={"settings": {**one.settings, "learning_rate": rate}}))
    groups = run_groups(gather(tmp_path))
    assert [label.replace(formats.NBSP, " ") for label in groups["settings_label"]] == [
        "learning_rate = 0.01, strength = 1e-05",
        "learning_rate = 0.1, strength = 1e-05",
    ]


@pytest.mark.parametrize("span", [1.3, 3.9, 4.9, 6, 20, 500])
def test_an_axis_of_costs_has_as_many_labels_as_fit(span):
    low = 1.15e6  # as VGG-16's multiply-accumulates, from 1.15 to 4.43 million: seven labels stood on each other
    ticks = [tick for tick in places(span).tick_values(low, span * low) if low <= tick <= span * low]
    assert 1 <= len(ticks) <= 5
