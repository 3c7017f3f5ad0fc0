"""Every experiment on images plans at each scale it has; one of each kind goes through all steps with `make tiny`."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_paper_experiments import check, step_by_step

from squeezebench.base.yaml_file import load_yaml
from squeezebench.pipeline.planner import make_plan
from squeezebench.schema.experiment import read_experiment
from squeezebench.schema.reference import read_block, share

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"vibnet": "*.yaml", "itpcc": "*.yaml", "real": "itpcc*.yaml"}
EXPERIMENTS = sorted(path for folder, names in FOLDERS.items() for path in (ROOT / "config" / folder).glob(names))
TINY = [path for path in EXPERIMENTS if load_yaml(path).get("tiny")]
OF_EACH_KIND = ("cifar10_vgg16_d4", "digits_resnet", "moving_shapes_cnn_lstm")  # the others are as these
CIFAR = [path for path in sorted((ROOT / "config/vibnet").glob("cifar*.yaml")) if "quarter" not in path.stem]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_each_experiment_plans_at_each_scale(path, tmp_path):
    (tmp_path / "weights").write_bytes(b"of somebody else")
    places = {"features": str(tmp_path), "weights": str(tmp_path / "weights")}  # the user's copies
    own = {key: place for key, place in places.items() if f"${{{key}}}" in path.read_text()}
    for scale in ("full", "tiny")[: 1 + (path in TINY)]:
        plan = make_plan(read_experiment(path, {"scale": scale} | own), str(path))
        assert plan.runs and not [name for name, method in plan.methods.items() if method.error]
        assert scale == "full" or {task.training.device for task in plan.tasks.values()} == {"cpu"}


@pytest.mark.parametrize("path", CIFAR, ids=lambda path: path.stem)
def test_beta_is_that_of_the_published_code(path):
    """Mean cross-entropy + kl_fac / 2 * sum of log(1 + alpha) there, + beta / N of it here; sizes as printed."""
    published = {"cifar10_vgg16_d4": 1.4e-5, "cifar10_vgg16_d6": 3e-5, "cifar10_vgg_g5": 1e-5,
                 "cifar100_vgg16_g": 1e-5, "cifar100_vgg_g5": 1.5e-5}[path.stem]  # fmt: skip
    experiment = read_experiment(path)
    (table,) = experiment.tables
    (row,) = table.rows
    block = read_block(table.printed)
    grid, limited = experiment.methods["vibnet"]
    assert limited["beta"] == pytest.approx(45_000 * published / 2) and limited["beta"] in grid["beta"]
    assert limited["limit_weights"] == pytest.approx(100 * share(block.lines[block.keys.index(row)], "r_W_pct"))


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.tiny if path.stem in OF_EACH_KIND else pytest.mark.long) for path in TINY],
    ids=lambda path: path.stem,
)
def test_the_tiny_form_goes_through_every_step(path, tmp_path):
    check(step_by_step(path, tmp_path, {"SQUEEZEBENCH_DATA": str(tmp_path / "data")}))
