"""Gathers what an evaluation of detectors needs: what reviewers left of the cuts of each source video, and its stored scores."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from heaters_dagster.domain import scenes
from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cuts import CutPointOperation, ReviewAction
from heaters_dagster.domain.errors import InvalidMediaError, ObjectNotFoundError
from heaters_dagster.domain.evaluation import Counts, Evaluation, ReviewedVideo, Subject, as_cut, evaluated
from heaters_dagster.domain.keys import scenes_key
from heaters_dagster.domain.progress import Progress, Report, silent
from heaters_dagster.domain.reviewed_cuts import StandingClip
from heaters_dagster.domain.scenes import CutSettings, Scenes
from heaters_dagster.domain.states import ClipState
from heaters_dagster.registries import DETECTORS
from resources.object_store.interface import ObjectStore
from resources.postgres.database import Database

#: Actions after which clips are others than before: what was decided earlier says nothing about these.
_ANEW = (ReviewAction.RECUT, ReviewAction.REPLACE)
_VERDICTS = (ReviewAction.APPROVE, ReviewAction.SKIP, ReviewAction.ARCHIVE, ReviewAction.GROUP)


@dataclass(slots=True)
class Evaluations:
    """evaluations: one for each detector asked for. as_cut: "detector at threshold" that made cuts -> what reviewers did to these."""

    evaluations: list[Evaluation]
    as_cut: dict[str, Counts] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        first, *others = self.evaluations
        return {
            **first.to_json(),
            "as_cut": [{"cut_by": name, **counts.to_json()} for name, counts in sorted(self.as_cut.items())],
            "compared": [_line(one) for one in [first, *others]] if others else [],
        }


def evaluate(
    database: Database,
    objects: ObjectStore,
    subjects: Sequence[Subject],
    *,
    source_video_ids: Sequence[int] = (),
    with_unreviewed: bool = False,
    report: Report = silent,
) -> Evaluations:
    """Compare the cuts that these detectors would make of the stored scores with those that reviewers left. Nothing is decoded or changed.

    One source video after the other, so memory does not grow with their number; each is read as it stands at that moment.
    source_video_ids: none for all. with_unreviewed: also look for doubtful places in source videos in which nobody has decided anything.
    A source video whose stored scores lack a detector's columns, or are not those of its proxy, is counted and left out for that detector.
    """
    found = Evaluations([Evaluation(subject) for subject in subjects])
    began = time.monotonic()
    videos = _videos(database, source_video_ids, with_unreviewed=with_unreviewed)
    frames = sum(video.frame_count for video in videos)
    done = 0
    for row in videos:
        _add(found, row, database, objects)
        done += row.frame_count
        report(Progress("evaluation", done, frames, "frames", time.monotonic() - began))
    return found


def _add(found: Evaluations, row: _Row, database: Database, objects: ObjectStore) -> None:
    video = _reviewed(row, database)
    if video is None:
        return
    document = _scores(row.id, objects)
    if document is None or document.frame_count != video.clips[-1].end_frame:
        for one in found.evaluations:
            one.without_scores += 1
        return
    if row.settings is not None:
        boundaries = scenes.told_boundaries(document, row.settings, DETECTORS.find)
        settings = CutSettings.from_json(row.settings)
        counts = as_cut(video, boundaries, tolerance=found.evaluations[0].subject.tolerance)
        name = f"{settings.detector} at {settings.threshold:g}"
        if counts != Counts():
            found.as_cut[name] = found.as_cut.get(name, Counts()) + counts
    for one in found.evaluations:
        if document.has_scores_for(one.subject.detector):
            one.add(evaluated(video, document.scores, one.subject))
        else:
            one.without_scores += 1


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    title: str
    frame_count: int
    settings: dict[str, Any] | None


def _videos(database: Database, ids: Sequence[int], *, with_unreviewed: bool) -> list[_Row]:
    """A line for each source video; the clips are read one source video at a time."""
    decided = f"exists (select from clips where source_video_id = v.id and is_live and state <> '{ClipState.PENDING_REVIEW.value}')"
    query = text(
        "select id, title, frame_count, scene_settings from source_videos v where state = 'scenes_detected' and frame_count > 0 "
        f"and (:all or id = any(:ids)) and (:with_unreviewed or {decided}) order by id"
    )
    with database.read() as connection:
        rows = connection.execute(query, {"all": not ids, "ids": list(ids), "with_unreviewed": with_unreviewed})
        return [_Row(row.id, row.title, row.frame_count, row.scene_settings) for row in rows]


def _reviewed(row: _Row, database: Database) -> ReviewedVideo | None:
    """None when it has no clips any more."""
    with database.read() as connection:
        anew = connection.execute(_NEWEST, {"video": row.id, "anew": [one.value for one in _ANEW]}).first()
        since, replaced = (anew.id, anew.action == ReviewAction.REPLACE) if anew is not None else (0, False)
        rows = connection.execute(_CLIPS, {"video": row.id}).all()
        judged = set(_judged(connection, [one.id for one in rows], since)) if replaced else {one.id for one in rows}
        judged -= set(connection.scalars(_IMPORTED, {"video": row.id}))
        clips = [
            StandingClip(
                one.id,
                one.sequence,
                one.start_frame,
                one.end_frame,
                one.state != ClipState.PENDING_REVIEW.value and one.id in judged,
                None if one.cut_kind is None else Transition(CutKind(one.cut_kind), one.cut_first_frame, one.cut_last_frame),
            )
            for one in rows
        ]
        operations = [
            CutPointOperation(one.operation_type, one.frame_number, one.old_frame_number)
            for one in connection.execute(_OPERATIONS, {"video": row.id, "since": since})
        ]
    if not clips:
        return None
    settings = row.settings or {}
    return ReviewedVideo(
        id=row.id,
        title=row.title,
        clips=clips,
        operations=operations,
        left_out_frames=tuple(int(frame) for frame in settings.get("chapter_frames", ())),
        min_clip_frames=int(settings.get("min_clip_frames", 2)),
    )


def _judged(connection: Connection, clip_ids: Sequence[int], since: int) -> Iterator[int]:
    """Ids of clips on which somebody has decided since: decisions that were carried over are those on another file."""
    values = {"ids": list(clip_ids), "since": since, "actions": [one.value for one in _VERDICTS]}
    for row in connection.execute(_DECISIONS, values):
        yield from row.clip_ids


def _scores(source_video_id: int, objects: ObjectStore) -> Scenes | None:
    try:
        return scenes.decoded(objects.get_bytes(scenes_key(source_video_id)))
    except (ObjectNotFoundError, InvalidMediaError):
        return None


_NEWEST = text(
    "select id, action from review_actions where source_video_id = :video and action = any(:anew) and not undone "
    "and target_action_id is null order by id desc limit 1"
)
_CLIPS = text(
    "select id, sequence, start_frame, end_frame, state, cut_kind, cut_first_frame, cut_last_frame from clips "
    "where source_video_id = :video and is_live order by start_frame"
)
_OPERATIONS = text(
    "select o.operation_type, o.frame_number, o.old_frame_number from cut_point_operations o "
    "join review_actions a on a.id = o.review_action_id where o.source_video_id = :video and a.id > :since and not a.undone "
    "and a.target_action_id is null order by o.id"
)
#: Clips made by the cut list of another program: it leaves out shots and cuts on purpose, so it says nothing of a detector.
_IMPORTED = text(
    "select key::bigint from review_actions, jsonb_each(before) where source_video_id = :video "
    f"and action = '{ReviewAction.IMPORT_CUTS.value}' and not undone and target_action_id is null and value = 'null'"
)
# By the clips: an action on several source videos is stored under the first of them.
_DECISIONS = text(
    "select clip_ids from review_actions where clip_ids && cast(:ids as bigint[]) and id > :since and action = any(:actions) and not undone"
)


def _line(one: Evaluation) -> dict[str, Any]:
    best = one.sweep.get(one.best, Counts())
    return {
        "detector": one.subject.detector.name,
        "threshold": one.subject.threshold,
        "source_videos": len(one.videos),
        "source_videos_without_scores": one.without_scores,
        **one.counts.to_json(),
        "best_threshold": one.best,
        "best_corrections": best.corrections,
        "best_f1": None if best.f1 is None else round(best.f1, 4),
    }
