"""The transaction of one review action: what it locks and reads, and how it writes the result of the pure core.

Locks are taken in the order of `row_locks`: the reviewer first (so that their actions come one after another and "undo" has one meaning),
then the source videos, then the clips. Only the clips concerned are read, never all clips of a video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain import cuts, review
from heaters_dagster.domain.clip_names import clips_by_id, no_clips
from heaters_dagster.domain.cuts import Change, ClipChange, ReviewAction, ReviewClip, checked_cut_frame
from heaters_dagster.domain.errors import BadRequestError, CutError, NotFoundError, NothingToUndoError, PermanentError, StaleClipError
from heaters_dagster.domain.review import LedgerEntry, clip_of_snapshot, loses_export, snapshot
from heaters_dagster.domain.review_queue import MAX_ID
from heaters_dagster.event_log import of_clips, tell_when_committed
from resources.postgres import clip_exports
from resources.postgres.clip_cutting import restore_settings
from resources.postgres.clip_files import forget_files
from resources.postgres.clip_rows import CLIP, Clip, clip_of_row, cut_columns, review_clip
from resources.postgres.review_statements import (
    AROUND,
    CLIP_IDS,
    FOLLOWERS,
    IN_PLACE_OF,
    INSERT,
    LEDGER,
    LEDGER_WITH_NAMES,
    STANDING,
    UPDATE,
)
from resources.postgres.row_locks import lock_clips, lock_live_clips, lock_source_videos_of
from resources.postgres.source_video_store import lock_source_video
from resources.postgres.tables import clips, cut_point_operations, review_actions, reviewers

#: The version of the clip that is decided on, or clip id -> version for several clips; None: any version.
ExpectedVersion = int | Mapping[int, int] | None

#: The first entry is usually the one that is looked for.
_FIRST_LEDGER_PAGE = 4
_LEDGER_PAGE = 256
_DECISIONS = frozenset({ReviewAction.APPROVE, ReviewAction.SKIP, ReviewAction.ARCHIVE, ReviewAction.GROUP})
_DID = {
    ReviewAction.APPROVE: "approved",
    ReviewAction.SKIP: "skipped",
    ReviewAction.ARCHIVE: "archived",
    ReviewAction.GROUP: "grouped",
    ReviewAction.ADD_CUT_POINT: "added a cut at",
    ReviewAction.REMOVE_CUT_POINT: "removed a cut at",
    ReviewAction.MOVE_CUT_POINT: "moved a cut of",
    ReviewAction.EDIT_CUT: "changed the kind or range of a cut of",
    ReviewAction.RECUT: "cut anew",
    ReviewAction.SEND_BACK: "sent back to review",
    ReviewAction.IMPORT_CUTS: "imported cuts over",
}
#: Actions on any number of cuts, which are no single operation on a cut point.
_ON_MANY_CUTS = frozenset({ReviewAction.RECUT, ReviewAction.IMPORT_CUTS})


class StaleClipsError(StaleClipError):
    """The decision was made on old versions. clips: the clips that are there now, for a new decision."""

    def __init__(self, message: str, fresh: Sequence[Clip]) -> None:
        super().__init__(message)
        self.clips = tuple(fresh)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewResult:
    """The result of an action.

    action_id: its row in the ledger; None when nothing was changed and there was no request key. clips: the requested and the changed
    clips, retired ones too, after the action, by source video and start. replayed: the request key was used before; nothing was done
    this time, and `clips` shows their present state.
    """

    action_id: int | None
    action: ReviewAction
    clips: tuple[Clip, ...]
    replayed: bool

    @property
    def live_clips(self) -> tuple[Clip, ...]:
        return tuple(clip for clip in self.clips if clip.is_live)


class ReviewTransaction:
    """One transaction of one reviewer: the rows that it has locked, and the times of the frames that it may need."""

    def __init__(self, connection: Connection, reviewer_id: int) -> None:
        self._connection = connection
        self._reviewer_id = reviewer_id
        self._rows: dict[int, Clip] = {}
        self._asked: set[int] = set()
        self._times: dict[tuple[int, int], float] = {}
        self._source_video_id: int | None = None
        self._target: LedgerEntry | None = None

    def clips(self) -> list[ReviewClip]:
        """All clips that are locked."""
        return [review_clip(row) for row in self._rows.values()]

    def lock_clips(self, clip_ids: Sequence[int], expected: ExpectedVersion, *, beside: str = "", alone: bool = False) -> list[ReviewClip]:
        """Lock clips and check that they are live and have the expected versions; return them.

        beside: a query of more ids to lock. Only then the source videos are locked, so that no other transaction changes which clips these
        are. Without it the clips' own locks are enough, and those who approve clips of one source video do not wait for each other: when
        200 people worked on one, that was where their time went. alone: nobody else may decide on clips of these videos meanwhile,
        because the action makes groups, or writes the video too.
        """
        if not clip_ids:
            raise BadRequestError("a decision needs at least one clip")
        if isinstance(expected, int) and len(clip_ids) > 1:
            raise BadRequestError("for several clips the expected version must be given for each clip id, not as one number")
        if beside:
            lock_source_videos_of(self._connection, clip_ids, shared=not alone)
        self._hold(clip_ids, beside)
        versions = {clip_ids[0]: expected} if isinstance(expected, int) else dict(expected or {})
        self._check_fresh(clip_ids, versions)
        self._asked = set(clip_ids)
        self._source_video_id = self._rows[clip_ids[0]].source_video_id
        return [review_clip(self._rows[clip_id]) for clip_id in clip_ids]

    def lock_unchanged(
        self, seen: Mapping[int, int], *, beside: str = "", most_told: int = MAX_ID
    ) -> tuple[list[ReviewClip], dict[int, str]]:
        """Lock those of the clips {id: version} that still have that version; returns (these clips, {id: what has changed} for the others).

        most_told: for this many clips it is looked up what has changed; for the rest only that they have changed.
        """
        clip_ids = list(seen)
        lock_source_videos_of(self._connection, clip_ids)
        self._hold(clip_ids, beside)
        same = [clip_id for clip_id in clip_ids if self._rows[clip_id].is_live and self._rows[clip_id].cut_point_version == seen[clip_id]]
        self._asked = set(same)
        if same:
            self._source_video_id = self._rows[same[0]].source_video_id
        others: dict[int, str] = {}
        for clip_id in clip_ids:
            if clip_id not in self._asked:
                others[clip_id] = self._what_became_of(clip_id) if len(others) < most_told else f"clip id:{clip_id} has changed"
        return [review_clip(self._rows[clip_id]) for clip_id in same], others

    def lock_around(self, source_video_id: int, frame: int, expected: ExpectedVersion) -> list[ReviewClip]:
        """Lock the source video and three live clips: the one that holds `frame`, the one before, the one after."""
        video = lock_source_video(self._connection, source_video_id)
        check_frame(source_video_id, frame, video.frame_count)
        self._hold(list(expected) if isinstance(expected, Mapping) else [], AROUND, source_video_id=source_video_id, frame=frame)
        here = next((row.id for row in self._rows.values() if row.is_live and row.start_frame <= frame < row.end_frame), None)
        if here is None:
            raise _no_clips(source_video_id)
        self._check_fresh((), {here: expected} if isinstance(expected, int) else dict(expected or {}))
        self._source_video_id = source_video_id
        return [clip for clip in self.clips() if clip.is_live and clip.source_video_id == source_video_id]

    def lock_all(self, source_video_id: int) -> list[ReviewClip]:
        """Lock the source video and all its live clips."""
        lock_source_video(self._connection, source_video_id)
        for row in lock_live_clips(self._connection, source_video_id):
            clip = clip_of_row(row)
            self._rows[clip.id] = clip
            self._times[source_video_id, clip.start_frame] = clip.start_time_seconds
            self._times[source_video_id, clip.end_frame] = clip.end_time_seconds
        if not self._rows:
            raise _no_clips(source_video_id)
        self._source_video_id = source_video_id
        return self.clips()

    def know_time(self, source_video_id: int, frame: int, seconds: float) -> None:
        self._times[source_video_id, frame] = seconds

    def own_entries(self, *, standing: bool = False) -> Iterator[LedgerEntry]:
        """The reviewer's own entries in the ledger, newest first, read only as far as needed. standing: without undone actions."""
        query = LEDGER.where(review_actions.c.reviewer_id == self._reviewer_id).order_by(review_actions.c.id.desc())
        if standing:
            query = query.where(STANDING)
        before, size = MAX_ID, _FIRST_LEDGER_PAGE
        while True:
            page = self._connection.execute(query.where(review_actions.c.id < before).limit(size)).all()
            yield from map(_ledger_entry, page)
            if len(page) < size:
                return
            before, size = page[-1].id, min(size * 4, _LEDGER_PAGE)

    def own_entry(self, action_id: int) -> LedgerEntry:
        """A decision of this reviewer, even if it changed nothing.

        Raises NotFoundError, PermanentError for another person's action, NothingToUndoError for an undo, a redo, a new title or a deletion.
        """
        query = LEDGER_WITH_NAMES.add_columns(review_actions.c.reviewer_id).where(review_actions.c.id == action_id)
        row = self._connection.execute(query).first()
        if row is None:
            raise NotFoundError(f"there is no review action {action_id}")
        if row.reviewer_id != self._reviewer_id:
            raise PermanentError(f"action {action_id} was done by {row.name}, and only its author can undo or redo it")
        entry = _ledger_entry(row)
        if entry.target_action_id is not None:
            raise NothingToUndoError(
                f"action {action_id} cannot be undone: it is itself the {entry.action} of action {entry.target_action_id}"
            )
        if entry.action in review.STAYS:
            raise NothingToUndoError(f"action {action_id} cannot be undone: {review.STAYS[entry.action]} is final")
        return entry

    def reopen(self, entry: LedgerEntry, action: ReviewAction) -> tuple[list[ClipChange], dict[int, ReviewClip]]:
        """Lock the clips that `entry` depends on and those grouped with them; return what it did, and the clips as they are now.

        Raises NothingToUndoError when it is undone or redone already, StaleClipsError when a later action is in the way.
        """
        if entry.undone == (action == ReviewAction.UNDO):
            raise NothingToUndoError(
                f"action {entry.id} {'is already undone' if entry.undone else 'was not undone, so it cannot be redone'}"
            )
        lock_source_videos_of(self._connection, entry.clip_ids)
        self._hold(entry.clip_ids, FOLLOWERS)
        touching = CLIP_IDS.overlap(list(entry.clip_ids))
        later = LEDGER_WITH_NAMES.where(review_actions.c.id > entry.id, STANDING, touching)
        rows = {row.id: row for row in self._connection.execute(later)}
        blocker = review.in_the_way(entry, map(_ledger_entry, rows.values()))
        if blocker is not None:
            shared = min(set(blocker.clip_ids) & set(entry.clip_ids))
            raise StaleClipsError(
                f"cannot {action} the {entry.action} of {clips_by_id(entry.clip_ids)}: {rows[blocker.id].name} has "
                f"{_DID[blocker.action]} clip id:{shared} since (action {blocker.id}), which must be undone first",
                self._fresh(entry.clip_ids),
            )
        query = select(review_actions.c.before, review_actions.c.after).where(review_actions.c.id == entry.id)
        saved = self._connection.execute(query).one()
        changes = []
        for clip_id, after in saved.after.items():
            before = saved.before[clip_id]
            for data in (before, after):
                self._know_times(data)
            changes.append(ClipChange(clip_of_snapshot(before) if before else None, clip_of_snapshot(after)))
        current = {clip_id: review_clip(row) for clip_id, row in self._rows.items()}
        left_by_entry = [change.after for change in changes]
        left_by_undo = [change.before or cuts.retired(change.after) for change in changes]
        left, wanted = (left_by_entry, left_by_undo) if action == ReviewAction.UNDO else (left_by_undo, left_by_entry)
        stale = review.changed_since(left, current, wanted=wanted)
        if stale:
            raise StaleClipsError(f"cannot {action} action {entry.id}: {self._what_became_of(stale[0])}", self._fresh(stale))
        self._source_video_id, self._target = entry.source_video_id, entry
        return changes, current

    def seen(self, request_key: str) -> ReviewResult | None:
        """The result of an action that was sent before with this key."""
        query = select(review_actions.c.id, review_actions.c.action, review_actions.c.reviewer_id, review_actions.c.clip_ids)
        row = self._connection.execute(query.where(review_actions.c.request_key == request_key)).first()
        if row is None:
            return None
        if row.reviewer_id != self._reviewer_id:
            raise BadRequestError("the request key was used for another reviewer's action; make a new one for every decision")
        rows = self._connection.execute(select(*CLIP).where(clips.c.id.in_(row.clip_ids)))
        return _result(row.id, ReviewAction(row.action), map(clip_of_row, rows), replayed=True)

    def record(self, change: Change, request_key: str | None, details: Mapping[str, Any] | None = None) -> ReviewResult:
        """Write `change` to the clips and to the ledger. details: what else the ledger keeps of it.

        A decision that changes nothing is written to the ledger only when it has a request key, so that a browser can get the same answer
        again.
        """
        if self._source_video_id is None:
            raise ValueError("an action needs at least one clip")
        done = self._written(change)
        if not done and request_key is None and self._target is None:
            return _result(None, change.action, (row for row in self._rows.values() if row.id in self._asked), replayed=False)
        ledger = Change(change.action, tuple(done))
        row = {
            "reviewer_id": self._reviewer_id,
            "source_video_id": self._source_video_id,
            "action": str(change.action),
            "clip_ids": list(ledger.clip_ids),
            "before": {str(step.after.id): self._saved(step.before) if step.before else None for step in done},
            "after": {str(step.after.id): self._saved(step.after) for step in done},
            "target_action_id": self._target.id if self._target else None,
            "request_key": request_key,
            # The time now, not the begin of the transaction: it may have waited long for its locks.
            "created_at": func.clock_timestamp(),
        } | ({"details": dict(details)} if details else {})
        insertion = insert(review_actions).values(**row).on_conflict_do_nothing(index_elements=["request_key"])
        action_id = self._connection.scalar(insertion.returning(review_actions.c.id))
        if action_id is None:
            raise BadRequestError("the request key was used for another reviewer's action; make a new one for every decision")
        about = of_clips(list(ledger.clip_ids)) | {"source_video_id": self._source_video_id, "reviewer_id": self._reviewer_id}
        tell_when_committed(self._connection, str(change.action), action_id=action_id, **about)
        self._record_cut(action_id, ledger)
        if self._target is not None:
            undone = change.action == ReviewAction.UNDO
            self._connection.execute(review_actions.update().where(review_actions.c.id == self._target.id).values(undone=undone))
            if self._target.action == ReviewAction.RECUT:
                restore_settings(self._connection, self._target.id, before=undone)
        shown = {*self._asked, *(step.after.id for step in done)}
        return _result(action_id, change.action, (row for row in self._rows.values() if row.id in shown), replayed=False)

    def _record_cut(self, action_id: int, ledger: Change) -> None:
        action = ledger.action if self._target is None else self._target.action
        cut = None if action in _ON_MANY_CUTS else ledger.cut
        if cut is None:
            return
        self._connection.execute(
            cut_point_operations.insert().values(
                review_action_id=action_id,
                source_video_id=self._source_video_id,
                operation_type=cut.kind,
                frame_number=cut.frame,
                old_frame_number=cut.old_frame,
                user_id=self._reviewer_id,
                affected_clip_ids=[step.after.id for step in ledger.clips],
                metadata={"action": str(ledger.action), "time_seconds": self._times[self._source_video_id or 0, cut.frame]},
            )
        )

    def _hold(self, clip_ids: Sequence[int], beside: str = "", **arguments: object) -> None:
        """Lock clips by id. With `beside`, their source videos are locked, so no other transaction changes which clips are neighbours."""
        self._rows |= {row.id: clip_of_row(row) for row in lock_clips(self._connection, clip_ids, beside, **arguments)}
        for clip in self._rows.values():
            self._times[clip.source_video_id, clip.start_frame] = clip.start_time_seconds
            self._times[clip.source_video_id, clip.end_frame] = clip.end_time_seconds
        missing = [clip_id for clip_id in clip_ids if clip_id not in self._rows]
        if missing:
            raise NotFoundError(no_clips(missing))

    def _check_fresh(self, clip_ids: Iterable[int], versions: Mapping[int, int]) -> None:
        for clip_id in {**dict.fromkeys(clip_ids), **versions}:
            if clip_id not in self._rows:
                raise BadRequestError(f"an expected version was given for clip id:{clip_id}, which the action does not touch")
            row = self._rows[clip_id]
            expected = versions.get(clip_id, row.cut_point_version)
            if not row.is_live or row.cut_point_version != expected:
                read = f" (version {row.cut_point_version} now, {expected} when you read it)" if row.cut_point_version != expected else ""
                raise StaleClipsError(self._what_became_of(clip_id) + read, self._fresh([clip_id]))

    def last_changed_by(self, clip_id: int) -> str | None:
        """Name of the reviewer who changed this locked clip last; None when no reviewer did."""
        query = select(reviewers.c.name).where(reviewers.c.id == self._rows[clip_id].last_modified_by_user_id)
        name: str | None = self._connection.scalar(query)
        return name

    def _what_became_of(self, clip_id: int) -> str:
        row = self._rows[clip_id]
        name = self.last_changed_by(clip_id)
        who = f"by {name}" if name else "by no reviewer"
        if row.is_live:
            now = f"its state is now {row.state}, its frames {row.start_frame}..{row.end_frame - 1}"
            return f"clip id:{clip_id} has changed, last {who}: {now}"
        there = [clip.id for clip in self._fresh([clip_id])]
        return f"clip id:{clip_id} is no longer in the cut list (changed {who}); in its place: {clips_by_id(there)}"

    def _fresh(self, clip_ids: Sequence[int]) -> list[Clip]:
        """The live clips that now hold frames of these clips."""
        return [clip_of_row(row) for row in self._connection.execute(IN_PLACE_OF, {"ids": list(clip_ids)})]

    def _know_times(self, data: Mapping[str, Any] | None) -> None:
        if data:
            for edge in ("start", "end"):
                self._times[data["source_video_id"], data[f"{edge}_frame"]] = data[f"{edge}_time_seconds"]

    def _seconds_of(self, clip: ReviewClip) -> tuple[float, float]:
        return self._times[clip.source_video_id, clip.start_frame], self._times[clip.source_video_id, clip.end_frame]

    def _saved(self, clip: ReviewClip) -> dict[str, Any]:
        """The snapshot for the ledger: with times, so that undo and redo need no frame index."""
        start_seconds, end_seconds = self._seconds_of(clip)
        return {**snapshot(clip), "start_time_seconds": start_seconds, "end_time_seconds": end_seconds}

    def _written(self, change: Change) -> list[ClipChange]:
        """Write the clips; return the change with the ids and sequences of the new clips."""
        kept = [(step.before, step.after) for step in change.clips if step.before is not None]
        made = [step.after for step in change.clips if step.before is None]
        lease = self._own_lease([before for before, _ in kept])
        physical = [row.id for before, after in kept if not (row := self._rows[after.id or 0]).is_virtual and loses_export(before, after)]
        if physical:
            forget_files(self._connection, physical)
        if kept:
            self._update(change.action, kept)
        self._trim_again(change)
        steps = [ClipChange(before, after) for before, after in kept]
        return [*steps, *(ClipChange(None, clip) for clip in self._insert(made, lease))]

    def _trim_again(self, change: Change) -> None:
        """Ask anew for the files that leave out a transition whose range has changed: of the clip that ends with it, and that begins."""
        begins, ends = cuts.with_other_ranges(change)
        touched = [row for row in self._rows.values() if row.id in begins or (row.source_video_id, row.end_frame) in ends]
        self._rows |= {row.id: row for row in clip_exports.trim_again(self._connection, touched)}

    def _update(self, action: ReviewAction, kept: Sequence[tuple[ReviewClip, ReviewClip]]) -> None:
        # One statement, so that the constraint against overlaps is checked after all of them have moved.
        seconds = [self._seconds_of(after) for _, after in kept]
        rows = self._connection.execute(
            UPDATE,
            {
                "reviewer": self._reviewer_id,
                "ids": [after.id for _, after in kept],
                "start_frames": [after.start_frame for _, after in kept],
                "end_frames": [after.end_frame for _, after in kept],
                "start_times": [start for start, _ in seconds],
                "end_times": [end for _, end in seconds],
                "states": [str(after.state) for _, after in kept],
                "lives": [after.is_live for _, after in kept],
                "groups": [after.grouped_with_clip_id for _, after in kept],
                "profiles": [after.export_profile for _, after in kept],
                "versions": [after.version for _, after in kept],
                "virtuals": [loses_export(before, after) for before, after in kept],
                "resets": [before.state != after.state or loses_export(before, after) for before, after in kept],
                "releases": [not after.is_live or (action in _DECISIONS and after.id in self._asked) for _, after in kept],
                **cut_columns(after.transition for _, after in kept),
            },
        )
        self._rows |= {row.id: clip_of_row(row) for row in rows}

    def _own_lease(self, touched: Iterable[ReviewClip]) -> datetime | None:
        """When the reviewer's lease on the clip ends: the new parts get the same lease. None without a lease."""
        rows = [self._rows[clip.id or 0] for clip in touched]
        return next((row.lease_expires_at for row in rows if row.leased_by_user_id == self._reviewer_id), None)

    def _insert(self, made: Sequence[ReviewClip], lease_expires_at: datetime | None) -> list[ReviewClip]:
        """Save new clips under the next sequences of their source video."""
        if not made:
            return []
        seconds = [self._seconds_of(clip) for clip in made]
        rows = self._connection.execute(
            INSERT,
            {
                "source_video_id": made[0].source_video_id,
                "count": len(made),
                "reviewer": self._reviewer_id,
                "lease_expires_at": lease_expires_at,
                "start_frames": [clip.start_frame for clip in made],
                "end_frames": [clip.end_frame for clip in made],
                "start_times": [start for start, _ in seconds],
                "end_times": [end for _, end in seconds],
                "states": [str(clip.state) for clip in made],
                "confidences": [clip.confidence for clip in made],
                "profiles": [clip.export_profile for clip in made],
                **cut_columns(clip.transition for clip in made),
            },
        )
        saved = [clip_of_row(row) for row in rows]
        self._rows |= {row.id: row for row in saved}
        return [review_clip(row) for row in sorted(saved, key=lambda row: row.sequence)]


def _ledger_entry(row: Row[Any]) -> LedgerEntry:
    return LedgerEntry(
        id=row.id,
        action=ReviewAction(row.action),
        source_video_id=row.source_video_id,
        clip_ids=tuple(row.clip_ids),
        target_action_id=row.target_action_id,
        undone=row.undone,
        recut=row.recut,
        of_facts=row.of_facts,
    )


def _result(action_id: int | None, action: ReviewAction, rows: Iterable[Clip], *, replayed: bool) -> ReviewResult:
    ordered = sorted(rows, key=lambda row: (row.source_video_id, row.start_frame, row.id))
    return ReviewResult(action_id=action_id, action=action, clips=tuple(ordered), replayed=replayed)


def check_frame(source_video_id: int, frame: int, frame_count: int | None) -> None:
    if frame_count is None:
        raise _no_clips(source_video_id)
    checked_cut_frame(frame, frame_count)


def _no_clips(source_video_id: int) -> CutError:
    return CutError(f"source video {source_video_id} has no clips yet, because its scenes are not detected")
