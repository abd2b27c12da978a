"""`archived_clips`: the files of clips that were archived, or cut again after their export, are deleted; the rows stay as tombstones."""

from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg

from assets import pictures
from assets.failures import TRANSIENT_RETRIES
from assets.stage_run import StageRun
from heaters_dagster.domain.states import ClipState
from heaters_dagster.partitions import source_video_partitions
from resources.orchestrator.dagster_resources import DatabaseResource, ObjectStoreResource
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.upkeep.replacement import finish_replacement
from resources.upkeep.source_video_removal import finish_deletion, is_deleted


@dataclass(frozen=True, slots=True)
class CleanUp:
    """What one clean-up did. deleted: object keys. kept_rows: archived clips of the source video, which stay for the audit trail."""

    deleted: tuple[str, ...]
    kept_rows: int


def clean_up_archived_clips(source_video_id: int, *, database: Database, delete: Callable[[str], object]) -> CleanUp:
    """Delete every file of a source video's clips that nobody needs, by `delete(key)`.

    Safe at any moment and any number of times: a file goes only under the lock of its clip, and only when its row is obsolete.
    Raises StoreUnavailableError; what was not deleted then is deleted next time.
    """
    clips = ClipStore(database)
    with database.stage_lock("archived_clips", source_video_id):
        affected = dict.fromkeys(artifact.clip_id for artifact in clips.obsolete_artifacts(source_video_id))
        deleted = [key for clip_id in affected for key in clips.clean_up(clip_id, delete)]
        archived = clips.counts_by_state(source_video_id).get(source_video_id, {}).get(ClipState.REVIEW_ARCHIVED, 0)
    return CleanUp(tuple(deleted), archived)


@dg.asset(
    deps=["virtual_clips"],
    partitions_def=source_video_partitions,
    group_name="archive",
    description="Files of archived clips are gone; their rows stay, so that the audit trail stays complete.",
    kinds={"postgres"},
    retry_policy=TRANSIENT_RETRIES,
)
def archived_clips(
    context: dg.AssetExecutionContext, database: DatabaseResource, object_store: ObjectStoreResource
) -> dg.MaterializeResult[None]:
    stage = StageRun(context, database, object_store)
    with stage.failures():
        store, objects = database.get(), object_store.get()
        done = clean_up_archived_clips(stage.source_video_id, database=store, delete=objects.delete)
        if is_deleted(stage.source_video_id, database=store):  # by somebody who was cut off before all objects were gone
            with store.stage_lock("archived_clips", stage.source_video_id):
                left = finish_deletion(stage.source_video_id, database=store, objects=objects)
            done = CleanUp((*done.deleted, *left), done.kept_rows)
        if finish_replacement(stage.source_video_id, database=store, objects=objects):
            stage.log.info("it is replaced by another source video")
    return stage.made(
        {
            "deleted files": dg.MetadataValue.int(len(done.deleted)),
            "archived clips": dg.MetadataValue.int(done.kept_rows),
            "keys": dg.MetadataValue.md(pictures.bullets((f"`{key}`" for key in done.deleted), otherwise="no file was deleted")),
        }
    )
