"""What kind of transition a boundary is, and which frames it takes: from the second head of the network and from the pictures.

The second head says of every frame whether it is part of a transition. Models that training/cut_fusion makes choose the kind and move the
ends of that run to the first and the last frame of the transition. What they say is kept as one column: at each frame of a transition the
number of its kind, so it is read back from the scores without the models. Where a boundary is the first frame after its transition, the
column has another number for it: what is trimmed would take that whole frame too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_fusion import Features, Floats, Places, Trees, network_features, turned_pages, wipe_ranges, without_flashes
from heaters_dagster.domain.cut_kinds import SUDDEN_KINDS, CutKind, Transition
from heaters_dagster.domain.fades import fade_at, fades, shows_nothing, whole_range

#: The numbers in the column are places in this list, from 1; of a boundary that lies behind its transition, from 1 behind the last one.
KINDS = (CutKind.HARD, CutKind.DISSOLVE, CutKind.FADE, CutKind.WIPE, CutKind.JUMP)

#: Scores of the second and the first head at which the run around a boundary is measured.
_PART_LEVELS, _CHANCE_LEVELS = (0.1, 0.3, 0.5, 0.8), (0.05, 0.3)
#: The run whose ends the models move, and the wider one whose pictures are looked at.
_BASE, _WIDE = "part_0.5", "part_0.3"
#: Frames before and after a boundary among which the one with the highest score is: the run that has it is the boundary's.
_NEAR_BEFORE, _NEAR_AFTER = 3, 2
#: So many frames from a run a picture is one outside of it.
_BESIDE = 3
#: Where only the second head is known: the score of a run, and how many frames it has at least when it is a gradual transition.
_PART, _GRADUAL_RUN = 0.3, 4
#: Frames on either side of a boundary in which a run is looked for.
_LONGEST = 1500
#: After the last frame of every video.
_NO_END = 1 << 40


@dataclass(frozen=True, slots=True, eq=False)
class TransitionModels:
    """kinds: a score of each kind, the greatest counts. before, after: how many frames to add to the run of the network at 0.5."""

    kinds: Mapping[CutKind, Trees]
    before: Trees
    after: Trees


def transition_places(features: Features, frames: NDArray[np.int_]) -> Places:
    """What is known of the boundaries at `frames`, (k,) rising: how far the runs of both heads reach, and what the pictures say."""
    names, rows = _run_features(features, frames)
    network_names, network = network_features(features, frames)
    table = np.concatenate([rows, network, features.pictures[frames]], axis=1)
    return Places((*names, *network_names, *features.names), frames, frames, frames, table)


def transitions_at(features: Features, frames: NDArray[np.int_], confidences: Floats, models: TransitionModels) -> tuple[Transition, ...]:
    """Of each boundary, in order. A range ends before a hard cut that is at least as sure, and half way to such a gradual transition."""
    if not len(frames):
        return ()
    features = without_flashes(features)
    places = transition_places(features, frames)
    sums = np.stack([models.kinds[kind].sums(places) for kind in KINDS], axis=1)
    before, after = (
        np.rint(places.rows[:, places.names.index(f"{side}_{_BASE}")] + trees.sums(places)).astype(int)
        for side, trees in (("before", models.before), ("after", models.after))
    )
    kinds = [KINDS[int(place)] for place in sums.argmax(1)]
    ends = zip(frames - before, np.minimum(frames + after, len(features.chance)) - 1, strict=True)
    contrast = features["contrast"]
    seen, wiped, turned = fades(contrast), wipe_ranges(features), set(turned_pages(features))
    found = []
    for place, (kind, frame, (first, last)) in enumerate(zip(kinds, map(int, frames), ends, strict=True)):
        if frame in turned:
            found.append(Transition(CutKind.HARD))
            continue
        fade = fade_at(frame, seen)
        if fade is None and kind in SUDDEN_KINDS and frame not in wiped:
            found.append(Transition(kind))
            continue
        room = _room(place, confidences, frames, kinds)
        if fade is None and frame in wiped:
            found.append(Transition(CutKind.WIPE, *_limited(frame, *wiped[frame], room)))
            continue
        told = (int(first), int(last)) if fade is None else (fade.first, fade.last)
        whole = whole_range(contrast, *told, room)
        if fade is not None or kind is CutKind.FADE or shows_nothing(contrast, *whole):
            kind, told = CutKind.FADE, whole
        found.append(Transition(kind, *_limited(frame, *told, room, may_end_before=kind is CutKind.FADE)))
    return tuple(found)


def as_column(frames: NDArray[np.int_], confidences: Floats, transitions: Sequence[Transition], frame_count: int) -> Floats:
    """(frame_count,): at the frames of each transition, or at the boundary where it has none, the number of its kind; else 0.

    Where two overlap the surer one counts: a doubtful hard cut within a dissolve is that dissolve.
    """
    column = np.zeros(frame_count, np.float32)
    for place in np.argsort(confidences, kind="stable"):
        frame, one = int(frames[place]), transitions[place]
        first, last = one.frames or (frame, frame)
        column[first : last + 1] = KINDS.index(one.kind) + 1
        if last < frame:
            column[frame] = KINDS.index(one.kind) + 1 + len(KINDS)
    return column


def from_column(column: Floats, frames: Sequence[int]) -> tuple[Transition | None, ...]:
    """The reverse of `as_column`, of boundaries at `frames`, rising; None where the column has no kind."""
    numbers = np.rint(column).astype(np.int8)
    found: list[Transition | None] = []
    for place, frame in enumerate(frames):
        number = int(numbers[frame])
        if not 1 <= number <= 2 * len(KINDS):
            found.append(None)
            continue
        ends_before, place_of_kind = divmod(number - 1, len(KINDS))
        kind = KINDS[place_of_kind]
        if kind in SUDDEN_KINDS:
            found.append(Transition(kind))
            continue
        first, last = _run_around(numbers == place_of_kind + 1, frame - ends_before)
        room = _halves(place, frames, first, last)
        found.append(Transition(kind, *_limited(frame, first, last, room, may_end_before=bool(ends_before))))
    return tuple(found)


def told_by_the_network(part: Floats, frames: Sequence[int]) -> tuple[Transition, ...]:
    """Of boundaries at `frames`, rising, by the second head alone: a long run is a transition with these frames.

    The head does not tell a dissolve from a fade or a wipe, and the pictures are gone: what takes time is called a dissolve, the commonest.
    """
    found = []
    above = part > _PART
    for place, frame in enumerate(frames):
        near = range(max(0, frame - _NEAR_BEFORE), min(len(part), frame + _NEAR_AFTER + 1))
        anchor = max(near, key=lambda each: float(part[each]))
        first, last = _run_around(above, anchor)
        gradual = last - first + 1 >= _GRADUAL_RUN
        ends = _limited(frame, first, last, _halves(place, frames, first, last))
        found.append(Transition(CutKind.DISSOLVE, *ends) if gradual else Transition(CutKind.HARD))
    return tuple(found)


def _limited(frame: int, first: int, last: int, room: tuple[int, int], *, may_end_before: bool = False) -> tuple[int, int]:
    """A range that stays in the room and has the boundary in it, or ends just before it: where black ends at once, the first frame of the
    new shot is a whole picture.
    """
    begin, end = min(frame, max(first, room[0])), max(frame - 1, min(last, room[1]))
    return begin, max(end, begin if may_end_before else frame)


def _room(place: int, confidences: Floats, frames: NDArray[np.int_], kinds: Sequence[CutKind]) -> tuple[int, int]:
    """The frames up to the next boundaries on either side that are as sure."""
    ends = []
    for step, otherwise in ((-1, 0), (1, _NO_END)):
        other = place + step
        while 0 <= other < len(frames) and confidences[other] < confidences[place]:
            other += step
        if 0 <= other < len(frames):
            ends.append(int(frames[other]) if kinds[other] in SUDDEN_KINDS else int(frames[place] + frames[other]) // 2)
        else:
            ends.append(otherwise)
    return ends[0], ends[1] - 1


def _halves(place: int, frames: Sequence[int], first: int, last: int) -> tuple[int, int]:
    """Half the way to the neighbours that lie in the same run."""
    frame = frames[place]
    before = frames[place - 1] if place and frames[place - 1] >= first else None
    after = frames[place + 1] if place + 1 < len(frames) and frames[place + 1] <= last else None
    return (first if before is None else (before + frame) // 2), (last if after is None else (frame + after) // 2 - 1)


def _run_around(above: NDArray[np.bool_], frame: int) -> tuple[int, int]:
    """First and last frame of the run that has `frame` in it; an empty run just before it where it is in none."""
    if not above[frame]:
        return frame, frame - 1
    start, stop = max(0, frame - _LONGEST), min(len(above), frame + _LONGEST)
    before, after = np.flatnonzero(~above[start:frame]), np.flatnonzero(~above[frame:stop])
    return (start + int(before[-1]) + 1 if len(before) else start), (frame + int(after[0]) - 1 if len(after) else stop - 1)


def _run_features(features: Features, frames: NDArray[np.int_]) -> tuple[tuple[str, ...], Floats]:
    """How many frames of the run lie before f, and from f on, at several levels; and the pictures in the run."""
    columns: dict[str, Floats] = {}
    count = len(features.part)
    near = np.clip(frames[:, None] + np.arange(-_NEAR_BEFORE, _NEAR_AFTER + 1), 0, count - 1)
    for name, series, levels in (("part", features.part, _PART_LEVELS), ("chance", features.chance, _CHANCE_LEVELS)):
        anchors = near[np.arange(len(frames)), series[near].argmax(1)]
        for level in levels:
            first, last = _runs_around(series > level, anchors)
            inside = series[anchors] > level
            columns[f"before_{name}_{level}"] = np.where(inside, frames - first, 0).astype(np.float32)
            columns[f"after_{name}_{level}"] = np.where(inside, last + 1 - frames, 0).astype(np.float32)
    contrast, jump = features["contrast"], features["jump"]
    first = np.minimum(frames - 1, frames - columns[f"before_{_WIDE}"].astype(int)).clip(0)
    last = np.maximum(frames, frames + columns[f"after_{_WIDE}"].astype(int) - 1).clip(0, count - 1)
    beside = np.minimum(contrast[(first - _BESIDE).clip(0)], contrast[(last + _BESIDE).clip(0, count - 1)])
    runs = [slice(int(one), int(other) + 1) for one, other in zip(first, last, strict=True)]
    columns["flattest_in_run"] = np.array([contrast[run].min() for run in runs], np.float32)
    columns["flattest_over_beside"] = np.asarray(columns["flattest_in_run"] / (1 + beside), np.float32)
    columns["greatest_jump_in_run"] = np.array([jump[run].max() for run in runs], np.float32)
    whole = np.array([0.5 + jump[run].sum() for run in runs], np.float32)
    columns["greatest_jump_over_all"] = np.asarray(columns["greatest_jump_in_run"] / whole, np.float32)
    return tuple(columns), np.stack(list(columns.values()), axis=1).astype(np.float32)


def _runs_around(above: NDArray[np.bool_], anchors: NDArray[np.int_]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """First and last frame of the runs in which the anchors are; means nothing where an anchor is in none."""
    places = np.arange(len(above))
    before = np.maximum.accumulate(np.where(above, -1, places))
    after = np.minimum.accumulate(np.where(above, len(above), places)[::-1])[::-1]
    return before[anchors] + 1, after[anchors] - 1
