"""What makes a factorization machine a DeepFM: a network on the same factors, and its hyper-parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.pooling import pooled_rows
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.estimators import table_input
from fastfm_deep.estimators.base import BaseFM, Goal
from fastfm_deep.estimators.field_layouts import read_fields, same_layout
from fastfm_deep.estimators.network_defaults import (
    batch_rows,
    check_room_for_network,
    network_rate,
    table_rate,
)
from fastfm_deep.model.blas import one_blas_thread
from fastfm_deep.model.deep import DeepPart
from fastfm_deep.model.params import FMModel
from fastfm_deep.nn.activations import ACTIVATIONS
from fastfm_deep.nn.mlp import start_running
from fastfm_deep.nn.optimizers import OPTIMIZERS, DenseOptimizer
from fastfm_deep.nn.shape import MLPShape
from fastfm_deep.training.deepfm_step import DeepFMStep, DenseStep
from fastfm_deep.training.fm_step import FMStep

if TYPE_CHECKING:
    from numpy.typing import NDArray


class DeepFMMixin(BaseFM):
    """What makes a factorization machine a DeepFM: a network on the same factors."""

    fields: Any
    dnn_hidden_units: Sequence[int]
    dnn_activation: str
    dnn_dropout: float
    dnn_batch_norm: bool
    dnn_optimizer: str
    dnn_learning_rate: float | None
    l2_reg_dnn: float
    batch_size: int | None
    # Set by fit.
    fields_: FieldLayout | None

    def _check_hyperparameters(self) -> None:
        super()._check_hyperparameters()
        units = self._hidden_units()
        for layer, size in enumerate(units):
            validation.check_integer(f"dnn_hidden_units[{layer}]", size, minimum=1)
        validation.check_choice("dnn_activation", self.dnn_activation, ACTIVATIONS)
        if np.float32(validation.check_real("dnn_dropout", self.dnn_dropout)) >= 1.0:  # kernels take float32
            raise validation.dropout_error(self.dnn_dropout)
        validation.check_flag("dnn_batch_norm", self.dnn_batch_norm)
        validation.check_choice("dnn_optimizer", self.dnn_optimizer, OPTIMIZERS)
        if self.dnn_learning_rate is not None:
            validation.check_real("dnn_learning_rate", self.dnn_learning_rate, above=True)
        validation.check_real("l2_reg_dnn", self.l2_reg_dnn)
        if self.batch_size is not None:
            validation.check_integer("batch_size", self.batch_size, minimum=1)
        if units and self.dnn_batch_norm and self.batch_size == 1:
            raise validation.single_row_norm_error()
        if units and self.n_factors == 0:
            raise validation.no_input_error(units)

    def _hidden_units(self) -> tuple[Any, ...]:
        """The widths as they were given."""
        units = self.dnn_hidden_units
        is_sequence = units.ndim == 1 if isinstance(units, np.ndarray) else isinstance(units, Sequence)
        if not is_sequence or isinstance(units, str | bytes):
            raise validation.hidden_units_error(units)
        return tuple(units)

    def _rate(self) -> Any:
        return table_rate(self)

    def _fit(self, *arguments: Any, **named: Any) -> Any:
        if not self._hidden_units():
            return super()._fit(*arguments, **named)
        with one_blas_thread():
            return super()._fit(*arguments, **named)

    def _read_training_rows(self, X: Any, anew: bool) -> CsrRows:
        rows = super()._read_training_rows(X, anew)
        if hasattr(self, "encoder_"):
            self.fields_ = table_input.network_fields(self.encoder_.encoding_, self.deep_columns)
        return rows

    def _read_rows(self, X: Any, reset: bool) -> CsrRows:
        rows = super()._read_rows(X, reset)
        if hasattr(self, "encoder_"):  # pooled already
            return rows
        if reset:
            self.fields_ = read_fields(self.fields, self.n_features_in_)
        # Most layouts pool by sums; then nothing here need be as long as there are fields.
        return rows if self.fields_ is None or not self.fields_.pooling else pooled_rows(rows, self.fields_)

    def _model_to_train(self, n_features: int, goal: Goal, anew: bool) -> FMModel:
        units = tuple(int(size) for size in self.dnn_hidden_units)
        if anew:
            if units:
                check_room_for_network(self._shape(units), batch_rows(self.batch_size, len(goal.y)))
            model = super()._model_to_train(n_features, goal, anew)
            if units:
                model.deep = self._new_network(self._shape(units))
            return model
        model = super()._model_to_train(n_features, goal, anew)
        deep = model.deep
        # All but the dropout decides what the parameters are.
        is_same = (
            deep is None
            if not units
            else deep is not None and deep.shape == self._shape(units)._replace(dropout=deep.shape.dropout)
        )
        if not is_same or not self._has_fields_of_model():
            raise validation.changed_network_error(units, () if deep is None else deep.shape.hidden_units)
        if model.deep is not None:
            # Both models' own: after a divergence the earlier one is back, and what it learned by is as fresh.
            self._model.deep = model.deep = self._network_to_train(model.deep, units)
        return model

    def _has_fields_of_model(self) -> bool:
        if hasattr(self, "encoder_"):
            return self._model.deep is None or self._shape(()).n_inputs == self._model.deep.shape.n_inputs
        return self.fields is self.fields_ or same_layout(
            read_fields(self.fields, self.n_features_in_), self.fields_
        )

    def _shape(self, units: tuple[int, ...]) -> MLPShape:
        if self.fields_ is not None and not self.fields_.n_fields:
            if hasattr(self, "encoder_"):
                raise validation.no_deep_columns_error()
            raise validation.fieldless_layout_error()
        n_vectors = 2 if self.fields_ is None else self.fields_.n_fields
        return MLPShape(
            n_vectors * self.n_factors,
            units,
            self.dnn_activation,
            float(self.dnn_dropout),
            bool(self.dnn_batch_norm),
        )

    def _new_network(self, shape: MLPShape) -> DeepPart:
        return DeepPart(
            self.fields_,
            shape,
            np.zeros(shape.n_parameters, np.float32),
            start_running(shape),
            DenseOptimizer(self.dnn_optimizer, shape.n_parameters),
        )

    def _network_to_train(self, deep: DeepPart, units: tuple[int, ...]) -> DeepPart:
        """The network that there is, writable, with states of the optimizer: fresh ones if it holds no such."""
        optimizer = deep.optimizer
        if optimizer is None or optimizer.name != self.dnn_optimizer:
            optimizer = DenseOptimizer(self.dnn_optimizer, deep.shape.n_parameters)
        parameters, running = (
            part if part.flags.writeable else part.copy() for part in (deep.parameters, deep.running)
        )
        return DeepPart(self.fields_, self._shape(units), parameters, running, optimizer)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what `pickle` or joblib kept of an estimator; arrays of the network may be read-only memory maps.

        Kernels are compiled for arrays that can be written, for scoring too. The network is small beside the
        tables, which stay mapped.
        """
        super().__setstate__(state)
        layout: FieldLayout | None = getattr(self, "fields_", None)
        if layout is not None:
            self.fields_ = layout._replace(field_of_column=_in_memory(layout.field_of_column))
        deep = self._model.deep if self.__sklearn_is_fitted__() else None
        if deep is None:
            return
        deep.layout = self.fields_
        deep.parameters, deep.running = _in_memory(deep.parameters), _in_memory(deep.running)
        if deep.optimizer is not None:
            states = deep.optimizer.states
            states.update({name: _in_memory(array) for name, array in states.items()})

    def _make_step(self, *arguments: Any, **named: Any) -> FMStep:
        if not self._hidden_units():
            return super()._make_step(*arguments, **named)
        n_rows = batch_rows(self.batch_size, arguments[1].n_rows)
        dense = DenseStep(n_rows, network_rate(self), float(self.l2_reg_dnn))
        return DeepFMStep(*arguments, dense=dense, **named)


def _in_memory(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.flags.writeable and type(array) is np.ndarray else np.array(array)
