"""Factorization machines and DeepFM for large sparse data, on CPUs, at native speed.

Names are looked up when they are first used, so that importing the package pays neither for Numba nor for
scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fastfm_deep import datasets
    from fastfm_deep.data.feature_columns import DenseFeat, SparseFeat, VarLenSparseFeat
    from fastfm_deep.data.fields import FieldLayout
    from fastfm_deep.data.id_map import IdMap, hash_ids
    from fastfm_deep.data.text import TextData, read_text
    from fastfm_deep.data.text_writer import write_libffm, write_libsvm
    from fastfm_deep.estimators.deepfm import DeepFMClassifier, DeepFMRegressor
    from fastfm_deep.estimators.fm_classifier import FMClassifier
    from fastfm_deep.estimators.fm_regressor import FMRegressor
    from fastfm_deep.estimators.saved import load_model
    from fastfm_deep.estimators.table_encoder import TableEncoder
    from fastfm_deep.estimators.warming import warm_up
    from fastfm_deep.plots.calibration import plot_calibration
    from fastfm_deep.plots.history import plot_history
    from fastfm_deep.plots.interactions import plot_interactions
    from fastfm_deep.plots.report import report
    from fastfm_deep.scorer import Scorer
    from fastfm_deep.training.callbacks import Callback
    from fastfm_deep.validation import (
        DivergenceError,
        FastFMError,
        InputError,
        ModelFileError,
        TableTooLargeError,
        TextFormatError,
    )

_HOMES = {
    "Callback": "training.callbacks",
    "DeepFMClassifier": "estimators.deepfm",
    "DeepFMRegressor": "estimators.deepfm",
    "DenseFeat": "data.feature_columns",
    "DivergenceError": "validation",
    "FMClassifier": "estimators.fm_classifier",
    "FMRegressor": "estimators.fm_regressor",
    "FastFMError": "validation",
    "FieldLayout": "data.fields",
    "IdMap": "data.id_map",
    "InputError": "validation",
    "ModelFileError": "validation",
    "Scorer": "scorer",
    "SparseFeat": "data.feature_columns",
    "TableEncoder": "estimators.table_encoder",
    "TableTooLargeError": "validation",
    "TextData": "data.text",
    "TextFormatError": "validation",
    "VarLenSparseFeat": "data.feature_columns",
    "hash_ids": "data.id_map",
    "load_model": "estimators.saved",
    "plot_calibration": "plots.calibration",
    "plot_history": "plots.history",
    "plot_interactions": "plots.interactions",
    "read_text": "data.text",
    "report": "plots.report",
    "warm_up": "estimators.warming",
    "write_libffm": "data.text_writer",
    "write_libsvm": "data.text_writer",
}

__all__ = [
    "Callback",
    "DeepFMClassifier",
    "DeepFMRegressor",
    "DenseFeat",
    "DivergenceError",
    "FMClassifier",
    "FMRegressor",
    "FastFMError",
    "FieldLayout",
    "IdMap",
    "InputError",
    "ModelFileError",
    "Scorer",
    "SparseFeat",
    "TableEncoder",
    "TableTooLargeError",
    "TextData",
    "TextFormatError",
    "VarLenSparseFeat",
    "__version__",
    "datasets",
    "hash_ids",
    "load_model",
    "plot_calibration",
    "plot_history",
    "plot_interactions",
    "read_text",
    "report",
    "warm_up",
    "write_libffm",
    "write_libsvm",
]


def __getattr__(name: str) -> Any:
    if name == "datasets":
        return importlib.import_module("fastfm_deep.datasets")
    if name in _HOMES:
        found = getattr(importlib.import_module(f"fastfm_deep.{_HOMES[name]}"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
