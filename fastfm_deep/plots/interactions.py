"""Interactions: how much each pair of fields adds to the raw score, as a map of heat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.plots import canvas
from fastfm_deep.plots.display import Display
from fastfm_deep.plots.importance import check_explanation
from fastfm_deep.plots.labels import labels_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_FEW = 12
"""Fields up to which cells are large enough for their figures."""

_COLOURS = "viridis"  # neither white nor black at its ends, which would vanish on some page
_CELL = 0.168  # inches, of many fields: as high as a line of their names


class InteractionDisplay(Display):
    """A map of fields by fields; made by `from_explanation`, `from_estimator` or `plot_interactions`.

    Parameters
    ----------
    names : sequence of str (n_fields,)
    pairs : float64 array (n_fields, n_fields)
        Mean absolute contributions of pairs: the diagonal and what is above it.
    max_fields : int
        How many fields are drawn, those with the strongest interactions.

    Attributes
    ----------
    names : list of str (n_shown,)
        The fields drawn, the strongest first.
    strength : float64 array (n_shown, n_shown)
        Symmetric.
    left_out : int
        Fields that are not drawn.
    """

    def __init__(self, names: Sequence[str], pairs: Array, max_fields: int = 60) -> None:
        validation.check_integer("max_fields", max_fields, minimum=2)
        if len(names) < 2:
            raise validation.too_few_fields_error(len(names))
        strength = np.triu(pairs) + np.triu(pairs, 1).T
        order = np.argsort(-strength.sum(axis=1), kind="stable")[:max_fields]
        self.names = [str(names[field]) for field in order]
        self.strength = strength[np.ix_(order, order)]
        self.left_out = len(names) - len(order)

    @classmethod
    def from_explanation(cls, explanation: Any, *, max_fields: int = 60, ax: Any = None) -> InteractionDisplay:
        """Draw what `explain` has found; see `plot_interactions`."""
        return cls.of_explanation(explanation, max_fields).plot(ax)

    @classmethod
    def from_estimator(cls, model: Any, X: Any, *, max_fields: int = 60, ax: Any = None) -> InteractionDisplay:
        """Explain rows, and draw that; see `plot_interactions`."""
        if X is None:
            raise validation.unexplained_rows_error()
        return cls.from_explanation(model.explain(X), max_fields=max_fields, ax=ax)

    @classmethod
    def of_explanation(cls, explanation: Any, max_fields: int = 60) -> InteractionDisplay:
        """The map, not drawn yet."""
        check_explanation(explanation)
        pairs = np.asarray(explanation.pairs, np.float64)
        return cls(explanation.names, pairs, max_fields)

    @property
    def is_large(self) -> bool:
        """Whether it takes more room than a phone is wide."""
        return len(self.names) > _FEW

    def strongest(self, n: int) -> list[tuple[str, str, float]]:
        """The pairs of fields that add most, the first one first; a field with itself may be one."""
        rows, columns = np.tril_indices(len(self.names))
        strength = self.strength[rows, columns]
        order = np.argsort(-strength, kind="stable")[:n]
        return [
            (self.names[columns[place]], self.names[rows[place]], float(strength[place]))
            for place in order
            if strength[place] > 0
        ]

    def size(self) -> tuple[float, float]:
        """Larger for more fields, so that their names stay legible."""
        if not self.is_large:
            return 4.6, 4.4
        side = _CELL * len(self.names) + 1.3
        return side, side

    def draw(self, ax: Any) -> None:
        """Cells below the diagonal, the scale above it."""
        rows, columns = self._ends()
        n_rows, n_columns = len(self.names) - rows, columns
        cells = self.strength[rows:, :columns]
        # Without the diagonal the first row is that of the second field.
        shown = np.ma.array(cells, mask=~np.tri(n_rows, n_columns, dtype=bool))
        matplotlib = canvas.matplotlib()
        from matplotlib.colors import PowerNorm

        # A few pairs are often far stronger than all others: by the root those can still be told apart.
        norm = PowerNorm(0.5, vmin=0.0, vmax=max(float(self.strength.max()), 1e-12))
        colours = matplotlib.colormaps[_COLOURS]
        edges = np.arange(n_rows + 1) - 0.5
        mesh = ax.pcolormesh(edges, edges, shown, cmap=colours, norm=norm, edgecolors="face", linewidth=0.2)
        names = labels_of(self.names, 16 if self.is_large else 14)
        ax.set_xticks(np.arange(n_columns), names[:columns], rotation=90, parse_math=False)
        ax.set_yticks(np.arange(n_rows), names[rows:], parse_math=False)
        ax.set_xlim(-0.5, n_columns - 0.5)
        ax.set_ylim(n_rows - 0.5, -0.5)
        ax.set_aspect("equal")
        ax.tick_params(length=0, pad=2)
        for spine in ax.spines.values():
            spine.set_visible(False)
        if not self.is_large:
            _write_figures(ax, shown, lambda value: colours(norm(value)))
        self._draw_scale(ax, mesh)

    def _ends(self) -> tuple[int, int]:
        """The first row and the end of the columns that are drawn: the diagonal only if there is something."""
        has_diagonal = bool(np.diag(self.strength).any())
        return (0, len(self.names)) if has_diagonal else (1, len(self.names) - 1)

    def _draw_scale(self, ax: Any, mesh: Any) -> None:
        """In the corner that the triangle leaves free."""
        place = ax.inset_axes((0.58, 0.9, 0.4, 0.03 if not self.is_large else 0.02))
        bar = ax.figure.colorbar(mesh, cax=place, orientation="horizontal")
        bar.outline.set_visible(False)
        bar.set_ticks([0.0, 0.25 * mesh.norm.vmax, mesh.norm.vmax])
        bar.ax.set_xticklabels([f"{value:.2g}" for value in (0.0, 0.25 * mesh.norm.vmax, mesh.norm.vmax)])
        bar.ax.minorticks_off()
        bar.ax.tick_params(labelsize=8, colors=canvas.INK, width=0.6)
        bar.ax.set_title("mean absolute part\nof the raw score", fontsize=8, color=canvas.INK)


def _write_figures(ax: Any, cells: Any, colour_of: Callable[[float], Any]) -> None:
    """The strength in each cell that is more than next to nothing."""
    least = 0.02 * float(cells.max())
    for (row, column), value in np.ndenumerate(cells.filled(0.0)):
        if value > least:
            is_dark = float(np.dot([0.3, 0.59, 0.11], colour_of(value)[:3])) < 0.5
            colour = "#ffffff" if is_dark else "#101010"
            text = f"{value:.2g}".removeprefix("0")
            ax.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)


def plot_interactions(
    explanation_or_model: Any, X: Any = None, ax: Any = None, *, max_fields: int = 60
) -> InteractionDisplay:
    """Draw how strongly fields interact: what each pair of them adds to the raw score.

    What the network of a DeepFM makes of pairs cannot be told apart by fields, and is not in it.

    Parameters
    ----------
    explanation_or_model : ModelExplanation, or fitted estimator
        What `explain(X)` of a model gives, or the model.
    X : matrix (n_rows, n_features), or a table
        Rows for a model to explain.
    ax : Axes of matplotlib, optional
        To draw on; None makes a figure, the larger the more fields there are.
    max_fields : int, default 60
        How many fields are drawn, those with the strongest interactions.

    Returns
    -------
    InteractionDisplay

    Raises
    ------
    InputError
        There are no two fields, or something given cannot be used.

    Examples
    --------
    >>> from fastfm_deep import plot_interactions
    >>> display = plot_interactions(model, X)  # doctest: +SKIP
    >>> display.strongest(3)  # doctest: +SKIP
    """
    if hasattr(explanation_or_model, "explain"):
        return InteractionDisplay.from_estimator(explanation_or_model, X, max_fields=max_fields, ax=ax)
    return InteractionDisplay.from_explanation(explanation_or_model, max_fields=max_fields, ax=ax)
