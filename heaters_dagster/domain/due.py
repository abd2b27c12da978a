"""Which runs are wanted now: the one decision that the sensors and `heaters process` carry out.

It looks at the state of the rows, never at a cursor or at earlier requests. So a row that commits late, a run that was killed and a
machine that was switched off need no special case: at the next look their work is due, or it is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum

from heaters_dagster.domain.states import ClipState, SourceVideoState

_S, _C = SourceVideoState, ClipState

#: Failed tries after which a stage waits for `heaters retry`. One run makes up to 3 of them, some seconds apart.
MAX_ATTEMPTS = 6

#: Wait between two runs of a stage that failed for a temporary reason (a full disk, a server that is down).
RETRY_AFTER_SECONDS = 60.0

#: Exported clips wait this long for others of their source video that are still being exported: each run loads the model again, which
#: takes more processor time than many embeddings, while a reviewer waits for files.
ENRICH_PATIENCE_SECONDS = 30.0

#: A gold master waits while anything is on its way to review, but not for ever.
GOLD_MASTER_PATIENCE_SECONDS = 6 * 3600.0


class Job(StrEnum):
    """The jobs that sensors ask for, by their names in Dagster."""

    INGEST = "ingest"
    ARCHIVE_MASTER = "archive_master"
    EXPORT = "export"
    ENRICH = "enrich"
    CLEAN_UP = "clean_up"


#: Asset names in the order in which a run makes them.
ASSETS_OF_JOB: Mapping[Job, tuple[str, ...]] = {
    Job.INGEST: ("source_video", "proxy", "keyframe_offsets", "virtual_clips"),
    Job.ARCHIVE_MASTER: ("gold_master",),
    Job.EXPORT: ("exports",),
    Job.ENRICH: ("keyframes", "embeddings"),
    Job.CLEAN_UP: ("archived_clips",),
}

#: Order in the queue: what a person waits for first.
PRIORITY_OF_JOB: Mapping[Job, int] = {Job.EXPORT: 30, Job.ENRICH: 10, Job.INGEST: 0, Job.CLEAN_UP: -10, Job.ARCHIVE_MASTER: -20}


@dataclass(frozen=True, slots=True)
class ClipGroup:
    """Live clips of one source video with the same state and number of failed tries.

    seconds_since_change: since the clip that waits longest came into that state, or failed once more.
    """

    state: ClipState
    attempts: int
    count: int
    seconds_since_change: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What is known about one source video when the decision is made.

    attempts: failed tries of the current stage; MAX_ATTEMPTS or more means that it waits for a person.
    seconds_since_change: since it came into its state, or failed once more.
    busy: assets with a stage lock that some process holds, whether Dagster knows about it or not.
    has_original, has_gold_master: the object is there. gold_master_attempts: failed tries to make it;
    seconds_since_gold_master_failure: since the last of them.
    obsolete_artifacts: files of clips that are no longer needed. exports_waiting_for_master: number of clips; they are not in `clips`.
    """

    id: int
    state: SourceVideoState
    attempts: int = 0
    seconds_since_change: float = 0.0
    is_duplicate: bool = False
    has_original: bool = False
    has_gold_master: bool = False
    gold_master_attempts: int = 0
    seconds_since_gold_master_failure: float = 0.0
    clips: tuple[ClipGroup, ...] = ()
    obsolete_artifacts: int = 0
    exports_waiting_for_master: int = 0
    busy: frozenset[str] = frozenset()

    @property
    def partition_key(self) -> str:
        return str(self.id)


@dataclass(frozen=True, slots=True)
class RunWanted:
    """A run to ask for.

    assets: those of the job that still have to be made; what is made already is not made again. reason: for the operator.
    resumes: the row says that a process works on it, but none does: the process was killed.
    """

    job: Job
    partition_key: str
    assets: tuple[str, ...]
    priority: int
    reason: str
    resumes: bool = False

    @property
    def work(self) -> str:
        """`export:12`: equal for two runs that would do the same."""
        return f"{self.job}:{self.partition_key}"


def wanted_runs(videos: Iterable[VideoFacts], in_flight: Set[tuple[str, str]]) -> list[RunWanted]:
    """Every run that is due, most urgent first, then lowest source video first.

    in_flight: (asset, partition key) of every run that is queued or running; what is in flight is not asked for again.
    """
    known = list(videos)
    exporting = {key for asset, key in in_flight if asset in ASSETS_OF_JOB[Job.EXPORT]}
    found = ((_ingest(video), _export(video), _enrich(video, video.partition_key in exporting), _clean_up(video)) for video in known)
    runs = [run for of_video in found for run in of_video if run is not None]
    reviewable_soon = any(run.job is Job.INGEST for run in runs) or any(asset in ASSETS_OF_JOB[Job.INGEST] for asset, _ in in_flight)
    runs += [run for video in known if (run := _archive_master(video, reviewable_soon=reviewable_soon)) is not None]
    taken = set(in_flight) | {(asset, video.partition_key) for video in known for asset in video.busy}
    free = [run for run in runs if not any((asset, run.partition_key) in taken for asset in run.assets)]
    return sorted(free, key=lambda run: (-run.priority, int(run.partition_key)))


def waiting_to_be_tried(videos: Iterable[VideoFacts]) -> int:
    """How many source videos, gold masters and clips failed a moment ago for a temporary reason, and will soon be due again."""
    known, failed = list(videos), _EXPORT_STATES[2] | _ENRICH_STATES[2]
    ingests = sum(video.state in _INGEST_FAILED and not video.is_duplicate and video.attempts < MAX_ATTEMPTS for video in known)
    masters = sum(0 < video.gold_master_attempts < MAX_ATTEMPTS and not video.has_gold_master for video in known)
    return (
        ingests
        + masters
        + sum(group.count for video in known for group in video.clips if group.state in failed and group.attempts < MAX_ATTEMPTS)
    )


def attempts_after_failure(attempts: int, *, transient: bool) -> int:
    """Failed tries after one more: a temporary failure counts one, any other uses up all of them."""
    return min(attempts + 1, MAX_ATTEMPTS) if transient else MAX_ATTEMPTS


def may_be_tried(attempts: int, seconds_since_change: float) -> bool:
    """Whether a stage that failed for a temporary reason is due again."""
    return attempts < MAX_ATTEMPTS and seconds_since_change >= RETRY_AFTER_SECONDS


_FIRST_ASSET: Mapping[SourceVideoState, int] = {
    _S.NEW: 0,
    _S.DOWNLOADING: 0,
    _S.DOWNLOAD_FAILED: 0,
    _S.DOWNLOADED: 1,
    _S.PREPROCESSING: 1,
    _S.PREPROCESS_FAILED: 1,
    _S.PREPROCESSED: 3,
    _S.DETECTING_SCENES: 3,
    _S.DETECT_SCENES_FAILED: 3,
}
_INGEST_FAILED = frozenset({_S.DOWNLOAD_FAILED, _S.PREPROCESS_FAILED, _S.DETECT_SCENES_FAILED})
_INGEST_WORKING = frozenset({_S.DOWNLOADING, _S.PREPROCESSING, _S.DETECTING_SCENES})

_EXPORT_STATES = (frozenset({_C.REVIEW_APPROVED}), frozenset({_C.EXPORTING}), frozenset({_C.EXPORT_FAILED}))
_ENRICH_STATES = (
    frozenset({_C.EXPORTED, _C.KEYFRAMED}),
    frozenset({_C.KEYFRAMING, _C.EMBEDDING}),
    frozenset({_C.KEYFRAME_FAILED, _C.EMBEDDING_FAILED}),
)


def _ingest(video: VideoFacts) -> RunWanted | None:
    first = _FIRST_ASSET.get(video.state)
    if first is None or video.is_duplicate:
        return None
    if video.state in _INGEST_FAILED and not may_be_tried(video.attempts, video.seconds_since_change):
        return None
    if video.state in _INGEST_FAILED:
        why = f"is {video.state} after {_counted(video.attempts, 'try', 'tries')}, trying again"
    elif video.state in _INGEST_WORKING:
        why = f"left {video.state} by a process that ended"
    else:
        why = f"is {video.state}"
    resumes = video.state in _INGEST_WORKING
    return _run(Job.INGEST, video, f"source video {video.id} {why}", ASSETS_OF_JOB[Job.INGEST][first:], resumes=resumes)


def _archive_master(video: VideoFacts, *, reviewable_soon: bool) -> RunWanted | None:
    if video.has_gold_master or not video.has_original or video.is_duplicate or video.state is _S.DELETED:
        return None
    if video.gold_master_attempts and not may_be_tried(video.gold_master_attempts, video.seconds_since_gold_master_failure):
        return None
    waited_long = video.seconds_since_change >= GOLD_MASTER_PATIENCE_SECONDS
    if reviewable_soon and not waited_long and not video.exports_waiting_for_master:
        return None
    waiting = (
        f", and {_counted(video.exports_waiting_for_master, 'export')} of it to make from that" if video.exports_waiting_for_master else ""
    )
    return _run(Job.ARCHIVE_MASTER, video, f"source video {video.id} has no gold master{waiting}")


def _export(video: VideoFacts) -> RunWanted | None:
    count = _due_clips(video, *_EXPORT_STATES)
    resumes = any(group.state is _C.EXPORTING for group in video.clips)
    return _run(Job.EXPORT, video, f"{_counted(count, 'approved clip')} of source video {video.id}", resumes=resumes) if count else None


def _enrich(video: VideoFacts, exporting: bool) -> RunWanted | None:
    count = _due_clips(video, *_ENRICH_STATES)
    waited = max((group.seconds_since_change for group in video.clips if group.state in _ENRICH_STATES[0]), default=ENRICH_PATIENCE_SECONDS)
    more_to_come = exporting or _due_clips(video, *_EXPORT_STATES)
    if not count or (more_to_come and waited < ENRICH_PATIENCE_SECONDS):
        return None
    only_embeddings = not any(group.state in {_C.EXPORTED, _C.KEYFRAMING, _C.KEYFRAME_FAILED} for group in video.clips)
    assets = ("embeddings",) if only_embeddings else ASSETS_OF_JOB[Job.ENRICH]
    resumes = any(group.state in {_C.KEYFRAMING, _C.EMBEDDING} for group in video.clips)
    return _run(Job.ENRICH, video, f"{_counted(count, 'exported clip')} of source video {video.id}", assets, resumes=resumes)


def _clean_up(video: VideoFacts) -> RunWanted | None:
    if not video.obsolete_artifacts:
        return None
    return _run(Job.CLEAN_UP, video, f"{_counted(video.obsolete_artifacts, 'file')} of source video {video.id} to delete")


def _due_clips(video: VideoFacts, ready: Set[ClipState], working: Set[ClipState], failed: Set[ClipState]) -> int:
    return sum(
        group.count
        for group in video.clips
        if group.state in ready
        or group.state in working
        or (group.state in failed and may_be_tried(group.attempts, group.seconds_since_change))
    )


def _run(job: Job, video: VideoFacts, reason: str, assets: tuple[str, ...] | None = None, *, resumes: bool = False) -> RunWanted:
    return RunWanted(job, video.partition_key, assets or ASSETS_OF_JOB[job], PRIORITY_OF_JOB[job], reason, resumes)


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
