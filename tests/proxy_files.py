"""Tiny proxies for tests of what works on proxies: all-intra H.264 of any source, with their frame index."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from heaters_dagster.domain.frame_index import FrameIndex, FrameIndexHeader
from tests.media_files import barcode_video, ffmpeg

#: What promise 2 names: every kind of source whose frames must come out exactly.
SOURCES: dict[str, Callable[[Path], Path]] = {
    "constant": lambda folder: barcode_video(folder / "s.mp4", frames=60),
    "variable": lambda folder: barcode_video(folder / "s.mp4", frames=60, vfr=True),
    "odd": lambda folder: barcode_video(folder / "s.mp4", frames=40, size=(161, 121), pixel_format="yuv444p"),
    "ten_bit": lambda folder: barcode_video(folder / "s.mkv", frames=40, pixel_format="yuv420p10le"),
    "23.976": lambda folder: barcode_video(folder / "s.mp4", frames=60, rate=Fraction(24000, 1001)),
    "delayed": lambda folder: barcode_video(folder / "s.mp4", frames=48, video_start_seconds=1.5),
    "b_frames": lambda folder: barcode_video(folder / "s.mp4", frames=60, b_frames=3),
    "silent": lambda folder: barcode_video(folder / "s.mp4", frames=40, audio=False),
    "wide_pixels": lambda folder: barcode_video(folder / "s.mp4", frames=30, sample_aspect_ratio=Fraction(4, 3)),
}


def make_proxy_file(source: Path, path: Path) -> Path:
    """An all-intra MP4 with the frames and times of `source`, even in size."""
    even = "scale=trunc((iw+1)/2)*2:trunc((ih+1)/2)*2"
    video = "-c:v libx264 -preset ultrafast -crf 20 -g 1 -bf 0 -pix_fmt yuv420p -fps_mode passthrough -enc_time_base demux"
    return ffmpeg(["-i", str(source), "-vf", even, *video.split(), "-c:a", "aac", "-movflags", "+faststart"], path)


def index_of(path: Path) -> FrameIndex:
    """The whole frame index of a proxy."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        header = FrameIndexHeader(
            frame_count=len(packets),
            time_base=stream.time_base,
            end_pts=packets[-1].pts + packets[-1].duration,
            width=stream.width,
            height=stream.height,
            sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
            avcc=stream.codec_context.extradata,
            has_audio=bool(container.streams.audio),
            source_start_seconds=0.0,
        )
        columns = ([p.pts for p in packets], [p.pos for p in packets], [p.size for p in packets])
    return FrameIndex(header, 0, *(np.array(column, dtype=np.int64) for column in columns))
