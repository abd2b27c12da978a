"""The interface of an object store. A file appears under its key complete or not at all; a second `put` replaces the first atomically."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

#: The key that `ObjectStore.check` writes and reads.
CHECKED = b"Heaters was here."


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """key; size in bytes; S3's name of the storage class; whether a read must wait for a restore from cold storage.

    tag: of an object that `list` gave, a text that changes when its bytes change (S3's ETag; for a file when it was written).
    """

    key: str
    byte_size: int
    storage_class: str
    needs_restore: bool
    tag: str = field(default="", compare=False)


class ObjectStore(Protocol):
    """Every method takes keys made by `heaters_dagster.domain.keys` and checks them with `checked_key`.

    Raises ObjectNotFoundError, ColdStorageError, DiskFullError, StoreUnavailableError.
    """

    def put_file(
        self, key: str, path: Path, *, storage_class: str = "STANDARD", progress: Callable[[int], None] | None = None
    ) -> ObjectInfo:
        """Publish a file. It is copied; the local store may move it when it lies in the work folder.

        `progress` gets the bytes sent so far.
        """
        ...

    def put_bytes(self, key: str, data: bytes, *, storage_class: str = "STANDARD") -> ObjectInfo: ...

    def get_file(self, key: str, path: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
        """Write the object to `path`, complete or not at all. `progress` gets (bytes so far, bytes in all)."""
        ...

    def get_bytes(self, key: str) -> bytes: ...

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Bytes `[start, end)`; fewer when the object ends before."""
        ...

    def local_path(self, key: str) -> Path | None:
        """The path of the object on this machine, for reading in place; None for a remote store."""
        ...

    def info(self, key: str) -> ObjectInfo | None:
        """None when there is no such object."""
        ...

    def delete(self, key: str) -> bool:
        """Delete the object; False when there was nothing to delete."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Complete objects in the order of their keys. `prefix` is the beginning of a key, not necessarily a folder."""
        ...

    def check(self) -> None:
        """Write a small object under a key of its own, read it and delete it. Raises HeatersError with what is wrong and what to do."""
        ...

    def sweep(self) -> tuple[str, ...]:
        """Remove half-written data of writers that died; return its names. Objects and data of living writers stay."""
        ...

    def url(self, key: str, *, expires_seconds: int) -> str | None:
        """An address a browser can read with range requests; None for the local store.

        It is signed for `expires_seconds`, except with a CDN without a key: that link is plain and does not end; the CDN must protect it.
        """
        ...

    def restore(self, key: str, *, days: int, tier: str) -> None:
        """Request the object back from cold storage; does nothing for other storage classes, nor while it is on its way."""
        ...


def put_missing(objects: ObjectStore, key: str, data: bytes) -> None:
    """Store an object whose key names its bytes, unless it is there."""
    if objects.info(key) is None:
        objects.put_bytes(key, data)
