"""A report as tests read it: its elements, its tables and its text, by a parser of HTML."""

import itertools
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """A page that was parsed.

    Attributes
    ----------
    elements : list of (str, dict)
        Each element with its attributes.
    texts : list of str
        All text, in pieces; that of the style left out.
    tables : list of list of list of str
        The cells of each table, row by row.
    faults : list of str
        Tags that do not match.
    """

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = source
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.texts: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.faults: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        self.faults += [f"{tag} is not closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> closes another element")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            return
        self.texts.append(data)
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data

    @property
    def text(self) -> str:
        """All text, with single spaces."""
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, **wanted: str) -> list[dict[str, Any]]:
        """Return the attributes of each element of a kind that has the given ones."""
        return [
            given
            for name, given in self.elements
            if name == tag and all(given.get(key) == value for key, value in wanted.items())
        ]

    def table(self, *titles: str) -> list[list[str]]:
        """Return the rows under a head that begins with the given titles."""
        for table in self.tables:
            if table and tuple(table[0][: len(titles)]) == titles:
                return table[1:]
        raise AssertionError(f"no table begins with {titles}: {[t[:1] for t in self.tables]}")


def read_page(path: Path) -> Page:
    """Return the page of a file, which must be sound and ask for nothing elsewhere."""
    page = Page(path.read_text("utf-8"))
    assert page.faults == []
    ids = [given["id"] for _, given in page.elements if "id" in given]
    assert len(ids) == len(set(ids))
    assert "://" not in page.source
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    for tag, given in page.elements:
        assert not [name for name in given if name.startswith("on")], tag
        address = given.get("src") or (given.get("href") if tag in ("image", "use") else None)
        assert address is None or address.startswith(("data:image/png;base64,", "#"))
        if address is not None and address.startswith("#"):
            assert address[1:] in ids
    levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    return page
