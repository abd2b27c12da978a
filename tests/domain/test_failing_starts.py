"""Which jobs cannot begin their runs, and which source videos that holds up."""

from heaters_dagster.domain.failing_starts import EndedRun, FailingStarts, failing_starts, held_up
from heaters_dagster.domain.stages import Job
from heaters_dagster.domain.states import ClipState, SourceVideoState


def failed(seconds_ago: float, error: str = "") -> EndedRun:
    return EndedRun(begun=False, seconds_ago=seconds_ago, error=error)


def test_runs_count_from_the_newest_to_the_first_that_began_its_work() -> None:
    began = EndedRun(begun=True, seconds_ago=50)
    assert failing_starts(Job.EXPORT, []) is None
    assert failing_starts(Job.EXPORT, [failed(1), failed(2), began, failed(60)]) is None
    found = failing_starts(Job.EXPORT, [failed(10, "no module\nmore"), failed(20), failed(30), began, failed(60)])
    assert found == FailingStarts(Job.EXPORT, runs=3, seconds=5.0, error="no module")
    assert found.words == "the last 3 runs of this job failed before the work began (no module); the next is tried in 5 seconds"
    assert found.sentence == "runs of the job export cannot begin: the last 3 runs failed before the work began (no module)"


def test_without_a_reason_and_after_the_pause_both_are_said_so() -> None:
    found = failing_starts(Job.INGEST, [failed(100)] * 3)
    assert found is not None
    assert found.words == "the last 3 runs of this job failed before the work began (no reason is known)"


def test_a_source_video_is_held_up_by_the_jobs_for_which_it_and_its_clips_wait() -> None:
    failing = {job: FailingStarts(job, 3, 0.0, "") for job in (Job.INGEST, Job.ARCHIVE_MASTER, Job.EXPORT, Job.ENRICH)}

    def jobs(state: SourceVideoState, *clips: ClipState, lacks_master: bool = False) -> list[Job]:
        return [one.job for one in held_up(state, dict.fromkeys(clips, 1), lacks_master=lacks_master, failing=failing)]

    S, C = SourceVideoState, ClipState
    assert jobs(S.NEW) == jobs(S.DOWNLOADED) == jobs(S.PREPROCESSED) == [Job.INGEST]
    assert jobs(S.SCENES_DETECTED, C.PENDING_REVIEW) == jobs(S.DOWNLOAD_FAILED) == []
    assert jobs(S.SCENES_DETECTED, lacks_master=True) == [Job.ARCHIVE_MASTER]
    assert jobs(S.SCENES_DETECTED, C.REVIEW_APPROVED, C.EXPORTED) == [Job.EXPORT, Job.ENRICH]
