"""The work of `fastfm-deep convert`: text of one format in, of another out.

A *conversion* is what the options say.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import scipy.sparse

from fastfm_deep import validation
from fastfm_deep.cli import texts
from fastfm_deep.cli.console import Console
from fastfm_deep.cli.layouts import read_layout
from fastfm_deep.data.fields import FieldLayout

if TYPE_CHECKING:
    from fastfm_deep.data.text import TextData


class Conversion(NamedTuple):
    """What to read and how, what to write and where."""

    source: str
    target: str
    to: str
    format: str  # of the source
    base: str
    base_out: str | None
    fields: str | None


def run_conversion(conversion: Conversion, console: Console) -> None:
    """Read a file whole and write it anew."""
    _check(conversion)
    from fastfm_deep.data.text import read_text

    layout = None if conversion.fields is None else read_layout(conversion.fields)
    with_fields = conversion.to == "libffm"
    base: Any = conversion.base if conversion.base == "auto" else int(conversion.base)
    format: Any = conversion.format
    source = texts.source(conversion.source)
    data = read_text(source, format, base=base, labels="optional", keep_fields=with_fields)
    X, fields = data.X, data.fields
    if layout is not None:
        X, fields = _with_layout(conversion, data, layout)
    if with_fields and fields is None:
        raise validation.missing_fields_error(texts.names_of([conversion.source]))
    _write(conversion, X, data, fields)
    if with_fields and data.n_shared:
        console.note(texts.shared_note(data.n_shared, [conversion.source]))
    if conversion.target != texts.STDIN:
        console.show(f"{X.shape[0]:,} rows written to {conversion.target}\n")


def _check(conversion: Conversion) -> None:
    validation.check_choice("to", conversion.to, ["libsvm", "libffm"])
    validation.check_choice("from", conversion.format, ["auto", "libsvm", "libfm", "libffm"])
    validation.check_choice("base", conversion.base, ["auto", "0", "1"])
    if conversion.base_out is not None:
        validation.check_choice("base_out", conversion.base_out, ["0", "1"])
    if conversion.fields is not None and conversion.to != "libffm":
        raise validation.needless_fields_error(texts.names_of([conversion.source]))
    texts.check_inputs([conversion.source])
    if conversion.target == texts.STDIN:
        return
    from fastfm_deep.data.output import check_output_path

    target, source = check_output_path(conversion.target), texts.source(conversion.source)
    if target.exists() and os.path.exists(source) and os.path.samefile(target, source):
        raise validation.overwriting_error(conversion.target)


def _with_layout(conversion: Conversion, data: TextData, layout: FieldLayout) -> tuple[Any, FieldLayout]:
    """Rows as wide as the fields that were given."""
    if data.fields is not None:
        raise validation.needless_fields_error(texts.names_of([conversion.source]))
    n_rows, width = data.X.shape
    if width > layout.n_features:
        name, given = texts.names_of([conversion.source]), str(conversion.fields)
        largest = width - 1 + data.base
        raise validation.narrow_fields_error(given, layout.n_features, name, largest, data.base)
    X = scipy.sparse.csr_array((data.X.data, data.X.indices, data.X.indptr), shape=(n_rows, layout.n_features))
    return X, layout


def _write(conversion: Conversion, X: Any, data: TextData, fields: FieldLayout | None) -> None:
    """Write with the ids that were read, unless another base is asked for."""
    from fastfm_deep.data.text_writer import write_libffm, write_libsvm

    base = data.base if conversion.base_out is None else int(conversion.base_out)
    to_stdout = conversion.target == texts.STDIN
    target: Any = sys.stdout.buffer if to_stdout else conversion.target
    if conversion.to == "libffm":
        write_libffm(target, X, data.y, fields, base=base)
    else:
        write_libsvm(target, X, data.y, base=base)
    if to_stdout:
        target.flush()
