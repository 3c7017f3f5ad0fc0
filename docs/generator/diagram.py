"""The diagram of docs/architecture.md as SVG, because Mermaid itself would be a script of some megabytes."""

from __future__ import annotations

import re
from html import escape

BLOCK = re.compile(r"^```mermaid\n(graph TD\n.*?)^```\n", re.MULTILINE | re.DOTALL)
EDGE = re.compile(r"^ +(\w+) --> (\w+)$", re.MULTILINE)
WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 96, 32, 128, 72, 12


def levels(edges: list[tuple[str, str]]) -> dict[str, int]:
    """Node -> its row: one more than the longest way to it. Raises ValueError if the arrows go round in a circle."""
    nodes = list(dict.fromkeys(name for edge in edges for name in edge))
    level = dict.fromkeys(nodes, 0)
    for _ in nodes:
        before = dict(level)
        for upper, lower in edges:
            level[lower] = max(level[lower], level[upper] + 1)
        if level == before:
            return level
    raise ValueError("the arrows of the diagram go round in a circle")


def svg(mermaid: str) -> str:
    """The picture of a `graph TD` whose lines are `a --> b`."""
    edges = EDGE.findall(mermaid)
    rows: dict[int, list[str]] = {}
    for name, row in levels(edges).items():
        rows.setdefault(row, []).append(name)
    widest = max(map(len, rows.values()))
    width, height = MARGIN * 2 + widest * ACROSS, MARGIN * 2 + (len(rows) - 1) * DOWN + HEIGHT
    place = {
        name: (width / 2 + (column - (len(names) - 1) / 2) * ACROSS, MARGIN + HEIGHT / 2 + row * DOWN)
        for row, names in rows.items()
        for column, name in enumerate(names)
    }
    told = ", ".join(f"{upper} imports {lower}" for upper, lower in edges)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="{escape(told)}" font-family="sans-serif" font-size="14">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{width:g}" height="{height:g}" rx="6" fill="#fff"/>',
    ]
    for upper, lower in edges:
        (x1, y1), (x2, y2) = place[upper], place[lower]
        ends = f'x1="{x1:g}" y1="{y1 + HEIGHT / 2:g}" x2="{x2:g}" y2="{y2 - HEIGHT / 2:g}"'
        parts.append(f'<line {ends} stroke="#555" stroke-width="1.5" marker-end="url(#tip)"/>')
    for name, (x, y) in place.items():
        box = f'x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}"'
        parts.append(f'<rect {box} rx="4" fill="#eef2f7" stroke="#555"/>')
        parts.append(f'<text x="{x:g}" y="{y + 5:g}" text-anchor="middle" fill="#111">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])
