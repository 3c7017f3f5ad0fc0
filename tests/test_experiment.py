"""Experiment files: everything wrong is one line before anything runs, and a plan is stable."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from method_files import method_file
from refusals import refusal_of

from squeezebench.base.errors import LONGEST_LINE, InputError
from squeezebench.method import RecurrentSettings
from squeezebench.pipeline.planner import make_plan
from squeezebench.schema.experiment import Experiment, check_experiment, compared_at, read_experiment
from squeezebench.schema.training import TrainingSettings
from squeezebench.tools.new_method import write_method

ROOT = Path(__file__).resolve().parents[1]
BASE = {"name": "e", "tasks": ["digits"], "methods": {"dense": {}}, "seeds": [0]}


def plan_of(where="e.yaml", **changed):
    return make_plan(check_experiment(BASE | changed, where), where)


def refused(**changed) -> str:
    """The one line that says what is wrong."""
    return refusal_of(plan_of, **changed)


def settings_in(plan, method):
    return [run.settings for run in plan.runs if run.method == method]


# ---------------------------------------------------------------------- what is wrong, what is right


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": [1]}, ["unknown key 'seed'", "did you mean seeds"]),
        ({"banana": 1}, ["unknown key 'banana'", "tasks", "methods", "seeds"]),
        ({"methods": {"vib_lstn": {}}}, ["unknown method 'vib_lstn'", "did you mean vib_lstm"]),
        ({"methods": {"xyzzy": {}}}, ["unknown method 'xyzzy'", "known:", "dense", "magnitude"]),
        ({"methods": {"vib_lstm": {"betta": 1}}}, ["e.yaml", "methods", "vib_lstm", "'betta'", "beta"]),
        ({"methods": {"vib_lstm": {"beta": "much"}}}, ["e.yaml", "vib_lstm", "beta = 'much'", "number"]),
        ({"methods": {"vib_lstm": {"beta": [1, "much"]}}}, ["e.yaml", "vib_lstm", "beta = 'much'"]),
        ({"methods": {"vib_lstm": {"beta": -1}}}, ["vib_lstm", "beta = -1", "greater than or equal to 0"]),
        ({"methods": {"vib_lstm": {"noise": "per_batch"}}}, ["noise = 'per_batch'", "'first_batch'"]),
        ({"methods": {"vib_lstm": {"hidden": 8.5}}}, ["hidden = 8.5", "integer"]),
        ({"methods": {"vib_lstm": 3}}, ["e.yaml", "methods.vib_lstm"]),
        ({"methods": {"vib_lstm": {"beta": []}}}, ["e.yaml", "vib_lstm", "beta is an empty list"]),
        ({"methods": {"vib_lstm": [], "dense": {}}}, ["e.yaml", "vib_lstm", "empty list"]),
        ({"methods": {"pooled_linear": {"hidden": 3}}}, ["pooled_linear", "no setting 'hidden'"]),
        ({"tasks": ["digit"]}, ["e.yaml", "digit", "did you mean digits"]),
        ({"tasks": {"mine": {"source": "nowhere"}}}, ["e.yaml", "nowhere"]),
        ({"tasks": {"digits": {"sauce": "digits"}}}, ["e.yaml: tasks: digits", "'sauce'", "source"]),
        ({"tasks": {"digits": {"options": {"x": 1}}}}, ["e.yaml", "digits", "option x"]),
        ({"tasks": {"digits": {"test_share": 2}}}, ["e.yaml: tasks: digits", "test_share", "less than 1"]),
        ({"tasks": {"digits": {"training": {"epoch": 3}}}}, ["e.yaml", "'epoch'", "epochs"]),
        ({"tasks": {"digits": {"training": 3}}}, ["e.yaml", "digits", "training"]),
        ({"tasks": {"digits": {"model": ["lstm"]}}}, ["e.yaml", "digits", "model"]),
        ({"tasks": {"digits": {"name": "other"}}}, ["e.yaml", "digits", "name"]),
        ({"tasks": {"my task": {"source": "digits"}}}, ["e.yaml: tasks", "my task"]),
        ({"tasks": "digits"}, ["e.yaml", "tasks", "list"]),
        ({"training": {"lr": 3}}, ["e.yaml: training", "unknown key 'lr'", "learning_rate"]),
        ({"training": {"epochs": 0}}, ["e.yaml: training: epochs", "greater than 0", "got 0"]),
        ({"training": {"steps": 0}}, ["e.yaml: training: steps", "greater than 0", "got 0"]),
        ({"training": {"epochs": 3, "steps": 9}}, ["e.yaml: training: give `epochs` or `steps`, not both"]),
        ({"tuning": {"epochs": 3, "steps": 9}}, ["e.yaml: tuning: give `epochs` or `steps`, not both"]),
        ({"training": {"schedule": "linear"}}, ["training: schedule", "'cosine', 'constant' or 'thirds'", "'linear'"]),
        ({"training": {"optimiser": "sgd", "momentum": 1}}, ["training: momentum", "less than 1", "got 1"]),
        ({"training": {"nesterov": True, "momentum": 0}}, ["e.yaml: training: nesterov needs a momentum"]),
        ({"training": {"learning_rate": float("inf")}}, ["training: learning_rate", "finite"]),
        ({"methods": {"vib_lstm": {"beta": float("inf")}}}, ["beta", "finite"]),
        ({"model": {"cell": "rnn"}}, ["e.yaml: model: cell", "gru, lstm, min_gru", "'rnn'"]),
        ({"model": {"beta": 1}}, ["e.yaml: model", "unknown key 'beta'"]),
        ({"protocol": "honest"}, ["e.yaml: protocol", "'sound', 'paper' or 'as_released'", "'honest'"]),
        ({"seeds": [0, -1]}, ["e.yaml: seeds.1", "greater than or equal to 0", "-1"]),
        ({"seeds": 3}, ["e.yaml: seeds", "list", "got 3"]),
        ({"compare_at": 1}, ["e.yaml: compare_at: give a ratio above 1, or `task: ratio`", "got 1"]),
        ({"compare_at": {"digits": "30"}}, ["e.yaml: compare_at: give a ratio above 1"]),
        ({"compare_at": {"digit": 30}}, ["e.yaml: compare_at: 'digit' is no task", "did you mean digits"]),
        ({"seeds": [0, 1, 0]}, ["e.yaml: seeds", "0 is given twice"]),
        ({"tasks": {"digits": {"seeds": [1, 1]}}}, ["e.yaml: tasks: digits: seeds", "1 is given twice"]),
        ({"tasks": {"digits": {"seeds": []}}}, ["e.yaml: tasks: digits: seeds", "at least 1 item"]),
        ({"tasks": ["digits", "digits"]}, ["e.yaml: tasks", "digits is given twice"]),
        ({"runs_per_job": 0}, ["e.yaml: runs_per_job", "greater than 0"]),
        ({"name": "a/b"}, ["e.yaml: name", "'a/b'"]),
        ({"name": "my first"}, ["e.yaml: name: only letters, digits", "give `name:` (got 'my first')"]),
        ({"plugins": "nowhere/at/all"}, ["plugins", "nowhere/at/all does not exist"]),
        ({"tasks": []}, ["e.yaml: no runs"]),
        ({"tasks": {}}, ["e.yaml: no runs"]),
        ({"methods": {}}, ["e.yaml: no runs"]),
        ({"seeds": []}, ["e.yaml: no runs"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_the_key_and_what_is_allowed(changed, words):
    text = refused(**changed)
    for word in words:
        assert word in text


def test_a_task_may_have_seeds_of_its_own():
    content = BASE | {"tasks": {"digits": {"seeds": [7]}, "japanese_vowels": None}, "seeds": [0, 1]}
    plan = make_plan(check_experiment(content, "e.yaml"), "e.yaml")
    assert {(run.task, run.seed) for run in plan.runs} == {
        ("digits", 7),
        ("japanese_vowels", 0),
        ("japanese_vowels", 1),
    }


@pytest.mark.parametrize("key", ["tasks", "methods"])
def test_a_missing_key_is_named(key):
    content = {k: v for k, v in BASE.items() if k != key}
    with pytest.raises(InputError, match=f"e.yaml: {key}: Field required"):
        check_experiment(content, "e.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tasks: [digits", ["line 1", "not valid YAML"]),
        ("- digits", ["an experiment is a mapping", "tasks", "methods"]),
        ("", ["an experiment is a mapping"]),
        ("tasks: [digits]\nmethods: {dense: {hidden: 4}, dense: {hidden: 8}}", ["line 2", "dense", "twice"]),
    ],
)
def test_a_file_that_is_no_experiment(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    line = refusal_of(read_experiment, path)
    assert all(word in line for word in ["mine.yaml", *words]), line


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(InputError, match=r"no.yaml: cannot be read"):
        read_experiment(tmp_path / "no.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00tasks")
    with pytest.raises(InputError, match=r"bytes.yaml.*not valid YAML"):
        read_experiment(tmp_path / "bytes.yaml")


def test_data_that_are_not_there_are_noticed_before_anything_runs(tmp_path):
    text = refused(tasks={"mine": {"source": "file", "options": {"path": str(tmp_path / "no.npz")}}})
    assert "mine" in text and "no.npz" in text


def test_the_name_of_an_experiment_is_its_files(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in BASE.items() if k != "name"}))
    assert read_experiment(path).name == "mine"
    assert read_experiment(path, {"name": "other", "seeds": [4]}).seeds == [4]


def own_data(path: Path, value: float = 0.0) -> str:
    """Features of two classes of 25 groups each, under the names of UCF101's clips."""
    y = np.repeat([0, 1], 25)
    names = [f"v_{'AB'[label]}_g{group:02}_c01" for label, group in zip(y, [*range(1, 26)] * 2, strict=True)]
    np.savez(path, x=np.full((50, 8, 2), value), y=y, name=names)
    return str(path)


def own_clips(folder: Path, hmdb51: bool) -> dict[str, str]:
    """Files under the names of clips of two classes in five groups, as UCF11's or, with its lists, as HMDB51's."""
    for name in ("clap", "wave") if hmdb51 else ("biking", "diving"):
        lines = []
        for group in range(1, 6):
            file = (
                f"F{group}_{name}_u_cm_np1_fr_med_0.avi"
                if hmdb51
                else f"v_{name}_{group:02}/v_{name}_{group:02}_01.avi"
            )
            (folder / "clips" / name / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "clips" / name / file).write_bytes(b"x")
            lines.append(f"{file} {2 if group < 3 else 1}\n")
        (folder / "lists").mkdir(exist_ok=True)
        for number in (1, 2, 3) if hmdb51 else ():
            (folder / "lists" / f"{name}_test_split{number}.txt").write_text("".join(lines))
    return {"clips": str(folder / "clips"), "lists": str(folder / "lists")}


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda path: path.stem)
def test_the_projects_own_experiments_are_valid(path, tmp_path):
    text = path.read_text()
    own = {"features": own_data(tmp_path / "x.npz")} if "${features}" in text else {}
    own |= own_clips(tmp_path, "${lists}" in text) if "${clips}" in text else {}
    if "${weights}" in text:
        (tmp_path / "weights.th").write_bytes(b"x")
        own["weights"] = str(tmp_path / "weights.th")
    assert make_plan(read_experiment(path, own), str(path)).runs


def test_the_first_page_that_a_user_sees_compares_something():
    """A method is given the ratio of the comparison, beside a control, with the seeds that an interval takes."""
    plan = make_plan(read_experiment(ROOT / "config/smoke.yaml", {}), "smoke")
    for task in plan.tasks:
        at = compared_at(plan.config["compare_at"], task)
        given = {run.method for run in plan.runs if run.task == task and run.varied.get("ratio") == at}
        assert {"small_dense", "vib_lstm"} <= given and len({run.seed for run in plan.runs}) >= 3


def test_the_path_of_the_users_features_is_a_parameter(tmp_path):
    tasks = {"mine": {"source": "file", "options": {"path": "${features}"}}}
    spec = plan_of(tasks=tasks, features=own_data(tmp_path / "x.npz")).tasks["mine"].spec
    assert spec.options["path"] == str(tmp_path / "x.npz")
    assert "--config features=PATH" in refused(tasks=tasks)
    assert "--config clips=PATH" in refused(tasks={"mine": {"source": "clips", "options": {"folder": "${clips}"}}})


# ---------------------------------------------------------------------- grids


def test_one_list_of_ratios_stands_in_every_method():
    methods = {"small_dense": {"ratio": "${ratios}"}, "vib_lstm": [{"ratio": "${ratios}"}, {"beta": 2}]}
    plan = plan_of(methods=methods, ratios=[2, 5], seeds=[0])
    sizes = [(run.method, run.varied.get("ratio")) for run in plan.runs]
    assert sizes == [("small_dense", 2), ("small_dense", 5), ("vib_lstm", 2), ("vib_lstm", 5), ("vib_lstm", None)]
    assert "there is no `ratios: [10, 30]`" in refused(methods=methods)
    own = {"methods": {"vib_lstm": {"ratio": [2, 5]}}, "ratios": [2, 5]}
    stated, filled = (plan_of(defaults={"vib_lstm": {"ratio": value}}, **own) for value in ([2, 5], "${ratios}"))
    assert filled.config["defaults"] == stated.config["defaults"] == {"vib_lstm": {"ratio": [2, 5]}}


@pytest.mark.parametrize("ratio", [0.5, 1, float("inf"), float("nan")])
def test_a_ratio_that_no_network_can_have_is_refused_even_if_no_method_uses_it(ratio):
    assert "ratios.0: Input should be" in refused(ratios=[ratio])


def test_lists_are_grids_and_their_product_is_run():
    plan = plan_of(
        methods={"vib_lstm": {"beta": [1, 10], "noise": ["per_sequence", "first_batch"], "hidden": 8}}, seeds=[0, 5]
    )
    found = {(s["beta"], s["noise"], s["hidden"]) for s in settings_in(plan, "vib_lstm")}
    assert found == {(b, n, 8) for b in (1.0, 10.0) for n in ("per_sequence", "first_batch")}
    assert len(plan.runs) == 8 and {run.seed for run in plan.runs} == {0, 5}


def test_a_list_of_grids_is_their_union():
    grids = [{"structure": "unit", "keep": [0.5, 0.25]}, {"structure": "element", "keep": 0.2}]
    plan = plan_of(methods={"magnitude": grids})
    assert [(s["structure"], s["keep"]) for s in settings_in(plan, "magnitude")] == [
        ("unit", 0.5),
        ("unit", 0.25),
        ("element", 0.2),
    ]


def test_a_point_named_twice_runs_once():
    plan = plan_of(methods={"magnitude": [{"keep": [0.5, 0.25]}, {"keep": 0.25, "structure": "unit"}, {}]})
    assert [s["keep"] for s in settings_in(plan, "magnitude")] == [0.5, 0.25]  # 0.25 and "unit" are the defaults


def test_settings_are_resolved_and_what_varies_is_kept_apart():
    run = plan_of(methods={"magnitude": {"keep": 0.5}}).runs[0]
    assert run.varied == {"keep": 0.5}
    assert run.settings["structure"] == "unit" and run.settings["hidden"] == 64


def test_a_task_overrides_the_experiment():
    plan = plan_of(
        tasks={
            "digits": {},
            "small": {"source": "digits", "training": {"epochs": 3}, "model": {"hidden": 4}},
            "long": {"source": "digits", "training": {"steps": 900}},
        },
        training={"epochs": 7, "batch_size": 16},
        model={"hidden": 32, "cell": "gru"},
        methods={"dense": {}, "iss": {"hidden": 5}},
    )
    assert plan.tasks["digits"].training == TrainingSettings(epochs=7, batch_size=16)
    assert plan.tasks["small"].training == TrainingSettings(epochs=3, batch_size=16)
    assert plan.tasks["long"].training == TrainingSettings(steps=900, batch_size=16)
    assert plan.tasks["small"].model == RecurrentSettings(hidden=4, cell="gru")
    found = {(run.task, run.method): (run.settings["hidden"], run.settings["cell"]) for run in plan.runs}
    assert found[("digits", "dense")] == (32, "gru") and found[("small", "dense")] == (4, "gru")
    assert found[("small", "iss")] == (5, "gru")  # a method's own setting is stronger than `model:`


def test_a_method_without_recurrence_takes_nothing_from_the_model():
    assert plan_of(methods={"pooled_linear": {}}, model={"hidden": 3}).runs[0].settings == {}


# ---------------------------------------------------------------------- the plan


def full(**changed):
    return plan_of(
        tasks=["digits", "basic_motions"],
        methods={"dense": {}, "vib_lstm": {"beta": [0.1, 1, 10]}},
        seeds=[0, 1],
        **changed,
    )


def test_a_plan_is_the_same_each_time_and_survives_json():
    one = full()
    assert one == full()
    assert type(one).model_validate(json.loads(json.dumps(one.model_dump(mode="json")))) == one


def test_runs_have_paths_of_their_own_inside_the_results_folder():
    plan = full()
    paths = [run.path for run in plan.runs]
    assert len(set(paths)) == len(paths) == 16
    assert all(path.startswith(f"runs/{run.task}/{run.method}/") for path, run in zip(paths, plan.runs, strict=True))


def test_no_value_of_a_setting_leaves_the_folder(tmp_path):
    plugin = tmp_path / "named.py"
    plugin.write_text(
        "from squeezebench.method import Method, RecurrentSettings, setting\n\n\n"
        'class Named(Method):\n    """A method."""\n\n    class Settings(RecurrentSettings):\n'
        '        file: str = setting("", "any text")\n'
    )
    names = ["../../x", "/etc/passwd", "..", "a/b", "a b;c", "-rf", "ä", "x" * 500, "a\nb"]
    for path in [run.path for run in plan_of(plugins=[str(plugin)], methods={"named": {"file": names}}).runs]:
        assert ".." not in PurePosixPath(path).parts and not PurePosixPath(path).is_absolute()
        assert len(PurePosixPath(path).parts) == 5 and max(map(len, PurePosixPath(path).parts)) < 100
        assert path.isascii() and path.isprintable() and " " not in path


@pytest.mark.parametrize("runs_per_job", [1, 3, 1000])
def test_another_point_leaves_the_paths_and_other_jobs_as_they_are(runs_per_job):
    before = full(runs_per_job=runs_per_job)
    after = plan_of(
        tasks=["digits", "basic_motions"],
        methods={"dense": {}, "vib_lstm": {"beta": [0.1, 1, 10, 100]}, "iss": {}},
        seeds=[0, 1],
        runs_per_job=runs_per_job,
    )
    assert {run.path for run in before.runs} < {run.path for run in after.runs}
    untouched = {job for job in before.jobs if "/dense/" in job}
    assert untouched < set(after.jobs)
    if runs_per_job < 1000:  # full chunks stay as they are
        assert set(before.jobs) < set(after.jobs)


def test_a_point_in_the_middle_of_a_grid_makes_no_other_job_anew_where_each_run_is_a_job():
    before = plan_of(methods={"vib_lstm": {"beta": [1, 10]}}, seeds=[0, 1], runs_per_job=1)
    after = plan_of(methods={"vib_lstm": {"beta": [1, 3, 10]}}, seeds=[0, 1], runs_per_job=1)
    assert set(before.jobs) < set(after.jobs) and len(after.jobs) == 6


@pytest.mark.parametrize(
    "changed",
    [{"training": {"epochs": 9}}, {"model": {"layers": 2}}, {"protocol": "as_released"}, {"seeds": [1]}],
    ids=str,
)
def test_whatever_changes_a_result_makes_new_jobs(changed):
    assert not set(plan_of().jobs) & set(plan_of(**changed).jobs)


@pytest.mark.parametrize("changed", [{"description": "words"}, {"name": "other"}], ids=str)
def test_words_make_no_new_jobs(changed):
    assert plan_of().jobs == plan_of(**changed).jobs


def test_other_data_under_the_same_path_make_new_jobs(tmp_path):
    path = tmp_path / "x.npz"
    tasks = {"mine": {"source": "file", "options": {"path": str(path)}}}
    own_data(path)
    before = plan_of(tasks=tasks).jobs
    assert plan_of(tasks=tasks).jobs == before
    own_data(path, 1.0)
    assert plan_of(tasks=tasks).jobs != before


def test_jobs_hold_the_runs_of_one_method_on_one_task():
    for size in (1, 2, 1000):
        plan = full(runs_per_job=size)
        assert set(plan.jobs) == {run.job for run in plan.runs}
        for job in plan.jobs:
            members = [run for run in plan.runs if run.job == job]
            assert len({(run.task, run.method) for run in members}) == 1 and len(members) <= size


def test_only_tasks_with_a_method_that_needs_one_get_a_dense_start():
    assert plan_of(methods={"dense": {}, "small_dense": {}}).start_jobs == []
    assert plan_of(methods={"dense": {}, "iss": {}}).start_jobs == ["digits"]


# ---------------------------------------------------------------------- plugins


def test_a_plugin_joins_as_it_is_and_a_listed_one_with_its_settings(tmp_path):
    (tmp_path / "one.py").write_text(method_file("One"))
    (tmp_path / "two.py").write_text(method_file("Two"))
    plan = plan_of(plugins=str(tmp_path), methods={"dense": {}, "two": {"hidden": [3, 4]}})
    assert [s["hidden"] for s in settings_in(plan, "one")] == [64]
    assert [s["hidden"] for s in settings_in(plan, "two")] == [3, 4]
    assert Path(plan.methods["one"].path) == (tmp_path / "one.py").resolve()


def test_a_plugin_with_a_ratio_is_compared_at_the_sizes_of_the_others(tmp_path):
    """It once joined with no ratio, and so was missing in the comparison that its author wanted."""
    write_method("mine", tmp_path)
    ratios = {"ratios": [10, 30], "methods": {"small_dense": {"ratio": "${ratios}"}}}
    at = {changed: [s["ratio"] for s in settings_in(plan_of(plugins=str(tmp_path), **given), "mine")]
          for changed, given in (("with", ratios), ("without", {}))}  # fmt: skip
    assert at == {"with": [10, 30], "without": [None]}
    tuned = plan_of(plugins=str(tmp_path), **ratios, tuning={"trials": 4, "methods": ["mine"]})
    assert "ratio" not in tuned.tunings[0].space  # a list would be drawn from


def test_a_plugin_that_cannot_be_used_is_planned_with_its_reason(tmp_path):
    (tmp_path / "good.py").write_text(method_file("Good"))
    for name, text in {
        "syntax": "def broken(:\n",
        "raises": "raise RuntimeError('at import')\n",
        "exits": "import sys\nsys.exit(3)\n",
        "nothing": "x = 1\n",
        "both": method_file("A") + method_file("B"),
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    plan = plan_of(plugins=str(tmp_path), seeds=[0, 1])
    says = {name: method.error for name, method in plan.methods.items()}
    assert says["good"] is None and says["dense"] is None
    assert "syntax.py, line 1: not valid Python" in says["syntax"]
    assert "RuntimeError: at import" in says["raises"]
    assert "sys.exit(3)" in says["exits"]
    assert "exactly one class" in says["nothing"] and "exactly one class" in says["both"]
    assert sum(run.method == "syntax" for run in plan.runs) == 2


def test_a_plugin_cannot_take_the_name_of_a_method(tmp_path):
    (tmp_path / "dense.py").write_text(method_file("Dense"))
    assert "'dense' exists already; rename the file" in refused(plugins=str(tmp_path))


def test_files_that_editors_and_systems_leave_are_no_plugins(tmp_path):
    for name in ("._one.py", ".#one.py", "_helper.py", "one.py~", "notes.txt"):
        (tmp_path / name).write_bytes(b"\x00\x05\x16\x07")
    assert list(plan_of(plugins=str(tmp_path)).methods) == ["dense"]


def test_a_plugin_whose_name_is_no_name_is_refused(tmp_path):
    (tmp_path / "my method.py").write_text(method_file("Mine"))
    assert "my method" in refused(plugins=str(tmp_path))


# ---------------------------------------------------------------------- anything at all


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from(["digits", "lstm"])
    | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(["digits", "options", "training"]), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from([*sorted(set(Experiment.model_fields) - {"plugins"}), "extra"])


@given(st.dictionaries(KEYS, JSON, max_size=3))
def test_any_mapping_is_planned_or_refused_in_one_line(content):
    check(BASE | content)


@given(
    st.dictionaries(
        st.sampled_from(["source", "options", "training", "model", "frames", "split", "name"]), JSON, max_size=2
    ),
    st.dictionaries(st.sampled_from(["beta", "hidden", "cell", "noise", "ramp"]), JSON, max_size=2),
)
def test_any_task_and_any_settings_are_planned_or_refused_in_one_line(task, setting_names):
    check(BASE | {"tasks": {"digits": task}, "methods": {"vib_lstm": setting_names}})


def check(content):
    try:
        plan = make_plan(check_experiment(content, "e.yaml"), "e.yaml")
    except InputError as error:
        assert str(error).isprintable() and len(str(error)) <= LONGEST_LINE
    else:
        json.dumps(plan.model_dump(mode="json"), allow_nan=False)
        assert plan.runs and all(".." not in PurePosixPath(run.path).parts for run in plan.runs)
