"""Videos that Atom feeds and pages name by plain links."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from heaters_dagster.domain.page_videos import NamedVideo, videos_named

PAGE = "https://example.org/talks/list"
FEED = """\ufeff<?xml version='1.0' encoding='utf-16'?>
<feed xmlns='http://www.w3.org/2005/Atom'><title>Talks &amp; more</title><link href='https://example.org/self'/>
<entry><id>yt:1</id><title>One</title><link rel='enclosure' type='image/png' href='/1.png'/><link href='/watch?v=1'/>
<published>2026-02-03T01:00:00+02:00</published></entry>
<entry><id>2</id><link rel='alternate' href='/page2'/><link rel='enclosure' type='video/mp4' href='2.mp4'/><updated>soon</updated></entry>
<entry><id>3</id><title>No link</title></entry>
<entry><link href='/page4'/><updated>0001-01-01T00:00:00+14:00</updated></entry></feed>"""


def test_entries_of_an_atom_feed_are_videos() -> None:
    title, found = videos_named(FEED, PAGE)
    assert title == "Talks & more"
    assert found == (
        NamedVideo("https://example.org/watch?v=1", "One", datetime(2026, 2, 2, 23, tzinfo=UTC), "yt:1"),
        NamedVideo("https://example.org/talks/2.mp4", None, None, "2"),
        NamedVideo("https://example.org/page4"),
    )


def test_links_of_a_page_to_video_files_are_videos_each_once() -> None:
    text = """<html><head><title>Index of
    /films</title><base href="/films/"></head><body><a href="?sort=name">Name</a><a href="../">up</a><a href="a%20b.MP4"> A <b>film</b></a>
    <a href="sub/c.webm?x=1"></a><a href="a%20b.MP4">again</a><a href="cat.gif">cat</a><a href="http://[bad/x.mp4">bad</a><a>none</a></body>"""
    assert videos_named(text, PAGE) == (
        "Index of /films",
        (
            NamedVideo("https://example.org/films/a%20b.MP4", "A film"),
            NamedVideo("https://example.org/films/sub/c.webm?x=1"),
        ),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00<",
        "<![x<a href=",
        "<feed xmlns='http://www.w3.org/2005/Atom'>",
        FEED.replace("<feed", "<!DOCTYPE feed [<!ENTITY a 'aaaa'>]><feed"),
        FEED.replace("feed", "rss"),
    ],
)
def test_what_is_neither_names_nothing(text: str) -> None:
    assert videos_named(text, PAGE)[1] == ()
