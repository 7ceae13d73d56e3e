"""Restored models: a stored model as tables and network, for kernels to score with or for training to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.memory import free_memory
from fastfm_deep.model.deep import DeepPart
from fastfm_deep.model.params import FMModel, Parameters, allocate, padded, with_parts
from fastfm_deep.model.storage import write_dense

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.model.stored import StoredModel

_ALIGN = 64


def fm_model(stored: StoredModel, in_place: bool, rule: str | None = None) -> FMModel:
    """The model that a file holds.

    Parameters
    ----------
    stored : StoredModel
    in_place : bool
        False: float32 tables of all features in memory, as training takes them; zeros for features that the file
        leaves out. True: for scoring alone, tables in the storage of the file and of its rows, themselves where
        their rows need no padding, so that they may be maps of the file.
    rule : str, optional
        With `in_place=False`: make room for the states of this rule, which are 0 then.

    Returns
    -------
    FMModel

    Raises
    ------
    TableTooLargeError
        The tables would not fit into the memory that is free now.
    ValueError
        `parts` of the file are out of range.
    """
    params = _in_place(stored) if in_place else _in_memory(stored, rule)
    network, deep = stored.network, None
    if network is not None:
        # Writable, because kernels are compiled for that alone; small beside the tables.
        layout = stored.layout if network.with_fields else None
        if layout is not None:
            layout = layout._replace(field_of_column=_writable(layout.field_of_column))
        deep = DeepPart(layout, network.shape, _writable(network.parameters), _writable(network.running), None)
    return FMModel(
        params=params._replace(inverse_scale=stored.inverse_scale),
        n_factors=stored.n_factors,
        rule=None if in_place else rule,
        occurs=stored.occurs,
        center=stored.center,
        scale=stored.scale,
        epochs=stored.header["epochs"],
        deep=deep,
    )


def _writable(array: NDArray[Any]) -> NDArray[Any]:
    return np.require(array, requirements=["W", "C"])


def _in_memory(stored: StoredModel, rule: str | None) -> Parameters:
    params = allocate(stored.n_features, stored.n_factors, rule)
    params.intercept[0] = stored.intercept
    factors, linear = params.factors[:, : stored.n_factors], params.linear[:, 0]
    write_dense(stored.storage, stored.factors, stored.linear, stored.kept, factors, linear)
    return with_parts(params, stored.arrays.get("parts"))


def _in_place(stored: StoredModel) -> Parameters:
    width = padded(stored.n_factors)
    factors = stored.factors if width == stored.n_factors else _widened(stored.factors, width)
    intercept = np.full(1, stored.intercept, np.float32)
    lookup = None if stored.kept is None else row_lookup(stored.kept)
    return Parameters(factors, stored.linear, intercept, stored.inverse_scale, width, lookup=lookup)


def _widened(factors: NDArray[Any], width: int) -> NDArray[Any]:
    """A copy with zeros behind each row, on cache lines of its own: for speed only."""
    n_rows, n_factors = factors.shape
    n_bytes, free = n_rows * width * factors.itemsize, free_memory()
    if n_bytes > free:
        raise validation.table_too_large_error(n_rows, n_factors, n_bytes, free)
    flat = np.zeros(n_bytes + _ALIGN, np.uint8)
    first = -flat.ctypes.data % _ALIGN
    table = flat[first : first + n_bytes].view(factors.dtype).reshape(n_rows, width)
    table[:, :n_factors] = factors
    return table


def row_lookup(kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The row of each feature, int32 (n_features,): from 1 on for those that are kept, 0 for the others."""
    lookup = np.cumsum(kept, dtype=np.int32)
    lookup *= kept
    return lookup
