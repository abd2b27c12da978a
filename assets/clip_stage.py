"""The one loop of all stages of clips: take what is due, make it, write it down, and go on until nothing is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import dagster as dg

from assets import metadata
from assets.failures import TRANSIENT_RETRIES, is_transient, reason
from assets.stage_run import StageRun
from heaters_dagster.domain.errors import NoRoomError
from heaters_dagster.domain.progress import Progress, Report, silent
from heaters_dagster.partitions import source_video_partitions
from resources.object_store.interface import ObjectStore
from resources.object_store.probe import raise_fault_of_the_place
from resources.postgres.clip_store import Clip, ClipStage, ClipStore
from resources.postgres.database import Database
from resources.postgres.stage_progress import kept_while_at_work
from resources.postgres.store_pauses import StorePauses

R = TypeVar("R")

Made = tuple[R, ...] | None
"""What a stage made of one clip; None when the clip is not due any more, or a reviewer changed it meanwhile."""


@dataclass(frozen=True, slots=True)
class ClipRun(Generic[R]):
    """What one run of a stage did.

    made: in the order of publication. clip_ids: of the clips that are done. failed: clip id -> reason.
    changed: clips that a reviewer changed meanwhile. retryable: something failed, and every failure is temporary.
    no_room: why the rest waits, None when nothing waits for room on the disk.
    """

    made: tuple[R, ...] = ()
    clip_ids: tuple[int, ...] = ()
    failed: Mapping[int, str] = field(default_factory=dict)
    changed: tuple[int, ...] = ()
    retryable: bool = False
    no_room: NoRoomError | None = None


class Fail(Protocol):
    def __call__(self, message: str, *, transient: bool) -> object:
        """Write down why it failed."""
        ...


@dataclass(frozen=True, slots=True)
class ClipTask(Generic[R]):
    """Something that a stage makes of a clip. what: tells several of one clip apart."""

    clip: Clip
    what: str
    make: Callable[[], Made[R]]
    fail: Fail

    @property
    def identity(self) -> tuple[int, int, str]:
        return self.clip.id, self.clip.cut_point_version, self.what


def work_through(
    stage: ClipStage,
    source_video_id: int,
    make: Callable[[Clip], Made[R]],
    *,
    database: Database,
    objects: ObjectStore,
    report: Report = silent,
    clock: Callable[[], float] = time.monotonic,
    further: Callable[[], Sequence[ClipTask[R]]] = lambda: (),
    begin_again: Callable[[], object] = lambda: None,
) -> ClipRun[R]:
    """Do what is due of a stage on the clips of a source video, and what becomes due while it works, until none is left.

    make: claims the clip, makes what the stage makes, and finishes. further: what else the stage has to do, once no clip is due.
    begin_again: makes due what was made with other settings than those of now; called first, under the lock of the stage.
    One clip's failure is written to its row and does not stop the others; a fault of the store, and a disk without room for a clip, stop
    all and are on no row.
    Raises BusyError when another process has the stage of this source video.
    """
    clips, started = ClipStore(database), clock()
    made: list[R] = []
    done: list[int] = []
    failed: dict[int, str] = {}
    changed: list[int] = []
    retryable: list[bool] = []
    no_room: NoRoomError | None = None
    tried: set[tuple[int, int, str]] = set()

    def of_stage(clip: Clip) -> ClipTask[R]:
        version = clip.cut_point_version
        return ClipTask(clip, "", lambda: make(clip), partial(clips.fail, clip.id, stage, expected_version=version))

    def untried(work: Iterable[ClipTask[R]]) -> list[ClipTask[R]]:
        return [one for one in work if one.identity not in tried]

    with database.stage_lock(stage.asset, source_video_id), kept_while_at_work(report):
        begin_again()
        # One piece of further work at a time: a clip that is approved meanwhile comes first.
        while no_room is None and (batch := untried(map(of_stage, clips.due(stage, source_video_id))) or untried(further())[:1]):
            total = len(tried) + len(batch)
            report(Progress(stage.asset, len(tried), total, "clips", clock() - started))
            for one in batch:
                tried.add(one.identity)
                try:
                    of_clip = one.make()
                    if of_clip is None:
                        changed.append(one.clip.id)
                    else:
                        made += of_clip
                        done.append(one.clip.id)
                except NoRoomError as error:
                    no_room = error
                    break
                except Exception as error:  # a defect that shows on one clip must not stop the others
                    raise_fault_of_the_place(error, objects, StorePauses(database).begin)
                    one.fail(reason(error), transient=is_transient(error))
                    before = failed.get(one.clip.id)
                    failed[one.clip.id] = f"{before}; {reason(error)}" if before else reason(error)
                    retryable.append(is_transient(error))
                report(Progress(stage.asset, len(tried), total, "clips", clock() - started))
    return ClipRun(tuple(made), tuple(dict.fromkeys(done)), failed, tuple(changed), bool(retryable) and all(retryable), no_room)


def clip_asset(stage: ClipStage, *, group: str, description: str, kinds: set[str]) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """`dg.asset` for a stage of clips: its place in the graph is that of the table of stages."""
    return dg.asset(
        name=stage.asset,
        deps=list(stage.needs),
        partitions_def=source_video_partitions,
        group_name=group,
        description=description,
        kinds=kinds,
        retry_policy=TRANSIENT_RETRIES,
        output_required=False,
    )


def materialized(
    run: StageRun, stage: ClipStage, work: Callable[[], ClipRun[R]], shown: Callable[[ClipRun[R]], Mapping[str, Any]]
) -> Iterator[dg.MaterializeResult[None]]:
    """Do the work and yield what Dagster shows of it. Nothing while clips wait and none has been made: the partition stays as it was.

    shown: metadata of this run, after the totals of the source video.
    """
    with run.failures():  # every failed clip has its reason on its own row
        done = work()
        if done.no_room is not None:
            run.waits_for_room(stage.asset, done.no_room)
        if done.failed:
            raise run.clips_failed(done.failed, done=len(set(done.clip_ids) - set(done.failed)), retryable=done.retryable)
        counts = run.clip_counts()
    if done.no_room is not None and not done.clip_ids:
        return
    if not done.clip_ids and not metadata.made_by(stage, counts) and metadata.waiting(counts):
        run.log.info(f"nothing was made yet: {metadata.waiting_words(counts)}. The partition stays as it was")
        return
    yield run.made({**metadata.totals(counts), **shown(done)}, data_version=run.version_of_clips(stage))


def opened_once(open_it: Callable[[], R]) -> Callable[[], R]:
    """As `open_it`, called at the first use only; an error is kept as well, and every use raises it."""
    kept: list[R | Exception] = []

    def get() -> R:
        if not kept:
            try:
                kept.append(open_it())
            except Exception as error:
                kept.append(error)
        if isinstance(kept[0], Exception):
            raise kept[0]
        return kept[0]

    return get
