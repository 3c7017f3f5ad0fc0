"""Numbers, texts and comments as C writes them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import numpy as np
from torch import Tensor

from squeezebench.base.errors import InputError
from squeezebench.engine.measurement.files import quantised

MOST = 4_000_000  # numbers in one file: about 50 MB of text, which a compiler needs half a minute for


class Arrays:
    """The constant arrays of a file. Names begin with `@`, which becomes the prefix of the file."""

    def __init__(self, int8: bool) -> None:
        self.int8, self.numbers, self.texts = int8, 0, []

    def add(self, name: str, values: Tensor | np.ndarray, kind: str = "float") -> str:
        """A constant array of `values`, flattened; returns its name. kind: a type of C. Raises InputError."""
        flat = np.asarray(values).reshape(-1)
        self.numbers += len(flat)
        if self.numbers > MOST:
            raise InputError(f"the network has more than {MOST:,} numbers, too many for C source; use --format onnx")
        if not len(flat) or not np.isfinite(flat).all():
            fault = "has numbers that are not finite" if len(flat) else "is empty"
            raise InputError(f"{name.removeprefix('@_')} {fault}; there is no C for it")
        shortest = (f"{value}f" for value in flat.astype(np.float32)) if kind == "float" else map(str, flat.tolist())
        text = textwrap.fill(", ".join(shortest), 118, initial_indent="    ", subsequent_indent="    ")
        self.texts.append(f"static const {kind} {name}[{len(flat)}] = {{\n{text}\n}};")
        return name

    def linear(self, name: str, weight: Tensor, bias: Tensor, out: str, x: str) -> str:
        """A call that computes out = bias + W x; weight (rows, inputs) is stored column by column."""
        rows, inputs = weight.shape
        sizes, biases = f"{inputs}, {rows}", self.add(f"@_{name}_bias", bias)
        if not self.int8:
            return f"@_linear({out}, {biases}, {self.add(f'@_{name}', weight.T)}, {x}, {sizes});"
        integers, scale = quantised(weight)
        stored = self.add(f"@_{name}", integers.T, "int8_t")
        scales = self.add(f"@_{name}_scale", scale.expand(rows))
        return f"@_linear({out}, {biases}, {stored}, {scales}, {x}, {sizes});"


def prefix_of(path: Path) -> str:
    """What the names in a file begin with: the file's own name, as far as C allows."""
    name = re.sub(r"\W", "_", path.name.removesuffix(".c"), flags=re.ASCII)
    return name if re.match("[A-Za-z]", name) else f"model_{name}"


def comment(lines: list[str]) -> str:
    """A block comment; nothing in it ends it, nests, or is a trigraph."""
    words = "\n".join(line for text in lines for line in textwrap.wrap(text, 116, subsequent_indent="    ") or [""])
    safe = words.encode("ascii", "backslashreplace").decode()
    safe = safe.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
    return "/*\n" + "".join(f" * {line}".rstrip() + "\n" for line in safe.split("\n")) + " */"


def string(text: str) -> str:
    """A string literal in UTF-8; bytes outside printable ASCII, quotes, `?` and `@` as three octal digits."""
    plain = set(range(32, 127)) - set(b'"\\?@')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'
