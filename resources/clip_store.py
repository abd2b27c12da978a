"""Clips in Postgres, and the files made from them: one row each, changed under its lock and only along the table of legal transitions.

Files. A stage claims its clip, which writes the `clip_artifacts` rows of the objects it is about to make in state `writing`; then it
publishes the objects; then it finishes, which makes the rows `live`. It does all this while it holds the stage lock of its asset,
`Database.stage_lock("exports", source_video_id)` or `("keyframes", ...)`, so two processes never write one key. Whoever dies in between
leaves rows in `writing` whose lock is free: the next claim takes them over, or `clean_up` deletes their objects. No object is ever
without a row. A row is `obsolete` only when nobody is writing its object.

Decisions. A reviewer may change a clip while a stage works on it. Every finish therefore compares `cut_point_version` and state with what
was claimed, and changes nothing when they differ: the decision stands, and what was made becomes obsolete.

A clip that is exported again stays physical meanwhile: its file, its keyframes and its embeddings are of the same frames, and serve until
the new file takes the old one's place. Its row is in `writing` then, and still nobody's to delete.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, exists, func, or_, select, tuple_, union_all
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.cuts import ReviewAction, ReviewClip
from heaters_dagster.domain.due import MAX_ATTEMPTS, attempts_after_failure
from heaters_dagster.domain.errors import CutError, IllegalTransitionError, NotFoundError, PermanentError, StaleClipError
from heaters_dagster.domain.review import snapshot
from heaters_dagster.domain.states import (
    APPROVED_STATES,
    CLIP_RETRY,
    ClipState,
    SourceVideoState,
    checked_clip_transition,
    checked_source_video_transition,
)
from resources.database import Database, lock_key
from resources.reviewer_store import reviewer_id
from resources.source_video_store import containing, lock_source_video
from resources.tables import clip_artifacts, clips, embeddings, review_actions, source_videos

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One row of `clips`.

    [start_frame, end_frame): frames of the source video. sequence: per source video, never reused. cut_points: the four numbers as JSON.
    is_live: False once a cut point operation has replaced it. clip_filepath: object key of the export, None while the clip is virtual.
    confidence: 0..1 of the weaker detected boundary, None without one. attempts: failed tries of the stage in hand.
    state_changed_at: since when it is in this state; a lease or a look at it changes `updated_at` only.
    """

    id: int
    source_video_id: int
    sequence: int
    start_frame: int
    end_frame: int
    start_time_seconds: float
    end_time_seconds: float
    cut_points: Mapping[str, Any]
    source_video_order: int
    state: ClipState
    error: str | None
    attempts: int
    is_live: bool
    is_virtual: bool
    clip_filepath: str | None
    confidence: float | None
    grouped_with_clip_id: int | None
    cut_point_version: int
    export_profile: str
    created_by_user_id: int | None
    last_modified_by_user_id: int | None
    leased_by_user_id: int | None
    lease_expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    state_changed_at: datetime

    @property
    def frame_count(self) -> int:
        return self.end_frame - self.start_frame

    @property
    def place(self) -> tuple[int, int, int]:
        """Where the clip stands in `ClipStore.find`: pass that of the last clip of a page to get the next one."""
        return (self.source_video_id, self.start_frame, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClip:
    """A clip that a detector cut. confidence: see Clip."""

    start_frame: int
    end_frame: int
    start_time_seconds: float
    end_time_seconds: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipArtifact:
    """One row of `clip_artifacts`. kind: export or keyframe. state: writing, live, obsolete, deleted. manifest: see domain/manifest.py."""

    id: int
    clip_id: int
    kind: str
    key: str
    state: str
    byte_size: int | None
    manifest: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class MadeObject:
    """An object that a stage has published. size in bytes."""

    key: str
    byte_size: int
    manifest: Mapping[str, Any]


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
            raise NotFoundError(f"there is no clip {', '.join(map(str, missing))}; heaters clips VIDEO lists those that are")
        return [found[clip_id] for clip_id in clip_ids]

    def load_live(self, source_video_id: int) -> list[Clip]:
        """The clips that cover a source video, in order; none before its scenes are detected."""
        with self._database.read() as connection:
            return _live(connection, source_video_id)

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
            # The first comparison repeats what the second says, in a form that bounds an index scan.
            page = page.where(clips.c.source_video_id >= after[0])
            page = page.where(tuple_(clips.c.source_video_id, clips.c.start_frame, clips.c.id) > tuple_(*after))
        query: Select[Any] = page.order_by(clips.c.source_video_id, clips.c.start_frame, clips.c.id).limit(limit)
        if states:
            # One index range for each state, merged: a filter on all live clips would read up to all of them to find a rare state.
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
        query = select(clips.c.source_video_id, clips.c.state, func.count()).where(clips.c.is_live)
        if source_video_id is not None:
            query = query.where(clips.c.source_video_id == source_video_id)
        counts: dict[int, dict[ClipState, int]] = {}
        with self._database.read() as connection:
            for video_id, state, count in connection.execute(query.group_by(clips.c.source_video_id, clips.c.state)):
                counts.setdefault(video_id, {})[ClipState(state)] = count
        return counts

    def due_for_export(self, source_video_id: int | None = None) -> list[Clip]:
        """Approved clips without a file: fresh, left by a process that died, or failed with tries left. Oldest decision first."""
        return self._due(ClipState.REVIEW_APPROVED, ClipState.EXPORTING, ClipState.EXPORT_FAILED, source_video_id)

    def due_for_keyframes(self, source_video_id: int | None = None) -> list[Clip]:
        return self._due(ClipState.EXPORTED, ClipState.KEYFRAMING, ClipState.KEYFRAME_FAILED, source_video_id)

    def due_for_embeddings(self, source_video_id: int | None = None) -> list[Clip]:
        return self._due(ClipState.KEYFRAMED, ClipState.EMBEDDING, ClipState.EMBEDDING_FAILED, source_video_id)

    def _due(self, ready: ClipState, working: ClipState, failed: ClipState, source_video_id: int | None) -> list[Clip]:
        query = select(clips).where(
            clips.c.is_live,
            clips.c.state.in_([ready.value, working.value, failed.value]),
            or_(clips.c.state != failed.value, clips.c.attempts < MAX_ATTEMPTS),
        )
        if source_video_id is not None:
            query = query.where(clips.c.source_video_id == source_video_id)
        with self._database.read() as connection:
            return [clip_of_row(row) for row in connection.execute(query.order_by(clips.c.state_changed_at, clips.c.id))]

    # Cutting

    def replace_cuts(self, source_video_id: int, new: Sequence[NewClip], frame_count: int, *, forced_by: str | None = None) -> list[Clip]:
        """Make `new` the clips of a source video and the video `scenes_detected`, in one transaction.

        The video is `detecting_scenes`, or has its scenes already and is cut again from stored scores.
        new: in order, covering [0, frame_count). Clips that were there are retired, their files become obsolete. When they have the same
        frames already they stay as they are, with their decisions, so that a repeated run changes nothing.
        forced_by: name of the reviewer who wants new cuts even when review has begun; the ledger then has it as an action of theirs.
        Raises CutError when the clips do not cover the frames, PermanentError when review has begun and nobody forces it,
        IllegalTransitionError.
        """
        _check_cover(new, frame_count)
        with self._database.begin() as connection:
            video = lock_source_video(connection, source_video_id)
            done = SourceVideoState.SCENES_DETECTED
            if video.state != done:
                checked_source_video_transition(video.state, done)
            columns: dict[str, Any] = {"state": done.value, "error": None, "attempts": 0, "frame_count": frame_count}
            old = _live(connection, source_video_id, lock=True)
            if [(clip.start_frame, clip.end_frame) for clip in old] == [(clip.start_frame, clip.end_frame) for clip in new]:
                _refresh(connection, old, new)
            else:
                begun = _review_has_begun(connection, source_video_id)
                if begun and forced_by is None:
                    raise PermanentError(f"review of source video {source_video_id} has begun: new cuts would undo it; --force cuts anyway")
                reviewer = reviewer_id(connection, forced_by) if begun and forced_by is not None else None
                retired = _retire(connection, old, reviewer)
                _insert(connection, source_video_id, new, first_sequence=video.next_clip_sequence)
                if reviewer is not None:
                    _record_recut(connection, reviewer, source_video_id, old, [*retired, *_live(connection, source_video_id)])
                columns["next_clip_sequence"] = video.next_clip_sequence + len(new)
            connection.execute(source_videos.update().where(source_videos.c.id == source_video_id).values(**columns))
            return _live(connection, source_video_id)

    def review_has_begun(self, source_video_id: int) -> bool:
        """Whether anybody has decided anything about this source video; new cuts would undo it."""
        with self._database.read() as connection:
            return _review_has_begun(connection, source_video_id)

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
                raise StaleClipError(f"clip {clip_id} is {_described(clip)}; this needs one that is {' or '.join(sorted(allowed))}")
            columns: dict[str, Any] = {"state": checked_clip_transition(clip.state, new).value, "error": None}
            if new in _DONE:
                columns["attempts"] = 0
            return _written(connection, clip_id, columns)

    def fail(
        self, clip_id: int, failed_state: ClipState, message: str, *, transient: bool, expected_version: int | None = None
    ) -> Clip | None:
        """Put the clip into its failed state with the reason. A failure that may pass counts one try; any other uses up all of them.

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
        """Put a failed clip back before the stage that failed, with all tries; one whose keyframes are gone, before that of its keyframes.

        Raises IllegalTransitionError if it has not failed.
        """
        with self._database.begin() as connection:
            clip = _locked(connection, clip_id)
            before = CLIP_RETRY.get(clip.state)
            if before is None:
                raise IllegalTransitionError(f"clip {clip_id} is {_described(clip)}: nothing to retry; only {', '.join(CLIP_RETRY)} can be")
            checked_clip_transition(clip.state, before)
            back = _written(connection, clip_id, {"state": before.value, "error": None, "attempts": 0})
            if before == ClipState.KEYFRAMED and not connection.scalar(select(exists().where(_live_keyframes(clip_id)))):
                return _written(connection, clip_id, {"state": checked_clip_transition(before, ClipState.KEYFRAMING).value})
            return back

    def request_export(self, clip_id: int, profile: str) -> Clip:
        """Ask for an approved clip to be exported again with `profile`; the file that it has stays until the new one is there.

        Raises IllegalTransitionError when the clip is not approved.
        """
        with self._database.begin() as connection:
            clip = _locked(connection, clip_id)
            if not clip.is_live or clip.state not in APPROVED_STATES:
                raise IllegalTransitionError(f"clip {clip_id} is {_described(clip)}: only an approved clip is exported; approve it first")
            columns = {"state": ClipState.REVIEW_APPROVED.value, "error": None, "attempts": 0, "export_profile": profile}
            return _written(connection, clip_id, {**columns, "cut_point_version": clip.cut_point_version + 1})

    # Files

    def artifacts(self, clip_id: int, *, kind: str | None = None, states: Collection[str] = ("live",)) -> list[ClipArtifact]:
        """The files of a clip by key. kind: export or keyframe, both when None."""
        query = select(clip_artifacts).where(clip_artifacts.c.clip_id == clip_id, clip_artifacts.c.state.in_(states))
        if kind is not None:
            query = query.where(clip_artifacts.c.kind == kind)
        with self._database.read() as connection:
            return [_artifact(row) for row in connection.execute(query.order_by(clip_artifacts.c.key))]

    def live_artifact_keys(self, clip_id: int, kind: str) -> list[str]:
        return [artifact.key for artifact in self.artifacts(clip_id, kind=kind)]

    def obsolete_artifacts(self, source_video_id: int | None = None) -> list[ClipArtifact]:
        """Files that nobody needs: obsolete, and those half written by a process that died on a clip that has left the stage."""
        abandoned = [
            (clip_artifacts.c.state == "writing")
            & (clip_artifacts.c.kind == kind)
            & (clips.c.state != state.value)
            & clip_artifacts.c.key.is_distinct_from(clips.c.clip_filepath)
            for kind, (_, state) in _MADE_BY.items()
        ]
        query = select(clip_artifacts).join(clips, clips.c.id == clip_artifacts.c.clip_id)
        query = query.where(clip_artifacts.c.state.in_(["obsolete", "writing"]), or_(clip_artifacts.c.state == "obsolete", *abandoned))
        if source_video_id is not None:
            query = query.where(clips.c.source_video_id == source_video_id)
        with self._database.read() as connection:
            return [_artifact(row) for row in connection.execute(query.order_by(clip_artifacts.c.clip_id, clip_artifacts.c.id))]

    def give_up_keyframes(self, clip_id: int, version: int) -> None:
        """Make the keyframes of a clip obsolete because some of their objects are gone: `retry` then has all of them made again.

        Changes nothing when the clip is no longer of `version`.
        """
        with self._database.begin() as connection:
            if _locked(connection, clip_id).cut_point_version == version:
                connection.execute(clip_artifacts.update().where(_live_keyframes(clip_id)).values(state="obsolete"))

    def clean_up(self, clip_id: int, delete: Callable[[str], object]) -> list[str]:
        """Delete the objects of a clip that nobody needs, by `delete(key)`, and mark their rows `deleted`; return their keys.

        All under the clip's row lock, so that no stage can claim a key while its object goes. What is live is left alone, and so is
        what a stage is writing: a later call finds it. An object that is gone already counts as deleted.
        When `delete` raises, nothing is marked and a later call tries again.
        """
        with self._database.begin() as connection:
            clip = _locked(connection, clip_id)
            query = select(clip_artifacts).where(clip_artifacts.c.clip_id == clip_id, clip_artifacts.c.state.in_(["obsolete", "writing"]))
            deleted: list[ClipArtifact] = []
            for artifact in [_artifact(row) for row in connection.execute(query.order_by(clip_artifacts.c.id))]:
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
                    raise PermanentError(f"the object key {key} belongs to another clip; clip {clip_id} cannot use it")
            return _written(connection, clip_id, {"state": checked_clip_transition(clip.state, working).value, "error": None})

    def _finish(
        self, clip_id: int, version: int, working: ClipState, done: ClipState, kind: str, made: Sequence[MadeObject], **columns: Any
    ) -> bool:
        keys = [one.key for one in made]
        own = (clip_artifacts.c.clip_id == clip_id) & (clip_artifacts.c.kind == kind)
        with self._database.begin() as connection:
            clip = _locked(connection, clip_id)
            if not clip.is_live or clip.state != working or clip.cut_point_version != version:
                # What is in `writing` now is ours, because we hold the stage's lock. The clip's own file shows its frames, if in a profile
                # that is no longer wanted: it stays until the next one is there.
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
                    raise PermanentError(f"the object key {one.key} was not claimed for clip {clip_id}")
            state = checked_clip_transition(clip.state, done)
            _written(connection, clip_id, {**columns, "state": state.value, "error": None, "attempts": 0})
            return True


#: What a clip without a file has in its columns. Write it in the same statement as the state, which says whether there must be a file.
VIRTUAL: Mapping[str, Any] = {"is_virtual": True, "clip_filepath": None}


def forget_files(connection: Connection, clip_ids: Sequence[int]) -> None:
    """Make the live files of clips obsolete and delete their embeddings.

    The rows of the clips must be locked; the caller makes them VIRTUAL.
    Rows in `writing` stay: the stage that wrote them sees the new version and makes them obsolete, or it has died and `clean_up` does.
    """
    live = clip_artifacts.c.clip_id.in_(clip_ids) & (clip_artifacts.c.state == "live")
    connection.execute(clip_artifacts.update().where(live).values(state="obsolete"))
    connection.execute(embeddings.delete().where(embeddings.c.clip_id.in_(clip_ids)))


def _live_values(made: MadeObject) -> dict[str, Any]:
    return {"state": "live", "byte_size": made.byte_size, "manifest": dict(made.manifest)}


def _live_keyframes(clip_id: int) -> ColumnElement[bool]:
    return (clip_artifacts.c.clip_id == clip_id) & (clip_artifacts.c.kind == "keyframe") & (clip_artifacts.c.state == "live")


def _is_abandoned(connection: Connection, clip: Clip, artifact: ClipArtifact) -> bool:
    """Whether a row in `writing` belongs to nobody: the clip has left the stage and no process holds the stage's lock."""
    stage, working = _MADE_BY[artifact.kind]
    if (clip.is_live and clip.state == working) or artifact.key == clip.clip_filepath:
        return False
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(lock_key(stage, clip.source_video_id)))))


def _review_has_begun(connection: Connection, source_video_id: int) -> bool:
    # An action on several source videos stands under the first of them; on the others it is told by their clips.
    acted = exists().where(review_actions.c.source_video_id == source_video_id)
    changed = exists().where(clips.c.source_video_id == source_video_id, clips.c.is_live, clips.c.last_modified_by_user_id.is_not(None))
    return bool(connection.scalar(select(or_(acted, changed))))


def _check_cover(new: Sequence[NewClip], frame_count: int) -> None:
    reached = 0
    for clip in new:
        if clip.start_frame != reached or clip.end_frame <= clip.start_frame:
            raise CutError(f"the cut list has a clip of frames {clip.start_frame}..{clip.end_frame - 1} where one must begin at {reached}")
        reached = clip.end_frame
    if reached != frame_count or not new:
        raise CutError(f"the cut list covers {reached} frames of {frame_count}; the last clip must end at {frame_count}")


def _refresh(connection: Connection, old: Sequence[Clip], new: Sequence[NewClip]) -> None:
    """Write times and confidences that a new detection found where they differ; no decision rests on them."""
    for clip, found in zip(old, new, strict=True):
        columns = {
            "start_time_seconds": found.start_time_seconds,
            "end_time_seconds": found.end_time_seconds,
            "confidence": found.confidence,
        }
        if any(getattr(clip, name) != value for name, value in columns.items()):
            _written(connection, clip.id, columns)


def _retire(connection: Connection, old: Sequence[Clip], reviewer: int | None) -> list[Clip]:
    """reviewer: id of who forced it; None when no review had begun."""
    ids = [clip.id for clip in old]
    forget_files(connection, ids)
    rows = connection.execute(
        clips.update()
        .where(clips.c.id.in_(ids))
        .values(
            **VIRTUAL,
            is_live=False,
            state=ClipState.REVIEW_ARCHIVED.value,
            error=None,
            grouped_with_clip_id=None,
            leased_by_user_id=None,
            lease_expires_at=None,
            cut_point_version=clips.c.cut_point_version + 1,
            last_modified_by_user_id=clips.c.last_modified_by_user_id if reviewer is None else reviewer,
        )
        .returning(clips)
    )
    return [clip_of_row(row) for row in rows]


def _record_recut(connection: Connection, reviewer: int, source_video_id: int, old: Sequence[Clip], after: Sequence[Clip]) -> None:
    before = {clip.id: _snapshot(clip) for clip in old}
    connection.execute(
        review_actions.insert().values(
            reviewer_id=reviewer,
            source_video_id=source_video_id,
            action=ReviewAction.RECUT.value,
            clip_ids=sorted(clip.id for clip in after),
            before={str(clip.id): before.get(clip.id) for clip in after},
            after={str(clip.id): _snapshot(clip) for clip in after},
            created_at=func.clock_timestamp(),
        )
    )


def _snapshot(clip: Clip) -> dict[str, Any]:
    times = {"start_time_seconds": clip.start_time_seconds, "end_time_seconds": clip.end_time_seconds}
    return {**snapshot(review_clip(clip)), **times}


def _insert(connection: Connection, source_video_id: int, new: Sequence[NewClip], *, first_sequence: int) -> None:
    """One statement however many clips there are."""
    statement = sql(
        """
        insert into clips (source_video_id, sequence, start_frame, end_frame, start_time_seconds, end_time_seconds, confidence)
        select :source_video_id, :first_sequence + ordinality - 1, start_frame, end_frame, start_time, end_time, confidence
        from unnest(
            cast(:start_frames as integer[]), cast(:end_frames as integer[]),
            cast(:start_times as float8[]), cast(:end_times as float8[]), cast(:confidences as float8[])
        ) with ordinality as made (start_frame, end_frame, start_time, end_time, confidence, ordinality)
        order by ordinality
        """
    )
    connection.execute(
        statement,
        {
            "source_video_id": source_video_id,
            "first_sequence": first_sequence,
            "start_frames": [clip.start_frame for clip in new],
            "end_frames": [clip.end_frame for clip in new],
            "start_times": [clip.start_time_seconds for clip in new],
            "end_times": [clip.end_time_seconds for clip in new],
            "confidences": [clip.confidence for clip in new],
        },
    )


def _live(connection: Connection, source_video_id: int, *, lock: bool = False) -> list[Clip]:
    query = select(clips).where(clips.c.source_video_id == source_video_id, clips.c.is_live).order_by(clips.c.start_frame)
    return [clip_of_row(row) for row in connection.execute(query.with_for_update(key_share=True) if lock else query)]


def _locked(connection: Connection, clip_id: int) -> Clip:
    # NO KEY UPDATE: rows that refer to this one can still be written by others.
    row = connection.execute(select(clips).where(clips.c.id == clip_id).with_for_update(key_share=True)).first()
    if row is None:
        raise NotFoundError(f"there is no clip {clip_id}; heaters clips VIDEO lists those that are")
    return clip_of_row(row)


def _written(connection: Connection, clip_id: int, columns: Mapping[str, Any]) -> Clip:
    return clip_of_row(connection.execute(clips.update().where(clips.c.id == clip_id).values(**columns).returning(clips)).one())


def _described(clip: Clip) -> str:
    return clip.state.value if clip.is_live else "replaced by other cuts"


def clip_of_row(row: Row[Any]) -> Clip:
    """A row of `clips`, whichever query it came from."""
    return Clip(**{**row._mapping, "state": ClipState(row.state)})


def review_clip(row: Clip) -> ReviewClip:
    """What review knows of a clip."""
    return ReviewClip(
        id=row.id,
        source_video_id=row.source_video_id,
        sequence=row.sequence,
        start_frame=row.start_frame,
        end_frame=row.end_frame,
        state=row.state,
        is_live=row.is_live,
        version=row.cut_point_version,
        grouped_with_clip_id=row.grouped_with_clip_id,
        confidence=row.confidence,
        export_profile=row.export_profile,
    )


def _artifact(row: Row[Any]) -> ClipArtifact:
    return ClipArtifact(**row._mapping)
