"""Watches folders and prefixes of buckets: takes what has arrived whole, once, and moves it when the pipeline is done with it.

Whatever happens between two steps, the next look goes on: a file that was submitted and not noted is found by `submit` to be a source
video already; a file that was moved and not noted is found where the note about the move says.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from heaters_dagster.domain.errors import BusyError, HeatersError
from heaters_dagster.domain.stages import SOURCE_VIDEO
from heaters_dagster.domain.watching import (
    REFUSED_FOLDER,
    TAKEN_FOLDER,
    FileState,
    KnownFile,
    SeenFile,
    Step,
    is_temporary,
    step,
)
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.watched_store import FileToMove, WatchedStore
from resources.sources.address_guard import AddressGuard
from resources.sources.file_identity import Wanted
from resources.sources.kept_files import keeper_of
from resources.sources.submission import submit
from resources.sources.submit_places import SubmitPlaces, own_folders, watched_names
from resources.sources.watched_folder import WatchedFolder
from resources.sources.watched_prefix import WatchedPrefix

#: Files that one look submits of a place; the next look takes the others. Dagster ends a tick of a sensor after a minute.
_MOST_TAKEN = 500


class Watched(Protocol):
    """What is watched. place: as it is stored. is_bucket: its files are whole as soon as they are there. unread: sentences about folders
    that the last look could not read.
    """

    place: str
    is_bucket: bool
    unread: list[str]

    def files(self) -> Iterable[SeenFile]: ...

    def move(self, path: str, folder: str, moved_to: str | None) -> str: ...

    def target(self, path: str, folder: str) -> str: ...


@dataclass(slots=True)
class PlaceLook:
    """What one look at a place did. taken: ids of source videos. arriving: files that may still be growing.

    more: there was more to take than one look takes. problem: why it could not look, or could not move what is done.
    """

    place: str
    taken: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    arriving: int = 0
    moved: int = 0
    more: bool = False
    problem: str | None = None

    @property
    def sentence(self) -> str:
        if self.problem is not None:
            return self.problem
        told = [
            (len(self.taken), counted(len(self.taken), "file") + " taken"),
            (self.arriving, counted(self.arriving, "file") + " arriving"),
            (len(self.refused), counted(len(self.refused), "file") + " refused"),
            (self.moved, counted(self.moved, "file") + " moved"),
        ]
        return f"{self.place}: {', '.join(words for count, words in told if count) or 'nothing new'}"


def watched_places(settings: Settings) -> list[Watched]:
    """Those of HEATERS_WATCH. What Heaters itself stores is never taken: each proxy would become a source video with a proxy."""
    endpoint_url = settings.s3_endpoint_url
    return [
        WatchedPrefix(place, endpoint_url=endpoint_url, own_bucket=settings.object_bucket)
        if place.startswith("s3://")
        else WatchedFolder(Path(place), without=own_folders(settings))
        for place in watched_names(settings)
    ]


class Watcher:
    """Looks at all watched places of these settings."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._store = WatchedStore(database)
        self._keep = keeper_of(settings, SourceVideoStore(database))

    @property
    def sends_files(self) -> bool:
        """Whether a look may take long, because it sends files of folders to the bucket, where other machines find them."""
        return self._keep is not None and not all(place.startswith("s3://") for place in self._settings.watch)

    def look(self, *, at_once: bool = False) -> list[PlaceLook]:
        """Look at the places whose turn it is: HEATERS_WATCH_SECONDS after the last look. at_once: at all of them.

        A place at which another process looks now is left out.
        """
        looks = []
        for watched in watched_places(self._settings):
            since = self._store.seconds_since_look(watched.place)
            if at_once or since is None or since >= self._settings.watch_seconds:
                with suppress(BusyError), self._database.stage_lock(f"watch {watched.place}", 0):
                    looks.append(self._looked_at(watched))
        return looks

    def _looked_at(self, watched: Watched) -> PlaceLook:
        found = PlaceLook(watched.place)
        try:
            self._take(watched, found)
            if self._settings.watch_then == "move":
                self._move(watched, found)
        except HeatersError as error:
            found.problem = str(error)
        self._store.looked(watched.place, found.problem)
        return found

    def _take(self, watched: Watched, found: PlaceLook) -> None:
        known = self._store.files(watched.place)
        seen = {one.path: one for one in watched.files()}
        found.problem = next(iter(watched.unread), None)
        to_note: list[tuple[SeenFile, FileState]] = []
        to_take: list[SeenFile] = []
        for one in seen.values():
            before = known.get(one.path)
            if not _is_utf8(one.path):
                found.problem = f"{_printable(one.path)}: its name is not UTF-8 and cannot be stored; rename the file"
            elif is_temporary(one.name):
                if before is None or before.inode != one.inode:
                    to_note.append((one, FileState.TEMPORARY))
            else:
                next_step = step(
                    one,
                    before,
                    interval_seconds=self._settings.watch_seconds,
                    is_object=watched.is_bucket,
                    was_renamed=_was_renamed(one, seen, known),
                )
                if next_step is Step.TAKE:
                    to_take.append(one)
                elif next_step is Step.NOTE:
                    to_note.append((one, FileState.ARRIVING))
                    found.arriving += 1
                elif before is not None and before.state is FileState.ARRIVING:
                    found.arriving += 1
        found.more = len(to_take) > _MOST_TAKEN
        self._store.note(watched.place, to_note)
        self._submit(watched, to_take[:_MOST_TAKEN], known, found)
        unfinished = {FileState.ARRIVING, FileState.TEMPORARY}
        self._store.forget(watched.place, [path for path, one in known.items() if path not in seen and one.state in unfinished])

    def _submit(self, watched: Watched, files: Sequence[SeenFile], known: Mapping[str, KnownFile], found: PlaceLook) -> None:
        if not files:
            return
        # An object that was taken and looks otherwise now was replaced: the address alone would say that it is known.
        was_taken = {path for path, one in known.items() if one.state is FileState.TAKEN} if watched.is_bucket else set()
        wanted = [Wanted(one.path, has_changed=one.path in was_taken) for one in files]
        inside = SubmitPlaces((), (watched.place,)) if watched.is_bucket else SubmitPlaces((Path(watched.place),), ())
        keep = None if watched.is_bucket else self._keep
        done = submit(wanted, SourceVideoStore(self._database), guard=AddressGuard(), places=inside, keep=keep)
        by_source = {item.source: item for item in done}
        taken: list[tuple[SeenFile, int]] = []
        refused: list[tuple[SeenFile, str]] = []
        for one in files:
            item = by_source.get(one.path)
            if item is not None and item.video is not None:
                taken.append((one, item.video.id))
            elif item is not None:
                refused.append((one, item.told))
        self._store.taken(watched.place, taken)
        self._store.refused(watched.place, refused)
        found.taken = list(dict.fromkeys(video_id for _, video_id in taken))
        found.refused = [one.path for one, _ in refused]

    def _move(self, watched: Watched, found: PlaceLook) -> None:
        for file in self._store.to_move(watched.place):
            folder = TAKEN_FOLDER if file.is_good else REFUSED_FOLDER
            try:
                if file.source_video_id is None:
                    self._moved(watched, file, folder)
                else:
                    # A retry may be reading the file under its old path.
                    with self._database.stage_lock(SOURCE_VIDEO.asset, file.source_video_id):
                        self._moved(watched, file, folder)
            except BusyError:
                continue
            except OSError as error:
                if isinstance(error, HeatersError):
                    raise
                found.problem = f"{file.path} cannot be moved to {folder}: {error.strerror}. Give this user the right to write there"
                return
            found.moved += 1

    def _moved(self, watched: Watched, file: FileToMove, folder: str) -> None:
        moved_to = file.moved_to or watched.target(file.path, folder)
        if file.moved_to is None:
            self._store.begin_move(watched.place, file.path, moved_to)
        self._store.end_move(watched.place, file, watched.move(file.path, folder, moved_to))


def _was_renamed(one: SeenFile, seen: Mapping[str, SeenFile], known: Mapping[str, KnownFile]) -> bool:
    """Whether an earlier look saw this same file under a temporary name, with this one in it, that it does not have any more.

    The number of the inode is not enough: a file that is made anew often gets that of one that was just deleted.
    """
    return one.has_new_name and any(
        before.inode == one.inode
        and before.state is FileState.TEMPORARY
        and before.byte_size <= one.byte_size
        and path not in seen
        and path.rpartition("/")[0] == one.path.rpartition("/")[0]
        and one.name in path.rpartition("/")[2]
        for path, before in known.items()
    )


def _is_utf8(path: str) -> bool:
    return path == _printable(path)


def _printable(path: str) -> str:
    """A path with the bytes that are no UTF-8 written as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
