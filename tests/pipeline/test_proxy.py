from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from assets.proxy import (
    MadeProxy,
    compare_proxy_with_original,
    make_proxy,
    proxy_and_keyframe_offsets,
    undecodable_index_entries,
)
from assets.proxy_pass import proxy_pass
from heaters_dagster.domain import scenes
from heaters_dagster.domain.errors import (
    IllegalTransitionError,
    InvalidMediaError,
    ObjectNotFoundError,
    PermanentError,
    StoreUnavailableError,
)
from heaters_dagster.domain.keys import frame_index_key, looks_key, original_key, proxy_key, scenes_key
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.registries import DETECTORS
from heaters_dagster.settings import Settings, child_environment
from resources.media.frame_index_reader import FrameIndexes
from resources.media.media_probe import probe
from resources.object_store.interface import ObjectInfo
from resources.object_store.local import LocalObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from tests.media_files import (
    barcode_video,
    barcodes,
    ffmpeg,
    size_changes,
    truncated,
    variable_times,
    with_bit_errors,
    wrecked,
)
from tests.proxy_files import local_copy
from tests.warm_process import started

_S = SourceVideoState
DETECTOR = "content"
CUTS = [20, 33]


@pytest.fixture
def videos(database: Database) -> SourceVideoStore:
    return SourceVideoStore(database)


@pytest.fixture
def work(settings: Settings) -> WorkFolder:
    return WorkFolder(settings.work_folder)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """48 frames of variable frame rate with cuts at frames 20 and 33, and sound."""
    return barcode_video(tmp_path / "clip.mp4", frames=48, vfr=True, scenes=CUTS)


def downloaded(path: Path, videos: SourceVideoStore, objects: LocalObjectStore, *, like: Path | None = None) -> int:
    """A source video whose original is `path`, probed as if it were `like`; its id."""
    video = videos.add(str(path), path.stem)
    videos.set_state(video.id, _S.DOWNLOADING)
    key = original_key(video.id, path.suffix)
    objects.put_file(key, path)
    found = probe(like or path)
    videos.set_state(video.id, _S.DOWNLOADED, original_filepath=key, original_bytes=path.stat().st_size, probe=found.to_json())
    return video.id


Make = Callable[..., MadeProxy]


@pytest.fixture
def make(videos: SourceVideoStore, object_store: LocalObjectStore, work: WorkFolder) -> Make:
    def made(source_video_id: int, *, objects: LocalObjectStore = object_store, detector: str = DETECTOR) -> MadeProxy:
        return make_proxy(source_video_id, videos=videos, objects=objects, work=work, detector=detector)

    return made


def keys(objects: LocalObjectStore) -> list[str]:
    return [info.key for info in objects.list()]


def test_a_downloaded_video_becomes_proxy_index_and_scores(
    clip: Path, videos: SourceVideoStore, object_store: LocalObjectStore, work: WorkFolder, make: Make
):
    source_video_id = downloaded(clip, videos, object_store)
    made = make(source_video_id)

    video = videos.load(source_video_id)
    assert (video.state, video.frame_count, video.error, video.warnings) == (_S.PREPROCESSED, 48, None, ())
    assert (video.proxy_filepath, video.frame_index_filepath, video.scenes_filepath) == (
        proxy_key(source_video_id), frame_index_key(source_video_id), scenes_key(source_video_id),
    )  # fmt: skip
    assert video.duration_seconds == pytest.approx(variable_times(48)[-1] + 1 / 24, abs=0.05)
    path = local_copy(object_store, proxy_key(source_video_id), work.root.parent)
    assert barcodes(path) == list(range(48))
    index = FrameIndexes(object_store).load(source_video_id)
    assert np.allclose(index.pts * float(index.header.time_base), variable_times(48), atol=1e-4)
    assert made.proxy_bytes == path.stat().st_size
    assert list(work.root.iterdir()) == []


@pytest.mark.folder
def test_the_scores_find_the_cuts_by_displayed_frame_whatever_the_frame_rate(
    clip: Path, videos: SourceVideoStore, object_store: LocalObjectStore, make: Make
):
    source_video_id = downloaded(clip, videos, object_store)
    make(source_video_id)
    stored = scenes.decoded(object_store.get_bytes(scenes_key(source_video_id)))
    assert (stored.detector, stored.frame_count, stored.settings) == (DETECTOR, 48, None)
    found = scenes.boundaries(stored.scores, DETECTORS.load(DETECTOR), DETECTORS.load(DETECTOR).default_threshold)
    assert [boundary.frame for boundary in found] == CUTS


@pytest.mark.folder
def test_a_video_that_is_done_is_not_made_again(clip: Path, videos: SourceVideoStore, object_store: LocalObjectStore, make: Make):
    source_video_id = downloaded(clip, videos, object_store)
    assert make(source_video_id).wall_seconds is not None
    path = object_store.local_path(proxy_key(source_video_id))
    assert path is not None
    before = path.stat().st_mtime_ns
    again = make(source_video_id)
    assert again.wall_seconds is None
    assert len(again.index) == 48
    assert path.stat().st_mtime_ns == before


def test_what_was_published_before_a_kill_is_found_again(clip: Path, videos: SourceVideoStore, object_store: LocalObjectStore, make: Make):
    source_video_id = downloaded(clip, videos, object_store)
    make(source_video_id)
    videos.set_state(source_video_id, _S.PREPROCESSING, frame_count=None, proxy_filepath=None)
    again = make(source_video_id)
    assert again.wall_seconds is None
    assert (again.video.state, again.video.frame_count, again.video.proxy_filepath) == (_S.PREPROCESSED, 48, proxy_key(source_video_id))


@pytest.mark.parametrize("lost", [proxy_key, frame_index_key, scenes_key])
def test_a_part_that_is_missing_is_made_again(
    lost: Callable[[int], str], clip: Path, videos: SourceVideoStore, object_store: LocalObjectStore, make: Make
):
    source_video_id = downloaded(clip, videos, object_store)
    make(source_video_id)
    complete = keys(object_store)
    object_store.delete(lost(source_video_id))
    assert make(source_video_id).wall_seconds is not None
    assert keys(object_store) == complete


@pytest.mark.folder
def test_scores_of_another_detector_are_made_again(clip: Path, videos: SourceVideoStore, object_store: LocalObjectStore, make: Make):
    source_video_id = downloaded(clip, videos, object_store)
    make(source_video_id)
    assert make(source_video_id, detector="adaptive").wall_seconds is None, "decides by the same scores"
    assert make(source_video_id, detector="histogram").wall_seconds is not None
    assert scenes.decoded(object_store.get_bytes(scenes_key(source_video_id))).has_scores_for(DETECTORS.load("histogram"))


def cut(source_video_id: int, videos: SourceVideoStore) -> SourceVideo:
    videos.set_state(source_video_id, _S.DETECTING_SCENES)
    return videos.load(source_video_id)


def test_a_lost_proxy_of_a_cut_video_comes_back_and_the_cuts_stay(
    clip: Path, videos: SourceVideoStore, object_store: LocalObjectStore, make: Make
):
    source_video_id = downloaded(clip, videos, object_store)
    make(source_video_id)
    before = cut(source_video_id, videos)
    said = b'{"how": "the clips were cut"}'
    object_store.put_bytes(scenes_key(source_video_id), said)
    object_store.delete(proxy_key(source_video_id))
    make(source_video_id)
    after = videos.load(source_video_id)
    assert object_store.get_bytes(scenes_key(source_video_id)) == said
    assert (after.state, after.frame_count) == (before.state, before.frame_count)
    assert object_store.info(proxy_key(source_video_id)) is not None


def test_a_lost_proxy_is_not_replaced_by_one_that_the_cuts_do_not_fit(
    clip: Path, tmp_path: Path, videos: SourceVideoStore, object_store: LocalObjectStore, make: Make
):
    source_video_id = downloaded(clip, videos, object_store)
    make(source_video_id)
    cut(source_video_id, videos)
    object_store.delete(proxy_key(source_video_id))
    object_store.put_file(original_key(source_video_id, ".mp4"), barcode_video(tmp_path / "shorter.mp4", frames=40))
    with pytest.raises(PermanentError, match="A new one has 40 frames, but its clips were cut from 48"):
        make(source_video_id)
    assert object_store.info(proxy_key(source_video_id)) is None


class Remote(LocalObjectStore):
    """A store whose objects do not lie on this machine."""

    def local_path(self, key: str) -> Path | None:
        if self.info(key) is None:
            raise ObjectNotFoundError(f"no object {key}")
        return None


def test_a_remote_original_is_fetched_into_the_attempts_folder(
    clip: Path, settings: Settings, videos: SourceVideoStore, work: WorkFolder, make: Make
):
    remote = Remote(settings.objects_folder)
    source_video_id = downloaded(clip, videos, remote)
    make(source_video_id, objects=remote)
    assert barcodes(settings.objects_folder / proxy_key(source_video_id)) == list(range(48))
    assert list(work.root.iterdir()) == []
    tried, bad = undecodable_index_entries(source_video_id, objects=remote)
    assert (tried, bad) == (24, {})


def test_a_lost_original_is_named_with_the_remedy(clip: Path, videos: SourceVideoStore, object_store: LocalObjectStore, make: Make):
    source_video_id = downloaded(clip, videos, object_store)
    object_store.delete(original_key(source_video_id, ".mp4"))
    with pytest.raises(PermanentError, match=r"clip: its original is not in the store.*submit it again"):
        make(source_video_id)


def test_a_video_that_was_not_downloaded_cannot_have_a_proxy(videos: SourceVideoStore, make: Make):
    with pytest.raises(IllegalTransitionError, match="new cannot become preprocessing"):
        make(videos.add("/somewhere.mp4", "somewhere").id)


class Breaking(LocalObjectStore):
    """Breaks off when the `left`-th object from now is published."""

    left = 0

    def put_file(self, *args: object, **kwargs: object) -> ObjectInfo:
        self._count()
        return super().put_file(*args, **kwargs)  # type: ignore[arg-type]

    def put_bytes(self, *args: object, **kwargs: object) -> ObjectInfo:
        self._count()
        return super().put_bytes(*args, **kwargs)  # type: ignore[arg-type]

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise StoreUnavailableError("the store went away")


@pytest.mark.parametrize("published", [1, 2, 3])
def test_a_store_that_goes_away_leaves_no_proxy_and_the_next_try_succeeds(
    published: int, clip: Path, settings: Settings, videos: SourceVideoStore, work: WorkFolder, make: Make
):
    store = Breaking(settings.objects_folder, work_folder=settings.work_folder)
    source_video_id = downloaded(clip, videos, store)
    store.left = published
    with pytest.raises(StoreUnavailableError):
        make(source_video_id, objects=store)
    assert store.info(proxy_key(source_video_id)) is None
    assert videos.load(source_video_id).state == _S.PREPROCESSING
    assert list(work.root.iterdir()) == []
    make(source_video_id, objects=store)
    assert videos.load(source_video_id).state == _S.PREPROCESSED


@pytest.mark.parametrize("after_seconds", [0.0, 0.15, 0.6])
def test_a_kill_at_any_moment_is_made_good_by_the_next_try(
    after_seconds: float,
    tmp_path: Path,
    settings: Settings,
    videos: SourceVideoStore,
    object_store: LocalObjectStore,
    work: WorkFolder,
    make: Make,
):
    source = ffmpeg(["-f", "lavfi", "-i", "testsrc2=s=640x480:r=25:d=16", "-c:v", "mpeg4", "-b:v", "2M"], tmp_path / "long.mp4")
    source_video_id = downloaded(source, videos, object_store)
    program = f"""
        from assets.proxy import make_proxy
        from heaters_dagster.settings import Settings
        from resources.postgres.database import Database
        from resources.object_store.open import open_object_store
        from resources.postgres.source_video_store import SourceVideoStore
        from resources.object_store.work_folder import WorkFolder
        settings = Settings.from_environment()
        objects = open_object_store(settings)
        say = lambda progress: print("running", flush=True)
        videos = SourceVideoStore(Database.connect(settings.database_url))
        make_proxy({source_video_id}, videos=videos, objects=objects, work=WorkFolder(settings.work_folder), detector="content", report=say)
    """
    assert settings.database_url is not None
    process = started(textwrap.dedent(program), environment=child_environment(settings))
    assert process.stdout.readline() == "running\n"
    time.sleep(after_seconds)
    process.kill()
    process.wait()

    assert videos.load(source_video_id).state in {_S.PREPROCESSING, _S.PREPROCESSED}
    assert object_store.info(proxy_key(source_video_id)) is None or videos.load(source_video_id).state == _S.PREPROCESSED
    make(source_video_id)
    work.sweep()
    assert videos.load(source_video_id).state == _S.PREPROCESSED
    assert videos.load(source_video_id).frame_count == 400
    assert keys(object_store) == sorted(
        [
            original_key(source_video_id, ".mp4"),
            *(key(source_video_id) for key in (proxy_key, frame_index_key, scenes_key, looks_key)),
        ]
    )
    assert list(work.root.iterdir()) == []


@pytest.mark.folder
def test_a_truncated_original_is_kept_to_its_last_frame_and_the_loss_is_said(
    tmp_path: Path, videos: SourceVideoStore, object_store: LocalObjectStore, work: WorkFolder, make: Make
):
    source = truncated(barcode_video(tmp_path / "whole.mp4", frames=48, audio=False), tmp_path / "half.mp4")
    source_video_id = downloaded(source, videos, object_store)
    make(source_video_id)
    video = videos.load(source_video_id)
    assert video.frame_count is not None
    assert 16 < video.frame_count < 48
    assert [
        warning for warning in video.warnings if f"the file says that it has 48 frames, but {video.frame_count} can be shown" in warning
    ]
    assert compare_proxy_with_original(source_video_id, videos=videos, objects=object_store, work=work).same


@pytest.mark.folder
def test_bit_errors_are_counted_in_a_warning(tmp_path: Path, videos: SourceVideoStore, object_store: LocalObjectStore, make: Make):
    source = with_bit_errors(barcode_video(tmp_path / "whole.mp4", frames=48, b_frames=2), tmp_path / "flipped.mp4", count=30)
    source_video_id = downloaded(source, videos, object_store)
    make(source_video_id)
    video = videos.load(source_video_id)
    assert video.frame_count is not None
    assert 36 <= video.frame_count <= 48
    assert [warning for warning in video.warnings if warning.startswith("damaged: ")]


def test_pictures_that_change_size_are_told_in_a_warning(tmp_path: Path):
    source = size_changes(tmp_path)
    made = proxy_pass(source, probe(source), tmp_path / "proxy.mp4", detector=DETECTOR, called="programmes")
    assert len(made.index) == 48
    assert "its pictures change from 160x120 to 320x240 within the file: the proxy scales all to the first size" in made.warnings


def test_a_video_without_a_frame_that_decodes_is_refused(
    tmp_path: Path, videos: SourceVideoStore, object_store: LocalObjectStore, make: Make
):
    whole = barcode_video(tmp_path / "whole.mp4", frames=12)
    source_video_id = downloaded(wrecked(whole, tmp_path / "useless.mp4", "video"), videos, object_store, like=whole)
    with pytest.raises(InvalidMediaError, match="useless: no frame"):
        make(source_video_id)
    assert object_store.info(proxy_key(source_video_id)) is None


@pytest.mark.folder
def test_sound_that_cannot_be_decoded_costs_the_sound_and_not_the_video(
    tmp_path: Path, videos: SourceVideoStore, object_store: LocalObjectStore, make: Make
):
    whole = barcode_video(tmp_path / "whole.mp4", frames=12)
    source_video_id = downloaded(wrecked(whole, tmp_path / "mute.mp4", "audio"), videos, object_store, like=whole)
    made = make(source_video_id)
    assert not made.index.header.has_audio
    assert [warning for warning in made.video.warnings if "silent" in warning]


def test_sound_that_is_not_there_is_left_out(tmp_path: Path):
    source = barcode_video(tmp_path / "s.mp4", frames=12)
    found = probe(source)
    (audio,) = found.audio
    missing = type(found)(found.container, found.duration_seconds, found.video, (type(audio)(7, "aac", 2, 48_000, None, 0.0),))
    made = proxy_pass(source, missing, tmp_path / "proxy.mp4", detector=DETECTOR, called="s")
    assert len(made.index) == 12
    assert made.warnings[-1] == "its sound cannot be decoded, so the proxy is silent"


def test_the_check_sees_a_proxy_of_another_video(
    clip: Path, tmp_path: Path, videos: SourceVideoStore, object_store: LocalObjectStore, work: WorkFolder, make: Make
):
    first = downloaded(clip, videos, object_store)
    second = downloaded(barcode_video(tmp_path / "other.mp4", frames=48), videos, object_store)
    make(first)
    make(second)
    compared = compare_proxy_with_original(first, videos=videos, objects=object_store, work=work)
    assert compared.same
    assert str(compared).startswith("48 frames in both")
    object_store.put_bytes(frame_index_key(first), object_store.get_bytes(frame_index_key(second)))
    assert not compare_proxy_with_original(first, videos=videos, objects=object_store, work=work).same


def test_the_check_sees_an_index_that_points_elsewhere(clip: Path, videos: SourceVideoStore, object_store: LocalObjectStore, make: Make):
    source_video_id = downloaded(clip, videos, object_store)
    make(source_video_id)
    assert undecodable_index_entries(source_video_id, objects=object_store) == (24, {})
    index = FrameIndexes(object_store).load(source_video_id)
    data = bytearray(object_store.get_bytes(proxy_key(source_video_id)))
    data[int(index.byte_offset[-1]) :] = b"\0" * (len(data) - int(index.byte_offset[-1]))
    object_store.put_bytes(proxy_key(source_video_id), bytes(data))
    _, bad = undecodable_index_entries(source_video_id, objects=object_store)
    assert list(bad) == [47]


def materialize(source_video_id: int, settings: Settings) -> dg.ExecuteInProcessResult:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("source_videos", [str(source_video_id)])
    assert source_video_partitions.name == "source_videos"
    return dg.materialize(
        [dg.AssetSpec("source_video", partitions_def=source_video_partitions), proxy_and_keyframe_offsets],
        partition_key=str(source_video_id), instance=instance, resources=dagster_resources(settings), raise_on_error=False,
    )  # fmt: skip


def content_settings(settings: Settings) -> Settings:
    return replace(settings, detector=DETECTOR)


def test_the_assets_show_an_operator_what_was_made(
    clip: Path, settings: Settings, videos: SourceVideoStore, object_store: LocalObjectStore
):
    source_video_id = downloaded(clip, videos, object_store)
    result = materialize(source_video_id, content_settings(settings))
    assert result.success
    (proxy,) = result.asset_materializations_for_node("proxy_and_keyframe_offsets")[:1]
    assert proxy.asset_key == dg.AssetKey("proxy")
    assert proxy.metadata["frames"].value == 48
    assert str(proxy.metadata["thumbnails"].value).count("data:image/webp;base64,") == 6
    (index,) = result.asset_materializations_for_node("proxy_and_keyframe_offsets")[1:]
    assert index.asset_key == dg.AssetKey("keyframe_offsets")
    assert index.metadata["frame rate"].value == "variable"


def test_a_failure_is_on_the_row_and_can_be_retried(
    tmp_path: Path, settings: Settings, videos: SourceVideoStore, object_store: LocalObjectStore
):
    whole = barcode_video(tmp_path / "whole.mp4", frames=12)
    source_video_id = downloaded(wrecked(whole, tmp_path / "useless.mp4", "video"), videos, object_store, like=whole)
    assert not materialize(source_video_id, content_settings(settings)).success
    video = videos.load(source_video_id)
    assert video.state == _S.PREPROCESS_FAILED
    assert video.error is not None
    assert video.error.startswith("useless: no frame")
    object_store.put_file(original_key(source_video_id, ".mp4"), whole)
    videos.retry(source_video_id)
    assert materialize(source_video_id, content_settings(settings)).success
    assert videos.load(source_video_id).state == _S.PREPROCESSED


def test_a_cut_video_whose_proxy_cannot_be_made_again_says_why_until_it_can(
    clip: Path, tmp_path: Path, settings: Settings, videos: SourceVideoStore, object_store: LocalObjectStore, make: Make
):
    source_video_id = downloaded(clip, videos, object_store)
    make(source_video_id)
    before = cut(source_video_id, videos)
    object_store.delete(proxy_key(source_video_id))
    original = object_store.get_bytes(original_key(source_video_id, ".mp4"))
    object_store.put_file(original_key(source_video_id, ".mp4"), barcode_video(tmp_path / "shorter.mp4", frames=40))
    result = materialize(source_video_id, content_settings(settings))
    assert not result.success
    failed = videos.load(source_video_id)
    assert (failed.state, failed.attempts) == (before.state, before.attempts)
    assert failed.error is not None
    assert "A new one has 40 frames, but its clips were cut from 48" in failed.error
    object_store.put_bytes(original_key(source_video_id, ".mp4"), original)
    assert materialize(source_video_id, content_settings(settings)).success
    assert videos.load(source_video_id).error is None
