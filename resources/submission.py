"""Takes sources in: each becomes a row in state `new`, which the pipeline then fetches. What can be refused cheaply is refused here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from heaters_dagster.domain.errors import InvalidMediaError, SourceNotFoundError
from heaters_dagster.domain.ingest import SourceKind, is_video_name, looks_like_address, source_kind, title_from_name, web_host
from resources.address_guard import AddressGuard
from resources.source_video_store import SourceVideo, SourceVideoStore


@dataclass(frozen=True, slots=True)
class Submission:
    """video: the new row. earlier: the newest row that came from the same path or address before, None when there is none."""

    video: SourceVideo
    earlier: SourceVideo | None

    @property
    def message(self) -> str:
        """What the submitter is told."""
        taken = f"Submitted as source video {self.video.id}: {self.video.title}"
        if self.earlier is None:
            return taken
        return (
            f"{taken}. It came before, as source video {self.earlier.id} ({self.earlier.state}): if it is the same file, that one is used"
        )


def submit(sources: Sequence[str], videos: SourceVideoStore, *, guard: AddressGuard) -> list[Submission]:
    """One row per source, in the order given; a folder stands for the video files in it and below it, by name.

    sources: paths of files and folders, relative ones to the current folder, and http, https and s3 addresses. Nothing is submitted when
    one of them is refused: SourceNotFoundError, ForbiddenSourceError, InvalidMediaError name it and the reason.
    The same bytes under another name are found out when they are fetched.
    """
    accepted = list(dict.fromkeys(one for source in sources for one in _accepted(source.strip(), guard)))
    return [Submission(earlier=_earlier(source, videos), video=videos.add(source, title_from_name(source))) for source in accepted]


def _accepted(source: str, guard: AddressGuard) -> Iterator[str]:
    if looks_like_address(source):
        if source_kind(source) is SourceKind.WEB_ADDRESS:
            guard.check_host(web_host(source) or "")
        yield source
        return
    path = Path(os.path.abspath(source))
    if path.is_dir():
        yield from _videos_below(path)
        return
    _check_file(path)
    yield str(path)


def _videos_below(folder: Path) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in sorted(names) if is_video_name(name)]
    if not found:
        raise InvalidMediaError(
            f"{folder} holds no video files (.mp4, .mov, .mkv, ...); a file with another name can be submitted by itself"
        )
    for path in found:
        _check_file(path)
    return [str(path) for path in found]


def _check_file(path: Path) -> None:
    if not path.exists():
        raise SourceNotFoundError(f"{path} is not there")
    if not path.is_file():
        raise InvalidMediaError(f"{path} is no ordinary file; submit video files, folders or addresses")
    if not os.access(path, os.R_OK):
        raise SourceNotFoundError(f"{path} cannot be read: permission denied")
    if path.stat().st_size == 0:
        raise InvalidMediaError(f"{path} is empty (0 bytes)")


def _earlier(source: str, videos: SourceVideoStore) -> SourceVideo | None:
    return max((video for video in videos.load_all(text=source) if video.source == source), key=lambda video: video.id, default=None)
