"""Saved estimators: what a model file holds of them, and the way back."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from fastfm_deep import validation
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.id_map import IdMap
from fastfm_deep.estimators.base import BaseFM
from fastfm_deep.estimators.deepfm import DeepFMClassifier, DeepFMRegressor
from fastfm_deep.estimators.deepfm_mixin import DeepFMMixin
from fastfm_deep.estimators.fm_classifier import FMClassifier
from fastfm_deep.estimators.fm_regressor import FMRegressor
from fastfm_deep.estimators.saved_encoder import encoder_from, put_encoder
from fastfm_deep.estimators.saved_network import optimizer_from, put_network
from fastfm_deep.model import header as headers
from fastfm_deep.model.file import write_model_file
from fastfm_deep.model.restored import fm_model
from fastfm_deep.model.storage import STORAGES, kept_features, reduced_tables
from fastfm_deep.model.stored import (
    FORMER_BASE,
    StoredModel,
    contradictions_refused,
    labels_from_header,
    read_stored_model,
    require,
    take,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.model.params import FMModel

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


def save_model(
    estimator: BaseFM,
    path: str | os.PathLike[str],
    include_optimizer: bool = False,
    dtype: str = "float32",
    prune: float | None = None,
) -> None:
    """Write a fitted estimator; see `BaseFM.save`."""
    validation.check_choice("dtype", dtype, STORAGES)
    prune = validation.check_prune(prune)
    is_reduced = dtype != "float32" or prune is not None
    if include_optimizer and is_reduced:
        raise validation.optimizer_storage_error(dtype, prune)
    if _CLASSES.get(type(estimator).__name__) is not type(estimator):
        raise validation.unknown_class_error(type(estimator).__name__, list(_CLASSES))
    model = estimator._model
    params = model.params
    estimator._shift()  # what a file holds of it must be sound
    arrays: dict[str, NDArray[Any]] = {
        **_tables(model, dtype, prune),
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
    number = headers.PLAIN_FORMAT
    if is_reduced:  # plain files stay as earlier versions read them
        header |= {"storage": dtype, "prune": prune}
        number = headers.FORMAT
    bfloat16 = ("factors",) if dtype == "bfloat16" else ()
    write_model_file(path, arrays, _without_nan(header), number, bfloat16)


def _tables(model: FMModel, storage: str, prune: float | None) -> dict[str, NDArray[Any]]:
    """Factors and weights as the file is to hold them, and of which features."""
    factors, weights = model.params.factors[:, : model.n_factors], model.params.linear[:, 0]
    if storage == "float32" and prune is None:
        return {"factors": factors, "linear": weights}
    kept = None
    if prune is not None:
        kept = kept_features(factors, weights, model.scale, model.params.inverse_scale, prune)
    stored, linear = reduced_tables(storage, factors, weights, kept)
    if storage == "int8":
        wrong = np.flatnonzero(~np.isfinite(linear[:, 1]))
        if len(wrong):
            feature = int(wrong[0]) if kept is None else int(np.flatnonzero(kept)[wrong[0] - 1])
            raise validation.infinite_factors_error(feature)
    found = {"factors": stored, "linear": linear}
    return found if kept is None else found | {"kept": np.packbits(kept)}


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


def load_model(path: str | os.PathLike[str]) -> Any:
    """Read an estimator that `save` wrote; its scores are the same, bit for bit.

    Those of a file that was made smaller, by `dtype` or `prune`, are the scores of the numbers that it holds. In
    memory they are float32 again, of all features, and may be trained further; to score from the small tables
    themselves, use `Scorer`.

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
    stored = read_stored_model(path)
    with contradictions_refused(path):
        return _estimator_from(stored)


def _estimator_from(stored: StoredModel) -> BaseFM:
    header, arrays = stored.header, stored.arrays
    parameters = dict(header["hyper_parameters"])
    if isinstance(parameters.get("class_weight"), list):
        labels, weights = parameters["class_weight"]
        parameters["class_weight"] = dict(zip(labels_from_header(labels).tolist(), weights, strict=True))
    if "dnn_hidden_units" in parameters:
        parameters["dnn_hidden_units"] = tuple(parameters["dnn_hidden_units"])
    estimator: Any = _CLASSES[header["class"]](**parameters)
    attributes = dict(header["attributes"])
    attributes.pop(FORMER_BASE, None)
    for name in _PLAIN_ATTRIBUTES[:4]:
        require(name in attributes, f"no attribute {name!r}")
    for name, value in attributes.items():
        require(name in _PLAIN_ATTRIBUTES, f"an attribute {name!r}")
        require(name != "target_name_" or isinstance(value, str), f"{name}={value!r}")
        setattr(estimator, name, tuple(value) if name == "target_range_" else value)
    if stored.feature_names is not None:
        estimator.feature_names_in_ = np.array(stored.feature_names, dtype=object)
    if stored.classes is not None:
        estimator.classes_ = stored.classes
    model = estimator._model = fm_model(stored, in_place=False, rule=header["rule"])
    if model.rule is not None:
        _take_states(model, arrays)
    if stored.id_map is not None:
        estimator.id_map_ = stored.id_map
    if stored.layout is not None:
        estimator.fields_ = stored.layout
    if stored.encoder is not None:
        estimator.encoder_ = encoder_from(stored)
        estimator.encoder = clone(estimator.encoder_)
    if isinstance(estimator, DeepFMMixin):
        estimator.fields = estimator.fields_ = getattr(estimator, "fields_", None)
        if stored.encoder is not None:  # fields come from its columns
            estimator.fields = None
    if model.deep is not None and stored.network is not None:
        model.deep.optimizer = optimizer_from(stored.network, arrays)
    return estimator


def _take_states(model: FMModel, arrays: dict[str, NDArray[Any]]) -> None:
    """Put the states of the optimizer into the room that the tables have for them."""
    params = model.params
    for name, states in (
        ("factor_states", params.factors[:, params.padded_factors :]),
        ("linear_states", params.linear[:, 1:]),
        ("intercept_states", params.intercept[1:]),
    ):
        states[...] = take(arrays, name, states.shape)
