"""Virtual clips: scores become clips that cover every frame, once, and a changed threshold needs no decode."""

from __future__ import annotations

import base64
import json
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from numpy.typing import NDArray

from assets.pictures import peaks
from assets.proxy import make_proxy
from assets.virtual_clips import CutVideo, make_virtual_clips, recut, virtual_clips
from heaters_dagster.domain import scenes
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import BusyError, IllegalTransitionError, ObjectNotFoundError, PermanentError, SettingsError
from heaters_dagster.domain.frame_index import FrameIndex, FrameIndexHeader, encoded
from heaters_dagster.domain.keys import frame_index_key, original_key, proxy_key, scenes_key
from heaters_dagster.domain.scenes import CutSettings
from heaters_dagster.domain.source_facts import Chapter, Origin, SourceFacts
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.registries import DETECTORS
from heaters_dagster.settings import Settings
from resources.media.media_probe import probe
from resources.object_store.interface import ObjectStore
from resources.object_store.local import LocalObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.review_store import ReviewStore
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from tests.media_files import barcode_video
from tests.proxy_files import index_of, make_proxy_file
from tests.warm_process import ran

_S = SourceVideoState
FRAMES = 100
TIMES = [*np.cumsum([0.0, *([0.04, 0.04, 0.125] * 33)]).tolist()]  # variable frame rate, 1/1000 s


def chances(peaks: Mapping[int, float], frames: int = FRAMES) -> NDArray[np.float32]:
    scores = np.zeros(frames, np.float32)
    for frame, chance in peaks.items():
        scores[frame] = chance
    return scores


def frame_index(frames: int = FRAMES) -> FrameIndex:
    header = FrameIndexHeader(
        frame_count=frames,
        time_base=Fraction(1, 1000),
        end_pts=round(TIMES[-1] * 1000) + 40,
        width=160,
        height=120,
        sample_aspect_ratio=Fraction(1),
        avcc=b"\1avcc",
        has_audio=False,
        source_start_seconds=0.0,
    )
    pts = np.round(np.array(TIMES[:frames]) * 1000).astype(np.int64)
    return FrameIndex(header, 0, pts, np.arange(frames) * 10, np.full(frames, 10))


class Cutting:
    def __init__(self, database: Database, objects: ObjectStore, settings: Settings) -> None:
        self.database, self.objects, self.settings = database, objects, settings
        self.videos, self.clips, self.work = SourceVideoStore(database), ClipStore(database), WorkFolder(settings.work_folder)

    def with_settings(self, **changes: Any) -> Settings:
        return replace(self.settings, **changes)

    def preprocessed(self, peaks: Mapping[int, float]) -> SourceVideo:
        """A source video whose network scores are 0 but at `peaks`; its proxy is not there: nothing can be decoded."""
        video = self.videos.add("/films/test.mp4", "test")
        self.objects.put_bytes(frame_index_key(video.id), encoded(frame_index()))
        self.objects.put_bytes(scenes_key(video.id), scenes.encoded("transnetv2", {"transnetv2": chances(peaks)}))
        for state in (_S.DOWNLOADING, _S.DOWNLOADED, _S.PREPROCESSING):
            self.videos.set_state(video.id, state)
        return self.videos.set_state(video.id, _S.PREPROCESSED, frame_count=FRAMES)

    def with_proxy(self, path: Path) -> SourceVideo:
        """A preprocessed source video with a real proxy, frame index and content scores: all that the proxy pass makes."""
        video = self.videos.add(str(path), path.stem)
        self.videos.set_state(video.id, _S.DOWNLOADING)
        key = original_key(video.id, path.suffix)
        self.objects.put_file(key, path)
        self.videos.set_state(video.id, _S.DOWNLOADED, original_filepath=key, probe=probe(path).to_json())
        return make_proxy(video.id, videos=self.videos, objects=self.objects, work=self.work, detector="content").video

    def cut(self, video: SourceVideo, settings: Settings | None = None) -> CutVideo:
        return make_virtual_clips(
            video.id, database=self.database, objects=self.objects, work=self.work, settings=settings or self.settings
        )

    def recut(self, video: SourceVideo, **options: Any) -> list[Clip]:
        return recut(video.id, database=self.database, objects=self.objects, settings=self.settings, **options)

    def approve(self, clip: Clip) -> None:
        ReviewStore(self.database, lambda source_video_id, frames: [0.0 for _ in frames]).approve([clip.id], reviewer="ada")

    def stored(self, video: SourceVideo) -> scenes.Scenes:
        return scenes.decoded(self.objects.get_bytes(scenes_key(video.id)))


@pytest.fixture
def cutting(database: Database, object_store: ObjectStore, settings: Settings) -> Cutting:
    """With the network alone, whose scores are easily written down."""
    return Cutting(database, object_store, replace(settings, detector="transnetv2"))


def ranges(clips: Sequence[Clip]) -> list[tuple[int, int]]:
    return [(clip.start_frame, clip.end_frame) for clip in clips]


def test_scores_become_clips_that_cover_every_frame_with_the_confidence_of_their_weaker_boundary(cutting: Cutting) -> None:
    video = cutting.preprocessed({29: 0.9, 59: 0.5})
    made = cutting.cut(video)
    assert made.video.state == _S.SCENES_DETECTED
    assert ranges(made.clips) == [(0, 30), (30, 60), (60, 100)]
    assert [clip.confidence for clip in made.clips] == pytest.approx([0.9, 0.5, 0.5], abs=1e-3)
    assert {clip.state for clip in made.clips} == {ClipState.PENDING_REVIEW}
    assert made.clips == tuple(cutting.clips.load_live(video.id))


def test_times_of_clips_are_those_of_the_frame_index_also_on_variable_frame_rate(cutting: Cutting) -> None:
    made = cutting.cut(cutting.preprocessed({29: 0.9, 59: 0.5}))
    expected = [TIMES[0], TIMES[30], TIMES[60], TIMES[99] + 0.04]
    assert [clip.start_time_seconds for clip in made.clips] == pytest.approx(expected[:-1])
    assert [clip.end_time_seconds for clip in made.clips] == pytest.approx(expected[1:])


def test_a_video_without_a_cut_is_one_clip(cutting: Cutting) -> None:
    made = cutting.cut(cutting.preprocessed({}))
    assert ranges(made.clips) == [(0, 100)]
    assert made.clips[0].confidence is None


def test_threshold_and_shortest_clip_are_those_of_the_settings(cutting: Cutting) -> None:
    video = cutting.preprocessed({29: 0.9, 32: 0.7, 59: 0.2})
    made = cutting.cut(video, cutting.with_settings(detector_threshold=0.15, min_clip_frames=5))
    assert ranges(made.clips) == [(0, 30), (30, 60), (60, 100)]


def test_the_row_and_the_file_say_how_it_was_cut(cutting: Cutting) -> None:
    video = cutting.preprocessed({29: 0.9, 32: 0.7})
    cutting.cut(video, cutting.with_settings(min_clip_frames=5))
    assert cutting.videos.load(video.id).scene_settings == {"detector": "transnetv2", "threshold": 0.35, "min_clip_frames": 5}
    stored = cutting.stored(video)
    assert stored.settings == CutSettings("transnetv2", 0.35, 5)
    assert [one.frame for one in stored.boundaries] == [30, 33]


def test_cutting_twice_changes_nothing(cutting: Cutting) -> None:
    video = cutting.preprocessed({29: 0.9})
    once = cutting.cut(video)
    file = cutting.objects.get_bytes(scenes_key(video.id))
    assert cutting.cut(video).clips == once.clips
    assert cutting.objects.get_bytes(scenes_key(video.id)) == file
    assert cutting.videos.load(video.id).next_clip_sequence == 3


def test_once_review_has_begun_a_repeated_run_leaves_everything_as_it_is(cutting: Cutting) -> None:
    video = cutting.preprocessed({29: 0.9})
    cutting.approve(cutting.cut(video).clips[0])
    made = cutting.cut(video, cutting.with_settings(detector_threshold=0.95))
    assert made.scenes is None
    assert ranges(made.clips) == [(0, 30), (30, 100)]
    assert [clip.state for clip in made.clips] == ["review_approved", "pending_review"]


KILLED = """
import json, os, signal, sys
from pathlib import Path
from assets.virtual_clips import make_virtual_clips, recut
from heaters_dagster.settings import Settings
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.object_store.local import LocalObjectStore
from resources.object_store.work_folder import WorkFolder
url, home, objects, video, when, again = json.loads(sys.argv[1])
settings = Settings(home=Path(home), database_url=url, detector="transnetv2")

class Dying(LocalObjectStore):
    writes = 0

    def put_bytes(self, key, data, **options):
        Dying.writes += 1
        if when == f"before write {Dying.writes}":
            os.kill(os.getpid(), signal.SIGKILL)
        info = super().put_bytes(key, data, **options)
        if when == f"after write {Dying.writes}":
            os.kill(os.getpid(), signal.SIGKILL)
        return info

class DyingClips(ClipStore):
    def replace_cuts(self, *arguments, **options):
        if when == "before the clips":
            os.kill(os.getpid(), signal.SIGKILL)
        made = super().replace_cuts(*arguments, **options)
        if when == "after the clips":
            os.kill(os.getpid(), signal.SIGKILL)
        return made

import assets.virtual_clips
assets.virtual_clips.ClipStore = DyingClips
work = WorkFolder(settings.work_folder)
cutting = {"database": Database.connect(url), "objects": Dying(Path(objects)), "settings": settings}
if again:
    recut(video, threshold=0.6, force=True, **cutting)
else:
    make_virtual_clips(video, work=work, **cutting)
"""


@pytest.mark.folder
@pytest.mark.parametrize("when", ["before the clips", "after the clips", "before write 1", "after write 1"])
def test_a_run_that_was_killed_is_finished_by_the_next_one(when: str, cutting: Cutting, object_store: LocalObjectStore) -> None:
    video = cutting.preprocessed({29: 0.9, 59: 0.5})
    killed_at(when, cutting, object_store, video, again=False)
    assert cutting.videos.load(video.id).state == (_S.DETECTING_SCENES if when == "before the clips" else _S.SCENES_DETECTED)
    assert_the_file_tells_of_no_other_cuts(cutting, video)
    made = cutting.cut(video)
    assert ranges(made.clips) == [(0, 30), (30, 60), (60, 100)]
    assert made.video.next_clip_sequence == 4
    assert made.video.scene_settings == {"detector": "transnetv2", "threshold": 0.35, "min_clip_frames": 2}
    assert {info.key for info in cutting.objects.list()} == {frame_index_key(video.id), scenes_key(video.id)}


def killed_at(when: str, cutting: Cutting, object_store: LocalObjectStore, video: SourceVideo, *, again: bool) -> None:
    arguments = json.dumps([cutting.database.url, str(cutting.settings.home), str(object_store.folder), video.id, when, again])
    assert ran(KILLED, arguments).returncode == -signal.SIGKILL


def assert_the_file_tells_of_no_other_cuts(cutting: Cutting, video: SourceVideo) -> None:
    """Either it says nothing of cuts, or it says just what the rows say; and what the rows say can be read from the scores in any case."""
    row, stored = cutting.videos.load(video.id), cutting.stored(video)
    cuts = [clip.start_frame for clip in cutting.clips.load_live(video.id)][1:]
    if stored.settings is not None:
        assert stored.settings.to_json() == row.scene_settings
        assert [boundary.frame for boundary in stored.boundaries] == cuts
    assert [boundary.frame for boundary in scenes.told_boundaries(stored, row.scene_settings, DETECTORS.find)] == cuts


@pytest.mark.folder
@pytest.mark.parametrize(
    ("when", "cuts"),
    [
        ("before write 1", [(0, 30), (30, 60), (60, 100)]),
        ("after write 1", [(0, 30), (30, 60), (60, 100)]),
        ("before the clips", [(0, 30), (30, 60), (60, 100)]),
        ("after the clips", [(0, 30), (30, 100)]),
        ("before write 2", [(0, 30), (30, 100)]),
        ("after write 2", [(0, 30), (30, 100)]),
    ],
)
def test_the_scenes_file_never_tells_of_cuts_that_are_not_there(
    when: str, cuts: list[tuple[int, int]], cutting: Cutting, object_store: LocalObjectStore
) -> None:
    """A forced recut of a video in review, killed at every step: first the file falls silent, then rows change, then it tells."""
    video = cutting.preprocessed({29: 0.9, 59: 0.5})
    cutting.approve(cutting.cut(video).clips[0])
    killed_at(when, cutting, object_store, video, again=True)
    assert ranges(cutting.clips.load_live(video.id)) == cuts
    assert_the_file_tells_of_no_other_cuts(cutting, video)
    cutting.cut(video)  # review has begun: the cuts stay, and what is missing in the file is told
    assert ranges(cutting.clips.load_live(video.id)) == cuts
    assert cutting.stored(video).settings is not None
    assert_the_file_tells_of_no_other_cuts(cutting, video)


def test_a_recut_that_the_database_refuses_leaves_the_file_as_it_was(cutting: Cutting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Review begins between the look and the transaction."""
    video = cutting.preprocessed({29: 0.9, 59: 0.5})
    first = cutting.cut(video).clips[0]
    file = cutting.objects.get_bytes(scenes_key(video.id))
    looked = ClipStore.review_has_begun

    def and_then_it_begins(store: ClipStore, source_video_id: int) -> bool:
        begun = looked(store, source_video_id)
        cutting.approve(first)
        return begun

    monkeypatch.setattr(ClipStore, "review_has_begun", and_then_it_begins)
    with pytest.raises(PermanentError, match="has begun"):
        cutting.recut(video, threshold=0.6)
    assert cutting.objects.get_bytes(scenes_key(video.id)) == file
    assert cutting.videos.load(video.id).scene_settings == {"detector": "transnetv2", "threshold": 0.35, "min_clip_frames": 2}


def test_another_threshold_cuts_again_without_a_decode(cutting: Cutting) -> None:
    video = cutting.preprocessed({29: 0.9, 59: 0.5, 79: 0.2})
    cutting.cut(video)
    assert ranges(cutting.recut(video, threshold=0.6)) == [(0, 30), (30, 100)]
    assert ranges(cutting.recut(video, threshold=0.1, min_clip_frames=30)) == [(0, 30), (30, 60), (60, 100)]
    assert ranges(cutting.recut(video)) == [(0, 30), (30, 60), (60, 100)]
    assert cutting.videos.load(video.id).scene_settings == {"detector": "transnetv2", "threshold": 0.35, "min_clip_frames": 2}
    assert [clip.sequence for clip in cutting.clips.load_live(video.id)] == [6, 7, 8]


def test_cutting_again_is_refused_once_review_has_begun_and_can_be_forced(cutting: Cutting) -> None:
    video = cutting.preprocessed({29: 0.9, 59: 0.5})
    cutting.approve(cutting.cut(video).clips[0])
    file = cutting.objects.get_bytes(scenes_key(video.id))
    with pytest.raises(
        PermanentError, match=r"review of source video \d+ has begun, and new cuts would undo its decisions. To cut all the same: --force"
    ):
        cutting.recut(video, threshold=0.6)
    assert len(cutting.clips.load_live(video.id)) == 3
    assert cutting.objects.get_bytes(scenes_key(video.id)) == file
    assert ranges(cutting.recut(video, threshold=0.6, force=True)) == [(0, 30), (30, 100)]
    newest = ReviewStore(cutting.database, lambda source_video_id, frames: []).history()[0]
    assert (newest.action, newest.reviewer) == (ReviewAction.RECUT, cutting.settings.reviewer)


def test_cutting_again_needs_a_first_cut_a_legal_threshold_and_nobody_else_at_it(cutting: Cutting) -> None:
    video = cutting.preprocessed({29: 0.9})
    with pytest.raises(IllegalTransitionError, match=r"has no cuts yet \(its state: preprocessed\)"):
        cutting.recut(video)
    cutting.cut(video)
    with pytest.raises(SettingsError, match="threshold 0"):
        cutting.recut(video, threshold=0.0)
    with cutting.database.stage_lock("virtual_clips", video.id), pytest.raises(BusyError):
        cutting.recut(video)
    assert ranges(cutting.clips.load_live(video.id)) == [(0, 30), (30, 100)]


def test_a_detector_chosen_later_is_scored_from_the_proxy_once_and_the_old_scores_are_kept(cutting: Cutting, tmp_path: Path) -> None:
    video = cutting.with_proxy(barcode_video(tmp_path / "s.mp4", frames=48, vfr=True, scenes=[20, 33]))
    assert not cutting.cut(video, cutting.with_settings(detector="content")).decoded_again
    with_histogram = cutting.recut(video, detector="histogram")
    assert {20, 33} <= {clip.start_frame for clip in with_histogram}
    assert set(cutting.stored(video).scores) == {"content", "histogram"}
    cutting.objects.delete(proxy_key(video.id))
    assert len(cutting.recut(video, detector="content", threshold=254.0)) == 1
    assert ranges(cutting.recut(video, detector="histogram")) == ranges(with_histogram)
    assert cutting.stored(video).settings == CutSettings("histogram", 0.2, 2)


def test_cutting_again_stays_with_the_detector_that_made_the_cuts(cutting: Cutting) -> None:
    """`heaters recut` in a shell without the settings of the server must not score anew with another detector."""
    video = cutting.preprocessed({29: 0.9})
    cutting.cut(video)
    adaptive = cutting.with_settings(detector="adaptive", detector_threshold=200.0)
    recut(video.id, database=cutting.database, objects=cutting.objects, settings=adaptive)
    assert cutting.videos.load(video.id).scene_settings == {"detector": "transnetv2", "threshold": 0.35, "min_clip_frames": 2}


@pytest.mark.parametrize("damaged", [None, b"", b"{}", scenes.encoded("content", {"content": chances({}, 47)})])
def test_scores_that_are_gone_or_of_another_video_are_made_from_the_proxy(damaged: bytes | None, cutting: Cutting, tmp_path: Path) -> None:
    video = cutting.with_proxy(barcode_video(tmp_path / "s.mp4", frames=48, scenes=[20]))
    if damaged is None:
        cutting.objects.delete(scenes_key(video.id))
    else:
        cutting.objects.put_bytes(scenes_key(video.id), damaged)
    made = cutting.cut(video, cutting.with_settings(detector="content"))
    assert made.decoded_again
    assert ranges(made.clips) == [(0, 20), (20, 48)]
    assert list(cutting.work.root.iterdir()) == []


def test_videos_that_the_network_alone_has_cut_are_recut_from_what_is_stored_when_the_default_is_another_detector(cutting: Cutting) -> None:
    """There is no proxy: nothing could be decoded. Scores have no second head, as they were stored at first."""
    video = cutting.preprocessed({29: 0.9, 59: 0.3})
    assert ranges(cutting.cut(video).clips) == [(0, 30), (30, 100)]
    cutting.settings = replace(cutting.settings, detector=Settings(home=cutting.settings.home).detector)
    assert cutting.settings.detector == "learned"
    assert ranges(cutting.recut(video, threshold=0.2)) == [(0, 30), (30, 60), (60, 100)]
    assert cutting.videos.load(video.id).scene_settings == {"detector": "transnetv2", "threshold": 0.2, "min_clip_frames": 2}
    with pytest.raises(ObjectNotFoundError):
        cutting.recut(video, detector="learned")
    assert ranges(cutting.clips.load_live(video.id)) == [(0, 30), (30, 60), (60, 100)]


def test_cuts_are_displayed_frames_also_when_the_frame_rate_varies(cutting: Cutting, tmp_path: Path) -> None:
    path = barcode_video(tmp_path / "s.mp4", frames=48, vfr=True, b_frames=2, scenes=[20, 33])
    made = cutting.cut(cutting.with_proxy(path), cutting.with_settings(detector="content"))
    assert ranges(made.clips) == [(0, 20), (20, 33), (33, 48)]
    index = index_of(make_proxy_file(path, tmp_path / "proxy.mp4"))
    times = [index.time_seconds(frame) for frame in (0, 20, 33, 48)]
    assert [clip.start_time_seconds for clip in made.clips] == pytest.approx(times[:-1], abs=1e-4)
    assert [clip.end_time_seconds for clip in made.clips] == pytest.approx(times[1:], abs=1e-4)


def materialize(video: SourceVideo, settings: Settings) -> dg.ExecuteInProcessResult:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("source_videos", [str(video.id)])
    above = [dg.AssetSpec(name, partitions_def=source_video_partitions) for name in ("proxy", "keyframe_offsets")]
    return dg.materialize(
        [*above, virtual_clips], partition_key=str(video.id), instance=instance, resources=dagster_resources(settings), raise_on_error=False
    )


def test_the_asset_shows_an_operator_counts_durations_and_the_scores_with_the_cuts(cutting: Cutting) -> None:
    video = cutting.preprocessed({29: 0.9, 30: 0.1, 59: 0.5})
    result = materialize(video, cutting.settings)
    assert result.success
    (event,) = result.asset_materializations_for_node("virtual_clips")
    shown: dict[str, Any] = {name: value.value for name, value in event.metadata.items()}
    assert (shown["clips"], shown["frames"], shown["boundaries found"], shown["boundaries left out"]) == (3, 100, 2, 0)
    assert (shown["detector"], shown["threshold"], shown["scores from"]) == ("transnetv2", 0.35, "the proxy pass")
    assert shown["seconds, shortest clip"] <= shown["seconds, median clip"] <= shown["seconds, longest clip"]
    assert "| 2 | 30..59 | " in str(shown["least confident"])
    picture = re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)\)", str(shown["scene scores"]))
    assert picture is not None
    assert base64.b64decode(picture[1]).startswith(b"\x89PNG")


def test_the_plot_of_a_long_video_still_shows_a_peak_of_one_frame() -> None:
    scores = chances({123_457: 0.9}, 216_000)
    places, heights = peaks(scores)
    assert len(places) <= 1600
    assert heights.max() == pytest.approx(0.9)
    assert abs(int(places[heights.argmax()]) - 123_457) < 216_000 / 1000


def test_a_failure_is_on_the_row_and_can_be_retried(cutting: Cutting) -> None:
    video = cutting.preprocessed({29: 0.9})
    scores = cutting.objects.get_bytes(scenes_key(video.id))
    cutting.objects.delete(scenes_key(video.id))
    assert not materialize(video, cutting.settings).success
    failed = cutting.videos.load(video.id)
    assert failed.state == _S.DETECT_SCENES_FAILED
    assert failed.error is not None
    assert proxy_key(video.id) in failed.error
    cutting.objects.put_bytes(scenes_key(video.id), scores)
    cutting.videos.retry(video.id)
    assert materialize(video, cutting.settings).success
    assert cutting.videos.load(video.id).state == _S.SCENES_DETECTED


def test_cuts_that_are_there_stay_good_when_cutting_again_fails(cutting: Cutting) -> None:
    video = cutting.preprocessed({29: 0.9})
    cutting.cut(video)
    cutting.objects.delete(scenes_key(video.id))
    with pytest.raises(ObjectNotFoundError):
        cutting.cut(video)
    assert not materialize(video, cutting.settings).success
    told = cutting.videos.load(video.id)
    assert told.state == _S.SCENES_DETECTED
    assert told.error is not None
    assert "proxy" in told.error
    assert ranges(cutting.clips.load_live(video.id)) == [(0, 30), (30, 100)]


def test_chapters_begin_clips_when_the_submitter_wants_it_and_a_recut_keeps_that(cutting: Cutting) -> None:
    """On variable frame rate: the frame is that of the index, never seconds times a rate."""
    video = cutting.preprocessed({29: 0.9, 61: 0.8})
    cutting.videos.update(video.id, chapters_as_cuts=True)
    chapters = (Chapter("Begin", 0.0), Chapter("Two", round(TIMES[47], 2)), Chapter("Three", TIMES[60]), Chapter("Late", 99.0))
    FactsStore(cutting.database).put(video.id, SourceFacts(chapters=chapters), Origin.SITE)
    made = cutting.cut(video, cutting.with_settings(min_clip_frames=5))
    assert ranges(made.clips) == [(0, 30), (30, 47), (47, 60), (60, 100)]
    assert [clip.confidence for clip in made.clips] == [pytest.approx(0.9, abs=1e-3)] * 2 + [None, None]
    assert made.clips[0].cut_kind == "end"
    assert [clip.cut_kind for clip in made.clips[2:]] == ["hand", "hand"], "a chapter is put there by people"
    kinds = {one.frame: one.kind for one in cutting.stored(video).boundaries}
    assert kinds == {30: "", 47: "chapter", 60: "chapter", 62: ""}
    assert ranges(cutting.recut(video, threshold=0.95)) == [(0, 47), (47, 60), (60, 100)]
    assert ranges(cutting.cut(video).clips) == [(0, 30), (30, 47), (47, 60), (60, 62), (62, 100)]
    assert ranges(cutting.recut(video, chapters_as_cuts=False)) == [(0, 30), (30, 62), (62, 100)]
    assert cutting.videos.load(video.id).chapters_as_cuts is False
    assert ranges(cutting.recut(video, threshold=0.95)) == [(0, 100)]
