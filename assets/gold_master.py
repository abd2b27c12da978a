"""`gold_master`: the lossless archive of an original, made beside the rest and never in the way of review."""

import dagster as dg

from assets.failures import TRANSIENT_RETRIES, stage_failures
from heaters_dagster.domain.errors import PermanentError
from heaters_dagster.domain.keys import gold_master_key
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.partitions import source_video_partitions
from resources.dagster_resources import DatabaseResource, ObjectStoreResource, ProgressResource, WorkspaceResource
from resources.database import Database
from resources.frame_hashes import file_sha256
from resources.gold_masters import write_gold_master
from resources.media_probe import MediaProbe, probe
from resources.object_store.interface import ObjectStore
from resources.source_video_store import SourceVideo, SourceVideoStore
from resources.work_folder import WorkFolder

#: Of its own, so that an archive never takes the place of a proxy that somebody waits for.
GOLD_MASTER_POOL = "gold_master"


def make_gold_master(
    source_video_id: int, *, database: Database, objects: ObjectStore, work: WorkFolder, storage_class: str, report: Report = silent
) -> SourceVideo:
    """Archive the original of a source video as FFV1 in Matroska, proven lossless, and note key and hash on its row.

    Its state is not touched: nothing waits for this. A master that is there whole already stays. storage_class: of the published object.
    Raises BusyError when another process makes it, PermanentError without an original, InvalidMediaError when it would not be lossless,
    FfmpegError, ProcessKilledError, DiskFullError, StoreUnavailableError.
    """
    videos = SourceVideoStore(database)
    with database.stage_lock("gold_master", source_video_id):
        video = videos.load(source_video_id)
        key = gold_master_key(source_video_id)
        stored = objects.info(key)
        if video.gold_master_filepath == key and stored is not None and video.gold_master_bytes in (None, stored.byte_size):
            return video
        if video.original_filepath is None:
            raise PermanentError(f"source video {source_video_id} has no original yet: it is {video.state}; heaters process fetches it")
        with work.attempt(f"gold_master-{source_video_id}") as folder:
            original = objects.local_path(video.original_filepath)
            if original is None:
                original = folder / "original"
                objects.get_file(video.original_filepath, original)
            facts = MediaProbe.from_json(dict(video.probe)) if video.probe else probe(original, name=video.title)
            path = folder / "master.mkv"
            made = write_gold_master(original, facts, path, called=video.title, report=report)
            sha256, byte_size = file_sha256(path), path.stat().st_size
            objects.put_file(key, path, storage_class=storage_class)
        warnings = list(made.warnings)
        if video.frame_count not in (None, made.frame_count):
            warnings.append(f"the gold master has {made.frame_count} frames, the proxy {video.frame_count}: the original is damaged")
        for warning in warnings:
            videos.add_warning(source_video_id, warning)
        done = {"gold_master_filepath": key, "gold_master_sha256": sha256, "gold_master_bytes": byte_size}
        return videos.update(source_video_id, **done, gold_master_error=None, gold_master_attempts=0)


@dg.asset(
    deps=["source_video"],
    partitions_def=source_video_partitions,
    group_name="archive",
    description="Lossless archive of the original: FFV1 in Matroska, every frame and sound compared with the original's, in cold storage.",
    kinds={"ffmpeg"},
    pool=GOLD_MASTER_POOL,
    retry_policy=TRANSIENT_RETRIES,
)
def gold_master(
    context: dg.AssetExecutionContext,
    database: DatabaseResource,
    object_store: ObjectStoreResource,
    workspace: WorkspaceResource,
    progress: ProgressResource,
) -> dg.MaterializeResult[None]:
    source_video_id, store, place = int(context.partition_key), database.get(), workspace.get()

    def record(message: str, transient: bool) -> None:
        SourceVideoStore(store).record_gold_master_failure(source_video_id, message, transient=transient)

    with stage_failures(record, objects=object_store.get):
        video = make_gold_master(
            source_video_id,
            database=store,
            objects=object_store.get(),
            work=place.work,
            storage_class=place.settings.gold_master_storage_class,
            report=progress.report_to(context.log),
        )
    info = object_store.get().info(gold_master_key(source_video_id))
    return dg.MaterializeResult(
        metadata={
            "key": dg.MetadataValue.text(gold_master_key(source_video_id)),
            "SHA-256": dg.MetadataValue.text(video.gold_master_sha256 or ""),
            "bytes": dg.MetadataValue.int(info.byte_size if info else 0),
            "times the original": dg.MetadataValue.float((info.byte_size if info else 0) / max(1, video.original_bytes or 1)),
            "storage class": dg.MetadataValue.text(info.storage_class if info else ""),
        }
    )
