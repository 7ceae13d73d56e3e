"""What is compared in plots: targets, what a model answers to their rows, and weights, checked.

A row of weight 0 is left out here, so that nothing needs to divide by what may be 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.estimators import targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Binary(NamedTuple):
    """Rows of two classes and their scores."""

    positive: NDArray[np.bool_]  # (n_rows,); of the second class
    scores: NDArray[np.float64]  # (n_rows,)
    weight: NDArray[np.float64] | None  # (n_rows,), all greater than 0
    classes: tuple[str, str]

    @property
    def signs(self) -> NDArray[np.float64]:
        """-1.0 for the first class, +1.0 for the second."""
        return np.where(self.positive, 1.0, -1.0)

    @property
    def only_class(self) -> str | None:
        """The class of all rows, if they are of one."""
        n_positive = int(np.count_nonzero(self.positive))
        return None if 0 < n_positive < len(self.positive) else self.classes[n_positive > 0]


class Numbers(NamedTuple):
    """Rows of a regression and what was predicted for them."""

    y: NDArray[np.float64]  # (n_rows,)
    predicted: NDArray[np.float64]  # (n_rows,)
    weight: NDArray[np.float64] | None  # (n_rows,), all greater than 0


def read_binary(
    y: Any,
    scores: Any,
    sample_weight: Any = None,
    classes: Sequence[Any] | None = None,
    *,
    name: str = "p",
    probabilities: bool = False,
) -> Binary:
    """Labels of any two kinds and their scores.

    Parameters
    ----------
    y : array (n_rows,)
    scores : array (n_rows,) or (n_rows, 2)
        For the second class, which is the last column.
    sample_weight : array (n_rows,), optional
    classes : sequence of two labels, optional
        Sorted as a classifier's `classes_`; None: those that occur.
    name : str
        Of the scores, for messages.
    probabilities : bool
        Whether scores must lie between 0 and 1.
    """
    found = _read_scores(scores, name)
    labels = targets.read_labels(y, len(found))
    weight = targets.read_weights(sample_weight, len(found))
    counted = np.ones(len(found), bool) if weight is None else weight > 0
    if not counted.any():
        raise validation.empty_error((0, 1))
    labels, found = labels[counted], found[counted]
    if probabilities:
        bad = np.flatnonzero((found < 0) | (found > 1))
        if len(bad):
            raise validation.probability_error(name, int(np.flatnonzero(counted)[bad[0]]), float(found[bad[0]]))
    if classes is None:
        if (labels == labels[0]).all():
            raise validation.one_label_error(labels[0])
        known = targets.find_classes(labels)
    else:
        known = np.asarray(classes)
        if known.shape != (2,):
            raise validation.class_count_error("classes", known.ravel())
    positive = targets.signs(labels, known) > 0
    named = name_of(known[0]), name_of(known[1])
    return Binary(positive, found, None if weight is None else weight[counted], named)


def read_numbers(y: Any, predicted: Any, sample_weight: Any = None, *, name: str = "predicted") -> Numbers:
    """Targets of a regression and predictions for them."""
    found = _read_scores(predicted, name)
    numbers = targets.read_numbers(y, len(found))
    weight = targets.read_weights(sample_weight, len(found))
    if not len(found):
        raise validation.empty_error((0, 1))
    if weight is None or weight.all():
        return Numbers(numbers, found, weight)
    counted = weight > 0
    return Numbers(numbers[counted], found[counted], weight[counted])


def binary_of_model(model: Any, X: Any, y: Any, sample_weight: Any, *, raw: bool = False) -> Binary:
    """What a classifier says of rows: probabilities, or raw scores."""
    if not hasattr(model, "predict_proba") or not hasattr(model, "decision_function"):
        raise validation.plotted_model_error(model, "a classifier of two classes")
    scores = model.decision_function(X) if raw else model.predict_proba(X)[:, 1]
    return read_binary(y, scores, sample_weight, model.classes_)


def name_of(label: Any) -> str:
    """A label as people write it: 1, not 1.0."""
    number = label.item() if isinstance(label, np.generic) else label
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


def _read_scores(scores: Any, name: str) -> NDArray[np.float64]:
    try:
        found = np.asarray(scores, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise validation.conversion_error(name, error) from error
    if found.ndim == 2 and found.shape[1] == 2:
        found = found[:, 1]
    if found.ndim != 1:
        raise validation.score_array_error(name, found.shape)
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise validation.score_value_error(name, int(bad[0]), float(found[bad[0]]))
    return found
