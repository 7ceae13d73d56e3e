"""Callbacks: what is told about a fit while it goes on, and the progress bar as one of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastfm_deep import validation


class Callback:
    """Base of callbacks; all methods run in the thread that called fit and do nothing here.

    A plain function may be given instead: it is taken as `on_epoch_end`.
    """

    def on_fit_begin(self, n_rows: int, n_epochs: int) -> None:
        """Training starts; `n_rows` per epoch, for at most `n_epochs`."""

    def on_rows(self, rows_done: int, train_loss: float) -> None:
        """Some rows of the epoch are done, with this mean loss so far; a few times a second at most."""

    def on_epoch_end(self, record: Mapping[str, Any]) -> bool | None:
        """An epoch is over and `record` is the new last item of `history_`; True ends training."""

    def on_fit_end(self) -> None:
        """Training is over, in whatever way."""


class _FunctionCallback(Callback):
    def __init__(self, function: Callable[[Mapping[str, Any]], bool | None]) -> None:
        self.function = function

    def on_epoch_end(self, record: Mapping[str, Any]) -> bool | None:
        return self.function(record)


def as_callbacks(callbacks: Any) -> list[Callback]:
    """Check what was given as `callbacks`: None, a callback or a list of them."""
    if callbacks is None:
        return []
    given: Iterable[Any] = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    found = []
    for callback in given:
        if isinstance(callback, Callback):
            found.append(callback)
        elif callable(callback) and not isinstance(callback, type):
            found.append(_FunctionCallback(callback))
        else:
            raise validation.InputError(
                f"callbacks={callback!r} must be an instance of fastfm_deep.Callback, or a function of one "
                "argument that is called after each epoch."
            )
    return found


class ProgressBar(Callback):
    """A bar on stderr with rows per second, train loss and validation metrics; lines where it is no terminal.

    For the squared loss, which is ½ (y - answer)², the mean squared error stands in the place of its mean.
    """

    def __init__(self, loss: str = "logistic") -> None:
        self._loss_name, self._factor = ("train_mse", 2.0) if loss == "squared" else ("train_loss", 1.0)
        self._bar: Any = None
        self._epoch = 0
        self._n_rows = self._n_epochs = 0

    def on_fit_begin(self, n_rows: int, n_epochs: int) -> None:
        """Remember the sizes."""
        self._n_rows, self._n_epochs, self._epoch = n_rows, n_epochs, 0
        self._open()

    def _open(self) -> None:
        if sys.stderr.isatty():
            from tqdm import tqdm

            name = f"epoch {self._epoch + 1}/{self._n_epochs}"
            self._bar = tqdm(
                total=self._n_rows,
                desc=name,
                unit=" rows",
                unit_scale=True,
                file=sys.stderr,
                dynamic_ncols=True,
            )

    def on_rows(self, rows_done: int, train_loss: float) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._loss_name}={self._factor * train_loss:.5g}", refresh=False)
            self._bar.update(rows_done - self._bar.n)

    def on_epoch_end(self, record: Mapping[str, Any]) -> None:
        """Finish the bar of this epoch, or write its line."""
        self._epoch += 1
        shown = {self._loss_name: self._factor * record["train_loss"]}
        shown |= {name: value for name, value in record.items() if name.startswith("eval_")}
        figures = ", ".join(f"{name}={value:.5g}" for name, value in shown.items())
        if self._bar is not None:
            self._bar.set_postfix_str(figures, refresh=False)
            self._bar.update(self._n_rows - self._bar.n)
            self._close()
            if self._epoch < self._n_epochs:
                self._open()
            return
        rate = f"{record['rows_per_second']:,.0f} rows/s"
        sys.stderr.write(f"epoch {record['epoch']}/{self._n_epochs}: {rate}, {figures}\n")
        sys.stderr.flush()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def on_fit_end(self) -> None:
        """Leave the terminal in order: a bar that has not begun is wiped."""
        if self._bar is not None:
            self._bar.leave = self._bar.n > 0
            self._close()
