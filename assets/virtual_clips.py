"""`virtual_clips`: scene scores become cut points, and the source video is open for review. No file is cut."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

import dagster as dg
import numpy as np

from assets import metadata, pictures
from assets.failures import TRANSIENT_RETRIES
from assets.stage_run import StageRun
from heaters_dagster.domain import profiles, scenes
from heaters_dagster.domain.detector import Detector
from heaters_dagster.domain.errors import HeatersError, IllegalTransitionError, InvalidMediaError, ObjectNotFoundError, PermanentError
from heaters_dagster.domain.keys import proxy_key, scenes_key
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.domain.scenes import CutSettings, Scenes
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.registries import DETECTORS
from heaters_dagster.settings import Settings
from resources.media import ffmpeg
from resources.media.frame_index_reader import FrameIndexes
from resources.media.side_streams import ScorePass
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import DatabaseResource, MachineResource, ObjectStoreResource, ProgressResource
from resources.postgres.clip_store import Clip, ClipStore, NewClip
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.reviewer_store import ReviewerStore
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.sources.fetched import ByteMeter

_S = SourceVideoState
_SHOWN_CLIPS = 50


@dataclass(frozen=True, slots=True)
class CutVideo:
    """A source video that is `scenes_detected`.

    scenes: None when review has begun and nothing was decided again. decoded_again: the detector had no stored scores. cut_frames: where
    the detector cut it, whatever people have done since; None when that is not known any more.
    """

    video: SourceVideo
    clips: tuple[Clip, ...]
    scenes: Scenes | None
    decoded_again: bool = False
    cut_frames: tuple[int, ...] | None = None

    @property
    def data_version(self) -> str | None:
        """Of the detector's cuts: a run that leaves a reviewed video alone does not change it, and what is made from it stays fresh."""
        if self.cut_frames is None:
            return None
        return hashlib.sha256(json.dumps([self.video.frame_count, *self.cut_frames]).encode()).hexdigest()[:16]


def make_virtual_clips(
    source_video_id: int, *, database: Database, objects: ObjectStore, work: WorkFolder, settings: Settings, report: Report = silent
) -> CutVideo:
    """Cut a `preprocessed` source video as the settings say; afterwards the row is `scenes_detected` and its clips are `pending_review`.

    Hold `Database.stage_lock("virtual_clips", source_video_id)`. Safe to begin again at any point. A source video that has its clips is
    cut again, which changes nothing when the cuts are the same; after its review has begun it is not cut again.
    Scores are those of the proxy pass. If the detector was changed since then, the proxy is decoded for new ones, and they are stored too.
    Raises what the object store and ffmpeg raise, SettingsError, PermanentError; the row then stays `detecting_scenes` until the caller
    records the failure.
    """
    videos, clips = SourceVideoStore(database), ClipStore(database)
    wanted = scenes.cut_settings(
        DETECTORS.load(settings.detector), threshold=settings.detector_threshold, min_clip_frames=settings.min_clip_frames
    )
    video = videos.load(source_video_id)
    if video.state == _S.SCENES_DETECTED:
        if clips.review_has_begun(source_video_id):
            stored = _of_frames(_told(source_video_id, objects), video.frame_count or 0)
            cut_frames = None
            if stored is not None:
                # The file may tell of no cuts, or of others: a run that replaced the cuts was killed, or a recut was undone.
                stored = _tell(source_video_id, _of_the_row(source_video_id, stored, database), objects, before=stored)
                cut_frames = _cut_frames(stored)
            return CutVideo(video, tuple(clips.load_live(source_video_id)), None, cut_frames=cut_frames)
    else:
        video = videos.set_state(source_video_id, _S.DETECTING_SCENES)
    return _cut(video, wanted, database=database, objects=objects, work=work, report=report)


def recut(
    source_video_id: int,
    *,
    database: Database,
    objects: ObjectStore,
    settings: Settings,
    detector: str | None = None,
    threshold: float | None = None,
    min_clip_frames: int | None = None,
    chapters_as_cuts: bool | None = None,
    force: bool = False,
    report: Report = silent,
) -> list[Clip]:
    """Cut a `scenes_detected` source video again from its stored scores, in milliseconds; its new clips in order.

    detector: None for the one that made the present cuts. threshold, min_clip_frames: None for those of the settings, else the default.
    chapters_as_cuts: whether its chapters begin clips, from now on; None: as before.
    force: also when review has begun; the decisions on the old clips are then retired with them, in the name of the settings' reviewer
    as `ReviewerStore.at_command_line` gives it.
    Raises PermanentError when review has begun, IllegalTransitionError before the first cut, SettingsError, BusyError.
    """
    with database.stage_lock("virtual_clips", source_video_id):
        video = SourceVideoStore(database).load(source_video_id)
        if video.state != _S.SCENES_DETECTED:
            raise IllegalTransitionError(
                f"source video {source_video_id} has no cuts yet (its state: {video.state}); heaters process makes them"
            )
        if not force and ClipStore(database).review_has_begun(source_video_id):
            raise PermanentError(
                f"review of source video {source_video_id} has begun, and new cuts would undo its decisions. To cut all the same: --force"
            )
        forced_by = ReviewerStore(database).at_command_line(settings.reviewer).name if force else None
        chosen = detector or str((video.scene_settings or {}).get("detector", settings.detector))
        own = settings.detector_threshold if chosen == settings.detector else None
        wanted = scenes.cut_settings(
            DETECTORS.load(chosen),
            threshold=own if threshold is None else threshold,
            min_clip_frames=settings.min_clip_frames if min_clip_frames is None else min_clip_frames,
        )
        if chapters_as_cuts is not None:
            video = SourceVideoStore(database).update(source_video_id, chapters_as_cuts=chapters_as_cuts)
        work = WorkFolder.of(settings)
        return list(_cut(video, wanted, database=database, objects=objects, work=work, report=report, forced_by=forced_by).clips)


def _cut(
    video: SourceVideo,
    wanted: CutSettings,
    *,
    database: Database,
    objects: ObjectStore,
    work: WorkFolder,
    report: Report,
    forced_by: str | None = None,
) -> CutVideo:
    indexes = FrameIndexes(objects)
    frame_count = indexes.header(video.id).frame_count
    told = _told(video.id, objects)
    stored = _of_frames(told, frame_count)
    detector = DETECTORS.load(wanted.detector)
    decoded_again = stored is None or not stored.has_scores_for(detector)
    if decoded_again:
        stored = _scored_again(video, detector, stored, frame_count, objects=objects, work=work, report=report)
    assert stored is not None
    if video.chapters_as_cuts:
        wanted = replace(wanted, chapter_frames=_chapter_frames(video.id, indexes, database))
    found = scenes.with_chapters(scenes.boundaries(stored.scores, detector, wanted.threshold), wanted.chapter_frames)
    cuts = scenes.cut_list(found, frame_count, wanted.min_clip_frames)
    times = indexes.times(video.id, [0, *(cut.end_frame for cut in cuts)])
    new = [
        NewClip(
            start_frame=cut.start_frame,
            end_frame=cut.end_frame,
            start_time_seconds=start,
            end_time_seconds=end,
            confidence=cut.confidence,
            transition=cut.transition,
        )
        for cut, (start, end) in zip(cuts, pairwise(times), strict=True)
    ]
    made = replace(stored, settings=wanted, boundaries=found)
    clips = _replaced(
        video.id, made, new, frame_count, before=told, database=database, objects=objects, rewrites=decoded_again, forced_by=forced_by
    )
    cut_frames = tuple(clip.start_frame for clip in clips[1:])
    return CutVideo(SourceVideoStore(database).load(video.id), tuple(clips), made, decoded_again, cut_frames)


def _chapter_frames(source_video_id: int, indexes: FrameIndexes, database: Database) -> tuple[int, ...]:
    """Frames at which the chapters of a source video begin, by its frame index."""
    chapters = FactsStore(database).load(source_video_id).chapters
    if not chapters:
        return ()
    index = indexes.load(source_video_id)
    times = np.append(index.pts, index.header.end_pts) * float(index.header.time_base)
    return scenes.chapter_frames([one.start_seconds for one in chapters], times)


def _replaced(
    source_video_id: int,
    made: Scenes,
    new: Sequence[NewClip],
    frame_count: int,
    *,
    before: Scenes | None,
    database: Database,
    objects: ObjectStore,
    rewrites: bool,
    forced_by: str | None,
) -> list[Clip]:
    """Replace the cuts and the settings that made them in one transaction; the scenes file never describes cuts that do not exist.

    An object and a row cannot change at the same moment. So the file has no cuts while they are replaced: first the old ones are removed
    from it, then the rows change, then the new ones are written to it. A process that is killed in between leaves a file with scores
    alone, which is correct, and the next run adds the rest; meanwhile readers use the rows (`scenes.told_boundaries`).
    before: what the file says. rewrites: the scores are not the stored ones.
    """
    tells_of_others = before is not None and before.settings is not None and _cuts_told(before) != _cuts_told(made)
    if rewrites or tells_of_others:
        before = _tell(source_video_id, replace(made, settings=None, boundaries=()), objects, before=before)
    try:
        clips = ClipStore(database).replace_cuts(
            source_video_id, new, frame_count, scene_settings=made.settings.to_json() if made.settings else None, forced_by=forced_by
        )
    except HeatersError:
        _tell(source_video_id, _of_the_row(source_video_id, made, database), objects, before=before)  # the old cuts still exist
        raise
    _tell(source_video_id, made, objects, before=before)
    return clips


def _cut_frames(document: Scenes) -> tuple[int, ...] | None:
    """Where the clips began that were cut by what the file says; None when it does not say."""
    if document.settings is None:
        return None
    return tuple(
        cut.start_frame for cut in scenes.cut_list(document.boundaries, document.frame_count, document.settings.min_clip_frames)[1:]
    )


def _cuts_told(document: Scenes) -> tuple[object, ...]:
    return document.settings, document.boundaries


def _of_the_row(source_video_id: int, made: Scenes, database: Database) -> Scenes:
    """The scores, with the settings that the row names for the present cuts."""
    said = SourceVideoStore(database).load(source_video_id).scene_settings
    settings = CutSettings.from_json(said) if said else None
    return replace(made, settings=settings, boundaries=scenes.told_boundaries(made, said, DETECTORS.find))


def _told(source_video_id: int, objects: ObjectStore) -> Scenes | None:
    try:
        return scenes.decoded(objects.get_bytes(scenes_key(source_video_id)))
    except (ObjectNotFoundError, InvalidMediaError):
        return None


def _tell(source_video_id: int, document: Scenes, objects: ObjectStore, *, before: Scenes | None) -> Scenes:
    """Write the scenes file, unless it says just that; returns what it says now. before: what it says, None when there is none."""
    data = _written(document)
    if before is None or _written(before) != data:
        objects.put_bytes(scenes_key(source_video_id), data)
    return document


def _written(document: Scenes) -> bytes:
    return scenes.encoded(document.detector, document.scores, settings=document.settings, boundaries=document.boundaries)


def _of_frames(stored: Scenes | None, frame_count: int) -> Scenes | None:
    """Stored scores, if they are those of this proxy."""
    return stored if stored is not None and stored.frame_count == frame_count else None


def _scored_again(
    video: SourceVideo,
    detector: Detector,
    stored: Scenes | None,
    frame_count: int,
    *,
    objects: ObjectStore,
    work: WorkFolder,
    report: Report,
) -> Scenes:
    """Scores of `detector` from a decode of the proxy, beside those that were stored."""
    header = FrameIndexes(objects).header(video.id)
    scoring = ScorePass(detector.open_streams(width=header.width, height=header.height))
    with work.attempt(f"virtual_clips-{video.id}") as folder:
        path = objects.local_path(proxy_key(video.id))
        if path is None:
            path = folder / "proxy.mp4"
            objects.get_file(proxy_key(video.id), path, progress=ByteMeter(report))
        profile = profiles.scene_scores(scoring.side_streams)
        ffmpeg.run(profile, path, scoring.readers(), total_seconds=video.duration_seconds, report=report, called=video.title)
    scores = scoring.finish()
    counts = {len(column) for column in scores.values()}
    if counts != {frame_count}:
        raise InvalidMediaError(
            f"{video.title}: the number of frames in its proxy ({sorted(counts)}) is not that of its index ({frame_count}); make the "
            "proxy again"
        )
    kept = {} if stored is None else stored.scores
    # Rounded as they will be read back: float16 may move a score across the threshold.
    return scenes.decoded(scenes.encoded(stored.detector if stored else detector.name, {**kept, **scores}))


@dg.asset(
    deps=["proxy", "keyframe_offsets"],
    partitions_def=source_video_partitions,
    group_name="review",
    description="Cut points from the scene scores, each with a confidence: clips that cover every frame once and are open for review.",
    kinds={"postgres"},
    retry_policy=TRANSIENT_RETRIES,
)
def virtual_clips(
    context: dg.AssetExecutionContext,
    database: DatabaseResource,
    object_store: ObjectStoreResource,
    machine: MachineResource,
    progress: ProgressResource,
) -> dg.MaterializeResult[None]:
    stage, store, place = StageRun(context, database, object_store), database.get(), machine.get()
    source_video_id, videos = stage.source_video_id, SourceVideoStore(store)

    def record(message: str, transient: bool) -> None:
        videos.record_failure(source_video_id, _S.DETECT_SCENES_FAILED, message, transient=transient)

    with (
        stage.failures(),
        store.stage_lock("virtual_clips", source_video_id),
        stage.failures(record),
        stage.progress("virtual_clips", progress).at_work() as report,
    ):
        made = make_virtual_clips(
            source_video_id,
            database=store,
            objects=object_store.get(),
            work=place.work,
            settings=place.settings,
            report=report,
        )
    return stage.made({**_metadata(made), **metadata.review_link(place.settings, source_video_id)}, data_version=made.data_version)


def _metadata(made: CutVideo) -> dict[str, dg.MetadataValue]:
    lengths = [clip.end_time_seconds - clip.start_time_seconds for clip in made.clips]
    shown: dict[str, dg.MetadataValue] = {
        "clips": dg.MetadataValue.int(len(made.clips)),
        "frames": dg.MetadataValue.int(sum(clip.frame_count for clip in made.clips)),
        "seconds, shortest clip": dg.MetadataValue.float(round(min(lengths), 3)),
        "seconds, median clip": dg.MetadataValue.float(round(median(lengths), 3)),
        "seconds, longest clip": dg.MetadataValue.float(round(max(lengths), 3)),
        "least confident": dg.MetadataValue.md(_table(made.clips)),
    }
    if made.scenes is None or made.scenes.settings is None:
        return {**shown, "cut": dg.MetadataValue.text("not again: review has begun")}
    settings = made.scenes.settings
    return {
        **shown,
        "detector": dg.MetadataValue.text(settings.detector),
        "threshold": dg.MetadataValue.float(round(settings.threshold, 3)),
        "shortest clip allowed, frames": dg.MetadataValue.int(settings.min_clip_frames),
        "chapters as cuts": dg.MetadataValue.int(len(settings.chapter_frames)),
        "boundaries found": dg.MetadataValue.int(len(made.scenes.boundaries)),
        "boundaries left out": dg.MetadataValue.int(len(made.scenes.boundaries) - len(made.clips) + 1),
        "scores from": dg.MetadataValue.text("a decode of the proxy" if made.decoded_again else "the proxy pass"),
        "scene scores": dg.MetadataValue.md(
            pictures.score_plot(made.scenes.scores, settings, [clip.start_frame for clip in made.clips[1:]])
        ),
    }


def _table(clips: Sequence[Clip]) -> str:
    """Markdown: the clips a reviewer should look at first."""
    unsure = sorted((clip for clip in clips if clip.confidence is not None), key=lambda clip: (clip.confidence, clip.start_frame))
    rows = [
        (clip.sequence, f"{clip.start_frame}..{clip.end_frame - 1}", f"{clip.start_time_seconds:.3f}", f"{clip.confidence:.2f}")
        for clip in unsure[:_SHOWN_CLIPS]
    ]
    return pictures.table(("clip", "frames", "from second", "confidence"), rows)
