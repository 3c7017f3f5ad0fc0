"""A value of `Cell.step` while its equations are written down in another language instead of being computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Symbol(ABC):
    """The arithmetic that `Cell.step` may use; a subclass says how one operation is written down."""

    @abstractmethod
    def operation(self, kind: str, *operands: Self | float) -> Self:
        """The result of an operation, by ONNX's name: Add, Sub, Mul of two operands; Sigmoid, Tanh, Relu of one."""

    def __add__(self, other: Self | float) -> Self:
        return self.operation("Add", self, other)

    def __mul__(self, other: Self | float) -> Self:
        return self.operation("Mul", self, other)

    def __sub__(self, other: Self | float) -> Self:
        return self.operation("Sub", self, other)

    def __rsub__(self, other: float) -> Self:
        return self.operation("Sub", other, self)

    __radd__, __rmul__ = __add__, __mul__

    def sigmoid(self) -> Self:
        return self.operation("Sigmoid", self)

    def tanh(self) -> Self:
        return self.operation("Tanh", self)

    def relu(self) -> Self:
        return self.operation("Relu", self)
