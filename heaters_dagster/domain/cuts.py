"""The cut algebra: clips are half-open frame ranges, and adding, removing or moving a cut point is a function from live clips to a Change.

Nothing here touches a database. The functions look only at the clips next to the cut, so a caller may pass all live clips of a
source video or just those around the frame: the result is the same.

The confidence of a clip is that of its weaker boundary; the confidence of single boundaries is not kept. So the rule is cautious: a clip
made by a cut point operation takes the lowest confidence of the clips it was made from, and when a person cuts a clip without a detected
boundary, the new clips get MANUAL_CONFIDENCE. A moved cut keeps the confidences of its neighbours.

What a cut is (`Transition`) is kept by the clip that begins at it. A new cut is made by hand. A moved cut keeps its kind, because it is the
same change of shots at a better place; its range stays where it is, since the picture has not changed, and goes when the cut no longer
touches it. No range reaches over the next cut: one that would ends there. A removed cut takes both with it, and undo brings them back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from heaters_dagster.domain.cut_kinds import GIVEN_KINDS, SUDDEN_KINDS, CutKind, Transition
from heaters_dagster.domain.errors import CutError
from heaters_dagster.domain.states import APPROVED_STATES, ClipState

#: Confidence of a cut that a person made.
MANUAL_CONFIDENCE = 1.0


class ReviewAction(StrEnum):
    """What a reviewer can do; the words of the review ledger.

    EDIT_CUT: another kind or range of a cut. RECUT: new cuts by force, after review had begun. REPLACE: take over the clips and decisions
    of a source video whose file is replaced.
    SEND_BACK: send clips back to review. DELETE, RENAME: delete or rename a source video. REPLACE, DELETE and RENAME cannot be undone.
    EDIT_FACTS: what is known of a source video; undone only where it is named. IMPORT_CUTS: the cuts of a list of another program.
    """

    APPROVE = "approve"
    SKIP = "skip"
    ARCHIVE = "archive"
    GROUP = "group"
    ADD_CUT_POINT = "add_cut_point"
    REMOVE_CUT_POINT = "remove_cut_point"
    MOVE_CUT_POINT = "move_cut_point"
    EDIT_CUT = "edit_cut"
    UNDO = "undo"
    REDO = "redo"
    RECUT = "recut"
    REPLACE = "replace"
    SEND_BACK = "send_back"
    RENAME = "rename"
    DELETE = "delete"
    EDIT_FACTS = "edit_facts"
    IMPORT_CUTS = "import_cuts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewClip:
    """What review knows about a clip: its frames, the decision on it, and its place in the video.

    id, sequence: None for a clip that a Change makes and nobody has saved yet. [start_frame, end_frame): frames, end exclusive.
    is_live: False once a cut point operation has replaced it. version: rises with every review action that changes the clip.
    grouped_with_clip_id: the live clip before it, both approved. confidence: 0..1 of the weaker boundary, None without a detected one.
    transition: of the cut at which it begins; None: nobody knows.
    """

    id: int | None
    source_video_id: int
    sequence: int | None
    start_frame: int
    end_frame: int
    state: ClipState = ClipState.PENDING_REVIEW
    is_live: bool = True
    version: int = 1
    grouped_with_clip_id: int | None = None
    confidence: float | None = None
    export_profile: str = "stream_copy"
    transition: Transition | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start_frame < self.end_frame:
            raise CutError(f"a clip cannot have the frames {self.start_frame}..{self.end_frame - 1}")

    @property
    def frame_count(self) -> int:
        return self.end_frame - self.start_frame

    @property
    def is_approved(self) -> bool:
        """Whether the standing decision is "approved", however far the pipeline has come with it."""
        return self.state in APPROVED_STATES

    @property
    def decision(self) -> ClipState:
        """The review state: `review_approved` for a clip that is being or has been exported."""
        return ClipState.REVIEW_APPROVED if self.is_approved else self.state


@dataclass(frozen=True, slots=True)
class ClipChange:
    """One clip before and after an action. before: None for a clip the action makes."""

    before: ReviewClip | None
    after: ReviewClip


@dataclass(frozen=True, slots=True)
class CutPointOperation:
    """What happened to one cut. kind: add, remove or move. frame: where the cut is (was, for remove). old_frame: only for move."""

    kind: str
    frame: int
    old_frame: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What an action does, clip by clip. Empty `clips`: nothing changes, because everything was so already."""

    action: ReviewAction
    clips: tuple[ClipChange, ...]

    @property
    def clip_ids(self) -> tuple[int, ...]:
        """Clips that the action depends on, ascending: those it changes, and those they are or were grouped with.

        An action can be undone until a later one touches any of them. New clips are not in it until they are saved and have an id.
        """
        snapshots = [clip for change in self.clips for clip in (change.before, change.after) if clip is not None]
        found = {clip.id for clip in snapshots} | {clip.grouped_with_clip_id for clip in snapshots}
        return tuple(sorted(clip_id for clip_id in found if clip_id is not None))

    @property
    def cut(self) -> CutPointOperation | None:
        """The cut that this change adds, removes or moves, found from the clips' edges; so it is right for undo and redo too."""
        before = _edges(change.before for change in self.clips)
        after = _edges(change.after for change in self.clips)
        added, removed = after - before, before - after
        if added and removed:
            return CutPointOperation("move", added.pop(), removed.pop())
        if added:
            return CutPointOperation("add", added.pop())
        return CutPointOperation("remove", removed.pop()) if removed else None


def add_cut_point(clips: Iterable[ReviewClip], frame: int) -> Change:
    """Split the live clip in which `frame` lies strictly inside: it is retired, two pending clips take its place.

    clips: at least the live clip around `frame` and the one after it. Raises CutError with the legal range.
    """
    around = _live(clips)
    original = next((clip for clip in around if clip.start_frame <= frame < clip.end_frame), None)
    if original is None:
        raise CutError(f"frame {frame} is in no clip of this source video, so no cut can be added there")
    if frame == original.start_frame:
        raise CutError(f"clip id:{original.id} already begins at frame {frame}; {_room(original)}")
    confidence = MANUAL_CONFIDENCE if original.confidence is None else original.confidence
    whole = _made(original, start_frame=original.start_frame, end_frame=frame, confidence=confidence)
    by_hand = Transition(CutKind.HAND)
    made = [
        replace(whole, transition=_fitting(original, end_frame=frame)),
        replace(whole, start_frame=frame, end_frame=original.end_frame, transition=by_hand),
    ]
    return Change(ReviewAction.ADD_CUT_POINT, _replaced(around, [original], made))


def remove_cut_point(clips: Iterable[ReviewClip], frame: int) -> Change:
    """Join the two live clips that meet at `frame`: both are retired, one pending clip takes their place.

    clips: at least those two and the live clip after them. Raises CutError naming the nearest cuts.
    """
    around = _live(clips)
    left, right = _neighbours(around, frame)
    known = [clip.confidence for clip in (left, right) if clip.confidence is not None]
    joined = _made(left, start_frame=left.start_frame, end_frame=right.end_frame, confidence=min(known, default=None))
    made = replace(joined, transition=left.transition)
    return Change(ReviewAction.REMOVE_CUT_POINT, _replaced(around, [left, right], [made]))


def move_cut_point(clips: Iterable[ReviewClip], old_frame: int, new_frame: int) -> Change:
    """Move the cut at `old_frame` to `new_frame`: both neighbours change in place and keep their decisions.

    clips: at least those two and the live clip after them, whose range may reach into the right one. A pending clip stays pending; an
    approved one stays approved, and is exported again with its new frames.
    Raises CutError with the legal range.
    """
    around = _live(clips)
    left, right = _neighbours(around, old_frame)
    legal = _move_range(left, right)
    if legal is None:
        raise CutError(f"cut at frame {old_frame} cannot move: the clips beside it have a single frame each")
    low, high = legal
    if not low <= new_frame <= high:
        raise CutError(f"cut at frame {old_frame} can move to frames {low}..{high}, not {new_frame}")
    if new_frame == old_frame:
        raise CutError(f"the cut at frame {old_frame} is already there; it can move to another of the frames {low}..{high}")
    before = replace(left, end_frame=new_frame, state=left.decision, transition=_fitting(left, end_frame=new_frame))
    moved = right.transition and right.transition.around(new_frame, start_frame=left.start_frame, end_frame=right.end_frame)
    after = replace(right, start_frame=new_frame, state=right.decision, transition=moved)
    changes = (
        ClipChange(left, replace(before, version=left.version + 1)),
        ClipChange(right, replace(after, version=right.version + 1)),
        *_followers(around, [], [after], leaving_out={left.id, right.id}),
    )
    return Change(ReviewAction.MOVE_CUT_POINT, changes)


def edit_cut(clips: Iterable[ReviewClip], frame: int, transition: Transition) -> Change:
    """Say what the cut at `frame` is, and which frames its transition has.

    clips: at least the two that meet at `frame`. With another range both are changed, although only the right one keeps it: the frames that
    an export of the left one may leave out change too, and whoever cuts it later is in the way of an undo.
    Raises CutError with the legal range.
    """
    left, right = _neighbours(_live(clips), frame)
    if transition.kind == CutKind.END:
        raise CutError(f"only frame 0 is the {CutKind.END.words}; the cut at frame {frame} can be: {', '.join(GIVEN_KINDS)}")
    if transition.kind in SUDDEN_KINDS and transition.frames is not None:
        first, last = transition.frames
        others = ", ".join(kind for kind in GIVEN_KINDS if kind not in SUDDEN_KINDS)
        raise CutError(
            f"a {transition.kind.words} has no transition, so the one at frame {frame} cannot have the frames {first}..{last}; "
            f"a cut with a transition can be: {others}"
        )
    fitting = transition.around(frame, start_frame=left.start_frame, end_frame=right.end_frame)
    if fitting != transition and transition.frames is not None:
        first, last = transition.frames
        raise CutError(
            f"the range of the cut at frame {frame} can begin at frames {left.start_frame}..{frame} and end at frames "
            f"{frame - 1}..{right.end_frame - 1}; it cannot be {first}..{last}"
        )
    if transition == right.transition:
        return Change(ReviewAction.EDIT_CUT, ())
    had = None if right.transition is None else right.transition.frames
    changes = [ClipChange(right, replace(right, transition=transition, version=right.version + 1))]
    if transition.frames != had:
        changes.insert(0, ClipChange(left, replace(left, version=left.version + 1)))
    return Change(ReviewAction.EDIT_CUT, tuple(changes))


def import_cuts(clips: Iterable[ReviewClip], frames: Iterable[int]) -> Change:
    """Make `frames` the cuts of a source video: clips that have the same frames as before stay as they are, the others are replaced.

    A cut that was there keeps its kind and range. clips: all live clips of the source video. frames: where clips begin, in any order; 0 and
    the end are no cuts.
    Raises CutError for a frame outside the source video.
    """
    live = sorted(_live(clips), key=lambda clip: clip.start_frame)
    if not live:
        raise CutError("the source video has no clips, so there is nothing that cuts could divide")
    edges = {live[0].start_frame, live[-1].end_frame}
    edges |= {frame if frame in edges else checked_cut_frame(frame, live[-1].end_frame) for frame in frames}
    wanted = set(pairwise(sorted(edges)))
    leaving = [clip for clip in live if (clip.start_frame, clip.end_frame) not in wanted]
    staying = {(clip.start_frame, clip.end_frame) for clip in live} & wanted
    before = {start: previous for (previous, start) in wanted}
    known_cuts = {clip.start_frame: clip.transition for clip in leaving}
    starts = [clip.start_frame for clip in leaving]
    made = []
    for start, end in sorted(wanted - staying):
        # A list may have as many edits as there are clips: they are not all looked through for each.
        near = leaving[max(0, bisect_right(starts, start) - 1) : bisect_left(starts, end)]
        parents = [clip for clip in near if start < clip.end_frame]
        known = [clip.confidence for clip in parents if clip.confidence is not None]
        transition = known_cuts.get(start, Transition(CutKind.HAND))
        if transition is not None and start in before:
            transition = transition.around(start, start_frame=before[start], end_frame=end)
        clip = _made(parents[0], start_frame=start, end_frame=end, confidence=min(known, default=MANUAL_CONFIDENCE))
        made.append(replace(clip, transition=transition))
    return Change(ReviewAction.IMPORT_CUTS, _replaced(live, leaving, made) if made else ())


def checked_cut_frame(frame: int, frame_count: int) -> int:
    """Return `frame` if a cut can be there at all in a source video of `frame_count` frames; raise CutError with the legal range."""
    if frame_count < 2:
        raise CutError("the source video has a single frame, so there is no place for a cut")
    if not 1 <= frame <= frame_count - 1:
        raise CutError(f"cuts of this source video lie at frames 1..{frame_count - 1}, not {frame}")
    return frame


def mece_problems(clips: Iterable[ReviewClip], frame_count: int) -> list[str]:
    """Where the live clips among `clips` do not cover `[0, frame_count)` exactly once, in words; an empty list when they do."""
    problems = []
    reached = 0
    for clip in sorted(_live(clips), key=lambda clip: (clip.start_frame, clip.end_frame)):
        if clip.start_frame > reached:
            problems.append(f"frames {reached}..{clip.start_frame - 1} are in no clip")
        elif clip.start_frame < reached:
            told = f"begins at frame {clip.start_frame}, but frames up to {reached - 1} are in clips before it"
            problems.append(f"clip {clip.sequence} {told}")
        reached = max(reached, clip.end_frame)
    if reached < frame_count:
        problems.append(f"frames {reached}..{frame_count - 1} are in no clip")
    elif reached > frame_count:
        problems.append(f"clips reach to frame {reached - 1}, the source video ends with frame {frame_count - 1}")
    return problems


def with_other_ranges(change: Change) -> tuple[set[int], set[tuple[int, int]]]:
    """The clips at whose ends a range has another end: (ids of those that begin with it, (source video, end frame) of those that end).

    Only of cuts that stay where they are; clips with other frames are exported anew in any case.
    """
    begins, ends = set(), set()
    for step in change.clips:
        before, after = step.before, step.after
        if before is None or after.id is None or not (before.is_live and after.is_live) or before.start_frame != after.start_frame:
            continue
        (old_first, old_last), (first, last) = (
            (None, None) if told is None or told.frames is None else told.frames for told in (before.transition, after.transition)
        )
        if last != old_last:
            begins.add(after.id)
        if first != old_first:
            ends.add((after.source_video_id, after.start_frame))
    return begins, ends


def retired(clip: ReviewClip) -> ReviewClip:
    """`clip` as it is kept for the audit trail once others have taken its place."""
    return replace(clip, is_live=False, state=ClipState.REVIEW_ARCHIVED, grouped_with_clip_id=None, version=clip.version + 1)


def unlinked_followers(clips: Iterable[ReviewClip], leaving: Sequence[ReviewClip]) -> list[ClipChange]:
    """Changes that end the group of each clip of `clips` that is grouped with one of `leaving` and is not itself leaving."""
    gone = {clip.id for clip in leaving}
    return [
        ClipChange(clip, replace(clip, grouped_with_clip_id=None, version=clip.version + 1))
        for clip in clips
        if clip.grouped_with_clip_id in gone and clip.id not in gone
    ]


def _edges(clips: Iterable[ReviewClip | None]) -> set[int]:
    return {frame for clip in clips if clip is not None and clip.is_live for frame in (clip.start_frame, clip.end_frame)}


def _live(clips: Iterable[ReviewClip]) -> list[ReviewClip]:
    return [clip for clip in clips if clip.is_live]


def _neighbours(around: Sequence[ReviewClip], frame: int) -> tuple[ReviewClip, ReviewClip]:
    left = next((clip for clip in around if clip.end_frame == frame), None)
    right = next((clip for clip in around if clip.start_frame == frame), None)
    if left is not None and right is not None:
        return left, right
    holder = next((clip for clip in around if clip.start_frame <= frame < clip.end_frame), None)
    if holder is None:
        raise CutError(f"there is no cut at frame {frame}: it is in no clip of this source video")
    if frame == 0:
        raise CutError("frame 0 begins the source video; it is not a cut")
    raise CutError(f"there is no cut at frame {frame}: clip id:{holder.id} has the frames {holder.start_frame}..{holder.end_frame - 1}")


def _move_range(left: ReviewClip, right: ReviewClip) -> tuple[int, int] | None:
    low, high = left.start_frame + 1, right.end_frame - 1
    return (low, high) if low < high else None


def _room(clip: ReviewClip) -> str:
    if clip.frame_count < 2:
        return "it has a single frame, so no cut can be added in it"
    return f"cuts can be added in it at frames {clip.start_frame + 1}..{clip.end_frame - 1}"


def _made(parent: ReviewClip, *, start_frame: int, end_frame: int, confidence: float | None) -> ReviewClip:
    return ReviewClip(
        id=None,
        source_video_id=parent.source_video_id,
        sequence=None,
        start_frame=start_frame,
        end_frame=end_frame,
        confidence=confidence,
        export_profile=parent.export_profile,
    )


def _replaced(around: Sequence[ReviewClip], old: Sequence[ReviewClip], new: Sequence[ReviewClip]) -> tuple[ClipChange, ...]:
    """The retired clips, the clips after them where they change, and the clips that take their place."""
    return (
        *(ClipChange(clip, retired(clip)) for clip in old),
        *_followers(around, old, new, leaving_out={clip.id for clip in old}),
        *(ClipChange(None, clip) for clip in new),
    )


def _followers(
    around: Sequence[ReviewClip], old: Sequence[ReviewClip], new: Sequence[ReviewClip], *, leaving_out: Collection[int | None]
) -> list[ClipChange]:
    """Changes of the clips beside: those that were grouped with one of `old`, and one whose range reaches over the clips of `new`."""
    unlinked = {change.after.id: change.after for change in unlinked_followers(around, old)}
    by_end = {clip.end_frame: clip for clip in new}
    changes = []
    for clip in around:
        before = by_end.get(clip.start_frame)
        fitting = clip.transition if before is None else _fitting(clip, start_frame=before.start_frame)
        after = replace(unlinked.get(clip.id, clip), transition=fitting)
        if clip.id not in leaving_out and after != clip:
            changes.append(ClipChange(clip, replace(after, version=clip.version + 1)))
    return changes


def _fitting(clip: ReviewClip, *, start_frame: int = 0, end_frame: int | None = None) -> Transition | None:
    """What is left of the transition of a clip whose own end, or the beginning of the clip before it, is then here."""
    if clip.transition is None:
        return None
    return clip.transition.around(clip.start_frame, start_frame=start_frame, end_frame=clip.end_frame if end_frame is None else end_frame)
