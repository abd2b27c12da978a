"""The exports of a clip: its first one, of the profile in `clips.export_profile`, and further ones beside it. Each has a row.

The first export is the stage `exports` of the clip's own states: what follows, keyframes and search, is made from it. Its row is written
when it is made. A further export touches nothing of the clip: its row says how far it is, and it is due as soon as the clip has its first
file. Each has a key of its own, so they never take each other's place.

When a clip loses its files, because it was cut anew, skipped or archived, the row of its first export goes and the others are `asked`
again: approve the clip, or undo, and all of them are made of what it is then. Each function runs in the caller's transaction, under the
clip's row lock; whoever writes objects holds `Database.stage_lock("exports", source_video_id)`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    distinct,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    union,
)
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.due import attempts_after_failure
from heaters_dagster.domain.export_profile import TRIMMED, WITHOUT_TRANSITIONS, ExportProfile, ExportState, MadeFrom
from heaters_dagster.domain.keys import final_clip_keys
from heaters_dagster.domain.stages import EXPORTS, FURTHER_EXPORTS, MAX_ATTEMPTS, WorkState, states_from
from heaters_dagster.domain.states import APPROVED_STATES
from heaters_dagster.domain.transitions import BEFORE_EXPORT
from heaters_dagster.registries import EXPORT_PROFILES
from resources.postgres.clip_files import MadeObject, begin_writing, keep_file
from resources.postgres.clip_rows import CLIP, Clip, clip_of_row
from resources.postgres.conditions import among
from resources.postgres.master_restores import waiting_for_master
from resources.postgres.row_locks import lock_clips
from resources.postgres.tables import clip_artifacts, clip_exports, clips, source_videos

_own = clip_exports.c
_S = ExportState
#: Joined with clips: made or to be made beside the first export.
IS_FURTHER = _own.profile != clips.c.export_profile


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipExport:
    """One row of `clip_exports` with what its object is.

    attempts: failed tries. key: object key; None while there is no file and none is being made. version: `cut_point_version` of the clip
    that the file was made from; made_at, byte_size, manifest: of the file, None, None and empty while there is none. made_with: the profile
    and the file that it was made from, None when it was made before this was kept.
    """

    clip_id: int
    profile: str
    state: ExportState
    attempts: int
    error: str | None
    key: str | None
    version: int | None
    asked_at: datetime
    changed_at: datetime
    made_at: datetime | None
    made_with: str | None
    byte_size: int | None
    manifest: Mapping[str, Any]

    @property
    def has_file(self) -> bool:
        return self.made_at is not None


# What is due


def is_open() -> ColumnElement[bool]:
    """Condition on `clip_exports` joined with clips: a further export that is to be made, was begun, or may be tried again."""
    return and_(_IS_OPEN, clips.c.is_live, ~clips.c.is_virtual, IS_FURTHER)


def waits_for_gold_master(profile: ColumnElement[str]) -> ColumnElement[bool]:
    """Condition on a row of `clips`: an export of `profile` needs the gold master, which is to be made or to come from cold storage.

    Also while nobody has agreed to what that costs.
    """
    video = source_videos.c
    is_to_be_made = and_(
        video.gold_master_filepath.is_(None), video.gold_master_attempts < MAX_ATTEMPTS, video.original_filepath.is_not(None)
    )
    is_asked_for = video.id.in_(waiting_for_master())
    return profile.in_(_profiles_from_gold_master()) & exists().where(video.id == clips.c.source_video_id, is_to_be_made | is_asked_for)


def first_waits_for_gold_master() -> ColumnElement[bool]:
    """Condition on `clips`: it is approved and has no file yet, because its first export waits as above."""
    return clips.c.state.in_(sorted(BEFORE_EXPORT)) & waits_for_gold_master(clips.c.export_profile)


def waiting_for_gold_master(*conditions: ColumnElement[bool]) -> Select[Any]:
    """(source_video_id, clip_id) of live clips with an export that waits as above. conditions: on `clips`."""
    columns = (clips.c.source_video_id, clips.c.id.label("clip_id"))
    first = select(*columns).where(clips.c.is_live, first_waits_for_gold_master(), *conditions)
    further = select(*columns).join_from(clip_exports, clips, clips.c.id == _own.clip_id)
    is_wanted = and_(_TO_MAKE, clips.c.is_live, clips.c.state.in_(sorted(APPROVED_STATES)), IS_FURTHER)
    further = further.where(is_wanted, waits_for_gold_master(_own.profile), *conditions)
    return select(union(first, further).subquery())


def due(connection: Connection, source_video_id: int) -> list[tuple[Clip, str]]:
    """(Clip, profile) of further exports that can be made now: fresh, left by a process that died, or failed with tries left."""
    query = select(_own.clip_id, _own.profile).join_from(clip_exports, clips, clips.c.id == _own.clip_id)
    query = query.where(is_open(), ~waits_for_gold_master(_own.profile), clips.c.source_video_id == source_video_id)
    rows = connection.execute(query.order_by(_own.changed_at, _own.clip_id, _own.profile)).all()
    of_rows = select(*CLIP).where(among(clips.c.id, {row.clip_id for row in rows}))
    found = {row.id: clip_of_row(row) for row in connection.execute(of_rows)} if rows else {}
    return [(found[row.clip_id], row.profile) for row in rows]


def begun(connection: Connection, source_video_id: int, not_begun_before: datetime | None) -> list[tuple[int, str]]:
    """(Clip id, profile) of further exports that were begun. not_begun_before: also those that have waited since before then."""
    waits = and_(_own.state == _S.WAITING, _own.changed_at < not_begun_before) if not_begun_before is not None else false()
    query = select(_own.clip_id, _own.profile).join_from(clip_exports, clips, clips.c.id == _own.clip_id)
    query = query.where(is_open(), clips.c.source_video_id == source_video_id, or_(_own.state == _S.WORKING, waits))
    return [(row.clip_id, row.profile) for row in connection.execute(query.order_by(_own.clip_id, _own.profile))]


def unmade_from_master(connection: Connection, source_video_ids: Collection[int]) -> set[int]:
    """Those of these source videos with approved clips of which a file from the gold master is still to be made, or failed."""
    clip, of_masters = clips.c, _profiles_from_gold_master()
    mine = and_(clip.is_live, among(clip.source_video_id, source_video_ids), clip.state.in_(sorted(APPROVED_STATES)))
    first = select(clip.source_video_id).where(mine, clip.export_profile.in_(of_masters), clip.state.in_(sorted(BEFORE_EXPORT)))
    further = select(clip.source_video_id).join_from(clip_exports, clips, clip.id == _own.clip_id)
    further = further.where(mine, IS_FURTHER, _own.profile.in_(of_masters), _own.state != _S.DONE)
    return set(connection.scalars(first)) | set(connection.scalars(further))


def has_failed() -> ColumnElement[bool]:
    """Condition on `clips`: one of its further exports failed."""
    return exists().where(_own.clip_id == clips.c.id, _own.state == _S.FAILED, IS_FURTHER)


# Reading


def of_clips(connection: Connection, clip_ids: Collection[int]) -> dict[int, list[ClipExport]]:
    """Clip id -> its exports by profile, the first one too once it is made."""
    query = select(clip_exports, clip_artifacts.c.byte_size, clip_artifacts.c.manifest)
    query = query.join_from(clip_exports, clip_artifacts, clip_artifacts.c.key == _own.key, isouter=True)
    found: dict[int, list[ClipExport]] = {clip_id: [] for clip_id in clip_ids}
    for row in connection.execute(query.where(among(_own.clip_id, clip_ids)).order_by(_own.clip_id, _own.profile)):
        found[row.clip_id].append(_export_of_row(row))
    return found


def counts(connection: Connection, source_video_ids: Collection[int]) -> dict[int, dict[str, int]]:
    """Source video -> what its further exports wait for, or that they failed -> of how many clips."""
    query = (
        select(clips.c.source_video_id, _own.state, func.count(distinct(clips.c.id)))
        .join_from(clip_exports, clips, clips.c.id == _own.clip_id)
        .where(among(clips.c.source_video_id, source_video_ids), _own.state.in_(list(_CLAIMABLE)))
        .where(clips.c.is_live, ~clips.c.is_virtual, IS_FURTHER)
        .group_by(clips.c.source_video_id, _own.state)
    )
    found: dict[int, dict[str, int]] = {}
    for source_video_id, state, count in connection.execute(query):
        found.setdefault(source_video_id, {})[FURTHER_EXPORTS.of(WorkState(state)) or ""] = count
    return found


def key_for(connection: Connection, clip: Clip, profile: ExportProfile) -> str:
    """The key of a clip's export: the one that its present file has, else the first of its own that no other export of the clip has.

    Before clips had several exports, the key of `stream_copy` was that of every profile.
    """
    keys = {row.profile: row.key for row in connection.execute(select(_own.profile, _own.key).where(_own.clip_id == clip.id))}
    present: str | None = keys.pop(profile.name, None)
    if present is not None and PurePosixPath(present).suffix == profile.suffix:
        return present
    return next(
        key for key in final_clip_keys(clip.source_video_id, clip.sequence, profile.name, profile.suffix) if key not in keys.values()
    )


def of_export() -> ColumnElement[bool]:
    """Condition on `clip_artifacts`: it is the file of an export, or will be."""
    return exists().where(_own.key == clip_artifacts.c.key)


def is_another(profile: str) -> ColumnElement[bool]:
    """Condition on `clip_artifacts`: it is the file of another export of its clip than `profile`."""
    return exists().where(_own.clip_id == clip_artifacts.c.clip_id, _own.key == clip_artifacts.c.key, _own.profile != profile)


def is_of_export(connection: Connection, key: str) -> bool:
    return bool(connection.scalar(select(exists().where(_own.key == key))))


# Writing


def ask(connection: Connection, clip: Clip, profile: str) -> bool:
    """Ask for an export of a locked, approved clip beside its first one; False when `profile` must be its first one.

    That is so when it has that profile, and when the clip has no file because its first export failed or waits for the gold master: the
    new one then takes its place, and the one before is made after it.
    """
    if profile == clip.export_profile:
        return False
    if clip.is_virtual and (clip.state is EXPORTS.steps.failed or _waits(connection, clip)):
        connection.execute(delete(clip_exports).where(_of(clip.id, profile)))
        _put(connection, clip.id, clip.export_profile, _S.ASKED)
        return False
    _put(connection, clip.id, profile, _S.ASKED if clip.is_virtual else _S.WAITING)
    return True


def begin_again(connection: Connection, source_video_id: int, made_with: Mapping[str, str]) -> list[int]:
    """Ask anew for the exports of a source video that were made otherwise; returns the ids of their clips. Their files serve until then.

    made_with: profile -> with what its files are made now. What was made before this was kept counts as made in this way, and files of
    profiles that are not there stay. Hold the lock of the stage.
    """
    query = select(_own.clip_id, _own.profile, _own.made_with, clips.c.export_profile)
    query = query.join_from(clip_exports, clips, clips.c.id == _own.clip_id).where(
        clips.c.source_video_id == source_video_id,
        clips.c.is_live,
        clips.c.state.in_(sorted(APPROVED_STATES)),
        _own.state == _S.DONE,
        _own.made_with.is_not(None),
    )
    rows = connection.execute(query.order_by(_own.clip_id, _own.profile)).all()
    outdated = [row for row in rows if made_with.get(row.profile, row.made_with) != row.made_with]
    locked = {row.id: clip_of_row(row) for row in lock_clips(connection, sorted({row.clip_id for row in outdated}))} if outdated else {}
    for row in outdated:
        clip = locked[row.clip_id]
        if not clip.is_live or clip.state not in APPROVED_STATES:
            continue
        if row.profile == clip.export_profile and clip.state not in states_from(EXPORTS):
            continue  # it is being made again already, or that has failed and waits for a person
        if row.profile == clip.export_profile:
            again = {"state": EXPORTS.steps.ready.value, "error": None, "attempts": 0, "cut_point_version": clip.cut_point_version + 1}
            connection.execute(clips.update().where(clips.c.id == clip.id).values(**again))
        else:
            _put(connection, clip.id, row.profile, _S.WAITING)
    return sorted(locked)


def trim_again(connection: Connection, touched: Collection[Clip]) -> list[Clip]:
    """Ask anew for the exports of locked clips that leave out transitions, because a range at one of their ends has changed.

    Those that failed too: the range may have been why. Their files serve until then. Returns the clips whose first export is asked for.
    """
    again = []
    for clip in touched:
        if not clip.is_live or clip.state not in APPROVED_STATES:
            continue
        rows = connection.execute(select(_own.profile, _own.state, _own.made_with).where(_own.clip_id == clip.id)).all()
        trimmed = {row.profile for row in rows if row.profile.endswith(TRIMMED) or WITHOUT_TRANSITIONS in (row.made_with or "")}
        has_failed_first = clip.state is EXPORTS.steps.failed
        if has_failed_first or (clip.export_profile in trimmed and clip.state in states_from(EXPORTS)):
            values = {"state": EXPORTS.steps.ready.value, "error": None, "attempts": 0, "cut_point_version": clip.cut_point_version + 1}
            row = connection.execute(clips.update().where(clips.c.id == clip.id).values(**values).returning(*CLIP)).one()
            again.append(clip_of_row(row))
        for row in rows:
            if row.profile in trimmed and row.profile != clip.export_profile and row.state in {_S.DONE, _S.FAILED}:
                _put(connection, clip.id, row.profile, _S.ASKED if clip.is_virtual else _S.WAITING)
    return again


def first_made(connection: Connection, clip: Clip, key: str, made_with: str | None = None) -> None:
    """Write down the first export of a clip; those that waited for it are due."""
    now = func.now()
    values = {"state": _S.DONE, "attempts": 0, "error": None, "key": key, "version": clip.cut_point_version}
    values |= {"changed_at": now, "made_at": now, "made_with": made_with}
    row = insert(clip_exports).values(clip_id=clip.id, profile=clip.export_profile, **values)
    connection.execute(row.on_conflict_do_update(index_elements=["clip_id", "profile"], set_=values))
    asked = (_own.clip_id == clip.id) & (_own.state == _S.ASKED)
    connection.execute(clip_exports.update().where(asked).values(state=_S.WAITING, changed_at=now))


def claim(connection: Connection, clip: Clip, profile: str, key: str) -> bool:
    """Begin a further export of a locked clip, with the row of its object; False when it is not due any more."""
    row = _row(connection, clip, profile)
    if row is None or row.state not in _CLAIMABLE:
        return False
    begin_writing(connection, clip.id, EXPORTS.artifact, key)
    values: dict[str, Any] = {"state": _S.WORKING, "error": None, "key": key, "changed_at": func.now()}
    if row.key not in {None, key}:  # another suffix than that of the file it has
        values["made_at"] = None
    connection.execute(clip_exports.update().where(_of(clip.id, profile)).values(**values))
    if row.key not in {None, key}:
        connection.execute(clip_artifacts.update().where(clip_artifacts.c.key == row.key).values(state="obsolete"))
    return True


def finish(connection: Connection, clip: Clip, profile: str, version: int, made: MadeObject, made_with: str | None = None) -> bool:
    """Write down that a further export of a locked clip is made. version: `cut_point_version` of the claimed clip.

    False when a reviewer changed the clip meanwhile: what was made is then obsolete, but where it took the place of a file of the same
    frames.
    """
    row = _row(connection, clip, profile)
    mine = row is not None and row.key == made.key
    is_current = mine and clip.cut_point_version == version
    needed = is_current or (mine and row is not None and row.made_at is not None)
    writing = (clip_artifacts.c.clip_id == clip.id) & (clip_artifacts.c.key == made.key) & (clip_artifacts.c.state == "writing")
    connection.execute(clip_artifacts.update().where(writing).values(**(made.live_values if needed else {"state": "obsolete"})))
    if is_current:
        values: dict[str, Any] = {"state": _S.DONE, "attempts": 0, "error": None, "version": version}
        values |= {"changed_at": func.now(), "made_at": func.now(), "made_with": made_with}
        connection.execute(clip_exports.update().where(_of(clip.id, profile)).values(**values))
    return is_current


def fail(connection: Connection, clip: Clip, profile: str, message: str, *, transient: bool, at_once: bool = False) -> bool:
    """Write down why a further export of a locked clip failed; False when it is not asked for any more. The file that it has stays.

    at_once: the process that worked on it has ended. While tries are left it stays in its state, and is due again at once.
    """
    row = _row(connection, clip, profile)
    if row is None or row.state not in _CLAIMABLE:
        return False
    tries = attempts_after_failure(row.attempts, transient=transient, limit=EXPORTS.max_attempts)
    if at_once and tries < EXPORTS.max_attempts:
        connection.execute(clip_exports.update().where(_of(clip.id, profile)).values(attempts=tries, changed_at=func.now()))
        return True
    values: dict[str, Any] = {"state": _S.FAILED, "attempts": tries, "error": message, "changed_at": func.now()}
    if row.made_at is None:
        values["key"] = None
    else:
        keep_file(connection, row.key)
    connection.execute(clip_exports.update().where(_of(clip.id, profile)).values(**values))
    return True


def retry(connection: Connection, clip_id: int) -> bool:
    """Give the failed further exports of a clip all tries again; whether there are any."""
    failed = (_own.clip_id == clip_id) & (_own.state == _S.FAILED)
    values = {"state": _S.WAITING, "attempts": 0, "error": None, "changed_at": func.now()}
    return bool(connection.execute(clip_exports.update().where(failed).values(**values)).rowcount)


@cache
def _profiles_from_gold_master() -> tuple[str, ...]:
    """Names of the export profiles that need it. Loads every profile, so once in a process."""
    return tuple(profile.name for profile in EXPORT_PROFILES.variants() if profile.made_from is MadeFrom.GOLD_MASTER)


def _waits(connection: Connection, clip: Clip) -> bool:
    return bool(connection.scalar(select(first_waits_for_gold_master()).where(clips.c.id == clip.id)))


def _put(connection: Connection, clip_id: int, profile: str, state: ExportState) -> None:
    """Write a wish. One that is being made stays as it is: its file will be there soon."""
    values = {"state": state, "attempts": 0, "error": None, "asked_at": func.now(), "changed_at": func.now()}
    row = insert(clip_exports).values(clip_id=clip_id, profile=profile, **values)
    row = row.on_conflict_do_update(index_elements=["clip_id", "profile"], set_=values, where=_own.state != _S.WORKING)
    connection.execute(row)


def _row(connection: Connection, clip: Clip, profile: str) -> Any:
    """The row of a further export of a clip that has its first file; None when there is none."""
    if not clip.is_live or clip.is_virtual or clip.export_profile == profile:
        return None
    return connection.execute(select(clip_exports).where(_of(clip.id, profile))).first()


def _of(clip_id: int, profile: str) -> ColumnElement[bool]:
    return and_(_own.clip_id == clip_id, _own.profile == profile)


def _export_of_row(row: Any) -> ClipExport:
    there = row.made_at is not None
    is_so = {**row._mapping, "state": ExportState(row.state)}
    return ClipExport(**{**is_so, "byte_size": row.byte_size if there else None, "manifest": row.manifest if there else {}})


_CLAIMABLE = frozenset({_S.WAITING, _S.WORKING, _S.FAILED})
_FAILED_FOR_NOW = f"(clip_exports.state = 'failed' and clip_exports.attempts < {MAX_ATTEMPTS})"
#: In the words of the partial index, so that Postgres sees that it serves: what has to be made.
_TO_MAKE: ColumnElement[bool] = literal_column(f"(clip_exports.state in ('asked', 'waiting', 'working') or {_FAILED_FOR_NOW})", Boolean)
#: The same for that of which the clip's first file is there.
_IS_OPEN: ColumnElement[bool] = literal_column(f"(clip_exports.state in ('waiting', 'working') or {_FAILED_FOR_NOW})", Boolean)
