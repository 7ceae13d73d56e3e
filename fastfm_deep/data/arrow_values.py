"""Arrow arrays read into the forms of `data/values.py`, which share their buffers wherever these are as wide.

An array may be a part of its buffers, and a column may lie in *chunks*; several of these are joined first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data import python_values
from fastfm_deep.data.values import (
    BOOL,
    DATE,
    DATETIME,
    DATETIME_NS,
    DATETIME_NS_UTC,
    DATETIME_UTC,
    FLOAT,
    INT,
    Categories,
    Lists,
    Numbers,
    Objects,
    Texts,
    Values,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def import_arrow(what: str) -> Any:
    """The module pyarrow.

    Parameters
    ----------
    what : str
        What needs it, at the start of a sentence.

    Raises
    ------
    InputError
        It is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise validation.missing_arrow_error(what) from error
    return pyarrow


def read_arrow(column: Any, name: str) -> Values:
    """Read an Array or a ChunkedArray.

    Parameters
    ----------
    column : pyarrow.Array or pyarrow.ChunkedArray
    name : str
        The column, for messages.

    Raises
    ------
    InputError
        It is damaged, say by text that is not in UTF-8; InputTypeError if no form holds its values.
    """
    import pyarrow as pa

    try:
        # Neither files of Parquet nor exporters vouch for text, offsets and codes; kernels trust them.
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise validation.damaged_column_error(name, error) from error
    return _read(pa, _joined(pa, column), name)


def _read(pa: Any, array: Any, name: str) -> Values:
    kind, types = array.type, pa.types
    if types.is_string(kind) or types.is_large_string(kind):
        return _read_texts(array)
    if _is(types, "string_view", kind):
        return _read_texts(array.cast(pa.large_string()))
    if types.is_integer(kind):
        return _read_integers(array)
    if types.is_floating(kind):
        return Numbers(_numbers(array, np.float64), FLOAT, _missing(array))
    if types.is_boolean(kind):
        return Numbers(_bits(array.buffers()[1], array).astype(np.int64), BOOL, _missing(array))
    if types.is_dictionary(kind):
        return _read_categories(pa, array, name)
    if types.is_timestamp(kind):
        return _read_timestamps(array, name)
    if types.is_date32(kind):
        return Numbers(_numbers(array, np.int64), DATE, _missing(array))
    if types.is_date64(kind):
        return Numbers(_numbers(array, np.int64) // 86_400_000, DATE, _missing(array))
    if types.is_null(kind):
        return Numbers(np.full(len(array), np.nan), FLOAT, None)
    if types.is_decimal(kind):
        return _read(pa, array.cast(pa.float64()), name)
    return _read_others(pa, array, name)


def _read_others(pa: Any, array: Any, name: str) -> Values:
    kind, types = array.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _read(pa, array.storage, name)
    of_lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if of_lists or _is(types, "list_view", kind) or _is(types, "large_list_view", kind):
        return _read_lists(pa, array, name)
    of_bytes = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    if of_bytes or _is(types, "binary_view", kind):
        return Objects(python_values.object_array(array.to_pylist(), len(array)))
    if types.is_run_end_encoded(kind):
        from pyarrow import compute

        return _read(pa, compute.run_end_decode(array), name)
    raise validation.value_type_error(name, kind)


def _is(types: Any, family: str, kind: Any) -> bool:
    """Whether a type is of a family that old versions of pyarrow do not know."""
    test = getattr(types, f"is_{family}", None)
    return test is not None and test(kind)


def _joined(pa: Any, column: Any) -> Any:
    """One array of all chunks."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    if column.num_chunks == 0:
        return pa.array([], column.type)
    kind, types = column.type, pa.types
    # The offsets of one array of all text may be beyond int32.
    if types.is_string(kind):
        column = column.cast(pa.large_string())
    elif types.is_list(kind):
        column = column.cast(pa.large_list(kind.value_type))
    elif types.is_dictionary(kind):
        column = column.unify_dictionaries()
    return pa.concat_arrays(column.chunks)


def _bits(buffer: Any, array: Any) -> NDArray[np.bool_]:
    """The part of a bitmap that belongs to an array."""
    first, n = array.offset, len(array)
    if not n:
        return np.zeros(0, bool)
    octets = np.frombuffer(buffer, np.uint8)[first // 8 : (first + n + 7) // 8]
    bits = np.unpackbits(octets, bitorder="little")[first % 8 : first % 8 + n]
    return bits.view(bool)


def _missing(array: Any) -> NDArray[np.bool_] | None:
    return ~_bits(array.buffers()[0], array) if array.null_count else None


_WIDTHS = {
    "halffloat": "float16",
    "float": "float32",
    "double": "float64",
    "date32[day]": "int32",
    "bool": "uint8",
}


def _numbers(array: Any, dtype: type) -> NDArray[Any]:
    """The values of a buffer, shared if they are of this dtype already."""
    if not len(array):
        return np.zeros(0, dtype)
    kind = str(array.type)
    stored = np.dtype(_WIDTHS.get(kind, kind if "int" in kind else "int64"))
    values = np.frombuffer(array.buffers()[1], stored, array.offset + len(array))[array.offset :]
    return values.astype(dtype, copy=False)


def _read_texts(array: Any) -> Texts:
    _, offsets, data = array.buffers()
    if not len(array):
        return Texts(np.zeros(0, np.uint8), np.zeros(1, np.int64), None)
    wide = "large" in str(array.type)
    stored = np.frombuffer(offsets, np.int64 if wide else np.int32, array.offset + len(array) + 1)
    octets = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return Texts(octets, stored[array.offset :].astype(np.int64, copy=False), _missing(array))


def _read_integers(array: Any) -> Numbers | Objects:
    numbers, missing = _numbers(array, np.int64), _missing(array)
    if str(array.type) == "uint64":
        negative = numbers < 0  # beyond int64, or what happens to stand where nothing is
        if (negative if missing is None else negative & ~missing).any():
            return Objects(python_values.object_array(array.to_pylist(), len(array)))
    return Numbers(numbers, INT, missing)


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def _read_timestamps(array: Any, name: str) -> Numbers:
    numbers, missing, unit = _numbers(array, np.int64), _missing(array), array.type.unit
    is_utc = array.type.tz is not None
    if unit == "ns":
        return Numbers(numbers, DATETIME_NS_UTC if is_utc else DATETIME_NS, missing)
    if missing is not None:
        numbers = np.where(missing, 0, numbers)
    numbers = python_values.scaled_times(numbers, 1, _PER_SECOND[unit], name)
    return Numbers(numbers, DATETIME_UTC if is_utc else DATETIME, missing)


def _read_categories(pa: Any, array: Any, name: str) -> Categories:
    values = _read(pa, array.dictionary, name)
    if isinstance(values, Categories | Lists):
        raise validation.value_type_error(name, array.type)
    places = array.indices
    codes = _numbers(places, np.int32 if len(array.dictionary) < 2**31 else np.int64)
    missing = _missing(places)
    if missing is not None:
        codes = np.where(missing, -1, codes)
    return Categories(without_missing(codes, values), values)


def without_missing(codes: NDArray[Any], values: Texts | Numbers | Objects) -> NDArray[Any]:
    """Codes with -1 for those whose category is itself missing."""
    missing = None if isinstance(values, Objects) else values.missing
    if isinstance(values, Numbers) and values.kind == FLOAT:
        is_nan = np.isnan(values.numbers)
        missing = is_nan if missing is None else is_nan | missing
    if missing is None or not missing.any():
        return codes
    kept = np.where(missing, -1, np.arange(len(missing))).astype(codes.dtype)
    return np.where(codes < 0, -1, kept[codes])


def _read_lists(pa: Any, array: Any, name: str) -> Lists:
    from pyarrow import compute

    missing = _missing(array)
    lengths = _numbers(compute.fill_null(compute.list_value_length(array), 0), np.int64)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    # Only what rows of this array hold: neither the rest of its buffers nor what stands behind a null.
    items = _read(pa, array.flatten(), name)
    if isinstance(items, Lists):
        raise validation.nested_list_error(name)
    return Lists(offsets, items, missing)
