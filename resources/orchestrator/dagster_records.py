"""Finds and removes secrets that older versions of Heaters left in the database.

Before 0.2 the settings were configuration of Dagster's resources, so every snapshot of a job contained them (packed), and the reasons of
failed downloads contained the whole address with its password. New records contain neither.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from heaters_dagster.domain.secrets import HIDDEN, access_in, without_access
from heaters_dagster.settings import Settings, secret_setting_names
from resources.postgres.database import Database, dagster_database_url

_PAGE_ROWS = 500
_SHORTEST_VALUE = 8
_REASONS = (("source_videos", "error"), ("source_videos", "gold_master_error"), ("clips", "error"))
#: Text that may hold a password or a key, for Python and for Postgres; matches are then examined more closely.
_MAY_GIVE_ACCESS = "://[^/?#[:space:]\"'<>]*@|[?&#;][][A-Za-z0-9_.%-]+="


@dataclass(frozen=True, slots=True)
class SecretsFound:
    """How many records hold secrets. settings: names of the settings whose values were found. source_videos: ids of source videos with a
    password or a key in their address, which other records contain too."""

    snapshots: int = 0
    events: int = 0
    others: int = 0
    reasons: int = 0
    settings: tuple[str, ...] = ()
    source_videos: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.snapshots or self.events or self.others or self.reasons)

    def __str__(self) -> str:
        counts = {
            "Dagster's job snapshots": self.snapshots,
            "Dagster's events": self.events,
            "other records of Dagster": self.others,
            "reasons of failures": self.reasons,
        }
        return ", ".join(f"{count} of {what}" for what, count in counts.items() if count)


def find_secrets(settings: Settings, database: Database) -> SecretsFound:
    """Find the secrets that older versions left; nothing is changed."""
    return _each(settings, database, clean=False)


def clean_secrets(settings: Settings, database: Database) -> SecretsFound:
    """Write *** over every secret that is found, also in places that only people fill (the configuration of a run started by hand)."""
    return _each(settings, database, clean=True)


def _each(settings: Settings, database: Database, *, clean: bool) -> SecretsFound:
    addresses = _addresses_with_access(database)
    given = {part for parts in addresses.values() for part in parts}
    records = Database.connect(dagster_database_url(settings), pool_size=1)
    try:
        with records.begin() as connection:
            if connection.scalar(text("select to_regclass('snapshots')")) is None:
                return SecretsFound()
            snapshots, names = _in_snapshots(connection, settings, clean=clean)
            events, told = _in_events(connection, given, clean=clean) if given else (0, set())
            others = _by_value(connection, settings) if clean else 0
    finally:
        records.dispose()
    with database.begin() as connection:
        reasons = sum(_in_texts(connection, table, column, clean=clean) for table, column in _REASONS)
    ids = tuple(sorted(one for one, parts in addresses.items() if told & set(parts)))
    return SecretsFound(snapshots, events, others, reasons, tuple(sorted(names)), ids)


def _in_snapshots(connection: Connection, settings: Settings, *, clean: bool) -> tuple[int, set[str]]:
    found = 0
    names: set[str] = set()
    for row_id, body in _pages(connection, "select id, snapshot_body from snapshots where id > :after order by id limit :rows"):
        cleaned, in_this = cleaned_snapshot(bytes(body), settings)
        if cleaned is not None:
            found, names = found + 1, names | in_this
            if clean:
                connection.execute(text("update snapshots set snapshot_body = :body where id = :id"), {"body": cleaned, "id": row_id})
    return found, names


def cleaned_snapshot(body: bytes, settings: Settings) -> tuple[bytes | None, set[str]]:
    """(the packed snapshot without secrets, names of the settings whose values it contained); (None, nothing) when it contained none."""
    try:
        packed = zlib.decompress(body)
    except zlib.error:
        packed = body
    written = packed.decode()
    values = [value for value in settings.secrets() if len(value) >= _SHORTEST_VALUE]
    if "HEATERS_" not in written and not any(value in written for value in values):
        return None, set()
    names: set[str] = set()
    tree = json.loads(written)
    cleaned = _cleaned(tree, values, names)
    return (None, set()) if cleaned == tree else (zlib.compress(json.dumps(cleaned).encode()), names)


def _cleaned(value: Any, values: list[str], names: set[str]) -> Any:
    if isinstance(value, dict):
        return {name: _setting(name, one, names) or _cleaned(one, values, names) for name, one in value.items()}
    if isinstance(value, list):
        return [_cleaned(one, values, names) for one in value]
    if not isinstance(value, str):
        return value
    if value.startswith(("{", "[")) and "HEATERS_" in value:  # a default is JSON within JSON
        try:
            inner = json.loads(value)
        except ValueError:
            pass
        else:
            cleaned = _cleaned(inner, values, names)
            return value if cleaned == inner else json.dumps(cleaned)
    for one in values:
        value = value.replace(one, HIDDEN)
    return value


def _setting(name: str, value: object, names: set[str]) -> str | None:
    """The replacement for this value when it belongs to one of Heaters' secret settings, present value or not; else None."""
    if not isinstance(value, str) or not name.startswith("HEATERS_"):
        return None
    shown = HIDDEN if name in secret_setting_names() else without_access(value)
    if not value or shown == value:
        return None
    names.add(name)
    return shown


def _in_events(connection: Connection, given: set[str], *, clean: bool) -> tuple[int, set[str]]:
    query = "select id, event from event_logs where id > :after and event ~ :pattern order by id limit :rows"
    found = 0
    told: set[str] = set()
    for row_id, event in _pages(connection, query, pattern=_MAY_GIVE_ACCESS):
        in_this = given & set(access_in(event))
        if in_this:
            found, told = found + 1, told | in_this
            if clean:
                connection.execute(
                    text("update event_logs set event = :event where id = :id"), {"event": without_access(event), "id": row_id}
                )
    return found, told


def _in_texts(connection: Connection, table: str, column: str, *, clean: bool) -> int:
    query = f"select id, {column} from {table} where id > :after and {column} ~ :pattern order by id limit :rows"
    found = 0
    for row_id, said in _pages(connection, query, pattern=_MAY_GIVE_ACCESS):
        shown = without_access(said)
        if shown != said:
            found += 1
            if clean:
                connection.execute(text(f"update {table} set {column} = :shown where id = :id"), {"shown": shown, "id": row_id})
    return found


def _by_value(connection: Connection, settings: Settings) -> int:
    """Replace the present secret values in every text of Dagster's tables."""
    columns = connection.execute(
        text(
            "select table_name, column_name from information_schema.columns"
            " where table_schema = current_schema() and data_type in ('text', 'character varying')"
        )
    ).all()
    changed = 0
    for value in settings.secrets():
        if len(value) < _SHORTEST_VALUE:
            continue
        for table, column in columns:
            update = f'update "{table}" set "{column}" = replace("{column}", :value, :hidden) where position(:value in "{column}") > 0'
            changed += connection.execute(text(update), {"value": value, "hidden": HIDDEN}).rowcount
    return changed


def _addresses_with_access(database: Database) -> dict[int, list[str]]:
    """Id of a source video -> the secret in its address, for source videos that have one."""
    query = "select id, source from source_videos where id > :after and source ~ :pattern order by id limit :rows"
    with database.read() as connection:
        found = {row_id: access_in(source) for row_id, source in _pages(connection, query, pattern=_MAY_GIVE_ACCESS)}
    return {row_id: parts for row_id, parts in found.items() if parts}


def _pages(connection: Connection, query: str, **parameters: Any) -> Iterator[tuple[int, Any]]:
    """The rows (id, value) of a query, page by page."""
    after = 0
    while rows := connection.execute(text(query), {"after": after, "rows": _PAGE_ROWS, **parameters}).all():
        yield from ((int(row_id), value) for row_id, value in rows)
        after = int(rows[-1][0])


def advice(found: SecretsFound, settings: Settings, renew_signing_key: Callable[[], bool]) -> str:
    """What a person has to do after the cleaning, in sentences: everybody who could read the records may know the secrets."""
    said = [
        f"removed: {found}. Everybody who reached the Dagster UI or the database could read these secrets, and older copies of the "
        "database still hold them"
    ]
    if "HEATERS_DATABASE_URL" in found.settings:
        said.append("change the password of the database and HEATERS_DATABASE_URL")
    if "HEATERS_SECRET_KEY" in found.settings:
        said.append("set HEATERS_SECRET_KEY to a new value")
    if (found.snapshots or found.others) and renew_signing_key():
        said.append(
            f"the key under {settings.home} that signs links and sessions is new: restart heaters up; everybody has to reload their pages"
        )
    if found.source_videos:
        ids = ", ".join(map(str, found.source_videos))
        said.append(f"the addresses of source videos {ids} contain passwords or keys: change these on the servers of those addresses")
    return ". ".join(one[0].upper() + one[1:] if number else one for number, one in enumerate(said)) + "."
