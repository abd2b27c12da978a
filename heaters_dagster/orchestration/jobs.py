"""What runs together. The jobs over assets are those of `domain/stages.py`; the maintenance jobs are asked for by schedules."""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from heaters_dagster.domain.errors import ModelUnavailableError
from heaters_dagster.domain.run_tags import JOB_TAG, PRIORITY_TAG
from heaters_dagster.domain.stages import ASSETS_OF_JOB, JOBS, Job
from heaters_dagster.domain.words import counted
from heaters_dagster.orchestration.dead_runs import assets_in_flight, unfinished
from resources.models.embedder import open_embedder
from resources.orchestrator.dagster_private import UnresolvedAssetJobDefinition
from resources.orchestrator.dagster_resources import DatabaseResource, MachineResource, ObjectStoreResource
from resources.orchestrator.old_records import keep_tables_tidy, remove_old_records
from resources.orchestrator.retired_partitions import retire_partitions
from resources.postgres.clip_store import ClipStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.sources.subscriptions import Looked, look_at_due
from resources.upkeep.audit import audit
from resources.upkeep.backfill import start_backfill
from resources.upkeep.backup import make_backup
from resources.upkeep.backup_place import BackupPlace
from resources.upkeep.leftovers import sweep_pieces, sweep_uploaded_objects, sweep_uploads, sweep_work
from resources.upkeep.stored_bytes import count_stored

SUBSCRIPTIONS_JOB = "subscribed_lists"


def _asset_job(job: Job) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        name=job.value,
        selection=dg.AssetSelection.assets(*ASSETS_OF_JOB[job]),
        description=JOBS[job].description,
        tags={JOB_TAG: job.value, PRIORITY_TAG: str(JOBS[job].priority)},
        # In one process: the default executor costs six seconds of processor time per step.
        executor_def=dg.in_process_executor,
    )


ASSET_JOBS = {job: _asset_job(job) for job in Job}

evaluate_detector = dg.define_asset_job(
    name="evaluate_detector",
    selection=dg.AssetSelection.assets("detector_evaluation"),
    description="The detector against what reviewers did to its cuts.",
    tags={JOB_TAG: "evaluate_detector"},
    executor_def=dg.in_process_executor,
)


@dg.op(
    description="Remove temporary files and half-written objects of processes that have ended, and uploads that are already in the store; "
    "once a day, add up what lies in the store."
)
def sweep_temporary_files(
    context: dg.OpExecutionContext, database: DatabaseResource, machine: MachineResource, object_store: ObjectStoreResource
) -> None:
    place = machine.get()
    folders = [folder.name for folder in sweep_work(place.work, SourceVideoStore(database.get()))]
    half_written = object_store.get().sweep()
    videos = SourceVideoStore(database.get())
    uploads = [path.name for path in sweep_uploads(place.settings, videos)] + sweep_uploaded_objects(place.settings, videos)
    pieces = sweep_pieces(database.get(), object_store.get())
    kept = place.work.cache.tidy()
    context.log.info(_removed(folders, "folder"))
    context.log.info(_removed(kept, "kept original"))
    context.log.info(_removed(half_written, "half-written object"))
    context.log.info(_removed(uploads, "upload"))
    context.log.info(_removed(pieces, "file of a piece", "files of pieces"))
    if (counted_now := count_stored(database.get(), object_store.get())) is not None:
        context.log.info(f"{counted(counted_now, 'object lies', 'objects lie')} in the store")


@dg.op(description="Check that the clips of every source video cover it exactly once, and that rows and stored files agree.")
def audit_everything(context: dg.OpExecutionContext, database: DatabaseResource, object_store: ObjectStoreResource) -> None:
    findings = audit(database.get(), object_store.get())
    for finding in findings:
        context.log.error(finding)
    if findings:
        raise dg.Failure(description="\n".join(findings), metadata={"findings": len(findings)}, allow_retries=False)
    context.log.info("every source video is covered exactly once; rows and stored files agree")


@dg.op(description="Make clips due that have no vector of the present model, because the model was changed or was not available.")
def find_clips_to_embed(context: dg.OpExecutionContext, database: DatabaseResource, machine: MachineResource) -> None:
    settings = machine.get().settings
    if added := ClipStore(database.get()).enqueue_new_stages():
        context.log.info(
            f"{counted(added, 'clip is', 'clips are')} due for stages that were added to Heaters after these clips were exported"
        )
    try:
        model = open_embedder(settings).model
    except ModelUnavailableError as error:
        context.log.warning(f"no clip was made due: {error}")
        return
    started = start_backfill(database.get(), model=model, strategy=settings.keyframe_strategy)
    context.log.info(
        f"{counted(len(started), 'clip is', 'clips are')} due for {model}; the sensor exported_clips_to_search starts the runs"
    )


@dg.op(description="Check that web sites can be downloaded from: the age of yt-dlp, its solver of challenges, its plug-ins, the sign-ins.")
def look_at_web_sites(context: dg.OpExecutionContext, database: DatabaseResource, machine: MachineResource) -> None:
    from resources.sources.site_checks import web_site_problems

    problems = web_site_problems(database.get(), machine.get().settings)
    for problem in problems:
        context.log.warning(problem)
    if problems:
        raise dg.Failure(description="\n".join(problems), metadata={"findings": len(problems)}, allow_retries=False)
    context.log.info("yt-dlp is new enough and solves challenges; every sign-in holds")


@dg.op(description="Look at the subscribed lists whose time has come, and submit what is new in them.")
def look_at_subscriptions(context: dg.OpExecutionContext, database: DatabaseResource, machine: MachineResource) -> None:
    def tell(looked: Looked) -> None:
        (context.log.warning if looked.subscription.error else context.log.info)(looked.sentence)

    if not look_at_due(machine.get().settings, database.get(), say=tell):
        context.log.info("no subscription is due")


@dg.op(description="Remove the details of old runs and old runs that made nothing, so that Dagster's tables do not grow without end.")
def remove_old_run_records(context: dg.OpExecutionContext, machine: MachineResource) -> None:
    if changed := keep_tables_tidy(context.instance):
        context.log.info(f"Postgres cleans up sooner from now on: {', '.join(changed)}")
    days = machine.settings().keep_run_records_days
    if not days:
        context.log.info("HEATERS_KEEP_RUN_RECORDS_DAYS is 0: nothing is removed")
        return
    without_assets = [job.name for job in MAINTENANCE_JOBS]
    removed = remove_old_records(context.instance, older_than=timedelta(days=days), jobs_without_assets=without_assets)
    context.log.info(
        f"older than {counted(days, 'day')}: {counted(removed.events, 'event')} of runs that stay, {counted(removed.runs, 'run')} that "
        f"made nothing, the output of {counted(removed.outputs, 'run')}"
    )


@dg.op(description="Back up the rows of Heaters and Dagster and the list of objects that they need; delete the backups that are not kept.")
def back_up(
    context: dg.OpExecutionContext, database: DatabaseResource, object_store: ObjectStoreResource, machine: MachineResource
) -> None:
    settings = machine.get().settings
    if settings.backup_to == "none":
        context.log.warning("no backup is made: HEATERS_BACKUP_TO=none")
        return
    place = BackupPlace.of(settings)
    about = make_backup(settings, database.get(), object_store.get(), place, say=context.log.info)
    context.log.info(f"{about.sentence} In {place.name}")
    context.add_output_metadata(
        {
            "backup": about.name,
            "place": place.name,
            "bytes": about.byte_size,
            "rows": sum(part.rows for part in about.parts.values()),
            "objects": about.objects,
            "missing": about.missing,
        }
    )
    if about.missing:
        context.log.warning(f"{counted(about.missing, 'object')} that rows need were not in the store; heaters doctor names them")


@dg.job(
    description="A backup of both databases and the list of objects that they need.",
    executor_def=dg.in_process_executor,
    tags={JOB_TAG: "backup"},
)
def backup() -> None:
    back_up()


@dg.job(
    description="Temporary files and half-written objects of dead processes.",
    executor_def=dg.in_process_executor,
    tags={JOB_TAG: "temp_clean_up"},
)
def temp_clean_up() -> None:
    sweep_temporary_files()


@dg.job(
    description="Look for gaps, overlaps, lost files and files without a row.",
    executor_def=dg.in_process_executor,
    tags={JOB_TAG: "mece_audit"},
)
def mece_audit() -> None:
    audit_everything()


@dg.job(
    description="Make clips searchable by the present model.", executor_def=dg.in_process_executor, tags={JOB_TAG: "embedding_backfill"}
)
def embedding_backfill() -> None:
    find_clips_to_embed()


@dg.job(
    description="Look whether yt-dlp is stale and whether sign-ins end.",
    executor_def=dg.in_process_executor,
    tags={JOB_TAG: "web_sites_check"},
)
def web_sites_check() -> None:
    look_at_web_sites()


@dg.job(
    description="Subscribed lists: what is new in them becomes source videos.",
    executor_def=dg.in_process_executor,
    tags={JOB_TAG: SUBSCRIPTIONS_JOB},
)
def subscribed_lists() -> None:
    look_at_subscriptions()


@dg.op(description="Take partitions on which nothing is to be done out of Dagster when there are too many; sensors bring them back.")
def retire_quiet_partitions(context: dg.OpExecutionContext, database: DatabaseResource, machine: MachineResource) -> None:
    in_flight = {int(key) for _, key in assets_in_flight(unfinished(context.instance))}
    most = machine.settings().most_partitions
    retired = retire_partitions(context.instance, database.get(), most=most, in_flight=in_flight)
    context.log.info(
        f"{counted(len(retired), 'partition')} retired, because Dagster is to have at most {most:,}: they come back when they have work"
    )


@dg.job(
    description="The details of old runs in Dagster's own tables; materializations stay.",
    executor_def=dg.in_process_executor,
    tags={JOB_TAG: "dagster_clean_up"},
)
def dagster_clean_up() -> None:
    remove_old_run_records()
    retire_quiet_partitions()


MAINTENANCE_JOBS = (temp_clean_up, dagster_clean_up, backup, mece_audit, embedding_backfill, web_sites_check, subscribed_lists)


def _removed(names: Sequence[str], what: str, several: str | None = None) -> str:
    return f"{counted(len(names), what, several)} removed: {', '.join(names)}" if names else f"no {what} was left behind"
