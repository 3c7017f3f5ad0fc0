"""Forms of a learning rule beside each other and beside exact gradients on the same networks, from several experiments.

    python -m benchmarks.studies.rule_forms RESULTS ... > forms.csv

A form is a rule with its end of a clip (`flush`). Each line compares two forms on one network, paired by seed and test
clip; the lines `all` compare the mean over all networks that have both. Networks of one clip length share their test
clips, and the clips of the others have the same shapes and motions in the same order: clip k counts once in the mean.
Intervals cover seeds and clips. p is corrected by Holm's method over the networks of one pair of forms.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pandas as pd
from statsmodels.stats.multitest import multipletests

from squeezebench.base.errors import InputError
from squeezebench.report.gather import Gathered, gather
from squeezebench.report.statistics.groups import run_groups
from squeezebench.report.statistics.spread import over_both

FORMS = {("sideways", "drop"): "no pause", ("sideways", "hold"): "pause",
         ("backpropagation_per_tick", "hold"): "per tick", ("backpropagation", "hold"): "back-propagation"}  # fmt: skip


def answers(experiments: Sequence[Gathered]) -> dict[str, dict[str, pd.DataFrame]]:
    """Form -> network -> which test clips are classified correctly, a row for each seed.

    InputError if two groups of runs differ in something else than their network and form, as `slower`.
    """
    tables: dict[str, dict[str, pd.DataFrame]] = defaultdict(dict)
    for gathered in experiments:
        for _, group in run_groups(gathered).iterrows():
            settings = json.loads(group["settings"])
            form = FORMS[settings["rule"], settings.get("flush", "hold")]
            runs = gathered.runs_of(group).sort_values("seed")
            if (correct := gathered.correct(list(runs["path"]))) is not None:
                network = f"{group['task']}, {settings['shortcuts']}"
                if network in tables[form]:
                    raise InputError(f"{gathered.folder}: a second group of runs of {network} by the form {form!r}")
                tables[form][network] = pd.DataFrame(correct.right, index=runs["seed"]).astype(float)
    return tables


def compared(tables: dict[str, dict[str, pd.DataFrame]]) -> pd.DataFrame:
    """One line for each pair of forms and network, and one for the mean over the networks that have both."""
    lines = []
    for first, second in combinations([form for form in FORMS.values() if form in tables], 2):
        both = [name for name in tables[first] if name in tables[second]]
        paired = {name: (tables[first][name] - tables[second][name]).dropna() for name in both}
        paired["all"] = (sum(paired.values()) / len(both)).dropna()  # the seeds that all have
        here = [_line(first, second, name, difference) for name, difference in paired.items()]
        for line, p in zip(here, multipletests([line["p"] for line in here[:-1]], method="holm")[1], strict=False):
            line["p_holm"] = p
        lines += here
    return pd.DataFrame(lines)


def _line(first: str, second: str, network: str, difference: pd.DataFrame) -> dict[str, object]:
    spread = over_both(difference.to_numpy())
    return {"form": first, "against": second, "network": network, "seeds": spread.n, "difference": spread.mean,
            "low": spread.mean - spread.half, "high": spread.mean + spread.half, "p": spread.p}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    frame = compared(answers([gather(folder) for folder in parser.parse_args().results]))
    shares = ["difference", "low", "high"]
    frame[shares] = (100 * frame[shares]).round(1)
    print(frame.round({"p": 4, "p_holm": 3}).to_csv(index=False).rstrip())


if __name__ == "__main__":
    main()
