"""Encodes a clip from its frames in a gold master, with the sound that belongs to them."""

from __future__ import annotations

from pathlib import Path

from heaters_dagster.domain.export_profile import MasterProfile
from heaters_dagster.domain.progress import Report, silent
from resources.media import ffmpeg
from resources.media.first_look import MediaProbe
from resources.media.master_frames import master_clip
from resources.media.master_sound import clip_sound, master_clock, master_jumps
from resources.media.proxy_bytes import RangeFile
from resources.media.proxy_writer import sound_input


def encode_from_master(
    profile: MasterProfile,
    found: MediaProbe,
    master: Path | RangeFile,
    path: Path,
    *,
    start_frame: int,
    end_frame: int,
    frame_count: int,
    begins_seconds: float,
    duration_seconds: float,
    folder: Path,
    called: str,
    report: Report = silent,
) -> None:
    """Write frames `[start_frame, end_frame)` of a master with `frame_count` frames to `path`, at even distances.

    Afterwards `retimed` gives them their times. found: the probe of the original. begins_seconds: when the clip begins, counted from
    frame 0, by the frame index. folder: for the part of a remote master. called: the name of the master in messages.
    Raises InvalidMediaError, and what `ffmpeg.run` raises.
    """
    streams = ffmpeg.source_streams(found)
    used = found.sounds or (() if streams.audio is None else (streams.audio,))
    jumps = master_jumps(found, master, frame_count, called=called)
    clock = master_clock(jumps, begins_seconds, begins_seconds + duration_seconds)
    start_seconds = begins_seconds + clock.skipped_seconds
    clip = master_clip(
        master,
        start_frame=start_frame,
        end_frame=end_frame,
        frame_count=frame_count,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds + clock.longer_seconds,
        sounds=tuple(number for number, stream in enumerate(found.audio) if stream.index in used),
        sound_count=len(found.audio),
        folder=folder,
        called=called,
    )
    sound = clip_sound(found, clip, clock, clip.start_seconds - start_seconds, duration_seconds)
    try:
        ffmpeg.run(
            profile(streams, sound=sound_input(sound, clip.start_seconds) if sound else None),
            clip.path,
            [path],
            total_seconds=duration_seconds,
            report=report,
            called=called,
            picture=clip.write,
            sound=sound.write if sound else None,
        )
    finally:
        if sound is not None:
            sound.close()
