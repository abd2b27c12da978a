"""The timecode of source videos, for lists: one statement, however many they are, and nothing of the object store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction

from sqlalchemy import Connection, and_, select

from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.timecode import ClockOfVideo
from resources.postgres.conditions import among
from resources.postgres.database import Database
from resources.postgres.ingest_tables import source_video_facts
from resources.postgres.tables import clips, source_videos

_facts = source_video_facts.c
_FRAME_RATE = source_videos.c.probe["video"]["average_frame_rate"].astext


def clocks_of(source_video_ids: Collection[int], *, database: Database) -> Mapping[int, ClockOfVideo]:
    """Source video id -> its clock, of those that have a timecode and clips.

    Clips leave no frame out, so the first one begins with frame 0, and has its time.
    """
    first_clip = and_(clips.c.source_video_id == _facts.source_video_id, clips.c.is_live, clips.c.start_frame == 0)
    query = (
        select(_facts.source_video_id, _facts.start_timecode, _facts.timecode_rate, _facts.reel)
        .add_columns(_FRAME_RATE.label("frame_rate"), clips.c.start_time_seconds)
        .join(source_videos, source_videos.c.id == _facts.source_video_id)
        .join(clips, first_clip)
        .where(among(_facts.source_video_id, source_video_ids), _facts.start_timecode.is_not(None))
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
    found = {}
    for row in rows:
        facts = SourceFacts(start_timecode=row.start_timecode, timecode_rate=row.timecode_rate, reel=row.reel)
        if (time := facts.usable_source_time(_rate(row.frame_rate))) is not None:
            found[row.source_video_id] = ClockOfVideo(time, row.start_time_seconds)
    return found


def brief_facts(connection: Connection, source_video_ids: Collection[int]) -> dict[int, SourceFacts]:
    """Source video id -> site, uploader, licence, rights, reel and start timecode, as it counts: what a line of a list shows."""
    names = ("site", "uploader", "licence", "rights", "reel", "start_timecode", "timecode_rate")
    columns = [_facts[name] for name in names]
    query = select(_facts.source_video_id, _FRAME_RATE.label("frame_rate"), *columns)
    joined = query.join(source_videos, source_videos.c.id == _facts.source_video_id)
    found = {}
    for row in connection.execute(joined.where(among(_facts.source_video_id, source_video_ids))):
        facts = SourceFacts(**{name: getattr(row, name) for name in names})
        found[row.source_video_id] = facts.with_usable_timecode(_rate(row.frame_rate))
    return found


def _rate(text: str | None) -> Fraction | None:
    """Of a stored probe; 0 means that the file does not say it."""
    return (Fraction(text) or None) if text else None
