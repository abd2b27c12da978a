"""What grows with the number of source videos and what stays flat: 20,000 and 200,000 with 5 clips each, in rows and partitions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from sqlalchemy import text

from benchmarks import large_database
from benchmarks.scratch import scratch_database
from benchmarks.table import Row, at_most
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.orchestration.janitor import settled_look
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.settings import Settings
from resources.orchestrator.retired_partitions import retire_partitions
from resources.postgres.database import Database

FEW, MANY = 20_000, 200_000
CLIPS_IN_VIDEO = 5
WAITING = 1_000
MOST_PARTITIONS = 50_000
_NEW = "insert into source_videos (source, title) select '/new', 'new' from generate_series(1, :many)"
_NAME = str(source_video_partitions.name)


def run() -> list[Row]:
    """Both sizes in turn, each in a database of its own."""
    few, many = (_measured(videos) for videos in (FEW, MANY))
    rows = [Row(f"{what}, {videos:,} source videos", found[what], "ms") for what in few for videos, found in ((FEW, few), (MANY, many))]
    flat = [at_most(f"{what}: ten times as many source videos", many[what] / few[what], "times", 1.5) for what in few if "look" in what]
    return rows + flat


def _measured(videos: int) -> dict[str, float]:
    with scratch_database() as (settings, database):
        large_database.fill(database, videos=videos, clips_in_video=CLIPS_IN_VIDEO)
        return _of(settings, database, videos)


def _of(settings: Settings, database: Database, videos: int) -> dict[str, float]:
    found: dict[str, float] = {}
    with open_instance(settings) as instance:

        def look() -> None:
            settled_look(instance, settings, database)

        instance.add_dynamic_partitions(_NAME, [str(number) for number in range(1, videos + 1)])
        found["a look, nothing due, median"] = _median(look)
        with database.begin() as connection:
            connection.execute(text(_NEW), {"many": WAITING})
        found[f"a look, {WAITING:,} waiting, median"] = _median(look)
        found["all names of partitions, median"] = _median(lambda: instance.get_dynamic_partitions(_NAME), times=3)
        began = time.perf_counter()
        retired = retire_partitions(instance, database, most=MOST_PARTITIONS)
        found[f"retiring partitions down to {MOST_PARTITIONS:,}"] = (time.perf_counter() - began) * 1000
        assert len(retired) == max(0, videos - MOST_PARTITIONS)
        found["a look after that, median"] = _median(look)
        back = iter(retired or range(videos + 1, videos + 100))
        found["a partition that comes back, median"] = _median(lambda: instance.add_dynamic_partitions(_NAME, [str(next(back))]))
    return found


def _median(work: Callable[[], object], times: int = 20) -> float:
    """Milliseconds. The first ones are not counted: Postgres plans a statement anew until it was sent ten times."""
    took = []
    for _ in range(times + 12 if times > 10 else times):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took[-times:])
