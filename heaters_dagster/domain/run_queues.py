"""How many runs of each kind go at once, and on which queue of a broker a run waits for a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from heaters_dagster.domain.run_tags import JOB_TAG, WORK_TAG
from heaters_dagster.domain.stages import Job

WEIGHT_TAG = "heaters/weight"
LARGE = "large"
#: On a run that makes a large gold master: the limit over all machines looks at it.
LARGE_MASTER_TAG = "heaters/large_master"

#: Pictures with more pixels than this are large: more than full HD. A gold master of 4K takes four times as long, and as much memory.
LARGE_ABOVE_PIXELS = 1920 * 1088

#: Jobs whose runs take a machine for as long as the picture is large.
WEIGHED = (Job.INGEST, Job.ARCHIVE_MASTER)

#: What has no limit of its own: cleaning up, checks, what schedules ask for.
OTHER = "other"
OTHER_RUNS = 2

#: Kind of work -> the queues of a broker on which its runs wait. A worker has processes of their own for each kind, so that a run of one
#: kind never waits behind a run of another.
QUEUES: Mapping[str, tuple[str, ...]] = {
    Job.EXPORT.value: (Job.EXPORT.value,),
    Job.INGEST.value: (Job.INGEST.value, f"{Job.INGEST}_{LARGE}"),
    Job.ENRICH.value: (Job.ENRICH.value,),
    Job.ARCHIVE_MASTER.value: (Job.ARCHIVE_MASTER.value, f"{Job.ARCHIVE_MASTER}_{LARGE}"),
    OTHER: (OTHER,),
}


def weight_tags(job: Job | None, frame_pixels: int) -> dict[str, str]:
    """The tags of a run on a large picture; none for small ones, and while nobody knows how large it is."""
    if job not in WEIGHED or frame_pixels <= LARGE_ABOVE_PIXELS:
        return {}
    return {WEIGHT_TAG: LARGE} | ({LARGE_MASTER_TAG: "yes"} if job is Job.ARCHIVE_MASTER else {})


def queue_of(tags: Mapping[str, str]) -> str:
    """The queue on which a run with these tags waits for a worker."""
    job = tags.get(JOB_TAG, "")
    if job not in QUEUES:
        return OTHER
    return f"{job}_{LARGE}" if job in WEIGHED and tags.get(WEIGHT_TAG) == LARGE else job


def queue_limits(runs: Mapping[str, int], machines: int, *, large_masters: int | None = None) -> tuple[int, Sequence[Mapping[str, Any]]]:
    """How many runs may go at once, and the limits by tags, as Dagster's queue takes them.

    runs: kind of work -> runs of it at once on one machine. Each kind has room of its own, so that ten thousand videos that wait for
    their ingest never delay an export. large_masters: large gold masters at once on all machines together; None: as many as small ones.
    """
    limits: list[Mapping[str, Any]] = [{"key": JOB_TAG, "value": kind, "limit": most * machines} for kind, most in runs.items()]
    if large_masters is not None:
        limits.append({"key": LARGE_MASTER_TAG, "limit": large_masters})
    one_for_each_work = {"key": WORK_TAG, "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
    return (sum(runs.values()) + OTHER_RUNS) * machines, [*limits, one_for_each_work]


def helper_runs(machines: int, ingest_runs: int) -> int:
    """How many runs may make pieces of one proxy beside the run that makes the proxy. With one machine none: that run makes them all.

    On each machine one of them works, and others wait until that one is done (`Database.turn_on_this_machine`).
    """
    return machines * ingest_runs - 1 if machines > 1 else 0


def lock_of_run(run_id: str) -> str:
    """The name of the lock that a worker of a broker holds from when it takes a run until the run has ended."""
    return f"run {run_id}"
