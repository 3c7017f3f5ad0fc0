"""Leave one group out on all folds: sets of groups, one task for each fold, and the mean over folds in the report."""

from __future__ import annotations

import json
from math import sqrt

import numpy as np
import pandas as pd
import pytest
from csv_files import read_csv
from hypothesis import assume, given
from hypothesis import strategies as st
from refusals import refusal_of
from scipy import stats
from synthetic_records import of_run, write

from squeezebench.base.errors import InputError
from squeezebench.cli.main import main
from squeezebench.data.dataset import Dataset
from squeezebench.data.splits import count_folds, make_split
from squeezebench.data.task import load_task
from squeezebench.pipeline.planner import make_plan
from squeezebench.report import build_report
from squeezebench.report.figures.ranks import rank
from squeezebench.report.formats import MINUS
from squeezebench.report.gather import gather
from squeezebench.report.headline import headline
from squeezebench.report.names import output_files, read_plan
from squeezebench.report.results import Results
from squeezebench.report.statistics.folds import over_folds
from squeezebench.report.statistics.summary import REGISTERED
from squeezebench.schema.experiment import check_experiment

LEAVE_OUT = {"split": "leave_one_group_out"}


def dataset(y, group) -> Dataset:
    y = np.asarray(y)
    classes = tuple(f"class {label}" for label in range(y.max() + 1))
    return Dataset(name="made", x=np.zeros((len(y), 2, 2), "f4"), y=y, classes=classes, group=np.asarray(group))


# ---------------------------------------------------------------------- sets of groups


@given(st.integers(2, 5), st.integers(2, 4), st.integers(0, 1000))
def test_each_set_of_groups_has_every_class_and_each_sequence_is_tested_once(folds, classes, seed):
    """Subjects who do everything, but for what they skip, more or less often."""
    dice = np.random.default_rng(seed)
    times = dice.integers(0, 4, (3 * folds, classes))  # subject, class
    y = np.concatenate([np.repeat(np.arange(classes), row) for row in times])
    group = np.repeat(np.arange(len(times)), times.sum(1))
    assume(len(set(y)) == classes and ((times > 0).sum(0) >= folds + 2).all())
    data, tested = dataset(y, group), []
    assert count_folds(data, folds) == folds and count_folds(data) == len(set(group))
    for fold in range(folds):
        test = make_split(data, "leave_one_group_out", fold=fold, folds=folds).test
        assert set(y[test]) == set(range(classes))
        assert not set(group[test]) & set(np.delete(group, test))
        tested += test.tolist()
    assert sorted(tested) == list(range(len(y)))


def test_sets_of_equal_groups_are_equally_large():
    data = dataset(np.tile([0, 1, 2], 12), np.repeat(np.arange(12), 3))
    assert [len(make_split(data, "leave_one_group_out", fold=fold, folds=4).test) for fold in range(4)] == [9] * 4


def test_sets_that_cannot_have_every_class_are_refused_in_one_line():
    data = dataset([0, 1, 0, 1, 0, 0], [0, 0, 1, 1, 2, 3])
    with pytest.raises(InputError, match=r"made: class 'class 1' is in 2 group\(s\), too few for folds: 3 sets"):
        make_split(data, "leave_one_group_out", fold=0, folds=3)
    with pytest.raises(InputError, match=r"fold is 2; there are 2 sets of groups to leave out: 0\.\.1"):
        make_split(data, "leave_one_group_out", fold=2, folds=2)


# ---------------------------------------------------------------------- the plan


@pytest.fixture
def path(tmp_path) -> str:
    """12 subjects who do each of two things four times."""
    y, group = np.tile([0, 1], 48), np.repeat(np.arange(12), 8)
    x = np.random.default_rng(0).normal(size=(len(y), 3, 2)) + y[:, None, None]
    np.savez(tmp_path / "mine.npz", x=x.astype("f4"), y=y, group=group)
    return str(tmp_path / "mine.npz")


def content(entry, path, **more):
    task = {"source": "file", "options": {"path": path}} | entry
    methods = {"dense": {}, "small_dense": {"width": 2}}
    return {"name": "e", "tasks": {"mine": task}, "methods": methods, "seeds": [0, 1], "model": {"hidden": 4}} | more


def plan_of(*arguments, **more):
    return make_plan(check_experiment(content(*arguments, **more), "e.yaml"), "e.yaml")


@pytest.mark.parametrize(("entry", "names"), [
    ({}, [f"mine.fold-{fold:02}" for fold in range(12)]),
    ({"folds": 3}, ["mine.fold-0", "mine.fold-1", "mine.fold-2"]),
    ({"fold": 7}, ["mine"]),
    ({"folds": 3, "fold": 2}, ["mine"]),
])  # fmt: skip
def test_a_task_without_fold_is_planned_once_for_each(path, entry, names):
    training = {"epochs": 3}
    plan = plan_of(LEAVE_OUT | entry | {"training": training}, path, compare_at={"mine": 4})
    assert list(plan.tasks) == names == sorted(names)
    assert all(task.training.epochs == 3 for task in plan.tasks.values())
    assert len(plan.runs) == len(names) * 2 * 2 and {run.task for run in plan.runs} == set(names)
    if "fold" not in entry:
        tasks = [load_task(task.spec) for task in plan.tasks.values()]
        held = np.concatenate([task._data.group[task._rows["test"]] for task in tasks])
        assert sorted(held.tolist()) == np.repeat(np.arange(12), 8).tolist()  # each sequence once


@pytest.mark.parametrize(("entry", "words"), [
    ({"folds": 13}, "mine.npz: class '0' is in 12 group(s), too few for folds: 13"),
    ({"folds": 1}, "folds: Input should be greater than or equal to 2"),
    ({"folds": 3, "fold": 3}, "fold is 3; with folds: 3 it is at most 2"),
    ({"foldz": 3}, "unknown key 'foldz'"),
    ({"options": {"path": "nowhere.npz"}}, "nowhere.npz"),
])  # fmt: skip
def test_what_is_wrong_with_folds_is_one_line(path, entry, words):
    assert words in refusal_of(plan_of, LEAVE_OUT | entry, path)


def test_folds_of_another_rule_and_data_without_groups_are_refused(path):
    with pytest.raises(InputError, match=r"folds is for split: leave_one_group_out only"):
        plan_of({"folds": 3, "split": "group"}, path)
    with pytest.raises(InputError, match="digits: split: leave_one_group_out needs groups"):
        plan_of(LEAVE_OUT | {"source": "digits", "options": {}}, path)


def test_a_task_that_is_called_as_a_fold_is_refused(path):
    more = content(LEAVE_OUT | {"folds": 2}, path)
    more["tasks"]["mine.fold-1"] = {"source": "digits"}
    with pytest.raises(InputError, match=r"tasks: mine\.fold-1: is also a fold of another task"):
        make_plan(check_experiment(more, "e.yaml"), "e.yaml")


def test_records_of_tasks_without_folds_keep_their_digests(path):
    (task,) = plan_of(LEAVE_OUT | {"fold": 3}, path).tasks.values()
    assert "folds" not in task.spec.model_dump(mode="json")


# ---------------------------------------------------------------------- the report


ACCURACY = {  # fold -> of each seed
    "dense": {0: [0.9, 0.8], 1: [0.7, 0.7], 2: [0.95, 0.85]},
    "small_dense": {0: [0.6], 1: [0.5, 0.7], 2: [0.8, 1.0]},  # a seed of fold 0 has not run
}


def results(folder, path, accuracies, **more) -> Results:
    """Records of an experiment with three folds, with these test accuracies."""
    plan = plan_of(LEAVE_OUT | {"folds": 3}, path, **more).model_dump(mode="json")
    (folder / "plan.json").parent.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(plan))
    for run in plan["runs"]:
        of_fold = accuracies[run["method"]].get(int(run["task"][-1]), [])
        if run["seed"] < len(of_fold):
            one = of_run(run, plan)
            accuracy = one.accuracy.model_copy(update={"test": of_fold[run["seed"]], "validation": 0.5})
            written = one.model_copy(update={"accuracy": accuracy, "predictions": None})
            write(folder, written, run["path"])
    return Results(gather(folder))


def half(values) -> float:
    return stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / sqrt(len(values))


def test_the_mean_is_that_of_the_folds_means(tmp_path, path, undrawn):
    results(tmp_path / "results", path, ACCURACY)
    build_report(tmp_path / "results")
    rows = {row["method"]: row for row in read_csv(tmp_path / "results/tables/folds.csv")}
    dense, small = rows["dense"], rows["small_dense"]
    assert (small["task"], small["folds"], small["of_folds"], small["runs"]) == ("mine", "3", "3", "5")
    assert float(dense["test_accuracy_mean"]) == pytest.approx((0.85 + 0.7 + 0.9) / 3)
    assert float(small["test_accuracy_mean"]) == pytest.approx((0.6 + 0.6 + 0.9) / 3)  # not the mean of five runs
    assert float(small["test_accuracy_half_width"]) == pytest.approx(half([0.6, 0.6, 0.9]))
    assert float(small["test_accuracy_worst"]) == pytest.approx(0.6)
    # paired by seed in each fold: 0.6 - 0.9, the mean of 0.5 - 0.7 and 0.7 - 0.7, of 0.8 - 0.95 and 1.0 - 0.85
    differences = [-0.3, -0.1, 0.0]
    assert float(small["dense_difference"]) == pytest.approx(np.mean(differences))
    assert float(small["dense_half_width"]) == pytest.approx(half(differences))
    page = (tmp_path / "results/report.html").read_text()
    assert page.index("Leave one group out: test accuracy, averaged over the folds") < page.index('class="headline"')
    assert f"{MINUS}13.3" in page
    # One set of data is one task: one sentence, one picture of the means, and no rank for each fold.
    assert page.count('class="headline"') == 1 and "Mean over 3 folds" in page
    written = {path.relative_to(tmp_path / "results").as_posix() for path in (tmp_path / "results").rglob("*.*")}
    assert set(output_files(read_plan(tmp_path / "results/plan.json"))) <= written
    assert [name for name in written if "ranked" in name and name.endswith("csv")] == ["figures/ranked_mine.csv"]
    ranked = {row["method"]: row for row in read_csv(tmp_path / "results/figures/ranked_mine.csv")}
    assert float(ranked["dense"]["error"]) == pytest.approx(1 - (0.85 + 0.7 + 0.9) / 3)


def test_the_headline_of_a_task_with_folds_is_of_the_means_over_them(tmp_path, path):
    accuracies = {"dense": ACCURACY["dense"], "iss": {0: [0.8], 1: [0.7], 2: [0.6]}}
    found = results(tmp_path / "results", path, accuracies, methods={"dense": {}, "iss": {}}, compare_at=1.01)
    said = headline("mine", found.whole)
    low = 100 * (0.7 - half([0.6, 0.7, 0.8]))
    assert f"[{low:.1f}, " in said and said.endswith("means and intervals over 3 folds.")
    assert "15.0 points below dense" in said  # of 0.8 - 0.9, 0.7 - 0.7 and 0.6 - 0.95, paired by seed


def test_parts_of_one_data_set_count_once_among_those_that_methods_are_ranked_on():
    """Folds are no independent data sets, which Friedman's test asks for."""
    scores = {"a1": (0.9, 0.1, 0.5), "a2": (0.7, 0.3, 0.6), "b": (0.8, 0.5, -np.inf), "c": (0.6, 0.5, 0.4)}
    rows = [{"task": task, "protocol": "sound", "method": method, REGISTERED: score}
            for task, some in scores.items() for method, score in zip("xyz", some, strict=True)]  # fmt: skip
    data = {"a1": "a", "a2": "a"}
    found = rank(pd.DataFrame(rows), data)
    assert found.scores.loc["a"].tolist() == pytest.approx([0.8, 0.2, 0.55]) and list(found.scores.index) == [
        "a",
        "b",
        "c",
    ]
    assert "here is 2 data sets" in rank(pd.DataFrame([row for row in rows if row["task"] != "c"]), data).words


def test_a_method_that_lacks_a_fold_has_no_mean_beside_those_that_do_not(tmp_path, path):
    found = results(tmp_path / "results", path, ACCURACY | {"small_dense": {0: [0.6], 2: [0.8]}})
    rows = over_folds(found.groups, found.tasks).set_index("method")
    small = rows.loc["small_dense"]
    assert (small["folds"], small["of_folds"]) == (2, 3) and np.isnan(small["test_accuracy_mean"])
    assert rows.loc["dense", "test_accuracy_mean"] == pytest.approx((0.85 + 0.7 + 0.9) / 3)
    whole = found.groups.assign(task="digits")
    assert over_folds(whole, ["digits"]).empty  # an experiment without folds has no such table


def test_a_single_run_has_to_name_its_fold(path, capsys):
    assert (
        main(["run", "--task", f"file:{path}", "--method", "dense", "--split", "leave_one_group_out", "--out", "x"])
        == 2
    )
    assert "leave_one_group_out needs fold" in capsys.readouterr().err


def test_a_published_table_may_show_the_mean_over_the_folds(tmp_path, path, undrawn):
    rows = {"Naive-LSTM": {"method": "dense"}}
    beside = {"name": "beside", "title": "Beside", "printed": "viblstm_t1", "task": "mine", "rows": rows}
    other = {"also": {"small": {"method": "small_dense"}}, "differs": "a random draw"}
    splits = {"name": "splits", "title": "Splits", "layout": "splits", "left": "mine.fold-2", "right": "mine"}
    accuracy = ACCURACY | {"dense": ACCURACY["dense"] | {2: [0.95, 0.85, 0.9]}}
    results(tmp_path / "results", path, accuracy, seeds=[0, 1, 2], tables=[beside | other, splits | {"rows": rows}])
    build_report(tmp_path / "results")
    lines = {row["row"]: row for row in read_csv(tmp_path / "results/tables/beside.csv")}
    assert float(lines["Naive-LSTM"]["test_accuracy_mean"]) == pytest.approx((0.85 + 0.7 + 0.9) / 3)
    assert float(lines["small"]["test_accuracy_half_width"]) == pytest.approx(half([0.6, 0.6, 0.9]))
    assert (float(lines["small"]["ok"]), lines["small"]["task"]) == (3, "mine")
    (line,) = read_csv(tmp_path / "results/tables/splits.csv")
    assert float(line["difference"]) == pytest.approx(0.9 - (0.85 + 0.7 + 0.9) / 3)
    seeds, folds = np.var([0.95, 0.85, 0.9], ddof=1) / 3, np.var([0.85, 0.7, 0.9], ddof=1) / 3
    degrees = (seeds + folds) ** 2 / (seeds**2 / 2 + folds**2 / 2)  # Welch and Satterthwaite
    width = 2 * stats.t.ppf(0.975, degrees) * sqrt(seeds + folds)
    assert float(line["high"]) - float(line["low"]) == pytest.approx(width)
    page = (tmp_path / "results/report.html").read_text()
    assert "<small>3 folds</small>" in page and "and 3 folds;" in page


def test_a_table_of_other_layouts_needs_one_task(path):
    rows = {"Naive-LSTM": {"method": "dense"}}
    table = {
        "name": "ladder",
        "title": "Ladder",
        "layout": "ladder",
        "printed": "viblstm_t1",
        "task": "mine",
        "rows": rows,
    }
    with pytest.raises(InputError, match="task 'mine' is not in the experiment"):
        plan_of(LEAVE_OUT | {"folds": 3}, path, tables=[table])
