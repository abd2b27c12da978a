"""Review actions in Postgres. Each is one short transaction: it reads the clips, asks the pure core, and writes the result.

The sender is not trusted: versions are compared under the lock, and a request key that was used before gives the first result again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from heaters_dagster.domain import cuts, review
from heaters_dagster.domain.clip_names import no_clips
from heaters_dagster.domain.cut_kinds import Transition
from heaters_dagster.domain.cuts import Change, ReviewAction
from heaters_dagster.domain.errors import BadRequestError, NotFoundError, PermanentError, VerdictStandsError
from heaters_dagster.domain.review import LedgerEntry
from heaters_dagster.domain.review_queue import MAX_ID
from heaters_dagster.domain.states import APPROVED_STATES, ClipState
from heaters_dagster.registries import EXPORT_PROFILES
from resources.postgres import fact_edits
from resources.postgres.clip_lookup import ClipLookup
from resources.postgres.clip_rows import Clip
from resources.postgres.database import Database
from resources.postgres.review_history import HistoryEntry, history_entry, history_query, is_of_video, is_one_of
from resources.postgres.review_statements import CLIP_IDS, FOLLOWERS, PREVIOUS
from resources.postgres.review_transaction import (
    ExpectedVersion,
    ReviewResult,
    ReviewTransaction,
    StaleClipsError,
    check_frame,
)
from resources.postgres.reviewer_store import ReviewerStore
from resources.postgres.row_locks import known_reviewer, lock_reviewer
from resources.postgres.tables import clips, review_actions, reviewers, source_videos

#: When each frame is first shown, in seconds: `FrameIndexes.times`.
FrameTimes = Callable[[int, Sequence[int]], list[float]]

MAX_REQUEST_KEY = 200

_PUTS_ASIDE = {ReviewAction.SKIP: review.skip, ReviewAction.ARCHIVE: review.archive}

__all__ = ["DecidedUnchanged", "ExpectedVersion", "FrameTimes", "HistoryEntry", "ReviewResult", "ReviewStore", "StaleClipsError"]


@dataclass(frozen=True, slots=True)
class DecidedUnchanged:
    """The result of a decision on many clips.

    result: None when all of them had changed. left_alone: clip id -> a sentence about what had changed.
    """

    result: ReviewResult | None
    left_alone: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on a clip. word: "approved", "skipped", "archived"; None: not decided. by: who changed the clip last."""

    version: int
    word: str | None
    by: str | None


class ReviewStore:
    """frame_times: see FrameTimes; called before a transaction begins, and only by `add_cut_point` and `move_cut_point`.

    Every action takes `reviewer`, a name that the caller has checked (see ReviewerStore), and `request_key`, a text that the sender makes
    for each decision: the same key again, also at the same time, gives the first result with `replayed`. Every action may raise
    StaleClipsError, NotFoundError, CutError, BadRequestError, DatabaseUnavailableError; then nothing is changed.
    """

    def __init__(self, database: Database, frame_times: FrameTimes) -> None:
        self._database = database
        self._frame_times = frame_times
        self.reviewers = ReviewerStore(database)
        self.names = ClipLookup(database)

    def reviewer_id(self, name: str) -> int:
        """Id of the reviewer of that name, made if new."""
        with self._database.begin() as connection:
            return known_reviewer(connection, name)

    def approve(
        self,
        clip_ids: int | Sequence[int],
        *,
        reviewer: str,
        expected_version: ExpectedVersion = None,
        request_key: str | None = None,
        export_profile: str | None = None,
    ) -> ReviewResult:
        """Approve clips, as one action; those approved already stay as they are.

        export_profile: what their export shall be. Raises UnknownNameError, and SettingsError for one that cannot be used.
        """
        if export_profile is not None:
            EXPORT_PROFILES.load(export_profile)

        def decide(transaction: ReviewTransaction) -> Change:
            return review.approve(transaction.lock_clips(_ids(clip_ids), expected_version), export_profile=export_profile)

        return self._act(reviewer, request_key, decide)

    def skip(
        self, clip_ids: int | Sequence[int], *, reviewer: str, expected_version: ExpectedVersion = None, request_key: str | None = None
    ) -> ReviewResult:
        """Skip clips, as one action."""

        def decide(transaction: ReviewTransaction) -> Change:
            chosen = transaction.lock_clips(_ids(clip_ids), expected_version, beside=FOLLOWERS)
            return review.skip(chosen, beside=transaction.clips())

        return self._act(reviewer, request_key, decide)

    def archive(
        self, clip_ids: int | Sequence[int], *, reviewer: str, expected_version: ExpectedVersion = None, request_key: str | None = None
    ) -> ReviewResult:
        """Archive clips, as one action: their files will be deleted."""

        def decide(transaction: ReviewTransaction) -> Change:
            chosen = transaction.lock_clips(_ids(clip_ids), expected_version, beside=FOLLOWERS)
            return review.archive(chosen, beside=transaction.clips())

        return self._act(reviewer, request_key, decide)

    def decide_unchanged(
        self,
        action: ReviewAction,
        seen: Mapping[int, int],
        *,
        reviewer: str,
        request_key: str | None = None,
        most_told: int = MAX_ID,
    ) -> DecidedUnchanged:
        """Approve, skip or archive those clips that still have the version that was seen, as one action; the others stay as they are.

        seen: clip id -> version. A decision that a colleague has made since is kept; `left_alone` describes it, with the colleague's name
        for the first `most_told`.
        """
        clip_ids = _ids(list(seen))

        def decide(transaction: ReviewTransaction) -> Change | None:
            chosen, others = transaction.lock_unchanged(
                {clip_id: seen[clip_id] for clip_id in clip_ids}, beside=FOLLOWERS, most_told=most_told
            )
            left_alone.update(others)
            if not chosen:
                return None
            return review.approve(chosen) if action == ReviewAction.APPROVE else _PUTS_ASIDE[action](chosen, beside=transaction.clips())

        left_alone: dict[int, str] = {}
        return DecidedUnchanged(self._act_if(reviewer, request_key, decide), left_alone)

    def verdicts(self, clip_ids: Sequence[int]) -> dict[int, Verdict]:
        """Clip id -> the decision on it at this moment. Raises NotFoundError."""
        ids = _ids(clip_ids)
        columns = (clips.c.id, clips.c.state, clips.c.cut_point_version, reviewers.c.name.label("by_name"))
        query = select(*columns).outerjoin(reviewers, reviewers.c.id == clips.c.last_modified_by_user_id)
        found: dict[int, Verdict] = {}
        with self._database.read() as connection:
            for row in connection.execute(query.where(clips.c.id.in_(ids))):
                decision = ClipState.REVIEW_APPROVED if row.state in APPROVED_STATES else ClipState(row.state)
                word = None if decision is ClipState.PENDING_REVIEW else decision.removeprefix("review_")
                found[row.id] = Verdict(row.cut_point_version, word, row.by_name)
        if missing := [clip_id for clip_id in ids if clip_id not in found]:
            raise NotFoundError(no_clips(missing))
        return found

    def group(
        self, clip_id: int, *, reviewer: str, expected_version: ExpectedVersion = None, request_key: str | None = None
    ) -> ReviewResult:
        """Group a clip with the live clip before it; both become approved.

        Raises VerdictStandsError, with the name, when somebody has skipped or archived one of the two.
        """
        return self._act(reviewer, request_key, _grouped(clip_id, expected_version))

    def add_cut_point(
        self,
        source_video_id: int,
        frame: int,
        *,
        reviewer: str,
        expected_version: ExpectedVersion = None,
        request_key: str | None = None,
    ) -> ReviewResult:
        """Cut the clip around `frame` in two. expected_version: a plain number is the version of that clip."""
        seconds = self._seconds(source_video_id, frame)

        def decide(transaction: ReviewTransaction) -> Change:
            around = transaction.lock_around(source_video_id, frame, expected_version)
            transaction.know_time(source_video_id, frame, seconds)
            return cuts.add_cut_point(around, frame)

        return self._act(reviewer, request_key, decide)

    def remove_cut_point(
        self,
        source_video_id: int,
        frame: int,
        *,
        reviewer: str,
        expected_version: ExpectedVersion = None,
        request_key: str | None = None,
    ) -> ReviewResult:
        """Join the two clips that meet at `frame`. expected_version: a plain number is the version of the clip that begins there."""

        def decide(transaction: ReviewTransaction) -> Change:
            return cuts.remove_cut_point(transaction.lock_around(source_video_id, frame, expected_version), frame)

        return self._act(reviewer, request_key, decide)

    def move_cut_point(
        self,
        source_video_id: int,
        old_frame: int,
        new_frame: int,
        *,
        reviewer: str,
        expected_version: ExpectedVersion = None,
        request_key: str | None = None,
    ) -> ReviewResult:
        """Move the cut at `old_frame` to `new_frame`. expected_version: as for `remove_cut_point`."""
        seconds = self._seconds(source_video_id, new_frame)

        def decide(transaction: ReviewTransaction) -> Change:
            around = transaction.lock_around(source_video_id, old_frame, expected_version)
            transaction.know_time(source_video_id, new_frame, seconds)
            return cuts.move_cut_point(around, old_frame, new_frame)

        return self._act(reviewer, request_key, decide)

    def edit_cut(
        self,
        source_video_id: int,
        frame: int,
        transition: Transition,
        *,
        reviewer: str,
        expected_version: ExpectedVersion = None,
        request_key: str | None = None,
    ) -> ReviewResult:
        """Say what the cut at `frame` is, and which frames its transition has. expected_version: as for `remove_cut_point`."""

        def decide(transaction: ReviewTransaction) -> Change:
            return cuts.edit_cut(transaction.lock_around(source_video_id, frame, expected_version), frame, transition)

        return self._act(reviewer, request_key, decide)

    def undo(
        self,
        reviewer: str,
        *,
        source_video_id: int | None = None,
        action_id: int | None = None,
        with_facts: bool = False,
        request_key: str | None = None,
    ) -> ReviewResult:
        """Take back the reviewer's newest action that still stands, or the one with `action_id`.

        source_video_id: only actions on that source video. with_facts: the newest one may be a change of facts. Decisions that changed
        nothing are left out; when `action_id` names one, its undo and its redo change nothing. Raises NothingToUndoError; StaleClipsError
        when somebody has acted on its clips since (the message says who); PermanentError for an action of another reviewer.
        """

        chosen = _next(ReviewAction.UNDO, source_video_id, with_facts=with_facts) if action_id is None else _named(action_id)
        return self._returned(ReviewAction.UNDO, reviewer, request_key, chosen)

    def redo(
        self,
        reviewer: str,
        *,
        source_video_id: int | None = None,
        action_id: int | None = None,
        with_facts: bool = False,
        request_key: str | None = None,
    ) -> ReviewResult:
        """Do again what the reviewer undid last, or the undone action with `action_id`. After a new decision there is nothing to redo.

        Parameters and errors as for `undo`.
        """

        chosen = _next(ReviewAction.REDO, source_video_id, with_facts=with_facts) if action_id is None else _named(action_id)
        return self._returned(ReviewAction.REDO, reviewer, request_key, chosen)

    def foreseen(self, action: ReviewAction, reviewer: str) -> tuple[LedgerEntry, tuple[Clip, ...]]:
        """What `undo` or `redo` would do now: (the action that it would return, the clips as it would leave them). Nothing is done.

        Raises what they raise.
        """
        chosen, entries = _next(action, None, with_facts=False), list[LedgerEntry]()

        def decide(transaction: ReviewTransaction) -> Change:
            entries.append(chosen(transaction))
            returned = review.undone if action is ReviewAction.UNDO else review.redone
            return returned(*transaction.reopen(entries[0], action))

        clips = self._foreseen(reviewer, decide)
        return entries[0], clips

    def foreseen_group(self, clip_id: int, *, reviewer: str) -> tuple[Clip, ...]:
        """The clips as `group` would leave them now. Nothing is done. Raises what `group` raises."""
        return self._foreseen(reviewer, _grouped(clip_id, None))

    def history(
        self,
        *,
        reviewer: str | None = None,
        source_video_id: int | None = None,
        clip_id: int | None = None,
        actions: Collection[ReviewAction] = (),
        since: datetime | None = None,
        before_id: int | None = None,
        limit: int = 100,
        most_snapshots: int | None = None,
    ) -> list[HistoryEntry]:
        """The ledger, newest first. before_id: the id of the last entry of the page before. since: inclusive.

        most_snapshots: of an action on more clips than this only the snapshots of so many are read; the others are counted by state.
        """
        query = history_query(most_snapshots).order_by(review_actions.c.id.desc()).limit(limit)
        if reviewer is not None:
            # By id, so that Postgres reads only this reviewer's actions, not the whole ledger from its end until enough are found.
            of_name = select(reviewers.c.id).where(reviewers.c.name == reviewer).scalar_subquery()
            query = query.where(review_actions.c.reviewer_id == of_name)
        if actions:
            query = query.where(review_actions.c.action.in_([str(action) for action in actions]))
        if since is not None:
            query = query.where(review_actions.c.created_at >= since)
        if before_id is not None:
            query = query.where(review_actions.c.id < before_id)
        with self._database.read() as connection:
            if source_video_id is not None:
                query = query.where(is_of_video(connection, source_video_id))
            if clip_id is not None:
                query = query.where(is_one_of(connection.scalars(select(review_actions.c.id).where(CLIP_IDS.contains([clip_id])))))
            return [history_entry(row) for row in connection.execute(query)]

    def _returned(
        self, action: ReviewAction, reviewer: str, request_key: str | None, chosen: Callable[[ReviewTransaction], LedgerEntry]
    ) -> ReviewResult:
        """The result of undoing or redoing an action. chosen: finds it."""
        _check_request_key(request_key)
        with self._database.begin() as connection:
            by = lock_reviewer(connection, reviewer).id
            transaction = ReviewTransaction(connection, by)
            if request_key is not None and (seen := transaction.seen(request_key)) is not None:
                return seen
            entry = chosen(transaction)
            if entry.of_facts:
                made = fact_edits.returned(connection, entry, action, by=by, request_key=request_key)
                return ReviewResult(action_id=made, action=action, clips=(), replayed=False)
            returned = review.undone if action is ReviewAction.UNDO else review.redone
            return transaction.record(returned(*transaction.reopen(entry, action)), request_key)

    def _seconds(self, source_video_id: int, frame: int) -> float:
        try:
            return self._frame_times(source_video_id, [frame])[0]
        except PermanentError:
            self._check_frame(source_video_id, frame)  # raises a clearer error when the request is wrong
            raise

    def _check_frame(self, source_video_id: int, frame: int) -> None:
        with self._database.read() as connection:
            row = connection.execute(select(source_videos.c.frame_count).where(source_videos.c.id == source_video_id)).first()
        if row is None:
            raise NotFoundError(f"there is no source video {source_video_id}; heaters status lists all source videos")
        check_frame(source_video_id, frame, row.frame_count)

    def _act(self, reviewer: str, request_key: str | None, decide: Callable[[ReviewTransaction], Change]) -> ReviewResult:
        result = self._act_if(reviewer, request_key, decide)
        assert result is not None
        return result

    def _foreseen(self, reviewer: str, decide: Callable[[ReviewTransaction], Change]) -> tuple[Clip, ...]:
        try:
            with self._database.begin() as connection:
                transaction = ReviewTransaction(connection, lock_reviewer(connection, reviewer).id)
                raise _Foreseen(transaction.record(decide(transaction), None).clips)
        except _Foreseen as seen:
            return seen.clips

    def _act_if(self, reviewer: str, request_key: str | None, decide: Callable[[ReviewTransaction], Change | None]) -> ReviewResult | None:
        _check_request_key(request_key)
        with self._database.begin() as connection:
            transaction = ReviewTransaction(connection, lock_reviewer(connection, reviewer).id)
            seen = transaction.seen(request_key) if request_key is not None else None
            if seen is not None:
                return seen
            change = decide(transaction)
            return None if change is None else transaction.record(change, request_key)


class _Foreseen(Exception):
    """Ends a transaction whose outcome was only to be looked at."""

    def __init__(self, clips: tuple[Clip, ...]) -> None:
        super().__init__()
        self.clips = clips


def _grouped(clip_id: int, expected_version: ExpectedVersion) -> Callable[[ReviewTransaction], Change]:
    def decide(transaction: ReviewTransaction) -> Change:
        transaction.lock_clips([clip_id], expected_version, beside=PREVIOUS, alone=True)
        try:
            return review.group(transaction.clips(), clip_id)
        except VerdictStandsError as error:
            raise VerdictStandsError(error.clip_id, error.verdict, by=transaction.last_changed_by(error.clip_id)) from None

    return decide


def _named(action_id: int) -> Callable[[ReviewTransaction], LedgerEntry]:
    return lambda transaction: transaction.own_entry(action_id)


def _next(action: ReviewAction, source_video_id: int | None, *, with_facts: bool) -> Callable[[ReviewTransaction], LedgerEntry]:
    """Finds what a reviewer takes back, or does again, without naming it."""

    def chosen(transaction: ReviewTransaction) -> LedgerEntry:
        if action is ReviewAction.UNDO:
            own = transaction.own_entries(standing=True)
            return review.next_to_undo(own, source_video_id=source_video_id, with_facts=with_facts)
        target = review.next_to_redo(transaction.own_entries(), source_video_id=source_video_id, with_facts=with_facts)
        return transaction.own_entry(target)

    return chosen


def _check_request_key(request_key: str | None) -> None:
    if request_key is not None and not 1 <= len(request_key) <= MAX_REQUEST_KEY:
        raise BadRequestError(f"a request key has 1 to {MAX_REQUEST_KEY} characters, not {len(request_key)}")


def _ids(clip_ids: int | Sequence[int]) -> list[int]:
    found = list(dict.fromkeys([clip_ids] if isinstance(clip_ids, int) else clip_ids))
    wrong = [clip_id for clip_id in found if not 1 <= clip_id <= MAX_ID]
    if wrong:
        raise NotFoundError(no_clips(wrong))
    return found
