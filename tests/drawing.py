"""Reports whose figures are not all drawn: drawing takes most of the time of a report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from matplotlib.figure import Figure

from squeezebench.report.drawing import plot

EMPTY = '<svg width="400pt" height="300pt" xmlns="http://www.w3.org/2000/svg"></svg>'


@contextmanager
def drawing_only(*names: str) -> Iterator[None]:
    """Draw figures whose name begins with one of `names`; the others are an empty SVG with a title. The points of all
    of them are written as ever."""
    render = plot.render

    def rendered(figure: Figure, name: str, *more) -> str:
        if not name.startswith(names):
            figure.savefig = lambda buffer, **options: buffer.write(EMPTY)
        return render(figure, name, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plot, "render", rendered)
        yield
