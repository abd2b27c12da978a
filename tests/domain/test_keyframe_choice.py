"""Which stills a clip gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.domain.keyframe_choice import keyframe_choices
from heaters_dagster.domain.keys import keyframe_key


def chosen(frame_count: int, strategy: str, *percentages: float) -> list[tuple[str, int]]:
    return [(choice.tag, choice.frame_offset) for choice in keyframe_choices(frame_count, strategy=strategy, percentages=percentages)]


def test_midpoint_is_one_frame_in_the_middle() -> None:
    assert chosen(100, "midpoint") == [("mid", 50)]
    assert chosen(1, "midpoint") == [("mid", 0)]


def test_multi_follows_its_percentages_whatever_their_order() -> None:
    assert chosen(200, "multi", 75, 25, 50) == [("p25", 50), ("p50", 100), ("p75", 150)]
    assert chosen(1000, "multi", 12.5, 100, 0) == [("p0", 0), ("p12d5", 125), ("p100", 999)]


def test_tag_gives_start_mid_and_end() -> None:
    assert chosen(90, "tag") == [("start", 0), ("mid", 45), ("end", 89)]


def test_a_short_clip_has_each_frame_once() -> None:
    assert chosen(1, "tag") == [("start", 0)]
    assert chosen(2, "multi", 25, 50, 75) == [("p25", 0), ("p50", 1)]


def test_two_percentages_with_one_name_give_one_still() -> None:
    assert chosen(1_000_000, "multi", 12.34561, 12.34568) == [("p12d346", 123456)]


@pytest.mark.parametrize(
    ("frame_count", "strategy", "percentages"),
    [(10, "multi", ()), (10, "multi", (101.0,)), (10, "multi", (-1.0,)), (10, "every", ()), (0, "midpoint", ())],
)
def test_what_cannot_be_chosen_is_refused(frame_count: int, strategy: str, percentages: tuple[float, ...]) -> None:
    with pytest.raises(SettingsError):
        keyframe_choices(frame_count, strategy=strategy, percentages=percentages)


@given(st.integers(1, 10**6), st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_choices_are_rising_distinct_frames_of_the_clip_with_keys_of_their_own(frame_count: int, percentages: list[float]) -> None:
    choices = keyframe_choices(frame_count, strategy="multi", percentages=percentages)
    offsets = [choice.frame_offset for choice in choices]
    assert offsets == sorted(set(offsets))
    assert 0 <= offsets[0] <= offsets[-1] < frame_count
    assert len({keyframe_key(1, 1, choice.tag) for choice in choices}) == len(choices)
