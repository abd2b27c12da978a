"""What becomes of clips when another file takes the place of theirs: the same frames, frames that look the same, and none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from heaters_dagster.domain import looks, replacement
from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cuts import ReviewClip
from heaters_dagster.domain.looks import Looks
from heaters_dagster.domain.replacement import Fate, Film, NewSpan
from heaters_dagster.domain.states import ClipState
from tests.domain.test_looks import pictures, with_noise

RATE = 25.0
BY_HAND = Transition(CutKind.HAND)
#: Three scenes of 40 frames; each frame differs from the one before by a little, as in a film.
SCENES = np.concatenate([with_noise(np.repeat(pictures(1, seed=seed), 40, axis=0), 4, seed=seed) for seed in (1, 2, 3)])
OTHER = with_noise(np.repeat(pictures(1, seed=8), 30, axis=0), 4, seed=8)


def film(frames: np.ndarray, *, rate: float = RATE) -> Film:
    return Film(looks.looks_of(frames), np.arange(len(frames)) / rate, len(frames) / rate)


def clips(*cuts: int, states: Sequence[ClipState] = ()) -> list[ReviewClip]:
    edges = list(pairwise([0, *cuts, len(SCENES)]))
    decisions = [*states, *[ClipState.REVIEW_APPROVED] * (len(edges) - len(states))]
    return [
        ReviewClip(id=number + 1, source_video_id=1, sequence=number + 1, start_frame=start, end_frame=end, state=state)
        for number, ((start, end), state) in enumerate(zip(edges, decisions, strict=True))
    ]


def told(new: Film, of: Sequence[ReviewClip] | None = None) -> list[tuple[Fate, int | None, int | None]]:
    found = replacement.fates(film(SCENES), new, clips(40, 80) if of is None else of)
    return [(one.fate, one.start_frame, one.end_frame) for one in found]


def test_the_same_frames_keep_their_clips() -> None:
    assert told(film(SCENES.copy())) == [(Fate.KEPT, 0, 40), (Fate.KEPT, 40, 80), (Fate.KEPT, 80, 120)]


def test_frames_before_them_move_them() -> None:
    longer = film(np.concatenate([OTHER, SCENES]))
    assert told(longer) == [(Fate.MOVED, 30, 70), (Fate.MOVED, 70, 110), (Fate.MOVED, 110, 150)]
    assert [one.moved_frames for one in replacement.fates(film(SCENES), longer, clips(40, 80))] == [30, 30, 30]


def test_a_part_that_is_cut_out_is_gone_and_what_follows_moves() -> None:
    shorter = film(np.concatenate([SCENES[:40], SCENES[80:]]))
    assert told(shorter) == [(Fate.KEPT, 0, 40), (Fate.GONE, None, None), (Fate.MOVED, 40, 80)]
    half = film(np.concatenate([SCENES[:60], SCENES[80:]]))
    assert told(half) == [(Fate.KEPT, 0, 40), (Fate.PARTLY, 40, 60), (Fate.MOVED, 60, 100)]


def test_frames_that_only_look_the_same_are_not_certain() -> None:
    better = film(with_noise(SCENES, 3))
    found = replacement.fates(film(SCENES), better, clips(40, 80))
    assert [(one.fate, one.start_frame) for one in found] == [(Fate.ALIKE, 0), (Fate.ALIKE, 40), (Fate.ALIKE, 80)]
    assert all(one.share == 1.0 for one in found)
    moved = film(np.concatenate([OTHER, with_noise(SCENES, 3)]))
    assert told(moved) == [(Fate.ALIKE, 30, 70), (Fate.ALIKE, 70, 110), (Fate.ALIKE, 110, 150)]


def test_another_frame_rate_maps_clips_by_time() -> None:
    twice = film(np.repeat(SCENES, 2, axis=0), rate=2 * RATE)
    assert told(twice) == [(Fate.ALIKE, 0, 80), (Fate.ALIKE, 80, 160), (Fate.ALIKE, 160, 240)]


def test_another_film_has_no_counterparts() -> None:
    other = film(with_noise(pictures(120, seed=77), 2))
    assert {fate for fate, _, _ in told(other)} == {Fate.GONE}


def test_clips_of_one_still_shot_stay_side_by_side() -> None:
    """Each of them alone fits as well some frames away, where its neighbour is."""
    still = np.repeat(pictures(1, seed=3), len(SCENES), axis=0)
    copy = film(with_noise(still, 6, seed=21))
    found = replacement.fates(film(with_noise(still, 6, seed=20)), copy, clips(20, 40, 60, 80, 100))
    assert [(one.fate, one.start_frame, one.end_frame) for one in found] == [(Fate.ALIKE, at, at + 20) for at in range(0, 120, 20)]


def test_dark_parts_belong_where_what_is_around_them_does() -> None:
    """The look of one dark picture is that of any other."""

    def night(seed: int) -> np.ndarray:
        return with_noise(np.full((40, *SCENES.shape[1:]), 20, np.uint8), 1, seed=seed)

    old = np.concatenate([SCENES[:40], night(1), SCENES[80:]])
    for new, expected in (
        (with_noise(old, 1), [(Fate.ALIKE, 0), (Fate.ALIKE, 40), (Fate.ALIKE, 80)]),
        (np.concatenate([with_noise(pictures(40, seed=77), 2), night(2), with_noise(pictures(40, seed=78), 2)]), [(Fate.GONE, None)] * 3),
    ):
        assert [(one.fate, one.start_frame) for one in replacement.fates(film(old), film(new), clips(40, 80))] == expected


def test_still_and_black_parts_stay_where_they_are() -> None:
    """Every frame of them is the same: nothing says where they belong but the time."""
    black = np.zeros((30, 27, 48, 3), np.uint8)
    still = np.concatenate([black, np.repeat(pictures(1, seed=5), 60, axis=0), black])
    old = film(still)
    found = replacement.fates(old, film(still.copy()), clips(30, 90))
    assert [(one.fate, one.start_frame, one.end_frame) for one in found] == [(Fate.KEPT, 0, 30), (Fate.KEPT, 30, 90), (Fate.KEPT, 90, 120)]


def test_the_new_clips_cover_every_frame_and_what_nobody_saw_is_cut_where_the_detector_cuts() -> None:
    new = film(np.concatenate([OTHER, SCENES[:40], SCENES[80:]]))
    found = replacement.fates(film(SCENES), new, clips(40, 80))
    made = replacement.spans(found, len(new), [10, 30, 45, 110])
    assert [(one.start_frame, one.end_frame, one.source and one.source.clip.id) for one in made] == [
        (0, 10, None), (10, 30, None), (30, 70, 1), (70, 110, 3)
    ]  # fmt: skip
    assert replacement.spans([], 20, [5]) == [NewSpan(0, 5), NewSpan(5, 20)]


@pytest.mark.parametrize(
    ("fate", "trusts", "back"),
    [
        (Fate.KEPT, False, False),
        (Fate.MOVED, False, False),
        (Fate.ALIKE, False, True),
        (Fate.ALIKE, True, False),
        (Fate.PARTLY, True, True),
    ],
)
def test_a_decision_goes_back_to_review_unless_the_frames_are_certain_or_a_person_trusts_their_likeness(
    fate: Fate, trusts: bool, back: bool
) -> None:
    (approved, pending), _ = clips(40, 80, states=[ClipState.EMBEDDED, ClipState.PENDING_REVIEW])[:2], None
    spans = [NewSpan(0, 40, replacement.ClipFate(clip, fate, 0, 40)) for clip in (approved, pending)]
    assert [replacement.goes_back(span, trusts_likeness=trusts) for span in spans] == [back, False]
    assert [replacement.state_in_new(span) for span in spans] == [ClipState.REVIEW_APPROVED, ClipState.PENDING_REVIEW]
    assert replacement.state_in_new(NewSpan(0, 3)) == ClipState.PENDING_REVIEW


def test_the_words_say_what_becomes_of_a_clip() -> None:
    (clip,) = clips()
    fates = [
        replacement.ClipFate(clip, Fate.KEPT, 0, 120, 1.0),
        replacement.ClipFate(clip, Fate.MOVED, 30, 150, 1.0),
        replacement.ClipFate(clip, Fate.ALIKE, 0, 120, 0.97),
        replacement.ClipFate(clip, Fate.PARTLY, 0, 60, 0.5),
        replacement.ClipFate(clip, Fate.GONE),
    ]
    assert [one.words for one in fates] == [
        "kept",
        "kept, 30 frames later",
        "looks the same (97 % of its frames), at the same frames",
        "only 50 % of its frames are there: goes back to review",
        "without counterpart",
    ]
    assert replacement.counts(fates) == dict.fromkeys(Fate, 1)
    assert isinstance(film(SCENES).looks, Looks)


def test_what_a_cut_is_goes_with_its_clip() -> None:
    first, second, third = clips(40, 80)
    dissolve = Transition(CutKind.DISSOLVE, 36, 43)
    old = [replace(first, transition=Transition(CutKind.END)), replace(second, transition=dissolve), replace(third, transition=BY_HAND)]
    new = film(np.concatenate([OTHER, SCENES[10:]]))
    detected: dict[int, Transition | None] = {15: Transition(CutKind.FADE, 12, 16), 30: Transition(CutKind.HARD)}
    spans = replacement.spans(replacement.fates(film(SCENES), new, old), len(new), detected)
    made = replacement.with_transitions(spans, detected)
    assert [(one.start_frame, one.transition) for one in made] == [
        (0, Transition(CutKind.END)),
        (15, Transition(CutKind.FADE, 12, 16)),
        (30, None),
        (60, Transition(CutKind.DISSOLVE, 56, 63)),
        (100, BY_HAND),
    ]
    assert made[2].source is not None
    assert made[2].source.fate is Fate.PARTLY, "its beginning is not there: nobody knows what the cut is"
