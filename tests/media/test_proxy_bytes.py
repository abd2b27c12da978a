"""Ranges of a remote file read like a file, in few requests and little memory."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from heaters_dagster.domain.errors import InvalidMediaError, ObjectNotFoundError
from resources.media.proxy_bytes import FIRST_WINDOW_BYTES, LARGEST_WINDOW_BYTES, ProxyBytes, RangeFile, open_proxy
from resources.object_store.interface import ObjectInfo


class Ranges:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.requests: list[tuple[int, int]] = []

    def __call__(self, start: int, end: int) -> bytes:
        self.requests.append((start, end))
        return self.data[start:end]


def test_any_sequence_of_seeks_and_reads_gives_what_a_file_gives(tmp_path: Path) -> None:
    data = random.Random(3).randbytes(3_000_000)
    (tmp_path / "file").write_bytes(data)
    rng = random.Random(4)
    with RangeFile(Ranges(data), len(data)).opened() as ranged, open(tmp_path / "file", "rb") as file:
        for _ in range(300):
            places = {os.SEEK_SET: rng.randrange(3_100_000), os.SEEK_CUR: rng.randrange(5_000), os.SEEK_END: -rng.randrange(3_000_000)}
            whence, offset = rng.choice(list(places.items()))
            assert ranged.seek(offset, whence) == file.seek(offset, whence) == ranged.tell()
            size = rng.choice([0, 1, 500, 40_000, 600_000])
            assert ranged.read(size) == file.read(size)


def test_reading_on_asks_for_more_each_time_and_never_for_too_much() -> None:
    data = bytes(60_000_000)
    ranges = Ranges(data)
    file = RangeFile(ranges, len(data)).opened()
    while file.read(32_768):
        pass
    sizes = [end - start for start, end in ranges.requests]
    assert sizes[0] == FIRST_WINDOW_BYTES
    assert max(sizes) == LARGEST_WINDOW_BYTES
    assert sum(sizes) == len(data)
    assert len(sizes) <= 13


def test_an_announced_range_is_one_request_that_ends_where_it_ends() -> None:
    ranges = Ranges(bytes(20_000_000))
    file = RangeFile(ranges, 20_000_000)
    file.expect(5_000_000, 9_000_000)
    for start in range(5_000_000, 9_000_000, 50_000):
        file.read_at(start, 50_000)
    assert ranges.requests == [(5_000_000, 9_000_000)]


def test_a_file_that_became_shorter_is_told() -> None:
    file = RangeFile(Ranges(bytes(1000)), 2000)
    with pytest.raises(InvalidMediaError, match="changed while it was read"):
        file.read_at(1500, 100)


def test_bytes_past_the_end_are_told(tmp_path: Path) -> None:
    (tmp_path / "proxy.mp4").write_bytes(bytes(100))
    with ProxyBytes(tmp_path / "proxy.mp4") as data, pytest.raises(InvalidMediaError, match=r"proxy\.mp4: it has no bytes 90\.\.109"):
        data.read_at(90, 20)


class Remote:
    def local_path(self, key: str) -> None:
        return None

    def info(self, key: str) -> ObjectInfo | None:
        return ObjectInfo(key, 5, "STANDARD", needs_restore=False) if key == "here" else None

    def get_range(self, key: str, start: int, end: int) -> bytes:
        return b"hello"[start:end]


def test_a_remote_object_opens_as_a_file_and_a_missing_one_is_told() -> None:
    store: Any = Remote()
    opened = open_proxy(store, "here")
    assert isinstance(opened, RangeFile)
    assert opened.opened().read() == b"hello"
    with pytest.raises(ObjectNotFoundError, match="no object elsewhere"):
        open_proxy(store, "elsewhere")


def test_an_announced_range_of_several_windows_is_read_once_whatever_the_order_within_them() -> None:
    ranges = Ranges(bytes(40_000_000))
    file = RangeFile(ranges, 40_000_000)
    file.expect(5_000_000, 30_000_000)
    rng = random.Random(5)
    for start in range(5_000_000, 30_000_000, 100_000):  # pictures in order, each with its sound from a little before
        file.read_at(max(5_000_000, start - rng.randrange(3_000_000)), 400)
        file.read_at(start, 100_000)
    assert sum(end - start for start, end in ranges.requests) == 25_000_000
