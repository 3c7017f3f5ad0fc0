"""What a figure hands to the page, and the finished figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from squeezebench.report import formats
from squeezebench.report.drawing.svg import SOFT, new_figure, render
from squeezebench.report.sizes import RECURRENT, Rule, of_row


@dataclass(frozen=True)
class Drawing:
    """A figure as drawn. `points` is the CSV file beside it; `hovers` maps the gid of an artist to its hover text."""

    figure: Figure | None
    points: pd.DataFrame
    hovers: dict[str, str] = field(default_factory=dict)
    rule: Rule = RECURRENT  # how the sizes in it are counted
    words: str = ""  # why there is nothing to see

    @classmethod
    def nothing(cls, words: str, columns: list[str] = (), rule: Rule = RECURRENT) -> Drawing:
        """A figure that says why it is empty: the workflow's outputs exist even if nothing has finished."""
        return cls(None, pd.DataFrame(columns=list(columns)), rule=rule, words=words)


@dataclass(frozen=True)
class Plot:
    """A finished figure: its SVG, the points in it, and its words."""

    name: str  # of its files
    kind: str  # of the declaration
    title: str
    heading: str  # the title without the task
    caption: str
    how: str  # how it was computed
    svg: str
    points: pd.DataFrame
    words: str
    rule: Rule
    wide: bool
    narrow: bool = False  # a phone shows all of it

    @classmethod
    def finish(cls, drawing: Drawing, name: str, kind: str, words: Mapping[str, str], wide: bool = False) -> Plot:
        """Render a drawing. `words` has its title, caption and how. Call inside `style()`."""
        figure, title = drawing.figure, formats.clean(words.get("title", kind))
        if figure is None:
            figure = new_figure(6, 0.8)
            figure.text(0.01, 0.4, drawing.words, color=SOFT)
        svg = render(figure, name, title, drawing.hovers)
        width = float(svg.split('data-width="', 1)[1].split('"')[0])
        wide = wide or width > 700
        return cls(name, kind, title, words.get("heading", title), words.get("caption", ""), words.get("how", ""), svg,
                   drawing.points, drawing.words, drawing.rule, wide, width < 400)  # fmt: skip

    def csv(self) -> str:
        points = self.points.rename(columns=self.rule.csv)
        return formats.clean(points.to_csv(index=False, lineterminator="\n"))


def hover(group: Mapping) -> str:
    """The text of a run group's marker: method, settings, accuracy, size."""
    released = " (as released: best test epoch)" if group["protocol"] == "as_released" else ""
    interval = "" if group["ok"] > 1 else ", no interval"
    rule = of_row(group)
    return "\n".join([
        f"{group['method_label']}: {group['settings_label']}",
        f"test {formats.percent_interval(group['test_accuracy_mean'], group['test_accuracy_half_width'])}"
        f" ({formats.plural(int(group['ok']), 'seed')}{interval}){released}",
        f"{formats.count(group['size_mean'])} {rule.noun}, "
        f"{rule.ratio(group['ratio_size'])}"
        + (f" vs {group['baseline']}" if group["baseline"] else ""),
    ])  # fmt: skip
