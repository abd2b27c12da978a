"""What people call a clip, read."""

from __future__ import annotations

import pytest

from heaters_dagster.domain.clip_names import (
    ClipName,
    NumberRanges,
    clips_by_id,
    clips_in_words,
    field_text,
    ids_in,
    parsed_clip_id,
    parsed_clip_name,
    reference,
    with_names,
)
from heaters_dagster.domain.errors import BadRequestError


@pytest.mark.parametrize("text", ["14 of Harbour", "clip 14 of Harbour", "Clip 14 of  Harbour ", "Harbour, clip 14", "Harbour clip 14"])
def test_a_clip_is_its_number_and_its_title(text: str) -> None:
    assert parsed_clip_name(text) == ClipName(14, ("Harbour",), None)


def test_a_title_with_the_number_of_its_source_video_names_just_one() -> None:
    assert parsed_clip_name(field_text(14, 7, "Take 2 of 3")) == ClipName(14, ("7.", "Take", "2", "of", "3"), 7)
    assert parsed_clip_name("14 of 7") == ClipName(14, ("7",), 7)


@pytest.mark.parametrize("text", [reference(7, 14), "video_7_clip_014.mp4", "final_clips/video_7_clip_014.mp4", "video_7_clip_014_p50.jpg"])
def test_two_numbers_and_the_name_of_a_file_name_just_one(text: str) -> None:
    assert parsed_clip_name(text) == ClipName(14, (), 7)


def test_an_id_is_written_as_one() -> None:
    assert (parsed_clip_id(" id:812"), parsed_clip_id("812"), parsed_clip_id("id:")) == (812, None, None)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("clip id:70 already begins at frame 9; choose another", "clip 14 of Harbour already begins at frame 9; choose another"),
        ("Left alone: Clip id:80, by Ada", "Left alone: Clip 1 of Snow, by Ada"),
        (f"in its place: {clips_by_id([70, 71])}", "in its place: clips 14 and 15 of Harbour"),
        (clips_by_id([70, 71, 80]), "clip 14 of Harbour and clip 15 of Harbour and clip 1 of Snow"),
        (clips_by_id([70, 71, 70, 71, 70]), "clips 14, 15, 14 of Harbour and 2 more"),
        ("clip id:99 is not known", "clip id:99 is not known"),
        ("clip 70 of a title is no id", "clip 70 of a title is no id"),
    ],
)
def test_a_message_with_ids_is_told_in_numbers_and_only_once(message: str, words: str) -> None:
    names = {70: (14, "Harbour"), 71: (15, "Harbour"), 80: (1, "Snow")}
    assert with_names(message, names) == with_names(words, names) == words


def test_ids_in_a_message() -> None:
    assert ids_in("clips id:4, id:5 and id:6 of 7, clip id:8") == [4, 5, 6, 8]


def test_many_clips_in_words() -> None:
    assert clips_in_words([(14, "Harbour"), (1, "Snow"), (15, "Harbour")]) == "clips 14 and 15 of Harbour and clip 1 of Snow"
    assert clips_in_words((number, "Harbour") for number in range(1, 41)) == "clips 1, 2, 3 and 37 more of Harbour"
    assert clips_in_words((number, f"Film {number % 41}") for number in range(20_000)) == "20,000 clips of 41 source videos"
    assert clips_in_words((number, "Harbour") for number in range(1, 20_001)) == "clips 1, 2, 3 and 19,997 more of Harbour"


@pytest.mark.parametrize("text", ["", "14", "Harbour", "Harbour 14", "of Harbour", "7:", "7:14:2", "id:812"])
def test_anything_else_is_no_name(text: str) -> None:
    assert parsed_clip_name(text) is None


@pytest.mark.parametrize(("text", "within"), [("3", [3]), ("3, 5-7", [3, 5, 6, 7]), ("1 – 2 ,9", [1, 2, 9])])
def test_several_numbers_are_read_as_people_write_them(text: str, within: list[int]) -> None:
    assert [number for number in range(12) if number in NumberRanges.parsed(text)] == within


@pytest.mark.parametrize("text", ["three", "3,", "7-5", "1-2-3", "-4", "3;4", "9" * 20])
def test_what_is_no_number_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadRequestError, match="write their numbers as in 3, 5-9"):
        NumberRanges.parsed(text)
