"""What the commands show: a line an epoch, final metrics and short figures, as text.

A *table* here is a list of lines in columns of fixed width; nothing in this module prints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastfm_deep.training.callbacks import Callback


def short_count(number: float) -> str:
    """Number in at most five characters: 950, 84.5k, 1.92M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            return f"{number / size:.3g}{letter}" if number < 999.5 * size else f"{number / size:.0f}{letter}"
    return f"{number:.0f}"


class EpochTable(Callback):
    """One line an epoch while a fit goes on, with a mark wherever the metric that decides is best so far.

    Parameters
    ----------
    write : function of one string
        Where the text goes, newlines included.
    metrics : sequence of str
        Metrics of the first evaluation set; the last of them decides. Empty: no evaluation set.
    greater_is_better : bool
        Of the metric that decides.
    live : bool
        Show the epoch under way on a line that is overwritten; for terminals.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        metrics: Sequence[str] = (),
        *,
        greater_is_better: bool = False,
        live: bool = False,
    ) -> None:
        self._write = write
        self._metrics = list(metrics)
        self._sign = -1.0 if greater_is_better else 1.0
        self._live = live
        self._least = math.inf
        self._done = self._n_rows = 0
        self._pending = False

    def on_fit_begin(self, n_rows: int, n_epochs: int) -> None:
        """Write the head of the table."""
        self._n_rows = n_rows
        heads = "".join(f"{'valid ' + name:>16}" for name in self._metrics)
        self._write(f"{'epoch':>6}{'seconds':>10}{'rows/s':>9}{'train loss':>13}{heads}\n")

    def on_rows(self, rows_done: int, train_loss: float) -> None:
        """Overwrite the line of the epoch under way."""
        if self._live and self._n_rows:
            share = min(100 * rows_done // self._n_rows, 100)
            self._write(f"\r{self._done + 1:>6}{share:>8} %{'':>9}{train_loss:>13.5f}")
            self._pending = True

    def on_epoch_end(self, record: Mapping[str, Any]) -> None:
        """Write the line of an epoch."""
        self._done += 1
        values = [float(record[f"eval_0_{name}"]) for name in self._metrics]
        best = bool(values) and self._sign * values[-1] < self._least
        if best:
            self._least = self._sign * values[-1]
        figures = "".join(f"{value:>16.5f}" for value in values)
        start, end = "\r" if self._pending else "", "  *\n" if best else "\n"
        self._write(
            f"{start}{record['epoch']:>6}{record['seconds']:>10.2f}"
            f"{short_count(record['rows_per_second']):>9}{record['train_loss']:>13.5f}{figures}{end}"
        )
        self._pending = False

    def on_fit_end(self) -> None:
        """Leave the line of an epoch that was not finished."""
        if self._pending:
            self._write("\n")
        self._pending = False


def metrics_table(results: Mapping[str, tuple[int, Mapping[str, float]]], *, first: str = "") -> str:
    """Lines of `name, rows, metrics`, one for each item of `results`."""
    width = max(12, *(len(name) + 4 for name in results))
    names = list(next(iter(results.values()))[1])
    lines = [f"  {first:<{width}}{'rows':>10}" + "".join(f"{name:>12}" for name in names)]
    for name, (n_rows, metrics) in results.items():
        figures = "".join(f"{value:>12.5f}" for value in metrics.values())
        lines.append(f"  {name:<{width}}{n_rows:>10,}{figures}")
    return "\n".join(lines) + "\n"
