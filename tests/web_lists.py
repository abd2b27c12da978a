"""Lists of videos as sites give them, for the tests' web server: a page with several videos, a feed, a playlist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from tests.web_server import Answer, text


@dataclass(frozen=True)
class Item:
    """An item of a feed. address: of its file. seconds, published, guid: "" when the feed does not say."""

    address: str
    title: str = "A talk"
    seconds: str = ""
    published: str = ""
    guid: str = ""


def page(*files: str, title: str = "A page") -> Answer:
    """A page with a player for each of these files."""
    players = "".join(f'<video src="{escape(file)}"></video>' for file in files)
    return text(f"<html><head><title>{escape(title)}</title></head><body>{players}</body></html>", "text/html")


def feed(items: Sequence[Item], *, title: str = "Talks") -> Answer:
    """An RSS feed with enclosures."""
    rows = "".join(
        f"<item><title>{escape(one.title)}</title><enclosure url={_quoted(one.address)} type='video/mp4'/>"
        + (f"<guid>{escape(one.guid)}</guid>" if one.guid else "")
        + (f"<pubDate>{one.published}</pubDate>" if one.published else "")
        + (f"<itunes:duration>{one.seconds}</itunes:duration>" if one.seconds else "")
        + "</item>"
        for one in items
    )
    head = '<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd">'
    return text(f"{head}<channel><title>{escape(title)}</title>{rows}</channel></rss>", "application/rss+xml")


def playlist(*files: str) -> Answer:
    """An XSPF playlist."""
    tracks = "".join(f"<track><location>{escape(file)}</location><title>{escape(file)}</title></track>" for file in files)
    return text(f'<playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList>{tracks}</trackList></playlist>', "application/xspf+xml")


def _quoted(address: str) -> str:
    return f'"{escape(address)}"'
