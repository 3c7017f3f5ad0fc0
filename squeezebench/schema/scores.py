"""Scores that follow from a confusion matrix: rows are the true classes, columns the predicted ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from squeezebench.schema.record import Record


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
