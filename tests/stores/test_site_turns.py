"""Turns at sites over all processes, and which source videos of many sites are looked at."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha512

import pytest
from sqlalchemy import text

from heaters_dagster.domain.errors import NotYetError
from heaters_dagster.domain.states import SourceVideoState
from resources.postgres import due_facts
from resources.postgres.database import Database
from resources.postgres.due_facts import load_video_facts
from resources.postgres.site_turns import SiteTurns, waiting_for_sites, waits_of
from resources.postgres.source_video_lists import SourceVideoLists
from resources.postgres.source_video_store import SourceVideoStore

SITE = "example.org"
_LONG = sha512(b"longer than an index takes").hexdigest() * 50


@pytest.fixture
def turns(database: Database) -> SiteTurns:
    return SiteTurns(database, per_site=1, pause_seconds=0)


def add(database: Database, *sources: str) -> list[int]:
    return [video.id for video in SourceVideoStore(database).add_all([{"source": one, "title": "x"} for one in sources])]


def let_time_pass(database: Database, site: str = SITE) -> None:
    with database.begin() as connection:
        connection.execute(text("update download_sites set not_before = now() - interval '1 second' where site = :site"), {"site": site})


@pytest.mark.parametrize(
    ("source", "site"),
    [
        ("https://www.Example.org/watch?v=1", "example.org"),
        ("HTTP://m.example.org:8080", "example.org"),
        ("https://ann:p@ss@example.org./x@y", "example.org"),
        ("https://youtu.be/abc", "youtube.com"),
        ("https://www.com/", "www.com"),
        ("https://[2001:DB8::1]:80/a", "[2001:db8::1]"),
        ("https:///nothing", None),
        (f"https://{_LONG}/a", _LONG[:253]),
        ("s3://bucket/key", None),
        ("/videos/https://example.org/a.mp4", None),
    ],
)
def test_the_site_of_a_source(database: Database, source: str, site: str | None) -> None:
    (video_id,) = add(database, source)
    assert SourceVideoStore(database).load(video_id).site == site


def test_one_download_of_a_site_at_a_time_also_for_other_connections(database: Database, turns: SiteTurns) -> None:
    elsewhere = Database.connect(database.url)
    others = SiteTurns(elsewhere, per_site=1, pause_seconds=0)
    said: list[str] = []
    with turns.turn(SITE, patience_seconds=0):
        with pytest.raises(NotYetError, match=rf"^waits for its turn: 1 download from {SITE} at a time$"):
            with others.turn(SITE, patience_seconds=0.1, say=said.append):
                pass
        with others.turn("other.org", patience_seconds=0):
            pass
        with SiteTurns(elsewhere, per_site=2, pause_seconds=0).turn(SITE, patience_seconds=0):
            pass
    assert said == [f"waits for its turn: 1 download from {SITE} at a time"]
    with others.turn(SITE, patience_seconds=0):
        pass
    elsewhere.dispose()


def test_between_two_downloads_of_a_site_there_is_a_pause(database: Database) -> None:
    turns = SiteTurns(database, per_site=1, pause_seconds=60)
    with pytest.raises(ZeroDivisionError), turns.turn(SITE, patience_seconds=0):
        raise ZeroDivisionError
    with pytest.raises(NotYetError, match=rf"UTC \(1 minute\): a pause between two downloads from {SITE}$"):
        with turns.turn(SITE, patience_seconds=1):
            pass
    let_time_pass(database)
    with turns.turn(SITE, patience_seconds=0):
        pass


def test_a_refusal_holds_until_the_time_that_the_site_names(database: Database, turns: SiteTurns) -> None:
    until = datetime.now(UTC) + timedelta(hours=3)
    turns.refused(SITE, "its site answers 429", until)
    turns.refused(SITE, "its site answers 429", None)  # of a download that ran beside it: an earlier time changes nothing
    held = turns.held_off(SITE)
    assert held is not None
    assert (held.until, held.refusals) == (until, 2)
    assert turns.held_off("other.org") is None
    turns.answered(SITE)
    let_time_pass(database)
    assert turns.held_off(SITE) is None
    assert turns.refused(SITE, "its site answers 429", None).refusals == 1


def test_who_waits_for_a_site_is_told(database: Database, turns: SiteTurns) -> None:
    first, second, other = add(database, f"https://{SITE}/1", f"https://www.{SITE}/2", "https://other.org/3")
    SourceVideoStore(database).set_state(second, SourceVideoState.DOWNLOADING)
    turns.refused(SITE, "its site answers 429", datetime.now(UTC) + timedelta(minutes=10))
    with database.read() as connection:
        waits = waits_of(connection, [first, second, other])
        count, site = waiting_for_sites(connection)
        assert waiting_for_sites(connection, [other]) == (0, None)
    assert list(waits) == [first]
    assert re.fullmatch(r"waits until .* UTC \(10 minutes\): its site answers 429", waits[first])
    assert (count, site and site.site) == (1, SITE)
    listed = {one.video.id: one.site_waits for one in SourceVideoLists(database).newest(limit=9)}
    assert listed == {first: waits[first], second: None, other: None}
    assert SourceVideoLists(database).overview_of(first).site_waits == waits[first]


def test_thousands_of_one_site_hide_no_other_site(database: Database, turns: SiteTurns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due_facts, "WINDOW", 4)
    many = add(database, *(f"https://{SITE}/{n}" for n in range(9)))
    other, path = add(database, "https://other.org/1", "/videos/a.mp4")
    assert [video.id for video in load_video_facts(database)] == [many[0], other, path]
    assert [video.id for video in load_video_facts(database, per_site=2)] == [*many[:2], other, path]
    turns.refused(SITE, "its site answers 429", None)
    assert [video.id for video in load_video_facts(database)] == [other, path]
    facts = {video.id: video for video in load_video_facts(database, [many[0], other])}
    assert (facts[many[0]].site_held_off, facts[other].site_held_off) == (True, False)
    with turns.turn("other.org", patience_seconds=0):
        assert [video.site_busy for video in load_video_facts(database, [other])] == [1]


def test_a_list_has_a_turn_beside_the_downloads_of_its_site_and_the_same_pauses(database: Database, turns: SiteTurns) -> None:
    assert turns.site_of(f"https://www.{SITE.upper()}:443/talks") == SITE
    with turns.turn(SITE, patience_seconds=0), turns.list_turn(SITE, patience_seconds=0):
        with pytest.raises(NotYetError, match=rf"^waits for its turn: 1 list of {SITE} at a time$"):
            with turns.list_turn(SITE, patience_seconds=0):
                pass
    with SiteTurns(database, per_site=1, pause_seconds=60).list_turn(SITE, patience_seconds=0):
        pass
    for turn in (turns.turn, turns.list_turn):
        with pytest.raises(NotYetError, match=r"UTC \(1 minute\): a pause between two downloads"), turn(SITE, patience_seconds=0):
            pass
    said: list[str] = []
    with database.begin() as connection:
        connection.execute(text("update download_sites set not_before = now() + interval '0.2 seconds'"))
    with turns.list_turn(SITE, patience_seconds=9, say=said.append):
        assert said == [], "a short pause is not worth a word"
    turns.refused(SITE, "its site answers 429", None, counts=False)
    held = turns.held_off(SITE)
    assert held is not None
    assert (held.reason, held.refusals) == ("its site answers 429", 0)
