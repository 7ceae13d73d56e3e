"""Labels out of a column of a table file.

A *label* is what stands in the target column of a row: one of two values of any kind, or a number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfm_deep import validation
from fastfm_deep.cli.frames import row_name
from fastfm_deep.data.families import NUMBERS, TEXTS, family_of_type

# More different ones are no classes; they are not counted to the end.
_MOST_SHOWN = 5


def family_of_labels(estimator: Any) -> str:
    """What the target column holds, as far as a model knows."""
    classes = getattr(estimator, "classes_", None)
    return TEXTS if classes is not None and isinstance(classes[0], str) else NUMBERS


def read_labels(column: Any, path: str, name: str, task: str) -> NDArray[Any]:
    """Labels out of a column.

    Parameters
    ----------
    column : pyarrow.ChunkedArray, or object array
    path, name : str
        The file and the column, for messages.
    task : "binary" or "regression"

    Returns
    -------
    array (n,) of str, bool, int64 or float64
        For a regression float64.

    Raises
    ------
    InputError
        One is missing, or no number where it must be one; the message names file and row.
    """
    if isinstance(column, np.ndarray):
        if task == "regression":
            return _numbers_of_objects(column, path, name)
        import pyarrow as pa

        column = pa.chunked_array([pa.array([None if value is None else str(value) for value in column])])
    _check_present(column, path, name)
    family = family_of_type(column.type)
    if family == TEXTS:
        return _numbers_of_texts(column, path, name) if task == "regression" else _texts(column)
    if family != NUMBERS:
        raise validation.target_type_error(path, name, str(column.type), task)
    return _numbers(column, path, name, task)


def _check_present(column: Any, path: str, name: str) -> None:
    if column.null_count:
        missing = column.is_null().to_numpy()
        raise validation.missing_label_error(row_name(path, int(np.argmax(missing))), name)


def _texts(column: Any) -> NDArray[Any]:
    """Strings, each of which is kept once as long as they are few."""
    coded = column.combine_chunks()
    coded = coded if hasattr(coded, "indices") else coded.dictionary_encode()
    known = np.array(coded.dictionary.to_pylist(), object)
    labels: NDArray[Any] = known[coded.indices.to_numpy(zero_copy_only=False)]
    return labels.astype(str) if len(known) <= _MOST_SHOWN else labels


def _numbers(column: Any, path: str, name: str, task: str) -> NDArray[Any]:
    import pyarrow as pa

    if pa.types.is_decimal(column.type) or pa.types.is_dictionary(column.type):
        column = column.cast(pa.float64())
    found: NDArray[Any] = column.to_numpy()
    if task == "regression":
        found = found.astype(np.float64)
    if found.dtype.kind == "f":
        bad = ~np.isfinite(found)
        if bad.any():
            row = int(np.argmax(bad))
            if np.isnan(found[row]):
                raise validation.missing_label_error(row_name(path, row), name)
            raise validation.number_label_error(row_name(path, row), name, float(found[row]))
    return found


def _numbers_of_texts(column: Any, path: str, name: str) -> NDArray[np.float64]:
    return _numbers_of_objects(np.array(column.to_pylist(), object), path, name)


def _numbers_of_objects(values: NDArray[Any], path: str, name: str) -> NDArray[np.float64]:
    found = np.empty(len(values))
    for row, value in enumerate(values.tolist()):
        if value is None:
            raise validation.missing_label_error(row_name(path, row), name)
        try:
            found[row] = float(value)
        except ValueError:
            found[row] = np.nan
        if not np.isfinite(found[row]):
            raise validation.number_label_error(row_name(path, row), name, value)
    return found


def check_classes(labels: NDArray[Any], files: str, name: str) -> NDArray[Any]:
    """The two labels of training files, sorted."""
    classes: NDArray[Any] = np.unique(labels)
    if len(classes) != 2:
        raise validation.target_count_error(files, name, classes[: _MOST_SHOWN + 1].tolist(), len(classes))
    return classes
