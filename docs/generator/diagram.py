"""The diagram of docs/architecture.md as SVG, because Mermaid itself would be a script of some megabytes."""

from __future__ import annotations

import re
from html import escape
from itertools import pairwise

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


def chains(edges: list[tuple[str, str]], level: dict[str, int]) -> list[list[str]]:
    """Each arrow as the names that it passes, one in each row: a long one gets a place of its own between boxes."""
    return [
        [upper, *(f"{upper} {lower} {row}" for row in range(level[upper] + 1, level[lower])), lower]
        for upper, lower in edges
    ]


def places(lines: list[list[str]], level: dict[str, int]) -> dict[str, tuple[float, float]]:
    """Name -> (x, y) of its middle, the picture's middle at x = 0; each row in the order of what stands above it."""
    row_of = {line[0]: level[line[0]] for line in lines}
    row_of |= {name: level[line[0]] + step for line in lines for step, name in enumerate(line)}
    place: dict[str, tuple[float, float]] = {}
    for row in range(max(row_of.values()) + 1):
        above: dict[str, list[float]] = {name: [] for name, its in row_of.items() if its == row}
        for line in lines:
            for upper, lower in pairwise(line):
                if lower in above:
                    above[lower].append(place[upper][0])
        names = sorted(
            above, key=lambda name: (sum(above[name]) / max(1, len(above[name])), min(above[name], default=0))
        )
        for column, name in enumerate(names):
            place[name] = ((column - (len(names) - 1) / 2) * ACROSS, MARGIN + HEIGHT / 2 + row * DOWN)
    return place


def svg(mermaid: str) -> str:
    """The picture of a `graph TD` whose lines are `a --> b`."""
    edges = EDGE.findall(mermaid)
    level = levels(edges)
    lines = chains(edges, level)
    middle = places(lines, level)
    half = max(abs(x) for x, _ in middle.values()) + WIDTH / 2 + MARGIN
    width, height = 2 * half, MARGIN * 2 + max(level.values()) * DOWN + HEIGHT
    place = {name: (x + half, y) for name, (x, y) in middle.items()}
    told = ", ".join(f"{upper} imports {lower}" for upper, lower in edges)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="{escape(told)}" font-family="sans-serif" font-size="14">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{width:g}" height="{height:g}" rx="6" fill="#fff"/>',
    ]
    for line in lines:
        down = [place[name] for name in line]
        down[0], down[-1] = (down[0][0], down[0][1] + HEIGHT / 2), (down[-1][0], down[-1][1] - HEIGHT / 2)
        points = " ".join(f"{x:g},{y:g}" for x, y in down)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="#555" stroke-width="1.5" marker-end="url(#tip)"/>'
        )
    for name in level:
        x, y = place[name]
        box = f'x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}"'
        parts.append(f'<rect {box} rx="4" fill="#eef2f7" stroke="#555"/>')
        parts.append(f'<text x="{x:g}" y="{y + 5:g}" text-anchor="middle" fill="#111">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])
