"""`squeezebench inference`: how fast the compact networks run, on a quiet machine, and what the ratios are made of.

Section 5.5 of the VIB-LSTM paper (one core; a single video, and a batch of 10), done so that a ratio says what it is a
ratio of: both networks in the same runtime, and the compact one against the *fastest* dense one. Runtimes: PyTorch's
LSTM or GRU with and without oneDNN, the engine, ONNX Runtime. Every variant takes its turn in each round, in its steady
state; the result is the median over the rounds with quartiles. ONNX Runtime in int8 (dynamic quantisation) takes its
turn with them, and is scored, as it is another model; no float32 ratio has an int8 side.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from tqdm import tqdm

from squeezebench.base.errors import InputError
from squeezebench.engine.measurement.counts import count
from squeezebench.engine.measurement.latency import BATCHES, Timing, timings
from squeezebench.engine.measurement.macs import closed_form_macs
from squeezebench.engine.provenance import machine
from squeezebench.method.dense import dense_classifier
from squeezebench.nn.rnn.classifier import RecurrentClassifier, recurrent_classifier
from squeezebench.schema.inference import (
    BUSY,
    INFERENCE_NAME,
    INT8,
    Comparison,
    Inference,
    Model,
    Side,
    Time,
    write_inference,
)
from squeezebench.schema.models import RecurrentSettings, TaskInfo
from squeezebench.schema.record import RECORD_NAME, Record, record_files
from squeezebench.schema.stored import check_replaceable
from squeezebench.tools.export import read_run
from squeezebench.tools.latency.hardware import bandwidth, macs_per_second, memory_seconds, weight_bytes
from squeezebench.tools.latency.quantised import DenseRuns, Weights, in_int8
from squeezebench.tools.latency.runtimes import in_every_runtime, on_first_inputs
from squeezebench.tools.recorded import read_recorded
from squeezebench.tools.verify.remeasure import Tasks, task_of

ROW_SECONDS = 0.005  # of a variant's turn in a round
NO_DENSE = Weights(not_scored="no trained dense network of this task and seed in the folder: random weights")
log = logging.getLogger("squeezebench")


@dataclass(frozen=True)
class Sizes:
    """Networks of random weights: inputs and units of the dense and of the compact one."""

    dense: tuple[int, int]
    compact: tuple[int, int]
    steps: int
    classes: int
    source: str


# UCF11: 2048 inputs and units to 46 and 9 (the printed 2,052 parameters are those of 46 and 9), 8 frames
PAPER = Sizes((2048, 2048), (46, 9), 8, 11, "sizes of the VIB-LSTM paper, UCF11 (section 5.5)")


@dataclass(frozen=True)
class Pair:
    """What is compared, and what the result says of it."""

    dense: RecurrentClassifier
    compact: RecurrentClassifier
    inputs: int
    steps: int
    about: dict = field(default_factory=dict)
    lengths: bool = False  # sequences differ in length
    weights: dict[str, Weights] = field(default_factory=lambda: {"dense": Weights(), "compact": Weights()})


def measure(
    folder: Path,
    runs: list[Path],
    sizes: list[Sizes],
    seconds: float = 1.0,
    progress: bool = False,
) -> Path:
    """Measure the compact modules of `runs` (folders below `folder`) and of `sizes`; write `folder`/inference.json.

    seconds: for each batch size of each module, all variants together. Raises InputError if there is nothing to
    measure, or if a newer version of squeezebench wrote the file.
    """
    check_replaceable(folder / INFERENCE_NAME)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if load is not None and load > BUSY:
        log.warning("load average %.1f: other programs are running, and latencies will be theirs as well", load)
    left_out: dict[str, str] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        speeds, rate = bandwidth(), macs_per_second()
        pairs = _pairs(folder, runs, sizes, left_out)
        bar = tqdm(pairs, "networks", len(runs) + len(sizes), leave=False, disable=not progress)
        models = [_compared(pair, speeds, rate, seconds) for pair in bar]
    finally:
        torch.set_num_threads(threads)
    if not models:
        raise InputError(f"{folder}: no compact recurrent module to measure ({len(left_out)} runs have none)")
    result = Inference(
        machine=machine(),
        packages={name: version(name) for name in ("torch", "onnxruntime")},
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        load_before=load,
        bandwidth=speeds,
        macs_per_second=rate,
        models=models,
        left_out=left_out,
    )
    return write_inference(folder, result)


def _pairs(folder: Path, runs: list[Path], sizes: list[Sizes], left_out: dict[str, str]) -> Iterator[Pair]:
    for size in sizes:
        torch.manual_seed(0)
        dense, compact = (recurrent_classifier(*shape, size.classes).eval() for shape in (size.dense, size.compact))
        compact.input_index = torch.arange(size.compact[0], dtype=torch.int32)  # chosen inputs of all of them
        yield Pair(dense, compact, size.dense[0], size.steps, {"source": size.source})
    tasks, trained = Tasks(), DenseRuns(folder, [path.parent for path in record_files(folder)])
    for run in runs:
        place = run.relative_to(folder).as_posix()
        try:
            yield _of_run(run, place, tasks, trained)
        except InputError as error:
            left_out[place] = str(error).removeprefix(f"{run}/")


def _of_run(run: Path, place: str, tasks: Tasks, trained: DenseRuns) -> Pair:
    record, compact = read_run(run)
    if record.shape is None:
        raise InputError(f"{run}/{RECORD_NAME}: an older record, which does not say how many steps a sequence has")
    steps = record.shape.steps
    dense, weights = trained.of(record) or (_dense(record, steps), NO_DENSE)
    task, reason = None, None
    try:
        task = task_of(read_recorded(run), tasks)
    except InputError as error:
        reason = str(error)
    both = {"dense": weights, "compact": Weights(place, record.accuracy.test, not_scored=None)}
    both = {side: replace(w, task=task, not_scored=reason) if w.source else w for side, w in both.items()}
    about = {
        "source": place,
        "inputs_digest": record.provenance.inputs_digest,
        **{name: getattr(record, name) for name in ("task", "method", "method_title", "varied", "seed")},
    }
    return Pair(dense, compact, record.kept.of_inputs, steps, about, record.shape.has_lengths, both)


def _dense(record: Record, steps: int) -> RecurrentClassifier:
    """The uncompressed network of the record's baseline, with fresh weights."""
    kept, fields = record.kept, RecurrentSettings.model_fields
    given = {name: value for name, value in record.settings.items() if name in fields}
    given |= {"hidden": kept.of_hidden[0], "layers": len(kept.of_hidden), "cell": record.baseline.name.split()[0]}
    classes = len(record.class_names)
    info = TaskInfo(record.task, "sequence", kept.of_inputs, steps, classes, False, 1)
    return dense_classifier(info, RecurrentSettings(**given)).eval()


def _compared(pair: Pair, speeds: dict[int, float], rate: float, seconds: float) -> Model:
    """Time both sides and an empty network, all of them interleaved."""
    cell, layers = pair.dense.cell, len(pair.dense.layers)
    empty = recurrent_classifier(1, 1, 1, cell, layers).eval()
    dense, _ = in_every_runtime(pair.dense, pair.inputs, pair.steps)
    compact, notes = in_every_runtime(pair.compact, pair.inputs, pair.steps)
    nothing, _ = in_every_runtime(empty, 1, pair.steps)
    models = {"dense": pair.dense, "compact": pair.compact}
    int8 = {side: in_int8(m, pair.inputs, pair.steps, pair.lengths, pair.weights[side]) for side, m in models.items()}
    dense[INT8], compact[INT8] = (int8[side].variant for side in ("dense", "compact"))
    nothing[INT8] = in_int8(empty, 1, pair.steps, pair.lengths, Weights()).variant
    nothing = {name: on_first_inputs(variant, 1) for name, variant in nothing.items()}
    sides = {"dense": dense, "compact": compact, "empty": nothing}
    variants = {(side, name): variant for side, own in sides.items() for name, variant in own.items()}
    times = timings(variants, pair.inputs, pair.steps, seconds=seconds, row_seconds=ROW_SECONDS)
    counts = {side: count(model) for side, model in models.items()}
    macs = {side: closed_form_macs(model, pair.steps) for side, model in models.items()}
    return Model(
        **pair.about,
        steps=pair.steps,
        dense_size=_size(pair.dense),
        compact_size=_size(pair.compact),
        parameters=counts["compact"].lstm_total,
        dense_parameters=counts["dense"].lstm_total,
        macs=macs["compact"],
        dense_macs=macs["dense"],
        int8={side: quantised.about for side, quantised in int8.items()},
        notes=notes + int8["compact"].notes,
        comparisons=[_at_batch(batch, times, models, macs, pair.steps, speeds, rate) for batch in BATCHES],
    )


def _at_batch(
    batch: int, times: dict[tuple[str, str], dict[str, Timing]], models: dict[str, RecurrentClassifier],
    macs: dict[str, int | None], steps: int, speeds: dict[int, float], rate: float,
) -> Comparison:  # fmt: skip
    """What was timed at one batch size, beside what memory and arithmetic alone would take."""
    ms = {key: by_batch[str(batch)] for key, by_batch in times.items()}
    sides = {
        side: Side(
            ms={name: _time(t) for (of, name), t in ms.items() if of == side and name != INT8},
            int8_ms=_time(ms[side, INT8]),
            memory_ms=_rounded(1e3 * memory_seconds(*weight_bytes(model), steps, speeds)),
            arithmetic_ms=_rounded(1e3 * batch * (macs[side] or 0) / rate),
        )
        for side, model in models.items()
    }
    overhead = {name: t.median for (of, name), t in ms.items() if of == "empty"}
    return comparison(batch, **sides, overhead=overhead)


def comparison(batch: int, dense: Side, compact: Side, overhead: dict[str, float]) -> Comparison:
    """The two sides' ratios, and which dense runtime is the rival of what."""
    fastest = min(dense.ms, key=lambda name: dense.ms[name].median)
    ours, theirs = compact.ms | {INT8: compact.int8_ms}, dense.ms | {INT8: dense.int8_ms}
    of_all = min(theirs, key=lambda name: theirs[name].median)
    rivals = {name: of_all if name == INT8 else fastest for name in ours}
    return Comparison(
        batch=batch,
        dense=dense,
        compact=compact,
        overhead_ms=overhead,
        same_runtime={n: _rounded(theirs[n].median / t.median) for n, t in ours.items() if n in theirs},
        fastest_dense=fastest,
        fastest_dense_of_all=of_all,
        against_fastest={n: _rounded(theirs[rivals[n]].median / t.median) for n, t in ours.items()},
    )


def _time(timing: Timing) -> Time:
    return Time(**dict(zip(("median", "low", "high"), astuple(timing), strict=True)))


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def _size(model: RecurrentClassifier) -> str:
    return f"{model.inputs} x {' x '.join(map(str, model.hidden))}"
