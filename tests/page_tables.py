"""Tables of a built page as text, and the numbers in it as a reader takes them. Nothing of squeezebench is imported."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

NUMBER = r"([−+]?[\d,]*\.?\d+(?: [kMG](?![a-zA-Z0-9]))?(?: [kMG]?B)?)"
_SCALE = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


class Reader(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


@dataclass
class Cell:
    """`text` is its first line, without marks; non-breaking spaces are spaces."""

    text: str = ""
    marks: list[str] = field(default_factory=list)
    note: str = ""


@dataclass
class Parsed:
    """`heads`: titles of the columns, below a shared heading as `Printed: Accuracy`."""

    heads: list[str] = field(default_factory=list)
    rows: list[list[Cell]] = field(default_factory=list)


class Tables(HTMLParser):
    """Every table of a page by the name after `table-`, and the other texts by tag and class."""

    def __init__(self, page: str):
        super().__init__()
        self.tables: dict[str, Parsed] = {}
        self.texts: list[tuple[str, str]] = []  # (nearest element with an id or class, text)
        self._path: list[tuple[str, dict]] = []
        self._groups: list[str] = []
        self._table: Parsed | None = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag in ("meta", "input", "br", "link", "hr"):
            return
        self._path.append((tag, attributes))
        name = attributes.get("id", "")
        if tag == "div" and name.startswith("table-"):
            self._table, self._groups = self.tables.setdefault(name[6:], Parsed()), []
        if self._table is None:
            return
        inside = {one for one, _ in self._path}
        if tag == "tr" and "tbody" in inside:
            self._table.rows.append([])
        elif tag == "td" and "tbody" in inside:
            self._table.rows[-1].append(Cell())
        elif tag in ("td", "th") and "colspan" in attributes:
            self._groups += [""] * int(attributes["colspan"])
        elif tag == "th":
            group = self._groups[len(self._table.heads)] if self._groups else ""
            self._table.heads.append(f"{group}: " if group else "")

    def handle_endtag(self, tag):
        while self._path and self._path.pop()[0] != tag:
            pass
        if tag == "table":
            self._table = None

    def handle_data(self, data):
        data = data.replace("\N{NO-BREAK SPACE}", " ")
        tags = [tag for tag, _ in self._path]
        if self._table is not None and "thead" in tags:
            attributes = next((a for t, a in reversed(self._path) if t in ("th", "td")), None)
            if attributes is None or not data.strip():
                return
            if "colspan" in attributes:
                span = int(attributes["colspan"])
                self._groups[-span:] = [self._groups[-1] + data.strip()] * span
            else:
                self._table.heads[-1] += data.strip()
        elif self._table is not None and "td" in tags:
            cell = self._table.rows[-1][-1]
            if "small" in tags:
                cell.note += data
            elif any("mark" in (a.get("class") or "").split() for _, a in self._path):
                cell.marks.append(data.strip())
            else:
                cell.text += data.strip("\n ") if not cell.text else data.rstrip()
        elif tags and tags[-1] not in ("script", "style", "textarea") and data.strip():
            self.texts.append((".".join(f"{a.get('id') or a.get('class') or t}" for t, a in self._path), data.strip()))


def read(token: str) -> tuple[float, float]:
    """A shown number and how far it may be from the exact one: half a unit of its last digit that means something.
    Numbers from 1,000 on are shown to three digits."""
    token = token.removesuffix("B").strip()
    body, _, unit = token.partition(" ")
    value = float(body.replace("−", "-").replace(",", ""))
    decimals = len(body.partition(".")[2])
    unit_of_last = 10.0**-decimals
    if not decimals and abs(value) >= 1000:
        unit_of_last = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    return value * _SCALE[unit], 0.5001 * unit_of_last * _SCALE[unit]


def says(text: str, template: str, *values: float) -> bool:
    """Whether `text` is `template` with the values in place of its {}, as shown."""
    found = re.fullmatch(NUMBER.join(map(re.escape, template.split("{}"))), text)
    if found is None or len(found.groups()) != len(values):
        return False
    return all(abs(shown - value) <= room for (shown, room), value in
               zip(map(read, found.groups()), values, strict=True))  # fmt: skip
