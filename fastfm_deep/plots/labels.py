"""Names of fields and classes as text that a font can show on one line.

A *label* is such a text: what is not printable or not in the font becomes a question mark, long names are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fastfm_deep.plots.canvas import matplotlib

LONGEST = 22
"""Characters of a label."""


def labels_of(names: Iterable[Any], longest: int = LONGEST) -> list[str]:
    """Labels for the axes of a plot."""
    is_known = _glyphs()
    return [_label(str(name), longest, is_known) for name in names]


def _label(name: str, longest: int, is_known: Callable[[str], bool]) -> str:
    # matplotlib warns of each character that no font has, and draws a box.
    text = "".join(sign if sign.isprintable() and is_known(sign) else "?" for sign in name)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _glyphs() -> Callable[[str], bool]:
    """Whether one of the fonts that text is drawn in has a character."""
    matplotlib()
    from matplotlib.font_manager import FontProperties, findfont, get_font

    fonts = [get_font(findfont(FontProperties(family=[family]))) for family in FontProperties().get_family()]
    return lambda sign: any(font.get_char_index(ord(sign)) for font in fonts)
