"""How much lies in the object store, by kind and storage class: listed now and then and kept, because a listing of a bucket takes a while
and costs money."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from heaters_dagster.domain.keys import PREFIXES
from resources.object_store.interface import ObjectStore
from resources.postgres.database import Database
from resources.postgres.knowing_tables import stored_bytes

#: A little less than a day: it is asked every hour.
_FRESH = timedelta(hours=23)


@dataclass(frozen=True, slots=True)
class Stored:
    """kind: what the keys begin with. storage_class: S3's name for it. counted_at: when the store was listed."""

    kind: str
    storage_class: str
    objects: int
    bytes: int
    counted_at: datetime


def load_stored(connection: Connection) -> list[Stored]:
    """The sums of the last listing; empty before the first one."""
    return [Stored(**row._mapping) for row in connection.execute(select(stored_bytes))]


def count_stored(database: Database, objects: ObjectStore, *, older_than: timedelta = _FRESH) -> int | None:
    """List the store and keep the sums; returns how many objects there are. None when they were counted a short time ago."""
    with database.read() as connection:
        age: timedelta | None = connection.scalar(select(func.now() - func.max(stored_bytes.c.counted_at)))
    if age is not None and age < older_than:
        return None
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for prefix in PREFIXES:
        for found in objects.list(prefix):
            key = (prefix.rstrip("/"), found.storage_class)
            count, size = sums.get(key, (0, 0))
            sums[key] = (count + 1, size + found.byte_size)
    rows = [
        {"kind": kind, "storage_class": storage_class, "objects": count, "bytes": size}
        for (kind, storage_class), (count, size) in sorted(sums.items())
    ] or [{"kind": PREFIXES[0].rstrip("/"), "storage_class": "STANDARD", "objects": 0, "bytes": 0}]
    with database.begin() as connection:
        connection.execute(stored_bytes.delete())
        connection.execute(stored_bytes.insert(), rows)
    return sum(row["objects"] for row in rows if isinstance(row["objects"], int))
