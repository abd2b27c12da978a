"""Originals that a machine keeps: fetched once by whatever process, bounded, and in nobody's way."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from heaters_dagster.domain.errors import NoRoomError, PermanentError
from heaters_dagster.settings import Settings
from resources.object_store.original_cache import OriginalCache
from resources.object_store.originals import Originals
from resources.object_store.s3 import S3ObjectStore
from resources.object_store.work_folder import WorkFolder
from tests.buckets import Answer, Asked, BucketServer, standing_between

KEY = "originals/video_1.mp4"
DATA = os.urandom(1 << 20)
SHA256 = hashlib.sha256(DATA).hexdigest()
MB = 1 << 20

#: Read the original in a process of its own, and print how many bytes it has.
READ = f"""
from heaters_dagster.settings import Settings
from resources.object_store.open import shared_object_store
from resources.object_store.originals import Originals
from resources.object_store.work_folder import WorkFolder
settings = Settings.from_environment()
with Originals(shared_object_store(settings), WorkFolder.of(settings)) as originals:
    print(len(originals.read({KEY!r}, {SHA256!r}).read_bytes()))
"""


@pytest.fixture
def cache(tmp_path: Path) -> OriginalCache:
    return OriginalCache(tmp_path / "original_cache", limit_bytes=3 * MB, longest_seconds=3600)


def put(cache: OriginalCache, folder: Path, *numbers: int) -> list[str]:
    """A file of 1 MB for each number, put in at that many seconds past 1000 days ago, and held by nobody; returns their names."""
    names = []
    for number in numbers:
        path = folder / str(number)
        path.write_bytes(bytes([number]) * MB)
        names.append(hashlib.sha256(path.read_bytes()).hexdigest())
        cache.put(names[-1], path)
        path.unlink()
    return names


def kept(folder: Path) -> set[str]:
    return {path.name for path in (folder / "original_cache").iterdir() if path.is_file()}


def started(settings: Settings) -> subprocess.Popen[str]:
    environment = {**os.environ, **settings.to_environment()}
    return subprocess.Popen([sys.executable, "-c", READ], env=environment, stdout=subprocess.PIPE, text=True)


def waited_for(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_all_processes_of_a_machine_fetch_an_original_once_also_when_one_is_killed_in_the_middle(
    settings: Settings, buckets: BucketServer
) -> None:
    bucket = buckets.new_bucket()
    buckets.client.put_object(Bucket=bucket, Key=KEY, Body=DATA)
    with standing_between(buckets) as between:
        sent = 0
        answering = False

        def held(asked: Asked) -> Asked:
            waited_for(lambda: answering or asked.operation != "GetObject")
            return asked

        def counted(asked: Asked, answer: Answer) -> Answer:
            nonlocal sent
            sent += len(answer.body) if asked.operation == "GetObject" else 0
            return answer

        between.before, between.after = held, counted
        settings = replace(settings, bucket=bucket, s3_endpoint_url=between.url)
        killed = started(settings)
        waited_for(lambda: "GetObject" in between.operations())
        others = [started(settings) for _ in range(2)]
        killed.kill()
        killed.wait()
        waited_for(lambda: between.operations().count("GetObject") == 2)  # one of the two has the turn now
        answering, before = True, sent
        assert [process.communicate(timeout=60)[0].strip() for process in others] == [str(len(DATA))] * 2
        assert sent - before <= 2 * len(DATA), "what the killed one had asked for may have been on its way"
        assert between.operations().count("GetObject") == 2
        assert started(settings).communicate(timeout=60)[0].strip() == str(len(DATA))
        assert between.operations().count("GetObject") == 2
    assert kept(settings.home) == {SHA256}
    assert not [path for path in settings.work_folder.iterdir() if not path.name.startswith("original.")]
    WorkFolder.of(settings).sweep()
    assert list(settings.work_folder.iterdir()) == []


def test_a_kept_file_with_other_bytes_is_fetched_again_and_a_stored_one_is_refused(settings: Settings, buckets: BucketServer) -> None:
    settings = replace(settings, bucket=buckets.new_bucket(), s3_endpoint_url=buckets.url)
    objects, work = S3ObjectStore(settings.bucket or "", endpoint_url=buckets.url), WorkFolder.of(settings)
    objects.put_bytes(KEY, DATA)
    with Originals(objects, work) as originals:
        assert originals.read(KEY, SHA256).read_bytes() == DATA
    (settings.cache_folder / SHA256).write_bytes(b"half")
    with Originals(objects, work) as originals:
        assert originals.read(KEY, SHA256).read_bytes() == DATA
    objects.put_bytes(KEY, b"another film")
    shutil.rmtree(settings.cache_folder)
    with Originals(objects, work) as originals, pytest.raises(PermanentError, match="is not the file that was stored there"):
        originals.read(KEY, SHA256)
    assert kept(settings.home) == set()


def test_what_was_not_used_for_longest_goes_when_there_is_too_much(tmp_path: Path, cache: OriginalCache) -> None:
    one, two, three = put(cache, tmp_path, 1, 2, 3)
    for name, age in ((one, 30), (two, 20), (three, 10)):
        os.utime(tmp_path / "original_cache" / name, (time.time() - age,) * 2)
    assert cache.taken(one, tmp_path / "used")
    (four,) = put(cache, tmp_path, 4)
    assert kept(tmp_path) == {one, three, four}
    assert (tmp_path / "used").read_bytes() == b"\1" * MB


def test_what_nobody_uses_goes_after_a_while_and_too_large_a_file_is_not_kept(tmp_path: Path, cache: OriginalCache) -> None:
    old, new = put(cache, tmp_path, 1, 2)
    os.utime(tmp_path / "original_cache" / old, (time.time() - 3601,) * 2)
    assert cache.tidy() == [old]
    large = tmp_path / "large"
    large.write_bytes(bytes(4 * MB))
    cache.put("f" * 64, large)
    assert kept(tmp_path) == {new}


def test_kept_files_count_as_free_and_go_when_work_needs_their_room(tmp_path: Path, cache: OriginalCache) -> None:
    """All but what is kept and 1 MB of the disk has to stay free, so that a promise of more needs what is kept."""
    put(cache, tmp_path, 1, 2, 3)
    assert cache.taken(put(cache, tmp_path, 3)[0], tmp_path / "used"), "of this one no room would be won"
    assert cache.spare_bytes() == 2 * MB
    free = shutil.disk_usage(tmp_path).free
    work = WorkFolder(tmp_path / "work", keep_free_bytes=free - 64 * MB, cache=cache)
    with work.attempt("proxy-1", bytes_needed=MB):
        assert cache.spare_bytes() == 2 * MB
    scarce = WorkFolder(tmp_path / "work", keep_free_bytes=shutil.disk_usage(tmp_path).free + MB // 2, cache=cache)
    with scarce.attempt("proxy-1", bytes_needed=MB // 8):
        assert cache.spare_bytes() <= MB
    with pytest.raises(NoRoomError), scarce.attempt("proxy-1", bytes_needed=64 * MB):
        pass
    assert (tmp_path / "used").read_bytes() == b"\3" * MB
