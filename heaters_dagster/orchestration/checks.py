"""Asset checks: each runs in the run that made the asset, says in words what is wrong, and is quick compared with that run.

The full proofs are part of the stages: a gold master that is not lossless, or an export with wrong frames, is never published. The
checks compare the stored files with these proofs.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.exports import export_problems
from assets.proxy import compare_proxy_with_original, undecodable_index_entries
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.manifest import ExportManifest
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.partitions import source_video_partitions
from resources.media.frame_hashes import file_sha256
from resources.object_store.interface import ObjectStore
from resources.orchestrator.dagster_resources import DatabaseResource, MachineResource, ObjectStoreResource
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.figures import FRESHNESS_SECONDS, approved_without_file
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.alert_conditions import late_words
from resources.upkeep.audit import coverage_problems, newest_exports

#: How many of the exports that its run has made a check reads back; older ones were read when they were new. Each is decoded whole, and
#: newly approved clips wait until the run ends.
_EXPORTS_CHECKED = 3
FRESHNESS_CHECK = "approved_clips_have_files"


def _check(asset: str, description: str) -> Callable[[Callable[..., dg.AssetCheckResult]], dg.AssetChecksDefinition]:
    """An asset check of one partition."""

    def decorate(check: Callable[..., dg.AssetCheckResult]) -> dg.AssetChecksDefinition:
        with warnings.catch_warnings():
            # Without partitions_def a check keeps one result for all partitions; with it Dagster warns in every process that loads it.
            warnings.simplefilter("ignore", category=dg.PreviewWarning)
            return dg.asset_check(asset=asset, description=description, partitions_def=source_video_partitions)(check)

    return decorate


def named(context: dg.AssetCheckExecutionContext, database: DatabaseResource) -> dict[str, str]:
    """The title of the source video, as the first line of a result's metadata."""
    try:
        return {"source video": without_access(SourceVideoStore(database.get()).load(int(context.partition_key)).title)}
    except HeatersError:
        return {"source video": context.partition_key}


def judged(problems: Callable[[], Sequence[str]], metadata: Mapping[str, Any] | None = None) -> dg.AssetCheckResult:
    """Passed when there is no problem. When the check cannot be made for a reason that Heaters knows, that is a problem, too."""
    try:
        found = list(problems())
    except HeatersError as error:
        found = [f"could not be checked: {error}"]
    return dg.AssetCheckResult(passed=not found, description="\n".join(found) or None, metadata=dict(metadata or {}))


@_check("proxy", "The proxy shows all frames of the original, at the original's times.")
def same_frames_at_the_same_times(
    context: dg.AssetCheckExecutionContext, database: DatabaseResource, object_store: ObjectStoreResource, machine: MachineResource
) -> dg.AssetCheckResult:
    place = machine.get()

    def problems() -> list[str]:
        compared = compare_proxy_with_original(
            int(context.partition_key),
            videos=SourceVideoStore(database.get()),
            objects=object_store.get(),
            work=place.work,
            originals=place.originals(object_store.get()),
        )
        return [] if compared.same else [str(compared)]

    return judged(problems, named(context, database))


@_check("keyframe_offsets", "Each frame can be decoded alone from its bytes in the frame index.")
def entries_decode_alone(
    context: dg.AssetCheckExecutionContext, database: DatabaseResource, object_store: ObjectStoreResource
) -> dg.AssetCheckResult:
    def problems() -> list[str]:
        return list(undecodable_index_entries(int(context.partition_key), objects=object_store.get())[1].values())

    return judged(problems, named(context, database))


@_check("gold_master", "The stored gold master is the file whose frames and sounds were found equal to the original's.")
def master_equals_original(
    context: dg.AssetCheckExecutionContext, database: DatabaseResource, object_store: ObjectStoreResource
) -> dg.AssetCheckResult:
    def problems() -> list[str]:
        return gold_master_problems(int(context.partition_key), database=database.get(), objects=object_store.get())

    return judged(problems, named(context, database))


@_check("virtual_clips", "The clips cover the source video exactly once: no gap, no overlap, from frame 0 to the last.")
def clips_are_mece(context: dg.AssetCheckExecutionContext, database: DatabaseResource) -> dg.AssetCheckResult:
    store, source_video_id = database.get(), int(context.partition_key)
    counts = ClipStore(store).counts_by_state(source_video_id).get(source_video_id, {})
    return judged(lambda: coverage_problems(store, source_video_id), {**named(context, database), "clips": sum(counts.values())})


@_check(
    "exports",
    f"Files contain the proxy's frames, as their manifests say. Checked are up to {_EXPORTS_CHECKED} files of this run, else the "
    "newest ones.",
)
def files_equal_the_proxy(
    context: dg.AssetCheckExecutionContext, database: DatabaseResource, object_store: ObjectStoreResource, machine: MachineResource
) -> dg.AssetCheckResult:
    record = context.instance.get_run_record_by_id(context.run.run_id)
    since = record.start_time if record is not None and record.start_time is not None else time.time()
    newest = newest_exports(database.get(), int(context.partition_key), most=_EXPORTS_CHECKED)
    fresh = [artifact for artifact in newest if artifact.updated_at >= datetime.fromtimestamp(since, UTC)]
    manifests = [ExportManifest.from_json(artifact.manifest) for artifact in fresh or newest[:1]]
    return judged(
        lambda: [
            problem for manifest in manifests for problem in export_problems(manifest, objects=object_store.get(), work=machine.get().work)
        ],
        {**named(context, database), "files": len(manifests)},
    )


@dg.asset_check(
    asset="work_waiting", name=FRESHNESS_CHECK, description="No clip that was approved more than five minutes ago is without its file."
)
def approved_clips_have_files(database: DatabaseResource) -> dg.AssetCheckResult:
    return freshness(database.get())


def freshness(database: Database) -> dg.AssetCheckResult:
    """Of all source videos at once. Clips that a fault of their own holds up are not counted: a failed export, a missing gold master."""
    with database.read() as connection:
        count, oldest = approved_without_file(connection, longer_than_seconds=FRESHNESS_SECONDS)
    words = late_words(count, oldest) if count else None
    return dg.AssetCheckResult(passed=not count, description=words, metadata={"clips without a file": count})


def gold_master_problems(source_video_id: int, *, database: Database, objects: ObjectStore) -> list[str]:
    """How the stored gold master differs from the one that was proven. In a remote store, or in cold storage, only its size is compared."""
    video = SourceVideoStore(database).load(source_video_id)
    stored = None if video.gold_master_filepath is None else objects.info(video.gold_master_filepath)
    if video.gold_master_filepath is None or stored is None:
        return [f"source video {source_video_id} has no gold master in the store"]
    path = objects.local_path(stored.key)
    if path is not None and file_sha256(path) != video.gold_master_sha256:
        return [f"{stored.key} is not the file that was proven lossless: its SHA-256 differs"]
    if video.gold_master_bytes not in (None, stored.byte_size):
        return [f"{stored.key} is not the file that was proven lossless: it has {stored.byte_size} bytes, not {video.gold_master_bytes}"]
    return []


CHECKS = (
    same_frames_at_the_same_times,
    entries_decode_alone,
    master_equals_original,
    clips_are_mece,
    files_equal_the_proxy,
    approved_clips_have_files,
)
