"""What is wrong with the data or the machine is refused by `plan`, before anything runs and without the features."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from squeezebench.base.errors import InputError
from squeezebench.cli.main import main
from squeezebench.data.outline import check_task
from squeezebench.data.sources import find_sources, source_module
from squeezebench.data.task import load_task, parse_options
from squeezebench.pipeline import devices
from squeezebench.pipeline.plan_file import write_plan
from squeezebench.pipeline.planner import make_plan
from squeezebench.pipeline.workflow import load_plan
from squeezebench.schema.experiment import check_experiment
from squeezebench.schema.task import TaskSpec

N, T, D = 24, 6, 3
ARRAYS = {
    "x": np.random.default_rng(0).normal(size=(N, T, D)).astype(np.float32),
    "y": np.arange(N) % 2,
    "group": np.arange(N) // 3,
    "length": np.arange(N) % T + 1,
    "subset": np.array(["train"] * 16 + ["test"] * 8),
    "scale": np.ones(D),
}


def saved(path, *without, **changed):
    arrays = {name: value for name, value in (ARRAYS | changed).items() if name not in without}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".parquet":
        rows = [
            {"sequence": f"s{99 - row}", "step": step, "f": float(step), "g": 1.0}
            | {name: arrays[name][row] for name in ("y", "group", "subset") if name in arrays}
            for row in range(N)
            for step in range(arrays["length"][row])
        ]
        pd.DataFrame(rows).to_parquet(path, index=False)
    else:
        path.mkdir()
        for name, value in arrays.items():
            np.save(path / f"{name}.npy", value)
    return path


def spec(path, **more):
    return TaskSpec(name="own", source="file", options={"path": str(path)}, **more)


@pytest.mark.parametrize("name", ["own.npz", "own.parquet", "own"])
def test_the_outline_of_own_data_is_the_data_without_its_features(tmp_path, name):
    path = saved(tmp_path / name)
    module = source_module("file")
    options = parse_options(spec(path))
    whole, outline = module.load(options), module.outline(options)
    assert outline.x.shape == whole.x.shape and outline.classes == whole.classes
    assert name == "own" or outline.x.strides == (0, 0, 0)  # one number, however many there are; a folder is mapped
    for part in ("y", "group", "length", "subset", "scale"):
        assert np.array_equal(getattr(outline, part), getattr(whole, part)) or getattr(whole, part) is None
    assert check_task(spec(path), [0, 1]) == [load_task(spec(path), 0).groups_across.words]


BAD = {  # words of the refusal -> (arrays that are left out, arrays that are changed, settings of the task)
    "frames is 9, but .* has 6 steps": ((), {}, {"frames": 9}),
    "split: group needs groups": (("group",), {}, {"split": "group"}),
    "split: leave_one_group_out needs groups": (("group",), {}, {"split": "leave_one_group_out", "fold": 0}),
    "fold is 9; there are 8 groups to leave out": ((), {}, {"split": "leave_one_group_out", "fold": 9}),
    "there is no official split": (("subset",), {}, {"split": "official"}),
    "normalise: channel is for images": ((), {}, {"normalise": "channel"}),
    "class '0' .* has no training example": ((), {"y": np.array([1] * 16 + [0] * 8)}, {}),
    r"length\[3\] is 7; it must be in 1..6": ((), {"length": np.where(np.arange(N) == 3, 7, 2)}, {}),
    "y has shape": ((), {"y": np.zeros(5, int)}, {}),
    "it must be integer or float": ((), {"x": np.zeros((N, T, D), "U1")}, {}),
    "x has shape": ((), {"x": np.zeros((N, D))}, {}),
    r"squeezebench.data.pad\(list_of_arrays\)": ((), {"x": np.array([[1], [1, 2]] * (N // 2), object)}, {}),
}


@pytest.mark.parametrize("words", BAD)
def test_a_wrong_task_is_refused_before_anything_is_written(tmp_path, monkeypatch, words):
    without, changed, settings = BAD[words]
    path = saved(tmp_path / "own.npz", *without, **changed)
    monkeypatch.setattr("squeezebench.data.sources.file.read_npz", lambda path: pytest.fail("features are read"))
    tasks = {"own": {"source": "file", "options": {"path": str(path)}} | settings}
    experiment = check_experiment({"name": "e", "tasks": tasks, "methods": {"dense": {}}}, "e.yaml")
    with pytest.raises(InputError, match=rf"e\.yaml: .*{words}"):
        write_plan(experiment, "e.yaml", tmp_path / "results", costs=False)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("source", [name for name in find_sources() if name not in ("file", "ucr")])
def test_sources_of_known_sizes_refuse_too_many_frames(source, tmp_path):
    options = {"folder": str(tmp_path)} if source in ("image_folder", "clips") else {}
    if source == "clips":  # its names are its sizes, as are those of the folder of images
        for label in "ab":
            (tmp_path / label).mkdir()
            (tmp_path / label / "1.avi").touch()
    if source == "image_folder":
        for part in ("train", "val"):
            for label in "ab":
                (tmp_path / part / label).mkdir(parents=True)
                (tmp_path / part / label / "1.png").touch()
    with pytest.raises(InputError, match=r"frames is 100000, but .* has .* steps"):
        check_task(TaskSpec(name="t", source=source, options=options, frames=100000), [0])


@pytest.mark.parametrize("source", ["digits", "digits_images", "basic_motions", "japanese_vowels", "mnist", "cifar10"])
def test_sources_without_groups_refuse_rules_that_need_them(source):
    with pytest.raises(InputError, match=f"{source}: split: group needs groups"):
        check_task(TaskSpec(name="t", source=source, split="group"), [0])
    check_task(TaskSpec(name="t", source="spoken_digits", split="group"), [0])


def test_groups_on_both_sides_are_told_by_plan(tmp_path, capsys, caplog):
    path = saved(tmp_path / "own.npz", group=np.arange(N) % 4)
    (tmp_path / "e.yaml").write_text(
        f"tasks: {{own: {{source: file, options: {{path: {path}}}}}}}\nmethods: {{dense: {{}}}}\nruns_per_job: 1\n"
    )
    assert main(["plan", str(tmp_path / "e.yaml"), "--results", str(tmp_path / "results")]) == 0
    assert "tasks: own: 4 of 4 groups are on both sides of the test split" in caplog.text


# ---------------------------------------------------------------------- a GPU

ON_GPU = {"name": "e", "tasks": ["digits"], "methods": {"dense": {}}, "training": {"device": "cuda"}, "runs_per_job": 1}


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(devices, "_has_gpu", lambda: False)


def test_a_gpu_that_is_not_there_is_refused_by_plan_unless_it_is_elsewhere(tmp_path, no_gpu, capsys):
    experiment = check_experiment(ON_GPU, "e.yaml")
    results = tmp_path / "results"
    with pytest.raises(InputError, match=r"e\.yaml: tasks: digits: training: device: cuda: this machine has no GPU"):
        write_plan(experiment, "e.yaml", results, costs=False, elsewhere=False)
    assert not results.exists()
    write_plan(experiment, "e.yaml", results, costs=False, elsewhere=True)
    assert make_plan(experiment, "e.yaml").tasks["digits"].training.device == "cuda"


@pytest.mark.parametrize("words", [[], ["--dry-run"], ["--profile", "slurm"], ["--executor=slurm"]])
def test_snakemake_refuses_it_where_jobs_would_run_here(tmp_path, no_gpu, monkeypatch, words):
    monkeypatch.setattr("sys.argv", ["snakemake", *words])
    monkeypatch.chdir(tmp_path)
    if words:
        load_plan(ON_GPU, ["e.yaml"])
        return
    for _ in range(2):  # also when the plan is there already
        with pytest.raises(InputError, match="this machine has no GPU"):
            load_plan(ON_GPU, ["e.yaml"])


def test_braces_in_the_place_of_a_plugin_are_refused(tmp_path, monkeypatch):
    """Snakemake would read {task} in the path of an input as its own wildcard."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "{task}").mkdir()
    (tmp_path / "{task}" / "mine.py").touch()
    with pytest.raises(InputError, match="what is in braces; rename the folder"):
        load_plan({"plugins": ["./{task}"]}, ["e.yaml"])


def test_a_single_run_refuses_it_too(tmp_path, capsys):
    import torch

    call = ["run", "--task", "digits", "--method", "dense", "--train", "device=cuda", "--train", "epochs=1"]
    status = main([*call, "--out", str(tmp_path / "run")])
    assert torch.cuda.is_available() or (status == 2 and "this machine has no GPU" in capsys.readouterr().err)
    assert torch.cuda.is_available() or not (tmp_path / "run").exists()
