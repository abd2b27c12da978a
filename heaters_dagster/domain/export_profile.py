"""What an export profile is: one way to make a clip's file. Each profile is a file of its own in `resources/clips/export_profiles/`.

Whatever a profile writes holds every frame of the clip, each at its own time: the file is read back and proven before it is published.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeAlias

from heaters_dagster.domain.ffmpeg_run import Profile, SoundInput, digest
from heaters_dagster.domain.profiles import SourceStreams

#: A name that ends so is of the profile before it, without the transitions at both ends of the clip.
TRIMMED = "_trimmed"

#: The profile of the first file of an approved clip, unless another one was asked for.
FIRST_PROFILE = "stream_copy"

#: In what a file was made with, when it leaves out transitions.
WITHOUT_TRANSITIONS = "without transitions"

_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}\Z")


class ExportState(StrEnum):
    """How far one of the exports of a clip is: the states of `clip_exports`. ASKED: it waits until the clip has its first file."""

    ASKED = "asked"
    WAITING = "waiting"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"


class MadeFrom(StrEnum):
    """What a file is made from. An export from the gold master waits until that is made."""

    PROXY = "proxy"
    GOLD_MASTER = "gold_master"


class MasterProfile(Protocol):
    def __call__(self, source: SourceStreams, *, sound: SoundInput | None) -> Profile:
        """The run of ffmpeg that encodes a clip's frames of a gold master. Arguments as of `domain.profiles.master_export`."""
        ...


class CopiedClip(Protocol):
    @property
    def has_sound(self) -> bool: ...


class ClipToWrite(Protocol):
    """A clip with its source opened, and what a profile can do with it. Every method may raise what `ClipWriter.write` raises."""

    @property
    def title(self) -> str:
        """For the file's own metadata."""
        ...

    @property
    def folder(self) -> Path:
        """For files in between; it is removed afterwards."""
        ...

    def copy(self, path: Path) -> CopiedClip:
        """Write an MP4 with the proxy's own packets: exactly the clip's frames, and the sound that belongs to them."""
        ...

    def encode(self, profile: Profile, source: Path, path: Path) -> None:
        """Run ffmpeg, which reads `source`, a file that `copy` wrote, and writes `path`."""
        ...

    def encode_master(self, profile: MasterProfile, path: Path) -> None:
        """Run ffmpeg, which reads the clip's frames and sound out of the gold master and writes `path`.

        ffmpeg gets frames without times: it gives them a constant rate, so use `retimed` after it.
        """
        ...

    def retimed(self, encoded: Path, path: Path) -> None:
        """Write an MP4 of H.264, in which every frame is a keyframe, anew to `path`, each frame at the time that the frame index says."""
        ...


Write: TypeAlias = Callable[[ClipToWrite, Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportProfile:
    """One way to make a clip's file.

    name: as in `heaters export --profile`. help: what it is good for, two or three words. suffix: of the file, with its dot; media_type: of
    its content. encodes: whether it encodes, which takes all cores; such exports take turns on a machine. exact: whether the picture's
    packets are the proxy's own, which is proven then. write: makes the file at a path. version: raise it when `write` makes something else
    than before. ffmpeg: the runs of ffmpeg that `write` does. When either changes, the files that were made before are stale.
    trims: its files leave out the frames of the transitions at both ends of the clip, see `domain.trimming`; `write` gets a clip without
    them.
    """

    name: str
    help: str
    made_from: MadeFrom
    encodes: bool
    write: Write
    exact: bool = False
    suffix: str = ".mp4"
    media_type: str = "video/mp4"
    version: int = 1
    ffmpeg: tuple[Profile, ...] = ()
    trims: bool = False

    @property
    def trimmed(self) -> ExportProfile:
        """The same without transitions, beside it: with a name, and so with keys, of its own."""
        if self.trims:
            return self
        return replace(self, name=f"{self.name}{TRIMMED}", help=f"{self.help}, without transitions", trims=True)

    @property
    def made_with(self) -> str:
        """Changes when the profile makes something else than before: `delivery 1 3f9a0c51d2e7`."""
        more = [digest(*self.ffmpeg)] if self.ffmpeg else []
        return " ".join([self.name, str(self.version), *more, *([WITHOUT_TRANSITIONS] if self.trims else [])])

    def __post_init__(self) -> None:
        if not _SUFFIX.match(self.suffix):
            raise ValueError(f"its suffix is {self.suffix!r}: write a dot and 1 to 8 lower-case letters or digits")
