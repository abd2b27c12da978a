"""The table of stages: what the pipeline does to source videos and clips, in order. All else about a stage is derived from its line.

From it follow the legal transitions of both state machines and the database's copy of them, where a retry begins, what is due, what can be
claimed, which locks a stage holds, how rows of dead runs are settled, the jobs with their assets, and the words for people.

A stage that has `states` leads its source video or clip through the states of the specification. A stage of clips without them works beside
the others: only the table `clip_work` says how far it is, and it is due as soon as the stage that it needs is done with a clip.

To add a stage of clips: a file in `assets/`, a line here, a test. See docs/how-to-add.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from heaters_dagster.domain.states import ClipState, SourceVideoState

S = TypeVar("S", bound=StrEnum)
_S, _C = SourceVideoState, ClipState

#: Failed tries after which a stage waits for `heaters retry`.
MAX_ATTEMPTS = 6


class Job(StrEnum):
    """The jobs that sensors ask for, by their names in Dagster; of a run that does the work of several, the first limits it."""

    INGEST = "ingest"
    ARCHIVE_MASTER = "archive_master"
    EXPORT = "export"
    ENRICH = "enrich"
    CLEAN_UP = "clean_up"


@dataclass(frozen=True, slots=True)
class JobPlan:
    """How a job is asked for.

    priority: in the queue, what a person waits for first. sensor: its name; watches, idle: what it looks at, and that there is nothing.
    clip: what the job calls a clip that is due, "" for a job on source videos.
    """

    description: str
    priority: int
    sensor: str
    watches: str
    idle: str
    clip: str = ""


JOBS: Mapping[Job, JobPlan] = {
    Job.INGEST: JobPlan(
        "From a submitted source video to virtual clips that wait for review.",
        priority=0,
        sensor="new_source_videos",
        watches="Submitted source videos, and those whose ingest was interrupted or may be tried again -> ingest.",
        idle="no source video waits to be ingested",
    ),
    Job.ARCHIVE_MASTER: JobPlan(
        "The lossless gold master; made beside the rest, so that it never delays review.",
        priority=-20,
        sensor="gold_masters",
        watches="Source videos without a gold master -> gold master, once nothing is on its way to review.",
        idle="no source video waits for its gold master, or other source videos go to review first",
    ),
    Job.EXPORT: JobPlan(
        "A file for every approved clip.",
        priority=30,
        sensor="approvals_to_exports",
        watches="Clips that reviewers approved -> export, each as soon as it is approved.",
        idle="no approved clip waits for its file",
        clip="approved clip",
    ),
    Job.ENRICH: JobPlan(
        "Keyframes and embeddings of exported clips, so that search finds them.",
        priority=10,
        sensor="exported_clips_to_search",
        watches="Exported clips -> keyframes and embeddings.",
        idle="no exported clip waits for keyframes or embeddings",
        clip="exported clip",
    ),
    Job.CLEAN_UP: JobPlan(
        "Delete files that are no longer needed; the rows stay.",
        priority=-10,
        sensor="archives_to_clean_up",
        watches="Clips that were archived or cut again after export -> their files are deleted.",
        idle="no file waits to be deleted",
    ),
}


class WorkState(StrEnum):
    """How far a stage is with a clip: the states of `clip_work`."""

    WAITING = "waiting"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class States(Generic[S]):
    """The states through which a stage leads its work. again: those from which it may begin anew when it was done before."""

    ready: S
    working: S
    done: S
    failed: S
    again: frozenset[S] = frozenset()

    @property
    def due(self) -> frozenset[S]:
        """In which it can be claimed. The working state is among them: work that was killed is resumed."""
        return frozenset({self.ready, self.working, self.failed})


@dataclass(frozen=True, slots=True)
class Words:
    """How people read it: "3 clips, " then `waiting`; `working`; `failed`. done: what a clip is then, where it has a word."""

    waiting: str
    working: str
    failed: str
    done: str | None = None

    def of(self, state: WorkState) -> str | None:
        """What stands for a state of work; None where there is no word."""
        words = {WorkState.WAITING: self.waiting, WorkState.WORKING: self.working, WorkState.FAILED: self.failed, WorkState.DONE: self.done}
        return words[state]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Generic[S]):
    """One stage.

    asset: what Dagster calls it, the module in `assets/`, and the lock that it holds while it works on a source video.
    also_makes: further assets of the same step. needs: the assets that it is made from. artifact: kind of the objects that it makes.
    max_attempts: failed tries for temporary reasons after which it waits for a person, MAX_ATTEMPTS at most.
    version: raise it when the stage makes something else from the same input than before; what was made by the version before is then
    stale in Dagster, and the next run of the stage makes it again.
    """

    asset: str
    job: Job
    words: Words
    needs: tuple[str, ...] = ()
    also_makes: tuple[str, ...] = ()
    states: States[S] | None = None
    artifact: str | None = None
    max_attempts: int = field(default=MAX_ATTEMPTS)
    version: int = 1

    @property
    def makes(self) -> tuple[str, ...]:
        return (self.asset, *self.also_makes)

    @property
    def steps(self) -> States[S]:
        """Its states. Raises ValueError for a stage that has none of its own."""
        if self.states is None:
            raise ValueError(f"the stage {self.asset} has no states of its own")
        return self.states


SOURCE_VIDEO = Stage(
    asset="source_video",
    job=Job.INGEST,
    states=States(_S.NEW, _S.DOWNLOADING, _S.DOWNLOADED, _S.DOWNLOAD_FAILED),
    words=Words("to be fetched", "being fetched", "fetching failed"),
)
PROXY = Stage(
    asset="proxy",
    also_makes=("keyframe_offsets",),
    job=Job.INGEST,
    needs=("source_video",),
    states=States(_S.DOWNLOADED, _S.PREPROCESSING, _S.PREPROCESSED, _S.PREPROCESS_FAILED, frozenset({_S.PREPROCESSED})),
    words=Words("for a proxy", "proxy in the making", "making the proxy failed"),
)
#: A piece of a proxy that another run makes and waits for; most proxies have none.
PROXY_PIECES: Stage[SourceVideoState] = Stage(
    asset="proxy_pieces",
    job=Job.INGEST,
    needs=("source_video",),
    words=Words("with pieces to be made", "with a piece in the making", "making a piece failed"),
)
VIRTUAL_CLIPS = Stage(
    asset="virtual_clips",
    job=Job.INGEST,
    needs=("proxy", "keyframe_offsets"),
    states=States(_S.PREPROCESSED, _S.DETECTING_SCENES, _S.SCENES_DETECTED, _S.DETECT_SCENES_FAILED, frozenset({_S.SCENES_DETECTED})),
    words=Words("to be cut", "being cut", "cutting failed", done="ready for review"),
)
GOLD_MASTER: Stage[SourceVideoState] = Stage(
    asset="gold_master",
    job=Job.ARCHIVE_MASTER,
    needs=("source_video",),
    words=Words("to be made", "in the making", "making them failed"),
)
ARCHIVED_CLIPS: Stage[SourceVideoState] = Stage(
    asset="archived_clips",
    job=Job.CLEAN_UP,
    needs=("virtual_clips",),
    words=Words("to be deleted", "being deleted", "deleting failed"),
)

EXPORTS = Stage(
    asset="exports",
    job=Job.EXPORT,
    needs=("proxy", "keyframe_offsets", "virtual_clips"),
    states=States(_C.REVIEW_APPROVED, _C.EXPORTING, _C.EXPORTED, _C.EXPORT_FAILED, frozenset({_C.EXPORTED})),
    artifact="export",
    words=Words("to be exported", "being exported", "export failed"),
)
#: How people read the further exports of clips, those beside their first ones.
FURTHER_EXPORTS = Words("with more files to be exported", "with another file being exported", "with another export failed")
KEYFRAMES = Stage(
    asset="keyframes",
    job=Job.ENRICH,
    needs=("exports",),
    states=States(_C.EXPORTED, _C.KEYFRAMING, _C.KEYFRAMED, _C.KEYFRAME_FAILED, frozenset({_C.KEYFRAMED, _C.EMBEDDED})),
    artifact="keyframe",
    words=Words("for keyframes", "keyframes in the making", "keyframes failed"),
)
EMBEDDINGS = Stage(
    asset="embeddings",
    job=Job.ENRICH,
    needs=("keyframes",),
    states=States(_C.KEYFRAMED, _C.EMBEDDING, _C.EMBEDDED, _C.EMBEDDING_FAILED, frozenset({_C.EMBEDDED})),
    words=Words("to be embedded", "being embedded", "embedding failed", done="searchable"),
)

#: In the order of the pipeline, which is also the order within one run.
VIDEO_STAGES: tuple[Stage[SourceVideoState], ...] = (SOURCE_VIDEO, PROXY_PIECES, PROXY, VIRTUAL_CLIPS, GOLD_MASTER, ARCHIVED_CLIPS)
CLIP_STAGES: tuple[Stage[ClipState], ...] = (EXPORTS, KEYFRAMES, EMBEDDINGS)
STAGES: tuple[Stage[SourceVideoState] | Stage[ClipState], ...] = (*VIDEO_STAGES, *CLIP_STAGES)

#: Of every step, by the name of its asset: what a process holds while it works on a source video, `Database.stage_lock(asset, id)`.
LOCKED_ASSETS = tuple(stage.asset for stage in STAGES)

#: Asset names in the order in which a run makes them.
ASSETS_OF_JOB: Mapping[Job, tuple[str, ...]] = {
    job: tuple(name for stage in STAGES if stage.job is job for name in stage.makes) for job in Job
}

#: Those through which a run takes a source video to review.
INGESTED: tuple[str, ...] = tuple(name for name in ASSETS_OF_JOB[Job.INGEST] if name not in PROXY_PIECES.makes)

#: Of runs that make a piece for another run, in the queue: a source video that nobody works on comes first.
PIECES_PRIORITY = JOBS[Job.INGEST].priority - 5


def with_states(stages: Iterable[Stage[S]]) -> tuple[Stage[S], ...]:
    """Those that lead through states of their own, in order."""
    return tuple(stage for stage in stages if stage.states is not None)


def beside(stages: Iterable[Stage[ClipState]] = CLIP_STAGES) -> tuple[Stage[ClipState], ...]:
    """Those that work beside the others: only `clip_work` says how far they are."""
    return tuple(stage for stage in stages if stage.states is None)


def states_from(stage: Stage[ClipState]) -> frozenset[ClipState]:
    """The states of a clip with which `stage` is done: its last one, and those of the stages that follow but for where they begin."""
    following = [one.steps for one in with_states(CLIP_STAGES) if CLIP_STAGES.index(one) > CLIP_STAGES.index(stage)]
    return frozenset({stage.steps.done}).union(*({one.working, one.done, one.failed} for one in following))


def stages_after(asset: str, stages: Iterable[Stage[ClipState]] = CLIP_STAGES) -> tuple[Stage[ClipState], ...]:
    """The stages beside the others that are due as soon as `asset` is made of a clip."""
    return tuple(stage for stage in beside(stages) if asset in stage.needs)
