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
    found = videos_named(FEED, PAGE)
    assert (found.title, found.is_feed) == ("Talks & more", True)
    assert found.videos == (
        NamedVideo("https://example.org/watch?v=1", "One", datetime(2026, 2, 2, 23, tzinfo=UTC), "yt:1"),
        NamedVideo("https://example.org/talks/2.mp4", None, None, "2"),
        NamedVideo("https://example.org/page4"),
    )


def test_items_of_an_rss_1_feed_are_videos() -> None:
    text = """<?xml version="1.0"?><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:enc="http://purl.oclc.org/net/rss_2.0/enc#">
    <channel rdf:about="/"><title>Talks</title><items><rdf:Seq><rdf:li resource="urn:1"/></rdf:Seq></items></channel>
    <item rdf:about="urn:1"><title>One</title><link>/page1</link><dc:date>2026-02-03T01:00:00+02:00</dc:date>
    <enc:enclosure rdf:resource="1.mp4" enc:type="video/mp4"/></item>
    <item rdf:about="urn:2"><link>/page2</link></item><item rdf:about="urn:3"><title>No link</title></item></rdf:RDF>"""
    found = videos_named(text, PAGE)
    assert (found.title, found.is_feed) == ("Talks", True)
    assert found.videos == (
        NamedVideo("https://example.org/talks/1.mp4", "One", datetime(2026, 2, 2, 23, tzinfo=UTC), "urn:1"),
        NamedVideo("https://example.org/page2", None, None, "urn:2"),
    )


@pytest.mark.parametrize(
    "kind",
    [
        "<feed xmlns='http://www.w3.org/2005/Atom'/>",
        '<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"/>',
    ],
)
def test_a_feed_without_entries_is_a_list_all_the_same(kind: str) -> None:
    found = videos_named(kind, PAGE)
    assert (found.videos, found.is_feed) == ((), True)


def test_links_of_a_page_to_video_files_are_videos_each_once() -> None:
    text = """<html><head><title>Index of
    /films</title><base href="/films/"></head><body><a href="?sort=name">Name</a><a href="../">up</a><a href="a%20b.MP4"> A <b>film</b></a>
    <a href="sub/c.webm?x=1"></a><a href="a%20b.MP4">again</a><a href="cat.gif">cat</a><a href="http://[bad/x.mp4">bad</a><a>none</a></body>"""
    found = videos_named(text, PAGE)
    assert (found.title, found.is_feed) == ("Index of /films", False)
    assert found.videos == (
        NamedVideo("https://example.org/films/a%20b.MP4", "A film"),
        NamedVideo("https://example.org/films/sub/c.webm?x=1"),
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
    found = videos_named(text, PAGE)
    assert (found.videos, found.is_feed) == ((), False)
