"""Equations on float32 numbers, written in Python and compiled by LLVM: a loop over the rows and units of one step.

The equations are run twice, on vectors of 8 units and on single units for the rest of a row, and append an instruction
for each operator. Without fast-math, so NaN and infinity keep their meaning; products and sums may be fused. Sigmoid is
within 1e-7 and tanh(x) = 2 sigmoid(2x) - 1 within 2e-7 of the true value, like PyTorch's own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from llvmlite import binding, ir

WIDTH = 8  # a register of AVX2; LLVM uses two on processors with half of that
FLOAT, INT, LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
SIGNATURE = ctypes.CFUNCTYPE(None, *(ctypes.c_void_p,) * 2, *(ctypes.c_int64,) * 3)  # releases the GIL

Load = Callable[..., "Number"]  # (array, block=0) -> the numbers of the current units
Store = Callable[..., None]  # (array, number, block=0)
Compiled = tuple[Callable[..., None], tuple[str, ...]]  # a function, and the order of its arrays


@dataclass(frozen=True)
class Function:
    """Equations that read and write arrays, and the blocks of H numbers that a row of each array has."""

    equations: Callable[[Load, Store], None]
    arrays: Mapping[str, int]


class Number:
    """A float32, or a vector of them, while the code is written: operators append instructions to a function."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder, self.value = builder, value

    def constant(self, value: float, kind: ir.Type = FLOAT) -> ir.Constant:
        vector = isinstance(self.value.type, ir.VectorType)
        return ir.Constant(ir.VectorType(kind, WIDTH), [value] * WIDTH) if vector else ir.Constant(kind, value)

    def _apply(self, operator: str, *operands: Number | float) -> Number:
        values = [x.value if isinstance(x, Number) else self.constant(x) for x in operands]
        return Number(self.builder, getattr(self.builder, operator)(*values, flags=("contract",)))

    def __add__(self, other: Number | float) -> Number:
        return self._apply("fadd", self, other)

    def __sub__(self, other: Number | float) -> Number:
        return self._apply("fsub", self, other)

    def __rsub__(self, other: float) -> Number:
        return self._apply("fsub", other, self)

    def __mul__(self, other: Number | float) -> Number:
        return self._apply("fmul", self, other)

    __radd__, __rmul__ = __add__, __mul__

    def __rtruediv__(self, other: float) -> Number:
        return self._apply("fdiv", other, self)

    def clip(self, limit: float) -> Number:
        """Between -limit and limit; NaN stays NaN."""
        value = self.value
        for comparison, end in ((">", self.constant(limit)), ("<", self.constant(-limit))):
            value = self.builder.select(self.builder.fcmp_ordered(comparison, value, end), end, value)
        return Number(self.builder, value)


def exp(x: Number) -> Number:
    """e^x for |x| <= 87, to 1e-7 relative: 2^n p(r) with x = n ln 2 + r, |r| <= ln 2 / 2 (Cephes' coefficients)."""
    shift = 12582912.0  # 1.5 * 2^23: adding it leaves round(.) in the lowest bits
    shifted = x * 1.44269504 + shift
    n = shifted - shift
    r = (x - n * 0.693359375) + n * 2.12194440e-4
    p = r * 1.9875691500e-4 + 1.3981999507e-3
    for coefficient in (8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = p * r + coefficient
    p = p * (r * r) + r + 1.0
    builder, kind = x.builder, x.value.type
    bits = builder.bitcast(shifted.value, x.constant(0, INT).type)
    exponent = builder.shl(builder.add(bits, x.constant(127, INT)), x.constant(23, INT))
    return p * Number(builder, builder.bitcast(exponent, kind))


def sigmoid(x: Number) -> Number:
    return 1.0 / (1.0 + exp((-1.0 * x).clip(87.0)))


def tanh(x: Number) -> Number:
    return 2.0 * sigmoid(2.0 * x) - 1.0


def compiled(functions: Mapping[str, Function]) -> dict[str, Compiled]:
    """The functions by name, with the order of their arrays. Each is called as ``f(pointers, strides, B, H, t)``.

    pointers, strides: for each array, where it starts and how many numbers lie between its steps, 0 for an array that
    has one step only. Raises RuntimeError if LLVM refuses.
    """
    module = ir.Module("squeezebench")
    module.triple = binding.get_process_triple()
    arguments = [FLOAT.as_pointer().as_pointer(), LONG.as_pointer(), LONG, LONG, LONG]
    for name, function in functions.items():
        _write(ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name), function)
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    processor = {"cpu": binding.get_host_cpu_name(), "features": binding.get_host_cpu_features().flatten()}
    machine = binding.Target.from_triple(module.triple).create_target_machine(opt=2, **processor)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), machine)
    engine.finalize_object()
    calls = {}
    for name, function in functions.items():
        call = SIGNATURE(engine.get_function_address(name))
        call.engine = engine  # which owns the code
        calls[name] = call, tuple(function.arrays)
    return calls


def _write(function: ir.Function, source: Function) -> None:
    builder = ir.IRBuilder(function.append_basic_block())
    pointers, strides, B, H, t = function.args

    def at(pointer: ir.Value, *offsets: ir.Value) -> ir.Value:
        return builder.gep(pointer, [builder.mul(*offsets) if len(offsets) > 1 else offsets[0]])

    starts = {}
    for k, name in enumerate(source.arrays):
        start, stride = (builder.load(at(table, LONG(k))) for table in (pointers, strides))
        starts[name] = at(start, t, stride)

    for row in _loop(builder, LONG(0), B, 1):
        rows = {name: at(starts[name], row, builder.mul(H, LONG(n))) for name, n in source.arrays.items()}
        rest = builder.sub(H, builder.srem(H, LONG(WIDTH)))
        for kind, first, end, width in ((ir.VectorType(FLOAT, WIDTH), LONG(0), rest, WIDTH), (FLOAT, rest, H, 1)):
            for unit in _loop(builder, first, end, width):

                def place(name: str, block: int, unit=unit, kind=kind, rows=rows) -> ir.Value:
                    return builder.bitcast(at(at(rows[name], H, LONG(block)), unit), kind.as_pointer())

                source.equations(
                    lambda name, block=0, place=place: Number(builder, builder.load(place(name, block), align=4)),
                    lambda name, x, block=0, place=place: builder.store(x.value, place(name, block), align=4),
                )
    builder.ret_void()


def _loop(builder: ir.IRBuilder, first: ir.Value, end: ir.Value, step: int) -> Iterable[ir.Value]:
    """Whatever the caller writes in its one turn of this loop becomes the body of the compiled one."""
    before, head = builder.block, builder.append_basic_block()
    body, after = builder.append_basic_block(), builder.append_basic_block()
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(LONG)
    builder.cbranch(builder.icmp_signed("<", index, end), body, after)
    builder.position_at_end(body)
    yield index
    index.add_incoming(first, before)
    index.add_incoming(builder.add(index, LONG(step)), builder.block)
    builder.branch(head)
    builder.position_at_end(after)
