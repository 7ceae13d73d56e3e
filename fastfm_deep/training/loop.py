"""The training loop: epochs over a shuffled order, with evaluation, early stopping and the divergence guard.

It knows nothing of factorization machines: what is trained is a step (`training.fm_step`), which fits rows, scores
others, and keeps and restores its parameters.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.model.score import SLICE_WORK
from fastfm_deep.model.shards import run_shards
from fastfm_deep.training.callbacks import Callback
from fastfm_deep.training.early_stopping import BestEpoch
from fastfm_deep.training.metrics import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

# An epoch whose mean loss is this many times that of a constant answer has gone astray. Progressive losses of
# healthy runs stay under 3 times, those with far too high a learning rate grow to thousands.
ASTRAY = 20.0
# What a constant answer loses at least, for this purpose: a chunk may hold one class alone or a single target,
# which the best constant answers without any loss. In the units of training targets have a variance of 1, and
# labels that are balanced lose 0.69.
_LEAST_NULL_LOSS = 0.5
# Seconds between two reports of an epoch's progress.
_REPORT = 0.1
# Slices an epoch has at least for each thread, so that threads end at about the same time.
_SLICES = 16


class TrainingStep(Protocol):
    """What the loop needs of the thing it trains."""

    row_ids: NDArray[np.integer]
    row_work: float
    rows_per_update: int
    n_threads: int
    copies_per_epoch: float
    loss_scale: float  # from losses in the units of training to those of the caller's targets

    def null_loss(self) -> float: ...
    def draw_order(self, epoch: int) -> NDArray[np.integer]: ...
    def fit_rows(self, start: int, stop: int, tally: NDArray[np.float64]) -> None: ...
    def score(self, rows: CsrRows) -> NDArray[np.float64]: ...
    def is_finite(self) -> bool: ...
    def keep(self) -> bool: ...
    def restore(self) -> None: ...
    def forget_states(self) -> None: ...


class EvalSet(NamedTuple):
    """Rows to measure the model on after each epoch; `y` as the metrics take it."""

    rows: CsrRows
    y: NDArray[np.float64]
    weight: NDArray[np.float64] | None


class Schedule(NamedTuple):
    """How long to train, and what to look at."""

    n_epochs: int
    learning_rate: float  # for messages
    metrics: tuple[str, ...] = ()
    early_stopping_rounds: int | None = None
    raise_on_divergence: bool = True


class Training:
    """One run of the loop, and what there is to tell about it, even when it ends with an exception."""

    def __init__(
        self,
        step: TrainingStep,
        schedule: Schedule,
        eval_sets: Sequence[EvalSet] = (),
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.step = step
        self.schedule = schedule
        self.eval_sets = eval_sets
        self.callbacks = callbacks
        self.history: list[dict[str, Any]] = []
        deciding = METRICS[schedule.metrics[-1]] if schedule.metrics else None
        greater_is_better = deciding is not None and deciding.greater_is_better
        self.best = BestEpoch(greater_is_better, schedule.early_stopping_rounds)
        self._null_loss = step.null_loss()
        self._owed = 0.0  # copies of the weights that are due
        self._kept_epoch = 0
        self.is_usable = False
        """Whether the parameters are worth having: not before the first row, nor where only the start is good."""

    @property
    def best_epoch(self) -> int:
        """The epoch whose score was best; without evaluation the last one."""
        return self.best.epoch if self.best.epoch else len(self.history)

    def run(self) -> None:
        """Train; afterwards the step's parameters are the best ones, or the last where nothing is stopped early.

        Raises
        ------
        DivergenceError
            With the last good weights put back (a RuntimeWarning instead, if the schedule says so).
        KeyboardInterrupt
            Likewise with the best weights so far.
        """
        for callback in self.callbacks:
            callback.on_fit_begin(len(self.step.row_ids), self.schedule.n_epochs)
        self.is_usable = True
        try:
            self._run_epochs()
        except validation.DivergenceError as error:
            if self.schedule.raise_on_divergence:
                raise
            warnings.warn(str(error), RuntimeWarning, stacklevel=4)
        except BaseException:
            self._settle(in_epoch=True)
            raise
        else:
            self._settle(in_epoch=False)
        finally:
            for callback in self.callbacks:
                callback.on_fit_end()

    def _run_epochs(self) -> None:
        for epoch in range(1, self.schedule.n_epochs + 1):
            started = time.perf_counter()
            train_loss = self._run_epoch(epoch)
            self._guard(epoch, train_loss)
            n_rows = len(self.step.row_ids)
            seconds = max(time.perf_counter() - started, 1e-9)
            record: dict[str, Any] = {
                "epoch": epoch,
                "seconds": seconds,
                "rows": n_rows,
                "rows_per_second": n_rows / seconds,
                "train_loss": train_loss * self.step.loss_scale,
            }
            self._evaluate(record)
            self.history.append(record)
            # All callbacks hear of it, even if the first wants to stop.
            wishes = [callback.on_epoch_end(record) is True for callback in self.callbacks]
            if any(wishes) or self.best.is_over(epoch):
                return

    def _run_epoch(self, epoch: int) -> float:
        """Fit all rows once; the mean loss, each row's taken before its update."""
        step = self.step
        n_rows = len(step.draw_order(epoch - 1))
        slice_rows = max(1, int(SLICE_WORK / step.row_work))
        if step.n_threads > 1:
            slice_rows = max(1, min(slice_rows, n_rows // (_SLICES * step.n_threads) + 1))
        slice_rows = -(-slice_rows // step.rows_per_update) * step.rows_per_update
        tallies = np.zeros((step.n_threads, 16))  # 128 bytes each: threads do not share their lines
        reported = time.monotonic()

        def fit(start: int, stop: int, thread: int) -> None:
            step.fit_rows(start, stop, tallies[thread])

        def report(rows_done: int) -> None:
            nonlocal reported
            if self.callbacks and time.monotonic() - reported >= _REPORT:
                reported = time.monotonic()
                loss, weight = tallies[:, :2].sum(axis=0)
                mean = float(loss / weight) * step.loss_scale if weight else float("nan")
                for callback in self.callbacks:
                    callback.on_rows(rows_done, mean)

        run_shards(fit, n_rows, slice_rows, step.n_threads, report)
        loss, weight = tallies[:, :2].sum(axis=0)
        return float(loss / weight)

    def _guard(self, epoch: int, train_loss: float) -> None:
        """Raise if the epoch left the finite numbers or went astray; else keep a copy of the weights if due.

        Without early stopping a copy serves nothing but this guard. It is taken as often as its cost is small
        beside that of the epochs since the last.
        """
        limit = ASTRAY * max(self._null_loss, _LEAST_NULL_LOSS)
        self._owed += self.step.copies_per_epoch
        is_due = (
            self._owed >= 1.0 and epoch < self.schedule.n_epochs and self.schedule.early_stopping_rounds is None
        )
        is_healthy = train_loss <= limit  # False for NaN
        if is_healthy and not is_due:
            is_healthy = self.step.is_finite()
        elif is_healthy:
            # A copy of bad weights would destroy the good one.
            is_healthy = self.step.is_finite() and self.step.keep()
            self._owed = 0.0
            if is_healthy:
                self._kept_epoch = epoch
        if not is_healthy:
            self.step.restore()
            self.step.forget_states()
            kept = self.best.epoch if self.schedule.early_stopping_rounds is not None else self._kept_epoch
            self.is_usable = kept > 0
            unit = self.step.loss_scale
            raise validation.divergence_error(
                epoch,
                train_loss * unit,
                limit * unit,
                limit / ASTRAY * unit,
                self.schedule.learning_rate,
                kept,
            )

    def _evaluate(self, record: dict[str, Any]) -> None:
        for number, (rows, y, weight) in enumerate(self.eval_sets):
            answers = self.step.score(rows)
            for name in self.schedule.metrics:
                record[f"eval_{number}_{name}"] = METRICS[name].compute(y, answers, weight)
        if not self.eval_sets or not self.schedule.metrics:
            return
        deciding = record[f"eval_{len(self.eval_sets) - 1}_{self.schedule.metrics[-1]}"]
        if self.best.improves(record["epoch"], deciding) and self.schedule.early_stopping_rounds is not None:
            self.step.keep()

    def _settle(self, in_epoch: bool) -> None:
        """Choose the weights that stay: the best of early stopping, or the last unless they are broken."""
        if self.schedule.early_stopping_rounds is not None and self.best.epoch:
            if in_epoch or self.best.epoch != len(self.history):
                self.step.restore()
        elif in_epoch and not self.step.is_finite():
            self.step.restore()
            self.step.forget_states()
