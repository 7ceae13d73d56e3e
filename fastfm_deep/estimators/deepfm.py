"""DeepFM as scikit-learn estimators: `DeepFMClassifier` for two classes, `DeepFMRegressor` for numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastfm_deep.estimators.deepfm_mixin import DeepFMMixin
from fastfm_deep.estimators.fm_classifier import FMClassifier
from fastfm_deep.estimators.fm_regressor import FMRegressor
from fastfm_deep.estimators.table_encoder import TableEncoder

if TYPE_CHECKING:
    pass


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
    encoder : TableEncoder, optional
        Lets `fit`, `predict` and the rest take tables, whose columns are the fields; see `encoder_`.
    linear_columns, deep_columns : list of str or of feature columns, optional
        Columns of the encoder that have a weight, and those that have factors: pairs and network both take these.
        None: all of them.
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
early_stopping_rounds, eval_metric, class_weight, negative_downsampling, warm_start, n_jobs, random_state, \
on_divergence, verbose
        As for `FMClassifier`.

    Attributes
    ----------
    fields_ : FieldLayout or None
        With an encoder, that of its `deep_columns`.
    encoder_, classes_, coef_, intercept_, factors_, n_features_in_, feature_names_in_, history_, best_epoch_,
    best_score_
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
        encoder: TableEncoder | None = None,
        linear_columns: Any = None,
        deep_columns: Any = None,
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
        negative_downsampling: float = 1.0,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        on_divergence: str = "raise",
        verbose: int = 0,
    ) -> None:
        super().__init__(
            n_factors,
            encoder=encoder,
            linear_columns=linear_columns,
            deep_columns=deep_columns,
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
            negative_downsampling=negative_downsampling,
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
    n_factors, encoder, linear_columns, deep_columns, fields, dnn_hidden_units, dnn_activation, dnn_dropout, \
dnn_batch_norm, dnn_optimizer, dnn_learning_rate, l2_reg_dnn, batch_size, learning_rate, l2_reg_linear, \
l2_reg_factors
        As for `DeepFMClassifier`.
    clip, optimizer, n_epochs, l1_reg_linear, init_std, \
early_stopping_rounds, eval_metric, warm_start, n_jobs, random_state, on_divergence, verbose
        As for `FMRegressor`.

    Attributes
    ----------
    fields_ : FieldLayout or None
    encoder_, coef_, intercept_, factors_, n_features_in_, feature_names_in_, history_, best_epoch_, best_score_
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
        encoder: TableEncoder | None = None,
        linear_columns: Any = None,
        deep_columns: Any = None,
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
            encoder=encoder,
            linear_columns=linear_columns,
            deep_columns=deep_columns,
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
