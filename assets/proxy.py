"""`proxy` and `keyframe_offsets`: one fast ffmpeg pass makes all that review needs, and gives the scene scores too."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np

from assets import metadata, pictures
from assets.failures import TRANSIENT_RETRIES
from assets.made_with import code_version
from assets.proxy_pass import proxy_pass
from assets.proxy_pieces import ENCODE, PieceMaker, stored_original
from assets.stage_run import StageRun
from heaters_dagster.domain import looks, scenes
from heaters_dagster.domain.errors import HeatersError, InvalidMediaError, ObjectNotFoundError, PermanentError
from heaters_dagster.domain.frame_index import FrameIndex, encoded
from heaters_dagster.domain.frame_times import TimesCompared
from heaters_dagster.domain.keys import frame_index_key, looks_key, proxy_key, scenes_key
from heaters_dagster.domain.looks import Looks
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.domain.room_needed import proxy_bytes
from heaters_dagster.domain.stages import PROXY
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.domain.words import counted
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.registries import DETECTORS
from heaters_dagster.settings import Settings
from resources.media.frame_index_reader import FrameIndexes
from resources.media.frame_reader import FrameReader
from resources.media.media_probe import known_probe
from resources.media.proxy_bytes import RangeFile, open_proxy
from resources.media.proxy_proof import compared_with_original, sampled_frames, undecodable_frames
from resources.object_store.interface import ObjectStore
from resources.object_store.originals import Originals
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import DatabaseResource, MachineResource, ObjectStoreResource, ProgressResource
from resources.postgres.facts_store import FactsStore
from resources.postgres.making_store import Making, MakingStore
from resources.postgres.piece_store import PieceStore
from resources.postgres.related_videos import RelatedVideos
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.postgres.stage_progress import told_turn
from resources.sources.fetched import ByteMeter

_S = SourceVideoState
#: In these states there may be clips already, so the number of frames must stay.
_CUT_STATES = frozenset({_S.DETECTING_SCENES, _S.SCENES_DETECTED, _S.DETECT_SCENES_FAILED})
_THUMBNAILS = 6
_DECODED_ALONE = 24


@dataclass(frozen=True, slots=True)
class MadeProxy:
    """The published proxy of a source video.

    wall_seconds: what making it took, thumbnails: Markdown with a few small pictures; both None when it was there already.
    """

    video: SourceVideo
    index: FrameIndex
    proxy_bytes: int
    wall_seconds: float | None = None
    thumbnails: str | None = None


def make_proxy(
    source_video_id: int,
    *,
    videos: SourceVideoStore,
    objects: ObjectStore,
    work: WorkFolder,
    detector: str,
    storage_class: str = "STANDARD",
    originals: Originals | None = None,
    making: MakingStore | None = None,
    made_with: str | None = None,
    related: RelatedVideos | None = None,
    pieces: PieceMaker | None = None,
    report: Report = silent,
) -> MadeProxy:
    """Make proxy, frame index and scene scores of a `downloaded` source video; afterwards the row is `preprocessed`.

    Hold `Database.stage_lock("proxy", source_video_id)`. Safe to begin again at any point: the proxy is published last, so a try that finds
    it under its key only has to write the row. A source video in a later state keeps it, but files that are gone are made again. So is a
    proxy that was made otherwise: the frames stay the same, and with them cuts and decisions.
    detector: a name in `DETECTORS`. originals: files that the run has locally. making: keeps with what the proxy was made; None: nothing
    does. made_with: see `assets.made_with`. related: where source videos that look like it are hinted at; None: nowhere. pieces: makes the
    proxies of long videos in pieces; None: nobody does.
    Raises InvalidMediaError, FfmpegError and what ObjectStore raises; the row then stays `preprocessing` until the caller records the
    failure.
    """
    video = videos.load(source_video_id)
    cut = video.state in _CUT_STATES
    known = making.load(source_video_id) if making is not None else Making()
    is_outdated = known.proxy_is_being_replaced or (None not in (known.proxy_made_with, made_with) and known.proxy_made_with != made_with)
    published = None if is_outdated else _published(source_video_id, objects, detector=None if cut else detector)
    if published and (cut or video.state == _S.PREPROCESSED):
        return MadeProxy(video, *published)
    if published:
        _keep_making(making, source_video_id, published[0], made_with)
        _keep_looks(related, source_video_id, published[0], _stored_looks(source_video_id, objects))
        return MadeProxy(_recorded(videos.set_state(source_video_id, _S.PREPROCESSING), published[0], videos), *published)
    began = time.monotonic()
    with work.attempt(f"proxy-{source_video_id}", bytes_needed=proxy_bytes(video.media)) as folder, ExitStack() as stack:
        if not cut:
            video = videos.set_state(source_video_id, _S.PREPROCESSING)
        original = stored_original(video, originals or stack.enter_context(Originals(objects, work)), report=report)
        found = known_probe(video.probe, original, name=video.title)
        path = folder / "proxy.mp4"
        clock = FactsStore(videos.database).load(source_video_id).usable_source_time(video.frame_rate)
        made = (
            pieces.proxy(video, original, found, path, why_one=known.proxy_in_one_piece, clock=clock, report=report)
            if pieces is not None
            else None
        )
        if made is None:
            made = proxy_pass(original, found, path, detector=detector, called=video.title, clock=clock, report=report)
        if cut and len(made.index) != video.frame_count:
            raise PermanentError(
                f"{video.title}: its proxy is gone. A new one has {counted(len(made.index), 'frame')}, but its clips were cut from"
                f" {video.frame_count}; submit the source again under another name"
            )
        for warning in made.warnings:
            videos.add_warning(source_video_id, warning)
        if not cut or objects.info(scenes_key(source_video_id)) is None:  # otherwise the file says how the clips were cut
            objects.put_bytes(scenes_key(source_video_id), scenes.encoded(detector, made.scores))
        objects.put_bytes(looks_key(source_video_id), looks.encoded(made.looks))
        if making is not None:
            making.put(source_video_id, proxy_is_being_replaced=cut)
        objects.put_bytes(frame_index_key(source_video_id), encoded(made.index))
        thumbnails = _thumbnails(path, made.index)
        byte_size, sent = path.stat().st_size, ByteMeter(report, "upload")
        objects.put_file(proxy_key(source_video_id), path, storage_class=storage_class, progress=lambda done: sent(done, byte_size))
    _keep_making(making, source_video_id, made.index, made_with)
    _keep_looks(related, source_video_id, made.index, made.looks)
    video = videos.update(source_video_id, error=None) if cut else _recorded(video, made.index, videos)
    if pieces is not None:
        pieces.forget(source_video_id)
    return MadeProxy(video, made.index, byte_size, time.monotonic() - began, thumbnails)


def _published(source_video_id: int, objects: ObjectStore, *, detector: str | None) -> tuple[FrameIndex, int] | None:
    """(frame index, bytes of the proxy) when all files are there and belong together; also with scores of `detector`, unless it is None."""
    info = objects.info(proxy_key(source_video_id))
    if info is None:
        return None
    try:
        index = FrameIndexes(objects).load(source_video_id)
        scores = scenes.decoded(objects.get_bytes(scenes_key(source_video_id)))
    except (ObjectNotFoundError, InvalidMediaError):
        return None
    ends = int(index.byte_offset[-1] + index.byte_size[-1])
    scored = detector is None or scores.has_scores_for(DETECTORS.load(detector))
    return (index, info.byte_size) if scored and ends <= info.byte_size and scores.frame_count == len(index) else None


def _keep_making(making: MakingStore | None, source_video_id: int, index: FrameIndex, made_with: str | None) -> None:
    """Write down with what the proxy was made, before the row says that it is there: a killed process never leaves it without."""
    if making is not None:
        version = proxy_version(index)
        making.put(source_video_id, proxy_made_with=made_with, proxy_version=version, proxy_is_being_replaced=False)


def _stored_looks(source_video_id: int, objects: ObjectStore) -> Looks | None:
    try:
        return looks.decoded(objects.get_bytes(looks_key(source_video_id)))
    except (ObjectNotFoundError, InvalidMediaError):  # its proxy was made before looks were taken
        return None


def _keep_looks(related: RelatedVideos | None, source_video_id: int, index: FrameIndex, found: Looks | None) -> None:
    """Write down what the video looks like, and hint at others of its length that look like it; before the row says that it is done."""
    if related is not None and found is not None and len(found) == len(index):
        times = (index.pts - index.pts[0]) * float(index.header.time_base)
        seconds = float((index.header.end_pts - int(index.pts[0])) * index.header.time_base)
        related.keep_looks(
            source_video_id,
            looks_filepath=looks_key(source_video_id),
            duration_seconds=seconds,
            frame_seconds=seconds / len(index),
            sample=looks.sampled(found, times, seconds).tobytes(),
        )


def proxy_version(index: FrameIndex) -> str:
    """A text that is another one for another proxy: of the times, the places and the sizes of all frames."""
    return hashlib.sha256(encoded(index)).hexdigest()[:16]


def _recorded(video: SourceVideo, index: FrameIndex, videos: SourceVideoStore) -> SourceVideo:
    return videos.set_state(
        video.id,
        _S.PREPROCESSED,
        expected={_S.PREPROCESSING},
        proxy_filepath=proxy_key(video.id),
        frame_index_filepath=frame_index_key(video.id),
        scenes_filepath=scenes_key(video.id),
        frame_count=len(index),
        duration_seconds=float((index.header.end_pts - int(index.pts[0])) * index.header.time_base),
    )


def compare_proxy_with_original(
    source_video_id: int,
    *,
    videos: SourceVideoStore,
    objects: ObjectStore,
    work: WorkFolder,
    originals: Originals | None = None,
    report: Report = silent,
) -> TimesCompared:
    """For the asset check: whether the stored proxy has the original's frames at the original's times."""
    video = videos.load(source_video_id)
    index = FrameIndexes(objects).load(source_video_id)
    with ExitStack() as stack:
        original = stored_original(video, originals or stack.enter_context(Originals(objects, work)), report=report)
        return compared_with_original(original, known_probe(video.probe, original, name=video.title), index, report=report)


def undecodable_index_entries(source_video_id: int, *, objects: ObjectStore) -> tuple[int, Mapping[int, str]]:
    """For the asset check: (how many entries were tried, those that do not decode alone with the reason). First and last are among them."""
    index = FrameIndexes(objects).load(source_video_id)
    frames = sampled_frames(len(index), _DECODED_ALONE)
    return len(frames), undecodable_frames(open_proxy(objects, proxy_key(source_video_id)), index, frames)


@dg.multi_asset(
    name="proxy_and_keyframe_offsets",
    specs=[
        dg.AssetSpec(
            "proxy",
            deps=["source_video"],
            group_name="ingest",
            description="Full-resolution all-intra H.264: reviewers watch it, and clips are cut from it without encoding again.",
            kinds={"ffmpeg", "s3"},
            skippable=True,  # while it waits for room on the disk
        ),
        dg.AssetSpec(
            "keyframe_offsets",
            deps=["source_video"],
            group_name="ingest",
            description="The frame index: time and place of every frame in the proxy, the same for player, exporter and detector.",
            kinds={"json", "s3"},
            skippable=True,
        ),
    ],
    partitions_def=source_video_partitions,
    retry_policy=TRANSIENT_RETRIES,
    pool=ENCODE,
    can_subset=True,
)
def proxy_and_keyframe_offsets(
    context: dg.AssetExecutionContext,
    database: DatabaseResource,
    object_store: ObjectStoreResource,
    machine: MachineResource,
    progress: ProgressResource,
) -> Iterator[dg.MaterializeResult[None]]:
    stage, store, place, objects = StageRun(context, database, object_store), database.get(), machine.get(), object_store.get()
    source_video_id, videos = stage.source_video_id, SourceVideoStore(store)

    def record(message: str, transient: bool) -> None:
        videos.record_failure(source_video_id, _S.PREPROCESS_FAILED, message, transient=transient)
        if not transient:  # else a proxy that was to be made again would be due for ever
            MakingStore(store).put(source_video_id, proxy_is_being_replaced=False)

    with (
        stage.failures(),
        store.stage_lock("proxy", source_video_id),
        stage.failures(record),
        stage.progress("proxy", progress).at_work() as report,
        stage.room("proxy") as room,
        told_turn(store, ENCODE, at_once=place.settings.encodes, asset=PROXY.asset, report=report),
    ):
        made = make_proxy(
            source_video_id,
            videos=videos,
            objects=objects,
            work=place.work,
            detector=place.settings.detector,
            storage_class=place.settings.proxy_storage_class,
            originals=place.originals(objects),
            making=MakingStore(store),
            made_with=code_version("proxy", place.settings),
            related=RelatedVideos(store),
            pieces=PieceMaker.of(place.settings, store=PieceStore(store), objects=objects, work=place.work, say=stage.log.info),
            report=report,
        )
    if room.is_missing:
        return
    # One pass makes both, but a person may ask for one of them by name, and Dagster takes only what was asked for.
    version = proxy_version(made.index)
    for key, shown in (("proxy", _proxy_metadata(made, objects, place.settings)), ("keyframe_offsets", _index_metadata(made.index))):
        if dg.AssetKey(key) in context.selected_asset_keys:
            yield stage.made(shown, asset_key=key, data_version=version)


def _proxy_metadata(made: MadeProxy, objects: ObjectStore, settings: Settings) -> dict[str, dg.MetadataValue]:
    video, header = made.video, made.index.header
    seconds = video.duration_seconds or 0.0
    return {
        "frames": dg.MetadataValue.int(header.frame_count),
        "duration in seconds": dg.MetadataValue.float(round(seconds, 3)),
        "picture": dg.MetadataValue.text(f"{header.width}x{header.height}, pixels {header.sample_aspect_ratio}"),
        "store": metadata.store(settings),
        "size": dg.MetadataValue.text(metadata.size(made.proxy_bytes)),
        "size, times the original": metadata.times(made.proxy_bytes, video.original_bytes),
        **metadata.speed(seconds, made.wall_seconds),
        "thumbnails": dg.MetadataValue.md(made.thumbnails or _stored_thumbnails(made, objects)),
        "warnings": dg.MetadataValue.md(pictures.bullets(video.warnings, otherwise="none")),
    }


def _index_metadata(index: FrameIndex) -> dict[str, dg.MetadataValue]:
    steps = np.diff(index.pts)
    uneven = len(steps) > 0 and int(steps.max() - steps.min()) > 1
    return {
        "frames": dg.MetadataValue.int(len(index)),
        "time base": dg.MetadataValue.text(str(index.header.time_base)),
        "frame rate": dg.MetadataValue.text("variable" if uneven else "constant"),
        "first frame shown at second": dg.MetadataValue.float(round(index.time_seconds(0), 3)),
        "original's first frame shown at second": dg.MetadataValue.float(round(index.header.source_start_seconds, 3)),
        "largest frame": dg.MetadataValue.text(metadata.size(int(index.byte_size.max()))),
    }


def _stored_thumbnails(made: MadeProxy, objects: ObjectStore) -> str:
    try:
        return _thumbnails(open_proxy(objects, proxy_key(made.video.id)), made.index)
    except HeatersError as error:
        return str(error)


def _thumbnails(proxy: Path | RangeFile, index: FrameIndex) -> str:
    """Markdown with a few small pictures inside; the picture of a proxy that cannot be read is its reason."""
    try:
        with FrameReader(proxy, index) as reader:
            numbers = sampled_frames(len(index), _THUMBNAILS)
            shown = list(reader.read_frames(numbers, square_pixels=True, max_height=pictures.STILL_HEIGHT))
    except HeatersError as error:
        return str(error)
    return pictures.frames(dict(zip(numbers, shown, strict=True)))
