"""Sensors: at every look they ask `domain/due.py` what is due by the state of the rows, never by a cursor, and request those runs.

(A cursor on the identity column can skip a row that commits late, and an asset sensor sees only the last of several materializations.)
"""

import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial

import dagster as dg

from assets.work_waiting import backlog_metadata
from heaters_dagster.domain.due import RunWanted
from heaters_dagster.domain.failing_starts import FailingStarts
from heaters_dagster.domain.stages import JOBS, Job
from heaters_dagster.domain.words import counted
from heaters_dagster.orchestration.checks import FRESHNESS_CHECK, freshness
from heaters_dagster.orchestration.dead_runs import run_tags, unfinished
from heaters_dagster.orchestration.failing_starts import failing_starts
from heaters_dagster.orchestration.janitor import settle_failed_run, settled_look, withdraw_unbegun
from heaters_dagster.orchestration.jobs import ASSET_JOBS, SUBSCRIPTIONS_JOB, subscribed_lists
from heaters_dagster.orchestration.outlook import Outlook, SharedLook
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.settings import Settings
from resources.orchestrator.dagster_resources import DatabaseResource, MachineResource
from resources.postgres.backlog import load_backlog
from resources.postgres.database import Database
from resources.postgres.site_turns import waiting_for_sites
from resources.postgres.subscription_store import SubscriptionStore
from resources.sources.look_beside import LookBeside
from resources.sources.watched_places import Watcher
from resources.upkeep.alerts import look_and_tell

# Dagster warns of a parameter of its own that no sensor here is given, in the terminal of heaters up.
warnings.filterwarnings("ignore", category=dg.BetaWarning, module=r"dagster\..*")

#: Runs of one job that may be queued or running. The rest is asked for as these end: ten thousand submitted videos must not become
#: ten thousand queued runs.
MAX_IN_FLIGHT = 50

#: Runs that one tick asks for. Dagster makes them within the 60 seconds that it gives a tick, and with fifty it came near that.
MAX_IN_TICK = 10

#: The daemon decides: Dagster's own looks every five seconds, that of `heaters up` more seldom while nothing happens, and when nudged.
#: (Dagster takes 0 for 30.)
_INTERVAL_SECONDS = 1

#: So long a tick waits for files that are sent.
_PATIENCE_SECONDS = 2.0


def _sensor(job: Job) -> dg.SensorDefinition:
    plan = JOBS[job]

    @dg.sensor(
        name=plan.sensor,
        description=plan.watches,
        job=ASSET_JOBS[job],
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sensor(
        context: dg.SensorEvaluationContext, database: DatabaseResource, machine: MachineResource
    ) -> dg.SensorResult | dg.SkipReason:
        settings = machine.settings()
        shared = _shared_look(settings)
        outlook = shared.for_job(job, lambda: settled_look(context.instance, settings, database.get()))
        waits = _for_sites(database.get()) if job is Job.INGEST else None
        is_due = any(run.job is job for run in outlook.wanted)
        failing = failing_starts(context.instance, job) if is_due else None
        answer = tick(outlook, job, has_partition=partial(_has_partition, context), nothing=waits or plan.idle, failing=failing)
        shared.asked(job, len(answer.run_requests or ()) if isinstance(answer, dg.SensorResult) else 0)
        return answer

    return sensor


@lru_cache(maxsize=8)
def _shared_look(settings: Settings) -> SharedLook:
    return SharedLook()


@lru_cache(maxsize=1)
def _look_beside() -> LookBeside:
    return LookBeside()


def _for_sites(database: Database) -> str | None:
    """How many downloads wait because their sites are left alone, and why; None when none does, or only for the pause between two."""
    with database.read() as connection:
        count, site = waiting_for_sites(connection)
    if site is None or site.reason is None:
        return None
    return f"{counted(count, 'download')} must wait; the first {site.words(datetime.now(UTC))}"


def _has_partition(context: dg.SensorEvaluationContext, key: str) -> bool:
    return context.instance.has_dynamic_partition(str(source_video_partitions.name), key)


def tick(
    outlook: Outlook, job: Job, *, has_partition: Callable[[str], bool], nothing: str, failing: FailingStarts | None = None
) -> dg.SensorResult | dg.SkipReason:
    """What one look at `job` leads to: its runs and the partitions that they need, or the reason in words why there are none.

    failing: the job's runs fail before they begin, so one at a time is tried.
    """
    due = [run for run in outlook.wanted if run.job is job]
    waits = [(run, wait) for run, wait in outlook.waiting.items() if run.job is job]
    if due and outlook.problem:
        return dg.SkipReason(f"{counted(len(due), 'run is', 'runs are')} due, but nothing can be stored: {outlook.problem}")
    room = MAX_IN_FLIGHT - outlook.in_flight_of(job)
    if not due and waits:
        run, wait = waits[0]
        return dg.SkipReason(f"{counted(len(waits), 'run waits', 'runs wait')} for room; source video {run.partition_key} {wait.words}")
    if not due:
        return dg.SkipReason(f"{nothing}; queued or running: {outlook.in_flight_of(job)}" if outlook.in_flight_of(job) else nothing)
    if room <= 0:
        return dg.SkipReason(
            f"{counted(len(due), 'run is', 'runs are')} due; {outlook.in_flight_of(job)} are queued or running, and more are started "
            "when those are done"
        )
    if failing is not None and (failing.seconds > 0 or outlook.in_flight_of(job)):
        return dg.SkipReason(f"{counted(len(due), 'run is', 'runs are')} due, but {failing.words}")
    now = due[:1] if failing is not None else due[: min(room, MAX_IN_TICK)]
    new_keys = sorted({key for key in (run.partition_key for run in now) if not has_partition(key)}, key=int)
    return dg.SensorResult(
        run_requests=[_request(run) for run in now],
        dynamic_partitions_requests=[source_video_partitions.build_add_request(new_keys)] if new_keys else [],
    )


def _request(run: RunWanted) -> dg.RunRequest:
    """No run key: whether the run was requested before does not matter, only whether it is due."""
    return dg.RunRequest(
        job_name=run.job.value,
        partition_key=run.partition_key,
        tags=run_tags(run),
        asset_selection=[dg.AssetKey(asset) for asset in run.assets],
    )


@dg.run_failure_sensor(
    description="Runs that ended without a message (killed, out of memory): write the reason to the row, where people look for it.",
    minimum_interval_seconds=_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def run_failures(context: dg.RunFailureSensorContext, database: DatabaseResource) -> dg.SkipReason:
    withdraw_unbegun(context.instance, context.dagster_run)
    settled = settle_failed_run(context.dagster_run, context.instance, database.get())
    return dg.SkipReason("; ".join(settled) or "the row already has the reason")


@dg.sensor(
    name="what_waits",
    description="Every minute, when figures have changed: report what waits and what failed, with age and titles -> work_waiting.",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def what_waits(context: dg.SensorEvaluationContext, database: DatabaseResource) -> dg.SensorResult | dg.SkipReason:
    groups = load_backlog(database.get())
    figures = " ".join(f"{group.what}/{group.words}={group.count}" for group in groups) or "nothing"
    if figures == context.cursor:
        return dg.SkipReason("nothing has changed since the last report")
    return dg.SensorResult(asset_events=[dg.AssetObservation(asset_key="work_waiting", metadata=backlog_metadata(groups))], cursor=figures)


@dg.sensor(
    name="due_subscriptions",
    description="Subscribed lists whose time has come -> subscribed_lists.",
    job=subscribed_lists,
    minimum_interval_seconds=_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def due_subscriptions(context: dg.SensorEvaluationContext, database: DatabaseResource) -> dg.RunRequest | dg.SkipReason:
    """Reading a list may take minutes, so a run does it. When two runs look, a lock gives each subscription to one of them."""
    due = SubscriptionStore(database.get()).due()
    if not due:
        return dg.SkipReason("no subscription is due")
    if any(record.dagster_run.job_name == SUBSCRIPTIONS_JOB for record in unfinished(context.instance)):
        return dg.SkipReason(f"{counted(len(due), 'subscription is', 'subscriptions are')} due, and a run looks at them")
    return dg.RunRequest()


@dg.sensor(
    name="watched_places",
    description="Folders and prefixes of HEATERS_WATCH: files that have arrived whole -> new source videos.",
    minimum_interval_seconds=_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def watched_places(
    context: dg.SensorEvaluationContext, database: DatabaseResource, machine: MachineResource
) -> dg.SensorResult | dg.SkipReason:
    settings = machine.settings()
    if not settings.watch:
        return dg.SkipReason("no place is watched: HEATERS_WATCH is not set")
    watcher = Watcher(settings, database.get())
    looks = _look_beside().look(watcher.look, patience_seconds=_PATIENCE_SECONDS) if watcher.sends_files else watcher.look()
    if looks is None:
        return dg.SkipReason("files of watched folders are being sent to the bucket")
    new_keys = [str(one) for look in looks for one in look.taken if not _has_partition(context, str(one))]
    if not new_keys:
        return dg.SkipReason("; ".join(look.sentence for look in looks) or "looked a moment ago")
    return dg.SensorResult(dynamic_partitions_requests=[source_video_partitions.build_add_request(new_keys)])


@dg.sensor(
    name="alerts",
    description="Every minute: what is wrong -> a message when it begins and when it is over; and the check approved_clips_have_files.",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def alerts(context: dg.SensorEvaluationContext, database: DatabaseResource, machine: MachineResource) -> dg.SensorResult:
    told = look_and_tell(machine.settings(), database.get())
    for channel, error in told.troubles:
        context.log.warning(f"alerts by {channel} could not be sent and are tried again: {error}")
    check = freshness(database.get())
    result = "passed" if check.passed else str(check.description)
    if result == context.cursor:
        return dg.SensorResult(skip_reason=told.sentence, cursor=result)
    evaluation = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey("work_waiting"),
        check_name=FRESHNESS_CHECK,
        passed=check.passed,
        description=check.description,
        metadata=dict(check.metadata or {}),
    )
    return dg.SensorResult(skip_reason=told.sentence, asset_events=[evaluation], cursor=result)


SENSORS = (what_waits, alerts, due_subscriptions, watched_places, *(_sensor(job) for job in Job), run_failures)
