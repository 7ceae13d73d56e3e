"""Columns of pandas read into the forms of `data/values.py`.

pandas is never imported for that: who has a Series has pandas already.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data import arrow_values, python_values
from fastfm_deep.data.values import (
    DATETIME,
    DATETIME_NS,
    DATETIME_NS_UTC,
    DATETIME_UTC,
    Categories,
    Lists,
    Numbers,
    Values,
)


def read_pandas(series: Any, name: str) -> Values:
    """Read a Series.

    Parameters
    ----------
    series : pandas.Series
    name : str
        The column, for messages.
    """
    pandas, dtype = sys.modules["pandas"], series.dtype
    if isinstance(dtype, np.dtype):
        return python_values.read_array(series.to_numpy(), name)
    if isinstance(dtype, pandas.CategoricalDtype):
        return _read_categories(pandas, series, name)
    if isinstance(dtype, pandas.ArrowDtype) or getattr(dtype, "storage", "").startswith("pyarrow"):
        return arrow_values.read_arrow(series.array.__arrow_array__(), name)
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return _read_instants(pandas, series, name)
    if isinstance(dtype, pandas.SparseDtype):
        return python_values.read_array(np.asarray(series.array), name)
    if isinstance(dtype, pandas.PeriodDtype | pandas.IntervalDtype):
        raise validation.value_type_error(name, dtype)
    if hasattr(dtype, "numpy_dtype"):  # the nullable numbers
        missing = series.isna().to_numpy()
        numbers = series.to_numpy(dtype=dtype.numpy_dtype, na_value=0)
        return python_values.read_array(numbers, name, missing if missing.any() else None)
    return python_values.read_objects(np.asarray(series.array, dtype=object), name)


def _read_categories(pandas: Any, series: Any, name: str) -> Categories:
    values = read_pandas(pandas.Series(series.cat.categories, copy=False), name)
    if isinstance(values, Categories | Lists):  # lists: categories that are tuples
        raise validation.value_type_error(name, f"{series.dtype} of {series.cat.categories.dtype}")
    return Categories(arrow_values.without_missing(series.cat.codes.to_numpy(), values), values)


def _read_instants(pandas: Any, series: Any, name: str) -> Numbers:
    utc = pandas.DatetimeIndex(series).tz_convert(None).to_numpy()
    values = python_values.read_array(utc, name)
    assert isinstance(values, Numbers)
    kinds = {DATETIME: DATETIME_UTC, DATETIME_NS: DATETIME_NS_UTC}
    return values._replace(kind=kinds[values.kind])
