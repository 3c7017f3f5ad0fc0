"""Skip-Sideways as a method: its model and counts, its step, its record and the frames that it reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from squeezebench.base.errors import InputError
from squeezebench.engine.measurement.counts import count
from squeezebench.engine.measurement.macs import closed_form_macs, macs
from squeezebench.engine.run import execute
from squeezebench.engine.training.loop import Trainer, describe
from squeezebench.method import PerFrameSettings, RecurrentSettings, dense_classifier
from squeezebench.method.dense import dense_closed_form
from squeezebench.method.discovery import find_methods, load
from squeezebench.nn.sideways.vgg import FORMS
from squeezebench.pipeline.planner import make_plan
from squeezebench.schema.experiment import read_experiment
from squeezebench.schema.run import RunSpec
from squeezebench.schema.task import TaskSpec
from squeezebench.schema.training import TrainingSettings
from squeezebench.tools.tiny_tasks import tiny_task
from squeezebench.tools.verify.saved import verify

FILE = find_methods()["skip_sideways"]
SkipSideways = load(FILE)
INFO = describe(tiny_task("video"))
ROOT = Path(__file__).parents[1]
RULES = ("backpropagation", "backpropagation_per_tick", "sideways")


SHAPES = [{}, {"shortcuts": "none"}, {"shortcuts": "sum", "layers": 2, "patches": 2}]
PATCHED = [units for units in FORMS if units != "vgg_8"]  # it pools patches of frames of 8 pixels away


@pytest.mark.parametrize(("units", "shape"), [(u, s) for s in SHAPES for u in (PATCHED if "patches" in s else FORMS)])
def test_its_weights_and_multiplications_are_what_the_formula_says(units, shape):
    settings = PerFrameSettings(units=units, width=3, span=2, **({"patches": 1} | shape))
    model = dense_classifier(INFO, settings)
    assert dense_closed_form(INFO, settings)["weights"] == count(model).weights > 0
    assert closed_form_macs(model, 4) == macs(model, INFO.inputs, 4)


def test_shortcuts_that_fit_nowhere_are_refused():
    with pytest.raises(ValidationError, match="no shortcut over 3 units fits into vgg_3: give at most 2"):
        PerFrameSettings(units="vgg_3", span=3)
    assert dense_classifier(INFO, PerFrameSettings(units="vgg_3", span=3, shortcuts="none")).span is None


def opened(**settings):
    """A trainer at the beginning of its only stage, with one batch."""
    method = SkipSideways(SkipSideways.Settings(width=2, **settings))
    trainer = Trainer(method, tiny_task("video"), TrainingSettings(epochs=2, batch_size=8, learning_rate=0.01), 0)
    model = trainer.build(None)
    running = trainer.open(model, trainer.plan(2), 0)
    batch = trainer.task.batch("train", range(8))
    return method, model, running, torch.from_numpy(batch.x), torch.from_numpy(batch.y)


def test_the_learning_rate_rises_first_and_long_gradients_are_cut():
    method, model, running, x, y = opened(warm_up=0.5, clip=1e-3, learning_rate=0.2, slower=0.5)
    assert method.clock.steps == 10
    rates = []
    for method.clock.step in range(10):
        method.train_step(model, x, None, y, running.optimiser)
        lower, top = (running.optimiser.param_groups[place]["lr"] for place in (0, -1))
        assert lower == pytest.approx(top * 0.5**6)  # the bottom of four units meets frames that are six newer
        rates.append(top)
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        assert norm <= 1e-3 * 1.001
        running.schedule.step()
    assert rates[0] == pytest.approx(0.2 / 5, rel=2e-3) and max(rates) == max(rates[2:6])
    assert rates[4] == pytest.approx(0.2 * 0.6545, rel=2e-3) and rates[9] < 0.01  # the cosine alone


@pytest.mark.parametrize(
    ("rule", "flush", "times"),
    [("sideways", "hold", 7 + 2 * 3), ("sideways", "drop", 7), ("backpropagation", "hold", 1),
     ("backpropagation_per_tick", "hold", 7)],
)  # fmt: skip
def test_running_statistics_forget_as_much_a_clip_by_either_rule(rule, flush, times):
    model = opened(rule=rule, flush=flush, momentum=0.3)[1]
    assert model.spec()["flush"] == flush and model.timetable(7).losses == {"hold": 7, "drop": 4}[flush]
    assert (1 - model.units[0].norm.momentum) ** times == pytest.approx(0.7)


def test_clips_whose_gradients_never_reach_the_lowest_unit_are_refused():
    settings = {"rule": "sideways", "flush": "drop", "units": "vgg_8", "width": 2}
    short, enough = replace(INFO, steps=14), replace(INFO, steps=15)
    with pytest.raises(InputError, match="14 frames no gradient reaches the lowest of 8 units; give 15 frames or more"):
        SkipSideways(SkipSideways.Settings(**settings)).build(short)
    SkipSideways(SkipSideways.Settings(**settings)).build(enough)
    SkipSideways(SkipSideways.Settings(**settings | {"rule": "backpropagation"})).build(short)


def test_the_rule_may_start_from_exact_epochs(monkeypatch):
    """`exact_epochs` 1 of 2: five steps of back-propagation, then five of the rule, each with its own momentum and
    learning rates; without it the setting leaves no trace in the record."""
    from squeezebench import nn

    method, model, running, x, y = opened(exact_epochs=1, warm_up=0, slower=0.5, momentum=0.3)
    steps = []
    for name in ("sideways_step", "backpropagation_step"):
        monkeypatch.setattr(nn, name, lambda *_, name=name: steps.append(name) or 1.0)
    momenta = []
    for method.clock.step in range(10):
        method.clock.epoch = method.clock.step // 5
        method.train_step(model, x, None, y, running.optimiser)
        momenta.append((1 - model.units[0].norm.momentum) ** (1 if method.clock.epoch == 0 else 7 + 2 * 3))
        rates = [group["lr"] for group in running.optimiser.param_groups]
        assert rates[0] == pytest.approx(rates[-1] * (0.5**6 if method.clock.epoch else 1))
        running.schedule.step()
    assert steps == ["backpropagation_step"] * 5 + ["sideways_step"] * 5
    assert momenta == pytest.approx([0.7] * 10)
    assert method.settings.model_dump()["exact_epochs"] == 1
    assert not {"exact_epochs", "flush"} & set(SkipSideways.Settings().model_dump(mode="json"))


@pytest.mark.parametrize(("name", "runs"), [("parity", 4 * 3 * 3 * 5), ("jhmdb", 3 * 3 * 5)])
def test_the_parity_experiments_plan_every_rule_on_every_network(name, runs, tmp_path, monkeypatch):
    """Rules x shortcuts x seeds on each task, and the tiny form once for each; J-HMDB on synthetic clips."""
    monkeypatch.setenv("SQUEEZEBENCH_DATA", str(tmp_path))
    path = ROOT / "config" / "sideways" / f"{name}.yaml"
    synthetic = {"folder": None, "lists": None, "subset": False, "synthetic": 4}
    overrides = {} if name == "parity" else {"tasks": {"jhmdb_frames": {"options": synthetic}}}
    plan = make_plan(read_experiment(path, overrides), str(path))
    assert len(plan.runs) == runs
    assert {(run.settings["rule"], run.settings["shortcuts"]) for run in plan.runs} == {
        (rule, kind) for rule in RULES for kind in ("none", "sum", "concat")
    }
    assert {run.settings["slower"] for run in plan.runs} == {1.0}
    units = {(run.task.rpartition("_frames")[0], run.settings["units"]) for run in plan.runs}
    assert units == ({("vgg_4", "vgg_4"), ("vgg_8", "vgg_8")} if name == "parity" else {("jhmdb", "vgg_8")})
    tiny = make_plan(read_experiment(path, {"scale": "tiny"}), str(path))
    assert len(tiny.runs) == runs // 5
    if name == "jhmdb":
        with pytest.raises(InputError, match="--config clips=PATH"):
            read_experiment(path).task_entries()


def test_the_rule_without_a_pause_between_clips_is_planned_on_each_network():
    path = ROOT / "config" / "sideways" / "without_pause.yaml"
    plan = make_plan(read_experiment(path), str(path))
    assert Counter(run.task for run in plan.runs) == dict.fromkeys(plan.tasks, 3 * 5) and len(plan.tasks) == 4
    assert {(run.settings["rule"], run.settings["flush"]) for run in plan.runs} == {("sideways", "drop")}


def test_the_stress_test_has_rows_that_start_from_back_propagation_and_with_lower_rates():
    path = ROOT / "config" / "sideways" / "motions.yaml"
    plan = make_plan(read_experiment(path), str(path))
    wanted = {(rule, 0, 1.0) for rule in RULES} | {("sideways", 4, 1.0), ("sideways", 0, 0.7)}
    runs = [(run.settings["rule"], run.settings.get("exact_epochs", 0), run.settings["slower"]) for run in plan.runs]
    assert Counter(runs) == dict.fromkeys(wanted, 5)


@pytest.mark.parametrize("rule", RULES)
def test_its_record_says_that_it_compresses_nothing(rule, tmp_path):
    task = TaskSpec(name="shapes", source="moving_shapes", options={"groups": 6, "size": 8, "frames": 3})
    model = PerFrameSettings(units="vgg_3", width=2, span=2)
    settings = SkipSideways.Settings(rule=rule, **model.model_dump()).model_dump(mode="json")
    spec = RunSpec(task=task, method="skip_sideways", settings=settings, model=model,
                   training=TrainingSettings(epochs=1))  # fmt: skip
    run = tmp_path / "runs" / "shapes" / "skip_sideways" / rule / "seed-0"
    record = execute(spec, FILE, run, tmp_path / "starts")
    assert record.status == "ok", record.reason
    assert record.ratio.weights == record.ratio.model_total == 1 and record.control == (rule != "sideways")
    assert record.kept.structure == record.kept.of_structure == [2, 4, 6]
    assert not verify(tmp_path).problems
    other = execute(spec.model_copy(update={"model": RecurrentSettings()}), FILE, tmp_path / "o", tmp_path / "starts")
    assert other.status == "failed" and "is for per-frame networks" in other.reason
