"""Writes a proxy: one run of ffmpeg whose fragments become the file, with side streams for other readers.

ffmpeg encodes. The time of each frame and of each sample of sound is decided here: in ffmpeg one wrong time would move all later frames,
and ffmpeg corrects sound only when it is far off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heaters_dagster.domain.clock import ClockJump, MendedTimes, mended
from heaters_dagster.domain.profiles import SideStream, SoundInput, SourceStreams, proxy
from heaters_dagster.domain.progress import Report, silent
from resources.media import ffmpeg
from resources.media.master_frames import MasterClip
from resources.media.media_probe import MediaProbe
from resources.media.packet_count import forward_limit, is_stream
from resources.media.progressive_mp4 import ProgressiveMp4Writer, header_bytes
from resources.media.sound_reader import PlacedSound, SoundFacts, SoundSource

_SECONDS_WHEN_UNKNOWN = 3600.0
_FRAMES_PER_SECOND_WHEN_UNKNOWN = 30.0


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
    seconds = found.duration_seconds or _SECONDS_WHEN_UNKNOWN
    rate = float(found.video.average_frame_rate) or _FRAMES_PER_SECOND_WHEN_UNKNOWN
    sound = sound_of(original, found, source)
    try:
        room = header_bytes(seconds=seconds, frames_per_second=rate, has_audio=sound is not None)
        writer, times = ProgressiveMp4Writer(path, reserve_bytes=room), ffmpeg.FrameTimes()
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
    delay = found.delay_seconds(float(times.seconds[0])) if len(times.seconds) else 0.0
    shown = mended(times.seconds - delay, found.jumps, forward_seconds=forward_limit(found.container), stands_still=found.stands_still)
    starts = [*shown.seconds[:1].tolist(), *([sound.start_seconds] if sound else [])]
    writer.finish(shown.seconds, zero_seconds=min(starts, default=0.0))
    return WrittenProxy(finished, shown, sound.facts if sound else None)


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
    return sound if sound.is_there else None


def sound_channels(found: MediaProbe, streams: Sequence[int]) -> int:
    """1 when the sound has one channel from beginning to end, else 2. In a broadcast stream this may change."""
    mono = all(stream.channels == 1 for stream in found.audio if stream.index in streams)
    return 1 if mono and not is_stream(found.container) else 2


def sound_input(sound: PlacedSound, zero_seconds: float = 0.0) -> SoundInput:
    """What ffmpeg must know about the sound. zero_seconds: the time of the file that counts as 0."""
    return SoundInput(rate=sound.rate, channels=sound.channels, start_seconds=sound.start_seconds - zero_seconds)


def clip_sound(found: MediaProbe, master: MasterClip, duration_seconds: float) -> PlacedSound | None:
    """The sound of a clip from the gold master of an original that `found` describes; None when it has none."""
    if not master.sounds:
        return None
    sound = PlacedSound(
        SoundSource(
            path=master.path,
            streams=master.sounds,
            jumps=_jumps_in_a_master(found),
            channels=sound_channels(found, found.sounds or tuple(stream.index for stream in found.audio)),
            from_seconds=master.start_seconds,
            to_seconds=master.start_seconds + duration_seconds,
        )
    )
    return sound if sound.is_there else None


def skipped_seconds(found: MediaProbe, seconds: float) -> float:
    """How far a master's own times are ahead of the proxy's, `seconds` after frame 0, because the proxy has no jumps."""
    skipped = 0.0
    for jump in _jumps_in_a_master(found):
        if seconds + found.video.start_seconds <= jump.before_seconds - skipped:
            break
        skipped += jump.shift_seconds
    return skipped


def _jumps_in_a_master(found: MediaProbe) -> tuple[ClockJump, ...]:
    """The jumps that are left in a master: ffmpeg removes those of a transport stream itself when it copies one."""
    return () if is_stream(found.container) else found.jumps
