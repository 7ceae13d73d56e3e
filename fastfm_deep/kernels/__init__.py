"""Compiled loops: arrays in, arrays changed in place, scalars out. They import nothing else of this package.

What is not always needed is taken as an attribute, `kernels.keys.find_keys`: a module is imported when it is first
asked for, so that a process which calls no kernel never loads Numba.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from fastfm_deep.kernels import (
        columns,
        dense,
        entries,
        ids,
        key_rows,
        keys,
        network,
        pieces,
        row_checks,
        text,
        text_write,
    )

__all__ = [
    "columns",
    "dense",
    "entries",
    "ids",
    "key_rows",
    "keys",
    "network",
    "pieces",
    "row_checks",
    "text",
    "text_write",
]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
