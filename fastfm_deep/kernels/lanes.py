"""Explicit vectors for the inner loops: a *lane vector* is `width` float32 values in one register (or several).

With `n_factors` known only at run time LLVM guards its vector loops with run-time checks; with a compile-time
constant it unrolls them and, unable to prove that arrays do not overlap, leaves scalar code. So the kernels say
what they want: loads and stores by address, arithmetic, a sum across lanes. The width comes in through the type
of the `lanes` argument, a tuple of that length (see `LANES`), because types are what Numba compiles for.

Every load and store is emitted with the alignment of one float: as fast on aligned data, and a table that
pickle, joblib or a memory map placed elsewhere is no crash. Only generic vector IR is used: the `llvm.x86`
intrinsics abort the process on other CPUs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.extending import intrinsic, overload, register_model

_WIDTHS = (4, 8, 16, 32, 64)
LANES: dict[int, tuple[int, ...]] = {width: (0,) * width for width in _WIDTHS}
"""Marker to pass for each width; a kernel is compiled once for each."""

STORED_LANES: dict[str, dict[int, tuple[Any, ...]]] = {
    "float32": LANES,
    "bfloat16": {width: (np.uint16(0),) * width for width in _WIDTHS},
    "int8": {width: (np.int8(0),) * width for width in _WIDTHS},
}
"""Markers that also say how parameters are stored, by the type of the numbers in the tuple; see `load_stored`."""

_FLAGS = ("nsz", "arcp", "contract", "afn", "reassoc")
_FLOAT = ir.FloatType()
_FLOAT_ALIGN = 4


class LaneVector(types.Type):
    """Numba type of `width` float32 values, or float64 values where it `is_wide`."""

    def __init__(self, width: int, is_wide: bool = False) -> None:
        self.width = width
        self.is_wide = is_wide
        super().__init__(name=f"LaneVector({width}{', wide' if is_wide else ''})")


@register_model(LaneVector)
class _LaneVectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lane_type: LaneVector) -> None:
        super().__init__(manager, lane_type, _vector(lane_type))


def _vector(lane_type: LaneVector) -> ir.VectorType:
    return ir.VectorType(ir.DoubleType() if lane_type.is_wide else _FLOAT, lane_type.width)


def _splat(builder: Any, vector: ir.VectorType, scalar: Any) -> Any:
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _call(builder: Any, name: str, result: Any, arguments: list[Any], **options: Any) -> Any:
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, function_type, name)
    return builder.call(function, arguments, **options)


@intrinsic
def zeros(typingctx, lanes):
    """A lane vector of zeros, as wide as the marker `lanes` is long."""
    lane_type = LaneVector(len(lanes))

    def codegen(context, builder, signature, arguments):
        vector = _vector(lane_type)
        return ir.Constant(vector, [ir.Constant(_FLOAT, 0.0)] * vector.count)

    return lane_type(lanes), codegen


@intrinsic
def wide_zeros(typingctx, lanes):
    """The same of float64 values."""
    lane_type = LaneVector(len(lanes), is_wide=True)

    def codegen(context, builder, signature, arguments):
        vector = _vector(lane_type)
        return ir.Constant(vector, [ir.Constant(ir.DoubleType(), 0.0)] * vector.count)

    return lane_type(lanes), codegen


@intrinsic
def widen(typingctx, lane_vector):
    """The lanes as float64 values."""
    wide = LaneVector(lane_vector.width, is_wide=True)

    def codegen(context, builder, signature, arguments):
        return builder.fpext(arguments[0], _vector(wide))

    return wide(lane_vector), codegen


@intrinsic
def narrow(typingctx, lane_vector):
    """The wide lanes as float32 values."""
    lane_type = LaneVector(lane_vector.width)

    def codegen(context, builder, signature, arguments):
        return builder.fptrunc(arguments[0], _vector(lane_type))

    return lane_type(lane_vector), codegen


@intrinsic
def splat(typingctx, lanes, scalar):
    """The float32 `scalar` in every lane."""
    lane_type = LaneVector(len(lanes))

    def codegen(context, builder, signature, arguments):
        return _splat(builder, _vector(lane_type), arguments[1])

    return lane_type(lanes, types.float32), codegen


@intrinsic
def load(typingctx, lanes, address):
    """The float32 values that lie at `address`."""
    lane_type = LaneVector(len(lanes))

    def codegen(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[1], _vector(lane_type).as_pointer())
        return builder.load(pointer, align=_FLOAT_ALIGN)

    return lane_type(lanes, types.intp), codegen


@intrinsic
def load_stored(typingctx, lanes, address):
    """The parameters that lie at `address` as float32 values, whatever `lanes` says that they are stored as.

    A bfloat16 is the upper half of a float32. Integers come without the scale of their row.
    """
    lane_type = LaneVector(len(lanes))

    def codegen(context, builder, signature, arguments):
        vector = _vector(lane_type)
        stored = _stored_type(lanes)
        pointer = builder.inttoptr(arguments[1], ir.VectorType(stored, vector.count).as_pointer())
        found = builder.load(pointer, align=stored_bytes_of(lanes))
        if stored == _FLOAT:
            return found
        words = ir.VectorType(ir.IntType(32), vector.count)
        if stored.width == 8:
            return builder.sitofp(builder.sext(found, words), vector)
        shift = ir.Constant(words, [16] * vector.count)
        return builder.bitcast(builder.shl(builder.zext(found, words), shift), vector)

    return lane_type(lanes, types.intp), codegen


def _stored_type(lanes: Any) -> Any:
    return {types.int8: ir.IntType(8), types.uint16: ir.IntType(16)}.get(lanes.dtype, _FLOAT)


def stored_bytes_of(lanes: Any) -> int:
    """Bytes of one stored parameter, for the type of a marker."""
    return {types.int8: 1, types.uint16: 2}.get(lanes.dtype, 4)


def stored_bytes(lanes):
    """The same of a marker, at compile time."""
    raise NotImplementedError("for compiled code only")


@overload(stored_bytes, inline="always")
def _stored_bytes(lanes):
    n_bytes = stored_bytes_of(lanes)
    return lambda lanes: n_bytes


def have_scales(lanes):
    """Whether parameters are integers times a scale for each row, which lies behind the weight of that row."""
    raise NotImplementedError("for compiled code only")


@overload(have_scales, inline="always")
def _have_scales(lanes):
    if lanes.dtype == types.int8:
        return lambda lanes: True
    return lambda lanes: False


def _pointer_to(dtype: Any, docstring: str) -> Any:
    def typing(typingctx, address):
        def codegen(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(dtype)(types.intp), codegen

    typing.__name__ = f"{dtype}_pointer"
    typing.__doc__ = docstring
    return intrinsic(typing)


float_pointer = _pointer_to(types.float32, "The integer `address` as a pointer to float32 values.")
double_pointer = _pointer_to(types.float64, "The same to float64 values.")
int32_pointer = _pointer_to(types.int32, "The same to int32 values.")
int64_pointer = _pointer_to(types.int64, "The same to int64 values.")
byte_pointer = _pointer_to(types.uint8, "The same to bytes.")


@intrinsic
def store(typingctx, address, lane_vector):
    """Write the lanes to `address`."""

    def codegen(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], arguments[1].type.as_pointer())
        builder.store(arguments[1], pointer, align=_FLOAT_ALIGN)
        return context.get_dummy_value()

    return types.void(types.intp, lane_vector), codegen


def _arithmetic(operation: str, docstring: str) -> Any:
    def typing(typingctx, left, right):
        def codegen(context, builder, signature, arguments):
            return getattr(builder, operation)(arguments[0], arguments[1], flags=_FLAGS)

        return left(left, right), codegen

    typing.__name__ = operation
    typing.__doc__ = docstring
    return intrinsic(typing)


add = _arithmetic("fadd", "left + right, lane by lane.")
subtract = _arithmetic("fsub", "left - right, lane by lane.")
multiply = _arithmetic("fmul", "left * right, lane by lane.")
divide = _arithmetic("fdiv", "left / right, lane by lane.")


@intrinsic
def maximum(typingctx, left, right):
    """The larger of left and right, lane by lane; `right` where one is NaN."""

    def codegen(context, builder, signature, arguments):
        is_larger = builder.fcmp_ordered(">", arguments[0], arguments[1])
        return builder.select(is_larger, arguments[0], arguments[1])

    return left(left, right), codegen


@intrinsic
def where_equal(typingctx, left, right, then, otherwise):
    """`then` in the lanes in which left and right are equal, `otherwise` in the others."""

    def codegen(context, builder, signature, arguments):
        is_equal = builder.fcmp_ordered("==", arguments[0], arguments[1])
        return builder.select(is_equal, arguments[2], arguments[3])

    return then(left, right, then, otherwise), codegen


@intrinsic
def square_root(typingctx, lane_vector):
    """The square root of each lane."""

    def codegen(context, builder, signature, arguments):
        vector = arguments[0].type
        return _call(builder, f"llvm.sqrt.v{vector.count}f32", vector, [arguments[0]], fastmath=_FLAGS)

    return lane_vector(lane_vector), codegen


@intrinsic
def sum_lanes(typingctx, lane_vector):
    """The sum across lanes, a float32, or a float64 of wide ones."""

    def codegen(context, builder, signature, arguments):
        vector = arguments[0].type
        name = f"llvm.vector.reduce.fadd.v{vector.count}f{64 if lane_vector.is_wide else 32}"
        start = ir.Constant(vector.element, 0.0)
        return _call(builder, name, vector.element, [start, arguments[0]], fastmath=_FLAGS)

    return (types.float64 if lane_vector.is_wide else types.float32)(lane_vector), codegen


@intrinsic
def pointer(typingctx, array):
    """A typed pointer to the data of `array`: unlike an array it costs no reference count when passed on.

    A broadcast array (strides of 0, see `data.rows.fold_ones`) gives a pointer to bytes; see `all_ones`.
    """
    pointed = array.dtype if array.layout == "C" else types.uint8

    def codegen(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.bitcast(data, context.get_value_type(signature.return_type))

    return types.CPointer(pointed)(array), codegen


def pointer_if_any(array):
    """`pointer` of an array, or None for None."""
    raise NotImplementedError("for compiled code only")


@overload(pointer_if_any, inline="always")
def _pointer_if_any(array):
    if isinstance(array, types.NoneType):
        return lambda array: None
    return lambda array: pointer(array)


@intrinsic
def ones_like(typingctx, pointer):
    """A pointer that stands for values that are all 1; see `all_ones`."""

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint8)(pointer), codegen


@intrinsic
def keep(typingctx, array):
    """Do nothing, so late that `array` lives until here: Numba frees it after its last use, pointers or not."""

    def codegen(context, builder, signature, arguments):
        return context.get_dummy_value()

    return types.void(array), codegen


def all_ones(values):
    """Whether every value is 1.0; the type of the pointer says so, at compile time."""
    raise NotImplementedError("for compiled code only")


@overload(all_ones, inline="always")
def _all_ones(values):
    if values.dtype == types.uint8:
        return lambda values: True
    return lambda values: False


@intrinsic
def at(typingctx, pointer, index):
    """The number that `pointer` holds at `index`."""

    def codegen(context, builder, signature, arguments):
        address = builder.gep(arguments[0], [arguments[1]])
        return builder.load(address, align=context.get_abi_sizeof(address.type.pointee))

    return pointer.dtype(pointer, types.intp), codegen


@intrinsic
def put(typingctx, pointer, index, value):
    """Write `value` to `index` of `pointer`."""

    def codegen(context, builder, signature, arguments):
        address = builder.gep(arguments[0], [arguments[1]])
        builder.store(arguments[2], address, align=context.get_abi_sizeof(address.type.pointee))
        return context.get_dummy_value()

    return types.void(pointer, types.intp, pointer.dtype), codegen


@intrinsic
def address_of(typingctx, pointer, index):
    """The address of `index` of `pointer`, an integer."""

    def codegen(context, builder, signature, arguments):
        address = builder.gep(arguments[0], [arguments[1]])
        return builder.ptrtoint(address, context.get_value_type(types.intp))

    return types.intp(pointer, types.intp), codegen


@intrinsic
def prefetch(typingctx, address):
    """Ask for the cache line at `address`, which need not be valid."""

    def codegen(context, builder, signature, arguments):
        byte_pointer = ir.IntType(8).as_pointer()
        int32 = ir.IntType(32)
        # Read, keep in all levels, data cache.
        how = [ir.Constant(int32, 0), ir.Constant(int32, 3), ir.Constant(int32, 1)]
        pointer = builder.inttoptr(arguments[0], byte_pointer)
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, *how])
        return context.get_dummy_value()

    return types.void(types.intp), codegen
