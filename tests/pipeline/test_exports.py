"""Exports: exactly the clip's frames, each clip by itself, whatever happens to its neighbours, and nothing left lying about."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import dagster as dg
import numpy as np
import pytest
from sqlalchemy import text

from assets.clip_stage import ClipRun
from assets.exports import ENCODED_EXPORT, export_due, export_problems, exports
from assets.gold_master import make_gold_master
from heaters_dagster.domain.due import wanted_runs
from heaters_dagster.domain.errors import BusyError
from heaters_dagster.domain.keys import final_clip_key, gold_master_key, proxy_key
from heaters_dagster.domain.manifest import ExportManifest
from heaters_dagster.domain.progress import Progress
from heaters_dagster.domain.stages import Job
from heaters_dagster.domain.states import ClipState
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.setting_groups import BucketSettings
from heaters_dagster.settings import Settings
from resources.files.price_table import restore_terms
from resources.media import ffmpeg
from resources.media.frame_index_reader import FrameIndexes
from resources.media.media_probe import probe
from resources.object_store.interface import ObjectInfo, ObjectStore
from resources.object_store.local import LocalObjectStore
from resources.object_store.s3 import S3ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database, lock_key
from resources.postgres.due_facts import load_video_facts
from resources.postgres.export_store import ExportStore
from resources.postgres.master_restores import MasterRestores, RestoreAgreements
from resources.postgres.review_store import ReviewStore
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.upkeep.audit import audit
from resources.upkeep.cold_masters import notice_restored, unanswered
from tests.buckets import BucketServer
from tests.media_files import (
    barcode_video,
    barcodes,
    decoded,
    file_frame_hashes,
    make_video,
    rotated,
    with_default_sound_second,
    with_sound_gap,
    without_packets,
)
from tests.proxy_files import SOURCES, local_copy, stored_video, written_at
from tests.sound_sync import assert_in_sync
from tests.warm_process import ran


class Exporting:
    """A source video with approved clips, and what it takes to export them. profile: of the exports that were asked for last."""

    def __init__(self, database: Database, objects: ObjectStore, folder: Path) -> None:
        self.database, self.objects, self.folder = database, objects, folder
        self.clips, self.videos, self.work = ClipStore(database), SourceVideoStore(database), WorkFolder(folder / "work")
        self.exports, self.profile = ExportStore(database), "stream_copy"

    def video(self, source: Path, *cuts: int, approved: bool = True) -> SourceVideo:
        return stored_video(source, self.folder, database=self.database, objects=self.objects, cuts=cuts, approved=approved)

    def export(self, video: SourceVideo, **options: Any) -> ClipRun[ExportManifest]:
        terms = restore_terms(BucketSettings())
        options = {"objects": self.objects, "work": self.work, "database": self.database, "terms": terms, **options}
        return export_due(video.id, **options)

    def manifest(self, clip: Clip) -> ExportManifest:
        (export,) = [one for one in self.exports.of_clips([clip.id])[clip.id] if one.profile == self.profile]
        return ExportManifest.from_json(export.manifest)

    def file(self, clip: Clip) -> Path:
        return local_copy(self.objects, self.manifest(clip).key, self.folder)

    def keys(self) -> set[str]:
        return {info.key for info in self.objects.list("final_clips/")}


@pytest.fixture
def exporting(database: Database, object_store: ObjectStore, tmp_path: Path) -> Exporting:
    return Exporting(database, object_store, tmp_path)


@pytest.mark.bucket
@pytest.mark.parametrize("kind", ["variable", "odd", "ten_bit", "23.976", "delayed", "b_frames", "silent"])
def test_every_clip_holds_exactly_its_frames_and_a_manifest_that_proves_it(kind: str, exporting: Exporting) -> None:
    video = exporting.video(SOURCES[kind](exporting.folder), 7, 8, 31)
    done = exporting.export(video)
    proxy = local_copy(exporting.objects, proxy_key(video.id), exporting.folder)
    hashes = list(file_frame_hashes(proxy))
    clips = exporting.clips.load_live(video.id)
    assert not done.failed
    assert [manifest.clip_id for manifest in done.made] == [clip.id for clip in clips]
    for clip in clips:
        manifest = exporting.manifest(clip)
        assert (clip.state, clip.is_virtual, clip.clip_filepath) == (ClipState.EXPORTED, False, manifest.key)
        assert list(file_frame_hashes(exporting.file(clip))) == hashes[clip.start_frame : clip.end_frame]
        assert (manifest.first_frame_hash, manifest.last_frame_hash) == (hashes[clip.start_frame], hashes[clip.end_frame - 1])
        assert (manifest.frame_count, manifest.byte_size) == (clip.frame_count, exporting.file(clip).stat().st_size)
        assert manifest.duration_seconds == pytest.approx(clip.end_time_seconds - clip.start_time_seconds)
        assert manifest.audio_offset_seconds is None or abs(manifest.audio_offset_seconds) <= 1024 / 48_000
        assert export_problems(manifest, objects=exporting.objects, work=exporting.work) == []
    assert not list(exporting.work.root.iterdir())


def test_only_approved_clips_are_exported_and_only_once(exporting: Exporting) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder), 20, 40, approved=False)
    first, second, third = exporting.clips.load_live(video.id)
    exporting.clips.advance(second.id, ClipState.REVIEW_APPROVED, ClipState.PENDING_REVIEW)
    exporting.clips.advance(third.id, ClipState.REVIEW_SKIPPED, ClipState.PENDING_REVIEW)
    readings: list[Progress] = []
    assert [one.clip_id for one in exporting.export(video, report=readings.append).made] == [second.id]
    assert [clip.state for clip in exporting.clips.load_live(video.id)] == ["pending_review", "exported", "review_skipped"]
    assert readings[-1].fraction == 1
    before = written_at(exporting.objects, final_clip_key(video.id, second.sequence))
    assert exporting.export(video) == ClipRun()
    assert written_at(exporting.objects, final_clip_key(video.id, second.sequence)) == before
    assert exporting.keys() == {final_clip_key(video.id, second.sequence)}
    assert exporting.clips.load(first.id).state == ClipState.PENDING_REVIEW


def test_a_clip_approved_while_others_are_exported_is_exported_in_the_same_run(exporting: Exporting) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder), 20, approved=False)
    first, second = exporting.clips.load_live(video.id)
    exporting.clips.advance(first.id, ClipState.REVIEW_APPROVED, ClipState.PENDING_REVIEW)

    def approve_the_other(progress: Progress) -> None:
        if exporting.clips.load(second.id).state == ClipState.PENDING_REVIEW:
            exporting.clips.advance(second.id, ClipState.REVIEW_APPROVED, ClipState.PENDING_REVIEW)

    assert len(exporting.export(video, report=approve_the_other).made) == 2


class Interfering(LocalObjectStore):
    """A local store in which something happens just before a file is published."""

    before_put: Callable[[str], None] = staticmethod(lambda key: None)

    def put_file(self, key: str, path: Path, **options: Any) -> ObjectInfo:
        self.before_put(key)
        return super().put_file(key, path, **options)


@pytest.fixture
def interfering(object_store: LocalObjectStore) -> Interfering:
    return Interfering(object_store.folder)


@pytest.mark.folder
def test_one_clip_that_fails_does_not_stop_the_others(exporting: Exporting, interfering: Interfering) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder), 20, 40)
    first, second, third = exporting.clips.load_live(video.id)

    def full(key: str) -> None:
        if key == final_clip_key(video.id, second.sequence):
            raise OSError(28, "No space left on device")

    interfering.before_put = full  # type: ignore[method-assign]
    done = exporting.export(video, objects=interfering)
    assert {one.clip_id for one in done.made} == {first.id, third.id}
    assert list(done.failed) == [second.id]
    assert done.retryable
    failed = exporting.clips.load(second.id)
    assert (failed.state, failed.attempts) == (ClipState.EXPORT_FAILED, 1)
    assert "no room left" in str(failed.error)
    assert [one.clip_id for one in exporting.export(video).made] == [second.id]


@pytest.mark.folder
def test_a_clip_that_was_archived_while_it_was_exported_leaves_no_file(exporting: Exporting, interfering: Interfering) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder))
    (clip,) = exporting.clips.load_live(video.id)
    interfering.before_put = lambda key: exporting.clips.advance(  # type: ignore[method-assign]
        clip.id, ClipState.REVIEW_ARCHIVED, ClipState.EXPORTING
    )
    done = exporting.export(video, objects=interfering)
    assert (done.made, done.failed, done.changed) == ((), {}, (clip.id,))
    assert exporting.clips.load(clip.id).state == ClipState.REVIEW_ARCHIVED
    assert exporting.keys() == set()
    assert exporting.clips.artifacts(clip.id) == []


def test_a_clip_whose_cut_moved_is_exported_again_and_the_old_file_goes(exporting: Exporting) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder), 20, approved=False)
    review = ReviewStore(exporting.database, FrameIndexes(exporting.objects).times)
    for clip in exporting.clips.load_live(video.id):
        review.approve(clip.id, reviewer="ann")
    exporting.export(video)
    old = exporting.keys()
    review.move_cut_point(video.id, 20, 33, reviewer="ann")
    for clip in exporting.clips.load_live(video.id):
        if clip.state == ClipState.PENDING_REVIEW:
            review.approve(clip.id, reviewer="ann")
    exporting.export(video)
    for artifact in exporting.clips.obsolete_artifacts(video.id):
        exporting.clips.clean_up(artifact.clip_id, exporting.objects.delete)
    live = exporting.clips.load_live(video.id)
    assert [(clip.start_frame, clip.end_frame, clip.state) for clip in live] == [(0, 33, "exported"), (33, 60, "exported")]
    assert [barcodes(exporting.file(clip)) for clip in live] == [list(range(33)), list(range(33, 60))]
    assert exporting.keys() == {final_clip_key(video.id, clip.sequence) for clip in live}
    assert len(old) == 2


def test_a_missing_proxy_fails_every_clip_with_the_reason(exporting: Exporting) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder), 20)
    exporting.objects.delete(proxy_key(video.id))
    done = exporting.export(video)
    assert len(done.failed) == 2
    assert not done.retryable
    assert all(proxy_key(video.id) in why for why in done.failed.values())
    assert {clip.state for clip in exporting.clips.load_live(video.id)} == {ClipState.EXPORT_FAILED}


@pytest.mark.bucket
def test_two_processes_do_not_export_one_video_at_once(exporting: Exporting) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder))
    with exporting.database.stage_lock("exports", video.id), pytest.raises(BusyError):
        exporting.export(video)


KILLED = """
import json, os, signal, sys
from pathlib import Path
from assets.exports import export_due
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.database import Database
from resources.object_store.local import LocalObjectStore
from resources.object_store.work_folder import WorkFolder
url, folder, work, video, when = json.loads(sys.argv[1])

class Dying(LocalObjectStore):
    def put_file(self, key, path, **options):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        info = super().put_file(key, path, **options)
        os.kill(os.getpid(), signal.SIGKILL)

export_due(video, database=Database.connect(url), objects=Dying(Path(folder)), work=WorkFolder(Path(work)))
"""


@pytest.mark.folder
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_export_that_was_killed_is_done_once_by_the_next_run(when: str, exporting: Exporting, object_store: LocalObjectStore) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder), 20)
    arguments = json.dumps([exporting.database.url, str(object_store.folder), str(exporting.work.root), video.id, when])
    assert ran(KILLED, arguments).returncode == -signal.SIGKILL
    assert [clip.state for clip in exporting.clips.load_live(video.id)] == ["exporting", "review_approved"]
    exporting.work.sweep()
    assert len(exporting.export(video).made) == 2
    assert {clip.state for clip in exporting.clips.load_live(video.id)} == {ClipState.EXPORTED}
    assert exporting.keys() == {final_clip_key(video.id, clip.sequence) for clip in exporting.clips.load_live(video.id)}
    assert not list(exporting.work.root.iterdir())


@pytest.mark.folder
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_further_export_that_was_killed_is_done_once_by_the_next_run(
    when: str, exporting: Exporting, object_store: LocalObjectStore
) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder))
    (clip,) = exporting.clips.load_live(video.id)
    exporting.export(video)
    exact = written_at(exporting.objects, exporting.manifest(clip).key)
    exporting.exports.request(clip.id, "delivery")
    arguments = json.dumps([exporting.database.url, str(object_store.folder), str(exporting.work.root), video.id, when])
    assert ran(KILLED, arguments).returncode == -signal.SIGKILL
    exporting.work.sweep()
    assert [one.profile for one in exporting.export(video).made] == ["delivery"]
    assert exporting.export(video) == ClipRun()
    assert exporting.keys() == {final_clip_key(video.id, 1), final_clip_key(video.id, 1, "delivery")}
    assert written_at(exporting.objects, exporting.manifest(clip).key) == exact, "the first file was not touched"
    assert exporting.clips.obsolete_artifacts() == []
    assert audit(exporting.database, exporting.objects) == []


@pytest.mark.folder
def test_a_clip_that_is_approved_while_further_exports_are_made_comes_first(exporting: Exporting) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder), 20, 40, approved=False)
    first, second, third = exporting.clips.load_live(video.id)
    for clip in (first, second):
        exporting.clips.advance(clip.id, ClipState.REVIEW_APPROVED, ClipState.PENDING_REVIEW)
        exporting.exports.request(clip.id, "delivery")

    def approve_the_third(progress: Progress) -> None:
        if progress.done == 3 and exporting.clips.load(third.id).state == ClipState.PENDING_REVIEW:
            exporting.clips.advance(third.id, ClipState.REVIEW_APPROVED, ClipState.PENDING_REVIEW)

    made = [(one.clip_id, one.profile) for one in exporting.export(video, report=approve_the_third).made]
    exact, small = "stream_copy", "delivery"
    assert made == [(first.id, exact), (second.id, exact), (first.id, small), (third.id, exact), (second.id, small)]


@pytest.mark.folder
def test_a_clip_that_was_archived_while_a_further_export_was_made_leaves_no_file(exporting: Exporting, interfering: Interfering) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder))
    (clip,) = exporting.clips.load_live(video.id)
    review = ReviewStore(exporting.database, FrameIndexes(exporting.objects).times)
    exporting.export(video)
    exporting.exports.request(clip.id, "delivery")
    interfering.before_put = lambda key: review.archive(clip.id, reviewer="bob")  # type: ignore[method-assign,assignment,return-value]
    done = exporting.export(video, objects=interfering)
    assert (done.made, done.failed, done.changed) == ((), {}, (clip.id,))
    assert exporting.keys() == set()
    assert exporting.clips.load(clip.id).state == ClipState.REVIEW_ARCHIVED


def with_profile(exporting: Exporting, video: SourceVideo, profile: str) -> list[Clip]:
    exporting.profile = profile
    return [exporting.exports.request(clip.id, profile) for clip in exporting.clips.load_live(video.id)]


@pytest.mark.bucket
@pytest.mark.parametrize("kind", ["variable", "b_frames", "delayed", "silent"])
def test_a_delivery_export_is_small_and_has_the_same_frames_at_the_same_times(kind: str, exporting: Exporting) -> None:
    video = exporting.video(SOURCES[kind](exporting.folder), 13)
    exact = {one.clip_id: one for one in exporting.export(video).made}
    with_profile(exporting, video, "delivery")
    done = exporting.export(video)
    assert not done.failed
    for clip in exporting.clips.load_live(video.id):
        manifest = exporting.manifest(clip)
        assert manifest.profile == "delivery"
        # Half a second of film is mostly sound, and the first frame, which is a keyframe in both.
        assert manifest.byte_size < (1.05 if clip.frame_count < 24 else 0.75) * exact[clip.id].byte_size
        assert barcodes(exporting.file(clip)) == list(range(clip.start_frame, clip.end_frame))
        assert manifest.proxy_first_frame_hash == exact[clip.id].first_frame_hash
        assert manifest.duration_seconds == pytest.approx(exact[clip.id].duration_seconds)
        assert (manifest.audio_offset_seconds is None) == (exact[clip.id].audio_offset_seconds is None)
        assert export_problems(manifest, objects=exporting.objects, work=exporting.work) == []


@pytest.mark.bucket
@pytest.mark.parametrize("kind", ["constant", "variable", "odd", "ten_bit", "delayed", "b_frames", "silent"])
def test_an_export_from_the_gold_master_has_the_same_frames_at_the_same_times(kind: str, exporting: Exporting) -> None:
    video = exporting.video(SOURCES[kind](exporting.folder), 13, 14)
    make_gold_master(video.id, database=exporting.database, objects=exporting.objects, work=exporting.work, storage_class="STANDARD")
    with_profile(exporting, video, "gold_master")
    done = exporting.export(exporting.videos.load(video.id))
    assert not done.failed
    for clip in exporting.clips.load_live(video.id):
        manifest = exporting.manifest(clip)
        assert manifest.profile == "gold_master"
        assert barcodes(exporting.file(clip)) == list(range(clip.start_frame, clip.end_frame))
        assert manifest.duration_seconds == pytest.approx(clip.end_time_seconds - clip.start_time_seconds)
        assert manifest.audio_offset_seconds is None or abs(manifest.audio_offset_seconds) <= 1024 / 48_000


@pytest.mark.folder
def test_sound_from_the_gold_master_is_in_step_with_its_picture(exporting: Exporting) -> None:
    video = exporting.video(SOURCES["delayed"](exporting.folder), 13)
    make_gold_master(video.id, database=exporting.database, objects=exporting.objects, work=exporting.work, storage_class="STANDARD")
    exporting.export(video)
    exact = [heard(exporting.file(clip)) for clip in exporting.clips.load_live(video.id)]
    with_profile(exporting, video, "gold_master")
    exporting.export(video)
    for clip, expected in zip(exporting.clips.load_live(video.id), exact, strict=True):
        sound = heard(exporting.file(clip))
        agreement = [float(sound[4_800:14_400] @ expected[4_800 + lag : 14_400 + lag]) for lag in range(-2_400, 2_401)]
        assert abs(int(np.argmax(agreement)) - 2_400) <= 1024
        with av.open(str(exporting.file(clip))) as container:
            packets = [packet.duration for packet in container.demux(audio=0) if packet.size]
        assert set(packets[1:-1]) == {1024}


@pytest.mark.folder
@pytest.mark.parametrize("profile", ["stream_copy", "gold_master"])
def test_of_several_sounds_the_default_one_is_heard(profile: str, exporting: Exporting) -> None:
    original = with_default_sound_second(make_video(exporting.folder / "one.mkv", frames=48), exporting.folder / "two.mkv")
    assert [stream.is_default for stream in probe(original).audio] == [False, True]
    video = exporting.video(original, 12)
    make_gold_master(video.id, database=exporting.database, objects=exporting.objects, work=exporting.work, storage_class="STANDARD")
    with_profile(exporting, video, profile)
    exporting.export(exporting.videos.load(video.id))
    assert all(float(np.abs(heard(exporting.file(clip))).mean()) > 0.02 for clip in exporting.clips.load_live(video.id))


@pytest.mark.folder
def test_a_gap_in_the_sound_is_silence_in_an_export_from_the_gold_master(exporting: Exporting) -> None:
    whole = make_video(exporting.folder / "whole.mkv", frames=72)
    video = exporting.video(with_sound_gap(whole, exporting.folder / "gap.mkv", 1.0, 2.0), 12)
    make_gold_master(video.id, database=exporting.database, objects=exporting.objects, work=exporting.work, storage_class="STANDARD")
    with_profile(exporting, video, "gold_master")
    exporting.export(exporting.videos.load(video.id))
    _, second = exporting.clips.load_live(video.id)  # it begins at 0.5 s
    sound = heard(exporting.file(second))
    assert len(sound) == pytest.approx(2.5 * 48_000, abs=2 * 1024)
    loudness = [float(np.abs(sound[round(at * 48_000) :][:4_800]).mean()) for at in (0.2, 0.9, 1.2, 2.0)]
    assert min(loudness[0], loudness[3]) > 0.02 > 0.001 > max(loudness[1:3])


@pytest.mark.bucket
@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_after_gaps_the_sound_of_the_gold_master_and_of_every_export_is_at_its_time(suffix: str, exporting: Exporting) -> None:
    """Measured by correlation. Missing are single packets, three in a row, and half a second; a cut lies in the middle of that."""
    lost = {20, 26, 50, 51, 52, 80, 160, 190, *range(106, 130)}
    whole = barcode_video(exporting.folder / "whole.mp4", frames=120, size=(96, 64))
    video = exporting.video(without_packets(whole, exporting.folder / f"gaps{suffix}", "audio", lost.__contains__), 30, 60)
    make_gold_master(video.id, database=exporting.database, objects=exporting.objects, work=exporting.work, storage_class="STANDARD")
    files = [local_copy(exporting.objects, key, exporting.folder) for key in (proxy_key(video.id), gold_master_key(video.id))]
    for path in files:
        assert_in_sync(path, time_of_frame=lambda number: number / 24, silent=2)
    for profile in ("stream_copy", "delivery", "gold_master"):
        with_profile(exporting, video, profile)
        assert not exporting.export(exporting.videos.load(video.id)).failed
        for clip in exporting.clips.load_live(video.id):
            assert exporting.manifest(clip).profile == profile
            # The second clip begins at 1.25 s, and its sound ends with the packet before the long gap, which is heard until 2.24 s.
            least = 1 if clip.sequence == 2 else 2
            assert_in_sync(exporting.file(clip), time_of_frame=lambda number: number / 24, silent=1, least_windows=least)


def heard(path: Path) -> Any:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def encoding(exporting: Exporting) -> bool:
    """Whether somebody holds the turn to encode an export on this machine."""
    with exporting.database.read() as connection:
        key = lock_key(f"{ENCODED_EXPORT} on {socket.gethostname()}", 0)
        return not connection.scalar(text("select pg_try_advisory_xact_lock(:key)"), {"key": key})


@pytest.mark.folder
@pytest.mark.parametrize("profile", ["delivery", "gold_master"])
def test_an_export_that_encodes_waits_for_its_turn_on_the_machine(
    profile: str, exporting: Exporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder))
    make_gold_master(video.id, database=exporting.database, objects=exporting.objects, work=exporting.work, storage_class="STANDARD")
    with_profile(exporting, video, profile)
    run, alone = ffmpeg.run, []

    def seen(*arguments: Any, **options: Any) -> Any:
        alone.append(encoding(exporting))
        return run(*arguments, **options)

    monkeypatch.setattr(ffmpeg, "run", seen)
    assert not exporting.export(video).failed
    assert alone == [True]
    assert not encoding(exporting)


@pytest.mark.folder
def test_a_stream_copy_does_not_wait_for_an_encode(exporting: Exporting) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder))
    with exporting.database.turn_on_this_machine(ENCODED_EXPORT):
        assert len(exporting.export(video).made) == 1


def first_from_the_master(exporting: Exporting, video: SourceVideo) -> Clip:
    """The clip, approved to be exported from the gold master in the first place."""
    (clip,) = exporting.clips.load_live(video.id)
    review = ReviewStore(exporting.database, FrameIndexes(exporting.objects).times)
    return review.approve(clip.id, reviewer="ann", export_profile="gold_master").clips[0]


@pytest.mark.parametrize("first", [True, False])
def test_an_export_from_a_master_that_is_not_made_yet_waits_for_it_and_then_happens_by_itself(first: bool, exporting: Exporting) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder))
    (clip,) = [first_from_the_master(exporting, video)] if first else with_profile(exporting, video, "gold_master")
    done = exporting.export(video)
    assert (done.failed, [one.profile for one in done.made]) == ({}, [] if first else ["stream_copy"])
    assert [one.id for one in exporting.clips.waiting_for_gold_master()] == [clip.id]
    (facts,) = load_video_facts(exporting.database)
    assert (facts.exports_waiting_for_master, facts.work) == (1, ())
    assert [run.job for run in wanted_runs([facts], set()) if run.job is Job.EXPORT] == []
    make_gold_master(video.id, database=exporting.database, objects=exporting.objects, work=exporting.work, storage_class="STANDARD")
    (facts,) = load_video_facts(exporting.database)
    assert [run.job for run in wanted_runs([facts], set()) if run.job is Job.EXPORT] == [Job.EXPORT]
    assert [one.profile for one in exporting.export(video).made] == ["gold_master"]
    assert exporting.clips.waiting_for_gold_master() == []


def test_an_export_from_a_master_that_cannot_be_made_says_so_and_what_to_do(exporting: Exporting) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder))
    clip = first_from_the_master(exporting, video)
    exporting.videos.record_gold_master_failure(video.id, "its pictures change on the way", transient=False)
    done = exporting.export(video)
    assert "none can be made: its pictures change on the way" in done.failed[clip.id]
    assert f"heaters export {video.id}:{clip.sequence} --profile stream_copy" in done.failed[clip.id]
    assert not done.retryable
    exporting.exports.request(clip.id, "stream_copy")  # as the message says
    again = exporting.export(video)
    assert ([one.profile for one in again.made], list(again.failed)) == (["stream_copy"], [clip.id])
    assert exporting.clips.load(clip.id).state == ClipState.EXPORTED


@pytest.fixture
def s3(buckets: BucketServer) -> S3ObjectStore:
    return S3ObjectStore(buckets.new_bucket(), endpoint_url=buckets.url)


def test_an_export_from_a_master_in_cold_storage_asks_for_it_says_so_and_works_once_it_is_back(
    database: Database, s3: S3ObjectStore, tmp_path: Path
) -> None:
    exporting = Exporting(database, s3, tmp_path)
    video = exporting.video(SOURCES["constant"](exporting.folder), 20)
    make_gold_master(video.id, database=exporting.database, objects=exporting.objects, work=exporting.work, storage_class="GLACIER")
    key = gold_master_key(video.id)
    found = exporting.objects.info(key)
    assert found is not None
    assert found.needs_restore
    clip, _ = exporting.clips.load_live(video.id)
    assert not exporting.export(video).failed
    exact = exporting.manifest(clip)
    exporting.exports.request(clip.id, "gold_master")
    assert not exporting.export(video).failed
    assert MasterRestores(database).load() == {}, "nobody has agreed to what it costs"
    (waits,) = unanswered(database, restore_terms(BucketSettings())).values()
    assert (waits.source_video_id, waits.storage_class, waits.byte_size) == (video.id, "GLACIER", found.byte_size)
    assert [waiting.id for waiting in exporting.clips.waiting_for_gold_master()] == [clip.id]
    agreements = RestoreAgreements(database)
    agreements.agree([video.id], waits.price / 2 - 0.01, by="ann")
    assert not exporting.export(video).failed
    assert MasterRestores(database).load() == {}, "to less than it costs"
    agreements.agree([video.id], waits.price, by="ann")
    done = exporting.export(video)
    assert not done.failed
    assert [waiting.id for waiting in exporting.clips.waiting_for_gold_master()] == [clip.id]
    assert "the gold master is in cold storage: asked for 20" in MasterRestores(database).load()[video.id].words
    assert exact.key not in {artifact.key for artifact in exporting.clips.obsolete_artifacts()}
    assert exporting.manifest(clip).profile == "stream_copy"
    assert not export_problems(exporting.manifest(clip), objects=exporting.objects, work=exporting.work), "the file it has stays until then"
    assert exporting.export(video).changed == (), "it is not begun before it is there"
    # The test server brings an object back at once.
    assert notice_restored(database, lambda: s3, restore_terms(BucketSettings()), every_seconds=0) == [video.id]
    assert not exporting.export(video).failed
    exporting.profile = "gold_master"
    exporting.objects.get_file(exporting.manifest(clip).key, tmp_path / "clip.mp4")
    assert barcodes(tmp_path / "clip.mp4") == list(range(20))
    agreements.ask(waits)
    assert unanswered(database, restore_terms(BucketSettings())) == {}, "nothing waits for it any more"


class Remote(LocalObjectStore):
    """Objects that can only be read by ranges, as in S3, with a count of what was read."""

    read: int = 0

    def local_path(self, key: str) -> Path | None:
        return None

    def get_range(self, key: str, start: int, end: int) -> bytes:
        data = super().get_range(key, start, end)
        if not key.startswith("metadata/"):
            self.read += len(data)
        return data

    def get_file(self, key: str, path: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
        raise AssertionError(f"{key} was fetched as a whole")


@pytest.mark.folder
@pytest.mark.parametrize("profile", ["stream_copy", "delivery", "gold_master"])
def test_from_a_remote_store_only_the_part_of_the_clip_is_read(profile: str, exporting: Exporting, object_store: LocalObjectStore) -> None:
    source = barcode_video(exporting.folder / "long.mp4", frames=500, size=(320, 240), rate=Fraction(25))
    video = exporting.video(source, 200, 210, approved=False)
    clip = exporting.clips.load_live(video.id)[1]
    exporting.clips.advance(clip.id, ClipState.REVIEW_APPROVED, ClipState.PENDING_REVIEW)
    if profile == "gold_master":
        make_gold_master(video.id, database=exporting.database, objects=exporting.objects, work=exporting.work, storage_class="STANDARD")
    exporting.profile = profile
    exporting.exports.request(clip.id, profile)
    remote = Remote(object_store.folder)
    done = exporting.export(video, objects=remote)
    assert not done.failed
    assert barcodes(exporting.file(clip)) == list(range(200, 210))
    whole = sum(info.byte_size for info in exporting.objects.list() if info.key.startswith(("review_proxies/", "gold_masters/")))
    assert remote.read < whole


@pytest.mark.folder
@pytest.mark.parametrize("kind", ["rotated", "interlaced", "hdr", "odd"])
def test_an_export_from_the_gold_master_looks_as_the_proxy_does(kind: str, exporting: Exporting) -> None:
    sources: dict[str, Callable[[Path], Path]] = {
        "rotated": lambda folder: rotated(make_video(folder / "u.mp4", frames=24, scenes=(8, 16)), folder / "s.mp4", 90),
        "interlaced": lambda folder: make_video(folder / "s.mp4", frames=24, scenes=(8, 16), interlaced=True),
        "hdr": lambda folder: make_video(folder / "s.mkv", frames=24, scenes=(8, 16), pixel_format="yuv420p10le", hdr=True),
        "odd": lambda folder: make_video(folder / "s.mp4", frames=24, scenes=(8, 16), size=(161, 121), pixel_format="yuv444p"),
    }
    video = exporting.video(sources[kind](exporting.folder), 8)
    exporting.export(video)
    exact = [pictures(exporting.file(clip)) for clip in exporting.clips.load_live(video.id)]
    make_gold_master(video.id, database=exporting.database, objects=exporting.objects, work=exporting.work, storage_class="STANDARD")
    with_profile(exporting, video, "gold_master")
    assert not exporting.export(video).failed
    for clip, expected in zip(exporting.clips.load_live(video.id), exact, strict=True):
        shown = pictures(exporting.file(clip))
        assert shown.shape == expected.shape
        assert np.abs(shown - expected).mean(axis=(1, 2, 3)).max() < 8


def pictures(path: Path) -> Any:
    """(frames, h, w, 3) of a clip."""
    return np.stack([image.astype(np.int16) for _, image in decoded(path)])


def test_a_file_that_was_changed_behind_our_back_is_found_out(exporting: Exporting) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder), 30)
    first, second = exporting.clips.load_live(video.id)
    exporting.export(video)
    exporting.objects.put_file(final_clip_key(video.id, first.sequence), exporting.file(second))
    problems = export_problems(exporting.manifest(first), objects=exporting.objects, work=exporting.work)
    assert any("first frame is not frame 0 of the proxy" in problem for problem in problems)


def materialized(video: SourceVideo, settings: Settings) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(source_video_partitions.name), [str(video.id)])
        above = [dg.AssetSpec(key, partitions_def=source_video_partitions) for key in ("proxy", "keyframe_offsets", "virtual_clips")]
        return dg.materialize(
            [*above, exports],
            selection=["exports"],
            partition_key=str(video.id),
            resources=dagster_resources(settings),
            instance=instance,
            raise_on_error=False,
        )


def test_the_asset_says_what_was_exported(exporting: Exporting, settings: Settings) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder), 20)
    result = materialized(video, settings)
    assert result.success
    (event,) = result.asset_materializations_for_node("exports")
    assert (event.metadata["clips exported by this run"].value, event.metadata["frames"].value) == (2, 60)
    assert event.metadata["source video"].value == video.title
    assert event.metadata["of these with a file"].value == event.metadata["clips of the video at this moment"].value == 2
    assert str(event.metadata["size"].value).endswith(" KiB")
    assert final_clip_key(video.id, 2) in str(event.metadata["files"].value)


def test_a_partition_of_which_nothing_is_exported_is_not_made_while_clips_wait(exporting: Exporting, settings: Settings) -> None:
    video = exporting.video(barcode_video(exporting.folder / "holiday.mp4", frames=24), approved=False)
    result = materialized(video, settings)
    assert result.success
    assert result.asset_materializations_for_node("exports") == []


def test_the_asset_fails_with_the_reason_of_every_clip_that_failed_and_exports_the_others(exporting: Exporting, settings: Settings) -> None:
    video = exporting.video(SOURCES["constant"](exporting.folder), 20)
    first, second = exporting.clips.load_live(video.id)
    exporting.exports.request(first.id, "gold_master")
    exporting.videos.record_gold_master_failure(video.id, "its pictures change on the way", transient=False)
    result = materialized(video, settings)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert f"{video.title}: 1 of 2 clips failed: clip 1: " in str(failure.step_failure_data.user_failure_data.description)
    assert failure.step_failure_data.user_failure_data.metadata["failed clips"].value == [first.sequence]
    assert "has no gold master" in str(failure.step_failure_data.user_failure_data.description)
    assert {exporting.clips.load(clip.id).state for clip in (first, second)} == {ClipState.EXPORTED}, "each has its first file"
