"""Feature columns proposed for a table, from the types and the spread of its values.

A proposal is a start to be read over: whether an integer is a category or a number no rule can know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.bag_column import bags_of
from fastfm_deep.data.feature_columns import DenseFeat, FeatureColumn, SparseFeat, VarLenSparseFeat
from fastfm_deep.data.values import BOOL, FLOAT, INT, Categories, Lists, Numbers, Texts, Values
from fastfm_deep.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.table import Table

# Integers of so few values are categories, those of more are numbers unless the name says otherwise.
_FEW = 32
_CATEGORY_NAMES = re.compile(
    r"(^|[_\W])(id|ids|uid|code|cat|category|zip|zipcode|postcode|type|class|group|level|user|customer|session|item|"
    r"product|sku|movie|ad|campaign|site|app|device|brand|shop|store|region|bin)$|[a-z](Id|ID)$",
    re.IGNORECASE,
)
# A column in which this share of so many rows has a value of its own tells nothing of the next row.
_NUMBERED_ROWS, _DISTINCT = 50, 0.98
_SEPARATORS = ("|", ";")
# Share of the texts in which a separator stands where it is one.
_SEPARATED = 0.1
# Numbers as skewed as this are put on a logarithmic scale.
_LONG_TAIL, _SKEW = 100.0, 10.0


def propose_columns(table: Table, exclude: Sequence[str] = ()) -> tuple[list[FeatureColumn], dict[str, str]]:
    """Feature columns for a table.

    Parameters
    ----------
    table : Table
    exclude : sequence of str
        Columns that are no features: the target, say.

    Returns
    -------
    columns : list of SparseFeat, DenseFeat and VarLenSparseFeat
        In the order of the table.
    left_out : dict of str to str
        Columns for which nothing is proposed, and why.
    """
    columns: list[FeatureColumn] = []
    left_out: dict[str, str] = {}
    for name in dict.fromkeys(table.names):
        if name in exclude:
            continue
        if table.names.count(name) > 1:
            left_out[name] = f"{table.names.count(name)} columns have this name"
            continue
        try:
            found = _proposal(name, table.column(name))
        except validation.InputTypeError:
            found = "it holds values of a type that no feature column takes"
        if isinstance(found, str):
            left_out[name] = found
        else:
            columns.append(found)
    return columns, left_out


def _proposal(name: str, values: Values) -> FeatureColumn | str:
    if isinstance(values, Lists):
        return VarLenSparseFeat(name)
    if isinstance(values, Categories):
        return _text_proposal(name, values) if isinstance(values.values, Texts) else SparseFeat(name)
    if isinstance(values, Numbers):
        return _number_proposal(name, values)
    return _text_proposal(name, values)


def _text_proposal(name: str, values: Any) -> FeatureColumn | str:
    counts = value_counts(values, name)
    if not len(counts):
        return "it holds no values"
    texts = values.values if isinstance(values, Categories) else values
    if isinstance(texts, Texts):
        for separator in _SEPARATORS:
            content = texts.data[texts.offsets[0] : texts.offsets[-1]]
            n_separators = int(np.count_nonzero(content == ord(separator)))
            if n_separators >= _SEPARATED * texts.n and n_separators:
                pieces = value_counts(bags_of(texts, separator, name).items, name)
                if len(pieces) < len(counts) or int(counts.max()) == 1:
                    return VarLenSparseFeat(name, separator=separator)
    return _numbered(values.n, counts) or SparseFeat(name)


def _number_proposal(name: str, values: Numbers) -> FeatureColumn | str:
    if values.kind not in (INT, FLOAT):
        if values.kind == BOOL:
            return SparseFeat(name)
        counts = value_counts(values, name)
        return ("it holds no values" if not len(counts) else "") or _numbered(values.n, counts) or SparseFeat(name)
    floats = values.numbers.astype(np.float64)
    present = floats[~np.isnan(floats) & (True if values.missing is None else ~values.missing)]
    if not len(present):
        return "it holds no values"
    if values.kind == INT or bool((present == np.floor(present)).all()):
        counts = value_counts(values, name)
        if _CATEGORY_NAMES.search(name):
            return _numbered(values.n, counts) or SparseFeat(name)
        if len(counts) <= _FEW:
            return SparseFeat(name)
        if _numbered(values.n, counts) and len(present) == present.max() - present.min() + 1:
            return _numbered(values.n, counts)
    long_tail = present.min() >= 0 and present.max() > max(_LONG_TAIL, _SKEW * float(present.mean()))
    return DenseFeat(name, scaling="log1p" if long_tail else "standard")


def _numbered(n_rows: int, counts: NDArray[np.int64]) -> str:
    """Why a column of categories is of no use: every row has its own."""
    if n_rows >= _NUMBERED_ROWS and len(counts) >= _DISTINCT * n_rows:
        return f"{'each row has' if len(counts) == n_rows else 'nearly each row has'} a value of its own"
    return ""


def value_counts(values: Any, name: str) -> NDArray[np.int64]:
    """How often each of the values occurs; missing ones are left out."""
    vocabulary = Vocabulary()
    vocabulary.add(values, name)
    missing = int(vocabulary.code_of_missing())
    return vocabulary.counts if missing < 0 else np.delete(vocabulary.counts, missing)
