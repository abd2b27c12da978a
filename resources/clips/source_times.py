"""The timecodes of clips: those of their source video at the times that the frame index gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from heaters_dagster.domain.errors import ObjectNotFoundError, StoreUnavailableError
from heaters_dagster.domain.timecode import ClipTimecodes, ClockOfVideo
from resources.media.frame_index_reader import FrameIndexes
from resources.postgres.clip_store import Clip


def timecodes_of(clips: Collection[Clip], clocks: Mapping[int, ClockOfVideo], indexes: FrameIndexes) -> Mapping[int, ClipTimecodes]:
    """Clip id -> the timecodes of its first and its last frame, of the live clips of those source videos. clocks: source video id -> clock.

    Only the frame index knows when a last frame begins. It is read once for each source video; where it cannot be read, the last frames
    have no timecode.
    """
    found = {}
    for source_video_id, clock in clocks.items():
        own = [clip for clip in clips if clip.source_video_id == source_video_id and clip.is_live]
        last: list[str | None]
        try:
            last = [clock.at(seconds) for seconds in indexes.times(source_video_id, [clip.end_frame - 1 for clip in own])]
        except (ObjectNotFoundError, StoreUnavailableError):
            last = [None] * len(own)
        for clip, of_last in zip(own, last, strict=True):
            found[clip.id] = ClipTimecodes(clock.at(clip.start_time_seconds), of_last)
    return found
