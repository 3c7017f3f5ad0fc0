"""One step of a recurrent cell as statements of C, traced from the cell's own equations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from squeezebench.nn.rnn.cells import Cell
from squeezebench.tools.export.symbol import Symbol


@dataclass(frozen=True)
class Value(Symbol):
    """A float of C; each operation adds a statement that names its result."""

    OPERATIONS: ClassVar = {
        "Add": "{} + {}",
        "Sub": "{} - {}",
        "Mul": "{} * {}",
        "Sigmoid": "@_sigmoid({})",
        "Tanh": "tanhf({})",
        "Relu": "@_relu({})",
    }

    statements: list[str]
    text: str

    def operation(self, kind: str, *operands: Value | float) -> Value:
        texts = [value.text if isinstance(value, Value) else f"{float(value)}f" for value in operands]
        name = f"v{len(self.statements)}"
        self.statements.append(f"const float {name} = {self.OPERATIONS[kind].format(*texts)};")
        return Value(self.statements, name)


def statements_of(cell: Cell, hidden: int, masked: set[str], masks: str) -> list[str]:
    """What unit `j` computes in one step from a[], the input products, and u[], those with the state.

    masked: letters of gates that are multiplied by a fixed vector, the array `masks` followed by the letter.
    """
    statements: list[str] = []

    def blocks(array: str, letters: str) -> list[Value]:
        return [Value(statements, f"{array}[{k * hidden} + j]") for k in range(len(letters))]

    def mask(letter: str, value: Value) -> Value:
        return value * Value(statements, f"{masks}{letter}[j]") if letter in masked else value

    before = [Value(statements, f"{state}[j]") for state in cell.states]
    after = cell.step(tuple(blocks("a", cell.gates)), tuple(blocks("u", cell.recurrent)), mask, *before)
    results = [f"{state}[j] = {value.text};" for state, value in zip(cell.states, after, strict=True)]
    return [*statements, *results]
