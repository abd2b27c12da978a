"""Takes sources in: each becomes a row in state `new`, which the pipeline then fetches, or is found to be there already.

Only what cannot even be tried is refused here: nothing at that path, an address that may not be fetched. A file that is no video is
taken in and fails as a row, where an operator sees the reason and can try again.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from heaters_dagster.domain.errors import BadRequestError, ForbiddenSourceError, HeatersError, InvalidMediaError, SourceNotFoundError
from heaters_dagster.domain.ingest import SourceKind, is_video_name, looks_like_address, source_kind, title_from_name, web_host
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.states import SourceVideoState
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.sources.address_guard import AddressGuard
from resources.sources.file_identity import KnownSources
from resources.sources.submit_places import SubmitPlaces


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of one source. video: its row, None when it was refused. told: a sentence for the submitter, the reason of a refusal."""

    source: str
    video: SourceVideo | None
    told: str

    @property
    def refused(self) -> bool:
        return self.video is None


def submit(
    sources: Sequence[str], videos: SourceVideoStore, *, guard: AddressGuard, places: SubmitPlaces | None = None
) -> list[Submission]:
    """Take each source in, in the order given; a folder stands for the video files in it and below it, by name.

    sources: paths of files and folders, relative ones to the current folder, and http, https and s3 addresses. One that is refused does not
    keep the others out. The same address, and the same bytes of a file under whatever name, are one source video: its row is given again,
    and if fetching it had failed it is tried again. Bytes behind addresses are compared when they are fetched.
    places: where files and objects must lie, None for anywhere.
    """
    known = KnownSources(videos)
    done: list[Submission] = []
    seen: set[str] = set()
    for source in dict.fromkeys(source.strip() for source in sources):
        try:
            accepted = [one for one in _accepted(source, guard, places) if one.source not in seen]
        except HeatersError as error:
            done.append(Submission(_printable(source), None, _printable(str(error))))
        except OSError as error:
            done.append(Submission(_printable(source), None, f"{_printable(source)} cannot be read: {error.strerror}"))
        else:
            seen.update(one.source for one in accepted)
            done += [_taken_in(one, known, videos) for one in accepted]
    return done


def _printable(source: str) -> str:
    """A path, or a sentence that names one, with the bytes that are no UTF-8 written as \\xNN."""
    return os.fsencode(source).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class _Accepted:
    """source: as it is stored. confined_to: the folder that its file must lie in whenever it is read."""

    source: str
    confined_to: str | None = None


def _taken_in(one: _Accepted, known: KnownSources, videos: SourceVideoStore) -> Submission:
    source = one.source
    if _printable(source) != source:
        return Submission(_printable(source), None, f"{_printable(source)}: its name is not UTF-8 and cannot be stored; rename it")
    same, identity = known.same_as(source, one.confined_to)
    if same is None:
        facts = identity.columns() if identity is not None else {}
        video = videos.add(source, title_from_name(source), confined_to=one.confined_to, **facts)
        return Submission(source, video, f"Submitted as source video {video.id}: {video.title}")
    shown = without_access(source)
    called = "" if same.source == source else f" ({without_access(same.source)})"
    if same.state is SourceVideoState.DOWNLOAD_FAILED:
        return Submission(
            source, videos.retry(same.id), f"{shown} is source video {same.id}{called}, which failed before: it is tried again"
        )
    return Submission(source, same, f"{shown} is the same as source video {same.id}{called}, which is {same.state}: nothing new to do")


def _accepted(source: str, guard: AddressGuard, places: SubmitPlaces | None) -> Iterator[_Accepted]:
    if looks_like_address(source):
        try:
            kind = source_kind(source)
        except ForbiddenSourceError as error:
            raise ForbiddenSourceError(f"{error}{_path_hint(source) if places is None else ''}") from None
        if kind is SourceKind.WEB_ADDRESS:
            guard.check_host(web_host(source) or "")
        elif places is not None:
            places.check_object(source)
        yield _Accepted(source)
        return
    if not source:
        raise BadRequestError("an empty name is not a source: give files, folders or addresses")
    if places is not None:
        yield from _confined(source, places)
        return
    path = Path(os.path.abspath(source))
    if path.is_dir():
        yield from (_Accepted(str(found)) for found in _videos_below(path))
    elif path.is_file():
        yield _Accepted(str(path))
    elif path.exists():
        raise InvalidMediaError(f"{path} is not an ordinary file; submit video files, folders or addresses")
    else:
        raise SourceNotFoundError(f"{path} is not there")


def _path_hint(source: str) -> str:
    """How to submit the file that is called like an address, or that a file: address names; empty when there is none."""
    scheme, _, rest = source.partition(":")
    named = unquote(rest.removeprefix("//"))
    for path in (f"./{source}", *([named] if scheme.lower() == "file" and named.startswith("/") else [])):
        if "\x00" not in path and os.path.exists(path):
            return f". For the {'folder' if os.path.isdir(path) else 'file'} of that name write {shlex.quote(path)}"
    return ""


def _confined(source: str, places: SubmitPlaces) -> Iterator[_Accepted]:
    """The file, or those below the folder, that lie in the allowed places; links that lead out of them are passed over."""
    named = places.checked_path(source)
    for path in _videos_below(named.path) if named.path.is_dir() else [named.path]:
        with suppress(OSError):  # gone since the folder was read
            found = places.inside(path)
            if found is not None and found.path.is_file():
                yield _Accepted(str(found.path), str(found.folder))


def _videos_below(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in sorted(names) if is_video_name(name)]
    if not found:
        raise InvalidMediaError(
            f"{folder} holds no video files (.mp4, .mov, .mkv, ...); a file with another name can be submitted by itself"
        )
    return [path for path in found if path.is_file()]
