"""Proves a backup: loads it into a Postgres of its own, which is thrown away, and compares the objects that it needs with the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.settings import Settings
from resources.files.private_folder import private_home
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres import embedded_postgres
from resources.postgres.database import Database
from resources.upkeep.audit import coverage_problems
from resources.upkeep.backup import DAGSTER, HEATERS, listed_and_stored, stored_sha256
from resources.upkeep.backup_place import OBJECTS, ROWS, AboutBackup, BackupPlace
from resources.upkeep.restored_rows import Target, load_rows


@dataclass(slots=True, kw_only=True)
class Checked:
    """rows: by part, loaded and counted. objects: how many are there as they were; unread: of them, those without a checksum to compare.

    problems: one sentence each; none: the backup is good.
    """

    name: str
    rows: dict[str, int] = field(default_factory=dict)
    objects: int = 0
    unread: int = 0
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        of_parts = {f"{part}_rows": self.rows.get(part, 0) for part in (HEATERS, DAGSTER)}
        return {name: getattr(self, name) for name in ("name", "objects", "unread", "problems")} | of_parts


def check_backup(
    settings: Settings,
    objects: ObjectStore,
    place: BackupPlace,
    about: AboutBackup,
    *,
    make_dagster_tables: Callable[[str], None],
) -> Checked:
    """Check this backup. The databases in use are not touched. Raises what the stores raise.

    Objects that are the same as at the backup, by size and tag, are not read again; of others the checksum is computed.
    """
    checked = Checked(name=about.name)
    private_home(settings)
    with WorkFolder.of(settings).attempt("check-backup", bytes_needed=2 * about.byte_size) as folder:
        try:
            rows, listed = place.get(about, ROWS, folder), place.get(about, OBJECTS, folder)
            _check_rows(settings, about, rows, checked, make_dagster_tables)
        except HeatersError as error:
            checked.problems.append(str(error))
            return checked
        _check_objects(objects, listed, checked)
    return checked


def _check_rows(
    settings: Settings,
    about: AboutBackup,
    rows: Path,
    checked: Checked,
    make_dagster_tables: Callable[[str], None],
) -> None:
    scratch = settings.home / "backup_check"
    embedded_postgres.remove(scratch)  # of a check that was killed
    try:
        server = embedded_postgres.ensure_running(scratch, durable=False)
        with psycopg.connect(server, autocommit=True) as connection:
            for name in (HEATERS, DAGSTER):
                connection.execute(f"create database {name}".encode())
        heaters, dagster = (Database.connect(server.replace("/postgres?", f"/{name}?"), pool_size=1) for name in (HEATERS, DAGSTER))
        try:
            make_dagster_tables(server.replace("/postgres?", f"/{DAGSTER}?").replace("postgresql://", "postgresql+psycopg2://"))
            checked.rows = load_rows(Target(heaters, dagster), about, rows)
            checked.problems += coverage_problems(heaters)
        finally:
            heaters.dispose()
            dagster.dispose()
    finally:
        embedded_postgres.remove(scratch)


def _check_objects(objects: ObjectStore, listed: Path, checked: Checked) -> None:
    for one, info in listed_and_stored(listed, objects):
        if info is None:
            checked.problems.append(f"{one.key} is not in the object store")
        elif one.byte_size is not None and one.byte_size != info.byte_size:
            checked.problems.append(f"{one.key} had {one.byte_size:,} bytes when the backup was made and has {info.byte_size:,} now")
        elif one.sha256 is None:
            checked.objects += 1
            checked.unread += 1
        elif one.tag != info.tag and not info.needs_restore and stored_sha256(objects, one.key, info.byte_size) != one.sha256:
            checked.problems.append(f"{one.key} is not the object of the backup: its checksum is another one")
        else:
            checked.objects += 1
