"""Which source video a submitted file already is: by its path, by its bytes when they are the same, and by nothing else.

Two files are the same when all their bytes are. Most that differ are told apart by their size, or by a fingerprint of it and of samples of
the bytes; only where the fingerprints agree are the files read whole, each of them once, because the hash is kept in its row.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.ingest import SourceKind, source_kind
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.postgres.tables import source_videos
from resources.sources.downloader import local_sha256, opened_source

_SAMPLES = 16
_SAMPLE_BYTES = 64 * 1024

_video = source_videos.c
_is_open = and_(_video.original_bytes.is_(None), _video.duplicate_of_id.is_(None))


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What is known of a file without reading it whole, and the hash of all its bytes once that was needed.

    modified_ns: since 1970; a file whose size or time of change is another has to be looked at anew. fingerprint: see `fingerprint`.
    """

    byte_size: int
    modified_ns: int
    fingerprint: str
    sha256: str | None = None

    def columns(self) -> dict[str, Any]:
        """As `source_videos` keeps it."""
        return {
            "source_bytes": self.byte_size,
            "source_modified_ns": self.modified_ns,
            "source_fingerprint": self.fingerprint,
            "source_sha256": self.sha256,
        }


def fingerprint(path: Path) -> str:
    """Hex SHA-256 of a file's size and of samples of its bytes: its beginning, its end, and places in between; of all when it is small."""
    with path.open("rb") as file:
        return _fingerprint(file)


def file_identity(path: Path, *, confined_to: str | None = None) -> FileIdentity:
    """confined_to: as for `local_sha256`. Raises OSError and HeatersError."""
    with opened_source(path, confined_to) as file:
        found = os.fstat(file.fileno())
        return FileIdentity(found.st_size, found.st_mtime_ns, _fingerprint(file))


def _fingerprint(file: BufferedReader) -> str:
    byte_size = os.fstat(file.fileno()).st_size
    digest = hashlib.sha256(f"{byte_size}:".encode())
    if byte_size <= _SAMPLES * _SAMPLE_BYTES:
        digest.update(file.read(_SAMPLES * _SAMPLE_BYTES))
    else:
        for sample in range(_SAMPLES):
            digest.update(os.pread(file.fileno(), _SAMPLE_BYTES, (byte_size - _SAMPLE_BYTES) * sample // (_SAMPLES - 1)))
    return digest.hexdigest()


class KnownSources:
    """The source videos there are, by what a new source can have in common with one."""

    def __init__(self, videos: SourceVideoStore) -> None:
        self._videos = videos
        #: Fingerprints that several files share: all those that wait have their hashes, so the next file is read whole at once.
        self._shared: set[str] = set()
        self._identify_older_rows()

    def same_as(self, source: str, confined_to: str | None = None) -> tuple[SourceVideo | None, FileIdentity | None]:
        """(the row of the same address or the same bytes, the oldest one, or None; what is known of the file, None for addresses and for
        a file that cannot be read: fetching says why).
        """
        if source_kind(source) is not SourceKind.LOCAL_PATH:
            return self._first(_video.source == source), None
        path = Path(source)
        try:
            identity = file_identity(path, confined_to=confined_to)
            return self._of_bytes(path, identity, confined_to)
        except (OSError, HeatersError):
            return self._first(_video.source == source), None

    def _of_bytes(self, path: Path, identity: FileIdentity, confined_to: str | None) -> tuple[SourceVideo | None, FileIdentity]:
        same_path = and_(_is_open, _video.source == str(path))
        alike = and_(_is_open, _video.source_fingerprint == identity.fingerprint)
        fetched = and_(
            _video.original_bytes == identity.byte_size,
            or_(_video.source_fingerprint.is_(None), _video.source_fingerprint == identity.fingerprint),
        )
        if not identity.byte_size:
            return self._first(same_path), identity
        if identity.fingerprint not in self._shared:
            # Nearly always none, or the one that waits under this path: then no file is read whole. Not in order, which would read all.
            few = self._videos.find(_not_duplicates(or_(same_path, alike, fetched)).limit(2))
            if not few or (len(few) == 1 and few[0].source == str(path) and few[0].original_bytes is None):
                return next(iter(few), None), identity
            for video in self._all(alike, _video.source_sha256.is_(None)):
                self._identified(video, whole=True)
            self._shared.add(identity.fingerprint)
        sha256 = local_sha256(path, confined_to=confined_to)
        hashed = or_(and_(fetched, _video.content_sha256 == sha256), and_(alike, _video.source_sha256 == sha256), same_path)
        same = (video for video in self._all(hashed) if self._has_still(video, path, sha256))
        return next(same, None), replace(identity, sha256=sha256)

    def _has_still(self, video: SourceVideo, path: Path, sha256: str) -> bool:
        """Whether a source video that was found by path or hash holds these bytes. The file of one that waits may have changed."""
        if video.original_bytes is not None or video.source == str(path):
            return True
        now = self._identified(video, whole=True)
        return now is not None and now.sha256 == sha256

    def _identify_older_rows(self) -> None:
        """Rows that were submitted before fingerprints were kept get theirs."""
        for video in self._all(_is_open, _video.source_fingerprint.is_(None), _video.source.startswith("/")):
            self._identified(video)

    def _identified(self, video: SourceVideo, *, whole: bool = False) -> FileIdentity | None:
        """What is known of the file that a row names, taken anew when the file has changed, and kept. None: it cannot be read."""
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

    def _first(self, *conditions: ColumnElement[bool]) -> SourceVideo | None:
        return next(iter(self._all(*conditions, limit=1)), None)

    def _all(self, *conditions: ColumnElement[bool], limit: int | None = None) -> list[SourceVideo]:
        return self._videos.find(_not_duplicates(*conditions).order_by(_video.id).limit(limit))


def _not_duplicates(*conditions: ColumnElement[bool]) -> Select[Any]:
    return select(source_videos).where(_video.duplicate_of_id.is_(None), *conditions)
