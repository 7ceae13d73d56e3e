"""DeepFM as scikit-learn estimators: `DeepFMClassifier` for two classes, `DeepFMRegressor` for numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.pooling import pooled_rows
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.estimators.base import BaseFM, Goal
from fastfm_deep.estimators.field_layouts import read_fields, same_layout
from fastfm_deep.estimators.fm import FMClassifier, FMRegressor
from fastfm_deep.estimators.network_defaults import (
    batch_rows,
    check_room_for_network,
    network_rate,
    table_rate,
)
from fastfm_deep.model.deep import DeepPart
from fastfm_deep.model.params import FMModel
from fastfm_deep.nn.activations import ACTIVATIONS
from fastfm_deep.nn.mlp import MLPShape, start_running
from fastfm_deep.nn.optimizers import OPTIMIZERS, DenseOptimizer
from fastfm_deep.training.blas import one_blas_thread
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

    def _read_rows(self, X: Any, reset: bool) -> CsrRows:
        rows = super()._read_rows(X, reset)
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
        return self.fields is self.fields_ or same_layout(
            read_fields(self.fields, self.n_features_in_), self.fields_
        )

    def _shape(self, units: tuple[int, ...]) -> MLPShape:
        if self.fields_ is not None and not self.fields_.n_fields:
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
        return DeepPart(deep.layout, self._shape(units), parameters, running, optimizer)

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


class DeepFMClassifier(DeepFMMixin, FMClassifier):
    """Factorization machine and network on the same factors, trained together, for two classes.

    The raw score of a row x is w0 + Σ w_i x_i + ½ Σ_f [(Σ v_if x_i)² - Σ v_if² x_i²] + MLP([e_1, ..., e_F]), where
    e_field = Σ x_i v_i over the columns of a field (DeepFM, arXiv 1703.04247, section 2.1); its probability is the
    sigmoid of that. Without `fields` the network takes [Σ x_i v_i, ½ ((Σ x_i v_i)² - Σ x_i² v_i²)], the pooled
    vectors of the whole row (arXiv 1708.05027, equation 3).

    Parameters
    ----------
    n_factors : int, default 16
        Factors per feature.
    fields : FieldLayout, int array (n_features,) or list of int, optional
        The field of each column, or the sizes of consecutive fields. Numeric columns are fields of their own.
    dnn_hidden_units : sequence of int, default (64, 32)
        Widths of the hidden layers; none makes it a plain factorization machine.
    dnn_activation : {"relu", "sigmoid", "tanh", "leaky_relu", "gelu"}, default "relu"
    dnn_dropout : float, default 0.0
        Share of each hidden layer's outputs that are dropped in training, below 1.
    dnn_batch_norm : bool, default False
        Normalise each hidden layer over the micro-batch, before its activation (arXiv 1502.03167).
    dnn_optimizer : {"adam", "adagrad", "sgd"}, default "adam"
        Update rule of the network; "sgd" has a momentum of 0.9.
    dnn_learning_rate : float, optional
        Step size of the network. None: `learning_rate`, where that is given and `optimizer` is the same as
        `dnn_optimizer`, else 0.001 for "adam", 0.02 for "adagrad" and 0.01 for "sgd".
    l2_reg_dnn : float, default 1e-4
        L2 penalty of the network's weights, not of its biases, at each update. Sigmoid layers on few rows, whose
        gradients are small at first, may need 0.
    batch_size : int, optional
        Rows of a micro-batch, of which one update is made. None: 256, or of fewer than 16,384 rows a 64th of
        them, but at least 8.
    learning_rate : float, optional
        Step size of the factors and weights. None: 0.1 for "adagrad" and "adagrad_rowwise", 0.001 for "adam", 0.07
        for others and without hidden units.
    l2_reg_linear : float, default 1e-6
    l2_reg_factors : float, default 0.01
        L2 penalties of the columns that a micro-batch names, at each update, times the root of its rows.
    optimizer, n_epochs, l1_reg_linear, init_std, \
early_stopping_rounds, eval_metric, class_weight, warm_start, n_jobs, random_state, on_divergence, verbose
        As for `FMClassifier`.

    Attributes
    ----------
    fields_ : FieldLayout or None
    classes_, coef_, intercept_, factors_, n_features_in_, feature_names_in_, history_, best_epoch_, best_score_
        As for `FMClassifier`.

    Notes
    -----
    While it trains, matrix products of the whole process run on one thread each: its own threads call them.

    Examples
    --------
    >>> from fastfm_deep import DeepFMClassifier
    >>> from fastfm_deep.datasets import make_ctr
    >>> X, y, fields = make_ctr(2000, n_fields=8, n_features=400, random_state=0)
    >>> model = DeepFMClassifier(n_factors=8, fields=fields, dnn_hidden_units=(32,), random_state=0)
    >>> model.fit(X, y).predict_proba(X).shape
    (2000, 2)
    """

    def __init__(
        self,
        n_factors: int = 16,
        *,
        fields: Any = None,
        dnn_hidden_units: Sequence[int] = (64, 32),
        dnn_activation: str = "relu",
        dnn_dropout: float = 0.0,
        dnn_batch_norm: bool = False,
        dnn_optimizer: str = "adam",
        dnn_learning_rate: float | None = None,
        l2_reg_dnn: float = 1e-4,
        batch_size: int | None = None,
        optimizer: str = "adagrad",
        learning_rate: float | None = None,
        n_epochs: int = 5,
        l2_reg_linear: float = 1e-6,
        l2_reg_factors: float = 0.01,
        l1_reg_linear: float = 0.0,
        init_std: float = 0.01,
        early_stopping_rounds: int | None = None,
        eval_metric: str | list[str] | None = None,
        class_weight: Any = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        on_divergence: str = "raise",
        verbose: int = 0,
    ) -> None:
        super().__init__(
            n_factors,
            optimizer=optimizer,
            learning_rate=learning_rate,  # type: ignore[arg-type]
            n_epochs=n_epochs,
            l2_reg_linear=l2_reg_linear,
            l2_reg_factors=l2_reg_factors,
            l1_reg_linear=l1_reg_linear,
            init_std=init_std,
            early_stopping_rounds=early_stopping_rounds,
            eval_metric=eval_metric,
            class_weight=class_weight,
            warm_start=warm_start,
            n_jobs=n_jobs,
            random_state=random_state,
            on_divergence=on_divergence,
            verbose=verbose,
        )
        self.fields = fields
        self.dnn_hidden_units = dnn_hidden_units
        self.dnn_activation = dnn_activation
        self.dnn_dropout = dnn_dropout
        self.dnn_batch_norm = dnn_batch_norm
        self.dnn_optimizer = dnn_optimizer
        self.dnn_learning_rate = dnn_learning_rate
        self.l2_reg_dnn = l2_reg_dnn
        self.batch_size = batch_size


class DeepFMRegressor(DeepFMMixin, FMRegressor):
    """Factorization machine and network on the same factors, trained together, for real targets.

    The answer to a row is the raw score of `DeepFMClassifier`; the loss is ½ (y - answer)². Targets are centred
    and scaled to unit variance for training.

    Parameters
    ----------
    n_factors, fields, dnn_hidden_units, dnn_activation, dnn_dropout, dnn_batch_norm, dnn_optimizer, \
dnn_learning_rate, l2_reg_dnn, batch_size, learning_rate, l2_reg_linear, l2_reg_factors
        As for `DeepFMClassifier`.
    clip, optimizer, n_epochs, l1_reg_linear, init_std, \
early_stopping_rounds, eval_metric, warm_start, n_jobs, random_state, on_divergence, verbose
        As for `FMRegressor`.

    Attributes
    ----------
    fields_ : FieldLayout or None
    coef_, intercept_, factors_, n_features_in_, feature_names_in_, history_, best_epoch_, best_score_
        As for `FMRegressor`.

    Examples
    --------
    >>> from fastfm_deep import DeepFMRegressor
    >>> X = [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]
    >>> model = DeepFMRegressor(n_factors=2, fields=[2, 2], dnn_hidden_units=(4,), n_epochs=2, random_state=0)
    >>> model.fit(X, [4, 1, 5, 2]).predict(X).shape
    (4,)
    """

    def __init__(
        self,
        n_factors: int = 16,
        *,
        fields: Any = None,
        dnn_hidden_units: Sequence[int] = (64, 32),
        dnn_activation: str = "relu",
        dnn_dropout: float = 0.0,
        dnn_batch_norm: bool = False,
        dnn_optimizer: str = "adam",
        dnn_learning_rate: float | None = None,
        l2_reg_dnn: float = 1e-4,
        batch_size: int | None = None,
        optimizer: str = "adagrad",
        learning_rate: float | None = None,
        n_epochs: int = 5,
        l2_reg_linear: float = 1e-6,
        l2_reg_factors: float = 0.01,
        l1_reg_linear: float = 0.0,
        init_std: float = 0.01,
        early_stopping_rounds: int | None = None,
        eval_metric: str | list[str] | None = None,
        clip: bool = False,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        on_divergence: str = "raise",
        verbose: int = 0,
    ) -> None:
        super().__init__(
            n_factors,
            optimizer=optimizer,
            learning_rate=learning_rate,  # type: ignore[arg-type]
            n_epochs=n_epochs,
            l2_reg_linear=l2_reg_linear,
            l2_reg_factors=l2_reg_factors,
            l1_reg_linear=l1_reg_linear,
            init_std=init_std,
            early_stopping_rounds=early_stopping_rounds,
            eval_metric=eval_metric,
            clip=clip,
            warm_start=warm_start,
            n_jobs=n_jobs,
            random_state=random_state,
            on_divergence=on_divergence,
            verbose=verbose,
        )
        self.fields = fields
        self.dnn_hidden_units = dnn_hidden_units
        self.dnn_activation = dnn_activation
        self.dnn_dropout = dnn_dropout
        self.dnn_batch_norm = dnn_batch_norm
        self.dnn_optimizer = dnn_optimizer
        self.dnn_learning_rate = dnn_learning_rate
        self.l2_reg_dnn = l2_reg_dnn
        self.batch_size = batch_size
