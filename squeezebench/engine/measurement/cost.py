"""All that one record says about size and speed, from the one module that is scored."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from squeezebench.base.files import write_atomically
from squeezebench.engine.measurement.files import PRECISIONS, deserialise, serialise
from squeezebench.engine.measurement.latency import DenseReference, Timing, Variant, forward_of, timings, without_onednn
from squeezebench.engine.measurement.macs import closed_form_macs, macs
from squeezebench.engine.measurement.memory import peak_activation_bytes
from squeezebench.engine.measurement.shape import Timed, shape_digest
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.schema.record import Cost, StoredAs

log = logging.getLogger("squeezebench")

COUNTED = ("macs", "macs_closed_form", "dense_macs", "peak_activation_bytes", "dense_peak_activation_bytes")
LATENCIES = (
    "latency_ms", "latency_quartiles_ms", "dense_latency_ms", "dense_latency_quartiles_ms",
    "same_runtime_dense_latency_ms", "fastest_dense_latency_ms", "fastest_dense_runtime",
)  # fmt: skip
Score = Callable[[nn.Module], float | None]  # test accuracy of a module, None if its outputs are not finite
SECONDS = 0.02  # for the latencies of each batch size


def cost(
    model: nn.Module,
    base: nn.Module,
    reference: DenseReference | None,
    path: Path,
    inputs: int,
    steps: int,
    stored: dict[str, StoredAs],
    timed: Mapping[str, Timed] | None = None,
) -> Cost:
    """Measure the compact module, which `store` has saved at `path` and scored as `stored`.

    base: the uncompressed module of the same run; reference: the same size in PyTorch's own kernels, None for
    a feed-forward network, which runs in them anyway, and for a cell that PyTorch does not have. timed: by shape, what
    this job has measured already.
    """
    model.eval()
    base.eval()
    shape = shape_digest([module for module in (model, base, reference) if module is not None], inputs, steps)
    known = (timed or {}).get(shape)
    if known:
        work = known.fields
    else:
        latencies = _latencies(model, base, reference, inputs, steps)
        work = _work(model, base, inputs, steps) | latencies
    whose = known.run if known else ""
    return Cost(bytes=path.stat().st_size, stored_as=stored, latency_shape=shape, latency_from=whose, **work)


def _work(model: nn.Module, base: nn.Module, inputs: int, steps: int) -> dict[str, Any]:
    """The fields of `Cost` that count operations and activations."""
    counted, formula = _checked_macs(model, inputs, steps)
    return {
        "macs": counted,
        "macs_closed_form": formula,
        "dense_macs": closed_form_macs(base, steps),
        "peak_activation_bytes": peak_activation_bytes(model, inputs, steps),
        "dense_peak_activation_bytes": peak_activation_bytes(base, inputs, steps),
    }


def _latencies(
    model: nn.Module, base: nn.Module, reference: DenseReference | None, inputs: int, steps: int
) -> dict[str, Any]:
    """The fields of `Cost` that are times, all variants interleaved."""
    variants = {"compact": forward_of(model)} | _dense_runtimes(base, reference)
    times = timings(variants, inputs, steps, seconds=SECONDS)
    compact, dense, *_ = times.values()
    return {
        "latency_ms": _medians(compact),
        "latency_quartiles_ms": _quartiles(compact),
        "dense_latency_ms": _medians(dense),
        "dense_latency_quartiles_ms": _quartiles(dense),
        "same_runtime_dense_latency_ms": _medians(times[_own_runtime(base)]),
        **_fastest_dense(times),
    }


def timed_by(cost: Cost, run: str) -> Timed:
    """What `run` has measured of its shape, for others of its job."""
    return Timed({name: getattr(cost, name) for name in (*COUNTED, *LATENCIES)}, run)


def _dense_runtimes(base: nn.Module, reference: DenseReference | None) -> dict[str, Variant]:
    """The dense side of the latencies: PyTorch's own kernels first."""
    if reference is None:
        return {_own_runtime(base): forward_of(base), "oneDNN off": without_onednn(base)}
    return {
        f"nn.{reference.recurrence.mode}": forward_of(reference.eval()),
        "oneDNN off": without_onednn(reference),
        _own_runtime(base): forward_of(base),
    }


def _own_runtime(model: nn.Module) -> str:
    """The runtime of a module as it is. The step loop of a recurrent layer is the engine's, not torch.nn's."""
    return "squeezebench" if isinstance(model, RecurrentClassifier) else "PyTorch"


def _checked_macs(model: nn.Module, inputs: int, steps: int) -> tuple[int, int | None]:
    """(counted, by formula). A warning says if the two differ."""
    counted, formula = macs(model, inputs, steps), closed_form_macs(model, steps)
    if formula is not None and formula != counted:
        log.warning("multiply-accumulates: torch counted %s, the formula gives %s", f"{counted:,}", f"{formula:,}")
    return counted, formula


def _fastest_dense(times: dict[str, dict[str, Timing]]) -> dict[str, dict[str, Any]]:
    """The fields of `Cost` on the dense runtime that is fastest at each batch size."""
    runtimes = {name: by_batch for name, by_batch in times.items() if name != "compact"}
    fastest = {batch: min(runtimes, key=lambda name: runtimes[name][batch].median) for batch in times["compact"]}
    return {
        "fastest_dense_latency_ms": {batch: runtimes[name][batch].median for batch, name in fastest.items()},
        "fastest_dense_runtime": fastest,
    }


def store(model: nn.Module, path: Path, score: Score | None, test: float | None) -> dict[str, StoredAs]:
    """Save the compact module at `path`. What it takes and scores in each precision, as in `precisions`."""
    stored, content = precisions(model.eval(), score, test)
    write_atomically(path, content)
    return stored


def precisions(model: nn.Module, score: Score | None, test: float | None = None) -> tuple[dict[str, StoredAs], bytes]:
    """Bytes and test accuracy by precision, and the float32 file.

    What is scored is what was read back; in float32 it has the bits of `model`, whose accuracy is `test`.
    """
    stored, whole = {}, b""
    copied = copy.deepcopy(model)
    for precision in PRECISIONS:
        content = serialise(model, precision)
        accuracy = test
        if precision != "float32":
            copied.load_state_dict(deserialise(content))
            accuracy = None if score is None else score(copied)
        stored[precision] = StoredAs(bytes=len(content), test=accuracy)
        whole = content if precision == "float32" else whole
    return stored, whole


def _medians(by_batch: dict[str, Timing]) -> dict[str, float]:
    return {batch: timing.median for batch, timing in by_batch.items()}


def _quartiles(by_batch: dict[str, Timing]) -> dict[str, tuple[float, float]]:
    return {batch: (timing.low, timing.high) for batch, timing in by_batch.items()}
