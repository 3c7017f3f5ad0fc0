"""Labels of run groups: the settings that tell a group from the others, in words."""

from __future__ import annotations

import json

import pandas as pd

from squeezebench.report import formats


def settings_labels(groups: pd.DataFrame) -> pd.Series:
    """The varied settings of each group. Two groups of a method that would read the same also get the settings they
    differ in, so that no two rows of a table have one name."""
    labels = groups["varied"].map(lambda text: formats.settings(json.loads(text)))
    keys = [groups["task"], groups["protocol"], groups["method"], labels]
    same = pd.concat(keys, axis=1).duplicated(keep=False)
    for _, twins in groups[same].groupby([groups["task"], groups["protocol"], groups["method"], labels]):
        values = {index: json.loads(text) for index, text in twins["settings"].items()}
        names = sorted(set().union(*values.values()))
        differing = [k for k in names if len({json.dumps(v.get(k), sort_keys=True) for v in values.values()}) > 1]
        for index, settings in values.items():
            shown = json.loads(groups.at[index, "varied"]) | {key: settings.get(key) for key in differing}
            labels[index] = formats.settings(shown)
    return labels
