"""Figures to draw on, and their dress: colours that can be read on light and on dark pages.

A *canvas* is a figure of matplotlib that pyplot does not know: no window opens, and nothing has to be closed.
"""

from __future__ import annotations

from typing import Any

from fastfm_deep import validation

INK = "#1f2933"
"""Text and axes; a page that knows light and dark puts its own text colour in place of it."""
MUTED = "#8b95a1"
"""Lines to compare with, and grids."""
COLOURS = ("#3b82c4", "#d9730d", "#2f9e6e", "#a06bd0", "#c9485b")
"""Of the things compared, in their order; each contrasts with white and with near black, by 3 to 1 at least."""

_SMALL, _PLAIN = 9.0, 10.0  # points


def matplotlib() -> Any:
    """The library, imported when something is drawn.

    Raises
    ------
    InputError
        It is not installed.
    """
    try:
        import matplotlib.figure
    except ImportError as error:
        raise validation.missing_matplotlib_error() from error
    return matplotlib


def new_figure(width: float, height: float) -> Any:
    """A figure of a size in inches, whose parts make room for each other."""
    return matplotlib().figure.Figure(figsize=(width, height), layout="constrained")


def check_axes(ax: Any) -> Any:
    """See that something is one set of axes."""
    if not hasattr(ax, "plot") or not hasattr(ax, "figure"):
        raise validation.axes_type_error(ax)
    return ax


def dress(ax: Any) -> None:
    """Give axes of a figure of ours their colours and sizes, whatever the settings of matplotlib are."""
    ax.set_facecolor("none")
    for side, spine in ax.spines.items():
        spine.set_color(INK)
        spine.set_linewidth(0.8)
        spine.set_visible(spine.get_visible() and side in ("left", "bottom"))
    ax.tick_params(which="both", colors=INK, labelsize=_SMALL, width=0.8)
    for text in (ax.xaxis.label, ax.yaxis.label, ax.title):
        text.set_color(INK)
        text.set_fontsize(_PLAIN)
    for text in (ax.xaxis.get_offset_text(), ax.yaxis.get_offset_text()):
        text.set_color(INK)
        text.set_fontsize(_SMALL)
    legend = ax.get_legend()
    if legend is not None:
        legend.get_frame().set_visible(False)
        for text in legend.get_texts():
            text.set_color(INK)
            text.set_fontsize(_SMALL)


def grid(ax: Any, axis: str = "both") -> None:
    """Faint lines behind what is drawn."""
    ax.grid(True, axis=axis, color=MUTED, alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
