"""One file, several experiments: protocols, the tiny scale, defaults of a method, methods of a task."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusal_of

from squeezebench.base.errors import InputError
from squeezebench.pipeline.planner import make_plan
from squeezebench.schema.experiment import Experiment, check_experiment, suffix, variant

BASE = {
    "name": "e",
    "tasks": {"digits": {"split": "random"}},
    "methods": {"dense": {}, "vib_lstm": {"beta": [1, 10]}},
    "training": {"epochs": 30, "batch_size": 32},
    "protocols": {
        "paper": {"tasks": {"digits": {"test_share": 0.4}}, "seeds": [7]},
        "as_released": {
            "defaults": {"vib_lstm": {"noise": "first_batch", "evaluate_with": "hard"}},
            "training": {"loss": "double_softmax"},
        },
    },
    "tiny": {"training": {"epochs": 3}, "methods": {"vib_lstm": {"beta": 1}}, "seeds": [0]},
}


def plan_of(**changed):
    return make_plan(check_experiment(BASE | changed, "e.yaml"), "e.yaml")


def refused(**changed) -> str:
    return refusal_of(plan_of, **changed)


def test_the_sound_protocol_is_the_file_as_it_stands():
    plan = plan_of()
    assert plan.experiment == "e" and plan.protocol == "sound"
    assert plan.tasks["digits"].spec.test_share == 0.3 and plan.tasks["digits"].training.loss == "cross_entropy"
    assert all(run.settings["noise"] == "per_sequence" for run in plan.runs if run.method == "vib_lstm")


def test_a_protocol_is_laid_over_it_and_has_results_of_its_own():
    plan = plan_of(protocol="paper")
    assert plan.experiment == "e_paper" and plan.protocol == "paper"
    spec = plan.tasks["digits"].spec
    assert (spec.split, spec.test_share) == ("random", 0.4)  # what the protocol leaves alone stays
    assert {run.seed for run in plan.runs} == {7}


def test_as_released_reaches_every_point_of_a_method_through_its_defaults():
    plan = plan_of(protocol="as_released")
    points = [run.settings for run in plan.runs if run.method == "vib_lstm"]
    assert {point["beta"] for point in points} == {1.0, 10.0}
    assert {(point["noise"], point["evaluate_with"]) for point in points} == {("first_batch", "hard")}
    assert plan.tasks["digits"].training.loss == "double_softmax"


def test_a_default_yields_to_the_point_that_sets_it_and_is_not_shown_as_varied():
    plan = plan_of(defaults={"vib_lstm": {"beta": 5, "ramp": 1.0}})
    runs = [run for run in plan.runs if run.method == "vib_lstm"]
    assert {run.settings["beta"] for run in runs} == {1.0, 10.0}
    assert all(run.settings["ramp"] == 1.0 and set(run.varied) == {"beta"} for run in runs)


def test_tiny_comes_last_and_combines_with_a_protocol():
    plan = plan_of(protocol="paper", scale="tiny")
    assert plan.experiment == "e_paper_tiny"
    assert plan.tasks["digits"].training.epochs == 3 and plan.tasks["digits"].spec.test_share == 0.4
    assert len(plan.runs) == 2 and {run.seed for run in plan.runs} == {0}


def test_steps_of_a_variant_replace_the_epochs_of_the_experiment():
    training = plan_of(scale="tiny", tiny={"training": {"steps": 50}}).tasks["digits"].training
    assert training.model_dump(include={"epochs", "steps"}) == {"steps": 50} and training.batch_size == 32


def test_a_task_may_run_some_methods_only():
    tasks = {"digits": {"methods": ["dense"]}, "again": {"source": "digits"}}
    plan = plan_of(tasks=tasks)
    assert {run.method for run in plan.runs if run.task == "digits"} == {"dense"}
    assert {run.method for run in plan.runs if run.task == "again"} == {"dense", "vib_lstm"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"protocols": {"papr": {}}}, ["e.yaml: protocols", "'papr'", "did you mean paper"]),
        ({"protocols": {"paper": {"seed": [1]}}}, ["protocols: paper", "'seed'", "did you mean seeds"]),
        ({"protocols": {"paper": {"protocol": "sound"}}}, ["protocols: paper", "'protocol'"]),
        ({"protocols": {"paper": 3}}, ["protocols: paper", "mapping", "3"]),
        ({"protocols": [1]}, ["e.yaml: protocols", "mapping"]),
        ({"tiny": {"epochs": 3}}, ["e.yaml: tiny", "'epochs'"]),
        ({"tiny": {}, "scale": "tiny"}, ["scale: tiny", "no `tiny:`"]),
        ({"scale": "small"}, ["scale", "'full' or 'tiny'", "'small'"]),
        ({"defaults": {"vib_lstn": {}}}, ["defaults", "'vib_lstn'", "did you mean vib_lstm"]),
        ({"defaults": {"vib_lstm": {"betta": 1}}}, ["vib_lstm", "'betta'"]),
        ({"tasks": {"digits": {"methods": "dense"}}}, ["tasks: digits: methods", "list of names", "'dense'"]),
        ({"tasks": {"digits": {"methods": ["iss"]}}}, ["tasks: digits: methods", "'iss'", "not among"]),
        ({"methods": {"vib_lstm": {"mask_gates": False, "keep_hidden": 3}}}, ["keep_hidden needs mask_gates"]),
    ],
    ids=str,
)
def test_a_mistake_in_a_variant_is_one_line(changed, words):
    text = refused(**changed)
    assert all(word in text for word in words), text


@given(
    st.dictionaries(st.sampled_from([*Experiment.model_fields, "protocols", "tiny", "x"]), st.sampled_from(
        ["sound", "paper", "tiny", "full", None, 3, [], {}, {"seeds": [1]}, {"paper": {"seeds": [1]}}]
    ))
)  # fmt: skip
def test_any_mapping_is_laid_over_or_refused_in_one_line(content):
    try:
        found = variant(content, "e.yaml")
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert not {"protocols", "tiny"} & set(found)
        if isinstance(content.get("name"), str):
            assert found["name"] == content["name"] + suffix(found)
