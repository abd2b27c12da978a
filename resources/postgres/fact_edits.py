"""People change facts of a source video: in the ledger with before and after, undone and done again by their author."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import array, insert

from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import BadRequestError, NotFoundError, NothingToUndoError, StaleClipError
from heaters_dagster.domain.fact_fields import FIELD_OF, SUBTITLES, THUMBNAIL, change_words, fact_words, subtitles_name
from heaters_dagster.domain.review import LedgerEntry
from heaters_dagster.domain.source_facts import Origin, SourceFacts, json_of_value, value_of_json
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.domain.subtitles import MOST_FILES, SubtitleFile
from heaters_dagster.event_log import tell_when_committed
from resources.postgres.database import Database
from resources.postgres.facts_store import facts_in, write_facts
from resources.postgres.ingest_tables import given_thumbnails, transcripts
from resources.postgres.row_locks import lock_reviewer
from resources.postgres.source_video_store import SourceVideo, lock_source_video
from resources.postgres.tables import review_actions, reviewers
from resources.postgres.transcript_store import Transcript, add_transcript, live_transcripts, make_live, transcript_with_key

_own = review_actions.c
_OF_TIMECODE = ("start_timecode", "timecode_rate")


def edit_facts(
    source_video_id: int, changes: Mapping[str, Any], *, reviewer: str, database: Database, seen: Mapping[str, str] | None = None
) -> tuple[SourceFacts, int | None]:
    """(the facts afterwards, the action in the ledger; None when nothing was changed).

    changes: name of a fact -> its new value, None or empty for one that is not known any more. From now on only people change these.
    reviewer: a name that the caller has checked. seen: name -> what was known, as text, when the person began to write; None: what is
    there is overwritten unseen. Raises NotFoundError, StaleClipError when somebody has changed one of these facts since, BadRequestError
    for a timecode that there is not at its rate.
    """
    with database.begin() as connection:
        by = lock_reviewer(connection, reviewer).id
        video = lock_source_video(connection, source_video_id)
        known, _ = facts_in(connection, source_video_id)
        wanted = {name: value for name, value in changes.items() if value != getattr(known, name)}
        if not wanted:
            return known, None
        now = {name: FIELD_OF[name].text(known) for name in wanted}
        unseen = [name for name, text in now.items() if seen is not None and text != seen[name]]
        if unseen:
            raise _stale(connection, source_video_id, {name: json_of_value(getattr(known, name)) for name in unseen})
        if not wanted.keys().isdisjoint(_OF_TIMECODE):
            replace(known, **{name: value for name, value in wanted.items() if name in _OF_TIMECODE}).source_time(video.frame_rate)
        action = _changed(connection, by, source_video_id, {name: json_of_value(value) for name, value in wanted.items()})
        return facts_in(connection, source_video_id)[0], action


def returned(connection: Connection, entry: LedgerEntry, action: ReviewAction, *, by: int, request_key: str | None) -> int:
    """Undo or redo a change of facts; returns the new action.

    Raises NothingToUndoError when it is undone or redone already, StaleClipError when somebody has changed one of its facts since.
    """
    undoes = action is ReviewAction.UNDO
    if entry.undone == undoes:
        raise NothingToUndoError(f"action {entry.id} {'is already undone' if undoes else 'was not undone, so it cannot be redone'}")
    details = connection.execute(select(_own.details["facts"]).where(_own.id == entry.id)).scalar_one()
    left, wanted = (details["after"], details["before"]) if undoes else (details["before"], details["after"])
    lock_source_video(connection, entry.source_video_id)
    now = _told(connection, entry.source_video_id, left["values"])
    changed = [name for name, value in left["values"].items() if not _is_same(name, now["values"][name], value)]
    if changed:
        who, labels = _who_changed(connection, entry.source_video_id, changed), ", ".join(map(fact_words, changed))
        raise StaleClipError(f"cannot {action} action {entry.id}: {who} has changed {labels} since; change the facts themselves")
    _write(connection, entry.source_video_id, wanted["values"], wanted["origins"])
    told = {"before": now, "after": _told(connection, entry.source_video_id, wanted["values"])}
    made = _record(connection, action, by, entry.source_video_id, told, target=entry.id, request_key=request_key)
    connection.execute(review_actions.update().where(_own.id == entry.id).values(undone=undoes))
    return made


def put_subtitles(
    source_video_id: int,
    key: str,
    file: SubtitleFile,
    *,
    reviewer: str,
    database: Database,
    seen: Collection[int] | None,
) -> tuple[list[Transcript], int | None]:
    """Make a file the subtitles that people wrote in its language: (those in whose place it is, the action; None: it was there already).

    key: of the object. seen: ids of the subtitles in this language that the person knows of; None: what is there is overwritten unseen.
    The object is there, and stays while the caller has the turn of `given_files_turn`.
    Raises NotFoundError, BadRequestError, StaleClipError when somebody has changed the subtitles in this language since.
    """
    name = subtitles_name(file.language)
    with database.begin() as connection:
        by = lock_reviewer(connection, reviewer).id
        check_fetched(lock_source_video(connection, source_video_id))
        before = live_transcripts(connection, source_video_id, name)
        _check_seen(connection, source_video_id, name, before, seen)
        given = transcript_with_key(connection, key)
        if given is not None and any(one.id == given for one in before):
            return [], None
        kept = [one for one in before if one.kind != file.kind]
        if len(live_transcripts(connection, source_video_id)) - (len(before) - len(kept)) >= MOST_FILES:
            raise BadRequestError(f"source video {source_video_id} has {MOST_FILES} subtitle files, which is the most; take one away first")
        if given is None:
            given = add_transcript(connection, source_video_id, key, file, is_live=False)
        action = _changed_subtitles(connection, by, source_video_id, name, [*(one.id for one in kept), given])
        return [one for one in before if one.kind == file.kind], action


def take_subtitles(source_video_id: int, transcript_ids: Collection[int], *, reviewer: str, database: Database) -> int:
    """Take subtitles away, all in one language; returns the action. Raises NotFoundError, StaleClipError when one of them is gone."""
    with database.begin() as connection:
        by = lock_reviewer(connection, reviewer).id
        check_fetched(lock_source_video(connection, source_video_id))
        chosen = [one for one in live_transcripts(connection, source_video_id) if one.id in transcript_ids]
        names = {subtitles_name(one.language) for one in chosen}
        if len(chosen) != len(set(transcript_ids)) or len(names) != 1:
            raise StaleClipError("somebody has taken these subtitles away, or replaced them, meanwhile: look at the source video again")
        (name,) = names
        left = [one.id for one in live_transcripts(connection, source_video_id, name) if one not in chosen]
        return _changed_subtitles(connection, by, source_video_id, name, left)


def given_files_turn(source_video_id: int) -> str:
    """The name of the turn (`Database.turn`) of whoever stores or deletes files that people give to a source video."""
    return f"given files of source video {source_video_id}"


def put_thumbnail(source_video_id: int, key: str | None, *, reviewer: str, database: Database, seen: str | None) -> int | None:
    """Make an object the thumbnail, or take it away; returns the action, None when nothing was changed.

    key: of the object; None: take it away. seen: key of the thumbnail that the person knows of. Object, errors: see `put_subtitles`.
    """
    with database.begin() as connection:
        by = lock_reviewer(connection, reviewer).id
        check_fetched(lock_source_video(connection, source_video_id))
        known = facts_in(connection, source_video_id)[0].thumbnail_filepath
        if key == known:
            return None
        if seen != known:
            raise _stale(connection, source_video_id, {THUMBNAIL: known})
        keys = [{"thumbnail_filepath": one, "source_video_id": source_video_id} for one in (known, key) if one is not None]
        connection.execute(insert(given_thumbnails).on_conflict_do_nothing(), keys)
        return _changed(connection, by, source_video_id, {THUMBNAIL: key})


def named_files(connection: Connection, source_video_id: int) -> set[str]:
    """Keys of the subtitles and thumbnails of a source video that it has, or that an undo may bring back."""
    subtitles = select(transcripts.c.subtitle_filepath).where(transcripts.c.source_video_id == source_video_id)
    pictures = select(given_thumbnails.c.thumbnail_filepath).where(given_thumbnails.c.source_video_id == source_video_id)
    return {*connection.scalars(subtitles), *connection.scalars(pictures)}


def check_fetched(video: SourceVideo) -> None:
    """Raises NotFoundError, BadRequestError when its file is not there yet."""
    if video.state is SourceVideoState.DELETED:
        raise NotFoundError(f"source video {video.id} was deleted")
    if video.original_filepath is None:
        raise BadRequestError(f"source video {video.id} is not fetched yet: give it subtitles and a thumbnail once its file is there")


def _check_seen(connection: Connection, source_video_id: int, name: str, now: Sequence[Transcript], seen: Collection[int] | None) -> None:
    if seen is not None and {one.id for one in now} != set(seen):
        raise _stale(connection, source_video_id, {name: _heads(now)})


def _stale(connection: Connection, source_video_id: int, now: Mapping[str, Any]) -> StaleClipError:
    who = _who_changed(connection, source_video_id, list(now))
    return StaleClipError(f"{who} has changed the same facts meanwhile, to {change_words(now)}. Save again to put yours in their place")


def _changed_subtitles(connection: Connection, by: int, source_video_id: int, name: str, ids: Sequence[int]) -> int:
    return _changed(connection, by, source_video_id, {name: [{"id": one} for one in ids]})


def _changed(connection: Connection, by: int, source_video_id: int, values: Mapping[str, Any]) -> int:
    """Write values of facts, as the ledger has them, and record it."""
    before = _told(connection, source_video_id, values)
    _write(connection, source_video_id, values, dict.fromkeys(values, Origin.PERSON.value))
    details = {"before": before, "after": _told(connection, source_video_id, values)}
    return _record(connection, ReviewAction.EDIT_FACTS, by, source_video_id, details)


def _write(connection: Connection, source_video_id: int, values: Mapping[str, Any], origins: Mapping[str, str | None]) -> None:
    """values: as the ledger has them."""
    for name in values:
        if name.startswith(SUBTITLES) and not make_live(connection, source_video_id, name, [one["id"] for one in values[name]]):
            raise StaleClipError(f"the {fact_words(name)} were fetched anew since, so those of before are gone; give them again as a file")
    plain = {name: value_of_json(name, value) for name, value in values.items() if not name.startswith(SUBTITLES)}
    write_facts(connection, source_video_id, plain, origins)


def _told(connection: Connection, source_video_id: int, names: Iterable[str]) -> dict[str, Any]:
    """As the ledger has them: values and who said them, by name."""
    facts, origins = facts_in(connection, source_video_id)
    values = {}
    for name in names:
        of_language = name.startswith(SUBTITLES)
        values[name] = _heads(live_transcripts(connection, source_video_id, name)) if of_language else json_of_value(getattr(facts, name))
    return {"values": values, "origins": {name: origins.get(name) for name in values}}


def _heads(known: Iterable[Transcript]) -> list[dict[str, Any]]:
    return [{"id": one.id, "called": one.called, "lines": one.line_count} for one in known]


def _is_same(name: str, one: Any, other: Any) -> bool:
    return {head["id"] for head in one} == {head["id"] for head in other} if name.startswith(SUBTITLES) else bool(one == other)


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
    tell_when_committed(connection, action.value, source_video_id=source_video_id, reviewer_id=by)
    return int(connection.execute(review_actions.insert().values(**row).returning(_own.id)).scalar_one())
