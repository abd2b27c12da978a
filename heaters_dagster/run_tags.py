"""The tags of our runs: by them the queue limits and orders runs, and people find them. The same however a run was asked for."""

from __future__ import annotations

from collections.abc import Collection

from heaters_dagster.domain.due import ASSETS_OF_JOB, PRIORITY_OF_JOB, Job

JOB_TAG = "heaters/job"
WORK_TAG = "heaters/work"
TITLE_TAG = "heaters/title"
REASON_TAG = "heaters/reason"
PRIORITY_TAG = "dagster/priority"

#: On a run that was ended for a reason that is no fault of its work: the rows that it left are due again, and none counts a try.
ENDED_TAG = "heaters/ended"

#: The value of JOB_TAG of a run that only checks what is there.
CHECK = "check"

#: What a run counts as that does the work of several jobs: the one that is limited most.
_NARROWEST_FIRST = (Job.INGEST, Job.ARCHIVE_MASTER, Job.EXPORT, Job.ENRICH, Job.CLEAN_UP)


def job_of(assets: Collection[str]) -> Job | None:
    """The job whose limits hold for a run that makes these assets; None when it makes none of ours."""
    return next((job for job in _NARROWEST_FIRST if set(ASSETS_OF_JOB[job]) & set(assets)), None)


def tags_of_work(assets: Collection[str], partition_key: str) -> dict[str, str]:
    """The tags of a run that makes `assets` of one source video, or, when there are none, only checks what is there."""
    job = job_of(assets)
    if job is None:
        return {JOB_TAG: CHECK, WORK_TAG: f"{CHECK}:{partition_key}"}
    return {JOB_TAG: job.value, WORK_TAG: f"{job}:{partition_key}", PRIORITY_TAG: str(PRIORITY_OF_JOB[job])}
