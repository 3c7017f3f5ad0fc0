"""Latencies of one runtime on both sides of a ratio.

`latency_ms` of a record is that of the engine's module, `dense_latency_ms` that of torch.nn.LSTM (or GRU) in PyTorch's
fused kernel, which is several times as fast at equal size. Both sides of a ratio that is shown are the engine's module;
the fastest dense runtime of all stands beside it.
"""

from __future__ import annotations

import pandas as pd

from squeezebench.schema.metrics import BATCHES

SAME = "same_runtime_dense_latency_ms_batch_{}"  # the group of columns of a batch size


def with_same_runtime(groups: pd.DataFrame) -> pd.DataFrame:
    """The compared groups with the dense latency in the runtime of the compact network. Records of earlier versions do
    not hold it: their dense partner's own latency, measured in its own runs, stands in for it."""
    columns = {}
    for batch in BATCHES:
        name = f"{SAME.format(batch)}_mean"
        own = groups[f"latency_ms_batch_{batch}_mean"]
        columns[name] = groups[name].fillna(groups["dense_group"].map(own))
    return groups.assign(**columns)
