"""What the compiled rollout needs and Numba lacks: eight numbers as one value, rows that are not counted, a counter.

Numba leaves it to the compiler to find loops that vector instructions can do, and it finds few. The `Vector` here is
LLVM's own, of eight float64, with +, −, × and ÷: on any processor each number gets the bits that a float would.

Source: LLVM's language reference, "Vector type"; Numba's manual, "Low-level extension API". Each function has another
inside that writes the instructions. Imported only where it is used, like everything that needs Numba.
"""
# ruff: noqa: ARG001  # Numba says what these functions take, whether they use it or not.

import operator
from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model
from numba.np.arrayobj import populate_array

WIDTH = 8
"""Numbers in a vector: as many as the widest registers of today's processors hold. Narrower ones take several."""

FLOATS: Any = ir.VectorType(ir.DoubleType(), WIDTH)
WORDS: Any = ir.VectorType(ir.IntType(64), WIDTH)
INDICES: Any = ir.VectorType(ir.IntType(32), WIDTH)

INSTRUCTIONS = {operator.add: "fadd", operator.sub: "fsub", operator.mul: "fmul", operator.truediv: "fdiv"}


class Vector(types.Type):
    """The type of eight numbers."""

    def __init__(self) -> None:
        super().__init__(name="Vector")


vector = Vector()


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """Tells Numba that LLVM has a type for it."""

    @no_type_check
    def __init__(self, manager, kind):
        super().__init__(manager, kind, FLOATS)


@intrinsic
@no_type_check
def load(typing_context, array, place):
    """Reads the eight numbers from a place of an array on."""

    def write(context, builder, signature, arguments):
        return builder.load(_pointer(context, builder, signature.args[0], *arguments), align=8)

    return vector(array, types.uint64), write


@intrinsic
@no_type_check
def store(typing_context, array, place, value):
    """Writes eight numbers from a place of an array on."""

    def write(context, builder, signature, arguments):
        *where, numbers = arguments
        builder.store(numbers, _pointer(context, builder, signature.args[0], *where), align=8)
        return context.get_dummy_value()

    return types.void(array, types.uint64, vector), write


@no_type_check
def _pointer(context, builder, kind, array, place):
    """Returns where a vector lies in an array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), FLOATS.as_pointer())


@intrinsic
@no_type_check
def filled(typing_context, number):
    """Returns the same number eight times."""

    def write(context, builder, signature, arguments):
        single = builder.insert_element(FLOATS(ir.Undefined), arguments[0], ir.IntType(32)(0))
        return builder.shuffle_vector(single, single, INDICES([0] * WIDTH))

    return vector(types.float64), write


@intrinsic
@no_type_check
def first_of(typing_context, value):
    """Returns the first of eight numbers."""

    def write(context, builder, signature, arguments):
        return builder.extract_element(arguments[0], ir.IntType(32)(0))

    return types.float64(vector), write


@no_type_check
def _let(operation, name):
    """Lets an operator take vectors, or a vector and a number."""

    @intrinsic
    def instruction(typing_context, left, right):
        def write(context, builder, signature, arguments):
            return getattr(builder, name)(*arguments)

        return vector(vector, vector), write

    @overload(operation)
    def operate(left, right):
        if isinstance(left, Vector) and isinstance(right, Vector):
            return lambda left, right: instruction(left, right)
        if isinstance(left, Vector) and isinstance(right, types.Float):
            return lambda left, right: instruction(left, filled(right))
        if isinstance(left, types.Float) and isinstance(right, Vector):
            return lambda left, right: instruction(filled(left), right)
        return None


for _operation, _name in INSTRUCTIONS.items():
    _let(_operation, _name)


@intrinsic
@no_type_check
def fused(typing_context, left, right, summand):
    """Returns left × right + summand of vectors, rounded once where the processor can."""

    def write(context, builder, signature, arguments):
        name, kind = f"llvm.fmuladd.v{WIDTH}f64", ir.FunctionType(FLOATS, [FLOATS] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)

    return vector(vector, vector, vector), write


@intrinsic
@no_type_check
def clipped(typing_context, value, bound):
    """Returns a vector within ± another; NaN stays."""

    def write(context, builder, signature, arguments):
        value, high = arguments
        low = builder.fneg(high)
        value = builder.select(builder.fcmp_ordered(">", value, high), high, value)
        return builder.select(builder.fcmp_ordered("<", value, low), low, value)

    return vector(vector, vector), write


@intrinsic
@no_type_check
def power_of_2(typing_context, value):
    """Returns 2 to the power of whole numbers, which lie in the last bits of a vector."""

    def write(context, builder, signature, arguments):
        exponents = builder.shl(builder.bitcast(arguments[0], WORDS), WORDS([52] * WIDTH))
        return builder.bitcast(builder.add(exponents, WORDS([1023 << 52] * WIDTH)), FLOATS)

    return vector(vector), write


@intrinsic
@no_type_check
def row_of(typing_context, matrix, index):
    """Returns a row of a matrix, which must be kept: references to the row are not counted, as that takes its time."""
    assert matrix.layout == "C"
    row = types.Array(matrix.dtype, 1, "C")

    def write(context, builder, signature, arguments):
        whole = context.make_array(signature.args[0])(context, builder, arguments[0])
        length, stride = (cgutils.unpack_tuple(builder, pair, 2)[1] for pair in (whole.shape, whole.strides))
        data = builder.gep(whole.data, [builder.mul(arguments[1], length)])
        view = context.make_array(row)(context, builder)
        populate_array(view, data, [length], [stride], whole.itemsize, meminfo=None)
        return view._getvalue()

    return row(matrix, types.intp), write


@intrinsic
@no_type_check
def take_number(typing_context, counter):
    """Returns the number in an array of one int64, and adds 1 to it; two threads never get the same."""

    def write(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", data, ir.IntType(64)(1), "monotonic")

    return types.int64(counter), write
