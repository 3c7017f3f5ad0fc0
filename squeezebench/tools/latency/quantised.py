"""One network in int8: what is timed beside the float32 runtimes, with its size and its own accuracy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.data.task import Task
from squeezebench.engine.measurement.latency import Variant
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.schema.inference import Quantised
from squeezebench.schema.record import RECORD_NAME, Record, read_record
from squeezebench.tools.export import read_run
from squeezebench.tools.export.onnx_graph import onnx_model
from squeezebench.tools.export.quantised import int8_model
from squeezebench.tools.export.runtime import answers_of
from squeezebench.tools.export.scored import compare, score
from squeezebench.tools.export.standard import standard
from squeezebench.tools.latency.runtimes import in_onnxruntime

UNTRAINED = "random weights"


@dataclass(frozen=True)
class Weights:
    """Where the weights of a network come from, and what they can be scored on."""

    source: str = ""  # a record below the folder; "": nowhere, they are random
    test: float | None = None  # accuracy of the float32 module, as recorded
    task: Task | None = None
    not_scored: str | None = UNTRAINED  # where there is no task


@dataclass(frozen=True)
class Int8:
    """What is timed, and what the result says of it."""

    variant: Variant
    about: Quantised
    notes: list[str] = field(default_factory=list)


def in_int8(model: RecurrentClassifier, inputs: int, steps: int, lengths: bool, weights: Weights) -> Int8:
    """ONNX Runtime's dynamic quantisation of `model`: the very file that is timed is scored."""
    form = standard(model.eval(), inputs)
    content, notes = int8_model(form, lengths, {})
    if weights.task is None:
        scored = compare(answers_of(content), model, form, steps, weights.not_scored)
    else:
        scored = score(answers_of(content), model, weights.task, form)
    about = Quantised(
        bytes=len(content),
        float32_bytes=onnx_model(form, lengths, {}).ByteSize(),
        test=scored.test,
        float32_test=weights.test,
        sequences=scored.sequences,
        logit_difference=float(f"{scored.difference:.5g}"),
        not_scored=scored.not_scored,
        weights=weights.source,
    )
    return Int8(in_onnxruntime(content, lengths), about, notes)


class DenseRuns:
    """Trained dense networks of an experiment's folder, to be the dense side of the runs that were compressed."""

    def __init__(self, folder: Path, runs: list[Path]):
        self.folder, self.paths = folder, {}
        for run in runs:
            try:
                record = read_record(run / RECORD_NAME)
            except InputError:
                continue  # the report shows it among the problems
            if record.status == "ok" and record.control and record.baseline and record.counts == record.baseline.counts:
                self.paths.setdefault(_key(record), run)

    def of(self, record: Record) -> tuple[RecurrentClassifier, Weights] | None:
        """The network that the record's ratios are taken against, trained on its task and seed; None: not there.

        The task is left to the caller: it is the record's own.
        """
        if (run := self.paths.get(_key(record))) is None:
            return None
        try:
            dense, model = read_run(run)
        except InputError:
            return None
        return model, Weights(run.relative_to(self.folder).as_posix(), dense.accuracy.test, not_scored=None)


def _key(record: Record) -> str:
    """Runs with the same key have the same data, split and dense network."""
    same = record.model_dump(include={"task", "task_spec", "seed", "protocol", "shape", "baseline"}, mode="json")
    return digest_of([same, record.provenance.split_digest])
