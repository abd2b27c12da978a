"""Writes a proxy: one run of ffmpeg whose fragments become the file, with side streams for other readers.

ffmpeg encodes. The time of each frame and of each sample of sound is decided here: in ffmpeg one wrong time would move all later frames,
and ffmpeg corrects sound only when it is far off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.clock import MendedTimes, mended, spoken
from heaters_dagster.domain.ffmpeg_run import SoundInput
from heaters_dagster.domain.profiles import SideStream, SourceStreams, joined_proxy, proxy
from heaters_dagster.domain.progress import Report, silent
from resources.files.memory import release_freed_memory
from resources.media import ffmpeg
from resources.media.first_look import MediaProbe
from resources.media.packet_count import forward_limit, is_stream
from resources.media.progressive_mp4 import ProgressiveMp4Writer, header_bytes
from resources.media.sound_reader import PlacedSound, SoundFacts, SoundSource

_SECONDS_WHEN_UNKNOWN = 3600.0
_FRAMES_PER_SECOND_WHEN_UNKNOWN = 30.0
#: Less sound without a picture is what encoders leave, and nobody misses it.
_LEAST_SOUND_ALONE_SECONDS = 0.25
_IN_NO_CLIP = "a clip has the sound that is heard with its frames, so this part is in the proxy and the gold master only"


@dataclass(frozen=True, slots=True)
class WrittenProxy:
    """finished: the result of ffmpeg. times: of the frames, before they are counted from 0. sound: None for a silent proxy."""

    finished: ffmpeg.Finished
    times: MendedTimes
    sound: SoundFacts | None

    @property
    def times_repeat(self) -> bool:
        """Whether some frames have the time of the frame before."""
        return bool(np.any(np.diff(self.times.seconds) <= 0))

    def notes_on_sound(self, shown_seconds: float) -> list[str]:
        """What was done to the sound, and what of it belongs to no clip, in sentences for people. shown_seconds: how long there is a
        picture."""
        if self.sound is None:
            return []
        begins = float(self.times.seconds[0])
        before = begins - self.sound.start_seconds
        after = self.sound.end_seconds - begins - shown_seconds
        notes = self.sound.notes()
        if before > _LEAST_SOUND_ALONE_SECONDS:
            notes.append(f"its sound begins {spoken(before)} before its first frame: {_IN_NO_CLIP}")
        if after > _LEAST_SOUND_ALONE_SECONDS:
            notes.append(f"its sound goes on for {spoken(after)} after its last frame: {_IN_NO_CLIP}")
        return notes


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
) -> WrittenProxy:
    """Make the proxy of `original` at `path`, and pass each of `side_streams` to the reader at the same place.

    found: the result of `probe`. source: the streams to use. Raises the errors of `ffmpeg.run`.
    """
    sound = sound_of(original, found, source)
    try:
        writer, times = _writer(path, found, sound), ffmpeg.FrameTimes()
        profile = proxy(source, side_streams, sound=sound_input(sound) if sound else None, in_fragments=True)
        finished = ffmpeg.run(
            profile,
            original,
            [writer.read, *readers],
            total_seconds=found.duration_seconds,
            report=report,
            called=called,
            sound=sound.write if sound else None,
            frame_times=times.read,
            frame_rate=float(found.video.average_frame_rate),
        )
    finally:
        if sound is not None:
            sound.close()
    return _finished(writer, found, sound, times.seconds, finished)


def join_proxy(
    original: Path,
    found: MediaProbe,
    source: SourceStreams,
    path: Path,
    *,
    picture: ffmpeg.PipeWriter,
    told_seconds: NDArray[np.float64],
    report: Report = silent,
    called: str | None = None,
) -> WrittenProxy:
    """Make the proxy of `original` at `path` from the packets of its pieces, by copying them; its sound is made as for `write_proxy`.

    picture: writes the pieces one after another. told_seconds: (n,) the times of their frames in the original. Arguments and errors as for
    `write_proxy`.
    """
    sound = sound_of(original, found, source)
    try:
        writer = _writer(path, found, sound)
        finished = ffmpeg.run(
            joined_proxy(sound=sound_input(sound) if sound else None),
            original,
            [writer.read],
            total_seconds=found.duration_seconds,
            report=report,
            called=called,
            picture=picture,
            sound=sound.write if sound else None,
            frame_rate=float(found.video.average_frame_rate),
        )
    finally:
        if sound is not None:
            sound.close()
    return _finished(writer, found, sound, told_seconds, finished)


def _writer(path: Path, found: MediaProbe, sound: PlacedSound | None) -> ProgressiveMp4Writer:
    seconds = found.duration_seconds or _SECONDS_WHEN_UNKNOWN
    rate = float(found.video.average_frame_rate) or _FRAMES_PER_SECOND_WHEN_UNKNOWN
    return ProgressiveMp4Writer(path, reserve_bytes=header_bytes(seconds=seconds, frames_per_second=rate, has_audio=sound is not None))


def _finished(
    writer: ProgressiveMp4Writer, found: MediaProbe, sound: PlacedSound | None, told: NDArray[np.float64], finished: ffmpeg.Finished
) -> WrittenProxy:
    """Give all frames their times, and the file its header."""
    shown = shown_times(found, told)
    starts = [*shown.seconds[:1].tolist(), *([sound.start_seconds] if sound else [])]
    writer.finish(shown.seconds, zero_seconds=min(starts, default=0.0))
    return WrittenProxy(finished, shown, sound.facts if sound else None)


def shown_times(found: MediaProbe, told: NDArray[np.float64]) -> MendedTimes:
    """When each frame of an original is shown. told: (n,) as ffmpeg has read it from the file (`ffmpeg.FrameTimes`)."""
    delay = found.delay_seconds(float(told[0])) if len(told) else 0.0
    return mended(told - delay, found.jumps, forward_seconds=forward_limit(found.container), stands_still=found.stands_still)


def sound_of(original: Path, found: MediaProbe, source: SourceStreams) -> PlacedSound | None:
    """The sound that belongs to the picture, with each sample at its time; None when there is none or nothing of it can be decoded."""
    if source.audio is None:
        return None
    streams = found.sounds if source.audio in found.sounds else (source.audio,)
    sound = PlacedSound(
        SoundSource(
            path=original,
            streams=streams,
            look_bytes=found.look_bytes,
            jumps=found.jumps,
            end_seconds=found.end_seconds,
            channels=sound_channels(found, streams),
        )
    )
    release_freed_memory()  # the table of a long MP4 is made of parts that FFmpeg frees again, and glibc keeps
    return sound if sound.is_there else None


def sound_channels(found: MediaProbe, streams: Sequence[int]) -> int:
    """1 when the sound has one channel from beginning to end, else 2. In a broadcast stream this may change."""
    mono = all(stream.channels == 1 for stream in found.audio if stream.index in streams)
    return 1 if mono and not is_stream(found.container) else 2


def sound_input(sound: PlacedSound, zero_seconds: float = 0.0) -> SoundInput:
    """What ffmpeg must know about the sound. zero_seconds: the time of the file that counts as 0."""
    return SoundInput(rate=sound.rate, channels=sound.channels, start_seconds=sound.start_seconds - zero_seconds)
