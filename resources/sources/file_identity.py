"""Finds out whether a submitted file is a source video already: only by its path, or by equal bytes.

Two files are the same when all their bytes are equal. Most different files have different sizes, or different fingerprints (of the size and
of samples of the bytes). Only files with equal fingerprints are read whole, each of them once, because the hash is kept in the row.
Files are looked up many at a time, and compared with each other too, so that a thousand of them need a few dozen statements.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, any_, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.ingest import SourceKind, source_kind
from heaters_dagster.domain.source_facts import SourceFacts
from resources.object_store.s3 import ListedObject
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.postgres.submitted_videos import SubmittedVideos
from resources.postgres.tables import source_videos
from resources.sources.downloader import local_sha256, opened_source

_SAMPLES = 16
_SAMPLE_BYTES = 64 * 1024
#: Files of which samples are read at the same time.
_READERS = 8

_video = source_videos.c

_EACH = """
select wanted.place, video.* from unnest(
    cast(:places as integer[]), cast(:paths as text[]), cast(:fingerprints as text[]), cast(:sha256 as text[]), cast(:sizes as bigint[])
) as wanted (place, path, fingerprint, sha256, byte_size) cross join lateral ({parts}) as video
"""
_THERE = "select * from source_videos where duplicate_of_id is null and state <> 'deleted'"
_SAME_PATH = f"({_THERE} and original_bytes is null and source = wanted.path)"
#: For each file the rows that it might be: those that wait under its path, and up to two of each kind that only all bytes can tell from it.
_NEAR = text(
    _EACH.format(
        parts=f"""
    {_SAME_PATH}
    union all ({_THERE} and source_fingerprint = wanted.fingerprint
        and coalesce(original_bytes, wanted.byte_size) = wanted.byte_size limit 2)
    union all ({_THERE} and source_fingerprint is null and original_bytes = wanted.byte_size limit 2)
"""
    )
)
#: For each file whose hash is known the rows that hold its bytes, or did when their files were read, and those that wait under its path.
_OF_HASH = text(
    _EACH.format(
        parts=f"""
    {_SAME_PATH}
    union all ({_THERE} and original_bytes is null and source_fingerprint = wanted.fingerprint and source_sha256 = wanted.sha256)
    union all ({_THERE} and content_sha256 = wanted.sha256 and original_bytes = wanted.byte_size
        and coalesce(source_fingerprint, wanted.fingerprint) = wanted.fingerprint)
"""
    )
)


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What is known about a file without reading all of it, and the hash of all its bytes when that was needed.

    modified_ns: since 1970; when the size or the time of the last change differs, the file must be examined again. fingerprint: see
    `fingerprint`.
    """

    byte_size: int
    modified_ns: int
    fingerprint: str
    sha256: str | None = None

    def columns(self) -> dict[str, Any]:
        """The values for the columns of `source_videos`."""
        return {
            "source_bytes": self.byte_size,
            "source_modified_ns": self.modified_ns,
            "source_fingerprint": self.fingerprint,
            "source_sha256": self.sha256,
        }


def fingerprint(path: Path) -> str:
    """Hex SHA-256 of a file's size and of samples of its bytes: the beginning, the end, and places between; all bytes of a small file."""
    with path.open("rb") as file:
        return _fingerprint(file)


def file_identity(path: Path, *, confined_to: str | None = None) -> FileIdentity:
    """confined_to: as for `local_sha256`. Raises OSError and HeatersError."""
    with opened_source(path, confined_to) as file:
        found = os.fstat(file.fileno())
        return FileIdentity(found.st_size, found.st_mtime_ns, _fingerprint(file))


def _fingerprint(file: BufferedReader) -> str:
    byte_size = os.fstat(file.fileno()).st_size
    return sampled_fingerprint(byte_size, lambda start, end: os.pread(file.fileno(), end - start, start))


def sampled_fingerprint(byte_size: int, read: Callable[[int, int], bytes]) -> str:
    """As `fingerprint`, of a file that is read by ranges. read: gives the bytes `[start, end)`."""
    digest = hashlib.sha256(f"{byte_size}:".encode())
    if byte_size <= _SAMPLES * _SAMPLE_BYTES:
        digest.update(read(0, _SAMPLES * _SAMPLE_BYTES))
    else:
        for sample in range(_SAMPLES):
            start = (byte_size - _SAMPLE_BYTES) * sample // (_SAMPLES - 1)
            digest.update(read(start, start + _SAMPLE_BYTES))
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Match:
    """What a source that is submitted is already.

    video: the row of the same address or the same bytes, the oldest one. like: the place of an earlier one of the same list with the same
    bytes, which has no row yet. Both None: it is new. identity: what is known of the file; None for addresses and for a file that cannot be
    read: fetching says why.
    """

    video: SourceVideo | None = None
    like: int | None = None
    identity: FileIdentity | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A source as somebody submits it: a path of a file or folder, or an address, and what is said of it.

    title: None when the source has to give one. facts: of a folder, they hold for each of its files. chapters_as_cuts: its chapters begin
    clips. has_changed: other bytes lie at this address than those that were fetched from it, so they are another source video.
    """

    source: str
    title: str | None = None
    facts: SourceFacts = SourceFacts()
    chapters_as_cuts: bool = False
    has_changed: bool = False

    def filled_with(self, other: Wanted) -> Wanted:
        """The same source, and what `other` says of it that is not said here."""
        return replace(
            self,
            title=self.title or other.title,
            facts=self.facts.filled_with(other.facts),
            chapters_as_cuts=self.chapters_as_cuts or other.chapters_as_cuts,
            has_changed=self.has_changed or other.has_changed,
        )


@dataclass(frozen=True, slots=True)
class NamedSource:
    """A source as it is stored. confined_to: the folder that its file must lie in whenever it is read, None when it may lie anywhere.

    wanted: what was submitted; of a folder, the folder. listed: the object, when a listing of its bucket has named it.
    holder_id: the source video that has the bytes of the object as it is now.
    """

    source: str
    confined_to: str | None = None
    wanted: Wanted = field(default_factory=lambda: Wanted(""))
    listed: ListedObject | None = None
    holder_id: int | None = None


class KnownSources:
    """The existing source videos, for comparison with a new source."""

    def __init__(self, videos: SourceVideoStore) -> None:
        self._videos = videos
        self._submitted = SubmittedVideos(videos.database)
        #: Fingerprints that several files share: the waiting files with them have their hashes, so the next such file is read whole at
        #: once.
        self._shared: set[str] = set()
        self._identify_older_rows()

    def same_as(self, sources: Sequence[NamedSource]) -> list[Match]:
        """For each of them, no two of which are called the same, what it is."""
        identities = _identities(sources)
        found = self._matches_of_files(sources, identities)
        changed = {one.source for one in sources if one.wanted.has_changed}
        known = [one.source for place, one in enumerate(sources) if place not in found and one.source not in changed]
        named = self._submitted.first_of_sources(known)
        addresses = [one for one in known if one not in named and source_kind(one) is not SourceKind.LOCAL_PATH]
        named |= self._submitted.firsts_of_duplicates(addresses)
        if changed:
            waiting = self._waiting(_video.source == any_(literal(sorted(changed), ARRAY(Text))))
            named |= {video.source: video for video in waiting}
        holders = {one.source: one.holder_id for one in sources if one.holder_id is not None}
        if holders:
            held = {video.id: video for video in self._videos.find(select(source_videos).where(_video.id.in_(holders.values())))}
            named |= {source: held[holder_id] for source, holder_id in holders.items() if holder_id in held}
        of_site = self._submitted.first_of_site_ids([name for one in sources if (name := _site_name(one)) is not None])
        return [
            found.get(place) or Match(named.get(one.source) or of_site.get(_site_name(one) or ("", "")))
            for place, one in enumerate(sources)
        ]

    def has_like_since(self, newest_id: int, sources: Sequence[NamedSource], matches: Sequence[Match]) -> bool:
        """Whether somebody has added a source video since `newest_id` was the newest that one of these could be. Reads no file."""
        fingerprints = [match.identity.fingerprint for match in matches if match.identity is not None]
        named = _video.source.in_([one.source for one in sources]) | _video.source_fingerprint.in_(fingerprints)
        if self._videos.find(select(source_videos).where(_video.id > newest_id, named).limit(1)):
            return True
        of_site = self._submitted.first_of_site_ids([name for one in sources if (name := _site_name(one)) is not None])
        return any(video.id > newest_id for video in of_site.values())

    def _matches_of_files(self, sources: Sequence[NamedSource], identities: Mapping[int, FileIdentity]) -> dict[int, Match]:
        """By place; a file that cannot be read is left out."""
        near = self._submitted.find_for_each(_NEAR, _wanted(sources, identities))
        alike = Counter(identity.fingerprint for identity in identities.values())
        found: dict[int, Match] = {}
        to_read: dict[int, FileIdentity] = {}
        for place, identity in identities.items():
            rows = near.get(place, [])
            under_path = [video for video in rows if video.source == sources[place].source and video.original_bytes is None]
            is_shared = alike[identity.fingerprint] > 1 or identity.fingerprint in self._shared
            if identity.byte_size and (is_shared or len(under_path) < len(rows)):
                to_read[place] = identity
            else:
                # Nearly always new, or the one that waits under this path: then no file is read whole. Empty files are all alike.
                found[place] = Match(next(iter(under_path), None), identity=identity)
        return found | self._matches_by_hash(sources, to_read)

    def _matches_by_hash(self, sources: Sequence[NamedSource], identities: Mapping[int, FileIdentity]) -> dict[int, Match]:
        """By place, of files that are compared by all their bytes."""
        shared = {identity.fingerprint for identity in identities.values()} - self._shared
        alike = _video.source_fingerprint == any_(literal(sorted(shared), ARRAY(Text)))
        for video in self._waiting(alike, _video.source_sha256.is_(None)) if shared else []:
            self._identified(video, whole=True)
        self._shared |= shared
        read: dict[int, FileIdentity] = {}
        for place, identity in identities.items():
            with suppress(OSError, HeatersError):
                sha256 = local_sha256(Path(sources[place].source), confined_to=sources[place].confined_to)
                read[place] = replace(identity, sha256=sha256)
        rows = self._submitted.find_for_each(_OF_HASH, _wanted(sources, read))
        first: dict[tuple[str, str | None], int] = {}
        found: dict[int, Match] = {}
        for place, identity in read.items():
            same = next((video for video in rows.get(place, []) if self._has_still(video, sources[place].source, identity.sha256)), None)
            like = place if same is not None else first.setdefault((identity.fingerprint, identity.sha256), place)
            found[place] = Match(same, like if like != place else None, identity)
        return found

    def _has_still(self, video: SourceVideo, path: str, sha256: str | None) -> bool:
        """Whether a source video that was found by path or hash has these bytes. The file of a waiting one may have changed."""
        if video.original_bytes is not None or video.source == path:
            return True
        if source_kind(video.source) is SourceKind.S3_ADDRESS:  # an upload: nobody writes to it again
            return video.source_sha256 == sha256
        now = self._identified(video, whole=True)
        return now is not None and now.sha256 == sha256

    def _identify_older_rows(self) -> None:
        """Rows that were submitted before fingerprints were kept get theirs."""
        for video in self._waiting(_video.source_fingerprint.is_(None), _video.source.startswith("/")):
            self._identified(video)

    def _identified(self, video: SourceVideo, *, whole: bool = False) -> FileIdentity | None:
        """What is known about the file that a row names; found out again, and stored, when the file has changed.

        None: it cannot be read.
        """
        path = Path(video.source)
        try:
            with opened_source(path, video.confined_to) as file:
                found = os.fstat(file.fileno())
            if (found.st_size, found.st_mtime_ns) == (video.source_bytes, video.source_modified_ns):
                known = FileIdentity(found.st_size, found.st_mtime_ns, video.source_fingerprint or "", video.source_sha256)
            else:
                known = file_identity(path, confined_to=video.confined_to)
            if whole and known.sha256 is None:
                known = replace(known, sha256=local_sha256(path, confined_to=video.confined_to))
        except (OSError, HeatersError):
            return None
        if known.columns() != {name: getattr(video, name) for name in known.columns()}:
            self._videos.update(video.id, **known.columns())
        return known

    def _waiting(self, *conditions: ColumnElement[bool]) -> list[SourceVideo]:
        """Rows whose files are not fetched yet."""
        not_fetched = (_video.original_bytes.is_(None), _video.duplicate_of_id.is_(None))
        return self._videos.find(select(source_videos).where(*not_fetched, *conditions).order_by(_video.id))


def _site_name(one: NamedSource) -> tuple[str, str] | None:
    """(site, its name of the video), where whoever submits it knows them."""
    site, site_id = one.wanted.facts.site, one.wanted.facts.site_id
    return (site, site_id) if site and site_id else None


def _identities(sources: Sequence[NamedSource]) -> dict[int, FileIdentity]:
    """Of the files among them, by place; one that cannot be read is left out. Several are read at once: on a network each waits long."""
    files = {place: one for place, one in enumerate(sources) if source_kind(one.source) is SourceKind.LOCAL_PATH}

    def of(one: NamedSource) -> FileIdentity | None:
        with suppress(OSError, HeatersError):
            return file_identity(Path(one.source), confined_to=one.confined_to)
        return None

    if not files:
        return {}
    with ThreadPoolExecutor(min(_READERS, len(files))) as readers:
        found = dict(zip(files, readers.map(of, files.values()), strict=True))
    return {place: identity for place, identity in found.items() if identity is not None}


def _wanted(sources: Sequence[NamedSource], identities: Mapping[int, FileIdentity]) -> dict[str, list[Any]]:
    """The files of these places as parameters of `_NEAR` and `_OF_HASH`."""
    files = identities.values()
    return {
        "places": list(identities),
        "paths": [sources[place].source for place in identities],
        "fingerprints": [file.fingerprint for file in files],
        "sha256": [file.sha256 for file in files],
        "sizes": [file.byte_size for file in files],
    }
