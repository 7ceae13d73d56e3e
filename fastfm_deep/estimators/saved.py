"""Saved estimators: what a model file holds of them, and the way back."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from fastfm_deep import validation
from fastfm_deep.data.fields import POOLINGS, FieldLayout
from fastfm_deep.data.id_map import LARGEST_ID, IdMap
from fastfm_deep.estimators.base import BaseFM
from fastfm_deep.estimators.deepfm import DeepFMClassifier, DeepFMRegressor
from fastfm_deep.estimators.deepfm_mixin import DeepFMMixin
from fastfm_deep.estimators.fm_classifier import FMClassifier
from fastfm_deep.estimators.fm_regressor import FMRegressor
from fastfm_deep.estimators.saved_encoder import encoder_from, put_encoder
from fastfm_deep.estimators.saved_network import network_from, put_network
from fastfm_deep.model.file import read_model_file, write_model_file
from fastfm_deep.model.params import FMModel, allocate, with_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CLASSES: dict[str, type[BaseFM]] = {
    kind.__name__: kind for kind in (FMClassifier, FMRegressor, DeepFMClassifier, DeepFMRegressor)
}
# What a fit leaves on an estimator beside its model, each a number, text or list; the first four always.
_PLAIN_ATTRIBUTES = (
    "n_features_in_",
    "history_",
    "best_epoch_",
    "best_score_",
    "target_range_",
    "target_name_",
)
# What earlier files hold instead of a map of ids: the base alone.
_FORMER_BASE = "text_base_"
_MAX_LABEL = 1 << 20  # bytes; a file must not decide alone how much is allocated


def save_model(estimator: BaseFM, path: str | os.PathLike[str], include_optimizer: bool) -> None:
    """Write a fitted estimator; see `BaseFM.save`."""
    if _CLASSES.get(type(estimator).__name__) is not type(estimator):
        raise validation.unknown_class_error(type(estimator).__name__, list(_CLASSES))
    model = estimator._model
    params = model.params
    arrays: dict[str, NDArray[Any]] = {
        "factors": params.factors[:, : model.n_factors],
        "linear": params.linear[:, 0],
        "intercept": params.intercept[:1],
        "occurs": np.packbits(model.occurs),
    }
    if len(params.inverse_scale):
        arrays["inverse_scale"] = params.inverse_scale
    if params.parts is not None:
        arrays["parts"] = params.parts
    if include_optimizer and model.rule is not None:
        arrays["factor_states"] = params.factors[:, params.padded_factors :]
        arrays["linear_states"] = params.linear[:, 1:]
        arrays["intercept_states"] = params.intercept[1:]
    header: dict[str, Any] = {
        "class": type(estimator).__name__,
        "hyper_parameters": _hyper_parameters(estimator),
        "n_features": model.n_features,
        "n_factors": model.n_factors,
        "link": "logistic" if isinstance(estimator, FMClassifier) else "identity",
        "rule": model.rule if include_optimizer else None,
        "center": model.center,
        "scale": model.scale,
        "epochs": model.epochs,
        "attributes": {name: getattr(estimator, name) for name in _PLAIN_ATTRIBUTES if hasattr(estimator, name)},
    }
    if hasattr(estimator, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in estimator.feature_names_in_]
    if isinstance(estimator, FMClassifier):
        header["classes"] = _labels_to_header(estimator.classes_)
    _put_text_attributes(estimator, header, arrays)
    if hasattr(estimator, "encoder_"):
        put_encoder(estimator.encoder_, header, arrays)
    if model.deep is not None:
        put_network(model.deep, include_optimizer, header, arrays)
    write_model_file(path, arrays, _without_nan(header))


def _put_text_attributes(estimator: BaseFM, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Add `id_map_` and `fields_`, where the estimator has them: how text becomes rows for it."""
    id_map: IdMap | None = getattr(estimator, "id_map_", None)
    fields: FieldLayout | None = getattr(estimator, "fields_", None)
    for name, found, kind in (("id_map_", id_map, IdMap), ("fields_", fields, FieldLayout)):
        if found is None:
            continue
        if not isinstance(found, kind):
            raise validation.model_content_error(
                f"{name} is a {type(found).__name__}, but must be of type {kind.__name__}"
            )
        if found.n_features != estimator.n_features_in_:
            raise validation.model_content_error(
                f"{name} is of n_features={found.n_features}, but the model is of {estimator.n_features_in_}; set "
                f"{name} anew or delete it"
            )
    if id_map is not None:
        header["id_map"] = {"kind": id_map.kind, "base": int(id_map.base)}
        if id_map.kind == "table":
            arrays["ids"] = np.asarray(id_map.ids, np.int64)
    if fields is not None:
        header["n_fields"] = int(fields.n_fields)
        header["pooling"] = list(fields.pooling)
        arrays["field_of_column"] = np.asarray(fields.field_of_column, np.int32)


def _without_nan(value: Any) -> Any:
    """Numbers that JSON does not know become None: the score of an epoch, at worst."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _hyper_parameters(estimator: BaseFM) -> dict[str, Any]:
    parameters = estimator.get_params(deep=False)
    if not isinstance(parameters["random_state"], int | np.integer | None):
        parameters["random_state"] = None  # a generator has moved on
    parameters.pop("fields", None)  # saved as `fields_`
    parameters.pop("encoder", None)  # saved as `encoder_`
    for name in ("linear_columns", "deep_columns"):
        if parameters[name] is not None:
            parameters[name] = [getattr(column, "name", column) for column in parameters[name]]
    if "dnn_hidden_units" in parameters:
        parameters["dnn_hidden_units"] = [int(size) for size in parameters["dnn_hidden_units"]]
    weights = parameters.get("class_weight")
    if isinstance(weights, dict):
        labels = _labels_to_header(np.array(list(weights)))
        parameters["class_weight"] = [labels, [float(weight) for weight in weights.values()]]
    return parameters


def _labels_to_header(labels: NDArray[Any]) -> dict[str, Any]:
    values = labels.tolist()
    if not all(isinstance(value, str | int | float | bool) for value in values):
        raise validation.model_content_error(
            f"its labels are {values}, but a model file holds strings, numbers and booleans; fit on such labels"
        )
    return {"dtype": labels.dtype.str, "values": values}


def _labels_from_header(stored: dict[str, Any]) -> NDArray[Any]:
    dtype = np.dtype(stored["dtype"])
    _require(dtype.itemsize <= _MAX_LABEL, f"labels of {dtype.itemsize} bytes each")
    return np.array(stored["values"], dtype=dtype)


def load_model(path: str | os.PathLike[str]) -> Any:
    """Read an estimator that `save` wrote; its scores are the same, bit for bit.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    FMClassifier, FMRegressor, DeepFMClassifier or DeepFMRegressor
        Fitted. `partial_fit` goes on where it stopped if the file holds the states of the optimizer; else with
        fresh ones.

    Raises
    ------
    ModelFileError
        The file is damaged, cut off, written by a newer version, or no model at all.
    FileNotFoundError
        There is no such file; also an InputError.
    TableTooLargeError
        It needs more memory than is free.

    Examples
    --------
    >>> from fastfm_deep import load_model
    >>> model = load_model("clicks.safetensors")  # doctest: +SKIP
    """
    header, arrays = read_model_file(path)
    try:
        return _estimator_from(header, arrays)
    except validation.TableTooLargeError:  # nothing is wrong with the file
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise validation.model_file_error(
            os.fsdecode(path),
            f"holds no estimator that this version of fastfm_deep can build ({type(error).__name__}: {error})",
            "save the model again",
        ) from error


def _estimator_from(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> BaseFM:
    parameters = dict(header["hyper_parameters"])
    if isinstance(parameters.get("class_weight"), list):
        labels, weights = parameters["class_weight"]
        parameters["class_weight"] = dict(zip(_labels_from_header(labels).tolist(), weights, strict=True))
    if "dnn_hidden_units" in parameters:
        parameters["dnn_hidden_units"] = tuple(parameters["dnn_hidden_units"])
    estimator: Any = _CLASSES[header["class"]](**parameters)
    attributes = dict(header["attributes"])
    former_base = attributes.pop(_FORMER_BASE, None)
    for name in _PLAIN_ATTRIBUTES[:4]:
        _require(name in attributes, f"no attribute {name!r}")
    for name, value in attributes.items():
        _require(name in _PLAIN_ATTRIBUTES, f"an attribute {name!r}")
        _require(name != "target_name_" or isinstance(value, str), f"{name}={value!r}")
        setattr(estimator, name, tuple(value) if name == "target_range_" else value)
    if "feature_names" in header:
        estimator.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    if isinstance(estimator, FMClassifier):
        estimator.classes_ = _labels_from_header(header["classes"])
        _require(estimator.classes_.shape == (2,), f"{len(estimator.classes_)} classes instead of 2")
    # Rows are checked against this width, and the kernels trust it.
    _require(estimator.n_features_in_ == header["n_features"], f"n_features_in_={estimator.n_features_in_}")
    estimator._model = _model_from(header, arrays)
    if "id_map" in header or former_base is not None:
        stored = header.get("id_map", {"kind": "offset", "base": former_base})
        estimator.id_map_ = _id_map_from(stored, header["n_features"], arrays)
    if "n_fields" in header:
        estimator.fields_ = _fields_from(header, arrays)
    if "encoder" in header:
        estimator.encoder_ = encoder_from(header, arrays)
        estimator.encoder = clone(estimator.encoder_)
    if isinstance(estimator, DeepFMMixin):
        estimator.fields = estimator.fields_ = getattr(estimator, "fields_", None)
        if "encoder" in header:  # fields come from its columns
            estimator.fields = None
        estimator._model.deep = network_from(header, arrays, estimator.fields_)
    return estimator


def _id_map_from(stored: dict[str, Any], n_features: int, arrays: dict[str, NDArray[Any]]) -> IdMap:
    kind, base = stored["kind"], stored["base"]
    _require(kind in ("offset", "hash", "table"), f"an id map of kind {kind!r}")
    _require(type(base) is int and base in ((0, 1) if kind == "offset" else (0,)), f"base={base!r}")
    if kind != "table":
        return IdMap(kind, n_features, base, np.empty(0, np.int64))
    # Text without any pair has no ids, but still a column.
    n_ids = 0 if n_features == 1 and not len(arrays["ids"]) else n_features
    ids = _take(arrays, "ids", (n_ids,), np.int64)
    _require(bool(np.all((ids >= 0) & (ids <= LARGEST_ID))), "ids out of range")
    return IdMap("table", n_features, 0, ids)


def _fields_from(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> FieldLayout:
    n_fields, pooling = header["n_fields"], tuple(header.get("pooling", ()))
    field_of_column = _take(arrays, "field_of_column", (header["n_features"],), np.int32)
    _require(type(n_fields) is int and 0 <= n_fields < 2**31, f"n_fields={n_fields!r}")
    least, most = int(field_of_column.min()), int(field_of_column.max())
    _require(least >= -1 and most < n_fields, f"fields from {least} to {most} of {n_fields}")
    _require(not pooling or len(pooling) == n_fields, f"{len(pooling)} poolings of {n_fields} fields")
    _require(set(pooling) <= set(POOLINGS), f"pooling {set(pooling) - set(POOLINGS)}")
    return FieldLayout(field_of_column, n_fields, pooling)


def _model_from(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> FMModel:
    n_features, n_factors, rule = header["n_features"], header["n_factors"], header["rule"]
    center, scale, epochs = float(header["center"]), float(header["scale"]), int(header["epochs"])
    _require(type(n_features) is int and n_features > 0, f"n_features={n_features}")
    _require(type(n_factors) is int and n_factors >= 0, f"n_factors={n_factors}")
    # Of all sizes this one is as long as an array of the file, so that nothing larger than it is allocated.
    linear = _take(arrays, "linear", (n_features,))
    factors = _take(arrays, "factors", (n_features if n_factors else 0, n_factors))
    occurs = _take(arrays, "occurs", (-(-n_features // 8),), np.uint8)
    params = allocate(n_features, n_factors, rule)
    params.factors[:, :n_factors] = factors
    params.linear[:, 0] = linear
    params.intercept[:1] = _take(arrays, "intercept", (1,))
    if rule is not None:
        for name, states in (
            ("factor_states", params.factors[:, params.padded_factors :]),
            ("linear_states", params.linear[:, 1:]),
            ("intercept_states", params.intercept[1:]),
        ):
            states[...] = _take(arrays, name, states.shape)
    if "inverse_scale" in arrays:
        params = params._replace(inverse_scale=_take(arrays, "inverse_scale", (n_features,)))
    if "parts" in arrays:
        params = with_parts(params, _take(arrays, "parts", (n_features,), np.uint8))
    return FMModel(params, n_factors, rule, np.unpackbits(occurs, count=n_features), center, scale, epochs)


def _take(
    arrays: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...], dtype: Any = np.float32
) -> NDArray[Any]:
    """An array of the file; without this check NumPy would stretch one of another shape."""
    array = arrays[name]
    expected = np.dtype(dtype)
    _require(
        array.shape == shape and array.dtype == expected,
        f"{name} of shape {array.shape} and {array.dtype} instead of {shape} and {expected}",
    )
    return array


def _require(condition: bool, found: str) -> None:
    """Give up on a file; `load_model` adds its name."""
    if not condition:
        raise ValueError(f"found {found}")
