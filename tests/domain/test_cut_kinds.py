from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.errors import CutError


@pytest.mark.parametrize(
    ("kind", "first", "last", "said"),
    [
        (CutKind.FADE, 3, None, "a first and a last frame, or neither"),
        (CutKind.FADE, None, 3, "a first and a last frame, or neither"),
        (CutKind.FADE, 4, 3, "cannot have the frames 4..3"),
        (CutKind.FADE, -1, 3, "cannot have the frames -1..3"),
        (CutKind.END, 0, 3, "the beginning of the file has no range"),
    ],
)
def test_what_is_no_range_is_refused(kind: CutKind, first: int | None, last: int | None, said: str) -> None:
    with pytest.raises(CutError, match=said):
        Transition(kind, first, last)


def test_a_range_touches_the_cuts_in_it_and_beside_it() -> None:
    dissolve = Transition(CutKind.DISSOLVE, 10, 14)
    assert [frame for frame in range(20) if dissolve.touches(frame)] == [10, 11, 12, 13, 14, 15]
    assert (dissolve.frame_count, Transition(CutKind.HARD).frame_count) == (5, 0)


@given(st.data())
def test_a_range_ends_at_the_next_cut_and_is_never_empty_or_moved(data: st.DataObject) -> None:
    start, end = data.draw(st.tuples(st.integers(0, 50), st.integers(2, 50)).map(lambda two: (two[0], two[0] + two[1])))
    frame = data.draw(st.integers(start + 1, end - 1))
    first = data.draw(st.integers(0, 110))
    whole = Transition(CutKind.WIPE, first, data.draw(st.integers(first, 120)))
    left = whole.around(frame, start_frame=start, end_frame=end)
    assert left.kind == CutKind.WIPE
    if not whole.touches(frame):
        assert left.frames is None
    else:
        kept = [one for one in range(start, end) if first <= one <= (whole.last_frame or 0)]
        assert left.frames == (kept[0], kept[-1])
        assert left.touches(frame)


@pytest.mark.parametrize("one", [Transition(CutKind.HARD), Transition(CutKind.FADE, 0, 8), Transition(CutKind.END)])
def test_it_comes_back_from_json(one: Transition) -> None:
    assert Transition.from_json(one.to_json()) == one
