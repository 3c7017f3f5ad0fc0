"""`squeezebench plan` says what an experiment will cost: by hand, against a run, and where sizes are not known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from method_files import method_file
from torch import nn

from squeezebench.cli.main import main
from squeezebench.data.sources import source_module, ucr
from squeezebench.data.task import PARTS, load_task
from squeezebench.method import Method, TaskInfo
from squeezebench.method.discovery import find_methods, load
from squeezebench.pipeline.cost.estimate import JOB_SECONDS, MEASURING_SECONDS, estimate
from squeezebench.pipeline.cost.foreseen import foreseen
from squeezebench.pipeline.cost.throughput import Throughput, measured
from squeezebench.pipeline.cost.widths import network
from squeezebench.pipeline.cost.words import words
from squeezebench.pipeline.plan_file import sized
from squeezebench.pipeline.planner import make_plan
from squeezebench.schema.experiment import check_experiment
from squeezebench.schema.task import TaskSpec
from squeezebench.schema.training import TrainingSettings

CORE = Throughput(1e10, 1e10, batch=1e-3, step=1e-4, element=0.0, parameter=0.0, about="a synthetic core", value=1e-8)
MOVED = 8 * 8 * CORE.value  # a sequence of digits: 8 inputs at 8 steps
SMALL = {
    "name": "small",
    "tasks": {"digits": {}},
    "seeds": [0, 1],
    "model": {"hidden": 16},
    "training": {"epochs": 10, "batch_size": 64},
    "methods": {"dense": {}},
}


def costs(**changed):
    plan = make_plan(check_experiment(SMALL | changed, "small"), "small")
    return estimate(plan, cpu=CORE)


def test_dense_runs_by_hand():
    found = costs()
    train, validation = 1006, 252  # of 1,797: 30 % test, 20 % of the rest validation
    per_epoch, macs = 16, 8 * 4 * 16 * (8 + 16) + 16 * 10
    assert found.total("gradient_steps") == 2 * 10 * per_epoch
    assert found.total("training_flops") == pytest.approx(2 * 10 * 6 * macs * train)
    step = CORE.batch + 8 * CORE.step + 64 * (6 * macs / CORE.wide + MOVED)

    def evaluation(n, calls):
        return calls * (CORE.batch + 8 * CORE.step) / 3 + n * (2 * macs / CORE.wide + MOVED)

    run = 10 * (per_epoch * step + evaluation(validation, 1)) + MEASURING_SECONDS + evaluation(1797, 8)
    assert found.cpu_core_hours * 3600 == pytest.approx(2 * run + JOB_SECONDS)
    assert found.total("model_bytes") == 2 * 4 * (4 * 16 * (8 + 16 + 2) + 16 * 10 + 10)


def test_steps_count_as_the_epochs_that_they_fill():
    of = {unit: costs(training={unit: n, "batch_size": 64}, methods={"vib_lstm": {"start_share": 0.25}})
          for unit, n in (("epochs", 16), ("steps", 16 * 16))}  # fmt: skip
    names = ("gradient_steps", "training_flops", "cpu_core_hours")
    assert [of["steps"].total(name) for name in names] == pytest.approx([of["epochs"].total(name) for name in names])
    assert costs(training={"steps": 37, "batch_size": 64}).total("gradient_steps") == 2 * 37


def test_runs_that_will_be_skipped_or_are_too_short_are_told():
    methods = {"dense": {}, "random_units": {"ratio": [2, 100_000]}}
    plan = make_plan(check_experiment(SMALL | {"methods": methods, "training": {"epochs": 1}}, "small"), "small")
    skipped, short = foreseen(plan)
    first = "the first of them digits/random_units: "
    assert skipped.startswith(f"skipped: 2 of 6 runs will be skipped, {first}cannot reach 100000x")
    assert short.startswith(f"too short: 2 of 6 runs will fail, {first}epochs = 1 is too short")
    assert "the dense pretraining takes 1" in short
    assert foreseen(make_plan(check_experiment(SMALL, "small"), "small")) == []


@pytest.mark.parametrize(
    ("ratios", "compare_at", "told"),
    [
        ([2, 4], None, "digits: methods are compared at 10x, and none is asked for more than 4x"),
        (
            [2, 100_000],
            None,
            "digits: methods are compared at 10x, and none is asked for more than 2x",
        ),  # 100000x: skipped
        ([2, 4], {"digits": 4}, ""),
        ([2, 12], None, ""),
    ],
)
def test_a_plan_whose_sizes_stay_above_that_of_the_comparison_says_so(ratios, compare_at, told):
    changed = {"methods": {"dense": {}, "random_units": {"ratio": ratios}}, "compare_at": compare_at}
    plan = make_plan(check_experiment(SMALL | changed | {"training": {"epochs": 8}}, "small"), "small")
    lines = [line for line in foreseen(plan) if not line.startswith("skipped")]
    assert lines == ([f"comparison: {told}; see compare_at"] if told else [])


@pytest.mark.parametrize(("epochs", "share", "stages", "least"), [(1, 0.5, 2, 4), (3, 0.5, 2, 4), (1, 0.0, 3, 3)])
def test_a_training_that_is_too_short_says_what_is_enough(epochs, share, stages, least):
    says = TrainingSettings(epochs=epochs).too_short(share, stages)
    assert says.startswith(f"epochs = {epochs} is too short: ") and says.endswith(f"give at least {least}")
    assert TrainingSettings(epochs=least).too_short(share, stages) == ""


@pytest.mark.parametrize("share", [1.0, 1.4])
def test_a_pretraining_that_takes_all_is_refused_and_not_searched_for_a_length(share):
    """No length is enough: the search for one never ended, in planning too."""
    says = f"start_share = {share:g} leaves no epochs after the dense pretraining; it must be below 1"
    assert TrainingSettings(epochs=4).too_short(share, 2) == says


def test_a_plan_without_tasks_needs_no_memory():
    plan = make_plan(check_experiment(SMALL, "small"), "small")
    nothing = estimate(plan.model_copy(update={"tasks": {}, "runs": [], "jobs": []}), cpu=CORE)
    assert nothing.as_dict()["peak_memory_bytes"] == 0
    assert any(line.startswith("memory") and "about 0 B" in line for line in words(nothing))


def test_a_dense_start_counts_once_for_all_that_share_it():
    alone, both = costs(methods={"vib_lstm": {}}), costs(methods={"vib_lstm": {"beta": [1, 2]}, "iss": {}})
    per_epoch = 16
    assert alone.total("gradient_steps") == 2 * 10 * per_epoch  # start and stages together are the run's budget
    assert both.total("gradient_steps") == 2 * per_epoch * (3 + 3 * 7)  # one start of 3 epochs, three times the other 7
    assert both.total("start_bytes") == alone.total("start_bytes") > 0


def test_the_trials_of_tuning_count_too():
    plain, tuned = costs(methods={"vib_lstm": {}}), costs(methods={"vib_lstm": {}}, tuning={"trials": 5, "epochs": 4})
    per_epoch, start = 16, 1  # of 4 epochs; the trials share it
    assert tuned.total("gradient_steps") == plain.total("gradient_steps") + per_epoch * (start + 5 * (4 - start))
    assert tuned.runs == plain.runs == tuned.tasks["digits"].runs
    assert tuned.total("model_bytes") == plain.total("model_bytes")  # a trial keeps no module


def test_a_trial_by_hand():
    """dense, tuned over a list of 2 values with a budget of 7 trials: 2 trials, each 4 epochs of an ordinary run."""
    entry = {"dense": {"hidden": [16, 24]}}
    plain, tuned = costs(), costs(methods=entry, tuning={"trials": 7, "epochs": 4})
    train, validation, per_epoch, macs = 1006, 252, 16, 8 * 4 * 16 * (8 + 16) + 16 * 10
    assert tuned.total("gradient_steps") == plain.total("gradient_steps") + 2 * 4 * per_epoch
    assert tuned.total("training_flops") == pytest.approx(plain.total("training_flops") + 2 * 4 * 6 * macs * train)
    step = CORE.batch + 8 * CORE.step + 64 * (6 * macs / CORE.wide + MOVED)
    evaluation = (CORE.batch + 8 * CORE.step) / 3 + validation * (2 * macs / CORE.wide + MOVED)
    trial = 4 * (per_epoch * step + evaluation) + evaluation  # the test part is sealed, nothing is timed
    more = (tuned.cpu_core_hours - plain.cpu_core_hours) * 3600
    assert more == pytest.approx(2 * trial + JOB_SECONDS)  # the tuner is a job of its own


def test_the_test_part_that_a_protocol_watches_is_not_watched_by_trials():
    tuning, protocols = {"trials": 3}, ("sound", "as_released")
    plain = {(p, False): costs(protocol=p, methods={"dense": {}}).cpu_core_hours for p in protocols}
    tuned = {"methods": {"dense": {"hidden": [16, 24]}}, "tuning": tuning}
    hours = plain | {(p, True): costs(protocol=p, **tuned).cpu_core_hours for p in protocols}
    trials = {protocol: hours[protocol, True] - hours[protocol, False] for protocol in protocols}
    assert hours["as_released", False] > hours["sound", False]
    assert trials["as_released"] == pytest.approx(trials["sound"])


def info(inputs: int) -> TaskInfo:
    return TaskInfo("t", "sequence", inputs, 6, 11, False, 1000)


def made(name: str, inputs: int, **settings):
    method = load(find_methods()[name])
    return network(method(method.Settings(**settings)), info(inputs))


def test_each_method_counts_at_the_width_at_which_it_begins():
    dense = made("dense", 4096, hidden=128)
    assert (dense.wide, dense.narrow, dense.head) == (512 * 4096, 512 * 128, 128 * 11)
    assert dense.parameters == 512 * (4096 + 128 + 2) + 128 * 11 + 11
    assert made("vib_lstm", 4096, hidden=128).macs == dense.macs  # what it will remove is not known yet
    half = made("random_units", 4096, hidden=128, keep=0.5, keep_inputs=0.25)
    assert (half.wide, half.narrow) == (256 * 1024, 256 * 64)
    assert made("pooled_linear", 4096).macs == 4096 * 11
    two = made("dense", 10, hidden=8, layers=2, cell="gru")
    assert (two.wide, two.narrow, two.layers, two.gates) == (24 * 10 + 24 * 8, 2 * 24 * 8, 2, 48)
    assert made("dense", 64, hidden=8, front="segments", segments=3).steps == 3


def test_a_cell_in_a_loop_costs_as_much_as_its_layer():
    class Own(Method):
        def build(self, task):
            return nn.Sequential(self.recurrent(task.inputs, 8), nn.Linear(8, task.classes))

    def cost_of(recurrent):
        return network(type("Looped", (Own,), {"recurrent": recurrent})(Method.Settings()), info(5))

    cell = cost_of(nn.LSTMCell)
    assert (cell.wide, cell.narrow, cell.gates, cell.layers) == (32 * 5, 32 * 8, 32, 1)
    assert cell == cost_of(nn.LSTM)


def test_convolutions_cost_their_products_and_the_values_that_they_give():
    """LeNet-5 on one image: 20 maps of 24 x 24, 50 of 8 x 8, and 800 numbers that two linear layers read. A network on
    frames has a formula for its products; its convolutions are run to see what they give."""
    method = load(find_methods()["dense_network"])
    image = TaskInfo("t", "image", 784, 1, 10, False, 1000, (1, 28, 28))
    lenet = network(method(method.Settings(network="lenet_5")), image)
    values, macs = 20 * 24**2 + 50 * 8**2, 25 * 20 * 24**2 + 25 * 20 * 50 * 8**2 + 800 * 500 + 500 * 10
    assert (lenet.activations, lenet.convolved, lenet.head, lenet.macs) == (values, macs, 0, macs)
    on = replace(CORE, convolution=1e9, activation=1e-8)
    step = on.batch + on.parameter * lenet.parameters + on.value * 784 * 64 + 64 * (6 * macs / 1e9 + values * 1e-8)
    assert lenet.seconds(on, 64) - on.step * lenet.steps * lenet.layers == pytest.approx(step)
    assert measured().convolution > 0 <= measured().activation
    video = TaskInfo("t", "video", 256, 6, 4, False, 100, (1, 16, 16))
    settings = {"units": "vgg_4", "width": 2, "shortcuts": "none"}
    frames = network((rules := load(find_methods()["skip_sideways"]))(rules.Settings(**settings)), video)
    assert frames.activations == 6 * (2 * 16**2 + 2 * 16**2 + 4 * 8**2 + 8 * 4**2)
    assert (frames.head, frames.convolved) == (0, 6 * (18 * 256 + 36 * 256 + 72 * 64 + 288 * 16 + 8 * 4))


def test_a_tensor_map_counts_its_own_contraction():
    """TT of the end-to-end paper: thousands of parameters, yet far more arithmetic than one product each."""
    tt, dense = made("tt_lstm", 57600, hidden=256, rank=4), made("dense", 57600, hidden=256)
    assert tt.parameters < dense.parameters / 100
    assert tt.parameters < tt.wide < dense.wide / 4


def test_a_method_that_cannot_be_built_counts_as_the_dense_one(tmp_path):
    file = tmp_path / "odd.py"
    file.write_text(method_file(first='raise OSError("no such file")'))
    odd = costs(methods={"odd": {}}, plugins=[str(file)])
    assert odd.total("training_flops") == costs().total("training_flops")


# ---------------------------------------------------------------------- sizes of the sources


def synthetic(n=40):
    generator = np.random.default_rng(0)
    return {"x": generator.normal(size=(n, 4, 3)).astype("f4"), "y": np.arange(n) % 2, "subset": np.arange(n) % 5}


@pytest.fixture
def files(tmp_path):
    """The same data in each form of the `file` source."""
    import pandas as pd

    arrays = synthetic()
    arrays["subset"] = np.choose(arrays["subset"], [0, 1, 1, 1, 2])
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez_compressed(tmp_path / "b.npz", **arrays)
    (tmp_path / "c").mkdir()
    for name, array in arrays.items():
        np.save(tmp_path / "c" / f"{name}.npy", array)
    n, steps, _ = arrays["x"].shape
    rows = {"sequence": np.repeat(np.arange(n), steps), "step": np.tile(np.arange(steps), n)}
    rows |= {name: np.repeat(arrays[name], steps) for name in ("y", "subset")}
    rows |= {f"f{k}": arrays["x"][:, :, k].ravel() for k in range(3)}
    pd.DataFrame(rows).to_parquet(tmp_path / "d.parquet")
    return [tmp_path / name for name in ("a.npz", "b.npz", "c", "d.parquet")]


def delivered(source: str, options: dict, split: str | None = None) -> None:
    module = source_module(source)
    sizes = module.expected(module.Options(**options))
    task = load_task(TaskSpec(name="t", source=source, options=options, split=split))
    counts = [task.size(part) for part in PARTS]
    assert (sizes.sequences, sizes.steps, sizes.inputs, sizes.classes) == (
        sum(counts),
        task.steps,
        task.inputs,
        len(task.classes),
    )
    if sizes.train is not None:
        assert sizes.train == counts[0] + counts[1]
    assert sizes.download_bytes == 0


@pytest.mark.parametrize(
    ("source", "split"),
    [("digits", None), ("basic_motions", None), ("japanese_vowels", None), ("spoken_digits", "official")],
)
def test_what_an_embedded_source_expects_is_what_it_delivers(source, split):
    delivered(source, {}, split)


def test_what_a_file_promises_in_its_headers_is_what_it_delivers(files):
    for path in files:
        delivered("file", {"path": str(path)})


def test_the_features_of_a_file_are_not_read_for_the_estimate(tmp_path):
    """x has its header and nothing behind it."""
    folder = tmp_path / "huge"
    folder.mkdir()
    shape = (1000, 25, 4096)
    np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, shape).flush()  # sparse: nothing is written
    np.save(folder / "y.npy", np.arange(1000) % 5)
    module = source_module("file")
    sizes = module.expected(module.Options(path=str(folder)))
    assert (sizes.sequences, sizes.steps, sizes.inputs, sizes.classes, sizes.train) == (*shape, 5, None)


def archive_table(monkeypatch, answer):
    import aeon.datasets

    monkeypatch.setattr(aeon.datasets, "get_dataset_meta_data", answer)


def test_ucr_asks_the_archives_table_and_says_so_where_it_does_not_answer(monkeypatch, tmp_path):
    import pandas as pd

    monkeypatch.setenv("SQUEEZEBENCH_CACHE", str(tmp_path))
    row = {"Dataset": "Coffee", "TrainSize": 28, "TestSize": 28, "Length": 286, "NumberClasses": 2, "Channels": 1}
    archive_table(monkeypatch, lambda names: pd.DataFrame([row]))
    sizes = ucr.expected(ucr.Options(name="Coffee"))
    assert (sizes.sequences, sizes.steps, sizes.inputs, sizes.classes, sizes.train) == (56, 286, 1, 2, 28)

    def silent(names):
        raise OSError("no network")

    archive_table(monkeypatch, silent)
    found = costs(tasks={"coffee": {"source": "ucr", "options": {"name": "Coffee"}}, "digits": {}})
    assert any("coffee: its sizes are not known" in reason for reason in found.unknown)
    assert found.tasks["coffee"].gradient_steps == 0 < found.tasks["digits"].gradient_steps


def test_video_sets_count_their_download_and_preparation_once():
    entry = {"source": "ucf11", "options": {"features": "inception_v3", "stream": "both", "frames": 8}}
    found = costs(tasks={"one": entry, "two": entry | {"validation_share": 0.1}})
    one, two = found.tasks["one"], found.tasks["two"]
    assert one.sequences == 1600 and one.inputs == 4096 and found.download_bytes > 1e9
    assert two.prepare is None and one.prepare.clips == 1600
    assert one.prepare.flow_core_hours == pytest.approx(
        1600 * 8 * 0.07 * (149 / 112) ** 2 / 3600
    )  # 0.07 s at 112 x 112
    assert one.prepare.backbone_core_hours == pytest.approx(1600 * 16 * 2 * 5.713e9 / 0.5 / CORE.wide / 3600)
    assert found.cpu_core_hours > one.prepare.cpu_core_hours > found.gpu_hours
    rgb = costs(tasks={"one": {"source": "ucf11", "options": {"frames": 8}}})
    assert rgb.tasks["one"].prepare.flow_core_hours == 0 and rgb.prepared_bytes < found.prepared_bytes


# ---------------------------------------------------------------------- the command


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps({key: value for key, value in SMALL.items() if key != "name"}))
    return path


def test_the_command_prints_the_cost_below_its_first_line(experiment, tmp_path, capsys):
    assert main(["plan", str(experiment), "--results", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"2 runs in 1 job; wrote {tmp_path / 'small' / 'plan.json'}"
    assert [line.split("  ")[0] for line in lines[1:]] == ["training", "on CPUs", "or on GPUs", "memory", "disk"]
    assert "320 gradient steps" in lines[1] and "measured" in lines[2] and "nominal" in lines[3]


def test_the_command_prints_the_cost_as_json(experiment, tmp_path, capsys):
    found = {}
    for speed in ("5", "50"):
        assert main(["plan", str(experiment), "--results", str(tmp_path), "--json", "--gpu-tflops", speed]) == 0
        found[speed] = json.loads(capsys.readouterr().out)
    assert found["5"]["gradient_steps"] == 320 and found["5"]["tasks"]["digits"]["sequences"] == 1797
    assert found["5"]["gpu_hours"] > found["50"]["gpu_hours"] > 0
    assert set(found["5"]["disk_bytes"]) == {"downloads", "prepared", "records_and_models", "starts"}


def test_planning_imports_no_torch_and_asks_for_the_cost_once(experiment, tmp_path):
    code = f"""
import sys
from dataclasses import replace
from squeezebench.cli.main import main
from squeezebench.pipeline import plan_file

main(["plan", {str(experiment)!r}, "--results", {str(tmp_path)!r}])
plan_file.supervised = None  # the second answer is the one that was kept
main(["plan", {str(experiment)!r}, "--results", {str(tmp_path)!r}])
print([module for module in ("torch", "pandas", "sklearn", "scipy", "matplotlib") if module in sys.modules])
"""
    environment = os.environ | {"SQUEEZEBENCH_CACHE": str(tmp_path / "cache")}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    lines = said.stdout.splitlines()
    assert lines[-1] == "[]" and len(lines) == 13 and lines[:6] == lines[6:12]


def test_a_kept_answer_is_used_for_the_same_plan_only(tmp_path, monkeypatch):
    monkeypatch.setenv("SQUEEZEBENCH_CACHE", str(tmp_path))
    first, other = (make_plan(check_experiment(SMALL | {"seeds": seeds}, "s"), "s") for seeds in ([0, 1], [0, 1, 2]))
    answer = sized(first, True, 5.0)
    (kept,) = (tmp_path / "plans").iterdir()
    assert sized(first, True, 5.0) == answer and len(sized(other, True, 5.0)["jobs"]) == 3
    assert sized(first, True, 50.0)["costs"]["gpu_hours"] < answer["costs"]["gpu_hours"]
    for damaged in ("", "[]", "{}", kept.read_text().replace('"jobs": [', '"jobs": [7, ')):
        kept.write_text(damaged)
        assert sized(first, True, 5.0)["jobs"] == answer["jobs"]


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan"])
def test_a_gpu_of_no_speed_is_refused(experiment, tmp_path, complaint, value):
    said = complaint("plan", experiment, "--results", tmp_path, f"--gpu-tflops={value}")
    assert "--gpu-tflops" in said and not (tmp_path / "small").exists()
