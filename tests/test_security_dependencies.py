"""What is installed is what was resolved and looked at: every requirement pinned, every pin what pyproject asks for."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LINES = [
    line for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line and not line.startswith("#")
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
ASKED = PROJECT["dependencies"] + EXTRAS["test"] + EXTRAS["slurm"] + EXTRAS["backbones"]


def pins() -> dict[str, str]:
    found = {}
    for line in LINES:
        name, version = line.split("==")
        assert canonicalize_name(name) not in found, f"{name} is pinned twice"
        found[canonicalize_name(name)] = version
    return found


def test_every_requirement_is_pinned_exactly():
    """A name and one version: no range, no wildcard, no address, no file, no option of pip."""
    exact = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*")
    assert [line for line in LINES if not exact.fullmatch(line)] == []


GPU = ("nvidia-", "cuda-", "triton")  # what torch asks for on machines with a GPU; its own pins are exact


def needs(name: str) -> set[str]:
    """What a package asks for on this machine, without extras; nothing if it is not installed here."""
    try:
        asked = [Requirement(line) for line in metadata.requires(name) or []]
    except metadata.PackageNotFoundError:
        return set()
    needed = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    return {canonicalize_name(one.name) for one in needed}


def test_what_a_package_asks_for_is_pinned_too():
    known = pins()
    assert sum(bool(needs(name)) for name in known) > len(known) / 3, "the packages are not installed here"
    missing = {name: needs(name) - known.keys() for name in known}
    assert {(name, one) for name, names in missing.items() for one in names if not one.startswith(GPU)} == set()


def test_every_pin_is_what_pyproject_asks_for():
    known = pins()
    for asked in map(Requirement, ASKED):
        assert asked.url is None, asked
        assert known[canonicalize_name(asked.name)] in asked.specifier, asked
    slurm = "snakemake-executor-plugin-slurm"
    assert f"{slurm}=={known[slurm]}" in ASKED  # later ones want a numpy that numba does not know


def test_the_audit_of_dependencies_cannot_pass_by_skipping():
    """pip-audit calls what its service does not know `No known vulnerabilities found`, unless it is strict."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (command,) = re.findall(r"^\t.*pip[-_]audit .*-r requirements\.txt.*$", makefile, re.MULTILINE)
    assert "--strict" in command and "--no-deps" in command
