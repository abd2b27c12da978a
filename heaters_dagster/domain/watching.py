"""When a file in a watched place is taken: once it has stopped growing, once only, and never half. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from heaters_dagster.domain.ingest import is_video_name

#: How programs that fetch or copy files call those that are not complete.
TEMPORARY_SUFFIXES = (
    ".part", ".partial", ".crdownload", ".download", ".opdownload", ".tmp", ".temp", ".filepart", ".aria2", ".ytdl", ".!ut", ".!qb",
)  # fmt: skip
#: Folders in a watched place where files are put when they are moved; they are not looked into.
TAKEN_FOLDER, REFUSED_FOLDER = "taken", "refused"
#: Two looks a setting apart may be a little less apart by the clock of the database.
_CLOCK_SLACK_SECONDS = 1.0


class FileState(StrEnum):
    """ARRIVING: seen, and perhaps still being written. TEMPORARY: has a name of incomplete files. TAKEN: a source video has it.

    REFUSED: it cannot be submitted; its reason says why.
    """

    ARRIVING = "arriving"
    TEMPORARY = "temporary"
    TAKEN = "taken"
    REFUSED = "refused"


class Step(StrEnum):
    """What a look does with a file. NOTHING: all is known. NOTE: keep how it looks now. TAKE: submit it."""

    NOTHING = "nothing"
    NOTE = "note"
    TAKE = "take"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFile:
    """A file as a look finds it. path: full path or s3:// address. version: changes when its bytes do. inode: None for an object.

    has_new_name: its name, or its rights, changed after its bytes did.
    """

    path: str
    byte_size: int
    version: str
    inode: int | None = None
    has_new_name: bool = False

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFile:
    """What an earlier look has stored about a file. seconds: since it was first seen like this."""

    state: FileState
    byte_size: int
    version: str
    inode: int | None
    seconds: float


def is_passed_over(name: str) -> bool:
    """Whether a look never takes a file of this name: hidden, temporary, or no video's."""
    return is_temporary(name) or not is_video_name(name)


def is_temporary(name: str) -> bool:
    """Whether a program calls a file so while it writes it."""
    return name.startswith((".", "~")) or name.lower().endswith(TEMPORARY_SUFFIXES)


def below(place: str, folder: str) -> str:
    """How paths in a folder of a watched place begin."""
    return f"{place.rstrip('/')}/{folder}/"


def with_number(path: str, number: int) -> str:
    """`holiday (2).mp4`: another name for a file whose own is taken."""
    head, slash, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    return f"{head}{slash}{stem or suffix} ({number}){dot if stem else ''}{suffix if stem else ''}"


def step(seen: SeenFile, known: KnownFile | None, *, interval_seconds: float, is_object: bool, was_renamed: bool) -> Step:
    """What to do with a video file that a look finds.

    known: what earlier looks have stored. is_object: it lies in a bucket, where nothing is half. was_renamed: the same file had a
    temporary name at the look before; who gave it its name says that it is complete.
    """
    is_same = known is not None and (known.byte_size, known.version) == (seen.byte_size, seen.version)
    if known is not None and is_same and known.state in {FileState.TAKEN, FileState.REFUSED}:
        return Step.NOTHING
    if seen.byte_size == 0:  # made, and not written yet
        return Step.NOTHING if is_same else Step.NOTE
    if is_object or was_renamed:
        return Step.TAKE
    if known is not None and is_same and known.state is FileState.ARRIVING:
        return Step.TAKE if known.seconds >= interval_seconds - _CLOCK_SLACK_SECONDS else Step.NOTHING
    return Step.NOTE
