"""Stored models: what a model file holds, checked, in the storage of the file.

A *stored model* is all that scoring needs, as NumPy arrays: reading one loads no compiled code, and none of the
estimators. Shapes, types and ranges are settled here, so that whoever scores can trust them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.fields import POOLINGS, FieldLayout
from fastfm_deep.data.id_map import LARGEST_ID, IdMap
from fastfm_deep.data.memory import free_memory
from fastfm_deep.model.file import map_model_file, read_model_file
from fastfm_deep.model.mapped import MappedFile
from fastfm_deep.model.storage import LARGEST_SCALE, STORAGES, STORED_DTYPES, write_dense
from fastfm_deep.nn.activations import ACTIVATIONS
from fastfm_deep.nn.shape import MLPShape

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMER_BASE = "text_base_"
"""The attribute that earlier files hold instead of a map of ids: the base alone."""

ENCODER_PREFIX = "encoder."
"""What the names of the arrays of an encoder begin with."""

# Which of them are classifiers, and which may have a network.
_CLASSES = {
    "FMClassifier": (True, False),
    "FMRegressor": (False, False),
    "DeepFMClassifier": (True, True),
    "DeepFMRegressor": (False, True),
}
_MOST_LABELS = 1 << 21  # bytes of all labels; a file must not decide alone how much is allocated
_MOST_ROWS = 2**31 - 1  # of a file that leaves features out: rows are looked up as int32


class StoredNetwork(NamedTuple):
    """The network of a stored model.

    Attributes
    ----------
    shape : MLPShape
    parameters : float32 array (shape.n_parameters,)
    running : float32 array (shape.n_running,)
    with_fields : bool
        Whether it takes a vector of each field, or those of the whole row.
    optimizer_name : str, or None
        Of the optimizer whose states the file holds.
    """

    shape: MLPShape
    parameters: NDArray[np.float32]
    running: NDArray[np.float32]
    with_fields: bool
    optimizer_name: str | None


class StoredModel(NamedTuple):
    """A model as its file holds it; arrays may be read-only maps of the file.

    The answer to a row is `center + shift + scale * raw`, where raw is what tables and network say.

    Attributes
    ----------
    header : dict
        The description, for what is not told here.
    arrays : dict of str to array
        All that the file holds.
    n_features, n_factors : int
    storage : str, one of `STORAGES`
    factors : array (n_rows, n_factors) of float32, uint16 (the bits of bfloat16) or int8
        As in the file; (0, 0) without factors.
    linear : float32 array (n_rows, 1); with int8 (n_rows, 2)
        The weight, and beside it what the row's factors are to be multiplied by.
    kept : bool array (n_features,), or None
        The features that have rows, in order from row 1 on: row 0 is all zeros, for the others. None: row j is
        that of feature j.
    intercept : float
        In the units of the tables.
    inverse_scale : float32 array (n_features,), or (0,) where all are 1
    occurs : uint8 array (n_features,)
    center, scale, shift : float
    is_classifier : bool
    classes : array (2,), or None
    bounds : tuple of float, or None
        The range to which a regressor clips its answers.
    layout : FieldLayout, or None
    network : StoredNetwork, or None
    feature_names : tuple of str, or None
    encoder : tuple of list and dict, or None
        Columns and arrays, for `Encoding.from_state`, which checks them; its width is to be `n_features`.
    id_map : IdMap, or None
        How ids of text become features.
    mapped : MappedFile, or None
        The file, where the arrays are maps of it.
    """

    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    n_features: int
    n_factors: int
    storage: str
    factors: NDArray[Any]
    linear: NDArray[np.float32]
    kept: NDArray[np.bool_] | None
    intercept: float
    inverse_scale: NDArray[np.float32]
    occurs: NDArray[np.uint8]
    center: float
    scale: float
    shift: float
    is_classifier: bool
    classes: NDArray[Any] | None
    bounds: tuple[float, float] | None
    layout: FieldLayout | None
    network: StoredNetwork | None
    feature_names: tuple[str, ...] | None
    encoder: tuple[list[dict[str, Any]], dict[str, NDArray[Any]]] | None
    id_map: IdMap | None = None
    mapped: MappedFile | None = None


def read_stored_model(path: str | os.PathLike[str], mmap: bool = False) -> StoredModel:
    """Read a file that `save` wrote, and check that its parts agree.

    Parameters
    ----------
    path : str or path
    mmap : bool, default False
        Map the arrays instead of reading them; see `read_model_file`.

    Returns
    -------
    StoredModel

    Raises
    ------
    ModelFileError
        The file is damaged, of a newer version, no model at all, or contradicts itself.
    MissingFileError
        There is no such file; also a FileNotFoundError.

    Examples
    --------
    >>> stored = read_stored_model("clicks.safetensors", mmap=True)  # doctest: +SKIP
    """
    (header, arrays), mapped = map_model_file(path) if mmap else (read_model_file(path), None)
    with contradictions_refused(path):
        return _stored_model(header, arrays)._replace(mapped=mapped)


@contextmanager
def contradictions_refused(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what goes wrong with the contents of a file into a ModelFileError that names it."""
    try:
        yield
    except validation.TableTooLargeError:  # nothing is wrong with the file
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise validation.contradicting_model_error(os.fsdecode(path), error) from error


def dense_rows(stored: StoredModel) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The rows of all features in float32; zeros for features that the file leaves out.

    Returns
    -------
    factors : float32 array (n_features, n_factors)
    linear : float32 array (n_features,)

    Raises
    ------
    TableTooLargeError
        They would not fit into the memory that is free now; nothing has been allocated then.
    """
    n_features, n_factors = stored.n_features, stored.n_factors
    n_bytes, free = 4 * n_features * (n_factors + 1), free_memory()
    if n_bytes > free:
        raise validation.table_too_large_error(n_features, n_factors, n_bytes, free)
    factors = np.zeros((n_features, n_factors), np.float32)
    linear = np.zeros(n_features, np.float32)
    write_dense(stored.storage, stored.factors, stored.linear, stored.kept, factors, linear)
    return factors, linear


def take(
    arrays: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...], dtype: Any = np.float32
) -> NDArray[Any]:
    """An array of the file; without this check NumPy would stretch one of another shape."""
    array = arrays[name]
    expected = np.dtype(dtype)
    require(
        array.shape == shape and array.dtype == expected,
        f"{name} of shape {array.shape} and {array.dtype} instead of {shape} and {expected}",
    )
    return array


def require(condition: bool, found: str) -> None:
    """Give up on a file; `contradictions_refused` adds its name."""
    if not condition:
        raise ValueError(f"found {found}")


def labels_from_header(stored: dict[str, Any]) -> NDArray[Any]:
    """Labels, of the type that they had when they were saved."""
    dtype, values = np.dtype(stored["dtype"]), stored["values"]
    require(dtype.itemsize * len(values) <= _MOST_LABELS, f"{len(values)} labels of {dtype.itemsize} bytes")
    return np.array(values, dtype=dtype)


def _stored_model(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> StoredModel:
    is_classifier, may_be_deep = _CLASSES[header["class"]]
    require(header["link"] == ("logistic" if is_classifier else "identity"), f"a link {header['link']!r}")
    n_features, n_factors = header["n_features"], header["n_factors"]
    require(type(n_features) is int and n_features > 0, f"n_features={n_features}")
    require(type(n_factors) is int and n_factors >= 0, f"n_factors={n_factors}")
    # Rows are checked against this width, and the kernels trust it.
    width = header["attributes"]["n_features_in_"]
    require(width == n_features, f"n_features_in_={width}")
    require(type(header["epochs"]) is int, f"epochs={header['epochs']!r}")
    center, scale = float(header["center"]), float(header["scale"])
    require(math.isfinite(center) and 0.0 < scale < math.inf, f"center={center} and scale={scale}")
    storage, factors, linear, kept = _tables(header, arrays)
    parameters, attributes = header["hyper_parameters"], header["attributes"]
    classes = labels_from_header(header["classes"]) if is_classifier else None
    require(classes is None or classes.shape == (2,), "no two classes")
    if "parts" in arrays:
        take(arrays, "parts", (n_features,), np.uint8)
    has_scales = "inverse_scale" in arrays
    layout = _layout(header, arrays) if "n_fields" in header else None
    network = _network(header, arrays, layout)
    require(may_be_deep or network is None, f"a network of a {header['class']}")
    return StoredModel(
        header=header,
        arrays=arrays,
        n_features=n_features,
        n_factors=n_factors,
        storage=storage,
        factors=factors,
        linear=linear,
        kept=kept,
        intercept=float(take(arrays, "intercept", (1,))[0]),
        inverse_scale=take(arrays, "inverse_scale", (n_features,)) if has_scales else np.empty(0, np.float32),
        occurs=_bits(arrays, "occurs", n_features),
        center=center,
        scale=scale,
        shift=_shift(parameters.get("negative_downsampling", 1.0)) if is_classifier else 0.0,
        is_classifier=is_classifier,
        classes=classes,
        bounds=None if is_classifier or not parameters.get("clip", False) else _bounds(attributes),
        layout=layout,
        network=network,
        feature_names=_feature_names(header) if "feature_names" in header else None,
        encoder=_encoder(header, arrays) if "encoder" in header else None,
        id_map=_id_map(header, arrays),
    )


def _tables(
    header: dict[str, Any], arrays: dict[str, NDArray[Any]]
) -> tuple[str, NDArray[Any], NDArray[np.float32], NDArray[np.bool_] | None]:
    """Storage, factors, weights, and which features have rows."""
    n_features, n_factors, storage = header["n_features"], header["n_factors"], header.get("storage", "float32")
    require(storage in STORAGES, f"a storage {storage!r}")
    is_pruned = header.get("prune") is not None
    is_number = type(header.get("prune", 0.0)) in (int, float, type(None))
    require(is_number and is_pruned == ("kept" in arrays), f"prune={header.get('prune')!r}")
    kept, n_rows = None, n_features
    if is_pruned:
        kept = _bits(arrays, "kept", n_features).view(np.bool_)
        n_rows = 1 + int(np.count_nonzero(kept))
        require(n_rows <= _MOST_ROWS, f"{n_rows} rows")
        # Bits beyond the last feature.
        require(n_features % 8 == 0 or not int(arrays["kept"][-1]) & (255 >> n_features % 8), "stray bits in kept")
    # Of all sizes this one is as long as an array of the file, so that nothing much larger is allocated.
    linear = take(arrays, "linear", (n_rows, 2) if storage == "int8" else (n_rows,)).reshape(n_rows, -1)
    factors = take(arrays, "factors", (n_rows if n_factors else 0, n_factors), STORED_DTYPES[storage])
    if storage == "int8":
        scales = linear[:, 1]
        # The smallest of them is NaN where one is.
        least, most = float(scales.min()), float(scales.max())
        require(least >= 0.0 and most <= LARGEST_SCALE, f"scales of factors from {least} to {most}")
    if is_pruned:
        require(not linear[0].any() and not factors[:1].any(), "no zeros in the row of features without one")
    return storage, factors, linear, kept


def _bits(arrays: dict[str, NDArray[Any]], name: str, n_features: int) -> NDArray[np.uint8]:
    """One bit of each feature, as 0 or 1."""
    return np.unpackbits(take(arrays, name, (-(-n_features // 8),), np.uint8), count=n_features)


def _shift(share: Any) -> float:
    """What a classifier adds to answers: log-odds among all rows are those among the rows kept, and this."""
    require(type(share) in (int, float) and 0.0 < share <= 1.0, f"negative_downsampling={share!r}")
    return math.log(share)


def _bounds(attributes: dict[str, Any]) -> tuple[float, float]:
    low, high = attributes["target_range_"]
    require(all(type(end) in (int, float) for end in (low, high)), f"target_range_={low!r}, {high!r}")
    require(-math.inf < low <= high < math.inf, f"target_range_={low}, {high}")
    return float(low), float(high)


def _layout(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> FieldLayout:
    n_fields, pooling = header["n_fields"], tuple(header.get("pooling", ()))
    field_of_column = take(arrays, "field_of_column", (header["n_features"],), np.int32)
    require(type(n_fields) is int and 0 <= n_fields < 2**31, f"n_fields={n_fields!r}")
    least, most = int(field_of_column.min()), int(field_of_column.max())
    require(least >= -1 and most < n_fields, f"fields from {least} to {most} of {n_fields}")
    require(not pooling or len(pooling) == n_fields, f"{len(pooling)} poolings of {n_fields} fields")
    require(set(pooling) <= set(POOLINGS), f"pooling {set(pooling) - set(POOLINGS)}")
    # Not the map of a file, which may change: compiled code goes where these numbers say.
    return FieldLayout(np.array(field_of_column), n_fields, pooling)


def _network(
    header: dict[str, Any], arrays: dict[str, NDArray[Any]], layout: FieldLayout | None
) -> StoredNetwork | None:
    if "network" not in header:
        # Without it the scores would be those of another model.
        require("network_parameters" not in arrays, "parameters of a network, but not its shape")
        return None
    stored = dict(header["network"])
    with_fields, optimizer_name = stored.pop("with_fields"), stored.pop("optimizer")
    require(type(with_fields) is bool, f"with_fields={with_fields!r}")
    require(optimizer_name is None or isinstance(optimizer_name, str), f"optimizer={optimizer_name!r}")
    shape = MLPShape(**{**stored, "hidden_units": tuple(stored["hidden_units"])})
    n_vectors = 2 if not with_fields else -1 if layout is None else layout.n_fields
    is_sound = (
        all(type(size) is int and 0 < size < 2**31 for size in (shape.n_inputs, *shape.hidden_units))
        and len(shape.hidden_units) > 0
        and shape.activation in ACTIVATIONS
        and type(shape.batch_norm) is bool
        and isinstance(shape.dropout, float | int)
        and math.isfinite(shape.dropout)
        and 0.0 <= shape.dropout < 1.0
        and shape.n_inputs == n_vectors * header["n_factors"]
    )
    require(is_sound, f"a network of {shape}")
    parameters = take(arrays, "network_parameters", (shape.n_parameters,))
    running = take(arrays, "network_running", (shape.n_running,))
    return StoredNetwork(shape, parameters, running, with_fields, optimizer_name)


def _feature_names(header: dict[str, Any]) -> tuple[str, ...]:
    names = header["feature_names"]
    require(isinstance(names, list) and all(isinstance(name, str) for name in names), "feature names of no text")
    require(len(names) == header["n_features"], f"{len(names)} feature names")
    return tuple(names)


def _encoder(
    header: dict[str, Any], arrays: dict[str, NDArray[Any]]
) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    columns = header["encoder"]["columns"]
    require(isinstance(columns, list), f"an encoder of {type(columns).__name__}")
    start = len(ENCODER_PREFIX)
    return columns, {name[start:]: part for name, part in arrays.items() if name.startswith(ENCODER_PREFIX)}


def _id_map(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> IdMap | None:
    base = header["attributes"].get(FORMER_BASE)
    if "id_map" not in header and base is None:
        return None
    stored, n_features = header.get("id_map", {"kind": "offset", "base": base}), header["n_features"]
    kind, base = stored["kind"], stored["base"]
    require(kind in ("offset", "hash", "table"), f"an id map of kind {kind!r}")
    require(type(base) is int and base in ((0, 1) if kind == "offset" else (0,)), f"base={base!r}")
    if kind != "table":
        return IdMap(kind, n_features, base, np.empty(0, np.int64))
    # Text without any pair has no ids, but still a column.
    n_ids = 0 if n_features == 1 and not len(arrays["ids"]) else n_features
    ids = take(arrays, "ids", (n_ids,), np.int64)
    require(bool(np.all((ids >= 0) & (ids <= LARGEST_ID))), "ids out of range")
    return IdMap("table", n_features, 0, ids)
