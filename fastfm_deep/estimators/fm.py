"""Factorization machines as scikit-learn estimators: `FMClassifier` for two classes, `FMRegressor` for numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from fastfm_deep import validation
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.estimators import targets
from fastfm_deep.estimators.base import BaseFM, Goal

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FMClassifier(ClassifierMixin, BaseFM):
    """Factorization machine for two classes, trained by lock-free stochastic gradient descent.

    The raw score of a row x is w0 + Σ w_i x_i + ½ Σ_f [(Σ v_if x_i)² - Σ v_if² x_i²] (Rendle, ICDM 2010), its
    probability the sigmoid of that; the loss is log(1 + exp(-y raw)).

    Parameters
    ----------
    n_factors : int, default 16
        Factors per feature; 0 is logistic regression.
    optimizer : {"adagrad", "adagrad_rowwise", "sgd", "adam", "ftrl"}, default "adagrad"
        The update rule. "adagrad_rowwise" has one step size per row of factors and takes half the memory;
        "ftrl" makes weights zero by `l1_reg_linear` (factors take AdaGrad).
    learning_rate : float
        Step size, greater than 0. Where the squared length of a row, Σ x², exceeds 64 on average (columns with
        large values count in units of their root mean square), it is multiplied by 64 over that average.
    n_epochs : int
        Passes over the rows, in a new random order each.
    l2_reg_linear, l2_reg_factors : float
        Factor l2 of the penalty ½ l2 w² on each parameter that a row touches, at each update.
    l1_reg_linear : float, default 0
        L1 penalty of the linear weights, with optimizer="ftrl".
    init_std : float
        Standard deviation of the random factors at the start.
    early_stopping_rounds : int, optional
        End after as many epochs without a better score on the last of `eval_set`, and keep the best weights.
    eval_metric : str or list of str, optional
        Of "logloss" (default), "auc", "accuracy"; the last decides early stopping.
    class_weight : dict or "balanced", optional
        Factors of the rows' losses by their label.
    warm_start : bool, default False
        Let `fit` go on from the present weights.
    n_jobs : int, optional
        Threads; -1: all cores. None: as many as the work is worth, so that small data run on one and repeat
        bit for bit.
    random_state : int, RandomState, Generator, optional
        Decides start and order of rows.
    on_divergence : {"raise", "warn"}, default "raise"
        What to do when the loss grows without bounds, once the last good weights are back.
    verbose : int, default 0
        1 shows a progress bar on stderr.

    Attributes
    ----------
    classes_ : array (2,)
        The labels; probabilities are for the second.
    coef_ : float32 array (n_features,)
    intercept_ : float
    factors_ : float32 array (n_features, n_factors)
    n_features_in_ : int
    feature_names_in_ : array (n_features,), if X was a DataFrame with column names that are strings
    history_ : list of dict
        One an epoch: epoch, seconds, rows, rows_per_second, train_loss, eval_0_logloss, ...
    best_epoch_ : int
        The epoch (from 1) of the best score; without `eval_set` the last.
    best_score_ : float or None

    Examples
    --------
    >>> from fastfm_deep import FMClassifier
    >>> X = [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]
    >>> model = FMClassifier(n_factors=4, n_epochs=300, learning_rate=0.5, init_std=0.1, random_state=0)
    >>> model.fit(X, ["no", "yes", "yes", "no"]).predict(X).tolist()
    ['no', 'yes', 'yes', 'no']
    """

    classes_: NDArray[Any]
    _loss = "logistic"
    _task = "classification"
    _default_metric = "logloss"

    def __init__(
        self,
        n_factors: int = 16,
        *,
        optimizer: str = "adagrad",
        learning_rate: float = 0.07,
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
        self.n_factors = n_factors
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.n_epochs = n_epochs
        self.l2_reg_linear = l2_reg_linear
        self.l2_reg_factors = l2_reg_factors
        self.l1_reg_linear = l1_reg_linear
        self.init_std = init_std
        self.early_stopping_rounds = early_stopping_rounds
        self.eval_metric = eval_metric
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.on_divergence = on_divergence
        self.verbose = verbose

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> FMClassifier:
        """Train for one pass over these rows, going on from the present weights.

        Parameters
        ----------
        X : matrix (n_rows, n_features)
            As for `fit`; as many columns as at the first call.
        y : array (n_rows,)
            Labels; one class is fine.
        classes : array (2,)
            All labels there will be; needed at the first call only.
        sample_weight : array (n_rows,), optional

        Returns
        -------
        self
        """
        anew = not self.__sklearn_is_fitted__()
        if anew and classes is None:
            raise validation.InputError(
                "classes=None: the first call of partial_fit must name all labels, e.g. classes=[0, 1], because "
                "a chunk may hold one class alone."
            )
        if isinstance(self.class_weight, str):
            raise validation.InputError(
                f"class_weight={self.class_weight!r} needs all rows at once, so partial_fit cannot use it; give "
                "a dict of label: weight."
            )
        return self._fit(X, y, sample_weight, None, None, n_epochs=1, anew=anew, classes=classes)

    def _read_goal(
        self, y: Any, rows: CsrRows, weight: NDArray[np.float64] | None, classes: Any, anew: bool
    ) -> Goal:
        labels = targets.read_labels(y, rows.n_rows)
        if classes is not None:
            found = targets.check_classes(classes)
            if not anew and not np.array_equal(found, self.classes_):
                raise validation.InputError(
                    f"classes={found.tolist()} differ from {self.classes_.tolist()}, which the model knows; "
                    "leave them out after the first call."
                )
        elif anew:
            counted = labels if weight is None else labels[weight > 0]
            found = targets.find_classes(counted)
        else:
            found = self.classes_
        y_signs = targets.signs(labels, found) if weight is None else _signs_that_count(labels, found, weight)
        counted_signs = y_signs if weight is None else y_signs[weight > 0]
        factors = targets.class_weights(self.class_weight, found, counted_signs)
        if factors is not None:
            per_row = np.where(y_signs > 0, factors[1], factors[0])
            weight = per_row if weight is None else weight * per_row
            if not weight.any():
                raise validation.InputError(
                    f"class_weight={self.class_weight!r} leaves no row with a weight over 0."
                )
        self.classes_ = found
        return Goal(y_signs, weight)

    def _read_eval_targets(self, y: Any, n_rows: int, name: str) -> NDArray[np.float64]:
        return targets.signs(targets.read_labels(y, n_rows, name), self.classes_, name)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Raw scores: log-odds of the second class.

        Parameters
        ----------
        X : matrix (n_rows, n_features)

        Returns
        -------
        float64 array (n_rows,)
        """
        return self._raw_scores(X)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of both classes.

        Parameters
        ----------
        X : matrix (n_rows, n_features)

        Returns
        -------
        float64 array (n_rows, 2)
            In the order of `classes_`.
        """
        from scipy.special import expit

        raw = self._raw_scores(X)
        out = np.empty((len(raw), 2))
        expit(raw, out=out[:, 1])
        expit(-raw, out=out[:, 0])
        return out

    def predict(self, X: Any) -> NDArray[Any]:
        """The likelier label of each row.

        Parameters
        ----------
        X : matrix (n_rows, n_features)

        Returns
        -------
        array (n_rows,), of the dtype of `classes_`
        """
        raw = self._raw_scores(X)
        return self.classes_[(raw > 0).astype(np.intp)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


def _signs_that_count(
    labels: NDArray[Any], classes: NDArray[Any], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """As `targets.signs`; a row of weight 0 may hold any label."""
    y = np.where(labels == classes[1], 1.0, -1.0)
    counted = np.flatnonzero(weight > 0)
    y[counted] = targets.signs(labels[counted], classes)
    return y


class FMRegressor(RegressorMixin, BaseFM):
    """Factorization machine for real targets, trained by lock-free stochastic gradient descent.

    The answer to a row x is w0 + Σ w_i x_i + ½ Σ_f [(Σ v_if x_i)² - Σ v_if² x_i²] (Rendle, ICDM 2010); the loss
    is ½ (y - answer)². Targets are centred and scaled to unit variance for training, so that hyper-parameters
    mean the same whatever the unit of y is.

    Parameters
    ----------
    n_factors : int, default 16
        Factors per feature; 0 is linear regression.
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

    def _answer_range(self) -> tuple[float, float] | None:
        return self.target_range_ if self.clip else None
