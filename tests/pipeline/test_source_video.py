"""The first stage from `new` to `downloaded`: once however often it is submitted, begun again wherever it was cut off."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from assets.metadata import size, store
from assets.source_video import fetch_source_video, probe_table, source_video
from heaters_dagster.domain.errors import (
    BusyError,
    DuplicateSourceError,
    InvalidMediaError,
    NoRoomError,
    SourceNotFoundError,
    StoreUnavailableError,
)
from heaters_dagster.domain.ingest import title_from_name
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.settings import Settings, child_environment
from resources.media.first_look import MediaProbe
from resources.media.media_probe import probe
from resources.object_store import LocalObjectStore, ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.sources.address_guard import AddressGuard
from resources.sources.downloader import Downloader
from resources.sources.file_identity import file_identity
from resources.sources.submission import submit
from tests.media_files import make_video, rotated
from tests.warm_process import started
from tests.web_server import WebServer


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_video(tmp_path_factory.mktemp("made") / "a_day out.mp4", frames=12)


@pytest.fixture
def clip(made, tmp_path) -> Path:
    return Path(shutil.copy(made, tmp_path / made.name))


class Ingest:
    """All that the stage works with, in one folder."""

    def __init__(self, database: Database, settings: Settings, objects: ObjectStore) -> None:
        self.videos = SourceVideoStore(database)
        self.work = WorkFolder(settings.work_folder)
        self.objects = objects
        self.downloader = Downloader(guard=AddressGuard(allow_private=True), timeout_seconds=5, retries=0)

    def submitted(self, source: object) -> SourceVideo:
        return self.videos.add(str(source), title_from_name(str(source)))

    def fetch(self, video: SourceVideo, **options) -> SourceVideo:
        return fetch_source_video(
            video.id, **{"videos": self.videos, "objects": self.objects, "work": self.work, "downloader": self.downloader} | options
        )

    def keys(self) -> list[str]:
        return [found.key for found in self.objects.list()]

    def leftovers(self) -> list[Path]:
        places = [self.work.root, *([self.objects.folder / ".incoming"] if isinstance(self.objects, LocalObjectStore) else [])]
        return [path for folder in places for path in folder.rglob("*")]


@pytest.fixture
def ingest(database, settings, object_store) -> Ingest:
    return Ingest(database, settings, object_store)


def test_a_submitted_file_is_stored_probed_and_hashed(ingest, clip):
    seen = []
    done = ingest.fetch(ingest.submitted(clip), report=seen.append)
    assert (done.state, done.title, done.error, done.warnings) == (SourceVideoState.DOWNLOADED, "a day out", None, ())
    assert (done.original_filepath, done.original_bytes) == (f"originals/video_{done.id}.mp4", clip.stat().st_size)
    assert done.content_sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert done.duration_seconds == pytest.approx(0.5, abs=0.05)
    assert MediaProbe.from_json(done.probe) == probe(clip)
    assert ingest.objects.get_bytes(done.original_filepath) == clip.read_bytes()
    assert ingest.leftovers() == []
    assert [progress.stage for progress in seen] == ["download", "upload"]
    assert ingest.videos.load(done.id) == done


def test_the_submitted_file_stays_apart_from_the_stored_one(ingest, clip):
    done = ingest.fetch(ingest.submitted(clip))
    before = clip.read_bytes()
    clip.write_bytes(b"overwritten")
    assert ingest.objects.get_bytes(done.original_filepath) == before


def test_a_web_address_takes_its_title_from_the_page(ingest, clip, tmp_path):
    with WebServer(tmp_path).running() as web:
        done = ingest.fetch(ingest.submitted(f"{web.url}/a_day%20out.mp4"))
    assert (done.state, done.title) == (SourceVideoState.DOWNLOADED, "a day out")
    assert ingest.keys() == [f"originals/video_{done.id}.mp4"]


def test_a_name_without_suffix_gets_that_of_its_container(ingest, clip):
    done = ingest.fetch(ingest.submitted(clip.rename(clip.with_name("take 7"))))
    assert (done.original_filepath, done.title) == (f"originals/video_{done.id}.mp4", "take 7")


def test_what_is_downloaded_is_not_fetched_again(ingest, clip):
    done = ingest.fetch(ingest.submitted(clip))
    clip.unlink()
    assert ingest.fetch(done) == done


def test_an_upload_becomes_the_original_without_a_copy_unless_it_has_changed(ingest, clip, settings):
    settings.uploads_folder.mkdir()
    hashed = replace(file_identity(clip), sha256=hashlib.sha256(clip.read_bytes()).hexdigest())
    uploads = [Path(shutil.copy2(clip, settings.uploads_folder / f"{name}.mp4")) for name in ("0123", "4567")]
    first, changed = (ingest.videos.add(str(path), "holiday", **hashed.columns()) for path in uploads)
    done = ingest.fetch(first, uploads_folder=settings.uploads_folder, downloader=None)
    assert (done.title, done.content_sha256, done.original_bytes) == ("holiday", hashed.sha256, clip.stat().st_size)
    uploads[0].unlink()
    assert ingest.objects.get_bytes(done.original_filepath) == clip.read_bytes()
    with uploads[1].open("ab") as file:
        file.write(b"more")
    again = ingest.fetch(changed, uploads_folder=settings.uploads_folder)
    assert again.content_sha256 == hashlib.sha256(uploads[1].read_bytes()).hexdigest() != hashed.sha256


# the same bytes


def test_the_same_bytes_under_another_name_are_one_source_video(ingest, clip):
    first = ingest.fetch(ingest.submitted(clip))
    second = ingest.submitted(clip.rename(clip.with_name("other.mov")))
    with pytest.raises(DuplicateSourceError, match=rf"^this is the same file as source video {first.id} \(a day out\)"):
        ingest.fetch(second)
    assert ingest.videos.load(second.id).duplicate_of_id == first.id
    assert ingest.keys() == [first.original_filepath]
    assert ingest.leftovers() == []


def test_the_same_path_again_is_known_without_a_copy(ingest, clip):
    first = ingest.fetch(ingest.submitted(clip))
    seen = []
    with pytest.raises(DuplicateSourceError, match=f"same file as source video {first.id}"):
        ingest.fetch(ingest.submitted(clip), report=seen.append)
    assert seen == []


def test_the_same_path_with_other_bytes_is_another_source_video(ingest, clip):
    first = ingest.fetch(ingest.submitted(clip))
    data = bytearray(clip.read_bytes())
    data[-1] ^= 1
    clip.write_bytes(data)
    second = ingest.fetch(ingest.submitted(clip))
    assert second.content_sha256 != first.content_sha256
    assert len(ingest.keys()) == 2


def test_a_duplicate_that_is_tried_again_stays_one(ingest, clip):
    first = ingest.fetch(ingest.submitted(clip))
    second = ingest.submitted(clip)
    for _ in range(2):
        with pytest.raises(DuplicateSourceError):
            ingest.fetch(second)
        ingest.videos.record_failure(second.id, SourceVideoState.DOWNLOAD_FAILED, "same file", transient=False)
    assert ingest.keys() == [first.original_filepath]


def test_a_duplicate_whose_file_has_changed_goes_its_own_way(ingest, clip, tmp_path):
    ingest.fetch(ingest.submitted(clip))
    second = ingest.submitted(clip)
    with pytest.raises(DuplicateSourceError):
        ingest.fetch(second)
    rotated(clip, tmp_path / "turned.mp4", 90).rename(clip)
    done = ingest.fetch(second)
    assert (done.state, done.duplicate_of_id) == (SourceVideoState.DOWNLOADED, None)
    assert len(ingest.keys()) == 2


class StoreThatIsSlow(LocalObjectStore):
    """While it stores the original, another process fetches the same bytes and is done first."""

    def __init__(self, ingest: Ingest, other: SourceVideo) -> None:
        super().__init__(ingest.objects.folder, work_folder=ingest.work.root)
        self._meanwhile = lambda: ingest.fetch(other)

    def put_file(self, *arguments, **options):
        self._meanwhile()
        super().put_file(*arguments, **options)


@pytest.mark.folder
def test_of_two_that_are_fetched_at_once_one_is_kept(ingest, clip):
    first, second = ingest.submitted(clip), ingest.submitted(clip)
    with pytest.raises(DuplicateSourceError, match=f"^this is the same file as source video {second.id}"):
        ingest.fetch(first, objects=StoreThatIsSlow(ingest, second))
    assert ingest.videos.load(first.id).duplicate_of_id == second.id
    assert ingest.keys() == [f"originals/video_{second.id}.mp4"]


def test_a_file_that_was_edited_is_another_source_video_when_it_is_submitted_again(ingest, clip, tmp_path):
    """Also one whose edit left size and time of change as they were."""
    (first,) = submit([str(clip)], ingest.videos, guard=AddressGuard())
    before = clip.stat()
    fetched = ingest.fetch(first.video)
    edited = bytearray(clip.read_bytes())
    edited[edited.index(b"mdat") + 100] ^= 1
    clip.write_bytes(bytes(edited))
    os.utime(clip, ns=(before.st_atime_ns, before.st_mtime_ns))
    (second,) = submit([str(clip)], ingest.videos, guard=AddressGuard())
    assert second.video.id != first.video.id
    again = ingest.fetch(second.video)
    assert (again.state, again.duplicate_of_id) == (SourceVideoState.DOWNLOADED, None)
    assert again.content_sha256 != fetched.content_sha256
    assert ingest.keys() == [f"originals/video_{one.video.id}.mp4" for one in (first, second)]


# failures


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", InvalidMediaError, r"^x\.mp4 is empty \(0 bytes\)$"),
        (b"Dear diary\n" * 50, InvalidMediaError, r"^x\.mp4 is not a video: it holds text$"),
        (None, SourceNotFoundError, r"there is no file .*x\.mp4$"),
    ],
)
def test_bad_input_leaves_nothing_behind_and_can_be_retried(ingest, made, tmp_path, data, error, words):
    path = tmp_path / "x.mp4"
    if data is not None:
        path.write_bytes(data)
    video = ingest.submitted(path)
    with pytest.raises(error, match=words):
        ingest.fetch(video)
    assert ingest.keys() == ingest.leftovers() == []
    assert ingest.videos.load(video.id).content_sha256 is None
    ingest.videos.record_failure(video.id, SourceVideoState.DOWNLOAD_FAILED, words, transient=False)
    ingest.videos.retry(video.id)
    shutil.copy(made, path)
    assert ingest.fetch(video).state is SourceVideoState.DOWNLOADED


def test_a_file_with_a_title_of_its_own_is_called_by_it(ingest, tmp_path):
    (tmp_path / "0f3c.mp4").write_text("Dear diary\n" * 50)
    video = ingest.videos.add(str(tmp_path / "0f3c.mp4"), "holiday.mp4")
    with pytest.raises(InvalidMediaError, match=r"^holiday\.mp4 is not a video"):
        ingest.fetch(video)


class BrokenStore(LocalObjectStore):
    def put_file(self, *arguments, **options):
        raise StoreUnavailableError("the store does not answer")


def test_a_name_that_would_command_a_terminal_is_told_in_one_plain_line(ingest, tmp_path):
    path = tmp_path / "holi\x1b[2Jday\nnext.mp4"
    path.touch()
    with pytest.raises(InvalidMediaError, match=r"^holi \[2Jday next\.mp4 is empty"):
        ingest.fetch(ingest.submitted(path))


@pytest.mark.folder
def test_when_the_store_fails_the_same_file_may_come_by_another_way(ingest, clip):
    video = ingest.submitted(clip)
    with pytest.raises(StoreUnavailableError):
        ingest.fetch(video, objects=BrokenStore(ingest.objects.folder))
    assert ingest.videos.load(video.id).content_sha256 is None
    other = ingest.fetch(ingest.submitted(clip))
    assert other.state is SourceVideoState.DOWNLOADED
    assert ingest.leftovers() == []


# cut off

_FETCH = """
import sys, time
from assets.source_video import fetch_source_video
from heaters_dagster.settings import Settings
from resources.sources.address_guard import AddressGuard
from resources.postgres.database import Database
from resources.sources.downloader import Downloader
from resources.object_store.open import open_object_store
from resources.postgres.source_video_store import SourceVideoStore
from resources.object_store.work_folder import WorkFolder
from dataclasses import replace
from resources.sources.file_identity import file_identity
source_video_id, point = sys.argv[1:]
settings = Settings.from_environment()
database = Database.connect(settings.database_url)
def report(progress):
    if progress.stage == point:
        print("here", flush=True)
        time.sleep(600)
with database.stage_lock("source_video", int(source_video_id)):
    fetch_source_video(
        int(source_video_id), videos=SourceVideoStore(database), work=WorkFolder(settings.work_folder), report=report,
        objects=open_object_store(settings), downloader=Downloader(guard=AddressGuard()),
    )
"""


def kill_in(point: str, video: SourceVideo, ingest: Ingest, database: Database, settings: Settings) -> None:
    process = started(_FETCH, str(video.id), point, environment=child_environment(settings))
    try:
        assert process.stdout.readline() == "here\n"
        assert database.stage_is_busy("source_video", video.id)
        assert ingest.work.sweep() == []
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("point", ["download", "upload"])
def test_killed_in_the_middle_and_begun_again(ingest, clip, database, settings, point):
    video = ingest.submitted(clip)
    kill_in(point, video, ingest, database, settings)
    assert ingest.videos.load(video.id).state is SourceVideoState.DOWNLOADING
    assert [path.name.partition(".")[0] for path in ingest.work.sweep()] == [f"source_video-{video.id}"]
    done = ingest.fetch(video)
    assert (done.state, done.attempts) == (SourceVideoState.DOWNLOADED, 0)
    assert ingest.keys() == [done.original_filepath]
    assert ingest.leftovers() == []


def test_bytes_whose_first_file_went_away_after_a_kill_can_come_again(ingest, clip, tmp_path, database, settings):
    first = ingest.submitted(clip)
    copy = shutil.copy(clip, tmp_path / "copy.mp4")
    kill_in("upload", first, ingest, database, settings)
    clip.unlink()
    second = ingest.fetch(ingest.submitted(copy))
    assert (second.state, second.duplicate_of_id) == (SourceVideoState.DOWNLOADED, None)
    with pytest.raises(SourceNotFoundError):
        ingest.fetch(first)
    ingest.videos.record_failure(first.id, SourceVideoState.DOWNLOAD_FAILED, "gone", transient=False)
    ingest.videos.retry(first.id)
    shutil.copy(copy, clip)
    with pytest.raises(DuplicateSourceError, match=f"^this is the same file as source video {second.id}"):
        ingest.fetch(first)
    assert ingest.keys() == [second.original_filepath]


def test_an_original_that_a_cut_off_try_stored_under_another_suffix_goes(ingest, clip):
    neighbour = ingest.fetch(ingest.submitted(clip))
    data = bytearray(clip.read_bytes())
    data[-1] ^= 1
    clip.write_bytes(data)
    video = ingest.submitted(clip)
    for suffix in ("", ".mkv"):
        ingest.objects.put_bytes(f"originals/video_{video.id}{suffix}", b"from before")
    ingest.objects.put_bytes(f"originals/video_{video.id}0.mkv", b"of another source video")
    done = ingest.fetch(video)
    assert ingest.keys() == sorted([neighbour.original_filepath, done.original_filepath, f"originals/video_{video.id}0.mkv"])


# room on the disk


@pytest.mark.folder
def test_ten_that_are_fetched_at_once_are_promised_no_more_room_than_there_is(ingest, clip, tmp_path, settings):
    """Room for three of them is there: the others wait without a failed try, and are fetched when it is free again."""
    half = shutil.disk_usage(tmp_path).free // 2
    ingest.work = WorkFolder(settings.work_folder, keep_free_bytes=half)
    waiting = {}
    for number in range(10):
        source = tmp_path / f"{number}.mp4"
        source.write_bytes(clip.read_bytes() + b"\0\0\0\x09free%d" % number)
        waiting[number] = ingest.videos.add(str(source), source.stem, source_bytes=half * 3 // 10)
    at_once = []
    while waiting:
        fetched, refused, turn = [], {}, threading.Condition()

        def fetch(number, *, waiting=waiting, fetched=fetched, refused=refused, turn=turn):
            def stay(progress):
                """Until all of them have begun, or have found no room."""
                if progress.stage == "download":
                    with turn:
                        fetched.append(number)
                        turn.notify_all()
                        assert turn.wait_for(lambda: len(fetched) + len(refused) == len(waiting), timeout=60)

            try:
                ingest.fetch(waiting[number], report=stay)
            except NoRoomError as error:
                with turn:
                    refused[number] = str(error)
                    turn.notify_all()

        with ThreadPoolExecutor(10) as ten:
            list(ten.map(fetch, list(waiting)))
        at_once.append(len(fetched))
        assert all("waits for room on the disk: needs" in told for told in refused.values())
        now = {number: ingest.videos.load(video.id) for number, video in waiting.items()}
        assert {number for number, video in now.items() if video.state is SourceVideoState.DOWNLOADED} == set(fetched)
        assert all((now[number].state, now[number].attempts, now[number].error) == (SourceVideoState.NEW, 0, None) for number in refused)
        waiting = {number: waiting[number] for number in refused}
    assert at_once == [3, 3, 3, 1]
    assert ingest.leftovers() == []


# the Dagster asset


def materialized(settings: Settings, video: SourceVideo) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("source_videos", [str(video.id)])
        return dg.materialize(
            [source_video], partition_key=str(video.id), resources=dagster_resources(settings), instance=instance, raise_on_error=False
        )


def test_the_asset_shows_the_operator_what_came(ingest, settings, clip):
    video = ingest.submitted(clip)
    run = materialized(settings, video)
    assert run.success
    metadata = {name: value.value for name, value in run.asset_materializations_for_node("source_video")[0].metadata.items()}
    done = ingest.videos.load(video.id)
    assert metadata["original"] == done.original_filepath
    assert metadata["sha256"] == done.content_sha256
    assert metadata["size"] == size(clip.stat().st_size)
    assert metadata["source video"] == "a day out"
    assert metadata["store"] == store(settings).value
    assert "| picture | h264 160x120 yuv420p, 24.000 frames/s on average |" in metadata["probe"]


def test_the_asset_writes_down_why_it_failed(ingest, settings, tmp_path):
    (tmp_path / "notes.txt").write_text("Dear diary\n" * 50)
    video = ingest.submitted(tmp_path / "notes.txt")
    run = materialized(settings, video)
    assert not run.success
    row = ingest.videos.load(video.id)
    assert (row.state, row.error) == (SourceVideoState.DOWNLOAD_FAILED, "notes.txt is not a video: it holds text")


def test_the_asset_tells_the_submitter_of_a_duplicate(ingest, settings, clip):
    first = ingest.fetch(ingest.submitted(clip))
    second = ingest.submitted(clip)
    run = materialized(settings, second)
    assert run.success
    assert run.asset_materializations_for_node("source_video") == []
    row = ingest.videos.load(second.id)
    assert row.state is SourceVideoState.DOWNLOAD_FAILED
    assert row.error.startswith(f"this is the same file as source video {first.id} (a day out)")


@pytest.mark.folder
def test_two_processes_never_fetch_one_source_video(ingest, settings, database, clip):
    video = ingest.submitted(clip)
    with database.stage_lock("source_video", video.id):
        assert not materialized(settings, video).success
        with pytest.raises(BusyError), database.stage_lock("source_video", video.id):
            pass
    assert ingest.videos.load(video.id).state is SourceVideoState.NEW


def test_the_table_of_a_probe_names_what_is_peculiar(tmp_path, clip):
    table = probe_table(probe(rotated(clip, tmp_path / "turned.mp4", -90)))
    assert "| peculiar | turned by 90 degrees |" in table
    assert "| sound | aac, 1 channels, 48000 Hz |" in table
