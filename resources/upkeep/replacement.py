"""Gives a source video another file: a new one that keeps clips and decisions where the frames are the same.

The new file becomes a source video of its own, with files under keys of its own. It is fetched and its proxy made as for any other, but it
is not cut: it waits. Then its frames are compared with those of the old one, and a person sees what becomes of each clip. When they agree,
the new one gets its clips with their decisions in one transaction; the old one is whole until then, and the new one from then on. Last,
when the files of the approved clips are made, the old one is deleted, unless a decision would go with it: one that somebody made on it
meanwhile, or one on a clip that has no counterpart. Then both stay, and a note on the old one says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from heaters_dagster.domain import looks, replacement, review, scenes
from heaters_dagster.domain.cut_kinds import Transition
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import (
    BadRequestError,
    BusyError,
    IllegalTransitionError,
    InvalidMediaError,
    NotFoundError,
    ObjectNotFoundError,
    PermanentError,
    StaleClipError,
)
from heaters_dagster.domain.fact_fields import THUMBNAIL
from heaters_dagster.domain.frame_index import FrameIndex
from heaters_dagster.domain.keys import looks_key, proxy_key, scenes_key
from heaters_dagster.domain.looks import Looks
from heaters_dagster.domain.profiles import SideStream, displayed_size, scene_scores
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.domain.replacement import ClipFate, Film, NewSpan
from heaters_dagster.domain.source_facts import Origin, SourceFacts
from heaters_dagster.domain.states import APPROVED_STATES, ClipState, SourceVideoState
from heaters_dagster.domain.words import counted
from heaters_dagster.event_log import tell_when_committed
from heaters_dagster.registries import DETECTORS
from heaters_dagster.settings import Settings
from resources.media import ffmpeg
from resources.media.first_look import MediaProbe
from resources.media.frame_index_reader import FrameIndexes
from resources.media.look_stream import LookStream
from resources.media.side_streams import ScorePass
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres import clip_exports, row_locks
from resources.postgres.clip_cutting import retired, review_has_begun
from resources.postgres.clip_rows import Clip, clip_of_row, cut_columns, ledger_snapshot, live_clips, review_clip
from resources.postgres.database import Database
from resources.postgres.fact_edits import given_files_turn
from resources.postgres.facts_store import facts_of_row, put_facts
from resources.postgres.ingest_tables import source_video_facts
from resources.postgres.related_videos import RelatedVideos
from resources.postgres.replacement_store import Replacement, ReplacementStore, begin, locked_waiting, open_words, set_state
from resources.postgres.review_statements import FOLLOWERS, INSERT
from resources.postgres.review_transaction import ReviewTransaction
from resources.postgres.source_video_store import AlsoWritten, SourceVideo, SourceVideoStore, add_warning, lock_source_video
from resources.postgres.tables import clip_exports as clip_exports_table
from resources.postgres.tables import clips as clips_table
from resources.postgres.tables import review_actions, source_videos
from resources.sources.address_guard import AddressGuard
from resources.sources.kept_files import Keep
from resources.sources.submission import submit
from resources.sources.submit_places import SubmitPlaces
from resources.upkeep.carried_files import copied_files, write_carried
from resources.upkeep.source_video_removal import delete_source_video

_S = SourceVideoState
_HAS_PROXY = frozenset({_S.PREPROCESSED, _S.DETECTING_SCENES, _S.DETECT_SCENES_FAILED, _S.SCENES_DETECTED})


@dataclass(frozen=True, slots=True)
class Comparison:
    """What becomes of the clips of the old source video when the new one takes its place.

    fates: of each live clip, in order. spans: the clips that the new one would have. clips: of the old one, as they were compared.
    """

    replacement: Replacement
    old: SourceVideo
    new: SourceVideo
    clips: tuple[Clip, ...]
    fates: tuple[ClipFate, ...]
    spans: tuple[NewSpan, ...]

    @property
    def uncertain(self) -> int:
        """How many decided clips only look the same: a person has to say whether that is enough."""
        return replacement.counts(self.fates, decided=True).get(replacement.Fate.ALIKE, 0)

    @property
    def lost(self) -> int:
        """How many decided clips have no counterpart: the old source video stays for them, but not for what is archived."""
        nothing_to_lose = {ClipState.PENDING_REVIEW, ClipState.REVIEW_ARCHIVED}
        gone = (one for one in self.fates if one.fate is replacement.Fate.GONE)
        return sum(one.clip.decision not in nothing_to_lose for one in gone)

    @property
    def files(self) -> str:
        """What kind of file each of the two is: which is better is for a person to say."""
        return "; ".join(f"Source video {video.id}: {_kind(video)}" for video in (self.old, self.new))

    @property
    def sentence(self) -> str:
        """`12 clips kept, 3 look the same, 1 without counterpart`."""
        words = {
            replacement.Fate.KEPT: "kept",
            replacement.Fate.MOVED: "kept at other frames",
            replacement.Fate.ALIKE: "that look the same",
            replacement.Fate.PARTLY: "there only in part",
            replacement.Fate.GONE: "without counterpart",
        }
        told = ", ".join(f"{count:,} {words[fate]}" for fate, count in replacement.counts(self.fates).items())
        unseen = sum(span.source is None for span in self.spans)
        more = f"; {unseen:,} new to be reviewed" if unseen else ""
        if self.lost:
            more += f". Source video {self.old.id} would stay for {counted(self.lost, 'decided clip')} without counterpart"
        return f"Clips of source video {self.old.id}, {self.old.title}: {told}{more}"


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """The result. kept: decisions that stand; back: clips that were sent back to review, by the action `action_id`, which can be undone.
    lost: decided clips without counterpart; the old source video stays when there are any.
    """

    old_id: int
    new_id: int
    clips: int
    kept: int
    back: int
    lost: int
    action_id: int | None

    @property
    def what_stays(self) -> str:
        """What becomes of the old source video, in a sentence."""
        if self.lost:
            clips = counted(self.lost, "decided clip has", "decided clips have")
            return f"Source video {self.old_id} stays, because {clips} no counterpart; delete it when you no longer need it."
        return f"Source video {self.old_id} is deleted when the files of the approved clips are made."


def begin_replacement(
    old_id: int,
    source: str,
    *,
    database: Database,
    guard: AddressGuard,
    reviewer: str,
    places: SubmitPlaces | None = None,
    keep: Keep | None = None,
) -> SourceVideo:
    """Submit the file or address that is to take the place of a source video; returns the new source video, which waits then.

    places, keep: as for `submit`.
    Raises BadRequestError, IllegalTransitionError before the old one is cut, and what `submit` says of the source.
    """
    videos = SourceVideoStore(database)
    _check_old(videos.load(old_id), ReplacementStore(database))
    if Path(source).is_dir():
        raise BadRequestError(f"{source} is a folder: name the one file that replaces source video {old_id}")
    also = _begins(old_id, reviewer, database)
    (done,) = submit([source], videos, guard=guard, places=places, by_force=RelatedVideos(database), also=also, keep=keep)
    if done.video is None:
        raise BadRequestError(done.told)
    return done.video


def begin_refetch(old_id: int, *, database: Database, reviewer: str, max_height: int | None = None) -> SourceVideo:
    """Submit a source video again from where it came from, to take its own place. max_height: of the download, in pixels."""
    videos = SourceVideoStore(database)
    old = videos.load(old_id)
    _check_old(old, ReplacementStore(database))
    row = {"source": old.source, "title": old.title, "confined_to": old.confined_to, "forced": True}
    (new,) = videos.add_all([row], also=_begins(old_id, reviewer, database, max_height=max_height))
    return new


def _begins(old_id: int, reviewer: str, database: Database, *, max_height: int | None = None) -> AlsoWritten:
    with database.begin() as connection:
        reviewer_id = row_locks.known_reviewer(connection, reviewer)

    def begins(connection: Connection, added: Sequence[SourceVideo]) -> None:
        for new in added:
            begin(connection, old_id, new.id, reviewer_id=reviewer_id, max_height=max_height)

    return begins


def give_up(video_id: int, *, database: Database, objects: ObjectStore, reviewer: str) -> Replacement:
    """Forget the new file that waits; the old source video stays as it is. Raises NotFoundError, BusyError while a stage works on it."""
    waiting = ReplacementStore(database).waiting(video_id)
    delete_source_video(waiting.new_id, reviewer=reviewer, database=database, objects=objects)
    return waiting


def compare(
    video_id: int, *, database: Database, objects: ObjectStore, work: WorkFolder, settings: Settings, report: Report = silent
) -> Comparison:
    """What would become of each clip. video_id: of the old or of the new source video. Changes nothing.

    Raises NotFoundError when nothing waits, IllegalTransitionError while the new one has no proxy, BadRequestError when it has the bytes
    of the old one.
    """
    waiting, videos = ReplacementStore(database).waiting(video_id), SourceVideoStore(database)
    old, new = videos.load(waiting.old_id), videos.load(waiting.new_id)
    if old.content_sha256 is not None and old.content_sha256 == new.content_sha256:
        raise BadRequestError(
            f"source video {new.id} has the same bytes as source video {old.id}: there is nothing to replace. "
            f"heaters replace {old.id} --give-up forgets it"
        )
    if new.state not in _HAS_PROXY:
        told = f": {new.error}" if new.error else ""
        raise IllegalTransitionError(f"source video {new.id} has no proxy yet (its state: {new.state}){told}")
    with database.read() as connection:
        clips = live_clips(connection, old.id)
    films = [_film(video, database=database, objects=objects, work=work, report=report) for video in (old, new)]
    found = replacement.fates(films[0], films[1], [review_clip(clip) for clip in clips])
    detected = _detected(new, objects, settings)
    spans = replacement.with_transitions(replacement.spans(found, len(films[1]), detected), detected)
    return Comparison(waiting, old, new, tuple(clips), tuple(found), tuple(spans))


def carry_over(
    compared: Comparison, *, database: Database, objects: ObjectStore, reviewer: str, trusts_likeness: bool = False
) -> CarriedOver:
    """Give the new source video the clips and decisions of the old one, in one transaction. Decisions that cannot stay go back to review.

    trusts_likeness: keep decisions also on clips whose frames only look the same. Raises StaleClipError when the old one was changed since
    it was compared, BusyError, PermanentError when somebody has decided on the new one.
    """
    new_id, spans = compared.new.id, compared.spans
    edges = [spans[0].start_frame, *(span.end_frame for span in spans)]
    times = FrameIndexes(objects).times(new_id, edges)
    with ExitStack() as held:
        held.enter_context(database.turn(given_files_turn(new_id)))
        files = copied_files(compared.old, compared.new, database=database, objects=objects)
        held.enter_context(database.stage_lock("virtual_clips", new_id))
        connection = held.enter_context(database.begin())
        by = row_locks.lock_reviewer(connection, reviewer).id
        for one in sorted((compared.old.id, new_id)):
            lock_source_video(connection, one)
        locked_waiting(connection, new_id)
        _check_unchanged(connection, compared)
        before = live_clips(connection, new_id)
        if review_has_begun(connection, new_id):
            raise PermanentError(f"somebody has decided on source video {new_id} already, so it cannot take over other decisions")
        if before:
            retired(connection, before, by)
        made = _made_clips(connection, compared, times, by)
        _finish_row(connection, compared)
        _copy_facts(connection, compared.old.id, new_id)
        write_carried(connection, compared.old.id, new_id, files)
        details = {
            "replaced": compared.old.id,
            "title": compared.old.title,
            "fates": [[fate.clip.id, str(fate.fate), fate.start_frame, fate.end_frame] for fate in compared.fates],
        }
        _record(connection, by, new_id, made, details)
        back = [clip.id for clip, span in zip(made, spans, strict=True) if replacement.goes_back(span, trusts_likeness=trusts_likeness)]
        action_id = _send_back(connection, by, back) if back else None
        carried = {str(clip.id): clip.cut_point_version for clip in compared.clips}
        set_state(connection, new_id, "kept" if compared.lost else "carried", carried=carried)
        decided = sum(span.source is not None and replacement.state_in_new(span) != "pending_review" for span in spans)
        done = CarriedOver(compared.old.id, new_id, len(made), decided - len(back), len(back), compared.lost, action_id)
        if compared.lost:
            add_warning(connection, compared.old.id, f"replaced by source video {new_id}. {done.what_stays}")
    return done


def finish_replacement(old_id: int, *, database: Database, objects: ObjectStore) -> bool:
    """Delete a source video that is replaced, when the files of the new one are made; whether there was something to do.

    When somebody has changed its clips since the new one took them over, it stays, and a note on it says why.
    """
    store = ReplacementStore(database)
    found = store.to_finish(old_id)
    if found is None:
        return False
    try:
        delete_source_video(old_id, reviewer=found.asked_by, database=database, objects=objects, replaced=found)
    except (BusyError, NotFoundError):  # a stage works on it, and the next look finds it again; or the new one has just been deleted
        return False
    except StaleClipError:
        changed = f"its clips were changed after source video {found.new_id} took them over, so it was not deleted"
        with database.begin() as connection:
            add_warning(connection, old_id, f"{changed}: look at both, then delete one")
            set_state(connection, found.new_id, "kept")
    return True


def _check_old(old: SourceVideo, store: ReplacementStore) -> None:
    if old.state is not _S.SCENES_DETECTED:
        raise IllegalTransitionError(
            f"source video {old.id} has no clips yet (its state: {old.state}): there is nothing to keep. Delete it and submit the other one"
        )
    open_one = store.open_of_old(old.id)
    if open_one is not None:
        raise BadRequestError(open_words(open_one))


def _kind(video: SourceVideo) -> str:
    if video.probe is None:
        return "an unknown kind of file"
    found = MediaProbe.from_json(dict(video.probe))
    picture = found.video
    width, height = displayed_size(picture.width, picture.height, picture.rotation_degrees)
    rate = f"{float(picture.average_frame_rate):.5g}"
    return f"{width}x{height} pixels, frame rate {rate}, {picture.codec}, {'with' if found.audio else 'without'} sound"


def _film(video: SourceVideo, *, database: Database, objects: ObjectStore, work: WorkFolder, report: Report) -> Film:
    index = FrameIndexes(objects).load(video.id)
    times = (index.pts - index.pts[0]) * float(index.header.time_base)
    end = float((index.header.end_pts - int(index.pts[0])) * index.header.time_base)
    return Film(_looks(video, index, objects=objects, work=work, report=report), times, end)


def _looks(video: SourceVideo, index: FrameIndex, *, objects: ObjectStore, work: WorkFolder, report: Report) -> Looks:
    """Those that were taken when the proxy was made, from the original's frames; of an older proxy they are taken from it."""
    with suppress(ObjectNotFoundError, InvalidMediaError):
        stored = looks.decoded(objects.get_bytes(looks_key(video.id)))
        if len(stored) == len(index):
            return stored
    looking = LookStream()
    scoring = ScorePass([looking])
    with work.attempt(f"looks-{video.id}") as folder:
        path = objects.local_path(proxy_key(video.id))
        if path is None:
            path = folder / "proxy.mp4"
            objects.get_file(proxy_key(video.id), path)
        small = SideStream(*LookStream.frame_size, LookStream.pixel_format, LookStream.scale_flags)
        ffmpeg.run(scene_scores([small]), path, scoring.readers(), total_seconds=video.duration_seconds, report=report, called=video.title)
    scoring.finish()
    if len(looking.looks) != len(index):
        frames = counted(len(looking.looks), "frame")
        raise InvalidMediaError(f"{video.title}: its proxy has {frames}, its index {len(index)}; make the proxy again")
    return looking.looks


def _detected(video: SourceVideo, objects: ObjectStore, settings: Settings) -> dict[int, Transition | None]:
    """Where the detector of the settings would cut it, and what each cut is; nothing when the scores of that detector are not there."""
    detector = DETECTORS.find(settings.detector)
    try:
        stored = scenes.decoded(objects.get_bytes(scenes_key(video.id)))
    except (ObjectNotFoundError, InvalidMediaError):
        return {}
    if detector is None or not stored.has_scores_for(detector):
        return {}
    wanted = scenes.cut_settings(detector, threshold=settings.detector_threshold, min_clip_frames=settings.min_clip_frames)
    found = scenes.boundaries(stored.scores, detector, wanted.threshold)
    return {cut.start_frame: cut.transition for cut in scenes.cut_list(found, stored.frame_count, wanted.min_clip_frames)}


def _check_unchanged(connection: Connection, compared: Comparison) -> None:
    now = [clip_of_row(row) for row in row_locks.lock_live_clips(connection, compared.old.id)]
    if {clip.id: clip.cut_point_version for clip in now} != {clip.id: clip.cut_point_version for clip in compared.clips}:
        raise StaleClipError(f"source video {compared.old.id} was changed since it was compared: look at it again, then replace it")


def _made_clips(connection: Connection, compared: Comparison, times: Sequence[float], by: int) -> list[Clip]:
    """The clips of the new one, with the decisions, groups and export profiles of those that they come from."""
    spans, sources = compared.spans, {clip.id: clip for clip in compared.clips}
    come_from = [sources[span.source.clip.id or 0] if span.source is not None else None for span in spans]
    rows = connection.execute(
        INSERT,
        {
            "source_video_id": compared.new.id,
            "count": len(spans),
            "reviewer": by,
            "lease_expires_at": None,
            "start_frames": [span.start_frame for span in spans],
            "end_frames": [span.end_frame for span in spans],
            "start_times": list(times[:-1]),
            "end_times": list(times[1:]),
            "states": [str(replacement.state_in_new(span)) for span in spans],
            "confidences": [None if clip is None else clip.confidence for clip in come_from],
            "profiles": ["stream_copy" if clip is None else clip.export_profile for clip in come_from],
            **cut_columns(span.transition for span in spans),
        },
    )
    made = sorted(map(clip_of_row, rows), key=lambda clip: clip.start_frame)
    new_of = {clip.id: one for one, clip in zip(made, come_from, strict=True) if clip is not None}
    grouped: list[Clip] = []
    for one, clip in zip(made, come_from, strict=True):
        leader = new_of.get(clip.grouped_with_clip_id or 0) if clip is not None else None
        if leader is not None and leader.end_frame == one.start_frame and {leader.state, one.state} <= APPROVED_STATES:
            connection.execute(clips_table.update().where(clips_table.c.id == one.id).values(grouped_with_clip_id=leader.id))
            one = replace(one, grouped_with_clip_id=leader.id)
        grouped.append(one)
        if clip is not None and one.state in APPROVED_STATES:
            of_old = select(clip_exports_table.c.profile).where(clip_exports_table.c.clip_id == clip.id)
            for profile in connection.scalars(of_old.order_by(clip_exports_table.c.profile)).all():
                clip_exports.ask(connection, one, profile)
    return grouped


def _finish_row(connection: Connection, compared: Comparison) -> None:
    own = source_videos.c.id == compared.new.id
    if compared.new.state is not _S.SCENES_DETECTED:
        connection.execute(source_videos.update().where(own).values(state=_S.DETECTING_SCENES.value))
    old = {"title": compared.old.title, "chapters_as_cuts": compared.old.chapters_as_cuts}
    done: dict[str, Any] = {"state": _S.SCENES_DETECTED.value, "error": None, "attempts": 0, **old}
    connection.execute(source_videos.update().where(own).values(**done))


def _copy_facts(connection: Connection, old_id: int, new_id: int) -> None:
    """What people and lists said of the old one holds for the new one too."""
    row = connection.execute(select(source_video_facts).where(source_video_facts.c.source_video_id == old_id)).first()
    if row is None:
        return
    said = facts_of_row(row._mapping).said()
    for origin in (Origin.PERSON, Origin.SUBMISSION):
        # The thumbnail is a file of the old one: see `write_carried`.
        mine = {name: value for name, value in said.items() if row.origins.get(name) == origin.value and name != THUMBNAIL}
        if mine:
            put_facts(connection, new_id, SourceFacts(**mine), origin)


def _record(connection: Connection, by: int, new_id: int, made: Sequence[Clip], details: dict[str, Any]) -> None:
    tell_when_committed(connection, ReviewAction.REPLACE.value, source_video_id=new_id, reviewer_id=by, clips=len(made))
    connection.execute(
        review_actions.insert().values(
            reviewer_id=by,
            source_video_id=new_id,
            action=ReviewAction.REPLACE.value,
            clip_ids=sorted(clip.id for clip in made),
            before={str(clip.id): None for clip in made},
            after={str(clip.id): ledger_snapshot(clip) for clip in made},
            details=details,
            created_at=func.clock_timestamp(),
        )
    )


def _send_back(connection: Connection, by: int, clip_ids: Sequence[int]) -> int | None:
    """An action of its own, so that a person can undo it and has the decisions as they were."""
    transaction = ReviewTransaction(connection, by)
    chosen = transaction.lock_clips(clip_ids, None, beside=FOLLOWERS, alone=True)
    return transaction.record(review.send_back(chosen, beside=transaction.clips()), None).action_id
