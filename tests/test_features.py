"""From clips to prepared features, and from those to a run: interruptions, full disks, broken clips, mirrored clips."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from squeezebench.base.errors import InputError
from squeezebench.cli.main import main
from squeezebench.data import store
from squeezebench.data.dataset import Dataset
from squeezebench.data.sources import source_module
from squeezebench.data.splits import make_split
from squeezebench.data.task import Task, load_task, parse_options
from squeezebench.data.video import synthetic as synthetic
from squeezebench.data.video.backbones import backbone
from squeezebench.data.video.clips import checked, list_clips
from squeezebench.data.video.decode import resize, sample, spread
from squeezebench.data.video.features import arrays, fill
from squeezebench.data.video.options import VideoOptions
from squeezebench.data.video.prepare import prepare
from squeezebench.pipeline.plan_file import write_plan
from squeezebench.schema.experiment import check_experiment
from squeezebench.schema.task import TaskSpec

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "ucf101_clips"
PIXELS = {"features": "pixels", "size": 12, "frames": 6, "synthetic": 3}

KILLED = """
import os, signal, sys
from pathlib import Path
from squeezebench.schema.task import TaskSpec
from squeezebench.data import store
from squeezebench.data.video.prepare import prepare

line = store.Store._note
def killing(self, content):
    if len(self.ledger) == 4:
        if sys.argv[1] == "half":
            self._ledger_file.write(b'{"clip": "half a li')
        os.kill(os.getpid(), signal.SIGKILL)
    line(self, content)
store.Store._note = killing
prepare(TaskSpec(name="ucf11", options=%r))
"""


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder of its own."""
    monkeypatch.setenv("SQUEEZEBENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def spec(source: str, **options) -> TaskSpec:
    return TaskSpec(name=source, options=options)


@pytest.mark.parametrize("where", ["between", "half"])
def test_a_builder_that_is_killed_goes_on_to_the_same_bytes(data, tmp_path, monkeypatch, where):
    killed = subprocess.run([sys.executable, "-c", KILLED % PIXELS, where], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = prepare(spec("ucf11", **PIXELS))
    assert resumed["made"] == 8 and resumed["clips"] == 12
    monkeypatch.setenv("SQUEEZEBENCH_DATA", str(tmp_path / "other"))
    whole = prepare(spec("ucf11", **PIXELS))
    assert whole["made"] == 12
    for name in ("x.npy", "ledger.jsonl", "length.npy", "name.npy"):
        assert (Path(resumed["folder"]) / name).read_bytes() == (Path(whole["folder"]) / name).read_bytes()


def test_a_full_disk_is_one_line_and_what_is_done_is_kept(data):
    synthetic.make_clips("ucf11", data / "synthetic" / "ucf11-3", 3)
    row = 6 * 12 * 16 * 3
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    checked(list_clips("ucf11", data / "synthetic" / "ucf11-3", classes=synthetic.classes_of("ucf11")))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5 * row + row // 2, hard))
        with pytest.raises(InputError, match=r"the disk is full.* the 5 clips that are done are kept") as caught:
            prepare(spec("ucf11", **PIXELS))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="squeezebench data prepare ucf11"):
        load_task(spec("ucf11", **PIXELS))
    resumed = prepare(spec("ucf11", **PIXELS))
    assert resumed["made"] == 7 and len(np.load(Path(resumed["folder"]) / "x.npy")) == 12


def test_no_work_is_begun_where_the_disk_has_no_room(data, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    with pytest.raises(InputError, match=r"need 0\.0 GB more, and 0\.0 GB are free"):
        prepare(spec("ucf11", **PIXELS))
    assert not list(data.rglob("x.npy"))


def test_a_second_builder_waits_for_the_first(tmp_path):
    entered = threading.Event()

    def build() -> None:
        with store.opened(tmp_path / "s", {}, {"x": ((2,), "<f2")}):
            entered.set()

    (tmp_path / "s").mkdir()
    with FileLock(tmp_path / "s" / "lock"):
        other = threading.Thread(target=build)
        other.start()
        assert not entered.wait(0.4)
    assert entered.wait(10)
    other.join()


def test_a_store_refuses_another_key_and_altered_files(tmp_path):
    def add(key: str, rows: int) -> None:
        with store.opened(tmp_path, {"key": key}, {"x": ((2,), "<f2")}) as opened:
            for _ in range(rows):
                opened.add("clip", 1, x=np.ones(2))

    add("one", 2)
    with pytest.raises(InputError, match="made from something else"):
        add("two", 0)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    with pytest.raises(InputError, match="shorter than its ledger says"):
        add("one", 0)


def test_broken_clips_are_left_out_with_their_reason(data, tmp_path):
    folder = synthetic.make_clips("ucf11", tmp_path / "clips", 3)
    index = checked(list_clips("ucf11", folder, classes=synthetic.classes_of("ucf11")))
    options = VideoOptions(features="pixels", size=12, frames=6)
    clips = list(index.clips[:5])
    clips[2].path.write_bytes(b"")
    clips[3].path.write_bytes(b"not a video at all")
    with store.opened(tmp_path / "store", {}, arrays(options)) as opened:
        work = fill(opened, clips, options, tmp_path / "flow", None)
        opened.finish({})
    assert work["made"] == 5 and [line.get("skipped", "")[:12] for line in opened.ledger] == [
        "", "", "the file is ", "not a readab", "",
    ]  # fmt: skip
    x = np.load(tmp_path / "store" / "x.npy", mmap_mode="r")
    with store.opened(tmp_path / "last", {}, arrays(options)) as alone:
        fill(alone, clips[4:], options, tmp_path / "flow", None)
        alone.finish({})
    assert x.shape == (3, 6, 576) and np.array_equal(x[2], np.load(tmp_path / "last" / "x.npy")[0])


def test_prepare_tells_of_broken_clips_of_the_folder(data, capsys):
    folder = synthetic.make_clips("ucf11", data / "synthetic" / "ucf11-4", 4)
    broken = sorted(folder.rglob("*.mpg"))[5]
    broken.write_bytes(broken.read_bytes()[:20])
    arguments = ["data", "prepare", "ucf11", "--receipt", str(data / "receipt.json")]
    for name, value in (PIXELS | {"synthetic": 4}).items():
        arguments += ["--set", f"{name}={value}"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert f"skipped: biking/{broken.parent.name}/{broken.stem}: " in printed.err and "15 clips" in printed.out
    assert json.loads((data / "receipt.json").read_bytes())["clips"] == 15
    assert load_task(spec("ucf11", **PIXELS | {"synthetic": 4})).size("train") > 0


def test_features_of_both_streams_and_both_sides_end_to_end(data):
    options = {
        "features": "efficientnet_b1", "weights": "random", "size": 32, "frames": 7, "stream": "both", "flip": True,
        "synthetic": 3,
    }  # fmt: skip
    with pytest.raises(InputError, match=r"not prepared; give: squeezebench data prepare ucf101 --set .*synthetic=3"):
        load_task(spec("ucf101", **options))
    first = prepare(spec("ucf101", **options))
    again = prepare(spec("ucf101", **options))
    assert first["made"] == 12 and again["made"] == 0 and again["digests"] == first["digests"]
    task = load_task(replace_split(spec("ucf101", **options), list=2), seed=1)
    assert task.inputs == 2 * 1280 and task.steps == 7 and task.size("test") == 4
    assert task.origin.count("weights sha256:") == 1 and task.has_lengths
    data_set = source_module("ucf101").load(parse_options(spec("ucf101", **options)))
    assert data_set.x.dtype == np.float16 and isinstance(data_set.x, np.memmap)
    for row, length in enumerate(data_set.length):
        used = np.abs(data_set.x[row].astype(np.float32)).sum(1) > 0
        assert used[:length].all() and not used[length:].any()
    assert {"train", "test"} == set(data_set.subset) and min(data_set.length) < 7
    # the mirrored frames through the same network, row by row
    network = backbone("efficientnet_b1", "random", 32, "cpu")
    index = checked(list_clips("ucf101", data / "synthetic" / "ucf101-3", classes=synthetic.classes_of("ucf101")))
    _, kept = sample(index.clips[7].path, lambda total: spread(total, 7), lambda frame: resize(frame, (32, 32)))
    frames = np.stack(list(kept.values()))
    found = network.features(frames[:, :, ::-1])
    assert np.allclose(data_set.flipped[7, : len(found), :1280], found, rtol=2e-3, atol=1e-3)
    assert not np.array_equal(data_set.flipped[7], data_set.x[7])


def replace_split(task: TaskSpec, list: int) -> TaskSpec:
    return task.model_copy(update={"options": task.options | {"split_list": list}})


def test_pixels_are_streamed_and_scaled(data):
    prepare(spec("ucf11", **PIXELS))
    task = load_task(spec("ucf11", **PIXELS).model_copy(update={"normalise": "none"}), cache_bytes=0)
    batch = task.batch("train", [0, 1])
    assert task.inputs == 12 * 16 * 3 and 0.2 < batch.x.max() <= 1 and batch.x.min() >= 0
    assert not task._cache and isinstance(task._data.x, np.memmap) and task._data.x.dtype == np.uint8


def test_pixels_in_planes_are_frames_for_networks_on_images(data):
    sources = []
    for options in (PIXELS, PIXELS | {"planes": True}):
        prepare(spec("ucf11", **options))
        sources.append(source_module("ucf11").load(parse_options(spec("ucf11", **options))))
    plain, planes = sources
    assert plain.frame is None and planes.frame == (3, 12, 16)
    assert source_module("ucf11").expected(parse_options(spec("ucf11", **PIXELS, planes=True))).frame == planes.frame
    shaped = plain.x.reshape(*plain.x.shape[:2], 12, 16, 3)
    assert np.array_equal(planes.x.reshape(*planes.x.shape[:2], 3, 12, 16), np.moveaxis(shaped, -1, 2))
    assert load_task(spec("ucf11", **PIXELS, planes=True)).kind == "video"


def test_mirrored_sequences_are_drawn_in_training_alone():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 5, 3)).astype(np.float32)
    data = Dataset("arrays", x, np.arange(60) % 2, ("a", "b"))
    mirrored = replace(data, flipped=x + 100)
    split = make_split(data, "random")
    task = TaskSpec(name="t", source="file", normalise="none", frames=2, sampling="random")
    plain, cached, streamed = Task(task, data, split), Task(task, mirrored, split), Task(task, mirrored, split, 0)
    order = np.arange(plain.size("train"))
    one, other = (t.batch("train", order, np.random.default_rng(3)).x for t in (cached, streamed))
    assert np.array_equal(one, other)
    drawn = one.min((1, 2)) > 50
    assert 0 < drawn.sum() < len(drawn)
    reference = plain.batch("train", order, np.random.default_rng(3)).x
    assert np.allclose(one - 100 * drawn[:, None, None], reference, atol=1e-4)  # steps are drawn as without mirrors
    for part in ("train", "validation", "test"):
        assert cached.batch(part, np.arange(cached.size(part))).x.max() < 50
        if part != "train":
            assert cached.batch(part, np.arange(cached.size(part)), np.random.default_rng(3)).x.max() < 50
    later = cached.batch("train", order, np.random.default_rng(4)).x.min((1, 2)) > 50
    assert (later != drawn).any()


def test_what_a_source_expects_is_what_it_delivers(data):
    for source in ("ucf11", "ucf101", "hmdb51"):
        module = source_module(source)
        real = module.expected(module.Options())
        assert real.inputs == 2048 and real.download_bytes > 10**9 and real.classes in (11, 51, 101)
    prepare(spec("ucf11", **PIXELS))
    expected = source_module("ucf11").expected(parse_options(spec("ucf11", **PIXELS)))
    x = source_module("ucf11").load(parse_options(spec("ucf11", **PIXELS))).x
    assert (expected.sequences, expected.steps, expected.inputs) == x.shape and expected.disk_bytes == x.nbytes


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"features": "pixels", "stream": "flow"}, "pixels are rgb only"),
        ({"size": 74}, "inception_v3 needs at least 75"),
        ({"planes": True}, "inception_v3 gives no frames"),
        ({"synthetic": 3, "folder": "."}, "folder or synthetic, not both"),
        ({"stream": "depth"}, "stream"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, problem):
    with pytest.raises(InputError, match=problem):
        parse_options(spec("ucf11", **options))


def test_sources_and_plans_that_cannot_be_prepared(tmp_path, complaint):
    experiment = {"name": "e", "tasks": ["digits"], "methods": {"dense": None}}
    plan, path, _ = write_plan(check_experiment(experiment, "e.yaml"), "e.yaml", tmp_path, costs=False)
    deep, wrong = tmp_path / "deep.json", tmp_path / "wrong.json"
    deep.write_text("[" * 200_000)
    content = plan.model_dump(mode="json")
    content["tasks"]["digits"]["spec"]["options"] = 5
    wrong.write_text(json.dumps(content))
    for arguments, problem in [
        (["digits"], "source digits needs no preparing"),
        ([path, "nothing"], "no task 'nothing'; it has digits"),
        ([path, "digits"], "needs no preparing"),
        ([tmp_path / "no.json", "digits"], "cannot be read"),
        ([deep, "digits"], "deep.json: not a plan that `squeezebench plan` wrote"),
        ([wrong, "digits"], "wrong.json: not a plan that `squeezebench plan` wrote"),
        (["ucf11", "--set", f"folder={tmp_path / 'none'}"], "no such folder"),
    ]:
        assert problem in complaint("data", "prepare", *arguments)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real clips in {REAL}")
def test_real_clips_through_flow_and_both_backbones_to_a_run(data, tmp_path, capsys):
    """Two clips of UCF101, each under three groups' names: a run needs train, validation and test."""
    names = ("ApplyEyeMakeup", "BaseballPitch")
    for name in names:
        for group in (1, 2, 3):
            target = tmp_path / "UCF-101" / name / f"v_{name}_g{group:02}_c01.avi"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REAL / f"v_{name}_g01_c01.avi", target)
    index = checked(list_clips("ucf101", tmp_path, classes=names))
    for name, size in (("inception_v3", 75), ("efficientnet_b1", 32)):
        options = VideoOptions(features=name, weights="random", size=size, frames=2, stream="both")
        folder, network = tmp_path / name, backbone(name, "random", size, "cpu")
        with store.opened(folder, {}, arrays(options)) as opened:
            for number in range(1, 7):  # the copies take the flow of their original, which is the slow part
                fill(opened, index.clips[:number], options, tmp_path / "flow", network)
                _copy_flow(tmp_path / "flow")
            small = {"y": [clip.label for clip in index.clips], "group": [clip.group for clip in index.clips]}
            opened.finish({}, **{name: np.array(values) for name, values in small.items()})
        x = np.load(folder / "x.npy")
        assert x.shape == (6, 2, 2 * (2048 if size == 75 else 1280)) and np.array_equal(x[0], x[1])
        assert np.abs(x[0].astype(float) - x[3]).max() > 0
        arguments = [
            "--method",
            "dense",
            "--train",
            "epochs=2",
            "--set",
            "hidden=4",
            "--out",
            str(tmp_path / "run" / name),
        ]
        assert main(["run", "--task", f"file:{folder}", *arguments]) == 0, capsys.readouterr().err


def _copy_flow(flow: Path) -> None:
    for path in flow.rglob("*_g01_c01-*.png"):
        for group in ("g02", "g03"):
            shutil.copy(path, path.with_name(path.name.replace("g01", group)))
