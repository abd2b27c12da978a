"""Labelled footage, changed so that its truth stays known: other light, framing, rate and compression, and its shots joined anew."""

from __future__ import annotations

import fnmatch
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from numpy.typing import NDArray

from training.cut_fusion.films import Film, Labels, Transition
from training.cut_fusion.shots import HEIGHT, WIDTH, Frames, Random
from training.cut_fusion.transitions import dissolve, fade

_SHORTEST_SHOT = 12
#: Two pictures that are less apart than this are no cut that somebody could see.
_APART_LEVELS, _APART_IN_THE_DARK = 8.0, 2.5
_JOINED_FRAMES = 4000


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """One labelled video. frames: (n, 54, 96, 3) uint8 RGB."""

    path: Path
    frames: Frames
    labels: Labels
    frame_rate: float

    @property
    def film(self) -> Film:
        """As small as the network sees it."""
        small = [cv2.resize(frame, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA) for frame in self.frames]
        return Film(np.stack(small), self.labels)


Variation = Callable[[Sequence[Take]], Iterator[Take]]


def load_takes(folder: Path, *, without: Sequence[str] = ()) -> list[Take]:
    """The videos of a folder with a truth.json. without: patterns of the names of those to leave out."""
    truth: Mapping[str, Any] = json.loads((folder / "truth.json").read_text())
    return [
        Take(folder / name, read(folder / name), labels_of(name, entry), float(entry["fps"]))
        for name, entry in truth.items()
        if entry.get("score") is not False and not any(fnmatch.fnmatch(name, pattern) for pattern in without)
    ]


def labels_of(name: str, entry: Mapping[str, Any]) -> Labels:
    """entry: of truth.json, with boundaries (frame, type, and start and end of what takes time) and ranges to ignore."""
    return Labels(
        name,
        tuple(
            Transition(str(one["type"]), int(one["frame"]), int(one.get("start", one["frame"])), int(one.get("end", one["frame"])))
            for one in entry["boundaries"]
        ),
        neutral=tuple((int(one["start"]), int(one["end"])) for one in entry.get("ignore", ())),
    )


def read(path: Path, filters: str = "null") -> Frames:
    """All frames as displayed, small."""
    scale = f"{filters},scale={WIDTH}:{HEIGHT}:flags=bicubic,format=rgb24"
    command = [get_ffmpeg_exe(), "-v", "fatal", "-nostdin", "-i", str(path), "-an", "-fps_mode", "passthrough", "-vf", scale]
    told = subprocess.run([*command, "-f", "rawvideo", "-"], check=False, capture_output=True).stdout
    return np.frombuffer(told, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)


def of_pictures(change: Callable[[Frames], Frames]) -> Variation:
    """Every picture alike, so that the truth stays as it is."""

    def varied(takes: Sequence[Take]) -> Iterator[Take]:
        for take in takes:
            yield replace(take, frames=change(take.frames))

    return varied


def of_levels(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Variation:
    """change: of levels 0..1."""
    table = np.clip(np.rint(255 * change(np.arange(256) / 255)), 0, 255).astype(np.uint8)
    return of_pictures(lambda frames: table[frames])


def of_time(shown: Callable[[Take], NDArray[np.int_]]) -> Variation:
    """shown: which frame each new frame shows, never going back."""

    def varied(takes: Sequence[Take]) -> Iterator[Take]:
        for take in takes:
            chosen = shown(take)
            yield replace(take, frames=take.frames[chosen], labels=as_shown(take.labels, chosen))

    return varied


def as_shown(labels: Labels, shown: NDArray[np.int_]) -> Labels:
    """The labels of a film of which the frames `shown` are left, some of them several times. What falls on one frame is one cut."""
    moved: dict[int, Transition] = {}
    for one in labels.transitions:
        frame, first = (int(np.searchsorted(shown, number)) for number in (one.frame, one.first))
        last = int(np.searchsorted(shown, one.last, side="right")) - 1
        if frame >= len(shown):
            continue
        if one.kind == "hard" or last <= first:
            moved.setdefault(frame, Transition("hard", frame, frame, frame))
        else:
            moved[frame] = Transition(one.kind, frame, first, last)
    neutral = ((int(np.searchsorted(shown, start)), int(np.searchsorted(shown, end, side="right")) - 1) for start, end in labels.neutral)
    return replace(labels, transitions=tuple(moved.values()), neutral=tuple(neutral))


def backwards(takes: Sequence[Take]) -> Iterator[Take]:
    for take in takes:
        count = len(take.frames)
        turned = tuple(
            Transition(one.kind, count - one.frame, count - one.frame, count - one.frame)
            if one.kind == "hard"
            else Transition(one.kind, count - one.frame, count - 1 - one.last, count - 1 - one.first)
            for one in reversed(take.labels.transitions)
        )
        neutral = tuple((count - 1 - last, count - 1 - first) for first, last in take.labels.neutral)
        yield replace(take, frames=take.frames[::-1], labels=replace(take.labels, transitions=turned, neutral=neutral))


def encoded(takes: Sequence[Take], *, filters: str, options: Sequence[str]) -> Iterator[Take]:
    """Encoded again by x264 with other pixels and bits."""
    for take in takes:
        with TemporaryDirectory() as folder:
            out = Path(folder) / "again.mkv"
            command = [get_ffmpeg_exe(), "-v", "fatal", "-nostdin", "-i", str(take.path), "-an", "-fps_mode", "passthrough"]
            made = [*command, "-vf", f"{filters},format=yuv420p", "-c:v", "libx264", "-preset", "ultrafast", *options, str(out)]
            subprocess.run(made, check=False, capture_output=True)
            frames = read(out)
        if len(frames) == len(take.frames):
            yield replace(take, frames=frames)


def boxed(frames: Frames, *, rows: int = 0, columns: int = 0) -> Frames:
    """With black bars so deep from the first frame to the last; the picture inside of them is whole, and smaller."""
    size = (WIDTH - 2 * columns, HEIGHT - 2 * rows)
    out = np.zeros_like(frames)
    for number, frame in enumerate(frames):
        out[number, rows : HEIGHT - rows, columns : WIDTH - columns] = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return out


def cropped(frames: Frames) -> Frames:
    """The middle, 4:3."""
    left = (WIDTH - HEIGHT * 4 // 3) // 2
    return np.stack([cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) for frame in frames[:, :, left : WIDTH - left]])


def grained(frames: Frames, *, levels: float) -> Frames:
    noise = np.random.default_rng(1).normal(0, levels, (32, HEIGHT, WIDTH, 1))
    places = np.random.default_rng(2).integers(0, len(noise), len(frames))
    return np.stack([np.clip(frame + noise[place], 0, 255) for frame, place in zip(frames, places, strict=True)]).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A part of a take without any boundary in it. name: of its shot, the same for all parts of one."""

    name: str
    frames: Frames


def shots_of(takes: Sequence[Take]) -> list[Shot]:
    found = []
    for take in takes:
        ranges = [(one.first, one.last) if one.kind != "hard" else (one.frame, one.frame - 1) for one in take.labels.transitions]
        edges = [(0, -1), *ranges, (len(take.frames), 0)]
        for number, ((_, before), (after, _)) in enumerate(pairwise(edges)):
            start, end = before + 1, after
            if not any(first < end and last >= start for first, last in take.labels.neutral) and end - start >= _SHORTEST_SHOT:
                found.append(Shot(f"{take.path.name} {number}", take.frames[start:end]))
    return found


def joined(
    takes: Sequence[Take], *, seed: int, shortest: int, longest: int, pace: int = 1, dark: bool = False, gradual: float = 0.0
) -> Iterator[Take]:
    """Parts of shots in another order. pace: only every so manieth frame. dark: each as dark as a night.

    gradual: share of dissolves and fades among the transitions.
    """
    rng = np.random.default_rng(seed)
    shots = shots_of(takes)
    parts: list[Frames] = []
    transitions: list[Transition] = []
    length, name = 0, ""
    while length < _JOINED_FRAMES:
        shot, part = _part(rng, shots, shortest, longest, pace, dark=dark)
        if shot.name == name:
            continue
        least = _APART_IN_THE_DARK if dark else _APART_LEVELS
        if parts and np.abs(part[0].astype(int) - parts[-1][-1].astype(int)).mean() < least:
            continue
        if parts:
            old, mixed, part, one = _met(rng, parts.pop(), part, length, gradual)
            parts += [old, mixed]
            transitions.append(one)
        parts.append(part)
        length += len(part)
        name = shot.name
    labels = Labels("joined", tuple(transitions))
    yield Take(takes[0].path, np.concatenate(parts), labels, takes[0].frame_rate)


def _part(rng: Random, shots: Sequence[Shot], shortest: int, longest: int, pace: int, *, dark: bool) -> tuple[Shot, Frames]:
    shot = shots[int(rng.integers(len(shots)))]
    count = min(int(rng.integers(shortest, longest + 1)) * pace, len(shot.frames))
    start = int(rng.integers(len(shot.frames) - count + 1))
    part = shot.frames[start : start + count : pace]
    if dark:
        wanted = rng.uniform(6, 24)
        part = np.clip(part * (wanted / max(1.0, float(part.mean()))), 0, 255).astype(np.uint8)
    return shot, part


def _met(rng: Random, old: Frames, new: Frames, length: int, gradual: float) -> tuple[Frames, Frames, Frames, Transition]:
    """The old part, the mixture, what is left of the new one, and what they are. length: of all so far, with the old part."""
    count = int(rng.integers(8, 41))
    if rng.random() >= gradual or min(len(old), len(new)) < count + 8:
        return old, old[:0], new, Transition("hard", length, length, length)
    kind, mix = ("dissolve", dissolve) if rng.random() < 0.6 else ("fade", fade)
    mixed = mix(rng, old[-count:], new[:count])
    start = length - count
    return old[:-count], mixed, new[count:], Transition(kind, start + count // 2, start, start + count - 1)


def _stepped(take: Take, *, step: int) -> NDArray[np.int_]:
    return np.arange(0, len(take.frames), step)


def _each_second(take: Take) -> NDArray[np.int_]:
    return np.arange(0, len(take.frames), max(1, round(take.frame_rate)))


def _repeated(take: Take, *, times: int) -> NDArray[np.int_]:
    return np.repeat(np.arange(len(take.frames)), times)


def _pulled_down(take: Take) -> NDArray[np.int_]:
    """Every fourth frame twice: 24 frames a second shown as 30."""
    count = len(take.frames)
    return np.sort(np.concatenate([np.arange(count), np.arange(0, count, 4)]))


VARIATIONS: Mapping[str, Variation] = {
    "as it is": iter,
    "240p, few bits": partial(encoded, filters="scale=426:240", options=("-crf", "38")),
    "1080p, many bits": partial(encoded, filters="scale=1920:1080", options=("-crf", "14")),
    "mirrored": of_pictures(lambda frames: frames[:, :, ::-1]),
    "cropped to 4:3": of_pictures(cropped),
    "bars above and below": of_pictures(partial(boxed, rows=7)),
    "bars at the sides": of_pictures(partial(boxed, columns=12)),
    "grey": of_pictures(lambda frames: np.repeat(frames.mean(-1, keepdims=True).astype(np.uint8), 3, axis=-1)),
    "dark": of_levels(lambda levels: 0.35 * levels),
    "bright": of_levels(lambda levels: 0.35 + 0.75 * levels),
    "low contrast": of_levels(lambda levels: 0.25 + 0.45 * levels),
    "high contrast": of_levels(lambda levels: 0.5 + 1.7 * (levels - 0.5)),
    "gamma 0.5": of_levels(lambda levels: levels**0.5),
    "gamma 2": of_levels(lambda levels: levels**2),
    "grain": of_pictures(partial(grained, levels=12.0)),
    "half the rate": of_time(partial(_stepped, step=2)),
    "a quarter of the rate": of_time(partial(_stepped, step=4)),
    "twice the rate": of_time(partial(_repeated, times=2)),
    "24 as 30": of_time(_pulled_down),
    "one frame a second": of_time(_each_second),
    "backwards": backwards,
    "joined anew": partial(joined, seed=1, shortest=16, longest=90),
    "joined anew, dark": partial(joined, seed=2, shortest=16, longest=90, dark=True),
    "joined anew, fast": partial(joined, seed=3, shortest=5, longest=24, pace=3),
    "joined anew, gradual": partial(joined, seed=4, shortest=50, longest=110, gradual=0.8),
    "joined anew, dark and gradual": partial(joined, seed=5, shortest=50, longest=110, dark=True, gradual=0.8),
}
