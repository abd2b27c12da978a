"""Clips in Postgres, and the files made from them. A row is changed under its lock, and only as the table of legal transitions allows.

What stages do to clips is in `clip_work.py`. A process that dies between claim and finish leaves rows in `writing`, and its stage lock
becomes free: the next claim takes the rows over, or `clean_up` deletes their objects. Every object has a row. A row is `obsolete` only
when no process is writing its object.

A clip that is exported again stays physical meanwhile: its file, its keyframes and its embeddings show the same frames, and are used until
the new file replaces the old one. The row of the file is then in `writing`, and its object must not be deleted yet. Further exports of a
clip are in `clip_exports.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select, tuple_, union_all

from heaters_dagster.domain.clip_names import no_clips
from heaters_dagster.domain.cut_kinds import Transition
from heaters_dagster.domain.errors import NotFoundError, StaleClipError
from heaters_dagster.domain.stages import EXPORTS, beside
from heaters_dagster.domain.states import ClipState
from resources.postgres import clip_cutting, clip_exports, clip_work
from resources.postgres.clip_counts import counts_of_videos
from resources.postgres.clip_files import MadeObject, files_turn, wait_for_files
from resources.postgres.clip_rows import CLIP, Clip, ClipArtifact, NewClip, artifact_of_row, clip_of_row, live_clips
from resources.postgres.clip_work import ClipStage
from resources.postgres.database import Database
from resources.postgres.made_versions import version_of_made
from resources.postgres.source_video_words import have_words
from resources.postgres.tables import clip_artifacts, clips, source_videos

__all__ = ["Clip", "ClipArtifact", "ClipStage", "ClipStore", "MadeObject", "NewClip"]


class ClipStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    # Reading

    def load(self, clip_id: int) -> Clip:
        """Also loads clips that are no longer live. Raises NotFoundError."""
        return self.load_many([clip_id])[0]

    def load_many(self, clip_ids: Sequence[int]) -> list[Clip]:
        """The clips in the order of the ids. Raises NotFoundError, which names the missing clips."""
        with self._database.read() as connection:
            found = {row.id: clip_of_row(row) for row in connection.execute(select(*CLIP).where(clips.c.id.in_(clip_ids)))}
        missing = [clip_id for clip_id in clip_ids if clip_id not in found]
        if missing:
            raise NotFoundError(no_clips(missing))
        return [found[clip_id] for clip_id in clip_ids]

    def load_live(self, source_video_id: int) -> list[Clip]:
        """The clips that cover a source video, in order; none before its scenes are detected."""
        with self._database.read() as connection:
            return live_clips(connection, source_video_id)

    def ends_with(self, clip: Clip) -> Transition | None:
        """What the cut is at which a live clip ends; None at the end of the file, and where nobody knows."""
        after = select(*CLIP).where(clips.c.source_video_id == clip.source_video_id, clips.c.is_live, clips.c.start_frame == clip.end_frame)
        with self._database.read() as connection:
            row = connection.execute(after).first()
        return None if row is None else clip_of_row(row).transition

    def file_frames(self, clip: Clip) -> tuple[int, int]:
        """[first, end) of the frames of the source video that the clip's file has, by its manifest; those of the clip without one."""
        query = select(clip_artifacts.c.manifest).where(clip_artifacts.c.key == clip.clip_filepath)
        with self._database.read() as connection:
            manifest: Mapping[str, Any] = connection.scalar(query) or {}
        return manifest.get("start_frame", clip.start_frame), manifest.get("end_frame", clip.end_frame)

    def find(
        self,
        *,
        source_video_id: int | None = None,
        states: Collection[ClipState] = (),
        text: str | None = None,
        after: tuple[int, int, int] | None = None,
        limit: int = 100,
    ) -> list[Clip]:
        """One page of live clips, by source video and start.

        states: only these; all when empty. text: words of the source video's title, source, facts or subtitles.
        after: `place` of the last clip of the page before.
        """
        page = select(*CLIP).where(clips.c.is_live)
        if source_video_id is not None:
            page = page.where(clips.c.source_video_id == source_video_id)
        if text:
            page = page.where(clips.c.source_video_id.in_(select(source_videos.c.id).where(have_words(text))))
        if after is not None:
            # The first comparison follows from the second; it is there because it limits the index scan.
            page = page.where(clips.c.source_video_id >= after[0])
            page = page.where(tuple_(clips.c.source_video_id, clips.c.start_frame, clips.c.id) > tuple_(*after))
        query: Select[Any] = page.order_by(clips.c.source_video_id, clips.c.start_frame, clips.c.id).limit(limit)
        if states:
            # One index range for each state, merged. A filter on all live clips would read nearly all of them to find a rare state.
            parts = [
                page.where(clips.c.state == state.value).order_by(clips.c.source_video_id, clips.c.start_frame, clips.c.id).limit(limit)
                for state in sorted(set(states))
            ]
            merged = union_all(*(part.subquery().select() for part in parts)).subquery()
            query = select(merged).order_by(merged.c.source_video_id, merged.c.start_frame, merged.c.id).limit(limit)
        with self._database.read() as connection:
            return [clip_of_row(row) for row in connection.execute(query)]

    def counts_by_state(self, source_video_id: int | None = None) -> dict[int, dict[ClipState, int]]:
        """Source video id -> how many of its live clips are in which state."""
        with self._database.read() as connection:
            return counts_of_videos(connection, None if source_video_id is None else [source_video_id])

    def due(self, stage: ClipStage, source_video_id: int | None = None) -> list[Clip]:
        """Clips that a stage should work on: new ones, those left by a process that died, and failed ones with tries left.

        The longest waiting first. Exports that wait for a gold master are due when it exists, or when it has failed for good.
        """
        more = [~clip_exports.first_waits_for_gold_master()] if stage is EXPORTS else []
        with self._database.read() as connection:
            return clip_work.due(connection, stage, source_video_id, *more)

    def waiting_for_gold_master(self, clip_ids: Collection[int] | None = None) -> list[Clip]:
        """Clips with an export from the gold master that was requested before it existed; of all source videos when None."""
        conditions = [clips.c.id.in_(clip_ids)] if clip_ids is not None else []
        waiting = clip_exports.waiting_for_gold_master(*conditions).subquery()
        query = select(*CLIP).where(clips.c.id.in_(select(waiting.c.clip_id)))
        with self._database.read() as connection:
            return [clip_of_row(row) for row in connection.execute(query.order_by(clips.c.id))]

    def count_waiting_for_gold_master(self) -> dict[int, int]:
        """Source video id -> how many of its clips wait in this way."""
        waiting = clip_exports.waiting_for_gold_master().subquery()
        with self._database.read() as connection:
            rows = connection.execute(select(waiting.c.source_video_id, func.count()).group_by(waiting.c.source_video_id))
            return {row[0]: row[1] for row in rows}

    # Cutting

    def replace_cuts(
        self,
        source_video_id: int,
        new: Sequence[NewClip],
        frame_count: int,
        *,
        scene_settings: Mapping[str, Any] | None = None,
        forced_by: str | None = None,
    ) -> list[Clip]:
        """Make `new` the clips of a source video and the video `scenes_detected`, in one transaction; see `clip_cutting.replaced`."""
        with self._database.begin() as connection:
            return clip_cutting.replaced(connection, source_video_id, new, frame_count, scene_settings=scene_settings, forced_by=forced_by)

    def review_has_begun(self, source_video_id: int) -> bool:
        """Whether anybody has decided anything about this source video: new cuts would undo these decisions."""
        with self._database.read() as connection:
            return clip_cutting.review_has_begun(connection, source_video_id)

    # Stages

    def claim(self, clip_id: int, stage: ClipStage, keys: Sequence[str] = ()) -> Clip | None:
        """Put the clip into the stage's working state and write the rows of the objects at `keys`; None when it is not due any more.

        Take `Database.stage_lock(stage.asset, source_video_id)` before this, and keep it until after `finish`.
        """
        with self._database.begin() as connection:
            wait_for_files(connection, clip_id)
            return clip_work.claim(connection, clip_id, stage, keys)

    def finish(
        self,
        clip_id: int,
        stage: ClipStage,
        version: int,
        made: Sequence[MadeObject] = (),
        *,
        also: Callable[[Connection], object] = lambda connection: None,
        made_with: str | None = None,
    ) -> bool:
        """Store that the stage is done with the clip, and the objects that it made; an export becomes the clip's file.

        version: `cut_point_version` of the claimed clip. Returns False when a reviewer has changed the clip since: the objects are then
        obsolete. also: writes that belong to the stage, done in the same transaction when the clip has not changed. made_with: version and
        settings of the stage, see `begin_again`.
        """
        with self._database.begin() as connection:
            return clip_work.finish(connection, clip_id, stage, version, made, also=also, made_with=made_with)

    def again(self, stage: ClipStage, source_video_id: int, made_with: str | None) -> Callable[[], list[int]]:
        """A function that makes clips due again of which the stage made something otherwise; see `clip_work.begin_again`.

        made_with: None when it is not known with what the stage works: no clip is due again then.
        """

        def begin_again() -> list[int]:
            if made_with is None:
                return []
            with self._database.begin() as connection:
                return clip_work.begin_again(connection, stage, source_video_id, made_with)

        return begin_again

    def data_version(self, stage: ClipStage, source_video_id: int) -> str:
        """A text that changes when anything changes that the stage has made of the live clips of a source video."""
        with self._database.read() as connection:
            return version_of_made(connection, stage, source_video_id)

    def advance(self, clip_id: int, new: ClipState, expected: Collection[ClipState] | ClipState) -> Clip:
        """Change the state of a live clip that is in one of the `expected` states. Raises StaleClipError when it is in another state."""
        allowed = {expected} if isinstance(expected, ClipState) else set(expected)
        with self._database.begin() as connection:
            clip = clip_work.locked(connection, clip_id)
            if not clip.is_live or clip.state not in allowed:
                is_now, wanted = clip_work.described(clip), " or ".join(sorted(allowed))
                raise StaleClipError(f"clip id:{clip_id} has the state {is_now}; this needs the state {wanted}")
            return clip_work.advanced(connection, clip, new)

    def fail(
        self,
        clip_id: int,
        stage: ClipStage,
        message: str,
        *,
        transient: bool,
        expected_version: int | None = None,
        at_once: bool = False,
    ) -> Clip | None:
        """Store why the stage failed on the clip. A temporary failure counts one try; any other failure uses up all tries.

        at_once: the process that worked on it has ended. While tries are left it stays in its state, and is due again at once.

        Returns None and changes nothing when a reviewer has changed the clip since: it has left the stage, or no longer has
        `expected_version`.
        """
        with self._database.begin() as connection:
            return clip_work.fail(
                connection, clip_id, stage, message, transient=transient, expected_version=expected_version, at_once=at_once
            )

    def retry(self, clip_id: int) -> Clip:
        """Put a failed clip back before each stage that failed, with no failed tries; if its keyframes are gone, before the keyframe stage.

        Raises IllegalTransitionError if nothing has failed.
        """
        with self._database.begin() as connection:
            return clip_work.retry(connection, clip_id)

    def begun(self, stage: ClipStage, source_video_id: int, *, not_begun_before: datetime | None = None) -> list[Clip]:
        """Clips of a source video that a stage is working on.

        not_begun_before: also clips that have waited for the stage since before that time.
        """
        with self._database.read() as connection:
            return clip_work.begun(connection, stage, source_video_id, not_begun_before)

    def attempts(self, clip_id: int, stage: ClipStage) -> int:
        """Failed tries of a stage on a clip."""
        with self._database.read() as connection:
            return clip_work.attempts(connection, clip_id, stage)

    def failed(self, source_video_id: int, *, limit: int = 1000) -> list[Clip]:
        """Live clips of a source video on which a stage failed, in order."""
        with self._database.read() as connection:
            return clip_work.failed_clips(connection, source_video_id, limit)

    def enqueue_new_stages(self) -> int:
        """Make clips due for stages that were added to Heaters after these clips had passed that point; returns how many."""
        with self._database.begin() as connection:
            return clip_work.enqueue(connection)

    def words_beside(self, of: Collection[Clip]) -> dict[int, str]:
        """Clip id -> what the stages beside the others say of it; only of clips of which they say something."""
        if not of or not beside():
            return {}
        with self._database.read() as connection:
            works = clip_work.works(connection, [clip.id for clip in of])
        told = {clip.id: clip_work.words_beside(works, clip) for clip in of}
        return {clip_id: words for clip_id, words in told.items() if words}

    # Files

    def artifacts(self, clip_id: int, *, kind: str | None = None, states: Collection[str] = ("live",)) -> list[ClipArtifact]:
        """The files of a clip, ordered by key. kind: export or keyframe; both when None."""
        query = select(clip_artifacts).where(clip_artifacts.c.clip_id == clip_id, clip_artifacts.c.state.in_(states))
        if kind is not None:
            query = query.where(clip_artifacts.c.kind == kind)
        with self._database.read() as connection:
            return [artifact_of_row(row) for row in connection.execute(query.order_by(clip_artifacts.c.key))]

    def live_artifact_keys(self, clip_id: int, kind: str) -> list[str]:
        return [artifact.key for artifact in self.artifacts(clip_id, kind=kind)]

    def obsolete_artifacts(self, source_video_id: int | None = None) -> list[ClipArtifact]:
        """Files that are not needed: obsolete ones, and half-written ones of a process that died, when the clip has left the stage."""
        with self._database.read() as connection:
            return clip_work.unneeded_artifacts(connection, source_video_id)

    def give_up_keyframes(self, clip_id: int, version: int) -> None:
        """Make the keyframes of a clip obsolete because some of their objects are gone; after `retry` all of them are made again.

        Changes nothing when the clip no longer has `version`.
        """
        with self._database.begin() as connection:
            if clip_work.locked(connection, clip_id).cut_point_version == version:
                connection.execute(clip_artifacts.update().where(clip_work.live_keyframes(clip_id)).values(state="obsolete"))

    def clean_up(self, clip_id: int, delete: Callable[[str], object]) -> list[str]:
        """Delete the objects of a clip that are not needed, by `delete(key)`, and mark their rows `deleted`; return their keys.

        No stage can claim a key while its object is deleted (`wait_for_files`), but a reviewer can decide on the clip. Live objects stay,
        and so do objects that a stage is writing: a later call finds them. An object that no longer exists counts as deleted.
        When `delete` raises, nothing is marked as deleted and a later call tries again.
        """
        with self._database.turn(files_turn(clip_id)):
            with self._database.begin() as connection:
                unneeded = _unneeded(connection, clip_id)
            for artifact in unneeded:
                delete(artifact.key)
            if unneeded:
                mine = clip_artifacts.c.id.in_([artifact.id for artifact in unneeded]) & (clip_artifacts.c.state == "obsolete")
                with self._database.begin() as connection:
                    clip_work.locked(connection, clip_id)
                    connection.execute(clip_artifacts.update().where(mine).values(state="deleted"))
        return [artifact.key for artifact in unneeded]


def _unneeded(connection: Connection, clip_id: int) -> list[ClipArtifact]:
    """The objects of a clip that nobody needs; the rows of those that a dead process has left half written become obsolete."""
    clip = clip_work.locked(connection, clip_id)
    query = select(clip_artifacts).where(clip_artifacts.c.clip_id == clip_id, clip_artifacts.c.state.in_(["obsolete", "writing"]))
    found = [artifact_of_row(row) for row in connection.execute(query.order_by(clip_artifacts.c.id))]
    abandoned = [one.id for one in found if one.state == "writing" and clip_work.is_abandoned(connection, clip, one)]
    if abandoned:
        connection.execute(clip_artifacts.update().where(clip_artifacts.c.id.in_(abandoned)).values(state="obsolete"))
    return [one for one in found if one.state == "obsolete" or one.id in abandoned]
