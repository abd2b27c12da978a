"""Makes a backup: the rows of Heaters and of Dagster as they were at one moment, and the list of objects that they need, with checksums."""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from heaters_dagster.domain.backups import Keep, backup_name
from heaters_dagster.domain.errors import BusyError, HeatersError, ObjectNotFoundError, PermanentError
from heaters_dagster.domain.keys import PREFIXES
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings
from resources.files.sealed_text import Sealer
from resources.object_store.interface import ObjectInfo, ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres.database import Database, dagster_database_url
from resources.postgres.table_copies import copied_out, revision_of, sequences_of, tables_of
from resources.upkeep.audit import KEYS_OF_VIDEOS
from resources.upkeep.backup_place import OBJECTS, ROWS, AboutBackup, BackupPlace, SavedPart, SavedTable

HEATERS, DAGSTER = "heaters", "dagster"

#: So many bytes of objects without a checksum are read for one backup; the next one goes on. Proxies and stills have none in their rows.
HASHED_BYTES = 20 << 30
_PIECE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class NeededObject:
    """One line of `objects.jsonl.gz`. sha256: hex; None: not known yet. tag: see ObjectInfo. missing: it was not in the store."""

    key: str
    byte_size: int | None = None
    sha256: str | None = None
    tag: str = ""
    missing: bool = False

    def to_line(self) -> bytes:
        is_so = {"key": self.key, "byte_size": self.byte_size, "sha256": self.sha256, "tag": self.tag}
        return (json.dumps(is_so | ({"missing": True} if self.missing else {})) + "\n").encode()


def make_backup(
    settings: Settings,
    database: Database,
    objects: ObjectStore,
    place: BackupPlace,
    *,
    hashed_bytes: int | None = HASHED_BYTES,
    say: Callable[[str], None] = lambda sentence: None,
) -> AboutBackup:
    """Make a backup now and delete those that are not kept any more.

    hashed_bytes: how much is read at most for checksums that no row and no backup before knows; None: all of it.
    Raises BusyError when another backup is being made, and what the stores raise.
    """
    with ExitStack() as stack:
        if not stack.enter_context(database.turn("backup", patience_seconds=2)):
            raise BusyError("another process is making a backup at the moment; wait until it is done")
        folder = stack.enter_context(WorkFolder.of(settings).attempt("backup", bytes_needed=_estimated_bytes(database)))
        before = _objects_before(place, folder)
        made, parts = _copied_rows(settings, database, folder)
        counts = _listed_objects(objects, folder, before, hashed_bytes)
        files = [folder / ROWS, folder / OBJECTS]
        about = AboutBackup(
            name=backup_name(made),
            made_at=made.isoformat(timespec="milliseconds"),
            heaters=version("heaters"),
            parts=parts,
            files={path.name: _file_sha256(path) for path in files},
            byte_size=sum(path.stat().st_size for path in files),
            secret_mark=secret_mark(settings),
            **counts,
        )
        place.put(about, files)
        if gone := place.thin_out(Keep(*settings.backups_kept)):
            say(f"{counted(len(gone), 'old backup')} deleted: {', '.join(gone)}")
        return about


def secret_mark(settings: Settings) -> str:
    """By which the secret key is known again that opens sign-ins of web sites; nobody can compute the key from it."""
    return Sealer.of(settings).mark("the key of this backup", about="backup").hex()


def lines_of(path: Path) -> Iterator[NeededObject]:
    """The objects in an `objects.jsonl.gz`, in the order of their keys."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield NeededObject(**json.loads(line))


def stored_sha256(objects: ObjectStore, key: str, byte_size: int) -> str:
    """Hex, of the bytes of an object. Raises what ObjectStore raises."""
    path = objects.local_path(key)
    if path is not None:
        return _file_sha256(path)
    digest = hashlib.sha256()
    for start in range(0, byte_size, _PIECE_BYTES):
        digest.update(objects.get_range(key, start, min(byte_size, start + _PIECE_BYTES)))
    return digest.hexdigest()


def stored_objects(objects: ObjectStore) -> Iterator[ObjectInfo]:
    """All objects of Heaters, in the order of their keys."""
    for prefix in sorted(PREFIXES):
        yield from objects.list(prefix)


@contextmanager
def one_moment(settings: Settings, database: Database) -> Iterator[dict[str, Connection]]:
    """Connections that read Heaters' and Dagster's rows as they are now. In one database it is the same moment for both.

    In the embedded Postgres they are two databases, and a moment cannot be shared between databases: Dagster's is then read some
    milliseconds earlier. What Dagster does not know yet of a row it finds again by the row.
    """
    dagster = Database.connect(dagster_database_url(settings), pool_size=1)
    with ExitStack() as stack:
        stack.callback(dagster.dispose)

        def opened(one: Database) -> Connection:
            connection = stack.enter_context(one.read())
            return connection.execution_options(isolation_level="REPEATABLE READ")

        of_dagster = opened(dagster)
        if settings.database_url:
            snapshot = str(of_dagster.scalar(text("select pg_export_snapshot()")))
            of_heaters = opened(database)
            of_heaters.execute(text(f"set transaction snapshot '{snapshot}'"))
        else:
            of_dagster.execute(text("select 1"))
            of_heaters = opened(database)
        yield {HEATERS: of_heaters, DAGSTER: of_dagster}


def _copied_rows(settings: Settings, database: Database, folder: Path) -> tuple[datetime, dict[str, SavedPart]]:
    """Write `rows.zip` and the keys that the rows need; returns when the rows were read, and what was written."""
    with one_moment(settings, database) as connections, zipfile.ZipFile(folder / ROWS, "x", zipfile.ZIP_DEFLATED, compresslevel=4) as rows:
        made: datetime = connections[HEATERS].scalar(text("select now()")) or datetime.now(UTC)
        _write_needed(connections[HEATERS], folder / "needed")
        copied = {part: _copied_tables(connection, part, rows) for part, connection in connections.items()}
        parts = {}
        for part, connection in connections.items():
            revision = revision_of(connection)
            if revision is None:
                raise PermanentError(f"there are no tables of {part} to back up yet: start heaters up or heaters process once")
            # Read last: a number that was given meanwhile must not be given again.
            parts[part] = SavedPart(revision=revision, tables=copied[part], sequences=sequences_of(connection))
    return made, parts


def _copied_tables(connection: Connection, part: str, rows: zipfile.ZipFile) -> tuple[SavedTable, ...]:
    saved = []
    for table in tables_of(connection):
        digest, count = hashlib.sha256(), 0
        with rows.open(f"{part}/{table.name}.copy", "w", force_zip64=True) as member:
            for piece in copied_out(connection, table):
                digest.update(piece)
                count += piece.count(b"\n")  # one in a value is written as \n
                member.write(piece)
        saved.append(SavedTable(name=table.name, columns=table.columns, rows=count, sha256=digest.hexdigest()))
    return tuple(saved)


def _write_needed(connection: Connection, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in connection.execute(text(_NEEDED), execution_options={"yield_per": 1_000}):
            file.write(json.dumps([row.key, row.sha256]) + "\n")


def _listed_objects(objects: ObjectStore, folder: Path, before: Path | None, hashed_bytes: int | None) -> dict[str, int]:
    """Write `objects.jsonl.gz`: what the rows need, as it is in the store. Returns the counts for AboutBackup."""
    counts = {"objects": 0, "object_bytes": 0, "missing": 0, "without_checksum": 0}
    left = hashed_bytes
    with gzip.open(folder / OBJECTS, "xb", compresslevel=4) as file:
        for key, known, info, was in _beside_one_another(folder / "needed", objects, before):
            counts["objects"] += 1
            if info is None:
                counts["missing"] += 1
                file.write(NeededObject(key, sha256=known, missing=True).to_line())
                continue
            counts["object_bytes"] += info.byte_size
            if known is None and was is not None and (was.byte_size, was.tag) == (info.byte_size, info.tag):
                known = was.sha256
            if known is None and not info.needs_restore and (left is None or info.byte_size <= left):
                left = None if left is None else left - info.byte_size
                try:
                    known = stored_sha256(objects, key, info.byte_size)
                except ObjectNotFoundError:  # deleted a moment ago
                    known = None
            counts["without_checksum"] += known is None
            file.write(NeededObject(key, info.byte_size, known, info.tag).to_line())
    return counts


def _beside_one_another(
    needed: Path, objects: ObjectStore, before: Path | None
) -> Iterator[tuple[str, str | None, ObjectInfo | None, NeededObject | None]]:
    """(key, checksum of the row, what is in the store, what the backup before says). All three are read in the order of keys."""
    stored = _Sorted((info.key, info) for info in stored_objects(objects))
    earlier = _Sorted((one.key, one) for one in (lines_of(before) if before is not None else ()))
    with needed.open(encoding="utf-8") as file:
        for line in file:
            key, sha256 = json.loads(line)
            yield key, sha256, stored.at(key), earlier.at(key)


def listed_and_stored(listed: Path, objects: ObjectStore) -> Iterator[tuple[NeededObject, ObjectInfo | None]]:
    """Each object of a backup's list, and what the store has under its key; None: nothing."""
    stored = _Sorted((info.key, info) for info in stored_objects(objects))
    for one in lines_of(listed):
        yield one, stored.at(one.key)


class _Sorted:
    """Pairs in the order of their keys, asked for by keys in the same order."""

    def __init__(self, pairs: Iterable[tuple[str, Any]]) -> None:
        self._pairs = iter(pairs)
        self._next = next(self._pairs, None)

    def at(self, key: str) -> Any:
        while self._next is not None and self._next[0] < key:
            self._next = next(self._pairs, None)
        return self._next[1] if self._next is not None and self._next[0] == key else None


def _objects_before(place: BackupPlace, folder: Path) -> Path | None:
    """The list of the backup before, whose checksums need not be computed again. A damaged one is no reason to make none."""
    name = place.newest()
    if name is None:
        return None
    earlier = folder / "earlier"
    earlier.mkdir()
    try:
        return place.get(place.about(name), OBJECTS, earlier)
    except HeatersError:
        return None


def _estimated_bytes(database: Database) -> int:
    with database.read() as connection:
        return int(connection.scalar(text("select pg_database_size(current_database())")) or 0)


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


#: Every object that a row names, with the checksum that the row knows. An export's is in its manifest.
_NEEDED = f"""
select needed.key collate "C" as key, max(needed.sha256) as sha256 from (
    select key, null as sha256 from ({KEYS_OF_VIDEOS}) of_videos
    union all select original_filepath, content_sha256 from source_videos where original_filepath is not null
    union all select gold_master_filepath, gold_master_sha256 from source_videos where gold_master_filepath is not null
    union all select key, manifest ->> 'file_sha256' from clip_artifacts where state = 'live'
) needed group by needed.key order by 1
"""
