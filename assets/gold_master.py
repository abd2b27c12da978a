"""`gold_master`: the lossless archive of an original, made beside the rest and never in the way of review."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import dagster as dg

from assets import metadata
from assets.failures import TRANSIENT_RETRIES
from assets.made_with import code_version
from assets.stage_run import StageRun
from heaters_dagster.domain.errors import PermanentError
from heaters_dagster.domain.kept_tags import KeptTags
from heaters_dagster.domain.keys import gold_master_key
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.domain.room_needed import gold_master_bytes
from heaters_dagster.domain.stages import GOLD_MASTER
from heaters_dagster.domain.words import counted
from heaters_dagster.partitions import source_video_partitions
from resources.media.container_facts import hidden_tags
from resources.media.frame_hashes import file_sha256
from resources.media.gold_masters import GoldMasterFile, write_gold_master
from resources.media.media_probe import known_probe
from resources.object_store.interface import ObjectStore
from resources.object_store.originals import Originals
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import DatabaseResource, MachineResource, ObjectStoreResource, ProgressResource
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.making_store import MakingStore
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.postgres.stage_progress import kept_while_at_work, told_turn
from resources.sources.fetched import ByteMeter

#: A pool of its own, so that a gold master never takes the place of a proxy that somebody waits for.
GOLD_MASTER_POOL = "gold_master"


@dataclass(frozen=True, slots=True)
class MadeGoldMaster:
    """proven: what was compared with the original, and wall_seconds what it took to make; both None for one that was there already."""

    video: SourceVideo
    proven: GoldMasterFile | None = None
    wall_seconds: float | None = None


def make_gold_master(
    source_video_id: int,
    *,
    database: Database,
    objects: ObjectStore,
    work: WorkFolder,
    storage_class: str,
    kept: KeptTags = KeptTags(),
    originals: Originals | None = None,
    made_with: str | None = None,
    at_once: int = 1,
    report: Report = silent,
) -> MadeGoldMaster:
    """Archive the original of a source video as FFV1 in Matroska, proven lossless, and note key and hash on its row.

    The state of the row does not change: nothing waits for this. A complete master that is there stays. storage_class: of the object.
    kept: which tags of the original it has. originals: files that the run has locally.
    made_with: see `assets.made_with`; a master that was made otherwise is made again. None: it stays.
    at_once: how many are made at the same time on this machine; it waits for its turn.
    Raises BusyError when another process makes it, PermanentError without an original, InvalidMediaError when it would not be lossless,
    FfmpegError, ProcessKilledError, DiskFullError, NoRoomError, StoreUnavailableError.
    """
    videos = SourceVideoStore(database)
    with (
        database.stage_lock("gold_master", source_video_id),
        kept_while_at_work(report),
        told_turn(database, GOLD_MASTER_POOL, at_once=at_once, asset=GOLD_MASTER.asset, report=report),
    ):
        video = videos.load(source_video_id)
        key = gold_master_key(source_video_id)
        stored = objects.info(key)
        before = MakingStore(database).load(source_video_id).gold_master_made_with
        is_outdated = None not in (before, made_with) and before != made_with
        if (
            not is_outdated
            and video.gold_master_filepath == key
            and stored is not None
            and video.gold_master_bytes in (None, stored.byte_size)
        ):
            return MadeGoldMaster(video)
        began = time.monotonic()
        if video.original_filepath is None:
            raise PermanentError(
                f"source video {source_video_id} has no original yet (its state: {video.state}); heaters process fetches it"
            )
        with work.attempt(f"gold_master-{source_video_id}", bytes_needed=gold_master_bytes(video.media)) as folder, ExitStack() as stack:
            at_hand = originals or stack.enter_context(Originals(objects, work))
            original = at_hand.read(video.original_filepath, video.content_sha256, progress=ByteMeter(report))
            facts = known_probe(video.probe, original, name=video.title)
            path = folder / "master.mkv"
            hidden = hidden_tags(original, kept, name=video.title)
            clock = FactsStore(database).load(source_video_id).usable_source_time(video.frame_rate)
            # Matroska says the timecode as a text without its rate, so it counts at that of the picture.
            start = clock.at_rate_of(facts.video.average_frame_rate).start if clock is not None else None
            made = write_gold_master(original, facts, path, called=video.title, without_tags=hidden, timecode=start, report=report)
            sha256, byte_size = file_sha256(path), path.stat().st_size
            if (
                is_outdated
            ):  # until the new one is written down there is none: a process that is killed leaves no row that names another file
                videos.update(source_video_id, gold_master_filepath=None)
            sent = ByteMeter(report, "upload")
            objects.put_file(key, path, storage_class=storage_class, progress=lambda done: sent(done, byte_size))
        warnings = list(made.warnings)
        if video.frame_count not in (None, made.frame_count):
            warnings.append(
                f"the gold master has {counted(made.frame_count, 'frame')}, the proxy {video.frame_count}: the original is damaged"
            )
        for warning in warnings:
            videos.add_warning(source_video_id, warning)
        done = {"gold_master_filepath": key, "gold_master_sha256": sha256, "gold_master_bytes": byte_size}
        MakingStore(database).put(source_video_id, gold_master_made_with=made_with)
        written = videos.update(source_video_id, **done, gold_master_error=None, gold_master_attempts=0)
        return MadeGoldMaster(written, made, time.monotonic() - began)


@dg.asset(
    deps=["source_video"],
    partitions_def=source_video_partitions,
    group_name="archive",
    description="Lossless archive of the original: FFV1 in Matroska, every frame and sound compared with the original's, in cold storage.",
    kinds={"ffmpeg"},
    pool=GOLD_MASTER_POOL,
    retry_policy=TRANSIENT_RETRIES,
    output_required=False,
)
def gold_master(
    context: dg.AssetExecutionContext,
    database: DatabaseResource,
    object_store: ObjectStoreResource,
    machine: MachineResource,
    progress: ProgressResource,
) -> Iterator[dg.MaterializeResult[None]]:
    stage, store, place = StageRun(context, database, object_store), database.get(), machine.get()
    source_video_id = stage.source_video_id

    def record(message: str, transient: bool) -> None:
        SourceVideoStore(store).record_gold_master_failure(source_video_id, message, transient=transient)

    with stage.failures(record), stage.room("gold_master") as room:
        made = make_gold_master(
            source_video_id,
            database=store,
            objects=object_store.get(),
            work=place.work,
            storage_class=place.settings.gold_master_storage_class,
            kept=place.settings.kept_tags,
            originals=place.originals(object_store.get()),
            made_with=code_version("gold_master", place.settings),
            at_once=place.settings.master_runs,
            report=stage.progress("gold_master", progress),
        )
    if room.is_missing:
        return
    info = object_store.get().info(gold_master_key(source_video_id))
    byte_size, bucket = info.byte_size if info else 0, place.settings.object_bucket
    yield stage.made(
        {
            "key": gold_master_key(source_video_id),
            "store": metadata.store(place.settings),
            "size": metadata.size(byte_size),
            "size, times the original": metadata.times(byte_size, made.video.original_bytes),
            **metadata.speed(made.video.duration_seconds or 0.0, made.wall_seconds),
            "proof": _proof(made.proven),
            "SHA-256": made.video.gold_master_sha256 or "",
            **({"storage class": info.storage_class} if info and bucket else {}),
        },
        data_version=made.video.gold_master_sha256,
    )


def _proof(proven: GoldMasterFile | None) -> str:
    if proven is None:
        return "compared with the original when it was made; the check holds the stored file to that"
    sounds = {0: "it has no sound", 1: "its sound equals the original's, sample by sample"}
    sound = sounds.get(proven.sound_count, f"its {proven.sound_count} sound streams equal the original's, sample by sample")
    return f"{counted(proven.frame_count, 'frame equals', 'frames equal')} the original's by SHA-256; {sound}"
