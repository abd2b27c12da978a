"""Writes a proxy: one run of ffmpeg, the file made from its fragments, side streams read by whoever wants them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heaters_dagster.domain.profiles import SideStream, SourceStreams, proxy
from heaters_dagster.domain.progress import Report, silent
from resources import ffmpeg
from resources.media_probe import MediaProbe
from resources.progressive_mp4 import ProgressiveMp4Writer, header_bytes

_SECONDS_WHEN_UNKNOWN = 3600.0
_FRAMES_PER_SECOND_WHEN_UNKNOWN = 30.0


def write_proxy(
    original: Path,
    found: MediaProbe,
    source: SourceStreams,
    path: Path,
    *,
    side_streams: Sequence[SideStream] = (),
    readers: Sequence[ffmpeg.PipeReader] = (),
    report: Report = silent,
    called: str | None = None,
) -> ffmpeg.Finished:
    """Make the proxy of `original` at `path`, and hand each of `side_streams` to the reader in its place.

    found: what `probe` said; source: the streams to use of it. Raises what `ffmpeg.run` raises.
    """
    seconds = found.duration_seconds or _SECONDS_WHEN_UNKNOWN
    rate = float(found.video.average_frame_rate) or _FRAMES_PER_SECOND_WHEN_UNKNOWN
    room = header_bytes(seconds=seconds, frames_per_second=rate, has_audio=source.audio is not None)
    writer = ProgressiveMp4Writer(path, reserve_bytes=room)
    profile = proxy(source, side_streams, in_fragments=True)
    finished = ffmpeg.run(profile, original, [writer.read, *readers], total_seconds=found.duration_seconds, report=report, called=called)
    writer.finish()
    return finished
