"""A dense column that has been learned: its mean, deviation and range, or the edges of its buckets."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.categories import MISSING_NAME
from fastfm_deep.data.encoded import Encoded
from fastfm_deep.data.feature_columns import DenseFeat
from fastfm_deep.data.float_values import to_floats
from fastfm_deep.data.python_values import is_missing
from fastfm_deep.data.values import Objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.table import Table

_LARGEST = 2.0**128 - 2.0**104  # of float32; to ask NumPy for it takes a millisecond
_MOST = sys.float_info.max


class DenseColumn:
    """Numbers of one column; see `DenseFeat`."""

    def __init__(self, column: DenseFeat, plain: bool = False) -> None:
        self.column = column
        self.id = -1
        """The feature of the numbers, or of the first bucket."""
        self.indicator_id = -1
        self.edges: NDArray[np.float64] | None = None
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._low, self._high = math.inf, -math.inf

    @property
    def pooling(self) -> str:
        """Of the field."""
        return "sum"

    def names_read(self) -> tuple[str, ...]:
        """The columns of the table that it reads."""
        return (self.column.name,)

    def learn(self, table: Table, scaling: bool = True) -> None:
        """Take in some rows; without `scaling` only the first ones count: later ones are read in their units."""
        floats = self._floats(table)
        present = floats[~np.isnan(floats)]
        if not len(present) or (self._count and not scaling):
            return
        if self.column.buckets is not None and self.edges is None and self.id < 0:
            # An edge at the largest value would leave a bucket without any.
            edges = np.unique(_quantiles(present, self.column.buckets))
            self.edges = edges[edges < present.max()]
        self._low, self._high = min(self._low, float(present.min())), max(self._high, float(present.max()))
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(present.mean())
            if not math.isfinite(mean):  # the sum is beyond float64, the mean is not
                mean = float((present / len(present)).sum())
            self._add_moments(len(present), mean, float(np.square(present - mean).sum()))
        if not self._has_units():
            worst = int(np.nanargmax(np.abs(floats)))
            raise validation.large_number_error(self.column.name, worst, float(floats[worst]))

    def _add_moments(self, count: int, mean: float, squares: float) -> None:
        """Bring together the moments of two groups (Chan, Golub and LeVeque 1979, equation 2.1)."""
        if not self._count:
            self._count, self._mean, self._squares = count, mean, min(squares, _MOST)
            return
        share = count / (self._count + count)
        away = mean - self._mean
        self._mean = (1.0 - share) * self._mean + share * mean
        self._squares = min(self._squares + squares + away * share * self._count * away, _MOST)
        self._count += count

    def _has_units(self) -> bool:
        """Whether float64 has room for the deviation or the range, where it takes one."""
        if self.column.buckets is not None:
            return True
        if self.column.scaling == "standard":
            return self._squares < _MOST
        return self.column.scaling != "minmax" or math.isfinite(self._high - self._low)

    @property
    def n_new(self) -> int:
        """How many ids `settle` is going to give."""
        return 0 if self.id >= 0 else self.n_buckets + (self.column.missing == "indicator")

    def settle(self, next_id: int) -> int:
        """Give ids from `next_id` on, once; returns the next id that is free."""
        if self.id < 0:
            self.id = next_id
            next_id += self.n_buckets
            if self.column.missing == "indicator":
                self.indicator_id = next_id
                next_id += 1
        return next_id

    @property
    def n_buckets(self) -> int:
        """How many features the numbers have: 1 unless they are put into buckets."""
        if self.column.buckets is None:
            return 1
        return 1 if self.edges is None else len(self.edges) + 1

    def encode(self, table: Table, codes: Any = None) -> Encoded:
        """Ids and scaled values of the rows."""
        floats = self._floats(table)
        missing = np.isnan(floats)
        any_missing = bool(missing.any())
        if any_missing and self.column.missing == "mean":
            floats = np.where(missing, self._mean, floats)
        if self.column.buckets is not None:
            ids = (self.id + self._bucket_of(floats)).astype(np.int32)
            scaled = np.empty(0, np.float32)
        else:
            ids = np.full(len(floats), self.id, np.int32)
            scaled = self._scaled(floats)
        if any_missing and self.column.missing == "indicator":
            ids[missing] = self.indicator_id
            if len(scaled):
                scaled[missing] = 1.0
        return Encoded(ids, scaled)

    def _floats(self, table: Table) -> NDArray[np.float64]:
        floats = to_floats(table.column(self.column.name), self.column.name)
        if self.column.missing == "error":
            missing = np.isnan(floats)
            if missing.any():
                raise validation.missing_number_error(self.column.name, int(np.argmax(missing)))
        return floats

    def _bucket_of(self, floats: Any) -> Any:
        edges = np.empty(0) if self.edges is None else self.edges
        return np.searchsorted(edges, floats, side="left")

    def units(self) -> tuple[float, float]:
        """Centre and unit: values become (x - centre) / unit, after log(1 + |x|) where that is asked for."""
        if self.column.scaling == "standard" and self._count:
            deviation = math.sqrt(self._squares / self._count)
            # What rounding leaves of equal values is no unit.
            return self._mean, deviation if deviation > 1e-14 * abs(self._mean) and deviation > 1e-300 else 1.0
        if self.column.scaling == "minmax" and self._count:
            return self._low, self._high - self._low or 1.0
        return 0.0, 1.0

    def _scaled(self, floats: NDArray[np.float64]) -> NDArray[np.float32]:
        center, unit = self.units()
        logs = self.column.scaling == "log1p"
        with np.errstate(over="ignore"):
            scaled = np.sign(floats) * np.log1p(np.abs(floats)) if logs else (floats - center) / unit
        if len(scaled) and not np.nanmax(np.abs(scaled), initial=0.0) <= _LARGEST:
            row = int(np.nanargmax(np.abs(scaled)))
            raise validation.large_number_error(self.column.name, row, float(floats[row]))
        return scaled.astype(np.float32)

    def entry_of(self, value: Any) -> tuple[int, float]:
        """Id and value of one number; `value` as it stands in a row."""
        number = number_of(value, self.column.name)
        if number != number:
            if self.column.missing == "error":
                raise validation.missing_number_error(self.column.name, 0)
            if self.column.missing == "indicator":
                return self.indicator_id, 1.0
            number = self._mean
        if self.column.buckets is not None:
            return self.id + int(self._bucket_of(number)), 1.0
        if self.column.scaling == "log1p":
            # By the same loop as for columns: Python's own function may round otherwise.
            scaled = float(np.log1p(abs(number)))
            return self.id, scaled if number >= 0.0 else -scaled
        center, unit = self.units()
        scaled = (number - center) / unit
        if not abs(scaled) <= _LARGEST:
            raise validation.large_number_error(self.column.name, 0, number)
        return self.id, scaled

    def decode(
        self, rows: NDArray[np.int64], ids: NDArray[np.int64], values: NDArray[Any], n_rows: int
    ) -> NDArray[np.float64]:
        """The numbers of `n_rows` rows, NaN where one was missing; of a bucket the middle of its edges."""
        center, unit = self.units()
        scaled = np.zeros(n_rows)
        scaled[rows] = values
        if self.column.buckets is not None:
            numbers = np.full(n_rows, self._mean)
            numbers[rows] = self._bucket_middles()[np.minimum(ids - self.id, self.n_buckets - 1)]
        elif self.column.scaling == "log1p":
            numbers = np.sign(scaled) * np.expm1(np.abs(scaled))
        else:
            numbers = scaled * unit + center
        numbers[rows[ids == self.indicator_id]] = np.nan
        return numbers

    def _bucket_middles(self) -> NDArray[np.float64]:
        edges = np.empty(0) if self.edges is None else self.edges
        if not self._count:
            return np.zeros(1)
        bounds = np.concatenate([[self._low], edges, [self._high]])
        return 0.5 * bounds[:-1] + 0.5 * bounds[1:]

    def named_ids(self) -> Iterator[tuple[int, Any, str]]:
        """Each id with what it stands for and its name."""
        if self.column.buckets is None:
            yield self.id, self.column.name, ""
        else:
            edges = [-math.inf, *([] if self.edges is None else self.edges.tolist()), math.inf]
            for number in range(self.n_buckets):
                interval = f"({edges[number]}, {edges[number + 1]}]"
                yield self.id + number, interval, interval
        if self.indicator_id >= 0:
            yield self.indicator_id, None, MISSING_NAME

    def owned_ids(self) -> NDArray[np.int64]:
        """All ids of the column."""
        ids = np.arange(self.id, self.id + self.n_buckets)
        return np.append(ids, self.indicator_id) if self.indicator_id >= 0 else ids

    @property
    def is_strict(self) -> bool:
        """Whether rows may hold values that it refuses to encode, though it has learned from them."""
        return self.column.scaling == "none" and self.column.buckets is None

    def mark(self) -> Any:
        """The state now, for `reset`."""
        return dict(self.__dict__)

    def reset(self, mark: Any) -> None:
        """Forget what has been learned since."""
        self.__dict__.update(mark)

    @property
    def n_owned(self) -> int:
        """How many ids this column has."""
        return self.n_buckets + (self.indicator_id >= 0)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What a model file holds."""
        plain = {
            "id": self.id,
            "indicator_id": self.indicator_id,
            "count": self._count,
            "mean": self._mean,
            "squares": self._squares,
            "range": [self._low, self._high] if self._count else None,
        }
        return plain, {} if self.edges is None else {"edges": self.edges}

    def set_state(self, plain: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Take what `state` gave.

        Raises
        ------
        ValueError, KeyError, TypeError
            It contradicts itself.
        """
        self.id, self.indicator_id = int(plain["id"]), int(plain["indicator_id"])
        self._count, self._mean, self._squares = int(plain["count"]), float(plain["mean"]), float(plain["squares"])
        if (self.indicator_id >= 0) != (self.column.missing == "indicator"):
            raise ValueError(f"found indicator_id={self.indicator_id}")
        if self._count < 0 or not math.isfinite(self._mean) or not 0.0 <= self._squares <= _MOST:
            raise ValueError(f"found moments {self._count}, {self._mean} and {self._squares}")
        if (self._count > 0) != (plain["range"] is not None):
            raise ValueError(f"found the range {plain['range']} of {self._count} numbers")
        if self._count:
            self._low, self._high = map(float, plain["range"])
            if not -_MOST <= self._low <= self._high <= _MOST:
                raise ValueError(f"found a range from {self._low} to {self._high}")
        if "edges" in arrays:
            self.edges = _checked_edges(arrays["edges"], self.column)


def _quantiles(floats: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """What parts numbers into `n` groups of equal size; the numbers themselves where they are fewer."""
    if n > len(floats):
        return floats
    return np.quantile(floats, np.arange(1, n) / n, method="inverted_cdf")


def _checked_edges(edges: NDArray[Any], column: DenseFeat) -> NDArray[np.float64]:
    """Edges out of a file."""
    if edges.ndim != 1 or edges.dtype != np.float64 or not np.isfinite(edges).all():
        raise ValueError(f"found edges of shape {edges.shape} and {edges.dtype}")
    if len(edges) >= (column.buckets or 1) or not (np.diff(edges) > 0).all():
        raise ValueError(f"found {len(edges)} edges of {column.buckets} buckets")
    return np.array(edges)


def number_of(value: Any, column: str) -> float:
    """One number as it stands in a row, NaN where it is missing; the rules are those of `to_floats`."""
    if type(value) is float and -math.inf < value < math.inf:
        return value
    if type(value) is int and -(2**53) <= value <= 2**53:
        return float(value)
    if is_missing(value):
        return math.nan
    cell = np.empty(1, object)
    cell[0] = value
    return float(to_floats(Objects(cell), column)[0])
