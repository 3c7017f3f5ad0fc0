"""Feed-forward methods from a run to its record, its verification, its plan and its costs."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
import torch
from altered_records import alter
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.cli.main import main
from squeezebench.data.task import task_spec
from squeezebench.engine.run import execute
from squeezebench.engine.start import start_digest
from squeezebench.engine.training.loop import Trainer
from squeezebench.method import NetworkSettings, RecurrentSettings
from squeezebench.method.discovery import find_methods, load
from squeezebench.pipeline.cost.estimate import estimate
from squeezebench.pipeline.planner import make_plan
from squeezebench.pipeline.tuning.trial import attempt
from squeezebench.pipeline.worker import train_starts
from squeezebench.report.page import build
from squeezebench.schema.experiment import check_experiment
from squeezebench.schema.record import read_record
from squeezebench.schema.run import RunSpec
from squeezebench.schema.training import TrainingSettings
from squeezebench.tools.counting import count_method
from squeezebench.tools.recorded import read_recorded
from squeezebench.tools.tiny_tasks import tiny_task
from squeezebench.tools.verify.saved import verify

RUN = "runs/digits_images/vibnet/limits/seed-0"
LIMITS = ["limit_weights=10", "limit_neurons=60", "pieces=2", "every=10", "weight_decay=0.1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An experiment's folder with one run of the command line in it."""
    folder = tmp_path_factory.mktemp("made")
    setting_names = [word for setting in LIMITS for word in ("--set", setting)]
    words = ["run", "--task", "digits_images", "--method", "vibnet", *setting_names, "--train", "epochs=10"]
    assert main([*words, "--out", str(folder / RUN)]) == 0
    return folder


@pytest.fixture
def own(made, tmp_path):
    shutil.copytree(made, tmp_path / "own")
    return tmp_path / "own"


def problems(folder) -> set[str]:
    return {problem.field for problem in verify(folder).problems}


def test_the_record_of_a_run_on_images(made):
    record = read_record(made / RUN / "record.json")
    assert record.status == "ok" and record.accuracy.test > 0.8
    assert record.baseline.name == "lenet_300_100"
    counts, dense, kept = record.counts, record.baseline.counts, record.kept
    a, b, c = kept.structure
    assert kept.of_structure == [64, 300, 100] and (kept.hidden, kept.inputs) == (None, None)
    assert counts.weights == a * b + b * c + 10 * c and counts.neurons == a + b + c
    assert counts.weights <= 0.1 * dense.weights and counts.neurons <= 0.6 * dense.neurons
    assert record.ratio.weights == round(dense.weights / counts.weights, 4) and record.ratio.lstm_total is None
    assert counts.lstm_total == 0 and counts.model_total == counts.weights + b + c + 10
    assert record.cost.macs == record.cost.macs_closed_form == counts.weights
    assert record.cost.dense_macs == dense.weights and set(record.cost.fastest_dense_runtime.values()) <= {
        "PyTorch",
        "oneDNN off",
    }
    stages = ["dense pretraining", "compress 1", "compress 2", "settle", "fine-tune"]
    assert [stage.name for stage in record.stages] == stages and sum(stage.epochs for stage in record.stages) == 10
    assert read_recorded(made / RUN).spec().model == NetworkSettings()


def test_its_history_tells_what_is_kept(made):
    names = (made / RUN / "history.csv").read_text().splitlines()[0].split(",")
    assert {"kept_weights", "kept_neurons", "kept_macs"} <= set(names)


@pytest.mark.usefixtures("undrawn")
def test_its_report_shows_what_the_first_layer_tells_of_the_input(own):
    page = build(own).read_text()
    history = pd.read_csv(own / RUN / "history.csv").reset_index(names="row").dropna(subset=["first_layer_nats"])
    points = pd.read_csv(own / "figures/first_layer_digits_images.csv")
    assert len(points) == len(history) > 3 and (points["epoch"] == history["row"].to_numpy() + 1).all()
    assert (points["first_layer_nats"] == history["first_layer_nats"].to_numpy()).all()
    dense = read_record(own / RUN / "record.json").baseline.counts.weights
    assert points["compression"].to_list() == pytest.approx((dense / history["kept_weights"]).to_list())
    assert points["first_layer_nats"].iloc[-1] < points["first_layer_nats"].iloc[0]
    assert "What the first layer tells of the input, digits_images" in page and 'id="how-first_layer"' in page


@pytest.mark.usefixtures("undrawn")
def test_without_such_histories_there_is_no_such_figure(own):
    path = own / RUN / "history.csv"
    pd.read_csv(path).drop(columns="first_layer_nats").to_csv(path, index=False)
    page = build(own).read_text()
    assert not list(own.glob("figures/first_layer*")) and "first_layer" not in page


def test_the_report_verifies_it(made, capsys):
    found = verify(made)
    assert found.problems == [] and (found.measured, found.scored) == (1, 1)


@pytest.mark.parametrize(
    ("part", "size", "lie"),
    [("kept", "structure", [1, 1, 1]), ("counts", "weights", 7), ("counts", "neurons", 7), ("ratio", "weights", 99.0)],
)
def test_a_lie_about_its_sizes_is_found(own, part, size, lie):
    alter(own / RUN, part, **{size: lie})
    assert f"{part}.{size}" in problems(own)


def test_a_spec_that_promises_another_network_is_refused(own):
    path = own / RUN / "model.safetensors"
    with safe_open(path, "pt") as file:
        spec = json.loads(file.metadata()["spec"])
    spec["network"]["hidden"] = [1 << 30, 1 << 30]
    save_file(load_file(path), path, {"spec": json.dumps(spec)})
    assert "model.safetensors" in problems(own)


def spec(method: str, model, settings: dict | None = None, task: str = "digits_images") -> RunSpec:
    whole = load(find_methods()[method]).Settings(**(settings or {})).model_dump(mode="json")
    training = TrainingSettings(epochs=5, batch_size=128)
    return RunSpec(task=task_spec(task), method=method, settings=whole, training=training, model=model)


@pytest.mark.parametrize(
    ("method", "task", "model", "status", "words"),
    [
        ("vib_lstm", "digits_images", RecurrentSettings(), "skipped", "is for sequence and video tasks, not image"),
        ("vibnet", "digits", NetworkSettings(), "skipped", "is for image tasks, not sequence"),
        ("vibnet", "digits_images", RecurrentSettings(), "failed", "must name a network, as {network: lenet_5}"),
        ("dense", "digits", NetworkSettings(), "failed", "has no images: its `model:` names the network lenet_300_100"),
    ],
)
def test_what_does_not_go_together_is_said(method, task, model, status, words, tmp_path):
    record = execute(spec(method, model, task=task), find_methods()[method], tmp_path / "r", tmp_path / "starts")
    assert record.status == status and words in record.reason


def test_the_dense_start_is_shared_by_the_network_alone():
    small, other = ({"network": "vgg_8", "width": width} for width in (0.2, 0.3))
    method = load(find_methods()["vibnet"])
    one = spec("vibnet", NetworkSettings(**small))
    digests = [
        start_digest(one, method.Settings(**given), 3)
        for given in (small, small | {"beta": 3.0, "limit_weights": 4.0}, other)
    ]
    assert digests[0] == digests[1] != digests[2]


def experiment(**more):
    content = {
        "name": "e", "seeds": [0, 1], "tasks": {"digits_images": {"model": {"network": "lenet_300_100"}}, "digits": {}},
        "methods": {"dense_network": {}, "small_network": {"ratio": [4, 9]}, "vibnet": {"beta": [1, 3]},
                    "vib_lstm": {}},
        "training": {"epochs": 5, "batch_size": 128},
    }  # fmt: skip
    return make_plan(check_experiment(content | more, "e.yaml"), "e.yaml")


def test_the_costs_of_a_plan_with_images_and_sequences():
    costs = estimate(experiment())
    image, sequence = costs.tasks["digits_images"], costs.tasks["digits"]
    assert image.steps == 1 and image.inputs == 64 and costs.unknown == []
    weights = 64 * 300 + 300 * 100 + 100 * 10
    examples = round(0.8 * round(0.7 * 1797))
    assert image.training_flops > 2 * 5 * 6 * weights * examples  # two seeds of the dense network alone
    assert sequence.training_flops > 0


def test_starts_are_trained_for_the_methods_that_take_the_task(tmp_path):
    plan = experiment()
    write_atomically(tmp_path / "plan.json", plan.model_dump_json().encode())
    train_starts(tmp_path / "plan.json", "digits_images/0", None)
    assert len(list((tmp_path / "starts").glob("*.safetensors"))) == 1  # of both betas; none for vib_lstm


def test_a_trial_of_the_tuner_counts_weights(tmp_path):
    drawn = {"beta": 30.0, "mask_learning_rate": 0.25}
    found = attempt(spec("vibnet", NetworkSettings()), load(find_methods()["vibnet"]), drawn, tmp_path)
    assert found["status"] == "ok" and found["ratio"] == round(50_200 / found["lstm_total"], 4) > 1


@pytest.mark.parametrize("method", ["dense_network", "vibnet"])
def test_count_reads_a_square_image(method):
    found = count_method(method, 784, None, 10, {"network": "lenet_5"})
    assert found["agree"] and found["weights"] == 430_500
    assert count_method(method, 3072, None, 10, {"network": "vgg_8"})["agree"]
    with pytest.raises(InputError, match="--input 785: a method for images reads a square image"):
        count_method(method, 785, None, 10, {})
    with pytest.raises(InputError, match="dense: --hidden is missing"):
        count_method("dense", 784, None, 10, {})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"compress_share": 0.7, "settle_share": 0.3}, "leave nothing to fine-tuning"),
        ({"weighting": "limits"}, "weighting: limits needs limit_weights, limit_neurons, limit_macs or ratio"),
    ],
)
def test_settings_of_vibnet_that_do_not_go_together(settings, words):
    with pytest.raises(ValueError, match=words):
        load(find_methods()["vibnet"]).Settings(**settings)


@pytest.mark.parametrize("ratio", [2.0, 7.5, 40.0])
def test_a_small_network_is_the_widest_within_its_budget(ratio):
    method = load(find_methods()["small_network"])
    found = count_method("small_network", 64, None, 10, {"ratio": ratio})
    budget = 50_200 / ratio
    assert found["agree"] and 0.9 * budget < found["weights"] <= budget
    assert method.Settings().shared() == NetworkSettings()
    assert method(method.Settings(learning_rate=4.0)).stages()[0].learning_rate == 4.0


def test_decoupled_decay_is_on_matrices_alone():
    method = load(find_methods()["vibnet"])
    one = method(method.Settings(weight_decay=0.2, width=0.1))
    trainer = Trainer(one, tiny_task("image"), TrainingSettings(epochs=6), 0)
    optimiser = trainer.open(trainer.build(None), trainer.plan(6), 0).optimiser
    decays = [
        (g["weight_decay"], g["decoupled_weight_decay"], {p.dim() for p in g["params"]}) for g in optimiser.param_groups
    ]
    assert decays == [(0.2, True, {2}), *[(0.0, False, {1})] * 3]  # vectors, mu, log sigma^2
    assert torch.optim.Adam([torch.zeros(1)]).param_groups[0]["decoupled_weight_decay"] is False
