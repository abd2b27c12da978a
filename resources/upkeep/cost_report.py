"""Gathers what a cost report needs: the objects of the store, the source videos, and how long the jobs took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from heaters_dagster.domain.costs import STILLS, Eager, JobTime, Prices, Storage, StoredVideo, eager_design, honest_words
from heaters_dagster.domain.stages import Job
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.postgres.database import Database, dagster_database_url
from resources.postgres.table_copies import tables_of
from resources.upkeep.backup import stored_objects


@dataclass(frozen=True, slots=True)
class CostReport:
    prices: Prices
    storage: Storage
    videos: Mapping[int, StoredVideo]
    eager: Eager
    jobs: tuple[JobTime, ...]

    @property
    def words(self) -> list[str]:
        return honest_words(self.storage, self.eager)

    @property
    def months(self) -> dict[str, list[int]]:
        """Month of submission -> its source videos, the oldest month first."""
        found: dict[str, list[int]] = defaultdict(list)
        for video in self.videos.values():
            found[video.month].append(video.source_video_id)
        return dict(sorted(found.items()))

    def to_json(self) -> dict[str, Any]:
        prices, storage = self.prices, self.storage
        return {
            "prices": {"name": prices.name, "as_of": prices.as_of, "source": prices.source, "currency": prices.currency},
            "bytes": storage.byte_size,
            "month_price": round(storage.month_price, 4),
            "unpriced": storage.unpriced,
            "kinds": [
                {
                    "kind": kind,
                    "storage_class": name,
                    "objects": stored.objects,
                    "bytes": stored.byte_size,
                    "month_price": None if (price := prices.month(stored, name)) is None else round(price, 4),
                }
                for (kind, name), stored in sorted(storage.by_kind.items())
            ],
            "months": [
                {"month": month, "videos": len(ids), "bytes": size, "month_price": round(price, 4)}
                for month, ids in self.months.items()
                for size, price in [storage.of_videos(ids)]
            ],
            "videos": [
                {"id": video.source_video_id, "title": video.title, "month": video.month, "bytes": size, "month_price": round(price, 4)}
                for video in self.videos.values()
                for size, price in [storage.of_videos([video.source_video_id])]
            ],
            "eager": {
                "note": prices.eager_note,
                "originals": self.eager.originals,
                "clips": self.eager.clips,
                "sprites": self.eager.sprites,
                "stills": self.eager.stills,
                "bytes": self.eager.byte_size,
                "month_price": round(self.eager.month_price, 4),
            },
            "jobs": [
                {
                    "job": one.job,
                    "runs": one.runs,
                    "seconds": round(one.seconds, 1),
                    "video_seconds": round(one.video_seconds, 1),
                    "seconds_per_hour": None if (each := one.seconds_per_hour) is None else round(each, 1),
                    "price_per_hour": None if each is None else round(each / 3600 * prices.machine_hour, 5),
                }
                for one in self.jobs
            ],
            "words": self.words,
        }


def cost_report(settings: Settings, database: Database, objects: ObjectStore, prices: Prices) -> CostReport:
    """List the whole store (of a bucket a request for each 1,000 objects) and read the rows. Raises what ObjectStore and Database raise."""
    storage = Storage(prices)
    for info in stored_objects(objects):
        storage.add(info.key, info.byte_size, info.storage_class)
    videos = _videos(database)
    eager = eager_design(videos.values(), storage.of_kind(STILLS), prices)
    return CostReport(prices, storage, videos, eager, _job_times(settings, videos))


def _videos(database: Database) -> dict[int, StoredVideo]:
    query = text(
        "select id, title, to_char(created_at at time zone 'UTC', 'YYYY-MM') as month, coalesce(duration_seconds, 0) as seconds, "
        "coalesce(frame_count, 0) as frames, coalesce(original_bytes, 0) as bytes from source_videos "
        "where state <> 'deleted' and duplicate_of_id is null order by id"
    )
    with database.read() as connection:
        rows = connection.execute(query)
        return {row.id: StoredVideo(row.id, row.title, row.month, row.seconds, row.frames, row.bytes) for row in rows}


def _job_times(settings: Settings, videos: Mapping[int, StoredVideo]) -> tuple[JobTime, ...]:
    """From the runs that Dagster has kept. A run has the machine for itself only with one place in its pool, so this is an upper limit."""
    dagster = Database.connect(dagster_database_url(settings), pool_size=1)
    try:
        with dagster.read() as connection:
            if "runs" not in {table.name for table in tables_of(connection)}:
                return ()
            rows = connection.execute(text(_RUNS), {"jobs": [job.value for job in Job]}).all()
    finally:
        dagster.dispose()
    runs: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    length: dict[str, float] = defaultdict(float)
    for row in rows:
        video = videos.get(int(row.partition)) if row.partition and row.partition.isdigit() else None
        if video is not None and video.duration_seconds:
            runs[row.job] += row.runs
            seconds[row.job] += row.seconds
            length[row.job] += video.duration_seconds
    return tuple(JobTime(job.value, runs[job.value], seconds[job.value], length[job.value]) for job in Job if runs[job.value])


_RUNS = """
select pipeline_name as job, partition, count(*) as runs, sum(end_time - start_time) as seconds from runs
where status = 'SUCCESS' and pipeline_name = any(:jobs) and start_time is not null and end_time is not null
group by 1, 2
"""
