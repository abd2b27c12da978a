"""Jobs whose runs fail before their work begins, as with a half-renewed installation or a package that is missing.

No row knows of such a run: it has no try less, and stays due. So people are told of it by the job, not by the source video.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from heaters_dagster.domain.due import pause_after_failed_starts
from heaters_dagster.domain.stages import ASSETS_OF_JOB, CLIP_STAGES, VIDEO_STAGES, Job, with_states
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.words import counted

#: Older runs say nothing of the program as it is now.
LOOKED_AT_SECONDS = 3600
#: Of a job so many of the newest runs are read. More do not make the pause longer.
MOST_RUNS = 12


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that has ended. begun: one of its steps had begun, or it succeeded. error: what Dagster says of its failure, "" if nothing."""

    begun: bool
    seconds_ago: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class FailingStarts:
    """runs: how many of the newest runs failed so, one after the other. seconds: until the next is tried, 0 when one may be tried now.

    error: of the newest, its first line.
    """

    job: Job
    runs: int
    seconds: float
    error: str

    @property
    def words(self) -> str:
        what = f"the last {counted(self.runs, 'run')} of this job failed before the work began ({self.error})"
        return f"{what}; the next is tried in {counted(math.ceil(self.seconds), 'second')}" if self.seconds > 0 else what

    @property
    def sentence(self) -> str:
        """The same where no job is named beside it, and without a time, which ages."""
        return f"runs of the job {self.job} cannot begin: the last {counted(self.runs, 'run')} failed before the work began ({self.error})"


def failing_starts(job: Job, newest_first: Iterable[EndedRun]) -> FailingStarts | None:
    """newest_first: the job's runs of the last LOOKED_AT_SECONDS. None while they begin their work, or nobody has tried."""
    failed: list[EndedRun] = []
    for run in newest_first:
        if run.begun:
            break
        failed.append(run)
    pause = pause_after_failed_starts(len(failed))
    if pause is None:
        return None
    error = next(iter(failed[0].error.strip().splitlines()), "no reason is known")
    return FailingStarts(job, len(failed), max(0.0, pause - failed[0].seconds_ago), error)


def held_up(
    state: SourceVideoState, clips: Mapping[ClipState, int], *, lacks_master: bool, failing: Mapping[Job, FailingStarts]
) -> list[FailingStarts]:
    """Those that hold up a source video, by the states in which it and its clips wait. What has failed may wait for a person."""
    waits = {stage.asset for stage in with_states(VIDEO_STAGES) if state in set(stage.steps.due) - {stage.steps.failed}}
    for of_clips in with_states(CLIP_STAGES):
        if any(clips.get(due) for due in set(of_clips.steps.due) - {of_clips.steps.failed}):
            waits.add(of_clips.asset)
    waits |= set(ASSETS_OF_JOB[Job.ARCHIVE_MASTER]) if lacks_master and state is SourceVideoState.SCENES_DETECTED else set()
    return [found for job, found in failing.items() if waits & set(ASSETS_OF_JOB[job])]
