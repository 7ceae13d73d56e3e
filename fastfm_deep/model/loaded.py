"""Loaded models: a model file as it was at one moment, and how rows of all kinds become rows of it.

Nothing of a loaded model changes, so that threads may go on with it while another takes its place.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.dense import is_frame
from fastfm_deep.data.encoder_tables import table_to_encode
from fastfm_deep.data.encoders import Encoding
from fastfm_deep.data.feature_columns import names_of
from fastfm_deep.data.pooling import pooled_rows
from fastfm_deep.data.rows import CsrRows, as_csr_rows, is_sparse
from fastfm_deep.data.table import is_table
from fastfm_deep.model.plain_score import PlainScorer
from fastfm_deep.model.stored import contradictions_refused, read_stored_model
from fastfm_deep.model.units import Units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.table import Table
    from fastfm_deep.model.compiled_score import CompiledScorer

_LARGEST = float(np.finfo(np.float32).max)


class LoadedModel:
    """A model file, ready to score.

    Parameters
    ----------
    path : str or path
    mmap : bool
        Map the file.
    plain : bool
        Score with NumPy alone.

    Attributes
    ----------
    path : str
    stored : StoredModel
    encoding : Encoding, or None
        Of a model that was fitted to a table.
    engine : CompiledScorer or PlainScorer
    """

    def __init__(self, path: str | os.PathLike[str], mmap: bool, plain: bool) -> None:
        self.path = os.fsdecode(path)
        self.plain = plain
        self.stored = stored = read_stored_model(path, mmap)
        self.n_features = stored.n_features
        self.encoding: Encoding | None = None
        if stored.encoder is not None:
            with contradictions_refused(path):
                self.encoding = Encoding.from_state(*stored.encoder, plain)
                if self.encoding.n_features != stored.n_features:
                    raise ValueError(f"found an encoder of {self.encoding.n_features} features")
        shift = stored.center + stored.shift
        low, high = (-math.inf, math.inf) if stored.bounds is None else stored.bounds
        units = Units(shift, stored.scale, low, high, stored.is_classifier), Units(shift, stored.scale)
        self.engine: CompiledScorer | PlainScorer
        if plain:
            self.engine = PlainScorer(stored, *units)
        else:
            try:
                from fastfm_deep.model.compiled_score import CompiledScorer
            except ModuleNotFoundError as error:
                if (error.name or "").partition(".")[0] not in ("numba", "llvmlite"):
                    raise
                raise validation.no_numba_error() from error
            self.engine = CompiledScorer(stored, *units)
        self.units = units
        layout = stored.layout if stored.header["class"].startswith("DeepFM") else None
        if self.encoding is not None:
            layout = self.encoding.fields()
        self.layout = layout
        self.pools = layout is not None and bool(layout.fields_with("mean", "sqrtn").any())
        self._numbers: dict[str, int] | None = None
        self.asks_itself = stored.mapped is None or (not plain and self.engine.asks_itself)  # type: ignore[union-attr]
        """Whether what answers single rows sees by itself that the file is still what it was."""
        # By whether raw scores are wanted.
        self.row_scorers: dict[bool, Any] = {False: _NoRowScorer, True: _NoRowScorer}
        # Without compiled code nothing looks at a row before it is scored.
        if not self.pools and not plain and self.engine.row_scorers[False].answer_rows is not None:  # type: ignore[union-attr]
            self.row_scorers = self.engine.row_scorers  # type: ignore[union-attr]
        self.check()

    def check(self) -> None:
        """See that the file, where it is mapped, is still what it was; see `MappedFile.check`."""
        if self.stored.mapped is not None:
            self.stored.mapped.check()

    @property
    def columns(self) -> list[str]:
        """Names of the columns of a model that was fitted to a table."""
        return [] if self.encoding is None else list(names_of(self.encoding.columns))

    # Rows of a matrix, or of a table.

    def csr_arrays(self, X: Any) -> CsrRows | None:
        """The arrays of a CSR matrix as they are; None for anything else, or where values are to be pooled."""
        if self.pools or getattr(X, "format", None) != "csr" or not is_sparse(X):
            return None
        parts = X.indptr, X.indices, X.data
        if len(X.shape) != 2 or any(type(part) is not np.ndarray or part.ndim != 1 for part in parts):
            return None
        if X.shape[1] != self.n_features or len(parts[0]) != X.shape[0] + 1 or len(parts[1]) != len(parts[2]):
            return None
        return CsrRows(*parts)

    def rows(self, X: Any, n_threads: int = 1) -> CsrRows:
        """Rows of whatever `Scorer.score` takes, checked and pooled."""
        if self.encoding is not None and not is_sparse(X):
            return self._rows_of_table(X, n_threads)
        return self.pooled(self.matrix_rows(X))

    def matrix_rows(self, X: Any) -> CsrRows:
        """Rows of a matrix, or of dicts for a model that was fitted to one; not pooled."""
        if isinstance(X, list) and not X:  # of dicts, as far as one can see
            return empty_rows()
        if is_dicts(X):
            return self._rows_of_dicts([X] if isinstance(X, Mapping) else X)
        self._check_names(X)
        rows = as_csr_rows(X, allow_empty=True, plain=self.plain)
        width = X.shape[1] if hasattr(X, "shape") else np.shape(X)[1] if rows.n_rows else self.n_features
        if width != self.n_features:
            raise validation.width_error(width, self.n_features)
        return rows

    def pooled(self, rows: CsrRows) -> CsrRows:
        """Rows as the model takes them."""
        return pooled_rows(rows, self.layout, self.plain) if self.pools and self.layout is not None else rows

    def table(self, X: Any, name: str = "X") -> Table:
        """The table that X is, or the row."""
        assert self.encoding is not None
        if isinstance(X, Mapping) and not _is_dict_of_columns(X):
            X = [X]
        if not is_table(X) and not isinstance(X, str | os.PathLike):
            raise validation.no_raw_columns_error(name, X, self.columns)
        return table_to_encode(X, self.encoding, name)

    def _rows_of_table(self, X: Any, n_threads: int) -> CsrRows:
        assert self.encoding is not None
        table = self.table(X)
        if not table.n_rows:
            if table.names:  # a list without rows has none
                self.encoding.check_names(table)
            return empty_rows()
        return self.encoding.table_rows(table, n_threads)

    def _rows_of_dicts(self, rows: Sequence[Any]) -> CsrRows:
        """Rows of a model that was fitted to a matrix, each a dict from features to values."""
        indices: list[NDArray[Any]] = []
        values: list[NDArray[Any]] = []
        for number, row in enumerate(rows):
            try:
                ids, numbers = self.row_arrays(*self.dict_lists(row))
            except validation.InputError as error:
                raise type(error)(f"Row {number}: {error}") from None
            indices.append(ids)
            values.append(numbers)
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(ids) for ids in indices], out=indptr[1:])
        nothing = empty_rows()
        parts = indptr, np.concatenate([nothing.indices, *indices]), np.concatenate([nothing.values, *values])
        for part in parts:
            part.flags.writeable = False
        return CsrRows(*parts)

    def dict_lists(self, row: Any) -> tuple[list[int], list[Any]]:
        """Features and values of a dict, for a model that was fitted to a matrix."""
        if not isinstance(row, Mapping):
            raise validation.row_type_error(row)
        names = self.stored.feature_names
        ids = []
        for key, value in row.items():
            if not isinstance(value, int | float | np.number | np.bool_):
                raise validation.row_entry_error(key, value)
            if isinstance(key, int | np.integer) and not isinstance(key, bool):
                ids.append(int(key))
            elif isinstance(key, str) and names is not None:
                if self._numbers is None:
                    self._numbers = {name: number for number, name in enumerate(names)}
                if key not in self._numbers:
                    raise validation.unknown_feature_error(key, self.n_features)
                ids.append(self._numbers[key])
            else:
                raise validation.row_keys_error(key, names is not None)
        return ids, list(row.values())

    def _check_names(self, X: Any) -> None:
        """Columns of a DataFrame must be the features of the fit."""
        names = self.stored.feature_names
        if names is None or not is_frame(X):
            return
        for place, (found, expected) in enumerate(zip(X.columns, names, strict=False)):
            if found != expected:
                raise validation.column_order_error(place, str(found), expected)

    # Single rows.

    def row_arrays(self, indices: Any, values: Any) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """One row as arrays that are sound: columns of the model, none twice, and finite float32 values.

        Raises
        ------
        InputError
            It is no row of the model; the message names place and value.
        """
        ids = _flat_array(indices, "iu")
        if ids is None:
            raise validation.row_ids_error(indices)
        given = np.ones(len(ids)) if values is None else _flat_array(values, "fiub")
        if given is None:
            raise validation.row_numbers_error(values)
        if len(given) != len(ids):
            raise validation.row_length_error(len(ids), len(given))
        with np.errstate(over="ignore"):
            given = given.astype(np.float64, copy=False)
        if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= self.n_features):
            place = int(np.flatnonzero((ids < 0) | (ids >= self.n_features))[0])
            raise validation.row_id_range_error(place, int(ids[place]), self.n_features)
        bad = ~(np.abs(given) <= _LARGEST)
        if bad.any():
            place = int(np.argmax(bad))
            raise validation.row_number_error(place, int(ids[place]), float(given[place]))
        ids = np.ascontiguousarray(ids, np.int32 if self.n_features < 2**31 else np.int64)
        kept, places = np.unique(ids, return_inverse=True)
        if len(kept) < len(ids):  # as a matrix adds up what it holds twice
            sums = np.zeros(len(kept))
            np.add.at(sums, places, given)
            if not np.abs(sums).max() <= _LARGEST:
                place = int(np.argmax(~(np.abs(sums) <= _LARGEST)))
                raise validation.row_number_error(place, int(kept[place]), float(sums[place]))
            ids, given = kept, sums
        return ids, np.ascontiguousarray(given, np.float32)

    def answer_arrays(self, indices: Any, values: Any, raw: bool) -> float:
        """The answer to one row of arrays or lists that nobody has looked at."""
        ids, numbers = self.row_arrays(indices, values)
        if self.pools:
            parts = np.array((0, len(ids)), np.int64), ids.view(), numbers.view()
            for part in parts:
                part.flags.writeable = False
            numbers = self.pooled(CsrRows(*parts)).values
        return self.engine.answer_entries(ids.tolist(), numbers.tolist(), raw)

    def answer_dict(self, row: Any, raw: bool) -> float:
        """The answer to one row, a dict."""
        if self.encoding is None:
            return self.answer_arrays(*self.dict_lists(row), raw)
        return self.engine.answer_entries(*self.encoding.encode_row(row, pooled=True), raw)


class _NoRowScorer:
    """Where single rows go another way."""

    @staticmethod
    def answer(indices: Any, values: Any) -> float:
        """Not known."""
        return math.nan

    @staticmethod
    def take_type(index_type: Any) -> bool:
        """No type is of use."""
        return False


def empty_rows() -> CsrRows:
    """No rows."""
    parts = np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32)
    for part in parts:
        part.flags.writeable = False
    return CsrRows(*parts)


def is_dicts(X: Any) -> bool:
    """Whether X is a dict or a list of dicts, judged by the first; a list without rows is none."""
    if isinstance(X, Mapping):
        return not hasattr(X, "tocsr")  # DOK matrices of SciPy are dicts
    return isinstance(X, list) and bool(X) and isinstance(X[0], Mapping)


def _is_dict_of_columns(X: Mapping[Any, Any]) -> bool:
    """Whether the values of a dict are columns rather than single values."""
    return bool(X) and all(_is_column(value) for value in X.values())


def _is_column(value: Any) -> bool:
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__len__"):
        return False
    return getattr(value, "ndim", 1) > 0


def _flat_array(given: Any, kinds: str) -> NDArray[Any] | None:
    """A flat array of numbers of these kinds, None where there is none to be had."""
    if isinstance(given, str | bytes | Mapping) or not hasattr(given, "__len__"):
        return None
    try:
        array = np.asarray(given)
    except (ValueError, TypeError, OverflowError):
        return None
    if array.size == 0 and array.ndim == 1:  # whatever type it is of
        return np.empty(0, np.float64 if "f" in kinds else np.int64)
    return array if array.ndim == 1 and array.dtype.kind in kinds else None
