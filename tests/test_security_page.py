"""The report's page, where every text of records, plan, tuning, inference and verification is an attack."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest
from altered_records import signed
from browser import chromium, opened, started
from page_tables import Reader
from synthetic_records import record as synthetic
from test_security_fuzz import a_plan, a_tuning, an_inference

from squeezebench.report import build_report
from squeezebench.schema.record import RECORD_NAME

ATTACK = (
    "</script><script>alert(1)</script><img src=https://example.invalid/x onerror=alert(2)>"
    '" onmouseover="alert(3)" \' onfocus=\'alert(4) javascript:alert(5) </textarea></style></title>'
    "<svg/onload=alert(6)>"
    "{{ 7*7 }} {% raw %} ]]> --> &lt;b&gt; $\\frac{1}{2}$ \\input{/etc/passwd} \x1b[2J \u202e \x00 =cmd|'/c calc'!A1"
)
# Words that a schema or the report's own logic chooses from, and places; the rest is free text.
KEPT = {
    "status",
    "protocol",
    "kind",
    "path",
    "job",
    "digest",
    "source",
    "finished",
    "records_digest",
    "squeezebench",
    "fastest_dense",
}


def poisoned(value, key=""):
    """The same structure with the attack in every free text, keys of settings included."""
    if isinstance(value, dict):
        free = key in ("settings", "varied", "drawn", "fixed", "not_measured", "packages", "training")
        inner = {name: poisoned(one, name) for name, one in value.items()}
        return inner | ({ATTACK: ATTACK} if free else {})
    if isinstance(value, list):
        return [poisoned(one, key) for one in value]
    return ATTACK if isinstance(value, str) and key not in KEPT else value


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    runs = []
    for method in ("dense", "vib_lstm", "iss"):
        for seed in range(2):
            made = synthetic("digits", method, 2, seed).model_dump(mode="json")
            made |= {"notes": ["x"], "task_spec": {"name": "x", "source": "y"}, "status": "ok"}
            made |= {"status": "failed", "reason": "x"} if method == "iss" else {}
            # `dense` keeps its name, or nothing would be compared with it
            content = poisoned(made) | {"method": method if method == "dense" else f"{method} {ATTACK}"}
            place = folder / "runs" / "t" / method / f"seed-{seed}"
            place.mkdir(parents=True)
            (place / RECORD_NAME).write_bytes(signed(content))
            (place / "history.csv").write_text(
                f'stage,epoch,validation_accuracy\n"{ATTACK.replace(chr(34), "")}",1,0.5\nb,2,0.6\n'
            )
            runs.append({k: content[k] for k in ("task", "method", "seed", "settings", "varied")}
                        | {"path": f"runs/t/{method}/seed-{seed}"})  # fmt: skip
    runs.append(runs[0] | {"path": "runs/t/gone/seed-0", "method": ATTACK})
    plan = {"experiment": ATTACK, "description": ATTACK, "protocol": "sound", "config": {ATTACK: [ATTACK]},
            "engine_digest": ATTACK, "runs": runs,
            "tunings": [{"task": ATTACK, "method": ATTACK, "path": "tuning/t/m.json"}]}  # fmt: skip
    assert set(plan) - {"tunings"} <= set(a_plan())
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "tuning" / "t").mkdir(parents=True)
    (folder / "tuning" / "t" / "m.json").write_bytes(signed(poisoned(a_tuning())))
    (folder / "inference.json").write_bytes(signed(poisoned(an_inference())))
    verification = {"records": 1, "measured": 1, "scored": 1, "without_model": 0, "notes": ["x"], "records_digest": "x",
                    "problems": [dict.fromkeys(("run", "field", "recorded", "measured"), "x")],
                    "not_measured": {"x": 1}, "finished": "2026"}  # fmt: skip
    content = poisoned(verification) | {"not_measured": {ATTACK: 1}}
    (folder / "verification.json").write_text(json.dumps(content))
    return build_report(folder)


def test_no_text_becomes_an_element_a_handler_or_an_address(built):
    page = built.read_text("utf-8")
    reader = Reader(page)
    assert page.count("alert(1)") > 20  # it is shown: the attack reached the page
    assert [tag for tag, _ in reader.tags].count("script") == 1
    allowed = {"img", "iframe", "object", "embed", "link", "base", "form", "audio", "video", "foreignobject", "image"}
    assert not allowed & {tag for tag, _ in reader.tags}
    for tag, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("href", "src", "xlink:href", "action", "formaction", "srcset", "poster", "data"):
            target = attributes.get(name) or "#"
            assert target.startswith("#") or (built.parent / target).is_file(), (tag, target)
        if tag == "meta":
            assert attributes.get("http-equiv", "Content-Security-Policy") == "Content-Security-Policy"
    assert not re.search(r"url\((?!#)|@import", page)
    assert not set("\x00\x1b\u202e") & set(page) and "49" not in re.findall(r"\{\{ 7\*7 \}\}|\b49 \{%", page)


def test_figures_are_sound_xml_without_scripts(built):
    figures = sorted((built.parent / "figures").glob("*.svg"))
    assert len(figures) > 4
    for path in figures:
        for element in ElementTree.fromstring(path.read_text("utf-8")).iter():
            assert not str(element.tag).lower().endswith(("script", "foreignobject", "image"))
            assert not [name for name in element.attrib if name.lower().startswith("on")]


def test_what_is_written_lies_where_it_belongs(built):
    names = [path.relative_to(built.parent).as_posix() for path in built.parent.rglob("*") if path.is_file()]
    assert all(re.fullmatch(r"[A-Za-z0-9_./-]+", name) and ".." not in name for name in names)


@pytest.mark.skipif(chromium() is None, reason="no Chromium here")
def test_a_browser_runs_nothing_and_asks_for_nothing(built):
    with started() as browser, opened(browser, built) as (page, seen):
        page.evaluate("for (const button of document.querySelectorAll('th button, [data-copy]')) button.click()")
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        for kind in ("pointerenter", "mouseover", "focus"):
            page.evaluate(f"for (const one of document.querySelectorAll('*')) one.dispatchEvent(new Event('{kind}'))")
        assert seen.problems() == []
        assert page.locator("script").count() == 1 and page.locator("img").count() == 0
