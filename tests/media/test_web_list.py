"""Lists of the web: pages with several videos, feeds, playlists and channels are read without a download; nothing in them is trusted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.utils import smuggle_url

from heaters_dagster.domain.errors import ForbiddenSourceError, InvalidMediaError, SourceNotFoundError
from heaters_dagster.domain.source_lists import Limits, Member, WebList, item_address
from heaters_dagster.domain.states import SourceVideoState
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from resources.sources.address_guard import AddressGuard
from resources.sources.list_offer import known_members, offered, wanted_members
from resources.sources.submission import submit
from resources.sources.web_list import may_be_list, read_list
from tests.fake_channel import channel, channels_known
from tests.media_files import barcode_video
from tests.web_lists import Item, feed, page, playlist
from tests.web_server import WebServer, downloader, redirect, status, text

GUARD = AddressGuard(allow_private=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small videos that differ."""
    folder = tmp_path_factory.mktemp("clips")
    for number in (1, 2):
        barcode_video(folder / f"{number}.mp4", frames=2 + number, audio=False)
    return folder


@pytest.fixture
def web(clips: Path) -> Iterator[WebServer]:
    with WebServer(clips).running() as server:
        yield server


@pytest.fixture
def videos(database: Database) -> SourceVideoStore:
    return SourceVideoStore(database)


def read(address: str) -> WebList:
    found = read_list(address, guard=GUARD, timeout_seconds=5)
    assert found is not None
    return found


def test_a_page_with_several_videos_is_a_list_and_each_is_fetched_by_the_page_and_its_name(
    web: WebServer, clips: Path, folder: Path
) -> None:
    web.answers["/page.html"] = page("/1.mp4", "2.mp4", title="Two harbours")
    address = f"{web.url}/page.html"
    found = read(address)
    assert found.title == "Two harbours"
    assert [member.source for member in found.members] == [item_address(address, name) for name in ("1.mp4", "2.mp4")]
    assert [member.title for member in found.members] == ["Two harbours (1)", "Two harbours (2)"]
    assert (found.problems, web.requests) == ((), ["/page.html"])
    # One more on top: the addresses still mean the same videos.
    web.answers["/page.html"] = page("/0.mp4", "/1.mp4", "2.mp4", title="Three harbours")
    fetched = downloader().fetch(found.members[1].source, folder)
    assert fetched.path.read_bytes() == (clips / "2.mp4").read_bytes()
    assert fetched.name == "2.mp4"
    web.answers["/page.html"] = page("/0.mp4", "/1.mp4")
    (folder / "again").mkdir()
    with pytest.raises(InvalidMediaError, match=r"page\.html no longer has the video 2\.mp4: it has 2 other videos"):
        downloader().fetch(found.members[1].source, folder / "again")


def test_a_feed_is_a_list_with_lengths_and_days(web: WebServer) -> None:
    items = [
        Item("/1.mp4", "One & only", "1:02:03", "Tue, 03 Feb 2026 10:00:00 GMT", "urn:1"),
        Item("https://example.org/2.mp4", "Two", "", "", ""),
    ]
    web.answers["/feed.xml"] = feed(items, title="Talks\x7f of the\u202e year")
    found = read(f"{web.url}/feed.xml")
    assert found.title == "Talks of the year"
    assert found.members == (
        Member(
            source=f"{web.url}/1.mp4",
            title="One & only",
            duration_seconds=3723,
            uploaded_on=date(2026, 2, 3),
            site="127.0.0.1",
            site_id="urn:1",
        ),
        Member(source="https://example.org/2.mp4", title="Two"),
    )


def test_a_playlist_file_is_a_list(web: WebServer, folder: Path, clips: Path) -> None:
    web.answers["/list.xspf"] = playlist(f"{web.url}/1.mp4", f"{web.url}/2.mp4")
    found = read(f"{web.url}/list.xspf")
    assert len(found.members) == 2
    assert downloader().fetch(found.members[1].source, folder).path.read_bytes() == (clips / "2.mp4").read_bytes()


def test_a_list_of_a_thousand_costs_one_request_and_each_member_is_taken_once(web: WebServer, videos: SourceVideoStore) -> None:
    web.answers["/feed.xml"] = feed([Item(f"/{number}.mp4", f"Talk {number}", guid=f"urn:{number}") for number in range(1000)])
    web.answers["/moved"] = redirect("/feed.xml")
    found = read(f"{web.url}/moved")
    assert [member.title for member in found.members] == [f"Talk {number}" for number in range(1000)]
    assert web.requests == ["/moved", "/feed.xml", "/feed.xml"]
    offer = offered(found, Limits(), videos)
    assert offer.words == "Talks is a list of 1,000 videos, of unknown length."
    first = submit(wanted_members(offer.new), videos, guard=GUARD)
    assert [item.told for item in first] == [f"Submitted as source video {number + 1}: Talk {number}" for number in range(1000)]
    again = offered(found, Limits(), videos)
    assert (len(again.new), again.known_words[:41]) == (0, "1,000 are source videos already: 1, 2, 3,")
    assert len(videos.load_all()) == 1000


def test_an_atom_feed_and_links_to_files_are_lists(web: WebServer, clips: Path, folder: Path) -> None:
    entries = "".join(
        f"<entry><id>urn:{number}</id><title>Talk {number}</title><link href='/{number}.mp4'/>"
        f"<published>2026-02-0{number}T10:00:00Z</published></entry>"
        for number in (1, 2)
    )
    web.answers["/atom.xml"] = text(
        f"<feed xmlns='http://www.w3.org/2005/Atom'><title>Talks</title>{entries}</feed>", "application/atom+xml"
    )
    found = read(f"{web.url}/atom.xml")
    assert found.title == "Talks"
    assert found.members == tuple(
        Member(
            source=f"{web.url}/{number}.mp4",
            title=f"Talk {number}",
            uploaded_on=date(2026, 2, number),
            site="127.0.0.1",
            site_id=f"urn:{number}",
        )
        for number in (1, 2)
    )
    web.answers["/empty.xml"] = text("<feed xmlns='http://www.w3.org/2005/Atom'><title>Soon</title></feed>", "application/atom+xml")
    soon = read(f"{web.url}/empty.xml")
    assert (soon.title, soon.members, soon.is_whole) == ("Soon", (), True), "it can be subscribed before its first video"
    links = "<a href='1.mp4'>One</a><a href='javascript:x.mp4'>Bad</a><a href='/2.mp4'>Two</a>"
    web.answers["/films/"] = text(f"<html><title>Films</title>{links}</html>".replace("1.mp4", "../1.mp4"), "text/html")
    found = read(f"{web.url}/films/")
    assert [(member.source, member.title) for member in found.members] == [(f"{web.url}/1.mp4", "One"), (f"{web.url}/2.mp4", "Two")]
    assert found.problems[0].startswith("video 2 of the list cannot be taken: 'javascript:x.mp4' cannot be a source")
    assert downloader().fetch(found.members[1].source, folder).path.read_bytes() == (clips / "2.mp4").read_bytes()


@pytest.mark.parametrize(
    "bad",
    [
        "file:///etc/passwd",
        "ftp://example.org/a.mp4",
        "ytsearch5:cats",
        "javascript:alert(1)",
        "http:///nohost",
        "http://[::1/a.mp4",
        "https://example.org/" + "x" * 5000,
    ],
)
def test_a_member_that_is_no_web_address_is_left_out_and_the_others_are_taken(web: WebServer, bad: str) -> None:
    web.answers["/feed.xml"] = feed([Item("/1.mp4"), Item(bad, "Bad"), Item("/2.mp4")])
    found = read(f"{web.url}/feed.xml")
    assert [member.source for member in found.members] == [f"{web.url}/1.mp4", f"{web.url}/2.mp4"]
    (problem,) = found.problems
    assert problem.startswith("video 2 of the list cannot be taken: ")


def test_a_member_inside_a_private_network_is_refused_and_the_others_are_taken(web: WebServer, videos: SourceVideoStore) -> None:
    web.answers["/feed.xml"] = feed(
        [Item("http://93.184.216.34/1.mp4"), Item("http://169.254.169.254/latest", "Cloud"), Item("http://[::1]/a")]
    )
    done = submit(wanted_members(read(f"{web.url}/feed.xml").members), videos, guard=AddressGuard())
    assert [item.refused for item in done] == [False, True, True]
    assert "link-local" in done[1].told
    with pytest.raises(ForbiddenSourceError, match="a loopback address"):
        read_list(f"{web.url}/feed.xml", guard=AddressGuard())


def test_what_a_site_writes_is_cleaned_and_its_numbers_are_checked(web: WebServer) -> None:
    smuggled = smuggle_url("/1.mp4", {"referer": "http://x", "force_videoid": "1"})
    items = [Item("/2.mp4", "a[31m\u202eb" + "x" * 500, "99999999:00:00", "not a day"), Item(smuggled, "hidden")]
    web.answers["/feed.xml"] = feed(items)
    found = read(f"{web.url}/feed.xml")
    assert found.members[0].title == ("a[31m b" + "x" * 500)[:200]
    assert (found.members[0].duration_seconds, found.members[0].uploaded_on) == (None, None)
    assert "youtubedl_smuggle" not in found.members[1].source


def test_a_single_video_is_no_list_and_a_page_without_video_says_so(web: WebServer) -> None:
    web.answers["/one.html"] = page("/1.mp4")
    web.answers["/none.html"] = text("<html><body>nothing</body></html>", "text/html")
    web.answers["/gone"] = status(404)
    assert read_list(f"{web.url}/one.html", guard=GUARD) is None
    for path, error in (("none.html", InvalidMediaError), ("gone", SourceNotFoundError)):
        with pytest.raises(error):
            read_list(f"{web.url}/{path}", guard=GUARD)


def test_only_what_may_be_a_list_is_looked_at() -> None:
    assert not may_be_list("https://example.org/film.mp4?x=1")
    assert not may_be_list("https://www.youtube.com/watch?v=BaW_jenozKc")
    assert not may_be_list(item_address("https://example.org/page", "a"))
    assert may_be_list("https://www.youtube.com/playlist?list=PLwiyx1dc3P2JR9N8gQaQN_BCvlSlap7re")
    assert may_be_list("https://example.org/talks")


class TestChannel:
    """A site with ids: channels with tabs, and members that are known by the site's name of them."""

    @pytest.fixture(autouse=True)
    def known(self) -> Iterator[None]:
        with channels_known():
            yield

    def test_a_channel_with_tabs_is_one_list(self, web: WebServer) -> None:
        address = channel(web, "harbour", {"videos": ["a", "b"], "shorts": ["b", "c"]}, title="Harbour films")
        found = read(address)
        assert found.title == "Harbour films"
        assert [(member.site, member.site_id, member.duration_seconds) for member in found.members] == [
            ("FakeTube", one, 10.0) for one in "abc"
        ]
        assert not [path for path in web.requests if "watch" in path], "no member's page is asked for"

    def test_a_tab_that_cannot_be_read_does_not_stop_the_others(self, web: WebServer) -> None:
        address = channel(web, "harbour", {"videos": ["a"], "shorts": ["b"], "live": ["c"]})
        web.answers["/faketube/channels/harbour/shorts.json"] = status(404)
        found = read(address)
        assert [member.site_id for member in found.members] == ["a", "c"]
        (problem,) = found.problems
        assert problem.startswith("part 2 of the list cannot be read: ")

    def test_a_list_that_breaks_off_is_taken_as_far_as_it_was_read(self, web: WebServer) -> None:
        found = read(channel(web, "long", {"videos": list("abcdef")}, breaks_after=4))
        assert [member.site_id for member in found.members] == list("abcd")
        assert "could be read up to its video 4 only" in found.problems[0]

    def test_a_list_without_end_is_cut_off(self, web: WebServer) -> None:
        address = channel(web, "endless", {"videos": list("abcdef")}, endless=True)
        found = read_list(address, guard=GUARD, most=50)
        assert found is not None
        assert len(found.members) == 50
        assert "only the first 50 videos of the list were read" in found.problems

    def test_no_more_is_read_than_is_wanted(self, web: WebServer, videos: SourceVideoStore) -> None:
        address = channel(web, "many", {"videos": ["a", "b"], "shorts": ["c"], "live": ["d"]}, endless=True)
        limits = Limits(most=3, not_title="Video b")
        found = read_list(address, guard=GUARD, limits=limits)
        assert found is not None
        assert [member.site_id for member in found.members] == ["a", "b", "more0", "more1"]
        assert (found.is_whole, found.problems, "/faketube/channels/many/shorts.json" in web.requests) == (False, (), False)
        offer = offered(found, limits, videos)
        assert offer.words == (
            "A channel is a list that was read as far as needed: 4 videos, at least 20 s in all, the length of 2 is not known. "
            "Left out by the limits: 1 with 'Video b' in the title."
        )
        assert len(offer.new) == 3

    def test_a_site_that_asks_for_a_pause_in_the_middle_is_asked_for_nothing_more(self, web: WebServer) -> None:
        address = channel(web, "busy", {"videos": ["a"], "shorts": ["b"], "live": ["c"]})
        web.answers["/faketube/channels/busy/shorts.json"] = status(429, {"Retry-After": "3600"})
        found = read(address)
        assert [member.site_id for member in found.members] == ["a"]
        assert "/faketube/channels/busy/live.json" not in web.requests
        assert found.refusal is not None
        assert found.refusal.until is not None
        assert "part 2 of the list cannot be read" in found.problems[0]

    def test_one_that_its_site_describes_badly_does_not_stop_the_others(self, web: WebServer) -> None:
        address = channel(web, "odd", {"videos": ["a", "b", "c", "d"]})
        with pytest.MonkeyPatch.context() as patch:
            plain = InfoExtractor.url_result

            def odd(*arguments: Any, **options: Any) -> dict[str, Any]:
                found: dict[str, Any] = plain(*arguments, **options)
                bad = {"b": {"ie_key": None, "url": "http://[::1", "title": ["x"], "duration": "x"}, "c": {"_type": ["x"]}}
                return found | bad.get(str(found.get("id")), {})

            patch.setattr(InfoExtractor, "url_result", staticmethod(odd))
            found = read(address)
        assert [member.site_id for member in found.members] == ["a", "d"]
        assert [problem.partition(": ")[0] for problem in found.problems] == [
            f"video {number} of the list cannot be taken" for number in (2, 3)
        ]

    def test_the_same_video_under_another_address_is_known_by_its_id(self, web: WebServer, videos: SourceVideoStore) -> None:
        first, second = (Member(source=f"https://93.184.216.34/watch?v=a&x={x}", site="FakeTube", site_id="a") for x in "12")
        (done,) = submit(wanted_members([first]), videos, guard=GUARD)
        assert done.video is not None
        assert known_members([second], videos)[second.key].id == done.video.id
        (again,) = submit(wanted_members([second]), videos, guard=GUARD)
        assert again.video is not None
        assert (again.video.id, f"already source video {done.video.id}" in again.told) == (done.video.id, True)

    def test_a_duplicate_is_not_taken_again(self, web: WebServer, videos: SourceVideoStore) -> None:
        one = Member(source="https://93.184.216.34/watch?v=a", site="FakeTube", site_id="a")
        (first, second) = (videos.add("https://e.org/x", "x"), videos.add(one.source, "a"))
        for video in (first, second):
            videos.set_state(video.id, SourceVideoState.DOWNLOADING)
        videos.mark_duplicate(second.id, first.id)
        assert known_members([one], videos)[one.key].id == second.id


def test_json_of_limits_is_plain() -> None:
    assert json.dumps(Limits(most=3, since=date(2026, 1, 2)).to_json()) == '{"most": 3, "since": "2026-01-02"}'
