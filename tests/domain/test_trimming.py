from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.errors import PermanentError
from heaters_dagster.domain.trimming import FileFrames, without_transitions

END = Transition(CutKind.END)


def frames(begins: Transition | None, ends: Transition | None, start: int = 100, end: int = 200) -> FileFrames:
    return without_transitions(start, end, begins=begins, ends=ends, called="clip 3:14")


def test_a_clip_between_two_dissolves_begins_after_the_first_and_ends_before_the_second() -> None:
    found = frames(Transition(CutKind.DISSOLVE, 92, 107), Transition(CutKind.FADE, 195, 204))
    assert (found.start_frame, found.end_frame) == (108, 195)
    assert found.left_out == (
        {"first_frame": 100, "last_frame": 107, "kind": "dissolve", "range": [92, 107]},
        {"first_frame": 195, "last_frame": 199, "kind": "fade", "range": [195, 204]},
    )


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        (None, None),
        (END, None),
        (Transition(CutKind.HARD), Transition(CutKind.HAND)),
        (Transition(CutKind.DISSOLVE, 90, 99), Transition(CutKind.DISSOLVE, 200, 209)),
    ],
)
def test_nothing_is_left_out_where_no_frame_of_a_transition_is_in_the_clip(begins: Transition | None, ends: Transition | None) -> None:
    assert frames(begins, ends) == FileFrames(100, 200)


def test_a_clip_without_a_frame_outside_is_refused_in_words() -> None:
    with pytest.raises(PermanentError) as caught:
        frames(Transition(CutKind.DISSOLVE, 92, 150), Transition(CutKind.FADE, 151, 204))
    assert str(caught.value) == (
        "clip 3:14 has no frame outside of its transitions (dissolve of frames 92..150 and fade of frames 151..204; its own frames are "
        "100..199), so there is nothing to export without them. Export it with them, or correct the ranges: heaters cuts set"
    )
    assert frames(Transition(CutKind.DISSOLVE, 92, 150), Transition(CutKind.FADE, 152, 204)).start_frame == 151


@given(st.data())
def test_what_is_in_the_file_and_what_is_left_out_are_together_the_clip(data: st.DataObject) -> None:
    first, next_first = data.draw(st.integers(0, 100)), data.draw(st.integers(100, 200))
    last, next_last = data.draw(st.integers(max(first, 99), 199)), data.draw(st.integers(max(next_first, 199), 300))
    inside = [one for one in range(100, 200) if not first <= one <= last and not next_first <= one <= next_last]
    begins, ends = Transition(CutKind.WIPE, first, last), Transition(CutKind.WIPE, next_first, next_last)
    if not inside:
        with pytest.raises(PermanentError, match="no frame outside"):
            frames(begins, ends)
        return
    found = frames(begins, ends)
    assert list(range(found.start_frame, found.end_frame)) == inside
    left_out = [one for part in found.left_out for one in range(part["first_frame"], part["last_frame"] + 1)]
    assert sorted([*inside, *left_out]) == list(range(100, 200))
