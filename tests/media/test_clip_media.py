"""Segments and stills for the browser, in a bounded folder that many threads and processes use at once."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.keys import proxy_key
from resources.clips.clip_media import ClipMedia
from resources.media.frame_index_reader import FrameIndexes
from resources.object_store.interface import ObjectStore
from resources.postgres.database import Database
from tests.media_files import barcode_video
from tests.proxy_files import stored_video


@pytest.fixture
def source_video_id(tmp_path: Path, database: Database, object_store: ObjectStore) -> int:
    source = barcode_video(tmp_path / "s.mp4", frames=60)
    return stored_video(source, tmp_path, database=database, objects=object_store).id


def media(objects: ObjectStore, folder: Path, *, cache_bytes: int = 10**9) -> ClipMedia:
    return ClipMedia(objects, FrameIndexes(objects), folder, cache_bytes=cache_bytes)


def test_what_cannot_be_made_leaves_nothing_behind_and_can_be_made_later(
    source_video_id: int, object_store: ObjectStore, tmp_path: Path
) -> None:
    maker, key = media(object_store, tmp_path / "cache"), proxy_key(source_video_id)
    whole = object_store.get_bytes(key)
    object_store.put_bytes(key, bytes(len(whole)))
    for frame in range(3):
        with pytest.raises(InvalidMediaError):
            maker.still(source_video_id, frame, width=64)
    assert maker._making == {}
    assert list((tmp_path / "cache").glob("*")) == []
    object_store.put_bytes(key, whole)
    assert maker.still(source_video_id, 0, width=64).startswith(b"\xff\xd8")
    assert maker._making == {}


def test_many_that_want_the_same_at_once_get_it_and_it_is_made_once(
    source_video_id: int, object_store: ObjectStore, tmp_path: Path
) -> None:
    maker = media(object_store, tmp_path / "cache")
    with ThreadPoolExecutor(8) as threads:
        stills = set(threads.map(lambda _: maker.still(source_video_id, 5, width=64), range(16)))
    assert len(stills) == 1
    assert (maker._made, maker._making) == (1, {})


def test_the_folder_is_swept_while_others_make_and_delete_files_in_it(
    source_video_id: int, object_store: ObjectStore, tmp_path: Path
) -> None:
    """Files that vanish between the listing and the look at them are no error, and what was used a moment ago stays."""
    folder = tmp_path / "cache"
    folder.mkdir()
    makers = [media(object_store, folder, cache_bytes=1) for _ in range(2)]
    hour_ago = time.time() - 3600

    def come_and_go(number: int) -> None:
        path = folder / f"old_{number % 50}.jpg"
        path.write_bytes(b"x")
        with suppress(FileNotFoundError):
            os.utime(path, (hour_ago, hour_ago))
        path.unlink(missing_ok=True)

    def sweep(number: int) -> None:
        makers[number % 2]._sweep()

    shown = makers[0].segment(source_video_id, 0, 10)
    with ThreadPoolExecutor(6) as threads:
        done = [threads.submit(sweep if number % 3 == 0 else come_and_go, number) for number in range(3000)]
        for one in done:
            one.result()
    assert shown.exists()
    os.utime(shown, (hour_ago, hour_ago))
    makers[1]._sweep()
    assert list(folder.iterdir()) == []
