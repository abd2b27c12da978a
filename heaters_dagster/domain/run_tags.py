"""The tags of Heaters' runs: the queue limits and orders runs by them, and people find runs by them. Every run has the same, however it
was started."""

from __future__ import annotations

from collections.abc import Collection

from heaters_dagster.domain.stages import ASSETS_OF_JOB, JOBS, PIECES_PRIORITY, PROXY_PIECES, Job

JOB_TAG = "heaters/job"
WORK_TAG = "heaters/work"
TITLE_TAG = "heaters/title"
REASON_TAG = "heaters/reason"
PRIORITY_TAG = "dagster/priority"

#: On a run that makes one piece of a proxy: which one, from 0.
PIECE_TAG = "heaters/piece"

#: On a run that ended through no fault of its work: the rows that it left are due again, and none counts a try.
ENDED_TAG = "heaters/ended"

#: On a run whose lease was lost after its work had begun: what that says about its process. The try is counted.
LOST_TAG = "heaters/lost"

#: The value of JOB_TAG of a run that only checks what is there.
CHECK = "check"


def job_of(assets: Collection[str]) -> Job | None:
    """The job whose limits hold for a run that makes these assets; None when it makes none of ours."""
    return next((job for job in Job if set(ASSETS_OF_JOB[job]) & set(assets)), None)


def tags_of_work(assets: Collection[str], partition_key: str, piece: int | None = None) -> dict[str, str]:
    """The tags of a run that makes `assets` of one source video, or, when there are none, only checks what is there.

    piece: the one that it makes. Such runs go beside the one that makes the proxy, and beside one another.
    """
    job = job_of(assets)
    if job is None:
        return {JOB_TAG: CHECK, WORK_TAG: f"{CHECK}:{partition_key}"}
    if set(assets) == set(PROXY_PIECES.makes):
        tags = {JOB_TAG: job.value, PRIORITY_TAG: str(PIECES_PRIORITY)}
        if piece is None:  # a person has started it
            return {**tags, WORK_TAG: f"{job}:{partition_key}/pieces"}
        return {**tags, WORK_TAG: f"{job}:{partition_key}/{piece}", PIECE_TAG: str(piece)}
    return {JOB_TAG: job.value, WORK_TAG: f"{job}:{partition_key}", PRIORITY_TAG: str(JOBS[job].priority)}
