"""What waits and what failed, on real rows."""

from __future__ import annotations

from heaters_dagster.domain.states import ClipState, SourceVideoState
from resources.postgres.backlog import CLIP_WORDS, VIDEO_WORDS, failed_count, load_backlog
from resources.postgres.database import Database
from resources.postgres.source_video_lists import SourceVideoLists
from resources.postgres.source_video_store import SourceVideoStore
from tests.pipeline_rows import cut_video, reviews, video_in

S = SourceVideoState


def test_nothing_waits_when_there_is_nothing(database: Database) -> None:
    assert load_backlog(database) == []


def test_groups_say_how_many_how_much_since_when_and_which(database: Database) -> None:
    videos = SourceVideoStore(database)
    first = video_in(database, S.DOWNLOADED, original_bytes=1000)
    videos.update(first.id, title="Harbour")
    video_in(database, S.DOWNLOADED, original_bytes=500)
    bad = video_in(database, S.NEW)
    videos.record_failure(bad.id, S.DOWNLOAD_FAILED, "gone", transient=False)
    copy = video_in(database, S.NEW)
    videos.mark_duplicate(copy.id, first.id)
    clip, *_ = cut_video(database)
    reviews(database).approve([clip.id], reviewer="ada")
    groups = {(group.what, group.words): group for group in load_backlog(database)}
    assert {key: group.count for key, group in groups.items()} == {
        ("source videos", "for a proxy"): 2,
        ("source videos", "fetching failed"): 1,
        ("clips", "for review"): 2,
        ("clips", "to be exported"): 1,
    }
    waiting = groups["source videos", "for a proxy"]
    assert (waiting.byte_size, waiting.titles, waiting.failed) == (1500, ("Harbour", "test"), False)
    assert waiting.oldest == videos.load(first.id).state_changed_at
    assert groups["clips", "for review"].titles == ("test",)
    assert failed_count(groups.values()) == 1


def test_a_gold_master_that_waits_or_failed_is_a_group_of_its_own(database: Database) -> None:
    clip, *_ = cut_video(database, gold_master=False)
    (waiting,) = (group for group in load_backlog(database) if group.what == "gold masters")
    assert (waiting.words, waiting.count, waiting.failed) == ("to be made", 1, False)
    SourceVideoStore(database).record_gold_master_failure(clip.source_video_id, "no room", transient=True)
    (failed,) = (group for group in load_backlog(database) if group.what == "gold masters")
    assert (failed.words, failed.count, failed.failed) == ("making them failed", 1, True)


def test_a_list_of_a_few_has_what_failed_first_and_then_the_newest(database: Database) -> None:
    videos, lists = SourceVideoStore(database), SourceVideoLists(database)
    without_master, failed, older, newer, newest = (video_in(database, S.DOWNLOADING).id for _ in range(5))
    videos.record_failure(failed, S.DOWNLOAD_FAILED, "gone", transient=False)
    videos.record_gold_master_failure(without_master, "no room", transient=True)
    shown = {most: [one.id for one in lists.overview(most=most)] for most in (1, 3, 4, 9)}
    assert shown == {
        1: [failed],
        3: [without_master, failed, newest],
        4: [without_master, failed, newer, newest],
        9: [without_master, failed, older, newer, newest],
    }


def test_every_state_that_is_not_the_end_has_its_words() -> None:
    assert set(VIDEO_WORDS) == set(S) - {S.SCENES_DETECTED, S.DELETED}
    ends = {ClipState.REVIEW_SKIPPED, ClipState.REVIEW_ARCHIVED, ClipState.EMBEDDED}
    assert set(CLIP_WORDS) == set(ClipState) - ends
