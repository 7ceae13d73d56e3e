"""Text out: CSR rows and targets become libsvm or libffm files that are read back bit for bit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastfm_deep import kernels, validation
from fastfm_deep.data.fields import FieldLayout, as_field_layout
from fastfm_deep.data.id_map import LARGEST_ID
from fastfm_deep.data.output import replace_file

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Pairs and rows formatted at a time.
_BLOCK = 1 << 16
# From here on float32 has gaps between integers.
_LARGE_VALUE = 2.0**24


def write_libsvm(
    path: str | os.PathLike[str] | BinaryIO, X: Any, y: ArrayLike | None = None, *, base: int = 1
) -> None:
    """Write rows as libsvm (libfm) text: `label id:value id:value ...`.

    `read_text(path, n_features=X.shape[1], base=base)` gives the same rows back: their order, that of their
    columns, repeated columns, zeros that are stored, and every bit of values and labels.

    Parameters
    ----------
    path : path, or binary file that is open for writing
        A file appears whole or not at all.
    X : sparse matrix or array (n_rows, n_features)
        Values are written as float32.
    y : array (n_rows,), optional
        Numbers; without them, or where they are NaN, lines have no label.
    base : {0, 1}
        The id of the first column. With 1, the usual one, a reader can tell without being told.

    Raises
    ------
    InputError
        A value is not finite or beyond float32; y does not fit; a row has neither label nor values; no file can be
        written there.
    OutputError
        The disk is full; what stood under the name is as it was.

    Examples
    --------
    >>> import numpy as np
    >>> write_libsvm("rows.txt", np.array([[0, 2.5], [1, 0]]), y=[1, 0])  # doctest: +SKIP
    """
    _write(path, X, y, None, base)


def write_libffm(
    path: str | os.PathLike[str] | BinaryIO,
    X: Any,
    y: ArrayLike | None = None,
    fields: FieldLayout | Sequence[int] | NDArray[Any] | None = None,
    *,
    base: int = 1,
) -> None:
    """Write rows as libffm text: `label field:id:value field:id:value ...`.

    Parameters
    ----------
    path, X, y, base
        As for `write_libsvm`.
    fields : FieldLayout, int array (n_features,), or list of field sizes
        The field of each column, as `read_text` and `make_ctr` return it, or the sizes of consecutive fields.

    Raises
    ------
    InputError, OutputError
        As `write_libsvm`; also where the fields do not cover the columns.

    Examples
    --------
    >>> import numpy as np
    >>> write_libffm("rows.txt", np.eye(3), y=[1, 0, 1], fields=[2, 1])  # doctest: +SKIP
    """
    if fields is None:
        raise validation.no_fields_error()
    _write(path, X, y, fields, base)


def _write(path: Any, X: Any, y: ArrayLike | None, fields: Any, base: int) -> None:
    if isinstance(base, bool) or base not in (0, 1):
        raise validation.base_error(base, choices="0 or 1")
    X = _as_csr(X)
    labels = _as_labels(y, X.shape[0])
    bare = np.flatnonzero(np.isnan(labels) & (np.diff(X.indptr) == 0))
    if len(bare):
        raise validation.bare_row_error(int(bare[0]))
    field_of_column = None if fields is None else _as_fields(fields, X)
    if hasattr(path, "write"):
        for lines in _format_blocks(X, labels, field_of_column, base):
            path.write(lines)
        return
    with replace_file(path) as file:
        for lines in _format_blocks(X, labels, field_of_column, base):
            file.write(lines)


def _as_csr(X: Any) -> Any:
    """CSR rows with the stored order and repetitions of X, float32."""
    import scipy.sparse

    found: Any = X if scipy.sparse.issparse(X) else np.asarray(X)
    if found.ndim != 2:
        raise validation.dimension_error(found)
    if found.dtype.kind not in "buif":
        raise validation.number_type_error("X", found.dtype)
    X = scipy.sparse.csr_array(found) if isinstance(found, np.ndarray) else found.tocsr()
    n_rows, n_features = X.shape
    if n_features - 1 > LARGEST_ID - 1:
        raise validation.upper_bound_error("X.shape[1]", n_features, f"at most {LARGEST_ID}")
    fault = _fault(X)
    if fault:
        raise validation.damaged_matrix_error("csr", fault)
    with np.errstate(over="ignore", under="ignore"):
        values = X.data[: X.indptr[-1]].astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        place = int(wrong[0])
        row = int(np.searchsorted(X.indptr, place, side="right")) - 1
        raise validation.row_value_error(row, int(X.indices[place]), X.data[place])
    return scipy.sparse.csr_array((values, X.indices[: len(values)], X.indptr), shape=(n_rows, n_features))


def _fault(X: Any) -> str:
    """What keeps the arrays of a CSR matrix from being rows; the kernel trusts them."""
    indptr, indices = X.indptr, X.indices
    if len(indptr) != X.shape[0] + 1 or indptr[0] != 0 or (np.diff(indptr) < 0).any():
        return "indptr does not rise from 0, one entry a row"
    if indptr[-1] > min(len(indices), len(X.data)):
        return f"indptr ends at {indptr[-1]}, beyond the {min(len(indices), len(X.data))} values"
    used = indices[: indptr[-1]]
    if len(used) and (used.min() < 0 or used.max() >= X.shape[1]):
        return f"indices run from {used.min()} to {used.max()}, but there are {X.shape[1]} columns"
    return ""


def _as_labels(y: ArrayLike | None, n_rows: int) -> NDArray[np.float64]:
    """Labels, NaN for none."""
    if y is None:
        return np.full(n_rows, np.nan)
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise validation.label_shape_error(labels.shape)
    if labels.dtype.kind not in "buif":
        raise validation.number_type_error("y", labels.dtype)
    if len(labels) != n_rows:
        raise validation.length_error("y", len(labels), n_rows)
    labels = labels.astype(np.float64)
    infinite = np.flatnonzero(np.isinf(labels))
    if len(infinite):
        raise validation.target_value_error("y", int(infinite[0]), float(labels[infinite[0]]))
    return labels


def _as_fields(fields: Any, X: Any) -> NDArray[np.int32]:
    n_features = X.shape[1]
    fields = as_field_layout(fields, n_features)
    missing = np.flatnonzero(fields.field_of_column[X.indices] < 0)
    if len(missing):
        raise validation.no_field_error(int(X.indices[missing[0]]))
    return np.ascontiguousarray(fields.field_of_column)


def _format_blocks(X: Any, labels: NDArray[np.float64], fields: Any, base: int) -> Iterator[Any]:
    """The lines of some rows at a time."""
    indptr = X.indptr.astype(np.int64)
    start, n_rows = 0, len(labels)
    while start < n_rows:
        stop = int(np.searchsorted(indptr, indptr[start] + _BLOCK, side="right")) - 1
        stop = min(max(stop, start + 1), start + _BLOCK)
        first, last = indptr[start], indptr[stop]
        values = X.data[first:last]
        value_tokens = _tokens(values, _LARGE_VALUE, _value_texts)
        label_tokens = _tokens(labels[start:stop], 0.0, _label_texts)
        n_texts = sum(
            int(np.diff(starts)[which[which >= 0]].sum()) for which, starts, _ in (value_tokens, label_tokens)
        )
        out = np.empty((last - first) * kernels.text_write.LONGEST_PAIR + n_texts + stop - start, np.uint8)
        n_bytes = kernels.text_write.write_rows(
            out, indptr[start : stop + 1] - first, X.indices[first:last], values, fields, base, value_tokens,
            label_tokens,
        )  # fmt: skip
        yield out[:n_bytes].data
        start = stop


def _tokens(numbers: NDArray[Any], limit: float, texts_of: Callable[[Any], list[bytes]]) -> tuple[Any, Any, Any]:
    """Tokens of numbers as `write_rows` takes them, each text once; none for integers below the limit, and NaN."""
    simple = np.isnan(numbers) | (abs(numbers) < limit) & (numbers == np.trunc(numbers))
    simple &= ~((numbers == 0) & np.signbit(numbers))
    others = np.flatnonzero(~simple)
    which = np.full(len(numbers), -1, np.int64)
    # By bits: 0.0 and -0.0 are two.
    bits, inverse = np.unique(numbers[others].view(f"i{numbers.itemsize}"), return_inverse=True)
    which[others] = inverse
    texts = texts_of(bits.view(numbers.dtype))
    starts = np.zeros(len(texts) + 1, np.int64)
    starts[1:] = np.cumsum([len(text) for text in texts])
    return which, starts, np.frombuffer(b"".join(texts) or b" ", np.uint8)


def _value_texts(values: NDArray[np.float32]) -> list[bytes]:
    """The shortest text of each value that reads as it."""
    with np.errstate(under="ignore"):
        short = values.astype("S32")
        wrong = np.flatnonzero(short.astype(np.float64).astype(np.float32) != values)
    texts: list[bytes] = short.tolist()
    # Rounded to float64 first, a text that lies near the middle of two float32 may become the other one.
    for place in wrong.tolist():
        texts[place] = repr(float(values[place])).encode()
    return [text.removesuffix(b".0") for text in texts]


def _label_texts(labels: NDArray[np.float64]) -> list[bytes]:
    return [repr(label).removesuffix(".0").encode() for label in labels.tolist()]
