"""One try of a stage on one source video, as Dagster shows it. A partition is called "3"; a person who sees it needs the video's title.

This stands between an asset and its core function: it holds what all assets do with Dagster, and none of their own work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg

from assets.failures import CANCELED, TRANSIENT_RETRIES, StageInterruptedError, stage_failures
from heaters_dagster.domain.clip_names import clips_by_number
from heaters_dagster.domain.disk_room import RoomWait
from heaters_dagster.domain.errors import HeatersError, NoRoomError
from heaters_dagster.domain.reasons import titled
from heaters_dagster.domain.run_tags import ENDED_TAG, TITLE_TAG
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.stages import STAGES
from heaters_dagster.domain.states import ClipState
from heaters_dagster.domain.words import counted
from heaters_dagster.event_log import about, tell
from resources.orchestrator.dagster_private import SqlEventLogStorage
from resources.orchestrator.dagster_resources import DatabaseResource, ObjectStoreResource, ProgressResource
from resources.orchestrator.dagster_storage import missing_tags, withdraw_plans
from resources.postgres.clip_lookup import ClipLookup
from resources.postgres.clip_store import ClipStage, ClipStore
from resources.postgres.measured import measure
from resources.postgres.room_waits import RoomWaitStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.stage_progress import KeptProgress
from resources.postgres.store_pauses import StorePauses

Record = Callable[[str, bool], object]


@dataclass(slots=True)
class RoomOnDisk:
    """is_missing: the work waits until there is more, and nothing was made."""

    is_missing: bool = False


class TitledLog:
    """The run's log, with the video's title in each line."""

    def __init__(self, log: Any, title: str) -> None:
        self._log = log
        self._title = title

    def info(self, message: object, /) -> None:
        self._log.info(titled(self._title, str(message)))

    def warning(self, message: object, /) -> None:
        self._log.warning(titled(self._title, str(message)))


class StageRun:
    """What a step does towards Dagster, on the source video of its partition."""

    def __init__(self, context: dg.AssetExecutionContext, database: DatabaseResource, object_store: ObjectStoreResource) -> None:
        self._context = context
        self._objects = object_store
        self._database = database
        self._told = self._tagged = self._is_within = False
        self.source_video_id = int(context.partition_key)

    @cached_property
    def title(self) -> str:
        """Of the row; `source video 3` while the database does not answer, and when there is no such row."""
        try:
            return without_access(SourceVideoStore(self._database.get()).load(self.source_video_id).title)
        except HeatersError:
            return f"source video {self.source_video_id}"

    @cached_property
    def stage(self) -> str:
        """As the table of stages calls it."""
        made = {key.to_user_string() for key in self._context.selected_asset_keys}
        return next((stage.asset for stage in STAGES if made & set(stage.makes)), self._context.op.name)

    @cached_property
    def log(self) -> TitledLog:
        return TitledLog(self._context.log, self.title)

    def rename(self, title: str) -> None:
        """Use this title from now on: a web address has its title only after it was fetched."""
        if title != self.title:
            self.__dict__["title"] = without_access(title)
            self._context.instance.add_run_tags(self._context.run_id, {TITLE_TAG: self.title})

    @contextmanager
    def failures(self, record: Record = lambda message, transient: None, *, canceled: str = CANCELED) -> Iterator[None]:
        """As `stage_failures`; also writes the reason, with the title, to the log, the run and the partitions of the step's assets."""
        last_try = self._context.retry_number >= TRANSIENT_RETRIES.max_retries
        try:
            with (
                self._logged(),
                stage_failures(
                    record,
                    objects=self._objects.get,
                    pause=lambda bucket, why: StorePauses(self._database.get()).begin(bucket, why),
                    tries_left=not last_try,
                    shown=self._titled,
                    was_canceled=self._was_canceled,
                    canceled=canceled,
                ),
            ):
                if not self._tagged:
                    self._tag_run()
                    RoomWaitStore(self._database.get()).forget([(self.source_video_id, self.stage)])
                yield
        except dg.Failure as failure:
            self._tell(failure)
            raise

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """What happens meanwhile is about this run; the outermost block says how long the stage took."""
        if self._is_within:
            yield
            return
        self._is_within, began = True, time.monotonic()
        names = {"run_id": self._context.run_id, "source_video_id": self.source_video_id, "stage": self.stage}
        try:
            with about(**names):
                tell("stage begins")
                outcome = "failed"
                try:
                    yield
                    outcome = "done"
                    tell("stage done", seconds=round(time.monotonic() - began, 3))
                except StageInterruptedError:
                    outcome = ""  # by a person or the end of the program: that says nothing about the stage
                    raise
                finally:
                    if outcome:
                        self._measure(time.monotonic() - began, outcome)
        finally:
            self._is_within = False

    def _measure(self, seconds: float, outcome: str) -> None:
        with suppress(HeatersError), self._database.get().begin() as connection:
            measure(connection, self.stage, seconds, outcome=outcome)

    def progress(self, asset: str, shown: ProgressResource) -> KeptProgress:
        """A report for the log, or the bars of a command, that pages, `heaters status` and alerts read too: see `KeptProgress.at_work`."""
        return KeptProgress(self._database.get(), self.source_video_id, asset, shown.report_to(self.log))

    @contextmanager
    def room(self, asset: str) -> Iterator[RoomOnDisk]:
        """Work that may find too little room on the disk, and then ends here: see `waits_for_room`, and what is yielded, afterwards."""
        found = RoomOnDisk()
        try:
            yield found
        except NoRoomError as error:
            found.is_missing = True
            self.waits_for_room(asset, error)

    def waits_for_room(self, asset: str, error: NoRoomError) -> None:
        """Say and store that a stage waits for room: no failure, and no try. The look that finds room again asks for it anew."""
        wait = RoomWait(asset, error.bytes_needed, error.bytes_free)
        RoomWaitStore(self._database.get()).put({self.source_video_id: [wait]})
        self.log.info(f"{wait.words}. It is taken up again when there is room")

    def clips_failed(self, failed: Mapping[int, str], *, done: int, retryable: bool) -> dg.Failure:
        """The failure of a run in which some clips failed; each has its reason on its own row.

        failed: clip id -> reason. retryable: trying again may work.
        """
        known = ClipLookup(self._database.get()).named(failed)
        by_reason: dict[str, list[int]] = {}
        for number, said in sorted((known[clip_id][0], said) for clip_id, said in failed.items()):
            by_reason.setdefault(said, []).append(number)
        reasons = "\n".join(f"{clips_by_number(numbers)}: {said}" for said, numbers in by_reason.items())
        last_try = self._context.retry_number >= TRANSIENT_RETRIES.max_retries
        return dg.Failure(
            description=f"{self.title}: {len(failed)} of {counted(len(failed) + done, 'clip')} failed: {reasons}",
            metadata={"failed clips": sorted(number for numbers in by_reason.values() for number in numbers), "done": done},
            allow_retries=retryable and not last_try,
        )

    def clip_counts(self) -> Mapping[ClipState, int]:
        """How many of the video's clips are in which state now."""
        return ClipStore(self._database.get()).counts_by_state(self.source_video_id).get(self.source_video_id, {})

    def version_of_clips(self, stage: ClipStage) -> str:
        """The data version of what a stage has made of the video's clips."""
        return ClipStore(self._database.get()).data_version(stage, self.source_video_id)

    def made(
        self, metadata: Mapping[str, Any], *, asset_key: str | None = None, data_version: str | None = None
    ) -> dg.MaterializeResult[None]:
        """The result of the step for one asset: its metadata, the video's title first.

        data_version: of what was made, by its content: what is made from it is stale in Dagster when this changes, and not before.
        None: Dagster makes one of the code version and the inputs.
        """
        version = None if data_version is None else dg.DataVersion(data_version)
        return dg.MaterializeResult(asset_key=asset_key, metadata={"source video": self.title, **metadata}, data_version=version)

    def _titled(self, said: str) -> str:
        return titled(self.title, said)

    def _tag_run(self) -> None:
        """The queue tags its runs; those of `heaters process` and `dagster asset materialize` do not go through it, and are tagged here."""
        run, self._tagged = self._context.run, True
        if TITLE_TAG not in run.tags:
            self._context.instance.add_run_tags(run.run_id, missing_tags(run, lambda _: self.title))

    def _was_canceled(self) -> bool:
        run = self._context.instance.get_run_by_id(self._context.run_id)
        ending = {dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED}
        return run is not None and run.status in ending and ENDED_TAG not in run.tags

    def _tell(self, failure: dg.Failure) -> None:
        """Only once, where the failure began: the handlers around it see the same error again."""
        if self._told:
            return
        self._told = True
        said = str(failure.description)
        if failure.allow_retries:
            self.log.warning(f"{said}; it is tried again")
            return
        context, mine = self._context, sorted(self._context.selected_asset_keys)
        for key in mine:
            with suppress(dg.DagsterError):  # only an addition; the run's own failure says it too
                metadata = {"source video": self.title, "failed": said, "state": "see Source videos in the review app, or heaters status"}
                context.log_event(dg.AssetObservation(asset_key=key, partition=context.partition_key, metadata=metadata))
        storage = context.instance.event_log_storage
        if isinstance(storage, SqlEventLogStorage):
            after = _downstream(context.job_def.asset_layer.asset_graph, mine)
            withdraw_plans(storage, context.run_id, after, [*mine, *after])


def _downstream(graph: Any, keys: Collection[dg.AssetKey]) -> list[dg.AssetKey]:
    """All assets of the run that are made from these, directly or not."""
    found: dict[dg.AssetKey, None] = {}
    waiting: list[dg.AssetKey] = list(keys)
    while waiting:
        children: Iterable[dg.AssetKey] = graph.get(waiting.pop()).child_keys
        new = [key for key in children if key not in found and key not in keys]
        found.update(dict.fromkeys(new))
        waiting += new
    return list(found)
