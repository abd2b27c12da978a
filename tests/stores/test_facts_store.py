"""What belongs to source videos: who is believed, and what is kept of what a stranger wrote."""

from datetime import UTC, date, datetime

import pytest

from heaters_dagster.domain.source_facts import LINE_CHARACTERS, Chapter, Origin, SourceFacts
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.sources.address_guard import AddressGuard
from resources.sources.file_identity import Wanted
from resources.sources.submission import submit

EVERYTHING = SourceFacts(
    site="Example",
    site_id="x1",
    uploader="A channel",
    uploaded_on=date(2025, 3, 1),
    page_address="https://example.org/x1",
    licence="CC BY 4.0",
    description="Two\nlines",
    tags=("sea", "night"),
    chapters=(Chapter("Begin", 0.0, 5.5), Chapter("End", 5.5)),
    rights="training",
    external_id="A-17",
    thumbnail_filepath="metadata/video_1_thumbnail.jpg",
    camera="Maker Model",
    recorded_at=datetime(2025, 2, 28, 12, tzinfo=UTC),
    place="+52.5+13.4/",
    container_tags={"encoder": "Lavf"},
    quality={"offered": 2160},
)


def test_all_facts_come_back_as_they_were_put(database: Database) -> None:
    video, store = SourceVideoStore(database).add("https://example.org/x1", "x1"), FactsStore(database)
    assert store.load(video.id) == SourceFacts()
    assert store.put(video.id, EVERYTHING, Origin.SITE) == EVERYTHING
    assert store.load_all([video.id, video.id + 1]) == {video.id: EVERYTHING}


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (Origin.PERSON, Origin.SITE, "first"),
        (Origin.SUBMISSION, Origin.SITE, "first"),
        (Origin.SITE, Origin.FILE, "first"),
        (Origin.SITE, Origin.SITE, "second"),
        (Origin.FILE, Origin.SITE, "second"),
        (Origin.SUBMISSION, Origin.PERSON, "second"),
    ],
)
def test_a_fact_is_replaced_only_by_one_who_is_believed_as_much(database: Database, first: Origin, second: Origin, kept: str) -> None:
    video, store = SourceVideoStore(database).add("/a.mp4", "a"), FactsStore(database)
    store.put(video.id, SourceFacts(licence="first"), first)
    found = store.put(video.id, SourceFacts(licence="second", uploader="somebody"), second)
    assert (found.licence, found.uploader) == (kept, "somebody")


def test_what_a_stranger_wrote_has_no_control_characters_and_an_end() -> None:
    facts = SourceFacts(
        uploader="a\x00b\u202ec" + "x" * 2 * LINE_CHARACTERS, description="one\r\ntwo\x1b[31m", tags=("a\n", "a", "\x07"), site_id=" \t "
    )
    cleaned = facts.cleaned()
    assert cleaned.uploader is not None
    assert (cleaned.uploader[:5], len(cleaned.uploader)) == ("a b c", LINE_CHARACTERS)
    assert (cleaned.description, cleaned.tags, cleaned.site_id) == ("one\ntwo [31m", ("a",), None)


def test_what_a_submitter_says_is_stored_with_the_row(database: Database) -> None:
    videos, guard = SourceVideoStore(database), AddressGuard(allow_private=True)
    said = SourceFacts(licence="CC0", external_id="A-1", tags=("sea",))
    first, second = submit(
        [Wanted("https://example.org/a.mp4", "The harbour", said, chapters_as_cuts=True), "https://example.org/b.mp4"], videos, guard=guard
    )
    assert first.video is not None
    assert second.video is not None
    assert (first.video.title, first.video.chapters_as_cuts) == ("The harbour", True)
    assert (second.video.title, second.video.chapters_as_cuts) == ("b", False)
    assert FactsStore(database).load_all([first.video.id, second.video.id]) == {first.video.id: said}
