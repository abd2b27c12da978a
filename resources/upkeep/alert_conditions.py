"""What is wrong now: from the rows, from Dagster's tables and from this machine. Each cause is looked for on its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, func, literal, select, text

from heaters_dagster.domain.alerts import Cause, Condition, Look, OpenAlert, many_failures
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.failure_kinds import FailureKind, kind_of_failure
from heaters_dagster.domain.progress import in_words
from heaters_dagster.domain.run_tags import LOST_TAG
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.stages import (
    CLIP_STAGES,
    EXPORTS,
    FURTHER_EXPORTS,
    GOLD_MASTER,
    MAX_ATTEMPTS,
    VIDEO_STAGES,
    beside,
    with_states,
)
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings
from resources.object_store.probe import place_problem
from resources.postgres import figures
from resources.postgres.database import Database
from resources.postgres.failing_starts import load_failing_starts
from resources.postgres.room_waits import RoomWaitStore
from resources.postgres.server_figures import database_bytes, load_dagster_figures, reading_dagster_tables
from resources.postgres.stage_progress import StandingStage, standing_stages
from resources.postgres.tables import clip_exports, clip_work, clips, source_videos

#: Dagster's daemons report every 30 seconds.
SILENT_SECONDS = 180.0
#: Of one stage. When more have failed, those beyond are told when these are done with.
_MOST = 500
_LOST_LATELY = "15 minutes"

_Found = tuple[list[Condition], bool]
"""The conditions of a cause, and whether these are all."""


def look(settings: Settings, database: Database, causes: Collection[Cause], known: Collection[OpenAlert]) -> Look:
    """Look for these causes. One that cannot be looked for now is left out, and its alerts stay as they are."""
    open_keys = {alert.key for alert in known}
    ways: dict[Cause, Callable[[], _Found]] = {
        Cause.FAILED: lambda: _failed(database),
        Cause.MANY_FAILURES: lambda: (_many(database, open_keys), True),
        Cause.NOT_EXPORTED: lambda: (_not_exported(database), True),
        Cause.STORE: lambda: (_store(settings), True),
        Cause.NO_ROOM: lambda: (_no_room(database), True),
        Cause.DAEMON: lambda: (_daemon(settings), True),
        Cause.LEASE_LOST: lambda: (_lost(settings), True),
        Cause.NO_PROGRESS: lambda: (_standing(settings, database), True),
        Cause.FAILING_STARTS: lambda: (_failing_starts(settings), True),
        Cause.YTDLP: lambda: (_ytdlp(), True),
        Cause.DATABASE_SIZE: lambda: (_size(settings, database), True),
    }
    found: list[Condition] = []
    looked_at, complete = set(), set()
    for cause in causes:
        try:
            conditions, are_all = ways[cause]()
        except HeatersError:
            continue
        found += conditions
        looked_at.add(cause)
        if are_all:
            complete.add(cause)
    return Look(tuple(found), frozenset(looked_at), frozenset(complete))


def _failed(database: Database) -> _Found:
    found, are_all = [], True
    with database.read() as connection:
        for stage, failed, rows in _failed_rows(connection):
            are_all &= len(rows) < _MOST
            for source_video_id, title, error, count in rows:
                if kind_of_failure(error or "") is FailureKind.CANCELED:
                    continue  # by the very people who would be told
                on = f" on {counted(int(count), 'clip')}" if count else ""
                words = f"source video {source_video_id}, {without_access(title)}: {failed} for good{on}: {error}"
                found.append(Condition(Cause.FAILED, f"{stage}:{source_video_id}", words))
    return found, are_all


def _failed_rows(connection: Connection) -> Iterator[tuple[str, str, list[Any]]]:
    """(stage, words, rows of source video id, title, reason, number of clips) of each stage; number 0 for source videos themselves."""
    video = source_videos.c
    for stage in with_states(VIDEO_STAGES):
        query = select(video.id, video.title, video.error, literal(0)).where(
            video.state == stage.steps.failed.value, video.attempts >= stage.max_attempts, video.duplicate_of_id.is_(None)
        )
        yield stage.asset, stage.words.failed, list(connection.execute(query.order_by(video.id).limit(_MOST)))
    query = select(video.id, video.title, video.gold_master_error, literal(0)).where(
        figures.without_gold_master(),
        video.gold_master_error.is_not(None),  # an index has these alone
        video.gold_master_attempts >= GOLD_MASTER.max_attempts,
    )
    yield GOLD_MASTER.asset, "making the gold master failed", list(connection.execute(query.order_by(video.id).limit(_MOST)))

    def by_video(error: Any, *chosen: Any, joined: Any = clips) -> list[Any]:
        failed = select(clips.c.source_video_id, func.min(error).label("error"), func.count().label("clips")).select_from(joined)
        failed = failed.where(clips.c.is_live, *chosen).group_by(clips.c.source_video_id).order_by(clips.c.source_video_id).limit(_MOST)
        of_video = failed.subquery()
        named = select(of_video.c.source_video_id, video.title, of_video.c.error, of_video.c.clips)
        return list(connection.execute(named.join(source_videos, video.id == of_video.c.source_video_id)))

    chosen: tuple[Any, ...]
    for of_clips in with_states(CLIP_STAGES):
        chosen = (clips.c.state == of_clips.steps.failed.value, clips.c.attempts >= of_clips.max_attempts)
        yield of_clips.asset, of_clips.words.failed, by_video(clips.c.error, *chosen)
    for of_clips in beside():
        joined = clip_work.join(clips, clip_work.c.clip_id == clips.c.id)
        chosen = (clip_work.c.stage == of_clips.asset, clip_work.c.state == "failed", clip_work.c.attempts >= of_clips.max_attempts)
        yield of_clips.asset, of_clips.words.failed, by_video(clip_work.c.error, *chosen, joined=joined)
    joined = clip_exports.join(clips, clip_exports.c.clip_id == clips.c.id)
    chosen = (clip_exports.c.state == "failed", clip_exports.c.attempts >= MAX_ATTEMPTS, clip_exports.c.profile != clips.c.export_profile)
    yield f"further_{EXPORTS.asset}", FURTHER_EXPORTS.failed.removeprefix("with "), by_video(clip_exports.c.error, *chosen, joined=joined)


def _many(database: Database, open_keys: Collection[tuple[str, str]]) -> list[Condition]:
    counts: dict[str, int] = {}
    with database.read() as connection:
        for (_, kind), count in figures.failed_by_kind(connection).items():
            counts[kind] = counts.get(kind, 0) + count
    counts.pop(FailureKind.CANCELED.value, None)
    return many_failures(counts, open_keys)


def _not_exported(database: Database) -> list[Condition]:
    with database.read() as connection:
        count, oldest = figures.approved_without_file(connection, longer_than_seconds=figures.FRESHNESS_SECONDS)
    return [Condition(Cause.NOT_EXPORTED, "", late_words(count, oldest))] if count else []


def late_words(count: int, oldest: Any) -> str:
    """What is said of clips that wait too long for their files."""
    since = f"; the oldest since {oldest:%Y-%m-%d %H:%M} UTC" if oldest is not None else ""
    was = counted(count, "clip was approved", "clips were approved")
    return f"{was} more than five minutes ago, and there is no file yet{since}"


def _store(settings: Settings) -> list[Condition]:
    problem = place_problem(settings)
    return [] if problem is None else [Condition(Cause.STORE, "", f"nothing can be stored: {problem}")]


def _no_room(database: Database) -> list[Condition]:
    waits = RoomWaitStore(database).load()
    if not waits:
        return []
    first = min(waits)
    words = f"{counted(len(waits), 'piece of work waits', 'pieces of work wait')} for room on the disk; source video {first[0]}: "
    return [Condition(Cause.NO_ROOM, "", words + waits[first].wait.words)]


def _daemon(settings: Settings) -> list[Condition]:
    with reading_dagster_tables(settings) as connection:
        found = load_dagster_figures(connection)
    seconds = min(found.heartbeats.values(), default=0.0) if found is not None else 0.0
    if seconds <= SILENT_SECONDS:
        return []
    return [Condition(Cause.DAEMON, "", f"Dagster's daemon has been silent for {counted(round(seconds / 60), 'minute')}")]


def _lost(settings: Settings) -> list[Condition]:
    query = text(
        f"""
        select count(distinct r.run_id) from run_tags t join runs r on r.run_id = t.run_id
        where t.key = :tag and r.update_timestamp > (now() at time zone 'utc') - interval '{_LOST_LATELY}'
        """
    )
    with reading_dagster_tables(settings) as connection:
        if connection.scalar(text("select to_regclass('run_tags')")) is None:
            return []
        count = int(connection.scalar(query, {"tag": LOST_TAG}) or 0)
    words = f"{counted(count, 'run has lost its process', 'runs have lost their process')} in the last {_LOST_LATELY}"
    return [Condition(Cause.LEASE_LOST, "", words)] if count else []


def _standing(settings: Settings, database: Database) -> list[Condition]:
    """Stages that work and do not get further. None is ended: an hour of silence proves no fault, and a person can tell the two apart."""
    if not settings.alert_no_progress_minutes:
        return []
    with database.read() as connection:
        found = standing_stages(connection, longer_than_seconds=60 * settings.alert_no_progress_minutes)
    return [Condition(Cause.NO_PROGRESS, f"{one.asset}:{one.source_video_id}", _standing_words(one)) for one in found]


def _standing_words(one: StandingStage) -> str:
    on = f" on {one.host}" if one.host else ""
    since = f"{one.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    how_far = in_words(replace(one.progress, elapsed_seconds=0.0, still_seconds=0.0))
    of = f"source video {one.source_video_id}, {without_access(one.title)}"
    return f"{of}: the stage {one.asset}{on} has made no progress since {since} ({how_far})"


def _failing_starts(settings: Settings) -> list[Condition]:
    found = load_failing_starts(settings).values()
    return [Condition(Cause.FAILING_STARTS, one.job.value, settings.without_secrets(one.sentence)) for one in found]


def _ytdlp() -> list[Condition]:
    from resources.sources.ytdlp_release import installed

    release = installed()
    return [Condition(Cause.YTDLP, "", f"downloads may fail: {release.age}")] if release.is_old else []


def _size(settings: Settings, database: Database) -> list[Condition]:
    with database.read() as connection:
        size = database_bytes(connection)["dagster"]
    if size <= settings.alert_dagster_gb * 1e9:
        return []
    limit = f"{settings.alert_dagster_gb:g} GB of HEATERS_ALERT_DAGSTER_GB"
    return [Condition(Cause.DATABASE_SIZE, "", f"Dagster's own tables have {size / 1e9:.1f} GB, more than the {limit}")]
