"""What a frame looks like, in a few bytes: to find the same frames in another file of the same video, and videos that look alike.

Every displayed frame is scaled to 48 x 27 pixels, whatever its size, its codec and its file. Of that small picture two things are kept: a
hash of its bytes, which only the same picture has, and its *look*, 128 bits, which stay nearly the same when it is encoded anew or scaled.

A bit of a look says whether one part of the picture is clearly brighter than its neighbour: 8 x 8 pairs side by side, then 8 x 8 pairs one
above the other. Source: difference hashing, http://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html (2013).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.picture_parts import GREY
from heaters_dagster.domain.words import counted

FORMAT_VERSION = 1

#: Width and height in pixels of the small pictures, as the network of the default detector wants them: one side stream serves both.
SMALL_SIZE = (48, 27)
BITS = 128
#: Two frames look alike when at most so many of the 128 bits differ. Measured on ten films, scaled to 144..1080 lines and encoded anew with
#: H.264 at CRF 30 to 40: at least 99.1% of the frames that say something are within it. Of 670,000 pairs of frames of different films none.
TOLERANCE_BITS = 24
#: Brightness levels, of 255, by which one part must be brighter than the other. Below it is noise, in dark and in even pictures.
_CLEARLY = 2.0
#: A picture with fewer bits set is nearly even, as black is: it looks like every other such picture.
#: With 8, 370 of 712,000 such pairs were within the tolerance: the beginnings of fades.
_TELLING_BITS = 20
#: Frames of a video that are compared to find others that look like it.
SAMPLES = 16
_LEAST_TELLING_SAMPLES = 4
_LEAST_SHARE_ALIKE = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Of every frame of a video. exact: (n,) uint64, equal for the same small picture. look: (n, 16) uint8, 128 bits each."""

    exact: NDArray[np.uint64]
    look: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.exact)


def looks_of(frames: NDArray[np.uint8]) -> Looks:
    """frames: (n, 27, 48, 3) RGB, n >= 0."""
    if not len(frames):
        return joined([])
    hashes = [hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=8).digest() for frame in frames]
    exact = np.frombuffer(b"".join(hashes), "<u8").astype(np.uint64)
    grey = frames.astype(np.float32) @ GREY
    across, down = _means(grey, 8, 9), _means(grey, 9, 8)
    beside = across[:, :, 1:] - across[:, :, :-1] > _CLEARLY
    below = down[:, 1:, :] - down[:, :-1, :] > _CLEARLY
    bits = np.concatenate([beside.reshape(len(frames), -1), below.reshape(len(frames), -1)], axis=1)
    return Looks(exact, np.packbits(bits, axis=1))


def joined(parts: list[Looks]) -> Looks:
    """Looks of consecutive frames as one."""
    if not parts:
        return Looks(np.empty(0, np.uint64), np.empty((0, BITS // 8), np.uint8))
    return Looks(np.concatenate([one.exact for one in parts]), np.concatenate([one.look for one in parts]))


def differing_bits(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(..., 16) and (..., 16) -> (...): how many of the 128 bits differ."""
    return _ones(np.bitwise_xor(one, other))


def is_telling(look: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(..., 16) -> (...): whether a look says more than that the picture is nearly even."""
    return _ones(look) >= _TELLING_BITS


def sampled(looks: Looks, times_seconds: NDArray[np.float64], duration_seconds: float) -> NDArray[np.uint8]:
    """(16, 16) uint8: the looks of the frames that are shown in the middle of each sixteenth of a video's length.

    times_seconds: (n,) when each frame is first shown, from 0. So two files of one video give the same frames whatever their frame rates.
    """
    moments = (np.arange(SAMPLES) + 0.5) * duration_seconds / SAMPLES
    frames = np.searchsorted(times_seconds, moments, side="right") - 1
    sample: NDArray[np.uint8] = looks.look[np.clip(frames, 0, len(looks) - 1)]
    return sample


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two videos of the same length look. compared: frames that say something, in both. alike: how many of these look alike."""

    alike: int
    compared: int

    @property
    def is_hint(self) -> bool:
        """Whether a person should be told that they may be the same video."""
        return self.compared >= _LEAST_TELLING_SAMPLES and self.alike >= _LEAST_SHARE_ALIKE * self.compared


def likeness(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Likeness:
    """Of two results of `sampled`. A nearly even picture in one and a telling one in the other counts as compared and not alike."""
    telling = is_telling(one) | is_telling(other)
    alike = (differing_bits(one, other) <= TOLERANCE_BITS) & is_telling(one) & is_telling(other)
    return Likeness(int(alike.sum()), int(telling.sum()))


def same_length(one_seconds: float, other_seconds: float, *, frame_seconds: float) -> bool:
    """Whether two videos have the same length within a frame. frame_seconds: how long the longer frame of the two is shown."""
    return abs(one_seconds - other_seconds) <= frame_seconds * 1.001


def encoded(looks: Looks) -> bytes:
    """The file of the looks: one line of JSON, then the hashes (8 bytes each, little-endian), then the looks (16 bytes each)."""
    header = {"version": FORMAT_VERSION, "frame_count": len(looks), "size": list(SMALL_SIZE)}
    return b"".join([json.dumps(header).encode(), b"\n", looks.exact.astype("<u8").tobytes(), looks.look.tobytes()])


def decoded(data: bytes) -> Looks:
    """Raises InvalidMediaError when `data` is not such a file."""
    try:
        line, _, body = data.partition(b"\n")
        header = json.loads(line)
        count = int(header["frame_count"])
        if header["version"] != FORMAT_VERSION or tuple(header["size"]) != SMALL_SIZE or len(body) != count * (8 + BITS // 8):
            raise ValueError(f"version {header['version']}, {len(body)} bytes for {counted(count, 'frame')}")
        exact = np.frombuffer(body, "<u8", count).astype(np.uint64)
        return Looks(exact, np.frombuffer(body, np.uint8, offset=8 * count).reshape(count, BITS // 8))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidMediaError(f"this is no file of looks: {error}") from error


def _ones(look: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(..., 16) -> (...): how many bits are set."""
    counted: NDArray[np.int64] = np.bitwise_count(np.ascontiguousarray(look).view(np.uint64)).sum(axis=-1, dtype=np.int64)
    return counted


def _means(grey: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """(n, 27, 48) -> (n, rows, columns): the mean brightness of each part."""
    height, width = SMALL_SIZE[1], SMALL_SIZE[0]
    tops, lefts = (np.arange(count) * side // count for count, side in ((rows, height), (columns, width)))
    sums = np.add.reduceat(np.add.reduceat(grey, tops, axis=1), lefts, axis=2)
    heights, widths = np.diff([*tops, height]), np.diff([*lefts, width])
    means: NDArray[np.float32] = sums / (heights[:, None] * widths[None, :])
    return means
