"""Average ranks over the data sets, with a critical-difference diagram (Demsar, JMLR 2006) drawn by scikit-posthocs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from squeezebench.report import formats
from squeezebench.report.drawing.axes import heading
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import INK, new_figure
from squeezebench.report.results import Results
from squeezebench.report.statistics.groups import leading_protocol
from squeezebench.report.statistics.spread import LEVEL
from squeezebench.report.statistics.summary import REGISTERED
from squeezebench.report.words import captions

SECTION, ORDER, WIDE, PAGE = "across", 1, True, "sizes"
ENOUGH_TASKS = 3  # Friedman's test has no meaning with fewer
ENOUGH_METHODS = 3
SCORE = REGISTERED
POINTS = ["method", "average_rank", "tasks", "left_out", "friedman_p", "task", "rank", SCORE]


@dataclass(frozen=True)
class Ranks:
    """`scores` (set of data, method): test accuracy of the setting picked at the registered ratio, minus infinity if
    none reaches it. `words` says why there are no ranks."""

    scores: pd.DataFrame
    left_out: list[str]  # methods that did not run on every task, or on too few seeds
    words: str = ""
    p: float = np.nan  # Friedman's test that all methods are alike

    @property
    def ranks(self) -> pd.DataFrame:
        """(set of data, method), 1 is best; equal scores share the mean of their ranks, as do all without the ratio."""
        return self.scores.rank(axis=1, ascending=False)


def rank(summary: pd.DataFrame, data: Mapping[str, str] = MappingProxyType({})) -> Ranks:
    """Ranks of all methods that ran on every set of data on which any method reaches the ratio. A method that does not
    reach it is worse than all that do.

    data: as `Gathered.data_of`. Demsar's test asks for independent sets of data, so that a method has one score on
    each: the mean over the splits and folds of one.
    """
    words = captions()["ranks"]
    shown = leading_protocol(summary)
    scores = shown.pivot(index="task", columns="method", values=SCORE).astype(float)
    same = scores.index.map(lambda task: data.get(task, task)).rename("task")
    scores = scores.groupby(same).agg(lambda column: column.mean(skipna=False))
    scores = scores[np.isfinite(scores).any(axis=1)]
    complete = scores.columns[scores.notna().all()] if len(scores) else scores.columns[:0]
    left_out = [name for name in scores.columns if name not in complete]
    scores = scores[complete]
    if len(scores) < ENOUGH_TASKS:
        return Ranks(scores, left_out, words["not_enough_tasks"].format(n=formats.plural(len(scores), "data set")))
    if len(complete) < ENOUGH_METHODS:
        number = formats.plural(len(complete), "method")
        return Ranks(scores, left_out, words["not_enough_methods"].format(n=number, tasks=len(scores)))
    from scipy import stats  # takes a second: only where there is something to test

    alike = (scores.nunique(axis=1) == 1).all()  # the test would divide by 0
    p = 1.0 if alike else float(stats.friedmanchisquare(*scores.rank(axis=1).to_numpy().T).pvalue)
    return Ranks(scores, left_out, p=p)


def differ(ranks: Ranks) -> pd.DataFrame:
    """p values (method, method) of Nemenyi's test; all 1 where Friedman's test does not reject, as Demsar asks.

    Not Wilcoxon's test with Holm's correction: at three to five tasks it cannot reject anything.
    """
    import scikit_posthocs  # loads seaborn and statsmodels: only where there is something to draw

    names = list(ranks.scores)
    if ranks.p >= 1 - LEVEL:
        return pd.DataFrame(1.0, index=names, columns=names)
    values = scikit_posthocs.posthoc_nemenyi_friedman(-ranks.ranks.to_numpy())
    return pd.DataFrame(values.to_numpy(), index=names, columns=names)


def draw(results: Results) -> Drawing:
    """The critical-difference diagram, or the words that say why there is none."""
    summary, ranks = results.summary, rank(results.summary, results.gathered.data_of)
    if ranks.words:
        return Drawing.nothing(ranks.words, POINTS)
    import scikit_posthocs

    labels = summary.drop_duplicates("method").set_index("method")["method_label"]
    names = {method: formats.clean(f"{labels[method]}"[:32]) for method in ranks.scores}
    names = {method: name if list(names.values()).count(name) == 1 else method for method, name in names.items()}
    average = ranks.ranks.mean().rename(names).sort_values()
    figure = new_figure(9, 1.2 + 0.22 * len(average))
    axes = figure.add_subplot()
    axes.grid(False)
    drawn = scikit_posthocs.critical_difference_diagram(
        average, differ(ranks).rename(index=names, columns=names), alpha=1 - LEVEL, ax=axes, text_h_margin=0.1,
        color_palette={names[method]: results.looks[method].colour for method in ranks.scores},
        label_props={"fontsize": 8}, elbow_props={"linewidth": 0.9}, marker_props={"s": 16},
        crossbar_props={"color": INK, "linewidth": 2.5},
    )  # fmt: skip
    for (bar,) in drawn["crossbars"]:  # it goes through a set of names, in another order in each process
        bar.set_xdata(sorted(bar.get_xdata()))
    verdict = captions()["ranks"]["alike" if ranks.p >= 1 - LEVEL else "differ"]
    heading(axes, verdict.format(p=formats.significant(ranks.p, 2), tasks=len(ranks.scores)))
    return Drawing(figure, _points(ranks))


def _points(ranking: Ranks) -> pd.DataFrame:
    """One line for each method and task."""
    ranks = ranking.ranks.stack().rename("rank").reset_index()
    ranks = ranks.assign(average_rank=ranks["method"].map(ranking.ranks.mean()), tasks=len(ranking.scores),
                         left_out=" ".join(ranking.left_out), friedman_p=ranking.p)  # fmt: skip
    ranks[SCORE] = [
        ranking.scores.at[task, method] for task, method in zip(ranks["task"], ranks["method"], strict=True)
    ]
    order = list(ranking.ranks.mean().sort_values(kind="stable").index)
    ranks = ranks.assign(place=ranks["method"].map(order.index))
    return ranks.sort_values(["place", "task"])[POINTS]
