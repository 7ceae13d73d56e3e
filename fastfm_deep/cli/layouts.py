"""Fields on the command line: `--fields` as sizes, as a file or none, and rows as wide as the fields are.

Fields describe columns: what ids become by their base, by hashing or by compact numbering.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse

from fastfm_deep import validation
from fastfm_deep.cli import texts
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.id_map import IdMap
from fastfm_deep.data.memory import free_memory

NONE = "none"
"""The value of `--fields` that leaves out even the fields that libffm text names."""

# While sizes become an array: two of int64, and the int32 one that stays.
_BYTES_PER_COLUMN = 20
# Enough of a file to see whether it holds sizes.
_START = 1 << 16


def read_layout(given: str) -> FieldLayout:
    """Fields out of sizes, 10,20,5, or of a file of such sizes, or of one that has the field of a column a line.

    Raises
    ------
    InputError
        It is nothing of these, or the columns are too many for the memory that is free.
    """
    if re.fullmatch(r"\d+(,\d+)*", given):
        return _from_sizes(given, given)
    if not os.path.isfile(given):
        raise validation.fields_option_error(given, "is neither a list of sizes nor a file")
    try:
        sizes = _sizes_in(given)
        if sizes is None:
            return FieldLayout.from_columns(_numbers_in(given))
    except (OSError, ValueError, OverflowError) as error:
        raise validation.fields_option_error(given, f"is a file without fields ({error})") from None
    return _from_sizes(given, sizes)


def _from_sizes(given: str, text: str) -> FieldLayout:
    sizes = [int(size) for size in text.split(",")]
    if 0 in sizes:
        raise validation.fields_option_error(given, "holds a field of no ids")
    if _BYTES_PER_COLUMN * sum(sizes) > free_memory():
        raise validation.fields_option_error(given, f"covers {sum(sizes):,} columns, too many for the free memory")
    return FieldLayout.from_sizes(sizes)


def _sizes_in(path: str) -> str | None:
    """The sizes that a file holds, if it begins with a number and a comma."""
    with open(path, encoding="utf-8") as file:
        if not re.match(r"(\s|#.*\n)*\d+\s*,", file.read(_START)):
            return None
        file.seek(0)
        text = re.sub(r"#.*|\s", "", file.read()).rstrip(",")
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise ValueError("something in it is no size")
    return text


def _numbers_in(path: str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty file; it is refused below
        numbers: np.ndarray = np.loadtxt(path, np.int64, ndmin=1)
    return numbers


def check_width(given: str, layout: FieldLayout, ids: texts.IdOptions) -> None:
    """See that fields are those of the columns that the options make, where that can be told before reading."""
    for option, width in (("--hash-features", ids.hash_features), ("--n-features", ids.n_features)):
        if width is not None and width != layout.n_features:
            raise validation.uneven_fields_error(given, layout.n_features, width, f"by {option}")


def with_layout(
    data: texts.TextSets, given: str, layout: FieldLayout | None, groups: Mapping[str, Sequence[str]]
) -> texts.TextSets:
    """Rows as wide as the fields that were given, which take the place of those of the text."""
    if layout is None:
        return data._replace(fields=None, n_shared=0)
    width, base = data.id_map.n_features, data.id_map.base
    if width > layout.n_features and data.id_map.kind == "offset":
        largest = {name: int(rows.X.indices.max(initial=0)) for name, rows in data.sets.items()}
        worst = max(largest, key=lambda name: largest[name])
        path = texts.names_of(groups[worst])
        raise validation.narrow_fields_error(given, layout.n_features, path, largest[worst] + base, base)
    if width != layout.n_features and data.id_map.kind != "offset":
        # Hashed ids have been looked at before reading.
        raise validation.uneven_fields_error(given, layout.n_features, width, "of the ids that occur (--compact)")
    sets = {name: rows._replace(X=_widened(rows.X, layout.n_features)) for name, rows in data.sets.items()}
    id_map = data.id_map if width == layout.n_features else IdMap.by_offset(layout.n_features, base)
    return data._replace(sets=sets, id_map=id_map, fields=layout, n_shared=0)


def _widened(X: scipy.sparse.csr_array, width: int) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array((X.data, X.indices, X.indptr), shape=(X.shape[0], width))
