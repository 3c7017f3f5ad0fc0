"""Equal tuning: the same trials for every method, on validation alone, through kills and restarts, to the report.

test_workflow has a tuned method in a call of Snakemake.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from forked import Forked
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusal_of

from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.data.task import Task
from squeezebench.method.discovery import find_methods, load
from squeezebench.pipeline.planner import make_plan
from squeezebench.pipeline.tuning.space import own_point, space_of
from squeezebench.pipeline.worker import run_job, tune_job
from squeezebench.report import build_report, outputs
from squeezebench.schema.experiment import check_experiment
from squeezebench.schema.record import RECORD_NAME, read_record
from squeezebench.schema.tuning import Objective, Tuning
from squeezebench.schema.tuning_result import Trial, TuningError, TuningResult, best_so_far, read_result, winner

pytestmark = pytest.mark.usefixtures("undrawn")

TRIALS = 3
BASE = {
    "name": "t",
    "tasks": ["digits"],
    "seeds": [0],
    "model": {"hidden": 8},
    "training": {"epochs": 3, "batch_size": 256},
    "methods": {"small_dense": {}},
    "tuning": {"trials": TRIALS, "objective": {"ratio": 2}},
}
NOTED = '''"""Notes each training, and waits where a test wants it to."""

import os
import pathlib
import time

from squeezebench.method import Method, RecurrentSettings, dense_classifier, setting


class Noted(Method):
    """Dense, with settings that a tuner can draw."""

    title = paper = "noted <b>"

    class Settings(RecurrentSettings):
        width: int = setting(4, "hidden units", search=(2, 64), gt=0)
        rate: float = setting(0.1, "changes nothing", search=(0.01, 1.0))

    def build(self, task):
        folder = pathlib.Path(os.environ["NOTES"])
        number = len(list(folder.glob("*")))
        (folder / str(number)).touch()
        if number in map(int, os.environ.get("WAIT_AT", "").split()):
            time.sleep(60)
        return dense_classifier(task, self.settings.model_copy(update={"hidden": self.settings.width}))
'''


def planned(folder: Path, **changed) -> Path:
    """A plan file for in-process jobs."""
    experiment = check_experiment(BASE | changed, "t.yaml")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.json"
    path.write_text(json.dumps(make_plan(experiment, "t.yaml").model_dump(mode="json")))
    return path


def tuned(folder: Path, method: str = "small_dense") -> TuningResult:
    return read_result(folder / "tuning" / "digits" / f"{method}.json")


def telling(result: TuningResult) -> list[dict]:
    """All of the trials but the time they took, and the engine's source, which may be edited meanwhile."""
    return [trial.model_dump(exclude={"seconds", "engine"}) for trial in result.trials]


# ---------------------------------------------------------------------- end to end


METHODS = ("small_dense", "vib_lstm", "pooled_linear")


def make_all(path: Path) -> Path:
    """The trials and then the runs of every method; the folder of results."""
    for method in METHODS:
        tune_job(path, f"digits/{method}", None)
    for job in json.loads(path.read_bytes())["jobs"]:
        run_job(path, job, None)
    return path.parent


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of finished results."""
    methods = {"small_dense": {}, "vib_lstm": {"beta": [0.5, 2, 8], "threshold": 2.0}, "pooled_linear": {}}
    return make_all(planned(tmp_path_factory.mktemp("tuned"), methods=methods))


def test_every_method_has_the_same_budget_and_the_winner_runs_as_any_other_point(finished):
    results = {name: tuned(finished, name) for name in METHODS}
    assert {name: len(result.trials) for name, result in results.items()} == {
        "small_dense": TRIALS,
        "vib_lstm": TRIALS,
        "pooled_linear": 1,  # it has no setting to draw
    }
    assert {result.epochs for result in results.values()} == {3}
    assert {result.tuning.seed for result in results.values()} == {0}
    for name, result in results.items():
        record = read_record(finished / "runs" / "digits" / name / "tuned" / "seed-0" / RECORD_NAME)
        assert record.status == "ok" and record.settings == result.settings
        assert record.provenance.tuning_digest == result.study
        assert record.accuracy.validation == result.best.validation  # the same seed: the same bits
        assert record.counts.lstm_total == result.best.lstm_total
    vib = results["vib_lstm"]
    assert vib.settings == vib.fixed | vib.best.drawn and vib.settings["threshold"] == 2.0
    assert {trial.drawn["beta"] for trial in vib.trials} <= {0.5, 2, 8} and "threshold" not in vib.space
    starts = list((finished / "starts").glob("*.safetensors"))
    assert len(starts) == 1  # the trials and the run share one dense pretraining


def test_the_report_shows_budgets_and_curves_and_the_plan_alone_names_its_files(finished):
    folder = finished
    build_report(folder)
    names = outputs(folder / "plan.json")
    assert {"figures/tuning_digits.svg", "figures/tuning_digits.csv", "tables/tuning.csv"} <= {*names}
    assert all((folder / name).is_file() for name in names)
    table = pd.read_csv(folder / "tables" / "tuning.csv").set_index("method")
    curve = pd.read_csv(folder / "figures" / "tuning_digits.csv")
    for name in table.index:
        result = tuned(folder, name)
        own = curve[curve["method"] == name]
        assert table.loc[name, "trials"] == len(result.trials) == len(own)
        assert table.loc[name, "picked_trial"] == result.winner == own["best_trial"].iloc[-1]
        best = own["best_value"].dropna()
        assert best.is_monotonic_increasing and best.iloc[-1] == own["value"].max()
    page = (folder / "report.html").read_text()
    assert 'id="figure-tuning_digits"' in page and "nothing to draw" in page
    problems = pd.read_csv(folder / "tables" / "problems.csv")
    assert {*problems["kind"]} <= {"stale"}  # each tuned run has its record in the place that the plan promised


def test_a_damaged_result_is_made_again_from_the_journal_and_a_second_call_trains_nothing(finished):
    place = finished / "tuning" / "digits"
    path, journal = place / "small_dense.json", place / "small_dense.journal"
    before = telling(tuned(finished))
    path.write_bytes(path.read_bytes().replace(b'"winner": ', b'"winner": 1'))
    with pytest.raises(TuningError, match="does not match its digest"):
        read_result(path)
    stamps = {path: path.stat().st_mtime_ns for path in finished.rglob(RECORD_NAME)}
    make_all(finished / "plan.json")
    assert telling(tuned(finished)) == before  # the seconds aside, which the journal has as well
    assert journal.read_text().count('"trial":{') == TRIALS  # no trial was made again
    assert {path: path.stat().st_mtime_ns for path in finished.rglob(RECORD_NAME)} == stamps


# ---------------------------------------------------------------------- what is read, and what decides


@pytest.mark.parametrize("protocol", ["sound", "as_released"])
def test_no_trial_reads_the_test_part(tmp_path, monkeypatch, protocol):
    def guarded(method):
        def call(self, part, *more):
            assert part != "test", "the test part was read"
            return method(self, part, *more)

        return call

    for name in ("labels", "batch", "raw"):
        monkeypatch.setattr(Task, name, guarded(getattr(Task, name)))
    path = planned(tmp_path, methods={"vib_lstm": {}, "magnitude": {}}, protocol=protocol)
    for method in ("vib_lstm", "magnitude"):
        tune_job(path, f"digits/{method}", None)
        assert {trial.status for trial in tuned(tmp_path, method).trials} == {"ok"}
        assert all(trial.validation is not None for trial in tuned(tmp_path, method).trials)
    plan = json.loads(path.read_bytes())
    run = next(run for run in plan["runs"] if run["method"] == "magnitude")
    run_job(path, run["job"], None)  # the same guard does stop a run, which has to read it
    assert "the test part was read" in read_record(tmp_path / run["path"] / RECORD_NAME).reason


def test_a_run_before_its_tuning_says_what_to_call(tmp_path):
    path = planned(tmp_path)
    (job,) = json.loads(path.read_bytes())["jobs"]
    with pytest.raises(InputError, match=r"squeezebench tune .*plan\.json digits/small_dense"):
        run_job(path, job, None)
    with pytest.raises(InputError, match="no tuning 'digits/small_dens'; did you mean digits/small_dense"):
        tune_job(path, "digits/small_dens", None)


@pytest.mark.parametrize("length", [{"epochs": 1}, {"steps": 5}], ids=str)
def test_length_and_seed_of_trials_can_differ_from_those_of_runs(tmp_path, length):
    methods = {"small_dense": {"ratio": [2, 40]}}
    path = planned(tmp_path, methods=methods, tuning={"trials": 2, "seed": 5} | length)
    tune_job(path, "digits/small_dense", None)
    result = tuned(tmp_path)
    assert {unit: n for unit in ("epochs", "steps") if (n := getattr(result, unit))} == length
    assert result.tuning.seed == 5
    (job,) = json.loads(path.read_bytes())["jobs"]
    run_job(path, job, None)
    (record,) = [read_record(file) for file in tmp_path.rglob(RECORD_NAME)]
    assert record.stages[-1].epochs == 3 and record.seed == 0 and record.settings == tuned(tmp_path).settings


trials = st.builds(
    Trial,
    number=st.just(0),
    status=st.just("ok"),
    drawn=st.just({}),
    validation=st.integers(0, 20).map(lambda part: part / 20),
    lstm_total=st.integers(0, 200),
) | st.builds(Trial, number=st.just(0), status=st.just("failed"), drawn=st.just({}))


@given(st.lists(trials, min_size=1, max_size=12), st.sampled_from([None, 1.0, 10.0]))
def test_the_best_so_far_never_falls_and_a_small_enough_trial_beats_every_larger_one(found, wanted):
    objective, done = Objective(ratio=wanted), []
    for number, trial in enumerate(found):
        more = {"number": number}
        if trial.status == "ok":
            more["ratio"] = 100 / trial.lstm_total if trial.lstm_total else None
            more["value"] = objective.value(trial.validation, more["ratio"])
        done.append(trial.model_copy(update=more))
    result = TuningResult.model_construct(trials=done, winner=winner(done), tuning=Tuning(objective=objective))
    values = [best.value for best in best_so_far(result) if best]
    assert values == sorted(values)
    finished = [trial for trial in done if trial.status == "ok"]
    assert (result.winner is None) == (not finished)
    if small := [trial for trial in finished if objective.met(trial.ratio)]:
        assert result.met and result.best.validation == max(trial.validation for trial in small)
    elif finished:
        assert not result.met and result.best.lstm_total == min(trial.lstm_total for trial in finished)


@pytest.mark.parametrize("name", find_methods())
def test_each_method_declares_what_a_tuner_may_draw_and_its_own_settings_lie_inside(name):
    method = load(find_methods()[name])
    settings = method.Settings()
    space = space_of(method, {}, {}, settings, name)
    assert own_point(space, settings.model_dump(mode="json")) is not None
    assert space or name in ("dense", "dense_network", "pooled_linear")  # with nothing to choose
    assert "rank" not in space or name != "vib_lstm"  # its map is dense: a rank would change nothing


# ---------------------------------------------------------------------- killed, twice at once, longer


@pytest.fixture
def noted(tmp_path, monkeypatch):
    """(plan file, number of trainings so far) of an experiment on a method that notes each training."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "noted.py").write_text(NOTED)
    (tmp_path / "notes").mkdir()
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    changed = {"methods": {"noted": {}}, "plugins": [str(tmp_path / "mine")], "training": {"epochs": 1}}

    def make(name="a", **tuning):
        return planned(tmp_path / name, **changed, tuning=BASE["tuning"] | tuning)

    return make, lambda: len(list((tmp_path / "notes").glob("*")))


def tuner(path: Path, **environment: str) -> Forked:
    """`squeezebench tune` in a process of its own."""
    return Forked(["tune", str(path), "digits/noted"], path.parent, path.parent / "log", **environment)


def wait_for_training(process: Forked, trainings, number: int) -> None:
    """Wait until the training that is noted as `number` has begun."""
    until = time.monotonic() + 600
    while trainings() <= number and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)


def kill_at(path: Path, trainings, number: int) -> None:
    """SIGKILL a tuner in the middle of the training that is noted as `number`."""
    process = tuner(path, WAIT_AT=str(number))
    wait_for_training(process, trainings, number)
    assert process.poll() is None, (path.parent / "log").read_text()
    process.kill()
    process.wait()


def test_a_killed_tuner_goes_on_and_ends_as_if_it_had_not_been_killed(noted):
    make, trainings = noted
    path = make()
    kill_at(path, trainings, 1)
    assert trainings() == 2 and not path.with_name("tuning").joinpath("digits", "noted.json").exists()
    journal = path.parent / "tuning" / "digits" / "noted.journal"
    journal.write_bytes(journal.read_bytes() + b'{"op_code":5,"wor')  # as a machine that lost its power leaves it
    tune_job(path, "digits/noted", None)
    assert trainings() == TRIALS + 1  # only the trial in hand was made again
    whole = make("b")
    tune_job(whole, "digits/noted", None)
    assert telling(tuned(path.parent, "noted")) == telling(tuned(whole.parent, "noted"))


def test_a_trial_that_always_kills_its_process_fails_and_the_others_are_made(noted):
    make, trainings = noted
    path = make()
    process = tuner(path, WAIT_AT="0 1")
    for number in (0, 1):
        wait_for_training(process, trainings, number)
        for worker in psutil.Process(process.pid).children():
            worker.kill()
    assert process.wait(600) == 0, (path.parent / "log").read_text()
    result = tuned(path.parent, "noted")
    assert [trial.status for trial in result.trials] == ["failed", "ok", "ok"]
    assert "killed 2 times" in result.trials[0].reason and result.winner in (1, 2)


def test_two_tuners_at_once_make_each_trial_once(noted):
    make, trainings = noted
    path = make()
    both = [tuner(path), tuner(path)]
    assert [process.wait(600) for process in both] == [0, 0], (path.parent / "log").read_text()
    assert trainings() == TRIALS == len(tuned(path.parent, "noted").trials)


def test_a_longer_budget_goes_on_from_the_shorter_one_and_a_changed_objective_starts_anew(noted):
    make, trainings = noted
    tune_job(make(), "digits/noted", None)
    short = telling(tuned(make().parent, "noted"))
    tune_job(make(trials=5), "digits/noted", None)
    assert telling(tuned(make().parent, "noted"))[:TRIALS] == short and trainings() == 5
    tune_job(make(trials=5), "digits/noted", None)
    assert trainings() == 5
    tune_job(make(trials=5, objective={"ratio": 1}), "digits/noted", None)
    assert trainings() == 10


def test_a_small_space_is_tried_point_by_point_and_whole_numbers_stay_whole(tmp_path, noted):
    make, _ = noted
    tune_job(make(trials=12), "digits/noted", None)
    first, *others = tuned(make().parent, "noted").trials
    assert first.drawn == {"width": 4, "rate": 0.1}  # the method's own settings
    assert all(isinstance(trial.drawn["width"], int) and 2 <= trial.drawn["width"] <= 64 for trial in others)
    assert len({json.dumps(trial.drawn) for trial in others}) == 11
    path = planned(tmp_path / "c", methods={"low_rank": {"rank": [1, 2], "learning_rate": 1}}, tuning={"trials": 9})
    tune_job(path, "digits/low_rank", None)
    low_rank = tuned(path.parent, "low_rank")
    assert [trial.drawn for trial in low_rank.trials] == [{"rank": 1}, {"rank": 2}] and low_rank.enumerated


def test_the_control_of_equal_size_begins_at_the_ratio_that_is_asked_for(tmp_path):
    tune_job(planned(tmp_path, tuning={"trials": 2, "objective": {"ratio": 6.5}}), "digits/small_dense", None)
    first = tuned(tmp_path).trials[0]
    assert first.drawn == {"ratio": 6.5, "learning_rate": 1.0} and first.ratio >= 6.5


def test_a_report_says_which_tuning_is_missing_or_damaged_and_escapes_titles(tmp_path, noted):
    make, _ = noted
    path = make()
    tune_job(path, "digits/noted", None)
    assert "noted &lt;b&gt;" in build_report(path.parent).read_text()
    result = path.parent / "tuning" / "digits" / "noted.json"
    content = json.loads(result.read_bytes())
    content["trials"][0]["validation"] = 1.0
    result.write_text(json.dumps(content))
    assert "does not match its digest" in build_report(path.parent).read_text()
    content.pop("digest")
    content["trials"] = "none"
    result.write_text(json.dumps(content | {"digest": digest_of(content)}))
    assert "not a valid tuning result: trials" in build_report(path.parent).read_text()
    result.unlink()
    assert "not tuned yet, or stopped" in build_report(path.parent).read_text()


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tuning": {"trails": 3}}, ["unknown key 'tuning.trails'", "did you mean trials"]),
        ({"tuning": {"trials": 0}}, ["tuning.trials", "greater than 0", "got 0"]),
        ({"tuning": {"objective": {"ratio": 0.5}}}, ["tuning.objective.ratio", "greater than or equal to 1"]),
        ({"tuning": {"objective": {"size": 2}}}, ["unknown key 'tuning.objective.size'", "known: ratio"]),
        ({"tuning": {"methods": ["small_dens"]}}, ["tuning: methods: 'small_dens'", "did you mean small_dense"]),
        ({"tuning": {"methods": []}}, ["tuning.methods", "leave `methods` out"]),
        ({"tuning": {"methods": ["dense", "dense"]}}, ["dense is given twice"]),
        ({"tuning": 20}, ["tuning", "20"]),
        ({"methods": {"small_dense": [{"ratio": 2}]}}, ["small_dense", "one mapping of settings, not a list"]),
        ({"methods": {"small_dense": {"ratio": []}}}, ["small_dense: ratio", "(got [])"]),
        ({"methods": {"small_dense": {"ratio": [3, 3]}}}, ["small_dense: ratio", "different", "[3, 3]"]),
        ({"methods": {"small_dense": {"ratio": [3, "x"]}}}, ["small_dense: ratio = 'x'"]),
        ({"methods": {"small_dense": {"ratios": [3]}}}, ["no setting 'ratios'", "did you mean ratio"]),
    ],
    ids=str,
)
def test_a_mistake_in_what_is_tuned_is_one_line(changed, words):
    line = refusal_of(lambda: make_plan(check_experiment(BASE | changed, "t.yaml"), "t.yaml"))
    assert line.startswith("t.yaml: ") and all(word in line for word in words), line


@pytest.mark.parametrize("search", ["(5, 1)", "(0.1, float('inf'))", "[]", "[[1], [2]]", "(1, 2, 3)"])
def test_a_plugin_whose_search_cannot_be_drawn_from_is_one_line(tmp_path, search):
    (tmp_path / "noted.py").write_text(NOTED.replace("(2, 64)", search))
    content = BASE | {"methods": {"noted": {}}, "plugins": [str(tmp_path / "noted.py")]}
    with pytest.raises(InputError, match="search of width") as caught:
        make_plan(check_experiment(content, "t.yaml"), "t.yaml")
    assert len(str(caught.value).splitlines()) == 1
