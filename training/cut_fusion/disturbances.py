"""What looks like a cut and is none. Each takes a shot and a frame in it, and changes the frames from there on, in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from training.cut_fusion.shots import HEIGHT, WIDTH, Frames, Random, Sources, move_across, photo_shot, write_lines

Disturb = Callable[[Random, Frames, int, Sources], None]


def flash(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """A photographer's flash or lightning: full at once, gone within a few frames, white or partly so."""
    colour = np.full(3, 255.0) if rng.random() < 0.8 else rng.integers(100, 256, 3)
    strength, decay, hold = rng.uniform(0.4, 1.0), rng.uniform(0.0, 0.85), int(rng.integers(1, 5))
    for number in range(at, min(len(frames), at + 24)):
        share = strength * (1.0 if number < at + hold else decay ** (number - at - hold + 1))
        if share < 0.03:
            break
        _tint(frames, number, colour, share)


def strobe(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """Light that comes and goes in a beat, in one colour or many, or the dark between."""
    period, until = int(rng.integers(2, 14)), min(len(frames), at + int(rng.integers(20, 160)))
    lit = int(rng.integers(1, max(2, period // 2 + 1)))
    strength = rng.uniform(0.35, 1.0)
    several = rng.random() < 0.35
    colour = _light(rng)
    for number in range(at, until):
        beat = number - at
        if beat % period == 0 and several:
            colour = _light(rng)
        if beat % period < lit:
            _tint(frames, number, colour, strength)


def gain_beat(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """Stage lights: the whole scene jumps between levels and colours of light."""
    number, until = at, min(len(frames), at + int(rng.integers(15, 140)))
    while number < until:
        length = int(rng.integers(1, 18))
        gains = rng.uniform(0.15, 1.7) * (rng.uniform(0.4, 1.3, 3) if rng.random() < 0.5 else np.ones(3))
        frames[number : min(until, number + length)] = np.clip(frames[number : min(until, number + length)] * gains, 0, 255)
        number += length


def explosion(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """A ball of fire that grows over the picture, then smoke that thins."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    cx, cy = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
    away = np.hypot(rows - cy, columns - cx)
    cloud = cv2.resize(rng.random((7, 12)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    fire, smoke = np.array([255.0, rng.uniform(150, 245), rng.uniform(40, 200)]), rng.uniform(20, 140) * np.ones(3)
    grow, burn, thin = rng.uniform(4, 40), int(rng.integers(2, 10)), int(rng.integers(5, 45))
    for step in range(min(len(frames) - at, burn + thin)):
        size = grow * (step + 1) ** 0.7
        ball = np.clip((size - away) / 8 + cloud - 0.5, 0, 1)
        heat = np.clip(1 - step / burn, 0, 1)
        alpha = (ball * min(1.0, (burn + thin - step) / thin))[..., None]
        frames[at + step] = np.clip(frames[at + step] * (1 - alpha) + (fire * heat + smoke * (1 - heat)) * alpha, 0, 255)


def exposure(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """The camera's exposure or a lamp changes the light, at once or over a few frames, and it stays so."""
    gain = rng.uniform(0.3, 0.75) if rng.random() < 0.5 else rng.uniform(1.3, 2.4)
    offset, length = rng.uniform(-10, 15), int(rng.choice([1, 1, 2, 4, 12, 30, 50, 70]))
    share = np.clip((np.arange(len(frames) - at) + 1) / length, 0, 1)[:, None, None, None]
    rest = frames[at:]
    frames[at:] = np.clip(rest * (1 - share) + (rest * gain + offset) * share, 0, 255)


def letterbox(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """Bars above and below, or at the sides, appear or go, mostly at once, else sliding in; seldom one bar alone."""
    sides, depth, length = rng.random() < 0.3, rng.uniform(0.06, 0.3), int(rng.choice([1, 1, 1, 1, 1, 3, 8, 20]))
    alone = rng.random() < 0.1
    colour = 0 if rng.random() < 0.85 else int(rng.integers(0, 256))
    leaves = rng.random() < 0.4
    for number in range(0 if leaves else at, len(frames)):
        share = float(np.clip((number - at + 1) / length, 0, 1))
        bar = round((1 - share if leaves else share) * depth * (WIDTH if sides else HEIGHT))
        if bar:
            view = frames[number].swapaxes(0, 1) if sides else frames[number]
            view[-bar:] = colour
            if not alone:
                view[:bar] = colour


def inset(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """A small picture comes into the picture and perhaps goes again."""
    if not sources.photos:
        return
    photos = list(sources.photos.values())
    until = len(frames) if rng.random() < 0.5 else min(len(frames), at + int(rng.integers(8, 90)))
    inner = photo_shot(rng, photos[rng.integers(len(photos))], until - at)
    width = int(rng.integers(16, 44))
    height = width * 9 // 16
    x, y = int(rng.integers(2, WIDTH - width - 1)), int(rng.integers(2, HEIGHT - height - 1))
    for number in range(at, until):
        frames[number, y : y + height, x : x + width] = cv2.resize(inner[number - at], (width, height), interpolation=cv2.INTER_AREA)


def words(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """Subtitles, a name or a banner comes and goes; some change every second."""
    ink = [255, 255, 255] if rng.random() < 0.6 else [int(value) for value in rng.integers(0, 256, 3)]
    number = at
    while number < len(frames):
        length = int(rng.integers(8, 60))
        top = rng.uniform(0.62, 0.85) if rng.random() < 0.75 else rng.uniform(0.05, 0.6)
        box = (rng.uniform(0.05, 0.4), top, rng.uniform(0.5, 0.95), min(0.98, top + rng.uniform(0.06, 0.3)))
        layer = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        if rng.random() < 0.35:
            layer[round(box[1] * HEIGHT) : round(box[3] * HEIGHT) + 2, : round(box[2] * WIDTH) + 2] = rng.integers(1, 256, 3)
        write_lines(rng, layer, ink, box, most=3)
        seen = layer.any(-1)
        frames[number : number + length, seen] = layer[seen]
        number += length + int(rng.integers(0, 20))
        if rng.random() < 0.4:
            return


def banner(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """A board with a name or the news comes into the lower or upper part, at once or sliding or fading in, and mostly goes again."""
    width, height = int(rng.uniform(0.35, 1.0) * WIDTH), int(rng.uniform(0.08, 0.3) * HEIGHT) + 1
    x = int(rng.integers(0, WIDTH - width + 1)) if rng.random() < 0.7 else 0
    y = HEIGHT - height - int(rng.integers(0, 9)) if rng.random() < 0.8 else int(rng.integers(0, 8))
    board = np.empty((height, width, 3), np.uint8)
    board[:] = int(rng.integers(2)) * 255 if rng.random() < 0.5 else rng.integers(0, 256, 3)
    ink = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    write_lines(rng, ink, [255 - int(value) or 1 for value in board[0, 0]], (0.03, 0.1, width / WIDTH - 0.03, height / HEIGHT), most=3)
    text = ink[:height, :width]
    board[text.any(-1)] = text[text.any(-1)]
    alpha, come, slides = rng.uniform(0.6, 1.0), int(rng.choice([1, 1, 1, 1, 3, 8, 14])), rng.random() < 0.5
    until = len(frames) if rng.random() < 0.4 else at + int(rng.integers(10, 110))
    for number in range(at, min(len(frames), until)):
        share = min(1.0, (number - at + 1) / come, (until - number) / come)
        used = max(1, round(width * share)) if slides else width
        strength = alpha if slides else alpha * share
        view = frames[number, y : y + height, x : x + used]
        view[:] = view * (1 - strength) + board[:, :used] * strength


def pumping(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """A compressed stream: blurred and blocky, and sharp again at every keyframe."""
    period, most = int(rng.integers(6, 40)), rng.uniform(0.6, 2.2)
    for number in range(at, len(frames)):
        worse = (number - at) % period / period
        coarse = cv2.GaussianBlur(frames[number], (0, 0), 0.2 + most * worse)
        step = 1 + int(10 * worse * most / 2)
        frames[number] = np.clip(coarse.astype(np.int16) // step * step + rng.normal(0, worse * 2, 3), 0, 255)


def standstill(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """Frames are repeated, then the motion jumps to where it would have been."""
    for _ in range(int(rng.integers(1, 5))):
        length = int(rng.integers(2, 14))
        if at + length >= len(frames):
            return
        frames[at : at + length] = frames[at]
        at += length + int(rng.integers(2, 20))


def dropped(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """A few frames are missing: the motion jumps on."""
    gap = int(rng.integers(2, 8))
    rest = frames[at + gap :].copy()
    frames[at : at + len(rest)] = rest


def odd_frames(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """One to three frames black, torn or full of wrong blocks."""
    kind = rng.integers(3)
    for number in range(at, min(len(frames), at + int(rng.integers(1, 4)))):
        if kind == 0:
            frames[number] = 0
        elif kind == 1:
            frames[number] = np.roll(frames[number], rng.integers(-40, 40), axis=int(rng.integers(2)))
        else:
            for _ in range(int(rng.integers(3, 30))):
                y, x = rng.integers(0, HEIGHT - 6), rng.integers(0, WIDTH - 8)
                frames[number, y : y + 6, x : x + 8] = rng.integers(0, 256, 3)


def passing(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """Something big passes close before the camera and covers most of it, fast or slowly."""
    if not sources.photos:
        return
    photos = list(sources.photos.values())
    patch = cv2.resize(photos[rng.integers(len(photos))], (int(rng.integers(30, 130)), HEIGHT + 10)).astype(np.float32) * rng.uniform(
        0.1, 1.0
    )
    patch = cv2.GaussianBlur(patch, (0, 0), 2)
    width, length = patch.shape[1], int(rng.integers(3, 30))
    edge = np.clip(np.minimum(np.arange(width), np.arange(width)[::-1]) / 6, 0, 1)[None, :, None]
    reverse = rng.random() < 0.5
    for step in range(min(length, len(frames) - at)):
        share = (step + 0.5) / length
        left = round(-width + (1 - share if reverse else share) * (WIDTH + width))
        x0, x1 = max(0, left), min(WIDTH, left + width)
        if x0 < x1:
            alpha = edge[:, x0 - left : x1 - left]
            view = frames[at + step, :, x0:x1]
            view[:] = view * (1 - alpha) + patch[:HEIGHT, x0 - left : x1 - left] * alpha


def camera_move(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """The camera pans, tilts or zooms fast, by a jerk or over a second, blurred on the way, and stays where it comes to."""
    length = int(np.exp(rng.uniform(np.log(2), np.log(45))))
    zooms, angle = rng.random() < 0.35, rng.choice([0, np.pi, np.pi / 2, -np.pi / 2, rng.uniform(0, 2 * np.pi)])
    far = min(rng.uniform(15, 260), 22.0 * length)
    shift, scale = np.array([np.cos(angle), np.sin(angle)]) * far, np.exp(rng.uniform(0.2, 1.1) * rng.choice([-1, 1]))
    eased = rng.random() < 0.6
    place = 0.0
    for number in range(at, len(frames)):
        part = float(np.clip((number - at + 1) / length, 0, 1))
        share = part * part * (3 - 2 * part) if eased else part
        now = float(np.exp(np.log(scale) * share)) if zooms else 1.0
        matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 0, now)
        if not zooms:
            matrix[:, 2] += shift * share
        moved = cv2.warpAffine(frames[number], matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        blur = 1 + round(0.5 * far * (share - place)) if not zooms else 1
        place = share
        if blur > 1:
            moved = cv2.blur(moved, (blur, 1) if abs(np.cos(angle)) > 0.7 else (1, blur))
        frames[number] = moved


def motion_burst(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """Somebody moves fast and near: large parts of the picture go this way and that for a second."""
    if not sources.photos:
        return
    photos = list(sources.photos.values())
    until = min(len(frames), at + int(rng.integers(6, 60)))
    for _ in range(int(rng.integers(1, 4))):
        move_across(rng, frames[at:until], photos[rng.integers(len(photos))], float(rng.uniform(1.5, 7)), least=18)


def title(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """A big title over the picture, at once or over some frames, with or without a ground that darkens or tints it; it may go again."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    top, left = rng.uniform(0.02, 0.5), rng.uniform(0.0, 0.4)
    box = (left, top, left + rng.uniform(0.35, 0.6), top + rng.uniform(0.2, 0.5))
    ground = np.zeros((HEIGHT, WIDTH), np.float32)
    kind = rng.random()
    if kind < 0.4:
        ground[round(box[1] * HEIGHT) - 1 : round(box[3] * HEIGHT) + 2, round(box[0] * WIDTH) : round(box[2] * WIDTH) + 2] = rng.uniform(
            0.4, 1
        )
    elif kind < 0.6:
        ground[:] = rng.uniform(0.2, 0.6)
    colour = rng.integers(0, 256, 3) if rng.random() < 0.6 else np.full(3, int(rng.integers(0, 2)) * 255)
    ink = [int(value) for value in (rng.integers(150, 256, 3) if colour.mean() < 128 else rng.integers(1, 100, 3))]
    write_lines(rng, picture, ink, box, most=int(rng.integers(1, 6)))
    inked = picture.any(-1)
    alpha = np.where(inked, 1.0, ground)[..., None]
    layer = np.where(inked[..., None], picture, colour)
    come, until = int(rng.choice([1, 1, 1, 4, 10, 20])), len(frames) if rng.random() < 0.4 else at + int(rng.integers(10, 90))
    for number in range(at, min(len(frames), until)):
        share = alpha * min(1.0, (number - at + 1) / come)
        frames[number] = np.clip(frames[number] * (1 - share) + layer * share, 0, 255)


def shaking(rng: Random, frames: Frames, at: int, sources: Sources) -> None:
    """The camera is shaken for a while, as by a blow or a running man."""
    for number in range(at, min(len(frames), at + int(rng.integers(6, 60)))):
        matrix = np.array([[1, 0, rng.normal(0, 5)], [0, 1, rng.normal(0, 4)]])
        frames[number] = cv2.warpAffine(frames[number], matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)


#: kind -> (disturb, how often it is drawn)
DISTURBANCES: Mapping[str, tuple[Disturb, float]] = {
    "flash": (flash, 0.12),
    "strobe": (strobe, 0.07),
    "stage lights": (gain_beat, 0.05),
    "explosion": (explosion, 0.09),
    "exposure": (exposure, 0.08),
    "letterbox": (letterbox, 0.14),
    "inset": (inset, 0.04),
    "words": (words, 0.04),
    "banner": (banner, 0.12),
    "title": (title, 0.05),
    "pumping": (pumping, 0.03),
    "standstill": (standstill, 0.04),
    "dropped": (dropped, 0.04),
    "odd frames": (odd_frames, 0.04),
    "passing": (passing, 0.05),
    "camera move": (camera_move, 0.17),
    "motion burst": (motion_burst, 0.10),
    "shaking": (shaking, 0.04),
}


def _light(rng: Random) -> NDArray[np.float64]:
    kind = rng.random()
    return np.full(3, 255.0) if kind < 0.5 else np.zeros(3) if kind < 0.7 else rng.integers(0, 256, 3).astype(np.float64)


def _tint(frames: Frames, number: int, colour: NDArray[np.floating], share: float) -> None:
    frames[number] = np.clip(frames[number] * (1 - share) + colour * share, 0, 255)
