"""Figures as SVG text: one style, the same bytes every time, hover titles, ids that may share a page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from squeezebench.report.formats import clean

INK, SOFT, GRID = "#1d2733", "#5b6673", "#e3e7eb"
FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
STYLE = {
    "svg.fonttype": "none",  # text stays text: it can be searched, copied and read aloud
    "svg.hashsalt": "squeezebench",  # the same figure has the same bytes
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so the layout is the same everywhere
    "font.size": 8,
    "text.parse_math": False,  # a title may contain $
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def new_figure(width: float, height: float) -> Figure:
    """A figure of the report's style (call inside `style()`)."""
    return Figure(figsize=(width, height))


def style():
    """Context in which figures are drawn and saved."""
    return matplotlib.rc_context(STYLE)


def render(figure: Figure, name: str, title: str, hovers: Mapping[str, str]) -> str:
    """The figure as one <svg>. `hovers` maps an artist's gid to the text its marker shows on hover."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the reader's fonts draw it, not ours
        # Not `savefig`, which draws twice: the layout of the style is found while a figure is drawn.
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return _postprocess(buffer.getvalue(), name, title, hovers)


def _postprocess(text: str, name: str, title: str, hovers: Mapping[str, str]) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # matplotlib's <style> would apply to the whole page; the same as attributes applies to this figure only.
    text = re.sub(r"\s*<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = text.replace("'DejaVu Sans', sans-serif", FONTS).replace("'DejaVu Sans'", FONTS)
    for gid, hover in hovers.items():
        text = text.replace(
            f'<g id="{gid}">', f'<g id="{gid}" class="point">\n<title>{escape(clean(hover))}</title>', 1
        )
    # Several figures share a page: their ids must not meet.
    text = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', text)
    text = re.sub(r'href="#([^"]*)"', rf'href="#{name}-\1"', text)
    text = text.replace("url(#", f"url(#{name}-")
    size = re.match(r'<svg[^>]*?\bwidth="([\d.]+)pt"', text)
    width = round(float(size[1]) * 4 / 3) if size else 640
    label = escape(clean(title))
    head = (
        f'<svg class="plot" role="img" aria-label={quoteattr(clean(title))} stroke-linejoin="round" '
        f'stroke-linecap="butt" data-width="{width}" '
    )
    text = head + text.removeprefix("<svg").lstrip()
    end = text.index(">") + 1
    return f"{text[:end]}\n<title>{label}</title>{text[end:]}"
