"""What a network says of the frames of one window, as columns of scores, and from the columns to boundaries with kinds and ranges.

Networks tell transitions in two ways. Some say for each frame how likely a shot begins there, and whether it is part of a transition
(TransNetV2 and what follows it). Others say shots: where each ends, how it begins, and whether it is a transition, which is then a shot of
its own between two others (OmniShotCut). Both become the same three columns, so everything after that is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_kinds import SUDDEN_KINDS, CutKind, Transition
from heaters_dagster.domain.detector import Boundary
from heaters_dagster.domain.true_runs import true_runs
from heaters_dagster.domain.words import counted

#: Name of an output -> its array without the batch.
Outputs: TypeAlias = Mapping[str, NDArray[np.float32]]

#: Endings of the names of the columns: how likely a shot begins at the frame; how likely the frame is part of a transition; the kind of
#: the cut that it belongs to, as a number of `CODES`.
CUT, PART, KIND = "cut", "part", "kind"
COLUMNS = (CUT, PART, KIND)

#: Numbers of the kinds in the column, which exist for good because columns are stored. 0: not said.
CODES: Mapping[CutKind | None, int] = {
    None: 0,
    CutKind.HARD: 1,
    CutKind.DISSOLVE: 2,
    CutKind.FADE: 3,
    CutKind.WIPE: 4,
    CutKind.JUMP: 5,
}
_KINDS = {code: kind for kind, code in CODES.items()}
_HARD_RUN_FRAMES = 3
_LEAST_PART = 0.5


class Reader(Protocol):
    """How the outputs of a network are to be understood."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs that it reads."""
        ...

    def read(self, outputs: Outputs, frames: int) -> NDArray[np.float32]:
        """(frames, 3): the columns of the first `frames` frames of a window; those after them are only padding.

        Raises ValueError for outputs of another shape.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PerFrame:
    """A network that says something for each frame of its window.

    cut: name of the output (frames,) or (frames, 1): a shot begins there. part: likewise, the frame is part of a transition.
    kinds: (frames, len(kind_of_class)), the greatest decides. are_logits: they have no sigmoid yet.
    marks_last_frame: `cut` marks the last frame of the old shot, as TransNetV2 does, and not the first one of the new.
    """

    cut: str
    part: str | None = None
    kinds: str | None = None
    kind_of_class: tuple[CutKind | None, ...] = ()
    are_logits: bool = True
    marks_last_frame: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.cut, self.part, self.kinds) if name is not None)

    def read(self, outputs: Outputs, frames: int) -> NDArray[np.float32]:
        columns = np.zeros((frames, len(COLUMNS)), np.float32)
        chance = self._chance(outputs, self.cut, frames)
        columns[:, 0] = np.concatenate([[0.0], chance[:-1]]) if self.marks_last_frame else chance
        if self.part is not None:
            columns[:, 1] = self._chance(outputs, self.part, frames)
        if self.kinds is not None:
            classes = outputs[self.kinds]
            if classes.ndim != 2 or len(classes) < frames or classes.shape[1] != len(self.kind_of_class):
                raise ValueError(f"{self.kinds} has the shape {classes.shape}, not (frames, {len(self.kind_of_class)})")
            codes = np.array([CODES[kind] for kind in self.kind_of_class], np.float32)
            columns[:, 2] = codes[classes[:frames].argmax(axis=1)]
        return columns

    def _chance(self, outputs: Outputs, name: str, frames: int) -> NDArray[np.float32]:
        values = outputs[name].reshape(len(outputs[name]), -1)
        if len(values) < frames or values.shape[1] != 1:
            raise ValueError(f"{name} has the shape {outputs[name].shape}, not one number for each of {counted(frames, 'frame')}")
        said = values[:frames, 0].astype(np.float32)
        return _sigmoid(said) if self.are_logits else np.clip(said, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shots:
    """A network that says the shots of its window, one after the other. All outputs are logits.

    ends: (shots, n), the greatest says where the shot ends: its frames are those before this one. begins: (shots, len(kind_of_begin)), by
    which cut it begins. what: (shots, len(kind_of_shot)): of which transition it is, None for a class of ordinary shots.
    A shot that would end before it begins is left out; the first one begins with the window, so its beginning is no cut.
    """

    ends: str
    begins: str
    kind_of_begin: tuple[CutKind | None, ...]
    what: str | None = None
    kind_of_shot: tuple[CutKind | None, ...] = (None,)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.ends, self.begins, self.what) if name is not None)

    def read(self, outputs: Outputs, frames: int) -> NDArray[np.float32]:
        columns = np.zeros((frames, len(COLUMNS)), np.float32)
        ends = _softmax(self._classes(outputs, self.ends, None))
        begins = self._classes(outputs, self.begins, len(self.kind_of_begin)).argmax(axis=1)
        shots = (
            np.zeros(len(ends), np.int64) if self.what is None else self._classes(outputs, self.what, len(self.kind_of_shot)).argmax(axis=1)
        )
        start, before, sure_before = 0, None, 1.0
        for place, ending in enumerate(ends):
            end, sure = min(int(ending.argmax()), frames), float(ending.max())
            if end <= start:
                continue
            transition = self.kind_of_shot[shots[place]]
            if transition is not None:
                columns[start:end, 1] = sure
                columns[start:end, 2] = CODES[transition]
            elif start > 0 and before is None:
                columns[start, 0] = sure_before
                columns[start, 2] = CODES[self.kind_of_begin[begins[place]] or CutKind.HARD]
            start, before, sure_before = end, transition, sure
            if end >= frames:
                break
        return columns

    def _classes(self, outputs: Outputs, name: str, classes: int | None) -> NDArray[np.float32]:
        values = outputs[name]
        if values.ndim != 2 or (classes is not None and values.shape[1] != classes):
            raise ValueError(f"{name} has the shape {values.shape}, not (shots, {classes or 'frames'})")
        return values


def network_boundaries(
    cut: NDArray[np.float32], part: NDArray[np.float32], kind: NDArray[np.float32], threshold: float
) -> tuple[Boundary, ...]:
    """Where shots begin: at frames with `cut` at or above the threshold, and in the middle of transitions that have none.

    A short run of such frames is a hard cut at its greatest; a long one is a transition, cut in its middle. The range is the run of `part`
    at or above a half that touches it. A boundary has a transition only when its kind is said.
    """
    found = []
    parts = true_runs(part >= _LEAST_PART)
    used = set()
    for start, end in true_runs(cut >= threshold):
        place = next((at for at, (first, stop) in enumerate(parts) if first <= end and start <= stop), None)
        used.add(place)
        is_long = end - start > _HARD_RUN_FRAMES
        frame = (start + end) // 2 if is_long else start + int(np.argmax(cut[start:end]))
        span = parts[place] if place is not None else (start, end) if is_long else None
        found.append(_boundary(frame, float(cut[start:end].max()), kind, span, start, end))
    for place, (first, stop) in enumerate(parts):
        sure = float(part[first:stop].max())
        if place not in used and sure >= threshold:
            found.append(_boundary((first + stop) // 2, sure, kind, (first, stop), first, stop))
    return tuple(sorted(found))


def _boundary(frame: int, confidence: float, kind: NDArray[np.float32], span: tuple[int, int] | None, start: int, end: int) -> Boundary:
    """span: [first, stop) of its transition. [start, end): frames whose kinds count."""
    first, stop = span or (start, end)
    codes = kind[min(first, start) : max(stop, end)].astype(np.int64)
    said = np.bincount(codes[codes > 0], minlength=1)
    what = _KINDS.get(int(said.argmax())) if len(codes[codes > 0]) else None
    if what is None:
        return Boundary(frame, min(1.0, confidence))
    has_range = span is not None and what not in SUDDEN_KINDS and first <= frame <= stop
    transition = Transition(what, first, stop - 1) if has_range else Transition(what)
    return Boundary(frame, min(1.0, confidence), transition=transition)


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    result: NDArray[np.float32] = (1.0 / (1.0 + np.exp(-np.clip(values, -60, 60)))).astype(np.float32)
    return result


def _softmax(values: NDArray[np.float32]) -> NDArray[np.float32]:
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    result: NDArray[np.float32] = raised / raised.sum(axis=1, keepdims=True)
    return result
