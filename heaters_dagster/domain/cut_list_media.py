"""The files that a cut list names: where the editing program's machine finds them, and their names on tape.

Never a signed address: it would end, and the list with it. A path is that of the editor's machine, which may be another system than ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import quote, unquote, urlsplit

from heaters_dagster.domain.errors import BadRequestError

#: A reel of a CMX 3600 list has up to eight characters; programs take these names for black, for bars and for "any file".
REEL_CHARACTERS = 8
_RESERVED_REELS = frozenset({"AX", "BL", "BLACK", "BARS"})
_NOT_IN_REELS = re.compile(r"[^A-Z0-9_]+")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class MediaKind(StrEnum):
    """Which files a cut list names."""

    ORIGINAL = "original"
    MASTER = "master"
    PROXY = "proxy"
    CLIPS = "clips"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutListMedia:
    """A file to which a cut list refers. Frames are those of the timeline's rate.

    name: with its ending. path: as the editing program's machine sees it, absolute, or relative to the list. length_frames: of its picture.
    begins_at: the frame of the source video that is its first one. first_frame: the count of the timecode of its first frame.
    reel: name of its tape, None without one. audio_channels: of all its sounds together, 0 without sound. audio_rate: samples per second.
    """

    name: str
    path: str
    length_frames: int
    begins_at: int = 0
    first_frame: int = 0
    reel: str | None = None
    audio_channels: int = 0
    audio_rate: int = 48_000

    @property
    def address(self) -> str:
        """The path as a `file:` address (RFC 8089), or as a relative one."""
        return file_address(self.path)


def path_under(root: str | None, name: str) -> str:
    """The path of the file `name` in the folder `root` of the editor's machine, whichever system that has; without a root its name alone.

    root: `/Volumes/Footage`, `D:\\Footage`, `\\\\server\\footage` or `file:///Volumes/Footage`. Raises BadRequestError for anything else.
    """
    if root is None:
        return name
    if root.lower().startswith("file:"):
        split = urlsplit(root)
        place = unquote(split.path)
        host = "" if split.netloc in ("", "localhost") else f"//{split.netloc}"
        root = place[1:] if not host and _DRIVE.match(place[1:]) else f"{host}{place}".replace("/", "\\") if host else place
    if _DRIVE.match(root) or root.startswith("\\\\"):
        return f"{root.rstrip('/' + chr(92))}\\{name}"
    if root.startswith("/"):
        return f"{root.rstrip('/')}/{name}"
    raise BadRequestError(
        f"--media-root {root!r} is no folder as an editing program's machine sees it: write /Volumes/Footage, D:\\Footage,"
        " \\\\server\\footage or file:///Volumes/Footage"
    )


def file_address(path: str, *, host: str = "", drive_colon: str = ":") -> str:
    """`path` as an address. host, drive_colon: how a format writes the own machine and the colon after a drive letter."""
    if _DRIVE.match(path):
        drive, _, rest = path.replace("\\", "/").partition(":")
        return f"file://{host}/{drive}{drive_colon}{_quoted(rest)}"
    if path.startswith("\\\\"):
        return f"file:{_quoted(path.replace(chr(92), '/'))}"
    return f"file://{host}{_quoted(path)}" if path.startswith("/") else f"./{_quoted(path)}"


def name_of(path: str) -> str:
    """The last part of a path of any system."""
    windows = _DRIVE.match(path) or path.startswith("\\\\")
    return PureWindowsPath(path).name if windows else PurePosixPath(path).name


def reels_of(media: Iterable[CutListMedia]) -> dict[str, str]:
    """Path -> the reel of the file in an EDL: its tape's name or else its own, in up to eight capitals and digits, each once in a list.

    Files of one tape have the same reel.
    """
    reels: dict[str, str] = {}
    taken: dict[str, str] = {}
    for one in media:
        called = one.reel or PurePosixPath(one.name).stem or one.name
        of_tape = f"tape {one.reel}" if one.reel else one.path
        plain = _NOT_IN_REELS.sub("", ascii_of(called).upper()) or "REEL"
        reel, number = plain[:REEL_CHARACTERS], 1
        while reel in _RESERVED_REELS or taken.get(reel, of_tape) != of_tape:
            number += 1
            reel = f"{plain[: REEL_CHARACTERS - len(str(number))]}{number}"
        taken[reel] = of_tape
        reels[one.path] = reel
    return reels


def ascii_of(text: str) -> str:
    """`text` in ASCII: accents are removed, a character without an ASCII form becomes `?`."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return plain.encode("ascii", "replace").decode()


def one_line(text: str) -> str:
    """`text` without line breaks and control characters, as formats with one thing a line need it."""
    return " ".join("".join(" " if unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} else letter for letter in text).split())


def xml_text(text: str) -> str:
    """`text` without the characters that XML 1.0 cannot hold."""
    return "".join(
        letter
        for letter in text
        if letter in "\t\n\r" or "\x20" <= letter <= "\ud7ff" or "\ue000" <= letter <= "\ufffd" or letter >= "\U00010000"
    )


def _quoted(path: str) -> str:
    return quote(path, safe="/", errors="replace")
