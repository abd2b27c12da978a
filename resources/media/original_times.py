"""The times at which an original shows its frames, read independently of the pass that made the proxy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.clock import seconds_of
from heaters_dagster.domain.profiles import frame_times
from heaters_dagster.domain.progress import Report, silent
from resources.media import ffmpeg
from resources.media.first_look import MediaProbe, opened


def packet_times(path: Path, probe: MediaProbe) -> NDArray[np.float64] | None:
    """(n,) seconds, rising: the times that the container's packets carry, without decoding; None when a packet has none.

    A damaged file may have packets that cannot be decoded: then only `decoded_times` is right.
    """
    import av

    seconds: list[float] = []
    with opened(path, name=path.name) as container:
        stream = container.streams[probe.video.index]
        try:
            for packet in container.demux(stream):
                if packet.size == 0 or packet.is_discard:
                    continue
                if packet.pts is None:
                    return None
                seconds.append(seconds_of(packet.pts, packet.time_base))
        except MemoryError:
            raise
        except av.FFmpegError:
            pass  # cut off: what came before counts
    return np.sort(np.array(seconds))


def decoded_times(path: Path, probe: MediaProbe, *, report: Report = silent) -> NDArray[np.float64]:
    """(n,) seconds in order of showing, of every frame that decodes. Raises FfmpegError."""
    times = ffmpeg.FrameTimes()
    profile = frame_times(ffmpeg.source_streams(probe))
    rate = float(probe.video.average_frame_rate)
    ffmpeg.run(
        profile, path, [Path("/dev/null")], total_seconds=probe.duration_seconds, report=report, frame_times=times.read, frame_rate=rate
    )
    return times.seconds
