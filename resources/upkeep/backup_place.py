"""Where backups lie: `backups/NAME/` in a folder or a bucket, three files each. The last of them, `about.json`, makes it a backup.

A backup that was killed in the middle has no `about.json`: it is never listed, never restored, and removed a day later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from heaters_dagster.domain.backups import Keep, is_backup_name, made_at
from heaters_dagster.domain.errors import NotFoundError, PermanentError, SettingsError
from heaters_dagster.domain.keys import BACKUPS_PREFIX
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.object_store.local import LocalObjectStore
from resources.object_store.open import open_bucket

PREFIX = f"{BACKUPS_PREFIX}/"
ROWS, OBJECTS, ABOUT = "rows.zip", "objects.jsonl.gz", "about.json"
FORMAT = 1
_ABANDONED = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTable:
    """columns, rows: that were copied. sha256: hex, of them as they lie in `rows.zip`."""

    name: str
    columns: tuple[str, ...]
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPart:
    """The rows of Heaters, or those of Dagster. revision: of its tables. sequences: name -> the last value that it gave."""

    revision: str
    tables: tuple[SavedTable, ...]
    sequences: dict[str, int]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class AboutBackup:
    """What a backup says of itself.

    made_at: ISO 8601, when its rows were read. heaters: the version that made it. parts: `heaters` and `dagster`. files: name -> its
    SHA-256 in hex. objects, object_bytes: that its rows need. missing: how many of them were not in the store. without_checksum: how many
    have none yet.
    secret_mark: by which the secret key of this installation is known again; it tells nothing of the key.
    """

    name: str
    made_at: str
    heaters: str
    parts: dict[str, SavedPart]
    files: dict[str, str]
    byte_size: int
    objects: int
    object_bytes: int
    missing: int
    without_checksum: int
    secret_mark: str
    format: int = FORMAT

    @property
    def sentence(self) -> str:
        rows = sum(part.rows for part in self.parts.values())
        return f"Backup {self.name}: {counted(rows, 'row')}, {counted(self.objects, 'object')} listed, {self.byte_size / 1e6:,.1f} MB."

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> AboutBackup:
        """Raises PermanentError when this Heaters cannot read it."""
        if not isinstance(data, dict):
            raise PermanentError(f"its {ABOUT} is not one of Heaters")
        if data.get("format") != FORMAT:
            raise PermanentError(
                f"it has format {data.get('format')}, and this Heaters reads format {FORMAT}: use the Heaters that made it"
            )
        try:
            parts = {
                name: SavedPart(
                    revision=part["revision"],
                    sequences=part["sequences"],
                    tables=tuple(SavedTable(**{**table, "columns": tuple(table["columns"])}) for table in part["tables"]),
                )
                for name, part in data["parts"].items()
            }
            return cls(**{**data, "parts": parts})
        except (KeyError, TypeError, AttributeError):
            raise PermanentError("its about.json is not one of Heaters") from None


class BackupPlace:
    """The backups in one folder or bucket. name: as people write it. bucket: None for a folder. Raises what ObjectStore raises."""

    def __init__(self, name: str, store: ObjectStore, prefix: str, bucket: str | None = None) -> None:
        self.name = name
        self.bucket = bucket
        self._store = store
        self._prefix = f"{prefix}{PREFIX}"

    @classmethod
    def of(cls, settings: Settings, place: str | None = None) -> BackupPlace:
        """place: a folder or `s3://bucket/prefix`; None: that of the settings. Raises SettingsError when there is none."""
        place = place or settings.backup_to
        if place == "none":
            raise SettingsError("HEATERS_BACKUP_TO=none: there is no place for backups. Set it, or name a folder or s3:// place with --to")
        if place is None:
            place = str(settings.home) if settings.object_bucket is None else f"s3://{settings.object_bucket}"
        if not place.startswith("s3://"):
            return cls(place, LocalObjectStore(Path(place).expanduser().resolve()), "")
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        return cls(place, open_bucket(settings, bucket), f"{prefix.strip('/')}/" if prefix.strip("/") else "", bucket)

    @classmethod
    def named(cls, settings: Settings, place: str | None) -> BackupPlace:
        """As `of`; but a folder `backups` that holds the backups themselves, as `folder` names it, means the place that it is in."""
        found = cls.of(settings, place)
        if place is None or found.names():
            return found
        above, _, last = place.rstrip("/").rpartition("/")
        if last != BACKUPS_PREFIX or above in {"", "s3:/"}:
            return found
        other = cls.of(settings, above)
        return other if other.names() else found

    @property
    def folder(self) -> str:
        """Where the backups lie, for people."""
        return f"{self.name.rstrip('/')}/{BACKUPS_PREFIX}"

    def names(self) -> list[str]:
        """The complete backups, oldest first."""
        return sorted(name for name, files in self._found().items() if ABOUT in files)

    def newest(self) -> str | None:
        return next(reversed(self.names()), None)

    def about(self, name: str) -> AboutBackup:
        """Raises NotFoundError when there is no complete backup of this name, PermanentError when it cannot be read."""
        if not is_backup_name(name) or self._store.info(self._key(name, ABOUT)) is None:
            there = ", ".join(self.names()[-5:]) or "none"
            raise NotFoundError(f"there is no backup {name!r} in {self.folder}; the newest ones there: {there}")
        try:
            about = AboutBackup.from_json(json.loads(self._store.get_bytes(self._key(name, ABOUT))))
            if about.name != name:
                raise PermanentError(f"it is backup {about.name} in a folder of another name: name the folder as the backup")
            return about
        except (ValueError, PermanentError) as error:
            why = error if isinstance(error, PermanentError) else f"its {ABOUT} is damaged. Take another backup"
            raise PermanentError(f"backup {name} in {self.folder} cannot be read: {why}") from None

    def put(self, about: AboutBackup, files: Sequence[Path]) -> None:
        """Publish a backup: its files, and last what makes it one."""
        for path in files:
            self._store.put_file(self._key(about.name, path.name), path)
        self._store.put_bytes(self._key(about.name, ABOUT), json.dumps(about.to_json(), indent=1).encode())

    def get(self, about: AboutBackup, file: str, folder: Path) -> Path:
        """One file of a backup, in `folder`. Raises PermanentError when its bytes are not those that were stored."""
        path = folder / file
        self._store.get_file(self._key(about.name, file), path)
        with path.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != about.files[file]:
                raise PermanentError(
                    f"{file} of backup {about.name} in {self.folder} is damaged: its checksum is wrong. Take another backup"
                )
        return path

    def thin_out(self, keep: Keep, now: datetime | None = None) -> list[str]:
        """Delete the backups that are not kept, and the remains of killed ones; returns the names of the former."""
        found = self._found()
        outdated = keep.outdated(name for name, files in found.items() if ABOUT in files)
        before = (now or datetime.now(UTC)) - _ABANDONED
        dead = [name for name, files in found.items() if ABOUT not in files and (made_at(name) or before) < before]
        for name in (*outdated, *dead):
            for file in sorted(found[name], key=lambda file: file != ABOUT):  # without it, it is no backup any more
                self._store.delete(self._key(name, file))
        return outdated

    def _found(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, file in self._files():
            found.setdefault(name, set()).add(file)
        return found

    def _files(self) -> Iterator[tuple[str, str]]:
        for info in self._store.list(self._prefix):
            name, _, file = info.key.removeprefix(self._prefix).partition("/")
            if is_backup_name(name) and file in {ROWS, OBJECTS, ABOUT}:
                yield name, file

    def _key(self, name: str, file: str) -> str:
        return f"{self._prefix}{name}/{file}"
