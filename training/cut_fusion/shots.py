"""Shots without a cut in them: photos seen by a moving camera, parts of clips, and invented scenes. Each is (n, 54, 96, 3) uint8 RGB."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 96, 54
FOLDS = 5

Frames = NDArray[np.uint8]
Picture = NDArray[np.uint8]
Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Sources:
    """The pictures that films of one fold may use. photos: (144, 256, 3) each; clips: (m, 54, 96, 3) each; RGB, by name."""

    photos: Mapping[str, Picture]
    clips: Mapping[str, Frames]


def fold_of(name: str) -> int:
    """The fold to which a source belongs, by its name: never two parts of one source in different folds."""
    return zlib.crc32(name.encode()) % FOLDS


@lru_cache(maxsize=FOLDS)
def load_sources(folder: Path, fold: int) -> Sources:
    photos = {
        path.stem: cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        for path in sorted((folder / "photos").glob("*.jpg"))
        if fold_of(path.stem) == fold
    }
    clips = {path.stem: _read(path) for path in sorted((folder / "clips").glob("*.mp4")) if fold_of(path.stem) == fold}
    return Sources(photos, clips)


def invented_sources(seed: int, *, photos: int = 12, clips: int = 3) -> Sources:
    """Sources that need no files: for tests."""
    rng = np.random.default_rng(seed)
    pictures = {f"photo {number}": cv2.resize(_texture(rng, (144, 256)), (256, 144)) for number in range(photos)}
    return Sources(pictures, {f"clip {number}": texture_shot(rng, 80) for number in range(clips)})


def shot(rng: Random, sources: Sources, count: int, *, pace: float = 1.0, like: str | None = None) -> tuple[str, Frames]:
    """A shot of `count` frames and the name of its source. pace: of its motion. like: the source that it must be of, if it can be."""
    name = like if like in sources.photos or like in sources.clips else _source(rng, sources)
    if name in sources.clips:
        frames = clip_shot(rng, sources.clips[name], count)
    elif name in sources.photos:
        others = list(sources.photos.values())
        frames = photo_shot(rng, sources.photos[name], count, others=others, pace=pace)
    else:
        frames = {"texture": texture_shot, "blobs": blob_shot, "plain": plain_shot}[name](rng, count)
    return name, graded(rng, frames)


def _source(rng: Random, sources: Sources) -> str:
    kind = rng.random()
    if kind < 0.45 and sources.clips:
        played = [name for name in sources.clips if name.startswith("vizdoom")]
        filmed = [name for name in sources.clips if name not in played]
        return str(rng.choice(played if played and (not filmed or rng.random() < 0.5) else filmed))
    if kind < 0.88 and sources.photos:
        return any_photo(rng, sources)
    return str(rng.choice(["texture", "blobs", "plain"], p=[0.5, 0.4, 0.1]))


def any_photo(rng: Random, sources: Sources) -> str:
    """Of a package first: the largest, test pictures of a library, would else be nearly all."""
    packages = sorted({name.rpartition("_")[0] for name in sources.photos})
    package = str(rng.choice(packages))
    return str(rng.choice([name for name in sources.photos if name.rpartition("_")[0] == package]))


def photo_shot(rng: Random, photo: Picture, count: int, *, others: Sequence[Picture] = (), pace: float = 1.0) -> Frames:
    """A camera over a photo: still, in the hand, panning or zooming, with things that move in front of it."""
    steady = rng.random() < 0.3
    width = rng.uniform(70, 190)
    travel = 0.0 if steady else abs(rng.standard_t(2.5)) * 0.7 * pace
    zoom = 1.0 if rng.random() < 0.6 else np.exp(rng.normal(0, 0.004) * pace)
    shake = 0.0 if steady or rng.random() < 0.5 else rng.exponential(0.7) * pace
    angle = rng.uniform(0, 2 * np.pi)
    height = width * 9 / 16
    x, y = rng.uniform(width / 2, 256 - width / 2), rng.uniform(height / 2, 144 - height / 2)
    wobble = _smooth_noise(rng, count, 3, rng.integers(2, 9)) * shake
    if rng.random() < 0.12:
        wobble += rng.normal(0, rng.uniform(0.5, 6), (count, 3)) * (1, 1, 0.3)  # in the hand of somebody who runs
    blurred = cv2.GaussianBlur(photo, (0, 0), max(0.01, 0.4 * (width / WIDTH - 0.6)))
    frames = np.empty((count, HEIGHT, WIDTH, 3), np.uint8)
    for number in range(count):
        used = float(np.clip(width * zoom**number, 40, 250))
        half_width, half_height = used / 2, used * 9 / 32
        cx = _bounced(x + np.cos(angle) * travel * number + wobble[number, 0], half_width, 256 - half_width)
        cy = _bounced(y + np.sin(angle) * travel * number * 0.5 + wobble[number, 1], half_height, 144 - half_height)
        frames[number] = _seen(blurred, cx, cy, used / WIDTH, 0.01 * wobble[number, 2])
    for _ in range(rng.integers(0, 4) if others and rng.random() < 0.7 else 0):
        move_across(rng, frames, others[rng.integers(len(others))], pace)
    return frames


def clip_shot(rng: Random, clip: Frames, count: int) -> Frames:
    """A part of a clip, seen through a window of its picture, slower or faster, perhaps mirrored; it runs back where it ends."""
    speed = float(rng.choice([0.5, 1.0, 1.0, 1.0, 2.0, 3.0]))
    places = _bounce((rng.integers(len(clip)) + np.arange(count) * speed).astype(int), len(clip))
    if rng.random() < 0.5:
        places = places[::-1]
    share = rng.uniform(0.45, 1.0)
    width, height = int(WIDTH * share), int(HEIGHT * share)
    x, y = rng.integers(0, WIDTH - width + 1), rng.integers(0, HEIGHT - height + 1)
    mirrored = rng.random() < 0.5
    frames = np.empty((count, HEIGHT, WIDTH, 3), np.uint8)
    for number, place in enumerate(places):
        part = clip[place, y : y + height, x : x + width]
        frames[number] = cv2.resize(part[:, ::-1] if mirrored else part, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return frames


def texture_shot(rng: Random, count: int) -> Frames:
    """Clouds of noise that drift over one another: water, smoke, leaves."""
    first, second = (_texture(rng, (HEIGHT * 2, WIDTH * 2)) for _ in range(2))
    speed = rng.normal(0, 1.2, (2, 2))
    return np.stack(
        [
            cv2.addWeighted(_rolled(first, speed[0] * number), 0.6, _rolled(second, speed[1] * number), 0.4, 0)[:HEIGHT, :WIDTH]
            for number in range(count)
        ]
    )


def blob_shot(rng: Random, count: int) -> Frames:
    """Lights that move in the dark, or dark things before a plain wall: a stage, a street at night, an animation."""
    base = rng.integers(0, 60, 3) if rng.random() < 0.6 else rng.integers(60, 240, 3)
    frames = np.empty((count, HEIGHT, WIDTH, 3), np.uint8)
    frames[:] = base
    for _ in range(rng.integers(3, 12)):
        colour = [int(value) for value in rng.integers(0, 256, 3)]
        at, speed, size = rng.uniform(0, 1, 2) * (WIDTH, HEIGHT), rng.normal(0, 0.8, 2), rng.uniform(2, 16)
        for number in range(count):
            cx, cy = at + speed * number
            cv2.circle(
                frames[number], (round(cx % (WIDTH + 30)) - 15, round(cy % (HEIGHT + 30)) - 15), round(size), colour, -1, cv2.LINE_AA
            )
    if rng.random() < 0.7:
        frames = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in frames])
    return frames


def plain_shot(rng: Random, count: int) -> Frames:
    """A plain colour or slope of colours, perhaps with a title that stands still."""
    ends = rng.integers(0, 256, (2, 3)) if rng.random() < 0.7 else np.full((2, 3), rng.integers(0, 12))
    slope = np.linspace(0, 1, WIDTH)[None, :, None] if rng.random() < 0.5 else np.linspace(0, 1, HEIGHT)[:, None, None]
    picture = np.ascontiguousarray(np.broadcast_to(ends[0] + (ends[1] - ends[0]) * slope, (HEIGHT, WIDTH, 3)).astype(np.uint8))
    if rng.random() < 0.6:
        write_lines(rng, picture, [int(value) for value in rng.integers(0, 256, 3)], (0.2, 0.4, 0.8, 0.6))
    return np.repeat(picture[None], count, axis=0)


def slide(rng: Random, sources: Sources, design: tuple[Picture, list[int], list[int]]) -> Picture:
    """One slide of a talk: the design's ground and title bar, and lines, a table or a picture of its own."""
    ground, ink, accent = design
    picture = ground.copy()
    write_lines(rng, picture, accent, (0.06, 0.05, rng.uniform(0.35, 0.9), 0.16), most=1)
    kind = rng.random()
    if kind < 0.45 or not sources.photos:
        write_lines(rng, picture, ink, (0.07, 0.25, rng.uniform(0.5, 0.95), rng.uniform(0.5, 0.95)))
    else:
        photo = sources.photos[any_photo(rng, sources)]
        whole = kind > 0.85
        x0, y0, x1, y1 = (
            (0, 0, WIDTH, HEIGHT) if whole else (rng.integers(4, 48), rng.integers(11, 20), rng.integers(60, 94), rng.integers(36, 52))
        )
        picture[y0:y1, x0:x1] = cv2.resize(photo, (int(x1 - x0), int(y1 - y0)), interpolation=cv2.INTER_AREA)
        if not whole and rng.random() < 0.6:
            write_lines(rng, picture, ink, (0.05, 0.3, 0.4, 0.8))
    return picture


def framed(rng: Random) -> tuple[slice, slice]:
    """Where the slides stand in the picture: all of it, or a page before a plain wall."""
    if rng.random() < 0.6:
        return slice(0, HEIGHT), slice(0, WIDTH)
    height = int(rng.integers(28, HEIGHT))
    width = min(WIDTH, height * 16 // 9 + int(rng.integers(-12, 12)))
    y, x = (HEIGHT - height) // 2, (WIDTH - width) // 2
    return slice(y, y + height), slice(x, x + width)


def slide_design(rng: Random, sources: Sources) -> tuple[Picture, list[int], list[int]]:
    light = rng.random() < 0.7
    ground = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    ground[:] = rng.integers(215, 256, 3) if light else rng.integers(0, 70, 3)
    if rng.random() < 0.3 and sources.photos:
        photo = sources.photos[any_photo(rng, sources)]
        ground = cv2.addWeighted(ground, 0.6, cv2.resize(photo, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), 0.4, 0)
    if rng.random() < 0.4:
        ground[: rng.integers(5, 12)] = rng.integers(0, 256, 3)
    ink = [int(value) for value in (rng.integers(0, 90, 3) if light else rng.integers(170, 256, 3))]
    return ground, ink, [int(value) for value in rng.integers(0, 256, 3)]


def write_lines(rng: Random, picture: Picture, ink: Sequence[int], box: tuple[float, float, float, float], *, most: int = 12) -> None:
    """Lines of words in a box (left, top, right, bottom, 0..1): small strokes, as they look at this size."""
    left, top, right, bottom = (round(part * size) for part, size in zip(box, (WIDTH, HEIGHT, WIDTH, HEIGHT), strict=True))
    step, bold = int(rng.integers(3, 6)), rng.uniform(0.25, 1.0)
    for row in list(range(top, max(top + 1, bottom), step))[:most]:
        end = left + round((right - left) * rng.uniform(0.4, 1.0))
        strokes = rng.random((min(2, step - 1), max(1, end - left))) < 0.6
        part = picture[row : row + len(strokes), left:end]
        inked = strokes[: part.shape[0], : part.shape[1]]
        part[inked] = part[inked] * (1 - bold) + np.array(ink) * bold


def graded(rng: Random, frames: Frames) -> Frames:
    """Its own light and colours: a scene in the dark, in mist, in grey."""
    kind = rng.random()
    if kind < 0.45:
        return frames
    gain, offset, power = 1.0, 0.0, 1.0
    if kind < 0.65:
        gain, offset = rng.uniform(0.06, 0.4), rng.uniform(0, 10)
    elif kind < 0.8:
        gain, offset = rng.uniform(0.3, 0.8), rng.uniform(0, 130)
    else:
        power = np.exp(rng.normal(0, 0.4))
    levels = np.clip(255 * (np.arange(256) / 255) ** power * gain + offset, 0, 255)[:, None]
    if rng.random() < 0.4:
        levels = levels * rng.uniform(0.75, 1.1, 3)
    table = np.broadcast_to(np.clip(levels, 0, 255), (256, 3)).astype(np.uint8)
    out = np.stack([table[:, channel][frames[..., channel]] for channel in range(3)], axis=-1)
    if rng.random() < 0.12:
        out[:] = out.mean(-1, keepdims=True).astype(np.uint8)
    return out


def move_across(rng: Random, frames: Frames, other: Picture, pace: float, *, least: int = 6) -> None:
    """Something cut out of another picture moves over the shot, in place."""
    height, width = int(rng.integers(least, 54)), int(rng.integers(least, 48))
    y, x = rng.integers(0, 144 - height), rng.integers(0, 256 - width)
    patch = other[y : y + height, x : x + width].astype(np.float32)
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    alpha = np.clip((1 - rows**2 - columns**2) * 4, 0, 1)[..., None].astype(np.float32)
    at, speed = rng.uniform(-0.2, 1.2, 2) * (WIDTH, HEIGHT), rng.normal(0, 1.2, 2) * pace
    swing = _smooth_noise(rng, len(frames), 2, 5) * 3 * pace
    for number, frame in enumerate(frames):
        left, top = (round(value) for value in at + speed * number + swing[number])
        x0, y0, x1, y1 = max(0, left), max(0, top), min(WIDTH, left + width), min(HEIGHT, top + height)
        if x0 >= x1 or y0 >= y1:
            continue
        cut = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        frame[y0:y1, x0:x1] = frame[y0:y1, x0:x1] * (1 - alpha[cut]) + patch[cut] * alpha[cut]


def _seen(photo: Picture, cx: float, cy: float, scale: float, turn: float) -> Picture:
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    matrix = np.array([[cos, -sin, cx - cos * WIDTH / 2 + sin * HEIGHT / 2], [sin, cos, cy - sin * WIDTH / 2 - cos * HEIGHT / 2]])
    seen = cv2.warpAffine(photo, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(seen, np.uint8)


def _texture(rng: Random, size: tuple[int, int]) -> Picture:
    height, width = size
    total = np.zeros((height, width), np.float32)
    for octave in range(1, 6):
        grid = rng.normal(0, 1, (2**octave, 2**octave)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * rng.uniform(0.3, 0.9) ** octave
    total = (total - total.min()) / (np.ptp(total) + 1e-6)
    colours = rng.integers(0, 256, (3, 3)).astype(np.float32)
    low, high = total[..., None] * 2, total[..., None] * 2 - 1
    return np.where(
        total[..., None] < 0.5, colours[0] + (colours[1] - colours[0]) * low, colours[1] + (colours[2] - colours[1]) * high
    ).astype(np.uint8)


def _rolled(picture: Picture, by: NDArray[np.float64]) -> Picture:
    return np.roll(picture, (round(by[0]), round(by[1])), axis=(0, 1))


def _smooth_noise(rng: Random, count: int, columns: int, smooth: int) -> NDArray[np.float64]:
    rows = np.asarray(rng.normal(0, 1, (count // int(smooth) + 4, columns)))
    places = np.arange(count) / smooth
    return np.stack([np.interp(places, np.arange(len(rows)), rows[:, column]) for column in range(columns)], axis=1)


def _bounced(value: float, low: float, high: float) -> float:
    """The value, thrown back at the ends."""
    span = max(high - low, 1e-3)
    place = (value - low) % (2 * span)
    return low + (place if place <= span else 2 * span - place)


def _bounce(places: NDArray[np.int_], count: int) -> NDArray[np.int_]:
    if count == 1:
        return np.zeros_like(places)
    turned = places % (2 * (count - 1))
    return np.where(turned < count, turned, 2 * (count - 1) - turned)


def _read(path: Path) -> Frames:
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        more, frame = capture.read()
        if not more:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    capture.release()
    return np.stack(frames)
