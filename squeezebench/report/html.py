"""Pages from the templates in `report/`: self-contained, every value escaped, one style and one script."""

from __future__ import annotations

import base64
import hashlib

import jinja2
from markupsafe import Markup

from squeezebench.base.places import ASSETS
from squeezebench.report import formats
from squeezebench.report.words import asset


def template(name: str) -> jinja2.Template:
    """A template of `report/` with the style and script of every page. Raises InputError where a file is missing."""
    script, css = asset("page.js"), asset("style.css")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_source),
    )  # fmt: skip
    environment.globals |= {
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "css": Markup(css),
    }
    return environment.get_template(name)


def _source(name: str) -> str | None:
    """A template's text; None for a section of the page that has no template of its own."""
    return None if name.startswith("sections/") and not (ASSETS / name).is_file() else asset(name)


def page(page_template: jinja2.Template, **values) -> bytes:
    """The finished page, without characters that XML forbids."""
    return formats.clean(page_template.render(**values)).lstrip().encode()
