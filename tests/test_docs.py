"""The documentation: cards say what the records say, links lead somewhere, and no page asks for anything elsewhere."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import PHONE, WIDE, barriers, chromium, opened, started
from csv_files import read_csv

from docs.generator import cards, diagram
from squeezebench.data.sources import available
from squeezebench.method.discovery import find_methods, load

ROOT = Path(__file__).resolve().parents[1]
MISSING = [name for name in ("sphinx", "furo", "myst_parser") if importlib.util.find_spec(name) is None]
built_only = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (pip install -e '.[docs]')")
LOADS = {"img": "src", "script": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site."""
    out = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "docs.generator", out], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return out


class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        told = {key: value or "" for key, value in attributes}
        self.anchors |= {told[key] for key in ("id", "name") if key in told}
        if tag == "a" and "href" in told:
            self.links.add(told["href"])
        if tag == "link" and told.get("rel") in ("stylesheet", "preload", "icon", "shortcut icon"):
            self.loads.add(told["href"])
        if tag in LOADS and LOADS[tag] in told:
            self.loads.add(told[LOADS[tag]])


def test_a_card_shows_the_numbers_of_the_records():
    """Each record of one method on one task, against the card, without the table that the card was made of."""
    folder = ROOT / "results" / "reference" / "quick" / "runs" / "digits" / "vib_lstm"
    card = cards.method_card("vib_lstm")
    shown = re.findall(r"\| digits \| vib_lstm \| ratio ([\d.]+) \| ([\d.]+) \| ([\d.]+) ± [\d.]+ \| (\d+) \|", card)
    records: dict[float, list[dict]] = {}
    for path in folder.glob("*/seed-*/record.json"):
        told = json.loads(path.read_text())
        records.setdefault(float(told["settings"]["ratio"]), []).append(told)
    assert len(shown) == len(records) == 4
    for asked, ratio, accuracy, seeds in shown:
        of_these = records[float(asked)]
        assert int(seeds) == len(of_these)
        assert float(accuracy) == pytest.approx(
            100 * sum(one["accuracy"]["test"] for one in of_these) / len(of_these), abs=0.051
        )
        sizes = [one["baseline"]["counts"]["lstm_total"] / one["counts"]["lstm_total"] for one in of_these]
        assert min(sizes) - 0.06 <= float(ratio) <= max(sizes) + 0.06


def test_a_card_shows_the_printed_figures_and_the_settings():
    card = cards.method_card("vib_lstm")
    printed = read_csv(ROOT / "report/reference/viblstm_t2.csv")
    row = next(line for line in printed if line["method"] == "VIB-LSTM+ISS")
    assert " | ".join(row.values()) in card
    assert all(f"| `{name}` |" in card for name in load(find_methods()["vib_lstm"]).Settings.model_fields)
    assert "(../traps.md#weight-decay-that-does-the-pruning)" in card


def test_every_method_and_data_set_has_a_card_and_traps_name_only_such():
    pages, known = cards.pages(), {*find_methods(), *available()}
    assert {f"methods/{name}.md" for name in find_methods()} | {f"data/{name}.md" for name in available()} <= set(pages)
    traps = cards.CONCERNS.findall((ROOT / "docs" / "traps.md").read_text("utf-8"))
    assert len(traps) > 10
    assert {name for _, who in traps for name in re.findall(r"`(\w+)`", who)} <= known
    words = (ROOT / "docs" / "methods.md").read_text("utf-8")
    assert [name for name in find_methods() if f"`{name}`" not in words] == []


def test_the_diagram_shows_every_arrow_downwards():
    text = diagram.BLOCK.search((ROOT / "docs" / "architecture.md").read_text("utf-8"))[1]
    edges, rows = diagram.EDGE.findall(text), diagram.levels(diagram.EDGE.findall(text))
    assert all(rows[upper] < rows[lower] for upper, lower in edges)
    lines = diagram.chains(edges, rows)
    place = diagram.places(lines, rows)
    assert len(set(place.values())) == len(place)  # no arrow passes behind a box
    assert diagram.svg(text).count("<polyline ") == len(edges) == len(set(edges))
    with pytest.raises(ValueError, match="circle"):
        diagram.levels([("a", "b"), ("b", "a")])


@built_only
def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 60
    for path, page in pages.items():
        assert not [address for address in page.loads if urlsplit(address).netloc], path
        for address in page.links | page.loads:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert goal.exists(), f"{path.relative_to(site)}: {address}"
            if parts.fragment and goal in pages and "results" not in goal.parts:  # reports make theirs by script
                assert unquote(parts.fragment) in pages[goal].anchors, f"{path.relative_to(site)}: {address}"
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", sheet.read_text("utf-8")), sheet


@built_only
@pytest.mark.skipif(chromium() is None, reason="no Chromium or Chrome on PATH")
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_pages_fit_load_nothing_from_elsewhere_and_can_be_read_by_all(site, width):
    with started() as browser:
        for name in ("index", "methods/vib_lstm", "architecture", "api"):
            with opened(browser, site / f"{name}.html", width) as (page, seen):
                page.wait_for_load_state("networkidle")
                assert all(address.startswith(site.resolve().as_uri()) for address in seen.requests)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, name
                assert barriers(page, width) == [], name
