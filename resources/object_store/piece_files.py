"""The files of pieces of a proxy in the object store: read in order, and removed when they are joined."""

from __future__ import annotations

from collections.abc import Iterator

from heaters_dagster.domain.errors import ObjectNotFoundError
from heaters_dagster.domain.keys import pieces_prefix
from resources.object_store.interface import ObjectStore

_BLOCK_BYTES = 8 << 20


def blocks(objects: ObjectStore, key: str) -> Iterator[bytes]:
    """The bytes of an object in order, never all at once. Raises ObjectNotFoundError and what ObjectStore raises."""
    path, info = objects.local_path(key), objects.info(key)
    if info is None:
        raise ObjectNotFoundError(f"no object {key} in the store")
    if path is not None:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
        return
    for start in range(0, info.byte_size, _BLOCK_BYTES):
        yield objects.get_range(key, start, min(start + _BLOCK_BYTES, info.byte_size))


def drop_pieces(objects: ObjectStore, source_video_id: int) -> tuple[str, ...]:
    """Delete all files of pieces of this proxy; returns their keys."""
    keys = [info.key for info in objects.list(pieces_prefix(source_video_id))]
    return tuple(key for key in keys if objects.delete(key))
