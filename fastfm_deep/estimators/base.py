"""What all estimators share: hyper-parameters checked, rows read, the training loop called, answers given.

An *estimator* is the scikit-learn face of a model; it holds no numbers of its own but those in its model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.estimators import evaluation, table_input, targets
from fastfm_deep.estimators.fitted import FittedFM
from fastfm_deep.estimators.table_encoder import TableEncoder
from fastfm_deep.kernels.losses import LOSS_IDS
from fastfm_deep.kernels.parts import HAS_BOTH
from fastfm_deep.kernels.updates import RULES, Step
from fastfm_deep.model.params import FMModel, allocate, for_training, grown, with_parts
from fastfm_deep.model.score import work_of_model
from fastfm_deep.model.shards import thread_count
from fastfm_deep.training.callbacks import ProgressBar, as_callbacks
from fastfm_deep.training.fm_step import FMStep, Targets
from fastfm_deep.training.loop import EvalSet, Schedule, Training

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Multiplications an epoch has for each thread it is given by n_jobs=None. Under that the threads get in each
# other's way more than they help: they write the same few cache lines.
_TRAINING_WORTH = 100_000_000


class Goal(NamedTuple):
    """What a fit is to learn from: targets in the units of training."""

    y: NDArray[np.float64]
    weight: NDArray[np.float64] | None
    center: float = 0.0
    scale: float = 1.0
    reach: float = 1.0  # bound on a row's gradient: errors beyond the range of the targets are accidents


class BaseFM(FittedFM):
    """Base of the factorization machines; see `FMClassifier` and `FMRegressor`."""

    _loss: str
    _task: str
    _default_metric: str

    # Set here to tell type checkers; the subclasses' constructors set them.
    n_factors: int
    encoder: TableEncoder | None
    linear_columns: Any
    deep_columns: Any
    optimizer: str
    learning_rate: Any
    n_epochs: int
    l2_reg_linear: float
    l2_reg_factors: float
    l1_reg_linear: float
    init_std: float
    early_stopping_rounds: int | None
    eval_metric: str | list[str] | None
    warm_start: bool
    n_jobs: int | None
    random_state: Any
    on_divergence: str
    verbose: int
    # Set by the first fit.
    history_: list[dict[str, Any]]
    # Set by a fit with an encoder.
    encoder_: TableEncoder

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        eval_set: Any = None,
        callbacks: Any = None,
    ) -> Any:
        """Train on rows and their targets.

        Parameters
        ----------
        X : matrix (n_rows, n_features), or a table
            SciPy sparse matrix of any format, NumPy array or DataFrame of finite real numbers. CSR with
            float32 values is used in place; X is never changed. With an `encoder`, a table as `TableEncoder` takes
            it.
        y : array (n_rows,)
            Two labels of any kind for a classifier, finite real numbers for a regressor.
        sample_weight : array (n_rows,), optional
            Factor of each row's loss, at least 0. A row of weight 0 has no effect.
        eval_set : list of (X, y) or (X, y, sample_weight), or one such tuple, optional
            Measured by `eval_metric` after each epoch; the last one decides early stopping.
        callbacks : list of `fastfm_deep.Callback` or functions, optional
            A function is called with the new item of `history_` after each epoch, and ends training by
            returning True.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Something given cannot be used; raised before any work starts.
        TableTooLargeError
            The parameters would not fit into memory.
        DivergenceError
            The loss grew without bounds; the last good weights are put back first.
        """
        return self._fit(X, y, sample_weight, eval_set, callbacks, n_epochs=None, anew=not self._goes_on())

    def _goes_on(self) -> bool:
        return bool(self.warm_start) and self.__sklearn_is_fitted__()

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        eval_set: Any,
        callbacks: Any,
        n_epochs: int | None,
        anew: bool,
        classes: Any = None,
    ) -> Any:
        before = dict(self.__dict__)
        learned = self.encoder_.encoding_.mark() if hasattr(self, "encoder_") else None
        try:
            training, model = self._prepare(X, y, sample_weight, eval_set, callbacks, n_epochs, anew, classes)
        except BaseException:
            self._put_back(before, learned)
            raise
        try:
            training.run()
        except BaseException:
            if training.is_usable:
                self._take(training, model, anew)
            else:
                self._put_back(before, learned)
            raise
        self._take(training, model, anew)
        return self

    def _put_back(self, before: dict[str, Any], learned: Any) -> None:
        """An earlier fit stays as it was when this one is refused or comes to nothing."""
        self.__dict__.clear()
        self.__dict__.update(before)
        if learned is not None:
            self.encoder_.encoding_.reset(learned)

    def _take(self, training: Training, model: FMModel, anew: bool) -> None:
        earlier = [] if anew else self.history_
        model.epochs += len(training.history)
        self._model = model
        self._drop_prepared()
        self.history_ = earlier + [
            {**record, "epoch": record["epoch"] + len(earlier)} for record in training.history
        ]
        self.best_epoch_ = training.best_epoch + len(earlier)
        self.best_score_ = training.best.score

    def _prepare(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        eval_set: Any,
        callbacks: Any,
        n_epochs: int | None,
        anew: bool,
        classes: Any,
    ) -> tuple[Training, FMModel]:
        """Everything up to the first update of a parameter: all checks, then the tables."""
        self._check_hyperparameters()
        listeners = as_callbacks(callbacks) + ([ProgressBar(self._loss)] if self.verbose else [])
        metrics = evaluation.choose_metrics(self.eval_metric, self._task, self._default_metric)
        entries = evaluation.as_entries(eval_set)
        patience = self.early_stopping_rounds if n_epochs is None else None
        if patience is not None and not entries:
            raise validation.InputError(
                f"early_stopping_rounds={patience} needs rows to watch: pass eval_set=[(X_valid, y_valid)] to "
                "fit, or leave it at None."
            )
        rows = self._read_training_rows(X, anew)
        weight = targets.read_weights(sample_weight, rows.n_rows)
        goal = self._read_goal(y, rows, weight, classes, anew)
        eval_sets = [self._read_eval_set(number, entry) for number, entry in enumerate(entries)]
        model = self._model_to_train(self.n_features_in_, goal, anew)
        work = rows.n_rows * work_of_model(model, rows)
        step = self._make_step(
            model,
            rows,
            Targets(_frozen(goal.y), _frozen(np.empty(0) if goal.weight is None else goal.weight)),
            self._step(goal.reach),
            init_std=float(self.init_std),
            seed=self._seed(),
            n_threads=thread_count(self.n_jobs, work, _TRAINING_WORTH),
            answer_range=self._answer_range(),
        )
        schedule = Schedule(
            n_epochs=self.n_epochs if n_epochs is None else n_epochs,
            learning_rate=float(self._rate()),
            metrics=metrics if eval_sets else (),
            early_stopping_rounds=patience,
            raise_on_divergence=self.on_divergence == "raise",
        )
        return Training(step, schedule, eval_sets, listeners), model

    def _make_step(self, *arguments: Any, **named: Any) -> FMStep:
        """What the loop trains, with the arguments of `FMStep`."""
        return FMStep(*arguments, **named)

    def _answer_range(self) -> tuple[float, float] | None:
        """Bounds of what `predict` gives, where it has any."""
        return None

    def _check_hyperparameters(self) -> None:
        validation.check_integer("n_factors", self.n_factors, minimum=0)
        table_input.check_encoder(
            self.encoder, self.linear_columns, self.deep_columns, getattr(self, "fields", None)
        )
        validation.check_choice("optimizer", self.optimizer, RULES)
        validation.check_real("learning_rate", self._rate(), above=True)
        validation.check_integer("n_epochs", self.n_epochs, minimum=1)
        validation.check_real("l2_reg_linear", self.l2_reg_linear)
        validation.check_real("l2_reg_factors", self.l2_reg_factors)
        if validation.check_real("l1_reg_linear", self.l1_reg_linear) and self.optimizer != "ftrl":
            raise validation.InputError(
                f"l1_reg_linear={self.l1_reg_linear} works with optimizer='ftrl' alone, not with "
                f"optimizer={self.optimizer!r}; set one or the other."
            )
        validation.check_real("init_std", self.init_std)
        if self.early_stopping_rounds is not None:
            validation.check_integer("early_stopping_rounds", self.early_stopping_rounds, minimum=1)
        self._check_jobs()
        validation.check_choice("on_divergence", self.on_divergence, ["raise", "warn"])
        validation.check_integer(
            "verbose", int(self.verbose) if isinstance(self.verbose, bool) else self.verbose, minimum=0
        )
        validation.check_flag("warm_start", self.warm_start)
        self._seed()

    def _seed(self) -> int:
        """A number that decides all random ones."""
        state = self.random_state
        if state is None:
            return int(np.random.SeedSequence().entropy)  # type: ignore[arg-type]
        if isinstance(state, np.random.RandomState):
            return int(state.randint(2**31))
        if isinstance(state, np.random.Generator):
            return int(state.integers(2**63))
        return validation.check_integer("random_state", state, minimum=0)

    def _rate(self) -> float:
        """Step size of the tables."""
        return self.learning_rate

    def _step(self, reach: float) -> Step:
        f32 = np.float32
        return Step(
            LOSS_IDS[self._loss],
            RULES[self.optimizer].marker,
            f32(self._rate()),
            f32(self.l2_reg_linear),
            f32(self.l2_reg_factors),
            f32(self.l1_reg_linear),
            f32(reach),
            f32(max(1, self.n_factors)),
        )

    def _read_training_rows(self, X: Any, anew: bool) -> CsrRows:
        """The rows to train on; with an encoder, it learns what they hold first."""
        if anew:
            self.__dict__.pop("encoder_", None)
        if hasattr(self, "encoder_"):
            rows = table_input.further_rows(self.encoder_, X)
        elif self.encoder is None:
            return self._read_rows(X, reset=anew)
        elif not anew:  # the model knows features, not columns
            raise validation.late_encoder_error()
        else:
            self.encoder_, rows = table_input.training_rows(self.encoder, X)
            self.__dict__.pop("feature_names_in_", None)
        self.n_features_in_ = self.encoder_.encoding_.n_features
        return rows

    def _read_goal(
        self, y: Any, rows: CsrRows, weight: NDArray[np.float64] | None, classes: Any, anew: bool
    ) -> Goal:
        raise NotImplementedError

    def _read_eval_targets(self, y: Any, n_rows: int, name: str) -> NDArray[np.float64]:
        raise NotImplementedError

    def _read_eval_set(self, number: int, entry: tuple[Any, ...]) -> EvalSet:
        name = f"eval_set[{number}]"
        rows = evaluation.named_errors(number, self._read_rows, entry[0], reset=False)
        y = self._read_eval_targets(entry[1], rows.n_rows, f"{name} y")
        weight = targets.read_weights(entry[2] if len(entry) == 3 else None, rows.n_rows, f"{name} sample_weight")
        return EvalSet(rows, y, weight)

    def _model_to_train(self, n_features: int, goal: Goal, anew: bool) -> FMModel:
        if not anew:
            if self._model.n_factors != self.n_factors:
                raise validation.InputError(
                    f"n_factors={self.n_factors} differs from the {self._model.n_factors} of the model that "
                    "training goes on with; set it back, or fit anew with warm_start=False."
                )
            return for_training(self._grown_model(n_features), self.optimizer)
        params = with_parts(allocate(n_features, self.n_factors, self.optimizer), self._parts())
        return FMModel(
            params, self.n_factors, self.optimizer, np.zeros(n_features, np.uint8), goal.center, goal.scale
        )

    def _parts(self) -> NDArray[np.uint8] | None:
        """What each feature has, weight, factors or both; None where all have both."""
        if not hasattr(self, "encoder_"):
            return None
        return table_input.parts_of(self.encoder_.encoding_, self.linear_columns, self.deep_columns)

    def _grown_model(self, n_features: int) -> FMModel:
        """The model, with room for features that the encoder has learned since."""
        model, parts = self._model, self._parts()
        if not hasattr(self, "encoder_"):
            return model
        known = parts_in_full(model.params.parts, model.n_features)
        if not np.array_equal(known, parts_in_full(parts, n_features)[: model.n_features]):
            raise validation.changed_columns_error()
        return model if n_features == model.n_features else grown(model, n_features, parts)


def parts_in_full(parts: NDArray[np.uint8] | None, n_features: int) -> NDArray[np.uint8]:
    """Parts of all features, (n_features,)."""
    return np.full(n_features, HAS_BOTH, np.uint8) if parts is None else parts


def _frozen(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """A read-only view: kernels are compiled for such, whoever owns the array."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
