"""Recall of each class, from the confusion matrices of a run group."""

from __future__ import annotations

import numpy as np
import pandas as pd

from squeezebench.report.gather import Gathered


def class_recall(group: pd.Series, gathered: Gathered) -> tuple[list[str], np.ndarray] | None:
    """Names of the classes and recall (seeds, classes) of a group; None if no run recorded a confusion matrix, or the
    runs are not of one task."""
    runs = gathered.runs_of(group)
    runs = runs[runs["confusion"].notna()]
    shapes = {np.shape(matrix) for matrix in runs["confusion"]}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 2 or shape[0] != shape[1]:
        return None
    matrices = np.array(runs["confusion"].tolist(), float)  # (seeds, classes, classes)
    with np.errstate(invalid="ignore"):
        recall = np.diagonal(matrices, axis1=1, axis2=2) / matrices.sum(axis=2)
    names = runs["class_names"].iloc[0]
    return [str(name) for name in names] if len(names) == shape[0] else [str(i) for i in range(shape[0])], recall
