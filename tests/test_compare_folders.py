"""`squeezebench compare`: what is noise is called noise, what is not is named, and too few seeds are said to be few."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic_records import make

from squeezebench.base.errors import InputError
from squeezebench.cli.main import main
from squeezebench.report.compare.differences import compare_folders, difference_test, mean_ratio
from squeezebench.report.compare.text import as_text, summary
from squeezebench.schema.record import read_record, write_record

SEEDS = 5
GRID = 1  # settings of each method that has a setting
GROUPS = 8


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare") / "a"
    make(folder, tasks=("digits",), steps=GRID, seeds=SEEDS)
    return folder


@pytest.fixture
def second(first, tmp_path):
    return shutil.copytree(first, tmp_path / "b")


def records(folder, method):
    """(path, record), by settings and seed."""
    found = [(path, read_record(path)) for path in (folder / "runs").rglob(f"{method}/**/record.json")]
    return sorted(found, key=lambda pair: (str(pair[1].varied), pair[1].seed))


def alter(folder, method, change, only=None):
    """Write every record of a method anew: change(record, seed) gives the fields that are replaced."""
    for path, record in records(folder, method):
        if only is None or record.seed in only:
            write_record(path.parent, record.model_copy(update=change(record)))


def shifted(by):
    def change(record):
        step = by(record.seed) if callable(by) else by
        return {"accuracy": record.accuracy.model_copy(update={"test": record.accuracy.test + step})}

    return change


def resized(factor):
    def change(record):
        by = factor(record.seed) if callable(factor) else factor
        counts = {
            name: round(value * by) for name, value in record.counts if value is not None and name != "mask_vectors"
        }
        return {"counts": record.counts.model_copy(update=counts)}

    return change


def of(found, method):
    return [group for group in found.groups if group.key["method"] == method]


def verdicts(found, method):
    return {group.verdict for group in of(found, method)}


# ---------------------------------------------------------------------- the same


def test_a_folder_against_itself_is_identical_in_every_group(first, second, capsys):
    found = compare_folders(first, second)
    assert len(found.groups) == GROUPS and {group.verdict for group in found.groups} == {"identical"}
    assert found.only == ([], []) and found.origins == {} and found.unchanged and found.overall is None
    assert main(["compare", str(first), str(second), "--fail"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{GROUPS} run groups in both: {GROUPS} identical."


def test_one_cell_of_one_confusion_is_not_identical(first, second):
    def change(record):
        confusion = [list(row) for row in record.confusion]
        confusion[0][0], confusion[0][1] = confusion[0][0] - 1, confusion[0][1] + 1
        return {"confusion": confusion}

    alter(second, "dense", change, only=[1])
    found = compare_folders(first, second)
    assert verdicts(found, "dense") == {"no change beyond noise"} and found.unchanged
    assert sum(group.verdict == "identical" for group in found.groups) == GROUPS - 1


def test_equal_results_of_other_weights_are_said(first, second):
    for folder, digest in ((first, "1" * 64), (second, "2" * 64)):
        copy = shutil.copytree(folder, second.parent / f"{folder.name}-digests")
        alter(copy, "dense", lambda record, d=digest: {"model_digest": d})
    found = compare_folders(second.parent / "a-digests", second.parent / "b-digests")
    (group,) = of(found, "dense")
    assert group.verdict == "no change beyond noise" and group.notes == [
        f"the weights have other bits in {SEEDS} of {SEEDS} seeds"
    ]


# ---------------------------------------------------------------------- accuracy


def test_a_shift_is_told_from_noise_and_computed_as_a_textbook_would(first, second):
    dice = np.random.default_rng(1)
    noise = {m: dice.normal(0, 0.012, SEEDS) for m in ("vib_lstm", "iss", "tt_lstm")}
    for method, values in noise.items():
        drop = 0.1 if method == "iss" else 0.0
        alter(second, method, shifted(lambda seed, v=values, d=drop: v[seed] - d))
    found = compare_folders(first, second)
    assert verdicts(found, "iss") == {"changed"} and not found.unchanged
    assert verdicts(found, "vib_lstm") == verdicts(found, "tt_lstm") == {"no change beyond noise"}

    tested = [group for group in found.groups if group.verdict != "identical"]
    assert len(tested) == 3 * GRID
    raw = []
    for group in tested:
        sides = [[r.accuracy.test for _, r in records(folder, group.key["method"])
                  if r.settings == json.loads(group.key["settings"])] for folder in (first, second)]  # fmt: skip
        result = stats.ttest_rel(sides[1], sides[0])
        low, high = result.confidence_interval(0.95)
        gap = group.difference
        assert (gap.value, gap.low, gap.high) == pytest.approx((np.subtract(*sides[::-1]).mean(), low, high))
        assert group.accuracy == pytest.approx(tuple(map(np.mean, sides)))
        raw.append(result.pvalue)
    holm = [max(min(1.0, sum(q >= p for q in raw) * p) for p in raw if p <= own) for own in raw]  # Holm (1979)
    assert [group.p_holm for group in tested] == pytest.approx(holm)
    assert found.overall.value == pytest.approx(np.mean([group.difference.value for group in tested]))


def test_three_seeds_that_agree_on_one_sequence_are_no_change(first, second):
    """A deviation of 0 would make any constant difference certain."""
    one = 1 / records(first, "dense")[0][1].test_size
    alter(second, "dense", shifted(one))
    assert verdicts(compare_folders(first, second), "dense") == {"no change beyond noise"}
    alter(second, "dense", shifted(20 * one))
    assert verdicts(compare_folders(first, second), "dense") == {"changed"}


@pytest.mark.parametrize(
    ("common", "verdict"), [(1, "not enough seeds"), (2, "not enough seeds"), (4, "not enough seeds"), (5, "changed")]
)
def test_few_seeds_in_common_give_words_instead_of_a_verdict(first, second, common, verdict):
    for path, record in records(second, "dense"):
        if record.seed >= common:
            shutil.rmtree(path.parent)
    alter(second, "dense", shifted(-0.3))
    found = compare_folders(first, second)
    (group,) = of(found, "dense")
    assert group.verdict == verdict and group.seeds == list(range(common))
    assert (group.difference.low is None) == (common < 3) and (group.p_holm is None) == (common < 5)
    line = next(line for line in as_text(found).splitlines() if "digits  dense" in line)
    assert verdict in line and "−30.0" in line
    assert found.unchanged == (common < 5)


def test_noise_alone_is_called_a_change_as_rarely_as_promised():
    dice = np.random.default_rng(0)
    found = [difference_test(pd.Series(dice.normal(0.002, 0.01, 5))) for _ in range(2000)]
    covered = np.mean([gap.low <= 0.002 <= gap.high for gap, _ in found])
    assert 0.935 < covered < 0.965
    null = [difference_test(pd.Series(dice.normal(0, 0.01, 5)))[1] for _ in range(2000)]
    assert 0.035 < np.mean(np.array(null) < 0.05) < 0.065


# ---------------------------------------------------------------------- sizes


def test_a_size_that_settings_decide_may_not_move_at_all(first, second):
    for folder in (first, second):
        alter(folder, "tt_lstm", resized(1))
    alter(second, "tt_lstm", resized(1.01))
    found = compare_folders(first, second)
    assert {tuple(group.changed) for group in of(found, "tt_lstm")} == {("size",)}
    assert {group.sizes_differ["count_lstm_total"] for group in of(found, "tt_lstm")} == {SEEDS}


def test_a_size_that_the_data_decide_has_noise(first, second):
    wobble = [0.9, 1.1, 1.05, 0.95, 1.02]
    for folder, order in ((first, wobble), (second, wobble[::-1])):
        copy = shutil.copytree(folder, second.parent / f"{folder.name}-sizes")
        alter(copy, "vib_lstm", resized(lambda seed, w=order: w[seed]))
    a, b = second.parent / "a-sizes", second.parent / "b-sizes"
    found = compare_folders(a, b)
    assert verdicts(found, "vib_lstm") == {"no change beyond noise"}
    assert {(bool(group.sizes_differ), *group.changed) for group in of(found, "vib_lstm")} == {(True,)}
    alter(b, "vib_lstm", resized(2))
    found = compare_folders(a, b)
    assert {tuple(group.changed) for group in of(found, "vib_lstm")} == {("size",)}


@pytest.mark.parametrize("field", ["bytes", "macs"])
def test_the_same_module_may_not_be_stored_or_counted_otherwise(first, second, field):
    alter(second, "dense", lambda r: {"cost": r.cost.model_copy(update={field: getattr(r.cost, field) + 8})}, only=[2])
    found = compare_folders(first, second)
    (group,) = of(found, "dense")
    assert group.verdict == "changed" and group.changed == ["size"] and group.sizes_differ == {field: 1}
    assert f"{field} (1 of {SEEDS} seeds)" in as_text(found)


# ---------------------------------------------------------------------- runs that come, go or fail


def test_a_run_that_fails_now_is_a_change(first, second):
    failed = {"status": "failed", "reason": "boom", "accuracy": type(records(first, "iss")[0][1].accuracy)()}
    alter(second, "iss", lambda record: failed, only=[0])
    found = compare_folders(first, second)
    assert {tuple(group.changed) for group in of(found, "iss")} == {("status",)}
    assert {(*group.seeds, *group.notes) for group in of(found, "iss")} == {(1, 2, 3, 4, "seed 0: ok -> failed")}
    assert not found.unchanged


def test_runs_of_one_folder_only_are_listed(first, second):
    shutil.rmtree(second / "runs/digits/iss")
    shutil.rmtree(records(second, "dense")[3][0].parent)
    found = compare_folders(first, second)
    assert found.only[1] == []
    listed = {(run["method"], tuple(run["seeds"])) for run in found.only[0]}
    assert listed == {("iss", tuple(range(SEEDS))), ("dense", (3,))}
    text = as_text(found)
    assert f"Only in A: {GRID * SEEDS + 1} runs" in text and "digits dense defaults (sound), seed 3" in text
    assert found.unchanged  # what is in both has not changed
    swapped = compare_folders(second, first)
    assert swapped.only == found.only[::-1]


def test_nothing_in_common_is_no_proof_that_nothing_changed(first, tmp_path, capsys):
    make(tmp_path, tasks=("basic_motions",), methods=("dense",), seeds=1)
    assert main(["compare", str(first), str(tmp_path), "--fail"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing to compare: no run is in both."
    assert main(["compare", str(first), str(tmp_path)]) == 0


def test_a_setting_that_is_new_does_not_hide_a_group(first, second):
    alter(second, "vib_lstm", lambda r: {"settings": r.settings | {"head": "linear"}} | shifted(-0.1)(r))
    found = compare_folders(first, second)
    assert found.only == ([], []) and verdicts(found, "vib_lstm") == {"changed"}
    assert {tuple(group.notes) for group in of(found, "vib_lstm")} == {("settings only in B: head",)}


def test_settings_of_other_values_are_other_groups(first, second):
    alter(second, "dense", lambda r: {"settings": r.settings | {"learning_rate": 0.5}})
    found = compare_folders(first, second)
    assert not of(found, "dense") and [len(side) for side in found.only] == [1, 1]


def test_a_damaged_record_is_left_out_and_said(first, second):
    path, _ = records(second, "dense")[0]
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 9'))
    found = compare_folders(first, second)
    assert found.damaged == (0, 1) and "Damaged records, left out: 1 in B" in as_text(found)
    assert of(found, "dense")[0].seeds == [1, 2, 3, 4]


# ---------------------------------------------------------------------- times, origins, output


def test_times_are_ratios_with_an_interval_and_decide_nothing(first, second):
    def slower(record):
        factor = 2 + 0.1 * record.seed
        return {"seconds": record.seconds.model_copy(update={"train": record.seconds.train * factor})}

    alter(second, "dense", slower)
    found = compare_folders(first, second)
    ratio = of(found, "dense")[0].times["train_seconds"]
    factors = [2 + 0.1 * seed for seed in range(SEEDS)]
    assert ratio.value == pytest.approx(stats.gmean(factors)) and 1.9 < ratio.low < ratio.value < ratio.high < 2.5
    assert verdicts(found, "dense") == {"identical"} and found.unchanged
    assert mean_ratio(np.log([2.0, 3.0])).low is None  # two seeds have no interval
    library = stats.ttest_1samp(np.log(factors), 0).confidence_interval(0.95)
    assert np.log([ratio.low, ratio.high]) == pytest.approx(tuple(library))


def test_what_could_explain_a_change_is_stated(first, second):
    def other(record):
        origin = record.provenance
        changed = {"packages": origin.packages | {"torch": "9.9"}, "engine_digest": "f" * 64, "machine": "abacus",
                   "threads": 2, "method_digest": "d" * 64}  # fmt: skip
        return {"provenance": origin.model_copy(update=changed)} | shifted(0.2 - 0.01 * record.seed)(record)

    alter(second, "dense", other)
    text = as_text(compare_folders(first, second))
    for line in (r"package torch: 2\.13\.0 -> 2\.13\.0, 9\.9", "engine digest: eeeeeeeeeeee -> ", "machine: .* -> ",
                 "threads: 1 -> 1, 2", "method digest, dense: [0-9a-f]{12} -> dddddddddddd"):  # fmt: skip
        assert re.search(line, text), line
    assert "numpy" not in text and "split digest" not in text


def test_other_inputs_are_stated_and_records_that_do_not_count_are_left_out(first, second):
    alter(second, "dense", lambda record: {"training": record.training | {"epochs": 60}})
    assert "training epochs, digits: 30 -> 30, 60" in as_text(compare_folders(first, second))
    (second / "plan.json").unlink()  # without a plan the inputs of most runs count
    found = compare_folders(first, second)
    assert of(found, "dense") == [] and found.left_out == (0, SEEDS)
    assert f"Records of other inputs than the rest of their folder, left out: {SEEDS} in B" in as_text(found)
    plan = json.loads((first / "plan.json").read_text())
    plan["runs"] = [run | {"path": f"{run['path']}0"} for run in plan["runs"]]
    (second / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(InputError, match="none of its 40 records is of its plan"):
        compare_folders(first, second)


def test_json_holds_everything_and_no_nan(first, second, capsys):
    alter(second, "iss", shifted(lambda seed: -0.1 + 0.01 * seed))
    alter(second, "dense", lambda r: {"status": "failed", "reason": "boom"})
    assert main(["compare", str(first), str(second), "--json", "--fail"]) == 1
    found = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert found["verdicts"] == {"changed": GRID + 1, "identical": GROUPS - GRID - 1} and not found["unchanged"]
    iss = next(group for group in found["groups"] if group["method"] == "iss")
    assert iss["changed"] == ["accuracy"] and iss["difference"]["value"] == pytest.approx(-0.08)
    assert found["made_with"] == {} and found["a"] == str(first)


def test_groups_without_any_result_are_counted_and_not_compared(first, second, tmp_path):
    for folder in (first, second):
        copy = shutil.copytree(folder, tmp_path / f"{folder.name}-failed")
        alter(copy, "iss", lambda r: {"status": "failed", "reason": "boom"})
    found = compare_folders(tmp_path / "a-failed", tmp_path / "b-failed")
    assert verdicts(found, "iss") == {"no result in either"} and found.unchanged
    assert summary(found).endswith(f"; {GRID} no result in either.")


@pytest.mark.parametrize("place", ["nowhere", "empty", "file"])
@pytest.mark.parametrize("side", [0, 1])
def test_folders_that_hold_no_results(first, tmp_path, complaint, place, side):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    folders = [first, first]
    folders[side] = tmp_path / place
    assert str(tmp_path / place) in complaint("compare", *folders)
