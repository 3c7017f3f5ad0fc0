"""Reading YAML that a user wrote: bounded in size and depth, no key twice, one line for everything that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from squeezebench.base.errors import InputError
from squeezebench.base.reading import DEEPEST

LARGEST = 1_000_000  # values in a file, aliases filled in
LARGEST_TEXT = 512 << 10  # characters; the largest experiment of `config/` has 5,000
LONGEST_SCALAR = 100  # characters of a number or a date: reading long ones takes quadratic time
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times faster


class _UniqueKeys(_Loader):
    """Refuses a key that is given twice: YAML would silently lose what the first one says."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode) -> Any:
        if len(node.value) > LONGEST_SCALAR and node.tag != "tag:yaml.org,2002:str":
            problem = f"{node.value!r} is longer than {LONGEST_SCALAR} characters: put it in quotes if it is text"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_scalar(node)


def load_yaml(path: Path) -> Any:
    """Return the content of the YAML file at `path`. Raises InputError in one line."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST_TEXT + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Return what the YAML `text` says. Raises InputError in one line that begins with `where`, its source."""
    if len(text) > LARGEST_TEXT:
        raise InputError(f"{where}: longer than {LARGEST_TEXT:,} characters")
    try:
        _check_depth(text)
        content = yaml.load(text, _UniqueKeys)
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
