"""The network TransNetV2 as a detector: on the GPU if there is one, else on the processors, in the fastest way that they support."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from resources.files.memory import release_freed_memory
from resources.models.scores.transnetv2_ways import SMALLEST_BATCH_FRAMES, OpenNetwork, StreamingNetwork, Way, load_network

_WIDTH, _HEIGHT = 48, 27
#: A score depends on this many frames before and after its frame: 48 for the convolutions over time, 50 for the comparison of frames.
_REACH = 98
_STILL_LEVELS = 2
_RELEASE_FRAMES = 2048
TRANSNETV2_COLUMNS = ("transnetv2", "transnetv2_all")


class TransNetV2Scores:
    """A ScoreStream with one column, `transnetv2`: the probability, 0..1, that a transition has its middle at the frame.

    both_heads: with `transnetv2_all` as well, the probability that the frame is part of a transition.
    leave_out_still: do not run the network on the middle of parts in which nothing moves; the scores are the same (`_Stillness`).
    float32: never use bytes or bfloat16, even if the processor is faster with them. way: None for that of this machine.
    The network is loaded in the background from the moment the stream is made, while ffmpeg starts.
    """

    name = "transnetv2"
    frame_size = (_WIDTH, _HEIGHT)
    pixel_format = "rgb24"
    scale_flags = "bicubic"

    def __init__(self, *, leave_out_still: bool = True, float32: bool = False, both_heads: bool = False, way: Way | None = None) -> None:
        loader = ThreadPoolExecutor(1, thread_name_prefix="transnetv2")
        self._loading: Future[OpenNetwork] = loader.submit(load_network, float32=float32, way=way)
        loader.shutdown(wait=False)
        self._network: StreamingNetwork | None = None
        self._columns = TRANSNETV2_COLUMNS if both_heads else TRANSNETV2_COLUMNS[:1]
        self._batch_frames = SMALLEST_BATCH_FRAMES
        self._since_release = 0
        self._stillness = _Stillness(most=_REACH if leave_out_still else None)
        self._waiting: list[NDArray[np.uint8]] = []
        self._scores: list[NDArray[np.float32]] = []

    @property
    def left_out(self) -> int:
        """How many frames have been left out so far."""
        return self._stillness.left_out

    def feed(self, frames: NDArray[np.uint8]) -> None:
        for frame in frames:
            self._waiting.extend(self._stillness.passed(frame))
            while len(self._waiting) >= self._batch_frames:
                self._push()
        self._since_release += len(frames)
        # What is freed leaves gaps in the heap of a thread: tensors with every batch, and what others compute of the same frames, of those
        # that are left out too. After every batch it would take an eighth of the processor time of the network in bytes, because the memory
        # is wanted back at once.
        if self._since_release >= _RELEASE_FRAMES:
            release_freed_memory()
            self._since_release = 0

    def finish(self) -> Mapping[str, NDArray[np.float32]]:
        self._waiting.extend(self._stillness.rest())
        network = self._push()
        while self._waiting:
            self._push()
        self._scores.append(network.finish(batch_frames=self._batch_frames))
        scores = self._stillness.filled_in(np.concatenate(self._scores))
        return {name: scores[:, place].copy() for place, name in enumerate(self._columns)}

    def _push(self) -> StreamingNetwork:
        """Give the network a batch of the waiting frames.

        The size is always the same, because scores must not depend on how frames arrive.
        """
        network = self._network
        if network is None:
            network, self._batch_frames = self._loading.result()()
            self._network = network
        batch, self._waiting = self._waiting[: self._batch_frames], self._waiting[self._batch_frames :]
        if batch:
            self._scores.append(network.push(np.stack(batch)))
        return network


class _Stillness:
    """Leaves out the middle of parts in which nothing moves, and later adds the scores of these frames.

    A frame belongs to a still part while no pixel differs by more than 2 of 255 levels from the part's first frame, so slow changes end it.
    The first and the last `most` frames of a part are passed on. With `most` = the network's reach, a frame at the gap has only still
    frames in reach, as the frames in the gap would have: so they get its score. most None: all frames are passed on.
    """

    def __init__(self, *, most: int | None) -> None:
        self._most = most
        self._first: NDArray[np.int16] | None = None
        self._length = 0
        self._held: deque[NDArray[np.uint8]] = deque()
        self._passed = 0
        self._left_out: dict[int, int] = {}

    @property
    def left_out(self) -> int:
        return sum(self._left_out.values())

    def passed(self, frame: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """The frames to pass on to the network after `frame` has come, in order."""
        if self._most is not None:
            levels = frame.astype(np.int16)
            still = self._first is not None and int(np.abs(levels - self._first).max()) <= _STILL_LEVELS
            if still:
                self._length += 1
                if self._length > self._most:
                    self._hold(frame.copy(), self._most)
                    return
            else:
                yield from self.rest()
                self._first, self._length = levels, 0
        self._passed += 1
        yield frame.copy()

    def rest(self) -> Iterator[NDArray[np.uint8]]:
        """The frames that were held back, when a still part or the video ends."""
        self._passed += len(self._held)
        while self._held:
            yield self._held.popleft()

    def filled_in(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """From one score for each frame that was passed on to one for each frame of the video."""
        times = np.ones(len(scores), np.int64)
        for frame, count in self._left_out.items():
            times[frame] += count
        return np.repeat(scores, times, axis=0)

    def _hold(self, frame: NDArray[np.uint8], most: int) -> None:
        self._held.append(frame)
        if len(self._held) > most:
            self._held.popleft()
            before = self._passed - 1
            self._left_out[before] = self._left_out.get(before, 0) + 1
