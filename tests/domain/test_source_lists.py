"""What is taken of a list, and how its items are addressed."""

from __future__ import annotations

from datetime import date

import pytest

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.folder_choice import FolderChoice
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.source_lists import Limits, Member, chosen, count_words, item_address, page_and_item
from heaters_dagster.domain.spans import span_seconds, span_words

MEMBERS = (
    Member(source="https://e.org/1", title="Harbour at night", duration_seconds=30, uploaded_on=date(2026, 3, 1)),
    Member(source="https://e.org/2", title="Market", duration_seconds=600, uploaded_on=date(2026, 2, 1)),
    Member(source="https://e.org/3", title="HARBOUR by day", duration_seconds=7200, uploaded_on=date(2026, 1, 1)),
    Member(source="https://e.org/4"),
)


@pytest.mark.parametrize(
    ("limits", "taken", "left_out"),
    [
        (Limits(), "1234", {}),
        (Limits(most=2), "12", {"after the first 2": 2}),
        (Limits(since=date(2026, 2, 1)), "12", {"from before 2026-02-01": 1, "without a date in the list": 1}),
        (Limits(until=date(2026, 2, 1), unknown=True), "234", {"from after 2026-02-01": 1}),
        (Limits(shortest_seconds=30, longest_seconds=600), "12", {"too long": 1, "without a length in the list": 1}),
        (Limits(shortest_seconds=31, unknown=True), "234", {"too short": 1}),
        (Limits(title="harbour", most=1), "1", {"without 'harbour' in the title": 2, "after the first 1": 1}),
        (Limits(not_title="harbour"), "24", {"with 'harbour' in the title": 2}),
    ],
)
def test_the_limits_leave_these(limits: Limits, taken: str, left_out: dict[str, int]) -> None:
    choice = chosen(MEMBERS, limits)
    assert "".join(member.source[-1] for member in choice.taken) == taken
    assert dict(choice.left_out) == left_out
    assert Limits.from_json(limits.to_json()) == limits


@pytest.mark.parametrize(
    "limits",
    [Limits(most=0), Limits(since=date(2026, 2, 1), until=date(2026, 1, 1)), Limits(shortest_seconds=10, longest_seconds=9)],
)
def test_limits_that_nothing_meets_are_refused(limits: Limits) -> None:
    with pytest.raises(BadRequestError):
        limits.checked()


def test_the_total_length_says_what_it_does_not_know() -> None:
    assert count_words(MEMBERS) == "4 videos, at least 2 h 10 min in all, the length of 1 is not known"
    assert count_words(MEMBERS[:1]) == "1 video, 30 s in all"
    assert count_words(MEMBERS[3:]) == "1 video, of unknown length"


@pytest.mark.parametrize("item", ["a/b c.mp4", "x#y=z&t", "ü~2", "0123456789abcdefghijklmnopqrstuvwxyz"])
def test_an_item_of_a_page_has_an_address_that_leads_back_and_is_shown_whole(item: str) -> None:
    address = item_address("https://e.org/page?x=1#top", item)
    assert page_and_item(address) == ("https://e.org/page?x=1#top", item)
    assert item_address(address, item) == address
    assert without_access(address) == address
    assert page_and_item("https://e.org/page#top") == ("https://e.org/page#top", None)


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (FolderChoice(), "a.MOV b.mp4 day 2/c.mkv day 2/raw/d.mp4"),
        (FolderChoice(recursive=False), "a.MOV b.mp4"),
        (FolderChoice(include=("*.mov", "day*/*.mkv")), "a.MOV day 2/c.mkv"),
        (FolderChoice(exclude=("raw", "B.*")), "a.MOV day 2/c.mkv"),
        (FolderChoice(exclude=("day 2/*",)), "a.MOV b.mp4"),
    ],
)
def test_patterns_choose_below_a_folder(choice: FolderChoice, taken: str) -> None:
    files = ["a.MOV", "b.mp4", "notes.txt", ".hidden.mp4", "day 2/c.mkv", "day 2/raw/d.mp4", ".git/e.mp4"]
    assert " ".join(file for file in files if choice.takes(file)) == taken
    folders = {file.rpartition("/")[0] for file in files if choice.takes(file)} - {""}
    assert all(choice.enters(folder) for folder in folders)
    assert not choice.enters(".git")


@pytest.mark.parametrize(
    ("text", "seconds", "words"),
    [
        ("90", 90, "1 min"),
        ("1:30", 90, "1 min"),
        ("2:00:00", 7200, "2 h"),
        ("6H", 21600, "6 h"),
        ("1d", 86400, "1 day"),
        ("2 w", 1209600, "2 weeks"),
    ],
)
def test_spans_of_time(text: str, seconds: float, words: str) -> None:
    assert (span_seconds(text), span_words(seconds)) == (seconds, words)


@pytest.mark.parametrize("text", ["", "soon", "1:2", "-5", "9999999w", "1 y"])
def test_what_is_no_span_says_how_it_is_written(text: str) -> None:
    with pytest.raises(BadRequestError, match="write it as 90, 1:30, 20m, 6h, 1d or 2w"):
        span_seconds(text)
