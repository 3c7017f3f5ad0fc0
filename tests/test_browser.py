"""The report in a real browser: it loads alone, its tables work, it can be read, printed and reached by keyboard."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from browser import PHONE, WIDE, barriers, chromium, opened, started
from csv_files import read_csv
from playwright.sync_api import Browser, Page, expect
from pypdf import PdfReader
from synthetic_records import make, record, write

from squeezebench.report import build_report
from squeezebench.schema.printed import PublishedTable

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium or Chrome on PATH")

PAPER = [
    {"name": "table2", "title": "Table 2", "printed": "viblstm_t2", "task": "digits", "differs": "digits, not videos",
     "rows": {"Naive-LSTM": {"method": "dense"}, "VIB-LSTM": {"method": "vib_lstm"}}},
    {"name": "figure5", "title": "Figure 5", "layout": "sweep", "setting": "beta", "task": "digits",
     "rows": {"VIB": {"method": "vib_lstm"}}},
]  # fmt: skip
EVIL = "<script>alert(1)</script>"
PAGES = ("report.html", "audit.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as one:
        yield one


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A report with every part that synthetic records can fill."""
    folder = tmp_path_factory.mktemp("results") / "synthetic"
    make(folder, steps=2)
    plan = json.loads((folder / "plan.json").read_text())
    plan["config"]["tables"] = [PublishedTable.model_validate(table).model_dump(mode="json") for table in PAPER]
    (folder / "plan.json").write_text(json.dumps(plan))
    failed = next(folder.glob("runs/digits/iss/*/seed-0"))
    (failed / "record.json").unlink()
    build_report(folder)
    return folder


@pytest.fixture
def page(browser, built) -> Iterator[Page]:
    with opened(browser, built / "report.html") as (one, _):
        yield one


def table(page: Page, name: str):
    return page.locator(f"#table-{name}")


def column(part, head: str | int) -> list[str]:
    """First line of each shown cell below a heading, by its title or place."""
    return part.evaluate(
        """(part, head) => {
            const heads = [...part.querySelectorAll("thead tr:last-child th")].map((one) => one.textContent.trim());
            const place = typeof head === "number" ? head : heads.indexOf(head);
            const rows = [...part.querySelectorAll("tbody tr")].filter((row) => !row.hidden);
            return rows.map((row) => row.cells[place].firstChild?.textContent.trim() ?? "");
        }""",
        head,
    )


def number(text: str) -> float | None:
    """The first number of a cell as a reader takes it: `18.4 k`, `1,234×`, `−2.7 [−6.2, +0.7]`; None: there is none."""
    found = re.match(r"[−+]?[\d,]*\.?\d+", text)
    if found is None:
        return None
    unit = re.match(r"\s*([kMG])(?:B?\b)", text[found.end() :])
    scale = {"k": 1e3, "M": 1e6, "G": 1e9}[unit[1]] if unit else 1
    return float(found[0].replace("−", "-").replace(",", "")) * scale


# --- it stands alone


SMALLEST = {WIDE: 11, PHONE: 10}  # CSS pixels of the text in figures; on a phone they swipe sideways and zoom


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_it_loads_alone_fits_and_has_no_barrier(browser, built, name, width):
    """No network, error or violation of its policy; no sideways scroll and no small print; nothing that axe finds."""
    with opened(browser, built / name, width) as (page, seen):
        page.wait_for_load_state("networkidle")
        expect(page.locator("h1")).to_be_visible()
        assert page.evaluate("document.compatMode") == "CSS1Compat"
        assert seen.problems() == []
        wide, room = page.evaluate("[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]")
        assert wide <= room == width
        small = page.evaluate(
            """() => [...document.querySelectorAll("body *")].filter((element) => {
                const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
                return own && element.checkVisibility() && !element.closest("svg, script, style");
            }).map((element) => [parseFloat(getComputedStyle(element).fontSize), element.outerHTML.slice(0, 120)])
            .filter(([size]) => size < 12)"""
        )
        assert small == []
        least = page.evaluate(
            """() => Math.min(...[...document.querySelectorAll("svg.plot text")].map((text) =>
                parseFloat(getComputedStyle(text).fontSize)
                * Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b)))"""
        )
        assert least >= SMALLEST[width] or name == "audit.html"
        if name == "report.html" and width == WIDE:
            wide = page.evaluate(
                """() => [...document.querySelectorAll(".tabular .scroll")].filter((box) => box.checkVisibility()
                    && box.scrollWidth > box.clientWidth).map((box) => box.getAttribute("aria-label"))"""
            )
            assert wide == [], "columns of details are folded, so that tables fit"
        assert barriers(page, width) == []
        assert seen.requests == []


def test_what_the_test_above_watches_for_is_seen(browser, built, tmp_path):
    """A page that loads, breaks and runs things must not pass for one that does not."""
    bad = tmp_path / "report.html"
    text = (built / "report.html").read_text(encoding="utf-8")
    bad.write_text(text.replace("</main>", '<img src="https://example.invalid/x.png"><script>alert(1)</script></main>'))
    with opened(browser, bad) as (page, seen):
        page.wait_for_function("window.violations.length > 1")
        assert {"img-src", "script-src-elem"} <= set(seen.problems())
    open_ = tmp_path / "open.html"
    open_.write_text('<img src="https://example.invalid/x.png"><script>alert(1); nothing()</script>')
    with opened(browser, open_) as (page, seen):
        page.wait_for_function("window.ran.length > 0")
        assert "https://example.invalid/x.png" in seen.requests and 1 in seen.problems()
        assert any("nothing is not defined" in message for message in seen.messages)


def test_text_of_plugins_tasks_and_configs_is_shown_and_never_runs(browser, tmp_path):
    for seed in range(3):
        for method in ("dense", "evil"):
            base = record("digits", "vib_lstm", 1, seed)
            write(tmp_path, base.model_copy(update={
                "task": EVIL, "method": method, "method_title": EVIL if method == "evil" else "Dense",
                "class_names": [EVIL] * 10, "experiment": EVIL, "varied": {EVIL: EVIL},
                "baseline": base.baseline.model_copy(update={"name": EVIL}),
            }), f"runs/t/{method}/seed-{seed}")  # fmt: skip
    write(tmp_path, record("digits", "iss", 0, 0, status="failed", reason=f"{EVIL}<img src=x onerror=alert(2)>"))
    runs = [{"task": EVIL, "method": "evil", "seed": seed, "settings": {EVIL: EVIL}, "path": f"runs/t/evil/seed-{seed}"}
            for seed in range(3)]  # fmt: skip
    plan = {"experiment": EVIL, "description": EVIL, "protocol": "sound", "config": {EVIL: EVIL}, "runs": runs}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with opened(browser, build_report(tmp_path)) as (page, seen):
        page.locator("svg.plot .point").first.dispatch_event("pointerenter")
        expect(page.locator("#tip")).to_contain_text(EVIL)
        page.evaluate("for (const button of document.querySelectorAll('th button, [data-copy]')) button.click()")
        assert seen.problems() == []
        assert page.locator("script").count() == 1 and page.locator("img").count() == 0
        expect(page.locator("h1")).to_have_text(EVIL)  # the config's text
        expect(page.locator(".says h3").first).to_have_text(EVIL)  # the task's
        assert EVIL in column(table(page, "groups"), "Method")  # the method's
        assert EVIL in page.locator("details pre").text_content()


# --- tables


SORT_ALL = """() => [...document.querySelectorAll(".tabular")].flatMap((part) =>
  [...part.querySelectorAll("thead tr:last-child th")].map((head, place) => {
    const found = { table: part.id, title: head.textContent.trim(), numeric: head.classList.contains("n"), orders: [] };
    for (const _ of [1, 2]) {
      head.querySelector("button").click();
      const texts = [...part.querySelectorAll("tbody tr")].map((row) => row.cells[place].firstChild?.textContent ?? "");
      found.orders.push([head.getAttribute("aria-sort"), part.querySelectorAll("[aria-sort]").length, texts]);
    }
    return found;
  }))"""


def test_every_column_of_every_table_sorts_and_toggles(page):
    """Numbers by value, text by alphabet, missing ones last both ways; judged by what the cells say."""
    heads, kinds = page.evaluate(SORT_ALL), set()
    assert len({head["table"] for head in heads}) >= 8
    for head in heads:
        where = head["table"], head["title"]
        first = "descending" if head["numeric"] else "ascending"
        assert [order[0] for order in head["orders"]] == [first, ({"ascending", "descending"} - {first}).pop()], where
        for direction, sorted_columns, texts in head["orders"]:
            assert sorted_columns == 1, where
            texts = [text.strip() for text in texts]
            if head["numeric"]:
                values = [number(text) for text in texts]
                present = [value for value in values if value is not None]
                assert values[: len(present)] == present, (*where, "missing values are last")
                assert present == sorted(present, reverse=direction == "descending"), (*where, direction)
                kinds |= {"number"} | ({"missing"} if 0 < len(present) < len(values) else set())
            elif all(re.fullmatch(r"[a-z_]+", text) for text in texts):
                assert texts == sorted(texts, reverse=direction == "descending"), (*where, direction)
                kinds.add("text")
    assert kinds == {"number", "missing", "text"}


def test_columns_of_details_unfold(page):
    """Below their shared heading too, which spans the columns that are shown."""
    part = table(page, "cost")
    above = part.locator("[scope=colgroup]", has_text="On disk")
    folded = part.get_by_role("columnheader", name="int8")
    expect(folded).to_be_hidden()
    assert above.get_attribute("colspan") == "1"
    part.get_by_role("button", name="All columns").click()
    expect(folded).to_be_visible()
    assert above.get_attribute("colspan") == "3"


def test_settings_sort_by_their_numbers(page):
    part = table(page, "groups")
    part.get_by_role("searchbox").fill("random digits")
    part.get_by_role("button", name="Settings").click()
    found = [float(text.rpartition("=")[2]) for text in column(part, "Settings")]
    assert len(found) == 2 and found == sorted(found)


def test_filters_narrow_rows_and_count_them(page, built):
    rows = read_csv(built / "tables/groups.csv")
    part = table(page, "groups")
    count = part.locator("[data-shown]")
    expect(count).to_have_text(f"{len(rows)} rows")

    def expected(**wanted) -> int:
        return sum(all(row[key] == value for key, value in wanted.items()) for row in rows)

    part.get_by_label("Method").select_option("VIB-LSTM")
    wanted = expected(method="vib_lstm")
    expect(count).to_have_text(f"{wanted} of {len(rows)} rows")
    assert column(part, "Method") == ["VIB-LSTM"] * wanted
    part.get_by_label("Task").select_option("digits")
    wanted = expected(method="vib_lstm", task="digits")
    expect(count).to_have_text(f"{wanted} of {len(rows)} rows")
    assert column(part, "Task") == ["digits"] * wanted and wanted == 2
    part.get_by_label("Method").select_option("all")
    part.get_by_role("searchbox").fill("TT rank")
    assert set(column(part, "Method")) == {"TT-LSTM"} and set(column(part, "Task")) == {"digits"}
    part.get_by_role("searchbox").fill("no such words")
    expect(count).to_have_text(f"0 of {len(rows)} rows")
    part.get_by_role("searchbox").fill("")
    part.get_by_label("Task").select_option("all")
    expect(count).to_have_text(f"{len(rows)} rows")


def test_verdicts_filter_claims_and_the_audit(browser, built):
    for name, part in (("report.html", "claims_elsewhere"), ("audit.html", "audit")):
        with opened(browser, built / name) as (page, _):
            for folded in page.locator("details:has(table) > summary").all():
                folded.click()
            shown = table(page, part) if page.locator(f"#table-{part}").count() else page.locator(".tabular").first
            every = column(shown, "Verdict")
            verdict = max(set(every), key=every.count)
            shown.get_by_label("Verdict").select_option(verdict)
            assert column(shown, "Verdict") == [verdict] * every.count(verdict)


@pytest.mark.parametrize("clipboard", ["navigator", "old"])
def test_copying_puts_the_file_on_the_clipboard(browser, built, clipboard):
    with opened(browser, built / "report.html") as (page, _):
        if clipboard == "old":  # some browsers have none for pages opened from a file
            page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('none')); }")
        for name in ("groups", "table2"):
            for label, suffix in (("Copy CSV", "csv"), ("Copy LaTeX", "tex")):
                button = table(page, name).get_by_role("button", name=label)
                button.click()
                expect(table(page, name).locator(f"[data-copy={suffix}]")).to_have_text("Copied")
                copied = page.evaluate("navigator.clipboard.readText()")
                assert copied == (built / f"tables/{name}.{suffix}").read_text(encoding="utf-8"), (name, suffix)
                assert table(page, name).locator("textarea:visible").count() == 0


# --- figures


def test_a_marker_tells_its_run_on_hover(page, built):
    points = read_csv(built / "figures/accuracy_vs_size_digits.csv")
    rows = [row for row in points if float(row["lstm_parameters_mean"]) > 0]
    tip = page.locator("#tip")
    expect(tip).to_be_hidden()
    assert page.locator("#figure-accuracy_vs_size_digits .point").count() == len(rows)
    for number, row in enumerate(rows):
        if row["method"] not in ("vib_lstm", "dense"):  # the others may lie below a neighbour
            continue
        point = page.locator(f"#accuracy_vs_size_digits-point-{number}")
        point.scroll_into_view_if_needed()
        box = point.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        expect(tip).to_contain_text(f"{100 * float(row['test_accuracy_mean']):.1f}")
        expect(tip).to_contain_text(f"{row['method_title']}: ")
        place = tip.bounding_box()
        assert place["x"] >= 0 and place["x"] + place["width"] <= 1280
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()


def test_every_figure_links_to_its_points_and_to_how_it_was_computed(page, built):
    figures = page.locator("figure").all()
    assert len(figures) >= 12
    for figure in figures:
        name = figure.get_attribute("id").removeprefix("figure-")
        links = [unquote(link.get_attribute("href")) for link in figure.locator("figcaption a").all()]
        assert links[:2] == [f"figures/{name}.svg", f"figures/{name}.csv"]
        lines = (built / links[1]).read_text(encoding="utf-8").splitlines()
        assert len(lines) > 1, f"{name}: no points"
        how = page.locator(links[2])
        assert how.count() == 1 and how.locator("+ dd").inner_text().strip()


# --- reading, keyboard, print


def test_the_keyboard_reaches_and_sorts(page):
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    expect(skip).to_be_focused()
    assert skip.bounding_box()["x"] >= 0, "the skip link is seen once it has the focus"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    head = table(page, "summary").get_by_role("button", name="Hypervolume")
    for _ in range(150):
        page.keyboard.press("Tab")
        reached, outside = head.evaluate(
            "(button) => [button === document.activeElement, !document.activeElement.closest('header')]"
        )
        assert outside, "the skip link skips the header"
        if reached:
            break
    expect(head).to_be_focused()
    style = head.evaluate("(button) => { const { outlineStyle, outlineWidth } = getComputedStyle(button);"
                          " return `${outlineStyle} ${outlineWidth}`; }")  # fmt: skip
    assert style == "solid 2px", "the focus is seen"
    th = head.locator("xpath=ancestor::th")
    for key, direction in (("Enter", "descending"), ("Space", "ascending")):
        page.keyboard.press(key)
        expect(th).to_have_attribute("aria-sort", direction)
        expect(head).to_be_focused()


def test_it_prints_with_its_tables_whole(page, built):
    content = page.pdf(prefer_css_page_size=True)
    document = PdfReader(io.BytesIO(content))
    text = "\n".join(one.extract_text() for one in document.pages)
    assert len(document.pages) > 3
    assert "synthetic" in document.pages[0].extract_text() and "Settings picked on validation" in text
    assert "Copy LaTeX" not in text, "tools are of no use on paper"
    rows = read_csv(built / "tables/groups.csv")
    squeezed = re.sub(r"\s", "", text)
    for row in rows:  # nothing is cut off where a table scrolls on the screen
        assert f"{100 * float(row['test_accuracy_mean']):.1f}±" in squeezed
    page.emulate_media(media="print")
    for part in page.locator("table:visible").all():  # what is folded is not printed
        across = part.evaluate("(table) => Boolean(table.closest('#paper, #summary, #selected, #cost, #groups'))")
        width = int(((297 if across else 210) - 2 * 12) / 25.4 * 96)  # of A4 without its margins
        page.set_viewport_size({"width": width, "height": 700})
        overflow = part.evaluate("(table) => getComputedStyle(table.parentElement).overflow")
        box = part.bounding_box()
        assert box["height"] > 0 and overflow == "visible" and box["x"] + box["width"] <= width, part.inner_text()[:80]
