"""What is sent to a bucket and fetched from it arrives as it is, or not at all; and what was sent before a crash is not sent again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from heaters_dagster.domain.errors import StoreUnavailableError
from resources.object_store import s3, sent_object
from resources.object_store.s3 import S3ObjectStore, fetch_object
from resources.object_store.sent_object import part_size
from tests.buckets import Answer, Asked, Between, BucketServer, refusal, standing_between

KEY = "review_proxies/video_1_proxy.mp4"
SMALL = "metadata/video_1_scenes.json"


SMALL_PART = 5 << 20  # S3 takes no smaller ones, but for the last


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sent_object, s3):
        monkeypatch.setattr(module, "PART_BYTES", SMALL_PART)


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three parts."""
    path = tmp_path_factory.mktemp("big") / "proxy.mp4"
    path.write_bytes(os.urandom(2 * SMALL_PART + 1000))
    return path


@pytest.fixture
def between(buckets: BucketServer) -> Iterator[Between]:
    with standing_between(buckets) as server:
        yield server


def is_part(asked: Asked, number: int) -> bool:
    return asked.operation == "UploadPart" and f"partNumber={number}" in asked.path


_SEND = """
import sys
from pathlib import Path
from resources.object_store import s3, sent_object
s3.PART_BYTES = sent_object.PART_BYTES = 5 << 20
s3.S3ObjectStore(sys.argv[1], endpoint_url=sys.argv[2]).put_file(sys.argv[3], Path(sys.argv[4]))
"""


def test_after_a_crash_only_the_missing_parts_are_sent(buckets: BucketServer, between: Between, big: Path, tmp_path: Path) -> None:
    """Killed with -9 while the third of three parts is on its way; another process, which could be on another machine, goes on."""
    bucket, others, gone = buckets.new_bucket(), threading.Barrier(2), threading.Event()

    def hold(asked: Asked) -> Asked | None:
        if not is_part(asked, 3):
            return asked
        others.wait(60)
        gone.wait(60)
        return None

    between.before = hold
    sender = subprocess.Popen([sys.executable, "-c", _SEND, bucket, between.url, KEY, str(big)])
    others.wait(60)
    while len(buckets.client.list_parts(Bucket=bucket, Key=KEY, UploadId=upload_of(buckets, bucket)).get("Parts", ())) < 2:
        threading.Event().wait(0.02)
    os.kill(sender.pid, signal.SIGKILL)
    sender.wait()
    gone.set()
    between.before = lambda asked: asked
    between.asked.clear()
    store = S3ObjectStore(bucket, endpoint_url=between.url)
    assert store.info(KEY) is None
    seen: list[int] = []
    store.put_file(KEY, big, progress=seen.append)
    assert [asked.path.partition("partNumber=")[2][0] for asked in between.asked if asked.operation == "UploadPart"] == ["3"]
    assert "CreateMultipartUpload" not in between.operations()
    assert seen[-1] == big.stat().st_size
    store.get_file(KEY, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == big.read_bytes()
    assert "Uploads" not in buckets.client.list_multipart_uploads(Bucket=bucket)


def upload_of(buckets: BucketServer, bucket: str) -> str:
    (upload,) = buckets.client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    return str(upload["UploadId"])


def test_parts_of_other_bytes_are_sent_again(buckets: BucketServer, between: Between, big: Path, tmp_path: Path) -> None:
    """The first try broke off; the file that the second one sends differs in its first part."""
    bucket = buckets.new_bucket()
    store = S3ObjectStore(bucket, endpoint_url=between.url, max_attempts=1)
    between.before = lambda asked: refusal(503, "SlowDown") if is_part(asked, 3) else asked
    with pytest.raises(StoreUnavailableError, match="the store has a problem at the moment"):
        store.put_file(KEY, big)
    assert store.info(KEY) is None
    other = tmp_path / "other"
    other.write_bytes(b"x" + big.read_bytes()[1:])
    between.before = lambda asked: asked
    between.asked.clear()
    store.put_file(KEY, other)
    sent = sorted(asked.path.partition("partNumber=")[2][0] for asked in between.asked if asked.operation == "UploadPart")
    assert set(sent) >= {"1", "3"}
    assert store.get_bytes(KEY) == other.read_bytes()
    assert "Uploads" not in buckets.client.list_multipart_uploads(Bucket=bucket)


def test_an_answer_that_is_lost_after_the_last_request_is_no_failure(buckets: BucketServer, between: Between, big: Path) -> None:
    lost: list[Asked] = []

    def lose(asked: Asked, answer: Answer) -> Answer | None:
        if asked.operation == "CompleteMultipartUpload" and not lost:
            lost.append(asked)
            return None
        return answer

    between.after = lose
    store = S3ObjectStore(buckets.new_bucket(), endpoint_url=between.url)
    store.put_file(KEY, big)
    assert lost
    assert store.get_bytes(KEY) == big.read_bytes()


def test_bytes_that_change_on_the_way_there_are_no_object(buckets: BucketServer, between: Between, big: Path) -> None:
    store = S3ObjectStore(buckets.new_bucket(), endpoint_url=between.url)

    def turn_a_bit(asked: Asked) -> Asked:
        return replace(asked, body=flipped(asked.body)) if is_part(asked, 2) else asked

    between.before = turn_a_bit
    with pytest.raises(StoreUnavailableError, match="other bytes arrived than were sent"):
        store.put_file(KEY, big)
    assert store.info(KEY) is None
    between.before = lambda asked: refusal(400, "BadDigest") if asked.operation == "PutObject" else asked  # as S3 says it of one request
    with pytest.raises(StoreUnavailableError, match=SMALL):
        store.put_bytes(SMALL, b"{}")


def test_bytes_that_change_on_the_way_back_are_no_file(buckets: BucketServer, between: Between, big: Path, tmp_path: Path) -> None:
    bucket = buckets.new_bucket()
    store = S3ObjectStore(bucket, endpoint_url=between.url)
    store.put_file(KEY, big)
    store.put_bytes(SMALL, b"a small object")
    between.after = lambda asked, answer: replace(answer, body=flipped(answer.body)) if asked.operation == "GetObject" else answer
    for read in (
        lambda: store.get_file(KEY, tmp_path / "back"),
        lambda: store.get_file(SMALL, tmp_path / "back"),
        lambda: store.get_bytes(SMALL),
        lambda: fetch_object(bucket, SMALL, tmp_path / "source", endpoint_url=between.url),
    ):
        with pytest.raises(StoreUnavailableError, match="other bytes arrived than are stored"):
            read()
    assert [path for path in tmp_path.iterdir() if path.name in {"back", "source"}] == []


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1]) if data else data


@pytest.mark.parametrize("large", [False, True])
def test_what_an_object_is_stored_with(buckets: BucketServer, big: Path, large: bool, tmp_path: Path) -> None:
    bucket = buckets.new_bucket()
    (tmp_path / "small").write_bytes(b"small")
    tags = {"team": "film + tv", "cost-centre": "4711"}
    S3ObjectStore(bucket, endpoint_url=buckets.url, kms_key="alias/heaters", tags=tags).put_file(KEY, big if large else tmp_path / "small")
    head = buckets.client.head_object(Bucket=bucket, Key=KEY)
    assert (head["ContentType"], head["CacheControl"]) == ("video/mp4", "private, no-cache")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/heaters")
    assert {tag["Key"]: tag["Value"] for tag in buckets.client.get_object_tagging(Bucket=bucket, Key=KEY)["TagSet"]} == tags


def test_parts_are_as_many_as_s3_takes() -> None:
    assert part_size(1) == part_size(9_000 * SMALL_PART) == SMALL_PART
    for byte_size in (9_000 * SMALL_PART + 1, 5 << 40):
        assert -(-byte_size // part_size(byte_size)) <= 10_000
