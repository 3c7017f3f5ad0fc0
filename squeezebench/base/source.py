"""The digest of source code: what can change a result, and nothing else.

Two sources have one digest if they define the same things, wherever the definitions stand. What plays no part: paths,
the order of definitions, formatting, comments, docstrings, the words of errors and the descriptions of settings. What
plays a part: every statement, and for each import from squeezebench the definition that it leads to, through packages
that hand names on. A single file (a method) is digested without the package, so that its imports are told by name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from squeezebench.base.contents import kept_digest
from squeezebench.base.places import PACKAGE, cache_folder

RULE = 2  # of this file; raise it when the same source gets another digest. Rule 1 hashed paths and bytes.
DESCRIBED = ("setting", "Field")  # calls that describe a setting in words
TITLES = ("paper",)  # class attributes that only readers see (a title is in the record)
C_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
SUFFIXES = (".py", ".c")


def digest_of_package(folders: Iterable[str]) -> str:
    """SHA-256, in hexadecimal, of the code in these folders of squeezebench.

    Parsing takes a second, so that the digest is kept in the cache folder under the digest of the bytes.
    """
    paths = [path for folder in folders for path in sorted((PACKAGE / folder).rglob("*")) if path.suffix in SUFFIXES]
    contents = {path: path.read_bytes() for path in paths}
    rule = sha256(Path(__file__).read_bytes()).hexdigest()
    key = _digest(
        rule + "\n".join(f"{path.relative_to(PACKAGE)} {sha256(contents[path]).hexdigest()}" for path in paths)
    )
    return kept_digest(cache_folder() / f"source-{RULE}-{key}", lambda: _digest_of_contents(contents))


def _digest_of_contents(contents: dict[Path, bytes]) -> str:
    names = {path: _module(path) for path in contents if path.suffix == ".py"}
    modules = {name: _Module(ast.parse(contents[path]), name) for path, name in names.items()}
    parts = [digest for module in modules.values() for digest in module.parts(modules)]
    parts += [
        _digest(" ".join(C_COMMENT.sub(" ", code.decode()).split())) for p, code in contents.items() if p.suffix == ".c"
    ]
    return _digest("\n".join(sorted(parts)))


def digest_of_file(path: Path) -> str:
    """SHA-256, in hexadecimal, of one Python file; of its bytes if it cannot be parsed."""
    return _digest_of_code(path.read_bytes())


@lru_cache(maxsize=1024)  # parsing takes a tenth of a second, and every run asks
def _digest_of_code(content: bytes) -> str:
    try:
        return _digest("\n".join(sorted(_Module(ast.parse(content)).parts({}))))
    except (SyntaxError, ValueError):
        return sha256(content).hexdigest()


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class _Module:
    """The statements of one file: digests of their texts, by the names that they define, and imports among them."""

    def __init__(self, tree: ast.Module, name: str = "") -> None:
        self.digests: list[str] = []
        self.defined: dict[str, str] = {}
        self.handed_on: dict[str, tuple[str, str]] = {}  # name -> module and name in it, for who imports it from here
        self.imports: list[ast.ImportFrom] = []
        self.attributes: dict[str, set[str]] = {}  # name of a module here -> its attributes that are used
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and _internal(node):
                self.imports.append(node)
                self.handed_on |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                self.attributes.setdefault(node.value.id, set()).add(node.attr)
        for statement in tree.body:
            if _is_lazy(statement):
                self.handed_on |= _lazy_names(statement, name)
            if text := _text(statement):
                self.digests.append(_digest(text))
                self.defined |= dict.fromkeys(_names(statement), self.digests[-1])

    def parts(self, modules: dict[str, _Module]) -> Iterator[str]:
        """The digest of each statement, and of each import with the definitions that it leads to."""
        yield from self.digests
        for node in self.imports:
            for alias in node.names:
                name, module = alias.asname or alias.name, f"{node.module}.{alias.name}"
                uses = self.attributes.get(name, ()) if module in modules else ()
                leads = [f"{use}: {_definition(modules, module, use)}" for use in sorted(uses)]
                leads = leads or [_definition(modules, node.module or "", alias.name)]
                yield _digest(f"import {alias.name} as {alias.asname}: {' '.join(leads)}")


def _definition(modules: dict[str, _Module], module: str, name: str) -> str:
    """The digest of the definition of `name` in `module`, or in the one that it was imported from; empty outside."""
    seen = set()
    while (source := modules.get(module)) and name not in source.defined and (module, name) not in seen:
        seen.add((module, name))
        module, name = source.handed_on.get(name, ("", ""))
    return source.defined.get(name, "") if source else ""


def _is_lazy(statement: ast.stmt) -> bool:
    """Whether a package hands names on with `lazy_loader.attach`."""
    call = getattr(statement, "value", None)
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "attach"


def _lazy_names(statement: ast.stmt, package: str) -> dict[str, tuple[str, str]]:
    """Name -> module and name in it, for the names that `package` hands on."""
    tables = [keyword.value for keyword in statement.value.keywords if keyword.arg == "submod_attrs"]
    submodules = ast.literal_eval(tables[0]) if tables else {}
    return {name: (f"{package}.{module}", name) for module, names in submodules.items() for name in names}


def _names(statement: ast.stmt) -> list[str]:
    """The names that a top-level statement defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return []


def _internal(node: ast.ImportFrom) -> bool:
    return node.level == 0 and (node.module or "").partition(".")[0] == PACKAGE.name


def _text(node: ast.AST, words: bool = True) -> str:
    """The tree below `node` in brackets, without places and words; the same in every version of Python.

    words: False leaves texts out too, as in the message of an error.
    """
    if _is_words(node) or (not words and _is_text(node)):
        return ""
    if isinstance(node, ast.Call) and getattr(node.func, "id", None) in DESCRIBED:
        node = _without_description(node)
    return f"({type(node).__name__} {_fields(node, words and not isinstance(node, ast.Raise))})"


def _fields(node: ast.AST, words: bool) -> str:
    parts = []
    for name, value in ast.iter_fields(node):
        values = value if isinstance(value, list) else [value]
        texts = [_text(child, words) if isinstance(child, ast.AST) else repr(child) for child in values
                 if child is not None]  # fmt: skip
        if any(texts):
            parts.append(f"{name}={' '.join(text for text in texts if text)}")
    return " ".join(parts)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _without_description(call: ast.Call) -> ast.Call:
    """`setting(default, description, ...)` and `Field(..., description=...)` without the description."""
    arguments = call.args[:1] + call.args[2:] if call.func.id == "setting" else call.args
    return ast.Call(call.func, arguments, [keyword for keyword in call.keywords if keyword.arg != "description"])


def _is_words(node: ast.AST) -> bool:
    """Imports from squeezebench (which are told by what they lead to), docstrings, titles, lists of exported names."""
    if isinstance(node, ast.ImportFrom):
        return _internal(node)
    if isinstance(node, ast.Expr):
        return _is_text(node.value)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name | ast.Tuple):
        names = {part.id for part in ast.walk(node.targets[0]) if isinstance(part, ast.Name)}
        return bool(names) and (names <= set(TITLES) or "__all__" in names)
    return False


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
