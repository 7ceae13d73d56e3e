"""What a model file holds of a table encoder: its columns in the header, their vocabularies as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastfm_deep.data.encoders import Encoding
from fastfm_deep.estimators.table_encoder import TableEncoder
from fastfm_deep.model.stored import ENCODER_PREFIX, StoredModel, require

if TYPE_CHECKING:
    from numpy.typing import NDArray


def put_encoder(encoder: TableEncoder, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Add a fitted encoder to what is to be saved."""
    columns, of_columns = encoder.encoding_.state()
    header["encoder"] = {"columns": columns, "n_columns": encoder.n_features_in_, "n_jobs": encoder.n_jobs}
    arrays.update({ENCODER_PREFIX + name: array for name, array in of_columns.items()})


def encoder_from(stored: StoredModel) -> TableEncoder:
    """The encoder of a file that holds one.

    Raises
    ------
    ValueError, KeyError, TypeError
        Header and arrays contradict each other.
    """
    assert stored.encoder is not None
    described = stored.header["encoder"]
    encoding = Encoding.from_state(*stored.encoder)
    require(encoding.n_features == stored.n_features, f"an encoder of {encoding.n_features} features")
    require(isinstance(described["n_jobs"], int | None), f"n_jobs={described['n_jobs']!r}")
    encoder = TableEncoder.of_encoding(encoding, int(described["n_columns"]))
    encoder.n_jobs = described["n_jobs"]
    return encoder
