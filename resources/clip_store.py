"""Clips in Postgres, and the files made from them: one row each, changed under its lock and only along the table of legal transitions.

Files. A stage claims its clip, which writes the `clip_artifacts` rows of the objects it is about to make in state `writing`; then it
publishes the objects; then it finishes, which makes the rows `live`. It does all this while it holds the stage lock of its asset,
`Database.stage_lock("exports", source_video_id)` or `("keyframes", ...)`, so two processes never write one key. A process that dies in
between leaves rows in `writing` with a free lock: the next claim takes them over, or `clean_up` deletes their objects. No object is ever
without a row. A row is `obsolete` only when nobody is writing its object.

Decisions. A reviewer may change a clip while a stage works on it. Every finish therefore compares `cut_point_version` and state with what
was claimed, and changes nothing when they differ: the decision stands, and what was made becomes obsolete.

A clip that is exported again stays physical meanwhile: its file, its keyframes and its embeddings are of the same frames, and serve until
the new file takes the old one's place. Its row is in `writing` then, and not to be deleted yet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, or_, select, tuple_, union_all
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.clip_names import clips_by_id
from heaters_dagster.domain.due import MAX_ATTEMPTS, attempts_after_failure
from heaters_dagster.domain.errors import IllegalTransitionError, NotFoundError, PermanentError, StaleClipError
from heaters_dagster.domain.states import (
    APPROVED_STATES,
    CLIP_RETRY,
    ClipState,
    checked_clip_transition,
)
from resources import clip_cutting
from resources.clip_counts import counts_of_videos
from resources.clip_rows import Clip, ClipArtifact, NewClip, artifact_of_row, clip_of_row, live_clips
from resources.database import Database, lock_key
from resources.row_locks import lock_clips
from resources.source_video_store import containing
from resources.tables import clip_artifacts, clips, source_videos

__all__ = ["Clip", "ClipArtifact", "ClipStore", "MadeObject", "NewClip"]

#: Kind of artifact -> the asset that makes it (its stage lock is held meanwhile) and the state of a clip that it works on.
_MADE_BY: Mapping[str, tuple[str, ClipState]] = {
    "export": ("exports", ClipState.EXPORTING),
    "keyframe": ("keyframes", ClipState.KEYFRAMING),
}

#: For every stage: the states from which a clip can be claimed. The working state is among them: work that was killed is resumed.
_CLAIMABLE: Mapping[ClipState, frozenset[ClipState]] = {
    ClipState.EXPORTING: frozenset({ClipState.REVIEW_APPROVED, ClipState.EXPORTING, ClipState.EXPORT_FAILED}),
    ClipState.KEYFRAMING: frozenset({ClipState.EXPORTED, ClipState.KEYFRAMING, ClipState.KEYFRAME_FAILED}),
    ClipState.EMBEDDING: frozenset({ClipState.KEYFRAMED, ClipState.EMBEDDING, ClipState.EMBEDDING_FAILED}),
}
_DONE = frozenset({ClipState.EXPORTED, ClipState.KEYFRAMED, ClipState.EMBEDDED})


@dataclass(frozen=True, slots=True)
class MadeObject:
    """An object that a stage has published. size in bytes."""

    key: str
    byte_size: int
    manifest: Mapping[str, Any]


EXPORT_STATES = (ClipState.REVIEW_APPROVED, ClipState.EXPORTING, ClipState.EXPORT_FAILED)


def waits_for_gold_master() -> ColumnElement[bool]:
    """Condition on a row of `clips`: its export needs the gold master, which is still to be made or to be tried again."""
    return (clips.c.export_profile == "gold_master") & exists().where(
        source_videos.c.id == clips.c.source_video_id,
        source_videos.c.gold_master_filepath.is_(None),
        source_videos.c.gold_master_attempts < MAX_ATTEMPTS,
        source_videos.c.original_filepath.is_not(None),
    )


class ClipStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    # Reading

    def load(self, clip_id: int) -> Clip:
        """Raises NotFoundError. Also finds clips that are no longer live."""
        return self.load_many([clip_id])[0]

    def load_many(self, clip_ids: Sequence[int]) -> list[Clip]:
        """In the order asked for. Raises NotFoundError naming those that are not there."""
        with self._database.read() as connection:
            found = {row.id: clip_of_row(row) for row in connection.execute(select(clips).where(clips.c.id.in_(clip_ids)))}
        missing = [clip_id for clip_id in clip_ids if clip_id not in found]
        if missing:
            raise NotFoundError(f"there is no {clips_by_id(missing)}; heaters clips VIDEO lists those that are")
        return [found[clip_id] for clip_id in clip_ids]

    def load_live(self, source_video_id: int) -> list[Clip]:
        """The clips that cover a source video, in order; none before its scenes are detected."""
        with self._database.read() as connection:
            return live_clips(connection, source_video_id)

    def find(
        self,
        *,
        source_video_id: int | None = None,
        states: Collection[ClipState] = (),
        text: str | None = None,
        after: tuple[int, int, int] | None = None,
        limit: int = 100,
    ) -> list[Clip]:
        """One page of live clips, by source video and start.

        states: only these, all when empty. text: part of the source video's title or source, in any case.
        after: `place` of the last clip of the page before.
        """
        page = select(clips).where(clips.c.is_live)
        if source_video_id is not None:
            page = page.where(clips.c.source_video_id == source_video_id)
        if text:
            pattern = containing(text)
            named = or_(source_videos.c.title.ilike(pattern), source_videos.c.source.ilike(pattern))
            page = page.where(clips.c.source_video_id.in_(select(source_videos.c.id).where(named)))
        if after is not None:
            # The first comparison says the same as the second, in a form that limits an index scan.
            page = page.where(clips.c.source_video_id >= after[0])
            page = page.where(tuple_(clips.c.source_video_id, clips.c.start_frame, clips.c.id) > tuple_(*after))
        query: Select[Any] = page.order_by(clips.c.source_video_id, clips.c.start_frame, clips.c.id).limit(limit)
        if states:
            # One index range for each state, merged: to find a rare state, a filter on all live clips would read up to all of them.
            parts = [
                page.where(clips.c.state == state.value).order_by(clips.c.source_video_id, clips.c.start_frame, clips.c.id).limit(limit)
                for state in sorted(set(states))
            ]
            merged = union_all(*(part.subquery().select() for part in parts)).subquery()
            query = select(merged).order_by(merged.c.source_video_id, merged.c.start_frame, merged.c.id).limit(limit)
        with self._database.read() as connection:
            return [clip_of_row(row) for row in connection.execute(query)]

    def counts_by_state(self, source_video_id: int | None = None) -> dict[int, dict[ClipState, int]]:
        """Source video id -> how many of its live clips are in which state."""
        with self._database.read() as connection:
            return counts_of_videos(connection, None if source_video_id is None else [source_video_id])

    def due_for_export(self, source_video_id: int | None = None) -> list[Clip]:
        """Approved clips without a file: new, left by a process that died, or failed with tries left. Oldest decision first.

        Those that wait for a gold master are not due until it is there, or has failed for good.
        """
        ready, working, failed = ClipState.REVIEW_APPROVED, ClipState.EXPORTING, ClipState.EXPORT_FAILED
        return self._due(ready, working, failed, source_video_id, ~waits_for_gold_master())

    def waiting_for_gold_master(self, clip_ids: Collection[int] | None = None) -> list[Clip]:
        """Clips whose export from the gold master was asked for before there is one; of all clips when None."""
        query = select(clips).where(clips.c.is_live, clips.c.state.in_(EXPORT_STATES), waits_for_gold_master())
        if clip_ids is not None:
            query = query.where(clips.c.id.in_(clip_ids))
        with self._database.read() as connection:
            return [clip_of_row(row) for row in connection.execute(query.order_by(clips.c.id))]

    def count_waiting_for_gold_master(self) -> dict[int, int]:
        """Source video -> how many of its clips wait as above."""
        query = (
            select(clips.c.source_video_id, func.count())
            .where(clips.c.is_live, clips.c.state.in_(EXPORT_STATES), waits_for_gold_master())
            .group_by(clips.c.source_video_id)
        )
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def due_for_keyframes(self, source_video_id: int | None = None) -> list[Clip]:
        return self._due(ClipState.EXPORTED, ClipState.KEYFRAMING, ClipState.KEYFRAME_FAILED, source_video_id)

    def due_for_embeddings(self, source_video_id: int | None = None) -> list[Clip]:
        return self._due(ClipState.KEYFRAMED, ClipState.EMBEDDING, ClipState.EMBEDDING_FAILED, source_video_id)

    def _due(
        self, ready: ClipState, working: ClipState, failed: ClipState, source_video_id: int | None, *more: ColumnElement[bool]
    ) -> list[Clip]:
        query = select(clips).where(
            *more,
            clips.c.is_live,
            clips.c.state.in_([ready.value, working.value, failed.value]),
            or_(clips.c.state != failed.value, clips.c.attempts < MAX_ATTEMPTS),
        )
        if source_video_id is not None:
            query = query.where(clips.c.source_video_id == source_video_id)
        with self._database.read() as connection:
            return [clip_of_row(row) for row in connection.execute(query.order_by(clips.c.state_changed_at, clips.c.id))]

    # Cutting

    def replace_cuts(
        self,
        source_video_id: int,
        new: Sequence[NewClip],
        frame_count: int,
        *,
        scene_settings: Mapping[str, Any] | None = None,
        forced_by: str | None = None,
    ) -> list[Clip]:
        """Make `new` the clips of a source video and the video `scenes_detected`, in one transaction; see `clip_cutting.replaced`."""
        with self._database.begin() as connection:
            return clip_cutting.replaced(connection, source_video_id, new, frame_count, scene_settings=scene_settings, forced_by=forced_by)

    def review_has_begun(self, source_video_id: int) -> bool:
        """Whether anybody has decided anything about this source video; new cuts would undo it."""
        with self._database.read() as connection:
            return clip_cutting.review_has_begun(connection, source_video_id)

    # Stages

    def claim_export(self, clip_id: int, key: str) -> Clip | None:
        """Make the clip `exporting` and write the row of the object at `key`; None when it is not due any more.

        Hold `Database.stage_lock("exports", source_video_id)` from before this until after `finish_export`.
        """
        return self._claim(clip_id, ClipState.EXPORTING, "export", [key])

    def finish_export(self, clip_id: int, version: int, key: str, byte_size: int, manifest: Mapping[str, Any]) -> bool:
        """Make the clip `exported` with its file at `key`.

        version: `cut_point_version` of the claimed clip. False when a reviewer changed the clip meanwhile: the file is then obsolete.
        """
        made = [MadeObject(key, byte_size, manifest)]
        return self._finish(clip_id, version, ClipState.EXPORTING, ClipState.EXPORTED, "export", made, is_virtual=False, clip_filepath=key)

    def claim_keyframes(self, clip_id: int, keys: Sequence[str]) -> Clip | None:
        """Make the clip `keyframing` and write the rows of the objects at `keys`; None when it is not due any more.

        Hold `Database.stage_lock("keyframes", source_video_id)` from before this until after `finish_keyframes`.
        """
        return self._claim(clip_id, ClipState.KEYFRAMING, "keyframe", keys)

    def finish_keyframes(self, clip_id: int, version: int, keyframes: Iterable[tuple[str, int, Mapping[str, Any]]]) -> bool:
        """Make the clip `keyframed`. keyframes: (key, size in bytes, manifest). False as for `finish_export`."""
        made = [MadeObject(*keyframe) for keyframe in keyframes]
        return self._finish(clip_id, version, ClipState.KEYFRAMING, ClipState.KEYFRAMED, "keyframe", made)

    def claim_embedding(self, clip_id: int) -> Clip | None:
        """Make the clip `embedding`; None when it is not due any more. `EmbeddingStore.finish_embedding` ends it."""
        return self._claim(clip_id, ClipState.EMBEDDING, "embedding", [])

    def advance(self, clip_id: int, new: ClipState, expected: Collection[ClipState] | ClipState) -> Clip:
        """Change the state of a live clip that is in one of the `expected` states. Raises StaleClipError when it is in another."""
        allowed = {expected} if isinstance(expected, ClipState) else set(expected)
        with self._database.begin() as connection:
            clip = _locked(connection, clip_id)
            if not clip.is_live or clip.state not in allowed:
                raise StaleClipError(f"clip id:{clip_id} is {_described(clip)}; this needs one that is {' or '.join(sorted(allowed))}")
            columns: dict[str, Any] = {"state": checked_clip_transition(clip.state, new).value, "error": None}
            if new in _DONE:
                columns["attempts"] = 0
            return _written(connection, clip_id, columns)

    def fail(
        self, clip_id: int, failed_state: ClipState, message: str, *, transient: bool, expected_version: int | None = None
    ) -> Clip | None:
        """Put the clip into its failed state with the reason. A temporary failure counts one try; any other uses up all of them.

        None, and nothing is changed, when a reviewer changed the clip meanwhile: it is no longer in the stage, or no longer of
        `expected_version`.
        """
        before = CLIP_RETRY[failed_state]
        with self._database.begin() as connection:
            clip = _locked(connection, clip_id)
            working = next(state for state, sources in _CLAIMABLE.items() if failed_state in sources)
            if not clip.is_live or clip.state not in {before, working, failed_state}:
                return None
            if expected_version is not None and clip.cut_point_version != expected_version:
                return None
            attempts = attempts_after_failure(clip.attempts, transient=transient)
            if failed_state == ClipState.EXPORT_FAILED:
                own = (clip_artifacts.c.key == clip.clip_filepath) & (clip_artifacts.c.state == "writing")
                connection.execute(clip_artifacts.update().where(own).values(state="live"))
            return _written(connection, clip_id, {"state": failed_state.value, "error": message, "attempts": attempts})

    def retry(self, clip_id: int) -> Clip:
        """Put a failed clip back before the stage that failed, with all tries; if its keyframes are gone, before the keyframe stage.

        Raises IllegalTransitionError if it has not failed.
        """
        with self._database.begin() as connection:
            clip = _locked(connection, clip_id)
            before = CLIP_RETRY.get(clip.state)
            if before is None:
                raise IllegalTransitionError(
                    f"clip id:{clip_id} is {_described(clip)}: nothing to retry; only {', '.join(CLIP_RETRY)} can be"
                )
            checked_clip_transition(clip.state, before)
            back = _written(connection, clip_id, {"state": before.value, "error": None, "attempts": 0})
            if before == ClipState.KEYFRAMED and not connection.scalar(select(exists().where(_live_keyframes(clip_id)))):
                return _written(connection, clip_id, {"state": checked_clip_transition(before, ClipState.KEYFRAMING).value})
            return back

    def request_export(self, clip_id: int, profile: str) -> Clip:
        """Request a new export of an approved clip with `profile`; its present file stays until the new one is there.

        Raises IllegalTransitionError when the clip is not approved.
        """
        with self._database.begin() as connection:
            clip = _locked(connection, clip_id)
            if not clip.is_live or clip.state not in APPROVED_STATES:
                raise IllegalTransitionError(
                    f"clip id:{clip_id} is {_described(clip)}: only an approved clip is exported; approve it first"
                )
            columns = {"state": ClipState.REVIEW_APPROVED.value, "error": None, "attempts": 0, "export_profile": profile}
            return _written(connection, clip_id, {**columns, "cut_point_version": clip.cut_point_version + 1})

    # Files

    def artifacts(self, clip_id: int, *, kind: str | None = None, states: Collection[str] = ("live",)) -> list[ClipArtifact]:
        """The files of a clip by key. kind: export or keyframe, both when None."""
        query = select(clip_artifacts).where(clip_artifacts.c.clip_id == clip_id, clip_artifacts.c.state.in_(states))
        if kind is not None:
            query = query.where(clip_artifacts.c.kind == kind)
        with self._database.read() as connection:
            return [artifact_of_row(row) for row in connection.execute(query.order_by(clip_artifacts.c.key))]

    def live_artifact_keys(self, clip_id: int, kind: str) -> list[str]:
        return [artifact.key for artifact in self.artifacts(clip_id, kind=kind)]

    def obsolete_artifacts(self, source_video_id: int | None = None) -> list[ClipArtifact]:
        """Files that are not needed: obsolete, or half written by a process that died, on a clip that has left the stage."""
        query = select(clip_artifacts).join(clips, clips.c.id == clip_artifacts.c.clip_id)
        query = query.where(clip_artifacts.c.state.in_(["obsolete", "writing"]), is_unneeded())
        if source_video_id is not None:
            query = query.where(clips.c.source_video_id == source_video_id)
        with self._database.read() as connection:
            return [artifact_of_row(row) for row in connection.execute(query.order_by(clip_artifacts.c.clip_id, clip_artifacts.c.id))]

    def give_up_keyframes(self, clip_id: int, version: int) -> None:
        """Make the keyframes of a clip obsolete because some of their objects are gone: `retry` then has all of them made again.

        Changes nothing when the clip is no longer of `version`.
        """
        with self._database.begin() as connection:
            if _locked(connection, clip_id).cut_point_version == version:
                connection.execute(clip_artifacts.update().where(_live_keyframes(clip_id)).values(state="obsolete"))

    def clean_up(self, clip_id: int, delete: Callable[[str], object]) -> list[str]:
        """Delete the objects of a clip that are not needed, by `delete(key)`, and mark their rows `deleted`; return their keys.

        All under the clip's row lock, so that no stage can claim a key while its object is deleted. Live objects stay, and so do
        objects that a stage is writing: a later call finds them. An object that is gone already counts as deleted.
        When `delete` raises, nothing is marked and a later call tries again.
        """
        with self._database.begin() as connection:
            clip = _locked(connection, clip_id)
            query = select(clip_artifacts).where(clip_artifacts.c.clip_id == clip_id, clip_artifacts.c.state.in_(["obsolete", "writing"]))
            deleted: list[ClipArtifact] = []
            for artifact in [artifact_of_row(row) for row in connection.execute(query.order_by(clip_artifacts.c.id))]:
                if artifact.state == "obsolete" or _is_abandoned(connection, clip, artifact):
                    delete(artifact.key)
                    deleted.append(artifact)
            if deleted:
                ids = [artifact.id for artifact in deleted]
                connection.execute(clip_artifacts.update().where(clip_artifacts.c.id.in_(ids)).values(state="deleted"))
            return [artifact.key for artifact in deleted]

    def _claim(self, clip_id: int, working: ClipState, kind: str, keys: Sequence[str]) -> Clip | None:
        with self._database.begin() as connection:
            clip = _locked(connection, clip_id)
            if not clip.is_live or clip.state not in _CLAIMABLE[working]:
                return None
            for key in sorted(keys):
                row = insert(clip_artifacts).values(clip_id=clip_id, kind=kind, key=key, state="writing", manifest={})
                row = row.on_conflict_do_update(
                    index_elements=["key"],
                    set_={"state": "writing", "created_at": func.now()},
                    where=(clip_artifacts.c.clip_id == clip_id) & (clip_artifacts.c.kind == kind),
                )
                if connection.execute(row.returning(clip_artifacts.c.id)).first() is None:
                    raise PermanentError(f"the object key {key} belongs to another clip; clip id:{clip_id} cannot use it")
            return _written(connection, clip_id, {"state": checked_clip_transition(clip.state, working).value, "error": None})

    def _finish(
        self, clip_id: int, version: int, working: ClipState, done: ClipState, kind: str, made: Sequence[MadeObject], **columns: Any
    ) -> bool:
        keys = [one.key for one in made]
        own = (clip_artifacts.c.clip_id == clip_id) & (clip_artifacts.c.kind == kind)
        with self._database.begin() as connection:
            clip = _locked(connection, clip_id)
            if not clip.is_live or clip.state != working or clip.cut_point_version != version:
                # Rows in `writing` belong to this process, because it holds the stage lock. The present file shows the right frames,
                # perhaps in a profile that is no longer wanted: it stays until the next file is there.
                for one in made:
                    half_written = own & (clip_artifacts.c.key == one.key) & (clip_artifacts.c.state == "writing")
                    values = {"state": "obsolete"} if one.key != clip.clip_filepath else _live_values(one)
                    connection.execute(clip_artifacts.update().where(half_written).values(**values))
                return False
            others = own & clip_artifacts.c.key.notin_(keys) & clip_artifacts.c.state.in_(["live", "writing"])
            connection.execute(clip_artifacts.update().where(others).values(state="obsolete"))
            for one in made:
                mine = own & (clip_artifacts.c.key == one.key)
                written = connection.execute(clip_artifacts.update().where(mine).values(**_live_values(one)))
                if written.rowcount != 1:
                    raise PermanentError(f"the object key {one.key} was not claimed for clip id:{clip_id}")
            state = checked_clip_transition(clip.state, done)
            _written(connection, clip_id, {**columns, "state": state.value, "error": None, "attempts": 0})
            return True


def is_unneeded() -> ColumnElement[bool]:
    """Condition on `clip_artifacts` joined with clips: obsolete, or half written by a process that died, on a clip that left the stage."""
    abandoned = [
        (clip_artifacts.c.state == "writing")
        & (clip_artifacts.c.kind == kind)
        & (clips.c.state != state.value)
        & clip_artifacts.c.key.is_distinct_from(clips.c.clip_filepath)
        for kind, (_, state) in _MADE_BY.items()
    ]
    return or_(clip_artifacts.c.state == "obsolete", *abandoned)


def _live_values(made: MadeObject) -> dict[str, Any]:
    return {"state": "live", "byte_size": made.byte_size, "manifest": dict(made.manifest)}


def _live_keyframes(clip_id: int) -> ColumnElement[bool]:
    return (clip_artifacts.c.clip_id == clip_id) & (clip_artifacts.c.kind == "keyframe") & (clip_artifacts.c.state == "live")


def _is_abandoned(connection: Connection, clip: Clip, artifact: ClipArtifact) -> bool:
    """Whether a row in `writing` is abandoned: the clip has left the stage and no process holds the stage's lock."""
    stage, working = _MADE_BY[artifact.kind]
    if (clip.is_live and clip.state == working) or artifact.key == clip.clip_filepath:
        return False
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(lock_key(stage, clip.source_video_id)))))


def _locked(connection: Connection, clip_id: int) -> Clip:
    found = lock_clips(connection, [clip_id])
    if not found:
        raise NotFoundError(f"there is no clip id:{clip_id}; heaters clips VIDEO lists those that are")
    return clip_of_row(found[0])


def _written(connection: Connection, clip_id: int, columns: Mapping[str, Any]) -> Clip:
    return clip_of_row(connection.execute(clips.update().where(clips.c.id == clip_id).values(**columns).returning(clips)).one())


def _described(clip: Clip) -> str:
    return clip.state.value if clip.is_live else "replaced by other cuts"
