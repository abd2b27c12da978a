"""Stills at hand: what one stage of a run has published is not fetched again by the next."""

from __future__ import annotations

from resources.object_store.interface import ObjectInfo, ObjectStore

_MOST_BYTES = 64 << 20


class Stills:
    """The stills of clips, of which those that this run has published are kept in memory, up to `most_bytes`. One thread.

    A key says which clip and which still, and stays the same when the clip is cut anew: so all are kept with the clip's version.
    """

    def __init__(self, objects: ObjectStore, *, most_bytes: int = _MOST_BYTES) -> None:
        self._objects = objects
        self._room_bytes = most_bytes
        self._kept: dict[tuple[str, int], bytes] = {}

    def publish(self, key: str, version: int, jpeg: bytes) -> ObjectInfo:
        """Store a still of a clip that has that version. Raises what ObjectStore raises."""
        stored = self._objects.put_bytes(key, jpeg)
        if len(jpeg) <= self._room_bytes:
            self._room_bytes -= len(jpeg)
            self._kept[key, version] = jpeg
        return stored

    def read(self, key: str, version: int) -> bytes:
        """A still of a clip that has that version. Raises ObjectNotFoundError."""
        kept = self._kept.get((key, version))
        return self._objects.get_bytes(key) if kept is None else kept
