"""What the table tests share: one content as tables of every kind, and forms as lists of Python values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fastfm_deep.data.float_values import value_at
from fastfm_deep.data.values import Categories, Values

CONTENT: dict[str, list[Any]] = {
    "user": ["ann", "bob", None, "żółw", "ann"],
    "age": [31, 27, 45, 19, -3],
    "price": [0.5, None, 2.25, -1e300, 7.0],
    "new": [True, False, False, True, True],
}
N_ROWS = 5


class Exported:
    """A table that only its Arrow stream tells of."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


class ExportedBatch:
    """The same of a single batch."""

    def __init__(self, table: pa.Table) -> None:
        self._batch = table.combine_chunks().to_batches()[0]

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return self._batch.__arrow_c_array__(requested_schema)


def arrays() -> dict[str, Any]:
    price = [np.nan if value is None else value for value in CONTENT["price"]]
    return {
        "user": np.array(CONTENT["user"], object),
        "age": np.array(CONTENT["age"]),
        "price": np.array(price),
        "new": np.array(CONTENT["new"]),
    }


def records() -> list[dict[str, Any]]:
    rows = [dict(zip(CONTENT, row, strict=True)) for row in zip(*CONTENT.values(), strict=True)]
    del rows[2]["user"]
    return rows


def _chunked() -> pa.Table:
    whole = pa.table(CONTENT)
    return pa.concat_tables([whole.slice(0, 2), whole.slice(2, 1), whole.slice(3)])


def _sliced() -> pa.Table:
    whole = pa.table(CONTENT)
    return pa.concat_tables([whole, whole]).combine_chunks().slice(5, 5)


MAKERS: dict[str, Any] = {
    "pandas": lambda: pd.DataFrame(arrays()),
    "pandas objects": lambda: pd.DataFrame(arrays()).astype(object),
    "pandas inferred": lambda: pd.DataFrame(CONTENT),  # "str" from version 3 on
    "pandas python strings": lambda: pd.DataFrame(arrays()).astype({"user": pd.StringDtype("python")}),
    "pandas arrow strings": lambda: pd.DataFrame(arrays()).astype({"user": pd.StringDtype("pyarrow")}),
    "pandas nullable": lambda: pd.DataFrame(arrays()).convert_dtypes(),
    "pandas arrow": lambda: pd.DataFrame(CONTENT).convert_dtypes(dtype_backend="pyarrow"),
    "pandas categories": lambda: pd.DataFrame(arrays()).astype({"user": "category", "new": "category"}),
    "pandas sparse": lambda: pd.DataFrame(arrays()).astype({"age": pd.SparseDtype("int64", 0)}),
    "polars": lambda: pl.DataFrame(CONTENT),
    "polars categories": lambda: pl.DataFrame(CONTENT).with_columns(pl.col("user").cast(pl.Categorical)),
    "pyarrow": lambda: pa.table(CONTENT),
    "record batch": lambda: pa.RecordBatch.from_pydict(CONTENT),
    "chunked": _chunked,
    "sliced": _sliced,
    "dictionary": lambda: pa.table({**CONTENT, "user": pa.array(CONTENT["user"]).dictionary_encode()}),
    "stream": lambda: Exported(_chunked()),
    "array": lambda: ExportedBatch(pa.table(CONTENT)),
    "dict of arrays": arrays,
    "dict of lists": lambda: dict(CONTENT),
    "dict of series": lambda: {
        name: pd.Series(values, index=[4, 3, 2, 1, 0]) for name, values in arrays().items()
    },
    "dict of polars": lambda: pl.DataFrame(CONTENT).to_dict(),
    "dict of arrow": lambda: {name: pa.array(values) for name, values in CONTENT.items()},
    "list of dicts": records,
}
FILE_NAMES = ["a.csv", "a.tsv", "a.parquet", "a.pq", "a.csv.gz", "a.csv.bz2", "a.csv.zst", "a.TSV.GZ"]


def write_file(path: Any) -> Any:
    """The content as a file of the kind that its name says."""
    name = path.name.lower()
    if name.endswith((".parquet", ".pq")):
        pyarrow.parquet.write_table(pa.table(CONTENT), path)
        return path
    compression = {"gz": "gzip", "bz2": "bz2", "zst": "zstd"}.get(name.split(".")[-1])
    with pa.output_stream(str(path), compression=compression) as file:
        options = pyarrow.csv.WriteOptions(delimiter="\t" if ".tsv" in name else ",", quoting_style="needed")
        pyarrow.csv.write_csv(pa.table(CONTENT), file, options)
    return path


def listed(values: Values) -> list[Any]:
    """The values as Python objects, None where missing."""
    found = [value_at(values, row) for row in range(values.n)]
    plain = [None if isinstance(value, float) and value != value else value for value in found]
    return [bool(value) if is_bool(values) and value is not None else value for value in plain]


def is_bool(values: Values) -> bool:
    inner = values.values if isinstance(values, Categories) else values
    return getattr(inner, "kind", None) == 4
