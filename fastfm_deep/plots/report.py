"""A page to look at: what a model is, how well it answers rows, and what its answers are made of."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_is_fitted

from fastfm_deep import __version__, validation
from fastfm_deep.data.output import check_output_path, replace_file
from fastfm_deep.estimators.explaining import MOST_FEATURES
from fastfm_deep.estimators.fitted import FittedFM
from fastfm_deep.plots import canvas, facts, sections
from fastfm_deep.plots.answers import Binary, Numbers, read_binary, read_numbers
from fastfm_deep.plots.page import as_html

# Mean contributions of as many rows are known to a percent, and take seconds at most.
_EXPLAINED_ROWS = 50_000


def report(
    model: Any,
    X: Any,
    y: Any,
    out: str | os.PathLike[str] = "report.html",
    sample_weight: Any = None,
    title: str | None = None,
) -> Path:
    """Write a page about a model and how well it predicts rows: one HTML file that needs nothing else.

    It holds what the model is, metrics, learning curves, ROC and calibration curves or errors of predictions, the
    distribution of scores, the importance of fields, and the strength of their interactions.

    Parameters
    ----------
    model : fitted estimator
        One of FMClassifier, FMRegressor, DeepFMClassifier and DeepFMRegressor.
    X : matrix (n_rows, n_features), or a table
        Rows that the model was not trained on, as `predict` takes them.
    y : array (n_rows,)
        Their labels or numbers.
    out : str or path, default "report.html"
        The page; it replaces an earlier one only once it is complete.
    sample_weight : array (n_rows,), optional
        For metrics and curves; contributions are means over rows as they are.
    title : str, optional

    Returns
    -------
    Path
        Where the page is.

    Raises
    ------
    InputError
        matplotlib is not installed, or something given cannot be used; raised before anything is written.

    Examples
    --------
    >>> import fastfm_deep
    >>> fastfm_deep.report(model, X_test, y_test, "report.html")  # doctest: +SKIP
    """
    canvas.matplotlib()
    target = check_output_path(out)
    if title is not None and not isinstance(title, str):
        raise validation.report_title_error(title)
    if not isinstance(model, FittedFM):
        raise validation.plotted_model_error(model, "a fitted FMClassifier, FMRegressor or DeepFM of fastfm_deep")
    check_is_fitted(model)
    page = _page(model, _as_rows(model, X), y, sample_weight, title)
    with replace_file(out) as file:
        file.write(page.encode())
    return target


def _page(model: Any, X: Any, y: Any, sample_weight: Any, title: str | None) -> str:
    answers: Binary | Numbers
    if hasattr(model, "classes_"):
        answers = read_binary(y, model.decision_function(X), sample_weight, model.classes_)
        n_rows, middle = len(answers.scores), sections.class_section(answers)
    else:
        answers = read_numbers(y, model.predict(X), sample_weight)
        n_rows, middle = len(answers.y), sections.number_section(answers)
    if facts.has_fields(model):
        fields = sections.field_sections(model.explain(_some_rows(X)), "field")
    elif model.n_features_in_ <= MOST_FEATURES:
        fields = sections.field_sections(model.explain(_some_rows(X)), "feature")
    else:
        fields = sections.fieldless_sections()
    found = [
        sections.model_section(model),
        sections.metrics_section(answers),
        sections.history_section(model),
        middle,
        *fields,
    ]
    weighted = "" if answers.weight is None else ", weighted"
    subtitle = f"Measured on {n_rows:,} rows{weighted}."
    now = dt.datetime.now(dt.timezone.utc)
    foot = f"Made by fastfm_deep {__version__} on {now:%Y-%m-%d at %H:%M} UTC."
    return as_html(type(model).__name__ if title is None else title, subtitle, found, foot)


def _as_rows(model: Any, X: Any) -> Any:
    """A table as the rows that the model's encoder makes of it, once for all questions; others as they are."""
    if not hasattr(model, "encoder_") or scipy.sparse.issparse(X):
        return X
    return model.encoder_.transform(X)


def _some_rows(X: Any) -> Any:
    """At most so many rows as are explained: a fixed random choice."""
    n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
    if n_rows <= _EXPLAINED_ROWS:
        return X
    rows = np.sort(np.random.default_rng(0).choice(n_rows, _EXPLAINED_ROWS, replace=False))
    if scipy.sparse.issparse(X):
        return X.tocsr()[rows]
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    return [X[row] for row in rows] if isinstance(X, list | tuple) else X[rows]
