"""Text files as chunks of rows, for what is done row by row in bounded memory.

A *chunk* is the rows of some megabytes of text, or of less where a pipe has no more for now.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.id_map import IdMap
from fastfm_deep.data.text import (
    BLOCKS_A_THREAD,
    FORMATS,
    TextData,
    check_ids,
    check_paths,
    line_rules,
    matrix_of,
    settler,
    thread_count,
)
from fastfm_deep.data.text_blocks import TextBlocks, size_of
from fastfm_deep.data.text_lines import TextRules
from fastfm_deep.data.text_rows import RowCollector

# Eight megabytes: to begin and end a chunk takes less than a hundredth of the time then.
_CHUNK_BLOCKS = 16


class _Reading(NamedTuple):
    """What is read, and how."""

    paths: list[str]
    format: str
    rules: TextRules
    id_map: IdMap
    n_threads: int
    on_read: Callable[[float], object] | None


def read_text_chunks(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    id_map: IdMap,
    format: str = "auto",
    *,
    unknown_ids: Literal["error", "ignore"] = "error",
    labels: Literal["required", "optional"] = "required",
    n_jobs: int | None = None,
    on_read: Callable[[float], object] | None = None,
) -> Generator[TextData, None, None]:
    r"""Read text files as `read_text` does, but hand the rows out in chunks, in their order.

    Memory is bounded by the longest line and the number of threads. Rows that a pipe holds are handed out before
    more of it is waited for, unless it is compressed.

    Parameters
    ----------
    path, format, unknown_ids, labels, n_jobs
        As for `read_text`.
    id_map : IdMap
        How ids become columns: that of the training files.
    on_read : function of one float, optional
        Is told before each chunk which share of the bytes of all files has been read, unless it is unknown, as
        that of a pipe is.

    Yields
    ------
    TextData
        One row at least; without fields. `n_unknown` counts the values left out of this chunk.

    Raises
    ------
    TextFormatError, MissingFileError, InputError
        As `read_text`, with the same text. A line that breaks the format is told of once the blocks of rows before
        it have been handed out.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(b"1 3:0.5 1:2\n-1 2:1\n")
    ...     file.flush()
    ...     [chunk.X.shape for chunk in read_text_chunks(file.name, IdMap.by_offset(3, base=1))]
    [(2, 3)]
    """
    paths = check_paths(path)
    if not isinstance(id_map, IdMap):
        raise validation.id_map_error(id_map)
    plan = check_ids(None, "auto", None, False, id_map)
    validation.check_choice("format", format, FORMATS)
    validation.check_choice("unknown_ids", unknown_ids, ["error", "ignore"])
    validation.check_choice("labels", labels, ["required", "optional"])
    line = line_rules(plan, unknown_ids == "ignore", labels == "optional")
    rules = TextRules(line, False, plan.n_features if unknown_ids == "error" else None, None)
    collector = RowCollector(rules, plan.columns, keep_fields=False, watched=None, width=plan.n_features)
    return _chunks(_Reading(paths, format, rules, id_map, thread_count(n_jobs, paths), on_read), collector)


def _chunks(reading: _Reading, collector: RowCollector) -> Generator[TextData, None, None]:
    blocks = TextBlocks(reading.paths)
    settle = settler(reading.format, reading.rules)
    n_blocks = max(_CHUNK_BLOCKS, BLOCKS_A_THREAD * reading.n_threads)
    is_empty = True
    try:
        while not blocks.ended:
            fault: validation.InputError | None = None
            blocks.begin_batch(n_blocks)
            try:
                collector.collect_batch(blocks, reading.n_threads, settle)
            except validation.InputError as error:
                fault = error
            if len(collector.labels):
                is_empty = False
                _tell(reading, blocks)
                yield _take(collector, reading.id_map)
            if fault is not None:
                raise fault
    finally:
        blocks.stop()
        blocks.close()
    if is_empty:
        raise validation.empty_text_error(", ".join(reading.paths))


def _tell(reading: _Reading, blocks: TextBlocks) -> None:
    """Tell which share has been read; files that grow meanwhile are read to their new end."""
    if reading.on_read is not None and (n_bytes := blocks.n_bytes):
        reading.on_read(min(1.0, n_bytes / max(size_of(reading.paths), 1)))


def _take(collector: RowCollector, id_map: IdMap) -> TextData:
    """The rows since the last chunk."""
    y, ends = collector.labels.take(), collector.ends.take()
    X = matrix_of(ends, collector.columns.take(), collector.values.take(), id_map.n_features)
    data = TextData(X, None if np.isnan(y).all() else y, None, id_map.base)
    data.id_map, data.n_unknown, data.n_shared = id_map, collector.n_left_out, 0
    collector.n_left_out = 0
    return data
