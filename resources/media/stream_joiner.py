"""Joins picture and sound that were downloaded as two files into one file, by copying packets.

yt-dlp would use ffmpeg, which guesses what the downloaded bytes are: a playlist could then make it open other files and addresses. Here
both files are opened with `first_look.opened`. Times are not changed, so that sound stays in sync.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.media_failures import library_failure
from heaters_dagster.domain.words import counted
from resources.media.first_look import chosen_video, opened
from resources.object_store.work_folder import disk_full_named

_MP4_VIDEO = frozenset({"h264", "hevc", "av1", "vp9", "mpeg4"})
_MP4_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})
#: Two parts of one stream share a clock. If their starts are further apart than this, they do not, and each is moved to begin at 0.
_ONE_CLOCK_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Joined:
    """video_packets: how many were copied."""

    path: Path
    video_packets: int


def joined(video: Path, audio: Path, folder: Path, *, name: str) -> Joined:
    """A file in `folder` with the picture of `video` and the sound of `audio`: MP4 where its codecs fit, else Matroska.

    name: what messages call it. Raises InvalidMediaError when they cannot be joined.
    """
    import av

    with ExitStack() as stack:
        pictures = stack.enter_context(opened(video, name=name))
        sounds = stack.enter_context(opened(audio, name=name))
        picture, sound = chosen_video(pictures, name), sounds.streams.best("audio")
        if sound is None or sound.codec_context is None:
            raise InvalidMediaError(f"{name}: the file that was downloaded as its sound has no audio stream that can be read")
        mp4 = picture.codec_context.codec.canonical_name in _MP4_VIDEO and sound.codec_context.codec.canonical_name in _MP4_AUDIO
        target = folder / ("joined.mp4" if mp4 else "joined.mkv")
        picture_shift, sound_shift = _shifts(picture, sound)
        packets = heapq.merge(
            _packets(pictures, picture, picture_shift),
            _packets(sounds, sound, sound_shift),
            key=lambda packet: packet.dts * packet.time_base,
        )
        video_packets = 0
        try:
            with disk_full_named(target), av.open(str(target), "w", options={"movflags": "faststart"} if mp4 else {}) as output:
                copies = {stream.type: output.add_stream_from_template(stream) for stream in (picture, sound)}
                for packet in packets:
                    video_packets += packet.stream.type == "video"
                    packet.stream = copies[packet.stream.type]
                    output.mux_one(packet)
        except av.error.FFmpegError as error:
            raise library_failure(f"{name}: picture and sound cannot be put into one file", error) from error
    return Joined(target, video_packets)


def check_clean(file: Joined, *, name: str) -> None:
    """Raise InvalidMediaError unless the file has all its packets and its last second decodes without an error."""
    import av

    with opened(file.path, name=name) as container:
        stream = chosen_video(container, name)
        if stream.frames not in (0, file.video_packets):
            raise InvalidMediaError(f"{name}: only {stream.frames} of {counted(file.video_packets, 'frame')} are in the file")
        try:
            if container.duration:
                container.seek(max(0, container.duration - 1_000_000))
            if sum(1 for _ in container.decode(stream)) == 0:
                raise InvalidMediaError(f"{name}: no frame at its end can be decoded")
        except av.error.FFmpegError as error:
            raise library_failure(f"{name}: its end cannot be decoded", error) from error


def _shifts(picture: Any, sound: Any) -> tuple[Fraction, Fraction]:
    """Seconds to subtract from the times of each, so that the earlier one begins at 0."""
    starts = [Fraction(stream.start_time or 0) * stream.time_base for stream in (picture, sound)]
    if abs(starts[0] - starts[1]) > _ONE_CLOCK_SECONDS:
        return starts[0], starts[1]
    return min(starts), min(starts)


def _packets(container: Any, stream: Any, shift_seconds: Fraction) -> Iterator[Any]:
    """The stream's packets, moved earlier by `shift_seconds`, with rising decoding times.

    Where the times fall back, as between parts that a site has joined, the rest follows directly after what came before.
    """
    shift = round(shift_seconds / stream.time_base)
    last: int | None = None
    for packet in container.demux(stream):
        if packet.size == 0:
            continue
        if packet.dts is None:
            packet.dts = packet.pts if packet.pts is not None else shift if last is None else last + shift + 1
        if last is not None and packet.dts - shift <= last:
            shift = packet.dts - last - max(1, packet.duration or 1)
        packet.dts -= shift
        packet.pts = None if packet.pts is None else packet.pts - shift
        last = packet.dts
        yield packet
