"""Replaces the cuts of a source video with new ones from a detector, and stores the detector's settings, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, exists, func, null, or_, select
from sqlalchemy import text as sql

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import CutError, PermanentError
from heaters_dagster.domain.keys import scenes_key
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.transitions import checked_source_video_transition
from heaters_dagster.event_log import of_clips, tell_when_committed
from resources.postgres import clip_exports
from resources.postgres.clip_files import VIRTUAL, forget_files
from resources.postgres.clip_rows import CLIP, Clip, NewClip, clip_of_row, cut_columns, ledger_snapshot, live_clips
from resources.postgres.review_statements import CLIP_IDS
from resources.postgres.row_locks import known_reviewer, lock_live_clips
from resources.postgres.source_video_store import lock_source_video
from resources.postgres.tables import clips, review_actions, source_videos


def replaced(
    connection: Connection,
    source_video_id: int,
    new: Sequence[NewClip],
    frame_count: int,
    *,
    scene_settings: Mapping[str, Any] | None = None,
    forced_by: str | None = None,
) -> list[Clip]:
    """Make `new` the clips of a source video, store the `scene_settings` that made them, and set the video to `scenes_detected`.

    The video is in the state `detecting_scenes`, or it has scenes already and is cut again from stored scores.
    new: in order, covering [0, frame_count). The old clips are retired and their files become obsolete. If the old clips have the same
    frames already, they stay as they are with their decisions, so that a repeated run changes nothing.
    scene_settings: detector, threshold and shortest clip; None: the row keeps its settings.
    forced_by: name of the reviewer who wants new cuts even when review has begun; the ledger then shows it as this reviewer's action, which
    they can undo: the old clips and the decisions on them are then back.
    Raises CutError when the clips do not cover the frames, PermanentError when review has begun and `forced_by` is None,
    IllegalTransitionError.
    """
    _check_cover(new, frame_count)
    reviewer = None if forced_by is None else known_reviewer(connection, forced_by)
    video = lock_source_video(connection, source_video_id)
    done = SourceVideoState.SCENES_DETECTED
    if video.state != done:
        checked_source_video_transition(video.state, done)
    columns: dict[str, Any] = {"state": done.value, "error": None, "attempts": 0, "frame_count": frame_count}
    if scene_settings is not None:
        columns |= {"scene_settings": dict(scene_settings), "scenes_filepath": scenes_key(source_video_id)}
    old = sorted(map(clip_of_row, lock_live_clips(connection, source_video_id)), key=lambda clip: clip.start_frame)
    if [(clip.start_frame, clip.end_frame) for clip in old] == [(clip.start_frame, clip.end_frame) for clip in new]:
        _refresh(connection, old, new)
    else:
        begun = review_has_begun(connection, source_video_id)
        if begun and reviewer is None:
            raise PermanentError(
                f"review of source video {source_video_id} has begun, and new cuts would undo its decisions. To cut all the same: --force"
            )
        by = reviewer if begun else None
        gone = retired(connection, old, by)
        _insert(connection, source_video_id, new, first_sequence=video.next_clip_sequence)
        if by is not None:
            after = [*gone, *live_clips(connection, source_video_id)]
            before = video.scene_settings
            settings = {"scene_settings_before": before, "scene_settings": columns.get("scene_settings", before)}
            _record_recut(connection, by, source_video_id, old, after, settings)
        columns["next_clip_sequence"] = video.next_clip_sequence + len(new)
    connection.execute(source_videos.update().where(source_videos.c.id == source_video_id).values(**columns))
    return live_clips(connection, source_video_id)


def review_has_begun(connection: Connection, source_video_id: int) -> bool:
    # An action on several source videos is stored under the first of them; on the others it is found by their clips.
    # A new title and changed facts are no review; the undo of changed facts has them in its details, too.
    of_review = review_actions.c.action.not_in([ReviewAction.RENAME.value, ReviewAction.EDIT_FACTS.value])
    acted = exists().where(review_actions.c.source_video_id == source_video_id, of_review, ~review_actions.c.details.has_key("facts"))
    changed = exists().where(clips.c.source_video_id == source_video_id, clips.c.is_live, clips.c.last_modified_by_user_id.is_not(None))
    return bool(connection.scalar(select(or_(acted, changed))))


def _check_cover(new: Sequence[NewClip], frame_count: int) -> None:
    reached = 0
    for clip in new:
        if clip.start_frame != reached or clip.end_frame <= clip.start_frame:
            raise CutError(
                f"the cut list has a clip of frames {clip.start_frame}..{clip.end_frame - 1}, but it must begin at frame {reached}"
            )
        reached = clip.end_frame
    if reached != frame_count or not new:
        raise CutError(f"the cut list ends at frame {reached}; it must end at frame {frame_count}, the end of the source video")


def _refresh(connection: Connection, old: Sequence[Clip], new: Sequence[NewClip]) -> None:
    """Write the times and confidences of a new detection where they differ; no decision depends on them.

    Kinds and ranges too, but for those that a person has set, and where the new detection tells none.
    """
    given = _cuts_by_people(connection, [clip.id for clip in old])
    other_ranges: set[int] = set()
    for clip, found in zip(old, new, strict=True):
        columns: dict[str, Any] = {
            "start_time_seconds": found.start_time_seconds,
            "end_time_seconds": found.end_time_seconds,
            "confidence": found.confidence,
        }
        told = found.transition
        if told is not None and clip.start_frame and clip.id not in given:
            columns |= {"cut_kind": str(told.kind), "cut_first_frame": told.first_frame, "cut_last_frame": told.last_frame}
        if any(getattr(clip, name) != value for name, value in columns.items()):
            connection.execute(clips.update().where(clips.c.id == clip.id).values(**columns))
        if "cut_kind" in columns and (clip.cut_first_frame, clip.cut_last_frame) != (told and told.first_frame, told and told.last_frame):
            other_ranges |= {clip.start_frame}
    if other_ranges:
        beside = [clip for clip in old if {clip.start_frame, clip.end_frame} & other_ranges]
        clip_exports.trim_again(connection, beside)


def _cuts_by_people(connection: Connection, clip_ids: Sequence[int]) -> set[int]:
    """Ids of those of these clips of which a person has said what the cut is."""
    edits = (review_actions.c.action == ReviewAction.EDIT_CUT.value) & ~review_actions.c.undone & CLIP_IDS.overlap(list(clip_ids))
    return {clip_id for row in connection.scalars(select(review_actions.c.clip_ids).where(edits)) for clip_id in row}


def retired(connection: Connection, old: Sequence[Clip], reviewer: int | None) -> list[Clip]:
    """Remove clips from the cut list, with their files; the rows stay.

    reviewer: id of the person who does it; None when it was not a person.
    """
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
        .returning(*CLIP)
    )
    return [clip_of_row(row) for row in rows]


def restore_settings(connection: Connection, action_id: int, *, before: bool) -> None:
    """Store the settings that the cuts had before a forced recut, or after it: somebody undoes or redoes it. The video is locked."""
    query = select(review_actions.c.source_video_id, review_actions.c.details).where(review_actions.c.id == action_id)
    row = connection.execute(query).one()
    settings = row.details.get("scene_settings_before" if before else "scene_settings")
    own = source_videos.c.id == row.source_video_id
    connection.execute(source_videos.update().where(own).values(scene_settings=null() if settings is None else settings))


def _record_recut(
    connection: Connection,
    reviewer: int,
    source_video_id: int,
    old: Sequence[Clip],
    after: Sequence[Clip],
    settings: Mapping[str, Any],
) -> None:
    """settings: what made the cuts before and after, so that an undo brings these back too."""
    before = {clip.id: ledger_snapshot(clip) for clip in old}
    made = of_clips(sorted(clip.id for clip in after))
    tell_when_committed(connection, ReviewAction.RECUT.value, source_video_id=source_video_id, reviewer_id=reviewer, **made)
    connection.execute(
        review_actions.insert().values(
            reviewer_id=reviewer,
            source_video_id=source_video_id,
            action=ReviewAction.RECUT.value,
            clip_ids=sorted(clip.id for clip in after),
            before={str(clip.id): before.get(clip.id) for clip in after},
            after={str(clip.id): ledger_snapshot(clip) for clip in after},
            details={name: None if value is None else dict(value) for name, value in settings.items()},
            created_at=func.clock_timestamp(),
        )
    )


def _insert(connection: Connection, source_video_id: int, new: Sequence[NewClip], *, first_sequence: int) -> None:
    """One statement for any number of clips."""
    statement = sql(
        """
        insert into clips (source_video_id, sequence, start_frame, end_frame, start_time_seconds, end_time_seconds, confidence,
            cut_kind, cut_first_frame, cut_last_frame)
        select :source_video_id, :first_sequence + ordinality - 1, start_frame, end_frame, start_time, end_time, confidence,
            cut_kind, cut_first_frame, cut_last_frame
        from unnest(
            cast(:start_frames as integer[]), cast(:end_frames as integer[]),
            cast(:start_times as float8[]), cast(:end_times as float8[]), cast(:confidences as float8[]),
            cast(:cut_kinds as text[]), cast(:cut_first_frames as integer[]), cast(:cut_last_frames as integer[])
        ) with ordinality as made (
            start_frame, end_frame, start_time, end_time, confidence, cut_kind, cut_first_frame, cut_last_frame, ordinality
        )
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
            "start_times": [float(clip.start_time_seconds) for clip in new],
            "end_times": [float(clip.end_time_seconds) for clip in new],
            "confidences": [clip.confidence for clip in new],
            **cut_columns(clip.transition if clip.start_frame else Transition(CutKind.END) for clip in new),
        },
    )
