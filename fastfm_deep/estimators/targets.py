"""Targets and sample weights: what comes beside X, checked and in the units of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation

if TYPE_CHECKING:
    from numpy.typing import NDArray


# Kernels take weights as float32, and gradients near its smallest number change nothing.
_LEAST_WEIGHT = 1e-30


def read_targets(y: Any, n_rows: int, name: str = "y") -> NDArray[Any]:
    """Check that `y` is one column, as long as X."""
    from sklearn.utils.validation import column_or_1d

    if y is None:
        raise validation.missing_targets_error(name)
    if hasattr(y, "toarray"):
        raise validation.InputError(f"{name} is a sparse matrix, but must be dense; use {name}.toarray().ravel().")
    try:
        column: NDArray[Any] = column_or_1d(y, warn=True)
    except (ValueError, TypeError) as error:
        raise validation.InputError(f"{name} must be one column of targets: {error}") from error
    if len(column) != n_rows:
        raise validation.length_error(name, len(column), n_rows)
    return column


def read_numbers(y: Any, n_rows: int, name: str = "y") -> NDArray[np.float64]:
    """Targets of a regression: finite float64 (n_rows,)."""
    column = read_targets(y, n_rows, name)
    if column.dtype.kind == "c":
        raise validation.number_type_error(name, column.dtype)
    try:
        numbers = np.asarray(column, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise validation.conversion_error(name, error) from error
    _check_finite(numbers, name)
    return numbers


def _check_finite(numbers: NDArray[np.float64], name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise validation.target_value_error(name, int(bad[0]), float(numbers[bad[0]]))


def read_labels(y: Any, n_rows: int, name: str = "y") -> NDArray[Any]:
    """Labels of a classification, any values that can be told apart and sorted, (n_rows,)."""
    from sklearn.utils.multiclass import check_classification_targets

    column = read_targets(y, n_rows, name)
    if column.dtype.kind == "f":
        _check_finite(column.astype(np.float64, copy=False), name)
    if column.dtype.kind == "O":
        for row, label in enumerate(column):
            if _is_missing(label):
                raise validation.target_value_error(name, row, label)
    if column.dtype.kind == "f" or column.dtype.kind == "c":
        try:
            check_classification_targets(column)
        except ValueError as error:
            raise validation.InputError(f"{name} holds no labels: {error}") from error
    return column


def _is_missing(label: Any) -> bool:
    try:
        return label is None or bool(label != label)
    except TypeError:  # pandas.NA answers neither yes nor no
        return True


def find_classes(labels: NDArray[Any], name: str = "y") -> NDArray[Any]:
    """The two labels that occur, sorted."""
    classes = _distinct(labels, name)
    if len(classes) != 2:
        raise validation.class_count_error(name, classes)
    return classes


def check_classes(classes: Any) -> NDArray[Any]:
    """The two labels that were announced, sorted."""
    found = _distinct(np.asarray(classes).ravel(), "classes")
    if len(found) != 2:
        raise validation.class_count_error("classes", found)
    return found


def _distinct(labels: NDArray[Any], name: str) -> NDArray[Any]:
    try:
        return np.unique(labels)
    except TypeError as error:
        raise validation.InputError(
            f"{name} mixes labels of kinds that cannot be sorted ({error}); make all of them strings, say."
        ) from error


def signs(labels: NDArray[Any], classes: NDArray[Any], name: str = "y") -> NDArray[np.float64]:
    """-1.0 for the first of two classes, +1.0 for the second."""
    positive = labels == classes[1]
    unknown = np.flatnonzero(~positive & (labels != classes[0]))
    if len(unknown):
        raise validation.unknown_label_error(name, int(unknown[0]), labels[unknown[0]], classes)
    return np.where(positive, 1.0, -1.0)


def read_weights(weights: Any, n_rows: int, name: str = "sample_weight") -> NDArray[np.float64] | None:
    """Sample weights: finite, none negative, not all zero, float64 (n_rows,); None for None."""
    if weights is None:
        return None
    try:
        numbers = np.asarray(weights, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise validation.conversion_error(name, error) from error
    if numbers.ndim == 0:
        numbers = np.full(n_rows, float(numbers))
    if numbers.ndim != 1:
        raise validation.InputError(f"{name} has shape={numbers.shape}, but must be 1D, one weight for each row.")
    if len(numbers) != n_rows:
        raise validation.length_error(name, len(numbers), n_rows)
    bad = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0) & (numbers <= 1e30)))
    if len(bad):
        raise validation.weight_error(name, int(bad[0]), float(numbers[bad[0]]))
    if not numbers.any():
        raise validation.InputError(f"{name} is zero for every row; at least one must be greater than 0.")
    if numbers.max() < _LEAST_WEIGHT:
        raise validation.tiny_weights_error(name, float(numbers.max()), _LEAST_WEIGHT)
    return numbers


def class_weights(class_weight: Any, classes: NDArray[Any], y: NDArray[np.float64]) -> tuple[float, float] | None:
    """Weights of the two classes, from None, "balanced" or a dict; `y` holds -1 and +1."""
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        validation.check_choice(
            "class_weight", class_weight, ["balanced"], hint="A dict of label: weight works too."
        )
        n_positive = int((y > 0).sum())
        n_negative = len(y) - n_positive
        return len(y) / (2 * max(n_negative, 1)), len(y) / (2 * max(n_positive, 1))
    if not isinstance(class_weight, dict):
        raise validation.InputError(
            f"class_weight={class_weight!r} must be None, 'balanced' or a dict of label: weight."
        )
    labels = classes.tolist()
    for label in class_weight:
        if label not in labels:
            raise validation.InputError(
                f"class_weight names the label {label!r}, but the classes are {labels}; use these."
            )
    first, second = (
        validation.check_real(f"class_weight[{label!r}]", class_weight.get(label, 1.0)) for label in labels
    )
    return first, second


def units(numbers: NDArray[np.float64], weight: NDArray[np.float64] | None) -> tuple[float, float]:
    """Centre and scale of regression targets: weighted mean and standard deviation, never 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        center = float(np.average(numbers, weights=weight))
        scale = float(np.sqrt(np.average((numbers - center) ** 2, weights=weight)))
    if not np.isfinite(center) or not np.isfinite(scale):
        raise validation.InputError(
            f"y holds values up to {np.abs(numbers).max():.3g}, whose squares no float64 can hold; scale y down."
        )
    # Rounding leaves a tiny deviation in constant targets; their size is the better unit then.
    if scale <= 1e-7 * abs(center) or scale < 1e-150:
        scale = abs(center) if abs(center) > 1e-150 else 1.0
    return center, scale
