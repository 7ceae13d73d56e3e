"""What is said of targets, labels and weights that cannot be used."""

from __future__ import annotations

import math
from typing import Any

from fastfm_deep.validation.errors import InputError


def _plain(value: Any) -> Any:
    """A number of Python instead of NumPy's, which shows as np.float64(5.0)."""
    return value.item() if hasattr(value, "item") else value


def missing_targets_error(name: str) -> InputError:
    """Say that there are no targets, in the words scikit-learn's own checks look for."""
    return InputError(f"This estimator requires y to be passed, but the target {name} is None.")


def length_error(name: str, found: int, n_rows: int) -> InputError:
    """Say that X and what belongs to its rows differ in length."""
    return InputError(
        f"{name} has {found} entries, but X has inconsistent numbers of samples: {n_rows} rows; give one entry "
        "for each row."
    )


def target_value_error(name: str, row: int, value: Any) -> InputError:
    """Say that a target is missing or infinite."""
    kind = "infinity" if isinstance(value, float) and math.isinf(value) else "NaN"
    return InputError(f"{name}[{row}]={value} (row {row}): {name} contains {kind}. Drop such rows first.")


def class_count_error(name: str, classes: Any) -> InputError:
    """Say that a binary classifier needs two classes."""
    if len(classes) < 2:
        found = f"one class, {_plain(classes[0])!r}" if len(classes) else "no class"
        return InputError(
            f"{name} holds {found}, but a classifier needs two; a chunk of one class is fine for "
            "partial_fit(X, y, classes=[...])."
        )
    shown = ", ".join(repr(label) for label in classes[:5].tolist())
    return InputError(
        f"Only binary classification is supported. {name} holds {len(classes)} labels ({shown}"
        f"{', ...' if len(classes) > 5 else ''}): the type of the target is multiclass. Use "
        "sklearn.multiclass.OneVsRestClassifier, or FMRegressor for ratings."
    )


def unknown_label_error(name: str, row: int, label: Any, classes: Any) -> InputError:
    """Say that a label is none of the classes the model knows."""
    return InputError(
        f"{name}[{row}]={_plain(label)!r} is none of the classes {classes.tolist()}; all labels must be known "
        "from the first fit (or its classes=) on."
    )


def weight_error(name: str, row: int, value: float) -> InputError:
    """Say that a sample weight cannot be used."""
    return InputError(
        f"{name}[{row}]={value:g} must be a finite number from 0 (the row has no effect) to 1e30; replace it."
    )


def tiny_weights_error(name: str, largest: float, least: float) -> InputError:
    """Say that no row would have an effect."""
    return InputError(
        f"{name} is at most {largest:g}, but at least one weight must reach {least:g} to have an effect; multiply "
        "all of them by the same factor."
    )
