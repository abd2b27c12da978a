import json
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from heaters_dagster.domain import review
from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cuts import ClipChange, ReviewAction, ReviewClip, mece_problems
from heaters_dagster.domain.errors import BadRequestError, CutError, HeatersError, NothingToUndoError, StaleClipError, VerdictStandsError
from heaters_dagster.domain.review import LedgerEntry
from heaters_dagster.domain.states import APPROVED_STATES, ClipState
from tests.review_in_memory import ReviewInMemory, clips_of, cut_problems, group_problems, picture

FRAMES = 40
REVIEWERS = ("ann", "ben")


def review_of(*edges: int) -> ReviewInMemory:
    return ReviewInMemory.of(clips_of(*edges))


@pytest.mark.parametrize("state", sorted(ClipState))
def test_every_clip_can_be_approved_and_an_approved_one_is_left_alone(state: ClipState) -> None:
    clip = replace(clips_of(0, 10)[0], state=state)
    change = review.approve([clip])
    if state in APPROVED_STATES:
        assert change.clips == ()
    else:
        assert change.clips[0].after == replace(clip, state=ClipState.REVIEW_APPROVED, version=2)


def test_another_export_profile_approves_an_exported_clip_anew() -> None:
    clip = replace(clips_of(0, 10)[0], state=ClipState.EXPORTED)
    after = review.approve([clip], export_profile="delivery").clips[0].after
    assert (after.state, after.export_profile) == (ClipState.REVIEW_APPROVED, "delivery")
    assert review.loses_export(clip, after)


@pytest.mark.parametrize(("decide", "state"), [(review.skip, ClipState.REVIEW_SKIPPED), (review.archive, ClipState.REVIEW_ARCHIVED)])
def test_a_clip_put_aside_stays_live_and_leaves_its_group(decide: object, state: ClipState) -> None:
    first, second, third = (replace(clip, state=ClipState.EXPORTED) for clip in clips_of(0, 10, 20, 30))
    clips = [first, replace(second, grouped_with_clip_id=1), replace(third, grouped_with_clip_id=2)]
    change = decide([clips[1]], beside=clips)  # type: ignore[operator]
    put_aside, freed = change.clips
    assert (put_aside.after.state, put_aside.after.is_live, put_aside.after.grouped_with_clip_id) == (state, True, None)
    assert (freed.after.id, freed.after.state, freed.after.grouped_with_clip_id) == (3, ClipState.EXPORTED, None)
    assert review.loses_export(put_aside.before, put_aside.after)
    assert not review.loses_export(freed.before, freed.after), "its frames are as they were; the file stays"


def test_grouping_approves_both_and_links_the_later_to_the_earlier() -> None:
    change = review.group(clips_of(0, 10, 20, 30), 2)
    assert [(c.after.id, c.after.state, c.after.grouped_with_clip_id) for c in change.clips] == [
        (1, ClipState.REVIEW_APPROVED, None),
        (2, ClipState.REVIEW_APPROVED, 1),
    ]


def test_grouping_leaves_exported_files_alone() -> None:
    clips = [replace(clip, state=ClipState.EMBEDDED) for clip in clips_of(0, 10, 20)]
    change = review.group(clips, 2)
    assert [(c.after.id, c.after.state) for c in change.clips] == [(2, ClipState.EMBEDDED)]
    assert change.clip_ids == (1, 2)


@pytest.mark.parametrize("verdict", [ClipState.REVIEW_SKIPPED, ClipState.REVIEW_ARCHIVED])
@pytest.mark.parametrize("decided", [1, 2])
def test_a_group_does_not_approve_what_somebody_has_put_aside(verdict: ClipState, decided: int) -> None:
    clips = [replace(clip, state=verdict) if clip.id == decided else clip for clip in clips_of(0, 10, 20, 30)]
    with pytest.raises(VerdictStandsError, match=f"clip id:{decided} was {verdict.value.removeprefix('review_')}"):
        review.group(clips, 2)


def test_the_first_clip_has_nothing_to_be_grouped_with() -> None:
    with pytest.raises(CutError, match="clip id:1 is the first"):
        review.group(clips_of(0, 10, 20), 1)


def test_a_replaced_clip_cannot_be_decided_on() -> None:
    clip = replace(clips_of(0, 10)[0], is_live=False)
    for decide in (review.approve, review.skip, review.archive):
        with pytest.raises(StaleClipError, match="clip id:1 is no longer in the cut list"):
            decide([clip])
    with pytest.raises(StaleClipError, match="clip id:1 is no longer in the cut list"):
        review.group([clip], 1)


def test_undo_goes_back_step_by_step_and_redo_comes_forward_again() -> None:
    d = review_of(0, 10, 20)
    pictures = [picture(d.live)]
    for step in (lambda: d.approve("ann", 1, 2), lambda: d.add("ann", 5), lambda: d.move("ann", 5, 7), lambda: d.skip("ann", 2)):
        step()
        pictures.append(picture(d.live))
    for expected in reversed(pictures[:-1]):
        d.undo("ann")
        assert picture(d.live) == expected
    with pytest.raises(NothingToUndoError, match="nothing to undo"):
        d.undo("ann")
    for expected in pictures[1:]:
        d.redo("ann")
        assert picture(d.live) == expected
    with pytest.raises(NothingToUndoError, match="nothing to redo"):
        d.redo("ann")


def test_a_new_decision_ends_what_could_be_redone() -> None:
    d = review_of(0, 10, 20, 30)
    d.approve("ann", 1)
    d.approve("ann", 2)
    d.undo("ann")
    d.undo("ann")
    d.skip("ann", 3)
    d.undo("ann")
    d.redo("ann")
    assert d.clips[3].state == ClipState.REVIEW_SKIPPED
    with pytest.raises(NothingToUndoError):
        d.redo("ann")


def test_a_decision_that_changes_nothing_leaves_undo_and_redo_as_they_were() -> None:
    d = review_of(0, 10, 20)
    d.approve("ann", 1)
    d.skip("ann", 2)
    d.undo("ann")
    assert d.entry(d.approve("ann", 1)).clip_ids == ()
    d.redo("ann")
    assert d.clips[2].state == ClipState.REVIEW_SKIPPED


def test_undo_is_refused_once_another_reviewer_has_decided_on_the_clip() -> None:
    d = review_of(0, 10)
    d.approve("ann", 1)
    d.skip("ben", 1)
    with pytest.raises(StaleClipError, match="by ben"):
        d.undo("ann")
    d.undo("ben")
    d.undo("ann")
    assert d.clips[1].state == ClipState.PENDING_REVIEW


def test_undo_is_refused_when_the_clip_was_changed_without_an_action() -> None:
    d = review_of(0, 10)
    d.approve("ann", 1)
    d.clips[1] = replace(d.clips[1], end_frame=9)
    with pytest.raises(StaleClipError, match="clip id:1 changed since"):
        d.undo("ann")


@pytest.mark.parametrize("state", sorted(APPROVED_STATES))
def test_what_the_pipeline_did_with_an_approved_clip_does_not_hinder_undo(state: ClipState) -> None:
    d = review_of(0, 10)
    d.approve("ann", 1)
    d.clips[1] = replace(d.clips[1], state=state)
    d.undo("ann")
    assert d.clips[1].state == ClipState.PENDING_REVIEW


def test_undoing_an_archive_of_an_exported_clip_approves_it_again_for_export() -> None:
    d = review_of(0, 10)
    d.approve("ann", 1)
    d.clips[1] = replace(d.clips[1], state=ClipState.EMBEDDED)
    d.archive("ann", 1)
    d.undo("ann")
    assert d.clips[1].state == ClipState.REVIEW_APPROVED


def test_undoing_a_group_keeps_the_exported_files() -> None:
    d = review_of(0, 10, 20)
    d.approve("ann", 1, 2)
    d.group("ann", 2)
    d.clips[2] = replace(d.clips[2], state=ClipState.EXPORTED)
    d.undo("ann")
    assert (d.clips[2].state, d.clips[2].grouped_with_clip_id) == (ClipState.EXPORTED, None)


def test_undo_leaves_a_profile_that_was_chosen_later() -> None:
    d = review_of(0, 10)
    d.approve("ann", 1)
    d.clips[1] = replace(d.clips[1], export_profile="delivery")
    d.undo("ann")
    assert (d.clips[1].state, d.clips[1].export_profile) == (ClipState.PENDING_REVIEW, "delivery")


def test_an_older_action_can_be_undone_by_itself_when_nothing_newer_touches_its_clips() -> None:
    d = review_of(0, 10, 20)
    first = d.approve("ann", 1)
    d.approve("ann", 2)
    d.undo("ann", first)
    assert [clip.state for clip in d.live] == [ClipState.PENDING_REVIEW, ClipState.REVIEW_APPROVED]
    d.redo("ann")
    assert [clip.state for clip in d.live] == [ClipState.REVIEW_APPROVED, ClipState.REVIEW_APPROVED]


def test_an_older_action_cannot_be_undone_under_a_newer_one_even_if_the_clip_looks_the_same() -> None:
    d = review_of(0, 10)
    first = d.approve("ann", 1)
    d.skip("ann", 1)
    d.approve("ann", 1)
    with pytest.raises(StaleClipError, match="action 3 by ann came after"):
        d.undo("ann", first)


def test_a_cut_beside_which_another_reviewer_worked_on_cannot_be_undone() -> None:
    d = review_of(0, 20)
    d.add("ann", 10)
    d.approve("ben", 2)
    with pytest.raises(StaleClipError, match="by ben"):
        d.undo("ann")


def test_a_link_is_not_brought_back_to_a_clip_that_somebody_has_cut_since() -> None:
    d = review_of(0, 10, 20)
    d.group("ann", 2)
    d.skip("ann", 2)
    d.add("ben", 5)
    with pytest.raises(StaleClipError, match="by ben"):
        d.undo("ann")


def test_approval_cannot_be_undone_under_a_group_that_rests_on_it() -> None:
    d = review_of(0, 10, 20)
    d.approve("ann", 1)
    d.group("ben", 2)
    with pytest.raises(StaleClipError, match="by ben"):
        d.undo("ann")


def test_a_group_is_not_redone_on_a_clip_whose_approval_was_undone_meanwhile() -> None:
    d = review_of(0, 10, 20)
    d.approve("ann", 1)
    d.group("ben", 2)
    d.undo("ben")
    d.undo("ann")
    with pytest.raises(StaleClipError, match="clip id:1 changed since"):
        d.redo("ben")
    d.redo("ann")
    d.redo("ben")
    assert [clip.grouped_with_clip_id for clip in d.live] == [None, 1]


def test_a_join_is_not_redone_under_a_group_that_an_undo_brought_back() -> None:
    d = review_of(0, 10, 20, 30)
    d.group("ann", 3)
    d.add("ben", 25)
    d.remove("ann", 10)
    d.undo("ann")
    d.undo("ben")
    assert d.clips[3].grouped_with_clip_id == 2
    with pytest.raises(StaleClipError, match="clip id:3 changed since"):
        d.redo("ann")


def test_undo_and_redo_bring_kind_and_range_back() -> None:
    d = review_of(0, 20, 40, 60)
    dissolve, narrow = Transition(CutKind.DISSOLVE, 15, 24), Transition(CutKind.FADE, 19, 20)
    d.edit("ann", 20, dissolve)
    d.edit("ann", 40, Transition(CutKind.WIPE, 30, 41))
    pictures = [picture(d.live)]
    steps = [
        lambda: d.edit("ann", 20, narrow),
        lambda: d.add("ann", 33),
        lambda: d.move("ann", 20, 26),
        lambda: d.move("ann", 33, 41 - 5),
        lambda: d.remove("ann", 26),
        lambda: d.remove("ann", 36),
        lambda: d.approve("ann", 3),
        lambda: d.edit("ann", 40, Transition(CutKind.JUMP)),
    ]
    for step in steps:
        step()
        pictures.append(picture(d.live))
    for expected in reversed(pictures[:-1]):
        d.undo("ann")
        assert picture(d.live) == expected
    for expected in pictures[1:]:
        d.redo("ann")
        assert picture(d.live) == expected


def test_a_range_is_not_brought_back_over_a_cut_that_somebody_has_added_since() -> None:
    d = review_of(0, 20, 40)
    d.edit("ann", 20, Transition(CutKind.DISSOLVE, 10, 24))
    d.edit("ann", 20, Transition(CutKind.DISSOLVE, 18, 24))
    d.add("ben", 14)
    with pytest.raises(StaleClipError, match="action 3 by ben came after"):
        d.undo("ann")


def test_what_was_decided_before_kinds_were_stored_can_be_undone() -> None:
    """A ledger of before, and clips that the migration, or a person, has given kinds since."""
    d = review_of(0, 20, 40)
    d.approve("ann", 2)
    d.move("ann", 20, 25)
    old = {
        number: tuple(
            ClipChange(*(clip and review.clip_of_snapshot(_of_before(clip)) for clip in (change.before, change.after)))  # type: ignore[arg-type]
            for change in changes
        )
        for number, changes in d.changes.items()
    }
    d.changes = old
    told = Transition(CutKind.DISSOLVE, 24, 30)
    d.clips[2] = replace(d.clips[2], transition=told)
    d.undo("ann")
    assert (d.clips[2].start_frame, d.clips[2].transition) == (20, Transition(CutKind.DISSOLVE)), "the range does not touch the cut here"
    d.undo("ann")
    assert (d.clips[2].state, d.clips[2].transition) == (ClipState.PENDING_REVIEW, Transition(CutKind.DISSOLVE))
    assert d.clips[1].transition == Transition(CutKind.END)


def _of_before(clip: ReviewClip) -> dict[str, object]:
    return {name: value for name, value in review.snapshot(clip).items() if name != "transition"}


def test_undo_and_redo_can_be_kept_to_one_source_video() -> None:
    def entry(
        n: int, video: int, action: ReviewAction = ReviewAction.APPROVE, target: int | None = None, undone: bool = False
    ) -> LedgerEntry:
        return LedgerEntry(id=n, action=action, source_video_id=video, clip_ids=(n,), target_action_id=target, undone=undone)

    ledger = [entry(4, 7, ReviewAction.UNDO, 3), entry(3, 7, undone=True), entry(2, 8), entry(1, 7)]
    assert review.next_to_undo(ledger).id == 2
    assert review.next_to_undo(ledger, source_video_id=7).id == 1
    assert review.next_to_redo(ledger) == 3
    with pytest.raises(NothingToUndoError):
        review.next_to_redo(ledger, source_video_id=8)


def test_a_snapshot_survives_json_and_names_the_decision() -> None:
    clip = replace(clips_of(0, 10)[0], state=ClipState.KEYFRAMED, grouped_with_clip_id=4)
    saved = json.loads(json.dumps(review.snapshot(clip)))
    assert review.clip_of_snapshot({**saved, "start_time_seconds": 0.0}) == replace(clip, state=ClipState.REVIEW_APPROVED)


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\x00b", "a\u202eb"])
def test_a_reviewer_needs_a_name_that_can_be_read(name: str) -> None:
    with pytest.raises(BadRequestError, match="1 to 80 printable characters"):
        review.checked_reviewer_name(name)


@pytest.mark.parametrize("name", ["Ann", "José", "山田", "نیلوفر‌ها"])
def test_names_of_all_scripts_are_names(name: str) -> None:
    assert review.checked_reviewer_name(name) == name


def test_blanks_round_a_name_do_not_make_another_reviewer() -> None:
    assert review.checked_reviewer_name("  Ann  Lee ") == "Ann Lee"


class TwoReviewers(RuleBasedStateMachine):
    """Any interleaving of two reviewers and the pipeline, legal requests and illegal ones."""

    @initialize(edges=st.sets(st.integers(1, FRAMES - 1), max_size=5), reach=st.integers(0, 9))
    def begin(self, edges: set[int], reach: int) -> None:
        clips = clips_of(0, *sorted(edges), FRAMES)
        for left, right in pairwise(list(clips)):
            told = Transition(CutKind.DISSOLVE, max(0, right.start_frame - reach), right.start_frame + reach)
            fitting = told.around(right.start_frame, start_frame=left.start_frame, end_frame=right.end_frame)
            clips[clips.index(right)] = replace(right, transition=fitting)
        self.in_memory = ReviewInMemory.of(clips)
        self.initial = dict(self.in_memory.clips)
        self.seen = {clip.id: (clip.sequence, clip.source_video_id) for clip in self.in_memory.live}

    def attempt(self, action: object, *arguments: object) -> bool:
        before = (dict(self.in_memory.clips), list(self.in_memory.ledger))
        try:
            action(*arguments)  # type: ignore[operator]
        except HeatersError:
            assert before == (self.in_memory.clips, self.in_memory.ledger), "an illegal action leaves no change"
            return False
        return True

    def nth(self, n: int) -> ReviewClip:
        return self.in_memory.live[n % len(self.in_memory.live)]

    @rule(who=st.sampled_from(REVIEWERS), frame=st.integers(-1, FRAMES + 1))
    def add(self, who: str, frame: int) -> None:
        self.attempt(self.in_memory.add, who, frame)

    @rule(who=st.sampled_from(REVIEWERS), n=st.integers(0, 99))
    def remove(self, who: str, n: int) -> None:
        self.attempt(self.in_memory.remove, who, self.nth(n).start_frame)

    @rule(who=st.sampled_from(REVIEWERS), n=st.integers(0, 99), new=st.integers(0, FRAMES))
    def move(self, who: str, n: int, new: int) -> None:
        self.attempt(self.in_memory.move, who, self.nth(n).start_frame, new)

    @rule(who=st.sampled_from(REVIEWERS), n=st.integers(0, 99), kind=st.sampled_from(CutKind), reach=st.tuples(*[st.integers(-2, 9)] * 2))
    def edit(self, who: str, n: int, kind: CutKind, reach: tuple[int, int]) -> None:
        cut = self.nth(n).start_frame
        first, last = cut - reach[0], cut + reach[1]
        with suppress(CutError):
            self.attempt(self.in_memory.edit, who, cut, Transition(kind, first, last) if first <= last else Transition(kind))

    @rule(
        who=st.sampled_from(REVIEWERS),
        ns=st.sets(st.integers(0, 99), min_size=1, max_size=3),
        what=st.sampled_from(["approve", "skip", "archive"]),
    )
    def decide(self, who: str, ns: set[int], what: str) -> None:
        self.attempt(getattr(self.in_memory, what), who, *sorted({self.nth(n).id for n in ns}))

    @rule(who=st.sampled_from(REVIEWERS), n=st.integers(0, 99))
    def group(self, who: str, n: int) -> None:
        self.attempt(self.in_memory.group, who, self.nth(n).id)

    @rule(n=st.integers(0, 99), state=st.sampled_from(sorted(APPROVED_STATES)))
    def pipeline(self, n: int, state: ClipState) -> None:
        clip = self.nth(n)
        if clip.is_approved:
            self.in_memory.clips[clip.id] = replace(clip, state=state)

    @rule(who=st.sampled_from(REVIEWERS))
    def undo(self, who: str) -> None:
        self.attempt(self.in_memory.undo, who)

    @rule(who=st.sampled_from(REVIEWERS))
    def redo(self, who: str) -> None:
        self.attempt(self.in_memory.redo, who)

    @rule(who=st.sampled_from(REVIEWERS))
    def undo_and_redo(self, who: str) -> None:
        before = picture(self.in_memory.live)
        if self.attempt(self.in_memory.undo, who):
            self.in_memory.redo(who)
            assert picture(self.in_memory.live) == before

    @rule(n=st.integers(0, 99))
    def undo_from_history(self, n: int) -> None:
        if standing := self.in_memory.standing():
            entry = standing[n % len(standing)]
            self.attempt(self.in_memory.undo, self.in_memory.authors[entry.id], entry.id)

    @invariant()
    def clips_stay_mece(self) -> None:
        assert mece_problems(self.in_memory.live, FRAMES) == []

    @invariant()
    def ranges_stay_at_their_cuts_and_between_the_cuts_beside(self) -> None:
        assert cut_problems(self.in_memory.live) == []

    @invariant()
    def groups_hold(self) -> None:
        assert group_problems(self.in_memory.clips.values()) == []

    @invariant()
    def ids_and_sequences_are_never_reused(self) -> None:
        for clip in self.in_memory.clips.values():
            assert self.seen.setdefault(clip.id, (clip.sequence, clip.source_video_id)) == (clip.sequence, clip.source_video_id)
        assert len({sequence for sequence, _ in self.seen.values()}) == len(self.seen)

    @invariant()
    def versions_only_rise(self) -> None:
        self.versions = getattr(self, "versions", {})
        for clip in self.in_memory.clips.values():
            assert clip.version >= self.versions.get(clip.id, 0)
            self.versions[clip.id] = clip.version

    @invariant()
    def every_clip_is_as_the_newest_standing_action_left_it(self) -> None:
        expected = self.in_memory.expected(self.initial)
        assert review.changed_since(expected.values(), self.in_memory.clips) == []
        assert expected.keys() == self.in_memory.clips.keys()
        assert {n: clip.transition for n, clip in expected.items()} == {n: clip.transition for n, clip in self.in_memory.clips.items()}

    def teardown(self) -> None:
        if not hasattr(self, "in_memory"):
            return
        while standing := self.in_memory.standing():
            self.in_memory.undo(self.in_memory.authors[standing[-1].id], standing[-1].id)
        assert picture(self.in_memory.live) == picture(self.initial.values()), "undoing everything gives the first cut list back"


TestTwoReviewers = TwoReviewers.TestCase
TestTwoReviewers.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
