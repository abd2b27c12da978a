"""A detector's cuts against those that reviewers left: what they kept, moved, removed and added. Their verdict is the truth.

Only what a person has reviewed counts. A clip counts when its standing decision is approved, skipped or archived: in it there is no cut. A
cut counts when both clips beside it count. All other frames say nothing about the detector, neither that it is right nor that it is wrong.
Undo and redo need no rule here: the clips are those that stand now, and `operations` are those that stand.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from heaters_dagster.domain.cut_kinds import Transition
from heaters_dagster.domain.cuts import CutPointOperation
from heaters_dagster.domain.detector import Boundary

#: The kind of a cut of which nobody says what it is.
UNKNOWN = "unknown"
#: A detection so many frames from a true cut, or from its transition, is that cut.
TOLERANCE_FRAMES = 2
#: A detection without a cut and a cut without a detection, so many frames apart, are one cut to move, not one to remove and one to add.
MOVED_FRAMES = 25


class Verdict(StrEnum):
    """What a reviewer does to a cut of the detector. ADDED: the detector has none there."""

    KEPT = "kept"
    MOVED = "moved"
    REMOVED = "removed"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class StandingClip:
    """A live clip: frames [start_frame, end_frame). transition: what the cut is at which it begins, None where nobody says it."""

    id: int
    sequence: int
    start_frame: int
    end_frame: int
    is_decided: bool
    transition: Transition | None = None

    @property
    def reach(self) -> tuple[int, int]:
        """The first and the last frame that count as its beginning: a shot can be said to begin anywhere in a transition, or after it."""
        frames = None if self.transition is None else self.transition.frames
        if frames is None:
            return self.start_frame, self.start_frame
        return min(frames[0], self.start_frame), max(frames[1] + 1, self.start_frame)


@dataclass(frozen=True, slots=True)
class TrueCut:
    """A cut of which reviewers say that it is one. first_frame, last_frame: a detection from one to the other is this cut.

    was_at: where the cut was before a person moved it; None when nobody did. is_placed: a person put it at exactly this frame.
    """

    frame: int
    kind: str
    first_frame: int
    last_frame: int
    was_at: int | None = None
    is_placed: bool = False


@dataclass(frozen=True, slots=True)
class Truth:
    """What reviewers say of one source video. spans: frames [start, end), rising and apart, at which they say whether there is a cut."""

    cuts: tuple[TrueCut, ...]
    spans: tuple[tuple[int, int], ...]

    def covers(self, frame: int) -> bool:
        at = bisect_right(self.spans, frame, key=lambda span: span[0]) - 1
        return at >= 0 and frame < self.spans[at][1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One cut of the detector, or one that it has missed.

    frame: of the detection, None for ADDED. true_frame: of the true cut, None for REMOVED. kind: of the true cut, else of the detection.
    confidence: of the detection, None for ADDED. is_hit: the two are the same within the tolerance.
    """

    verdict: Verdict
    frame: int | None
    true_frame: int | None
    kind: str
    confidence: float | None = None
    is_hit: bool = False

    @property
    def at(self) -> int:
        """Its frame: of the detection where there is one."""
        frame = self.true_frame if self.frame is None else self.frame
        assert frame is not None
        return frame

    @property
    def moved_frames(self) -> int:
        """By how many frames a person moved it; negative: to an earlier frame."""
        return 0 if self.frame is None or self.true_frame is None else self.true_frame - self.frame


def truth_of(
    clips: Sequence[StandingClip],
    operations: Iterable[CutPointOperation],
    *,
    left_out_frames: Iterable[int] = (),
    tolerance: int = TOLERANCE_FRAMES,
) -> Truth:
    """clips: all live clips of a source video, in order. operations: on cuts, that stand since the detector made them, oldest first.

    left_out_frames: cuts that come from no detector, such as chapters and imported cuts. Nothing is said about them and the frames beside
    them, because they would be there whatever a detector says.
    """
    placed = placed_cuts(operations)
    spans = _without(_decided_spans(clips, tolerance), left_out_frames, tolerance)
    bare = Truth((), spans)
    cuts = []
    for clip in clips[1:]:
        frame = clip.start_frame
        if bare.covers(frame):
            kind = kind_of(clip.transition)
            cuts.append(TrueCut(frame, kind, *clip.reach, was_at=placed.get(frame), is_placed=frame in placed))
    return Truth(tuple(cuts), spans)


def placed_cuts(operations: Iterable[CutPointOperation]) -> dict[int, int | None]:
    """Frames at which people put cuts -> where the cut was before they moved it, None for one that they added."""
    placed: dict[int, int | None] = {}
    for operation in operations:
        if operation.kind == "add":
            placed[operation.frame] = None
        elif operation.kind == "remove":
            placed.pop(operation.frame, None)
        elif operation.old_frame is not None:
            was_at = placed.pop(operation.old_frame, operation.old_frame)
            if was_at != operation.frame:
                placed[operation.frame] = was_at
    return placed


def compared(truth: Truth, detected: Iterable[Boundary], *, tolerance: int = TOLERANCE_FRAMES) -> tuple[Outcome, ...]:
    """What reviewers would have done to these cuts, in order of frames. Detections at frames that nobody has reviewed are left out.

    Detections and cuts are matched one to one, as many as possible. A match that is not at the frame where a person has put the cut is
    MOVED, and still a hit. A detection that has no match is MOVED, and no hit, when it is where the cut was before a person moved it, or
    within MOVED_FRAMES of a cut without a match; else it is REMOVED.
    """
    found = sorted(one for one in detected if truth.covers(one.frame))
    matching = _Matching(truth.cuts, found, tolerance)
    matched, moved = matching.matched, matching.moved()
    outcomes = []
    of_detection = {detection: cut for cut, detection in (matched | moved).items()}
    for place, one in enumerate(found):
        cut_place = of_detection.get(place)
        if cut_place is None:
            outcomes.append(Outcome(Verdict.REMOVED, one.frame, None, kind_of(one.transition), one.confidence))
            continue
        cut, is_hit = truth.cuts[cut_place], cut_place in matched
        stays = is_hit and (cut.frame == one.frame or not cut.is_placed)
        verdict = Verdict.KEPT if stays else Verdict.MOVED
        outcomes.append(Outcome(verdict, one.frame, cut.frame, cut.kind, one.confidence, is_hit))
    missed = [cut for place, cut in enumerate(truth.cuts) if place not in matched and place not in moved]
    outcomes += [Outcome(Verdict.ADDED, None, cut.frame, cut.kind) for cut in missed]
    return tuple(sorted(outcomes, key=lambda one: one.at))


def kind_of(transition: Transition | None) -> str:
    return UNKNOWN if transition is None else transition.kind.value


def _decided_spans(clips: Sequence[StandingClip], tolerance: int) -> list[tuple[int, int]]:
    """Frames at which decided clips, side by side, say whether there is a cut.

    Nobody has said so of a cut beside a clip without a decision, so frames within the tolerance of it, and its transition, say nothing.
    """
    spans: list[tuple[int, int]] = []
    for place, clip in enumerate(clips):
        if not clip.is_decided:
            continue
        before = place > 0 and clips[place - 1].is_decided
        after = clips[place + 1] if place + 1 < len(clips) else None
        start = clip.start_frame if before else clip.start_frame + 1
        if place > 0 and not before:
            start = clip.reach[1] + tolerance + 1
        end = clip.end_frame
        if after is not None and not after.is_decided:
            end = after.reach[0] - tolerance
        if start < end:
            if spans and spans[-1][1] == start:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
    return spans


def _without(spans: Iterable[tuple[int, int]], frames: Iterable[int], tolerance: int) -> tuple[tuple[int, int], ...]:
    holes = sorted({(frame - tolerance, frame + tolerance + 1) for frame in frames})
    left = []
    for span in spans:
        start, end = span
        for hole_start, hole_end in holes:
            if hole_end <= start or hole_start >= end:
                continue
            if start < hole_start:
                left.append((start, hole_start))
            start = max(start, hole_end)
        if start < end:
            left.append((start, end))
    return tuple(left)


class _Matching:
    """cuts, found: in order of frames. matched: place of a cut -> place of its detection."""

    def __init__(self, cuts: Sequence[TrueCut], found: Sequence[Boundary], tolerance: int) -> None:
        self._cuts = cuts
        self._found = found
        self._tolerance = tolerance
        self._frames = [cut.frame for cut in cuts]
        self._reach = tolerance + max((max(cut.last_frame - cut.frame, cut.frame - cut.first_frame) for cut in cuts), default=0)
        self.matched: dict[int, int] = {}
        at = {frame: place for place, frame in enumerate(self._frames)}
        exact = {place for place, one in enumerate(found) if one.frame in at}
        self.matched = {at[found[place].frame]: place for place in exact}
        for place in range(len(found)):
            if place not in exact:
                self._match(place, set())

    def _match(self, place: int, seen: set[int]) -> bool:
        """Give this detection a cut, if need be by giving another detection another cut: so there are as many matches as possible."""
        for cut_place in self._could_be(self._found[place].frame):
            if cut_place in seen:
                continue
            seen.add(cut_place)
            if cut_place not in self.matched or self._match(self.matched[cut_place], seen):
                self.matched[cut_place] = place
                return True
        return False

    def _could_be(self, frame: int) -> list[int]:
        """Places of the cuts that a detection at `frame` can be, the nearest first."""
        can = [
            place
            for place in self._around(frame, self._reach)
            if self._cuts[place].first_frame - self._tolerance <= frame <= self._cuts[place].last_frame + self._tolerance
        ]
        return sorted(can, key=lambda place: abs(self._frames[place] - frame))

    def _around(self, frame: int, reach: int) -> range:
        return range(bisect_left(self._frames, frame - reach), bisect_right(self._frames, frame + reach))

    def moved(self) -> dict[int, int]:
        """Place of a cut without a match -> place of the detection that a person has moved there, or would have to."""
        taken = set(self.matched.values())
        left = [place for place in range(len(self._found)) if place not in taken]
        pairs = []
        for place in left:
            frame = self._found[place].frame
            for cut_place in self._around(frame, MOVED_FRAMES):
                if cut_place not in self.matched:
                    pairs.append((abs(frame - self._frames[cut_place]), cut_place, place))
        frames = [self._found[place].frame for place in left]
        for cut_place, cut in enumerate(self._cuts):
            if cut.was_at is not None and cut_place not in self.matched:
                near = range(bisect_left(frames, cut.was_at - self._tolerance), bisect_right(frames, cut.was_at + self._tolerance))
                pairs += [(-1, cut_place, left[at]) for at in near]  # before all others: it is known to be so
        moved: dict[int, int] = {}
        used: set[int] = set()
        for _, cut_place, place in sorted(pairs):
            if cut_place not in moved and place not in used:
                moved[cut_place] = place
                used.add(place)
        return moved
