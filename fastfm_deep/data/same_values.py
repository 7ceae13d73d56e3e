"""Whether two columns hold the same values, told by their arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep.data.values import Categories, Lists, Numbers, Objects, Texts, Values

if TYPE_CHECKING:
    from numpy.typing import NDArray


def same_values(first: Values, second: Values) -> bool:
    """Whether two columns hold the same, in the same form."""
    if type(first) is not type(second) or first.n != second.n:
        return False
    if isinstance(first, Objects):
        return False  # what mixed objects are equal to is theirs to say
    return all(_same_part(*parts) for parts in zip(first, second, strict=True))


def _same_part(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray):
        if not isinstance(second, np.ndarray) or first.dtype != second.dtype:
            return False
        if first.shape != second.shape:
            return False
        # By their bits: NaN is the same as NaN.
        return bool(np.array_equal(_bits(first), _bits(second)))
    if isinstance(first, Texts | Numbers | Objects | Categories | Lists):
        return type(first) is type(second) and same_values(first, second)
    return bool(first == second) if not isinstance(second, np.ndarray) else False


def _bits(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).view(np.uint8)


def copied(values: Any) -> Any:
    """A column whose arrays nobody else can change."""
    if isinstance(values, np.ndarray):
        return values.copy()
    if isinstance(values, Texts | Numbers | Objects | Categories | Lists):
        return type(values)(*(copied(part) for part in values))
    return values
