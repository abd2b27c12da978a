"""Decides which runs are wanted now. The sensors and `heaters process` carry this decision out.

It looks at the state of the rows, never at a cursor or at earlier requests. So a row that commits late, a run that was killed and a
machine that was switched off need no special case: at the next look their work is due, or it is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from heaters_dagster.domain.room_needed import MediaSize
from heaters_dagster.domain.stages import (
    ASSETS_OF_JOB,
    CLIP_STAGES,
    INGESTED,
    JOBS,
    MAX_ATTEMPTS,
    PIECES_PRIORITY,
    PROXY,
    PROXY_PIECES,
    SOURCE_VIDEO,
    VIDEO_STAGES,
    VIRTUAL_CLIPS,
    Job,
    Stage,
    WorkState,
    with_states,
)
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.words import counted, video_state_words

#: Wait between two runs of a stage that failed for a temporary reason (a full disk, a server that is down).
RETRY_AFTER_SECONDS = 60.0

#: After so many runs of a job that all failed before their work began, the next ones are tried one at a time, with pauses.
FAILED_STARTS_BEFORE_A_PAUSE = 3
_SHORTEST_PAUSE_SECONDS = 15.0
_LONGEST_PAUSE_SECONDS = 300.0

#: Exported clips wait this long for others of their source video that are still being exported: each run loads the model again, which
#: takes more processor time than many embeddings, while a reviewer waits for files.
ENRICH_PATIENCE_SECONDS = 30.0

#: A gold master waits while other source videos go to review, but not longer than this.
GOLD_MASTER_PATIENCE_SECONDS = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class ClipGroup:
    """Live clips of one source video with the same state and number of failed tries.

    seconds_since_change: since the clip that waits longest came into that state, or failed once more.
    """

    state: ClipState
    attempts: int
    count: int
    seconds_since_change: float


@dataclass(frozen=True, slots=True)
class WorkGroup:
    """Clips of one source video on which a stage has the same to do without a state of theirs; else as ClipGroup.

    Either a stage beside the others, or `exports`, which makes further files of clips that have their first one.
    """

    asset: str
    state: WorkState
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
    site: from which it is downloaded, None for what is no download. site_busy: downloads from it that run now, on any machine.
    site_held_off: it may not be asked yet.
    proxy_is_half_written: a process was killed while it put a new proxy in place of the old one, or the old one is gone from the store.
    waits_to_replace: it is to take the place of another source video, and is not cut before a person has said so.
    obsolete_artifacts: files of clips that are no longer needed. exports_waiting_for_master: number of clips; they are not in `clips`.
    media: what is known of its size.
    free_pieces: numbers of the pieces of its proxy that are still to be made, and that nobody makes now.
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
    work: tuple[WorkGroup, ...] = ()
    proxy_is_half_written: bool = False
    waits_to_replace: bool = False
    obsolete_artifacts: int = 0
    exports_waiting_for_master: int = 0
    busy: frozenset[str] = frozenset()
    media: MediaSize = MediaSize()
    site: str | None = None
    site_busy: int = 0
    site_held_off: bool = False
    free_pieces: tuple[int, ...] = ()

    @property
    def waits_to_be_fetched(self) -> bool:
        return self.state in SOURCE_VIDEO.steps.due

    @property
    def partition_key(self) -> str:
        return str(self.id)


@dataclass(frozen=True, slots=True)
class RunWanted:
    """A run to ask for.

    assets: those of the job that still have to be made; what is made already is not made again. reason: for the operator.
    resumes: the row says that a process works on it, but none does: the process was killed.
    piece: of a proxy; such runs of one source video go side by side.
    """

    job: Job
    partition_key: str
    assets: tuple[str, ...]
    priority: int
    reason: str
    resumes: bool = False
    piece: int | None = None

    @property
    def work(self) -> str:
        """`export:12`: equal for two runs that would do the same."""
        return f"{self.job}:{self.partition_key}" if self.piece is None else f"{self.job}:{self.partition_key}/{self.piece}"

    @property
    def takes(self) -> tuple[str, ...]:
        """What it makes, as `in_flight` names it."""
        return self.assets if self.piece is None else tuple(piece_of(asset, self.piece) for asset in self.assets)


def piece_of(asset: str, piece: int) -> str:
    """How a run in flight is named that makes one piece of an asset: others of its pieces may be made beside it."""
    return f"{asset}/{piece}"


def wanted_runs(
    videos: Iterable[VideoFacts],
    in_flight: Set[tuple[str, str]],
    *,
    stages: Sequence[Stage[ClipState]] = CLIP_STAGES,
    per_site: int = 1,
    helpers: int = 0,
) -> list[RunWanted]:
    """Every run that is due, most urgent first, then lowest source video first.

    in_flight: (asset, partition key) of every run that is queued or running; what is in flight is not asked for again.
    per_site: downloads from one site at a time. Those that must wait for their turn are not wanted: their runs would only wait.
    helpers: runs that may make pieces of one proxy at once, beside the one that makes the proxy.
    """
    known = list(videos)
    runs = [run for video in known for run in (_ingest(video), *_of_clips(video, in_flight, stages), _clean_up(video)) if run is not None]
    reviewable_soon = any(run.job is Job.INGEST for run in runs) or any(asset in ASSETS_OF_JOB[Job.INGEST] for asset, _ in in_flight)
    runs += [run for video in known if (run := _archive_master(video, reviewable_soon=reviewable_soon)) is not None]
    runs += [run for video in known for run in _pieces(video, in_flight, helpers)]
    taken = set(in_flight) | {(asset, video.partition_key) for video in known for asset in video.busy}
    free = [run for run in runs if not any((asset, run.partition_key) in taken for asset in run.takes)]
    in_order = sorted(free, key=lambda run: (-run.priority, int(run.partition_key)))
    return _taking_turns(in_order, {video.partition_key: video for video in known}, in_flight, per_site)


def _taking_turns(
    runs: Iterable[RunWanted], videos: Mapping[str, VideoFacts], in_flight: Set[tuple[str, str]], per_site: int
) -> list[RunWanted]:
    """The runs without the downloads for which their site has no turn now."""
    turns: Counter[str] = Counter()
    for video in videos.values():
        if video.site and video.waits_to_be_fetched:
            turns[video.site] += (SOURCE_VIDEO.asset, video.partition_key) in in_flight or SOURCE_VIDEO.asset in video.busy
    for video in videos.values():
        if video.site:
            turns[video.site] = max(turns[video.site], video.site_busy)
    taken = []
    for run in runs:
        site = videos[run.partition_key].site if SOURCE_VIDEO.asset in run.assets else None
        if site is not None:
            if videos[run.partition_key].site_held_off or turns[site] >= per_site:
                continue
            turns[site] += 1
        taken.append(run)
    return taken


def waiting_to_be_tried(videos: Iterable[VideoFacts]) -> int:
    """How many source videos, gold masters and clips failed a moment ago for a temporary reason, and are due again before long."""
    known, failed = list(videos), {stage.steps.failed for stage in with_states(CLIP_STAGES)}
    ingests = sum(video.state in _INGEST_FAILED and not video.is_duplicate and video.attempts < MAX_ATTEMPTS for video in known)
    masters = sum(0 < video.gold_master_attempts < MAX_ATTEMPTS and not video.has_gold_master for video in known)
    of_clips: list[ClipGroup | WorkGroup] = [group for video in known for group in video.clips if group.state in failed]
    of_clips += [group for video in known for group in video.work if group.state is WorkState.FAILED]
    return ingests + masters + sum(group.count for group in of_clips if group.attempts < MAX_ATTEMPTS)


def attempts_after_failure(attempts: int, *, transient: bool, limit: int = MAX_ATTEMPTS) -> int:
    """Failed tries after one more: a temporary failure counts one; the last of `limit` and any other failure use up all."""
    return attempts + 1 if transient and attempts + 1 < limit else MAX_ATTEMPTS


def pause_after_failed_starts(runs: int) -> float | None:
    """Seconds from the newest of `runs` runs of a job that failed one after the other before their work began, to the next try.

    None: there have been too few for a pause. Each further one doubles it, up to five minutes.
    """
    more = runs - FAILED_STARTS_BEFORE_A_PAUSE
    return None if more < 0 else min(_SHORTEST_PAUSE_SECONDS * 2**more, _LONGEST_PAUSE_SECONDS)


def may_be_tried(attempts: int, seconds_since_change: float) -> bool:
    """Whether a stage that failed for a temporary reason is due again."""
    return attempts < MAX_ATTEMPTS and seconds_since_change >= RETRY_AFTER_SECONDS


#: State of a source video -> the first asset of the ingest that is still to be made.
_FIRST_ASSET: Mapping[SourceVideoState, int] = {
    state: INGESTED.index(stage.asset) for stage in with_states(VIDEO_STAGES) for state in stage.steps.due
}
_INGEST_FAILED = frozenset(stage.steps.failed for stage in with_states(VIDEO_STAGES))
_INGEST_WORKING = frozenset(stage.steps.working for stage in with_states(VIDEO_STAGES))


def _ingest(video: VideoFacts) -> RunWanted | None:
    first = _FIRST_ASSET.get(video.state)
    if video.proxy_is_half_written and video.state is not SourceVideoState.DELETED:
        why = f"source video {video.id}: its proxy has to be made again"
        return _run(Job.INGEST, video, why, PROXY.makes, resumes=True)
    if first is None or video.is_duplicate:
        return None
    if video.state in _INGEST_FAILED and not may_be_tried(video.attempts, video.seconds_since_change):
        return None
    if video.state in _INGEST_FAILED:
        why = f"{video_state_words(video.state)} ({counted(video.attempts, 'failed try', 'failed tries')}); it is tried again"
    elif video.state in _INGEST_WORKING:
        why = f"{video_state_words(video.state)}, but the process that did it has ended"
    else:
        why = video_state_words(video.state)
    resumes = video.state in _INGEST_WORKING
    if video.waits_to_replace:
        assets = tuple(asset for asset in INGESTED[first:] if asset not in VIRTUAL_CLIPS.makes)
        return _run(Job.INGEST, video, f"source video {video.id}: {why}", assets, resumes=resumes) if assets else None
    return _run(Job.INGEST, video, f"source video {video.id}: {why}", INGESTED[first:], resumes=resumes)


def _pieces(video: VideoFacts, in_flight: Set[tuple[str, str]], helpers: int) -> list[RunWanted]:
    """Runs that make pieces for the run that makes the proxy. That one begins with the first piece, so these begin with the last."""
    if not video.free_pieces or PROXY.asset not in video.busy:
        return []
    asked = {asset for asset, key in in_flight if key == video.partition_key and asset.startswith(piece_of(PROXY_PIECES.asset, 0)[:-1])}
    free = [number for number in sorted(video.free_pieces, reverse=True) if piece_of(PROXY_PIECES.asset, number) not in asked]
    return [
        RunWanted(
            Job.INGEST,
            video.partition_key,
            PROXY_PIECES.makes,
            PIECES_PRIORITY,
            f"piece {number + 1} of the proxy of source video {video.id}",
            piece=number,
        )
        for number in free[: max(0, helpers - len(asked))]
    ]


def _archive_master(video: VideoFacts, *, reviewable_soon: bool) -> RunWanted | None:
    if video.has_gold_master or not video.has_original or video.is_duplicate or video.state is SourceVideoState.DELETED:
        return None
    if video.waits_to_replace:
        return None
    if video.gold_master_attempts and not may_be_tried(video.gold_master_attempts, video.seconds_since_gold_master_failure):
        return None
    waited_long = video.seconds_since_change >= GOLD_MASTER_PATIENCE_SECONDS
    if reviewable_soon and not waited_long and not video.exports_waiting_for_master:
        return None
    waiting = (
        f"; {counted(video.exports_waiting_for_master, 'export waits', 'exports wait')} for it" if video.exports_waiting_for_master else ""
    )
    return _run(Job.ARCHIVE_MASTER, video, f"source video {video.id} has no gold master{waiting}")


def _of_clips(video: VideoFacts, in_flight: Set[tuple[str, str]], stages: Sequence[Stage[ClipState]]) -> Iterable[RunWanted | None]:
    """One run for each job on clips. A later job waits a little for the clips that an earlier job is still working on."""
    if not video.clips and not video.work:
        return
    more_to_come = False
    for job in Job:
        if job is Job.EXPORT and video.proxy_is_half_written:
            continue  # the proxy is gone, or does not go with its frame index, until it is made again
        of_job = [stage for stage in stages if stage.job is job]
        if of_job:
            yield _job_on_clips(video, job, of_job, more_to_come=more_to_come)
            exporting = any((asset, video.partition_key) in in_flight for asset in ASSETS_OF_JOB[job])
            more_to_come |= exporting or _due_clips(video, of_job) > 0


def _job_on_clips(video: VideoFacts, job: Job, stages: Sequence[Stage[ClipState]], *, more_to_come: bool) -> RunWanted | None:
    """The run that does what is due on clips. It begins with the first stage that has something to do."""
    count = _due_clips(video, stages)
    ready = {stage.steps.ready for stage in with_states(stages)}
    waited = max((group.seconds_since_change for group in video.clips if group.state in ready), default=ENRICH_PATIENCE_SECONDS)
    if not count or (more_to_come and waited < ENRICH_PATIENCE_SECONDS):
        return None
    following = with_states(stages)
    while following and not _due_clips(video, following[:1]):
        following = following[1:]
    working = {stage.asset for stage in stages} & {group.asset for group in video.work}
    assets = tuple(stage.asset for stage in stages if stage in following or stage.asset in working)
    resumes = any(group.state in {stage.steps.working for stage in with_states(stages)} for group in video.clips) or any(
        group.state is WorkState.WORKING and group.asset in working for group in video.work
    )
    return _run(job, video, f"{counted(count, JOBS[job].clip)} of source video {video.id}", assets, resumes=resumes)


def _clean_up(video: VideoFacts) -> RunWanted | None:
    if not video.obsolete_artifacts:
        return None
    return _run(Job.CLEAN_UP, video, f"{counted(video.obsolete_artifacts, 'file')} of source video {video.id} to delete")


def _due_clips(video: VideoFacts, stages: Sequence[Stage[ClipState]]) -> int:
    due = {state for stage in with_states(stages) for state in stage.steps.due}
    failed = {stage.steps.failed for stage in with_states(stages)}
    names = {stage.asset for stage in stages}
    groups: list[tuple[ClipGroup | WorkGroup, bool]] = [(group, group.state in failed) for group in video.clips if group.state in due]
    groups += [(group, group.state is WorkState.FAILED) for group in video.work if group.asset in names]
    return sum(group.count for group, has_failed in groups if not has_failed or may_be_tried(group.attempts, group.seconds_since_change))


def _run(job: Job, video: VideoFacts, reason: str, assets: tuple[str, ...] | None = None, *, resumes: bool = False) -> RunWanted:
    return RunWanted(job, video.partition_key, assets or ASSETS_OF_JOB[job], JOBS[job].priority, reason, resumes)
