"""What each stage does to each clip: claim it, finish it, or store that it failed. All stages of `domain/stages.py` work in this way.

The clip's `state` belongs to the stages that have states of their own. The table `clip_work` has a row for every stage and clip; a stage
that works beside the others has only this row. Each function runs in the caller's transaction, under the clip's row lock.

A stage claims its clip, which writes the `clip_artifacts` rows of the objects it is about to make in state `writing`; then it publishes
the objects; then it finishes, which makes the rows `live`. Meanwhile it holds `Database.stage_lock(stage.asset, source_video_id)`, so two
processes never write the same key. A reviewer may change the clip while a stage works on it: every finish compares `cut_point_version` with
the claimed version, and changes nothing when they differ. The reviewer's decision counts, and the new objects become obsolete.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, false, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.clip_names import no_clips
from heaters_dagster.domain.due import attempts_after_failure
from heaters_dagster.domain.errors import IllegalTransitionError, NotFoundError, PermanentError
from heaters_dagster.domain.stages import (
    CLIP_STAGES,
    EXPORTS,
    KEYFRAMES,
    MAX_ATTEMPTS,
    Stage,
    WorkState,
    beside,
    stages_after,
    states_from,
    with_states,
)
from heaters_dagster.domain.states import ClipState
from heaters_dagster.domain.transitions import CLIP_RETRY, checked_clip_transition
from heaters_dagster.event_log import tell_of_failure, tell_when_committed
from resources.postgres import clip_exports
from resources.postgres.clip_files import MadeObject, begin_writing, keep_file
from resources.postgres.clip_rows import CLIP, Clip, ClipArtifact, artifact_of_row, clip_of_row
from resources.postgres.conditions import among
from resources.postgres.database import lock_key
from resources.postgres.row_locks import lock_clips
from resources.postgres.tables import clip_artifacts, clip_work, clips

ClipStage = Stage[ClipState]

#: A half-written object of a stage that this version does not have is kept so long.
_UNKNOWN_KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipWork:
    """One row of `clip_work`.

    attempts: failed tries. version: `cut_point_version` of the clip that it worked on. made_with: version and settings of the stage that
    made it, None when it was made before this was kept.
    """

    clip_id: int
    stage: str
    state: WorkState
    attempts: int
    error: str | None
    version: int
    made_with: str | None
    changed_at: datetime


def needs_of(stage: ClipStage, stages: Sequence[ClipStage] = CLIP_STAGES) -> frozenset[ClipState]:
    """The states of a clip in which a stage beside the others can work on it, because what it needs exists."""
    needed = [states_from(one) if one.states is not None else needs_of(one, stages) for one in stages if one.asset in stage.needs]
    return frozenset(ClipState).intersection(*needed)


def open_work(stage: ClipStage) -> ColumnElement[bool]:
    """Condition on `clip_work` joined with clips: work of a stage beside the others that is waiting, has begun, or may be tried again."""
    return and_(
        clip_work.c.stage == stage.asset,
        clip_work.c.state != WorkState.DONE.value,
        or_(clip_work.c.state != WorkState.FAILED.value, clip_work.c.attempts < MAX_ATTEMPTS),
        clips.c.is_live,
        clips.c.state.in_(sorted(needs_of(stage))),
    )


def due(connection: Connection, stage: ClipStage, source_video_id: int | None, *more: ColumnElement[bool]) -> list[Clip]:
    """Live clips for the stage: new ones, those left by a process that died, and failed ones with tries left. The longest waiting first."""
    if stage.states is None:
        query: Select[Any] = select(*CLIP).join(clip_work, clip_work.c.clip_id == clips.c.id).where(open_work(stage), *more)
        order = clip_work.c.changed_at
    else:
        failed = stage.steps.failed.value
        query = select(*CLIP).where(
            *more,
            clips.c.is_live,
            clips.c.state.in_(sorted(stage.steps.due)),
            or_(clips.c.state != failed, clips.c.attempts < MAX_ATTEMPTS),
        )
        order = clips.c.state_changed_at
    if source_video_id is not None:
        query = query.where(clips.c.source_video_id == source_video_id)
    return [clip_of_row(row) for row in connection.execute(query.order_by(order, clips.c.id))]


def begun(connection: Connection, stage: ClipStage, source_video_id: int, not_begun_before: datetime | None) -> list[Clip]:
    """Clips of a source video that the stage is working on. not_begun_before: also clips that have waited for it since before that time."""
    if stage.states is None:
        state, since, working, ready = clip_work.c.state, clip_work.c.changed_at, WorkState.WORKING.value, WorkState.WAITING.value
        query = select(*CLIP).join(clip_work, _row(clips.c.id, stage))
    else:
        state, since, working, ready = clips.c.state, clips.c.state_changed_at, stage.steps.working.value, stage.steps.ready.value
        query = select(*CLIP)
    waits = and_(state == ready, since < not_begun_before) if not_begun_before is not None else false()
    query = query.where(clips.c.source_video_id == source_video_id, clips.c.is_live, or_(state == working, waits))
    return [clip_of_row(row) for row in connection.execute(query.order_by(clips.c.start_frame))]


def claim(connection: Connection, clip_id: int, stage: ClipStage, keys: Sequence[str]) -> Clip | None:
    """Put the clip into the stage's working state and write the rows of the objects at `keys`; None when it is not due any more."""
    clip = locked(connection, clip_id)
    if not clip.is_live or not _can_be_claimed(connection, clip, stage):
        return None
    for key in sorted(keys):
        begin_writing(connection, clip_id, stage.artifact, key)
    _note(connection, clip, stage, WorkState.WORKING)
    if stage.states is None:
        return clip
    return written(connection, clip_id, {"state": checked_clip_transition(clip.state, stage.steps.working).value, "error": None})


def finish(
    connection: Connection,
    clip_id: int,
    stage: ClipStage,
    version: int,
    made: Sequence[MadeObject] = (),
    *,
    also: Callable[[Connection], object] = lambda connection: None,
    made_with: str | None = None,
    stages: Sequence[ClipStage] = CLIP_STAGES,
) -> bool:
    """Store that the stage is done with the clip, and the objects that it made.

    version: `cut_point_version` of the claimed clip. Returns False when a reviewer has changed the clip since: the objects are then
    obsolete. also: writes that belong to the stage, done in the same transaction when the clip has not changed. made_with: version and
    settings of the stage, see `begin_again`.
    """
    keys = [one.key for one in made]
    own = (clip_artifacts.c.clip_id == clip_id) & (clip_artifacts.c.kind == stage.artifact)
    clip = locked(connection, clip_id)
    if not clip.is_live or clip.cut_point_version != version or not _is_at_work(connection, clip, stage):
        # Rows in `writing` belong to this process, because it holds the stage lock. The present file shows the right frames, perhaps in
        # a profile that is no longer wanted: it stays until the next file exists.
        for one in made:
            half_written = own & (clip_artifacts.c.key == one.key) & (clip_artifacts.c.state == "writing")
            values = {"state": "obsolete"} if one.key != clip.clip_filepath else one.live_values
            connection.execute(clip_artifacts.update().where(half_written).values(**values))
        return False
    if stage.artifact is not None:
        others = own & clip_artifacts.c.key.notin_(keys) & clip_artifacts.c.state.in_(["live", "writing"])
        if stage is EXPORTS:
            others &= ~clip_exports.is_another(clip.export_profile)
        connection.execute(clip_artifacts.update().where(others).values(state="obsolete"))
    for one in made:
        mine = own & (clip_artifacts.c.key == one.key)
        if connection.execute(clip_artifacts.update().where(mine).values(**one.live_values)).rowcount != 1:
            raise PermanentError(f"the object key {one.key} was not claimed for clip id:{clip_id}")
    also(connection)
    _note(connection, clip, stage, WorkState.DONE, tries=0, made_with=made_with)
    for following in stages_after(stage.asset, stages):
        _note(connection, clip, following, WorkState.WAITING, tries=0)
    if stage.states is not None:
        columns: dict[str, Any] = {"state": checked_clip_transition(clip.state, stage.steps.done).value, "error": None, "attempts": 0}
        if stage is EXPORTS:
            columns |= {"is_virtual": False, "clip_filepath": made[0].key}
            clip_exports.first_made(connection, clip, made[0].key, made_with)
        written(connection, clip_id, columns)
    return True


def begin_again(connection: Connection, stage: ClipStage, source_video_id: int, made_with: str) -> list[int]:
    """Make those live clips of a source video due again of which the stage made something otherwise; returns their ids.

    made_with: version and settings of the stage now. What was made before this was kept counts as made in this way. Of exports
    `clip_exports.begin_again` knows. Hold the lock of the stage.
    """
    outdated = select(clips.c.id).join_from(clip_work, clips, clip_work.c.clip_id == clips.c.id)
    outdated = outdated.where(
        clips.c.source_video_id == source_video_id,
        clips.c.is_live,
        clip_work.c.stage == stage.asset,
        clip_work.c.state == WorkState.DONE.value,
        clip_work.c.made_with != made_with,
        clips.c.state.in_(sorted(needs_of(stage) if stage.states is None else stage.steps.again)),
    )
    ids = sorted(connection.scalars(outdated))
    for row in lock_clips(connection, ids) if ids else ():
        clip = clip_of_row(row)
        if stage.states is None:
            _note(connection, clip, stage, WorkState.WAITING, tries=0)
        elif clip.is_live and clip.state in stage.steps.again:
            _note(connection, clip, stage, WorkState.WORKING)
            written(connection, clip.id, {"state": checked_clip_transition(clip.state, stage.steps.working).value, "error": None})
    return ids


def fail(
    connection: Connection,
    clip_id: int,
    stage: ClipStage,
    message: str,
    *,
    transient: bool,
    expected_version: int | None = None,
    at_once: bool = False,
) -> Clip | None:
    """Store why the stage failed on the clip. A temporary failure counts one try; any other failure uses up all tries.

    at_once: the process that worked on it has ended. While tries are left it stays in its state, and is due again at once.

    Returns None and changes nothing when a reviewer has changed the clip since: it has left the stage, or no longer has
    `expected_version`.
    """
    clip = locked(connection, clip_id)
    if not clip.is_live or (expected_version is not None and clip.cut_point_version != expected_version):
        return None
    if not _can_be_claimed(connection, clip, stage):
        return None
    before = clip.attempts if stage.states is not None else attempts(connection, clip_id, stage)
    tries = attempts_after_failure(before, transient=transient, limit=stage.max_attempts)
    if at_once and tries < stage.max_attempts:
        _note(connection, clip, stage, WorkState.WORKING, tries=tries)
        return clip if stage.states is None else written(connection, clip_id, {"attempts": tries})
    if stage is EXPORTS:
        keep_file(connection, clip.clip_filepath)
    _note(connection, clip, stage, WorkState.FAILED, tries=tries, error=message)
    if stage.states is None:
        return clip
    return written(connection, clip_id, {"state": stage.steps.failed.value, "error": message, "attempts": tries})


def advanced(connection: Connection, clip: Clip, new: ClipState) -> Clip:
    """Put the clip, whose row is locked, into the state `new`, and write the same to the `clip_work` row of its stage."""
    columns: dict[str, Any] = {"state": checked_clip_transition(clip.state, new).value, "error": None}
    for stage in with_states(CLIP_STAGES):
        if new is stage.steps.working:
            _note(connection, clip, stage, WorkState.WORKING)
        if new is stage.steps.done:
            columns["attempts"] = 0
            _note(connection, clip, stage, WorkState.DONE, tries=0)
    return written(connection, clip.id, columns)


def retry(connection: Connection, clip_id: int, stages: Sequence[ClipStage] = CLIP_STAGES) -> Clip:
    """Put a failed clip back before each stage that failed, with no failed tries; if its keyframes are gone, before the keyframe stage.

    Raises IllegalTransitionError if nothing has failed.
    """
    clip = locked(connection, clip_id)
    again = [stage for stage in beside(stages) if clip.is_live and _state_of(connection, clip_id, stage) is WorkState.FAILED]
    for stage in again:
        _note(connection, clip, stage, WorkState.WAITING, tries=0)
    before = CLIP_RETRY.get(clip.state)
    exported = clip.is_live and clip_exports.retry(connection, clip_id)
    if before is None:
        if again or exported:
            return clip
        raise IllegalTransitionError(f"clip id:{clip_id} has not failed (its state: {described(clip)}), so there is nothing to retry")
    checked_clip_transition(clip.state, before)
    stage = next(one for one in with_states(stages) if one.steps.failed is clip.state)
    _note(connection, clip, stage, WorkState.WAITING, tries=0)
    back = written(connection, clip_id, {"state": before.value, "error": None, "attempts": 0})
    if before is KEYFRAMES.steps.done and not connection.scalar(select(exists().where(live_keyframes(clip_id)))):
        return written(connection, clip_id, {"state": checked_clip_transition(before, KEYFRAMES.steps.working).value})
    return back


def failed_clips(connection: Connection, source_video_id: int, limit: int, stages: Sequence[ClipStage] = CLIP_STAGES) -> list[Clip]:
    """Live clips of a source video on which a stage failed, in order."""
    of_work = exists().where(
        clip_work.c.clip_id == clips.c.id,
        clip_work.c.state == WorkState.FAILED.value,
        clip_work.c.stage.in_([stage.asset for stage in beside(stages)]),
    )
    has_failed = or_(clips.c.state.in_(sorted(CLIP_RETRY)), of_work, clip_exports.has_failed())
    query = select(*CLIP).where(clips.c.source_video_id == source_video_id, clips.c.is_live, has_failed)
    return [clip_of_row(row) for row in connection.execute(query.order_by(clips.c.start_frame).limit(limit))]


def works(connection: Connection, clip_ids: Collection[int]) -> list[ClipWork]:
    """The rows of these clips, by clip and stage; also those of stages that this version does not have."""
    query = select(clip_work).where(clip_work.c.clip_id.in_(clip_ids)).order_by(clip_work.c.clip_id, clip_work.c.stage)
    return [ClipWork(**{**row._mapping, "state": WorkState(row.state)}) for row in connection.execute(query)]


def words_beside(works: Iterable[ClipWork], clip: Clip, stages: Sequence[ClipStage] = CLIP_STAGES) -> str:
    """What the stages beside the others say of the clip, in their order: `to be measured, transcript failed: the disk is full`."""
    rows = {work.stage: work for work in works if work.clip_id == clip.id}
    told = []
    for stage in beside(stages):
        work = rows.get(stage.asset)
        if work is not None and clip.is_live and clip.state in needs_of(stage, stages) and (words := stage.words.of(work.state)):
            told.append(f"{words}: {work.error}" if work.error else words)
    return ", ".join(told)


def counts_beside(
    connection: Connection, source_video_ids: Collection[int], stages: Sequence[ClipStage] = CLIP_STAGES
) -> dict[int, dict[str, int]]:
    """Source video -> what stages beside the others say of its clips -> of how many: `{3: {"to be measured": 2}}`."""
    counts: dict[int, dict[str, int]] = {}
    for stage in beside(stages):
        query = (
            select(clips.c.source_video_id, clip_work.c.state, func.count())
            .join_from(clips, clip_work, _row(clips.c.id, stage))
            .where(among(clips.c.source_video_id, source_video_ids), clips.c.is_live, clips.c.state.in_(sorted(needs_of(stage, stages))))
            .group_by(clips.c.source_video_id, clip_work.c.state)
            .order_by(clips.c.source_video_id, clip_work.c.state)
        )
        for source_video_id, state, count in connection.execute(query):
            if words := stage.words.of(WorkState(state)):
                counts.setdefault(source_video_id, {})[words] = count
    return counts


def enqueue(connection: Connection, stages: Sequence[ClipStage] = CLIP_STAGES) -> int:
    """Make clips due for stages beside the others that were added to Heaters after these clips had passed that point; returns how many."""
    added = 0
    for stage in beside(stages):
        known = exists().where(clip_work.c.clip_id == clips.c.id, clip_work.c.stage == stage.asset)
        missing = select(clips.c.id, literal(stage.asset), clips.c.cut_point_version).where(
            clips.c.is_live, clips.c.state.in_(sorted(needs_of(stage, stages))), ~known
        )
        rows = insert(clip_work).from_select(["clip_id", "stage", "version"], missing).on_conflict_do_nothing()
        added += sum(1 for _ in connection.execute(rows.returning(clip_work.c.clip_id)))
    return added


def is_abandoned(connection: Connection, clip: Clip, artifact: ClipArtifact, stages: Sequence[ClipStage] = CLIP_STAGES) -> bool:
    """Whether a row in `writing` is abandoned: the clip has left the stage and no process holds the stage's lock.

    Of a stage that this version does not have, nobody knows the lock: it was removed, or another machine has a newer version. Its row
    counts as abandoned when it is a day old.
    """
    stage = next((one for one in stages if one.artifact == artifact.kind), None)
    if stage is None:
        return bool(connection.scalar(select(func.now() - artifact.created_at > _UNKNOWN_KEPT)))
    if (clip.is_live and _is_at_work(connection, clip, stage)) or clip_exports.is_of_export(connection, artifact.key):
        return False
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(lock_key(stage.asset, clip.source_video_id)))))


def is_unneeded() -> ColumnElement[bool]:
    """Condition on `clip_artifacts` joined with clips: obsolete, or half written by a process that died, on a clip that left the stage."""
    abandoned = [
        (clip_artifacts.c.state == "writing") & (clip_artifacts.c.kind == stage.artifact) & ~_at_work(stage) & ~clip_exports.of_export()
        for stage in CLIP_STAGES
        if stage.artifact is not None
    ]
    unknown = clip_artifacts.c.kind.notin_([stage.artifact for stage in CLIP_STAGES if stage.artifact is not None])
    of_unknown = (clip_artifacts.c.state == "writing") & unknown & (func.now() - clip_artifacts.c.created_at > _UNKNOWN_KEPT)
    return or_(clip_artifacts.c.state == "obsolete", *abandoned, of_unknown)


def unneeded_artifacts(connection: Connection, source_video_id: int | None) -> list[ClipArtifact]:
    """Files that are not needed: obsolete ones, or half-written ones of a process that died, when the clip has left the stage."""
    query = select(clip_artifacts).join(clips, clips.c.id == clip_artifacts.c.clip_id)
    query = query.where(clip_artifacts.c.state.in_(["obsolete", "writing"]), is_unneeded())
    if source_video_id is not None:
        query = query.where(clips.c.source_video_id == source_video_id)
    return [artifact_of_row(row) for row in connection.execute(query.order_by(clip_artifacts.c.clip_id, clip_artifacts.c.id))]


def live_keyframes(clip_id: int) -> ColumnElement[bool]:
    return (clip_artifacts.c.clip_id == clip_id) & (clip_artifacts.c.kind == KEYFRAMES.artifact) & (clip_artifacts.c.state == "live")


def locked(connection: Connection, clip_id: int) -> Clip:
    """The clip, its row locked until the end of the transaction. Raises NotFoundError."""
    found = lock_clips(connection, [clip_id])
    if not found:
        raise NotFoundError(no_clips([clip_id]))
    return clip_of_row(found[0])


def written(connection: Connection, clip_id: int, columns: Mapping[str, Any]) -> Clip:
    return clip_of_row(connection.execute(clips.update().where(clips.c.id == clip_id).values(**columns).returning(*CLIP)).one())


def described(clip: Clip) -> str:
    return clip.state.value if clip.is_live else "replaced by other cuts"


def _row(clip_id: int | ColumnElement[int], stage: ClipStage) -> ColumnElement[bool]:
    return and_(clip_work.c.clip_id == clip_id, clip_work.c.stage == stage.asset)


def _state_of(connection: Connection, clip_id: int, stage: ClipStage) -> WorkState | None:
    found = connection.scalar(select(clip_work.c.state).where(_row(clip_id, stage)))
    return None if found is None else WorkState(found)


def attempts(connection: Connection, clip_id: int, stage: ClipStage) -> int:
    return connection.scalar(select(clip_work.c.attempts).where(_row(clip_id, stage))) or 0


def _can_be_claimed(connection: Connection, clip: Clip, stage: ClipStage) -> bool:
    if stage.states is not None:
        return clip.state in stage.steps.due
    return clip.state in needs_of(stage) and _state_of(connection, clip.id, stage) not in {None, WorkState.DONE}


def _is_at_work(connection: Connection, clip: Clip, stage: ClipStage) -> bool:
    if stage.states is not None:
        return clip.state is stage.steps.working
    return clip.state in needs_of(stage) and _state_of(connection, clip.id, stage) is WorkState.WORKING


def _at_work(stage: ClipStage) -> ColumnElement[bool]:
    """As `_is_at_work`, for a row of `clips`, live or not."""
    if stage.states is not None:
        return clips.c.state == stage.steps.working.value
    return exists().where(_row(clips.c.id, stage), clip_work.c.state == WorkState.WORKING.value)


def _note(
    connection: Connection,
    clip: Clip,
    stage: ClipStage,
    state: WorkState,
    *,
    tries: int | None = None,
    error: str | None = None,
    made_with: str | None = None,
) -> None:
    """Write the row of the stage and the clip. tries: the number of failed ones; None leaves it as it is."""
    values = {"state": state.value, "error": error, "version": clip.cut_point_version, "changed_at": func.now()}
    values |= {} if tries is None else {"attempts": tries}
    values |= {"made_with": made_with} if state is WorkState.DONE else {}
    row = insert(clip_work).values(clip_id=clip.id, stage=stage.asset, **values)
    connection.execute(row.on_conflict_do_update(index_elements=["clip_id", "stage"], set_=values))
    about = {"clip_id": clip.id, "source_video_id": clip.source_video_id}
    if state is WorkState.FAILED:
        tell_of_failure(connection, f"{stage.asset}_failed", error or "", tries or 0, **about)
    elif state is not WorkState.WAITING:
        steps = stage.states and {WorkState.WORKING: stage.steps.working, WorkState.DONE: stage.steps.done}[state]
        tell_when_committed(connection, steps.value if steps else f"{stage.asset}_{state}", **about)
