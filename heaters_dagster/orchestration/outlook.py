"""Gathers what `domain/due.py` decides on, from the rows, from Dagster's runs and from the locks of living processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.failures import CANCELED
from heaters_dagster.domain.due import RunWanted, VideoFacts, wanted_runs
from heaters_dagster.domain.errors import BusyError, NotFoundError
from heaters_dagster.domain.stages import ASSETS_OF_JOB, CLIP_STAGES, VIDEO_STAGES, Job, WorkState, with_states
from heaters_dagster.orchestration.dead_runs import (
    SETTLED_TAG,
    assets_in_flight,
    canceled_by_people,
    death,
    end_dead_runs,
    partition_of,
    unfinished,
)
from heaters_dagster.settings import Settings
from resources.object_store.probe import place_problem
from resources.orchestrator.dagster_private import PARTITION_NAME_TAG
from resources.orchestrator.dagster_storage import assets_of
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.due_facts import load_video_facts
from resources.postgres.source_video_store import SourceVideoStore

_VIDEO_STAGES = {stage.asset: stage for stage in with_states(VIDEO_STAGES)}
_CLIP_STAGES = {stage.asset: stage for stage in CLIP_STAGES}


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one look found.

    wanted: runs that are due, most urgent first. in_flight: (asset, partition key) of runs queued or running.
    facts: by partition key.
    problem: why none of the wanted runs can begin: nothing can be stored.
    """

    wanted: tuple[RunWanted, ...]
    in_flight: Set[tuple[str, str]]
    facts: Mapping[str, VideoFacts]
    problem: str | None = None

    def situation_of(self, run: RunWanted) -> VideoFacts:
        """The facts behind a wanted run, without those that change only because time passes."""
        video = self.facts[run.partition_key]
        clips = tuple(replace(group, seconds_since_change=0.0) for group in video.clips)
        work = tuple(replace(group, seconds_since_change=0.0) for group in video.work)
        return replace(video, seconds_since_change=0.0, seconds_since_gold_master_failure=0.0, clips=clips, work=work)

    def in_flight_of(self, job: Job) -> int:
        """How many runs of the job are queued or running."""
        return len({key for asset, key in self.in_flight if asset in ASSETS_OF_JOB[job]})


class SharedLook:
    """One look for all sensors of a round: they ask at nearly the same moment, and each look costs the same whatever it is for.

    A sensor gets a look that another one made only when it is fresh, when it has not had it before, and when it asked for nothing the
    last time: runs that it asked for may not be there yet, and would be wanted twice.
    """

    FRESH_SECONDS = 1.5

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outlook: Outlook | None = None
        self._looked_at = 0.0
        self._had_it: set[Job] = set()
        self._asked_nothing: set[Job] = set()

    def for_job(self, job: Job, anew: Callable[[], Outlook]) -> Outlook:
        """anew: makes a look. What the sensor of `job` asks for because of it is told by `asked`."""
        with self._lock:
            fresh = time.monotonic() - self._looked_at < self.FRESH_SECONDS
            if self._outlook is None or not fresh or job in self._had_it or job not in self._asked_nothing:
                self._outlook, self._had_it = None, set()
                looked_at = time.monotonic()
                self._outlook, self._looked_at = anew(), looked_at
            self._had_it.add(job)
            self._asked_nothing.discard(job)
            return self._outlook

    def asked(self, job: Job, runs: int) -> None:
        """How many runs the sensor of `job` asks for now."""
        with self._lock:
            if not runs:
                self._asked_nothing.add(job)


def look(
    instance: dg.DagsterInstance,
    settings: Settings,
    database: Database,
    *,
    daemon_runs: bool = True,
    only: Collection[int] | None = None,
) -> Outlook:
    """What is due now. Runs whose process is gone are ended first; rows they left in a working state get the reason.

    daemon_runs: False when no daemon starts queued runs: queued runs are then not in flight.
    only: consider these source videos and no others.
    """
    records = unfinished(instance)  # some ten milliseconds each time, whatever there is
    if end_dead_runs(instance, settings, is_busy=database.stage_is_busy, records=records):
        records = unfinished(instance)
    settle_cancellations(instance, database)
    records = [record for record in records if daemon_runs or record.dagster_run.status is not dg.DagsterRunStatus.QUEUED]
    in_flight = {(asset, key) for asset, key in assets_in_flight(records) if only is None or int(key) in only}
    looked_at = datetime.now(UTC)
    facts = _facts(database, only)
    wanted = wanted_runs(facts.values(), in_flight)
    told = [_told(instance, run, database, facts[run.partition_key], looked_at) for run in wanted if run.resumes]
    if any(told):
        facts = _facts(database, only)
        wanted = wanted_runs(facts.values(), in_flight)
    return Outlook(tuple(wanted), in_flight, facts, place_problem(settings) if wanted else None)


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


def settle_cancellations(instance: dg.DagsterInstance, database: Database) -> list[str]:
    """Write to the rows that a person canceled their run. Returns what was written.

    Also to rows that no step had begun on: otherwise a run that was canceled while it waited in the queue, or for its pool, would be
    requested again at the next look. Rows that have moved on since, for example by `heaters retry`, stay unchanged.
    """
    written: list[str] = []
    for record in canceled_by_people(instance):
        run, key = record.dagster_run, partition_of(record.dagster_run)
        canceled_at = record.update_timestamp.replace(tzinfo=UTC)
        for asset in assets_of(run) if key is not None else ():
            with suppress(BusyError, NotFoundError), database.stage_lock(asset, int(key or 0)):
                written += _settle_video(asset, int(key or 0), CANCELED, False, database, not_begun_before=canceled_at)
                written += _settle_clips(asset, int(key or 0), CANCELED, False, database, not_begun_before=canceled_at)
                if asset == "gold_master":
                    written += _settle_gold_master(int(key or 0), CANCELED, False, database)
        instance.add_run_tags(run.run_id, {SETTLED_TAG: "the rows say that it was canceled"})
    return written


def _facts(database: Database, only: Collection[int] | None) -> dict[str, VideoFacts]:
    return {video.partition_key: video for video in load_video_facts(database, only)}


def _told(instance: dg.DagsterInstance, run: RunWanted, database: Database, video: VideoFacts, looked_at: datetime) -> bool:
    """Write to a row in a working state how the run that left it there ended; False when no ended run explains the state.

    looked_at: just before the facts were read. Counted from now, a slow look would miss a run that ended soon after it began.
    The sensor `run_failures` may be doing the same at this moment; the second one finds nothing to do.
    """
    since = looked_at - timedelta(seconds=_seconds_at_work(run, video))
    endings = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    ended = instance.get_run_records(
        dg.RunsFilter(statuses=endings, tags={PARTITION_NAME_TAG: run.partition_key}, updated_after=since), limit=10
    )
    newest = next((record.dagster_run for record in ended if set(assets_of(record.dagster_run)) & set(run.assets)), None)
    if newest is None or death(newest) is None:
        return False
    settle_failed_run(newest, instance, database)
    return True


def _seconds_at_work(run: RunWanted, video: VideoFacts) -> float:
    """For how long the rows that `run` takes up again have been in their working state."""
    working = {stage.steps.working for stage in with_states(CLIP_STAGES) if stage.asset in run.assets}
    at_work = [group.seconds_since_change for group in video.clips if group.state in working]
    at_work += [group.seconds_since_change for group in video.work if group.asset in run.assets and group.state is WorkState.WORKING]
    return max(at_work, default=video.seconds_since_change)


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
    return told


def _settle_gold_master(source_video_id: int, message: str, transient: bool, database: Database) -> list[str]:
    videos = SourceVideoStore(database)
    if videos.load(source_video_id).gold_master_filepath is not None:
        return []
    video = videos.record_gold_master_failure(source_video_id, message, transient=transient)
    return [f"gold master of source video {source_video_id}, {video.title}, try {video.gold_master_attempts}: {message}"]
