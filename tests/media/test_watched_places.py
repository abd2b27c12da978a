"""Watched folders and prefixes: what arrives is taken once, whole, and moved when the pipeline is done with it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.domain.watching import FileState
from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.watched_store import WatchedStore
from resources.sources import submission
from resources.sources.address_guard import AddressGuard
from resources.sources.object_prefixes import listing_of
from resources.sources.watched_places import PlaceLook, Watcher
from tests.buckets import BucketServer

S = SourceVideoState


class Watching:
    """A watched folder; two looks one after the other are as far apart as the setting says."""

    def __init__(self, settings: Settings, database: Database, folder: Path, *, place: str | None = None) -> None:
        self.folder, self.database = folder, database
        self.settings = replace(settings, watch=(place or str(folder),), watch_seconds=1)
        self.videos, self.store = SourceVideoStore(database), WatchedStore(database)

    def at(self, folder: Path) -> Watching:
        """The same for a folder of its own."""
        folder.mkdir()
        return Watching(self.settings, self.database, folder)

    def look(self, **changes: Any) -> PlaceLook:
        for _ in range(500):  # the lock of a process that was killed a moment ago
            looks = Watcher(replace(self.settings, **changes), self.database).look(at_once=True)
            if looks:
                return looks[0]
            time.sleep(0.02)
        raise AssertionError("another process looks all the time")

    def look_until(self, is_so: Callable[[], bool]) -> None:
        """A video of a process that was killed a moment ago may be locked still."""
        for _ in range(500):
            self.look(watch_then="move")
            if is_so():
                return
            time.sleep(0.02)
        raise AssertionError("it did not come about")

    def file(self, name: str, content: bytes = b"video") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def ids(self) -> list[int]:
        return [video.id for video in self.videos.load_all() if Path(video.source).is_relative_to(self.folder)]

    def sources(self) -> list[str]:
        return [str(Path(self.videos.load(one).source).relative_to(self.folder)) for one in self.ids()]

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def stored(self, source_video_id: int) -> None:
        """As if the pipeline had put its original into the store."""
        path = Path(self.videos.load(source_video_id).source)
        content = path.read_bytes() if path.exists() else b"video %d" % source_video_id
        self.videos.set_state(source_video_id, S.DOWNLOADING)
        self.videos.finish_download(
            source_video_id, hashlib.sha256(content).hexdigest(), original_filepath="originals/x.mp4", original_bytes=len(content)
        )


@pytest.fixture
def watching(settings: Settings, database: Database, tmp_path: Path) -> Watching:
    folder = tmp_path / "incoming"
    folder.mkdir()
    return Watching(settings, database, folder)


def test_a_file_is_taken_once_when_it_has_stopped_growing(watching: Watching) -> None:
    growing = watching.file("day 2/growing.mp4")
    for name in ("half.mp4.part", "half.mkv.crdownload", "half.tmp", ".hidden.mp4", "notes.txt", "empty.mp4"):
        watching.file(name, b"" if name == "empty.mp4" else b"x")
    watching.folder.joinpath("link.mp4").symlink_to("/etc/hostname")
    assert watching.look().sentence == f"{watching.folder}: 2 files arriving"
    growing.write_bytes(b"video and more")
    assert (watching.look().taken, watching.sources()) == ([], []), "it has grown since"
    assert watching.look().sentence == f"{watching.folder}: 1 file taken, 1 file arriving"
    (video,) = watching.videos.load_all()
    assert (video.source, video.confined_to, video.source_bytes) == (str(growing), str(watching.folder), 14)
    assert [watching.look().taken for _ in range(2)] == [[], []]
    os.utime(growing, (1, 1))  # touched: the same bytes
    assert [watching.look().taken for _ in range(3)] == [[], [video.id], []]
    assert watching.sources() == ["day 2/growing.mp4"]
    watching.file("copy.mp4", b"video and more")
    assert [watching.look().taken for _ in range(3)] == [[], [video.id], []], "known by its bytes"
    assert len(watching.sources()) == 1


def test_a_file_that_gets_its_name_when_it_is_whole_is_taken_at_once(watching: Watching) -> None:
    partial = watching.file("film.mp4.part")
    watching.file("other.mp4.part")
    watching.look()
    os.utime(partial, (1, 1))
    partial.rename(watching.folder / "film.mp4")
    (watching.folder / "other.mp4.part").unlink()
    watching.file("other.mp4", b"written anew, and perhaps not to its end")
    watching.look()
    assert watching.sources() == ["film.mp4"]


def test_a_file_is_moved_when_its_original_is_stored_or_it_has_failed_for_good(watching: Watching) -> None:
    for name in ("a/good.mp4", "bad.mp4", "waits.mp4"):
        watching.file(name, name.encode())
    for _ in range(2):
        look = watching.look(watch_then="move")
    ids = dict(zip(watching.sources(), look.taken, strict=True))
    assert watching.names() == ["a/good.mp4", "bad.mp4", "waits.mp4"], "the pipeline still reads them"
    watching.stored(ids["a/good.mp4"])
    watching.videos.record_failure(ids["bad.mp4"], S.DOWNLOAD_FAILED, "bad is not a video", transient=False)
    assert watching.look(watch_then="move").moved == 2
    assert watching.names() == ["refused/bad.mp4", "taken/a/good.mp4", "waits.mp4"]
    assert sorted(watching.sources()) == ["refused/bad.mp4", "taken/a/good.mp4", "waits.mp4"], "a retry finds them"
    assert watching.look(watch_then="move").sentence.endswith("nothing new")
    watching.file("a/good.mp4", b"another film of the same name")
    for _ in range(2):
        look = watching.look(watch_then="move")
    watching.stored(look.taken[0])
    watching.look(watch_then="move")
    assert (watching.folder / "taken/a/good (2).mp4").read_bytes() == b"another film of the same name"


#: Looks at a watched place, each time in a process of its own that is killed without warning before a step that changes something: the
#: commit of a transaction, a file, an object. Prints how each process ended.
_LOOKER = """
import itertools, json, os, signal, sys, traceback
from pathlib import Path
import boto3
from botocore.httpsession import URLLib3Session
from sqlalchemy import event
from heaters_dagster.settings import Settings
from resources.object_store import s3
from resources.postgres.database import Database
from resources.sources.watched_places import Watcher

FILES = {"os.link", "os.mkdir", "os.remove", "os.rename"}

def look(url, place, endpoint, last, in_bucket):
    steps = itertools.count()

    def step():
        if next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def send(session, request, to_server=URLLib3Session.send):
        if request.method not in {"GET", "HEAD"}:
            step()
        return to_server(session, request)

    database = Database.connect(url)
    if in_bucket:
        URLLib3Session.send = send
    else:
        event.listen(database.engine, "commit", lambda connection: connection.get_execution_options().get("postgresql_readonly") or step())
        sys.addaudithook(lambda name, about: step() if name in FILES else None)
    settings = Settings(
        home=Path("/nowhere"), database_url=url, watch=(place,), watch_seconds=1, watch_then="move", s3_endpoint_url=endpoint
    )
    Watcher(settings, database).look(at_once=True)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            look(**json.loads(line))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Looker:
    """Looks from other processes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def is_killed(self, watching: Watching, *, step: int, in_bucket: bool = False) -> bool:
        """Look at the place in a process that is killed before this step, counted from 0. False: the look ended before."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        settings = watching.settings
        asked = {"url": watching.database.url, "place": settings.watch[0], "endpoint": settings.s3_endpoint_url}
        print(json.dumps(asked | {"last": step, "in_bucket": in_bucket}), file=self._process.stdin, flush=True)
        ended = int(self._process.stdout.readline())
        assert ended in {0, -signal.SIGKILL}
        return ended != 0


@pytest.fixture(scope="module")
def looker(buckets: BucketServer) -> Iterator[Looker]:
    with subprocess.Popen(
        [sys.executable, "-c", _LOOKER], cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Looker(process)
        process.kill()


def test_a_process_that_is_killed_before_any_of_its_steps_loses_and_doubles_nothing(watching: Watching, looker: Looker) -> None:
    killed, step = True, 0
    while killed:
        one = watching.at(watching.folder / f"killed before step {step}")
        content = b"video %d" % step
        one.file("film.mp4", content)
        one.file("film.de.srt", b"subtitles")
        one.look(watch_then="move")
        killed = looker.is_killed(one, step=step)  # it takes the file
        one.look_until(lambda one=one: [known.state for known in one.store.files(str(one.folder)).values()] == [FileState.TAKEN])
        assert len(one.ids()) == 1
        one.stored(one.ids()[0])
        killed |= looker.is_killed(one, step=step)  # it moves the file
        assert {path.read_bytes() for path in one.folder.rglob("*.mp4")} == {content}, "it is in one of the two places, or in both"
        one.look_until(lambda one=one: one.store.files(str(one.folder)) == {})
        assert (one.names(), one.sources()) == (["taken/film.de.srt", "taken/film.mp4"], ["taken/film.mp4"])
        one.file("film.mp4", content)
        for _ in range(2):
            one.look()
        assert one.sources() == ["taken/film.mp4"], "the same bytes came once more"
        step += 1
    assert step > 6, "the steps were counted"


def test_subtitle_files_are_moved_with_their_video(watching: Watching) -> None:
    for name in ("film.mp4", "two.mp4", "two.mkv"):
        watching.file(name, name.encode())
    subtitles = {"film.srt": b"1", "film.de.vtt": b"2", "two.srt": b"3", "other.srt": b"4"}
    for name, content in subtitles.items():
        watching.file(name, content)
    for _ in range(2):
        watching.look(watch_then="move")
    ids = {Path(video.source).name: video.id for video in watching.videos.load_all()}
    watching.stored(ids["film.mp4"])
    watching.stored(ids["two.mkv"])
    watching.look(watch_then="move")
    assert watching.names() == [
        "other.srt", "taken/film.de.vtt", "taken/film.mp4", "taken/film.srt", "taken/two.mkv", "two.mp4", "two.srt",
    ]  # fmt: skip
    watching.stored(ids["two.mp4"])
    watching.look(watch_then="move")
    assert watching.names()[-3:] == ["taken/two.mkv", "taken/two.mp4", "taken/two.srt"], "when no other video needs it any more"


def test_a_folder_that_is_gone_is_said_and_nothing_is_forgotten(watching: Watching) -> None:
    watching.file("film.mp4")
    for _ in range(2):
        watching.look()
    away = watching.folder.rename(watching.folder.with_name("away"))
    for _ in range(2):
        assert watching.look().sentence == (
            f"{watching.folder} cannot be read (No such file or directory). Is its disk connected? Files in it are taken when it is there "
            "again"
        )
    (place,) = watching.store.places([str(watching.folder)])
    assert place.problem is not None
    away.rename(watching.folder)
    assert watching.look().sentence.endswith("nothing new")
    (place,) = watching.store.places([str(watching.folder)])
    assert (place.problem, place.files) == (None, {FileState.TAKEN: 1})


def test_a_name_that_cannot_be_stored_is_said_and_the_others_are_taken(watching: Watching) -> None:
    watching.file("film.mp4")
    with open(os.fsencode(watching.folder) + b"/\xff.mp4", "wb") as file:
        file.write(b"video")
    for _ in range(2):
        look = watching.look()
    assert look.problem == f"{watching.folder}/\\xff.mp4: its name is not UTF-8 and cannot be stored; rename the file"
    assert watching.sources() == ["film.mp4"]


def test_a_pipe_in_a_watched_folder_is_said_and_the_others_are_taken(watching: Watching) -> None:
    watching.file("film.mp4")
    os.mkfifo(watching.folder / "a pipe.mp4")
    os.mkfifo(watching.folder / "notes.txt")
    (watching.folder / "link.mp4").symlink_to(watching.folder / "film.mp4")
    for _ in range(2):
        look = watching.look()
    assert look.problem == f"{watching.folder}/a pipe.mp4 is a named pipe, not an ordinary file; it is left out until you move it away"
    assert watching.sources() == ["film.mp4"]


def test_a_folder_within_that_cannot_be_read_is_said_and_the_others_are_taken(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    watching.file("film.mp4")
    watching.file("shut/other.mp4", b"another")
    listdir = os.listdir

    def refusing(path: Path) -> list[str]:
        if path.name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refusing)
        for _ in range(2):
            look = watching.look()
        assert (
            look.problem
            == f"{watching.folder}/shut cannot be read (Permission denied). Give this user the right to read it, or move it away"
        )
        assert watching.sources() == ["film.mp4"]
    for _ in range(2):
        look = watching.look()
    assert (look.problem, watching.sources()) == (None, ["film.mp4", "shut/other.mp4"])


def test_a_place_is_looked_at_when_its_turn_has_come(watching: Watching) -> None:
    watcher = Watcher(replace(watching.settings, watch_seconds=3600), watching.database)
    assert [len(watcher.look()) for _ in range(2)] == [1, 0]
    with watching.database.stage_lock(f"watch {watching.folder}", 0):
        assert watcher.look(at_once=True) == [], "another process looks"


def test_objects_of_a_prefix_are_taken_when_they_are_listed_and_moved_within_the_bucket(
    watching: Watching, buckets: BucketServer, looker: Looker
) -> None:
    bucket = buckets.new_bucket()
    for key in ("in/day 1/a.mp4", "in/day 1/a.de.srt", "in/b.mp4.part", "in/.c.mp4", "in/taken/old.mp4", "in/", "elsewhere/d.mp4"):
        buckets.client.put_object(Bucket=bucket, Key=key, Body=b"video")
    place = {"watch": (f"s3://{bucket}/in/",), "s3_endpoint_url": buckets.url, "watch_then": "move"}
    look = watching.look(**place)
    assert [video.source for video in watching.videos.load_all()] == [f"s3://{bucket}/in/day 1/a.mp4"]
    assert (look.taken, watching.look(**place).taken) == ([1], [])
    watching.stored(1)
    assert watching.look(**place).moved == 1
    keys = [found["Key"] for found in buckets.client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == [
        "elsewhere/d.mp4",
        "in/",
        "in/.c.mp4",
        "in/b.mp4.part",
        "in/taken/day 1/a.de.srt",
        "in/taken/day 1/a.mp4",
        "in/taken/old.mp4",
    ]
    assert watching.videos.load(1).source == f"s3://{bucket}/in/taken/day 1/a.mp4"
    for step, keys in enumerate((["in/c.mp4"], ["in/c.mp4", "in/taken/c.mp4"])):  # before the copy, and before the first one is deleted
        buckets.client.put_object(Bucket=bucket, Key="in/c.mp4", Body=b"another %d" % step)
        one = Watching(replace(watching.settings, **place), watching.database, watching.folder, place=place["watch"][0])
        (taken,) = one.look().taken
        one.stored(taken)
        assert looker.is_killed(one, step=step, in_bucket=True)
        found = buckets.client.list_objects_v2(Bucket=bucket)["Contents"]
        assert [each["Key"] for each in found if each["Key"].endswith("/c.mp4")] == keys
        one.look_until(lambda one=one, taken=taken: one.videos.load(taken).source == f"s3://{bucket}/in/taken/c.mp4")
        found = buckets.client.list_objects_v2(Bucket=bucket)["Contents"]
        assert [each["Key"] for each in found if each["Key"].endswith("/c.mp4")] == ["in/taken/c.mp4"]
        assert buckets.client.get_object(Bucket=bucket, Key="in/taken/c.mp4")["Body"].read() == b"another %d" % step
    assert "there is no bucket" in watching.look(**place | {"watch": ("s3://no-such-bucket-here/",)}).sentence


def test_an_object_that_was_replaced_is_a_new_source_video(
    watching: Watching, buckets: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = buckets.new_bucket()
    address = f"s3://{bucket}/in/film.mp4"
    place = {"watch": (f"s3://{bucket}/in/",), "s3_endpoint_url": buckets.url}

    def put(content: bytes) -> None:
        buckets.client.put_object(Bucket=bucket, Key="in/film.mp4", Body=content)

    put(b"first")
    assert watching.look(**place).taken == [1]
    put(b"the first once more, before it was fetched")
    assert watching.look(**place).taken == [1]
    watching.stored(1)
    put(b"another film")
    with monkeypatch.context() as patch:
        patch.setattr(WatchedStore, "taken", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            watching.look(**place)
    assert [watching.look(**place).taken for _ in range(2)] == [[2], []], "killed after it was submitted, it is not submitted again"
    assert [video.source for video in watching.videos.load_all()] == [address, address]


def test_what_heaters_itself_stores_is_never_taken(watching: Watching, buckets: BucketServer) -> None:
    bucket = buckets.new_bucket()
    for key in ("originals/video_1.mp4", "review_proxies/video_1_proxy.mp4", "film.mp4"):
        buckets.client.put_object(Bucket=bucket, Key=key, Body=b"video")
    place = {"watch": (f"s3://{bucket}/",), "s3_endpoint_url": buckets.url, "bucket": bucket}
    watching.look(**place)
    assert [video.source for video in watching.videos.load_all()] == [f"s3://{bucket}/film.mp4"]
    listed = submission.submit(
        [f"s3://{bucket}/"],
        watching.videos,
        guard=AddressGuard(),
        list_objects=listing_of(replace(watching.settings, bucket=bucket, s3_endpoint_url=buckets.url)),
    )
    assert [item.source for item in listed] == [f"s3://{bucket}/film.mp4"]
    for name in ("home/objects/review_proxies/video_1_proxy.mp4", "home.mp4"):
        watching.file(name)
    for _ in range(2):
        watching.look(home=watching.folder / "home")
    assert [video.source for video in watching.videos.load_all()][1:] == [str(watching.folder / "home.mp4")]


def test_a_file_on_a_disk_without_links_is_moved_too(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    watching.file("film.mp4")
    for _ in range(2):
        watching.look()
    watching.stored(1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refused)
        watching.look(watch_then="move")
    assert watching.names() == ["taken/film.mp4"]
    shutil.rmtree(watching.folder)
    assert watching.look(watch_then="move").problem is not None
