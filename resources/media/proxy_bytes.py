"""The bytes of a proxy: read in place on this machine, or in ranges from a remote store.

A clip needs a few megabytes of a file of gigabytes, so a whole proxy is never read.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from heaters_dagster.domain.audit import remedy
from heaters_dagster.domain.errors import InvalidMediaError, ObjectNotFoundError
from resources.object_store.interface import ObjectStore

FIRST_WINDOW_BYTES = 256 * 1024
LARGEST_WINDOW_BYTES = 8 * 1024 * 1024
_WINDOWS_KEPT = 2


class RangeFile:
    """A remote file read by range requests, with read-ahead. Several readers may share one, with what it has read.

    read_range: gives the bytes `[start, end)`. A request that continues where the last one ended is twice as large, up to
    LARGEST_WINDOW_BYTES; after a jump requests are small again. Two windows are kept, so memory stays under 2 x LARGEST_WINDOW_BYTES.
    """

    def __init__(self, read_range: Callable[[int, int], bytes], byte_size: int) -> None:
        self._read_range = read_range
        self._byte_size = byte_size
        self._windows: list[tuple[int, bytes]] = []
        self._window_bytes = FIRST_WINDOW_BYTES
        self._expected = (0, 0)

    @property
    def byte_size(self) -> int:
        return self._byte_size

    def expect(self, start: int, end: int) -> None:
        """Announce that `[start, end)` will be read: requests inside it are as large as allowed and never go beyond `end`.

        An empty range ends this.
        """
        self._expected = (start, end)

    def read_at(self, start: int, size: int) -> bytes:
        """The bytes `[start, start + size)`; fewer at the end of the file."""
        end = min(start + size, self._byte_size)
        parts: list[bytes] = []
        while start < end:
            window_start, data = self._window_at(start)
            part = data[start - window_start : end - window_start]
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def opened(self) -> io.RawIOBase:
        """A separate file object at position 0.

        Media libraries read from the file's position, so two of them must not share a file object.
        """
        return _Opened(self)

    def _window_at(self, position: int) -> tuple[int, bytes]:
        for window in self._windows:
            if window[0] <= position < window[0] + len(window[1]):
                return window
        carries_on = any(start + len(data) == position for start, data in self._windows)
        self._window_bytes = min(2 * self._window_bytes, LARGEST_WINDOW_BYTES) if carries_on else FIRST_WINDOW_BYTES
        end = position + self._window_bytes
        low, high = self._expected
        if low <= position < high:
            # Sound lies before and after its picture, so neighbouring windows are kept; each byte is held once.
            position -= (position - low) % LARGEST_WINDOW_BYTES
            end = min(position + LARGEST_WINDOW_BYTES, high)
        data = self._read_range(position, min(end, self._byte_size))
        if not data:
            raise InvalidMediaError(
                f"the proxy ends at byte {position}, not at {self._byte_size}: it was changed while it was read; try again"
            )
        window = (position, data)
        self._windows = [window, *self._windows[: _WINDOWS_KEPT - 1]]
        return window


class _Opened(io.RawIOBase):
    """A read-only, seekable file over a RangeFile."""

    def __init__(self, source: RangeFile) -> None:
        super().__init__()
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._source.byte_size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._source.read_at(self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


def media_input(source: Path | RangeFile) -> str | io.RawIOBase:
    """What `av.open` takes to read `source` from its beginning."""
    return str(source) if isinstance(source, Path) else source.opened()


def open_proxy(objects: ObjectStore, key: str) -> Path | RangeFile:
    """The path of an object that lies on this machine, or ranges of a remote one. Raises ObjectNotFoundError."""
    path = objects.local_path(key)
    if path is not None:
        return path
    info = objects.info(key)
    if info is None:
        raise ObjectNotFoundError(f"no object {key} in the store{remedy(key)}")
    return RangeFile(lambda start, end: objects.get_range(key, start, end), info.byte_size)


class ProxyBytes:
    """Random access to the bytes of an opened proxy. Close it, or use it as a context manager."""

    def __init__(self, source: Path | RangeFile) -> None:
        self.source = source
        self._local = open(source, "rb", buffering=0) if isinstance(source, Path) else None  # noqa: SIM115

    @property
    def name(self) -> str:
        return self.source.name if isinstance(self.source, Path) else "the remote proxy"

    def read_at(self, start: int, size: int) -> bytes:
        """Exactly the bytes `[start, start + size)`. Raises InvalidMediaError when the file ends before."""
        if self._local is not None:
            data = os.pread(self._local.fileno(), size, start)
        else:
            assert isinstance(self.source, RangeFile)
            data = self.source.read_at(start, size)
        if len(data) != size:
            raise InvalidMediaError(f"{self.name}: it has no bytes {start}..{start + size - 1}, so the frame index belongs to another file")
        return data

    def expect(self, start: int, end: int) -> None:
        """Announce a range that will be read; see RangeFile.expect."""
        if isinstance(self.source, RangeFile):
            self.source.expect(start, end)

    def close(self) -> None:
        if self._local is not None:
            self._local.close()

    def __enter__(self) -> ProxyBytes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
