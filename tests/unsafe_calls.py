"""What no source of the project may call on a file that it reads: a walk over syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code", "codeop"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
SYSTEM = {("os", "system"), ("os", "popen"), ("subprocess", "getoutput"), ("subprocess", "getstatusoutput")}
SAFE_LOADERS = {"_Core", "SafeLoader", "CSafeLoader"}
IMPORTERS = {"exec_module", "spec_from_file_location", "run_path", "run_module", "import_module", "CDLL"}
ARRAYS = {("np", "load"), ("numpy", "load"), ("npy", "read_array"), ("format", "read_array")}


def unsafe_calls(source: str) -> Iterator[tuple[int, str]]:
    """(line, what) of every call that could run what a file holds, and of every import of code by its path."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from ((line, f"import {name}") for name in names if name.split(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            yield from ((line, what) for what in _of_call(node))


def _of_call(node: ast.Call) -> Iterator[str]:
    function = node.func
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if isinstance(function, ast.Name) and function.id in BUILTINS:
        yield function.id
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in IMPORTERS and not (node.args and isinstance(node.args[0], ast.Constant)):  # a name that is written out
        yield name
    if _true(given.get("shell")):
        yield "shell=True"
    if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)):
        return
    place = (function.value.id, function.attr)
    if place in SYSTEM:
        yield ".".join(place)
    if place == ("torch", "load") and not _true(given.get("weights_only")):
        yield "torch.load"
    if place in ARRAYS and not _false(given.get("allow_pickle")):
        yield ".".join(place)
    if place[0] == "yaml" and "load" in place[1] and place[1] != "safe_load":
        loader = given.get("Loader", node.args[1] if len(node.args) > 1 else None)
        if getattr(loader, "id", getattr(loader, "attr", "")) not in SAFE_LOADERS:
            yield ".".join(place)
    if function.attr == "read_pickle" or (function.attr == "loadtxt" and "converters" in given):
        yield function.attr


def _true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


def _false(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is False
