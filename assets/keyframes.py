"""`keyframes`: stills of exported clips, for embedding and thumbnails."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import metadata
from assets.clip_stage import ClipRun, clip_asset, materialized, work_through
from assets.made_with import code_version
from assets.stage_run import StageRun
from heaters_dagster.domain.errors import ObjectNotFoundError, StaleClipError
from heaters_dagster.domain.keyframe_choice import KeyframeChoice, keyframe_choices
from heaters_dagster.domain.keys import keyframe_key
from heaters_dagster.domain.manifest import KeyframeManifest
from heaters_dagster.domain.stages import KEYFRAMES
from resources.media.frame_hashes import frame_hash
from resources.media.frame_reader import file_frames, rgb, sample_aspect_ratio
from resources.media.proxy_bytes import RangeFile, open_proxy
from resources.object_store.interface import ObjectStore
from resources.object_store.stills import Stills
from resources.orchestrator.dagster_resources import DatabaseResource, MachineResource, ObjectStoreResource, ProgressResource
from resources.postgres.clip_store import Clip, ClipStore, MadeObject
from resources.postgres.database import Database

if TYPE_CHECKING:
    import av

JPEG_QUALITY = 90


def keyframe_clip(
    clip_id: int,
    *,
    clips: ClipStore,
    objects: ObjectStore,
    stills: Stills,
    strategy: str,
    percentages: Sequence[float],
    made_with: str | None = None,
) -> tuple[KeyframeManifest, ...] | None:
    """Make the stills of one clip that is `exported`, or was left `keyframing` by a process that died, from its exported file.

    Hold `Database.stage_lock("keyframes", source_video_id)`. None when the clip is not due, or when a reviewer changed it meanwhile:
    the new stills are then deleted. Raises ObjectNotFoundError, InvalidMediaError, SettingsError; the clip is then still `keyframing`.
    """
    clip = clips.load(clip_id)
    first_frame, end_frame = clips.file_frames(clip)
    choices = keyframe_choices(end_frame - first_frame, strategy=strategy, percentages=percentages)
    keys = [keyframe_key(clip.source_video_id, clip.sequence, choice.tag) for choice in choices]
    claimed = clips.claim(clip_id, KEYFRAMES, keys)
    if claimed is None:
        return None
    if claimed.cut_point_version != clip.cut_point_version:
        raise StaleClipError(f"clip {clip.sequence} was just changed; the next run makes its keyframes")
    made = _made(claimed, first_frame, choices, keys, objects, stills)
    rows = [MadeObject(manifest.key, manifest.byte_size, manifest.to_json()) for manifest in made]
    if not clips.finish(clip_id, KEYFRAMES, claimed.cut_point_version, rows, made_with=made_with):
        clips.clean_up(clip_id, objects.delete)
        return None
    return tuple(made)


def _made(
    clip: Clip, first_frame: int, choices: Sequence[KeyframeChoice], keys: Sequence[str], objects: ObjectStore, stills: Stills
) -> list[KeyframeManifest]:
    """Read the chosen frames from the clip's file and publish each as a JPEG. first_frame: of the file, in the source video."""
    source = _exported(clip, objects)
    assert clip.clip_filepath is not None
    ratio = sample_aspect_ratio(source, called=clip.clip_filepath)
    frames = file_frames(source, [choice.frame_offset for choice in choices], called=clip.clip_filepath)
    made = []
    for (offset, frame), choice, key in zip(frames, choices, keys, strict=True):
        data, width, height = jpeg(frame, ratio)
        stored = stills.publish(key, clip.cut_point_version, data)
        made.append(
            KeyframeManifest(
                source_video_id=clip.source_video_id,
                clip_id=clip.id,
                cut_point_version=clip.cut_point_version,
                key=key,
                tag=choice.tag,
                frame_number=first_frame + offset,
                frame_hash=frame_hash(frame),
                width=width,
                height=height,
                byte_size=stored.byte_size,
            )
        )
    return made


def _exported(clip: Clip, objects: ObjectStore) -> Path | RangeFile:
    """The clip's file, ready to be read."""
    with suppress(ObjectNotFoundError):
        if clip.clip_filepath is not None:
            return open_proxy(objects, clip.clip_filepath)
    raise ObjectNotFoundError(
        f"the exported file of clip {clip.sequence} is gone: there is no object {clip.clip_filepath}; "
        f"heaters export {clip.reference} makes it again"
    )


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
    stills: Stills | None = None,
    made_with: str | None = None,
    **options: Any,
) -> ClipRun[KeyframeManifest]:
    """Make the stills of every clip of a source video that is due, and of those exported while it works; see `work_through`.

    strategy, percentages: see `keyframe_choices`. stills: what the run has at hand, for the stages that follow in it. made_with: see
    `assets.made_with`; clips with stills that were made otherwise get new ones. None: they keep them.
    """
    clips, at_hand = ClipStore(database), stills or Stills(objects)

    def make(clip: Clip) -> tuple[KeyframeManifest, ...] | None:
        return keyframe_clip(
            clip.id, clips=clips, objects=objects, stills=at_hand, strategy=strategy, percentages=percentages, made_with=made_with
        )

    again = clips.again(KEYFRAMES, source_video_id, made_with)
    return work_through(KEYFRAMES, source_video_id, make, database=database, objects=objects, begin_again=again, **options)


@clip_asset(
    KEYFRAMES,
    group="delivery",
    description="Stills of every exported clip, chosen by strategy, in square pixels.",
    kinds={"ffmpeg", "postgres"},
)
def keyframes(
    context: dg.AssetExecutionContext,
    database: DatabaseResource,
    object_store: ObjectStoreResource,
    machine: MachineResource,
    progress: ProgressResource,
) -> Iterator[dg.MaterializeResult[None]]:
    run, place = StageRun(context, database, object_store), machine.get()
    settings, stills = place.settings, place.stills(object_store.get())

    def work() -> ClipRun[KeyframeManifest]:
        return keyframe_due(
            run.source_video_id,
            database=database.get(),
            objects=object_store.get(),
            strategy=settings.keyframe_strategy,
            percentages=settings.keyframe_percentages,
            stills=stills,
            made_with=code_version(KEYFRAMES.asset, settings),
            report=run.progress(KEYFRAMES.asset, progress),
        )

    yield from materialized(
        run, KEYFRAMES, work, lambda done: metadata.of_keyframes(done.made, done.clip_ids, settings.keyframe_strategy, stills)
    )
