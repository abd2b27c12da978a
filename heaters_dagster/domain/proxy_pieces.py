"""The pieces in which the proxy of a very long video is made, on several machines, and whether they fit together.

Each frame of a proxy depends on nothing but its own picture (`domain/profiles.py`, `PROXY_VIDEO`), so pieces give the frames of one piece
when their pictures are decoded alike. A piece therefore begins to decode some keyframes before its first frame, and takes frames by their
times. Whether that was enough is proved: each piece also hashes the first pictures of the piece after it, as it decodes them without a
break, and that piece hashes its own. When all agree, every picture is the one that a decoder sees which reads from the beginning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.words import counted

#: Containers that say where their keyframes are, and in which a decoder can begin at one of them.
ENTERED_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})

#: How people call the containers in which a decoder cannot begin in the middle with certainty.
_CALLED = {"mpegts": "an MPEG transport stream", "mpeg": "an MPEG program stream", "avi": "AVI", "mxf": "MXF", "asf": "WMV", "flv": "FLV"}

#: A piece decodes at least so much before its first frame: two keyframes before it, and two seconds. Frames of an open GOP refer to the
#: one before, and the deinterlacer looks at neighbours.
RUN_UP_KEYFRAMES = 2
RUN_UP_SECONDS = 2.0

#: So many pictures after its end a piece decodes too, to prove that the next one sees the same: more than the 16 that H.264 and HEVC may
#: refer to or hold back.
PROOF_FRAMES = 24

#: Runs that may begin a piece; after that it is left to the run that makes the proxy, whose failures the source video shows.
MOST_TRIES = 3

#: How long a piece is, and from which length on a proxy is made in pieces where several machines work, when no setting says it.
PIECE_SECONDS = 300.0
LEAST_SECONDS = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Frames of an original in a row, by their times. Borders lie between two frames, so that rounding to a microsecond changes nothing.

    number: from 0. seek_seconds: the time of a keyframe from which on it is decoded; None: from the beginning. begin_seconds, end_seconds:
    None for the beginning and the end of the file. proved_until_seconds: until where its first frames are compared with what the piece
    before it saw; None for the first. proves_until_seconds: the same of the next one, None for the last. frames: how many it has.
    """

    number: int
    seek_seconds: float | None
    begin_seconds: float | None
    end_seconds: float | None
    proved_until_seconds: float | None
    proves_until_seconds: float | None
    frames: int

    def length_seconds(self, *, begin_seconds: float, end_seconds: float) -> float:
        """How long it is shown. begin_seconds, end_seconds: of the whole file, for the first and the last piece."""
        begin = begin_seconds if self.begin_seconds is None else self.begin_seconds
        end = end_seconds if self.end_seconds is None else self.end_seconds
        return max(0.0, end - begin)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class MadePiece:
    """What is known of a piece that was made, beside its packets and its small frames.

    seconds: (n,) the time of each frame in the original. head, tail: hashes of its own first pictures, and of the first ones after it.
    """

    seconds: NDArray[np.float64]
    head: tuple[str, ...]
    tail: tuple[str, ...]

    def encoded(self) -> bytes:
        return json.dumps({"seconds": self.seconds.tolist(), "head": self.head, "tail": self.tail}).encode()

    @classmethod
    def decoded(cls, data: bytes) -> MadePiece:
        """Raises InvalidMediaError when `data` is not such a file."""
        try:
            fields = json.loads(data)
            return cls(np.array(fields["seconds"], np.float64), tuple(fields["head"]), tuple(fields["tail"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidMediaError(f"this is no description of a piece: {error}") from error


def are_wanted(duration_seconds: float | None, *, from_seconds: int | None, machines: int) -> bool:
    """Whether the proxy of a video of that length is to be made in pieces. from_seconds: the setting; 0: never."""
    if from_seconds is None:
        return machines > 1 and (duration_seconds or 0.0) >= LEAST_SECONDS
    return 0 < from_seconds <= (duration_seconds or 0.0)


def planned(seconds: NDArray[np.float64], keyframes: NDArray[np.float64], *, piece_seconds: float) -> tuple[Piece, ...]:
    """Pieces of about `piece_seconds`, each beginning at a keyframe; fewer than two when there are too few keyframes.

    seconds: (n,) rising, when the frames of the original are shown. keyframes: (k,) rising, those of them from which a decoder can begin.
    """
    firsts = _first_frames(seconds, keyframes, piece_seconds)
    borders: list[float | None] = [None, *(_before(seconds, first) for first in firsts), None]
    starts = [0, *firsts]
    pieces = []
    for number, (first, end) in enumerate(pairwise([*starts, len(seconds)])):
        is_last = end == len(seconds)
        pieces.append(
            Piece(
                number=number,
                seek_seconds=_run_up(float(seconds[first]), keyframes) if number else None,
                begin_seconds=borders[number],
                end_seconds=borders[number + 1],
                proved_until_seconds=_before(seconds, first + PROOF_FRAMES) if number else None,
                proves_until_seconds=None if is_last else _before(seconds, end + PROOF_FRAMES),
                frames=end - first,
            )
        )
    return tuple(pieces)


def _first_frames(seconds: NDArray[np.float64], keyframes: NDArray[np.float64], piece_seconds: float) -> list[int]:
    """The numbers of the frames with which the second and all later pieces begin."""
    firsts: list[int] = []
    last, end = float(seconds[0]), len(seconds) - PROOF_FRAMES
    for keyframe in keyframes.tolist():
        if keyframe - last < piece_seconds or float(seconds[-1]) - keyframe < piece_seconds / 2:
            continue
        first = int(np.searchsorted(seconds, keyframe))
        if first - (firsts[-1] if firsts else 0) <= PROOF_FRAMES or first >= end:
            continue
        firsts.append(first)
        last = keyframe
    return firsts


def _before(seconds: NDArray[np.float64], frame: int) -> float:
    """A time between a frame and the one before it."""
    return float(seconds[frame - 1] + seconds[frame]) / 2


def _run_up(first_seconds: float, keyframes: NDArray[np.float64]) -> float | None:
    """The keyframe at which a piece begins to decode whose first frame is shown at `first_seconds`; None: at the beginning."""
    before = keyframes[keyframes < first_seconds]
    far = before[before <= first_seconds - RUN_UP_SECONDS]
    if len(before) < RUN_UP_KEYFRAMES or not len(far):
        return None
    return float(min(before[-RUN_UP_KEYFRAMES], far[-1]))


def why_not(
    container: str,
    seconds: Sequence[float | None],
    *,
    hidden: int,
    has_jumps: bool,
    has_odd_clock: bool,
) -> str | None:
    """Why a source cannot be made in pieces, in words; None when it can.

    seconds: the times of its packets, None for a packet without one. hidden: packets that an edit list hides. has_odd_clock: its times
    are those of decoding, or ffmpeg shows it too early or too late.
    """
    if container not in ENTERED_CONTAINERS:
        called = _CALLED.get(container, container)
        return f"only in MP4, MOV, Matroska and WebM it is certain where a decoder may begin, and this file is {called}"
    if has_jumps or has_odd_clock:
        return "its clock has to be corrected, for which all of it is read at once"
    if hidden:
        return f"its edit list hides {counted(hidden, 'frame')}"
    if any(time is None for time in seconds):
        return "not every frame has a time"
    if len(set(seconds)) < len(seconds):
        return "several frames have one time"
    if min((time for time in seconds if time is not None), default=0.0) < 0:
        return "its times begin below 0"
    return None


def one_piece_words(reason: str) -> str:
    """Why one machine alone makes the proxy of a long video, for those who look at it. reason: as `why_not` and `difference` give it."""
    return f"the proxy is made in one piece, by one machine, because {reason}"


def difference(pieces: Sequence[Piece], made: Sequence[MadePiece]) -> str | None:
    """Why the pieces do not give the proxy of one piece, in words; None when it is proved that they do."""
    for piece, one in zip(pieces, made, strict=True):
        if len(one.seconds) != piece.frames:
            return f"piece {piece.number + 1} has {counted(len(one.seconds), 'frame')} instead of {piece.frames}"
        low, high = piece.begin_seconds, piece.end_seconds
        low, high = -math.inf if low is None else low, math.inf if high is None else high
        if len(one.seconds) and not low < float(one.seconds.min()) <= float(one.seconds.max()) < high:
            return f"piece {piece.number + 1} has frames of another piece"
    for number, (before, after) in enumerate(pairwise(made)):
        if not before.tail or before.tail != after.head:
            return f"the pictures at the beginning of piece {number + 2} are others than in the piece before it"
    return None
