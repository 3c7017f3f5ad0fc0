"""Claims: every verdict of every form planted both ways, and every claim file checked against what it refers to."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import stats
from synthetic_records import make, record, write

from squeezebench.base.errors import InputError
from squeezebench.method.discovery import find_methods, load
from squeezebench.report import build_report, outputs
from squeezebench.report.claims.file import CLAIMS, Check, audits, read_claims
from squeezebench.report.claims.forms import Case, Outcome, evaluate, judge
from squeezebench.report.claims.judge import SIZES_ALONE, judge_claims, task_specs, verdict_of
from squeezebench.report.gather import gather
from squeezebench.report.names import CLAIMED
from squeezebench.report.statistics.compare import compared
from squeezebench.report.statistics.groups import run_groups
from squeezebench.schema.inference import Comparison, Inference, Model, Side, Time, write_inference
from squeezebench.schema.printed import read_block
from squeezebench.schema.record import Counts

pytestmark = pytest.mark.usefixtures("undrawn")

KNOBS = {"cell": "lstm", "front": "last", "hidden": 2048, "group_lasso": 0, "mask_gates": True, "mask_features": True,
         "scale": "dataset", "finalise": "standard"}  # fmt: skip
EQUAL, LARGER, SMALLER = [0.900, 0.901, 0.899, 0.900], [0.950, 0.951, 0.949, 0.950], [0.800, 0.801, 0.799, 0.800]
NOISY = [0.80, 0.99, 0.85, 0.95]


def put(folder: Path, method: str, tests: list[float], sizes=1000, validation=None, **settings) -> None:
    """Runs of one setting, one a seed. sizes: LSTM parameters of 100,000 left, one number or one a seed."""
    for seed, value in enumerate(tests):
        one = record("digits", "vib_lstm", 0, seed)
        own = sizes if isinstance(sizes, int) else sizes[seed]
        kept = Counts(input_to_hidden=own, hidden_to_hidden=0, bias=0, lstm_total=own, model_total=own,
                      mask_vectors=settings.get("masks", 0))  # fmt: skip
        whole = Counts(input_to_hidden=100_000, hidden_to_hidden=0, bias=0, lstm_total=100_000, model_total=100_000)
        setting_names = {key: value for key, value in settings.items() if key != "masks"}
        accuracy = {"validation": np.mean(tests) if validation is None else validation, "test": value}
        write(folder, record("digits", "vib_lstm", 0, seed, counts=kept.model_dump(), accuracy=accuracy).model_copy(
            update={"method": method, "method_title": method, "settings": KNOBS | setting_names,
                    "varied": setting_names, "control": method in ("dense", "small_dense"),
                    "class_names": one.class_names,
                    "baseline": one.baseline.model_copy(update={"counts": whole})}))  # fmt: skip


def case(folder: Path, models: tuple[Model, ...] = ()) -> Case:
    gathered = gather(folder)
    return Case("digits", compared(run_groups(gathered), gathered), gathered, list(models))


def verdict(folder: Path, models: tuple[Model, ...] = (), **check):
    parsed = TypeAdapter(Check).validate_python({"says": "it", **check})
    return evaluate(parsed, case(folder, models))


VIB, ISS = {"method": "vib_lstm"}, {"method": "iss"}


# --- the rule


@given(*[st.floats(-5, 5)] * 3)
def test_an_interval_supports_contradicts_or_leaves_open(first, second, bound):
    low, high = sorted((first, second))
    assert judge(low, high, at_least=bound) == (
        "supported" if low >= bound else "contradicted" if high < bound else "undecided"
    )
    assert judge(low, high, at_most=bound) == judge(-high, -low, at_least=-bound)
    more = judge(low, high, more_than=bound)
    assert more == ("supported" if low > bound else "contradicted" if high <= bound else "undecided")


def test_all_comparisons_have_to_hold():
    def decided(*verdicts, optional=()):
        outcomes = [Outcome(verdict, "") for verdict in verdicts]
        return verdict_of(outcomes, [n in optional for n in range(len(verdicts))])

    assert decided("supported", "supported") == ("supported", 0)
    assert decided("supported", "undecided", "not run") == ("not run", 2)
    assert decided("undecided", "not run", "contradicted") == ("contradicted", 2)
    assert decided("supported", "undecided") == ("undecided", 1)
    assert decided("supported", "not run", optional=(1,)) == ("supported", 0)
    assert decided("not run", optional=(0,)) == ("not run", 0)


# --- each form, planted both ways


@pytest.mark.parametrize(("ours", "theirs", "said"), [
    (10, 1000, "supported"), (100, 1000, "contradicted"), ([10, 10, 10, 900], 1000, "undecided"),
])  # fmt: skip
def test_ratio_of_ratios(tmp_path, ours, theirs, said):
    put(tmp_path, "vib_lstm", EQUAL, ours)
    put(tmp_path, "iss", EQUAL, theirs)
    found = verdict(tmp_path, form="ratio", of=VIB, over=ISS, at_least=70)
    assert found.verdict == said and found.seeds == 4
    assert found.value == pytest.approx(theirs / np.mean(ours)) and found.low <= found.value <= found.high
    assert found.bound == "at least 70×"


@pytest.mark.parametrize(("size", "said"), [
    (200, "supported"), (199 * 3 // 2, "supported"), (400, "contradicted"), (100, "contradicted"),
    ([150, 250, 290, 500], "undecided"),
])  # fmt: skip
def test_a_ratio_within_a_factor(tmp_path, size, said):
    put(tmp_path, "vib_lstm", EQUAL, size)
    assert verdict(tmp_path, form="ratio", of=VIB, about={"value": 500, "factor": 1.5}).verdict == said


@pytest.mark.parametrize(("ours", "said"), [
    (EQUAL, "supported"), (LARGER, "supported"), (SMALLER, "contradicted"), (NOISY, "undecided"),
])  # fmt: skip
def test_difference_to_dense(tmp_path, ours, said):
    put(tmp_path, "dense", EQUAL[::-1], 100_000)
    put(tmp_path, "vib_lstm", ours)
    found = verdict(tmp_path, form="difference", of=VIB, minus={"method": "dense"}, at_least=-0.5)
    assert found.verdict == said
    gaps = np.array(ours) - np.array(EQUAL[::-1])
    assert found.value == pytest.approx(gaps.mean()) and found.low < found.value < found.high


def test_agreement_to_the_last_sequence_is_no_proof_of_equality(tmp_path):
    put(tmp_path, "dense", [0.9] * 3, 100_000)
    put(tmp_path, "vib_lstm", [0.9] * 3)
    found = verdict(tmp_path, form="difference", of=VIB, minus={"method": "dense"}, at_least=-0.5)
    assert found.verdict == "undecided" and found.low == pytest.approx(-4.302653 / 400 / 3**0.5, rel=1e-5)


@pytest.mark.parametrize(("kept", "said"), [(EQUAL, "supported"), (LARGER, "contradicted"), (NOISY, "undecided")])
def test_equal_but_for_one_knob(tmp_path, kept, said):
    for beta, shift in ((1.0, 0.0), (3.0, -0.1)):
        put(tmp_path, "vib_lstm", [v + shift for v in EQUAL], beta=beta)
        put(tmp_path, "vib_lstm", [v + shift for v in kept], beta=beta, finalise="vectors")
    put(tmp_path, "vib_lstm", LARGER, beta=9.0)  # without a twin: no part
    check = {"form": "equal", "of": VIB | {"where": {"finalise": "standard"}}, "setting": "finalise", "within": 1,
             "to": VIB | {"where": {"finalise": "vectors"}}}  # fmt: skip
    found = verdict(tmp_path, **check)
    assert found.verdict == said and found.picked == ("2 pairs of settings",)
    assert found.value == pytest.approx(np.mean(EQUAL) - np.mean(kept))


def test_settings_without_a_twin_are_not_compared(tmp_path):
    put(tmp_path, "vib_lstm", EQUAL, beta=1.0)
    put(tmp_path, "vib_lstm", EQUAL, beta=3.0, finalise="vectors")
    check = {"form": "equal", "of": VIB | {"where": {"finalise": "standard"}}, "setting": "finalise", "within": 1,
             "to": VIB | {"where": {"finalise": "vectors"}}}  # fmt: skip
    assert verdict(tmp_path, **check).verdict == "not run"


@pytest.mark.parametrize(("after", "said"), [
    ((SMALLER, SMALLER), "supported"), ((EQUAL, LARGER), "contradicted"), ((NOISY, EQUAL), "undecided"),
])  # fmt: skip
def test_accuracy_falls_from_a_value_on(tmp_path, after, said):
    for beta, values in zip((0.1, 1.0, 2.0, 5.0), (SMALLER, EQUAL, *after), strict=True):
        put(tmp_path, "vib_lstm", values, beta=beta)
    found = verdict(tmp_path, form="falls", of=VIB, setting="beta", start=2, at_most=-1)
    assert found.verdict == said
    assert found.value == pytest.approx(np.mean(after) - np.mean(EQUAL)), "against the last value below, not the first"
    assert verdict(tmp_path, form="falls", of=VIB, setting="beta", start=9, at_most=-1).verdict == "not run"


@pytest.mark.parametrize(("sizes", "said"), [
    ((5000, 1000, 100), "supported"), ((100, 1000, 5000), "contradicted"),
    (([100, 2000, 1000, 90], 1000, [110, 1000, 2000, 80]), "undecided"),
])  # fmt: skip
def test_compression_is_monotone(tmp_path, sizes, said):
    for beta, some in zip((0.1, 1.0, 10.0), sizes, strict=True):
        put(tmp_path, "vib_lstm", EQUAL, some, beta=beta)
    check = {"form": "monotone", "of": VIB, "setting": "beta", "quantity": "ratio"}
    assert verdict(tmp_path, **check, direction="rises").verdict == said
    other = {"supported": "contradicted", "contradicted": "supported"}.get(said, said)
    found = verdict(tmp_path, **check, direction="falls")
    assert found.verdict == other
    if said == "supported":
        curve = np.log10([100_000 / size for size in sizes])
        assert found.value == pytest.approx(np.polyfit([-1, 0, 1], curve, 1)[0])


@pytest.mark.parametrize(("ours", "said"), [
    ((LARGER, LARGER), "supported"), ((LARGER, SMALLER), "contradicted"), ((LARGER, NOISY), "undecided"),
    ((EQUAL[::-1], EQUAL[::-1]), "undecided"),
])  # fmt: skip
def test_small_dense_networks_of_equal_size(tmp_path, ours, said):
    for size, values in zip((10_000, 1000), ours, strict=True):
        put(tmp_path, "vib_lstm", values, size, beta=1 / size)
        put(tmp_path, "small_dense", EQUAL, int(size * 1.2), hidden=size)
    put(tmp_path, "vib_lstm", SMALLER, 10, beta=99.0)  # no small dense network is anywhere near this size
    put(tmp_path, "small_dense", LARGER, 50_000, hidden=7)  # nor is there a method near that one
    check = {"form": "equal_size", "of": VIB, "against": {"method": "small_dense"}, "factor": 2, "more_than": 0}
    found = verdict(tmp_path, **check)
    assert found.verdict == said and found.picked == ("2 sizes",)
    assert found.words.count("at 10.0×") == found.words.count("at 100×") == 1 and "at 10,000×" not in found.words


def test_intervals_at_several_sizes_hold_together(tmp_path):
    ours = [0.9, 0.91, 0.92, 0.915]
    for size in (10_000, 1000):
        put(tmp_path, "vib_lstm", ours, size, beta=1 / size)
        put(tmp_path, "small_dense", EQUAL, size, hidden=size)
    found = verdict(tmp_path, form="equal_size", of=VIB, against={"method": "small_dense"}, factor=2, more_than=0)
    gaps = np.array(ours) - np.array(EQUAL)
    half = stats.t(3).ppf(1 - 0.025 / 2) * gaps.std(ddof=1) / 2
    assert (found.low, found.high) == pytest.approx((gaps.mean() - half, gaps.mean() + half))


@pytest.mark.parametrize(("masks", "said"), [(0, "supported"), (64, "contradicted")])
def test_what_a_compact_module_stores(tmp_path, masks, said):
    put(tmp_path, "vib_lstm", EQUAL, masks=0)
    put(tmp_path, "vib_lstm", EQUAL, masks=masks, beta=3.0)
    assert verdict(tmp_path, form="stored", of=VIB, count="mask_vectors", equals=0).verdict == said


def model(dense: dict[str, float], compact: dict[str, float], task="digits", method="vib_lstm") -> Model:
    """A network with times in ms by runtime; quartiles 10 % away."""

    def side(times):
        return Side(ms={k: Time(median=v, low=0.9 * v, high=1.1 * v) for k, v in times.items()}, memory_ms=0,
                    arithmetic_ms=0)  # fmt: skip

    fastest = min(dense, key=dense.get)
    ratios = {name: dense[fastest] / ms for name, ms in compact.items()}
    comparison = Comparison(batch=1, dense=side(dense), compact=side(compact), overhead_ms={}, same_runtime={},
                            fastest_dense=fastest, against_fastest=ratios)  # fmt: skip
    return Model(source="runs/x", task=task, method=method, steps=8, dense_size="2048 x 2048", compact_size="46 x 9",
                 parameters=1, dense_parameters=2, macs=None, dense_macs=None, comparisons=[comparison])  # fmt: skip


@pytest.mark.parametrize(("against", "compact", "said", "value"), [
    ("same_runtime", 1.0, "supported", 200), ("fastest_dense", 1.0, "contradicted", 50),
    ("same_runtime", 2.9, "undecided", 200 / 2.9), ("same_runtime", 10.0, "contradicted", 20),
])  # fmt: skip
def test_speed(tmp_path, against, compact, said, value):
    put(tmp_path, "vib_lstm", EQUAL)
    timed = model({"torch": 200.0, "engine": 50.0}, {"torch": compact, "engine": compact + 9})
    found = verdict(tmp_path, (timed,), form="speed", of=VIB, against=against, at_least=67)
    assert found.verdict == said and found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx((value * 0.9 / 1.1, value * 1.1 / 0.9))
    other = model({"torch": 9000.0}, {"torch": 1.0}, method="iss")
    assert verdict(tmp_path, (other,), form="speed", of=VIB, against=against, at_least=67).verdict == "not run"


# --- too little to say anything


@pytest.mark.parametrize("check", [
    {"form": "ratio", "of": VIB, "over": ISS, "at_least": 2},
    {"form": "difference", "of": VIB, "minus": ISS, "at_least": -9},
])  # fmt: skip
def test_two_seeds_leave_a_comparison_undecided_in_words(tmp_path, check):
    put(tmp_path, "vib_lstm", EQUAL[:2], 10)
    put(tmp_path, "iss", SMALLER, 1000)
    found = verdict(tmp_path, **check)
    assert (found.verdict, found.words) == ("undecided", "not enough seeds (2 in common)")
    assert np.isnan([found.value, found.low, found.high]).all()


def test_what_is_missing_is_named(tmp_path):
    put(tmp_path, "vib_lstm", EQUAL)
    put(tmp_path, "dense", EQUAL, 100_000)
    assert verdict(tmp_path, form="ratio", of=VIB, over=ISS, at_least=2).words == "no run of iss"
    eq15 = verdict(tmp_path, form="ratio", of=VIB | {"where": {"scale": "eq15"}}, at_least=2)
    assert (eq15.verdict, eq15.words) == ("not run", "no run of vib_lstm with scale = eq15")
    lasso = verdict(tmp_path, form="ratio", of=VIB | {"unlike": {"group_lasso": 0}}, at_least=2)
    assert lasso.words == "no run of vib_lstm with group_lasso other than 0"


def test_settings_are_picked_on_validation_and_near_dense(tmp_path):
    put(tmp_path, "dense", EQUAL, 100_000, validation=0.90)
    put(tmp_path, "vib_lstm", EQUAL, 5000, validation=0.93, beta=0.1)
    put(tmp_path, "vib_lstm", SMALLER, 1000, validation=0.895, beta=1.0)  # worse on test, near dense on validation
    put(tmp_path, "vib_lstm", LARGER, 10, validation=0.80, beta=10.0)  # better on test, far on validation
    check = {"form": "difference", "of": VIB | {"pick": "smallest"}, "minus": {"method": "dense"}, "at_least": -0.5}
    found = verdict(tmp_path, **check)
    assert found.value == pytest.approx(-0.1), "the setting of 1,000 parameters"
    assert "smallest within 1 point of dense" in found.picked[0]


# --- claim files


def files() -> list[Path]:
    return sorted(CLAIMS.glob("*.yaml"))


def test_every_claim_file_is_valid_and_what_it_refers_to_exists():
    claims = read_claims()
    assert len(claims) == len(files()) >= 10
    for claim in claims:
        for figure in claim.printed:
            block = read_block(figure.block)
            assert block.lines[block.keys.index(figure.row)][figure.column]
            assert figure.text()
        assert all(id in audits() for id in claim.audit)
        named = claim.model_dump_json()
        assert f'"{CLAIMED}"' in named, "the section is shown where this method runs"
    assert {path.suffix for path in CLAIMS.iterdir()} == {".yaml"}, "no Python in this folder"


def test_methods_knobs_and_sources_of_the_claims_exist(root):
    known = find_methods()
    sources = {path.stem for path in (root / "squeezebench" / "data" / "sources").glob("*.py")}
    for claim in read_claims():
        assert {pattern.source for pattern in claim.tasks} <= sources
        for test in claim.tests:
            groups = [getattr(test, name) for name in ("of", "over", "minus", "to", "against")
                      if hasattr(getattr(test, name, None), "method")]  # fmt: skip
            for group in groups:
                setting_names = load(known[group.method]).Settings.model_fields
                assert {*group.where, *group.unlike} <= set(setting_names), (claim.name, group)
                if hasattr(test, "setting"):
                    assert test.setting in setting_names


GOOD = yaml.safe_load(files()[0].read_text(encoding="utf-8"))


@pytest.mark.parametrize(("change", "said"), [
    ({"tests": [{"says": "x", "form": "guess"}]}, "tests.0: Input tag 'guess'"),
    ({"tests": [GOOD["tests"][1] | {"at_least": None}]}, "tests.0.difference: give a bound"),
    ({"tests": [GOOD["tests"][0] | {"more_than": 1}]}, "give one of at_least, more_than and about"),
    ({"tests": []}, "tests: List should have at least 1 item"),
    ({"tasks": []}, "tasks: List should have at least 1 item"),
    ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ({"printed": [GOOD["printed"][0] | {"block": "nowhere"}]}, "printed.0: unknown block 'nowhere'"),
    ({"printed": [GOOD["printed"][0] | {"row": "nothing"}]}, "viblstm_text has no row 'nothing'"),
    ({"printed": [GOOD["printed"][0] | {"column": "size"}]}, "viblstm_text has no column 'size'"),
    ({"audit": ["Z-9"]}, "audit: no check 'Z-9'"),
])  # fmt: skip
def test_a_malformed_claim_is_one_line(tmp_path, change, said):
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(GOOD | change, allow_unicode=True))
    with pytest.raises(InputError) as error:
        read_claims(tmp_path)
    assert said in str(error.value) and "bad.yaml" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["a: [", "just words", "", "\t- x"])
def test_what_is_no_claim_at_all_is_one_line(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml: not") as error:
        read_claims(tmp_path)
    assert "\n" not in str(error.value)


# --- on the page


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


UCF11 = {"source": "ucf11", "options": {"features": "inception_v3"}}


def with_spec(folder: Path, spec: dict) -> None:
    """A plan that says what the task is made of."""
    plan = {"runs": [], "tasks": {"digits": {"spec": spec}}}
    (folder / "plan.json").write_text(json.dumps(plan))


def test_claims_about_the_papers_figures_are_tested_on_the_papers_tasks_alone(tmp_path):
    put(tmp_path, "dense", EQUAL, 100_000)
    for setting_names, size in (({"mask_gates": False}, 50_000), ({"mask_features": False}, 196), ({}, 6)):
        put(tmp_path, "vib_lstm", EQUAL[::-1], size, **setting_names)

    def ablation(spec):
        with_spec(tmp_path, spec)
        found = case(tmp_path)
        assert task_specs(found.gathered)["digits"] == spec
        frame = judge_claims(found.groups, found.gathered)
        return frame[frame["claim"] == "02_ablation"].iloc[0]

    row = ablation(UCF11)
    assert (row["task"], row["verdict"], row["papers_task"]) == ("digits", "supported", True)
    assert row["ours"].startswith("feature mask alone: 2.00× in every seed; gate masks alone: 510×")
    for other in ({"source": "digits", "options": {}}, UCF11 | {"options": UCF11["options"] | {"synthetic": 4}}):
        row = ablation(other)
        assert (row["task"], row["verdict"]) == ("", "not run") and "one of the paper's: ucf11" in row["reason"]


def test_sizes_of_the_paper_are_timed_in_any_folder(tmp_path):
    put(tmp_path, "vib_lstm", EQUAL)
    timed = model({"torch": 200.0, "engine": 50.0}, {"torch": 1.0, "engine": 1.0}, task=SIZES_ALONE, method="")
    write_inference(tmp_path, Inference(machine="m", packages={}, finished="2026-01-01", bandwidth={1: 1.0},
                                        macs_per_second=1.0, models=[timed]))  # fmt: skip
    found = case(tmp_path)
    frame = judge_claims(found.groups, found.gathered).set_index("claim")
    assert frame.at["05_inference_100x", "verdict"] == "supported"
    assert frame.at["06_inference_100x_fastest", "verdict"] == "contradicted"
    assert frame.at["05_inference_100x", "task"] == "sizes of the paper"


def test_beta_two_means_nothing_on_another_scale(tmp_path):
    for scale in ("dataset", "eq15"):
        for beta, values in ((1.0, EQUAL), (2.0, SMALLER)):
            put(tmp_path, "vib_lstm", values, beta=beta, scale=scale)
        found = case(tmp_path)
        frame = judge_claims(found.groups, found.gathered).set_index("claim")
        row = frame.loc["03_accuracy_falls_from_beta_2"]
        assert row["verdict"] == ("not run" if scale == "dataset" else "supported")
        assert ("another place on the axis" in row["reason"]) == (scale == "dataset")


def test_the_page_shows_the_claims_where_the_method_ran(tmp_path):
    make(tmp_path / "with", tasks=("digits",), steps=2)
    make(tmp_path / "without", tasks=("digits",), methods=("dense", "iss"), steps=2)
    page = build_report(tmp_path / "with").read_text(encoding="utf-8")
    assert 'id="claims"' in page and page.index('id="claims"') < page.index('id="selected"')
    rows = read_csv(tmp_path / "with/tables/claims.csv")
    assert {row["claim"] for row in rows} == {path.stem for path in files()}
    for row in rows:
        assert row["verdict"] in ("supported", "contradicted", "undecided", "not run") and row["reason"]
        assert row["verdict"] in ("not run",) or row["ours"]
    number = sum(row["verdict"] == "not run" for row in rows)
    assert f'<span class="chip not-run">{number} not run</span>' in page
    assert "tables/claims.tex" in outputs(tmp_path / "with/plan.json")
    assert 'id="claims"' not in build_report(tmp_path / "without").read_text(encoding="utf-8")
    assert not (tmp_path / "without/tables/claims.csv").exists()
    assert not any("claims" in name for name in outputs(tmp_path / "without/plan.json"))
