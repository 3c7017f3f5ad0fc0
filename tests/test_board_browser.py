"""The board in a real browser: each page loads alone, can be read and filtered, and has no barrier that axe knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import PHONE, WIDE, barriers, chromium, opened, started
from playwright.sync_api import Browser, expect
from synthetic_records import answered, make, write

from squeezebench.report.board.site import build_board
from squeezebench.schema.record import read_record, record_files
from squeezebench.schema.stored import write_json
from squeezebench.schema.submission import Opened, Submission
from squeezebench.schema.verification import VERIFICATION, Verification

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium or Chrome on PATH")

PAGES = ("index.html", "history.html", "task-digits.html", "method-vib_lstm.html")
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as one:
        yield one


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A board of two submissions, one of them measured again, and one that is left out for a reason with markup."""
    work = tmp_path_factory.mktemp("board")
    submissions = [Opened(work / "c.zip", work / "c", None, problems=(EVIL, "more"))]
    for name in ("ada", "bob"):
        folder = work / name
        tasks = ("digits", "basic_motions") if name == "ada" else ("digits",)
        make(folder, tasks=tasks, methods=("dense", "small_dense", "vib_lstm", "iss"), steps=3, seeds=5)
        runs = [path.parent.relative_to(folder).as_posix() for path in record_files(folder)]
        for run in runs:
            write(folder, answered(read_record(folder / run / "record.json")), run)
        scored = runs if name == "ada" else []
        write_json(folder / VERIFICATION, Verification(scored_runs=scored).model_dump(mode="json"))
        submission = Submission(name=name, experiment="synthetic", squeezebench="0.1.0", files={}, environments=[],
                                finished="2026-01-03T12:00:00Z")  # fmt: skip
        submissions.append(Opened(folder, folder, submission, digest=name * 20))
    return build_board(submissions, work / "site").site


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_every_page_loads_alone_fits_and_has_no_barrier(browser, site, name, width):
    with opened(browser, site / name, width) as (page, seen):
        page.wait_for_load_state("networkidle")
        expect(page.locator("h1")).to_be_visible()
        wide, room = page.evaluate("[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]")
        assert wide <= room == width
        assert barriers(page, width, ("minor", "moderate", "serious", "critical")) == []
        assert seen.problems() == []


def test_filters_and_links(browser, site):
    with opened(browser, site / "index.html") as (page, _):
        part = page.locator("#table-numbers")
        shown = part.locator("tbody tr:visible")
        every = shown.count()
        part.get_by_label("Badge").select_option("as submitted")
        assert 0 < shown.count() < every
        assert set(shown.locator("td:last-child").all_text_contents()) == {"as submitted"}
        part.get_by_label("Task").select_option("basic_motions")
        assert shown.count() == 0
        part.get_by_label("Badge").select_option("all")
        part.locator("select[data-choose=Smaller]").select_option("10×")
        assert shown.count() == 3  # small dense, VIB-LSTM and ISS of one submission
        shown.first.get_by_role("link").nth(2).click()
        target = page.url.partition("#")[2]
        expect(page.locator(f"[id='{target}']")).to_be_visible()
        record = page.locator("#table-runs").get_by_role("link", name="%").first
        expect(record).to_have_attribute("href", re.compile(r"^records/.*/record\.json$"))
    with opened(browser, site / "history.html") as (page, seen):
        expect(page.locator("#left-out li")).to_contain_text(EVIL)
        assert seen.problems() == []
