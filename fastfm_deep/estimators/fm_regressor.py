"""Factorization machines for numbers: `FMRegressor`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from fastfm_deep import validation
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.estimators import targets
from fastfm_deep.estimators.base import BaseFM, Goal
from fastfm_deep.estimators.table_encoder import TableEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FMRegressor(RegressorMixin, BaseFM):
    """Factorization machine for real targets, trained by lock-free stochastic gradient descent.

    The answer to a row x is w0 + Σ w_i x_i + ½ Σ_f [(Σ v_if x_i)² - Σ v_if² x_i²] (Rendle, ICDM 2010); the loss
    is ½ (y - answer)². Targets are centred and scaled to unit variance for training, so that hyper-parameters
    mean the same whatever the unit of y is.

    Parameters
    ----------
    n_factors : int, default 16
        Factors per feature; 0 is linear regression.
    encoder, linear_columns, deep_columns
        As for `FMClassifier`.
    clip : bool, default False
        Keep predictions within the range of the targets seen in training.
    optimizer, learning_rate, n_epochs, l2_reg_linear, l2_reg_factors, l1_reg_linear, init_std, \
early_stopping_rounds, warm_start, n_jobs, random_state, on_divergence, verbose
        As for `FMClassifier`.
    eval_metric : str or list of str, optional
        Of "rmse" (default), "mae", "mse"; the last decides early stopping.

    Attributes
    ----------
    coef_, intercept_, factors_, n_features_in_, feature_names_in_, history_, best_epoch_, best_score_
        As for `FMClassifier`.

    Examples
    --------
    >>> from fastfm_deep import FMRegressor
    >>> model = FMRegressor(n_factors=0, n_epochs=200, learning_rate=0.5, random_state=0)
    >>> model.fit([[1, 0], [0, 1], [1, 1]], [10, 20, 30]).predict([[1, 1]]).round().tolist()
    [30.0]
    """

    target_range_: tuple[float, float]
    _loss = "squared"
    _task = "regression"
    _default_metric = "rmse"

    def __init__(
        self,
        n_factors: int = 16,
        *,
        encoder: TableEncoder | None = None,
        linear_columns: Any = None,
        deep_columns: Any = None,
        optimizer: str = "adagrad",
        learning_rate: float = 0.07,
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
        self.n_factors = n_factors
        self.encoder = encoder
        self.linear_columns = linear_columns
        self.deep_columns = deep_columns
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.n_epochs = n_epochs
        self.l2_reg_linear = l2_reg_linear
        self.l2_reg_factors = l2_reg_factors
        self.l1_reg_linear = l1_reg_linear
        self.init_std = init_std
        self.early_stopping_rounds = early_stopping_rounds
        self.eval_metric = eval_metric
        self.clip = clip
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.on_divergence = on_divergence
        self.verbose = verbose

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> FMRegressor:
        """Train for one pass over these rows, going on from the present weights.

        Parameters
        ----------
        X : matrix (n_rows, n_features)
            As for `fit`; as many columns as at the first call.
        y : array (n_rows,)
            The unit in which targets are learned is fixed by those of the first call.
        sample_weight : array (n_rows,), optional

        Returns
        -------
        self
        """
        anew = not self.__sklearn_is_fitted__()
        return self._fit(X, y, sample_weight, None, None, n_epochs=1, anew=anew)

    def _check_hyperparameters(self) -> None:
        super()._check_hyperparameters()
        validation.check_flag("clip", self.clip)

    def _read_goal(
        self, y: Any, rows: CsrRows, weight: NDArray[np.float64] | None, classes: Any, anew: bool
    ) -> Goal:
        numbers = targets.read_numbers(y, rows.n_rows)
        counted = numbers if weight is None else numbers[weight > 0]
        low, high = float(counted.min()), float(counted.max())
        if anew:
            center, scale = targets.units(counted, None if weight is None else weight[weight > 0])
        else:
            center, scale = self._model.center, self._model.scale
            low, high = min(low, self.target_range_[0]), max(high, self.target_range_[1])
        self.target_range_ = (low, high)
        if weight is not None:  # rows of weight 0 may hold anything
            numbers = np.where(weight > 0, numbers, center)
        return Goal((numbers - center) / scale, weight, center, scale, max(1.0, (high - low) / scale))

    def _read_eval_targets(self, y: Any, n_rows: int, name: str) -> NDArray[np.float64]:
        return targets.read_numbers(y, n_rows, name)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Answers to rows.

        Parameters
        ----------
        X : matrix (n_rows, n_features)

        Returns
        -------
        float64 array (n_rows,)
        """
        check_is_fitted(self)
        bounds = self._answer_range()
        answers = self._raw_scores(X)
        return answers if bounds is None else np.clip(answers, *bounds)

    def score_row_dict(self, row: Mapping[str, Any]) -> float:
        """The answer to one row of a table, in microseconds; see `FMClassifier.score_row_dict`."""
        answer, bounds = self._raw_score_of_row(row), self._answer_range()
        return answer if bounds is None else min(max(answer, bounds[0]), bounds[1])

    def _answers_of_raw(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        bounds = self._answer_range()
        return raw if bounds is None else np.clip(raw, *bounds)

    def _answer_range(self) -> tuple[float, float] | None:
        return self.target_range_ if self.clip else None
