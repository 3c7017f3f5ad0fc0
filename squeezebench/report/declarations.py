"""The figures and tables of the report: one file each, of `figures/`, `tables/` and plugins (see `base/plugins.py`).

A figure's file defines `draw(results) -> Drawing`, a table's file `build(results) -> Table`, both of a `Results`. The
file may also assign these constants, which are read without running the file, because the workflow asks for the names
of all outputs each time it is parsed:

    SECTION  the section of the page, a key of `sections` in captions.yaml (default: "more")
    EACH     "report", or "task" for one figure of each task: `draw(results, task)` (default: "report")
    FOLDS    "each", or "mean" if a task that holds out each of its groups in turn is shown once, as the mean over its
             folds: the argument is `results.whole` (default: "each")
    WHEN     "always", or "tuned", "claims" or "published" for experiments of that kind alone; "optional" if the
             workflow cannot know whether there is something to show, which is then None (default: "always")
    PAGE     "sizes" or "rules" if only experiments with this `page:` show it (default: "any")
    ORDER    a number; the smaller stands first in its section (default: 0)
    WIDE     whether a figure takes the whole width of the page (default: False)
    SUFFIXES the files of a table (default: ("csv", "tex"))
    WORDS    title, caption and how (it was computed), if captions.yaml has no entry of the figure's name; a table's
             file names its caption here, if it does not hand it to `Table`
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from squeezebench.base.errors import InputError
from squeezebench.base.plugins import Plugin, find, load
from squeezebench.base.suggestions import near_matches

HERE = Path(__file__).parent
PAGES = ("sizes", "rules")  # forms of the page; the first is that of experiments that do not say
CHOICES = {"each": ("report", "task"), "when": ("always", "optional", "tuned", "claims", "published"),
           "folds": ("each", "mean"), "page": ("any", *PAGES)}  # fmt: skip


@dataclass(frozen=True)
class Declaration:
    """What a file declares, and the file."""

    plugin: Plugin
    section: str = "more"
    each: str = "report"
    folds: str = "each"
    when: str = "always"
    page: str = "any"
    order: float = 0
    wide: bool = False
    suffixes: tuple[str, ...] = ("csv", "tex")
    words: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.plugin.name

    def function(self) -> Callable[..., Any]:
        """The file's `draw` or `build`: this runs the file. Raises InputError if it cannot be imported, or lacks it."""
        name = "draw" if self.plugin.kind == "figures" else "build"
        function = getattr(load(self.plugin), name, None)
        if not callable(function):
            raise InputError(f"{self.plugin.where}: a file in {self.plugin.kind}/ must define {name}(results)")
        return function


def declared(kind: str, plugins: Iterable[str | Path] = (), page: str | None = None) -> list[Declaration]:
    """All figures or tables (`kind`), or those of one form of the page, in its order. None is imported.

    Raises InputError for a file whose constants are not what the page can show.
    """
    every = [_read(plugin) for plugin in find(kind, HERE / kind, plugins).values()]
    shown = [declaration for declaration in every if page is None or declaration.page in ("any", page)]
    return sorted(shown, key=lambda declaration: (declaration.order, declaration.name))


def _read(plugin: Plugin) -> Declaration:
    """The declaration in a plugin's file."""
    empty, tree = Declaration(plugin), _parse(plugin)
    given: dict[str, Any] = {}
    for node in tree.body:
        for name, value in _constants(node):
            if name.isupper() and name.lower() in empty.__dict__:
                given[name.lower()] = _literal(value, name, plugin)
    for key, value in given.items():
        expected = type(getattr(empty, key)) if key != "order" else (int, float)
        if not isinstance(value, expected):
            raise InputError(f"{plugin.where}: {key.upper()} is {value!r:.80}, of the wrong type")
        if value not in CHOICES.get(key, (value,)):
            raise InputError(f"{plugin.where}: {key.upper()} {value!r}; {near_matches(value, CHOICES[key])}")
    summary = (ast.get_docstring(tree) or plugin.name).partition("\n")[0]
    return replace(empty, **given | {"words": {"title": summary, "caption": summary} | given.get("words", {})})


def _parse(plugin: Plugin) -> ast.Module:
    path = plugin.path
    if path is None:  # an entry point names a module; finding it imports the packages around it
        spec = importlib.util.find_spec(plugin.entry_point.module)
        path = Path(spec.origin) if spec and spec.origin else None
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError, SyntaxError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise InputError(f"{plugin.where}{line}: cannot be read: {error}") from None


def _constants(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """Names and values of an assignment: `A = 1`, or `A, B = 1, 2`."""
    for target in node.targets if isinstance(node, ast.Assign) else ():
        pairs = [(target, node.value)]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(target.elts, node.value.elts, strict=False))
        yield from ((name.id, value) for name, value in pairs if isinstance(name, ast.Name))


def _literal(node: ast.expr, name: str, plugin: Plugin) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise InputError(f"{plugin.where}: {name} must be written out as a constant") from None
