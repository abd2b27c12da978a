from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain.profiles import SideStream
from resources.media.side_streams import ScorePass


class Means:
    """A detector whose score is the mean of the frame."""

    def __init__(self, name: str, size: tuple[int, int] = (8, 6), fails_at: int | None = None) -> None:
        self.name, self.frame_size, self.pixel_format, self.scale_flags = name, size, "rgb24", "fast_bilinear"
        self.scores: list[float] = []
        self.largest_batch = 0
        self._fails_at = fails_at

    def feed(self, frames: NDArray[np.uint8]) -> None:
        self.largest_batch = max(self.largest_batch, len(frames))
        self.scores += frames.mean(axis=(1, 2, 3)).tolist()
        if self._fails_at is not None and len(self.scores) >= self._fails_at:
            raise ValueError("no model")

    def finish(self) -> Mapping[str, NDArray[np.float32]]:
        return {self.name: np.array(self.scores, np.float32)}


def play(reader: Callable[..., None], frames: NDArray[np.uint8]) -> None:
    """Write frames into a pipe in odd pieces, as ffmpeg may, while `reader` reads it."""
    read_end, write_end = os.pipe()

    def write() -> None:
        data = frames.tobytes()
        try:
            with os.fdopen(write_end, "wb", buffering=0) as file:
                for at in range(0, len(data), 10_007):
                    file.write(data[at : at + 10_007])
        except BrokenPipeError:
            pass

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with os.fdopen(read_end, "rb", buffering=0) as file:
            reader(file)
    finally:
        writer.join()


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 5000])
def test_every_frame_is_scored_once_and_in_order(count: int):
    frames = np.random.default_rng(1).integers(0, 256, (count, 6, 8, 3), np.uint8)
    detector = Means("mean")
    scoring = ScorePass([detector])
    (reader,) = scoring.readers()
    play(reader, frames)
    assert np.array_equal(scoring.finish()["mean"], frames.mean(axis=(1, 2, 3)).astype(np.float32))
    assert scoring.frame_counts == (count,)
    assert detector.largest_batch <= 32


def test_detectors_that_want_the_same_frames_share_one_stream():
    first, second, third = Means("a"), Means("b", (16, 12)), Means("c")
    scoring = ScorePass([first, second, third])
    assert scoring.side_streams == (SideStream(8, 6, "rgb24"), SideStream(16, 12, "rgb24"))
    small, large = scoring.readers()
    play(small, np.full((5, 6, 8, 3), 7, np.uint8))
    play(large, np.full((5, 12, 16, 3), 9, np.uint8))
    assert {name: column.tolist() for name, column in scoring.finish().items()} == {"a": [7] * 5, "b": [9] * 5, "c": [7] * 5}


def test_frames_larger_than_a_buffer_pass_one_by_one():
    detector = Means("mean", (1024, 512))
    (reader,) = ScorePass([detector]).readers()
    play(reader, np.zeros((3, 512, 1024, 3), np.uint8))
    assert (len(detector.scores), detector.largest_batch) == (3, 1)


def test_a_frame_that_is_cut_off_is_not_scored():
    detector = Means("mean")
    (reader,) = ScorePass([detector]).readers()
    play(reader, np.zeros(2 * 6 * 8 * 3 + 17, np.uint8))
    assert len(detector.scores) == 2


def test_a_detector_that_fails_stops_the_reading():
    (reader,) = ScorePass([Means("mean", fails_at=1)]).readers()
    with pytest.raises(ValueError, match="no model"):
        play(reader, np.zeros((200_000, 6, 8, 3), np.uint8))
