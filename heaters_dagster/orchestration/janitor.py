"""Writes the results of a look: it ends the runs whose process has ended, and gives rows the reason why their run ended.

It is called once in a round: by the first sensor of the round, by each round of `heaters process`, and by the sensor of failed runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import dagster as dg

from assets.failures import CANCELED
from heaters_dagster.domain.disk_room import RoomWait
from heaters_dagster.domain.errors import BusyError, NotFoundError
from heaters_dagster.domain.run_tags import ENDED_TAG
from heaters_dagster.domain.stages import CLIP_STAGES, EXPORTS, VIDEO_STAGES, with_states
from heaters_dagster.orchestration.dead_runs import PROCESS_TAG, SETTLED_TAG, StageIsBusy, dead_among, death, partition_of, unfinished
from heaters_dagster.orchestration.outlook import Outlook, look
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.settings import Settings
from resources.orchestrator.dagster_private import IN_PROGRESS_RUN_STATUSES, RunRecord, SqlEventLogStorage
from resources.orchestrator.dagster_storage import assets_of, withdraw_plans
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.due_facts import deleted_since
from resources.postgres.export_store import ExportStore
from resources.postgres.room_waits import RoomWaitStore
from resources.postgres.source_video_store import SourceVideoStore

#: Of more partitions all names are read at once.
_ASKED_ONE_BY_ONE = 10
_VIDEO_STAGES = {stage.asset: stage for stage in with_states(VIDEO_STAGES)}
_CLIP_STAGES = {stage.asset: stage for stage in CLIP_STAGES}


def settled_look(
    instance: dg.DagsterInstance,
    settings: Settings,
    database: Database,
    *,
    daemon_runs: bool = True,
    only: Collection[int] | None = None,
) -> Outlook:
    """One round: look; write what the look found dead or unsettled; look again when there was anything. Arguments as of `look`."""
    outlook = look(instance, settings, database, daemon_runs=daemon_runs, only=only)
    _forget_deleted(instance, settings, database, busy={int(key) for _, key in outlook.in_flight})
    if not (outlook.dead or outlook.canceled or outlook.ended):
        settle_waits(outlook, database, only=only)
        return outlook
    end_runs(outlook.dead, instance)
    settle_cancellations(outlook.canceled, instance, database)
    for run in outlook.ended:
        settle_failed_run(run, instance, database)
    settled = {run.run_id for run in outlook.ended}
    outlook = look(instance, settings, database, daemon_runs=daemon_runs, only=only, settled=settled)
    settle_waits(outlook, database, only=only)
    return outlook


def settle_waits(outlook: Outlook, database: Database, *, only: Collection[int] | None = None) -> None:
    """Store which stages wait for room, where the words have changed, and forget those that do not wait any more.

    What a run that has not ended has stored stays: it may have found too little room a moment ago. only: the source videos of the look.
    """
    store, waits = RoomWaitStore(database), {(int(run.partition_key), wait.asset): wait for run, wait in outlook.waiting.items()}
    known = outlook.waits_known
    new: dict[int, list[RoomWait]] = {}
    for (source_video_id, asset), wait in waits.items():
        before = known.get((source_video_id, asset))
        if before is None or (before.is_here and before.wait.words != wait.words):
            new.setdefault(source_video_id, []).append(wait)
    store.put(new)
    if outlook.problem is None:
        in_flight = {(int(key), asset) for asset, key in outlook.in_flight}
        looked_at = [key for key in known if only is None or key[0] in only]
        store.forget([key for key in looked_at if key not in waits and key not in in_flight])


@dataclass(slots=True)
class _Seen:
    """until: the deletions up to then have been dealt with by this process; None: it has not looked yet."""

    until: datetime | None = None


@lru_cache(maxsize=8)
def _seen_deletions(settings: Settings) -> _Seen:
    return _Seen()


def _forget_deleted(instance: dg.DagsterInstance, settings: Settings, database: Database, *, busy: Set[int]) -> None:
    """Remove the partitions of source videos that were deleted, wherever that was: the review app cannot reach Dagster.

    busy: those with a run that has not ended; they wait for a later look. A process begins with all deletions there have been, because
    another may have been killed before it came to them; later it reads only the new ones.
    """
    seen = _seen_deletions(settings)
    deleted = deleted_since(database, seen.until)
    if deleted.gone:
        forget_partitions(instance, set(deleted.gone) - busy)
    if not busy & set(deleted.gone):
        seen.until = deleted.seen_until


def forget_partitions(instance: dg.DagsterInstance, source_video_ids: Collection[int]) -> list[int]:
    """Remove the partitions of source videos that are gone, so that Dagster no longer offers them; returns those that were there."""
    name, ids = str(source_video_partitions.name), sorted(source_video_ids)
    if len(ids) > _ASKED_ONE_BY_ONE:
        known = set(instance.get_dynamic_partitions(name))
        there = [one for one in ids if str(one) in known]
    else:
        there = [one for one in ids if instance.has_dynamic_partition(name, str(one))]
    for one in there:
        instance.delete_dynamic_partition(name, str(one))
    return there


def end_runs(dead: Iterable[RunRecord], instance: dg.DagsterInstance) -> list[str]:
    """Mark these runs as canceled and free their pool slots; returns their ids.

    Canceled, not failed: a switched-off machine is not a reason to count a failed try.
    """
    ended = []
    for run in (record.dagster_run for record in dead):
        instance.add_run_tags(run.run_id, {ENDED_TAG: "its process has ended"})
        instance.report_run_canceled(run, "The process that executed this run has ended.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        ended.append(run.run_id)
    return ended


def end_dead_runs(instance: dg.DagsterInstance, settings: Settings, *, is_busy: StageIsBusy) -> list[str]:
    """End all runs whose process is gone; returns their ids."""
    return end_runs(dead_among(unfinished(instance), instance, settings, is_busy), instance)


def cancel_running(instance: dg.DagsterInstance, why: str) -> list[str]:
    """Tell Dagster that the interruption that follows is a cancellation and no failure; returns the ids of the runs."""
    runs = [record.dagster_run for record in instance.get_run_records(dg.RunsFilter(statuses=IN_PROGRESS_RUN_STATUSES))]
    for run in runs:
        if PROCESS_TAG not in run.tags:
            instance.add_run_tags(run.run_id, {ENDED_TAG: why})
            instance.report_run_canceling(run, f"Canceled: {why}. The work starts again if it is still due.")
    return [run.run_id for run in runs]


def settle_failed_run(run: dg.DagsterRun, instance: dg.DagsterInstance, database: Database) -> list[str]:
    """Write to the rows that a run left in a working state why it ended. Returns what was written; nothing when the rows have it already.

    A row stays unchanged while a living process holds the lock of its stage: its work has been resumed.
    """
    cause, key = death(run), partition_of(run)
    if cause is None or key is None:
        return []
    message, transient = cause
    written: list[str] = []
    for asset in assets_of(run):
        with suppress(BusyError), database.stage_lock(asset, int(key)):
            written += _settle_video(asset, int(key), message, transient, database)
            written += _settle_clips(asset, int(key), message, transient, database)
            if asset == "gold_master":
                written += _settle_gold_master(int(key), message, transient, database)
    return written


def settle_cancellations(records: Iterable[RunRecord], instance: dg.DagsterInstance, database: Database) -> list[str]:
    """Write to the rows that a person canceled their run. Returns what was written.

    Also to rows that no step had begun on: otherwise a run that was canceled while it waited in the queue, or for its pool, would be
    requested again at the next look. Rows that have moved on since, for example by `heaters retry`, stay unchanged.
    """
    written: list[str] = []
    for record in records:
        run, key = record.dagster_run, partition_of(record.dagster_run)
        canceled_at = record.update_timestamp.replace(tzinfo=UTC)
        for asset in assets_of(run) if key is not None else ():
            with suppress(BusyError, NotFoundError), database.stage_lock(asset, int(key or 0)):
                written += _settle_video(asset, int(key or 0), CANCELED, False, database, not_begun_before=canceled_at)
                written += _settle_clips(asset, int(key or 0), CANCELED, False, database, not_begun_before=canceled_at)
                if asset == "gold_master":
                    written += _settle_gold_master(int(key or 0), CANCELED, False, database)
        instance.add_run_tags(run.run_id, {SETTLED_TAG: "the rows show that it was canceled"})
    return written


def withdraw_unbegun(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Of a run that failed, withdraw the plans of what it had not begun; a step that fails does so itself, a killed process cannot."""
    storage = instance.event_log_storage
    if run.execution_plan_snapshot_id is None or not isinstance(storage, SqlEventLogStorage):
        return
    events = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_START).records
    begun = {event.event_log_entry.step_key for event in events}
    made_by = {
        output.properties.asset_key: step.key
        for step in instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id).steps
        for output in step.outputs
        if output.properties is not None and output.properties.asset_key is not None
    }
    unbegun = [key for key, step in made_by.items() if step not in begun]
    if withdraw_plans(storage, run.run_id, unbegun, made_by):
        for key in unbegun:  # Dagster may have looked meanwhile, and remembers which assets it has seen failing
            instance.wipe_asset_cached_status([key])


def _settle_video(
    asset: str, source_video_id: int, message: str, transient: bool, database: Database, *, not_begun_before: datetime | None = None
) -> list[str]:
    """not_begun_before: also a row that has waited for the stage since before then."""
    if asset not in _VIDEO_STAGES:
        return []
    states, videos = _VIDEO_STAGES[asset].steps, SourceVideoStore(database)
    video = videos.load(source_video_id)
    waits = not_begun_before is not None and video.state is states.ready and video.state_changed_at < not_begun_before
    if video.state is not states.working and not waits:
        return []
    video = videos.record_failure(source_video_id, states.failed, message, transient=transient)
    return [f"source video {source_video_id}, {video.title}, is {states.failed}, try {video.attempts}: {message}"]


def _settle_clips(
    asset: str, source_video_id: int, message: str, transient: bool, database: Database, *, not_begun_before: datetime | None = None
) -> list[str]:
    if asset not in _CLIP_STAGES:
        return []
    stage, clips, told = _CLIP_STAGES[asset], ClipStore(database), []
    title = SourceVideoStore(database).load(source_video_id).title
    for clip in clips.begun(stage, source_video_id, not_begun_before=not_begun_before):
        if clips.fail(clip.id, stage, message, transient=transient) is not None:
            told.append(f"clip {clip.sequence} of {title}: {stage.words.failed}, try {clips.attempts(clip.id, stage)}: {message}")
    if stage is EXPORTS:
        told += _settle_further_exports(source_video_id, title, message, transient, database, not_begun_before)
    return told


def _settle_further_exports(
    source_video_id: int, title: str, message: str, transient: bool, database: Database, not_begun_before: datetime | None
) -> list[str]:
    exports, told = ExportStore(database), []
    for clip_id, profile in exports.begun(source_video_id, not_begun_before=not_begun_before):
        if exports.fail(clip_id, profile, message, transient=transient):
            told.append(f"clip {ClipStore(database).load(clip_id).sequence} of {title}: export as {profile} failed: {message}")
    return told


def _settle_gold_master(source_video_id: int, message: str, transient: bool, database: Database) -> list[str]:
    videos = SourceVideoStore(database)
    if videos.load(source_video_id).gold_master_filepath is not None:
        return []
    video = videos.record_gold_master_failure(source_video_id, message, transient=transient)
    return [f"gold master of source video {source_video_id}, {video.title}, try {video.gold_master_attempts}: {message}"]
