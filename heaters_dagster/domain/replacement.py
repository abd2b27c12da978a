"""What becomes of the clips of a source video, and of the decisions on them, when another file takes its place.

Frames are compared by what they show (`domain.looks`), each at its own time: first by hash, then by look within a stated tolerance. A clip
keeps its decision when every frame of it is in the new file, bit for bit at the common small size. When its frames only look the same, as
after a new download in better quality, a person is asked. What has no counterpart is said before anything changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cuts import ReviewClip
from heaters_dagster.domain.looks import BITS, TOLERANCE_BITS, Looks, differing_bits, is_telling
from heaters_dagster.domain.states import ClipState
from heaters_dagster.domain.true_runs import true_runs
from heaters_dagster.domain.words import counted, percent

#: Share of the frames of a clip that must look the same, so that it counts as the same clip in another quality.
LEAST_SHARE_ALIKE = 0.95
#: Shorter parts of a clip that are found again are no clip of their own.
LEAST_PART_FRAMES = 12

#: Bits: more than two frames of one shot differ in, and as many as two frames that have nothing to do with each other.
_DIFFERS_WHOLLY = BITS // 2
_MOST_SHIFTS = 12
_COMPARED_FRAMES = 400
#: A frame that looks like so many of the other film says nothing about where it belongs.
_AMBIGUOUS = 24


class Fate(StrEnum):
    """What becomes of a clip."""

    KEPT = "kept"
    MOVED = "moved"
    ALIKE = "alike"
    PARTLY = "partly"
    GONE = "gone"

    @property
    def is_certain(self) -> bool:
        """Whether the same frames are there, so that the decision stays without a question."""
        return self in {Fate.KEPT, Fate.MOVED}


@dataclass(frozen=True, eq=False)
class Film:
    """The frames of one file. times_seconds: (n,) when each is first shown, counted from the first; end_seconds: when the last one ends."""

    looks: Looks
    times_seconds: NDArray[np.float64]
    end_seconds: float

    def __len__(self) -> int:
        return len(self.looks)

    @cached_property
    def frame_seconds(self) -> float:
        """How long a frame is shown, on average."""
        return self.end_seconds / len(self)

    def boundary(self, seconds: float) -> int:
        """The frame whose beginning is nearest to this time; the number of frames for the end."""
        edges = np.append(self.times_seconds, self.end_seconds)
        at = int(np.searchsorted(edges, seconds))
        if at == 0 or at == len(edges):
            return min(at, len(self))
        return at if edges[at] - seconds < seconds - edges[at - 1] else at - 1


@dataclass(frozen=True, slots=True)
class ClipFate:
    """What becomes of one clip.

    [start_frame, end_frame): its frames in the new file, None when it is gone. share: of its frames, 0..1, that are there, or look so.
    """

    clip: ReviewClip
    fate: Fate
    start_frame: int | None = None
    end_frame: int | None = None
    share: float = 0.0

    @property
    def moved_frames(self) -> int:
        """By how many frames its beginning moves; negative: it begins earlier."""
        return 0 if self.start_frame is None else self.start_frame - self.clip.start_frame

    @property
    def words(self) -> str:
        """For people, without the number of the clip."""
        where = f"{counted(abs(self.moved_frames), 'frame')} {'later' if self.moved_frames > 0 else 'earlier'}"
        moved = where if self.moved_frames else "at the same frames"
        match self.fate:
            case Fate.KEPT:
                return "kept"
            case Fate.MOVED:
                return f"kept, {moved}"
            case Fate.ALIKE:
                return f"looks the same ({percent(self.share)} of its frames), {moved}"
            case Fate.PARTLY:
                return f"only {percent(self.share)} of its frames are there: goes back to review"
            case _:
                return "without counterpart"


@dataclass(frozen=True, slots=True)
class NewSpan:
    """A clip of the new film: frames [start_frame, end_frame), the fate of the old clip that it comes from or None, what its cut is."""

    start_frame: int
    end_frame: int
    source: ClipFate | None = None
    transition: Transition | None = None


def fates(old: Film, new: Film, clips: Sequence[ReviewClip]) -> list[ClipFate]:
    """What becomes of each of the live clips of the old film, in order."""
    candidates = [_Shift(old, new, seconds) for seconds in _shifts(old, new)]
    in_order = sorted(clips, key=lambda one: one.start_frame)
    found: list[ClipFate] = []
    reached = 0
    for clip, shift in zip(in_order, _cheapest(candidates, in_order), strict=True):
        fate = shift.fate(clip, reached=reached)
        found.append(fate)
        reached = reached if fate.end_frame is None else fate.end_frame
    return found


def spans(found: Iterable[ClipFate], frame_count: int, detected: Iterable[int]) -> list[NewSpan]:
    """The clips of the new film: those that come from old ones, and between them what nobody has seen, cut where a detector cuts it.

    They cover [0, frame_count). detected: first frames of detected shots.
    """
    shots = sorted(set(detected))
    made: list[NewSpan] = []
    reached = 0

    def unseen(end: int) -> None:
        edges = [reached, *(frame for frame in shots if reached < frame < end), end]
        made.extend(NewSpan(start, stop) for start, stop in pairwise(edges) if start < stop)

    for fate in found:
        if fate.start_frame is None or fate.end_frame is None:
            continue
        unseen(fate.start_frame)
        made.append(NewSpan(fate.start_frame, fate.end_frame, fate))
        reached = fate.end_frame
    unseen(frame_count)
    return made


def with_transitions(made: Sequence[NewSpan], detected: Mapping[int, Transition | None]) -> list[NewSpan]:
    """The clips of the new film, each with what its cut is; detected: first frame of a detected shot -> what its cut is.

    A range goes with its clip as long as that has the same number of frames; of a clip that is there only in part, nothing is known.
    """
    found = []
    for place, span in enumerate(made):
        told = detected.get(span.start_frame) if span.source is None else _carried(span, span.source)
        if not span.start_frame:
            told = Transition(CutKind.END)
        elif told is not None:
            told = told.around(span.start_frame, start_frame=made[place - 1].start_frame, end_frame=span.end_frame)
        found.append(replace(span, transition=told))
    return found


def _carried(span: NewSpan, source: ClipFate) -> Transition | None:
    told = source.clip.transition
    if told is None or told.kind == CutKind.END or source.fate is Fate.PARTLY:
        return None
    if told.frames is None or span.end_frame - span.start_frame != source.clip.frame_count:
        return Transition(told.kind)
    first, last = (frame + source.moved_frames for frame in told.frames)
    return Transition(told.kind, max(0, first), last) if last >= 0 else Transition(told.kind)


def state_in_new(span: NewSpan) -> ClipState:
    """The decision with which a clip of the new film begins: that of the old clip, whatever becomes of it."""
    return ClipState.PENDING_REVIEW if span.source is None else span.source.clip.decision


def goes_back(span: NewSpan, *, trusts_likeness: bool) -> bool:
    """Whether the decision on a clip of the new film must be made again. trusts_likeness: a person says that looking the same is enough."""
    if span.source is None or span.source.clip.decision is ClipState.PENDING_REVIEW:
        return False
    fate = span.source.fate
    return not fate.is_certain and not (fate is Fate.ALIKE and trusts_likeness)


def counts(found: Iterable[ClipFate], *, decided: bool = False) -> dict[Fate, int]:
    """How many clips have which fate. decided: only those on which there is a decision."""
    chosen = (one for one in found if not decided or one.clip.decision is not ClipState.PENDING_REVIEW)
    number = Counter(one.fate for one in chosen)
    return {fate: number[fate] for fate in Fate if number[fate]}


class _Shift:
    """The old film laid over the new one, this many seconds later: which frames are the same then."""

    def __init__(self, old: Film, new: Film, seconds: float) -> None:
        self._old, self._new, self._seconds = old, new, seconds
        wanted = old.times_seconds + seconds
        after = np.clip(np.searchsorted(new.times_seconds, wanted), 0, len(new) - 1)
        before = np.maximum(after - 1, 0)
        nearer = np.where(np.abs(new.times_seconds[before] - wanted) <= np.abs(new.times_seconds[after] - wanted), before, after)
        there = np.abs(new.times_seconds[nearer] - wanted) <= 0.75 * max(old.frame_seconds, new.frame_seconds)
        bits = differing_bits(old.looks.look, new.looks.look[nearer])
        self.same = there & (old.looks.exact == new.looks.exact[nearer])
        near = there & (bits <= TOLERANCE_BITS)
        # Of two nearly even pictures, as in the dark, the looks are always near: what is around them says whether they are the same.
        telling = np.flatnonzero(is_telling(old.looks.look) | is_telling(new.looks.look[nearer]))
        self.alike = self.same | (near & _beside_any(near, telling))
        differs = np.where(self.same, 0, np.where(there, 1 + bits, _DIFFERS_WHOLLY))
        self._same, self._alike, self._differs = (np.concatenate([[0], np.cumsum(one)]) for one in (self.same, self.alike, differs))

    def costs(self, clips: Sequence[ReviewClip]) -> NDArray[np.int64]:
        """(n,) the lower, the better each clip fits here: bits of all its frames that differ."""
        costs: NDArray[np.int64] = self._differs[[clip.end_frame for clip in clips]] - self._differs[[clip.start_frame for clip in clips]]
        return costs

    def fate(self, clip: ReviewClip, *, reached: int) -> ClipFate:
        """reached: where the clip before ends in the new film. What lies before that is taken."""
        same, alike = (int(sums[clip.end_frame] - sums[clip.start_frame]) for sums in (self._same, self._alike))
        start, end = self._place(clip.start_frame), self._place(clip.end_frame)
        share = alike / clip.frame_count
        if reached <= start < end:
            if same == clip.frame_count == end - start:
                return ClipFate(clip, Fate.KEPT if start == clip.start_frame else Fate.MOVED, start, end, 1.0)
            if share >= LEAST_SHARE_ALIKE:
                return ClipFate(clip, Fate.ALIKE, start, end, share)
        first, last = _longest_run(self.alike[clip.start_frame : clip.end_frame])
        start = max(reached, self._place(clip.start_frame + first))
        end = self._place(clip.start_frame + last)
        if last - first >= min(LEAST_PART_FRAMES, -(-clip.frame_count // 2)) and start < end:
            return ClipFate(clip, Fate.PARTLY, start, end, (last - first) / clip.frame_count)
        return ClipFate(clip, Fate.GONE, share=share)

    def _place(self, frame: int) -> int:
        """Where in the new film the boundary before this frame of the old one is."""
        old = self._old
        seconds = float(old.times_seconds[frame]) if frame < len(old) else old.end_seconds
        return self._new.boundary(seconds + self._seconds)


def _cheapest(shifts: Sequence[_Shift], clips: Sequence[ReviewClip]) -> list[_Shift]:
    """For each clip its shift, so that all together fit best, and a shift other than that of the clip before costs as a frame that differs.

    Chosen for each clip alone, clips of a still shot fit as well some frames away, in the place of a neighbour, which then had none.
    Source: G. D. Forney, The Viterbi algorithm, Proceedings of the IEEE 61 (1973).
    """
    if not clips:
        return []
    costs = np.stack([shift.costs(clips) for shift in shifts])
    total, came_from = costs[:, 0], []
    for place in range(1, len(clips)):
        best = int(np.argmin(total))
        stays = total <= total[best] + _DIFFERS_WHOLLY
        came_from.append(np.where(stays, np.arange(len(shifts)), best))
        total = np.where(stays, total, total[best] + _DIFFERS_WHOLLY) + costs[:, place]
    chosen = [int(np.argmin(total))]
    for earlier in reversed(came_from):
        chosen.append(int(earlier[chosen[-1]]))
    return [shifts[one] for one in reversed(chosen)]


def _beside_any(mask: NDArray[np.bool_], places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether `mask` is true at the last of `places` that is not after each frame, or at the first that is not before it.

    places: sorted; true everywhere when there are none.
    """
    if not len(places):
        return np.ones(len(mask), bool)
    frames = np.arange(len(mask))
    before = places[np.maximum(np.searchsorted(places, frames, side="right") - 1, 0)]
    after = places[np.minimum(np.searchsorted(places, frames), len(places) - 1)]
    found: NDArray[np.bool_] = mask[before] | mask[after]
    return found


def _shifts(old: Film, new: Film) -> list[float]:
    """By how many seconds the new film may be later than the old one: no shift, equal ends, and what most frames say; each once."""
    frame = max(old.frame_seconds, new.frame_seconds)
    votes = np.concatenate([_votes_by_hash(old, new), _votes_by_look(old, new)])
    wanted = [0.0, new.end_seconds - old.end_seconds]
    places = np.round(votes / (frame / 2)).astype(np.int64)
    for place, _ in Counter(places.tolist()).most_common(_MOST_SHIFTS):
        middle = float(np.median(votes[places == place]))
        wanted += [middle, middle - frame, middle + frame]
    found: list[float] = []
    for seconds in wanted:
        if all(abs(seconds - other) > frame / 8 for other in found):
            found.append(seconds)
    return found


def _votes_by_hash(old: Film, new: Film) -> NDArray[np.float64]:
    """Of every picture that is in both films, and in each only once: how much later it is in the new one."""
    (olds, old_first, old_counts), (news, new_first, new_counts) = (
        np.unique(film.looks.exact, return_index=True, return_counts=True) for film in (old, new)
    )
    _, in_old, in_new = np.intersect1d(olds[old_counts == 1], news[new_counts == 1], assume_unique=True, return_indices=True)
    olds_at, news_at = old_first[old_counts == 1][in_old], new_first[new_counts == 1][in_new]
    later: NDArray[np.float64] = new.times_seconds[news_at] - old.times_seconds[olds_at]
    return later


def _votes_by_look(old: Film, new: Film) -> NDArray[np.float64]:
    """Of some telling frames of the old film: how much later frames are in the new one that look most like them."""
    telling = np.flatnonzero(is_telling(old.looks.look))
    chosen = telling[np.linspace(0, len(telling) - 1, min(_COMPARED_FRAMES, len(telling))).astype(int)] if len(telling) else telling
    votes = []
    for frame in chosen:
        bits = differing_bits(old.looks.look[frame], new.looks.look)
        least = int(bits.min())
        near = np.flatnonzero(bits <= least)
        if least <= TOLERANCE_BITS and len(near) <= _AMBIGUOUS:
            votes.append(new.times_seconds[near] - old.times_seconds[frame])
    return np.concatenate(votes) if votes else np.empty(0)


def _longest_run(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """[first, last) of the longest stretch that is true."""
    return max(true_runs(mask), key=lambda run: run[1] - run[0], default=(0, 0))
