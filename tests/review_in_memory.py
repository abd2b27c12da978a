"""Review in memory: the pure core with a dict for the clips and a list for the ledger. The store must behave just like it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from heaters_dagster.domain import review
from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cuts import (
    Change,
    ClipChange,
    ReviewAction,
    ReviewClip,
    add_cut_point,
    edit_cut,
    move_cut_point,
    remove_cut_point,
    retired,
)
from heaters_dagster.domain.errors import StaleClipError
from heaters_dagster.domain.review import LedgerEntry


def clips_of(*edges: int, confidence: float | None = 0.5) -> list[ReviewClip]:
    """Saved pending clips between neighbouring `edges`, with ids 1, 2, ..."""
    return [
        ReviewClip(
            id=n,
            source_video_id=1,
            sequence=n,
            start_frame=start,
            end_frame=end,
            confidence=confidence,
            transition=None if start else Transition(CutKind.END),
        )
        for n, (start, end) in enumerate(pairwise(edges), start=1)
    ]


def picture(clips: Iterable[ReviewClip]) -> list[tuple[object, ...]]:
    """What a reviewer sees of the live clips, in order: everything but versions and pipeline progress."""
    live = sorted((clip for clip in clips if clip.is_live), key=lambda clip: clip.start_frame)
    return [
        (
            clip.id,
            clip.sequence,
            clip.start_frame,
            clip.end_frame,
            clip.decision,
            clip.grouped_with_clip_id,
            clip.confidence,
            clip.transition,
        )
        for clip in live
    ]


def cut_problems(clips: Iterable[ReviewClip]) -> list[str]:
    """Ranges of live clips that do not touch their cut or reach over the cuts beside it, and the beginning of the file anywhere else."""
    live = sorted((clip for clip in clips if clip.is_live), key=lambda clip: clip.start_frame)
    problems = []
    for before, clip in pairwise([None, *live]):
        assert clip is not None
        told = clip.transition
        if (told is not None and told.kind == CutKind.END) != (clip.start_frame == 0):
            problems.append(f"clip {clip.id} at frame {clip.start_frame} begins with {told}")
        if told is None or told.frames is None:
            continue
        least = clip.start_frame if before is None else before.start_frame
        if not (least <= told.frames[0] <= clip.start_frame and clip.start_frame - 1 <= told.frames[1] < clip.end_frame):
            problems.append(f"the range {told.frames} of clip {clip.id} is not right for {least}, {clip.start_frame}, {clip.end_frame}")
    return problems


def group_problems(clips: Iterable[ReviewClip]) -> list[str]:
    """Links that do not lead from an approved live clip to the approved live clip just before it."""
    known = list(clips)
    by_id = {clip.id: clip for clip in known}
    problems = []
    for clip in known:
        if clip.grouped_with_clip_id is None:
            continue
        other = by_id[clip.grouped_with_clip_id]
        if not (clip.is_live and other.is_live and clip.is_approved and other.is_approved and other.end_frame == clip.start_frame):
            problems.append(f"clip {clip.id} is grouped with {other.id}")
    return problems


@dataclass
class ReviewInMemory:
    """clips: by id, retired ones too. ledger: entries, oldest first. changes: what each action did. authors: by action id."""

    clips: dict[int, ReviewClip]
    ledger: list[LedgerEntry] = field(default_factory=list)
    changes: dict[int, tuple[ClipChange, ...]] = field(default_factory=dict)
    authors: dict[int, str] = field(default_factory=dict)
    next_sequence: int = 0

    @classmethod
    def of(cls, clips: Sequence[ReviewClip]) -> ReviewInMemory:
        return cls({clip.id: clip for clip in clips if clip.id is not None}, next_sequence=max(clip.sequence or 0 for clip in clips) + 1)

    @property
    def live(self) -> list[ReviewClip]:
        return sorted((clip for clip in self.clips.values() if clip.is_live), key=lambda clip: clip.start_frame)

    def approve(self, reviewer: str, *ids: int) -> int:
        return self._record(reviewer, review.approve([self.clips[n] for n in ids]))

    def skip(self, reviewer: str, *ids: int) -> int:
        return self._record(reviewer, review.skip([self.clips[n] for n in ids], beside=self.live))

    def archive(self, reviewer: str, *ids: int) -> int:
        return self._record(reviewer, review.archive([self.clips[n] for n in ids], beside=self.live))

    def group(self, reviewer: str, clip_id: int) -> int:
        return self._record(reviewer, review.group(self.live, clip_id))

    def add(self, reviewer: str, frame: int) -> int:
        return self._record(reviewer, add_cut_point(self.live, frame))

    def remove(self, reviewer: str, frame: int) -> int:
        return self._record(reviewer, remove_cut_point(self.live, frame))

    def move(self, reviewer: str, old: int, new: int) -> int:
        return self._record(reviewer, move_cut_point(self.live, old, new))

    def edit(self, reviewer: str, frame: int, transition: Transition) -> int:
        return self._record(reviewer, edit_cut(self.live, frame, transition))

    def undo(self, reviewer: str, action_id: int | None = None) -> int:
        entry = review.next_to_undo(self._own(reviewer)) if action_id is None else self.entry(action_id)
        self._checked_free(entry)
        return self._record(reviewer, review.undone(self.changes[entry.id], self.clips), target=entry, is_undone=True)

    def redo(self, reviewer: str) -> int:
        entry = self.entry(review.next_to_redo(self._own(reviewer)))
        self._checked_free(entry)
        return self._record(reviewer, review.redone(self.changes[entry.id], self.clips), target=entry, is_undone=False)

    def entry(self, action_id: int) -> LedgerEntry:
        return next(entry for entry in self.ledger if entry.id == action_id)

    def standing(self) -> list[LedgerEntry]:
        return [entry for entry in self.ledger if entry.stands]

    def expected(self, initial: dict[int, ReviewClip]) -> dict[int, ReviewClip]:
        """What every clip must be: as the newest standing action on it left it, else as it was at first, else retired."""
        found = dict(initial)
        for changes in self.changes.values():
            for change in changes:
                assert change.after.id is not None
                if change.before is None:
                    found[change.after.id] = retired(change.after)
        for entry in self.standing():
            for change in self.changes[entry.id]:
                assert change.after.id is not None
                found[change.after.id] = change.after
        return found

    def _own(self, reviewer: str) -> list[LedgerEntry]:
        return [entry for entry in reversed(self.ledger) if self.authors[entry.id] == reviewer]

    def _checked_free(self, entry: LedgerEntry) -> None:
        blocker = review.in_the_way(entry, self.ledger)
        if blocker is not None:
            raise StaleClipError(f"action {blocker.id} by {self.authors[blocker.id]} came after")

    def _record(self, reviewer: str, change: Change, *, target: LedgerEntry | None = None, is_undone: bool = False) -> int:
        done = []
        for step in change.clips:
            after = step.after
            if after.id is None:
                after = replace(after, id=max(self.clips) + 1, sequence=self.next_sequence)
                self.next_sequence += 1
            assert after.id is not None
            assert step.before == self.clips.get(after.id)
            self.clips[after.id] = after
            done.append(ClipChange(step.before, after))
        if target is not None:
            self.ledger[self.ledger.index(target)] = replace(target, undone=is_undone)
        action_id = len(self.ledger) + 1
        self.ledger.append(
            LedgerEntry(
                id=action_id,
                action=change.action,
                source_video_id=1,
                clip_ids=Change(change.action, tuple(done)).clip_ids,
                target_action_id=target.id if target else None,
            )
        )
        if target is None or change.action not in (ReviewAction.UNDO, ReviewAction.REDO):
            self.changes[action_id] = tuple(done)
        self.authors[action_id] = reviewer
        return action_id
