"""The record: what a run leaves behind, valid against one schema, written atomically, checked by digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from squeezebench.base.files import clear_half_written
from squeezebench.schema.stored import (
    SCHEMA_VERSION,
    Part,
    SchemaVersion,
    StoredError,
    joined_later,
    read_sealed,
    write_sealed,
)

# The files of a run's folder.
RECORD_NAME, HISTORY_NAME = "record.json", "history.csv"
MODEL_NAME, NORMALISATION_NAME = "model.safetensors", "normalisation.safetensors"
RUN_FILES = (RECORD_NAME, HISTORY_NAME, MODEL_NAME, NORMALISATION_NAME)
LARGEST_SEQUENCE = 1 << 30  # numbers, 4 GiB in float32
# How a run was set up and read: `sound` (validation part, final epoch), `paper` (as the paper describes its protocol,
# final epoch), `as_released` (the authors' code: the epoch that is best on the test part).
Protocol = Literal["sound", "paper", "as_released"]
Rule = Literal["lstm_total", "weights"]  # of counting, for the size of a recurrent and of a feed-forward network


class Shape(Part):
    """What a module of the task reads and answers: (sequences, steps, inputs) -> classes."""

    inputs: int = Field(ge=1)
    steps: int = Field(ge=1, le=1_000_000)  # of the longest sequence
    classes: int = Field(ge=1)
    has_lengths: bool  # sequences differ in length

    @model_validator(mode="after")
    def _fits_memory(self) -> Shape:
        """Sequences of this shape are made to count operations: the record may be anybody's."""
        if self.inputs * self.steps > LARGEST_SEQUENCE:
            raise ValueError(f"a sequence of {self.steps:,} x {self.inputs:,} numbers")
        return self


class Accuracy(Part):
    """Top-1 accuracy of a module, as fractions in [0, 1]; test is read when all training is over."""

    train: float | None = None
    validation: float | None = None
    test: float | None = None
    test_final_epoch: float | None = None  # only under `as_released`, where `test` is the best epoch's


class Counts(Part):
    """Parameters of a module by counting rule (numbers stored, one each)."""

    input_to_hidden: int
    hidden_to_hidden: int
    bias: int
    mask_vectors: int = 0  # mask factors that no standard cell can absorb (see nn/pruning/shrink.py)
    lstm_total: int  # the papers' rule: 4h(d+h+2) for a standard LSTM; plus mask vectors where kept
    head: int = 0
    model_total: int
    weights: int | None = None  # of a feed-forward network: convolutions and linear layers, no biases, no norms (r_W)
    neurons: int | None = None  # of a feed-forward network: numbers that an image's forward pass keeps (r_N)

    @property
    def rule(self) -> Rule:
        """The rule that says how large a module of this kind is."""
        return "lstm_total" if self.weights is None else "weights"

    @property
    def size(self) -> int:
        """The count by that rule."""
        return getattr(self, self.rule)


class Kept(Part):
    """What is left; `of_*` is what the uncompressed model of the same run has.

    inputs, hidden: of a recurrent network. structure: widths of a feed-forward one, see its `structure()`.
    """

    inputs: int | None = None
    hidden: list[int] | None = None
    of_inputs: int | None = None
    of_hidden: list[int] | None = None
    structure: list[int] | None = None
    of_structure: list[int] | None = None


class Ratio(Part):
    """Baseline count divided by this module's count; the field names the counting rule."""

    lstm_total: float | None = None
    input_to_hidden: float | None = None
    model_total: float | None = None
    weights: float | None = None


def ratio_of(dense: int | None, small: int | None) -> float | None:
    """How many times fewer; None where nothing is left to count, or the rule is not for such modules."""
    return round(dense / small, 4) if small and dense is not None else None


class Baseline(Part):
    """The dense model every ratio of this record is taken against."""

    name: str
    counts: Counts


class StoredAs(Part):
    """The compact module written in one precision, and read back: measurement/files.py says how."""

    bytes: int  # of the whole file, header and spec included
    test: float | None = None  # top-1 of the module that was read back; None: not measured, or its outputs not finite


class Cost(Part):
    """Size and speed of the compact module, measured by the engine on the object that is scored.

    `dense_*` is the uncompressed model of the same run; keys of the latency fields are batch sizes. Latency is taken
    while other jobs may run: it is there for a first look, `squeezebench inference` measures on a quiet machine. A job
    times each shape once and counts its operations: modules of one shape do the same work whatever their weights are.
    """

    bytes: int  # of model.safetensors (float32)
    stored_as: dict[str, StoredAs] = {}  # float32, float16, int8 (weight-only)
    macs: int  # multiply-accumulates of one sequence of the task's full length, by torch's flop counter
    macs_closed_form: int | None = None  # by formula; None if a module of a method's own gives none
    dense_macs: int | None = None  # by formula
    peak_activation_bytes: int | None = None  # of a forward pass at batch 1, beside its input and the weights
    dense_peak_activation_bytes: int | None = None
    latency_ms: dict[str, float] = {}  # median over repeats, one thread, PyTorch
    latency_quartiles_ms: dict[str, tuple[float, float]] = {}
    dense_latency_ms: dict[str, float] = {}  # torch.nn.LSTM/GRU of the baseline's size, same process, interleaved;
    # for a feed-forward network the dense network itself
    dense_latency_quartiles_ms: dict[str, tuple[float, float]] = {}
    same_runtime_dense_latency_ms: dict[str, float] = {}  # the uncompressed module itself: what `latency_ms` is of
    fastest_dense_latency_ms: dict[str, float] = {}  # of PyTorch's kernels, the same with oneDNN off, and the engine's
    fastest_dense_runtime: dict[str, str] = {}  # which of them it was
    latency_shape: str = ""  # of all that latencies and counts depend on but the machine, see measurement/shape.py
    latency_from: str = ""  # the run of the same job and shape whose latencies and counts these are; "": measured here


class Stage(Part):
    """One training stage as it ran."""

    name: str
    epochs: int
    steps: int
    seconds: float
    core_seconds: float | None = None  # of all threads; None: was interrupted, or is older
    shared: bool = False  # trained once for several runs (the dense pretraining)


class Seconds(Part):
    train: float = 0.0  # this run's own stages, without a shared start
    total: float = 0.0


class Normalisation(Part):
    """What the network reads: raw * factor - shift for each feature. normalisation.safetensors has the numbers."""

    rule: Literal["none", "std", "standard", "channel", "imagenet"]
    digest: str  # of the two tensors, see measurement/digest.py


class GroupsAcross(Part):
    """How many groups (subjects, videos, speakers) have sequences on both sides of a split; of data with groups."""

    groups: int  # in all
    test: int  # in the test part, and in training or validation as well
    test_sequences: int  # test sequences of such groups
    validation: int  # in training and in validation

    @property
    def words(self) -> str:
        """What a reader of the accuracy has to know; empty if every group is on one side."""
        rule = "`split: group` keeps every group on one side"
        if self.test:
            return (
                f"{self.test:,} of {self.groups:,} groups are on both sides of the test split ({self.test_sequences:,} "
                f"test sequences are of known groups): accuracy on new groups may be lower; {rule}"
            )
        if self.validation:
            both = f"{self.validation:,} of {self.groups:,} groups are in training and in validation"
            return f"{both}: settings and epochs are picked on known groups; {rule}"
        return ""


class Provenance(Part):
    """Everything needed to trace and repeat the run."""

    squeezebench: str = ""
    inputs_digest: str = ""  # task, split, method file, settings, seed, training: what decides the result
    engine_digest: str = ""  # the source of squeezebench itself
    digest_rule: int = 1  # of base/source.py, by which both sources were digested; 1: their bytes and paths
    restamped_from: str | None = None  # the engine that made the run, if `engine_digest` was set later
    method_digest: str = ""
    split_digest: str = ""
    start_digest: str | None = None
    tuning_digest: str | None = None  # of the study that picked the settings; None: the experiment gave them
    packages: dict[str, str] = {}
    python: str = ""
    machine: str = ""  # `A then B` where training went on elsewhere, and so with the next three
    cpu_capability: str = ""  # the instruction set of PyTorch's kernels; "": of a version that did not record it
    variables: str = ""  # of the environment that choose kernels, as NAME=VALUE
    gpu: str = ""  # that trained it
    device: str = "cpu"
    threads: int = 1
    native: bool = False  # whether the compiled kernel of small layers ran; its bits differ from those of PyTorch's
    resumed: int = 0  # how often training was interrupted and went on from a checkpoint; the bits are the same
    finished: str = ""  # UTC, ISO 8601


class Record(Part):
    """One run: task x method x settings x seed."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    status: Literal["ok", "failed", "skipped"]
    reason: str | None = None  # in words, when not ok
    experiment: str = ""
    protocol: Protocol = "sound"
    task: str
    method: str
    method_title: str = ""
    settings: dict[str, Any]  # resolved: every setting of the method
    varied: dict[str, Any] = {}  # the settings that tell this run group from the method's defaults
    seed: int
    control: bool = False  # the method is a control (dense, small dense, random, magnitude, no recurrence)
    training: dict[str, Any] = {}
    task_spec: dict[str, Any] | None = None  # with `model` and `fingerprint`: what a repetition of the run needs
    model: dict[str, Any] | None = None  # settings of the dense model that ratios are taken against
    fingerprint: str = ""  # of the data files, see plan.fingerprint
    model_digest: str | None = None  # of the compact module's tensors, see measurement/digest.py
    history_digest: str | None = None  # SHA-256 of history.csv
    accuracy: Accuracy = Accuracy()  # of the compact module
    before_fine_tuning: Accuracy | None = None  # of what the last stage left that made the module smaller, if one did
    shape: Shape | None = None
    normalisation: Normalisation | None = None
    groups_across: GroupsAcross | None = None  # None: no groups
    known_sequences: int = joined_later(0, ge=0)  # test sequences that are in training or validation too, if in memory
    part_of: str = ""  # in words, if the data are a part of a published data set: how much of it
    class_names: list[str] = []
    confusion: list[list[int]] | None = None  # test split, [true][predicted]
    predictions: str | None = None  # of each test sequence, see predictions.py; records of before do not hold them
    group_codes: str | None = None  # of each test sequence, see predictions.py; None: no groups, or (if groups_across
    # says that there are some) not known: records of before schema 5 do not hold them
    test_size: int | None = None
    counts: Counts | None = None
    kept: Kept = Kept()
    baseline: Baseline | None = None
    ratio: Ratio = Ratio()
    cost: Cost | None = None
    stages: list[Stage] = []
    seconds: Seconds = Seconds()
    notes: list[str] = []  # what the method wants readers to know about this run
    contract: list[str] = []  # what its hooks changed that is not theirs (the engine put it back), and numbers it
    # stores that no count includes
    provenance: Provenance = Provenance()


def known_words(known: int, tested: int) -> str:
    """What a reader of the accuracy has to know of test sequences that are not new; empty if all are."""
    both = f"{known:,} of {tested:,} test sequences are in training or validation too, number for number"
    return f"{both}: accuracy on new sequences may be lower" if known else ""


def size_words(counts: Counts) -> str:
    """What `counts.size` counts, after a number."""
    return "recurrent parameters" if counts.rule == "lstm_total" else "weights"


class RecordError(StoredError):
    """A record file that cannot be trusted; the message says why in one line."""


def record_files(folder: Path) -> list[Path]:
    """The records of an experiment's folder (all below `runs`), of the folder of one run, or of folders that hold one
    run each, in the order of their names."""
    if (folder / "runs").is_dir():
        return sorted((folder / "runs").rglob(RECORD_NAME))
    own = folder / RECORD_NAME
    return [own] if own.is_file() else sorted(folder.glob(f"*/{RECORD_NAME}"))


def clear_run(folder: Path) -> None:
    """Remove a run's files, and what was half written of them."""
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)
    clear_half_written(folder)


def write_record(folder: Path, record: Record) -> Path:
    """Write `record.json` into `folder`, whole or not at all, with a digest over its content."""
    return write_sealed(folder / RECORD_NAME, record)


def read_record(path: Path) -> Record:
    """Read and check one record. Raises RecordError: unreadable, truncated, altered, or not of this schema.
    Raises NewerError: of a newer schema."""
    return read_sealed(path, Record, "record", RecordError)
