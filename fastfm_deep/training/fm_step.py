"""The step of a factorization machine: what the training loop calls to fit, keep and put back its parameters.

A *step* owns nothing that outlives the fit but the model, which it changes in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastfm_deep.data.rows import CsrRows, fold_ones
from fastfm_deep.kernels import columns as column_passes
from fastfm_deep.kernels import fm, tables
from fastfm_deep.kernels.hot_columns import HotColumns, find_hot_columns, plan_exchanges
from fastfm_deep.kernels.losses import LOGISTIC, SQUARED
from fastfm_deep.kernels.order import shuffle
from fastfm_deep.kernels.updates import RULES, Step
from fastfm_deep.model.params import FMModel, blocks_for, lanes_for
from fastfm_deep.model.score import raw_scores, work_per_row
from fastfm_deep.model.shards import run_shards
from fastfm_deep.training.overlap import row_overlap

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A column whose values have a root mean square over this is trained in units of that: a step size that suits
# values of 1 would throw its weight about. One-hot columns and standardised ones stay as they are.
LARGE_VALUES = 2.0
# Rows whose squared lengths exceed this on average are trained with so much smaller steps: a step moves the score
# by about its size times the squared length, and what overshoots by more than double diverges.
LONG_ROW = 64.0
# Columns that are started at a time; bounds the memory for their random factors.
_START_COLUMNS = 65_536
_COPY_COLUMNS = 262_144
# What tells which columns are hot: this many rows in so many blocks, spread over all, and their non-zeros.
_SAMPLE_ROWS, _SAMPLE_BLOCKS, _SAMPLE_VALUES = 16_384, 64, 1_000_000


class Targets(NamedTuple):
    """What rows are to be answered with, in the units of training: ±1, or real numbers.

    y : float64 (n_rows,); weight : float64 (n_rows,), or (0,) where all are 1.
    """

    y: NDArray[np.float64]
    weight: NDArray[np.float64]


class FMStep:
    """Fits one model to one set of rows."""

    rows_per_update = 1
    # Rows whose overlap exceeds this are trained with so much smaller steps: what each does to all the others
    # adds up, and soon overshoots where rows are few and columns many.
    most_overlap = 15.0

    def __init__(
        self,
        model: FMModel,
        rows: CsrRows,
        targets: Targets,
        step: Step,
        init_std: float,
        seed: int,
        n_threads: int,
        answer_range: tuple[float, float] | None = None,
    ) -> None:
        """Start the columns that are new to the model, and the intercept if it has seen nothing yet.

        `model` must hold the states of the rule, and be writable; `seed` decides all random numbers, together
        with the number of epochs the model has been trained for.
        """
        self.model = model
        self.n_threads = n_threads
        self._answer_range = answer_range
        self._init_std = init_std
        self._seed = seed
        self._targets = targets
        self._lanes = lanes_for(model.params.padded_factors)
        self._blocks = blocks_for(model.params.padded_factors)
        id_type = np.int32 if rows.n_rows < 2**31 else np.int64
        self.row_ids: NDArray[np.integer] = (
            np.flatnonzero(targets.weight > 0).astype(id_type)
            if len(targets.weight)
            else np.arange(rows.n_rows, dtype=id_type)
        )
        """Rows that count; those of weight 0 are left out."""
        self.row_work = work_per_row(rows, model.n_factors)
        self.loss_scale = model.scale**2 if step.loss == SQUARED else 1.0
        self._first_epoch = model.epochs
        self._is_new = not model.occurs.any()
        factor = self._measure(rows)
        overlap = row_overlap(rows, self.row_ids, model.params.inverse_scale)
        factor *= min(1.0, self.most_overlap / max(factor * overlap, 1.0))
        self._step = step._replace(learning_rate=np.float32(step.learning_rate * factor))
        if self._is_new:
            self._start_intercept()
        self._rows = rows if len(model.params.inverse_scale) else fold_ones(rows)
        touched = np.zeros(model.n_features, np.uint8)
        column_passes.mark_columns(rows, self.row_ids, touched)
        self._columns = np.flatnonzero(touched)
        del touched
        self._new_columns = self._columns[model.occurs[self._columns] == 0]
        model.occurs[self._columns] = 1
        self._longest_row = int(np.diff(rows.indptr).max(initial=1))
        self._epoch = 0
        self._hot = self._find_hot_columns()
        self._kept: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]] | None = None
        self._start_columns()
        # A column costs about three times as much to copy as a non-zero to fit: 2 % of the time go into copies.
        self.copies_per_epoch = min(1.0, len(self._rows.indices) / (150.0 * max(1, len(self._columns))))
        if not self._is_new:
            self.keep()

    def _measure(self, rows: CsrRows) -> float:
        """Choose the units of columns with large values; return the factor that long rows put on the step size.

        Units are fixed by the first rows, for good: later rows are read in the same.
        """
        n_rows = len(self.row_ids)
        if column_passes.all_ones(rows.values.view(np.uint32)) and not len(self.model.params.inverse_scale):
            total = float(np.diff(rows.indptr)[self.row_ids].sum())
            return min(1.0, LONG_ROW * n_rows / max(total, 1.0))
        n_features = self.model.n_features
        squares, counts = np.zeros(n_features), np.zeros(n_features, np.int64)
        column_passes.add_squares(rows, self.row_ids, squares, counts)
        if self._is_new:
            self._choose_scales(np.sqrt(squares / np.maximum(counts, 1)))
        if len(self.model.params.inverse_scale):
            squares *= self.model.params.inverse_scale.astype(np.float64) ** 2
        return min(1.0, LONG_ROW * n_rows / max(float(squares.sum()), 1.0))

    def _choose_scales(self, size: NDArray[np.float64]) -> None:
        """Set the units, given the root mean square of each column (n_features,)."""
        if (size > LARGE_VALUES).any():
            inverse_scale = np.where(size > LARGE_VALUES, 1.0 / np.maximum(size, 1.0), 1.0).astype(np.float32)
            self.model.params = self.model.params._replace(inverse_scale=inverse_scale)

    def _counted_targets(self) -> Targets:
        """The targets of the rows that count."""
        y, weight = self._targets
        if not len(weight) or len(self.row_ids) == len(y):
            return self._targets
        return Targets(y[weight > 0], weight[weight > 0])

    def _start_intercept(self) -> None:
        """Log-odds or mean of the targets; a class that is absent counts as if it had half a row."""
        y, weight = self._counted_targets()
        mean = float(np.average(y, weights=weight if len(weight) else None))
        if self._step.loss == LOGISTIC:
            total = float(weight.sum()) if len(weight) else float(len(y))
            bound = 1.0 - 1.0 / (total + 1.0)
            mean = min(max(mean, -bound), bound)
            start = np.log1p(mean) - np.log1p(-mean)
        else:
            start = mean
        intercept = self.model.params.intercept
        intercept[0] = start
        intercept[1:] = RULES[self._rule].start
        if self._rule == "ftrl":
            # Its weight follows from z alone: w = -z / ((1 + sqrt(n)) / learning_rate).
            intercept[1] = -start / float(self._step.learning_rate)

    @property
    def _rule(self) -> str:
        assert self.model.rule is not None
        return self.model.rule

    def _entropy(self, purpose: int, *numbers: int) -> np.random.SeedSequence:
        return np.random.SeedSequence([self._seed, *numbers, purpose])

    def _start_columns(self) -> None:
        rule, params = RULES[self._rule], self.model.params
        linear_start = np.array((0.0, *rule.start), np.float32)

        def start_part(first: int, stop: int, thread: int) -> None:
            part = self._new_columns[first:stop]
            # A stream for each part, so that threads change nothing.
            entropy = self._entropy(0, self._first_epoch, first)
            generator = np.random.Generator(np.random.SFC64(entropy))
            factors = generator.standard_normal((len(part), self.model.n_factors), np.float32)
            factors *= np.float32(self._init_std)
            tables.start_columns(params, part, factors, linear_start, np.float32(rule.factor_start))

        run_shards(start_part, len(self._new_columns), _START_COLUMNS, self.n_threads)

    def null_loss(self) -> float:
        """Mean loss of the best constant answer: what no training should stay above for long.

        Rows that come later may be all alike: the answer that they ask for is no measure. What the model was
        first fitted to is: a variance of 1, or two classes.
        """
        y, weight = self._counted_targets()
        weights = weight if len(weight) else None
        mean = float(np.average(y, weights=weights))
        if self._step.loss == LOGISTIC:
            shares = np.clip([(1 + mean) / 2, (1 - mean) / 2], 1e-12, 1.0)
            loss = float(-(shares * np.log(shares)).sum())
            return loss if self._is_new else max(loss, float(np.log(2.0)))
        loss = 0.5 * float(np.average((y - mean) ** 2, weights=weights))
        return loss if self._is_new else max(0.5, loss, 0.5 * float(np.average(y**2, weights=weights)))

    def _find_hot_columns(self) -> tuple[NDArray[np.int32], NDArray[np.float64]] | None:
        """Columns that threads train in copies of their own, and their shares of the rows."""
        if self.n_threads == 1 or self._rule not in ("adagrad", "adagrad_rowwise"):
            return None  # one thread shares with none; for other rules changes do not add up
        indptr, indices = self._rows.indptr, self._rows.indices
        n_rows = len(indptr) - 1
        n_sampled = int(min(n_rows, _SAMPLE_ROWS, n_rows * _SAMPLE_VALUES / max(1, len(indices)) + 1))
        size = -(-n_sampled // _SAMPLE_BLOCKS)
        starts = np.linspace(0, n_rows - size, _SAMPLE_BLOCKS).astype(np.int64)
        sample = np.concatenate([indices[indptr[start] : indptr[start + size]] for start in starts])
        return find_hot_columns(sample, size * _SAMPLE_BLOCKS, self.model.params.factors.shape[1] * 4)

    def _plan_exchanges(self, start: int) -> HotColumns | None:
        if self._hot is None:
            return None
        columns, shares = self._hot
        rows_seen = (self._first_epoch + self._epoch) * len(self.row_ids) + start
        return plan_exchanges(columns, shares, rows_seen, float(self._step.learning_rate), self.n_threads)

    def draw_order(self, epoch: int) -> NDArray[np.integer]:
        """The rows that count, shuffled in place for one epoch (0, 1, ... of this fit)."""
        self._epoch = epoch
        shuffle(self.row_ids, self._entropy(1, self._first_epoch + epoch).generate_state(1, np.uint64)[0])
        return self.row_ids

    def fit_rows(self, start: int, stop: int, tally: NDArray[np.float64]) -> None:
        """Update once for each row of the drawn order from `start` to `stop`; adds loss and weight to `tally`."""
        fm.fit_rows(
            self._rows,
            self._targets,
            self.row_ids,
            (start, stop),
            self._longest_row,
            self.model.params,
            self._step,
            self._plan_exchanges(start),
            self._lanes,
            self._blocks,
            tally,
        )

    def score(self, rows: CsrRows) -> NDArray[np.float64]:
        """Answers to other rows, before the link function."""
        answers = self.model.center + self.model.scale * raw_scores(self.model, rows, self.n_threads)
        return answers if self._answer_range is None else np.clip(answers, *self._answer_range)

    def is_finite(self) -> bool:
        """Whether all parameters that this fit changes are finite numbers."""
        return self._over_columns(self._part_is_finite)

    def keep(self) -> bool:
        """Copy the weights as they are now, in place of an earlier copy; False if some were not finite."""
        if self._kept is None:
            width = self.model.params.linear.shape[1]
            n_columns = len(self._columns)
            self._kept = (
                np.empty((n_columns, self.model.n_factors), np.float32),
                np.empty((n_columns, width), np.float32),
                np.empty(width, np.float32),
            )
        self._kept[2][:] = self.model.params.intercept
        return self._over_columns(self._keep_part)

    def restore(self) -> None:
        """Put the kept weights back, or begin anew where nothing was kept."""
        if self._kept is None:
            self._start_intercept()
            self._start_columns()
            return
        self.model.params.intercept[:] = self._kept[2]
        self._over_columns(self._restore_part)

    def forget_states(self) -> None:
        """Fresh states for factors: after a divergence those there are may be infinite."""
        params = self.model.params
        for first in range(0, len(self._columns) if self.model.n_factors else 0, _COPY_COLUMNS):
            part = self._columns[first : first + _COPY_COLUMNS]
            params.factors[part, params.padded_factors :] = RULES[self._rule].factor_start

    def _over_columns(self, work: Callable[[int, int], bool]) -> bool:
        whole = [True]

        def part(start: int, stop: int, thread: int) -> None:
            if not work(start, stop):
                whole[0] = False

        run_shards(part, len(self._columns), _COPY_COLUMNS, self.n_threads)
        return whole[0] and bool(np.isfinite(self.model.params.intercept[0]))

    def _part_is_finite(self, start: int, stop: int) -> bool:
        return bool(tables.all_finite(self.model.params, self._columns[start:stop], self.model.n_factors))

    def _keep_part(self, start: int, stop: int) -> bool:
        assert self._kept is not None
        factors, linear, _ = self._kept
        part = slice(start, stop)
        return bool(tables.keep_columns(self.model.params, self._columns[part], factors[part], linear[part]))

    def _restore_part(self, start: int, stop: int) -> bool:
        assert self._kept is not None
        factors, linear, _ = self._kept
        part = slice(start, stop)
        tables.restore_columns(self.model.params, self._columns[part], factors[part], linear[part])
        return True
