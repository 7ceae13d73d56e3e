"""Importance: what each field adds to the raw score, on average over rows and without its sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.plots import canvas
from fastfm_deep.plots.display import Display
from fastfm_deep.plots.labels import labels_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


class ImportanceDisplay(Display):
    """Bars of fields, the most important first; made by `from_explanation`, `from_estimator` or `plot_importance`.

    Parameters
    ----------
    names : sequence of str (n_fields,)
    linear : float64 array (n_fields,)
        Mean absolute contributions of the linear terms.
    pairs : float64 array (n_fields,)
        Those of pairs: half to each of both fields, a pair within a field to that one.
    deep : float
        That of the network, which all fields share; 0 where there is none.
    max_fields : int
        How many are drawn.
    """

    def __init__(
        self, names: Sequence[str], linear: Array, pairs: Array, deep: float = 0.0, max_fields: int = 30
    ) -> None:
        validation.check_integer("max_fields", max_fields, minimum=1)
        order = np.argsort(-(linear + pairs), kind="stable")
        self.names = [str(names[field]) for field in order]
        self.linear = linear[order]
        self.pairs = pairs[order]
        self.deep = deep
        self.n_shown = min(max_fields, len(self.names))

    @classmethod
    def from_explanation(cls, explanation: Any, *, max_fields: int = 30, ax: Any = None) -> ImportanceDisplay:
        """Draw what `explain` has found; see `plot_importance`."""
        return cls.of_explanation(explanation, max_fields).plot(ax)

    @classmethod
    def from_estimator(cls, model: Any, X: Any, *, max_fields: int = 30, ax: Any = None) -> ImportanceDisplay:
        """Explain rows, and draw that; see `plot_importance`."""
        if not hasattr(model, "explain"):
            raise validation.plotted_model_error(model, "a fitted model of fastfm_deep")
        return cls.from_explanation(model.explain(X), max_fields=max_fields, ax=ax)

    @classmethod
    def of_explanation(cls, explanation: Any, max_fields: int = 30) -> ImportanceDisplay:
        """The bars, not drawn yet."""
        check_explanation(explanation)
        pairs = np.asarray(explanation.pairs, np.float64)
        # The diagonal is in both sums: half a pair within a field each.
        of_field = 0.5 * (pairs.sum(axis=0) + pairs.sum(axis=1))
        linear = np.asarray(explanation.linear, np.float64)
        deep = 0.0 if explanation.deep is None else float(explanation.deep)
        return cls(explanation.names, linear, of_field, deep, max_fields)

    @property
    def left_out(self) -> int:
        """Fields that are not drawn."""
        return len(self.names) - self.n_shown

    def size(self) -> tuple[float, float]:
        """As high as there are bars."""
        return 4.6, 1.1 + 0.24 * self.n_shown + 0.2 * (self.deep > 0)

    def draw(self, ax: Any) -> None:
        """Bars of linear terms and, behind their ends, of pairs."""
        n = self.n_shown
        places, linear, pairs = np.arange(n), self.linear[:n], self.pairs[:n]
        ax.barh(places, linear, height=0.72, color=canvas.COLOURS[1], label="linear")
        ax.barh(places, pairs, left=linear, height=0.72, color=canvas.COLOURS[0], label="pairs, half to each")
        ax.set_yticks(places, labels_of(self.names[:n]), parse_math=False)
        ax.set_ylim(n - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        # As a bar it would often be ten times as long as all others.
        network = f"\n(the network, of all together: {self.deep:.3g})" if self.deep > 0 else ""
        ax.set_xlabel(f"mean absolute part of the raw score{network}")
        canvas.grid(ax, "x")
        # Above, where no bar can be behind it.
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)


def check_explanation(explanation: Any) -> Any:
    """See that something is what `explain` gives."""
    if not all(hasattr(explanation, name) for name in ("names", "linear", "pairs", "deep")):
        raise validation.explanation_type_error(explanation)
    return explanation


def plot_importance(explanation: Any, ax: Any = None, *, max_fields: int = 30) -> ImportanceDisplay:
    """Draw how much each field adds to the raw score, by mean absolute contributions.

    Parameters
    ----------
    explanation : ModelExplanation
        What `explain(X)` of a model gives.
    ax : Axes of matplotlib, optional
        To draw on; None makes a figure.
    max_fields : int, default 30
        How many fields are drawn, the most important first.

    Returns
    -------
    ImportanceDisplay

    Raises
    ------
    InputError
        Something given cannot be used.
    """
    return ImportanceDisplay.from_explanation(explanation, max_fields=max_fields, ax=ax)
