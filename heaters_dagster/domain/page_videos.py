"""Videos that an Atom or RSS 1.0 feed, or a page, names by plain links; yt-dlp knows RSS 2.0 feeds and players, but not these.

What is read here was written by a stranger: `resources/sources/web_list.py` checks each address and text before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree

from heaters_dagster.domain.ingest import VIDEO_SUFFIXES

_ATOM = "{http://www.w3.org/2005/Atom}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_RSS_1 = "{http://purl.org/rss/1.0/}"
_DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
_ENCLOSURE = "{http://purl.oclc.org/net/rss_2.0/enc#}"
#: Entities can blow up a small text; no feed needs definitions of them.
_DEFINITIONS = re.compile(r"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
#: Behind a link these are rather pictures, programs and pieces of streams.
_LINKED = VIDEO_SUFFIXES - {".gif", ".swf", ".ts"}


@dataclass(frozen=True, slots=True)
class NamedVideo:
    """address: whole. own_id: what the feed calls it, the same at the next look; None on a page."""

    address: str
    title: str | None = None
    published: datetime | None = None
    own_id: str | None = None


@dataclass(frozen=True, slots=True)
class NamedVideos:
    """videos: in their order, none twice. is_feed: it is a list, also while it has none."""

    title: str | None
    videos: tuple[NamedVideo, ...]
    is_feed: bool


def videos_named(text: str, page: str) -> NamedVideos:
    """What an Atom feed, an RSS 1.0 feed or a page in HTML names. page: its address, for relative ones."""
    text = text.lstrip("\ufeff")
    of_feed = _of_feed(text, page)
    title, found = of_feed or _of_page(text, page)
    first: dict[str, NamedVideo] = {}
    for one in found:
        first.setdefault(one.address, one)
    return NamedVideos(title, tuple(first.values()), is_feed=of_feed is not None)


def _of_feed(text: str, page: str) -> tuple[str | None, list[NamedVideo]] | None:
    plain = text.replace("'", '"')
    if _DEFINITIONS.search(text) or not any(f'"{kind[1:-1]}"' in plain for kind in (_ATOM, _RSS_1)):
        return None
    try:
        feed = ElementTree.fromstring(_DECLARATION.sub("", text, count=1))  # it is decoded already, whatever the declaration says
    except (ElementTree.ParseError, ValueError):
        return None
    if feed.tag == f"{_ATOM}feed":
        return feed.findtext(f"{_ATOM}title"), list(_entries(feed, page))
    if feed.tag == f"{_RDF}RDF":
        return feed.findtext(f"{_RSS_1}channel/{_RSS_1}title"), list(_items(feed, page))
    return None


def _entries(feed: ElementTree.Element, page: str) -> Iterator[NamedVideo]:
    for entry in feed.iterfind(f"{_ATOM}entry"):
        links = [(link.get("rel", "alternate"), link.get("type", ""), link.get("href", "")) for link in entry.iterfind(f"{_ATOM}link")]
        files = [href for rel, kind, href in links if rel == "enclosure" and (kind.startswith("video/") or _is_video(href))]
        address = next((href for href in (*files, *(href for rel, _, href in links if rel == "alternate")) if href.strip()), None)
        if address is None:
            continue
        day = entry.findtext(f"{_ATOM}published") or entry.findtext(f"{_ATOM}updated")
        yield NamedVideo(_joined(page, address), entry.findtext(f"{_ATOM}title"), _moment(day), entry.findtext(f"{_ATOM}id"))


def _items(feed: ElementTree.Element, page: str) -> Iterator[NamedVideo]:
    """Of RSS 1.0. A file is named by an enclosure of mod_enclosure, else the link leads to its page."""
    for item in feed.iterfind(f"{_RSS_1}item"):
        files = [one.get(f"{_RDF}resource", "") for one in item.iterfind(f"{_ENCLOSURE}enclosure")]
        address = next((one for one in (*files, item.findtext(f"{_RSS_1}link") or "") if one.strip()), None)
        if address is not None:
            day = item.findtext(f"{_DUBLIN_CORE}date")
            yield NamedVideo(_joined(page, address), item.findtext(f"{_RSS_1}title"), _moment(day), item.get(f"{_RDF}about"))


def _moment(text: str | None) -> datetime | None:
    with suppress(ValueError, OverflowError):
        found = datetime.fromisoformat((text or "").strip())
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def _of_page(text: str, page: str) -> tuple[str | None, list[NamedVideo]]:
    reader = _Links(page)
    with suppress(AssertionError):  # the parser gives up on some broken pages; what it has found until there counts
        reader.feed(text)
        reader.close()
    return reader.title or None, reader.found


class _Links(HTMLParser):
    """Links of a page to video files."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[NamedVideo] = []
        self.title = ""
        self._page = page
        self._words: list[str] = []
        self._address: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href")
        if tag == "base" and address:
            self._page = _joined(self._page, address)
        if tag in {"a", "title"}:
            self._words = []
        if tag == "a":
            self._address = _joined(self._page, address) if address and _is_video(address) else None

    def handle_data(self, data: str) -> None:
        self._words.append(data)

    def handle_endtag(self, tag: str) -> None:
        words = " ".join("".join(self._words).split())
        if tag == "title":
            self.title = words
        if tag == "a" and self._address is not None:
            self.found.append(NamedVideo(self._address, words or None))
            self._address = None


def _is_video(address: str) -> bool:
    with suppress(ValueError):
        return PurePosixPath(unquote(urlsplit(address.strip()).path)).suffix.lower() in _LINKED
    return False


def _joined(page: str, address: str) -> str:
    with suppress(ValueError):
        return urljoin(page, address.strip())
    return address.strip()
