"""The expressions of `report/audit/*.yaml`: arithmetic on printed figures, exact, in the syntax of Python.

`t2["VIB-LSTM"].lstm` is a figure of `report/reference`: the file (`t2` stands for `viblstm_t2`), the row, the column or
the word that it begins with; without a column it is `value`. Besides there are whole numbers, texts, + - * / and the
functions below.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from squeezebench.base.errors import InputError
from squeezebench.report.audit import sizes
from squeezebench.report.audit.verdicts import Cell
from squeezebench.schema.reference import REFERENCE, Block, Figure, read_file

OPERATORS = {
    ast.Add: (operator.add, " + "), ast.Sub: (operator.sub, " − "), ast.Mult: (operator.mul, "·"),
    ast.Div: (operator.truediv, " / "),
}  # fmt: skip


@dataclass(frozen=True)
class Term:
    """The value of an expression (None: a text that is no figure), and how it is shown: figures as printed."""

    value: Fraction | None
    text: str
    figure: Figure | None = None  # if the expression is one printed figure


class Reference:
    """The files of a folder of printed figures, each read once."""

    def __init__(self, folder: Path = REFERENCE):
        self.folder = folder
        self._read = lru_cache(None)(lambda name: read_file(name, folder))

    def __call__(self, name: str) -> Block:
        """A file by its name, or by its name without `viblstm_`. Raises InputError if there is none."""
        short = f"viblstm_{name}"
        return self._read(short if (self.folder / f"{short}.csv").is_file() else name)

    def source(self, cell: Cell) -> str:
        """Where a figure is printed: paper, table. A file without one source names it in each line."""
        block = self._read(cell[0])
        line = block.source or block.lines[cell[2]]
        return f"{line['paper']}, {line['place']}"


class Arithmetic:
    """Evaluates expressions by one rule of counting biases. `cells` collects the printed figures that they name, and
    `recalled` says whether one of them is quoted from memory."""

    def __init__(self, reference: Reference, biases: int = 2):
        self.reference = reference
        self.biases = biases
        self.cells: list[Cell] = []
        self.recalled = False

    def __call__(self, text: str) -> Term:
        """Raises InputError for what is no expression, or names a figure that does not exist."""
        try:
            return self._term(ast.parse(text.strip(), mode="eval").body)
        except (SyntaxError, ZeroDivisionError, TypeError, ValueError) as error:
            raise InputError(f"{text!r}: {error}") from None

    def value(self, text: str) -> Fraction:
        """The number that an expression gives. Raises InputError if it is a text."""
        if (value := self(text).value) is None:
            raise InputError(f"{text!r} is not a figure")
        return value

    def arguments(self, text: str, function: str) -> list[int] | None:
        """The whole numbers that `text` calls `function` with; None if it is not such a call."""
        node = ast.parse(text.strip(), mode="eval").body
        named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function
        return [int(self._term(argument).value) for argument in node.args] if named else None

    def _term(self, node: ast.expr) -> Term:
        match node:
            case ast.Constant(value=int() as constant):
                return Term(Fraction(constant), f"{constant}")
            case ast.Constant(value=str() as constant):
                return Term(None, constant)
            case ast.BinOp(op=operation) if type(operation) in OPERATORS:
                return self._operation(node)
            case ast.Call(ast.Name(name), arguments) if name in FUNCTIONS:
                terms = [self._term(argument) for argument in arguments]
                said = f"{name.replace('_', ' ')}({', '.join(term.text for term in terms)})"
                return Term(Fraction(FUNCTIONS[name](self, *terms)), said)
            case ast.Attribute(ast.Subscript(ast.Name(block), ast.Constant(str() as row)), column):
                return self._figure(block, row, column)
            case ast.Subscript(ast.Name(block), ast.Constant(str() as row)):
                return self._figure(block, row, "value")
        raise InputError(f"{ast.unparse(node)!r} is neither a figure, a number nor one of {', '.join(FUNCTIONS)}")

    def _operation(self, node: ast.BinOp) -> Term:
        left, right = self._term(node.left), self._term(node.right)
        if left.value is None or right.value is None:
            raise InputError(f"{left.text if left.value is None else right.text!r} is not a figure")
        apply, symbol = OPERATORS[type(node.op)]
        shown = [f"({term.text})" if _binds_less(part, node) else term.text
                 for part, term in ((node.left, left), (node.right, right))]  # fmt: skip
        return Term(apply(left.value, right.value), symbol.join(shown))

    def _figure(self, name: str, key: str, column: str) -> Term:
        block = self.reference(name)
        row, column = block.row(key), block.column(column)
        self.cells.append((block.name, column, row))
        self.recalled |= block.lines[row].get("held", "").startswith("recalled")
        figure = block.figure(row, column)
        text = block.lines[row][column]
        return Term(figure.value, figure.text, figure) if figure else Term(None, text)

    def layer(self, name: str) -> tuple[int, int, int]:
        """Core parameters, inputs and hidden units of a line of `tensor_layers.csv`."""
        block = self.reference("tensor_layers")
        line = block.lines[block.row(name)]
        self.recalled |= line["held"].startswith("recalled")
        modes = ([int(n) for n in line[key].split()] for key in ("input_modes", "output_modes", "ranks"))
        return sizes.tensor_cores(line["kind"], *modes, int(line["blocks"])), int(line["inputs"]), int(line["hidden"])


def _binds_less(part: ast.expr, node: ast.BinOp) -> bool:
    """Whether `part` of a product or quotient has to stand in brackets."""
    return isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add | ast.Sub) and not isinstance(node.op, ast.Add)


def _of_numbers(function: Callable[..., Fraction | int]) -> Callable[..., Fraction | int]:
    """A function of expressions from one of numbers (whole ones as int)."""

    def of_terms(_: Arithmetic, *terms: Term) -> Fraction | int:
        if missing := [term.text for term in terms if term.value is None]:
            raise InputError(f"{missing[0]!r} is not a figure")
        return function(*(term.value if term.value.denominator > 1 else int(term.value) for term in terms))

    return of_terms


def _of_texts(function: Callable[..., Fraction | int]) -> Callable[..., Fraction | int]:
    """A function of expressions from one of their texts."""
    return lambda _, *terms: function(*(term.text for term in terms))


def _tensor_lstm(arithmetic: Arithmetic, layer: Term) -> int:
    cores, _, h = arithmetic.layer(layer.text)
    return cores + 4 * h * (h + arithmetic.biases)


FUNCTIONS: dict[str, Callable[..., Fraction | int]] = {
    "lstm": lambda arithmetic, d, h: sizes.lstm(int(d.value), int(h.value), arithmetic.biases),  # 4h(d+h+biases)
    "head": _of_numbers(sizes.head),  # fully connected, with bias
    "nearest_hidden": _of_numbers(sizes.nearest_hidden),  # of a size, inputs and biases
    "ssd_resnet50": _of_numbers(sizes.ssd_resnet50),  # of the pixels of a side, and operations of a batch norm
    "common_checkpoints": _of_numbers(sizes.common_checkpoints),  # of two sizes
    "cores": lambda arithmetic, layer: arithmetic.layer(layer.text)[0],
    "uncompressed": lambda arithmetic, layer: 4 * math.prod(arithmetic.layer(layer.text)[1:]),  # input to hidden
    "tensor_lstm": _tensor_lstm,  # cores + 4h(h+biases)
    "weights": _of_texts(sizes.weights),  # of LeNet-300-100 or LeNet-5, by its structure
    "neurons": _of_texts(sizes.neurons),
    "macs": _of_texts(sizes.macs),
    "rows_with": lambda arithmetic, name, word: sum(word.text in key for key in arithmetic.reference(name.text).keys),
    "different": _of_texts(lambda *texts: len(set(texts))),
    "round": _of_numbers(round),
    "abs": _of_numbers(abs),
    "max": _of_numbers(max),
}
