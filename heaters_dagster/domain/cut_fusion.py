"""The learned fusion: which of the places that look like a cut is one, from the network's scores and from the pictures themselves.

Two kinds of places are looked at. A hard place is a frame that differs more from the one before than its neighbours do, where the
network suspects something or the jump stands out. A stretch is a run of frames in which the network sees a transition. A model decides
on each kind: boosted trees over the features of cut_features.py and of the network's two heads. training/cut_fusion makes the models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.fades import one_for_each_fade
from heaters_dagster.domain.flashes import speak_of_flashes
from heaters_dagster.domain.going_on import goes_on
from heaters_dagster.domain.true_runs import true_runs

Floats = NDArray[np.float32]

#: Score of the network from which a peak of the pictures is a hard place.
_SUSPECTED = 0.02
#: A frame is a peak when it jumps at least so much of the greatest jump of itself and the two frames beside it.
_PEAK = 0.35
#: Without the network a peak is a hard place when it jumps so many times as much as the frames near it, and so many levels of 256.
_STANDS_OUT, _LEAST_JUMP = 1.6, 0.7
#: The same of its structure, in which 0 is no change and 1 nothing in common.
_STRUCTURE_STANDS_OUT, _LEAST_STRUCTURE_JUMP = 1.8, 0.08
#: Scores of the network's two heads above which a frame is of a stretch.
_STRETCH_CHANCE, _STRETCH_PART = 0.05, 0.2
_STRETCH_GAP = 2
#: A stretch of at most so many frames is cut at its greatest jump, a longer one in its middle.
_SHORT_STRETCH = 6
#: Hard places so many frames before and after a stretch, or a wipe, belong to it.
_EDGE_BEFORE, _EDGE_AFTER = 1, 2
#: From this chance on a hard place is the boundary of a longer stretch; less likely ones give way to its middle.
_HARD_IN_STRETCH = 0.3
#: What is less likely is no boundary, whatever the threshold; and from this on the pictures around are looked at once more.
_LEAST_CHANCE, _DOUBTED = 0.02, 0.1
_END_FRAMES = 2
#: Frames on either side that the features `across` and `unlike_across` leave out; for a stretch the first that leaves out all of it.
_GAPS = (0, 2, 4, 8, 16)
#: Bars come or go where these shares of height and width change. A box is a part of the picture below this share of it. Levels of 256 over
#: four frames from which on a picture moves.
_BARS, _BOX, _MOVES = 0.04, 0.6, 0.3
#: Inside of bars: the jump over the usual one, how unlike the pictures are, and the sum (log odds) that such a place gets. Of cuts in made
#: films at which bars come or go too, 2 % look like that, and 59 % of the bars that come or go alone.
_AS_USUAL, _ALIKE, _NO_CUT = 1.5, 0.1, -4.0
_ARRAYS = ("feature", "threshold", "left", "right", "value")


BASE = "base_sum"
#: The column of stretches that has how many frames they take, and what the names of features at their jump end with.
_LENGTH, _AT_JUMP = "length", "_at_jump"
#: The column of `Features` that is 1 where a frame was taken for one of a flash and replaced; 0 elsewhere.
FLASH = "flash"
#: The column that has, in the middle of what looks like a wipe of a straight edge, how many frames it takes; 0 elsewhere.
WIPE = "wipe"
#: The column that is 1 at the first frame of a page that is turned; 0 elsewhere.
PAGE = "page"
#: What is 0 at a frame that repeats the one before; all else is as of that one.
_NEWS = ("jump", "structure_jump", "jump_over_greatest", "structure_jump_over_greatest", WIPE, PAGE)
#: How sure a cut is that only the pictures show.
_SEEN_WIPE, _SEEN_PAGE = 0.85, 0.85
#: Places that all trees look at together, and rows of a table that are moved together.
_PLACES_AT_ONCE, _ROWS_AT_ONCE = 128, 128
#: What is found so near a page that is turned, which stands before and after it, is that.
_BESIDE_PAGE = 2


class Model(Protocol):
    """What decides on places."""

    def chances(self, places: Places) -> Floats:
        """(k,) 0..1: how likely there is a boundary."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What is known of every frame. names: of the columns of `pictures`, (n, names): as they are kept, so that two hours of them are in
    memory once. chance, part: (n,), of the network's two heads. looks: as `going_on.goes_on` wants them; None: no shot is seen to go on.
    """

    names: tuple[str, ...]
    pictures: NDArray[np.float16] | Floats
    chance: Floats
    part: Floats
    looks: NDArray[np.uint8] | None = None

    def __getitem__(self, name: str) -> Floats:
        return self.pictures[:, self.names.index(name)].astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Places to decide on. frames: (k,), where the boundary would be; first, last: (k,) of the stretch. rows: (k, names) for the model."""

    names: tuple[str, ...]
    frames: NDArray[np.int_]
    first: NDArray[np.int_]
    last: NDArray[np.int_]
    rows: Floats

    @property
    def are_stretches(self) -> bool:
        """Whether a place may take several frames: then it has a length, and what is at its jump stands in columns of its own."""
        return _LENGTH in self.names

    def at_jump(self, name: str) -> Floats:
        """(k,): a feature of the pictures, at the frame where the boundary would be."""
        return self.rows[:, self.names.index(name + _AT_JUMP if self.are_stretches else name)]

    @property
    def are_short(self) -> NDArray[np.bool_]:
        """(k,): all but the stretches in which a dissolve has room."""
        return self.rows[:, self.names.index(_LENGTH)] <= _SHORT_STRETCH if self.are_stretches else np.ones(len(self.rows), bool)


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """Boosted trees, (trees, nodes) each. feature: the column to compare, -1 at a leaf. A row goes left when it is <= threshold.

    value: of a leaf. baseline: what all trees add to; the logistic function of the sum is the chance.
    """

    names: tuple[str, ...]
    feature: NDArray[np.int16]
    threshold: Floats
    left: NDArray[np.int16]
    right: NDArray[np.int16]
    value: Floats
    baseline: float

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Trees:
        """The reverse of `to_arrays`."""
        tables: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
        return cls(names=tuple(map(str, arrays["names"])), baseline=float(arrays["baseline"]), **tables)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """As they are kept in a file of numpy's."""
        return {"names": np.array(self.names), **{name: getattr(self, name) for name in _ARRAYS}, "baseline": np.array(self.baseline)}

    def chances(self, places: Places) -> Floats:
        """(k,) 0..1. Raises as `sums` does."""
        return np.asarray(1 / (1 + np.exp(-self.sums(places))), np.float32)

    def sums(self, places: Places) -> Floats:
        """(k,) of all trees and the baseline. Raises ValueError when the places lack a feature that the model was made with."""
        if missing := set(self.names) - set(places.names):
            raise ValueError(
                f"the model was made with other features than this version computes ({', '.join(sorted(missing))}); make it anew with "
                "training/cut_fusion"
            )
        table = places.rows if places.names == self.names else places.rows[:, [places.names.index(name) for name in self.names]]
        parts = [self._sums(table[begin : begin + _PLACES_AT_ONCE]) for begin in range(0, len(table), _PLACES_AT_ONCE)]
        return np.concatenate([np.zeros(0), *parts]).astype(np.float32)

    def _sums(self, table: Floats) -> NDArray[np.float64]:
        """All trees at once, a step down in each; tree by tree it takes several times as long for a few rows."""
        trees, rows = np.arange(len(self.feature))[:, None], np.arange(len(table))
        node = np.zeros((len(trees), len(rows)), np.int16)
        while np.any(inner := (feature := self.feature[trees, node]) >= 0):
            goes_left = table[rows, np.maximum(feature, 0)] <= self.threshold[trees, node]
            node = np.where(inner, np.where(goes_left, self.left[trees, node], self.right[trees, node]), node)
        total = np.full(len(rows), self.baseline)
        for values in self.value[trees, node]:  # in order: another one would round otherwise
            total += values
        return total


@dataclass(frozen=True, slots=True, eq=False)
class Doubted:
    """A model, and another that doubts it where only a part of the picture changes: bars, boards, titles or insets that come or go.

    The second sees what the first says, as the feature BASE. It never makes a boundary more likely.
    """

    base: Trees
    overlays: Trees

    def chances(self, places: Places) -> Floats:
        """(k,) 0..1. Raises as `Trees.sums` does."""
        sums = self.base.sums(places)
        partly = np.flatnonzero(changed_partly(places))
        if len(partly):
            sums[partly] = np.minimum(sums[partly], self.overlays.sums(with_base(chosen(places, partly), sums[partly])))
        sums[bars_alone_change(places)] = _NO_CUT
        return np.asarray(1 / (1 + np.exp(-sums)), np.float32)


def changed_partly(places: Places) -> NDArray[np.bool_]:
    """(k,): where bars come or go, or nothing changes outside of a box in a picture that moves; of stretches the short ones alone, which
    have no dissolve. Where all stands still before and after, a box that changes is rather a new slide.
    """
    bars, box, before, after = (places.at_jump(name) for name in ("bars_change", "changed_box", "apart_before", "apart_after"))
    return ((bars > _BARS) | ((box < _BOX) & (np.maximum(before, after) > _MOVES))) & places.are_short


def bars_alone_change(places: Places) -> NDArray[np.bool_]:
    """(k,): where bars come or go, and inside of them the picture goes on as it did: no more motion than before and after, and alike."""
    bars, over_usual, unlike = (places.at_jump(name) for name in ("bars_change", "inside_over_usual", "unlike_inside"))
    return (bars > _BARS) & (over_usual < _AS_USUAL) & (unlike < _ALIKE) & places.are_short


def chosen(places: Places, which: NDArray[np.int_]) -> Places:
    return Places(places.names, places.frames[which], places.first[which], places.last[which], places.rows[which])


def with_base(places: Places, sums: Floats) -> Places:
    """The places, each with what the first model says of it."""
    return Places((BASE, *places.names), places.frames, places.first, places.last, np.concatenate([sums[:, None], places.rows], axis=1))


def calibrated(column: Floats, slope: float, offset: float) -> Floats:
    """The chances of `fused` as the shares that are right: a straight line between their logits. 0 stays 0."""
    sure = np.clip(column, 1e-6, 1 - 1e-6)
    return np.where(column > 0, 1 / (1 + np.exp(-(slope * np.log(sure / (1 - sure)) + offset))), 0).astype(np.float32)


def hard_places(features: Features) -> Places:
    """Frames at which a shot may begin at once."""
    jump, structure = features["jump"], features["structure_jump"]
    suspected = _greatest(features.chance, -2, 0) > _SUSPECTED
    stands_out = (features["jump_over_greatest"] > _STANDS_OUT) & (jump > _LEAST_JUMP)
    stands_out |= (features["structure_jump_over_greatest"] > _STRUCTURE_STANDS_OUT) & (structure > _LEAST_STRUCTURE_JUMP)
    # Not only the greatest: of slides at one frame a second each frame may be a shot.
    peak = (jump > 0) & (jump >= _PEAK * _greatest(jump, -1, 1))
    peak |= (structure > _LEAST_STRUCTURE_JUMP) & (structure >= _greatest(structure, -1, 1))
    frames = np.flatnonzero(peak & (suspected | stands_out))
    frames = frames[frames > 0]
    names, network = network_features(features, frames)
    rows = np.concatenate([network, features.pictures[frames]], axis=1)
    return Places((*names, *features.names), frames, frames, frames, rows)


def stretches(features: Features) -> Places:
    """Runs of frames in which the network sees a transition, with the pictures in the middle, at the greatest jump and outside the run."""
    above = (features.chance > _STRETCH_CHANCE) | (features.part > _STRETCH_PART)
    runs = _runs(above)
    frames, first, last, rows = [], [], [], []
    count, jump = len(above), features["jump"]
    middles = np.array([_middle(features, start, end) for start, end in runs], np.int64)
    network_names, network = network_features(features, middles)
    across, unlike = (
        np.stack([features[f"{name}_{gap}" if gap else name][middles] for gap in _GAPS], axis=1) for name in ("across", "unlike_across")
    )
    for place, (start, end) in enumerate(runs):
        chance, part, middle = features.chance[start:end], features.part[start:end], int(middles[place])
        until = min(count, end + 2)
        jumps = start + int(np.argmax(jump[start:until]))
        reach = min(len(_GAPS) - 1, int(np.searchsorted(_GAPS, (end - start) / 2)))
        own = [
            end - start, chance.max(), chance.sum(), part.max(), part.sum(), (chance > 0.5).sum(), (part > 0.5).sum(),
            across[place, reach], unlike[place, reach], jumps - start, end - jumps,
        ]  # fmt: skip
        rows.append(np.concatenate([own, network[place], features.pictures[middle], features.pictures[jumps]]))
        frames.append(jumps if end - start <= _SHORT_STRETCH else middle)
        first.append(start)
        last.append(end - 1)
    names = (*_STRETCH_NAMES, *network_names, *features.names, *(f"{name}{_AT_JUMP}" for name in features.names))
    table = np.array(rows, np.float32).reshape(len(rows), len(names))
    return Places(names, np.array(frames, np.int64), np.array(first, np.int64), np.array(last, np.int64), table)


def _middle(features: Features, start: int, end: int) -> int:
    """The frame after the middle of the network's scores in a run."""
    weights = features.chance[start:end] + 0.02 * features.part[start:end] + 1e-6
    return min(len(features.chance) - 1, round(float((weights * np.arange(start, end)).sum() / weights.sum())) + 1)


def with_hard_chances(runs: Places, frames: NDArray[np.int_], chances: Floats) -> Places:
    """The stretches, each with what the model of hard places says of the places in it. frames: of these places, rising."""
    begin = np.searchsorted(frames, runs.first - _EDGE_BEFORE)
    end = np.searchsorted(frames, runs.last + _EDGE_AFTER, side="right")
    inside = [chances[one:other] for one, other in zip(begin, end, strict=True)]
    own = np.array([(part.max(initial=0), part.sum()) for part in inside], np.float32).reshape(len(inside), 2)
    names = ("hard_chance", "sum_of_hard_chances", *runs.names)
    return Places(names, runs.frames, runs.first, runs.last, np.concatenate([own, runs.rows], axis=1))


def show_again(names: tuple[str, ...], pictures: NDArray[np.float16], repeats: NDArray[np.bool_]) -> None:
    """pictures: (n, names), as `Features` have them; its first rows are those of the frames that are no repeats, and come to their places.

    repeats: (n,). In place, because two tables of a long video would be much memory.
    """
    if not repeats.any():
        return
    distinct = np.cumsum(~repeats) - 1
    places = np.flatnonzero(~repeats)
    ends = np.append(places[1:], len(repeats))
    wipe = names.index(WIPE)
    lengths = pictures[: len(places), wipe].astype(np.int64)
    # A row never goes to an earlier place, so from the last one back none is lost.
    for begin in range((len(repeats) - 1) // _ROWS_AT_ONCE * _ROWS_AT_ONCE, -1, -_ROWS_AT_ONCE):
        pictures[begin : begin + _ROWS_AT_ONCE] = pictures[distinct[begin : begin + _ROWS_AT_ONCE]]
    for name in _NEWS:
        pictures[repeats, names.index(name)] = 0
    pictures[:, wipe] = 0
    for middle in np.flatnonzero(lengths).tolist():
        length = int(lengths[middle])
        begin = max(0, middle - length // 2)
        first, end = int(places[begin]), int(ends[min(len(ends), begin + length) - 1])
        pictures[first + (end - first) // 2, wipe] = end - first


def without_flashes(features: Features) -> Features:
    """The same, without what the network says of flashes. The pictures are without them already (`Calmed`)."""
    if FLASH not in features.names or not (flashes := features[FLASH] > 0).any():
        return features
    flashes = speak_of_flashes(flashes, features["jump"], features["structure_jump"])
    return replace(features, chance=np.where(flashes, 0, features.chance), part=np.where(flashes, 0, features.part))


def without_shots_that_go_on(column: Floats, features: Features) -> Floats:
    """(n,) of chances: without those at which the shot before goes on after it, but for pages that are turned."""
    if features.looks is None:
        return column
    turned, kept = set(turned_pages(features)), column.copy()
    for frame in np.flatnonzero(column >= _DOUBTED).tolist():
        if frame not in turned and goes_on(features.looks, frame):
            kept[frame] = 0
    return kept


def wipe_ranges(features: Features) -> dict[int, tuple[int, int]]:
    """Middle frame -> first and last frame of what looks like a wipe. Light that flashes moves edges too."""
    if WIPE not in features.names:
        return {}
    lengths, flashes = features[WIPE], features[FLASH] > 0
    ranges = {
        int(middle): (int(middle - length // 2), int(middle - length // 2 + length - 1))
        for middle in np.flatnonzero(lengths)
        if (length := int(lengths[middle]))
    }
    return {middle: (first, last) for middle, (first, last) in ranges.items() if not flashes[max(0, first - 2) : last + 3].any()}


def turned_pages(features: Features) -> list[int]:
    """The first frames of pages that are turned, but for the ends of the video: nothing tells there whether a page stands."""
    if PAGE not in features.names:
        return []
    frames = np.flatnonzero(features[PAGE])
    return [frame for frame in frames.tolist() if _END_FRAMES < frame < len(features.chance) - _END_FRAMES]


def fused(features: Features, hard: Model, gradual: Model) -> Floats:
    """(n,): at a frame where a shot begins how sure that is, 0..1; else 0. One boundary for one transition."""
    features = without_flashes(features)
    places = hard_places(features)
    chances = hard.chances(places)
    runs = with_hard_chances(stretches(features), places.frames, chances)
    found: dict[int, float] = {}
    for place in np.argsort(-chances, kind="stable"):
        frame, chance = int(places.frames[place]), float(chances[place])
        if chance >= _LEAST_CHANCE and frame - 1 not in found and frame + 1 not in found:
            found[frame] = chance
    for middle, start, end, chance in zip(runs.frames, runs.first, runs.last, gradual.chances(runs), strict=True):
        inside = [frame for frame in range(int(start) - _EDGE_BEFORE, int(end) + _EDGE_AFTER + 1) if frame in found]
        surest = max(inside, key=lambda frame: found[frame], default=int(middle))
        if end - start >= _SHORT_STRETCH and found.get(surest, 0.0) < _HARD_IN_STRETCH:
            for frame in inside:
                del found[frame]
            surest = int(middle)
        found[surest] = float(chance)
    column = np.zeros(len(features.chance), np.float32)
    for frame, chance in found.items():
        # Two frames alone at an end of the video are no shot: nothing tells whether they are a flash.
        if _END_FRAMES < frame < len(column) - _END_FRAMES and chance >= _LEAST_CHANCE:
            column[frame] = chance
    for middle, (first, last) in wipe_ranges(features).items():
        taken = slice(max(0, first - _EDGE_BEFORE), last + _EDGE_AFTER + 1)
        if column[taken].max(initial=0) < _SEEN_WIPE / 2:
            column[taken] = 0
            column[middle] = _SEEN_WIPE
    for frame in turned_pages(features):
        beside = slice(max(0, frame - _BESIDE_PAGE), frame + _BESIDE_PAGE + 1)
        sure = max(_SEEN_PAGE, float(column[beside].max()))
        column[beside] = 0
        column[frame] = sure
    return without_shots_that_go_on(one_for_each_fade(column, features["contrast"]), features)


_STRETCH_NAMES = (
    _LENGTH, "greatest_chance", "sum_of_chances", "greatest_part", "sum_of_parts", "sure_frames", "sure_part_frames",
    "across_stretch", "unlike_across_stretch", "start_to_jump", "end_from_jump",
)  # fmt: skip


def network_features(features: Features, frames: NDArray[np.int_]) -> tuple[tuple[str, ...], Floats]:
    """What the network says around frames: names, and (frames, names). At a hard cut its score is at the frame before: the last of the old
    shot.
    """
    columns = {name: column[frames] for name, column in _network_columns(features.chance, features.part)}
    return tuple(columns), np.stack(list(columns.values()), axis=1).astype(np.float32)


def _network_columns(chance: Floats, part: Floats) -> Iterator[tuple[str, Floats]]:
    """Of every frame, (n,), one column at a time."""
    yield "chance", _greatest(chance, -2, 0)
    yield "chance_before", _at(chance, -1)
    yield "chance_two_before", _at(chance, -2)
    yield "chance_here", chance
    yield "chances_near", _sum(chance, -4, 2)
    yield "chances_around", _sum(chance, -12, 12)
    yield "chance_elsewhere", np.maximum(_greatest(chance, -12, -4), _greatest(chance, 2, 10))
    yield "part", _greatest(part, -2, 0)
    yield "part_before", _at(part, -1)
    yield "parts_near", _sum(part, -4, 2)
    yield "parts_around", _sum(part, -12, 12)
    yield "part_elsewhere", np.maximum(_greatest(part, -12, -4), _greatest(part, 2, 10))


def _at(series: Floats, offset: int) -> Floats:
    """The series seen from f at f + offset; 0 outside."""
    moved = np.zeros_like(series)
    if offset < 0:
        moved[-offset:] = series[: max(0, len(series) + offset)]
    else:
        moved[: max(0, len(series) - offset)] = series[offset:]
    return moved


def _greatest(series: Floats, first: int, last: int) -> Floats:
    greatest = _at(series, first)
    for offset in range(first + 1, last + 1):
        np.maximum(greatest, _at(series, offset), out=greatest)
    return greatest


def _sum(series: Floats, first: int, last: int) -> Floats:
    total = _at(series, first)
    for offset in range(first + 1, last + 1):
        total += _at(series, offset)
    return total


def _runs(above: NDArray[np.bool_]) -> Sequence[tuple[int, int]]:
    """Runs [start, end) of true frames; those with at most _STRETCH_GAP frames between them are one."""
    joined: list[tuple[int, int]] = []
    for start, end in true_runs(above):
        if joined and start - joined[-1][1] <= _STRETCH_GAP:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
