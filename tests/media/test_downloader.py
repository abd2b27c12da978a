"""Local files, also those that change under the reader, and objects of a bucket."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path

import boto3
import pytest

from heaters_dagster.domain.errors import (
    DiskFullError,
    DownloadError,
    InvalidMediaError,
    SourceNotFoundError,
)
from resources.object_store.s3 import fetch_object
from resources.sources.downloader import local_sha256
from resources.sources.fetched import Fetched
from tests.media_files import barcode_video
from tests.web_server import QuietServer, downloader


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return barcode_video(tmp_path_factory.mktemp("clip") / "a_clip.mp4", frames=48, keyframe_every=12)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# local files


def test_a_local_file_is_copied_and_hashed(tmp_path, folder):
    source = tmp_path / "My_Holiday.MOV"
    source.write_bytes(os.urandom(3_000_001))
    seen = []
    fetched = downloader().fetch(str(source), folder, report=seen.append)
    assert fetched == Fetched(folder / "original", 3_000_001, sha256(source), "My_Holiday.MOV", "My Holiday")
    assert fetched.path.read_bytes() == source.read_bytes()
    assert (seen[-1].stage, seen[-1].done, seen[-1].total, seen[-1].unit) == ("download", 3_000_001, 3_000_001, "bytes")
    assert local_sha256(source) == fetched.sha256


def test_a_link_is_followed_to_its_file(tmp_path, folder):
    (tmp_path / "real.mp4").write_bytes(b"video")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real.mp4")
    assert downloader().fetch(str(tmp_path / "link.mp4"), folder).byte_size == 5


def test_what_is_not_an_ordinary_file(tmp_path, folder):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path, error, words in (
        (tmp_path / "gone.mp4", SourceNotFoundError, r"there is no file .*gone\.mp4$"),
        (tmp_path / "pipe.mp4", InvalidMediaError, "is a named pipe, not an ordinary file"),
        (tmp_path, InvalidMediaError, "is a folder"),
        (Path("/dev/zero"), InvalidMediaError, "/dev/zero is a device, not an ordinary file"),
    ):
        with pytest.raises(error, match=words):
            downloader().fetch(str(path), folder)
    assert list(folder.iterdir()) == []


def test_a_file_that_one_may_not_read(tmp_path, folder):
    source = tmp_path / "private.mp4"
    source.write_bytes(b"x")
    source.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(SourceNotFoundError, match=r"private\.mp4 cannot be read: permission denied"):
            downloader().fetch(str(source), folder)
    finally:
        os.seteuid(user)


def _overwrite_and_set_the_time_back(path):
    """As a program does that copies a file over another with the time of the first."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"other bytes")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda path: path.open("ab").write(b"more"), DownloadError, r"changed while it was read \(100,000 bytes, now 100,004\)"),
        (lambda path: os.utime(path, ns=(1, 1)), DownloadError, "changed while it was read"),
        (_overwrite_and_set_the_time_back, DownloadError, "changed while it was read"),
        (lambda path: path.rename(path.with_name("elsewhere")), SourceNotFoundError, "disappeared while it was read"),
        (lambda path: (path.rename(path.with_name("old")), path.write_bytes(bytes(100_000))), DownloadError, "changed while it was read"),
    ],
)
def test_a_file_that_changes_while_it_is_read(tmp_path, folder, change, error, words):
    source = tmp_path / "growing.mp4"
    source.write_bytes(bytes(100_000))
    with pytest.raises(error, match=words):
        downloader().fetch(str(source), folder, report=lambda progress: change(source))


def test_a_file_that_was_just_changed_is_read_when_another_change_would_show(tmp_path, folder):
    """On kernels whose files have the time of the last tick of the clock, two changes within 10 ms look like one."""
    source, seconds = tmp_path / "growing.mp4", []
    for number in range(5):
        source.write_bytes(bytes(100_000))
        fetched = downloader().fetch(str(source), folder, report=lambda progress: seconds.append(time.time() - source.stat().st_ctime))
        fetched.path.rename(folder / f"read {number}")
    assert len(seconds) == 5
    assert min(seconds) >= 0.02


def test_a_file_that_is_written_without_a_pause_is_given_up(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("resources.sources.downloader._TICK_SECONDS", 60.0)
    monkeypatch.setattr("resources.sources.downloader._STILL_WRITTEN_SECONDS", -1.0)
    source = tmp_path / "growing.mp4"
    source.write_bytes(bytes(100_000))
    with pytest.raises(DownloadError, match=r"growing\.mp4 is being written at the moment; try again when it is complete$"):
        downloader().fetch(str(source), folder)
    assert list(folder.iterdir()) == []


def test_a_file_that_does_not_fit_is_refused_before_the_first_byte(tmp_path, folder, monkeypatch):
    source = tmp_path / "large.mp4"
    source.write_bytes(bytes(1000))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 999, 999))
    with pytest.raises(DiskFullError, match="1,000 bytes are needed, 999 are free"):
        downloader().fetch(str(source), folder)
    assert list(folder.iterdir()) == []


def test_what_its_first_bytes_show_to_be_no_video_is_not_copied(tmp_path, folder):
    source = tmp_path / "report.mp4"
    source.write_bytes(b"%PDF-1.7" + bytes(3_000_000))
    seen = []
    with pytest.raises(InvalidMediaError, match=r"^report\.mp4 is not a video: it is a PDF document$"):
        downloader().fetch(str(source), folder, report=seen.append)
    assert seen == []
    assert [path.stat().st_size for path in folder.iterdir()] in ([], [0])


# objects of a bucket


def test_an_object_of_a_bucket(s3_endpoint, folder, clip):
    client = boto3.client("s3", endpoint_url=s3_endpoint)
    client.create_bucket(Bucket="footage")
    client.upload_file(str(clip), "footage", "day 1/a_clip.mp4")
    seen = []
    fetched = downloader(s3_endpoint_url=s3_endpoint).fetch("s3://footage/day 1/a_clip.mp4", folder, report=seen.append)
    assert (fetched.name, fetched.title, fetched.sha256) == ("a_clip.mp4", "a clip", sha256(clip))
    assert seen[-1].done == seen[-1].total == clip.stat().st_size
    assert sorted(path.name for path in folder.iterdir()) == ["original", "original.about"]
    client.put_object(Bucket="footage", Key="scan.mp4", Body=b"%PDF-1.7" + bytes(3_000_000))
    seen.clear()
    with pytest.raises(InvalidMediaError, match=r"^scan\.mp4 is not a video: it is a PDF document$"):
        downloader(s3_endpoint_url=s3_endpoint).fetch("s3://footage/scan.mp4", folder, report=seen.append)
    assert seen == []
    with pytest.raises(SourceNotFoundError, match=r"there is no object s3://footage/none.mp4"):
        downloader(s3_endpoint_url=s3_endpoint).fetch("s3://footage/none.mp4", folder)


def test_an_object_of_which_parts_are_there_is_fetched_to_its_end(s3_endpoint, folder, monkeypatch):
    monkeypatch.setattr("resources.object_store.object_parts.PART_BYTES", 100_000)
    client = boto3.client("s3", endpoint_url=s3_endpoint)
    client.create_bucket(Bucket="continued")
    data = bytes(range(256)) * 4_000
    client.put_object(Bucket="continued", Key="long.mp4", Body=data)
    path, seen = folder / "original", []

    def break_off(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 5:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fetch_object("continued", "long.mp4", path, endpoint_url=s3_endpoint, progress=break_off)
    assert not path.exists()
    there = len((folder / "original.parts").read_text().splitlines())
    assert there >= 5
    seen.clear()
    told = fetch_object("continued", "long.mp4", path, endpoint_url=s3_endpoint, progress=lambda done, total: seen.append(done))
    assert (path.read_bytes(), told, len(seen)) == (data, hashlib.sha256(data).hexdigest(), 11 - there)
    assert fetch_object("continued", "long.mp4", path, endpoint_url=s3_endpoint) == told, "killed when it was complete"
    other = data[::-1] + b"more"
    client.put_object(Bucket="continued", Key="long.mp4", Body=other)

    def spoil(done: int, total: int) -> None:
        with (folder / "original.part").open("r+b") as file:
            file.write(b"spoilt")

    told = fetch_object("continued", "long.mp4", path, endpoint_url=s3_endpoint, progress=spoil)
    assert told == hashlib.sha256(other).hexdigest(), "of the bytes as they came: the file is not read again"
    assert (path.read_bytes()[:6], path.read_bytes()[200_000:]) == (b"spoilt", other[200_000:])


def test_an_object_that_is_replaced_while_it_is_fetched_is_tried_later(s3_endpoint, folder, monkeypatch):
    """Never the beginning of one and the end of the other."""
    monkeypatch.setattr("resources.object_store.object_parts.PART_BYTES", 100_000)
    client = boto3.client("s3", endpoint_url=s3_endpoint)
    client.create_bucket(Bucket="growing")
    client.put_object(Bucket="growing", Key="long.mp4", Body=b"a" * 1_200_000)
    replaced = []

    def replace_it(progress):
        if not replaced:
            replaced.append(client.put_object(Bucket="growing", Key="long.mp4", Body=b"b" * 1_200_000))

    with pytest.raises(DownloadError, match=r"^s3://growing/long\.mp4 was replaced while it was read; nothing of it was kept"):
        fetch_object("growing", "long.mp4", folder / "original", endpoint_url=s3_endpoint, progress=lambda done, total: replace_it(done))
    assert replaced
    assert list(folder.iterdir()) == []


class OneObject(BaseHTTPRequestHandler):
    """Of a server like S3 that heeds no conditions. data: of each answer, with its own tag. broken: answers that end too early."""

    protocol_version = "HTTP/1.1"
    data: list[bytes]
    broken: set[int]
    numbers: Iterator[int]

    def do_HEAD(self):
        self._answer(200, self.data[0])

    def do_GET(self):
        number = next(self.numbers)
        data = self.data[min(number, len(self.data) - 1)]
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        self._answer(206, data, range(first, last + 1))
        part = data[first : last + 1]
        self.close_connection = number in self.broken
        self.wfile.write(part[: len(part) // 2] if number in self.broken else part)

    def _answer(self, status, data, asked=None):
        self.send_response(status)
        self.send_header("ETag", f'"{hashlib.md5(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(asked if asked is not None else data)))
        if asked is not None:
            self.send_header("Content-Range", f"bytes {asked[0]}-{asked[-1]}/{len(data)}")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def one_object(s3_endpoint, monkeypatch):
    """`serve(data, broken)` gives the address of a server with `OneObject`, and the numbers of its answers."""
    servers = []

    def serve(*data, broken=()):
        handler = type("Bound", (OneObject,), {"data": list(data), "broken": set(broken), "numbers": count()})
        servers.append(QuietServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}", handler.numbers

    monkeypatch.setattr("resources.object_store.object_parts.PART_BYTES", 3_000_000)
    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_part_that_breaks_off_comes_again_and_is_hashed_once(one_object, folder):
    data = os.urandom(5_000_000)
    address, numbers = one_object(data, broken={0, 2})
    told = fetch_object("bucket", "long.mp4", folder / "original", endpoint_url=address)
    assert (told, (folder / "original").read_bytes()) == (hashlib.sha256(data).hexdigest(), data)
    assert next(numbers) == 2 + 2


def test_what_a_server_sends_of_another_object_is_not_taken_though_it_heeds_no_condition(one_object, folder):
    address, _ = one_object(b"a" * 5_000_000, b"b" * 5_000_000)
    with pytest.raises(DownloadError, match=r"^s3://bucket/long\.mp4 was replaced while it was read; nothing of it was kept"):
        fetch_object("bucket", "long.mp4", folder / "original", endpoint_url=address)
    assert list(folder.iterdir()) == []
