"""`keyframes`: stills of exported clips, for embedding and thumbnails."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from typing import TYPE_CHECKING

import dagster as dg

from assets import readable
from assets.failures import TRANSIENT_RETRIES, is_transient, reason
from assets.stage import Stage
from heaters_dagster.domain.errors import ObjectNotFoundError, StaleClipError
from heaters_dagster.domain.keyframe_choice import KeyframeChoice, keyframe_choices
from heaters_dagster.domain.keys import keyframe_key
from heaters_dagster.domain.manifest import KeyframeManifest
from heaters_dagster.domain.progress import Progress, Report, silent
from heaters_dagster.domain.states import ClipState
from heaters_dagster.partitions import source_video_partitions
from resources.clip_store import Clip, ClipStore
from resources.dagster_resources import DatabaseResource, ObjectStoreResource, ProgressResource, WorkspaceResource
from resources.database import Database
from resources.frame_hashes import frame_hash
from resources.frame_reader import file_frames, rgb, sample_aspect_ratio
from resources.object_store.interface import ObjectStore
from resources.object_store.probe import raise_fault_of_the_place
from resources.proxy_bytes import open_proxy

if TYPE_CHECKING:
    import av

JPEG_QUALITY = 90
_SHOWN_STILLS = 6
_SHOWN_HEIGHT = 90


@dataclass(frozen=True, slots=True)
class KeyframeRun:
    """What one run did. made: the stills in the order of publication. failed: clip id -> reason. changed: clips changed meanwhile.

    retryable: something failed, and every failure is temporary: trying again may work.
    """

    made: tuple[KeyframeManifest, ...] = ()
    failed: Mapping[int, str] = field(default_factory=dict)
    changed: tuple[int, ...] = ()
    retryable: bool = False

    @property
    def clip_ids(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(manifest.clip_id for manifest in self.made))


def keyframe_clip(
    clip_id: int, *, clips: ClipStore, objects: ObjectStore, strategy: str, percentages: Sequence[float]
) -> tuple[KeyframeManifest, ...] | None:
    """Make the stills of one clip that is `exported`, or was left `keyframing` by a process that died, from its exported file.

    Hold `Database.stage_lock("keyframes", source_video_id)`. None when the clip is not due, or when a reviewer changed it meanwhile:
    the new stills are then deleted. Raises ObjectNotFoundError, InvalidMediaError, SettingsError; the clip is then still `keyframing`.
    """
    clip = clips.load(clip_id)
    choices = keyframe_choices(clip.frame_count, strategy=strategy, percentages=percentages)
    keys = [keyframe_key(clip.source_video_id, clip.sequence, choice.tag) for choice in choices]
    claimed = clips.claim_keyframes(clip_id, keys)
    if claimed is None:
        return None
    if claimed.cut_point_version != clip.cut_point_version:
        raise StaleClipError(f"clip {clip.sequence} was changed at this moment; its keyframes are made with the next run")
    made = _stills(claimed, choices, keys, objects)
    stills = [(manifest.key, manifest.byte_size, manifest.to_json()) for manifest in made]
    if not clips.finish_keyframes(clip_id, claimed.cut_point_version, stills):
        clips.clean_up(clip_id, objects.delete)
        return None
    return tuple(made)


def _stills(clip: Clip, choices: Sequence[KeyframeChoice], keys: Sequence[str], objects: ObjectStore) -> list[KeyframeManifest]:
    """Read the chosen frames from the clip's file and publish each as a JPEG."""
    if clip.clip_filepath is None or objects.info(clip.clip_filepath) is None:
        raise ObjectNotFoundError(
            f"the exported file of clip {clip.sequence} is gone: there is no object {clip.clip_filepath}; "
            f"heaters export {clip.reference} makes it again"
        )
    source = open_proxy(objects, clip.clip_filepath)
    ratio = sample_aspect_ratio(source, called=clip.clip_filepath)
    frames = file_frames(source, [choice.frame_offset for choice in choices], called=clip.clip_filepath)
    made = []
    for (offset, frame), choice, key in zip(frames, choices, keys, strict=True):
        data, width, height = jpeg(frame, ratio)
        stored = objects.put_bytes(key, data)
        made.append(
            KeyframeManifest(
                source_video_id=clip.source_video_id,
                clip_id=clip.id,
                cut_point_version=clip.cut_point_version,
                key=key,
                tag=choice.tag,
                frame_number=clip.start_frame + offset,
                frame_hash=frame_hash(frame),
                width=width,
                height=height,
                byte_size=stored.byte_size,
            )
        )
    return made


def jpeg(frame: "av.VideoFrame", ratio: Fraction) -> tuple[bytes, int, int]:
    """(JPEG, width, height) of a decoded frame with square pixels; `ratio` is the sample aspect ratio it has."""
    from PIL import Image

    picture = rgb(frame, ratio)
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue(), picture.shape[1], picture.shape[0]


def keyframe_due(
    source_video_id: int,
    *,
    database: Database,
    objects: ObjectStore,
    strategy: str,
    percentages: Sequence[float],
    report: Report = silent,
    clock: Callable[[], float] = time.monotonic,
) -> KeyframeRun:
    """Make the stills of every clip of a source video that is due, and of those exported while it works, until none is left.

    strategy, percentages: see `keyframe_choices`. One clip's failure is written to its row and does not stop the others.
    Raises BusyError when another process makes keyframes of this video.
    """
    clips, started = ClipStore(database), clock()
    made: list[KeyframeManifest] = []
    failed: dict[int, str] = {}
    changed: list[int] = []
    retryable: list[bool] = []
    tried: set[tuple[int, int]] = set()
    with database.stage_lock("keyframes", source_video_id):
        while batch := [clip for clip in clips.due_for_keyframes(source_video_id) if (clip.id, clip.cut_point_version) not in tried]:
            total = len(tried) + len(batch)
            for clip in batch:
                tried.add((clip.id, clip.cut_point_version))
                try:
                    stills = keyframe_clip(clip.id, clips=clips, objects=objects, strategy=strategy, percentages=percentages)
                    (made.extend(stills) if stills else changed.append(clip.id))
                except Exception as error:  # a defect that shows on one clip must not stop the others
                    raise_fault_of_the_place(error, objects)
                    version = clip.cut_point_version
                    clips.fail(clip.id, ClipState.KEYFRAME_FAILED, reason(error), transient=is_transient(error), expected_version=version)
                    failed[clip.id] = reason(error)
                    retryable.append(is_transient(error))
                report(Progress("keyframes", len(tried), total, "clips", clock() - started))
    return KeyframeRun(tuple(made), failed, tuple(changed), bool(retryable) and all(retryable))


@dg.asset(
    deps=["exports"],
    partitions_def=source_video_partitions,
    group_name="delivery",
    description="Stills of every exported clip, chosen by strategy, in square pixels.",
    kinds={"ffmpeg", "postgres"},
    retry_policy=TRANSIENT_RETRIES,
    output_required=False,
)
def keyframes(
    context: dg.AssetExecutionContext,
    database: DatabaseResource,
    object_store: ObjectStoreResource,
    workspace: WorkspaceResource,
    progress: ProgressResource,
) -> Iterator[dg.MaterializeResult[None]]:
    stage, settings, objects = Stage(context, database, object_store), workspace.get().settings, object_store.get()
    with stage.failures():  # every failed clip has its reason on its own row
        done = keyframe_due(
            stage.video_id,
            database=database.get(),
            objects=objects,
            strategy=settings.keyframe_strategy,
            percentages=settings.keyframe_percentages,
            report=progress.report_to(stage.log),
        )
        if done.failed:
            raise stage.clips_failed(done.failed, done=len(done.clip_ids), retryable=done.retryable)
        counts = stage.clip_counts()
    if not readable.with_keyframes(counts) and readable.waiting(counts):
        stage.log.info(f"no clip has keyframes: {readable.waiting_words(counts)}. The partition stays as it was")
        return
    yield stage.made(
        {
            **readable.totals(counts),
            "clips with keyframes by this run": dg.MetadataValue.int(len(done.clip_ids)),
            "keyframes": dg.MetadataValue.int(len(done.made)),
            "strategy": dg.MetadataValue.text(settings.keyframe_strategy),
            "stills": dg.MetadataValue.md(_thumbnails([manifest.key for manifest in done.made[:_SHOWN_STILLS]], objects)),
        }
    )


def _thumbnails(keys: Sequence[str], objects: ObjectStore) -> str:
    """Small pictures as data inside the text: Dagster's page cannot reach the object store."""
    from base64 import b64encode

    from PIL import Image

    shown = []
    for key in keys:
        buffer = BytesIO()
        with Image.open(BytesIO(objects.get_bytes(key))) as picture:
            picture.thumbnail((4 * _SHOWN_HEIGHT, _SHOWN_HEIGHT))
            picture.save(buffer, "JPEG", quality=70)
        shown.append(f"![{key}](data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()})")
    return "\n".join(shown) or "none"
