"""What readers and catalogs look for: one version everywhere, links that lead somewhere, a log in each rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import squeezebench

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "config/README.md"]


def test_the_citation_and_the_changelog_are_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == squeezebench.__version__
    assert {"cff-version", "message", "title", "authors", "license", "date-released"} <= citation.keys()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest[1] == squeezebench.__version__


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_a_page_links_exists(name):
    page = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_every_file_that_a_benchmark_names_exists():
    texts = {path: path.read_text("utf-8") for path in sorted((ROOT / "benchmarks").rglob("*.py"))}
    named = {(path.name, name) for path, text in texts.items() for name in re.findall(r"[\w/]+/\w+\.py\b", text)}
    places = [ROOT, ROOT / "squeezebench", ROOT / "benchmarks"]
    assert [pair for pair in sorted(named) if not any((place / pair[1]).is_file() for place in places)] == []


def test_the_catalog_finds_what_it_needs():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text("utf-8"))["usage"]
    assert usage["software-stack-deployment"] == {"conda": True, "apptainer": True} and usage["report"] is True
    assert "flags" in usage["mandatory-flags"]
    assert (ROOT / "workflow" / "Snakefile").is_file() and (ROOT / "config" / "README.md").is_file()


def test_every_rule_that_calls_a_command_keeps_a_log():
    text = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "workflow").rglob("*.smk")))
    rules = re.split(r"^rule (\w+):$", text, flags=re.MULTILINE)[1:]
    bodies = dict(zip(rules[::2], rules[1::2], strict=True))
    assert {"data", "starts", "tune", "runs", "report"} == bodies.keys()
    assert all(
        "\n    shell:" in body and re.search(r"\n    log:\n +f\"\{RESULTS\}/logs/", body) for body in bodies.values()
    )
