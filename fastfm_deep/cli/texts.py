"""Text files as the commands use them: several read together, and scores written.

A *text set* is one or more files of which the same base of the ids and the same width hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse

from fastfm_deep import validation

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Lines formatted at a time: large enough to be fast, small enough to notice a closed pipe soon.
_LINES = 16_384


class Rows(NamedTuple):
    """Rows and their targets out of one or more files."""

    X: Any  # CSR (n_rows, n_features) float32
    y: NDArray[np.float64]  # (n_rows,)


class ScoredRows(NamedTuple):
    """Rows to score, and how many of their values had an id that the model does not know."""

    X: Any  # CSR (n_rows, n_features) float32
    n_unknown: int


class TextSets(NamedTuple):
    """Sets of rows of one width, and the base that their ids were counted from."""

    sets: dict[str, Rows]
    base: int


def check_inputs(paths: Sequence[str]) -> None:
    """See that files can be read, before any work."""
    for path in paths:
        if os.path.isdir(path):
            raise validation.input_path_error(path, "is a folder")
        if not os.path.exists(path):
            raise validation.input_path_error(path, "does not exist")
        if not os.access(path, os.R_OK):
            raise validation.input_path_error(path, "may not be read")


def check_output(path: str, inputs: Sequence[str]) -> Path:
    """See that a file can be written, and that it is none of those that are read."""
    from fastfm_deep.model.output import check_output_path

    target = check_output_path(path)
    for name in inputs:
        if target.exists() and os.path.exists(name) and os.path.samefile(target, name):
            raise validation.same_file_error(path)
    return target


def read_sets(paths: Mapping[str, Sequence[str]], *, format: str, base: str, n_features: int | None) -> TextSets:
    """Read named groups of files; base and width are settled over all of them together.

    With base="auto" ids count from 0 if any file holds an id 0, else from 1. A file alone would not tell:
    id 0 may occur in the validation file only.
    """
    from fastfm_deep.data.text import read_text

    asked: Any = base if base == "auto" else int(base)
    texts = {
        name: [(path, read_text(path, format=format, base=asked)) for path in group]
        for name, group in paths.items()
    }
    settled = min(text.base for group in texts.values() for _, text in group)
    widths = {path: text.X.shape[1] + text.base - settled for group in texts.values() for path, text in group}
    width = max(widths.values())
    if n_features is not None and width > n_features:
        path = max(widths, key=lambda name: widths[name])
        raise validation.narrow_table_error(n_features, path, width - 1 + settled, settled)
    width = max(width, n_features or 1)
    return TextSets(
        {name: _join([_moved(text, settled, width) for _, text in group], width) for name, group in texts.items()},
        settled,
    )


def _moved(text: Any, base: int, width: int) -> Rows:
    """Rows of one file, its columns counted from `base`."""
    X = text.X
    indices = X.indices + (text.base - base) if text.base != base else X.indices
    return Rows(scipy.sparse.csr_array((X.data, indices, X.indptr), shape=(X.shape[0], width)), text.y)


def _join(parts: list[Rows], width: int) -> Rows:
    if len(parts) == 1:
        return parts[0]
    X = scipy.sparse.vstack([part.X for part in parts], format="csr")
    return Rows(X, np.concatenate([part.y for part in parts]))


def read_rows(path: str, *, format: str, base: int, n_features: int, unknown_ids: str) -> ScoredRows:
    """Rows for a model of `n_features` columns, without the values whose ids lie beyond those."""
    from fastfm_deep.data.text import read_text

    # Unknown ids are left out here, not by the reader, so that they can be counted.
    width = n_features if unknown_ids == "error" else None
    X = read_text(path, format=format, n_features=width, base=base, labels="optional").X
    known = X.indices < n_features
    n_unknown = int(np.count_nonzero(~known))
    if n_unknown:
        indptr = np.concatenate([[0], np.cumsum(known)])[X.indptr].astype(X.indptr.dtype)
        X = scipy.sparse.csr_array((X.data[known], X.indices[known], indptr), shape=(X.shape[0], n_features))
    return ScoredRows(scipy.sparse.csr_array((X.data, X.indices, X.indptr), (X.shape[0], n_features)), n_unknown)


def score_lines(scores: NDArray[Any]) -> Iterator[str]:
    """Blocks of text, one score a line; nine digits give back a float32 unchanged."""
    for start in range(0, len(scores), _LINES):
        block = scores[start : start + _LINES].tolist()
        yield "%.9g\n" * len(block) % tuple(block)
