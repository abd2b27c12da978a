"""What counts as reviewed, and what reviewers did to a detector's cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cuts import CutPointOperation
from heaters_dagster.domain.detector import Boundary
from heaters_dagster.domain.reviewed_cuts import (
    MOVED_FRAMES,
    Outcome,
    StandingClip,
    TrueCut,
    Truth,
    Verdict,
    compared,
    placed_cuts,
    truth_of,
)


def standing(edges: Sequence[int], decided: str = "", spans: Mapping[int, tuple[int, int]] = MappingProxyType({})) -> list[StandingClip]:
    """Clips between neighbouring edges. decided: for each clip y or n; all are decided without it."""

    def transition_at(frame: int) -> Transition:
        return Transition(CutKind.DISSOLVE, *spans[frame]) if frame in spans else Transition(CutKind.HARD)

    marks = decided or "y" * (len(edges) - 1)
    return [
        StandingClip(place + 1, place + 1, start, end, mark == "y", transition_at(start))
        for place, ((start, end), mark) in enumerate(zip(pairwise(edges), marks, strict=True))
    ]


def at(*frames: int) -> list[Boundary]:
    return [Boundary(frame, 0.8) for frame in frames]


def told(outcomes: Sequence[Outcome]) -> list[tuple[str, int | None, int | None]]:
    return [(one.verdict.value, one.frame, one.true_frame) for one in outcomes]


def test_a_cut_counts_when_both_clips_beside_it_are_decided() -> None:
    truth = truth_of(standing([0, 100, 200, 300, 400], "yyny"), [])
    assert [cut.frame for cut in truth.cuts] == [100]
    assert truth.spans == ((1, 198), (303, 400))


def test_frames_that_nobody_has_reviewed_say_nothing() -> None:
    truth = truth_of(standing([0, 100, 200, 300], "nny"), [])
    assert truth.cuts == ()
    assert told(compared(truth, at(50, 100, 150, 199, 200, 201, 202))) == [], "a cut beside a clip without a decision, and its surroundings"
    assert told(compared(truth, at(203))) == [("removed", 203, None)]


def test_nothing_is_reviewed_without_a_decision() -> None:
    assert truth_of(standing([0, 100, 200], "nn"), []) == Truth((), ())


def test_approval_confirms_a_cut_and_a_clip_without_one_in_it() -> None:
    truth = truth_of(standing([0, 100, 200]), [])
    assert told(compared(truth, at(100, 150))) == [("kept", 100, 100), ("removed", 150, None)]
    assert told(compared(truth, [])) == [("added", None, 100)]


@pytest.mark.parametrize(("frame", "is_hit"), [(98, True), (102, True), (97, False), (103, False)])
def test_a_detection_within_two_frames_is_the_cut(frame: int, is_hit: bool) -> None:
    (one,) = compared(truth_of(standing([0, 100, 200]), []), at(frame))
    assert one.is_hit is is_hit
    assert one.verdict is (Verdict.KEPT if is_hit else Verdict.MOVED), "near, but not the same: one cut to move"


def test_a_detection_and_a_cut_that_are_far_apart_are_two_corrections() -> None:
    truth = truth_of(standing([0, 100, 200]), [])
    assert told(compared(truth, at(100 + MOVED_FRAMES))) == [("moved", 125, 100)]
    assert told(compared(truth, at(100 + MOVED_FRAMES + 1))) == [("added", None, 100), ("removed", 126, None)]


def test_a_cut_that_a_person_moved_is_one_correction_with_its_distance() -> None:
    moved = [CutPointOperation("move", 101, 100)]
    (near,) = compared(truth_of(standing([0, 101, 200]), moved), at(100))
    assert (near.verdict, near.is_hit, near.moved_frames) == (Verdict.MOVED, True, 1)
    (right,) = compared(truth_of(standing([0, 101, 200]), moved), at(101))
    assert (right.verdict, right.moved_frames) == (Verdict.KEPT, 0), "a detector that has it where the person put it"

    far = [CutPointOperation("move", 160, 100)]
    (one,) = compared(truth_of(standing([0, 160, 200]), far), at(100))
    assert (one.verdict, one.is_hit, one.moved_frames) == (Verdict.MOVED, False, 60)


def test_where_people_put_cuts() -> None:
    def moved(new: int, old: int) -> CutPointOperation:
        return CutPointOperation("move", new, old)

    def added(frame: int) -> CutPointOperation:
        return CutPointOperation("add", frame)

    assert placed_cuts([moved(110, 100), moved(120, 110)]) == {120: 100}
    assert placed_cuts([moved(110, 100), moved(100, 110)]) == {}, "back where the detector has it"
    assert placed_cuts([added(50), moved(60, 50)]) == {60: None}
    assert placed_cuts([added(50), CutPointOperation("remove", 50)]) == {}


def test_a_cut_made_by_hand_is_one_that_the_detector_missed() -> None:
    truth = truth_of(standing([0, 40, 100, 200]), [CutPointOperation("add", 40)])
    assert told(compared(truth, at(100))) == [("added", None, 40), ("kept", 100, 100)]


def test_a_detection_anywhere_in_a_transition_is_its_cut() -> None:
    truth = truth_of(standing([0, 100, 200], spans={100: (90, 110)}), [])
    assert [one.verdict for one in compared(truth, at(88))] == [Verdict.KEPT]
    assert [one.verdict for one in compared(truth, at(113))] == [Verdict.KEPT]
    assert [one.verdict for one in compared(truth, at(114))] == [Verdict.MOVED]
    assert told(compared(truth, at(92, 108))) == [("kept", 92, 100), ("removed", 108, None)], "a second cut in one dissolve has to go"


def test_a_transition_beside_a_clip_without_a_decision_says_nothing() -> None:
    truth = truth_of(standing([0, 100, 200], "yn", spans={100: (90, 110)}), [])
    assert truth.spans == ((1, 88),)
    truth = truth_of(standing([0, 100, 200], "ny", spans={100: (90, 110)}), [])
    assert truth.spans == ((114, 200),)


def test_chapters_and_imported_cuts_are_not_the_detectors() -> None:
    truth = truth_of(standing([0, 100, 150, 200]), [], left_out_frames=[150])
    assert [cut.frame for cut in truth.cuts] == [100]
    assert told(compared(truth, at(100, 150, 152))) == [("kept", 100, 100)]
    assert told(compared(truth, at(100, 153))) == [("kept", 100, 100), ("removed", 153, None)]


def test_the_ends_of_the_file_are_no_cuts() -> None:
    truth = truth_of(standing([0, 200]), [])
    assert truth == Truth((), ((1, 200),))


def most_matches(cuts: Sequence[TrueCut], frames: Sequence[int], tolerance: int) -> int:
    """By trying everything."""
    if not frames:
        return 0
    first, rest = frames[0], frames[1:]
    found = most_matches(cuts, rest, tolerance)
    for place, cut in enumerate(cuts):
        if cut.first_frame - tolerance <= first <= cut.last_frame + tolerance:
            found = max(found, 1 + most_matches([*cuts[:place], *cuts[place + 1 :]], rest, tolerance))
    return found


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3), st.integers(0, 3)), max_size=5, unique_by=lambda one: one[0]),
    st.sets(st.integers(1, 34), max_size=5),
)
def test_as_many_detections_as_possible_are_matched(cuts: list[tuple[int, int, int]], frames: set[int]) -> None:
    known = tuple(TrueCut(frame, "hard", frame - before, frame + after) for frame, before, after in sorted(cuts))
    outcomes = compared(Truth(known, ((0, 40),)), at(*frames))
    assert sum(one.is_hit for one in outcomes) == most_matches(known, sorted(frames), 2)
    assert sorted(one.frame for one in outcomes if one.frame is not None) == sorted(frames)
    assert sorted(one.true_frame for one in outcomes if one.true_frame is not None) == sorted(cut.frame for cut in known)
