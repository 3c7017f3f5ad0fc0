"""The floors are what docs/architecture.md says: its table, its arrows, the places that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import grimp
import networkx
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
LINES, FUNCTION_LINES = 350, 40
VAGUE = {"found", "one", "some", "made"}  # they say nothing of what a variable is


@pytest.fixture(scope="module")
def modules() -> networkx.DiGraph:
    """Module -> module that it imports, imports inside functions included."""
    graph = grimp.build_graph("squeezebench", cache_dir=None)
    edges = [(name, other) for name in graph.modules for other in graph.find_modules_directly_imported_by(name)]
    return networkx.DiGraph(edges)


@pytest.fixture(scope="module")
def imports(modules) -> networkx.DiGraph:
    """Package -> package that it imports, at the top level of squeezebench."""
    ends = [[name.split(".")[1] for name in edge if "." in name] for edge in modules.edges]
    return networkx.DiGraph([pair for pair in ends if len(set(pair)) == 2 and "__main__" not in pair])


def test_the_arrows_of_the_diagram_are_the_imports(imports):
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)$", PAGE, re.MULTILINE))
    assert drawn == set(networkx.transitive_reduction(imports).edges)


def test_every_package_stands_on_the_floor_that_the_table_gives_and_imports_only_below(imports):
    floors = {package: int(floor) for floor, package in re.findall(r"^\| (\d) \| `(\w+)/`", PAGE, re.MULTILINE)}
    assert set(floors) == {path.parent.name for path in (ROOT / "squeezebench").glob("*/__init__.py")}
    assert all(floors[upper] > floors[lower] for upper, lower in imports.edges)


def test_every_place_that_the_page_names_exists():
    named = re.findall(r"`((?:squeezebench|methods|config|report|workflow|results|benchmarks|tests)/[\w/.]*)`", PAGE)
    assert len(named) > 20
    assert not [place for place in named if not (ROOT / place).exists()]


def test_no_module_imports_itself_by_way_of_others(modules):
    assert [group for group in networkx.strongly_connected_components(modules) if len(group) > 1] == []


def test_the_root_of_the_package_holds_no_loose_modules():
    assert {path.name for path in (ROOT / "squeezebench").glob("*.py")} == {"__init__.py", "__main__.py"}


def test_files_and_functions_stay_short():
    files = [path for folder in ("squeezebench", "methods", "workflow") for path in (ROOT / folder).rglob("*.py")]
    texts = {path: path.read_text("utf-8") for path in files}
    assert not [path for path, text in texts.items() if len(text.splitlines()) > LINES]
    functions = [
        node
        for text in texts.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(functions) > 1000
    assert not [node.name for node in functions if node.end_lineno - node.lineno >= FUNCTION_LINES]


def test_variables_are_named_by_what_they_are():
    bound = {
        (path.relative_to(ROOT).as_posix(), node.arg if isinstance(node, ast.arg) else node.id)
        for folder in ("squeezebench", "methods")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.arg) or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    }
    assert len(bound) > 5000
    assert not [(path, name) for path, name in bound if name in VAGUE]
