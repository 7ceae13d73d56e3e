"""Numbers too small for the processor's usual format, below 1e-38: kernels that train or score take them as 0.

Processors compute with such *denormal* numbers a hundred times slower, and a network makes many of them out of
vanishing activations and gradients. The mode is the thread's: matrix products that a kernel calls have it too.
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic

from fastfm_deep.kernels._jit import JIT_ENABLED, row_function

# MXCSR: results (bit 15) and operands (bit 6) that are denormal count as 0. Other processors know other registers;
# the intrinsics of x86 would abort the process there.
_HAS_MXCSR = JIT_ENABLED and platform.machine() in ("x86_64", "AMD64")
_DENORMALS_ARE_ZERO = np.uint32(0x8040)


def _call(builder: Any, name: str, place: Any) -> None:
    byte = ir.IntType(8).as_pointer()
    function = builder.module.declare_intrinsic(name, (), ir.FunctionType(ir.VoidType(), [byte]))
    builder.call(function, [builder.bitcast(place, byte)])


@intrinsic
def _read(typingctx):
    def codegen(context, builder, signature, arguments):
        place = builder.alloca(ir.IntType(32))
        _call(builder, "llvm.x86.sse.stmxcsr", place)
        return builder.load(place)

    return types.uint32(), codegen


@intrinsic
def _write(typingctx, mode):
    def codegen(context, builder, signature, arguments):
        place = builder.alloca(ir.IntType(32))
        builder.store(arguments[0], place)
        _call(builder, "llvm.x86.sse.ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.uint32), codegen


if _HAS_MXCSR:

    @row_function
    def flush_denormals():
        """Take denormal numbers as 0 in this thread; returns the mode there was, for `restore_mode`."""
        before = _read()
        _write(np.uint32(before | _DENORMALS_ARE_ZERO))
        return before

    @row_function
    def restore_mode(before):
        """Go on as before `flush_denormals`."""
        _write(before)

else:

    @row_function
    def flush_denormals():
        """Nothing here."""
        return np.uint32(0)

    @row_function
    def restore_mode(before):
        """Nothing here."""
