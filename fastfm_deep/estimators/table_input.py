"""Tables as an estimator takes them: encoded rows, the fields of the network, and the parts that columns have.

What is learned of a table is the estimator's `encoder_`; the `encoder` that it was given stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from sklearn.base import clone

from fastfm_deep import validation
from fastfm_deep.data.encoders import Encoding
from fastfm_deep.data.feature_columns import check_columns, names_of
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.estimators.table_encoder import TableEncoder
from fastfm_deep.kernels.parts import HAS_FACTORS, HAS_WEIGHT

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_encoder(encoder: Any, linear_columns: Any, deep_columns: Any, fields: Any = None) -> None:
    """See that the hyper-parameters about tables are such, and fit each other."""
    if encoder is None:
        for name, columns in (("linear_columns", linear_columns), ("deep_columns", deep_columns)):
            if columns is not None:
                raise validation.useless_columns_error(name)
        return
    if not isinstance(encoder, TableEncoder):
        raise validation.encoder_type_error(encoder)
    if fields is not None:
        raise validation.double_fields_error()
    known = names_of(check_columns(encoder.columns))
    chosen_names("linear_columns", linear_columns, known)
    chosen_names("deep_columns", deep_columns, known)


def chosen_names(name: str, columns: Any, known: Sequence[str]) -> tuple[str, ...]:
    """Names out of a list of names or feature columns; all for None."""
    if columns is None:
        return tuple(known)
    if isinstance(columns, str) or not isinstance(columns, Sequence):
        raise validation.column_names_error(name, columns)
    found = tuple(column if isinstance(column, str) else getattr(column, "name", None) for column in columns)
    unknown = [str(given) for given, column in zip(columns, found, strict=True) if column not in known]
    if unknown:
        raise validation.unlisted_columns_error(name, unknown, known)
    return found  # type: ignore[return-value]


def training_rows(encoder: TableEncoder, X: Any) -> tuple[TableEncoder, CsrRows]:
    """A fitted copy of the encoder, and the rows of the table it was fitted to."""
    fitted = clone(encoder)
    rows = fitted.fit_transform(X)
    return fitted, fitted.encoding_.pooled_rows(rows)


def further_rows(encoder: TableEncoder, X: Any) -> CsrRows:
    """Rows of a table, after the encoder has learned its categories; units of numbers stay as they are."""
    table = encoder.table_of(X)
    kept = encoder.learn_more(table, scaling=False)
    encoding = encoder.encoding_
    return encoding.pooled_rows(encoder.encode(table, kept).as_csr(encoding.n_features))


def table_rows(encoder: TableEncoder, X: Any) -> CsrRows:
    """Rows of a table, or of a sparse matrix that the encoder has made of one."""
    if scipy.sparse.issparse(X):
        if X.shape[1] != encoder.encoding_.n_features:
            raise validation.width_error(X.shape[1], encoder.encoding_.n_features)
        return encoder.encoding_.pooled_rows(X)
    return encoder.encoding_.pooled_rows(encoder.transform(X))


def known_rows(rows: CsrRows, n_features: int) -> CsrRows:
    """The rows without features that the model of `n_features` does not have.

    They are those of training that goes on in another thread; kernels trust that there are none. The encoder is
    not asked: it may have forgotten them since.
    """
    if rows.indices.max(initial=0) < n_features:
        return rows
    kept = rows.indices < n_features
    n_kept = np.concatenate([[0], np.cumsum(kept)])
    parts = CsrRows(n_kept[rows.indptr], rows.indices[kept], rows.values[kept])
    for part in parts:
        part.flags.writeable = False
    return parts


def network_fields(encoding: Encoding, deep_columns: Any) -> FieldLayout:
    """The fields of the columns that take part in pairs and network, counted anew; -1 for others."""
    names = names_of(encoding.columns)
    chosen = set(chosen_names("deep_columns", deep_columns, names))
    is_chosen = np.array([name in chosen for name in names])
    # The last item is for the feature without a field.
    number = np.append(np.where(is_chosen, np.cumsum(is_chosen) - 1, -1), -1).astype(np.int32)
    pooling = tuple(column.pooling for column, kept in zip(encoding.learned, is_chosen, strict=True) if kept)
    of_feature = number[encoding.field_of_feature]
    return FieldLayout(of_feature, int(is_chosen.sum()), pooling if set(pooling) - {"sum"} else ())


def parts_of(encoding: Encoding, linear_columns: Any, deep_columns: Any) -> NDArray[np.uint8] | None:
    """What each feature has, weight, factors or both, (n_features,); None where all have both."""
    if linear_columns is None and deep_columns is None:
        return None
    names = names_of(encoding.columns)
    linear = set(chosen_names("linear_columns", linear_columns, names))
    deep = set(chosen_names("deep_columns", deep_columns, names))
    of_field = [HAS_WEIGHT * (name in linear) + HAS_FACTORS * (name in deep) for name in names]
    found: NDArray[np.uint8] = np.array([*of_field, 0], np.uint8)[encoding.field_of_feature]
    return found
