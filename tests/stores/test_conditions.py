"""A process that stood still between the fence and its request, and lost its run, writes over nothing that another one has made."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.object_store.conditions import condition_problem
from resources.object_store.s3 import S3ObjectStore
from resources.object_store.sent_object import PART_BYTES
from resources.postgres.database import Database
from resources.postgres.run_keeper import RunKeeper
from resources.postgres.run_leases import RunLeases
from tests.buckets import Answer, Asked, Between, BucketServer, refusal, standing_between
from tests.this_machine import eventually
from tests.warm_process import started

NEW, OLD, LARGE, OBSOLETE = (f"final_clips/video_1_clip_00{number}.mp4" for number in range(1, 5))

FIRST = """
import sys, threading
from pathlib import Path
from resources.object_store.s3 import S3ObjectStore
from resources.postgres.database import Database
from resources.postgres.run_keeper import RunKeeper
from resources.postgres.run_leases import RunLeases

url, bucket, endpoint, large, *keys = sys.argv[1:]
new, old, parts, obsolete = keys
keeper = RunKeeper(RunLeases(Database.connect(url, host="the first"), seconds=2, grace_seconds=0), stop=lambda thread: None)
objects = S3ObjectStore(bucket, endpoint_url=endpoint)
works = {
    new: lambda: objects.put_bytes(new, b"the first's"),
    old: lambda: objects.put_bytes(old, b"the first's"),
    parts: lambda: objects.put_file(parts, Path(large)),
    obsolete: lambda: objects.delete(obsolete),
}
told = {}

def run(key):
    keeper.begin(key)
    try:
        works[key]()
        told[key] = "done"
    except Exception as error:
        told[key] = type(error).__name__

threads = [threading.Thread(target=run, args=(key,)) for key in keys]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print([told[key] for key in keys], flush=True)
"""


@pytest.fixture
def between(buckets: BucketServer) -> Iterator[Between]:
    with standing_between(buckets) as server:
        yield server


def test_who_stood_still_before_its_request_overwrites_and_deletes_nothing(
    buckets: BucketServer, between: Between, database: Database, tmp_path: Path
) -> None:
    bucket, keys = buckets.new_bucket(), [NEW, OLD, LARGE, OBSOLETE]
    winner = S3ObjectStore(bucket, endpoint_url=buckets.url)
    winner.put_bytes(OLD, b"of before")
    winner.put_bytes(OBSOLETE, b"of before")
    large = tmp_path / "large"
    large.write_bytes(bytes(PART_BYTES + 1))
    arrived, go_on = threading.Semaphore(0), threading.Event()
    last = {NEW: "if-none-match", OLD: "if-match", LARGE: "if-none-match", OBSOLETE: "if-match"}

    def before(asked: Asked) -> Asked:
        key = asked.path.partition("?")[0].removeprefix(f"/{bucket}/")
        if asked.operation in {"PutObject", "CompleteMultipartUpload", "DeleteObject"} and last[key] in asked.headers:
            arrived.release()
            assert go_on.wait(120)
        return asked

    between.before = before
    first = started(FIRST, database.url, bucket, between.url, str(large), *keys)
    for _ in keys:
        assert arrived.acquire(timeout=120)
    os.kill(first.pid, signal.SIGSTOP)
    leases = RunLeases(database, seconds=2, grace_seconds=0)
    assert eventually(lambda: all(lease.is_expired for lease in leases.load(keys).values()))
    for lease in leases.load(keys).values():
        assert leases.take_away(lease, is_gone=False)
    for key in keys:
        winner.put_bytes(key, b"the winner's")
    os.kill(first.pid, signal.SIGCONT)
    go_on.set()
    said = first.stdout.readline()
    assert first.wait() == 0
    assert [winner.get_bytes(key) for key in keys] == [b"the winner's"] * 4
    assert "done" not in said, said


@pytest.fixture
def at_work(database: Database) -> Iterator[RunKeeper]:
    """This process works on a run."""
    keeper = RunKeeper(RunLeases(database, seconds=600))
    keeper.begin("one")
    yield keeper
    keeper.end("one")


@pytest.mark.usefixtures("at_work")
def test_a_request_whose_answer_was_lost_is_known_again_and_what_is_there_is_replaced(buckets: BucketServer, between: Between) -> None:
    objects = S3ObjectStore(buckets.new_bucket(), endpoint_url=between.url)
    lost = []

    def after(asked: Asked, answer: Answer) -> Answer | None:
        if asked.operation == "PutObject" and not lost:
            lost.append(answer.status)
            return None
        return answer

    between.after = after
    objects.put_bytes(NEW, b"once")
    assert lost == [200]
    versions = buckets.client.list_object_versions(Bucket=objects.bucket)["Versions"]
    assert (len(versions), objects.get_bytes(NEW)) == (1, b"once")
    objects.put_bytes(NEW, b"made again")
    assert objects.get_bytes(NEW) == b"made again"
    assert objects.delete(NEW)
    assert not objects.delete(NEW)
    assert condition_problem(objects) is None


@pytest.mark.usefixtures("at_work")
def test_a_server_that_knows_no_conditions_is_written_to_without_them_and_the_doctor_says_so(
    buckets: BucketServer, between: Between, tmp_path: Path
) -> None:
    objects = S3ObjectStore(buckets.new_bucket(), endpoint_url=between.url)
    asked_with: list[str] = []

    def before(asked: Asked) -> Asked | Answer:
        if found := asked.headers.keys() & {"if-none-match", "if-match"}:
            asked_with.extend(found)
            return refusal(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
        return asked

    between.before = before
    objects.put_bytes(NEW, b"one")
    objects.put_bytes(NEW, b"two")
    (tmp_path / "large").write_bytes(bytes(PART_BYTES + 1))
    objects.put_file(LARGE, tmp_path / "large")
    assert objects.delete(LARGE)
    assert objects.get_bytes(NEW) == b"two"
    assert set(asked_with) == {"if-none-match"}
    assert "knows no conditional writes" in str(condition_problem(objects))
