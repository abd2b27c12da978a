"""One suite for both stores: a local folder, and S3 spoken by a server on loopback."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest

from heaters_dagster.domain.errors import (
    ColdStorageError,
    DiskFullError,
    InvalidKeyError,
    ObjectNotFoundError,
    PermanentError,
    SettingsError,
    SourceNotFoundError,
    StoreUnavailableError,
)
from heaters_dagster.settings import Settings
from resources.object_store import LocalObjectStore, ObjectInfo, ObjectStore
from resources.object_store.cdn import Cdn
from resources.object_store.open import open_object_store
from resources.object_store.s3 import S3ObjectStore

KEY = "review_proxies/video_1_proxy.mp4"


@pytest.fixture(scope="module")
def credentials(s3_endpoint) -> None:
    """In the environment, as for the server."""


@pytest.fixture(scope="module")
def client(s3_endpoint, credentials) -> Any:
    return boto3.client("s3", endpoint_url=s3_endpoint)


@pytest.fixture(scope="module")
def bucket(client) -> str:
    client.create_bucket(Bucket="heaters-test")
    return "heaters-test"


@pytest.fixture(scope="module")
def s3_store(s3_endpoint, bucket) -> S3ObjectStore:
    """Made once: a boto3 client takes half a second."""
    return S3ObjectStore(bucket, endpoint_url=s3_endpoint)


@pytest.fixture
def s3(s3_store) -> Iterator[S3ObjectStore]:
    yield s3_store
    for found in s3_store.list():
        s3_store.delete(found.key)


@pytest.fixture
def local(tmp_path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "objects", work_folder=tmp_path / "work")


@pytest.fixture(params=["local", "s3"])
def store(request) -> ObjectStore:
    return request.getfixturevalue(request.param)


def test_a_file_comes_back_as_it_went(store, tmp_path):
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    source.write_bytes(os.urandom(300_000))
    assert store.put_file(KEY, source) == ObjectInfo(KEY, 300_000, "STANDARD", needs_restore=False)
    store.get_file(KEY, target)
    assert target.read_bytes() == source.read_bytes() == store.get_bytes(KEY)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["in.mp4", "out.mp4"]


def test_bytes_come_back_as_they_went(store):
    assert store.put_bytes("metadata/video_1_scenes.json", b"{}").byte_size == 2
    assert store.get_bytes("metadata/video_1_scenes.json") == b"{}"


def test_an_empty_object_is_an_object(store):
    store.put_bytes(KEY, b"")
    assert store.get_bytes(KEY) == b""
    assert store.info(KEY) == ObjectInfo(KEY, 0, "STANDARD", needs_restore=False)


def test_a_second_put_replaces_the_first(store, tmp_path):
    store.put_bytes(KEY, b"first and longer")
    (tmp_path / "second").write_bytes(b"second")
    store.put_file(KEY, tmp_path / "second")
    assert store.get_bytes(KEY) == b"second"


def test_ranges_are_half_open_and_end_with_the_object(store):
    store.put_bytes(KEY, bytes(range(100)))
    assert store.get_range(KEY, 10, 13) == bytes([10, 11, 12])
    assert store.get_range(KEY, 0, 100) == bytes(range(100))
    assert store.get_range(KEY, 98, 500) == bytes([98, 99])
    assert store.get_range(KEY, 50, 50) == b""
    assert store.get_range(KEY, 100, 200) == b""
    with pytest.raises(ValueError, match="0 <= start <= end"):
        store.get_range(KEY, 5, 4)


def test_what_is_not_there(store, tmp_path):
    assert store.info(KEY) is None
    assert store.delete(KEY) is False
    assert list(store.list()) == []
    for read in (
        lambda: store.get_bytes(KEY),
        lambda: store.get_range(KEY, 0, 10),
        lambda: store.get_range(KEY, 0, 0),
        lambda: store.get_file(KEY, tmp_path / "out.mp4"),
        lambda: store.restore(KEY, days=1, tier="Standard"),
    ):
        with pytest.raises(ObjectNotFoundError, match=KEY):
            read()
    assert not (tmp_path / "out.mp4").exists()


def test_the_folder_of_a_key_is_no_object(store):
    store.put_bytes(KEY, b"x")
    assert store.info("review_proxies") is None
    assert store.delete("review_proxies") is False
    with pytest.raises(ObjectNotFoundError):
        store.get_bytes("review_proxies")


def test_delete_says_whether_there_was_something(store):
    store.put_bytes(KEY, b"x")
    assert store.delete(KEY) is True
    assert store.info(KEY) is None
    assert store.delete(KEY) is False


def test_list_is_in_order_and_takes_any_beginning_of_a_key(store):
    keys = [
        "final_clips/video_1_clip_002.mp4",
        "final_clips/video_10_clip_001.mp4",
        "final_clips/video_1_clip_001.mp4",
        "originals/video_1.mp4",
    ]
    for key in keys:
        store.put_bytes(key, b"12345")
    assert [found.key for found in store.list()] == sorted(keys)
    assert [found.key for found in store.list("final_clips/video_1_")] == [keys[2], keys[0]]
    assert [found.key for found in store.list("final_clips")] == sorted(keys[:3])
    assert list(store.list("nothing/here")) == []
    assert next(store.list("originals/")) == ObjectInfo("originals/video_1.mp4", 5, "STANDARD", needs_restore=False)


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../x", "a//b", "a/.hidden", ".incoming/x", "a b", "a\\b", "a/b\n"])
def test_a_key_cannot_leave_the_store(store, tmp_path, key):
    (tmp_path / "x").write_bytes(b"x")
    for use in (
        lambda: store.put_file(key, tmp_path / "x"),
        lambda: store.put_bytes(key, b"x"),
        lambda: store.get_file(key, tmp_path / "y"),
        lambda: store.get_bytes(key),
        lambda: store.get_range(key, 0, 1),
        lambda: store.local_path(key),
        lambda: store.info(key),
        lambda: store.delete(key),
        lambda: store.url(key, expires_seconds=60),
        lambda: store.restore(key, days=1, tier="Standard"),
    ):
        with pytest.raises(InvalidKeyError):
            use()


@pytest.mark.parametrize("prefix", ["../", "a/../../x", "/etc/", ".incoming/"])
def test_a_prefix_cannot_leave_the_store(store, prefix):
    with pytest.raises(InvalidKeyError):
        list(store.list(prefix))


def test_progress_of_fetching_counts_up_to_the_size(store, tmp_path):
    size = 3 << 20
    (tmp_path / "in").write_bytes(b"x" * size)
    store.put_file(KEY, tmp_path / "in")
    seen = []
    store.get_file(KEY, tmp_path / "out", progress=lambda *told: seen.append(told))
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)
    assert {whole for _, whole in seen} == {size}
    assert (tmp_path / "out").stat().st_size == size


def test_progress_counts_up_to_the_size(store, tmp_path):
    (tmp_path / "in").write_bytes(bytes(3_000_000))
    seen: list[int] = []
    store.put_file(KEY, tmp_path / "in", progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 3_000_000


def test_a_put_that_breaks_off_leaves_the_old_object_and_nothing_else(store, tmp_path):
    store.put_bytes(KEY, b"old")
    (tmp_path / "new").write_bytes(bytes(20_000_000))

    def stop(done: int) -> None:
        raise KeyboardInterrupt if isinstance(store, LocalObjectStore) else RuntimeError("stop")

    with pytest.raises((KeyboardInterrupt, RuntimeError)):
        store.put_file(KEY, tmp_path / "new", progress=stop)
    assert store.get_bytes(KEY) == b"old"
    assert [found.key for found in store.list()] == [KEY]


def test_putting_a_file_that_is_gone(store, tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"gone\.mp4 cannot be stored"):
        store.put_file(KEY, tmp_path / "gone.mp4")


def test_readers_during_replacement_see_one_whole_object(store):
    first, second = b"a" * 200_000, b"b" * 200_000
    store.put_bytes(KEY, first)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            store.put_bytes(KEY, second)
            store.put_bytes(KEY, first)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(store.get_bytes(KEY) in (first, second) for _ in range(30))
    finally:
        stop.set()
        writer.join()


def test_restore_of_an_object_that_is_not_cold_does_nothing(store):
    store.put_bytes(KEY, b"x")
    store.restore(KEY, days=1, tier="Standard")
    assert store.get_bytes(KEY) == b"x"


def test_a_full_disk_while_fetching_leaves_no_file(store, tmp_path, monkeypatch):
    store.put_bytes(KEY, bytes(1000))
    target = tmp_path / "fetched" / "out.mp4"
    target.parent.mkdir()
    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(DiskFullError, match=r"out\.mp4: 1,000 bytes are needed, [\d,]+ are free"):
        store.get_file(KEY, target)
    assert list(target.parent.iterdir()) == []


def no_space(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


# the local folder


def test_a_local_object_is_read_in_place(local):
    local.put_bytes(KEY, b"x")
    path = local.local_path(KEY)
    assert path == local.folder / KEY
    assert path.read_bytes() == b"x"
    assert local.url(KEY, expires_seconds=60) is None
    with pytest.raises(ObjectNotFoundError):
        local.local_path("review_proxies/video_2_proxy.mp4")


def test_a_file_of_the_work_folder_is_published_without_a_copy(local, tmp_path):
    (tmp_path / "work").mkdir()
    made, elsewhere = tmp_path / "work" / "proxy.mp4", tmp_path / "elsewhere.mp4"
    for path in (made, elsewhere):
        path.write_bytes(b"proxy")
        local.put_file(KEY, path)
        assert (local.folder / KEY).samefile(path) is (path == made)
        assert path.read_bytes() == b"proxy"


def test_publishing_the_same_work_file_twice_leaves_nothing_over(local, tmp_path):
    (tmp_path / "work").mkdir()
    made = tmp_path / "work" / "proxy.mp4"
    made.write_bytes(b"proxy")
    local.put_file(KEY, made)
    local.put_file(KEY, made)
    assert local.get_bytes(KEY) == b"proxy"
    assert list((local.folder / ".incoming").iterdir()) == []


def test_a_full_disk_while_storing_leaves_the_old_object_and_no_half_file(local, tmp_path, monkeypatch):
    local.put_bytes(KEY, b"old")
    (tmp_path / "new").write_bytes(bytes(5000))
    monkeypatch.setattr(os, "fsync", no_space)
    for put in (lambda: local.put_file(KEY, tmp_path / "new"), lambda: local.put_bytes(KEY, bytes(5000))):
        with pytest.raises(DiskFullError, match=f"{KEY}: 5,000 bytes are needed"):
            put()
    assert local.get_bytes(KEY) == b"old"
    assert list((local.folder / ".incoming").iterdir()) == []


_FILL_A_SMALL_DISK = """
import sys
from pathlib import Path
from resources.object_store import LocalObjectStore
from heaters_dagster.domain.errors import DiskFullError
disk, big = Path(sys.argv[1]), Path(sys.argv[2])
store = LocalObjectStore(disk / "objects")
store.put_bytes("originals/video_1.mp4", bytes(600_000))
for put in (lambda: store.put_bytes("originals/video_2.mp4", bytes(600_000)), lambda: store.put_file("originals/video_2.mp4", big)):
    try:
        put()
    except DiskFullError as error:
        print(error)
print(*(path.relative_to(disk) for path in disk.rglob("*") if path.is_file()))
"""


@pytest.mark.skipif(
    subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode != 0,
    reason="no user namespaces to mount a disk in",
)
def test_a_disk_that_is_really_full(tmp_path):
    disk, big = tmp_path / "disk", tmp_path / "big"
    disk.mkdir()
    big.write_bytes(bytes(2_000_000))
    mounted = 'mount -t tmpfs -o size=1m none "$1" && exec "$0" -c "$3" "$1" "$2"'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mounted, sys.executable, str(disk), str(big), _FILL_A_SMALL_DISK],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second, files = done.stdout.splitlines()
    assert "video_2.mp4: 600,000 bytes are needed" in first
    assert "2,000,000 bytes are needed" in second
    assert files == "objects/originals/video_1.mp4"


_WRITE_FOREVER = """
import sys
from pathlib import Path
from resources.object_store import LocalObjectStore
def wait(done):
    print(done, flush=True)
    while True: pass
LocalObjectStore(Path(sys.argv[1])).put_file("originals/video_1.mp4", Path(sys.argv[2]), progress=wait)
"""


def test_a_writer_killed_in_the_middle_leaves_no_object_and_is_swept(local, tmp_path):
    (tmp_path / "big").write_bytes(bytes(3_000_000))
    writer = subprocess.Popen([sys.executable, "-c", _WRITE_FOREVER, str(local.folder), str(tmp_path / "big")], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline()
        assert local.sweep() == ()
        assert list(local.list()) == []
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    (swept,) = local.sweep()
    assert swept.startswith(".incoming/put.")
    assert list(local.list()) == []
    assert [path for path in local.folder.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "objects").write_bytes(b"a file where the folder should be")
    with pytest.raises(StoreUnavailableError, match=f"{KEY}: {tmp_path}/objects cannot be used"):
        LocalObjectStore(tmp_path / "objects").put_bytes(KEY, b"x")


# S3


def test_a_large_file_goes_in_parts(s3, client, bucket, tmp_path):
    (tmp_path / "big").write_bytes(bytes(17 << 20))
    s3.put_file(KEY, tmp_path / "big")
    assert client.head_object(Bucket=bucket, Key=KEY)["ETag"].strip('"').endswith("-2")
    s3.get_file(KEY, tmp_path / "back")
    assert (tmp_path / "back").stat().st_size == 17 << 20


def test_sweep_aborts_old_multipart_uploads_only(s3, client, bucket):
    s3.sweep()  # what tests before have broken off, which a later try would go on with
    client.create_multipart_upload(Bucket=bucket, Key=KEY)  # moto dates every upload to 2010
    assert s3.sweep(older_than=timedelta(days=365 * 500)) == ()
    assert s3.sweep() == (KEY,)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


def test_sweep_leaves_the_uploads_of_other_programs_alone(s3, client, bucket):
    s3.sweep()  # what tests before have broken off
    upload = client.create_multipart_upload(Bucket=bucket, Key="backups/database.dump")["UploadId"]
    assert s3.sweep() == ()
    assert [found["UploadId"] for found in client.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    client.abort_multipart_upload(Bucket=bucket, Key="backups/database.dump", UploadId=upload)


def test_storage_class_and_content_type_are_kept(s3, client, bucket, tmp_path):
    (tmp_path / "x").write_bytes(b"x")
    assert s3.put_file(KEY, tmp_path / "x", storage_class="STANDARD_IA").storage_class == "STANDARD_IA"
    assert s3.info(KEY) == ObjectInfo(KEY, 1, "STANDARD_IA", needs_restore=False)
    assert client.head_object(Bucket=bucket, Key=KEY)["ContentType"] == "video/mp4"
    s3.put_bytes("gold_masters/video_1_master.mkv", b"x")
    assert client.head_object(Bucket=bucket, Key="gold_masters/video_1_master.mkv")["ContentType"] == "video/x-matroska"


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_a_cold_object_says_how_to_get_it_back_and_then_can_be_read(s3, tmp_path, storage_class):
    key = "gold_masters/video_1_master.mkv"
    assert s3.put_bytes(key, b"master", storage_class=storage_class).needs_restore
    assert s3.info(key).needs_restore
    assert [found.needs_restore for found in s3.list()] == [True]
    for read in (lambda: s3.get_bytes(key), lambda: s3.get_range(key, 0, 2), lambda: s3.get_file(key, tmp_path / "out.mkv")):
        with pytest.raises(ColdStorageError, match=f"{key} is in cold storage: .*restore-object"):
            read()
    assert list(tmp_path.iterdir()) == []
    s3.restore(key, days=1, tier="Standard")
    s3.restore(key, days=1, tier="Standard")
    assert not s3.info(key).needs_restore
    assert s3.get_bytes(key) == b"master"


def test_a_presigned_address_is_read_with_ranges(s3):
    s3.put_bytes(KEY, bytes(range(100)))
    address = s3.url(KEY, expires_seconds=60)
    assert "X-Amz-Expires=60" in address
    request = urllib.request.Request(address, headers={"Range": "bytes=10-12"})
    with urllib.request.urlopen(request) as response:
        assert (response.status, response.read()) == (206, bytes([10, 11, 12]))


def test_a_presigned_address_names_the_server_as_browsers_reach_it(s3, s3_endpoint, bucket):
    s3.put_bytes(KEY, b"for browsers")
    elsewhere = s3_endpoint.replace("127.0.0.1", "localhost")
    assert elsewhere != s3_endpoint
    address = S3ObjectStore(bucket, endpoint_url=s3_endpoint, browser_url=elsewhere).url(KEY, expires_seconds=60)
    assert address.startswith(elsewhere)
    with urllib.request.urlopen(address) as response:
        assert response.read() == b"for browsers"


def test_a_cdn_takes_the_place_of_presigned_addresses(s3_endpoint, bucket):
    store = S3ObjectStore(bucket, endpoint_url=s3_endpoint, cdn=Cdn("cdn.example.org"))
    assert store.url(KEY, expires_seconds=60) == f"https://cdn.example.org/{KEY}"


def test_s3_has_no_local_path(s3):
    assert s3.local_path(KEY) is None


def test_a_bucket_that_does_not_exist(s3_endpoint, credentials):
    store = S3ObjectStore("no-such-bucket", endpoint_url=s3_endpoint)
    with pytest.raises(SettingsError, match="there is no bucket no-such-bucket: correct S3_BUCKET_NAME"):
        store.put_bytes(KEY, b"x")
    with pytest.raises(SettingsError, match="there is no bucket"):
        list(store.list())


def test_a_server_that_does_not_answer_is_given_up_after_some_tries(credentials):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    store = S3ObjectStore("bucket", endpoint_url=address, max_attempts=2)
    with pytest.raises(StoreUnavailableError, match=f"s3://bucket/{KEY}: the store cannot be reached"):
        store.get_bytes(KEY)


class _Answering(BaseHTTPRequestHandler):
    status = 503
    code = "SlowDown"
    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        body = f"<Error><Code>{self.code}</Code><Message>because</Message></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "code", "error", "tries"),
    [
        (503, "SlowDown", StoreUnavailableError, 2),
        (500, "InternalError", StoreUnavailableError, 2),
        (403, "AccessDenied", PermanentError, 1),
        (403, "SignatureDoesNotMatch", SettingsError, 1),
    ],
)
def test_what_the_server_says_becomes_a_transient_or_a_permanent_error(credentials, status, code, error, tries):
    handler = type("Handler", (_Answering,), {"status": status, "code": code, "requests": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        store = S3ObjectStore("bucket", endpoint_url=f"http://127.0.0.1:{server.server_port}", max_attempts=2)
        with pytest.raises(error):
            store.get_bytes(KEY)
        assert handler.requests == tries
    finally:
        server.shutdown()
        server.server_close()


def test_no_credentials(monkeypatch, s3_endpoint, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="Set AWS_ACCESS_KEY_ID"):
        S3ObjectStore("bucket", endpoint_url=s3_endpoint).get_bytes(KEY)


def test_an_endpoint_that_is_no_address(credentials):
    with pytest.raises(SettingsError, match="s3://bucket cannot be used"):
        S3ObjectStore("bucket", endpoint_url="not an address")


# which of the two


def test_without_a_bucket_the_store_is_the_local_folder(tmp_path):
    store = open_object_store(Settings(home=tmp_path))
    assert isinstance(store, LocalObjectStore)
    assert store.folder == tmp_path / "objects"


def test_with_a_bucket_the_store_is_s3(tmp_path, s3_endpoint, bucket):
    store = open_object_store(Settings(home=tmp_path, dev_bucket=bucket, s3_endpoint_url=s3_endpoint, proxy_cdn_domain="cdn.example.org"))
    store.put_bytes(KEY, b"x")
    assert store.local_path(KEY) is None
    assert store.url(KEY, expires_seconds=60) == f"https://cdn.example.org/{KEY}"
