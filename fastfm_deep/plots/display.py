"""What all displays share: axes of their own unless some are given, and a picture for notebooks.

A *display* holds the numbers of a plot, as those of scikit-learn do; `plot` draws them, as often as it is called.
"""

from __future__ import annotations

import io
from typing import Any, TypeVar

from fastfm_deep.plots import canvas

_Kind = TypeVar("_Kind", bound="Display")


class Display:
    """Base of the displays.

    Attributes
    ----------
    ax_ : Axes of matplotlib
        There once something has been drawn.
    figure_ : Figure of matplotlib
        Likewise; `figure_.savefig("plot.png")` keeps it.
    """

    ax_: Any
    figure_: Any

    def plot(self: _Kind, ax: Any = None) -> _Kind:
        """Draw.

        Parameters
        ----------
        ax : Axes of matplotlib, optional
            To draw on; None makes a figure that pyplot does not know, see `figure_`.

        Returns
        -------
        self

        Raises
        ------
        InputError
            matplotlib is not installed, or `ax` is something else.
        """
        if ax is None:
            ax = canvas.new_figure(*self.size()).add_subplot()
            self.draw(ax)
            canvas.dress(ax)
        else:
            canvas.matplotlib()
            self.draw(canvas.check_axes(ax))
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def size(self) -> tuple[float, float]:
        """Width and height of a figure of its own, in inches."""
        return 4.6, 3.4

    def draw(self, ax: Any) -> None:
        """Put everything on axes."""
        raise NotImplementedError

    def _repr_png_(self) -> bytes:
        """How notebooks show it; pyplot would show its own figures only."""
        if not hasattr(self, "figure_"):
            self.plot()
        buffer = io.BytesIO()
        self.figure_.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()
