"""Keeps originals on this machine during a run, so that a file which one stage has fetched or stored is not fetched again by the next."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from pathlib import Path

from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder


class Originals:
    """The originals of a remote store that lie on this machine while a run works on them; those of a local store are read in place.

    work: keeps one file at a time, in its own folder that is locked like the folder of an attempt; None: nothing is kept.
    Close it when the run ends. One thread.
    """

    def __init__(self, objects: ObjectStore, work: WorkFolder | None = None) -> None:
        self._objects = objects
        self._work = work
        self._kept: tuple[str, Path] | None = None
        self._folder = ExitStack()

    def keep(self, key: str, path: Path) -> None:
        """Keep `path`, a file of the work folder with the contents of the object `key`, from being removed; nobody may change it."""
        if self._work is None or self._objects.local_path(key) is not None:
            return
        self.close()
        kept = self._folder.enter_context(self._work.attempt("original")) / f"original{Path(key).suffix}"
        with suppress(OSError):  # a file system without links: the file is fetched again later
            os.link(path, kept)
            self._kept = key, kept

    def read(self, key: str, folder: Path) -> Path:
        """The path of the original: in place, already here, or fetched into `folder` and kept. Raises the errors of ObjectStore."""
        path = self._objects.local_path(key)
        if path is not None:
            return path
        stored = self._objects.info(key)
        if self._kept is not None and self._kept[0] == key and stored is not None and stored.byte_size == self._kept[1].stat().st_size:
            return self._kept[1]
        path = folder / f"original{Path(key).suffix}"
        self._objects.get_file(key, path)
        self.keep(key, path)
        return path

    def close(self) -> None:
        self._kept = None
        self._folder.close()
