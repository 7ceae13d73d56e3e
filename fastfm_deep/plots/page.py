"""The page that a report is: one HTML file without anything from elsewhere, in one column.

A *block* is a figure with its caption, a table, or a sentence that stands where a figure cannot.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from fastfm_deep.plots.svg import Picture


class Figure(NamedTuple):
    """A picture, and how to read it."""

    key: str
    picture: Picture
    caption: str
    is_wide: bool = False  # keeps its size on a narrow screen, and is moved sideways there


class Table(NamedTuple):
    """Rows of cells below heads; the heads may be empty."""

    key: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    is_folded: bool = False


class Sentence(NamedTuple):
    """What stands in place of a figure."""

    key: str
    text: str


class Section(NamedTuple):
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Figure | Table | Sentence]


# A browser asks a server for an icon unless it has one, and is told to load nothing else either.
_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
"""

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --soft: #56616d; --line: #d5dbe1; --paper: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #a3adb8; --line: #39424c; --paper: #14181d; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 0.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0.5rem; padding-top: 0.75rem; border-top: 1px solid var(--line); }
p { max-width: 44rem; margin: 0.5rem 0; }
.soft, figcaption, caption, summary { color: var(--soft); font-size: 0.92rem; }
figure { margin: 1rem 0 1.75rem; max-width: 100%; }
figcaption { max-width: 44rem; margin-top: 0.35rem; }
svg { display: block; width: 100%; height: auto; max-width: 34rem; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
.wide .plot { overflow-x: auto; }
.wide svg { width: auto; max-width: none; }
table { border-collapse: collapse; margin: 0.75rem 0; max-width: 100%; }
caption { text-align: left; padding-bottom: 0.25rem; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 1rem 0.3rem 0; overflow-wrap: anywhere;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
th[scope=col] { white-space: nowrap; }
th[scope=row] { font-weight: 400; color: var(--soft); min-width: 7.5rem; }
.figure { font-variant-numeric: tabular-nums; white-space: nowrap; }
summary { cursor: pointer; }
@media (max-width: 34rem) {
  #metrics tr { display: grid; grid-template-columns: 1fr auto; border-bottom: 1px solid var(--line); }
  #metrics th, #metrics td { border: 0; padding-bottom: 0.1rem; }
  #metrics td:last-child { grid-column: 1 / -1; padding: 0 0 0.35rem; color: var(--soft); font-size: 0.88rem; }
  #metrics th[scope=row] { color: var(--ink); }
  #metrics th[scope=col]:last-child { display: none; }
  #facts tr { display: block; border-bottom: 1px solid var(--line); }
  #facts th, #facts td { display: block; border: 0; padding: 0.3rem 0 0; white-space: normal; }
  #facts td { padding: 0 0 0.35rem; }
}
@media print { .wide svg { width: 100%; min-width: 0 !important; } }
"""


def as_html(title: str, subtitle: str, sections: Sequence[Section], foot: str) -> str:
    """The whole page."""
    parts = [_HEAD, f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"]
    parts.append(
        f'<header>\n<h1>{html.escape(title)}</h1>\n<p class="soft">{html.escape(subtitle)}</p>\n</header>\n'
    )
    for section in sections:
        parts.append(f"<section>\n<h2>{html.escape(section.title)}</h2>\n")
        parts += [_block(block) for block in section.blocks]
        parts.append("</section>\n")
    parts.append(f'<footer>\n<p class="soft">{html.escape(foot)}</p>\n</footer>\n</main>\n</body>\n</html>\n')
    return "".join(parts)


def _block(block: Figure | Table | Sentence) -> str:
    if isinstance(block, Sentence):
        return f'<p id="{block.key}">{html.escape(block.text)}</p>\n'
    if isinstance(block, Table):
        return _table(block)
    svg, caption = block.picture.svg, f"<figcaption>{html.escape(block.caption)}</figcaption>"
    if not block.is_wide:
        return f'<figure id="{block.key}">\n<div class="plot">\n{svg}\n</div>\n{caption}\n</figure>\n'
    svg = svg.replace("<svg ", f'<svg style="min-width:{block.picture.width:.0f}px" ', 1)
    # Where it can be moved, the keyboard must be able to do so.
    plot = f'<div class="plot" tabindex="0">\n{svg}\n</div>'
    return f'<figure id="{block.key}" class="wide">\n{plot}\n{caption}\n</figure>\n'


def _table(table: Table) -> str:
    lines = [f'<table id="{table.key}">']
    if table.caption and not table.is_folded:
        lines.append(f"<caption>{html.escape(table.caption)}</caption>")
    if any(table.heads):
        lines.append(
            "<tr>" + "".join(f'<th scope="col">{html.escape(head)}</th>' for head in table.heads) + "</tr>"
        )
    for first, *others in table.rows:
        cells = "".join(f"<td{_kind(cell)}>{html.escape(cell)}</td>" for cell in others)
        lines.append(f'<tr><th scope="row">{html.escape(first)}</th>{cells}</tr>')
    lines.append("</table>\n")
    text = "\n".join(lines)
    if table.is_folded:
        return f"<details>\n<summary>{html.escape(table.caption)}</summary>\n{text}</details>\n"
    return text


def _kind(cell: str) -> str:
    return ' class="figure"' if cell[:1] in "0123456789-+" and len(cell) <= 14 else ""
