"""Shared by all ways of fetching a source: the result, its hash, and progress in bytes."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from heaters_dagster.domain.progress import Progress, Report
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.subtitles import SubtitleFile

CHUNK_BYTES = 1 << 20
_REPORT_INTERVAL_SECONDS = 0.5


def begun_name(source_video_id: int) -> str:
    """The name of the work folder in which a source video is fetched."""
    return f"source_video-{source_video_id}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A source that was fetched into a folder of Heaters. sha256: hex, of the file's bytes. name: its file name at the source.

    warnings: sentences about unusual things, for the row. facts: what the source says of it. subtitles: those that the site has.
    thumbnail: a JPEG.
    """

    path: Path
    byte_size: int
    sha256: str
    name: str
    title: str
    warnings: tuple[str, ...] = ()
    facts: SourceFacts = SourceFacts()
    subtitles: tuple[SubtitleFile, ...] = ()
    thumbnail: bytes | None = None


class ByteMeter:
    """Call it with (bytes so far, bytes in all or None) as often as you like: `report` is called twice a second."""

    def __init__(self, report: Report, stage: str = "download") -> None:
        self._report = report
        self._stage = stage
        self._started = time.monotonic()
        self._last = 0.0

    def __call__(self, done: float, total: float | None) -> None:
        elapsed = time.monotonic() - self._started
        if elapsed - self._last >= _REPORT_INTERVAL_SECONDS or (total is not None and done >= total):
            self._last = elapsed
            self._report(Progress(self._stage, done, total, "bytes", elapsed))


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
