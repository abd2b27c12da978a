"""How much may be uploaded at once: all admitted uploads together never need more than the free space, nor too much memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heaters_dagster.domain.errors import BadRequestError, BusyError, DiskFullError
from resources.files.private_folder import private_folder
from resources.object_store.arriving_object import MOST_BYTES
from resources.object_store.promised_room import PromisedRoom

#: What the attempts of uploads are called.
UPLOAD = "upload"
MAX_UPLOADS = 16
#: Limit of an upload when the browser does not say how large it is.
UNDECLARED_BYTES = 2 * 1024**3
#: Free space that is kept for the rest of Heaters: the database, and files that stages write.
RESERVE_BYTES = 1024**3


class Admission:
    """One upload that was let in. limit_bytes: how much it may bring. left_bytes: how much of that is still to come."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.left_bytes = limit_bytes

    def received(self, byte_size: int) -> None:
        self.left_bytes = max(0, self.left_bytes - byte_size)


class UploadRoom:
    """Counts what was let in and has not arrived yet. One per process; the review app is one.

    room: what stages on this machine were promised of the disk is not given to uploads. to_bucket: they go there and take none of it.
    """

    def __init__(self, folder: Path, room: PromisedRoom, *, to_bucket: bool = False) -> None:
        self._to_bucket = to_bucket
        self._folder = folder
        self._room = room
        self._lock = threading.Lock()
        self._admitted: list[Admission] = []

    def check_size(self, title: str, byte_size: int | None) -> None:
        """Raise BadRequestError for what is too large for a bucket: it goes there in parts, and those are in memory."""
        if self._to_bucket and (byte_size or 0) > MOST_BYTES:
            raise BadRequestError(
                f"{title}: a browser can send files of up to {MOST_BYTES / 1e9:.0f} GB; submit larger ones with heaters submit"
            )

    @contextmanager
    def admitted(self, declared_bytes: int | None) -> Iterator[Admission]:
        """Let an upload in for as long as the body runs. Raises BusyError above MAX_UPLOADS, DiskFullError."""
        wanted = UNDECLARED_BYTES if declared_bytes is None else declared_bytes
        with self._lock:
            if len(self._admitted) >= MAX_UPLOADS:
                raise BusyError(
                    f"{MAX_UPLOADS} uploads are running, and no more are allowed at the same time: send this one when some are done"
                )
            if not self._to_bucket:
                self._find_room(wanted)
            admission = Admission(wanted)
            self._admitted.append(admission)
        try:
            yield admission
        finally:
            with self._lock:
                self._admitted.remove(admission)

    def _find_room(self, wanted: int) -> None:
        private_folder(self._folder)
        # What uploads have been promised is counted here, because they tell what has arrived.
        free = self._room.free_bytes(without=f"{UPLOAD}.") + self._room.keep_free_bytes
        promised = sum(other.left_bytes for other in self._admitted)
        if free - promised < wanted + max(RESERVE_BYTES, self._room.keep_free_bytes):
            raise DiskFullError(
                f"no room for {wanted / 1e9:.1f} GB under {self._folder}: {free / 1e9:.1f} GB are free, "
                f"{promised / 1e9:.1f} GB of it for uploads under way; make room or send it later"
            )
        self._room.clear(promised + wanted, without=f"{UPLOAD}.")
