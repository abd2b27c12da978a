"""What belongs to source videos, one row each, and who said which of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.source_facts import Chapter, Origin, SourceFacts
from resources.postgres import row_locks
from resources.postgres.conditions import among
from resources.postgres.database import Database
from resources.postgres.ingest_tables import source_video_facts

_row = source_video_facts.c
_NAMES = tuple(spec.name for spec in fields(SourceFacts))


class FactsStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, source_video_id: int) -> SourceFacts:
        """What is known of a source video; empty when nothing is."""
        return self.load_all([source_video_id]).get(source_video_id, SourceFacts())

    def with_origins(self, source_video_id: int) -> tuple[SourceFacts, dict[str, str]]:
        """(what is known, name of a fact -> who said it)."""
        with self._database.read() as connection:
            return facts_in(connection, source_video_id)

    def load_all(self, source_video_ids: Collection[int]) -> dict[int, SourceFacts]:
        """Source video id -> what is known, of those of which something is."""
        with self._database.read() as connection:
            rows = connection.execute(select(source_video_facts).where(among(_row.source_video_id, source_video_ids))).all()
        return {row.source_video_id: facts_of_row(row._mapping) for row in rows}

    def put(self, source_video_id: int, facts: SourceFacts, origin: Origin) -> SourceFacts:
        """Keep what `origin` says, but for what somebody said who is believed before it. Returns what is known then."""
        with self._database.begin() as connection:
            return put_facts(connection, source_video_id, facts, origin)


def put_facts(connection: Connection, source_video_id: int, facts: SourceFacts, origin: Origin) -> SourceFacts:
    """As `FactsStore.put`, in a transaction that is open. The row of the source video is locked."""
    said = facts.cleaned().said()
    if said:
        row_locks.lock_source_video(connection, source_video_id)
    known = connection.execute(select(source_video_facts).where(_row.source_video_id == source_video_id)).first()
    origins: dict[str, str] = dict(known.origins) if known is not None else {}
    taken = {name: value for name, value in said.items() if name not in origins or origin.rank <= Origin(origins[name]).rank}
    if not taken:
        return SourceFacts() if known is None else facts_of_row(known._mapping)
    values = {
        **_columns(taken),
        "origins": {**origins, **dict.fromkeys(taken, origin.value)},
        "updated_at": func.clock_timestamp(),
    }
    row = insert(source_video_facts).values(source_video_id=source_video_id, **values)
    written = row.on_conflict_do_update(index_elements=[_row.source_video_id], set_=values).returning(source_video_facts)
    return facts_of_row(connection.execute(written).one()._mapping)


def qualities_of(connection: Connection, source_video_ids: Collection[int]) -> dict[int, Mapping[str, Any]]:
    """Source video id -> what a site offered and what was taken, where a site did."""
    query = select(_row.source_video_id, _row.quality).where(among(_row.source_video_id, source_video_ids), _row.quality.is_not(None))
    return {row.source_video_id: row.quality for row in connection.execute(query)}


def facts_in(connection: Connection, source_video_id: int) -> tuple[SourceFacts, dict[str, str]]:
    """(what is known, name of a fact -> who said it), in a transaction that is open."""
    row = connection.execute(select(source_video_facts).where(_row.source_video_id == source_video_id)).first()
    return (SourceFacts(), {}) if row is None else (facts_of_row(row._mapping), dict(row.origins))


def write_facts(connection: Connection, source_video_id: int, values: Mapping[str, Any], origins: Mapping[str, str | None]) -> SourceFacts:
    """Write facts, whoever said them before, in a transaction that has locked the source video.

    values: name -> value, None or empty for what is not known. origins: who says it now; None: nobody.
    """
    _, known = facts_in(connection, source_video_id)
    said = {name: origin for name, origin in {**known, **origins}.items() if origin is not None}
    columns = {**_columns(values), "origins": said, "updated_at": func.clock_timestamp()}
    row = insert(source_video_facts).values(source_video_id=source_video_id, **columns)
    written = row.on_conflict_do_update(index_elements=[_row.source_video_id], set_=columns).returning(source_video_facts)
    return facts_of_row(connection.execute(written).one()._mapping)


def forget_thumbnail(source_video_id: int, database: Database) -> None:
    """Say that a source video has no thumbnail."""
    with database.begin() as connection:
        row_locks.lock_source_video(connection, source_video_id)
        of_video = _row.source_video_id == source_video_id
        connection.execute(source_video_facts.update().where(of_video).values(thumbnail_filepath=None))


def add_facts(connection: Connection, facts: Mapping[int, SourceFacts], origin: Origin) -> None:
    """The first facts of source videos that were added in this transaction, all that say the same kinds of things in one statement."""
    alike: dict[frozenset[str], list[dict[str, Any]]] = {}
    for source_video_id, one in facts.items():
        said = one.cleaned().said()
        if said:
            row = {**_columns(said), "source_video_id": source_video_id, "origins": dict.fromkeys(said, origin.value)}
            alike.setdefault(frozenset(said), []).append(row)
    for rows in alike.values():
        connection.execute(source_video_facts.insert(), rows)


def add_unsaid(connection: Connection, source_video_id: int, facts: SourceFacts) -> tuple[str, ...]:
    """Keep what a submitter says, as far as neither a person nor another submitter has said it; returns the names of what is new.

    The row of the source video is locked.
    """
    _, origins = facts_in(connection, source_video_id)
    rank = Origin.SUBMISSION.rank
    names = [name for name in facts.said() if name not in origins or Origin(origins[name]).rank > rank]
    put_facts(connection, source_video_id, facts.only(names), Origin.SUBMISSION)
    return tuple(names)


def facts_of_row(row: RowMapping) -> SourceFacts:
    """A row of `source_video_facts`, whichever query it came from."""
    values = {name: row[name] for name in _NAMES}
    chapters = tuple(Chapter(**one) for one in values["chapters"])
    return SourceFacts(**{**values, "tags": tuple(values["tags"]), "chapters": chapters})


def _columns(facts: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(facts)
    if "tags" in values:
        values["tags"] = list(values["tags"])
    if "chapters" in values:
        values["chapters"] = [asdict(one) for one in values["chapters"]]
    return values
