"""Figures as SVG for the inside of a page: no reference leaves it, and text takes the page's colour.

A *picture* is such a figure with the words that stand for it where it cannot be seen.
"""

from __future__ import annotations

import html
import io
import re
from typing import Any, NamedTuple

from fastfm_deep.plots.canvas import INK

_PIXELS = 96 / 72  # a point
_NAMES = re.compile(r'(?<=\s)id="([^"]+)"')
_USES = re.compile(r'(?:xlink:)?href="#([^"]+)"')
_URLS = re.compile(r"url\(#([^)]+)\)")
# What SVG files need and pages do not: the head, whom and what it was made by, and a style for all elements.
_NEEDLESS = re.compile(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", re.DOTALL)


class Picture(NamedTuple):
    """SVG, and its width in pixels of a page."""

    svg: str
    width: float


def as_picture(figure: Any, alt: str, key: str) -> Picture:
    """Draw a figure.

    Parameters
    ----------
    figure : Figure of matplotlib
    alt : str
        What it shows, in words.
    key : str
        A name that no other picture of the page has; names inside begin with it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", facecolor="none", edgecolor="none", metadata={"Date": None})
    text = buffer.getvalue()
    width, height = (72 * float(side) for side in figure.get_size_inches())
    inside = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    inside = _renamed(_NEEDLESS.sub("", inside), key).replace(INK, "currentColor")
    inside = re.sub(r"\n\s*", "\n", inside).strip()
    head = (
        f'<svg role="img" aria-label="{html.escape(alt)}" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width * _PIXELS:.0f}" height="{height * _PIXELS:.0f}">'
    )
    return Picture(f"{head}\n{inside}\n</svg>", width * _PIXELS)


def _renamed(text: str, key: str) -> str:
    """With names that begin with the key; those that nothing refers to are dropped."""
    used = dict.fromkeys(_USES.findall(text) + _URLS.findall(text))
    new = {name: f"{key}-{number}" for number, name in enumerate(used)}
    text = _NAMES.sub(lambda found: f'id="{new[found[1]]}"' if found[1] in new else "", text)
    text = _USES.sub(lambda found: f'href="#{new[found[1]]}"', text)
    return _URLS.sub(lambda found: f"url(#{new[found[1]]})", text)
