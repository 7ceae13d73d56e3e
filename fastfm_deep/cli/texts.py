"""Text files as the commands use them: several read together, and scores written.

A *text set* is one or more files of which the same base of the ids and the same width hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse

from fastfm_deep import validation
from fastfm_deep.data.arrow_files import table_format
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.id_map import IdMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.text import TextData

# Lines formatted at a time: large enough to be fast, small enough to notice a closed pipe soon.
_LINES = 16_384

STDIN = "-"
"""The name of standard input, or output."""


class Rows(NamedTuple):
    """Rows and their targets out of one or more files."""

    X: Any  # CSR (n_rows, n_features) float32
    y: NDArray[np.float64]  # (n_rows,)


class IdOptions(NamedTuple):
    """What the options say of ids and features."""

    base: str = "auto"
    n_features: int | None = None
    hash_features: int | None = None
    compact: bool = False

    def check(self) -> None:
        """See that they do not contradict each other."""
        validation.check_choice("base", self.base, ["auto", "0", "1"])
        for name in ("n_features", "hash_features"):
            value = getattr(self, name)
            if value is not None:
                validation.check_integer(name, value, minimum=1)
        given = {
            "--hash-features": self.hash_features is not None,
            "--compact": self.compact,
            "--n-features": self.n_features is not None,
            "--base": self.base != "auto",
        }
        names = [name for name, is_given in given.items() if is_given]
        if len(names) > 1 and names != ["--n-features", "--base"]:
            raise validation.exclusive_options_error(names)


class TextSets(NamedTuple):
    """Sets of rows of one width, and how their ids became features."""

    sets: dict[str, Rows]
    id_map: IdMap
    fields: FieldLayout | None  # of libffm text, as the training files have it
    n_shared: int  # features that the training files name in more than one field
    n_unknown: dict[str, int]  # values of each set whose ids the training files do not hold


def source(path: str) -> str:
    """The file to open: `-` is standard input."""
    return "/dev/stdin" if path == STDIN else path


def names_of(paths: Sequence[str]) -> str:
    """What to call files in a message."""
    return ", ".join("standard input" if path == STDIN else path for path in paths)


def check_inputs(paths: Sequence[str]) -> None:
    """See that files can be read, before any work."""
    if list(paths).count(STDIN) > 1:
        raise validation.twice_stdin_error()
    for path in paths:
        fault = None if path == STDIN else _fault_of(path)
        if fault is not None:
            is_table = table_format(path) is not None
            raise (validation.table_path_error if is_table else validation.input_path_error)(path, fault)


def _fault_of(path: str) -> str | None:
    if os.path.isdir(path):
        return "is a folder"
    if not os.path.exists(path):
        return "does not exist"
    return None if os.access(path, os.R_OK) else "may not be read"


def check_output(path: str, inputs: Sequence[str]) -> Path:
    """See that a file can be written, and that it is none of those that are read."""
    from fastfm_deep.data.output import check_output_path

    target = check_output_path(path)
    for name in map(source, inputs):
        if target.exists() and os.path.exists(name) and os.path.samefile(target, name):
            raise validation.same_file_error(path)
    return target


def read_sets(
    paths: Mapping[str, Sequence[str]], *, format: str, ids: IdOptions, n_jobs: int | None = None
) -> TextSets:
    """Read named groups of files, the first one for training.

    Hashed or compact, ids become features as in the training files, and those that they do not hold are left out.
    Else base and width are settled over all groups together: with base="auto", ids count from 0 if any file holds
    an id 0. The training files alone would not tell, id 0 may occur in the validation file only.
    """
    from fastfm_deep.data.text import read_text

    first, *others = paths
    files = {name: [source(path) for path in group] for name, group in paths.items()}
    rest: dict[str, Any] = {"format": format, "n_jobs": n_jobs}
    if ids.hash_features is None and not ids.compact:
        base: Any = ids.base if ids.base == "auto" else int(ids.base)
        texts = {
            name: read_text(group, base=base, keep_fields=name == first, **rest) for name, group in files.items()
        }
        return _settled(texts, {name: names_of(group) for name, group in paths.items()}, ids.n_features)
    train = read_text(files[first], hash_features=ids.hash_features, compact=ids.compact, **rest)
    rest |= {"id_map": train.id_map, "unknown_ids": "ignore", "keep_fields": False}
    texts = {first: train} | {name: read_text(files[name], **rest) for name in others}
    return TextSets(
        {name: Rows(text.X, labels_of(text, names_of(paths[name]))) for name, text in texts.items()},
        train.id_map,
        train.fields,
        train.n_shared,
        {name: text.n_unknown for name, text in texts.items()},
    )


def _settled(texts: Mapping[str, TextData], names: Mapping[str, str], n_features: int | None) -> TextSets:
    """Sets of one base and one width out of texts that were read with the base of each."""
    base = min(text.base for text in texts.values())
    widths = {name: text.X.shape[1] + text.base - base for name, text in texts.items()}
    widest = max(widths, key=lambda name: widths[name])
    width = widths[widest]
    if n_features is not None and width > n_features:
        raise validation.narrow_table_error(n_features, names[widest], width - 1 + base, base)
    width = max(width, n_features or 1)
    train = next(iter(texts.values()))
    return TextSets(
        {
            name: Rows(_widened(text.X, text.base - base, width), labels_of(text, names[name]))
            for name, text in texts.items()
        },
        IdMap.by_offset(width, base),
        None if train.fields is None else _widened_fields(train.fields, train.base - base, width),
        train.n_shared,
        dict.fromkeys(texts, 0),
    )


def _widened(X: Any, shift: int, width: int) -> Any:
    """The same rows with columns before and behind them."""
    if shift:
        X.indices += shift
    return scipy.sparse.csr_array((X.data, X.indices, X.indptr), shape=(X.shape[0], width))


def _widened_fields(fields: FieldLayout, shift: int, width: int) -> FieldLayout:
    field_of_column = np.full(width, -1, np.int32)
    field_of_column[shift : shift + fields.n_features] = fields.field_of_column
    return FieldLayout(field_of_column, fields.n_fields)


def labels_of(text: TextData, files: str) -> NDArray[np.float64]:
    """The labels of rows that were read with labels="required"."""
    if text.y is None:  # the reader has told already, with line and column, unless its rules change
        raise validation.InputError(f"{files}: the rows have no labels; begin each line with one.")
    return text.y


def read_for(
    id_map: IdMap, paths: Sequence[str], *, format: str, unknown_ids: str, n_jobs: int | None = None
) -> TextData:
    """Read labelled files as those that a model was trained on."""
    from fastfm_deep.data.text import read_text

    options: dict[str, Any] = {"format": format, "unknown_ids": unknown_ids}
    files = [source(path) for path in paths]
    return read_text(files, id_map=id_map, keep_fields=False, n_jobs=n_jobs, **options)


def chunks_for(
    id_map: IdMap,
    path: str,
    *,
    format: str,
    unknown_ids: str,
    n_jobs: int | None = None,
    on_read: Callable[[float], object] | None = None,
) -> Generator[TextData, None, None]:
    """Chunks of rows, with or without labels, of a file read as those that a model was trained on."""
    from fastfm_deep.data.text_chunks import read_text_chunks

    options: dict[str, Any] = {"format": format, "unknown_ids": unknown_ids}
    options |= {"n_jobs": n_jobs, "on_read": on_read}
    return read_text_chunks(source(path), id_map, labels="optional", **options)


def unknown_note(n_unknown: int, n_known: int, files: Sequence[str]) -> str:
    """What is said when values were left out."""
    return (
        f"{n_unknown:,} of {n_known + n_unknown:,} values of {names_of(files)} have ids unknown to the model; "
        "they were left out"
    )


def shared_note(n_shared: int, files: Sequence[str]) -> str:
    """What is said when a feature stands in several fields."""
    ids = "1 id stands" if n_shared == 1 else f"{n_shared:,} ids stand"
    return f"{ids} in more than one field of {names_of(files)}; each counts to the one that it came with first"


def score_lines(scores: NDArray[Any]) -> Iterator[str]:
    """Blocks of text, one score a line; nine digits give back a float32 unchanged."""
    for start in range(0, len(scores), _LINES):
        block = scores[start : start + _LINES].tolist()
        yield "%.9g\n" * len(block) % tuple(block)
