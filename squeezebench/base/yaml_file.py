"""Reading YAML that a user wrote: as YAML 1.2 has it, bounded in size and depth, one line for all that is wrong.

PyYAML reads YAML 1.1, which turns `yes` and `on` into true, `2024-01-05` into a date, `010` into 8, `1:30` into 90 and
leaves `1e-3` a text. Here values follow the core schema of YAML 1.2.2 (section 10.3), every key is a text as it is
written, and no key is given twice.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from squeezebench.base.errors import InputError
from squeezebench.base.reading import DEEPEST, read_json

LARGEST = 1_000_000  # values in a file, aliases filled in
LARGEST_TEXT = 512 << 10  # characters; the largest experiment of `config/` has 5,000
LONGEST_SCALAR = 100  # characters of a number or a date: reading long ones takes quadratic time
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times faster


TAG = "tag:yaml.org,2002:"
CORE = {  # type -> (first characters, the whole scalar)
    "null": ("~nN", "~|null|Null|NULL|"),
    "bool": ("tTfF", "true|True|TRUE|false|False|FALSE"),
    "int": ("-+0123456789", "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": (
        "-+.0123456789",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    ),
    "merge": ("<", "<<"),  # of YAML 1.1; experiments share settings by it
}


class _Core(_Loader):
    """The core schema of YAML 1.2. Refuses a key that is given twice: YAML would silently lose what the first says."""

    yaml_implicit_resolvers: ClassVar[dict] = {}
    yaml_constructors: ClassVar[dict] = {}

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if not hasattr(node, "flat"):  # what is merged into it afterwards may hold its keys too
            self._check_keys(node)
            node.flat = True
        super().flatten_mapping(node)

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is no text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
            if key.tag != f"{TAG}merge":
                key.tag = f"{TAG}str"

    def construct_scalar(self, node: yaml.ScalarNode) -> Any:
        if len(node.value) > LONGEST_SCALAR and node.tag != "tag:yaml.org,2002:str":
            problem = f"{node.value!r} is longer than {LONGEST_SCALAR} characters: put it in quotes if it is text"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_scalar(node)

    def whole_number(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)

    def number(self, node: yaml.ScalarNode) -> float:
        return float(self.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan"))

    def unknown(self, node: yaml.Node) -> None:
        problem = f"{node.tag.removeprefix(TAG)!r} is no tag of YAML 1.2's core schema; write it without the tag"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


for _type, (_first, _whole) in CORE.items():
    _Core.add_implicit_resolver(f"{TAG}{_type}", re.compile(f"^(?:{_whole})$"), [*_first, *([""] * (_type == "null"))])
for _type in ("null", "bool", "str", "seq", "map"):
    _Core.add_constructor(f"{TAG}{_type}", getattr(yaml.SafeLoader, f"construct_yaml_{_type}"))
_Core.add_constructor(f"{TAG}int", _Core.whole_number)
_Core.add_constructor(f"{TAG}float", _Core.number)
_Core.add_constructor(None, _Core.unknown)


def load_yaml(path: Path) -> Any:
    """Return the content of the YAML (or, by its name, JSON) file at `path`. Raises InputError in one line."""
    try:
        if path.suffix == ".json":
            return read_json(path)
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST_TEXT + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Return what the YAML `text` says. Raises InputError in one line that begins with `where`, its source."""
    if len(text) > LARGEST_TEXT:
        raise InputError(f"{where}: longer than {LARGEST_TEXT:,} characters")
    try:
        _check_depth(text)
        content = yaml.load(text, _Core)
        _check_size(content)
        return content
    except RecursionError:
        raise InputError(f"{where}: not valid YAML: nested too deeply") from None
    # Errors other than YAMLError: impossible dates, tags that do not fit (`!!int ""`, `!!bool x`).
    except (yaml.YAMLError, ValueError, AttributeError, LookupError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {min(mark.line + 1, len(text.splitlines()))}" if mark else ""  # libyaml counts the end as one
        raise InputError(f"{where}{line}: not valid YAML: {getattr(error, 'problem', error)}") from None


def _check_depth(text: str) -> None:
    """Raise at the collection that lies too deep. Events come one by one, so nothing below it is parsed."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.MarkedYAMLError(None, None, f"nested deeper than {DEEPEST}", event.start_mark)


def _check_size(content: Any) -> None:
    """Raise ValueError if aliases (`&a`, `*a`) make a small file stand for a vast, a deep or an endless one."""
    sizes: dict[int, int] = {}

    def size(value: Any, depth: int = 0) -> int:
        if not isinstance(value, dict | list):
            return 1
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST} once its aliases are filled in")
        if id(value) not in sizes:
            sizes[id(value)] = LARGEST + 1  # a collection that contains itself has no size
            inner = value.values() if isinstance(value, dict) else value
            sizes[id(value)] = 1 + sum(size(item, depth + 1) for item in inner)
        return sizes[id(value)]

    if size(content) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} values once its aliases are filled in")
