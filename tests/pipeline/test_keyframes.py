"""Keyframes: the right frames of the exported file, square in their pixels, once, and nothing left when the clip changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from assets.clip_stage import ClipRun
from assets.exports import export_due
from assets.keyframes import keyframe_due, keyframes
from heaters_dagster.domain.errors import BusyError
from heaters_dagster.domain.keys import final_clip_key, keyframe_key, proxy_key
from heaters_dagster.domain.manifest import KeyframeManifest
from heaters_dagster.domain.stages import KEYFRAMES
from heaters_dagster.domain.states import ClipState
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectInfo, ObjectStore
from resources.object_store.local import LocalObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideo
from tests.media_files import file_frame_hashes, read_barcode
from tests.pipeline_rows import reviews
from tests.proxy_files import SOURCES, local_copy, stored_video


class StillMaking:
    """A source video with exported clips, and what it takes to make their keyframes."""

    def __init__(self, database: Database, objects: ObjectStore, folder: Path) -> None:
        self.database, self.objects, self.folder, self.clips = database, objects, folder, ClipStore(database)

    def video(self, kind: str, *cuts: int, profile: str = "stream_copy") -> SourceVideo:
        video = stored_video(SOURCES[kind](self.folder), self.folder, database=self.database, objects=self.objects, cuts=cuts)
        for clip in self.clips.load_live(video.id):
            reviews(self.database).approve(clip.id, reviewer="ada", export_profile=profile)
        export_due(video.id, database=self.database, objects=self.objects, work=WorkFolder(self.folder / "work"))
        return video

    def run(
        self, video: SourceVideo, strategy: str = "tag", percentages: tuple[float, ...] = (), **options: Any
    ) -> ClipRun[KeyframeManifest]:
        options = {"database": self.database, "objects": self.objects, "strategy": strategy, "percentages": percentages, **options}
        return keyframe_due(video.id, **options)

    def picture(self, key: str) -> np.ndarray:
        with Image.open(BytesIO(self.objects.get_bytes(key))) as picture:
            return np.asarray(picture)

    def keys(self) -> set[str]:
        return {info.key for info in self.objects.list("keyframes/")}


@pytest.fixture
def still_making(database: Database, object_store: ObjectStore, tmp_path: Path) -> StillMaking:
    return StillMaking(database, object_store, tmp_path)


@pytest.mark.parametrize("profile", ["stream_copy", "delivery"])
@pytest.mark.parametrize("kind", ["variable", "delayed", "b_frames", "odd"])
def test_stills_show_the_frames_that_were_chosen(kind: str, profile: str, still_making: StillMaking) -> None:
    video = still_making.video(kind, 11, profile=profile)
    done = still_making.run(video)
    assert not done.failed
    for clip in still_making.clips.load_live(video.id):
        assert clip.state == ClipState.KEYFRAMED
        manifests = [KeyframeManifest.from_json(artifact.manifest) for artifact in still_making.clips.artifacts(clip.id, kind="keyframe")]
        seen = {one.tag: read_barcode(still_making.picture(one.key)) for one in manifests}
        assert seen == {"start": clip.start_frame, "mid": clip.start_frame + clip.frame_count // 2, "end": clip.end_frame - 1}
        assert {one.tag: one.frame_number for one in manifests} == seen
        assert all(one.byte_size == len(still_making.objects.get_bytes(one.key)) for one in manifests)


def test_the_hash_of_a_still_is_that_of_the_proxy_frame(still_making: StillMaking) -> None:
    video = still_making.video("variable", 20)
    proxy = local_copy(still_making.objects, proxy_key(video.id), still_making.folder)
    hashes = list(file_frame_hashes(proxy))
    done = still_making.run(video, "multi", (10.0, 90.0))
    assert [(one.tag, one.frame_hash) for one in done.made] == [
        ("p10", hashes[2]), ("p90", hashes[18]), ("p10", hashes[24]), ("p90", hashes[56])
    ]  # fmt: skip


def test_stills_have_square_pixels(still_making: StillMaking) -> None:
    video = still_making.video("wide_pixels")
    (still,) = still_making.run(video, "midpoint").made
    assert still_making.picture(still.key).shape == (120, 213, 3)
    assert (still.width, still.height) == (213, 120)


def test_only_exported_clips_get_stills_and_only_once(still_making: StillMaking) -> None:
    video = still_making.video("constant", 30)
    first, second = still_making.clips.load_live(video.id)
    still_making.clips.advance(second.id, ClipState.REVIEW_APPROVED, ClipState.EXPORTED)
    assert still_making.run(video, "midpoint").clip_ids == (first.id,)
    assert still_making.keys() == {keyframe_key(video.id, first.sequence, "mid")}
    assert still_making.run(video, "midpoint") == ClipRun()


def test_another_strategy_replaces_the_stills_of_the_first(still_making: StillMaking) -> None:
    video = still_making.video("constant")
    (clip,) = still_making.clips.load_live(video.id)
    still_making.run(video, "tag")
    still_making.clips.advance(clip.id, ClipState.KEYFRAMING, ClipState.KEYFRAMED)
    still_making.run(video, "midpoint")
    still_making.clips.clean_up(clip.id, still_making.objects.delete)
    assert still_making.keys() == {keyframe_key(video.id, clip.sequence, "mid")}


def test_one_clip_without_its_file_does_not_stop_the_others(still_making: StillMaking) -> None:
    video = still_making.video("constant", 20, 40)
    first, second, third = still_making.clips.load_live(video.id)
    still_making.objects.delete(final_clip_key(video.id, second.sequence))
    done = still_making.run(video)
    assert done.clip_ids == (first.id, third.id)
    assert final_clip_key(video.id, second.sequence) in done.failed[second.id]
    assert f"heaters export {second.source_video_id}:{second.sequence} makes" in done.failed[second.id]
    assert not done.retryable
    assert still_making.clips.load(second.id).state == ClipState.KEYFRAME_FAILED


def test_a_clip_left_keyframing_by_a_killed_process_is_picked_up_again(still_making: StillMaking) -> None:
    video = still_making.video("constant")
    (clip,) = still_making.clips.load_live(video.id)
    still_making.clips.claim(clip.id, KEYFRAMES, [keyframe_key(video.id, clip.sequence, "mid")])
    still_making.objects.put_bytes(keyframe_key(video.id, clip.sequence, "mid"), b"half a picture")
    (still,) = still_making.run(video, "midpoint").made
    assert read_barcode(still_making.picture(still.key)) == 30
    assert still_making.clips.load(clip.id).state == ClipState.KEYFRAMED


class Interfering(LocalObjectStore):
    """A local store in which something happens just before a still is published."""

    before_put: Callable[[], object] = staticmethod(lambda: None)

    def put_bytes(self, key: str, data: bytes, *, storage_class: str = "STANDARD") -> ObjectInfo:
        self.before_put()
        return super().put_bytes(key, data, storage_class=storage_class)


@pytest.mark.folder
def test_a_clip_that_was_archived_meanwhile_leaves_no_stills(still_making: StillMaking, object_store: LocalObjectStore) -> None:
    video = still_making.video("constant")
    (clip,) = still_making.clips.load_live(video.id)
    store = Interfering(object_store.folder)
    store.before_put = lambda: still_making.clips.advance(  # type: ignore[method-assign]
        clip.id, ClipState.REVIEW_ARCHIVED, {ClipState.KEYFRAMING, ClipState.REVIEW_ARCHIVED}
    )
    done = still_making.run(video, "midpoint", objects=store)
    assert (done.made, done.failed, done.changed) == ((), {}, (clip.id,))
    assert still_making.keys() == set()


def test_two_processes_do_not_make_stills_of_one_video_at_once(still_making: StillMaking) -> None:
    video = still_making.video("constant")
    with still_making.database.stage_lock("keyframes", video.id), pytest.raises(BusyError):
        still_making.run(video)


def test_the_asset_shows_stills_to_the_operator(still_making: StillMaking, settings: Settings) -> None:
    video = still_making.video("constant", 20)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(source_video_partitions.name), [str(video.id)])
        result = dg.materialize(
            [dg.AssetSpec("exports", partitions_def=source_video_partitions), keyframes],
            selection=["keyframes"],
            partition_key=str(video.id),
            resources=dagster_resources(settings),
            instance=instance,
        )
    (event,) = result.asset_materializations_for_node("keyframes")
    assert (event.metadata["clips with keyframes by this run"].value, event.metadata["keyframes"].value) == (2, 6)
    assert "data:image/webp;base64," in str(event.metadata["stills"].value)
