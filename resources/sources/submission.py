"""Accepts sources: each becomes a row in state `new`, which the pipeline then fetches, unless it is a source video already.

Only what cannot even be tried is refused here: a path without a file, an address that may not be fetched. A file that is not a video is
accepted and fails later, so that an operator sees the reason on its row and can try again.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from heaters_dagster.domain.errors import (
    BadRequestError,
    ForbiddenSourceError,
    HeatersError,
    IllegalTransitionError,
    InvalidMediaError,
    NotFoundError,
    SourceNotFoundError,
)
from heaters_dagster.domain.fact_fields import fact_words
from heaters_dagster.domain.folder_choice import FolderChoice
from heaters_dagster.domain.ingest import SourceKind, clean_title, looks_like_address, source_kind, title_from_name, web_host
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.domain.words import video_state_words
from resources.files.ordinary_file import other_kind
from resources.postgres.related_videos import RelatedVideos
from resources.postgres.source_video_store import AlsoWritten, SourceVideo, SourceVideoStore
from resources.sources.address_guard import AddressGuard
from resources.sources.file_identity import FileIdentity, KnownSources, Match, NamedSource, Wanted, file_identity
from resources.sources.kept_files import Keep
from resources.sources.object_prefixes import ListObjects, is_object_pattern, is_own_object, objects_below, with_changes
from resources.sources.submit_places import SubmitPlaces

#: How many sources are looked up and stored together.
_AT_ONCE = 100
#: Two people, or a person and a subscription, may submit the same at the same moment: rows are added by one process at a time.
_ADDING = "submission"
#: A process that stopped in the middle of it holds up the others for so long. Without a turn an address may be fetched twice; its bytes are
#: still found to be the same then.
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Submission:
    """The result for one source. video: its row; None when it was refused. told: a sentence for the submitter; for a refusal the reason."""

    source: str
    video: SourceVideo | None
    told: str

    @property
    def refused(self) -> bool:
        return self.video is None


def submit(
    sources: Sequence[str | Wanted],
    videos: SourceVideoStore,
    *,
    guard: AddressGuard,
    places: SubmitPlaces | None = None,
    choice: FolderChoice = FolderChoice(),
    list_objects: ListObjects | None = None,
    by_force: RelatedVideos | None = None,
    own_folders: Collection[Path] = (),
    own_bucket: str | None = None,
    also: AlsoWritten | None = None,
    keep: Keep | None = None,
) -> list[Submission]:
    """Accept each source, in the order given; a folder means the video files in it and below it, by name, and so does the prefix of a
    bucket (`s3://bucket/prefix/`, `s3://bucket/day*`).

    sources: paths of files and folders, relative ones to the current folder, and http, https and s3 addresses; as Wanted with what is
    said of them. A refused one does not stop the others. The same address, the same video of a site, and the same bytes of a file under
    whatever name, are one source video: its row is given again, and if fetching it had failed it is tried again. Bytes behind addresses
    are compared when they are fetched. A web address is one source video: `resources/sources/web_list.py` makes many of a list.
    places: where files and objects must lie, None for anywhere. choice: of what lies below folders and prefixes. list_objects: gives the
    objects below a prefix, also to see whether one was replaced: then it is a new source video; None: prefixes are refused. by_force: each
    becomes a source video of its own, and a link is written here to the one that it is the same as; None: not by force. own_folders,
    own_bucket: where Heaters keeps its own files, folders without links on the way; those are refused, and left out of what lies below a
    folder. also: writes what belongs to the new ones, in the transaction that adds them. keep: puts each new file where every machine finds
    it; a file for which that fails is refused.
    """
    doors = _Doors(_OncePerHost(guard), places, choice, list_objects, own_folders, own_bucket)
    found: list[Submission | NamedSource] = []
    seen: dict[str, int] = {}
    for source, wanted in _first_of_each(sources).items():
        try:
            accepted = list(_accepted(source, doors))
            if len(accepted) > 1:
                wanted = _for_many(wanted, len(accepted), doors)
            accepted = [replace(one, wanted=wanted) for one in accepted]
        except HeatersError as error:
            found.append(Submission(_printable(source), None, _printable(str(error))))
        except OSError as error:
            found.append(Submission(_printable(source), None, f"{_printable(source)} cannot be read: {error.strerror}"))
        else:
            for one in accepted:
                earlier = found[seen[one.source]] if one.source in seen else None
                if isinstance(earlier, NamedSource):
                    found[seen[one.source]] = replace(earlier, wanted=earlier.wanted.filled_with(wanted))
                elif earlier is None:
                    seen[one.source] = len(found)
                    found.append(_not_utf8(one.source) if _printable(one.source) != one.source else one)
        found += [_unread(error) for error in doors.unread]
        found += [Submission(_printable(source), None, sentence) for sentence in doors.left_out]
        doors.unread.clear()
        doors.left_out.clear()
    taken = _taken_in([one for one in found if isinstance(one, NamedSource)], videos, by_force, list_objects, also, keep)
    return [next(taken) if isinstance(one, NamedSource) else one for one in found]


def _first_of_each(sources: Sequence[str | Wanted]) -> dict[str, Wanted]:
    """Path or address -> what is said of it; when several differ, the first is right."""
    first: dict[str, Wanted] = {}
    for one in sources:
        wanted = one if isinstance(one, Wanted) else Wanted(one)
        source = wanted.source.strip()
        first[source] = first[source].filled_with(wanted) if source in first else wanted
    return first


def _for_many(wanted: Wanted, count: int, doors: _Doors) -> Wanted:
    """What is said of a folder or prefix with several videos: a title and an own id belong to one. What is left out is told."""
    said = [name for name, value in (("title", wanted.title), ("own id", wanted.facts.external_id)) if value]
    if said:
        names, is_one = " and ".join(said), len(said) == 1
        doors.left_out.append(
            f"{without_access(wanted.source.strip())} has {count:,} videos, so the {names} {'was' if is_one else 'were'} left out: "
            f"{'it belongs' if is_one else 'they belong'} to one video. All else that is said was kept with each of them"
        )
    return replace(wanted, title=None, facts=replace(wanted.facts, external_id=None))


def _printable(source: str) -> str:
    """A path, or a sentence that names one, with the bytes that are no UTF-8 written as \\xNN."""
    return os.fsencode(source).decode("utf-8", "backslashreplace")


def _not_utf8(source: str) -> Submission:
    shown = _printable(source)
    return Submission(shown, None, f"{shown}: its name is not UTF-8 and cannot be stored; rename the file")


def _unread(error: OSError) -> Submission:
    """For a folder within the one that was submitted."""
    shown = _printable(str(error.filename))
    return Submission(shown, None, f"{shown} cannot be read: {error.strerror}; nothing in it was submitted")


def _taken_in(
    sources: Sequence[NamedSource],
    videos: SourceVideoStore,
    by_force: RelatedVideos | None,
    list_objects: ListObjects | None,
    also: AlsoWritten | None,
    keep: Keep | None,
) -> Iterator[Submission]:
    """What became of each, in the order given. Some at a time are looked up and stored: one by one, a thousand took three times as long.

    Of files that are sent to a bucket work begins with the first one while the others are on their way.
    """
    known = KnownSources(videos)
    at_once = _AT_ONCE if keep is None else 1
    for start in range(0, len(sources), at_once):
        some = sources[start : start + at_once]
        if list_objects is not None and by_force is None:
            some = with_changes(some, videos, list_objects)
        try:
            matches, added = _added(some, known, videos, forced=by_force is not None, also=also, keep=keep)
        except _NotKeptError as error:
            yield Submission(some[0].source, None, f"{error}. Submit it again: it goes on where it stopped")
            continue
        tried_again: dict[int, SourceVideo] = {}
        for place, (one, match) in enumerate(zip(some, matches, strict=True)):
            if place in added:
                video = added[place]
                first = match.video or added.get(-1 if match.like is None else match.like)
                told = f"Submitted as source video {video.id}: {video.title}"
                if one.wanted.has_changed:
                    told += ". The object was replaced since it was last submitted"
                if by_force is not None and first is not None:
                    by_force.link_again(video.id, first.id)
                    told = f"Submitted again as source video {video.id}: {video.title}. It is the same as source video {first.id}"
                yield Submission(one.source, video, told)
                continue
            same = match.video or added[match.like or 0]
            try:
                result = _taken_before(one, tried_again.get(same.id, same), videos)
            except NotFoundError as error:  # deleted since it was looked up
                yield Submission(one.source, None, f"{without_access(one.source)}: {error}")
                continue
            tried_again[same.id] = result.video or same
            yield result


def _taken_before(one: NamedSource, same: SourceVideo, videos: SourceVideoStore) -> Submission:
    """What is told of a source that is a source video already. One that has failed is tried again. Raises NotFoundError."""
    shown = without_access(one.source)
    called = "" if same.source == one.source else f" ({without_access(same.source)})"
    new_facts = videos.add_facts(same.id, one.wanted.facts) if one.wanted.facts.said() else ()
    kept = f"what is new of it is kept: {', '.join(map(fact_words, new_facts))}" if new_facts else ""
    if same.state is not SourceVideoState.DOWNLOAD_FAILED:
        told = f"{shown} is already source video {same.id}{called}, {video_state_words(same.state)}: {kept or 'nothing to do'}"
        return Submission(one.source, same, told)
    try:
        again = videos.retry(same.id)
    except IllegalTransitionError:  # somebody else has just done so
        again = videos.load(same.id)
    told = f"{shown} is already source video {same.id}{called}, which has failed; it is tried again"
    return Submission(one.source, again, "; ".join(filter(None, (told, kept))))


def _added(
    some: Sequence[NamedSource],
    known: KnownSources,
    videos: SourceVideoStore,
    *,
    forced: bool,
    also: AlsoWritten | None,
    keep: Keep | None,
) -> tuple[list[Match], dict[int, SourceVideo]]:
    """(what each of them is already, the new rows by place). Files are read before the turn: in it there are only a few statements."""
    kept: dict[int, tuple[str, FileIdentity]] = {}
    while True:
        newest = videos.newest_id()
        matches = known.same_as(some)
        new = [place for place, match in enumerate(matches) if forced or (match.video is None and match.like is None)]
        for place in new:
            if keep is not None and place not in kept and source_kind(some[place].source) is SourceKind.LOCAL_PATH:
                kept[place] = _kept(some[place], matches[place].identity, keep)
        columns = [_row(some[place], matches[place].identity, forced=forced, kept=kept.get(place)) for place in new]
        with videos.database.turn(_ADDING, patience_seconds=_PATIENCE_SECONDS):
            if forced or not known.has_like_since(newest, [some[place] for place in new], [matches[place] for place in new]):
                rows = videos.add_all(columns, [some[place].wanted.facts for place in new], also=also)
                return matches, dict(zip(new, rows, strict=True))


class _NotKeptError(HeatersError):
    pass


def _kept(one: NamedSource, identity: FileIdentity | None, keep: Keep) -> tuple[str, FileIdentity]:
    path = Path(one.source)
    try:
        return keep(path, identity or file_identity(path, confined_to=one.confined_to), one.confined_to)
    except (HeatersError, OSError) as error:
        told = error if isinstance(error, HeatersError) else f"{path} cannot be read: {error.strerror}"
        raise _NotKeptError(f"{told}") from error


def _row(one: NamedSource, identity: FileIdentity | None, *, forced: bool, kept: tuple[str, FileIdentity] | None = None) -> dict[str, Any]:
    source, identity = kept or (one.source, identity)
    facts = identity.columns() if identity is not None else dict.fromkeys(FileIdentity(0, 0, "").columns())
    title = clean_title(one.wanted.title or "") or title_from_name(one.source)
    chapters = {"chapters_as_cuts": one.wanted.chapters_as_cuts}
    return {"source": source, "title": title, "confined_to": None if kept else one.confined_to, "forced": forced, **chapters, **facts}


@dataclass(frozen=True, slots=True)
class _Doors:
    """What decides on a source. The fields are as for `submit`.

    unread: gets the errors of folders that cannot be read. left_out: gets sentences about what was left out.
    """

    guard: AddressGuard
    places: SubmitPlaces | None
    choice: FolderChoice
    list_objects: ListObjects | None
    own_folders: Collection[Path]
    own_bucket: str | None
    unread: list[OSError] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


class _OncePerHost(AddressGuard):
    """Asks another guard about each host once: a list of a thousand videos of one site needs one answer."""

    def __init__(self, guard: AddressGuard) -> None:
        super().__init__(allow_private=guard.allow_private)
        self._guard = guard
        self._answers: dict[str, ForbiddenSourceError | None] = {}

    def check_host(self, host: str) -> None:
        if host not in self._answers:
            try:
                self._guard.check_host(host)
            except ForbiddenSourceError as error:
                self._answers[host] = error
            else:
                self._answers[host] = None
        refusal = self._answers[host]
        if refusal is not None:
            raise ForbiddenSourceError(*refusal.args)


def _accepted(source: str, doors: _Doors) -> Iterator[NamedSource]:
    if looks_like_address(source):
        yield from _accepted_address(source, doors)
        return
    if not source:
        raise BadRequestError("a source cannot be empty: write files, folders or addresses")
    if doors.places is not None:
        yield from _confined(source, doors.places, doors)
        return
    path = Path(os.path.abspath(source))
    if path.is_dir():
        yield from (NamedSource(str(found)) for found in _videos_below(path, doors))
    elif path.is_file():
        _check_not_own(path, doors)
        yield NamedSource(str(path))
    elif path.exists():
        raise InvalidMediaError(f"{path} is {other_kind(path.stat().st_mode)}; submit video files, folders or addresses")
    else:
        raise SourceNotFoundError(f"there is no file or folder {path} on this machine")


def _accepted_address(source: str, doors: _Doors) -> Iterator[NamedSource]:
    if is_object_pattern(source) and doors.list_objects is not None:
        yield from objects_below(source, doors.places, doors.choice, doors.list_objects, doors.left_out)
        return
    try:
        kind = source_kind(source)
    except ForbiddenSourceError as error:
        raise ForbiddenSourceError(f"{error}{_path_hint(source) if doors.places is None else ''}") from None
    if kind is SourceKind.WEB_ADDRESS:
        doors.guard.check_host(web_host(source) or "")
    elif doors.places is not None:
        doors.places.check_object(source)
    if kind is SourceKind.S3_ADDRESS and is_own_object(source, doors.own_bucket):
        raise BadRequestError(f"{source} is an object that Heaters itself keeps; a copy under another key can be submitted")
    yield NamedSource(source)


def _check_not_own(path: Path, doors: _Doors) -> None:
    real = Path(os.path.realpath(path))
    if any(real.is_relative_to(own) for own in doors.own_folders):
        raise BadRequestError(f"{path} is a file that Heaters itself keeps; a copy of it in another folder can be submitted")


def _path_hint(source: str) -> str:
    """How to submit a file with a name like an address, or the file that a file: address names; empty when there is none."""
    scheme, _, rest = source.partition(":")
    named = unquote(rest.removeprefix("//"))
    for path in (f"./{source}", *([named] if scheme.lower() == "file" and named.startswith("/") else [])):
        if "\x00" not in path and os.path.exists(path):
            return f". For the {'folder' if os.path.isdir(path) else 'file'} of that name write {shlex.quote(path)}"
    return ""


def _confined(source: str, places: SubmitPlaces, doors: _Doors) -> Iterator[NamedSource]:
    """The file, or the files below the folder, that lie in the allowed places; links that lead out of them are left out."""
    named = places.checked_path(source)
    for path in _videos_below(named.path, doors) if named.path.is_dir() else [named.path]:
        with suppress(OSError):  # deleted since the folder was read
            found = places.inside(path)
            if found is not None and found.path.is_file():
                _check_not_own(found.path, doors)
                yield NamedSource(str(found.path), str(found.folder))


def _videos_below(folder: Path, doors: _Doors) -> list[Path]:
    """Raises OSError when the folder itself cannot be read; those below it go to `doors.unread`."""
    found, choice, real = [], doors.choice, Path(os.path.realpath(folder))
    if any(real.is_relative_to(own) for own in doors.own_folders):
        raise BadRequestError(f"Heaters keeps its own files in {folder}; submit videos of another folder")
    os.listdir(folder)
    for parent, folders, names in os.walk(folder, onerror=doors.unread.append):
        below = Path(parent).relative_to(folder)
        wanted = (name for name in folders if choice.enters(str(below / name)) and real / below / name not in doors.own_folders)
        folders[:] = sorted(wanted)
        found += [Path(parent, name) for name in sorted(names) if choice.takes(str(below / name))]
    files = [path for path in found if _is_file(path, doors)]
    if not files and not doors.left_out:
        which = " of those that are wanted" if choice.is_limited else ""
        raise InvalidMediaError(
            f"{folder} has no video files{which} (.mp4, .mov, .mkv, ...); a file with another name can be submitted by its own path"
        )
    return files


def _is_file(path: Path, doors: _Doors) -> bool:
    """What has the name of a video and is a pipe, a socket or a device is told: it would be waited for without end."""
    with suppress(OSError):  # deleted since the folder was read, or a link that leads nowhere
        # People in a browser are told nothing of what lies behind a link.
        kind = other_kind(path.stat().st_mode)
        if kind is not None and (doors.places is None or not path.is_symlink()):
            doors.left_out.append(f"{path} is {kind}; it was left out")
        return kind is None
    return False
