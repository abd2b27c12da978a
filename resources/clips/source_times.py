"""The timecode of clips: that of their source video at the times that the frame index gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from heaters_dagster.domain.errors import ObjectNotFoundError
from heaters_dagster.domain.timecode import SourceTime
from resources.media.frame_index_reader import FrameIndexes
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.source_video_store import SourceVideoStore


@dataclass(frozen=True, slots=True)
class ClockOfVideo:
    """begins_seconds: when frame 0 is shown, by the frame index."""

    time: SourceTime
    begins_seconds: float

    def at(self, seconds: float) -> str:
        """The timecode of a frame that is shown at that time of the frame index."""
        return self.time.at(seconds - self.begins_seconds)


def clocks_of(source_video_ids: Collection[int], *, database: Database, indexes: FrameIndexes) -> Mapping[int, ClockOfVideo]:
    """Source video id -> its clock, of those that have a timecode and a frame index. Only of these the frame index is read."""
    known = FactsStore(database).load_all(source_video_ids)
    found = {}
    for source_video_id in [number for number, facts in known.items() if facts.start_timecode is not None]:
        video = SourceVideoStore(database).load(source_video_id)
        time = known[source_video_id].usable_source_time(video.frame_rate)
        if time is None or video.frame_index_filepath is None:
            continue
        with suppress(ObjectNotFoundError):  # it is made again
            frame_0 = indexes.slice(source_video_id, 0, 1)
            found[source_video_id] = ClockOfVideo(time, float(frame_0.pts_of(0) * frame_0.header.time_base))
    return found
