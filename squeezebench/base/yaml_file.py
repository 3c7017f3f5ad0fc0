"""Reading YAML that a user wrote: one line for everything that is wrong, no key given twice, no vast aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from squeezebench.base.errors import InputError

LARGEST = 1_000_000  # values in an experiment file, aliases filled in


class _UniqueKeys(yaml.SafeLoader):
    """A key that is given twice would silently lose what the first one says."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> Any:
    """What a YAML file holds. Raises InputError in one line."""
    try:
        content = yaml.load(path.read_text("utf-8"), _UniqueKeys)
        _check_size(content)
        return content
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except RecursionError:
        raise InputError(f"{path}: not valid YAML: nested too deeply") from None
    # Others than YAMLError: no text, no such date, and tags on what they do not fit (`!!int ""`, `!!bool x`).
    except (yaml.YAMLError, ValueError, AttributeError, LookupError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: not valid YAML: {getattr(error, 'problem', error)}") from None


def _check_size(content: Any) -> None:
    """Raises ValueError where aliases (`&a`, `*a`) make a small file stand for a vast one, or one without an end."""
    sizes: dict[int, int] = {}

    def size(value: Any) -> int:
        if not isinstance(value, dict | list):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = LARGEST + 1  # what holds itself has no size
            sizes[id(value)] = 1 + sum(map(size, value.values() if isinstance(value, dict) else value))
        return sizes[id(value)]

    if size(content) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} values once its aliases are filled in")
