"""Factorization machines for two classes: `FMClassifier`."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassifierMixin

from fastfm_deep import validation
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.estimators import recommending, targets
from fastfm_deep.estimators.base import BaseFM, Goal
from fastfm_deep.estimators.table_encoder import TableEncoder

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
    encoder : TableEncoder, optional
        Lets `fit`, `predict` and the rest take tables; a copy of it learns what they hold, see `encoder_`.
    linear_columns, deep_columns : list of str or of feature columns, optional
        Columns of the encoder that have a weight, and those that have factors and so take part in pairs, and in
        the network of a DeepFM. None: all of them.
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
    negative_downsampling : float, default 1.0
        Which share of the negative rows was kept when the data were made, greater than 0 and at most 1. Answers
        are those for all rows: the raw score plus its logarithm (He et al., ADKDD 2014, section 6.3). What is
        measured on `eval_set` is without it, as such rows are sampled likewise.
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
    encoder_ : TableEncoder, if there is an `encoder`
        Fitted.

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
        class_weight: Any = None,
        negative_downsampling: float = 1.0,
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
        self.class_weight = class_weight
        self.negative_downsampling = negative_downsampling
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

    def _check_hyperparameters(self) -> None:
        super()._check_hyperparameters()
        self._shift()

    def _shift(self) -> float:
        share = self.negative_downsampling
        if isinstance(share, bool) or not isinstance(share, numbers.Real) or not 0.0 < share <= 1.0:
            raise validation.sampling_error(share)
        # The odds among all rows are those among the rows kept, times the share of negatives that was kept.
        return math.log(share)

    def score_row_dict(self, row: Mapping[str, Any]) -> float:
        """The probability of the second class for one row of a table, in microseconds.

        Parameters
        ----------
        row : dict
            The raw value of each column of the encoder; others do not matter.

        Returns
        -------
        float
            As `predict_proba` gives it for a table of that row, up to rounding.

        Raises
        ------
        InputError
            A column is missing or holds what it must not, or the model was not fitted to a table.
        """
        raw = self._raw_score_of_row(row)
        return 1.0 / (1.0 + math.exp(-raw)) if raw > -700.0 else math.exp(raw)

    def _answers_of_raw(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        return recommending.probabilities(raw)

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
