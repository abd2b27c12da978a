"""What people call a clip, read."""

from __future__ import annotations

import pytest

from heaters_dagster.domain.clip_names import ClipName, field_text, parsed_clip_name


@pytest.mark.parametrize("text", ["14 of Harbour", "clip 14 of Harbour", "Clip 14 of  Harbour ", "Harbour, clip 14", "Harbour clip 14"])
def test_a_clip_is_its_number_and_its_title(text: str) -> None:
    assert parsed_clip_name(text) == ClipName(14, ("Harbour",), None)


def test_a_title_with_the_number_of_its_source_video_names_just_one() -> None:
    assert parsed_clip_name(field_text(14, 7, "Take 2 of 3")) == ClipName(14, ("7.", "Take", "2", "of", "3"), 7)
    assert parsed_clip_name("14 of 7") == ClipName(14, ("7",), 7)


@pytest.mark.parametrize("text", ["", "14", "Harbour", "Harbour 14", "of Harbour"])
def test_anything_else_is_no_name(text: str) -> None:
    assert parsed_clip_name(text) is None
