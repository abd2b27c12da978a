"""Pieces of a proxy: where they begin, that they have every frame once, and when they are not joined."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from heaters_dagster.domain.proxy_pieces import (
    PROOF_FRAMES,
    RUN_UP_KEYFRAMES,
    RUN_UP_SECONDS,
    MadePiece,
    Piece,
    are_wanted,
    difference,
    planned,
    why_not,
)

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
ONLY_IN = "only in MP4, MOV, Matroska and WebM it is certain where a decoder may begin, and this file is"


def film(frames: int = 1000, rate: float = 25.0) -> NDArray[np.float64]:
    return np.arange(frames) / rate


def in_pieces(piece: Piece, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    low = -np.inf if piece.begin_seconds is None else piece.begin_seconds
    high = np.inf if piece.end_seconds is None else piece.end_seconds
    return seconds[(seconds >= low) & (seconds < high)]


def made_of(pieces: tuple[Piece, ...], seconds: NDArray[np.float64]) -> list[MadePiece]:
    """What machines make that all see the same pictures."""
    borders = np.cumsum([0, *(piece.frames for piece in pieces)])
    proofs = [tuple(f"picture {first + number}" for number in range(PROOF_FRAMES)) for first in borders.tolist()]
    return [
        MadePiece(
            in_pieces(piece, seconds),
            proofs[piece.number] if piece.number else (),
            proofs[piece.number + 1] if piece.number + 1 < len(pieces) else (),
        )
        for piece in pieces
    ]


@given(
    st.lists(st.sampled_from([1 / 24, 1 / 60, 0.4, 1 / 25, 3.0]), min_size=200, max_size=800),
    st.lists(st.integers(0, 799), min_size=1, max_size=60),
    st.floats(0.5, 40.0),
)
def test_every_frame_is_in_one_piece_and_each_piece_begins_at_a_keyframe(
    steps: list[float], keyframes: list[int], piece_seconds: float
) -> None:
    seconds = np.cumsum([0.0, *steps])
    keys = seconds[sorted({0, *(number % len(seconds) for number in keyframes)})]
    pieces = planned(seconds, keys, piece_seconds=piece_seconds)
    taken = [in_pieces(piece, seconds) for piece in pieces]
    assert np.array_equal(np.concatenate(taken), seconds)
    assert [len(part) for part in taken] == [piece.frames for piece in pieces]
    for before, piece in pairwise(pieces):
        assert float(taken[piece.number][0]) in set(keys.tolist())
        assert piece.begin_seconds == before.end_seconds
        assert piece.proved_until_seconds == before.proves_until_seconds
        own = taken[piece.number]
        assert piece.proved_until_seconds is not None
        assert np.count_nonzero(own < piece.proved_until_seconds) == PROOF_FRAMES, "the proof needs so many pictures of the next piece"
        assert float(own[0] - taken[before.number][0]) >= piece_seconds
        earlier = keys[keys < own[0]]
        if piece.seek_seconds is not None:
            assert piece.seek_seconds <= own[0] - RUN_UP_SECONDS
            assert np.count_nonzero(earlier >= piece.seek_seconds) >= RUN_UP_KEYFRAMES


def test_pieces_have_about_the_length_that_is_asked_for() -> None:
    seconds = film(10_000)
    pieces = planned(seconds, seconds[::50], piece_seconds=60.0)
    assert [piece.frames for piece in pieces] == [1500, 1500, 1500, 1500, 1500, 1500, 1000]


def test_a_short_rest_belongs_to_the_last_piece() -> None:
    seconds = film(3600)
    assert [piece.frames for piece in planned(seconds, seconds[::50], piece_seconds=60.0)] == [1500, 2100]


def test_a_film_with_one_keyframe_is_one_piece() -> None:
    assert len(planned(film(), film()[:1], piece_seconds=5.0)) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"container": "mpegts"}, f"{ONLY_IN} an MPEG transport stream"),
        ({"container": "avi"}, f"{ONLY_IN} AVI"),
        ({"container": "mxf"}, f"{ONLY_IN} MXF"),
        ({"container": "h264"}, f"{ONLY_IN} h264"),
        ({"has_jumps": True}, "its clock has to be corrected, for which all of it is read at once"),
        ({"has_odd_clock": True}, "its clock has to be corrected, for which all of it is read at once"),
        ({"hidden": 3}, "its edit list hides 3 frames"),
        ({"seconds": [0.0, None]}, "not every frame has a time"),
        ({"seconds": [0.0, 0.04, 0.04]}, "several frames have one time"),
        ({"seconds": [-0.04, 0.0]}, "its times begin below 0"),
    ],
)
def test_some_sources_are_never_made_in_pieces(change: dict[str, object], why: str) -> None:
    usual = {"container": MP4, "seconds": [0.0, 0.04], "hidden": 0, "has_jumps": False, "has_odd_clock": False}
    assert why_not(**usual) is None  # type: ignore[arg-type]
    assert why_not(**{**usual, **change}) == why  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("duration", "setting", "machines", "wanted"),
    [
        (1199.0, None, 3, False),
        (1200.0, None, 3, True),
        (36_000.0, None, 1, False),
        (36_000.0, 0, 3, False),
        (60.0, 60, 1, True),
        (59.0, 60, 3, False),
        (None, 60, 3, False),
    ],
)
def test_only_long_videos_are_made_in_pieces(duration: float | None, setting: int | None, machines: int, wanted: bool) -> None:
    assert are_wanted(duration, from_seconds=setting, machines=machines) is wanted


def test_pieces_that_saw_the_same_pictures_fit() -> None:
    seconds = film()
    pieces = planned(seconds, seconds[::25], piece_seconds=10.0)
    assert difference(pieces, made_of(pieces, seconds)) is None


def test_pieces_do_not_fit_when_one_saw_other_pictures_or_other_frames() -> None:
    seconds = film()
    pieces = planned(seconds, seconds[::25], piece_seconds=10.0)
    made = made_of(pieces, seconds)
    other = MadePiece(made[1].seconds, ("another picture", *made[1].head[1:]), made[1].tail)
    assert (
        difference(pieces, [made[0], other, *made[2:]]) == "the pictures at the beginning of piece 2 are others than in the piece before it"
    )
    unproved = MadePiece(made[1].seconds, made[1].head, ())
    assert (
        difference(pieces, [made[0], unproved, *made[2:]])
        == "the pictures at the beginning of piece 3 are others than in the piece before it"
    )
    fewer = MadePiece(made[1].seconds[:-1], made[1].head, made[1].tail)
    assert difference(pieces, [made[0], fewer, *made[2:]]) == "piece 2 has 249 frames instead of 250"
    moved = MadePiece(made[1].seconds + 1.0, made[1].head, made[1].tail)
    assert difference(pieces, [made[0], moved, *made[2:]]) == "piece 2 has frames of another piece"


def test_what_is_known_of_a_piece_is_kept_exactly() -> None:
    piece = MadePiece(np.array([1 / 3, 2 / 3]), ("a",), ("b", "c"))
    kept = MadePiece.decoded(piece.encoded())
    assert (kept.seconds.tolist(), kept.head, kept.tail) == ([1 / 3, 2 / 3], ("a",), ("b", "c"))
