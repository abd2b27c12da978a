"""Originals on this machine: what a stage has fetched or stored is not fetched again, by the next one of its run or by another process."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from heaters_dagster.domain.errors import PermanentError
from resources.object_store.interface import ObjectStore
from resources.object_store.original_cache import file_sha256
from resources.object_store.work_folder import WorkFolder


class Originals:
    """The originals of a remote store that lie on this machine while a run works on them; those of a local store are read in place.

    work: keeps one file at a time, in its own folder that is locked like the folder of an attempt, and in its cache for others.
    Close it when the run ends, or use it as a context manager. One thread.
    """

    def __init__(self, objects: ObjectStore, work: WorkFolder) -> None:
        self._objects = objects
        self._work = work
        self._kept: tuple[str, Path] | None = None
        self._folder = ExitStack()

    def keep(self, key: str, path: Path, sha256: str) -> None:
        """Keep `path`, a file of the work folder with the contents of the object `key`, from being removed; nobody may change it."""
        if self._objects.local_path(key) is not None:
            return
        kept = self._new_place(key)
        with suppress(OSError):  # a file system without links: the file is fetched again later
            os.link(path, kept)
            self._kept = key, kept
            self._work.cache.put(sha256, kept)

    def read(self, key: str, sha256: str | None, *, progress: Callable[[int, int], None] | None = None) -> Path:
        """The path of the original: in place, already here, or fetched. Nobody may change the file, and it stays until another is read.

        sha256: what the row knows of its bytes; without it the file is not kept for others. progress: of fetching; gets (bytes so far,
        bytes in all). Raises the errors of ObjectStore, NoRoomError,
        and PermanentError when the store has another file.
        """
        path = self._objects.local_path(key)
        if path is not None:
            return path
        stored = self._objects.info(key)
        if self._kept is not None and self._kept[0] == key and stored is not None and stored.byte_size == self._kept[1].stat().st_size:
            return self._kept[1]
        path = self._new_place(key)
        if sha256 is None:
            self._objects.get_file(key, path, progress=progress)
        elif stored is None or not self._work.cache.taken(sha256, path):
            with self._work.cache.turn(sha256):
                if stored is None or not self._work.cache.taken(sha256, path):
                    self._fetch(key, sha256, path, progress)
        self._kept = key, path
        return path

    def close(self) -> None:
        self._kept = None
        self._folder.close()

    def _new_place(self, key: str) -> Path:
        self.close()
        folder = self._folder.enter_context(self._work.attempt("original", bytes_needed=0))  # fetching asks for what it needs
        return folder / f"original{Path(key).suffix}"

    def _fetch(self, key: str, sha256: str, path: Path, progress: Callable[[int, int], None] | None) -> None:
        self._objects.get_file(key, path, progress=progress)
        if (found := file_sha256(path)) != sha256:
            raise PermanentError(
                f"{key} in the store is not the file that was stored there: its SHA-256 is {found}, and should be {sha256}. "
                "Put the right file back under this key, or submit the video again"
            )
        self._work.cache.put(sha256, path)

    def __enter__(self) -> Originals:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
