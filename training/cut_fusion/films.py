"""Films with exact labels: shots joined by transitions, with disturbances inside them. The same seed and number give the same film.

A film is made at 96x54 and then made as small as the network sees it, 48x27.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from training.cut_fusion.disturbances import DISTURBANCES
from training.cut_fusion.shots import HEIGHT, WIDTH, Frames, Random, Sources, clip_shot, framed, shot, slide, slide_design, write_lines
from training.cut_fusion.transitions import GRADUAL

#: Kinds of transitions that take no time: of two scenes, within one scene, and two views of one source, which may be either.
AT_ONCE = ("hard", "jump", "alike")


@dataclass(frozen=True, slots=True)
class Transition:
    """frame: the first of the new shot (of a gradual one: its middle). first, last: frames that show anything of the transition."""

    kind: str
    frame: int
    first: int
    last: int

    @property
    def at_once(self) -> bool:
        return self.kind in AT_ONCE


@dataclass(frozen=True, slots=True)
class Labels:
    """What is in a film. disturbances: (kind, first frame). neutral: [first, last] where a boundary does not count."""

    style: str
    transitions: tuple[Transition, ...]
    disturbances: tuple[tuple[str, int], ...] = ()
    neutral: tuple[tuple[int, int], ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Labels:
        """The reverse of `to_json`."""
        told = json.loads(text)
        return cls(
            told["style"],
            tuple(Transition(**one) for one in told["transitions"]),
            tuple((str(kind), int(frame)) for kind, frame in told["disturbances"]),
            tuple((int(first), int(last)) for first, last in told["neutral"]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """frames: (n, 27, 48, 3) uint8 RGB."""

    frames: Frames
    labels: Labels


@dataclass(slots=True)
class _Reel:
    """A film while it is joined."""

    parts: list[Frames] = field(default_factory=list)
    length: int = 0
    transitions: list[Transition] = field(default_factory=list)
    disturbances: list[tuple[str, int]] = field(default_factory=list)
    neutral: list[tuple[int, int]] = field(default_factory=list)

    def add(self, frames: Frames) -> None:
        self.parts.append(frames)
        self.length += len(frames)


#: style -> how often it is drawn
STYLES: Mapping[str, float] = {"feature": 0.42, "fast": 0.12, "one shot": 0.22, "slides": 0.13, "alike": 0.11}
#: Bars, boards, titles and insets appear at once and go again, in shots that are joined by few cuts.
OVERLAYS = "overlays"
#: What the network scores low: slow fades, wipes, pushes, zooms, jumps within a scene, cuts from dark to dark and in fast action.
WEAK = "weak"
#: Films from these numbers on have one style, because among the others there are too few of it for the model to learn it.
ALONE: Mapping[int, str] = {10_000: OVERLAYS, 20_000: "slides", 30_000: WEAK}
_GRADUAL_OFTEN = {kind: entry[3] for kind, entry in GRADUAL.items()}
_WEAK_OFTEN = {"dissolve": 0.12, "fade": 0.3, "wipe": 0.28, "push": 0.15, "zoom": 0.15}
_OVERLAID = {"letterbox": 0.4, "banner": 0.35, "inset": 0.08, "title": 0.1, "words": 0.07}

_DISTURBED = {kind: often for kind, (_, often) in DISTURBANCES.items()}
_GAP = 14
#: Less than this mean difference from the shot alone is nothing that can be seen of a transition.
_SEEN_LEVELS = 0.6
_JUMP_LEVELS = 5.0


def film(seed: int, number: int, sources: Sources, *, about_frames: int = 700, style: str | None = None) -> Film:
    rng = np.random.default_rng([seed, number])
    alone = [one for first, one in ALONE.items() if number >= first]
    chosen = style or (alone[-1] if alone else str(rng.choice(list(STYLES), p=list(STYLES.values()))))
    reel = _Reel()
    if chosen == "slides":
        _slides(rng, sources, reel, about_frames // 2)
    else:
        _shots(rng, sources, reel, about_frames, _weak_manner(rng) if chosen == WEAK else _manner(rng, about_frames, chosen))
    return _developed(rng, chosen, reel)


@dataclass(frozen=True, slots=True)
class _Manner:
    """How the shots of a film are made and joined. lengths: shortest and longest shot. gradual, jumps, same: shares of transitions that
    take time, of parts cut out of one scene, of shots of the source before. overlays: disturbances are boards and bars, and many.
    often: of each gradual kind; None: as usual. Their longest is `slower` times as long. levels: least and greatest mean of each shot;
    None: as they are.
    """

    pace: float
    gradual: float
    disturbed: float
    lengths: tuple[int, int]
    jumps: float
    formats: bool
    same: float = 0.12
    one_shot: bool = False
    overlays: bool = False
    often: Mapping[str, float] | None = None
    slower: float = 1.0
    levels: tuple[float, float] | None = None


def _manner(rng: Random, about_frames: int, style: str) -> _Manner:
    pace = float(np.exp(rng.normal(0.0, 0.7)))
    gradual = 0.0 if style == "one shot" else float(rng.choice([0.05, 0.2, 0.5]))
    disturbed = 0.9 if style == "one shot" else float(rng.choice([0.3, 0.6, 0.9]))
    lengths = {"fast": (5, 32), "one shot": (about_frames // 3, about_frames), "alike": (16, 80), OVERLAYS: (50, 170)}.get(
        style, (22, 140) if rng.random() < 0.5 else (16, 70)
    )
    return _Manner(
        pace,
        gradual,
        disturbed,
        lengths,
        {"alike": 0.5, "feature": 0.07}.get(style, 0.0),
        bool(rng.random() < 0.12),
        same=0.8 if style == "alike" else 0.12,
        one_shot=style == "one shot",
        overlays=style == OVERLAYS,
    )


def _weak_manner(rng: Random) -> _Manner:
    kind = str(rng.choice(["dark", "fast", "gradual"]))
    pace = float(rng.uniform(1.5, 4.0) if kind == "fast" else np.exp(rng.normal(0.0, 0.6)))
    return _Manner(
        pace,
        gradual=0.75 if kind == "gradual" else 0.1,
        disturbed=0.3,
        lengths={"fast": (5, 30), "gradual": (50, 170)}.get(kind, (14, 90)),
        jumps=0.15,
        formats=False,
        often=_WEAK_OFTEN,
        slower=1.8,
        levels=(4, 26) if kind == "dark" or rng.random() < 0.2 else None,
    )


def _shots(rng: Random, sources: Sources, reel: _Reel, about_frames: int, manner: _Manner) -> None:
    name: str | None = None
    old: Frames | None = None
    rest: list[Frames] = []
    while old is None or (reel.length + len(old) < about_frames and not manner.one_shot):
        count = int(np.exp(rng.uniform(np.log(manner.lengths[0]), np.log(manner.lengths[1]))))
        kind = "jump"
        if rest:
            new = rest.pop(0)
        else:
            same = name if rng.random() < manner.same else None
            before = name
            if old is not None and rng.random() < manner.jumps:
                name, new, rest = _jumping(rng, sources, count, manner.pace, same)
            else:
                name, new = shot(rng, sources, count, pace=manner.pace, like=same)
                if manner.formats:
                    _in_its_format(rng, new)
            if manner.levels is not None:
                gain = rng.uniform(*manner.levels) / max(1.0, float(new.mean()))
                new, *rest = (np.clip(part * gain, 0, 255).astype(np.uint8) for part in (new, *rest))
            kind = "alike" if name == before and (name in sources.photos or name in sources.clips) else "hard"
        count = len(new)
        if old is not None:
            new = _joined(rng, reel, old, new, kind, manner, gradual=kind != "jump" and rng.random() < manner.gradual)
        # The end of the shot is still open, so a disturbance stands on the reel where the shot's rest will be.
        start = reel.length - (count - len(new))
        for _ in range(int(rng.integers(1, 5)) if manner.one_shot else len(new) // 35 if manner.overlays else 1):
            if len(new) > 2 * _GAP + 6 and rng.random() < manner.disturbed:
                at_kind, at = _disturb(rng, new, sources, _OVERLAID if manner.overlays else _DISTURBED)
                reel.disturbances.append((at_kind, start + count - len(new) + at))
        old = new
    reel.add(old)


def _jumping(rng: Random, sources: Sources, count: int, pace: float, like: str | None) -> tuple[str, Frames, list[Frames]]:
    """One view of a scene, from which parts were cut out, or enlarged for a while: its name, first part and the rest."""
    parts = int(rng.integers(2, 5))
    gaps = [int(np.exp(rng.uniform(np.log(16), np.log(120)))) for _ in range(parts)]
    name, whole = shot(rng, sources, parts * count + sum(gaps), pace=pace, like=like)
    found: list[Frames] = []
    closer = False
    at = 0
    for gap in gaps:
        part = whole[at : at + count].copy()
        closer = not closer and rng.random() < 0.4
        if closer:
            part = _closer(rng, part)
        if not found or np.abs(part[0].astype(int) - found[-1][-1].astype(int)).mean() >= _JUMP_LEVELS:
            found.append(part)
        at += count + gap
    return name, found[0], found[1:]


def _closer(rng: Random, frames: Frames) -> Frames:
    share = rng.uniform(0.55, 0.87)
    width, height = int(WIDTH * share), int(HEIGHT * share)
    x, y = int(rng.integers(0, WIDTH - width + 1)), int(rng.integers(0, HEIGHT - height + 1))
    return np.stack([cv2.resize(frame[y : y + height, x : x + width], (WIDTH, HEIGHT)) for frame in frames])


def _in_its_format(rng: Random, frames: Frames) -> None:
    """Bars that the shot has from its first frame to its last, as in films made of others' footage."""
    kind = rng.random()
    if kind < 0.35:
        frames[:, : (bar := int(rng.integers(2, 10)))] = frames[:, -bar:] = 0
    elif kind < 0.6:
        frames[:, :, : (bar := int(rng.integers(4, 22)))] = frames[:, :, -bar:] = 0


def _disturb(rng: Random, frames: Frames, sources: Sources, kinds: Mapping[str, float]) -> tuple[str, int]:
    """Changes the shot in place; returns what was done and from which of its frames on."""
    weights = np.array(list(kinds.values()))
    kind = str(rng.choice(list(kinds), p=weights / weights.sum()))
    gap = _GAP if rng.random() < 0.7 else 4
    at = int(rng.integers(gap, len(frames) - gap))
    DISTURBANCES[kind][0](rng, frames, at, sources)
    return kind, at


def _joined(rng: Random, reel: _Reel, old: Frames, new: Frames, kind: str, manner: _Manner, *, gradual: bool) -> Frames:
    """Puts the old shot on the reel, and the transition; returns the rest of the new shot, which is not on it yet."""
    if not gradual or len(old) <= 8 or len(new) <= 8:
        reel.add(old)
        reel.transitions.append(Transition(kind, reel.length, reel.length, reel.length))
        return new
    often = manner.often or _GRADUAL_OFTEN
    kind = str(rng.choice(list(often), p=list(often.values())))
    mix, shortest, longest, _ = GRADUAL[kind]
    length = max(2, min(int(np.exp(rng.uniform(np.log(shortest), np.log(longest * manner.slower)))), len(old) - 6, len(new) - 6))
    reel.add(old[:-length])
    start = reel.length
    mixed = mix(rng, old[-length:], new[:length])
    reel.add(mixed)
    first, last = _seen_frames(mixed, old[-length:], new[:length])
    frame = min(max((length + 1) // 2, first), last + 1)
    reel.transitions.append(Transition(kind, start + frame, start + first, start + last))
    return new[length:]


def _seen_frames(mixed: Frames, old: Frames, new: Frames) -> tuple[int, int]:
    """The first and the last frame of the mixture that is neither the old shot nor the new one to the eye."""
    unlike_old, unlike_new = (
        np.flatnonzero(np.abs(mixed.astype(np.int16) - shot_alone).mean((1, 2, 3)) > _SEEN_LEVELS) for shot_alone in (old, new)
    )
    if not len(unlike_old) or not len(unlike_new) or unlike_new[-1] < unlike_old[0]:
        return 0, len(mixed) - 1
    return int(unlike_old[0]), int(unlike_new[-1])


def _slides(rng: Random, sources: Sources, reel: _Reel, about_frames: int) -> None:
    """A talk: slides that stand, at one frame a second or at many; lines that appear on a slide are no cut, but no clear case either."""
    design = slide_design(rng, sources)
    shortest, longest = (1, 24) if rng.random() < 0.6 else (20, 160)
    switch = 0.0 if rng.random() < 0.7 else 0.25
    grain = rng.uniform(0, 1.5)
    speaker, (rows, columns), wall = None, framed(rng), int(rng.integers(0, 256)) if rng.random() < 0.5 else 0
    if rng.random() < 0.35 and sources.clips:
        speaker = clip_shot(rng, sources.clips[str(rng.choice(list(sources.clips)))], 200)
        share, right, low = int(rng.integers(18, 40)), rng.random() < 0.7, rng.random() < 0.6
        stride = int(rng.choice([1, 1, 7, 30]))  # at one frame a second a speaker is elsewhere in every frame
    while reel.length < about_frames:
        count = int(np.exp(rng.uniform(np.log(shortest), np.log(longest + 1))))
        if rng.random() < switch:
            _, frames = shot(rng, sources, max(3, count), pace=0.5)
        else:
            frames = np.repeat(slide(rng, sources, design)[None], count, axis=0)
            if count > 6 and rng.random() < 0.3:
                at = int(rng.integers(3, count - 2))
                build = frames[0].copy()
                write_lines(rng, build, design[1], (0.1, rng.uniform(0.3, 0.8), 0.9, 0.95), most=1)
                frames[at:] = build
                reel.disturbances.append(("line on a slide", reel.length + at))
            if columns != slice(0, WIDTH):
                page = cv2.resize(frames[0], (columns.stop - columns.start, rows.stop - rows.start), interpolation=cv2.INTER_AREA)
                changed = np.flatnonzero(np.any(frames != frames[0], axis=(1, 2, 3)))
                later = cv2.resize(frames[-1], (page.shape[1], page.shape[0]), interpolation=cv2.INTER_AREA)
                frames = np.full_like(frames, wall)
                frames[:, rows, columns] = page
                frames[changed, rows, columns] = later
            if speaker is not None:
                tall = share * 9 // 16
                x, y = (WIDTH - share if right else 0), (HEIGHT - tall if low else 0)
                for number in range(count):
                    shown = speaker[(reel.length + number) * stride % len(speaker)]
                    frames[number, y : y + tall, x : x + share] = cv2.resize(shown, (share, tall), interpolation=cv2.INTER_AREA)
            if grain > 0.3:
                frames = np.clip(frames + rng.normal(0, grain, frames.shape), 0, 255).astype(np.uint8)
        if reel.parts:
            if np.abs(frames[0].astype(int) - reel.parts[-1][-1].astype(int)).mean() < 2.5:
                reel.neutral.append((reel.length - 1, reel.length + 1))
            reel.transitions.append(Transition("hard", reel.length, reel.length, reel.length))
        reel.add(frames)


def _developed(rng: Random, style: str, reel: _Reel) -> Film:
    """The reel as a file would show it: its light, its bars and logo, repeated frames, grain, and small."""
    frames = np.concatenate(reel.parts)
    if rng.random() < 0.25:
        gain, power = rng.uniform(0.15, 1.05), np.exp(rng.normal(0, 0.3))
        frames = np.clip(255 * (np.arange(256) / 255) ** power * gain, 0, 255).astype(np.uint8)[frames]
    if rng.random() < 0.15:
        frames[:, : (bar := int(rng.integers(2, 9)))] = frames[:, -bar:] = 0
    elif rng.random() < 0.08:
        frames[:, :, : (bar := int(rng.integers(4, 30)))] = frames[:, :, -bar:] = 0
    if rng.random() < 0.2:
        y, x = (2, 80) if rng.random() < 0.5 else (44, 4)
        frames[:, y : y + 7, x : x + 12] = rng.integers(0, 256, 3)
    small = np.stack([cv2.resize(frame, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA) for frame in frames])
    if rng.random() < 0.5:
        noise = np.asarray(rng.normal(0, rng.exponential(0.8), (16, *small.shape[1:])), np.float32)
        small = np.clip(small + noise[rng.integers(0, 16, len(small))], 0, 255).astype(np.uint8)
    shown = _shown(rng, len(small), seldom=style != "fast") if style != "slides" else np.arange(len(small))
    labels = Labels(
        style,
        tuple(_as_shown(one, shown) for one in reel.transitions),
        tuple((kind, int(np.searchsorted(shown, frame))) for kind, frame in reel.disturbances),
        tuple((int(np.searchsorted(shown, first)), _last(shown, last)) for first, last in reel.neutral),
    )
    return Film(small[shown], labels)


def _shown(rng: Random, count: int, *, seldom: bool) -> NDArray[np.int_]:
    """Which frame of the reel each frame shows: mostly one each; else each twice or thrice, or every fourth or fifth twice, or every
    second to fifth alone.
    """
    kind = rng.random()
    if kind < 0.78:
        if kind < 0.06 and seldom:
            return np.arange(0, count, int(rng.integers(2, 6)))
        return np.arange(count)
    if kind < 0.88:
        return np.repeat(np.arange(count), int(rng.choice([2, 2, 3])))
    every = int(rng.integers(4, 6))
    return np.sort(np.concatenate([np.arange(count), np.arange(0, count, every)]))


def _as_shown(one: Transition, shown: NDArray[np.int_]) -> Transition:
    frame, first = (int(np.searchsorted(shown, number)) for number in (one.frame, one.first))
    last = _last(shown, one.last)
    if one.at_once or last < first:
        return Transition(one.kind if one.at_once else "hard", frame, frame, frame)
    return Transition(one.kind, min(max(frame, first), last + 1), first, last)


def _last(shown: NDArray[np.int_], frame: int) -> int:
    return int(np.searchsorted(shown, frame, side="right")) - 1
