"""Deletes a source video with everything that was made from it, or changes its title; the ledger has both with the reviewer's name.

What is deleted: every object (original, gold master, proxy, frame index, scenes, subtitles, thumbnail, exports, keyframes), every
vector, the facts, and every clip from the cut list. What stays, as when a clip is archived: the rows, as tombstones without a file. The
ledger only grows and refers to them, also from actions on clips of several source videos; so History still shows who decided what on
which video, and who deleted it.
The hash of the bytes is forgotten: the same file can be submitted again, as a new source video.

First the row changes, in one transaction; then the objects are deleted; last the row forgets their keys. A process that is killed in
between leaves a `deleted` row that still names objects: a clean-up is then due, and deleting the video again also continues.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from heaters_dagster.domain.audit import source_video_of_key
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import BadRequestError, NotFoundError, StaleClipError
from heaters_dagster.domain.ingest import clean_title
from heaters_dagster.domain.keys import PREFIXES, original_key
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.stages import LOCKED_ASSETS
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.event_log import tell_when_committed
from resources.object_store.interface import ObjectStore
from resources.object_store.piece_files import drop_pieces
from resources.postgres import row_locks
from resources.postgres.clip_cutting import retired
from resources.postgres.clip_files import forget_files
from resources.postgres.clip_rows import CLIP, clip_of_row, ledger_snapshot
from resources.postgres.database import Database
from resources.postgres.ingest_tables import given_thumbnails, source_video_facts, transcripts
from resources.postgres.making_tables import proxy_pieces
from resources.postgres.related_tables import source_video_looks
from resources.postgres.replacement_store import Replacement, lock_carried, settle_deleted
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore, lock_source_video
from resources.postgres.tables import clip_artifacts, clips, review_actions, source_videos

_FILES = ("original_filepath", "proxy_filepath", "frame_index_filepath", "scenes_filepath", "gold_master_filepath")


@dataclass(frozen=True, slots=True)
class Deleted:
    """The result of a deletion. clips: how many were in the cut list. objects: keys that were deleted this time."""

    source_video_id: int
    title: str
    clips: int
    objects: tuple[str, ...]


def rename_source_video(source_video_id: int, title: str, *, reviewer: str, database: Database) -> SourceVideo:
    """Give a source video another title. reviewer: a name that the caller has checked.

    Raises NotFoundError, BadRequestError for a title without a visible character.
    """
    tidy = clean_title(title)
    if not tidy:
        raise BadRequestError("a title needs at least one visible character")
    with database.begin() as connection:
        by = row_locks.lock_reviewer(connection, reviewer).id
        video = lock_source_video(connection, source_video_id)
        if video.title != tidy:
            connection.execute(source_videos.update().where(source_videos.c.id == source_video_id).values(title=tidy))
            _record(connection, ReviewAction.RENAME, by, source_video_id, details={"title_before": video.title, "title": tidy})
    return SourceVideoStore(database).load(source_video_id)


def delete_source_video(
    source_video_id: int, *, reviewer: str, database: Database, objects: ObjectStore, replaced: Replacement | None = None
) -> Deleted:
    """Delete a source video with everything, or continue an interrupted deletion. reviewer: as for `rename_source_video`.

    A replacement that is open ends with it: the other source video then stands alone. replaced: by this, which must still hold. Raises
    BusyError while any stage works on it, NotFoundError, also when it is not being replaced any more, StaleClipError when its clips were
    changed since they were taken over, StoreUnavailableError; after the last of these the source video is deleted, and the rest of its
    objects is deleted later.
    """
    with ExitStack() as held:
        for stage in LOCKED_ASSETS:
            held.enter_context(database.stage_lock(stage, source_video_id))
        with database.begin() as connection:
            by = row_locks.lock_reviewer(connection, reviewer).id
            row = row_locks.lock_source_video(connection, source_video_id)
            if row is None:
                raise NotFoundError(f"there is no source video {source_video_id}; heaters status lists all source videos")
            if replaced is not None:
                lock_carried(connection, replaced.new_id)
            settle_deleted(connection, source_video_id)
            count = 0 if row.state == SourceVideoState.DELETED else _entombed(connection, row, by, replaced)
        return Deleted(source_video_id, row.title, count, finish_deletion(source_video_id, database=database, objects=objects))


def finish_deletion(source_video_id: int, *, database: Database, objects: ObjectStore) -> tuple[str, ...]:
    """Delete the objects that are left of a `deleted` source video; returns their keys.

    Can be called any number of times, by one process at a time.
    """
    mine = f"video_{source_video_id}"
    stored = [info.key for prefix in PREFIXES for mark in "._" for info in objects.list(f"{prefix}{mine}{mark}")]
    named = [key for key in (*stored, original_key(source_video_id, "")) if source_video_of_key(key) == source_video_id]
    gone = tuple(key for key in named if objects.delete(key)) + drop_pieces(objects, source_video_id)
    with database.begin() as connection:
        row_locks.lock_source_video(connection, source_video_id)
        of_video = clip_artifacts.c.clip_id.in_(select(clips.c.id).where(clips.c.source_video_id == source_video_id))
        connection.execute(clip_artifacts.update().where(of_video, clip_artifacts.c.state != "deleted").values(state="deleted"))
        for table in (source_video_looks, proxy_pieces):
            connection.execute(table.delete().where(table.c.source_video_id == source_video_id))
        done = (source_videos.c.id == source_video_id) & (source_videos.c.state == SourceVideoState.DELETED.value)
        if connection.execute(source_videos.update().where(done).values(**dict.fromkeys(_FILES))).rowcount:
            for table in (transcripts, source_video_facts, given_thumbnails):
                connection.execute(table.delete().where(table.c.source_video_id == source_video_id))
    return gone


def is_deleted(source_video_id: int, *, database: Database) -> bool:
    with database.read() as connection:
        state = connection.scalar(select(source_videos.c.state).where(source_videos.c.id == source_video_id))
    return bool(state == SourceVideoState.DELETED)


def _entombed(connection: Connection, row: Any, by: int, replaced: Replacement | None) -> int:
    """Turn the locked row of a source video and its clips into tombstones; returns how many clips were in its cut list."""
    every = [clip_of_row(found) for found in connection.execute(row_locks.locking(select(*CLIP).where(clips.c.source_video_id == row.id)))]
    live = [clip for clip in every if clip.is_live]
    if replaced is not None and replaced.carried != {str(clip.id): clip.cut_point_version for clip in live}:
        raise StaleClipError(f"the clips of source video {row.id} were changed after they were taken over: it was not deleted")
    gone = retired(connection, live, by) if live else []
    ids = [clip.id for clip in every]
    forget_files(connection, ids)
    half_written = clip_artifacts.c.clip_id.in_(ids) & (
        clip_artifacts.c.state == "writing"
    )  # left by a process that died: this process holds the locks of the stages
    connection.execute(clip_artifacts.update().where(half_written).values(state="obsolete"))
    details = {name: getattr(row, name) for name in ("title", "content_sha256", "frame_count", "duration_seconds")}
    details["source"] = without_access(row.source)  # an entry of the ledger can never be changed, so it must not contain a secret
    _record(
        connection,
        ReviewAction.DELETE,
        by,
        row.id,
        clip_ids=sorted(clip.id for clip in live),
        before={str(clip.id): ledger_snapshot(clip) for clip in live},
        after={str(clip.id): ledger_snapshot(clip) for clip in gone},
        details={**details, "state": row.state},
    )
    of_state = ("error", "original_bytes", "content_sha256", "duplicate_of_id", "probe", "gold_master_error")
    of_file = ("source_bytes", "source_modified_ns", "source_fingerprint", "source_sha256")
    forgotten: dict[str, Any] = dict.fromkeys((*of_state, *of_file))
    tombstone = {**forgotten, "state": SourceVideoState.DELETED.value, "warnings": [], "attempts": 0, "gold_master_attempts": 0}
    connection.execute(source_videos.update().where(source_videos.c.id == row.id).values(**tombstone))
    return len(live)


def _record(
    connection: Connection, action: ReviewAction, by: int, source_video_id: int, *, details: dict[str, Any], **columns: Any
) -> None:
    entry = {"clip_ids": [], "before": {}, "after": {}, **columns, "details": details, "created_at": func.clock_timestamp()}
    tell_when_committed(connection, action.value, source_video_id=source_video_id, reviewer_id=by)
    connection.execute(review_actions.insert().values(reviewer_id=by, source_video_id=source_video_id, action=action.value, **entry))
