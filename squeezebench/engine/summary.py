"""What log.txt says of a run, besides warnings and a traceback."""

from __future__ import annotations

from collections.abc import Iterator

from squeezebench.schema.record import Record, size_words


def lines(record: Record) -> Iterator[str]:
    """The run, where and when it was made, each stage, and the result."""
    origin = record.provenance
    varied = "".join(f" {name}={value}" for name, value in record.varied.items())
    yield f"{record.task} {record.method}{varied} seed {record.seed}"
    yield f"squeezebench {origin.squeezebench} on {origin.machine}, {origin.device}, finished {origin.finished}"
    for stage in record.stages:
        shared = " (shared with other runs)" if stage.shared else ""
        yield f"{stage.name}: {stage.epochs} epochs, {stage.steps:,} steps, {stage.seconds:.1f} s{shared}"
    if record.status != "ok":
        yield f"{record.status}: {record.reason}"
        return
    size = f"{record.counts.size:,} {size_words(record.counts)}"
    accuracy = record.accuracy
    yield f"ok: validation {accuracy.validation:.2%}, test {accuracy.test:.2%}, {size}, {record.seconds.total:.1f} s"
