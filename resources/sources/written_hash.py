"""Hashes a file while it is written, so that it need not be read again for that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resources.sources.fetched import CHUNK_BYTES


class WrittenHash:
    """The SHA-256 of one file that one thread writes from its beginning to its end, in one try or in several.

    What another process has written is read once, before more is added to it.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._byte_size = 0

    def hashing(self, file: Any, path: Path, *, anew: bool) -> Any:
        """`file`, which was just opened for writing to `path`, and hashes what is written to it from now on. anew: it was emptied."""
        there = 0 if anew else path.stat().st_size
        if there != self._byte_size:
            self._digest, self._byte_size = hashlib.sha256(), 0
            with path.open("rb") as earlier:
                while chunk := earlier.read(CHUNK_BYTES):
                    self._add(chunk)
        return _HashingFile(file, self._add)

    def of(self, path: Path) -> str | None:
        """Hex, when the bytes that were hashed are all of the file at `path`; it may have another name than while it was written."""
        return self._digest.hexdigest() if path.stat().st_size == self._byte_size else None

    def _add(self, data: bytes) -> None:
        self._digest.update(data)
        self._byte_size += len(data)


class _HashingFile:
    """A file that yt-dlp has opened and locked, as it uses it."""

    def __init__(self, file: Any, written: Callable[[bytes], None]) -> None:
        self._file = file
        self._written = written

    def write(self, data: bytes) -> Any:
        count = self._file.write(data)
        self._written(data)
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
