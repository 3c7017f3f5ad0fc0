"""What `squeezebench inference` leaves behind: `inference.json`, valid against one schema, checked by digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from squeezebench.schema.stored import SCHEMA_VERSION, Part, SchemaVersion, read_sealed, write_sealed

INFERENCE_NAME = "inference.json"
INT8 = "ONNX Runtime, int8"  # the one runtime that is not float32
BUSY = 0.5  # load average above which other programs are likely to be felt


class Time(Part):
    """Milliseconds of one forward pass over the repeats."""

    median: float = Field(gt=0)
    low: float  # quartiles
    high: float


class Side(Part):
    """One network at one batch size. `memory_ms` and `arithmetic_ms` are what its weights and products would take at
    the measured bandwidth and rate; neither is a part of `ms` that was timed by itself."""

    ms: dict[str, Time]  # by runtime, all in float32
    int8_ms: Time | None = None  # ONNX Runtime, dynamic quantisation
    memory_ms: float  # of the float32 weights
    arithmetic_ms: float


class Comparison(Part):
    """The compact network against the dense one, both in the same runtime and against the fastest dense one.

    A ratio of a float32 runtime has float32 on both sides. Under the key INT8 the ratio in the same runtime is int8
    against int8, and the other one is against the fastest dense one of all, int8 included: what the precision gives is
    nothing that the compression has earned.
    `overhead_ms`: a network of one input and one unit with as many layers and steps: what a call costs before any size.
    """

    batch: int
    dense: Side
    compact: Side
    overhead_ms: dict[str, float]  # by runtime
    same_runtime: dict[str, float]  # dense / compact, medians
    fastest_dense: str  # of the float32 runtimes
    fastest_dense_of_all: str | None = None  # with INT8 among them: the one that compact in int8 is held against
    against_fastest: dict[str, float]  # fastest dense runtime / compact in this runtime

    @model_validator(mode="after")
    def _names_what_was_timed(self) -> Comparison:
        int8 = self.compact.int8_ms and self.dense.int8_ms and self.fastest_dense_of_all
        ours = {*self.compact.ms, *([INT8] if int8 else [])}
        theirs = {*self.dense.ms, *([INT8] if int8 else [])}
        rivals = {self.fastest_dense, *([self.fastest_dense_of_all] if int8 else [])}
        if missing := (ours - self.against_fastest.keys()) | (rivals - theirs):
            raise ValueError(f"nothing was timed as {min(missing)[:80]!r}")
        return self


class Quantised(Part):
    """One network as an ONNX file in int8 by dynamic quantisation (export/quantised.py): another model than the
    float32 one, so with its own accuracy, which is that of the very file that was timed."""

    bytes: int
    float32_bytes: int  # of the ONNX file in float32
    test: float | None = None  # top-1 on the task's test part, one sequence at a time
    float32_test: float | None = None  # of the float32 module, as recorded
    sequences: int  # scored and compared
    logit_difference: float  # to the float32 module, the largest: on the test part, or on random sequences
    not_scored: str | None = None  # why `test` is None
    weights: str = ""  # path of the record they are from; "": random


class Model(Part):
    """One compact network and the dense one of the same run."""

    source: str  # path of the record below the folder, or where the sizes come from
    task: str = ""
    method: str = ""
    method_title: str = ""
    varied: dict[str, Any] = {}
    seed: int | None = None
    inputs_digest: str = ""
    steps: int
    dense_size: str  # D x H, in words
    compact_size: str
    parameters: int  # of the recurrent layers
    dense_parameters: int
    macs: int | None
    dense_macs: int | None
    int8: dict[str, Quantised] = {}  # "dense", "compact"
    notes: list[str] = []  # e.g. cores multiplied out for PyTorch's and ONNX Runtime's cells
    comparisons: list[Comparison]


class Inference(Part):
    """One call of `squeezebench inference`."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    machine: str
    packages: dict[str, str]
    threads: int = 1
    finished: str  # UTC, ISO 8601
    load_before: float | None = None  # load average over a minute when it began; near 0 on a quiet machine
    bandwidth: dict[int, float] = Field(min_length=1)  # bytes of a matrix -> bytes per second of a product
    macs_per_second: float  # of a large matrix product
    models: list[Model]
    left_out: dict[str, str] = {}  # record -> why it was not measured


def write_inference(folder: Path, inference: Inference) -> Path:
    """Write `inference.json` into `folder`, whole or not at all, with a digest over its content."""
    return write_sealed(folder / INFERENCE_NAME, inference)


def read_inference(folder: Path) -> Inference | None:
    """The measurements of `folder`, None if there are none. Raises InputError: damaged, altered, not valid."""
    path = folder / INFERENCE_NAME
    return read_sealed(path, Inference, "file of `squeezebench inference`") if path.exists() else None
