"""What is learned: the parameter tables of a factorization machine, and what turns their scores into answers.

A *table* has one row for each feature. Padding and states are part of its rows, because what one update of a
feature touches should lie together: a random cache line is the unit that the memory system pays for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.memory import free_memory
from fastfm_deep.kernels._jit import has_feature
from fastfm_deep.kernels.lanes import LANES, STORED_LANES
from fastfm_deep.kernels.parts import HAS_BOTH
from fastfm_deep.kernels.pointers import FLOAT_BYTES, STATE_ROW_BYTES
from fastfm_deep.kernels.updates import RULES
from fastfm_deep.model.storage import STORED_DTYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.model.deep import DeepPart

_ALIGN = 64


class Parameters(NamedTuple):
    """The tables, as kernels take them; float32 all but the parts.

    Attributes
    ----------
    factors : array (n_features, stride)
        In each row the factors, zeros up to `padded_factors`, then as many states for each rule state. A copy for
        scoring may hold bfloat16, as uint16, or int8, whose scale is the second number of the row of `linear`.
    linear : array (n_features, linear width)
        In each row the weight, then its states; see `kernels.updates`.
    intercept : array (linear width,)
        Likewise.
    inverse_scale : array (n_features,), or (0,) where all are 1
        What the values of a column are multiplied by before anything else.
    padded_factors : int
        Factors of a row with the zeros behind them.
    parts : uint8 array (n_features,), or None where every column has both
        Whether a column has a weight, factors, or both; see `kernels.parts`. Scores need not ask.
    lookup : int32 array (n_features,), or None
        The row of each feature in a model of fewer rows, for scoring alone; row 0 is all zeros. None: its own.
    """

    factors: NDArray[np.float32]
    linear: NDArray[np.float32]
    intercept: NDArray[np.float32]
    inverse_scale: NDArray[np.float32]
    padded_factors: int
    parts: NDArray[np.uint8] | None = None
    lookup: NDArray[np.int32] | None = None


@dataclass
class FMModel:
    """A factorization machine: tables, and the units its answers are in.

    The answer to a row is `center + scale * raw`, where raw is what the tables say.
    """

    params: Parameters
    n_factors: int
    rule: str | None  # the update rule whose states the tables hold; None: a copy for scoring
    occurs: NDArray[np.uint8]  # (n_features,): whether the column occurred in training
    center: float = 0.0
    scale: float = 1.0
    epochs: int = 0  # finished so far
    deep: DeepPart | None = None  # the network of a DeepFM

    @property
    def n_features(self) -> int:
        """Width of the rows it takes."""
        return len(self.params.linear if self.params.lookup is None else self.params.lookup)

    def coef(self) -> NDArray[np.float32]:
        """Linear weights (n_features,), in the units of the caller's columns and answers."""
        coef = self.params.linear[:, 0] * np.float32(self.scale)
        if len(self.params.inverse_scale):
            coef *= self.params.inverse_scale
        return coef

    def factors(self) -> NDArray[np.float32]:
        """Factors (n_features, n_factors), likewise."""
        factors = self.params.factors[:, : self.n_factors] * np.float32(math.sqrt(self.scale))
        if len(self.params.inverse_scale):
            factors *= self.params.inverse_scale[:, None]
        return factors

    def intercept(self) -> float:
        """The answer to an empty row, before the link function."""
        return self.center + self.scale * float(self.params.intercept[0])


# Numbers in a row of factors with states are a multiple of this.
_STATE_ROW = STATE_ROW_BYTES // FLOAT_BYTES


def padded(n_factors: int) -> int:
    """Numbers that `n_factors` take up: whole vectors of 4, 8 or 16 lanes."""
    if n_factors <= 4:
        return 4 if n_factors else 0
    return -(-n_factors // 8) * 8


def lanes_for(padded_factors: int) -> tuple[int, ...]:
    """The marker of the widest lanes that divide a row of factors."""
    return LANES[16 if padded_factors % 16 == 0 else 8 if padded_factors % 8 == 0 else 4]


def storage_of(params: Parameters) -> str:
    """How the factors are stored, see `model.storage`."""
    dtype = params.factors.dtype
    return next(storage for storage, stored in STORED_DTYPES.items() if stored == dtype)


def scoring_lanes(params: Parameters) -> tuple[Any, ...]:
    """The marker for scoring with tables of any storage: several vectors at once where that spares passes."""
    padded_factors = params.padded_factors
    width = len(lanes_for(padded_factors))
    for wider in (64, 32) if has_feature("avx512f") else (32,):
        if padded_factors and padded_factors % wider == 0:
            width = wider
            break
    return STORED_LANES[storage_of(params)][width]


def blocks_for(padded_factors: int) -> tuple[int, ...]:
    """Marker of how many vectors of lanes a row of factors is: of length 1 for one, else empty."""
    return (0,) if padded_factors == len(lanes_for(padded_factors)) else ()


def scoring_blocks(params: Parameters) -> tuple[int, ...]:
    """`blocks_for` with `scoring_lanes`."""
    return (0,) if params.padded_factors == len(scoring_lanes(params)) else ()


def allocate(n_features: int, n_factors: int, rule: str | None) -> Parameters:
    """Tables of zeros, with room for the states of `rule`.

    Raises
    ------
    TableTooLargeError
        They would not fit into the memory that is free now; nothing has been allocated then.
    """
    width, n_states = (RULES[rule].linear_width, RULES[rule].factor_states) if rule else (1, 0)
    padded_factors = padded(n_factors)
    stride = padded_factors * (1 + n_states)
    if n_states:  # as `kernels.pointers.point_at_states` has it
        stride = -(-stride // _STATE_ROW) * _STATE_ROW
    n_bytes = 4 * n_features * (stride + width)
    free = free_memory()
    if n_bytes > free:
        raise validation.table_too_large_error(n_features, n_factors, n_bytes, free)
    try:
        factors = _aligned_zeros(n_features if stride else 0, stride)
        linear = _aligned_zeros(n_features, width)
    except MemoryError:
        raise validation.table_too_large_error(n_features, n_factors, n_bytes, free) from None
    intercept, inverse_scale = np.zeros(width, np.float32), np.empty(0, np.float32)
    return Parameters(factors, linear, intercept, inverse_scale, padded_factors)


def _aligned_zeros(n_rows: int, width: int) -> NDArray[np.float32]:
    """Zeros on cache lines of their own: for speed only, nothing relies on it."""
    flat = np.zeros(n_rows * width + _ALIGN // 4, np.float32)
    first = (-flat.ctypes.data % _ALIGN) // 4
    return flat[first : first + n_rows * width].reshape(n_rows, width)


def for_scoring(model: FMModel) -> Parameters:
    """The tables as read-only views, so that every caller's scoring runs the same compiled code."""
    factors, linear, intercept, inverse_scale = (_read_only(part) for part in model.params[:4])
    lookup = model.params.lookup
    return Parameters(
        factors,
        linear,
        intercept,
        inverse_scale,
        model.params.padded_factors,
        lookup=None if lookup is None else _read_only(lookup),
    )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = np.require(array, requirements=["C", "A"]).view()
    view.flags.writeable = False
    return view


def float64_rows(
    params: Parameters, features: NDArray[np.integer], n_factors: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (n,) and factors (n, n_factors) of some features, whatever they are stored as."""
    rows = features if params.lookup is None else params.lookup[features]
    with np.errstate(invalid="ignore"):  # of files that are changed while they are mapped, found out later
        linear = params.linear[rows].astype(np.float64)
        if not n_factors:
            return linear[:, 0], np.empty((len(rows), 0))
        stored = params.factors[rows, :n_factors]
        if stored.dtype == np.uint16:  # the upper halves of float32
            stored = (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
        factors = stored.astype(np.float64)
    return linear[:, 0], factors * linear[:, 1:2] if params.factors.dtype == np.int8 else factors


def for_training(model: FMModel, rule: str) -> FMModel:
    """A model that training may change in place: with states of `rule`, fresh ones if it holds no such.

    The tables of `model` are used themselves where they fit and can be written.
    """
    params = model.params
    writable = all(part.flags.writeable and part.flags.c_contiguous for part in params[:3])
    if model.rule == rule and writable:
        return model
    new = allocate(model.n_features, model.n_factors, rule)
    if model.rule == rule:
        for target, source in zip(new[:3], params[:3], strict=True):
            target[...] = source
    else:
        fresh = RULES[rule]
        new.factors[:, new.padded_factors :] = fresh.factor_start
        new.factors[:, : model.n_factors] = params.factors[:, : model.n_factors]
        new.linear[:, 1:] = fresh.start
        new.intercept[1:] = fresh.start
        new.linear[:, 0] = params.linear[:, 0]
        new.intercept[0] = params.intercept[0]
    new = with_parts(new._replace(inverse_scale=params.inverse_scale), params.parts)
    return replace(model, params=new, rule=rule, occurs=model.occurs.copy())


def with_parts(params: Parameters, parts: NDArray[np.uint8] | None) -> Parameters:
    """The same tables for columns that have the parts given, sums of `HAS_WEIGHT` and `HAS_FACTORS`.

    Parameters
    ----------
    params : Parameters
        New, or 0 wherever a column lacks a part: this is not looked at, and training never changes it.
    parts : uint8 array (n_features,), or None
        0 for a column that takes part in nothing. None: every column has both.
    """
    if parts is None:
        return params._replace(parts=None)
    if parts.shape != (len(params.linear),) or parts.dtype != np.uint8:  # kernels trust it
        raise ValueError(f"parts of shape {parts.shape} and {parts.dtype} for {len(params.linear)} columns")
    if parts.max(initial=0) > HAS_BOTH:
        raise ValueError(f"parts={parts.max()} of a column, which has at most {HAS_BOTH}")
    # A copy is writable and contiguous: kernels are compiled for that alone.
    return params._replace(parts=None if (parts == HAS_BOTH).all() else np.array(parts))


def grown(model: FMModel, n_features: int, parts: NDArray[np.uint8] | None) -> FMModel:
    """The same model with more columns, which have not occurred yet: training starts them when they do.

    `parts`, (n_features,), are those of all columns, in which the present ones may not differ; None: new columns
    have both. The network is the same one, whose layout is still that of the present columns.

    Raises
    ------
    TableTooLargeError
        The larger tables would not fit beside the present ones; nothing has been allocated then.
    """
    params, n_present = model.params, model.n_features
    n_new = n_features - n_present
    if n_new < 0:
        raise ValueError(f"n_features={n_features} of a model that has {n_present}")
    present = np.full(n_present, HAS_BOTH, np.uint8) if params.parts is None else params.parts
    if parts is None:
        parts = np.append(present, np.full(n_new, HAS_BOTH, np.uint8))
    elif not np.array_equal(parts[:n_present], present):
        raise ValueError("parts of present columns differ from those that they were trained with")
    new = allocate(n_features, model.n_factors, model.rule)
    new.factors[: len(params.factors)] = params.factors
    new.linear[:n_present] = params.linear
    new.intercept[:] = params.intercept
    if len(params.inverse_scale):
        new = new._replace(inverse_scale=np.append(params.inverse_scale, np.ones(n_new, np.float32)))
    occurs = np.append(model.occurs, np.zeros(n_new, np.uint8))
    return replace(model, params=with_parts(new, parts), occurs=occurs)
