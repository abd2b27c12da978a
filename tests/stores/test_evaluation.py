"""What an evaluation reads: decisions, corrections and their undo, recuts, replaced files, chapters, and stored scores."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from sqlalchemy import text

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.evaluation import Counts, Evaluation, Subject, Why
from heaters_dagster.domain.keys import scenes_key
from heaters_dagster.domain.progress import Progress
from heaters_dagster.domain.scenes import CutSettings, boundaries, cut_settings, encoded
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.registries import DETECTORS
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import Clip, ClipStore, NewClip
from resources.postgres.cut_imports import import_cuts
from resources.postgres.database import Database
from resources.upkeep.evaluation import Evaluations, evaluate
from tests.pipeline_rows import reviews, video_in

CONTENT = DETECTORS.load("content")
FRAMES = 400


def found_cuts(
    database: Database, objects: ObjectStore, scores: dict[int, float], *, chapter_frames: Sequence[int] = (), frames: int = FRAMES
) -> int:
    """A source video that `content` has cut by these scores (frame -> score); its id."""
    video = video_in(database, SourceVideoState.DETECTING_SCENES)
    settings = CutSettings("content", 27.0, 2, tuple(chapter_frames))
    store_scores(objects, video.id, scores, settings, frames)
    edges = sorted({0, frames, *chapter_frames, *(frame for frame, score in scores.items() if score >= 27)})
    new = [
        NewClip(start_frame=start, end_frame=end, start_time_seconds=start / 25, end_time_seconds=end / 25, confidence=0.7)
        for start, end in pairwise(edges)
    ]
    ClipStore(database).replace_cuts(video.id, new, frames, scene_settings=settings.to_json())
    return video.id


def store_scores(objects: ObjectStore, video_id: int, scores: dict[int, float], settings: CutSettings, frames: int = FRAMES) -> None:
    column = np.zeros(frames, np.float32)
    for frame, score in scores.items():
        column[frame] = score
    told = boundaries({"content": column}, CONTENT, settings.threshold)
    objects.put_bytes(scenes_key(video_id), encoded("content", {"content": column}, settings=settings, boundaries=told))


def clips_of(database: Database, video_id: int) -> list[Clip]:
    return ClipStore(database).load_live(video_id)


def approve_all(database: Database, video_id: int) -> None:
    reviews(database).approve([clip.id for clip in clips_of(database, video_id)], reviewer="ada")


def told(database: Database, objects: ObjectStore, *ids: int, detector: str = "content", unreviewed: bool = False) -> Evaluation:
    return all_told(database, objects, *ids, detector=detector, unreviewed=unreviewed).evaluations[0]


def all_told(database: Database, objects: ObjectStore, *ids: int, detector: str = "content", unreviewed: bool = False) -> Evaluations:
    subject = Subject.of(DETECTORS.load(detector), None)
    return evaluate(database, objects, [subject], source_video_ids=ids, with_unreviewed=unreviewed)


def test_what_reviewers_did_counts_once_the_clips_are_decided(database: Database, object_store: ObjectStore) -> None:
    """Cuts at 100, 200, 300: one is removed, one moved by a frame, one added, one kept."""
    video = found_cuts(database, object_store, {100: 60, 200: 60, 300: 60, 350: 60})
    store = reviews(database)
    store.remove_cut_point(video, 100, reviewer="ada")
    store.move_cut_point(video, 200, 201, reviewer="ada")
    store.add_cut_point(video, 250, reviewer="bob")
    nothing = told(database, object_store)
    assert (nothing.counts, nothing.videos) == (Counts(), [])
    approve_all(database, video)
    found = all_told(database, object_store)
    counts = Counts(hits=3, false=1, missed=1, kept=2, moved=1, removed=1, added=1)
    assert found.evaluations[0].counts == counts
    assert found.as_cut == {"content at 27": counts}


def test_kinds_and_ranges_are_those_of_the_clips(database: Database, object_store: ObjectStore) -> None:
    """The detector cuts a dissolve of frames 90 to 120 at 118; a reviewer says what it is, and puts another cut at 300 by hand."""
    video = found_cuts(database, object_store, {118: 60, 200: 60})
    store = reviews(database)
    store.edit_cut(video, 118, Transition(CutKind.DISSOLVE, 90, 120), reviewer="ada")
    store.add_cut_point(video, 300, reviewer="ada")
    approve_all(database, video)
    assert told(database, object_store).by_kind == {
        "dissolve": Counts(hits=1, kept=1),
        "hand": Counts(missed=1, added=1),
        "unknown": Counts(hits=1, kept=1),
    }
    store_scores(object_store, video, {95: 60, 200: 60}, CutSettings("content", 27.0, 2))
    assert told(database, object_store).by_kind["dissolve"] == Counts(hits=1, kept=1), "anywhere in its range it is the same cut"


def test_corrections_beside_clips_without_a_decision_are_told_apart(database: Database, object_store: ObjectStore) -> None:
    video = found_cuts(database, object_store, {100: 60, 200: 60})
    reviews(database).move_cut_point(video, 100, 105, reviewer="ada")
    reviews(database).approve([clips_of(database, video)[2].id], reviewer="ada")
    found = told(database, object_store)
    assert (found.counts, found.corrections_without_decision) == (Counts(), 1)


def test_what_was_undone_does_not_count_and_what_was_redone_does(database: Database, object_store: ObjectStore) -> None:
    video = found_cuts(database, object_store, {100: 60, 200: 60})
    store = reviews(database)
    store.move_cut_point(video, 100, 101, reviewer="ada")
    store.undo(reviewer="ada")
    approve_all(database, video)
    assert told(database, object_store).counts == Counts(hits=2, kept=2)
    store.undo(reviewer="ada")
    store.move_cut_point(video, 100, 101, reviewer="ada")
    store.undo(reviewer="ada")
    store.redo(reviewer="ada")
    approve_all(database, video)
    assert told(database, object_store).counts == Counts(hits=2, kept=1, moved=1)


def test_a_recut_begins_anew(database: Database, object_store: ObjectStore) -> None:
    video = found_cuts(database, object_store, {100: 60, 200: 60, 300: 30})
    reviews(database).move_cut_point(video, 100, 101, reviewer="ada")
    approve_all(database, video)
    assert told(database, object_store).counts.moved == 1
    new = [
        NewClip(start_frame=start, end_frame=end, start_time_seconds=start / 25, end_time_seconds=end / 25)
        for start, end in pairwise((0, 100, 200, FRAMES))
    ]
    settings = CutSettings("content", 40.0, 2)
    ClipStore(database).replace_cuts(video, new, FRAMES, scene_settings=settings.to_json(), forced_by="ada")
    assert told(database, object_store).counts == Counts(), "nobody has decided on the new clips"
    approve_all(database, video)
    found = all_told(database, object_store)
    assert found.as_cut == {"content at 40": Counts(hits=2, kept=2)}, "the cut at 101 was of before"
    assert found.evaluations[0].counts == Counts(hits=2, false=1, kept=2, removed=1), "27 would have cut at 300 too"


def test_decisions_that_were_carried_over_from_another_file_say_nothing(database: Database, object_store: ObjectStore) -> None:
    video = found_cuts(database, object_store, {100: 60, 200: 60})
    approve_all(database, video)
    with database.begin() as connection:  # as a replacement records it
        connection.execute(
            text(
                "insert into review_actions (reviewer_id, source_video_id, action, clip_ids, before, after) "
                "select reviewer_id, source_video_id, 'replace', clip_ids, before, after from review_actions where action = 'approve'"
            )
        )
    assert told(database, object_store).counts == Counts()
    first, second, _ = clips_of(database, video)
    reviews(database).skip([first.id, second.id], reviewer="ada")
    assert told(database, object_store).counts == Counts(hits=1, kept=1), "decided on the new file: the cut at 100"


def test_cuts_at_chapters_are_not_the_detectors(database: Database, object_store: ObjectStore) -> None:
    video = found_cuts(database, object_store, {100: 60, 300: 60}, chapter_frames=[200])
    approve_all(database, video)
    assert told(database, object_store).counts == Counts(hits=2, kept=2)


def test_clips_of_an_imported_cut_list_say_nothing(database: Database, object_store: ObjectStore) -> None:
    video = found_cuts(database, object_store, {100: 60, 200: 60, 300: 60})
    import_cuts(
        database, video, [100, 200, 300, 350], frame_times=lambda video_id, frames: [frame / 25 for frame in frames], reviewer="ada"
    )
    approve_all(database, video)
    assert told(database, object_store).counts == Counts(hits=2, kept=2), "300 and 350 are cuts of clips that the list made"
    store = reviews(database)
    store.undo(reviewer="ada")
    store.undo(reviewer="ada")
    approve_all(database, video)
    assert told(database, object_store).counts == Counts(hits=3, kept=3)


def test_source_videos_without_the_scores_of_a_detector_are_counted(database: Database, object_store: ObjectStore) -> None:
    video = found_cuts(database, object_store, {100: 60})
    approve_all(database, video)
    other = told(database, object_store, detector="transnetv2")
    assert (other.without_scores, other.counts) == (1, Counts())
    store_scores(object_store, video, {100: 60}, cut_settings(CONTENT, threshold=None, min_clip_frames=2), frames=FRAMES - 1)
    assert told(database, object_store).without_scores == 1, "scores of another proxy"
    object_store.delete(scenes_key(video))
    assert told(database, object_store).without_scores == 1


def test_only_the_source_videos_that_are_asked_for(database: Database, object_store: ObjectStore) -> None:
    first, second = (found_cuts(database, object_store, {100: 60}) for _ in range(2))
    for video in (first, second):
        approve_all(database, video)
    assert [one.id for one in told(database, object_store, second).videos] == [second]
    assert [one.id for one in told(database, object_store).videos] == [first, second]


def test_doubtful_places_of_source_videos_that_nobody_has_reviewed(database: Database, object_store: ObjectStore) -> None:
    video = found_cuts(database, object_store, {100: 28, 200: 25})
    assert told(database, object_store).doubts == ()
    found = told(database, object_store, unreviewed=True)
    assert [(one.source_video_id, one.frame, one.is_cut, one.why) for one in found.doubts] == [
        (video, 100, True, Why.UNREVIEWED),
        (video, 200, False, Why.UNREVIEWED),
    ]
    assert {one.clip_id for one in found.doubts} == {clips_of(database, video)[1].id}


def test_progress_counts_frames(database: Database, object_store: ObjectStore) -> None:
    for _ in range(2):
        approve_all(database, found_cuts(database, object_store, {100: 60}))
    seen: list[Progress] = []
    evaluate(database, object_store, [Subject.of(CONTENT, None)], report=seen.append)
    assert [(one.done, one.total, one.unit) for one in seen] == [(FRAMES, 2 * FRAMES, "frames"), (2 * FRAMES, 2 * FRAMES, "frames")]


@pytest.mark.parametrize("threshold", [27.0, 50.0])
def test_several_detectors_in_one_reading(database: Database, object_store: ObjectStore, threshold: float) -> None:
    approve_all(database, found_cuts(database, object_store, {100: 60, 200: 40}))
    subjects = [Subject.of(CONTENT, threshold), Subject.of(DETECTORS.load("adaptive"), None)]
    found = evaluate(database, object_store, subjects)
    lines = found.to_json()["compared"]
    assert [(line["detector"], line["threshold"]) for line in lines] == [("content", threshold), ("adaptive", 3.0)]
    assert lines[0]["kept"] == (2 if threshold == 27 else 1)
