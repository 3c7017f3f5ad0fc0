"""The digest of source code: what can change a result, and nothing else.

Two sources have one digest if they define the same things, wherever the definitions stand. What plays no part: paths,
the order of definitions, formatting, comments, docstrings, the words of errors and the descriptions of settings. What
plays a part: every statement, and for each import from squeezebench the definition that it leads to.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

from squeezebench.base.files import write_atomically
from squeezebench.base.places import PACKAGE, cache_folder

RULE = 2  # of this file; raise it when the same source gets another digest. Rule 1 hashed paths and bytes.
DESCRIBED = ("setting", "setting", "Field")  # calls whose text arguments describe a setting
TITLES = ("paper",)  # class attributes that only readers see (a title is in the record)
C_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
SUFFIXES = (".py", ".c")


def digest_of_package(folders: Iterable[str]) -> str:
    """SHA-256, in hexadecimal, of the code in these folders of squeezebench.

    Parsing takes a second, so that the digest is kept in the cache folder under the digest of the bytes.
    """
    paths = [path for folder in folders for path in sorted((PACKAGE / folder).rglob("*")) if path.suffix in SUFFIXES]
    contents = {path: path.read_bytes() for path in paths}
    key = _digest("\n".join(f"{path.relative_to(PACKAGE)} {sha256(contents[path]).hexdigest()}" for path in paths))
    kept = cache_folder() / f"source-{RULE}-{key}"
    try:
        text = kept.read_text()
        if re.fullmatch("[0-9a-f]{64}", text):
            return text
    except (OSError, ValueError):
        pass
    found = _digest_of_contents(contents)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
        write_atomically(kept, found.encode())
    return found


def _digest_of_contents(contents: dict[Path, bytes]) -> str:
    modules = {_module(path): _Module(ast.parse(code)) for path, code in contents.items() if path.suffix == ".py"}
    parts = [digest for module in modules.values() for digest in module.parts(modules)]
    parts += [
        _digest(" ".join(C_COMMENT.sub(" ", code.decode()).split())) for p, code in contents.items() if p.suffix == ".c"
    ]
    return _digest("\n".join(sorted(parts)))


def digest_of_file(path: Path) -> str:
    """SHA-256, in hexadecimal, of one Python file; of its bytes if it cannot be parsed."""
    content = path.read_bytes()
    try:
        return _digest("\n".join(sorted(_Module(ast.parse(content)).parts({}))))
    except (SyntaxError, ValueError):
        return sha256(content).hexdigest()


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class _Module:
    """The statements of one file: digests of their texts, by the names that they define, and imports among them."""

    def __init__(self, tree: ast.Module) -> None:
        self.digests: list[str] = []
        self.defined: dict[str, str] = {}
        self.imports: list[ast.ImportFrom] = []
        for statement in tree.body:
            self.imports += [n for n in ast.walk(statement) if isinstance(n, ast.ImportFrom) and _internal(n)]
            if text := _text(statement):
                self.digests.append(_digest(text))
                self.defined |= dict.fromkeys(_names(statement), self.digests[-1])

    def parts(self, modules: dict[str, _Module]) -> Iterator[str]:
        """The digest of each statement, and of each import with the definition that it leads to."""
        yield from self.digests
        for node in self.imports:
            for alias in node.names:
                source = modules.get(node.module or "")
                target = source.defined.get(alias.name, "") if source else ""
                yield _digest(f"import {alias.name} as {alias.asname}: {target}")


def _names(statement: ast.stmt) -> list[str]:
    """What a top-level statement defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return []


def _internal(node: ast.ImportFrom) -> bool:
    return node.level > 0 or (node.module or "").partition(".")[0] == PACKAGE.name


def _text(node: ast.AST) -> str:
    """The tree below `node` in brackets, without places and words; the same in every version of Python."""
    if _is_words(node):
        return ""
    if isinstance(node, ast.Raise):
        return f"(Raise {_words_out(_fields(node))})"
    if isinstance(node, ast.Call) and getattr(node.func, "id", None) in DESCRIBED:
        return f"(Call {_words_out(_fields(node))})"
    return f"({type(node).__name__} {_fields(node)})"


def _fields(node: ast.AST) -> str:
    parts = []
    for name, value in ast.iter_fields(node):
        values = value if isinstance(value, list) else [value]
        texts = [_text(one) if isinstance(one, ast.AST) else repr(one) for one in values if one is not None]
        if any(texts):
            parts.append(f"{name}={' '.join(text for text in texts if text)}")
    return " ".join(parts)


def _is_words(node: ast.AST) -> bool:
    """Imports from squeezebench (which are told by what they lead to), docstrings, titles, lists of exported names."""
    if isinstance(node, ast.ImportFrom):
        return _internal(node)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name | ast.Tuple):
        names = {one.id for one in ast.walk(node.targets[0]) if isinstance(one, ast.Name)}
        return bool(names) and (names <= set(TITLES) or "__all__" in names)
    return False


def _words_out(text: str) -> str:
    return re.sub(r"\(Constant value='(?:[^'\\]|\\.)* (?:[^'\\]|\\.)*'\)", "(Constant)", text)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
