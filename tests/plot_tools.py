"""Pages taken apart, and models whose plots the tests look at."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import numpy as np

# Elements that HTML does not close.
_VOID = {"meta", "link", "br", "img"}
_REFERENCES = {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}


class Page(HTMLParser):
    """What a page holds: texts by the id of the element around them, figures, and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.figures: dict[str, dict[str, str]] = {}
        self.references: list[str] = []
        self.tags: list[str] = []
        self.texts: dict[str, str] = {}
        self.metas: dict[str, str] = {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self._see(tag, found)
        if tag not in _VOID:
            self._open.append((tag, found.get("id")))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._see(tag, {name: value or "" for name, value in attributes})

    def _see(self, tag: str, found: dict[str, str]) -> None:
        self.tags.append(tag)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "figure":
            self.figures[found["id"]] = {"class": found.get("class", ""), "alt": "", "caption": ""}
        if tag == "svg":
            list(self.figures.values())[-1]["alt"] = found["aria-label"]
            assert found["role"] == "img"
        if tag == "meta" and "name" in found:
            self.metas[found["name"]] = found["content"]
        self.references += [found[name] for name in _REFERENCES & found.keys()]
        for value in found.values():
            self.references += re.findall(r"url\(([^)]*)\)", value)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if any(tag == "style" for tag, _ in self._open):
            self.references += re.findall(r"url\(([^)]*)\)|@import", data)
            return
        for tag, key in self._open:
            if key is not None:
                self.texts[key] = self.texts.get(key, "") + data
            if tag == "figcaption":
                list(self.figures.values())[-1]["caption"] += data


def read_page(path: Any) -> Page:
    """A page that keeps what every page promises."""
    content = path.read_bytes()
    assert len(content) < 2_000_000
    text = content.decode()
    page = Page(text)
    assert "viewport" in page.metas
    assert page.metas["color-scheme"] == "light dark"
    assert not [found for found in page.references if not found.startswith(("#", "data:,", "data:image/png"))]
    assert not {"script", "iframe", "img", "object", "embed", "a"} & set(page.tags)
    assert len(page.ids) == len(set(page.ids))
    local = {reference[1:] for reference in page.references if reference.startswith("#")}
    assert local <= set(page.ids)
    own = re.sub(r'"data:image/png;base64,[^"]*"', "", text)
    assert not re.search(r"https?:|ftp:|//", own)
    assert not re.search(r"\bnan\b|\binf\b", own, re.I)
    for figure in page.figures.values():
        assert len(figure["alt"]) > 20
        assert len(figure["caption"]) > 20
    return page


def explanation_of(n_fields: int, *, deep: float = 0.0, seed: int = 0, names: Any = None) -> Any:
    """What `explain` might give."""
    rng = np.random.default_rng(seed)
    return SimpleNamespace(
        names=[f"column {field}" for field in range(n_fields)] if names is None else list(names),
        linear=rng.random(n_fields),
        pairs=np.triu(rng.random((n_fields, n_fields)), 1),
        deep=deep,
        n_rows=100,
    )
