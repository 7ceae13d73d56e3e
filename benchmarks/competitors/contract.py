"""What a competitor gets and gives. A *task* says what to train: the same for all but for batch and rate."""

from __future__ import annotations

import importlib.util
from typing import Any, NamedTuple, Protocol

import numpy as np


class Rows(NamedTuple):
    """One-hot rows: the column that each field of each row has, ascending within the row."""

    ids: np.ndarray  # (n_rows, n_fields) int32, columns counted over all fields
    y: np.ndarray  # (n_rows,) int64, 0 or 1
    sizes: list[int]  # (n_fields,) columns of each field

    @property
    def n_features(self) -> int:
        return sum(self.sizes)

    def part(self, start: int, stop: int) -> Rows:
        return Rows(self.ids[start:stop], self.y[start:stop], self.sizes)


class Task(NamedTuple):
    """What to train, and how long."""

    n_factors: int
    hidden_units: tuple[int, ...]
    n_epochs: int
    n_threads: int
    seed: int
    batch_size: int | None = None  # None: what the competitor thinks best
    learning_rate: float | None = None  # None: the best that was found for it, see there
    options: dict[str, Any] = {}  # noqa: RUF012 (further arguments of ours; nobody changes it)


class Outcome(NamedTuple):
    """What came of it."""

    seconds: list[float]  # of each epoch
    n_rows: int  # in an epoch
    probabilities: np.ndarray  # (test rows,) of y = 1
    note: str = ""


class Competitor(Protocol):
    """A library, or a way to use it."""

    name: str
    batch_sizes: tuple[int, ...]  # to choose from by speed; none: it has its own

    def why_not(self) -> str | None:
        """Why it cannot run here, or None."""

    def prepare(self, train: Rows, test: Rows) -> Any:
        """The rows as it takes them. Neither time nor memory of this is counted."""

    def fit_and_score(self, rows: Any, task: Task) -> Outcome:
        """Train on what `prepare` gave, then score the test rows."""


def missing(*modules: str) -> str | None:
    """The word about those of these modules that are not installed, if any."""
    absent = [module for module in modules if importlib.util.find_spec(module) is None]
    return f"{' and '.join(absent)} not installed" if absent else None
