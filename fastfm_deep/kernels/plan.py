"""Plans: a model as one number for compiled code, the address of an array of addresses and sizes.

Each array that is passed from Python costs a third of a microsecond, and a model has a dozen. Whoever makes a plan
keeps the arrays alive.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import row_function
from fastfm_deep.kernels.fields import FieldPointers
from fastfm_deep.kernels.forward import PackedPointers
from fastfm_deep.kernels.pointers import FLOAT_BYTES, TablePointers, if_marked

PLAN = (
    "linear",
    "linear_width",
    "factors",
    "row_bytes",
    "padded_factors",
    "inverse_scale",
    "lookup",
    "n_features",
    "intercept",
    "of_id",
    "maxed",
    "n_fields",
    "weights",
    "widths",
    "n_layers",
    "activation",
    "units",
    "is_logistic",
    "file",
    "file_state",
)
"""What the numbers of a plan are, int64; an address of 0 is that of nothing. Without a network `n_fields` is -1.

`units`, float64 (4,), makes answers of raw scores: what is added to them after they are multiplied, what they are
multiplied by, and the bounds they are kept within. `file` is the descriptor of the file whose maps the tables are,
or -1, and `file_state` what it was, see `kernels.file_state`.
"""

(
    _LINEAR,
    _LINEAR_WIDTH,
    _FACTORS,
    _ROW_BYTES,
    _PADDED,
    _INVERSE_SCALE,
    _LOOKUP,
    N_FEATURES,
    _INTERCEPT,
    _OF_ID,
    _MAXED,
    _N_FIELDS,
    _WEIGHTS,
    _WIDTHS,
    _N_LAYERS,
    _ACTIVATION,
    _UNITS,
    _IS_LOGISTIC,
    FILE,
    FILE_STATE,
) = range(len(PLAN))


class PlanPointers(NamedTuple):
    """A plan, taken apart.

    intercept, units : pointers
    padded_factors, n_vectors : int, numbers of a vector, and vectors of a row that the network takes
    """

    tables: TablePointers
    fields: FieldPointers
    any_maxed: bool
    network: PackedPointers
    intercept: int
    padded_factors: int
    n_vectors: int
    units: int
    is_logistic: bool


@row_function
def point_at_plan(address, lanes, lookup_marker):
    """The plan at `address`, for parameters stored as `lanes` says."""
    plan = ln.int64_pointer(address)
    padded, inverse_scale = ln.at(plan, _PADDED), ln.at(plan, _INVERSE_SCALE)
    n_fields, weights = ln.at(plan, _N_FIELDS), ln.at(plan, _WEIGHTS)
    n_vectors = 0
    if weights != 0:
        n_vectors = n_fields if n_fields > 0 else 2
    tables = TablePointers(
        ln.float_pointer(ln.at(plan, _LINEAR)),
        ln.at(plan, _LINEAR_WIDTH),
        ln.at(plan, _FACTORS),
        ln.at(plan, _ROW_BYTES),
        padded * FLOAT_BYTES,
        padded // len(lanes),
        ln.float_pointer(inverse_scale),
        inverse_scale != 0,
        None,
        if_marked(ln.int32_pointer(ln.at(plan, _LOOKUP)), lookup_marker),
    )
    maxed = ln.at(plan, _MAXED)
    return PlanPointers(
        tables,
        FieldPointers(ln.int32_pointer(ln.at(plan, _OF_ID)), ln.byte_pointer(maxed), n_fields),
        maxed != 0,
        PackedPointers(
            weights, ln.int64_pointer(ln.at(plan, _WIDTHS)), ln.at(plan, _N_LAYERS), ln.at(plan, _ACTIVATION)
        ),
        ln.float_pointer(ln.at(plan, _INTERCEPT)),
        padded,
        n_vectors,
        ln.double_pointer(ln.at(plan, _UNITS)),
        ln.at(plan, _IS_LOGISTIC) != 0,
    )


@row_function
def answer_of(plan, raw):
    """What a raw score is told as; NaN where it is not finite."""
    if not abs(raw) < np.inf:
        return np.nan
    answer = ln.at(plan.units, 0) + ln.at(plan.units, 1) * raw
    if plan.is_logistic:
        return 1.0 / (1.0 + math.exp(-answer))
    return min(max(answer, ln.at(plan.units, 2)), ln.at(plan.units, 3))
