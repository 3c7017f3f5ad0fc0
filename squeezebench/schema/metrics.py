"""The metric table: everything that a run measures, in one list.

The table of runs (report/gather.py), the statistics of run groups, the columns and the CSV files of the report, `report
--verify`, `reproduce` and `compare` read it. A new metric is one entry and its measurement: a field of the record, or
a function of the record, which gives old records the metric too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

from pydantic import BaseModel

from squeezebench.schema.record import Counts, Ratio, Record, Shape

# What a value is counted in. `fraction`: of the sequences of a part; `widths`: one number per layer, shown as text.
Unit = Literal["", "digest", "fraction", "parameters", "units", "widths", "bytes", "MACs", "ms", "s"]
Part = Literal["train", "validation", "test"]
BATCHES = ("1", "10")  # batch sizes of the latencies
PRECISIONS = ("float16", "int8")  # beside float32


@dataclass(frozen=True)
class Metric:
    """One value of a record.

    path: its place in the record, attributes and keys joined by dots; for a computed value a name of its own.
    compared: `exact` values follow from the module and are equal on every machine. `near` values count answers: another
    processor rounds differently, so that `tolerance` sequences of the part may be classified differently there.
    `ignored` values are times and other properties of the machine.
    """

    path: str
    column: str = ""  # in the table of runs; empty: not in it
    unit: Unit = ""
    compared: Literal["exact", "near", "ignored"] = "exact"
    part: Part = "test"  # the part whose sequences a `near` value counts
    tolerance: int = 1
    optional: bool = False  # older records do not hold it
    group: str = ""  # in the table of run groups, a mean and an interval over seeds; empty: not in it
    constant: bool = False  # the same for all seeds: a mean without an interval
    title: str = ""  # the heading of its column on the page; empty: no column
    hint: str = ""  # the tooltip of the heading: a key of `hints` in report/captions.yaml, or the words themselves
    tex: bool = False  # whether the LaTeX table has the column too
    computed: Callable[[Record], Any] | None = None

    @cached_property
    def _steps(self) -> list[str]:
        return self.path.split(".")

    def value(self, record: Record) -> Any:
        """The value in plain Python types; None if the record does not hold it."""
        value = self._held(record)
        return value.model_dump() if isinstance(value, BaseModel) else value

    def _held(self, record: Record) -> Any:
        if self.computed:
            return self.computed(record)
        value: Any = record
        for step in self._steps:
            if type(value) is dict:
                value = value.get(step)
            else:
                value = value[int(step)] if type(value) is tuple else getattr(value, step)
            if value is None:
                return None
        return value

    def cell(self, record: Record) -> float | str:
        """The value as one cell of the table of runs: a missing number is NaN, never 0; widths are `97-71-33`."""
        value = self._held(record)
        if self.unit == "widths":
            return "-".join(map(str, value or ()))
        value = sum(value) if isinstance(value, list) else value  # units of several layers
        return float("nan") if value is None else float(value)


def _stages(record: Record) -> list[tuple[str, int, int, bool]]:
    return [(stage.name, stage.epochs, stage.steps, stage.shared) for stage in record.stages]


def _count(name: str, column: str, **more: Any) -> Metric:
    return Metric(f"counts.{name}", column, "parameters", **more)


def macro_f1(record: Record) -> float | None:
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN), in [0, 1]. A class that is neither true nor predicted for
    any sequence is left out, as in scikit-learn's `f1_score(average="macro")`."""
    return _mean(2 * right / (true + predicted) for right, true, predicted in _classes(record) if true + predicted)


def balanced_accuracy(record: Record) -> float | None:
    """The mean over classes of recall = TP / (TP + FN), in [0, 1]. A class without a test sequence is left out, as in
    scikit-learn's `balanced_accuracy_score`."""
    return _mean(right / true for right, true, _ in _classes(record) if true)


def _classes(record: Record) -> Iterator[tuple[int, int, int]]:
    """For each class: sequences of it that are classified correctly, sequences of it, sequences predicted as it."""
    confusion = record.confusion or []
    if any(len(row) != len(confusion) for row in confusion):  # a damaged record; `report --verify` says so
        return
    for place, (row, column) in enumerate(zip(confusion, zip(*confusion, strict=True), strict=True)):
        yield row[place], sum(row), sum(column)


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return sum(values) / len(values) if values else None


def same_runtime_dense_latency(record: Record, batch: str) -> float | None:
    """Milliseconds of the uncompressed network in the runtime of `latency_ms`, which for a feed-forward network is
    PyTorch: records of earlier versions hold it as `dense_latency_ms`."""
    if record.cost is None:
        return None
    feed_forward = record.counts is not None and record.counts.rule == "weights" and not record.counts.lstm_total
    older = record.cost.dense_latency_ms if feed_forward else {}
    return (record.cost.same_runtime_dense_latency_ms or older).get(batch)


def _latencies() -> list[Metric]:
    """Medians and quartiles by batch size, of the compact and of the dense network."""
    titled = {"title": "Latency", "hint": "latency"}
    metrics = []
    for batch in BATCHES:
        for side in ("", "dense_"):
            column, group = f"{side}latency_ms_{batch}", f"{side}latency_ms_batch_{batch}"
            more = titled if (side, batch) == ("", "1") else {}
            metrics.append(Metric(f"cost.{side}latency_ms.{batch}", column, "ms", "ignored", group=group, **more))
            for place, end in enumerate(("low", "high")):
                path = f"cost.{side}latency_quartiles_ms.{batch}.{place}"
                metrics.append(Metric(path, f"{column}_{end}", "ms", "ignored", group=f"{group}_{end}"))
        same = f"same_runtime_dense_latency_ms_{batch}", "ms", "ignored"
        group = f"same_runtime_dense_latency_ms_batch_{batch}"
        value = partial(same_runtime_dense_latency, batch=batch)
        metrics.append(Metric(f"cost.same_runtime_dense_latency_ms.{batch}", *same, group=group, computed=value))
        fastest = f"fastest_dense_latency_ms_{batch}", "ms", "ignored"
        group = f"fastest_dense_latency_ms_batch_{batch}"
        metrics.append(Metric(f"cost.fastest_dense_latency_ms.{batch}", *fastest, group=group))
    return metrics


# Counts that a run group has a mean of, besides its size, and their names in groups.csv.
COUNTS = {"input_to_hidden": "input_to_hidden_parameters", "model_total": "model_parameters"}
MODEL = {"title": "Whole model", "hint": "model"}
METRICS: tuple[Metric, ...] = (
    Metric("status"),
    Metric("reason"),
    Metric("accuracy.test", "test", "fraction", "near", group="test_accuracy", title="Test accuracy", hint="interval",
           tex=True),
    Metric("accuracy.test_final_epoch", "test_final_epoch", "fraction", "near", group="test_accuracy_final_epoch"),
    Metric("accuracy.validation", "validation", "fraction", "near", "validation", group="validation_accuracy",
           title="Validation", hint="interval"),
    Metric("accuracy.train", "train", "fraction", "near", "train", group="train_accuracy"),
    *(Metric(f"before_fine_tuning.{part}", f"{part}_before_fine_tuning", "fraction", "near", part, optional=True,
             group=f"{part}_accuracy_before_fine_tuning") for part in ("validation", "test")),
    Metric("macro_f1", "macro_f1", "fraction", "near", group="macro_f1", title="Macro F1", computed=macro_f1,
           hint="Mean over classes of F1 on the test part, each class with the same weight; mean over seeds ± half of "
                "the 95 % t interval"),
    Metric("balanced_accuracy", "balanced_accuracy", "fraction", "near", group="balanced_accuracy",
           title="Balanced accuracy", computed=balanced_accuracy,
           hint="Mean over classes of recall on the test part; mean over seeds ± half of the 95 % t interval"),
    Metric("confusion", compared="near"),
    Metric("predictions", compared="near", optional=True),
    Metric("group_codes", optional=True),
    Metric("test_size"),
    Metric("class_names"),
    *(Metric(f"shape.{name}", optional=True) for name in Shape.model_fields),
    *(_count(name, f"count_{name}", group=COUNTS.get(name, ""), **(MODEL if name == "model_total" else {}))
      for name in Counts.model_fields),
    *(Metric(f"baseline.counts.{name}", f"baseline_{name}", "parameters", constant=True,
             group=f"baseline_{name}" if name in ("neurons", *COUNTS) else "")
      for name in Counts.model_fields),
    Metric("baseline.name"),
    *(Metric(f"ratio.{name}") for name in Ratio.model_fields),
    Metric("kept.inputs", "kept_inputs", "units", group="kept_inputs", title="Inputs kept"),
    Metric("kept.hidden", "kept_hidden", "units", group="kept_hidden", title="Hidden kept"),
    Metric("kept.of_inputs", "of_inputs", "units", group="of_inputs", constant=True),
    Metric("kept.of_hidden", "of_hidden", "units", group="of_hidden", constant=True),
    Metric("kept.structure", "kept_structure", "widths"),
    Metric("kept.of_structure", "of_structure", "widths"),
    Metric("cost.bytes", "bytes", "bytes", group="bytes", title="On disk", hint="bytes"),
    Metric("cost.macs", "macs", "MACs", group="macs", title="MACs", hint="macs"),
    Metric("cost.dense_macs", "dense_macs", "MACs", group="dense_macs", optional=True),
    Metric("cost.stored_as.float32.bytes", unit="bytes", optional=True),
    Metric("cost.stored_as.float32.test", unit="fraction", compared="near", optional=True),
    *(Metric(f"cost.stored_as.{kind}.bytes", f"bytes_{kind}", "bytes", group=f"bytes_{kind}", optional=True)
      for kind in PRECISIONS),
    *(Metric(f"cost.stored_as.{kind}.test", f"test_{kind}", "fraction", "near", group=f"test_accuracy_{kind}",
             optional=True) for kind in PRECISIONS),
    *(Metric(f"cost.{name}", name, "bytes", group=name, optional=True)
      for name in ("peak_activation_bytes", "dense_peak_activation_bytes")),
    *_latencies(),
    Metric("seconds.train", "train_seconds", "s", "ignored", group="train_seconds", title="Training", hint="seconds"),
    Metric("seconds.total", "total_seconds", "s", "ignored"),
    Metric("notes"),
    Metric("stages", computed=_stages),
    Metric("model_digest", unit="digest", optional=True),
    Metric("provenance.inputs_digest", unit="digest"),
    Metric("provenance.split_digest", unit="digest"),
)  # fmt: skip
# Sizes by the counting rule of a run's task, which several runs decide together: report/sizes.py fills them in.
SIZES = (
    Metric("", "count_size", "parameters", group="size"),
    Metric("", "baseline_size", "parameters", group="baseline_size", constant=True),
)
COLUMNS = tuple(metric for metric in METRICS if metric.column)
GROUPS = tuple(metric for metric in (*METRICS, *SIZES) if metric.group)
BY_PATH = {metric.path: metric for metric in METRICS}
# Fields of a record's provenance that can explain other bits, besides the versions of packages.
PLACE = ("machine", "cpu_capability", "variables", "gpu")  # which hardware, and which of its instructions
ENVIRONMENT = (*PLACE, "device", "threads", "native", "python", "squeezebench", "engine_digest")
