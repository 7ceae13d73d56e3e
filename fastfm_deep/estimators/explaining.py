"""Fitted models that tell what their scores are made of: by column of a table, by field, or by feature.

A *group* is what is told as one, see `model.explanation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_is_fitted

from fastfm_deep import validation
from fastfm_deep.data.feature_columns import VarLenSparseFeat, names_of
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.pooling import pooled_rows
from fastfm_deep.data.row_encoder import as_arrays
from fastfm_deep.data.rows import CsrRows, as_csr_rows
from fastfm_deep.estimators import table_input
from fastfm_deep.estimators.field_layouts import read_fields
from fastfm_deep.model.explanation import (
    Groups,
    MeanSizes,
    ModelExplanation,
    RowExplanation,
    explain_entries,
    groups_of,
)
from fastfm_deep.model.interactions import InteractionStrengths, interaction_strengths

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.estimators.table_encoder import TableEncoder
    from fastfm_deep.model.params import FMModel

MOST_FEATURES = 64
"""Features of a model without fields that are groups of their own."""


class Explaining:
    """What an estimator with a model tells of its scores."""

    _model: FMModel
    encoder_: TableEncoder

    def _read_rows(self, X: Any, reset: bool) -> CsrRows:
        raise NotImplementedError

    def _shift(self) -> float:
        raise NotImplementedError

    def explain_row(self, row: Any, fields: Any = None) -> RowExplanation:
        """Split the score of one row into its parts; they add up to it, exactly.

        Parameters
        ----------
        row : matrix (1, n_features), pair of arrays, or dict
            One row as `predict` takes it; its (indices, values); or the raw value of each column, for a model
            that was fitted to a table.
        fields : optional
            What is told as one, as DeepFM takes `fields`; pooling does not matter. By default the columns of the
            encoder, or the fields that the model was fitted with, or else each non-zero of the row.

        Returns
        -------
        RowExplanation
            Intercept, linear terms by group, pairs of groups, and what the network adds, in the units of
            `decision_function` or `predict`; print it for a table of the largest parts.

        Raises
        ------
        InputError
            It is not one row, or not such as the model takes.

        Examples
        --------
        >>> from fastfm_deep import FMRegressor
        >>> X = [[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 1, 1]]
        >>> model = FMRegressor(n_factors=2, random_state=0).fit(X, [3.0, 1.0, 2.0, 3.5])
        >>> found = model.explain_row([[1, 0, 1]])
        >>> found.names
        ('feature 0', 'feature 2')
        >>> bool(abs(found.raw - model.predict([[1, 0, 1]])[0]) < 1e-4)
        True
        """
        check_is_fitted(self)
        model = self._model
        rows = table_input.known_rows(_single_row(self, row), model.n_features)
        stored = rows.values != 0.0
        columns, values = rows.indices[stored], rows.values[stored]
        groups = field_groups(self, model, fields)
        if groups is None:
            names = tuple(_feature_name(self, column) for column in columns.tolist())
            return explain_entries(model, columns, values, np.arange(len(columns)), names, self._shift())
        return explain_entries(model, columns, values, groups.of_feature[columns], groups.names, self._shift())

    def explain(self, X: Any, fields: Any = None) -> ModelExplanation:
        """How much each part adds to the scores of rows: means of absolute values.

        Parameters
        ----------
        X : matrix (n_rows, n_features), or table
            As for `predict`.
        fields : optional
            As for `explain_row`; a model of at most 64 features needs none.

        Returns
        -------
        ModelExplanation
            Of linear terms by group, pairs of groups, and the network; print it for a table of the largest parts.

        Raises
        ------
        InputError
            X is not such as `predict` takes, or the model has more than 64 features and no fields.
        """
        check_is_fitted(self)
        model = self._model
        sizes = MeanSizes(model, groups_for(self, model, fields))
        # Training that goes on in another thread may have brought features that this model does not have.
        sizes.add(table_input.known_rows(self._read_rows(X, reset=False), model.n_features))
        return sizes.mean()

    def interaction_strengths(self, fields: Any = None) -> InteractionStrengths:
        """How strongly fields interact, from the factors alone: the network of a DeepFM does not matter.

        Parameters
        ----------
        fields : optional
            As for `explain`.

        Returns
        -------
        InteractionStrengths
            `names` and `strengths` (n_groups, n_groups): the root mean square of <v_i, v_j> over all pairs of a
            feature of one field and one of the other that occurred in training. Within a field it is told only
            where rows are known to hold several of its features: for bags, and for features without a field.
        """
        check_is_fitted(self)
        model = self._model
        return interaction_strengths(model, groups_for(self, model, fields))


def groups_for(estimator: Any, model: FMModel, fields: Any = None) -> Groups:
    """What is told as one: fields, or the features of a model that has few of them.

    Raises
    ------
    InputError
        There are no fields, and too many features.
    """
    groups = field_groups(estimator, model, fields)
    if groups is not None:
        return groups
    n_features = model.n_features
    if n_features > MOST_FEATURES:
        raise validation.ungrouped_features_error(n_features, MOST_FEATURES)
    names = tuple(_feature_name(estimator, feature) for feature in range(n_features))
    return Groups(np.arange(n_features), names, np.zeros(n_features, bool))


def field_groups(estimator: Any, model: FMModel, fields: Any = None) -> Groups | None:
    """The groups that fields make: those given, the columns of a table, or those of the estimator."""
    if fields is not None:
        return _groups_of_layout(estimator, model, read_fields(fields, model.n_features))
    if not hasattr(estimator, "encoder_"):
        return _groups_of_layout(estimator, model, getattr(estimator, "fields_", None))
    encoding = estimator.encoder_.encoding_
    # More than the model has while training goes on in another thread.
    of_feature = encoding.field_of_feature[: model.n_features]
    is_bag = np.array([isinstance(column, VarLenSparseFeat) for column in encoding.columns], bool)
    return groups_of(of_feature, names_of(encoding.columns), is_bag, model.occurs)


def _groups_of_layout(estimator: Any, model: FMModel, layout: FieldLayout | None) -> Groups | None:
    """Fields that hold features; those of text may be numbered with large gaps."""
    if layout is None:
        return None
    of_feature = layout.field_of_column
    fields, firsts, sizes = np.unique(of_feature, return_index=True, return_counts=True)
    is_field = fields >= 0
    fields, firsts, sizes = fields[is_field], firsts[is_field], sizes[is_field]
    has_names = hasattr(estimator, "feature_names_in_")
    names = [
        _feature_name(estimator, first) if has_names and size == 1 else f"field {field}"
        for field, first, size in zip(fields.tolist(), firsts.tolist(), sizes.tolist(), strict=True)
    ]
    of_feature = np.where(of_feature >= 0, np.searchsorted(fields, of_feature), -1)
    # Not as long as there are fields: where they have large numbers, all are sums.
    pooling = [layout.pooling[field] for field in fields.tolist()] if layout.pooling else ["sum"] * len(fields)
    is_bag = np.array([name != "sum" for name in pooling], bool)
    return groups_of(of_feature, names, is_bag, model.occurs)


def _feature_name(estimator: Any, feature: int) -> str:
    known = getattr(estimator, "feature_names_in_", None)
    return f"feature {feature}" if known is None else str(known[feature])


def _single_row(estimator: Any, row: Any) -> CsrRows:
    if isinstance(row, Mapping):
        if not hasattr(estimator, "encoder_"):
            raise validation.no_encoder_error("explain_row of a dict")
        encoding = estimator.encoder_.encoding_
        ids, values = encoding.encode_row(row, pooled=True)
        parts = as_arrays(ids, values, encoding.n_features)
        rows = CsrRows(np.array([0, len(ids)], np.int64), *parts)
    elif isinstance(row, tuple) and len(row) == 2:
        rows = _row_of_pair(estimator, *row)
    else:
        rows = estimator._read_rows(row, reset=False)
    if rows.n_rows != 1:
        raise validation.single_row_error(rows.n_rows)
    return rows


def _row_of_pair(estimator: Any, given_indices: Any, given_values: Any) -> CsrRows:
    indices, values = np.asarray(given_indices), np.asarray(given_values)
    if not indices.size:
        indices = indices.astype(np.int64)
    has_encoder = hasattr(estimator, "encoder_")
    n_features = estimator.encoder_.encoding_.n_features if has_encoder else estimator.n_features_in_
    _check_pair(indices, values, n_features)
    X = scipy.sparse.csr_array((values, indices, [0, len(indices)]), shape=(1, n_features))
    if has_encoder:
        return table_input.table_rows(estimator.encoder_, X)
    # Not by the estimator, which would miss the names of the features.
    rows = as_csr_rows(X)
    layout = getattr(estimator, "fields_", None) if hasattr(estimator, "fields") else None
    return rows if layout is None or not layout.pooling else pooled_rows(rows, layout)


def _check_pair(indices: NDArray[Any], values: NDArray[Any], n_features: int) -> None:
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise validation.row_pair_error("indices", indices, "integers (nnz,), the features that the row holds")
    if values.shape != indices.shape or values.dtype.kind not in "biuf":
        raise validation.row_pair_error("values", values, f"numbers ({len(indices)},), one for each index")
    for extreme in (indices.min(initial=0), indices.max(initial=0)):
        if not 0 <= extreme < n_features:
            raise validation.row_index_error(int(extreme), n_features)
