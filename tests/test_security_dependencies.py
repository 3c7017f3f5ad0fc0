"""What is installed is what was resolved and looked at: every requirement pinned, every pin what pyproject asks for."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LINES = [
    line for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line and not line.startswith("#")
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
ASKED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]


def pins() -> dict[str, str]:
    found = {}
    for line in LINES:
        name, version = line.split("==")
        assert canonicalize_name(name) not in found, f"{name} is pinned twice"
        found[canonicalize_name(name)] = version
    return found


@pytest.mark.parametrize("line", LINES)
def test_every_requirement_is_pinned_exactly(line):
    """A name and one version: no range, no wildcard, no address, no file, no option of pip."""
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*", line)


GPU = ("nvidia-", "cuda-", "triton")  # what torch asks for on machines with a GPU; its own pins are exact


@pytest.mark.parametrize("name", pins())
def test_what_a_package_asks_for_is_pinned_too(name):
    try:
        asked = [Requirement(line) for line in metadata.requires(name) or []]
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    needed = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    names = {canonicalize_name(one.name) for one in needed}
    assert not {one for one in names - pins().keys() if not one.startswith(GPU)}


@pytest.mark.parametrize("line", ASKED)
def test_every_pin_is_what_pyproject_asks_for(line):
    asked = Requirement(line)
    assert asked.url is None
    assert pins()[canonicalize_name(asked.name)] in asked.specifier


def test_the_audit_of_dependencies_cannot_pass_by_skipping():
    """pip-audit calls what its service does not know `No known vulnerabilities found`, unless it is strict."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (command,) = re.findall(r"^\t.*pip[-_]audit .*-r requirements\.txt.*$", makefile, re.MULTILINE)
    assert "--strict" in command and "--no-deps" in command
