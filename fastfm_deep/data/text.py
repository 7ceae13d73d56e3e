"""Text in: libsvm, libfm and libffm files become CSR rows and targets.

The formats write one row a line, `label id:value id:value ...`, libffm with the field before, `field:id:value`.
A *base* is the number that column ids count from, 0 or 1; a *pair* is one `id:value` or `field:id:value`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np

from fastfm_deep import kernels, validation
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.id_map import LARGEST_ID, IdMap, IdTable
from fastfm_deep.data.text_blocks import BLOCK_BYTES, Block, TextBlocks, size_of
from fastfm_deep.data.text_lines import TextRules, first_fault
from fastfm_deep.data.text_rows import Columns, RowCollector
from fastfm_deep.kernels.text_layout import LineRules

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

FORMATS = ("auto", "libsvm", "libfm", "libffm")

BLOCKS_A_THREAD = 4
"""Threads are started for so many blocks each, so that small files do without."""


class _TextTuple(NamedTuple):
    X: scipy.sparse.csr_array
    y: NDArray[np.float64] | None
    fields: FieldLayout | None
    base: int


class TextData(_TextTuple):
    """What text files hold: a tuple of four, with more to ask for by name.

    Attributes
    ----------
    X : csr_array (n_rows, n_features), float32
        Columns in the order of the file: not sorted, and an id that a row names twice is there twice.
    y : float64 array (n_rows,), or None
        NaN for a row without a label; None where no row has one.
    fields : FieldLayout, or None
        Of libffm text.
    base : int
        What ids count from in the file; columns count from 0. 0 with hashed or compact ids.
    id_map : IdMap
        How ids became columns: give it to `read_text` for every later file.
    n_unknown : int
        Values left out for their unknown ids.
    n_shared : int
        Columns that the text names in more than one field; each counts to the one it came with first.
    """

    id_map: IdMap
    n_unknown: int
    n_shared: int


def read_text(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    format: str = "auto",
    n_features: int | None = None,
    base: Literal["auto"] | int = "auto",
    *,
    hash_features: int | None = None,
    compact: bool = False,
    id_map: IdMap | None = None,
    unknown_ids: Literal["error", "ignore"] = "error",
    labels: Literal["required", "optional"] = "required",
    keep_fields: bool = True,
    n_jobs: int | None = None,
) -> TextData:
    r"""Read libsvm, libfm or libffm files.

    Comments (`#` to the end of the line), `qid:` tokens and blank lines are passed over. Ids may come in any
    order. Each value is `np.float32(float(token))`, bit for bit.

    Parameters
    ----------
    path : path, or sequence of paths
        Files or FIFOs, plain or compressed (.gz, .xz, .bz2, .zst, told by their first bytes). Several are read one
        after the other, as one set of rows.
    format : {"auto", "libsvm", "libfm", "libffm"}
        libsvm and libfm are the same; "auto" looks at the first pair.
    n_features : int, optional
        Width of X; by default the largest id decides.
    base : {"auto", 0, 1}
        What ids count from; "auto" takes 0 if the files hold an id 0, else 1.
    hash_features : int, optional
        Width of X for ids of any size: columns are hashes, see `hash_ids`. Different ids may share a column.
    compact : bool
        Number the ids that occur, in order of first appearance, instead of taking them as they are.
    id_map : IdMap, optional
        `TextData.id_map` of the training files, for every later file: neither base nor width are found out anew.
    unknown_ids : {"error", "ignore"}
        What becomes of ids beyond `n_features`, or unknown to `id_map`.
    labels : {"required", "optional"}
        Whether lines without a label are fine: y then is NaN there, and None where no line has one.
    keep_fields : bool
        Whether `fields` is made for libffm text; it takes four bytes a column.
    n_jobs : int, optional
        Threads; -1: all cores; by default as many as the files are worth. The result is the same.

    Returns
    -------
    TextData
        X, y, fields, base, and by name: id_map, n_unknown, n_shared.

    Raises
    ------
    TextFormatError
        A line breaks the format, or the file is cut, empty or binary; names file, line, column and token.
    MissingFileError
        There is no such file.
    TableTooLargeError
        The fields of so many columns would not fit into memory.
    InputError
        An argument breaks its rule, or a file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(b"1 3:0.5 1:2  # ids from 1\n-1 2:1\n")
    ...     file.flush()
    ...     X, y, fields, base = read_text(file.name)
    >>> X.toarray()
    array([[2. , 0. , 0.5],
           [0. , 1. , 0. ]], dtype=float32)
    >>> y
    array([ 1., -1.])
    """
    paths = check_paths(path)
    plan = check_ids(n_features, base, hash_features, compact, id_map)
    validation.check_choice("format", format, FORMATS)
    validation.check_choice("unknown_ids", unknown_ids, ["error", "ignore"])
    validation.check_choice("labels", labels, ["required", "optional"])
    n_threads = thread_count(n_jobs, paths)
    line = line_rules(plan, unknown_ids == "ignore", labels == "optional")
    limit = plan.n_features if unknown_ids == "error" else None
    rules = TextRules(line, False, limit, None)
    # With the base unknown, the id n_features may turn out to be the last one of base 1, or one too many.
    watched = limit if plan.kind == "offset" and plan.base is None else None
    collector = RowCollector(rules, plan.columns, keep_fields=keep_fields, watched=watched, width=plan.n_features)

    collector.collect(TextBlocks(paths), n_threads, settler(format, rules))
    if not len(collector.labels):
        raise validation.empty_text_error(", ".join(paths))
    return _assemble(collector, plan, keep_fields)


class IdPlan(NamedTuple):
    """What the arguments say of ids and columns."""

    kind: Literal["offset", "hash", "table"]
    base: int | None  # None: to be found out
    n_features: int | None  # None: to be found out
    columns: Columns


def check_paths(path: Any) -> list[str]:
    """The names of the files."""
    several = isinstance(path, Sequence) and not isinstance(path, str | bytes)
    paths = list(path) if several else [path]
    if not paths or not all(isinstance(name, str | bytes | os.PathLike) for name in paths):
        raise validation.text_path_error(path)
    return [os.fsdecode(name) for name in paths]


def check_ids(
    n_features: int | None, base: object, hash_features: int | None, compact: bool, id_map: IdMap | None
) -> IdPlan:
    """See that what is said of ids does not contradict itself."""
    given: dict[str, Any] = {
        "hash_features": hash_features,
        "compact": validation.check_flag("compact", compact) or None,
    }
    given |= {"id_map": id_map, "n_features": n_features, "base": None if isinstance(base, str) else base}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1 and set(names) != {"n_features", "base"}:
        raise validation.id_choice_error(names)
    known = isinstance(base, int | np.integer) and not isinstance(base, bool) and base in (0, 1)
    if not known and not (isinstance(base, str) and base == "auto"):
        raise validation.base_error(base)
    for name in ("hash_features", "n_features"):
        if given[name] is not None:
            given[name] = validation.check_integer(name, given[name], minimum=1)
            if given[name] > LARGEST_ID:
                raise validation.upper_bound_error(name, given[name], f"at most {LARGEST_ID}")
    if id_map is not None:
        if not isinstance(id_map, IdMap):
            raise validation.id_map_error(id_map)
        hashed_to = id_map.n_features if id_map.kind == "hash" else None
        table = IdTable(id_map.ids) if id_map.kind == "table" else None
        return IdPlan(id_map.kind, id_map.base, id_map.n_features, Columns(hashed_to, table))
    if hash_features is not None:
        return IdPlan("hash", 0, given["hash_features"], Columns(given["hash_features"]))
    if compact:
        return IdPlan("table", 0, None, Columns(None, IdTable(), growing=True))
    return IdPlan("offset", int(cast(int, base)) if known else None, given["n_features"], Columns())


def line_rules(plan: IdPlan, leave_out: bool, unlabelled: bool) -> LineRules:
    """What lines have to keep."""
    base = plan.base or 0
    largest = LARGEST_ID
    if plan.kind == "offset" and plan.n_features is not None:
        if plan.base is not None:
            largest = base + plan.n_features - 1
        elif not leave_out:
            largest = plan.n_features
    return LineRules(base, min(largest, LARGEST_ID), base, leave_out, unlabelled)


def thread_count(n_jobs: int | None, paths: list[str]) -> int:
    """Threads that are asked for, or that the files are worth."""
    if n_jobs is not None:
        n_jobs = validation.check_jobs(n_jobs)
        if n_jobs > 0:
            return n_jobs
    wanted = 1 + size_of(paths) // (BLOCKS_A_THREAD * BLOCK_BYTES)
    if n_jobs is None and wanted == 1:
        return 1
    from joblib import cpu_count  # knows affinity and quota; imported here because it takes 0.1 s

    cores = max(1, int(cpu_count()))
    return min(wanted, cores) if n_jobs is None else max(1, cores + 1 + n_jobs)


def settler(format: str, rules: TextRules) -> Callable[[Block], TextRules | None]:
    """The rules for all blocks, found by looking at one after the other until there is a pair."""
    settled: TextRules | None = None

    def settle(block: Block) -> TextRules | None:
        nonlocal settled
        if settled is None:
            found = _sniff(block) if format == "auto" else format
            settled = None if found is None else rules._replace(with_fields=found == "libffm")
        return settled

    return settle


def _sniff(block: Block) -> str | None:
    """The format, as the first pair shows it; None if there is none in this block."""
    content = bytes(memoryview(block.buffer)[: block.end])
    if b":" not in content:
        return None
    for line in content.split(b"\n"):
        for token in line.partition(b"#")[0].split():
            if b":" in token and not token.startswith(b"qid:"):
                return "libffm" if token.count(b":") == 2 else "libsvm"
    return None


def _assemble(collector: RowCollector, plan: IdPlan, keep_fields: bool) -> TextData:
    """One matrix of all rows, without the columns beyond `n_features`."""
    base = plan.base
    shift = 0  # what is still to be taken off the columns
    if base is None:
        base = shift = int(collector.least > 0)
        if base == 0 and collector.doubtful is not None:
            _find_too_large(collector, cast(int, plan.n_features))
    most = collector.most - base if plan.kind == "offset" else -1
    y = collector.labels.take()
    ends = collector.ends.take()
    columns = collector.columns.take()
    values = collector.values.take()
    if shift:
        columns -= shift
    ids = plan.columns.table.ids() if plan.columns.table is not None else np.empty(0, np.int64)
    width = plan.n_features or (max(len(ids), 1) if plan.kind == "table" else max(most, 0) + 1)
    n_unknown = collector.n_left_out
    if most >= width:
        kept = kernels.ids.drop_beyond(columns, values, None, ends, width)
        n_unknown += len(columns) - kept
        columns, values = columns[:kept], values[:kept]
    X = matrix_of(ends, columns, values, width)
    fields, n_shared = None, 0
    if keep_fields and collector.rules.with_fields:
        fields, n_shared = _layout(collector.known_fields, shift, width)
    data = TextData(X, None if np.isnan(y).all() else y, fields, base)
    data.id_map = IdMap(plan.kind, width, base, ids)
    data.n_unknown, data.n_shared = n_unknown, n_shared
    return data


def matrix_of(
    ends: NDArray[np.int64], columns: NDArray[Any], values: NDArray[np.float32], width: int
) -> scipy.sparse.csr_array:
    """Rows whose pairs end where `ends` says."""
    import scipy.sparse

    index_type = np.int32 if max(width, len(columns)) < 2**31 else np.int64
    indptr = np.zeros(len(ends) + 1, index_type)
    indptr[1:] = ends
    columns = columns.astype(index_type, copy=False)
    return scipy.sparse.csr_array((values, columns, indptr), shape=(len(ends), width))


def _find_too_large(collector: RowCollector, n_features: int) -> None:
    """Raise the error of the first id that is too large now that ids are known to count from 0."""
    path, n_lines, content = cast(tuple[str, int, bytes], collector.doubtful)
    rules = collector.rules._replace(line=collector.rules.line._replace(largest_id=n_features - 1))
    found = first_fault(content.split(b"\n"), rules)
    if found is not None:
        raise found[1].error(path, n_lines + found[0] + 1)


def _layout(known: NDArray[Any], shift: int, width: int) -> tuple[FieldLayout, int]:
    """Fields of the columns, and how many columns have come with several; see `kernels.ids` for `known`."""
    field_of_column = np.full(width, -1, np.int32)
    known = known[shift : shift + width].astype(np.int32)
    field_of_column[: len(known)] += np.abs(known)
    return FieldLayout(field_of_column, int(field_of_column.max(initial=-1)) + 1), int((known < 0).sum())
