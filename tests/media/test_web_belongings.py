"""What a site says of a video becomes facts, whatever it writes."""

from __future__ import annotations

from datetime import date

import pytest

from heaters_dagster.domain.source_facts import Chapter, SourceFacts
from resources.sources.web_belongings import facts_of

INFO = {
    "extractor_key": "Youtube",
    "id": "dQw4w9WgXcQ",
    "uploader": None,
    "channel": "Grace",
    "upload_date": "20240531",
    "webpage_url": "https://me:secret@www.youtube.com/watch?v=dQw4w9WgXcQ",
    "license": "Creative Commons Attribution licence (reuse allowed)",
    "description": "Two\nlines",
    "tags": ["sea", "sea", 7, None, "night"],
    "chapters": [
        {"title": "Begin", "start_time": 0.0, "end_time": 12.5},
        {"title": None, "start_time": "12.5", "end_time": float("nan")},
        {"title": "no start"},
        {"title": "inf", "start_time": float("inf")},
        "nonsense",
    ],
    "location": "Berlin",
}


def test_the_facts_of_a_known_site() -> None:
    assert facts_of(INFO) == SourceFacts(
        site="Youtube",
        site_id="dQw4w9WgXcQ",
        uploader="Grace",
        uploaded_on=date(2024, 5, 31),
        page_address="https://***@www.youtube.com/watch?v=dQw4w9WgXcQ",
        licence="Creative Commons Attribution licence (reuse allowed)",
        description="Two\nlines",
        tags=("sea", "night"),
        chapters=(Chapter("Begin", 0.0, 12.5), Chapter("Chapter 2", 12.5)),
        place="Berlin",
    )


@pytest.mark.parametrize(
    "info", [{}, {"id": 7, "tags": "a", "chapters": {}, "upload_date": "tomorrow", "description": ["x"], "extractor_key": None}]
)
def test_what_makes_no_sense_is_left_out(info: dict[str, object]) -> None:
    assert facts_of(info) == SourceFacts()


def test_half_a_character_can_be_stored() -> None:
    assert facts_of({"description": "a\ud800b"}).description == "a b"
