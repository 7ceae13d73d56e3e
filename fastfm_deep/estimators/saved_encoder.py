"""What a model file holds of a table encoder: its columns in the header, their vocabularies as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastfm_deep.data.encoders import Encoding
from fastfm_deep.estimators.table_encoder import TableEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PREFIX = "encoder."


def put_encoder(encoder: TableEncoder, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Add a fitted encoder to what is to be saved."""
    columns, of_columns = encoder.encoding_.state()
    header["encoder"] = {"columns": columns, "n_columns": encoder.n_features_in_, "n_jobs": encoder.n_jobs}
    arrays.update({_PREFIX + name: array for name, array in of_columns.items()})


def encoder_from(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> TableEncoder:
    """The encoder of a file.

    Raises
    ------
    ValueError, KeyError, TypeError
        Header and arrays contradict each other.
    """
    stored = header["encoder"]
    parts = {name.removeprefix(_PREFIX): part for name, part in arrays.items() if name.startswith(_PREFIX)}
    encoding = Encoding.from_state(stored["columns"], parts)
    if encoding.n_features != header["n_features"]:
        raise ValueError(f"found an encoder of {encoding.n_features} features")
    if not isinstance(stored["n_jobs"], int | None):
        raise ValueError(f"found n_jobs={stored['n_jobs']!r}")
    encoder = TableEncoder.of_encoding(encoding, int(stored["n_columns"]))
    encoder.n_jobs = stored["n_jobs"]
    return encoder
