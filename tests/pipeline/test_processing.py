"""`heaters process` on real files: through the whole pipeline, again and again, and killed in each stage."""

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from assets.source_video import fetch_source_video
from heaters_dagster.commands.process_due import RunDone, process_due
from heaters_dagster.definitions import heaters_definitions
from heaters_dagster.domain.errors import IllegalTransitionError, NotFoundError
from heaters_dagster.domain.progress import Progress
from heaters_dagster.domain.stages import EXPORTS, beside
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.orchestration.dead_runs import PROCESS_TAG
from heaters_dagster.orchestration.instance import open_instance, register_partitions
from heaters_dagster.settings import Settings, child_environment
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.sources.downloader import Downloader
from resources.upkeep.audit import audit
from resources.upkeep.retries import retry_failed
from tests.media_files import make_video
from tests.pipeline_rows import cut_video, reviews, video_in
from tests.warm_process import ran
from tests.web_server import WebServer

S, C = SourceVideoState, ClipState


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """As quick as can be: the classical detector, and the descriptor that is built in."""
    return replace(settings, detector="adaptive", embedding_model="no-such-model", embedding_fallback=True, keyframe_strategy="midpoint")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Two seconds with one cut, at frame 24."""
    return make_video(tmp_path / "film.mp4", frames=48, scenes=(24,))


@pytest.fixture
def submitted(database: Database, film: Path) -> SourceVideo:
    return SourceVideoStore(database).add(str(film), "film")


def clips_of(database: Database, video: SourceVideo) -> list[Clip]:
    return ClipStore(database).load_live(video.id)


def approve_all(database: Database, video: SourceVideo) -> None:
    reviews(database).approve([clip.id for clip in clips_of(database, video)], reviewer="ada")


def stored(objects: ObjectStore) -> set[str]:
    return {info.key for info in objects.list()}


EVERYTHING = {
    "originals/video_1.mp4",
    "gold_masters/video_1_master.mkv",
    "review_proxies/video_1_proxy.mp4",
    "metadata/video_1_keyframes.json",
    "metadata/video_1_looks.bin",
    "metadata/video_1_scenes.json",
    *(f"final_clips/video_1_clip_00{number}.mp4" for number in (1, 2)),
}


def assert_all_is_done(database: Database, objects: ObjectStore, video: SourceVideo) -> None:
    """The source video in its final state with two clips that search finds, every file, no other file, nothing wrong."""
    done = SourceVideoStore(database).load(video.id)
    assert (done.state, done.error, done.attempts) == (S.SCENES_DETECTED, None, 0)
    assert [(clip.start_frame, clip.end_frame, clip.state) for clip in clips_of(database, video)] == [
        (0, 24, C.EMBEDDED),
        (24, 48, C.EMBEDDED),
    ]
    keys = stored(objects)
    assert keys >= EVERYTHING
    more = tuple(f"{folder}/video_1_clip_00" for folder in ("keyframes", *(stage.artifact for stage in beside() if stage.artifact)))
    assert all(key.startswith(more) for key in keys - EVERYTHING)
    assert audit(database, objects) == []


@pytest.mark.slow
def test_from_a_file_to_clips_that_can_be_found(
    settings: Settings, database: Database, object_store: ObjectStore, submitted: SourceVideo
) -> None:
    stages: set[str] = set()
    ended: list[RunDone] = []
    first = process_due(settings, report=lambda reading: stages.add(reading.stage), ended=ended.append)
    assert tuple(ended) == first.runs
    assert first.failures == []
    assert [(run.job, run.assets) for run in first.runs] == [
        ("ingest", ("source_video", "proxy", "keyframe_offsets", "virtual_clips")),
        ("archive_master", ("gold_master",)),
    ]
    assert "proxy" in stages
    assert {clip.state for clip in clips_of(database, submitted)} == {C.PENDING_REVIEW}

    approve_all(database, submitted)
    second = process_due(settings)
    assert second.failures == []
    assert [run.job for run in second.runs] == ["export", "enrich"]
    assert_all_is_done(database, object_store, submitted)

    assert process_due(settings).runs == ()
    with open_instance(settings) as instance:
        shown = {key.to_user_string(): instance.get_materialized_partitions(key) for key in instance.all_asset_keys()}
        made = {"source_video", "proxy", "keyframe_offsets", "virtual_clips", "gold_master", "exports", "keyframes", "embeddings"}
        assert shown == {asset: {str(submitted.id)} for asset in (*made, *(stage.asset for stage in beside()))}
        records = instance.get_run_records()
        assert all(record.dagster_run.is_success and PROCESS_TAG in record.dagster_run.tags for record in records)
        checks = [
            event.asset_check_evaluation_data
            for record in records
            for event in (entry.dagster_event for entry in instance.all_logs(record.dagster_run.run_id))
            if event is not None and event.event_type_value == "ASSET_CHECK_EVALUATION"
        ]
        assert {check.check_name for check in checks} == {
            "same_frames_at_the_same_times",
            "entries_decode_alone",
            "clips_are_mece",
            "master_equals_original",
            "files_equal_the_proxy",
        }
        assert all(check.passed for check in checks)


#: Runs all that is due and dies of SIGKILL before or after the n-th call of a method.
DIES = """
import importlib, os, signal, sys
from heaters_dagster.commands.process_due import process_due
from heaters_dagster.settings import Settings
when, number, target = sys.argv[1:]
module, class_name, method = target.split(":")
owner = getattr(importlib.import_module(module), class_name)
original, calls = getattr(owner, method), []
def deadly(*arguments, **options):
    calls.append(1)
    last = len(calls) == int(number)
    if last and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*arguments, **options)
    if last:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, method, deadly)
process_due(Settings.from_environment())
"""
STORE = "STORE"  # the class of the object store in use
VIDEOS = "resources.postgres.source_video_store:SourceVideoStore"
CLIPS = "resources.postgres.clip_store:ClipStore"
UP_TO_REVIEW = [
    ("after", 1, f"{STORE}:put_file"),  # the original is stored, no row says so
    ("after", 1, f"{STORE}:put_bytes"),  # the scores are stored, there is no proxy
    ("after", 1, f"{STORE}:put_file"),  # the proxy is stored, the source video is still preprocessing
    ("before", 1, f"{CLIPS}:replace_cuts"),  # detecting scenes
    ("before", 1, f"{STORE}:put_file"),  # the gold master is made and nowhere stored
    ("before", 1, f"{VIDEOS}:update"),  # the gold master is stored, no row says so
]
AFTER_REVIEW = [
    ("after", 1, f"{CLIPS}:claim"),
    ("before", 1, f"{CLIPS}:finish"),  # the file is stored, the clip is still exporting
    ("before", 4, f"{CLIPS}:finish"),  # both are exported, one clip has its keyframes, the other's are stored and not noted
    ("after", 1, "resources.postgres.embedding_store:EmbeddingStore:finish_embedding"),
]
AFTER_ARCHIVING = [
    ("before", 1, f"{STORE}:delete"),  # nothing of the archived clip is gone
    ("after", 1, f"{STORE}:delete"),  # one of its files is gone, no row says so
    ("after", 1, f"{CLIPS}:clean_up"),
]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_in_each_stage_it_carries_on(
    settings: Settings, database: Database, object_store: ObjectStore, submitted: SourceVideo
) -> None:
    """kill -9 where it hurts most; in the end all is as if nothing had happened."""

    def die(when: str, number: int, target: str) -> None:
        store = type(object_store)
        of_store = target.replace(STORE, f"{store.__module__}:{store.__name__}")
        done = ran(DIES, when, str(number), of_store, environment=child_environment(settings))
        assert done.returncode == -signal.SIGKILL, (target, done.stderr)

    for moment in UP_TO_REVIEW:
        die(*moment)
    assert process_due(settings).failures == []
    approve_all(database, submitted)
    for moment in AFTER_REVIEW:
        die(*moment)
    assert process_due(settings).failures == []
    assert_all_is_done(database, object_store, submitted)
    archived, _ = clips_of(database, submitted)
    reviews(database).archive([archived.id], reviewer="ada")
    for moment in AFTER_ARCHIVING:
        die(*moment)
    assert process_due(settings).failures == []
    assert not any("_clip_001" in key for key in stored(object_store))
    assert sum("_clip_002" in key for key in stored(object_store)) == 2
    assert audit(database, object_store) == []
    assert list(settings.work_folder.iterdir()) == []
    with open_instance(settings) as instance:
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}


@pytest.mark.slow
def test_an_interrupt_ends_at_once_and_the_work_is_due_again(settings: Settings, database: Database, submitted: SourceVideo) -> None:
    def interrupt(reading: Progress) -> None:
        if reading.stage == "proxy":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        process_due(settings, report=interrupt)
    left = SourceVideoStore(database).load(submitted.id)
    assert (left.state, left.attempts) == (S.PREPROCESSING, 0)
    with open_instance(settings) as instance:
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.CANCELED]
    assert process_due(settings).failures == []
    assert SourceVideoStore(database).load(submitted.id).state is S.SCENES_DETECTED


@pytest.mark.folder
@pytest.mark.parametrize("in_background", [False, True])
def test_a_signal_that_comes_as_a_run_ends_is_heeded_before_the_next_run(
    settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_background: bool
) -> None:
    """Dagster forgets one that comes after the last step, and has SIGTERM ignored where a shell has Ctrl-C ignored."""
    for number in range(2):
        notes = tmp_path / f"notes-{number}.mp4"
        notes.write_text(f"these are notes, not a video {number}\n" * 100)
        SourceVideoStore(database).add(str(notes), f"notes {number}")
    ended: list[RunDone] = []
    stored = dg.DagsterInstance.handle_new_event

    def handle(instance: dg.DagsterInstance, entry: dg.EventLogEntry, **more: object) -> object:
        if not in_background and entry.dagster_event is not None and entry.dagster_event.event_type is dg.DagsterEventType.RUN_FAILURE:
            signal.raise_signal(signal.SIGTERM)
        return stored(instance, entry, **more)

    def after(run: RunDone) -> None:
        ended.append(run)
        if in_background:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(dg.DagsterInstance, "handle_new_event", handle)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if in_background:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt):
            process_due(settings, ended=after)
        assert (signal.getsignal(signal.SIGINT) is signal.SIG_IGN) is in_background
        assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert [run.source_video_id for run in ended] == [1]
    assert SourceVideoStore(database).load(2).state is S.NEW


def test_bad_input_is_named_and_does_not_stop_the_rest(settings: Settings, database: Database, tmp_path: Path) -> None:
    bad = tmp_path / "notes.mp4"
    bad.write_text("these are notes, not a video\n" * 100)
    video = SourceVideoStore(database).add(str(bad), "notes")
    outcome = process_due(settings)
    (failure,) = outcome.failures
    assert failure.startswith(f"source video {video.id}, {video.title}, ingest: ")
    assert "notes.mp4" in failure
    assert "Traceback" not in failure
    row = SourceVideoStore(database).load(video.id)
    assert row.state is S.DOWNLOAD_FAILED
    assert row.error is not None
    assert row.error in failure
    assert process_due(settings).runs == ()  # not again until a person says so
    assert retry_failed(database) == [f"source video {video.id}, {video.title}: fetching failed, now waiting to be fetched"]
    assert len(process_due(settings).runs) == 1


def test_only_the_source_videos_that_were_asked_for(settings: Settings, database: Database, tmp_path: Path) -> None:
    one, other = (SourceVideoStore(database).add(str(tmp_path / name), name) for name in ("one.mp4", "other.mp4"))
    outcome = process_due(settings, only=[other.id])
    assert [run.source_video_id for run in outcome.runs] == [other.id]
    assert SourceVideoStore(database).load(one.id).state is S.NEW


def test_it_waits_for_what_another_process_has_in_hand(settings: Settings, database: Database) -> None:
    video = video_in(database, S.PREPROCESSING)
    said: list[str] = []
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions("source_videos", [str(video.id)])
        run = instance.create_run_for_job(
            heaters_definitions(settings).resolve_job_def("ingest"),
            tags={"dagster/partition": str(video.id)},
            asset_selection=frozenset({dg.AssetKey("virtual_clips")}),
            status=dg.DagsterRunStatus.STARTED,
        )

        def other_process_ends(text: str) -> None:
            said.append(text)
            SourceVideoStore(database).record_failure(video.id, S.PREPROCESS_FAILED, "no", transient=False)
            instance.report_run_failed(run)

        assert process_due(settings, say=other_process_ends).runs == ()
    assert said == ["waiting for the runs of other processes"]


def test_what_failed_for_a_reason_that_may_pass_is_said_to_come_later(settings: Settings, database: Database) -> None:
    video = video_in(database, S.PREPROCESSING)
    SourceVideoStore(database).record_failure(video.id, S.PREPROCESS_FAILED, "ffmpeg was killed", transient=True)
    outcome = process_due(settings)
    assert (outcome.runs, outcome.later) == ((), 1)
    assert outcome.sentence == "Nothing is due. 1 failed a moment ago: run heaters process again in a minute, or type heaters retry."


def test_partitions_can_be_named_before_a_sensor_has_looked(settings: Settings) -> None:
    register_partitions(settings, [3, 4])
    register_partitions(settings, [4])
    with open_instance(settings) as instance:
        assert instance.get_dynamic_partitions("source_videos") == ["3", "4"]


def test_retry_puts_back_what_has_failed_and_only_that(database: Database, object_store: ObjectStore) -> None:
    failed, other = video_in(database, S.PREPROCESSING), video_in(database, S.PREPROCESSED)
    SourceVideoStore(database).record_failure(failed.id, S.PREPROCESS_FAILED, "ffmpeg was killed", transient=True)
    clip, fine, _ = cut_video(database, gold_master=False)
    SourceVideoStore(database).record_gold_master_failure(clip.source_video_id, "disk full", transient=False)
    reviews(database).approve([clip.id, fine.id], reviewer="ada")
    ClipStore(database).claim(clip.id, EXPORTS, ["final_clips/video_3_clip_001.mp4"])
    ClipStore(database).fail(clip.id, EXPORTS, "disk full", transient=True)
    title = SourceVideoStore(database).load(clip.source_video_id).title
    assert retry_failed(database, videos=[other.id]) == []
    assert retry_failed(database) == [
        f"source video {failed.id}, {failed.title}: making the proxy failed, now waiting for a proxy",
        f"source video {clip.source_video_id}, {title}: its gold master is tried again",
        f"clip {clip.sequence} of {title}: export failed, now approved",
    ]
    assert retry_failed(database) == []


def test_what_failed_names_its_video_once(settings: Settings, database: Database) -> None:
    clip, *_ = cut_video(database, gold_master=False)
    video = SourceVideoStore(database).load(clip.source_video_id)
    reviews(database).approve([clip.id], reviewer="ada")
    said, *_ = process_due(settings, only=[video.id]).failures
    start = f"source video {video.id}, {video.title}, export: 1 of 1 clip failed: clip {clip.sequence}: "
    assert said.startswith(start)
    assert video.title not in said.removeprefix(start)


def test_only_the_clips_that_were_named_are_retried(database: Database) -> None:
    one, two, fine = cut_video(database)
    reviews(database).approve([one.id, two.id], reviewer="ada")
    for clip in (one, two):
        ClipStore(database).fail(clip.id, EXPORTS, "disk full", transient=True)
    title = SourceVideoStore(database).load(two.source_video_id).title
    assert retry_failed(database, clips=[two.id]) == [f"clip {two.sequence} of {title}: export failed, now approved"]
    assert ClipStore(database).load(one.id).state is C.EXPORT_FAILED
    with pytest.raises(
        IllegalTransitionError, match=f"clip id:{fine.id} has not failed .its state: pending_review., so there is nothing to retry"
    ):
        retry_failed(database, clips=[fine.id])


def test_a_source_video_that_is_not_there_is_said(settings: Settings, database: Database) -> None:
    for attempt in (lambda: process_due(settings, only=[424242]), lambda: retry_failed(database, videos=[424242])):
        with pytest.raises(NotFoundError, match="there is no source video 424242"):
            attempt()
    with pytest.raises(NotFoundError, match="424242"):
        retry_failed(database, clips=[424242])


def test_bytes_that_turn_out_to_be_there_already_are_no_failure(
    settings: Settings, database: Database, object_store: ObjectStore, film: Path, tmp_path: Path
) -> None:
    """Two web addresses of one file; that they are the same shows only when the second one has been fetched."""
    settings, videos = replace(settings, allow_private_addresses=True), SourceVideoStore(database)
    shutil.copy(film, tmp_path / "mirror.mp4")
    with WebServer(tmp_path).running() as web:
        first, second = (videos.add(f"{web.url}/{name}.mp4", name) for name in ("film", "mirror"))
        held = Downloader.from_settings(settings)
        fetch_source_video(first.id, videos=videos, objects=object_store, work=WorkFolder(settings.work_folder), downloader=held)
        outcome = process_due(settings, only=[second.id])
    told = f"this is the same file as source video {first.id} (film); use that one"
    assert outcome.failures == []
    assert [run.sentence for run in outcome.runs] == [f"source video {second.id}, {second.title}: {told}"]
    assert videos.load(second.id).error == told
    assert retry_failed(database) == []
    assert retry_failed(database, videos=[second.id]) == [
        f"source video {second.id}, {second.title}: fetching failed, now waiting to be fetched"
    ]
    with open_instance(settings) as instance:
        (run,) = instance.get_runs()
        assert run.is_success
        assert not any(instance.get_materialized_partitions(key) for key in instance.all_asset_keys())


def test_the_terminal_is_left_to_the_progress_bars(
    settings: Settings, database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    SourceVideoStore(database).add(str(tmp_path / "nowhere.mp4"), "nowhere")
    assert len(process_due(settings).failures) == 1
    shown = capfd.readouterr()
    assert shown.out + shown.err == ""
