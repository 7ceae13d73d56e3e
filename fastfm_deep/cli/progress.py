"""How far a command is with the rows of a file, in one line on standard error that is overwritten.

A *share* is the part of a file that has been read, from 0 to 1; of a pipe there is none.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from fastfm_deep.cli.tables import short_count

DELAY = 0.5
"""Seconds before the line appears: of what is done sooner, nothing is shown."""


class Progress:
    """Rows done, rows per second and, where the share is known, a bar; while the context lasts.

    The line stays when all went well, and is wiped when not, so that what is said then has a line of its own.

    Parameters
    ----------
    name : str
        What is going on.
    wanted : bool
        False: nothing is shown.

    Examples
    --------
    >>> with Progress("score", wanted=False) as progress:
    ...     progress.read(0.5)
    ...     progress.add(1000)
    """

    def __init__(self, name: str, wanted: bool) -> None:
        self._name = name
        self._wanted = wanted
        self._bar: Any = None
        self._began = 0.0
        self._share: float | None = None
        self._n_rows = 0

    def __enter__(self) -> Progress:
        self._began = time.perf_counter()
        if self._wanted:
            from tqdm import tqdm

            # It counts shares: rows of text and CSV are not known before they have been read.
            self._bar = tqdm(
                total=None,
                desc=self._name,
                file=sys.stderr,
                dynamic_ncols=True,
                bar_format="{desc}: 0 rows [{elapsed}]",
                miniters=0,
                delay=DELAY,
            )
        return self

    def read(self, share: float) -> None:
        """Note which share has been read; it is shown once the rows are done."""
        self._share = share

    def add(self, n_rows: int) -> None:
        """Count rows that are done."""
        self._n_rows += n_rows
        if self._bar is None:
            return
        rate = self._n_rows / max(time.perf_counter() - self._began, 1e-9)
        rows, speed = f"{short_count(self._n_rows)} rows", f"{short_count(rate)} rows/s"
        if self._share is None:
            self._bar.bar_format = f"{{desc}}: {rows} [{{elapsed}}, {speed}]"
            self._bar.update(0)
            return
        self._bar.total = 1.0
        self._bar.bar_format = f"{{l_bar}}{{bar}}| {rows} [{{elapsed}}<{{remaining}}, {speed}]"
        self._bar.update(self._share - self._bar.n)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.leave = kind is None
            self._bar.close()
            self._bar = None
