"""A real Chromium for tests: the installed one, so that nothing is downloaded, and without a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WATCH = """
window.violations = [];
window.ran = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
window.alert = (text) => window.ran.push(text);
"""


WIDE, PHONE = 1280, 390  # CSS pixels
SAME_COLOURS = {"rules": {"color-contrast": {"enabled": False}}}  # on a phone; the slowest rule by far


def chromium() -> str | None:
    """Path of an installed Chromium or Chrome."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def started() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # As root, as in a container, Chromium starts without its sandbox only.
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"] if root else [])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Seen:
    """What a page did that a self-contained page does not do."""

    requests: list[str] = field(default_factory=list)  # other than the page itself
    messages: list[str] = field(default_factory=list)  # errors and warnings of the console, uncaught exceptions
    page: Page | None = None

    def problems(self) -> list[str]:
        """All of it, with the violations of its own policy and the scripts that got to run."""
        inside = self.page.evaluate("[...window.violations, ...window.ran]")
        return self.requests + self.messages + inside


@contextmanager
def opened(browser: Browser, path: Path, width: int = 1280, height: int = 900) -> Iterator[tuple[Page, Seen]]:
    """The page at `path` in a fresh profile that has no network, with everything watched."""
    seen, address = Seen(), path.resolve().as_uri()
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True,
                                  reduced_motion="reduce")  # fmt: skip
    context.set_default_timeout(600_000)  # ms; a busy machine is no fault of the page
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.add_init_script(WATCH)

    def asked(request) -> None:
        if request.url.partition("#")[0] != address:
            seen.requests.append(request.url)

    page = seen.page = context.new_page()
    page.on("request", asked)
    page.on("console", lambda m: seen.messages.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen.messages.append(str(error)))
    page.on("dialog", lambda dialog: (seen.messages.append(f"dialog {dialog.message}"), dialog.dismiss()))
    try:
        page.goto(address)
        yield page, seen
    finally:
        context.close()


def barriers(page: Page, width: int, impacts: tuple[str, ...] = ("serious", "critical")) -> list[str]:
    """The rules that axe finds broken, each with the first element that breaks it. A figure counts as one image."""
    options = SAME_COLOURS if width == PHONE else {}
    result = Axe().run(page, context={"exclude": [["svg.plot > *"]]}, options=options).response
    assert len(result["passes"]) > 15
    broken = [rule for rule in result["violations"] if rule["impact"] in impacts]
    return [f"{rule['id']}: {rule['nodes'][0]['html'][:160]}" for rule in broken]
