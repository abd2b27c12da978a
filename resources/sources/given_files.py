"""Subtitle files and thumbnails that people give a source video, or take away: each change is one action of the history.

The object is stored first, under a key with the hash of its bytes, and the row is written after that. So a process that is killed in
between leaves an object that no row names; the next change of the same source video deletes it. What was taken away stays stored, because
an undo may bring it back; it goes with the source video.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import PurePath

from heaters_dagster.domain.errors import BadRequestError, HeatersError
from heaters_dagster.domain.keys import given_prefix, given_subtitle_key, given_thumbnail_key
from heaters_dagster.domain.source_facts import clean_line
from heaters_dagster.domain.subtitles import MOST_BYTES, NO_LANGUAGE, PERSON, SUFFIXES, SubtitleFile, known_language, lines_of, within
from heaters_dagster.domain.words import counted
from resources.media.container_facts import positions_left_out
from resources.media.thumbnails import thumbnail_jpeg
from resources.object_store.interface import ObjectStore, put_missing
from resources.postgres import fact_edits
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.transcript_store import Transcript

#: Bytes of a thumbnail file that a person gives.
MOST_THUMBNAIL_BYTES = 10 << 20


class GivenFiles:
    """keep_places: whether it is kept where a video was filmed."""

    def __init__(self, database: Database, objects: ObjectStore, *, keep_places: bool) -> None:
        self._database = database
        self._objects = objects
        self._keep_places = keep_places

    def put_subtitles(
        self, source_video_id: int, language: str, name: str, data: bytes, *, reviewer: str, seen: Collection[int] | None = None
    ) -> tuple[list[Transcript], int | None, tuple[str, ...]]:
        """Make a file the subtitles of a language, in place of those that people wrote in it before.

        language: "en-US", or "und". name: of the file, whose suffix says what it is. seen: as in `fact_edits.put_subtitles`.
        Returns (those in whose place it is, the action or None when it was there already, warnings).
        Raises BadRequestError for what cannot be read, NotFoundError, StaleClipError, StoreUnavailableError.
        """
        file = given_subtitle_file(language, name, data)
        warnings = []
        if not self._keep_places:
            file, hidden = file.without_positions()
            warnings += [positions_left_out(hidden)] if hidden else []
        lines, late = within(file.lines, SourceVideoStore(self._database).load(source_video_id).duration_seconds)
        if not lines:
            why = "all its lines would begin after the end of the video" if late else "only positions are in it, which are not kept here"
            raise BadRequestError(f"{name[:80]} is not kept: {why}")
        if late:
            warnings.append(f"{counted(late, 'line')} would begin after the end of the video: not kept")
        file = replace(file, lines=lines)
        key = given_subtitle_key(source_video_id, file.language, file.suffix, hashlib.sha256(file.data).hexdigest())
        with self._stored(source_video_id, key, file.data):
            before, action = fact_edits.put_subtitles(source_video_id, key, file, reviewer=reviewer, database=self._database, seen=seen)
        return before, action, tuple(warnings)

    def put_thumbnail(self, source_video_id: int, name: str, data: bytes, *, reviewer: str, seen: str | None) -> int | None:
        """Make a picture the thumbnail; returns the action, None when it was that already. seen: key of the one that the person knows of.

        Raises BadRequestError, InvalidMediaError for what is no picture, NotFoundError, StaleClipError, StoreUnavailableError.
        """
        if len(data) > MOST_THUMBNAIL_BYTES:
            raise BadRequestError(f"{name[:80]} is larger than {MOST_THUMBNAIL_BYTES >> 20} MiB, which is too much for a thumbnail")
        jpeg = thumbnail_jpeg(data, called=name[:80])
        key = given_thumbnail_key(source_video_id, hashlib.sha256(jpeg).hexdigest())
        with self._stored(source_video_id, key, jpeg):
            return fact_edits.put_thumbnail(source_video_id, key, reviewer=reviewer, database=self._database, seen=seen)

    def take_subtitles(self, source_video_id: int, transcript_ids: Collection[int], *, reviewer: str) -> int:
        """As `fact_edits.take_subtitles`. The files stay."""
        return fact_edits.take_subtitles(source_video_id, transcript_ids, reviewer=reviewer, database=self._database)

    def take_thumbnail(self, source_video_id: int, *, reviewer: str, seen: str | None) -> int | None:
        """Take the thumbnail away; returns the action, None when there was none. Errors as for `put_thumbnail`."""
        return fact_edits.put_thumbnail(source_video_id, None, reviewer=reviewer, database=self._database, seen=seen)

    @contextmanager
    def _stored(self, source_video_id: int, key: str, data: bytes) -> Iterator[None]:
        """Store a file; in the body its row is written. Afterwards the files that no row names are deleted.

        All this is one turn, so that no file goes before its row is written. No row is locked while the object store answers, because
        reviewers would wait for that.
        """
        fact_edits.check_fetched(SourceVideoStore(self._database).load(source_video_id))
        with self._database.turn(fact_edits.given_files_turn(source_video_id)):
            put_missing(self._objects, key, data)
            try:
                yield
            finally:
                self._delete_unnamed(source_video_id)

    def _delete_unnamed(self, source_video_id: int) -> None:
        """What cannot be deleted now is deleted after the next change."""
        with suppress(HeatersError):
            with self._database.read() as connection:
                named = fact_edits.named_files(connection, source_video_id)
            for kind in ("subtitles", "thumbnails"):
                for found in list(self._objects.list(given_prefix(kind, source_video_id))):
                    if found.key not in named:
                        self._objects.delete(found.key)


def given_subtitle_file(language: str, name: str, data: bytes) -> SubtitleFile:
    """A file that a person gives, read. Raises BadRequestError for what cannot be read."""
    called, suffix = clean_line(PurePath(name).name) or "the file", PurePath(name).suffix.lower()
    said = checked_language(language)
    if suffix not in SUFFIXES:
        raise BadRequestError(f"{called[:80]} is no subtitle file that can be read: its name ends with one of {', '.join(SUFFIXES)}")
    if len(data) > MOST_BYTES:
        raise BadRequestError(f"{called[:80]} is larger than {MOST_BYTES >> 20} MiB, which is too much for subtitles")
    lines = lines_of(data)
    if not lines:
        raise BadRequestError(f"{called[:80]} has no lines with times, so it is no subtitle file that can be read")
    return SubtitleFile(PERSON, said, called[:100], suffix, data, lines)


def checked_language(said: str) -> str | None:
    """The language as it is stored; None for "und". Raises BadRequestError for what is none."""
    known = known_language(said)
    if known is None and said.strip().lower() != NO_LANGUAGE:
        raise BadRequestError(f"{said.strip()[:40]!r} is no language: write it as en, de or pt-BR, or {NO_LANGUAGE} when it is not said")
    return known


def in_language(known: Sequence[Transcript], language: str) -> list[Transcript]:
    """Those in this language; where there are none, those in a variant of it: en-GB for en."""
    wanted = language.strip().lower()
    exact = [one for one in known if (one.language or NO_LANGUAGE).lower() == wanted]
    return exact or [one for one in known if (one.language or "").lower().startswith(f"{wanted}-")]
