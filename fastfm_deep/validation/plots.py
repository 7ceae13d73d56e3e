"""What is said of plots and reports that cannot be drawn."""

from __future__ import annotations

from typing import Any

from fastfm_deep.validation.errors import InputError, InputTypeError
from fastfm_deep.validation.table import shortened


def missing_matplotlib_error() -> InputError:
    """Say which extra draws."""
    return InputError("Plots need matplotlib, which the extra brings: pip install 'fastfm_deep[plot]'.")


def axes_type_error(found: Any) -> InputError:
    """Say that something given as axes is none."""
    return InputTypeError(
        f"ax={shortened(found)} must be Axes of matplotlib, or None for a figure of its own; several panels need "
        "one call each."
    )


def plotted_model_error(found: Any, needed: str) -> InputError:
    """Say that something is no model that can be drawn; `needed` says what is."""
    return InputTypeError(f"model={shortened(found)} must be {needed}.")


def no_history_error() -> InputError:
    """Say that there are no epochs to draw."""
    return InputError("history=[] holds no epoch; draw a model that fit or partial_fit has trained.")


def history_metric_error(metric: Any, known: list[str]) -> InputError:
    """Say that a metric was not measured while training."""
    return InputError(
        f"metric={metric!r} was not measured; there is {', '.join(known)}. More are measured with eval_set and "
        "eval_metric."
    )


def score_array_error(name: str, shape: tuple[int, ...]) -> InputError:
    """Say that scores are of no shape that scores have."""
    return InputError(
        f"{name} has shape={shape}, but must be (n_rows,), or what predict_proba gives, (n_rows, 2)."
    )


def score_value_error(name: str, row: int, value: float) -> InputError:
    """Say that a score is no finite number."""
    return InputError(f"{name}[{row}]={value} must be a finite number; drop such rows first.")


def probability_error(name: str, row: int, value: float) -> InputError:
    """Say that a score is no probability."""
    return InputError(
        f"{name}[{row}]={value:g} must be a probability, from 0 to 1; give what predict_proba gives, not raw "
        "scores."
    )


def one_label_error(label: Any) -> InputError:
    """Say that one label does not tell what the other one is."""
    plain = label.item() if hasattr(label, "item") else label
    return InputError(
        f"y holds one label alone, {shortened(plain)}; name both, the one that scores are for last: "
        "classes=(first, second)."
    )


def roc_class_error(label: Any) -> InputError:
    """Say that a ROC curve needs both classes."""
    return InputError(f"y holds {label!s} alone, but a ROC curve needs rows of both classes; give more rows.")


def explanation_type_error(found: Any) -> InputError:
    """Say that something is no explanation."""
    return InputTypeError(
        f"explanation={shortened(found)} must be what explain(X) of a fitted model gives; call it first."
    )


def unexplained_rows_error() -> InputError:
    """Say that a model is explained by rows."""
    return InputError("X=None: the strength of interactions is measured on rows; pass X, or what explain(X) gave.")


def too_few_fields_error(n_fields: int) -> InputError:
    """Say that interactions take two fields."""
    return InputError(
        f"n_fields={n_fields} must be at least 2 for interactions between fields; take more columns."
    )


def report_title_error(found: Any) -> InputError:
    """Say that a title is no text."""
    return InputTypeError(f"title={shortened(found)} must be text, or None.")
