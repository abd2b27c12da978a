"""Facts as people write and read them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction

import pytest

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.fact_fields import FACT_FIELDS, FIELD_OF, change_words, changes_of, chapter_at, delivered
from heaters_dagster.domain.source_facts import Chapter, SourceFacts, json_of_value, value_of_json
from heaters_dagster.domain.timecode import SourceTime

KNOWN = SourceFacts(
    rights="training only",
    licence="CC BY 4.0",
    external_id="A-17",
    site="Example",
    site_id="x1",
    uploader="Grace",
    uploaded_on=date(2024, 5, 31),
    page_address="https://example.org/x1",
    tags=("sea", "at night"),
    camera="Maker Model",
    recorded_at=datetime(2024, 5, 30, 12, 30, tzinfo=UTC),
    place="+52.5+13.4/",
    reel="A001_C002",
    start_timecode="10:00:00;02",
    timecode_rate="30000/1001",
    chapters=(Chapter("Begin", 0.0), Chapter("The harbour", 3723.5)),
    description="Two\nlines",
)


@pytest.mark.parametrize("field", FACT_FIELDS, ids=lambda field: field.name)
def test_what_is_written_is_read_again_as_it_was(field) -> None:
    value = getattr(KNOWN, field.name)
    assert field.read(field.text(KNOWN)) == value
    assert value_of_json(field.name, json_of_value(value)) == value
    assert field.read("  ") in (None, ())


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("uploaded_on", "31.5.2024", "is no day: write it as 2024-05-31"),
        ("recorded_at", "yesterday", "is no time: write it as"),
        ("page_address", "javascript:alert(1)", "is no web address"),
        ("page_address", "https://", "is no web address"),
        ("chapters", "The harbour", "is no chapter: write its start and its title"),
        ("tags", ",".join(map(str, range(600))), "at most 500 tags, not 600"),
        ("licence", "x" * 1001, "at most 1,000 characters, not 1,001"),
        ("place", "Berlin", "HEATERS_KEEP_PLACES"),
        ("start_timecode", "10 o'clock", "is no timecode: write HH:MM:SS:FF"),
        ("start_timecode", "10:00:75:00", "minutes and seconds go to 59"),
        ("timecode_rate", "quick", "is no frame rate: write it as 25, 29.97 or 30000/1001"),
        ("timecode_rate", "0", "from 1 to 1,000"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(name: str, text: str, words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        changes_of({name: text}, keep_places=False)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("start_timecode", "1:2:3:4", "01:02:03:04"),
        ("start_timecode", "01:02:03.04", "01:02:03;04"),
        ("start_timecode", "24:00:00:00", "00:00:00:00"),
        ("timecode_rate", "29.97", "30000/1001"),
        ("timecode_rate", "25.0", "25"),
    ],
)
def test_a_timecode_and_its_rate_are_kept_in_one_form(name: str, text: str, value: str) -> None:
    assert FIELD_OF[name].read(text) == value


@pytest.mark.parametrize(
    ("facts", "frame_rate", "time"),
    [
        (SourceFacts(start_timecode="10:00:00:00"), Fraction(25), SourceTime(900_000, Fraction(25))),
        (
            SourceFacts(start_timecode="10:00:00:00", timecode_rate="25", reel="A1"),
            Fraction(50),
            SourceTime(900_000, Fraction(25), False, "A1"),
        ),
        (SourceFacts(start_timecode="01:00:00;00"), Fraction("29.97"), SourceTime(107_892, Fraction(30_000, 1001), True)),
        (SourceFacts(start_timecode="01:00:00;00", timecode_rate="30000/1001"), None, SourceTime(107_892, Fraction(30_000, 1001), True)),
        (SourceFacts(start_timecode="00:00:01:00"), Fraction("28.7"), SourceTime(30, Fraction(30_000, 1001))),
        (SourceFacts(start_timecode="10:00:00:00"), None, None),
        (SourceFacts(reel="A1"), Fraction(25), None),
    ],
)
def test_the_source_time_that_facts_say(facts: SourceFacts, frame_rate: Fraction | None, time: SourceTime | None) -> None:
    assert facts.source_time(frame_rate) == time


def test_drop_frame_timecode_at_a_rate_that_has_none_is_no_source_time() -> None:
    facts = SourceFacts(start_timecode="01:00:00;00")
    assert facts.usable_source_time(Fraction(25)) is None
    with pytest.raises(BadRequestError, match="drop-frame"):
        facts.source_time(Fraction(25))


def test_a_place_can_always_be_removed() -> None:
    assert changes_of({"place": ""}, keep_places=False) == {"place": None}
    assert changes_of({"place": "Berlin"}, keep_places=True) == {"place": "Berlin"}


def test_a_time_without_a_zone_is_utc() -> None:
    read = FIELD_OF["recorded_at"].read
    assert read("2024-05-31 14:30") == datetime(2024, 5, 31, 14, 30, tzinfo=UTC)
    assert read("2024-05-31T14:30+02:00") == datetime(2024, 5, 31, 12, 30, tzinfo=UTC)


def test_the_chapter_of_a_time() -> None:
    chapters = (Chapter("one", 1.0, 3.0), Chapter("two", 5.0))
    assert [chapter_at(chapters, at) for at in (0.5, 0.995, 2.9, 3.0, 5.0, 99.0)] == [None, "one", "one", None, "two", "two"]


def test_what_goes_along_with_clips() -> None:
    assert delivered(SourceFacts(licence="CC0", tags=("a", "b"))) == {"licence": "CC0", "tags": "a, b"}


def test_a_change_in_words() -> None:
    assert change_words({"licence": "CC0", "tags": [], "gone": 1}) == "licence: CC0; tags: nothing"
