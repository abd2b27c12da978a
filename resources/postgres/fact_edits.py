"""People change facts of a source video: in the ledger with before and after, undone and done again by their author."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import array

from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import NothingToUndoError, StaleClipError
from heaters_dagster.domain.fact_fields import FIELD_OF, change_words
from heaters_dagster.domain.review import LedgerEntry
from heaters_dagster.domain.source_facts import Origin, SourceFacts, json_of_value, value_of_json
from resources.postgres.database import Database
from resources.postgres.facts_store import facts_in, write_facts
from resources.postgres.row_locks import lock_reviewer
from resources.postgres.source_video_store import lock_source_video
from resources.postgres.tables import review_actions, reviewers

_own = review_actions.c


def edit_facts(
    source_video_id: int, changes: Mapping[str, Any], *, reviewer: str, database: Database, seen: Mapping[str, str] | None = None
) -> tuple[SourceFacts, int | None]:
    """(the facts afterwards, the action in the ledger; None when nothing was changed).

    changes: name of a fact -> its new value, None or empty for one that is not known any more. From now on only people change these.
    reviewer: a name that the caller has checked. seen: name -> what was known, as text, when the person began to write; None: what is
    there is overwritten unseen. Raises NotFoundError, StaleClipError when somebody has changed one of these facts since.
    """
    with database.begin() as connection:
        by = lock_reviewer(connection, reviewer).id
        lock_source_video(connection, source_video_id)
        known, origins = facts_in(connection, source_video_id)
        wanted = {name: value for name, value in changes.items() if value != getattr(known, name)}
        if not wanted:
            return known, None
        now = {name: FIELD_OF[name].text(known) for name in wanted}
        unseen = [name for name, text in now.items() if seen is not None and text != seen[name]]
        if unseen:
            who = _who_changed(connection, source_video_id, unseen)
            told = change_words({name: json_of_value(getattr(known, name)) for name in unseen})
            raise StaleClipError(f"{who} has changed the same facts meanwhile, to {told}. Save again to put yours in their place")
        facts = write_facts(connection, source_video_id, wanted, dict.fromkeys(wanted, Origin.PERSON.value))
        details = {"before": _told(known, wanted, origins), "after": _told(facts, wanted, dict.fromkeys(wanted, Origin.PERSON.value))}
        return facts, _record(connection, ReviewAction.EDIT_FACTS, by, source_video_id, details)


def edit_called(connection: Connection, action_id: int) -> Mapping[str, Any] | None:
    """The details of the action, when it is a change of facts; None for every other action."""
    query = select(_own.details).where(_own.id == action_id, _own.action == ReviewAction.EDIT_FACTS.value)
    row = connection.execute(query).first()
    return None if row is None else dict(row.details["facts"])


def returned(
    connection: Connection, entry: LedgerEntry, details: Mapping[str, Any], action: ReviewAction, *, by: int, request_key: str | None
) -> int:
    """Undo or redo a change of facts; returns the new action.

    Raises NothingToUndoError when it is undone or redone already, StaleClipError when somebody has changed one of its facts since.
    """
    undoes = action is ReviewAction.UNDO
    if entry.undone == undoes:
        raise NothingToUndoError(f"action {entry.id} {'is already undone' if undoes else 'was not undone, so it cannot be redone'}")
    left, wanted = (details["after"], details["before"]) if undoes else (details["before"], details["after"])
    lock_source_video(connection, entry.source_video_id)
    known, origins = facts_in(connection, entry.source_video_id)
    now = _told(known, left["values"], origins)
    changed = [name for name, value in left["values"].items() if now["values"][name] != value]
    if changed:
        who, labels = _who_changed(connection, entry.source_video_id, changed), ", ".join(FIELD_OF[name].label.lower() for name in changed)
        raise StaleClipError(f"cannot {action} action {entry.id}: {who} has changed {labels} since; change the facts themselves")
    values = {name: value_of_json(name, value) for name, value in wanted["values"].items()}
    facts = write_facts(connection, entry.source_video_id, values, wanted["origins"])
    told = {"before": now, "after": _told(facts, values, wanted["origins"])}
    made = _record(connection, action, by, entry.source_video_id, told, target=entry.id, request_key=request_key)
    connection.execute(review_actions.update().where(_own.id == entry.id).values(undone=undoes))
    return made


def _told(facts: SourceFacts, names: Mapping[str, Any], origins: Mapping[str, str | None]) -> dict[str, Any]:
    """As the ledger has them: values and who said them, by name."""
    return {
        "values": {name: json_of_value(getattr(facts, name)) for name in names},
        "origins": {name: origins.get(name) for name in names},
    }


def _who_changed(connection: Connection, source_video_id: int, names: Sequence[str]) -> str:
    """Who was the last person to change one of these facts."""
    query = (
        select(reviewers.c.name)
        .join_from(review_actions, reviewers)
        .where(_own.source_video_id == source_video_id, _own.details["facts"]["after"]["values"].has_any(array(names)))
        .order_by(_own.id.desc())
    )
    return str(connection.scalar(query) or "the pipeline")


def _record(
    connection: Connection,
    action: ReviewAction,
    by: int,
    source_video_id: int,
    facts: Mapping[str, Any],
    *,
    target: int | None = None,
    request_key: str | None = None,
) -> int:
    row: dict[str, Any] = {
        "reviewer_id": by,
        "source_video_id": source_video_id,
        "action": action.value,
        "clip_ids": [],
        "before": {},
        "after": {},
        "target_action_id": target,
        "request_key": request_key,
        "details": {"facts": dict(facts)},
        "created_at": func.clock_timestamp(),
    }
    return int(connection.execute(review_actions.insert().values(**row).returning(_own.id)).scalar_one())
