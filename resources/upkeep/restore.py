"""Restores a backup into an empty place, and says what the object store has that is newer, and what it has lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, text

from heaters_dagster.domain.audit import remedy, source_video_of_key
from heaters_dagster.domain.backups import IDS_LEFT_OUT, clip_of_key, next_number, numbers_in_use
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.keys import final_clip_key
from heaters_dagster.domain.words import clip_state_words, counted
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres.clip_rows import Clip
from resources.postgres.clip_store import ClipStore
from resources.postgres.conditions import among
from resources.postgres.database import Database, dagster_database_url, database_url
from resources.postgres.export_store import request_lost
from resources.postgres.migrations import known_revisions
from resources.postgres.table_copies import sequences_of
from resources.postgres.tables import source_videos
from resources.upkeep.audit import coverage_problems, orphan_objects
from resources.upkeep.backup import DAGSTER, HEATERS, listed_and_stored, secret_mark, stored_objects
from resources.upkeep.backup_place import OBJECTS, ROWS, AboutBackup, BackupPlace
from resources.upkeep.lost_objects import lost_of_video_made_due
from resources.upkeep.restored_rows import SOURCE_VIDEO_NUMBERS, Target, check_empty, leave_numbers_out, load_rows

#: Of each kind so many are said; the others are only counted.
MOST_SAID = 100

#: Whether the file under a key shows exactly the frames of a clip; raises HeatersError when that cannot be told.
Shows = Callable[[Clip, str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file that is newer than the backup. clip: how people call the clip that it shows; None: the backup knows no such clip.

    told: what it is and what to do, in a sentence. command: the arguments of `heaters` that do it; None: there is nothing to type.
    """

    key: str
    clip: str | None = None
    told: str
    command: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """rows: by part. revisions: of the database when the backup was made, and now. newer: files that are newer than the backup.

    lost: one sentence for each object that is needed and gone. made_again: ids of the clips that are exported again for that reason.
    problems: what an audit of the clips says. warnings: what else a person must know.
    """

    name: str
    made_at: str
    rows: dict[str, int]
    revisions: tuple[str, str]
    newer: list[Found] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    made_again: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        newer = [{"key": one.key, "clip": one.clip, "told": one.told, "command": one.command} for one in self.newer]
        of_parts = {f"{part}_rows": self.rows.get(part, 0) for part in (HEATERS, DAGSTER)}
        return (
            {name: getattr(self, name) for name in ("name", "made_at", "revisions", "lost", "made_again", "problems", "warnings")}
            | of_parts
            | {"newer": newer}
        )


def restore(
    settings: Settings,
    objects: ObjectStore,
    place: BackupPlace,
    about: AboutBackup,
    *,
    make_dagster_tables: Callable[[str], None] | None,
    shows: Shows,
    say: Callable[[str], None] = lambda sentence: None,
) -> Restored:
    """Restore this backup. make_dagster_tables: makes those at an address; None: Dagster's rows are left out.

    Killed at any moment it leaves the place empty, or complete. Raises BadRequestError when there are rows already, and the errors of
    `load_rows` and of the stores.
    """
    with ExitStack() as stack:
        database = Database.connect(database_url(settings))
        stack.callback(database.dispose)
        dagster = None
        if make_dagster_tables is not None:
            dagster = Database.connect(dagster_database_url(settings), pool_size=1)
            stack.callback(dagster.dispose)
        target = Target(database, dagster)
        check_empty(target)
        if make_dagster_tables is not None:
            make_dagster_tables(dagster_database_url(settings))
        folder = stack.enter_context(WorkFolder.of(settings).attempt("restore", bytes_needed=about.byte_size))
        rows, listed = place.get(about, ROWS, folder), place.get(about, OBJECTS, folder)
        say(f"Backup {about.name} is complete, its checksums are right. Looking at the stored objects ...")
        in_use = numbers_in_use(info.key for info in stored_objects(objects))

        lost = lost_objects(objects, listed)
        made_again: list[int] = []
        remedies: dict[str, str] = {}

        def leave_out(connection: Connection) -> None:
            stills = {clip for key in lost if key.startswith("keyframes/") and (clip := clip_of_key(key)) is not None}
            for source_video_id in sorted(_source_videos_of(connection, lost)):
                remedies.update(lost_of_video_made_due(connection, source_video_id, lost.keys()))
            made_again.extend(request_lost(connection, lost.keys(), stills))
            last = sequences_of(connection).get(SOURCE_VIDEO_NUMBERS, 0)
            greatest = max(in_use.source_video, last, connection.scalar(text("select max(id) from source_videos")) or 0)
            leave_numbers_out(connection, next_source_video=next_number(greatest), clips=in_use.clips, ids=IDS_LEFT_OUT)

        loaded = load_rows(target, about, rows, then=leave_out)
        return Restored(
            name=about.name,
            made_at=about.made_at,
            rows=loaded,
            newer=newer_files(database, objects, shows),
            revisions=(about.parts[HEATERS].revision, known_revisions()[-1]),
            lost=[f"{told}{remedies.get(key) or _remedy(key)}" for key, told in lost.items()],
            made_again=made_again,
            problems=list(islice(coverage_problems(database), MOST_SAID)),
            warnings=_warnings(settings, about),
        )


def _source_videos_of(connection: Connection, keys: Iterable[str]) -> set[int]:
    """Those restored source videos to which the keys belong."""
    named = {number for key in keys if (number := source_video_of_key(key)) is not None}
    return set(connection.scalars(select(source_videos.c.id).where(among(source_videos.c.id, named))))


def _remedy(key: str) -> str:
    of_clip = key.startswith(("final_clips/", "keyframes/"))
    return "; a clip that is still approved is exported again" if of_clip else remedy(key)


def lost_objects(objects: ObjectStore, listed: Path) -> dict[str, str]:
    """Key -> a sentence, of each object of the list that the store has not, or has with another size."""
    problems: dict[str, str] = {}
    for one, info in listed_and_stored(listed, objects):
        if info is None:
            was = "was already missing when the backup was made" if one.missing else "was there when the backup was made and is gone"
            problems[one.key] = f"{one.key} {was}"
        elif one.byte_size is not None and one.byte_size != info.byte_size:
            problems[one.key] = f"{one.key} had {one.byte_size:,} bytes when the backup was made and has {info.byte_size:,} now"
    return problems


def newer_files(database: Database, objects: ObjectStore, shows: Shows) -> list[Found]:
    """The objects that no restored row names: what was submitted, approved or cut after the backup."""
    keys = orphan_objects(database, objects)
    with database.read() as connection:
        known = set(connection.scalars(select(source_videos.c.id)))
    clips = _LiveClips(ClipStore(database))
    found: list[Found] = []
    for key in keys:
        video, clip = source_video_of_key(key), clip_of_key(key)
        if video is not None and video not in known:
            if key.startswith("originals/"):
                path = objects.local_path(key)
                source = str(path) if path is not None else _address(objects, key)
                told = f"{key} was submitted after the backup: submit it again, it gets a new number"
                found.append(Found(key=key, told=told, command=f"submit {source}"))
            else:
                found.append(Found(key=key, told=f"{key} belongs to source video {video}, which was submitted after the backup"))
        elif clip is not None and key.startswith("final_clips/"):
            found.append(_found_export(key, clips.called(*clip), shows))
        else:
            found.append(Found(key=key, told=f"{key} was made after the backup; what needs it makes it again"))
    return found


def _found_export(key: str, clip: Clip | None, shows: Shows) -> Found:
    if clip is not None and key != final_clip_key(clip.source_video_id, clip.sequence):
        return Found(key=key, clip=clip.reference, told=f"{key} was made after the backup; it is made again when it is asked for again")
    if clip is None:
        return Found(key=key, told=f"{key} is of a clip that was cut after the backup: cut the source video again, then approve the clip")
    try:
        same = shows(clip, key)
    except HeatersError as error:
        return Found(key=key, clip=clip.reference, told=f"{key} cannot be compared with clip {clip.reference}: {error}")
    if not same:
        return Found(key=key, clip=clip.reference, told=f"{key} shows other frames than clip {clip.reference}: it was cut after the backup")
    state = clip_state_words(clip.state)
    told = f"{key} shows exactly clip {clip.reference}, which was approved after the backup and is {state} again"
    return Found(key=key, clip=clip.reference, told=told, command=f"review approve {clip.reference}")


class _LiveClips:
    """Live clips by source video and number; those of one source video at a time are in memory."""

    def __init__(self, store: ClipStore) -> None:
        self._store = store
        self._of: tuple[int, dict[int, Clip]] = (0, {})

    def called(self, source_video_id: int, sequence: int) -> Clip | None:
        if self._of[0] != source_video_id:
            self._of = (source_video_id, {clip.sequence: clip for clip in self._store.load_live(source_video_id)})
        return self._of[1].get(sequence)


def _address(objects: ObjectStore, key: str) -> str:
    return f"s3://{getattr(objects, 'bucket', '')}/{key}"


def _warnings(settings: Settings, about: AboutBackup) -> list[str]:
    if about.secret_mark == secret_mark(settings):
        return []
    return [
        "the secret key here is not the one with which the backup was made: sign-ins that are stored for web sites cannot be read. Put the "
        "old key back (HEATERS_SECRET_KEY, or the file secret_key of the old HEATERS_HOME), or store them again with heaters sites"
    ]


def said(sentences: Iterable[str], what: str) -> list[str]:
    """The first of them, and the number of the others."""
    every = list(sentences)
    more = len(every) - MOST_SAID
    return [*every[:MOST_SAID], f"and {counted(more, what)} more"] if more > 0 else every
