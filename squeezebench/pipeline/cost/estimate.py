"""What an experiment will cost, before it runs: gradient steps, FLOPs, core and GPU hours, memory, disk.

Training FLOPs are 6 x (input-to-hidden + hidden-to-hidden) multiply-accumulates x steps + 6 x the head's, for each
sequence of each epoch: 2 forward, 4 backward. Widths are those at which training begins: what a method removes on the
way is counted as kept, so the figures of pruning methods are upper bounds. Tensor maps count their own contraction.
The trials of `tuning:` count like runs that leave no module: as many as a space has points, where that is less than
the budget, each at the settings before anything is drawn, and none as the repetition of another.
Seconds follow from `throughput`: measured on this machine for a CPU core, nominal for a GPU.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from squeezebench.base.errors import InputError
from squeezebench.data.dataset import Expected
from squeezebench.data.sources import source_module
from squeezebench.data.task import CACHE_BYTES, parse_options
from squeezebench.method.base import Method
from squeezebench.method.discovery import find_methods, load
from squeezebench.pipeline.cost.throughput import Throughput, measured
from squeezebench.pipeline.cost.video import Preparation, preparation
from squeezebench.pipeline.cost.widths import Network, dense_network, network
from squeezebench.pipeline.tuning.space import all_points
from squeezebench.schema.kind import kind_of
from squeezebench.schema.models import TaskInfo
from squeezebench.schema.plan import Plan, PlannedRun, PlannedTask
from squeezebench.schema.task import LEAVE_ONE_OUT
from squeezebench.schema.training import TrainingSettings

GPU_TFLOPS = 5.0  # sustained float32 of products with hundreds of rows: a third of a V100's peak of 15.7, a quarter of
# an A100's 19.5 (NVIDIA's data sheets; PyTorch leaves TF32 off). A recurrence never fills a GPU.
LAUNCH = 1e-5  # seconds from one kernel launch to the next in eager PyTorch
KERNELS_STEP, KERNELS_BATCH = 40, 300  # forward and backward of a time step; loss, clipping, Adam of a batch
GPU_BANDWIDTH = 1e12  # bytes a second, between a V100's 0.9 and an A100's 1.6
JOB_SECONDS = 5.0  # Python, torch and its optimisers, the task
MEASURING_SECONDS = 0.5  # of the compact module: latency loops, saving, counting
PROCESS_BYTES = 450 << 20  # resident after `import torch` and a first gradient step
RECORD_BYTES = 16_000  # record.json, history.csv, log.txt: mean of results/reference


@dataclass
class TaskCost:
    """Sums over the runs on one task; sizes are None if only the data can tell them."""

    sequences: int | None = None
    steps: int | None = None
    inputs: int | None = None
    runs: int = 0
    gradient_steps: int = 0
    training_flops: float = 0.0
    cpu_core_hours: float = 0.0
    gpu_hours: float = 0.0
    peak_memory_bytes: int = 0
    model_bytes: int = 0
    start_bytes: int = 0
    prepare: Preparation | None = None


@dataclass
class Costs:
    """An experiment's, with what they rest on."""

    runs: int
    jobs: int  # of runs
    processes: int  # the same and those of tuning, of dense pretraining, of data
    tasks: dict[str, TaskCost]
    download_bytes: int
    prepared_bytes: int
    cpu: Throughput
    gpu: Throughput
    unknown: list[str] = field(default_factory=list)  # what could not be counted, in words

    def total(self, name: str) -> Any:
        """The sum of one field over the tasks."""
        return sum(getattr(task, name) for task in self.tasks.values())

    @property
    def preparations(self) -> list[Preparation]:
        """Of the data sets that are prepared before the runs."""
        return [task.prepare for task in self.tasks.values() if task.prepare]

    @property
    def job_hours(self) -> float:
        """Starting the jobs, on one core each."""
        return self.processes * JOB_SECONDS / 3600

    @property
    def cpu_core_hours(self) -> float:
        """Everything on CPU cores."""
        prepare = sum(done.cpu_core_hours for done in self.preparations)
        return self.total("cpu_core_hours") + self.job_hours + prepare

    @property
    def gpu_hours(self) -> float:
        """Training, and the backbones of the preparation, on a GPU instead."""
        prepare = sum(done.backbone_gpu_hours for done in self.preparations)
        return self.total("gpu_hours") + self.job_hours + prepare

    @property
    def record_bytes(self) -> int:
        """What stays in the results folder."""
        return self.runs * RECORD_BYTES + self.total("model_bytes")

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "runs": self.runs,
            "jobs": self.jobs,
            "gradient_steps": self.total("gradient_steps"),
            "training_flops": self.total("training_flops"),
            "cpu_core_hours": self.cpu_core_hours,
            "gpu_hours": self.gpu_hours,
            "peak_memory_bytes": max((task.peak_memory_bytes for task in self.tasks.values()), default=0),
            "disk_bytes": {
                "downloads": self.download_bytes,
                "prepared": self.prepared_bytes,
                "records_and_models": self.record_bytes,
                "starts": self.total("start_bytes"),
            },
            "tasks": {name: asdict(task) for name, task in self.tasks.items()},
            "unknown": self.unknown,
            "throughput": {"cpu": asdict(self.cpu), "gpu": asdict(self.gpu)},
        }


def nominal_gpu(tflops: float) -> Throughput:
    """A GPU that sustains `tflops` in float32; the constants say why."""
    if not 0 < tflops < float("inf"):
        raise InputError(f"--gpu-tflops {tflops}: give a positive number, what the GPU sustains in float32")
    rate = tflops * 1e12
    return Throughput(
        wide=rate,
        narrow=rate / 4,  # a few dozen rows at a time
        batch=KERNELS_BATCH * LAUNCH,
        step=KERNELS_STEP * LAUNCH,
        element=100 / GPU_BANDWIDTH,  # about 25 reads and writes of 4 bytes
        parameter=40 / GPU_BANDWIDTH,
        about=f"a GPU that sustains {tflops:g} TFLOP/s in float32 (nominal; --gpu-tflops)",
        value=20 / GPU_BANDWIDTH,
        convolution=rate,
        activation=100 / GPU_BANDWIDTH,
    )


def estimate(plan: Plan, gpu_tflops: float = GPU_TFLOPS, cpu: Throughput | None = None) -> Costs:
    """The costs of a plan; `cpu` stands in for what this machine was measured at. Reads no data and trains nothing."""
    others = len(plan.tunings) + len(plan.start_jobs) + len(plan.data_jobs)
    counts = len(plan.runs), len(plan.jobs), len(plan.jobs) + others
    costs = Costs(*counts, {}, 0, 0, cpu or measured(), nominal_gpu(gpu_tflops))
    methods = usable_methods(plan)
    seen: set[str] = set()
    for name, task in plan.tasks.items():
        sizes = expected(task, plan.plugins)
        first = _add_data(costs, task, sizes, seen)
        runs = [run for run in plan.runs if run.task == name]
        trained = [(run, task, False) for run in runs]
        if plan.tuning:
            shorter = task.model_copy(update={"training": plan.tuning.of_trial(task.training)})
            trained += [(run, shorter, True) for run in _trials(plan, name)]
        costs.tasks[name] = _task(costs, task, sizes, first, trained, methods, plan)
        costs.tasks[name].runs = len(runs)
    return costs


def _trials(plan: Plan, task: str) -> list[PlannedRun]:
    """The trials of the methods that are tuned on `task`, all at the settings before anything is drawn."""
    return [
        PlannedRun(
            task=task,
            method=tuning.method,
            settings=tuning.settings,
            varied={},
            seed=plan.tuning.seed,
            path=tuning.path,
            job=tuning.job,
        )
        for tuning in plan.tunings
        if tuning.task == task
        for _ in range(len(all_points(tuning.space, plan.tuning.trials) or range(plan.tuning.trials)))
    ]


def expected(task: PlannedTask, plugins: list[str]) -> Expected:
    """What the task's source says of itself; unknown throughout where it says nothing."""
    module = source_module(task.spec.source, plugins)
    if not hasattr(module, "expected"):
        return Expected(None, None, None, None, None, None)
    return module.expected(parse_options(task.spec, plugins))


def usable_methods(plan: Plan) -> dict[str, type[Method]]:
    """The methods of a plan whose files can be used."""
    planned = {name for name, method in plan.methods.items() if method.error is None}
    return {name: load(file) for name, file in find_methods(plan.plugins).items() if name in planned}


def _add_data(costs: Costs, task: PlannedTask, sizes: Expected, seen: set[str]) -> bool:
    """Downloads and prepared arrays, once for each source with its options; whether this task is the first of them."""
    key = json.dumps([task.spec.source, task.spec.options], sort_keys=True, default=str)
    if key in seen:
        return False
    seen.add(key)
    for what, size in {"download": sizes.download_bytes, "disk": sizes.disk_bytes}.items():
        if size is None:
            costs.unknown.append(f"{task.spec.name}: {what} size is not known before the data are there")
    costs.download_bytes += sizes.download_bytes or 0
    costs.prepared_bytes += sizes.disk_bytes or 0
    return True


def _task(
    costs: Costs,
    task: PlannedTask,
    sizes: Expected,
    first: bool,
    runs: list[tuple[PlannedRun, PlannedTask, bool]],  # with the task as it trains on it; whether it is a trial
    methods: dict[str, type[Method]],
    plan: Plan,
) -> TaskCost:
    cost = TaskCost(sizes.sequences, task.spec.frames or sizes.steps, sizes.inputs)
    info = info_of(task, sizes, plan.plugins)
    if info is None:
        costs.unknown.append(f"{task.spec.name}: its sizes are not known before the data are there: runs not counted")
        return cost
    if first and task.prepared:  # tasks that share a source and its options share its preparation
        cost.prepare = preparation(parse_options(task.spec, plan.plugins), sizes, costs.cpu, costs.gpu)
    parts = shares(task, sizes, plan.plugins)
    networks: dict[str, tuple[Method, Network] | None] = {}
    starts: set[tuple] = set()
    for run, trained_as, trial in runs:
        if run.method not in methods:
            continue  # a broken file: its runs fail at once
        key = json.dumps([run.method, run.settings], sort_keys=True)
        if key not in networks:
            networks[key] = planned_network(methods[run.method], run, info)
        if networks[key] is not None:
            _add_run(costs, cost, trained_as, run, *networks[key], info, parts, plan.protocol, starts, trial)
    return cost


def info_of(task: PlannedTask, sizes: Expected, plugins: list[str]) -> TaskInfo | None:
    """What methods may know of a task; None if only the data can tell its sizes."""
    steps = task.spec.frames or sizes.steps
    if None in (sizes.sequences, steps, sizes.inputs, sizes.classes):
        return None
    train, kind = shares(task, sizes, plugins)[0], kind_of(sizes.frame, steps)
    return TaskInfo(task.spec.name, kind, sizes.inputs, steps, sizes.classes, False, train, sizes.frame)


def shares(task: PlannedTask, sizes: Expected, plugins: list[str]) -> tuple[int, int, int]:
    """Sequences of (train, validation, test); an official split of unknown sizes counts as `test_share`."""
    spec, n = task.spec, sizes.sequences
    rule = spec.split or source_module(spec.source, plugins).DEFAULT_SPLIT
    if sizes.train is not None and rule in ("official", None):
        outside = sizes.train
    elif rule == LEAVE_ONE_OUT:
        outside = n - round(n / spec.folds) if spec.folds else n  # one group less
    else:
        outside = round(n * (1 - spec.test_share))
    train = max(1, round(outside * (1 - spec.validation_share)))
    return train, outside - train, n - outside


def planned_network(method_class: type[Method], run: PlannedRun, info: TaskInfo) -> tuple[Method, Network] | None:
    """The method with its settings and the network it starts from; None if it skips the task."""
    method = method_class(method_class.Settings(**run.settings))
    return None if method.skip(info) else (method, network(method, info))


def epoch_seconds(on: Throughput, network: Network, batch_size: int, train: int, watched: int) -> float:
    """Of one epoch over `train` sequences, after which `watched` others are scored."""
    steps = -(-train // batch_size)
    return steps * network.seconds(on, min(batch_size, train)) + network.forward_seconds(on, watched)


def epochs_of(training: TrainingSettings, length: int, train: int) -> float:
    """Epochs over `train` sequences in a training of `length`, in the unit of `training`; steps may end inside one."""
    return length if training.unit == "epochs" else length / -(-train // training.batch_size)


def _add_run(costs, cost: TaskCost, task, run, method, net: Network, info, parts, protocol, starts, trial) -> None:
    """Add a run's training, and its dense pretraining unless another run has brought it.

    A trial reads the validation part alone, and neither times nor keeps its module.
    """
    training, share = task.training, method.start_share()
    batch = min(training.batch_size, parts[0])
    first = training.pretraining(share)
    trained = [(net, epochs_of(training, max(0, training.length - first), parts[0]))]
    if share:
        settings = method.settings.shared()
        key = (run.seed, training.unit, first, settings.model_dump_json())
        if key not in starts:
            starts.add(key)
            dense = dense_network(settings, info)
            trained.append((dense, epochs_of(training, first, parts[0])))
            cost.start_bytes += 4 * dense.parameters
    watched = parts[1] + (parts[2] if protocol == "as_released" and not trial else 0)
    measuring, scored = (0.0, parts[1]) if trial else (MEASURING_SECONDS, sum(parts))
    per_epoch = -(-parts[0] // training.batch_size)
    hours = {}
    for on in (costs.cpu, costs.gpu):
        seconds = sum(n * epoch_seconds(on, w, training.batch_size, parts[0], watched) for w, n in trained)
        hours[on.about] = (seconds + measuring + net.forward_seconds(on, scored)) / 3600
    cost.gradient_steps += round(per_epoch * sum(epochs for _, epochs in trained))
    cost.training_flops += sum(6.0 * w.macs * parts[0] * epochs for w, epochs in trained)
    cost.cpu_core_hours += hours[costs.cpu.about]
    cost.gpu_hours += hours[costs.gpu.about]
    cost.model_bytes += 0 if trial else 4 * net.parameters
    data = 4 * info.inputs * info.steps * sum(parts)
    memory = PROCESS_BYTES + max(w.bytes(batch) for w, _ in trained) + 2 * min(data, CACHE_BYTES)
    cost.peak_memory_bytes = max(cost.peak_memory_bytes, memory)
