"""Review actions in Postgres, committed to disk: 2,000 clips in the source video, 200,000 in the table, 100,000 actions in the ledger."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable

import numpy as np
from sqlalchemy import text

from benchmarks.many_clips import FRAME_RATE, cut_source_video
from benchmarks.scratch import scratch_database
from benchmarks.table import Row, at_most
from heaters_dagster.domain.states import ClipState
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.review_store import ReviewStore

CLIPS_IN_VIDEO = 2_000
VIDEOS = 100
LEDGER = 100_000
REPEATS = 300
LIMIT_MS = 20.0
_CLIP_FRAMES = 100
_WARM_UP = 20


def run() -> list[Row]:
    with scratch_database() as (_, database):
        source_video_id = [cut_source_video(database, clips=CLIPS_IN_VIDEO, clip_frames=_CLIP_FRAMES) for _ in range(VIDEOS)][VIDEOS // 2]
        _fill_ledger(database)
        return _measured(database, source_video_id)


def _measured(database: Database, source_video_id: int) -> list[Row]:
    store = ReviewStore(database, lambda _, frames: [frame / FRAME_RATE for frame in frames])
    clips = ClipStore(database)
    numbers = random.Random(1)
    # Every 20th cut, so that no operation changes what another one starts from.
    cuts = [number * _CLIP_FRAMES for number in range(5, CLIPS_IN_VIDEO, 20)]

    def frames(offset: int) -> Iterable[int]:
        while True:
            yield from (cut + offset for cut in numbers.sample(cuts, len(cuts)))

    moved, added, removed = frames(0), frames(3 * _CLIP_FRAMES + 30), frames(6 * _CLIP_FRAMES)
    rows = [_baseline(database)]

    # Each operation is taken back outside the clock, so that there are always as many clips as promised; undo and redo have their own turn.
    rows.append(
        _row("move a cut point", lambda: store.move_cut_point(source_video_id, cut := next(iter(moved)), cut + 7, reviewer="Ann"), store)
    )
    rows.append(_row("add a cut point", lambda: store.add_cut_point(source_video_id, next(iter(added)), reviewer="Ann"), store))
    rows.append(_row("remove a cut point", lambda: store.remove_cut_point(source_video_id, next(iter(removed)), reviewer="Ann"), store))
    pending = iter([clip.id for clip in clips.load_live(source_video_id) if clip.state == ClipState.PENDING_REVIEW])
    rows.append(_row("approve a clip", lambda: store.approve(next(pending), reviewer="Ann"), store))

    def undone_move() -> None:
        store.move_cut_point(source_video_id, cut := next(iter(moved)), cut + 7, reviewer="Ann")

    rows.append(_row("undo a moved cut point", lambda: store.undo("Ann"), store, before=undone_move, after=lambda: None))
    undone_move()
    store.undo("Ann")
    rows.append(_row("redo a moved cut point", lambda: store.redo("Ann"), store))
    return rows


def _row(
    name: str,
    act: Callable[[], object],
    store: ReviewStore,
    *,
    before: Callable[[], object] | None = None,
    after: Callable[[], object] | None = None,
) -> Row:
    """99th percentile of `act`, every time from the same state."""
    seconds = []
    for number in range(_WARM_UP + REPEATS):
        if before is not None:
            before()
        began = time.perf_counter()
        act()
        if number >= _WARM_UP:
            seconds.append(time.perf_counter() - began)
        if after is None:
            store.undo("Ann")
        else:
            after()
    return at_most(f"{name}, 99th percentile", _ms(seconds, 99), "ms", LIMIT_MS, f"median {_ms(seconds, 50):.1f} ms, {REPEATS} times")


def _baseline(database: Database) -> Row:
    """What this disk asks for any commit at all."""
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        with database.begin() as connection:
            connection.execute(
                text("insert into reviewers (name) values ('baseline') on conflict (name) do update set last_seen_at = now()")
            )
        seconds.append(time.perf_counter() - began)
    note = f"median {_ms(seconds, 50):.1f} ms; one row written and flushed to this disk, for comparison"
    return Row("the smallest transaction, 99th percentile", _ms(seconds, 99), "ms", note=note)


def _ms(seconds: list[float], percent: float) -> float:
    return float(np.percentile(seconds, percent)) * 1000


def _fill_ledger(database: Database) -> None:
    """Earlier decisions of other reviewers, then what autovacuum would have done by now."""
    with database.begin() as connection:
        connection.execute(text("insert into reviewers (name) select 'Reviewer ' || n from generate_series(1, 20) n"))
        connection.execute(
            text(
                """
                insert into review_actions (reviewer_id, source_video_id, action, clip_ids, before, after)
                select 1 + c.id % 20, c.source_video_id, 'approve', array[c.id],
                    jsonb_build_object(c.id::text, to_jsonb(c)), jsonb_build_object(c.id::text, to_jsonb(c))
                from clips c order by c.id limit :ledger
                """
            ),
            {"ledger": LEDGER},
        )
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
