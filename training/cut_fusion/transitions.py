"""Transitions between two shots. Each takes the frames of both during the transition, (n, h, w, 3) uint8, and mixes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from training.cut_fusion.shots import HEIGHT, WIDTH, Frames, Random

Mix = Callable[[Random, Frames, Frames], Frames]


def dissolve(rng: Random, old: Frames, new: Frames) -> Frames:
    share = _eased(rng, len(old))[:, None, None, None]
    return _whole(old * (1 - share) + new * share)


def fade(rng: Random, old: Frames, new: Frames) -> Frames:
    """Through a colour, mostly black, which stands for a while or not at all; one side may be a hard cut."""
    count = len(old)
    colour = np.zeros(3) if rng.random() < 0.72 else (np.full(3, 255.0) if rng.random() < 0.7 else rng.integers(0, 256, 3))
    left, right = sorted(rng.uniform(0.1, 0.9, 2)) if rng.random() < 0.7 else (0.5, 0.5)
    places = (np.arange(count) + 0.5) / count
    kind = rng.random()
    out = np.clip(places / left, 0, 1) if kind < 0.88 else (places >= left * 0.5).astype(float)
    back = np.clip((places - right) / (1 - right), 0, 1) if kind > 0.12 else (places >= right).astype(float)
    shown = np.where((places < right)[:, None, None, None], old, new)
    share = np.where(places < right, out, 1 - back)[:, None, None, None]
    return _whole(shown * (1 - share) + colour * share)


def wipe(rng: Random, old: Frames, new: Frames) -> Frames:
    """A border, sharp or soft, moves over the picture: straight, slanting, round, as blinds, or by a cloud."""
    rows, columns = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    kind = rng.integers(5)
    angle = rng.choice([0, np.pi / 2, np.pi, -np.pi / 2, rng.uniform(0, 2 * np.pi)])
    field = {
        0: columns * np.cos(angle) + rows * np.sin(angle),
        1: np.hypot(rows - 0.5, (columns - 0.5) * 1.2),
        2: -np.hypot(rows - 0.5, (columns - 0.5) * 1.2),
        3: (columns * rng.integers(3, 9)) % 1 if rng.random() < 0.5 else (rows * rng.integers(3, 7)) % 1,
        4: cv2.resize(rng.random((5, 8)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC),
    }[int(kind)]
    field = (field - field.min()) / np.ptp(field)
    soft = rng.choice([0.01, 0.05, 0.2])
    share = np.clip((_eased(rng, len(old))[:, None, None] * (1 + soft) - field) / soft, 0, 1)[..., None]
    return _whole(old * (1 - share) + new * share)


def push(rng: Random, old: Frames, new: Frames) -> Frames:
    """The new picture pushes the old one out, or slides over it."""
    over, sideways, reverse = rng.random() < 0.4, rng.random() < 0.7, rng.random() < 0.5
    out = np.empty_like(old)
    for number, share in enumerate(_eased(rng, len(old))):
        size = WIDTH if sideways else HEIGHT
        by = int(np.clip(round(share * size), 0, size))
        a, b = (old[number], new[number]) if sideways else (old[number].swapaxes(0, 1), new[number].swapaxes(0, 1))
        if reverse:
            a, b = a[:, ::-1], b[:, ::-1]
        kept = a[:, : size - by] if over else a[:, by:]
        row = np.concatenate([kept, b[:, :by]], axis=1)
        row = row[:, ::-1] if reverse else row
        out[number] = row if sideways else row.swapaxes(0, 1)
    return out


def zoom(rng: Random, old: Frames, new: Frames) -> Frames:
    """Into the old picture while the new one comes through, or the new one grows out of the middle."""
    grows = rng.random() < 0.5
    out = np.empty_like(old)
    for number, share in enumerate(_eased(rng, len(old))):
        if grows:
            width, height = max(2, round(WIDTH * share)), max(2, round(HEIGHT * share))
            out[number] = old[number]
            x, y = (WIDTH - width) // 2, (HEIGHT - height) // 2
            out[number, y : y + height, x : x + width] = cv2.resize(new[number], (width, height), interpolation=cv2.INTER_AREA)
        else:
            scale = 1 + 2.5 * share
            matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 0, scale)
            out[number] = cv2.addWeighted(cv2.warpAffine(old[number], matrix, (WIDTH, HEIGHT)), 1 - share, new[number], share, 0)
    return out


#: kind -> (mix, shortest, longest) in frames, and how often it is drawn.
GRADUAL: Mapping[str, tuple[Mix, int, int, float]] = {
    "dissolve": (dissolve, 4, 48, 0.48),
    "fade": (fade, 3, 60, 0.34),
    "wipe": (wipe, 4, 36, 0.10),
    "push": (push, 4, 26, 0.05),
    "zoom": (zoom, 4, 24, 0.03),
}


def _eased(rng: Random, count: int) -> NDArray[np.float64]:
    """Shares of the new picture, over 0 to under 1, straight or slow at both ends."""
    places = (np.arange(count) + 1) / (count + 1)
    return places if rng.random() < 0.6 else places * places * (3 - 2 * places)


def _whole(mixed: NDArray[np.floating]) -> Frames:
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
