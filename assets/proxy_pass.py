"""One pass over an original: its proxy, the scores of the detector and the looks of all frames, and what people are told about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import FfmpegError
from heaters_dagster.domain.frame_index import FrameIndex
from heaters_dagster.domain.looks import Looks
from heaters_dagster.domain.profiles import SideStream, SourceStreams, displayed_size, treatment_notes
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.domain.timecode import SourceTime
from heaters_dagster.domain.words import counted
from heaters_dagster.registries import DETECTORS
from resources.files.memory import release_freed_memory
from resources.media import ffmpeg
from resources.media.first_look import MediaProbe, opened
from resources.media.frame_index_reader import read_frame_index
from resources.media.look_stream import LookStream
from resources.media.proxy_writer import WrittenProxy, write_proxy
from resources.media.side_streams import ScorePass
from resources.media.timecode_track import add_timecode


@dataclass(frozen=True, slots=True)
class ProxyPass:
    """What one ffmpeg pass over an original gave, in addition to the file.

    scores: column name -> (frame_count,) float32. looks: of every frame. warnings: what was unusual in the original and what was done, one
    sentence each.
    """

    index: FrameIndex
    scores: Mapping[str, NDArray[np.float32]]
    looks: Looks
    warnings: tuple[str, ...]


class Seeing:
    """What looks at the small frames of a video: the streams of a detector, and that of the looks. Use it for one video.

    detector: a name in `DETECTORS`.
    """

    def __init__(self, found: MediaProbe, detector: str) -> None:
        width, height = displayed_size(found.video.width, found.video.height, found.video.rotation_degrees)
        self._looking = LookStream()
        self._scoring: ScorePass | None = ScorePass([*DETECTORS.load(detector).open_streams(width=width, height=height), self._looking])

    @property
    def side_streams(self) -> Sequence[SideStream]:
        return self._pass.side_streams

    @property
    def readers(self) -> Sequence[ffmpeg.PipeReader]:
        """One for each of the side streams, in their order."""
        return self._pass.readers()

    @property
    def frame_counts(self) -> Sequence[int]:
        return self._pass.frame_counts

    @property
    def looks(self) -> Looks:
        return self._looking.looks

    def scores(self) -> Mapping[str, NDArray[np.float32]]:
        return self._pass.finish()

    def close(self) -> None:
        """Give back the memory of the detector."""
        self._scoring = None

    @property
    def _pass(self) -> ScorePass:
        assert self._scoring is not None
        return self._scoring


def proxy_pass(
    original: Path,
    found: MediaProbe,
    path: Path,
    *,
    detector: str,
    called: str,
    clock: SourceTime | None = None,
    report: Report = silent,
) -> ProxyPass:
    """Write the proxy of `original` to `path`, and score its frames meanwhile.

    found: the result of `probe` for the original. called: what people call it. clock: the timecode of the first frame, which the proxy
    carries on; None: it has none. Sound that does not decode is left out, with a warning.
    Raises InvalidMediaError when no frame decodes, FfmpegError, ProcessKilledError, DiskFullError, ModelUnavailableError.
    """
    release_freed_memory()
    source = ffmpeg.source_streams(found)
    seeing = Seeing(found, detector)
    written = write_proxy(
        original, found, source, path, side_streams=seeing.side_streams, readers=seeing.readers, report=report, called=called
    )
    return finished_pass(original, found, path, written, seeing, called=called, clock=clock)


def finished_pass(
    original: Path,
    found: MediaProbe,
    path: Path,
    written: WrittenProxy,
    seeing: Seeing,
    *,
    called: str,
    clock: SourceTime | None = None,
) -> ProxyPass:
    """What a proxy that was written to `path` gave. seeing: has got its small frames. clock: as for `proxy_pass`.

    Raises FfmpegError when the numbers of frames differ.
    """
    scores, seen = seeing.scores(), seeing.looks
    counts_seen = {*seeing.frame_counts, *(len(column) for column in scores.values()), len(seen)}
    seeing.close()
    release_freed_memory()  # give back the network's memory before the tables of a long proxy need more
    if clock is not None:
        add_timecode(path, clock)  # before the index is read: it may move the packets
    index = read_frame_index(path, source_start_seconds=found.video.start_seconds)
    counts = {len(index), *counts_seen}
    if len(counts) > 1:
        raise FfmpegError(f"{called}: the proxy has {counted(len(index), 'frame')}, but the detectors saw {sorted(counts - {len(index)})}")
    return ProxyPass(index, scores, seen, tuple(_oddities(original, found, ffmpeg.source_streams(found), written, index)))


def _oddities(original: Path, found: MediaProbe, source: SourceStreams, written: WrittenProxy, index: FrameIndex) -> Iterator[str]:
    video, finished = found.video, written.finished
    sideways = video.rotation_degrees % 180 == 90
    yield from treatment_notes(source, *((video.height, video.width) if sideways else (video.width, video.height)))
    if finished.damage_count:
        yield f"damaged: {counted(finished.damage_count, 'error')} while it was read; everything that can be decoded was kept"
    first = f"{video.width}x{video.height}"
    if others := {f"{width}x{height}": None for width, height, _ in finished.pictures if f"{width}x{height}" != first}:
        yield f"its pictures change from {first} to {', '.join(others)} within the file: the proxy scales all to the first size"
    yield from written.times.notes()
    if written.times_repeat:
        yield "some frames have the time of the frame before them: the proxy shows each right after it"
    if source.audio is not None and written.sound is None:
        yield "its sound cannot be decoded, so the proxy is silent"
    yield from written.notes_on_sound(float((index.header.end_pts - int(index.pts[0])) * index.header.time_base))
    claimed = _claimed_frames(original, video.index)
    if claimed > len(index):
        yield (
            f"the file says that it has {counted(claimed, 'frame')}, but {len(index)} can be shown: the others are cut off, damaged, "
            "hidden by its edit list,"
            " or were dropped during the recording"
        )


def _claimed_frames(original: Path, stream: int) -> int:
    """How many frames the container says it has; 0 when it does not say, as Matroska."""
    with opened(original) as container:
        return int(container.streams[stream].frames)
