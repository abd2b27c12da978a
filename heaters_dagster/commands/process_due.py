"""The engine of `heaters process`: does all due work in this process, one run after the other.

The runs are real Dagster runs in the persistent instance, so that the UI shows them beside those of the sensors. `domain/due.py` decides
what is due, as everywhere. When this process is killed, the next `heaters process`, or the sensors, continue its work.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from heaters_dagster.commands.interrupts import heeded_interrupts
from heaters_dagster.definitions import heaters_definitions
from heaters_dagster.domain.due import RunWanted, VideoFacts, waiting_to_be_tried
from heaters_dagster.domain.errors import NotFoundError
from heaters_dagster.domain.politeness import HeldOff
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.domain.run_tags import ENDED_TAG, LOST_TAG
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.stages import SOURCE_VIDEO, Job
from heaters_dagster.domain.words import counted
from heaters_dagster.orchestration.dead_runs import PROCESS_TAG, process_tag, run_tags
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.orchestration.janitor import settled_look
from heaters_dagster.orchestration.outlook import Outlook
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.settings import Settings
from resources.files.price_table import restore_terms
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_private import RUN_FAILURE_REASON_TAG, RunFailureReason
from resources.orchestrator.dagster_resources import progress_shown_by, shared_database
from resources.postgres.database import Database
from resources.postgres.room_waits import RoomWaitStore
from resources.postgres.site_turns import waiting_for_sites, waits_of
from resources.postgres.source_video_lists import SourceVideoLists
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.sources.subscriptions import look_at_due
from resources.upkeep.cold_masters import unanswered
from resources.upkeep.leftovers import sweep_leftovers

#: A run that succeeds but changes nothing would be wanted again at once. After this many such runs it counts as failed.
_RUNS_WITHOUT_EFFECT = 3

#: Dagster's own log lines would break the progress bars; the run's page in the UI has them all.
_QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

_TAKEN_AWAY = "this process had stood still for too long, so its run was ended, and the work given to the next"

_WAIT_SECONDS = 1.0
#: For a site that may be asked within this time `heaters process` waits; of a longer pause it says until when.
_LONGEST_WAIT_FOR_A_SITE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class RunDone:
    """One run. error: why it failed, in words for people; None when it succeeded. note: why it made nothing although it succeeded."""

    job: str
    source_video_id: int
    assets: tuple[str, ...]
    seconds: float
    error: str | None
    run_id: str
    note: str | None = None
    title: str = ""

    @property
    def called(self) -> str:
        return f"source video {self.source_video_id}" + (f", {self.title}" if self.title else "")

    @property
    def sentence(self) -> str:
        if self.note is not None:
            return f"{self.called}: {self.note}"
        what = f"{self.called}: {', '.join(self.assets)}"
        return f"{what} done in {self.seconds:.1f} s" if self.error is None else f"{what} failed after {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `process_due` did, in order. later: how many source videos and clips failed for a temporary reason and are tried again later.

    problem: why due work was not begun (nothing can be stored). held_up: how many runs wait because of this.
    for_sites: how many source videos wait because their sites want no requests, and the site that may be asked first, in words.
    waiting: what waits for room on the disk, a sentence for each run. for_a_word: source videos of which files wait until a person agrees
    to get the gold master back from cold storage, a sentence for each. notes: on the source videos that were taken towards review, as
    `heaters status VIDEO` shows them, a sentence each.
    """

    runs: tuple[RunDone, ...]
    later: int = 0
    problem: str | None = None
    held_up: int = 0
    for_sites: tuple[int, str] | None = None
    waiting: tuple[str, ...] = ()
    for_a_word: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def failures(self) -> list[str]:
        """What failed and did not succeed later."""
        last = {(run.job, run.source_video_id): run for run in self.runs}
        return [f"{run.called}, {run.job}: {run.error}" for run in last.values() if run.error not in (None, self.problem)]

    @property
    def sentence(self) -> str:
        done = f"{counted(len(self.runs), 'run')} in {sum(run.seconds for run in self.runs):.1f} s. " if self.runs else ""
        if self.problem is not None:
            waits = counted(self.held_up, "run is due but was not begun", "runs are due but were not begun")
            return f"{done}{waits}, because nothing can be stored: {self.problem}"
        if self.waiting:
            said = f"{done}{counted(len(self.waiting), 'run waits', 'runs wait')} for room on the disk; nothing else is due."
        else:
            said = f"{done}Nothing more is due." if done else "Nothing is due."
        again = f" {self.later} failed a moment ago: run heaters process again in a minute, or type heaters retry." if self.later else ""
        if self.for_sites is not None:
            count, why = self.for_sites
            again += f" {counted(count, 'download')} must wait; the first {why}."
        return said + again


def process_due(
    settings: Settings,
    *,
    only: Collection[int] | None = None,
    report: Report = silent,
    say: Callable[[str], None] = lambda text: None,
    ended: Callable[[RunDone], None] = lambda run: None,
) -> Outcome:
    """Do due work until nothing is due, and wait for the runs of other processes.

    only: just these source videos. report: gets the progress of stages. say: gets sentences about waiting. ended: gets each finished run.
    Raises KeyboardInterrupt when interrupted; the interrupted work is then due again. Raises NotFoundError, DatabaseUnavailableError.
    """
    sweep_leftovers(settings)
    work = WorkFolder.of(settings)
    database = shared_database(settings)
    videos, waits = SourceVideoStore(database), RoomWaitStore(database)
    for source_video_id in only or ():
        videos.load(source_video_id)
    if only is None:
        look_at_due(settings, database, say=lambda looked: say(looked.sentence))
    definitions = heaters_definitions(settings)
    runs: list[RunDone] = []
    without_effect: Counter[tuple[RunWanted, VideoFacts]] = Counter()
    waiting = False
    with heeded_interrupts() as heed, open_instance(settings) as instance, work.attempt("process") as held, progress_shown_by(report):
        engine = _Engine(definitions, instance, {PROCESS_TAG: process_tag(settings.host_name, held.name)})
        while True:
            heed()
            # Read before the look: a site's pause that ends between the two would else be seen by neither, and due work would be left.
            count, site = _waiting_for_sites(database, only)
            outlook = settled_look(instance, settings, database, is_daemon=False, only=only)
            if outlook.problem is not None:
                return Outcome(tuple(runs), problem=outlook.problem, held_up=len(outlook.wanted))
            due = [(run, outlook.situation_of(run)) for run in outlook.wanted]
            wanted = next((one for one in due if without_effect[one] < _RUNS_WITHOUT_EFFECT), None)
            if wanted is not None:
                without_effect[wanted] += 1
                done = engine.execute(wanted[0])
                with suppress(NotFoundError):  # it is deleted: another source video has taken its place
                    video = videos.load(done.source_video_id)
                    note = video.error if video.duplicate_of_id is not None else _put_off(database, video) or waits.found_by(wanted[0])
                    error = done.error and done.error.removeprefix(f"{video.title}: ")  # `called` has it
                    done = replace(done, title=video.title, note=note, error=error)
                # Who helps with pieces may find that others have made them, or that the machine encodes something else.
                stuck = done.error is None and wanted[0].piece is None and without_effect[wanted] == _RUNS_WITHOUT_EFFECT
                runs.append(replace(done, error="it ran but is still due; this is a defect of Heaters") if stuck else done)
                ended(runs[-1])
                waiting = False
            elif outlook.in_flight:
                if not waiting:
                    say("waiting for the runs of other processes")
                waiting = True
                time.sleep(_WAIT_SECONDS)
            else:
                now = datetime.now(UTC)
                if site is None or (site.until - now).total_seconds() > _LONGEST_WAIT_FOR_A_SITE_SECONDS:
                    later = waiting_to_be_tried(outlook.facts.values())
                    for_sites = None if site is None else (count, site.words(now))
                    waiting_for_room, said = _waiting(outlook, videos), _for_a_word(settings, database, videos, only)
                    notes = _notes(database, runs)
                    return Outcome(tuple(runs), later, for_sites=for_sites, waiting=waiting_for_room, for_a_word=said, notes=notes)
                if not waiting and site.reason is not None:
                    say(f"{counted(count, 'download')} must wait; the first {site.words(now)}")
                waiting = True
                time.sleep(min(_WAIT_SECONDS, max(0.05, (site.until - now).total_seconds())))


def _waiting(outlook: Outlook, videos: SourceVideoStore) -> tuple[str, ...]:
    titles = {run.partition_key: videos.load(int(run.partition_key)).title for run in outlook.waiting}
    return tuple(
        f"source video {run.partition_key}, {titles[run.partition_key]}: {run.job} {wait.words}" for run, wait in outlook.waiting.items()
    )


def _for_a_word(settings: Settings, database: Database, videos: SourceVideoStore, only: Collection[int] | None) -> tuple[str, ...]:
    offers = unanswered(database, restore_terms(settings), only)
    return tuple(f"source video {one}, {videos.load(one).title}: {offer.waits}" for one, offer in sorted(offers.items()))


def _notes(database: Database, runs: Iterable[RunDone]) -> tuple[str, ...]:
    lists, told = SourceVideoLists(database), list[str]()
    for source_video_id in sorted({run.source_video_id for run in runs if run.job == Job.INGEST}):
        with suppress(NotFoundError):
            video = lists.overview_of(source_video_id)
            told += [f"source video {video.id}, {without_access(video.title)}: {note}" for note in video.notes]
    return tuple(told)


def _waiting_for_sites(database: Database, only: Collection[int] | None) -> tuple[int, HeldOff | None]:
    with database.read() as connection:
        return waiting_for_sites(connection, only)


def _put_off(database: Database, video: SourceVideo) -> str | None:
    """Why a run fetched nothing although it did not fail: it had to wait for the site."""
    if video.site is None or video.state is not SOURCE_VIDEO.steps.ready:
        return None
    with database.read() as connection:
        return waits_of(connection, [video.id]).get(video.id) or f"waits for its turn to be downloaded from {video.site}"


@dataclass(frozen=True, slots=True)
class _Engine:
    """Executes wanted runs in this process, in the persistent instance. tags: for each of them."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    tags: Mapping[str, str]

    def execute(self, wanted: RunWanted) -> RunDone:
        """Raises KeyboardInterrupt, after the run was marked as canceled."""
        started = time.monotonic()
        self.instance.add_dynamic_partitions(str(source_video_partitions.name), [wanted.partition_key])
        result = self.definitions.resolve_job_def(wanted.job.value).execute_in_process(
            run_config=_QUIET,
            instance=self.instance,
            partition_key=wanted.partition_key,
            asset_selection=[dg.AssetKey(asset) for asset in wanted.assets],
            tags={**run_tags(wanted), **self.tags},
            raise_on_error=False,
        )
        run = self.instance.get_run_by_id(result.run_id)
        taken_away = run is not None and LOST_TAG in run.tags
        if run is not None and run.tags.get(RUN_FAILURE_REASON_TAG) == RunFailureReason.UNEXPECTED_TERMINATION.value:
            self.instance.add_run_tags(run.run_id, {ENDED_TAG: "interrupted"})
            self.instance.report_run_canceled(run, "heaters process was interrupted. The interrupted work is due again.")
            raise KeyboardInterrupt
        return RunDone(
            job=wanted.job.value,
            source_video_id=int(wanted.partition_key),
            assets=wanted.assets,
            seconds=time.monotonic() - started,
            error=_TAKEN_AWAY if taken_away else None if result.success else _why(result),
            run_id=result.run_id,
        )


def _why(result: dg.ExecuteInProcessResult) -> str:
    """The reason of the step that failed first: the message of Heaters' own error if there is one."""
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    for failure in failures:
        if failure.user_failure_data is not None and failure.user_failure_data.description:
            return str(failure.user_failure_data.description)
    for failure in failures:
        if failure.error is not None:
            return str(failure.error.message).strip()
    return f"run {result.run_id} failed before its first step; its page in the Dagster UI says more"
