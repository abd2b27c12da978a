"""Gathers what `domain/due.py` decides on, from the rows, from Dagster's runs and from the locks of living processes.

Looking changes nothing. What a look finds to be ended or settled it says; `janitor.py` does that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from heaters_dagster.domain.disk_room import DividedRoom, RoomWait, divided, still_to_be_promised
from heaters_dagster.domain.due import RunWanted, VideoFacts, wanted_runs
from heaters_dagster.domain.run_queues import helper_runs
from heaters_dagster.domain.stages import ASSETS_OF_JOB, CLIP_STAGES, Job, WorkState, with_states
from heaters_dagster.orchestration.dead_runs import Responsibility, assets_in_flight, canceled_by_people, death, responsibility, unfinished
from heaters_dagster.settings import Settings
from resources.object_store.probe import place_problem
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_private import PARTITION_NAME_TAG, RunRecord
from resources.orchestrator.dagster_storage import assets_of
from resources.postgres.database import Database
from resources.postgres.due_facts import load_video_facts
from resources.postgres.room_waits import KnownWait, RoomWaitStore
from resources.postgres.run_leases import RunLeases
from resources.postgres.store_pauses import StorePauses


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one look found.

    wanted: runs that are due, most urgent first. in_flight: (asset, partition key) of runs queued or running.
    facts: by partition key.
    problem: why none of the wanted runs can begin: nothing can be stored.
    runs: who is responsible for the unfinished runs. The dead among them are in flight until the janitor has ended them.
    canceled: runs that a person canceled, and ended: runs that failed, where a row does not say so yet. What would do their work again is
    not wanted before the row says why they ended.
    waiting: runs that would be due if the disk had room for them, with what they need; they are not among `wanted`.
    waits_known: (source video id, asset) -> the waits that are stored.
    """

    wanted: tuple[RunWanted, ...]
    in_flight: Set[tuple[str, str]]
    facts: Mapping[str, VideoFacts]
    problem: str | None = None
    runs: Responsibility = field(default_factory=Responsibility)
    canceled: tuple[RunRecord, ...] = ()
    ended: tuple[dg.DagsterRun, ...] = ()
    waiting: Mapping[RunWanted, RoomWait] = field(default_factory=dict)
    waits_known: Mapping[tuple[int, str], KnownWait] = field(default_factory=dict)

    def situation_of(self, run: RunWanted) -> VideoFacts:
        """The facts behind a wanted run, without those that change only because time passes."""
        video = self.facts[run.partition_key]
        clips = tuple(replace(group, seconds_since_change=0.0) for group in video.clips)
        work = tuple(replace(group, seconds_since_change=0.0) for group in video.work)
        video = replace(video, seconds_since_change=0.0, seconds_since_gold_master_failure=0.0, site_busy=0, site_held_off=False)
        return replace(video, clips=clips, work=work)

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
    is_daemon: bool = True,
    only: Collection[int] | None = None,
    settled: Set[str] = frozenset(),
) -> Outlook:
    """What is due now, and what the janitor has to do first.

    is_daemon: False for who does not start queued runs: those that no scheduler looks after are then not in flight.
    only: consider these source videos and no others.
    settled: ids of failed runs that the janitor has just dealt with.
    """
    records = unfinished(instance)  # some ten milliseconds each time, whatever there is
    runs = responsibility(records, RunLeases(database, seconds=settings.run_lease_seconds), database.stage_is_busy)
    canceled = tuple(canceled_by_people(instance))
    records = [record for record in records if is_daemon or record.dagster_run.run_id not in runs.unattended]
    in_flight = {(asset, key) for asset, key in assets_in_flight(records) if only is None or int(key) in only}
    looked_at = datetime.now(UTC)
    per_site = settings.downloads_per_site
    facts = {video.partition_key: video for video in load_video_facts(database, only, per_site=per_site)}
    untold = assets_in_flight(canceled)
    wanted, ended = [], []
    helpers = helper_runs(settings.machines, settings.ingest_runs)
    for run in wanted_runs(facts.values(), in_flight, per_site=per_site, helpers=helpers):
        explained = _that_left_off(instance, run, facts[run.partition_key], looked_at) if run.resumes else None
        if explained is not None and explained.run_id not in settled:
            ended.append(explained)
        elif not any((asset, run.partition_key) in untold for asset in run.takes):
            wanted.append(run)
    problem = (place_problem(settings) or StorePauses(database).problem(settings.object_bucket)) if wanted else None
    known = RoomWaitStore(database).load()
    room = DividedRoom(tuple(wanted)) if problem else _with_room(wanted, facts, in_flight, known, settings)
    return Outlook(room.begin, in_flight, facts, problem, runs, canceled, tuple(ended), room.waiting, known)


def _with_room(
    wanted: Sequence[RunWanted],
    facts: Mapping[str, VideoFacts],
    in_flight: Set[tuple[str, str]],
    known: Mapping[tuple[int, str], KnownWait],
    settings: Settings,
) -> DividedRoom:
    """Which of the wanted runs have room on this machine's disk, after those that were asked for and have not begun to use theirs.

    What another machine has found to have no room there is tried again after a while, because this one cannot see its disk. With a broker
    at once: the worker that has no room takes no more runs until it has, so another worker may do it.
    """
    if not wanted:
        return DividedRoom(())
    is_held = settings.broker_url is None
    elsewhere = {key: one.wait for key, one in known.items() if is_held and one.was_just_found_elsewhere}
    held = {run: wait for run in wanted for asset in run.assets if (wait := elsewhere.get((int(run.partition_key), asset))) is not None}
    here = {(str(source_video_id), asset): one.wait.bytes_needed for (source_video_id, asset), one in known.items() if one.is_here}
    media = {key: video.media for key, video in facts.items()}
    promised = sum(still_to_be_promised(facts[key], asset) for asset, key in in_flight if key in facts)
    free = WorkFolder.of(settings).room.free_bytes() - promised
    room = divided([run for run in wanted if run not in held], media, free_bytes=free, known=here)
    return DividedRoom(room.begin, {**room.waiting, **held})


def _that_left_off(instance: dg.DagsterInstance, run: RunWanted, video: VideoFacts, looked_at: datetime) -> dg.DagsterRun | None:
    """The ended run that explains why rows which `run` takes up again are in a working state; None when no failure explains it.

    looked_at: just before the facts were read. Counted from now, a slow look would miss a run that ended soon after it began.
    The sensor `run_failures` may be settling the same run at this moment; the second one finds nothing to do.
    """
    since = looked_at - timedelta(seconds=_seconds_at_work(run, video))
    endings = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    records = instance.get_run_records(
        dg.RunsFilter(statuses=endings, tags={PARTITION_NAME_TAG: run.partition_key}, updated_after=since), limit=10
    )
    newest = next((record.dagster_run for record in records if set(assets_of(record.dagster_run)) & set(run.assets)), None)
    return None if newest is None or death(newest) is None else newest


def _seconds_at_work(run: RunWanted, video: VideoFacts) -> float:
    """For how long the rows that `run` takes up again have been in their working state."""
    working = {stage.steps.working for stage in with_states(CLIP_STAGES) if stage.asset in run.assets}
    at_work = [group.seconds_since_change for group in video.clips if group.state in working]
    at_work += [group.seconds_since_change for group in video.work if group.asset in run.assets and group.state is WorkState.WORKING]
    return max(at_work, default=video.seconds_since_change)
