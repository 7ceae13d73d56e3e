"""The table encoder as a scikit-learn transformer: raw columns in, rows and fields out.

An *encoder* is the face of an `Encoding`, which holds what has been learned.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fastfm_deep import validation
from fastfm_deep.data.encoded import Entries
from fastfm_deep.data.encoder_tables import table_to_encode, table_to_learn
from fastfm_deep.data.encoders import Encoding
from fastfm_deep.data.feature_columns import FeatureColumn, check_columns, names_of
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.index_value import from_matrices, to_matrices
from fastfm_deep.data.proposals import propose_columns
from fastfm_deep.data.row_encoder import as_arrays
from fastfm_deep.data.rows import as_csr_rows
from fastfm_deep.data.table import Table, as_table
from fastfm_deep.model.shards import thread_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Values that a thread is worth being started for.
_WORTH = 200_000


class TableEncoder(TransformerMixin, BaseEstimator):
    """Turns the columns of a table into sparse rows, and remembers how.

    Parameters
    ----------
    columns : list of SparseFeat, DenseFeat and VarLenSparseFeat
        What the columns of the table are; each becomes a field. Other columns of the table do not matter, nor does
        the order in which they stand.
    n_jobs : int, optional
        Threads; None: as many as the work is worth.

    Attributes
    ----------
    fields_ : FieldLayout
        The field of each feature, and the pooling of each field.
    feature_dictionary_ : dict
        {"missing": 0, "city": {"bj": 2, ...}, "age": 7}: one id a category, one a numeric column.
    n_features_in_ : int
        Columns of the table at fit.

    Notes
    -----
    A table is a DataFrame of pandas or polars, a table of pyarrow or anything that exports itself to Arrow, a dict
    of arrays, a list of dicts, or the name of a CSV or Parquet file.

    Examples
    --------
    >>> from fastfm_deep import DenseFeat, SparseFeat, TableEncoder
    >>> encoder = TableEncoder([SparseFeat("city"), DenseFeat("age")])
    >>> encoder.fit_transform({"city": ["bj", "sh", "bj"], "age": [20, 30, 40]}).shape
    (3, 6)
    >>> encoder.get_feature_names_out().tolist()
    ['missing', 'city=<unknown>', 'city=bj', 'city=sh', 'age', 'age=<missing>']
    """

    def __init__(self, columns: Sequence[FeatureColumn], *, n_jobs: int | None = None) -> None:
        self.columns = columns
        self.n_jobs = n_jobs

    @classmethod
    def from_frame(cls, table: Any, exclude: str | Sequence[str] = ()) -> TableEncoder:
        """An encoder with columns proposed from the types and the spread of a table's values.

        Text, booleans, dates, integers of few values or with names like "user_id" become SparseFeats, other
        numbers DenseFeats, lists and text with separators VarLenSparseFeats. Columns with a value of its own in
        every row are left out. Read it over: `encoder.columns`.

        Parameters
        ----------
        table : table
        exclude : str or list of str
            Columns that are no features: the target, say.

        Returns
        -------
        TableEncoder
            Not fitted.
        """
        read = as_table(table, "table")
        names = [exclude] if isinstance(exclude, str) else list(exclude)
        for name in names:
            if not read.has(name):
                raise validation.missing_column_error(name, read.names)
        columns, left_out = propose_columns(read, names)
        if not columns:
            raise validation.no_proposal_error(left_out)
        return cls(columns)

    def fit(self, X: Any, y: Any = None) -> TableEncoder:
        """Learn the categories and scales of a table.

        Parameters
        ----------
        X : table
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        InputError
            A column is missing, or holds what it must not; the message names column, value and row.
        """
        table, encoding, _ = self._learn_anew(X)
        self._take(X, table, encoding)
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> scipy.sparse.csr_array:
        """`fit`, then `transform`, in little more time than one of them."""
        table, encoding, kept = self._learn_anew(X)
        entries = encoding.encode(table, kept, self._n_threads(table, encoding))
        self._take(X, table, encoding)
        return entries.as_csr(self._encoding.n_features)

    def _learn_anew(self, X: Any) -> tuple[Table, Encoding, list[Any]]:
        encoding = Encoding(check_columns(self.columns))
        self._check_jobs()
        table = table_to_learn(X, encoding.columns)
        encoding.check_names(table)
        if not table.n_rows:
            raise validation.empty_error((0, len(table.names)))
        return table, encoding, encoding.learn(table, self._n_threads(table, encoding))

    def _take(self, X: Any, table: Table, encoding: Encoding) -> None:
        self._encoding = encoding
        self.n_features_in_ = len(table.names)
        self._kind = type(X).__module__.partition(".")[0]

    def partial_fit(self, X: Any, y: Any = None) -> TableEncoder:
        """Learn from further rows: new categories get the next features, those there are keep theirs.

        Categories are counted on, so that one becomes known once it has occurred `min_count` times in all; mean,
        deviation and range of dense columns move; their buckets stay.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(X)
        self.learn_more(self.table_of(X), scaling=True)
        return self

    def table_of(self, X: Any, name: str = "X") -> Table:
        """A table as it is read for what has been learned; `name` is for messages."""
        return table_to_encode(X, self._encoding, name)

    def learn_more(self, table: Table, scaling: bool) -> list[Any]:
        """Learn from further rows; what `Encoding.encode` may be given for them."""
        self._check_jobs()
        return self._encoding.learn(table, self._n_threads(table, self._encoding), scaling)

    def transform(self, X: Any) -> scipy.sparse.csr_array:
        """Rows of a table.

        Parameters
        ----------
        X : table

        Returns
        -------
        CSR array (n_rows, n_features) float32
            Pooling by mean and sqrtn is left to the model, which has `fields_`.

        Raises
        ------
        InputError
            A column is missing, or holds what it must not; the message names column, value and row.
        """
        check_is_fitted(self)
        return self.encode(self.table_of(X)).as_csr(self._encoding.n_features)

    def encode(self, table: Table, kept: list[Any] | None = None) -> Entries:
        """The arrays of `transform`; `kept` is what learning from the same rows gave."""
        self._check_jobs()
        return self._encoding.encode(table, kept, self._n_threads(table, self._encoding))

    def inverse_transform(self, X: Any) -> dict[str, Any]:
        """The columns that rows came from, for looking at them.

        Parameters
        ----------
        X : matrix (n_rows, n_features)
            As `transform` makes it.

        Returns
        -------
        table (n_rows, n_columns)
            A DataFrame of pandas or polars or a table of pyarrow where `fit` was given such, else a dict of
            arrays. Categories as they were; None for missing ones and for those that are unknown, "bucket 17" for
            hashed ones. Numbers to the precision of float32, NaN where they were missing; for a bucket its
            middle. Bags as text where they came so, else as lists.
        """
        check_is_fitted(self)
        rows = as_csr_rows(X, n_features=self._encoding.n_features, allow_empty=True)
        found = self._encoding.decode(Entries(rows.indptr, rows.indices, rows.values))
        return _as_kind(found, getattr(self, "_kind", None))

    def to_index_value(self, X: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Index and value matrices of a table, as DeepFM write-ups feed them to a network.

        Returns
        -------
        Xi : int64 array (n_rows, n_fields)
            The feature of each field, 0 ("missing") where it has none.
        Xv : float32 array (n_rows, n_fields)
            Its value: 1 for a category, the scaled number of a dense column, 0 for feature 0.

        Raises
        ------
        InputError
            A row has several values in one field; or as `transform`.
        """
        check_is_fitted(self)
        self._check_jobs()
        table = self.table_of(X)
        columns = self._encoding.encode_columns(table, None, self._n_threads(table, self._encoding))
        return to_matrices(columns, names_of(self._encoding.columns), table.n_rows)

    def from_index_value(self, Xi: Any, Xv: Any) -> scipy.sparse.csr_array:
        """Rows out of index and value matrices; what `transform` gives for the same table."""
        check_is_fitted(self)
        entries = from_matrices(Xi, Xv, self._encoding.field_of_feature, self._encoding.n_fields)
        return entries.as_csr(self._encoding.n_features)

    def transform_row(self, row: Mapping[str, Any]) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Features and values of one row, a dict of raw values, in microseconds.

        Returns
        -------
        indices : int32 array (n,)
        values : float32 array (n,)
        """
        check_is_fitted(self)
        ids, values = self._encoding.encode_row(row)
        return as_arrays(ids, values, self._encoding.n_features)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names of the features, "missing", "city=bj", "age", ...: object array (n_features,)."""
        check_is_fitted(self)
        return np.array(self._encoding.names(), dtype=object)

    @property
    def fields_(self) -> FieldLayout:
        """The field of each feature, and the pooling of each field."""
        check_is_fitted(self)
        return self._encoding.fields()

    @property
    def feature_dictionary_(self) -> dict[str, Any]:
        """One id a category, one a numeric column, 0 for "missing"."""
        check_is_fitted(self)
        return self._encoding.dictionary()

    @property
    def encoding_(self) -> Encoding:
        """What has been learned."""
        if not self.__sklearn_is_fitted__():  # asked by hand: single rows come this way, and have microseconds
            check_is_fitted(self)
        return self._encoding

    @classmethod
    def of_encoding(cls, encoding: Encoding, n_columns: int) -> TableEncoder:
        """A fitted encoder of what has been learned elsewhere."""
        found = cls(list(encoding.columns))
        found._encoding = encoding
        found.n_features_in_ = n_columns
        return found

    def _check_jobs(self) -> None:
        if self.n_jobs is not None:
            validation.check_jobs(self.n_jobs)

    def _n_threads(self, table: Table, encoding: Encoding) -> int:
        return thread_count(self.n_jobs, table.n_rows * encoding.n_fields, _WORTH)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_encoding")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        return tags


def _as_kind(columns: dict[str, Any], kind: str | None) -> Any:
    """Columns as a table of the library they came from, if it is there, else as a dict of arrays."""
    library = sys.modules.get(kind or "")
    if kind == "pandas" and library is not None:
        return library.DataFrame({name: _as_series(library, values) for name, values in columns.items()})
    if kind in ("polars", "pyarrow") and library is not None:
        build = library.DataFrame if kind == "polars" else library.table
        try:
            return build({name: _listed(values) for name, values in columns.items()})
        except Exception:  # text or integers that the library has no type for, or a mixture of types
            pass
    return {name: _as_array(values) for name, values in columns.items()}


def _as_series(pandas: Any, values: Any) -> Any:
    """A Series of the type that its values say; of objects where pandas would make others of them."""
    values = _listed(values)
    if isinstance(values, np.ndarray):
        return pandas.Series(values)
    types = set(map(type, values))
    if types <= {str, type(None)} or (len(types) == 1 and not types & {list, bytes}):
        try:
            return pandas.Series(values)
        except (ValueError, OverflowError):  # half of a surrogate pair
            pass
    return pandas.Series(_as_array(values), dtype=object)


def _listed(values: Any) -> Any:
    """As polars and pyarrow take a column: times of nanoseconds all as such."""
    if isinstance(values, np.ndarray) or not any(isinstance(value, np.datetime64) for value in values):
        return values
    try:
        return np.array([_without_zone(value) for value in values], "datetime64[ns]")
    except (TypeError, ValueError):
        return values


def _without_zone(value: Any) -> Any:
    return value.replace(tzinfo=None) if isinstance(value, dt.datetime) and value.tzinfo else value


def _as_array(values: Any) -> NDArray[Any]:
    if isinstance(values, np.ndarray):
        return values
    array = np.empty(len(values), object)
    array[:] = values
    return array
