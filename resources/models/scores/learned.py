"""Scores of the learned fusion: both heads of TransNetV2 and what the small frames say, put together by the model in this folder."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.cut_features import REACH, picture_features
from heaters_dagster.domain.cut_fusion import FLASH, PAGE, WIPE, Doubted, Features, Model, Trees, calibrated, fused, show_again
from heaters_dagster.domain.cut_transitions import KINDS, TransitionModels, as_column, transitions_at
from heaters_dagster.domain.errors import ModelUnavailableError
from heaters_dagster.domain.flashes import Calmed
from heaters_dagster.domain.going_on import SPACING, looks_of
from heaters_dagster.domain.pages import page_turns
from heaters_dagster.domain.picture_parts import PARTS
from heaters_dagster.domain.repeats import Repeats
from heaters_dagster.domain.wipes import wipes
from resources.models.scores.transnetv2 import TRANSNETV2_COLUMNS, TransNetV2Scores

#: How sure it is that a shot begins at the frame, 0..1, and 0 nearly everywhere. A new model is a new column: it scores differently.
LEARNED_COLUMN = "learned_2"
#: The kinds and frames of the transitions, as domain/cut_transitions.py writes them.
KIND_COLUMN = "learned_2_kind"
MODEL = Path(__file__).with_name("cut_fusion_2.npz")
_BATCH_FRAMES = 256


class LearnedScores:
    """A ScoreStream with its own two columns and those of TransNetV2's two heads. It needs the network's small frames alone."""

    name = "learned"
    frame_size = TransNetV2Scores.frame_size
    pixel_format = TransNetV2Scores.pixel_format
    scale_flags = TransNetV2Scores.scale_flags

    def __init__(self) -> None:
        self._models = load_models()
        self._network: TransNetV2Scores | None = TransNetV2Scores(both_heads=True)
        self._pictures = PictureFeatures()

    def feed(self, frames: NDArray[np.uint8]) -> None:
        assert self._network is not None
        self._pictures.feed(frames)
        self._network.feed(frames)

    def finish(self) -> Mapping[str, NDArray[np.float32]]:
        assert self._network is not None
        columns = self._network.finish()
        self._network = None  # its memory is free for the tables of a long video
        names, pictures, looks = self._pictures.finish()
        chance, part = (columns[name] for name in TRANSNETV2_COLUMNS)
        if not len(chance):
            return {LEARNED_COLUMN: chance, KIND_COLUMN: chance, **columns}
        features = Features(names, pictures, chance, part, looks)
        # As they will be stored, so that the kinds are those of the boundaries that are read back.
        found = (
            calibrated(fused(features, self._models.hard, self._models.stretch), *self._models.line).astype(np.float16).astype(np.float32)
        )
        frames = np.flatnonzero(found)
        kinds = transitions_at(features, frames, found[frames], self._models.transitions)
        return {LEARNED_COLUMN: found, KIND_COLUMN: as_column(frames, found[frames], kinds, len(found)), **columns}


class _KeptRows:
    """Rows of one length that come in batches. They are kept compressed: by an eighth to a third where pictures move, to little where they
    stand still.
    """

    def __init__(self, kind: type[np.generic]) -> None:
        self._kind = np.dtype(kind)
        self._batches: deque[tuple[int, bytes]] = deque()

    def add(self, rows: NDArray[Any]) -> None:
        """rows: (k, length)."""
        # The same bytes of all values of a column beside each other are more alike.
        columns = np.ascontiguousarray(rows.T, self._kind).view(np.uint8).reshape(-1, self._kind.itemsize)
        self._batches.append((len(rows), zlib.compress(columns.T.tobytes(), level=1)))

    def table(self, length: int, count: int | None = None) -> NDArray[Any]:
        """All rows, and zeros up to `count`: (count, length). Once: each batch is given up as soon as it stands in the table."""
        known = sum(rows for rows, _ in self._batches)
        table = np.zeros((known if count is None else count, length), self._kind)
        begin = 0
        while self._batches:
            rows, packed = self._batches.popleft()
            columns = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(self._kind.itemsize, -1).T
            table[begin : begin + rows] = np.ascontiguousarray(columns).view(self._kind).reshape(length, rows).T
            begin += rows
        return table


class PictureFeatures:
    """The features of all frames of a video without its flashes and repeats, computed in batches, and how the frames look. It keeps 212
    bytes a frame, compressed; at the end they are in memory once.
    """

    def __init__(self) -> None:
        self._calmed, self._repeats = Calmed(), Repeats()
        self._held_flashes, self._repeated = np.zeros(0, bool), bytearray()
        self._frames: NDArray[np.uint8] | None = None
        self._flashes = np.zeros(0, bool)
        self._names: tuple[str, ...] = ()
        self._kept, self._looks, self._count = _KeptRows(np.float16), _KeptRows(np.uint8), 0

    def feed(self, frames: NDArray[np.uint8]) -> None:
        self._add(*self._calmed.feed(frames))

    def finish(self) -> tuple[tuple[str, ...], NDArray[np.float16], NDArray[np.uint8]]:
        """Names, (n, names), and the looks of each SPACING-th frame, (m, 144)."""
        self._add(*self._calmed.finish())
        self._add_distinct(*self._repeats.finish())
        if self._frames is None:
            return (), np.zeros((0, 0), np.float16), np.zeros((0, PARTS), np.uint8)
        self._frames = np.concatenate([self._frames, np.repeat(self._frames[-1:], REACH, axis=0)])
        while (left := len(self._frames) - 2 * REACH) > 0:
            self._compute(min(left, _BATCH_FRAMES))
        self._frames = None
        repeats = np.frombuffer(self._repeated, bool)
        pictures, looks = self._kept.table(len(self._names), len(repeats)), self._looks.table(PARTS)
        show_again(self._names, pictures, repeats)
        return self._names, pictures, looks

    def _add(self, frames: NDArray[np.uint8], flashes: NDArray[np.bool_]) -> None:
        if not len(frames):
            return
        self._looks.add(looks_of(frames[-self._count % SPACING :: SPACING]))
        self._count += len(frames)
        self._held_flashes = np.concatenate([self._held_flashes, flashes])
        self._add_distinct(*self._repeats.feed(frames))

    def _add_distinct(self, frames: NDArray[np.uint8], repeats: NDArray[np.bool_]) -> None:
        flashes, self._held_flashes = self._held_flashes[: len(frames)], self._held_flashes[len(frames) :]
        self._repeated += repeats.tobytes()
        if repeats.any():
            frames, flashes = frames[~repeats], flashes[~repeats]
        if not len(frames):
            return
        before = np.repeat(frames[:1], REACH, axis=0) if self._frames is None else self._frames
        self._frames, self._flashes = np.concatenate([before, frames]), np.concatenate([self._flashes, flashes])
        while len(self._frames) >= _BATCH_FRAMES + 2 * REACH:
            self._compute(_BATCH_FRAMES)

    def _compute(self, count: int) -> None:
        assert self._frames is not None
        frames = self._frames[: count + 2 * REACH]
        names, features = picture_features(frames)
        self._names = (*names, FLASH, WIPE, PAGE)
        lengths, pages = np.zeros(count, np.float32), np.zeros(len(frames), bool)
        pages[page_turns(frames)] = True
        for first, last in wipes(frames):
            middle = (first + last + 1) // 2 - REACH
            if 0 <= middle < count:
                lengths[middle] = last - first + 1
        columns = [features, self._flashes[:count], lengths, pages[REACH : REACH + count]]
        self._kept.add(np.column_stack(columns))
        self._frames, self._flashes = self._frames[count:].copy(), self._flashes[count:].copy()


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """Of hard places, of stretches, and of what is known of the boundaries that are found. line: slope and offset of the calibration."""

    hard: Model
    stretch: Model
    transitions: TransitionModels
    line: tuple[float, float]


@lru_cache(maxsize=1)
def load_models() -> Models:
    """Those that come with Heaters. Raises as `read_models` does."""
    return read_models(MODEL)


def read_models(path: Path) -> Models:
    """As training/cut_fusion writes them. Raises ModelUnavailableError when the file cannot be read."""
    try:
        with np.load(path) as file:
            arrays = dict(file.items())
    except (OSError, ValueError, KeyError) as error:
        raise ModelUnavailableError(f"{path} cannot be read ({error}); install Heaters again") from error

    def trees(part: str) -> Trees:
        start = f"{part}_"
        return Trees.from_arrays({name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)})

    transitions = TransitionModels({kind: trees(f"kind-{kind}") for kind in KINDS}, trees("before"), trees("after"))
    slope, offset = arrays["calibration"].tolist()
    hard, stretch = (Doubted(trees(kind), trees(f"{kind}-overlays")) for kind in ("hard", "stretch"))
    return Models(hard, stretch, transitions, (slope, offset))
