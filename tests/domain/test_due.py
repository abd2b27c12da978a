"""Which runs are wanted, for every state a row can be in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain.due import (
    ENRICH_PATIENCE_SECONDS,
    GOLD_MASTER_PATIENCE_SECONDS,
    RETRY_AFTER_SECONDS,
    ClipGroup,
    VideoFacts,
    attempts_after_failure,
    may_be_tried,
    waiting_to_be_tried,
    wanted_runs,
)
from heaters_dagster.domain.stages import ASSETS_OF_JOB, INGESTED, MAX_ATTEMPTS, Job
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.words import video_state_words

S, C = SourceVideoState, ClipState
LONG_AGO = RETRY_AFTER_SECONDS + 1


def done(id: int = 1, *clips: ClipGroup, **more: object) -> VideoFacts:
    """A source video that is through the pipeline up to review."""
    facts: dict[str, object] = {"state": S.SCENES_DETECTED, "has_original": True, "has_gold_master": True, "clips": clips, **more}
    return VideoFacts(id=id, **facts)  # type: ignore[arg-type]


def group(state: ClipState, *, attempts: int = 0, count: int = 1, seconds: float = 0.0) -> ClipGroup:
    return ClipGroup(state, attempts, count, seconds)


def jobs(*videos: VideoFacts, in_flight: frozenset[tuple[str, str]] = frozenset()) -> list[tuple[Job, str]]:
    return [(run.job, run.partition_key) for run in wanted_runs(videos, in_flight)]


@pytest.mark.parametrize(
    ("state", "first_asset"),
    [
        (S.NEW, "source_video"),
        (S.DOWNLOADING, "source_video"),
        (S.DOWNLOADED, "proxy"),
        (S.PREPROCESSING, "proxy"),
        (S.PREPROCESSED, "virtual_clips"),
        (S.DETECTING_SCENES, "virtual_clips"),
    ],
)
def test_an_ingest_begins_where_the_source_video_stands(state: SourceVideoState, first_asset: str) -> None:
    (run,) = wanted_runs([VideoFacts(id=7, state=state)], frozenset())
    assert (run.job, run.partition_key, run.work) == (Job.INGEST, "7", "ingest:7")
    assert run.assets == INGESTED[INGESTED.index(first_asset) :]


def test_pieces_of_a_proxy_that_is_being_made_are_wanted_from_the_last_one_on_by_as_many_runs_as_may_help() -> None:
    being_made = VideoFacts(id=7, state=S.PREPROCESSING, busy=frozenset({"proxy"}), free_pieces=(1, 2, 3))
    runs = wanted_runs([being_made], frozenset({("proxy", "7")}), helpers=2)
    assert [(run.job, run.assets, run.piece, run.work) for run in runs] == [
        (Job.INGEST, ("proxy_pieces",), 3, "ingest:7/3"),
        (Job.INGEST, ("proxy_pieces",), 2, "ingest:7/2"),
    ]
    assert runs[0].reason == "piece 4 of the proxy of source video 7"
    in_flight = frozenset({("proxy", "7"), ("proxy_pieces/3", "7")})
    assert [run.piece for run in wanted_runs([being_made], in_flight, helpers=2)] == [2]
    assert wanted_runs([being_made], in_flight, helpers=1) == []
    assert wanted_runs([being_made], in_flight) == [], "with one machine nobody helps"


def test_nobody_helps_with_a_proxy_that_nobody_makes() -> None:
    (run,) = wanted_runs([VideoFacts(id=7, state=S.PREPROCESSING, free_pieces=(1, 2))], frozenset(), helpers=5)
    assert run.assets[0] == "proxy"


def test_a_new_source_video_comes_before_pieces_of_another_one() -> None:
    being_made = VideoFacts(id=1, state=S.PREPROCESSING, busy=frozenset({"proxy"}), free_pieces=(1,))
    runs = wanted_runs([being_made, VideoFacts(id=2, state=S.NEW)], frozenset({("proxy", "1")}), helpers=1)
    assert [(run.partition_key, run.piece) for run in runs] == [("2", None), ("1", 1)]


@pytest.mark.parametrize("state", [S.DOWNLOADING, S.PREPROCESSING, S.DETECTING_SCENES])
def test_a_working_state_that_nobody_works_on_is_due_again_and_says_why(state: SourceVideoState) -> None:
    (run,) = wanted_runs([VideoFacts(id=7, state=state)], frozenset())
    assert run.reason == f"source video 7: {video_state_words(state)}, but the process that did it has ended"


@pytest.mark.parametrize(
    ("failed", "first_asset"),
    [(S.DOWNLOAD_FAILED, "source_video"), (S.PREPROCESS_FAILED, "proxy"), (S.DETECT_SCENES_FAILED, "virtual_clips")],
)
def test_a_failed_stage_is_due_again_after_a_while_until_it_failed_too_often(failed: SourceVideoState, first_asset: str) -> None:
    (run,) = wanted_runs([VideoFacts(id=1, state=failed, attempts=3, seconds_since_change=LONG_AGO)], frozenset())
    assert run.assets[0] == first_asset
    assert not jobs(VideoFacts(id=1, state=failed, attempts=3, seconds_since_change=1.0))
    assert not jobs(VideoFacts(id=1, state=failed, attempts=MAX_ATTEMPTS, seconds_since_change=LONG_AGO))


def test_a_source_video_in_review_needs_no_run() -> None:
    assert not jobs(done(1, group(C.PENDING_REVIEW), group(C.REVIEW_SKIPPED), group(C.REVIEW_ARCHIVED), group(C.EMBEDDED)))


def test_a_duplicate_needs_no_run() -> None:
    assert not jobs(VideoFacts(id=2, state=S.DOWNLOADED, has_original=True, is_duplicate=True))


@pytest.mark.parametrize("state", [C.REVIEW_APPROVED, C.EXPORTING])
def test_approved_clips_are_exported_and_nothing_else_is_asked_for(state: ClipState) -> None:
    (run,) = wanted_runs([done(4, group(state, count=3), group(C.PENDING_REVIEW))], frozenset())
    assert (run.job, run.partition_key, run.assets) == (Job.EXPORT, "4", ("exports",))
    assert run.reason == "3 approved clips of source video 4"


@pytest.mark.parametrize(
    ("state", "assets"),
    [
        (C.EXPORTED, ("keyframes", "embeddings")),
        (C.KEYFRAMING, ("keyframes", "embeddings")),
        (C.KEYFRAMED, ("embeddings",)),
        (C.EMBEDDING, ("embeddings",)),
    ],
)
def test_exported_clips_are_made_searchable_from_where_they_stand(state: ClipState, assets: tuple[str, ...]) -> None:
    (run,) = wanted_runs([done(4, group(state))], frozenset())
    assert (run.job, run.assets) == (Job.ENRICH, assets)


def test_exported_clips_wait_a_little_for_those_that_are_still_being_exported() -> None:
    exported = group(C.EXPORTED, seconds=ENRICH_PATIENCE_SECONDS - 1)
    assert jobs(done(1, exported, group(C.REVIEW_APPROVED))) == [(Job.EXPORT, "1")]
    assert not jobs(done(1, exported), in_flight=frozenset({("exports", "1")}))
    assert jobs(done(1, exported), in_flight=frozenset({("exports", "2")})) == [(Job.ENRICH, "1")]
    waited = group(C.EXPORTED, seconds=ENRICH_PATIENCE_SECONDS)
    assert jobs(done(1, waited, group(C.REVIEW_APPROVED))) == [(Job.EXPORT, "1"), (Job.ENRICH, "1")]


@pytest.mark.parametrize(
    ("state", "job"), [(C.EXPORT_FAILED, Job.EXPORT), (C.KEYFRAME_FAILED, Job.ENRICH), (C.EMBEDDING_FAILED, Job.ENRICH)]
)
def test_a_failed_clip_is_due_again_after_a_while_until_it_failed_too_often(state: ClipState, job: Job) -> None:
    assert jobs(done(1, group(state, attempts=1, seconds=LONG_AGO))) == [(job, "1")]
    assert not jobs(done(1, group(state, attempts=1, seconds=1.0)))
    assert not jobs(done(1, group(state, attempts=MAX_ATTEMPTS, seconds=LONG_AGO)))


def test_what_is_in_flight_is_not_asked_for_again() -> None:
    new = VideoFacts(id=1, state=S.NEW)
    approved = done(2, group(C.REVIEW_APPROVED))
    in_flight = frozenset({("virtual_clips", "1"), ("exports", "3")})
    assert jobs(new, approved, in_flight=in_flight) == [(Job.EXPORT, "2")]


def test_what_another_process_holds_the_lock_of_is_not_asked_for() -> None:
    assert not jobs(VideoFacts(id=1, state=S.PREPROCESSING, busy=frozenset({"proxy"})))
    assert jobs(done(1, group(C.REVIEW_APPROVED), busy=frozenset({"proxy"}))) == [(Job.EXPORT, "1")]


def test_exports_wait_for_a_proxy_that_has_to_be_made_again() -> None:
    lost = done(1, group(C.REVIEW_APPROVED), group(C.EXPORTED, seconds=ENRICH_PATIENCE_SECONDS), proxy_is_half_written=True)
    runs = wanted_runs([lost], frozenset())
    assert {(run.job, run.assets[0]) for run in runs} == {(Job.INGEST, "proxy"), (Job.ENRICH, "keyframes")}


def test_files_that_nobody_needs_are_cleaned_up() -> None:
    assert jobs(done(5, obsolete_artifacts=2)) == [(Job.CLEAN_UP, "5")]


def test_a_gold_master_waits_while_anything_is_on_its_way_to_review() -> None:
    waiting = done(1, has_gold_master=False)
    assert jobs(waiting) == [(Job.ARCHIVE_MASTER, "1")]
    assert jobs(waiting, VideoFacts(id=2, state=S.NEW)) == [(Job.INGEST, "2")]
    assert not jobs(waiting, in_flight=frozenset({("proxy", "2")}))
    assert not jobs(VideoFacts(id=3, state=S.NEW, has_original=False), in_flight=frozenset({("source_video", "3")}))


def test_a_gold_master_does_not_wait_for_ever() -> None:
    patient = done(1, has_gold_master=False, seconds_since_change=GOLD_MASTER_PATIENCE_SECONDS)
    assert jobs(patient, VideoFacts(id=2, state=S.NEW)) == [(Job.INGEST, "2"), (Job.ARCHIVE_MASTER, "1")]


def test_a_source_video_whose_ingest_failed_for_good_still_gets_its_gold_master() -> None:
    failed = VideoFacts(id=1, state=S.PREPROCESS_FAILED, attempts=MAX_ATTEMPTS, has_original=True)
    assert jobs(failed) == [(Job.ARCHIVE_MASTER, "1")]


def test_a_failed_gold_master_waits_for_a_person() -> None:
    assert not jobs(done(1, has_gold_master=False, gold_master_attempts=MAX_ATTEMPTS))


def test_a_gold_master_that_failed_for_a_reason_that_may_pass_is_tried_again_a_minute_later() -> None:
    assert not jobs(done(1, has_gold_master=False, gold_master_attempts=3, seconds_since_gold_master_failure=RETRY_AFTER_SECONDS - 1))
    assert waiting_to_be_tried([done(1, has_gold_master=False, gold_master_attempts=3)]) == 1
    assert jobs(done(1, has_gold_master=False, gold_master_attempts=3, seconds_since_gold_master_failure=RETRY_AFTER_SECONDS)) == [
        (Job.ARCHIVE_MASTER, "1")
    ]


def test_what_a_person_waits_for_comes_first() -> None:
    videos = [
        VideoFacts(id=9, state=S.NEW),
        done(3, group(C.EXPORTED), obsolete_artifacts=1),
        done(2, group(C.REVIEW_APPROVED)),
        done(1, group(C.REVIEW_APPROVED), has_gold_master=False, seconds_since_change=GOLD_MASTER_PATIENCE_SECONDS),
    ]
    assert jobs(*videos) == [
        (Job.EXPORT, "1"),
        (Job.EXPORT, "2"),
        (Job.ENRICH, "3"),
        (Job.INGEST, "9"),
        (Job.CLEAN_UP, "3"),
        (Job.ARCHIVE_MASTER, "1"),
    ]


clip_groups = st.builds(ClipGroup, st.sampled_from(C), st.integers(0, 8), st.integers(1, 5), st.floats(0, 1e5))
facts = st.builds(
    VideoFacts,
    id=st.integers(1, 6),
    state=st.sampled_from(S),
    attempts=st.integers(0, 8),
    seconds_since_change=st.floats(0, 1e5),
    is_duplicate=st.booleans(),
    has_original=st.booleans(),
    has_gold_master=st.booleans(),
    gold_master_attempts=st.integers(0, 8),
    clips=st.lists(clip_groups, max_size=4).map(tuple),
    obsolete_artifacts=st.integers(0, 2),
)
all_assets = sorted({asset for assets in ASSETS_OF_JOB.values() for asset in assets})


@given(
    st.lists(facts, max_size=5, unique_by=lambda video: video.id),
    st.sets(st.tuples(st.sampled_from(all_assets), st.sampled_from("123456"))),
)
def test_no_two_runs_ever_make_the_same_and_none_that_is_in_flight(videos: list[VideoFacts], in_flight: set[tuple[str, str]]) -> None:
    made = [(asset, run.partition_key) for run in wanted_runs(videos, in_flight) for asset in run.assets]
    assert len(made) == len(set(made))
    assert not set(made) & in_flight


@given(st.lists(facts, max_size=5, unique_by=lambda video: video.id))
def test_asking_twice_asks_for_nothing_new(videos: list[VideoFacts]) -> None:
    first = wanted_runs(videos, frozenset())
    in_flight = frozenset((asset, run.partition_key) for run in first for asset in run.assets)
    assert wanted_runs(videos, in_flight) == []


def test_what_failed_a_moment_ago_is_counted_as_waiting() -> None:
    failed = VideoFacts(id=1, state=S.PREPROCESS_FAILED, attempts=3)
    given_up = VideoFacts(id=2, state=S.PREPROCESS_FAILED, attempts=MAX_ATTEMPTS)
    clips = done(3, group(C.EXPORT_FAILED, attempts=1, count=2), group(C.EMBEDDING_FAILED, attempts=MAX_ATTEMPTS), group(C.EXPORTED))
    assert waiting_to_be_tried([failed, given_up, clips]) == 3


def test_a_try_is_due_after_the_wait_and_below_the_limit() -> None:
    assert may_be_tried(MAX_ATTEMPTS - 1, RETRY_AFTER_SECONDS)
    assert not may_be_tried(MAX_ATTEMPTS - 1, RETRY_AFTER_SECONDS - 0.1)
    assert not may_be_tried(MAX_ATTEMPTS, RETRY_AFTER_SECONDS)


def test_a_failure_that_may_pass_counts_one_try_and_any_other_all_of_them() -> None:
    assert attempts_after_failure(0, transient=True) == 1
    assert attempts_after_failure(MAX_ATTEMPTS, transient=True) == MAX_ATTEMPTS
    assert attempts_after_failure(0, transient=False) == MAX_ATTEMPTS
