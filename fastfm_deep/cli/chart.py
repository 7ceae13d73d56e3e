"""Learning curves drawn in characters.

A *curve* is one value an epoch; a *level* is a value that holds for all epochs, drawn as a dotted line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Signs(NamedTuple):
    """The characters of a chart."""

    marks: str
    level: str
    axis: str
    tick: str
    corner: str
    floor: str


UNICODE = Signs("●○▲△", "┄", "│", "┤", "└", "─")
ASCII = Signs("*o^v", ".", "|", "|", "+", "-")


def learning_curves(
    curves: Mapping[str, Sequence[float]],
    levels: Mapping[str, float] | None = None,
    *,
    signs: Signs = UNICODE,
    height: int = 13,
    width: int = 60,
) -> str:
    """Draw values by epoch, with a legend below.

    Parameters
    ----------
    curves : dict of name and values
        From the first epoch on; values that are no finite numbers leave gaps.
    levels : dict of name and value, optional
    signs : Signs
    height, width : int
        Characters of the field that is drawn in.

    Returns
    -------
    str
        Lines; empty if there is nothing to draw.
    """
    levels = levels or {}
    values = [value for points in (*curves.values(), levels.values()) for value in points if math.isfinite(value)]
    n_epochs = max((len(points) for points in curves.values()), default=0)
    if not values or not n_epochs:
        return ""
    low, high = min(values), max(values)
    scale = (height - 1) / ((high - low) or 1.0)
    canvas = [[" "] * width for _ in range(height)]
    for value in levels.values():
        canvas[round((high - value) * scale)] = [signs.level, " "] * (width // 2) + [signs.level] * (width % 2)
    for mark, points in zip(signs.marks, curves.values(), strict=False):
        for at in range(width):
            found = _value_at(points, at * (n_epochs - 1) / max(1, width - 1))
            if found is not None:
                canvas[round((high - found) * scale)][at] = mark
    lines = []
    for number, row in enumerate(canvas):
        named = number % 3 == 0
        label = f"{high - number / scale:.4f}" if named else ""
        lines.append(f"{label:>9} {signs.tick if named else signs.axis}{''.join(row)}".rstrip())
    lines.append(f"{'':>10}{signs.corner}{signs.floor * width}")
    lines.append(f"{'':>11}{_epoch_line(n_epochs, width)}")
    marks = [*signs.marks[: len(curves)], *(signs.level for _ in levels)]
    lines += [f"{'':>11}{mark} {name}" for mark, name in zip(marks, [*curves, *levels], strict=False)]
    return "\n".join(lines) + "\n"


def _value_at(points: Sequence[float], epoch: float) -> float | None:
    """Value between two epochs; None where the curve has ended or has a gap."""
    left = math.floor(epoch)
    right = math.ceil(epoch)
    if right > len(points) - 1:
        return None
    value = points[left] + (epoch - left) * (points[right] - points[left])
    return value if math.isfinite(value) else None


def _epoch_line(n_epochs: int, width: int) -> str:
    """Numbers of the epochs under their places, as many as fit."""
    every = max(1, math.ceil(4 * n_epochs / width))
    line = [" "] * (width + 8)
    for epoch in range(1, n_epochs + 1, every):
        label = str(epoch)
        at = round((epoch - 1) * (width - 1) / max(1, n_epochs - 1))
        line[at : at + len(label)] = label
    return "".join(line).rstrip() + "  epoch"
