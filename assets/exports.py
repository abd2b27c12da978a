"""`exports`: one MP4 per approved clip, made as soon as it is approved and proven frame by frame before it is published."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from math import fsum

import dagster as dg

from assets import readable
from assets.failures import TRANSIENT_RETRIES, is_transient, reason
from assets.stage import Stage
from heaters_dagster.domain.keys import final_clip_key, proxy_key
from heaters_dagster.domain.manifest import ExportManifest
from heaters_dagster.domain.progress import Progress, Report, silent
from heaters_dagster.domain.states import ClipState
from heaters_dagster.partitions import source_video_partitions
from resources.clip_store import ClipStore
from resources.clip_writer import ClipWriter
from resources.dagster_resources import DatabaseResource, ObjectStoreResource, ProgressResource, WorkspaceResource
from resources.database import Database
from resources.frame_hashes import file_sha256, frame_hash
from resources.frame_index_reader import FrameIndexes
from resources.frame_reader import FrameReader
from resources.object_store.interface import ObjectStore
from resources.object_store.probe import raise_fault_of_the_place
from resources.proxy_bytes import open_proxy
from resources.source_video_store import SourceVideoStore
from resources.work_folder import WorkFolder
from resources.written_clip import read_back

#: Exports that encode take turns, one at a time on a machine; exports by stream copy cost almost nothing and never wait.
ENCODED_EXPORT = "encoded export"

_SHOWN_FILES = 50


@dataclass(frozen=True, slots=True)
class ExportRun:
    """What one run did. exported: in the order of publication. failed: clip id -> reason. changed: clips a reviewer changed meanwhile.

    retryable: something failed, and every failure is temporary: trying again may work.
    """

    exported: tuple[ExportManifest, ...] = ()
    failed: Mapping[int, str] = field(default_factory=dict)
    changed: tuple[int, ...] = ()
    retryable: bool = False


def export_clip(
    clip_id: int, *, clips: ClipStore, writer: ClipWriter, objects: ObjectStore, work: WorkFolder, report: Report = silent
) -> ExportManifest | None:
    """Export one clip that is approved, or was left `exporting` by a process that died: claim, write, prove, publish, finish.

    Hold `Database.stage_lock("exports", source_video_id)`. None when the clip is not due, or when a reviewer changed it meanwhile:
    the file made from its old state is then deleted, and its new state says what follows.
    Raises what `ClipWriter.write` and the object store raise; the clip is then still `exporting`.
    """
    clip = clips.load(clip_id)
    key = final_clip_key(clip.source_video_id, clip.sequence)
    claimed = clips.claim_export(clip_id, key)
    if claimed is None:
        return None
    with work.attempt(f"export-{clip_id}") as folder:
        path, manifest = writer.write(claimed, key=key, folder=folder, report=report)
        objects.put_file(key, path)
    if not clips.finish_export(clip_id, claimed.cut_point_version, key, manifest.byte_size, manifest.to_json()):
        clips.clean_up(clip_id, objects.delete)
        return None
    return manifest


def export_due(
    source_video_id: int,
    *,
    database: Database,
    objects: ObjectStore,
    work: WorkFolder,
    report: Report = silent,
    clock: Callable[[], float] = time.monotonic,
) -> ExportRun:
    """Export every clip of a source video that is due, and those approved while it works, until none is left.

    One clip's failure is written to its row and does not stop the others. Raises BusyError when another process exports this video.
    """
    clips, started = ClipStore(database), clock()
    exported: list[ExportManifest] = []
    failed: dict[int, str] = {}
    changed: list[int] = []
    retryable: list[bool] = []
    tried: set[tuple[int, int]] = set()
    turn_to_encode = partial(database.turn_on_this_machine, ENCODED_EXPORT)
    with database.stage_lock("exports", source_video_id), ExitStack() as opened:
        writer: ClipWriter | None = None
        while batch := [clip for clip in clips.due_for_export(source_video_id) if (clip.id, clip.cut_point_version) not in tried]:
            total = len(tried) + len(batch)
            for clip in batch:
                tried.add((clip.id, clip.cut_point_version))
                try:
                    if writer is None:
                        video = SourceVideoStore(database).load(source_video_id)
                        writer = ClipWriter(video, objects=objects, indexes=FrameIndexes(objects), turn_to_encode=turn_to_encode)
                        opened.enter_context(writer)
                    manifest = export_clip(clip.id, clips=clips, writer=writer, objects=objects, work=work, report=report)
                    (exported.append(manifest) if manifest else changed.append(clip.id))
                except Exception as error:  # a defect that shows on one clip must not stop the others
                    raise_fault_of_the_place(error, objects)
                    version = clip.cut_point_version
                    clips.fail(clip.id, ClipState.EXPORT_FAILED, reason(error), transient=is_transient(error), expected_version=version)
                    failed[clip.id] = reason(error)
                    retryable.append(is_transient(error))
                report(Progress("exports", len(tried), total, "clips", clock() - started))
    return ExportRun(tuple(exported), failed, tuple(changed), bool(retryable) and all(retryable))


def export_problems(manifest: ExportManifest, *, objects: ObjectStore, work: WorkFolder) -> list[str]:
    """How a published export differs from its manifest and from the proxy, one sentence each; empty when it does not.

    Reads the whole file and two frames of the proxy. Different pictures in a file that was encoded again are no problem.
    """
    with work.attempt(f"check-{manifest.clip_id}") as folder:
        path = objects.local_path(manifest.key)
        if path is None:
            path = folder / "clip.mp4"
            objects.get_file(manifest.key, path)
        written, byte_size, sha256 = read_back(path), path.stat().st_size, file_sha256(path)
    index = FrameIndexes(objects).slice(manifest.source_video_id, manifest.start_frame, manifest.end_frame)
    with FrameReader(open_proxy(objects, proxy_key(manifest.source_video_id)), index) as reader:
        first, last = (frame_hash(reader.frame(number)) for number in (manifest.start_frame, manifest.end_frame - 1))
    found = replace(
        manifest,
        frame_count=written.frame_count,
        first_frame_hash=written.first_frame_hash,
        last_frame_hash=written.last_frame_hash,
        proxy_first_frame_hash=first,
        proxy_last_frame_hash=last,
        payload_sha256=written.payload_sha256,
        duration_seconds=written.duration_seconds,
        audio_offset_seconds=written.audio_offset_seconds,
        byte_size=byte_size,
        file_sha256=sha256,
    )
    said, is_so = manifest.to_json(), found.to_json()
    differences = [f"{name} is {is_so[name]}, the manifest says {said[name]}" for name in said if said[name] != is_so[name]]
    return [f"{manifest.key}: {problem}" for problem in (*found.problems(), *differences)]


@dg.asset(
    deps=["proxy", "keyframe_offsets", "virtual_clips"],
    partitions_def=source_video_partitions,
    group_name="delivery",
    description="One MP4 per approved clip, by stream copy from the proxy: exactly its frames, proven by frame hashes in its manifest.",
    kinds={"ffmpeg", "postgres"},
    retry_policy=TRANSIENT_RETRIES,
    output_required=False,
)
def exports(
    context: dg.AssetExecutionContext,
    database: DatabaseResource,
    object_store: ObjectStoreResource,
    workspace: WorkspaceResource,
    progress: ProgressResource,
) -> Iterator[dg.MaterializeResult[None]]:
    stage = Stage(context, database, object_store)
    with stage.failures():  # every failed clip has its reason on its own row
        done = export_due(
            stage.video_id,
            database=database.get(),
            objects=object_store.get(),
            work=workspace.get().work,
            report=progress.report_to(stage.log),
        )
        if done.failed:
            raise stage.clips_failed(done.failed, done=len(done.exported), retryable=done.retryable)
        counts = stage.clip_counts()
    if not readable.with_a_file(counts) and readable.waiting(counts):
        stage.log.info(f"nothing is exported: {readable.waiting_words(counts)}. The partition stays as it was")
        return
    yield stage.made(
        {
            **readable.totals(counts),
            "clips exported by this run": dg.MetadataValue.int(len(done.exported)),
            "frames": dg.MetadataValue.int(sum(manifest.frame_count for manifest in done.exported)),
            "seconds": dg.MetadataValue.float(round(fsum(manifest.duration_seconds for manifest in done.exported), 2)),
            "size": readable.size(sum(manifest.byte_size for manifest in done.exported)),
            "store": readable.store(workspace.get().settings),
            "files": dg.MetadataValue.md(_table(done.exported)),
        }
    )


def _table(exported: Sequence[ExportManifest]) -> str:
    rows = [
        f"| `{one.key}` | {one.start_frame}..{one.end_frame - 1} | {one.duration_seconds:.2f} | {readable.size(one.byte_size)}"
        f" | {one.profile} |"
        for one in exported[:_SHOWN_FILES]
    ]
    more = [f"and {len(exported) - _SHOWN_FILES} more"] if len(exported) > _SHOWN_FILES else []
    return "\n".join(["| file | frames | seconds | size | profile |", "| --- | --- | --- | --- | --- |", *rows, *more])
