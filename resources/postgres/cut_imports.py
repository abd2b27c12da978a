"""The cuts of a list of another program as one action of a reviewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from heaters_dagster.domain import cuts
from heaters_dagster.domain.cuts import Change
from heaters_dagster.domain.errors import PermanentError
from heaters_dagster.domain.states import ClipState
from heaters_dagster.domain.words import counted
from resources.postgres.database import Database
from resources.postgres.review_store import FrameTimes
from resources.postgres.review_transaction import ReviewResult, ReviewTransaction
from resources.postgres.row_locks import lock_reviewer


def import_cuts(
    database: Database,
    source_video_id: int,
    frames: Sequence[int],
    *,
    frame_times: FrameTimes,
    reviewer: str,
    keep: bool = False,
    force: bool = False,
    details: Mapping[str, Any] | None = None,
) -> ReviewResult:
    """Make `frames` the cuts of a source video. Clips that have the same frames as before keep their decisions; others wait for review.

    frames: where clips begin, without 0. keep: the cuts that are there stay too, also those that somebody made a moment ago.
    force: also when clips with a decision are replaced; else that raises PermanentError. details: what the ledger keeps of it.
    Raises CutError, NotFoundError, DatabaseUnavailableError; then nothing is changed.
    """
    seconds = frame_times(source_video_id, frames) if frames else []
    with database.begin() as connection:
        transaction = ReviewTransaction(connection, lock_reviewer(connection, reviewer).id)
        live = transaction.lock_all(source_video_id)
        for frame, second in zip(frames, seconds, strict=True):
            transaction.know_time(source_video_id, frame, second)
        present = {clip.start_frame for clip in live if clip.start_frame} if keep else set()
        change = cuts.import_cuts(live, {*frames, *present})
        decided = decided_on(change)
        if decided and not force:
            who = transaction.last_changed_by(decided[0])
            raise PermanentError(
                f"{counted(len(decided), 'clip')} with a decision would be replaced, the first clip id:{decided[0]}"
                f"{f' by {who}' if who else ''}; what was decided would go with {'it' if len(decided) == 1 else 'them'}."
                " To import all the same: --force"
            )
        return transaction.record(change, None, details)


def decided_on(change: Change) -> list[int]:
    """Ids of the clips that a change retires although somebody has approved, skipped or archived them."""
    return [
        step.before.id
        for step in change.clips
        if step.before is not None
        and step.before.id is not None
        and not step.after.is_live
        and step.before.decision != ClipState.PENDING_REVIEW
    ]
