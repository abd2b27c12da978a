"""What an object store does. A file appears under its key complete or not at all; a second `put` replaces the first atomically."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

#: What `ObjectStore.check` writes and reads.
CHECKED = b"Heaters was here."
#: With less than this on the disk of a folder, nothing is begun.
LEAST_FREE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """key; size in bytes; S3's name of the storage class; whether a read must wait for a restore from cold storage."""

    key: str
    byte_size: int
    storage_class: str
    needs_restore: bool


class ObjectStore(Protocol):
    """Every method takes keys made by `heaters_dagster.domain.keys` and checks them with `checked_key`.

    Raises ObjectNotFoundError, ColdStorageError, DiskFullError, StoreUnavailableError.
    """

    def put_file(
        self, key: str, path: Path, *, storage_class: str = "STANDARD", progress: Callable[[int], None] | None = None
    ) -> ObjectInfo:
        """Publish a file (copied; the local store may move it when it lies in the work folder). `progress` gets bytes sent so far."""
        ...

    def put_bytes(self, key: str, data: bytes, *, storage_class: str = "STANDARD") -> ObjectInfo: ...

    def get_file(self, key: str, path: Path) -> None:
        """Write the object to `path`, complete or not at all."""
        ...

    def get_bytes(self, key: str) -> bytes: ...

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Bytes `[start, end)`, fewer when the object ends before."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Where the object lies on this machine for reading in place; None for a remote store."""
        ...

    def info(self, key: str) -> ObjectInfo | None:
        """None when there is no such object."""
        ...

    def delete(self, key: str) -> bool:
        """Delete; False when there was nothing to delete."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Complete objects in the order of their keys. `prefix` is a beginning of a key, not necessarily a folder."""
        ...

    def check(self) -> None:
        """Write a small object under a key of its own, read it and delete it. Raises HeatersError with what is wrong and what to do."""
        ...

    def sweep(self) -> tuple[str, ...]:
        """Remove what writers that died left half done, and name what was removed. Objects and living writers are never touched."""
        ...

    def url(self, key: str, *, expires_seconds: int) -> str | None:
        """An address a browser can read with range requests; None for the local store.

        The CDN's when there is one, which protects itself and does not expire here; else presigned, for `expires_seconds`.
        """
        ...

    def restore(self, key: str, *, days: int = 7) -> None:
        """Ask for the object back from cold storage; nothing to do elsewhere."""
        ...
