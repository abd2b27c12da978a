"""Lists of source videos for pages: one page of a list, counts, and titles; never all source videos at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select, union

from heaters_dagster.domain.related import Related
from heaters_dagster.domain.review_queue import MAX_ID
from heaters_dagster.domain.scenes import CutSettings, nothing_cut
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.transitions import CLIP_RETRY, SOURCE_VIDEO_RETRY
from heaters_dagster.domain.words import video_state_words
from heaters_dagster.registries import DETECTORS
from resources.postgres import clip_exports
from resources.postgres.clip_counts import counts_of_videos
from resources.postgres.clip_failures import ClipFailure, failures_of
from resources.postgres.clip_work import counts_beside
from resources.postgres.conditions import among
from resources.postgres.database import Database
from resources.postgres.facts_store import qualities_of
from resources.postgres.piece_store import one_piece_reasons
from resources.postgres.related_videos import related_of
from resources.postgres.room_waits import WaitsByAsset
from resources.postgres.room_waits import waits_of as room_waits_of
from resources.postgres.site_turns import waits_of
from resources.postgres.source_clocks import brief_facts
from resources.postgres.source_video_counts import counted_videos
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore, is_there, video_of_row
from resources.postgres.source_video_words import have_words
from resources.postgres.stage_progress import ProgressByAsset, progress_of
from resources.postgres.tables import clips, source_videos

_video = source_videos.c
_PAGE = 1_000
_OF_OTHER_TABLES = {
    "clips", "beside", "progress", "site_waits", "quality", "related", "waits", "one_piece", "start_timecode", "reel", "uncut",
    "clip_failures",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A source video and how many of its live clips are in which state.

    beside: what stages beside the others say -> of how many clips. progress: how far the stages are that work on it now.
    site_waits: until when its site is left alone and why, None when it may be asked. quality: see SourceFacts. facts: those of
    `brief_facts` only. related: others that are, or may be, the same video. waits: which stages wait for room on the disk.
    one_piece: why its proxy is not made in pieces, None when no machine has found a reason. uncut: see `scenes.nothing_cut`.
    """

    video: SourceVideo
    clips: dict[ClipState, int]
    beside: dict[str, int]
    progress: ProgressByAsset
    waits: WaitsByAsset
    site_waits: str | None = None
    quality: Mapping[str, Any] | None = None
    facts: SourceFacts = SourceFacts()
    related: tuple[Related, ...] = ()
    one_piece: str | None = None
    uncut: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOverview:
    """What a line about a source video shows; members as in SourceVideo.

    clips, beside, progress, waits, site_waits, quality, related, one_piece, uncut: as in ListedVideo. start_timecode, reel: as in
    SourceFacts. clip_failures: why clips of it failed.
    """

    id: int
    source: str
    title: str
    state: SourceVideoState
    error: str | None
    warnings: list[str]
    frame_count: int | None
    duration_seconds: float | None
    gold_master_filepath: str | None
    gold_master_error: str | None
    duplicate_of_id: int | None
    clips: dict[ClipState, int]
    beside: dict[str, int]
    progress: ProgressByAsset
    waits: WaitsByAsset
    site_waits: str | None = None
    quality: Mapping[str, Any] | None = None
    start_timecode: str | None = None
    reel: str | None = None
    related: tuple[Related, ...]
    one_piece: str | None = None
    uncut: str | None = None
    clip_failures: tuple[ClipFailure, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What people should know of its file and of its cuts, a sentence each."""
        return [*self.warnings, *filter(None, [self.uncut])]


@dataclass(frozen=True, slots=True)
class VideoCounts:
    """by_state: source videos in each state, the most frequent first. duplicates: those beside that hold the bytes of another one: their
    state says that fetching failed, but nothing has."""

    by_state: Mapping[SourceVideoState, int]
    duplicates: int

    @property
    def total(self) -> int:
        return sum(self.by_state.values()) + self.duplicates

    @property
    def words(self) -> str:
        """`9 ready for review, 1 the same as another one`."""
        words = [f"{number} {video_state_words(state)}" for state, number in self.by_state.items()]
        return ", ".join([*words, f"{self.duplicates} the same as another one"] if self.duplicates else words)


class SourceVideoLists:
    """Reads only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, *, text: str = "", only: int | None = None, before_id: int | None = None, limit: int) -> list[ListedVideo]:
        """The newest first. text: words of title, address, facts or subtitles. only: just this one.

        before_id: the last id of the page before.
        """
        query = select(source_videos).where(*_matching(text, only)).order_by(_video.id.desc()).limit(limit)
        if before_id is not None:
            query = query.where(_video.id < before_id)
        with self._database.read() as connection:
            videos = [video_of_row(row) for row in connection.execute(query)]
            ids = [video.id for video in videos]
            counts, beside, progress = counts_of_videos(connection, ids), _beside(connection, ids), progress_of(connection, ids)
            waits, qualities, facts = waits_of(connection, ids), qualities_of(connection, ids), brief_facts(connection, ids)
            related, room, whole = related_of(connection, ids), room_waits_of(connection, ids), one_piece_reasons(connection, ids)
            uncut = _uncut(connection, counts)
        return [
            ListedVideo(
                one, counts.get(one.id, {}), beside.get(one.id, {}), progress.get(one.id, {}), room.get(one.id, {}),
                site_waits=waits.get(one.id), quality=qualities.get(one.id), facts=facts.get(one.id, SourceFacts()),
                related=tuple(related.get(one.id, ())), one_piece=whole.get(one.id), uncut=uncut.get(one.id),
            )
            for one in videos
        ]  # fmt: skip

    def counts(self, *, text: str = "", only: int | None = None) -> VideoCounts:
        """All of them by the stored counts; those that are chosen are counted."""
        is_duplicate = _video.duplicate_of_id.is_not(None)
        found: Counter[tuple[SourceVideoState, bool]] = Counter()
        with self._database.read() as connection:
            if text or only is not None:
                query = select(_video.state, is_duplicate, func.count()).where(*_matching(text, only)).group_by(_video.state, is_duplicate)
                found.update({(SourceVideoState(state), duplicate): count for state, duplicate, count in connection.execute(query)})
            else:
                for one in counted_videos(connection):
                    if one.state is not SourceVideoState.DELETED:
                        found[one.state, one.is_duplicate] += one.source_videos
        often = sorted(found.items(), key=lambda one: (-one[1], one[0][0].value))
        by_state = {state: count for (state, duplicate), count in often if not duplicate}
        return VideoCounts(by_state, sum(count for (_, duplicate), count in often if duplicate))

    def titles(self, *, text: str = "", limit: int) -> dict[int, str]:
        """Id -> title of the newest source videos that have the words in their title, address, facts or subtitles, or this id."""
        query = select(_video.id, _video.title).where(is_there(), _named_or_numbered(text)).order_by(_video.id.desc()).limit(limit)
        with self._database.read() as connection:
            return {row.id: row.title for row in connection.execute(query)}

    def overview_of(self, source_video_id: int) -> VideoOverview:
        """Raises NotFoundError."""
        SourceVideoStore(self._database).load(source_video_id)
        with self._database.read() as connection:
            return _overviews(connection, _video.id == source_video_id)[0]

    def titles_of(self, source_video_ids: Collection[int]) -> dict[int, str]:
        """Id -> title, of the source videos that exist."""
        query = select(_video.id, _video.title).where(is_there(), among(_video.id, source_video_ids))
        with self._database.read() as connection:
            return {row.id: row.title for row in connection.execute(query)}

    def overview(self, *, most: int) -> list[VideoOverview]:
        """At most so many, ordered by id. Failed ones are taken first, the newest of them, then the newest of all."""
        ids = select(_video.id).where(is_there()).order_by(_video.id.desc()).limit(most)
        kinds = (_video.state.in_([state.value for state in SOURCE_VIDEO_RETRY]), _video.gold_master_error.is_not(None))
        # Materialized: each kind has its index, and the planner would rather read all source videos backwards for the newest of them.
        failed = union(*(select(_video.id).where(is_there(), kind) for kind in kinds)).cte("failed").prefix_with("materialized")
        newest_failed = select(failed.c.id).order_by(failed.c.id.desc()).limit(most)
        with self._database.read() as connection:
            chosen = dict.fromkeys([*connection.scalars(newest_failed), *connection.scalars(ids)])
            return _overviews(connection, among(_video.id, list(chosen)[:most]))

    def all_overviews(self) -> Iterator[VideoOverview]:
        """All of them by id, read page by page."""
        last = 0
        while True:
            with self._database.read() as connection:
                page = _overviews(connection, is_there(), _video.id > last, limit=_PAGE)
            if not page:
                return
            yield from page
            last = page[-1].id


def _overviews(connection: Connection, *conditions: ColumnElement[bool], limit: int | None = None) -> list[VideoOverview]:
    columns = [source_videos.c[name.name] for name in fields(VideoOverview) if name.name not in _OF_OTHER_TABLES]
    rows = connection.execute(select(*columns).where(*conditions).order_by(_video.id).limit(limit)).all()
    ids = [row.id for row in rows]
    counts, beside, progress = counts_of_videos(connection, ids), _beside(connection, ids), progress_of(connection, ids)
    waits, qualities, room = waits_of(connection, ids), qualities_of(connection, ids), room_waits_of(connection, ids)
    related, whole, facts = related_of(connection, ids), one_piece_reasons(connection, ids), brief_facts(connection, ids)
    uncut = _uncut(connection, counts)
    failures = failures_of(connection, [one for one in ids if beside.get(one) or CLIP_RETRY.keys() & counts.get(one, {}).keys()])
    return [
        VideoOverview(
            **{**row._mapping, "state": SourceVideoState(row.state)},
            clips=counts.get(row.id, {}),
            beside=beside.get(row.id, {}),
            progress=progress.get(row.id, {}),
            waits=room.get(row.id, {}),
            site_waits=waits.get(row.id),
            quality=qualities.get(row.id),
            start_timecode=facts.get(row.id, SourceFacts()).start_timecode,
            reel=facts.get(row.id, SourceFacts()).reel,
            related=tuple(related.get(row.id, ())),
            one_piece=whole.get(row.id),
            uncut=uncut.get(row.id),
            clip_failures=failures.get(row.id, ()),
        )
        for row in rows
    ]


def _uncut(connection: Connection, counts: Mapping[int, Mapping[ClipState, int]]) -> dict[int, str]:
    """Source video id -> what is said where it has one clip, which nobody has made by joining others."""
    single = [source_video_id for source_video_id, clip_counts in counts.items() if sum(clip_counts.values()) == 1]
    if not single:
        return {}
    query = select(_video.id, _video.scene_settings).join(clips, clips.c.source_video_id == _video.id)
    query = query.where(among(_video.id, single), clips.c.is_live, clips.c.created_by_user_id.is_(None), _video.scene_settings.is_not(None))
    found = {}
    for source_video_id, settings in connection.execute(query):
        cut_with = CutSettings.from_json(settings)
        found[source_video_id] = nothing_cut(source_video_id, cut_with, DETECTORS.find(cut_with.detector))
    return {source_video_id: words for source_video_id, words in found.items() if words is not None}


def _beside(connection: Connection, ids: list[int]) -> dict[int, dict[str, int]]:
    """What is done beside the states of clips: by stages beside the others, and by further exports."""
    found = counts_beside(connection, ids)
    for source_video_id, words in clip_exports.counts(connection, ids).items():
        found.setdefault(source_video_id, {}).update(words)
    return found


def _matching(text: str, only: int | None) -> list[ColumnElement[bool]]:
    return [is_there(), *([have_words(text)] if text else []), *([_video.id == only] if only is not None else [])]


def _named_or_numbered(text: str) -> ColumnElement[bool]:
    is_number = text.isascii() and text.isdigit() and int(text) <= MAX_ID
    return or_(have_words(text), _video.id == int(text)) if is_number else have_words(text)
