import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cuts import (
    MANUAL_CONFIDENCE,
    ClipChange,
    CutPointOperation,
    ReviewClip,
    add_cut_point,
    checked_cut_frame,
    edit_cut,
    import_cuts,
    mece_problems,
    move_cut_point,
    remove_cut_point,
)
from heaters_dagster.domain.errors import CutError
from heaters_dagster.domain.states import ClipState
from tests.review_in_memory import clips_of, cut_problems


def applied(clips: list[ReviewClip], changes: tuple[ClipChange, ...]) -> list[ReviewClip]:
    after = {clip.id: clip for clip in clips}
    made = [change.after for change in changes if change.before is None]
    after.update({change.after.id: change.after for change in changes if change.before is not None})
    return [*after.values(), *made]


@st.composite
def cut_lists(draw: st.DrawFn) -> tuple[list[ReviewClip], int]:
    frame_count = draw(st.integers(1, 60))
    inner = draw(st.sets(st.integers(1, max(1, frame_count - 1)), max_size=12)) - {frame_count}
    return clips_of(0, *sorted(inner), frame_count), frame_count


def test_adding_a_cut_retires_the_clip_and_makes_two_pending_ones() -> None:
    change = add_cut_point(clips_of(0, 10, 47), 24)
    old, left, right = change.clips
    assert (old.after.id, old.after.is_live, old.after.state) == (2, False, ClipState.REVIEW_ARCHIVED)
    assert (left.before, left.after.start_frame, left.after.end_frame) == (None, 10, 24)
    assert (right.before, right.after.start_frame, right.after.end_frame) == (None, 24, 47)
    assert {left.after.state, right.after.state} == {ClipState.PENDING_REVIEW}
    assert change.cut == CutPointOperation("add", 24)


def test_removing_a_cut_retires_both_clips_and_makes_one() -> None:
    change = remove_cut_point(clips_of(0, 10, 47, 60), 10)
    assert [(c.after.id, c.after.is_live, c.after.start_frame, c.after.end_frame) for c in change.clips] == [
        (1, False, 0, 10),
        (2, False, 10, 47),
        (None, True, 0, 47),
    ]
    assert change.cut == CutPointOperation("remove", 10)


def test_moving_a_cut_changes_both_neighbours_in_place() -> None:
    change = move_cut_point(clips_of(0, 10, 47), 10, 30)
    assert [(c.after.id, c.after.start_frame, c.after.end_frame, c.after.version) for c in change.clips] == [(1, 0, 30, 2), (2, 30, 47, 2)]
    assert change.cut == CutPointOperation("move", 30, 10)


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (ClipState.PENDING_REVIEW, ClipState.PENDING_REVIEW),
        (ClipState.REVIEW_APPROVED, ClipState.REVIEW_APPROVED),
        (ClipState.EXPORTING, ClipState.REVIEW_APPROVED),
        (ClipState.EMBEDDED, ClipState.REVIEW_APPROVED),
        (ClipState.EXPORT_FAILED, ClipState.REVIEW_APPROVED),
        (ClipState.REVIEW_SKIPPED, ClipState.REVIEW_SKIPPED),
        (ClipState.REVIEW_ARCHIVED, ClipState.REVIEW_ARCHIVED),
    ],
)
def test_a_moved_cut_keeps_the_decision_and_sends_an_exported_clip_back_to_approved(state: ClipState, after: ClipState) -> None:
    left, right = clips_of(0, 10, 20)
    change = move_cut_point([replace(left, state=state), right], 10, 5)
    assert change.clips[0].after.state == after


def test_a_move_out_of_range_names_the_range() -> None:
    clips = clips_of(0, 1, 24, 47, 60)
    with pytest.raises(CutError, match=r"^cut at frame 24 can move to frames 2\.\.46, not 47$"):
        move_cut_point(clips, 24, 47)
    with pytest.raises(CutError, match=r"can move to frames 2\.\.46, not 1$"):
        move_cut_point(clips, 24, 1)


def test_a_cut_between_single_frames_cannot_move() -> None:
    with pytest.raises(CutError, match="single frame each"):
        move_cut_point(clips_of(0, 1, 2), 1, 2)


def test_a_cut_cannot_move_to_where_it_is() -> None:
    with pytest.raises(CutError, match=r"already there; it can move to another of the frames 1\.\.19"):
        move_cut_point(clips_of(0, 10, 20), 10, 10)


@pytest.mark.parametrize("frame", [0, 10])
def test_no_cut_can_be_added_where_a_clip_begins(frame: int) -> None:
    with pytest.raises(CutError, match="already begins at frame"):
        add_cut_point(clips_of(0, 10, 20), frame)


def test_adding_at_a_clips_first_frame_says_where_else() -> None:
    with pytest.raises(CutError, match=r"clip id:2 already begins at frame 10; cuts can be added in it at frames 11\.\.19"):
        add_cut_point(clips_of(0, 10, 20), 10)
    with pytest.raises(CutError, match="it has a single frame"):
        add_cut_point(clips_of(0, 10, 11), 10)


@pytest.mark.parametrize("frame", [-1, 20, 1000])
def test_no_cut_outside_the_video(frame: int) -> None:
    clips = clips_of(0, 10, 20)
    for operation in (add_cut_point, remove_cut_point):
        with pytest.raises(CutError, match="in no clip"):
            operation(clips, frame)


def test_removing_where_there_is_no_cut_names_the_clip_that_is_there() -> None:
    with pytest.raises(CutError, match=r"no cut at frame 12: clip id:2 has the frames 10\.\.19"):
        remove_cut_point(clips_of(0, 10, 20), 12)
    with pytest.raises(CutError, match="frame 0 begins the source video"):
        remove_cut_point(clips_of(0, 10, 20), 0)


def test_retired_clips_take_no_part() -> None:
    old = replace(clips_of(0, 20)[0], id=9, is_live=False)
    change = add_cut_point([old, *clips_of(0, 10, 20)], 5)
    assert change.clip_ids == (1,)


def test_the_parts_of_a_clip_take_its_confidence_and_a_hand_made_cut_is_certain() -> None:
    assert [c.after.confidence for c in add_cut_point(clips_of(0, 20, confidence=0.3), 5).clips[1:]] == [0.3, 0.3]
    assert [c.after.confidence for c in add_cut_point(clips_of(0, 20, confidence=None), 5).clips[1:]] == [MANUAL_CONFIDENCE] * 2


@pytest.mark.parametrize(("left", "right", "joined"), [(0.3, 0.8, 0.3), (None, 0.8, 0.8), (0.4, None, 0.4), (None, None, None)])
def test_a_joined_clip_is_as_sure_as_the_weaker_of_the_two(left: float | None, right: float | None, joined: float | None) -> None:
    first, second = clips_of(0, 10, 20)
    change = remove_cut_point([replace(first, confidence=left), replace(second, confidence=right)], 10)
    assert change.clips[-1].after.confidence == joined


def test_cutting_a_grouped_clip_frees_the_clip_that_was_grouped_with_it() -> None:
    first, second, third = (replace(clip, state=ClipState.REVIEW_APPROVED) for clip in clips_of(0, 10, 20, 30))
    clips = [first, replace(second, grouped_with_clip_id=1), replace(third, grouped_with_clip_id=2)]
    change = add_cut_point(clips, 15)
    assert {c.after.id: c.after.grouped_with_clip_id for c in change.clips if c.before} == {2: None, 3: None}
    assert change.clip_ids == (1, 2, 3), "clip 1 is what clip 2 was grouped with: an undo relies on it"


def test_moving_a_cut_keeps_a_group_together() -> None:
    first, second = (replace(clip, state=ClipState.REVIEW_APPROVED) for clip in clips_of(0, 10, 20))
    change = move_cut_point([first, replace(second, grouped_with_clip_id=1)], 10, 12)
    assert change.clips[1].after.grouped_with_clip_id == 1


def _accepted(operation: object, *arguments: object) -> bool:
    try:
        operation(*arguments)  # type: ignore[operator]
    except CutError:
        return False
    return True


@given(cut_lists(), st.integers(0, 60), st.integers(0, 60))
def test_every_operation_keeps_the_clips_mece(cut_list: tuple[list[ReviewClip], int], frame: int, target: int) -> None:
    clips, frame_count = cut_list
    assert mece_problems(clips, frame_count) == []
    for operation, arguments in ((add_cut_point, (frame,)), (remove_cut_point, (frame,)), (move_cut_point, (frame, target))):
        if _accepted(operation, clips, *arguments):
            assert mece_problems(applied(clips, operation(clips, *arguments).clips), frame_count) == []


@given(cut_lists(), st.integers(0, 60), st.integers(0, 60))
def test_the_clips_around_a_cut_are_all_an_operation_needs(cut_list: tuple[list[ReviewClip], int], frame: int, target: int) -> None:
    clips, _ = cut_list
    around = [clip for clip in clips if clip.start_frame <= frame <= clip.end_frame]
    for operation, arguments in ((add_cut_point, (frame,)), (remove_cut_point, (frame,)), (move_cut_point, (frame, target))):
        assert _accepted(operation, clips, *arguments) == _accepted(operation, around, *arguments)


def test_mece_problems_are_told_in_words() -> None:
    first, second, third = clips_of(0, 10, 20, 30)
    assert mece_problems([first, third], 30) == ["frames 10..19 are in no clip"]
    assert mece_problems([first, replace(second, start_frame=8)], 20) == [
        "clip 2 begins at frame 8, but frames up to 9 are in clips before it",
    ]
    assert mece_problems([first], 12) == ["frames 10..11 are in no clip"]
    assert mece_problems([first], 9) == ["clips reach to frame 9, the source video ends with frame 8"]
    assert mece_problems([], 3) == ["frames 0..2 are in no clip"]


def test_a_clip_without_frames_cannot_be() -> None:
    with pytest.raises(CutError, match="cannot have the frames"):
        ReviewClip(id=1, source_video_id=1, sequence=1, start_frame=5, end_frame=5)


def test_a_cut_frame_is_checked_against_the_whole_video() -> None:
    assert checked_cut_frame(1, 2) == 1
    with pytest.raises(CutError, match=r"lie at frames 1\.\.499, not 500"):
        checked_cut_frame(500, 500)
    with pytest.raises(CutError, match="single frame"):
        checked_cut_frame(1, 1)


def with_ranges(*edges: int, **ranges: tuple[int, int]) -> list[ReviewClip]:
    """`with_ranges(0, 10, 20, at_10=(8, 12))`: the cut at frame 10 is a dissolve of the frames 8..12."""
    told = {int(name.removeprefix("at_")): Transition(CutKind.DISSOLVE, *frames) for name, frames in ranges.items()}
    return [replace(clip, transition=told.get(clip.start_frame, clip.transition)) for clip in clips_of(*edges)]


def ranges_after(clips: list[ReviewClip], changes: tuple[ClipChange, ...]) -> dict[int, Transition | None]:
    return {clip.start_frame: clip.transition for clip in applied(clips, changes) if clip.is_live and clip.start_frame}


def test_an_added_cut_is_made_by_hand_and_ranges_end_at_it() -> None:
    clips = with_ranges(0, 10, 30, 40, at_10=(4, 19), at_30=(12, 33))
    change = add_cut_point(clips, 15)
    assert ranges_after(clips, change.clips) == {
        10: Transition(CutKind.DISSOLVE, 4, 14),
        15: Transition(CutKind.HAND),
        30: Transition(CutKind.DISSOLVE, 15, 33),
    }
    assert change.clip_ids == (2, 3), "an undo depends on the clip whose range was cut short"


def test_a_moved_cut_keeps_its_kind_and_its_range_as_long_as_they_touch() -> None:
    clips = with_ranges(0, 10, 30, 40, at_10=(4, 19), at_30=(12, 33))
    for frame, expected in ((4, (4, 19)), (20, (4, 19)), (21, None), (3, None)):
        told = ranges_after(clips, move_cut_point(clips, 10, frame).clips)
        assert told[frame] == Transition(CutKind.DISSOLVE, *expected or ()), frame
    told = ranges_after(clips, move_cut_point(clips, 10, 16).clips)
    assert told[30] == Transition(CutKind.DISSOLVE, 16, 33), "the range of the next cut ends at this one"
    told = ranges_after(clips, move_cut_point(clips, 30, 15).clips)
    assert told == {10: Transition(CutKind.DISSOLVE, 4, 14), 15: Transition(CutKind.DISSOLVE, 12, 33)}


def test_a_removed_cut_takes_kind_and_range_with_it() -> None:
    clips = with_ranges(0, 10, 30, 40, at_10=(4, 19), at_30=(12, 33))
    assert ranges_after(clips, remove_cut_point(clips, 30).clips) == {10: Transition(CutKind.DISSOLVE, 4, 19)}
    assert ranges_after(clips, remove_cut_point(clips, 10).clips) == {30: Transition(CutKind.DISSOLVE, 12, 33)}


def test_kind_and_range_of_a_cut_can_be_set() -> None:
    clips = with_ranges(0, 10, 30, 40, at_10=(4, 19))
    change = edit_cut(clips, 10, Transition(CutKind.WIPE, 8, 12))
    assert [(c.after.id, c.after.version, c.after.transition) for c in change.clips] == [
        (1, 2, Transition(CutKind.END)),
        (2, 2, Transition(CutKind.WIPE, 8, 12)),
    ]
    assert change.cut is None
    assert edit_cut(clips, 10, Transition(CutKind.FADE, 4, 19)).clip_ids == (2,), "the frames are the same"
    assert edit_cut(clips, 10, Transition(CutKind.DISSOLVE, 4, 19)).clips == ()


@pytest.mark.parametrize(
    ("transition", "said"),
    [
        (Transition(CutKind.FADE, 11, 15), r"can begin at frames 0\.\.10 and end at frames 9\.\.29; it cannot be 11\.\.15"),
        (Transition(CutKind.FADE, 3, 8), "cannot be 3..8"),
        (
            Transition(CutKind.HARD, 8, 12),
            r"a hard cut has no transition, .* cannot have the frames 8\.\.12; .*: dissolve, fade, wipe, hand",
        ),
        (Transition(CutKind.JUMP, 8, 12), "a jump cut has no transition"),
        (Transition(CutKind.FADE, 3, 30), "cannot be 3..30"),
        (
            Transition(CutKind.END),
            "only frame 0 is the beginning of the file; the cut at frame 10 can be: hard, dissolve, fade, wipe",
        ),
    ],
)
def test_a_range_that_cannot_be_is_refused_with_those_that_can(transition: Transition, said: str) -> None:
    with pytest.raises(CutError, match=said):
        edit_cut(clips_of(0, 10, 30), 10, transition)
    with pytest.raises(CutError, match="frame 0 begins the source video"):
        edit_cut(clips_of(0, 10, 30), 0, Transition(CutKind.HARD))


@given(st.data())
def test_no_operation_lets_a_range_reach_over_the_cuts_beside_it(data: st.DataObject) -> None:
    inner = sorted(data.draw(st.sets(st.integers(1, 59), min_size=1, max_size=8)))
    edges = [0, *inner, 60]
    ranges = {
        f"at_{cut}": (data.draw(st.integers(before, cut)), data.draw(st.integers(cut, after - 1)))
        for before, cut, after in zip(edges, edges[1:], edges[2:], strict=False)
    }
    clips = with_ranges(*edges, **ranges)
    assert cut_problems(clips) == []
    frame, target = data.draw(st.integers(1, 59)), data.draw(st.integers(1, 59))
    for operation, arguments in ((add_cut_point, (frame,)), (remove_cut_point, (frame,)), (move_cut_point, (frame, target))):
        if _accepted(operation, clips, *arguments):
            around = [clip for clip in clips if clip.start_frame <= frame <= clip.end_frame]
            here = next(clip for clip in clips if clip.start_frame <= frame < clip.end_frame)
            around += [clip for clip in clips if clip.start_frame == here.end_frame and clip not in around]
            after = applied(clips, operation(clips, *arguments).clips)
            assert cut_problems(after) == []
            assert operation(around, *arguments) == operation(clips, *arguments), "the clips around the cut are all it needs"


@given(cut_lists(), st.sets(st.integers(1, 59), max_size=12))
def test_imported_clips_come_from_the_clips_that_they_overlap(given_clips: tuple[list[ReviewClip], int], frames: set[int]) -> None:
    clips, frame_count = given_clips
    clips = [replace(clip, confidence=clip.start_frame / 100) for clip in clips]
    change = import_cuts(clips, {frame for frame in frames if frame < frame_count})
    for one in change.clips:
        if one.before is None:
            overlapped = [clip for clip in clips if clip.start_frame < one.after.end_frame and one.after.start_frame < clip.end_frame]
            assert one.after.confidence == min(clip.confidence or 0 for clip in overlapped)
    assert mece_problems(applied(clips, change.clips), frame_count) == []


def test_a_list_with_as_many_cuts_as_there_are_clips_is_imported_in_a_moment() -> None:
    clips = clips_of(*range(0, 200_001, 10))
    began = time.process_time()
    change = import_cuts(clips, range(5, 200_000, 10))
    assert time.process_time() - began < 8, "clip by clip with every other one it took minutes"
    assert len(change.clips) == 20_000 + 20_001
