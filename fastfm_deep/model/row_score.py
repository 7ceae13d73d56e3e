"""Answers of a model to rows as they come: what a call needs is prepared once, so that asking takes microseconds.

An *answer* is what a raw score is told as; see `model.units`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep.data.rows import CsrRows
from fastfm_deep.kernels.file_state import CAN_ASK
from fastfm_deep.kernels.plan import PLAN
from fastfm_deep.kernels.row_score import HAS_ROW_SCORE, Kind, row_score, rows_score
from fastfm_deep.model.packed import pack_network
from fastfm_deep.model.params import FMModel, Parameters, for_scoring, scoring_lanes, storage_of
from fastfm_deep.model.score import exact_score, raw_scores
from fastfm_deep.model.units import RAW, Units

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from fastfm_deep.model.mapped import MappedFile

INDEX_TYPES = (np.dtype(np.int32), np.dtype(np.int64))


class RowScorer:
    """Answers rows of a model; may be asked by several threads at once.

    Parameters
    ----------
    model : FMModel
    units : Units
    mapped : MappedFile, optional
        The file whose maps the tables are: an answer is NaN once it has been changed.

    Attributes
    ----------
    answer : callable (indices, values)
        The answer to one row, given as contiguous arrays, values float32; NaN where something is wrong, with the
        row or with float32. Only while this object is alive.
    index_type : dtype
        What indices are made of here, in lists, for one.
    answer_rows : callable (indptr, indices, values, out), or None without compiled code
        The same of many rows, see `kernels.row_score.rows_score`; indptr and indices are of one type.
    """

    answer: Callable[[NDArray[Any], NDArray[Any]], float]
    answer_rows: Callable[..., int] | None

    def __init__(self, model: FMModel, units: Units = RAW, mapped: MappedFile | None = None) -> None:
        self.model = model
        self.epochs = model.epochs  # of training, which moves tables in place, but not the packed network
        self._mapped = mapped if CAN_ASK else None
        self.units = units
        self._params = for_scoring(model)
        self.index_type = INDEX_TYPES[model.n_features >= 2**31]
        self._types: tuple[np.dtype[Any], ...] = ()
        self.answer, self.answer_rows = self._answer_plainly, None
        if HAS_ROW_SCORE:
            self._plan, self._owned = _plan_of(model, self._params, units, self._mapped)
            self._take(self.index_type)

    def score(self, ids: Sequence[int], values: Sequence[float]) -> float:
        """The answer to a row.

        Parameters
        ----------
        ids : sequence of int
            Each once, below the width of the model.
        values : sequence of float
            Finite as float32, and pooled.
        """
        indices, numbers = np.array(ids, self.index_type), np.array(values, np.float32)
        found = self.answer(indices, numbers)
        return found if found == found else self.exact(indices, numbers)

    def exact(self, indices: NDArray[Any], values: NDArray[Any]) -> float:
        """The answer to a row that is sound, computed in float64."""
        return self.units.answer(exact_score(self.model, _single_row(indices, values), 0))

    def _answer_plainly(self, indices: NDArray[Any], values: NDArray[Any]) -> float:
        return self.units.answer(float(raw_scores(self.model, _single_row(indices, values))[0]))

    def take_type(self, index_type: np.dtype[Any]) -> bool:
        """Let indices be of this type from now on; False if they never may.

        A type that nobody has asked for is refused with a TypeError; for the others code is compiled once.
        """
        if index_type not in INDEX_TYPES:
            return False
        if HAS_ROW_SCORE:
            # That of this machine, which the type given is only equal to.
            self._take(INDEX_TYPES[INDEX_TYPES.index(index_type)])
        return True

    def _take(self, index_type: np.dtype[Any]) -> None:
        if index_type in self._types:
            return
        taken = tuple(sorted((*self._types, index_type), key=str))
        params, has_network = self._params, self.model.deep is not None
        kind = Kind(storage_of(params), len(scoring_lanes(params)), params.lookup is not None, has_network)
        plan = self._plan.ctypes.data
        self.answer = partial(row_score(kind, taken), plan)
        self.answer_rows = partial(_RowsKernels(kind), plan)
        # At last: other threads take it for a sign that there is code for the type.
        self._types = taken


class _RowsKernels:
    """The kernels for many rows, one for each type of indices: single rows need not wait for them."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._kernels: dict[np.dtype[Any], Any] = {}

    def __call__(self, plan: int, indptr: NDArray[Any], *arrays: NDArray[Any]) -> int:
        kernel = self._kernels.get(indptr.dtype)
        if kernel is None:
            index_type = INDEX_TYPES[INDEX_TYPES.index(indptr.dtype)]
            kernel = self._kernels[indptr.dtype] = rows_score(self._kind, (index_type,))
        return int(kernel(plan, indptr, *arrays))


def _plan_of(
    model: FMModel, params: Parameters, units: Units, mapped: MappedFile | None
) -> tuple[NDArray[np.int64], list[Any]]:
    """The plan of a model for `kernels.row_score`, and what its addresses lead to."""
    found: dict[str, Any] = {
        "linear": params.linear,
        "linear_width": params.linear.shape[1],
        "factors": params.factors,
        "row_bytes": params.factors.strides[0] if params.factors.size else 0,
        "padded_factors": params.padded_factors,
        "inverse_scale": params.inverse_scale,
        "lookup": params.lookup,
        "n_features": model.n_features,
        "intercept": params.intercept,
        "n_fields": -1,
        "units": np.array([units.shift, units.scale, units.low, units.high]),
        "is_logistic": units.is_logistic,
        "file": -1 if mapped is None else mapped.descriptor,
        "file_state": None if mapped is None else mapped.state,
    }
    if model.deep is not None:
        packed, fields = (pack_network(model.deep, model.n_factors, params.padded_factors), model.deep.fields())
        found |= {
            "of_id": fields.of_id,
            "maxed": fields.maxed,
            "n_fields": fields.n_fields,
            "weights": packed.weights,
            "widths": packed.widths,
            "n_layers": len(packed.widths) - 1,
            "activation": packed.activation,
        }
    return np.array([_number_of(found.get(name)) for name in PLAN], np.int64), list(found.values())


def _number_of(value: Any) -> int:
    """A size, or the address of an array; 0 for one that is empty."""
    if isinstance(value, np.ndarray):
        return int(value.ctypes.data) if value.size else 0
    return int(value or 0)


def _single_row(indices: NDArray[Any], values: NDArray[Any]) -> CsrRows:
    parts = (np.array((0, len(indices)), np.int64), indices.view(), np.asarray(values, np.float32).view())
    for part in parts:
        part.flags.writeable = False
    return CsrRows(*parts)
