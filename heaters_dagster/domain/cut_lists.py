"""What a cut list for editing programs is made from. Each format is a file of its own in `resources/clips/cut_lists/`.

Editing programs count time in frames of the timeline's rate. A cut is therefore placed at `round(seconds x frame_rate)` of the time that
the frame index gives: with a constant rate that is the frame's ordinal, with a variable rate the timeline frame shown at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, TypeVar

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.subtitles import Line, between, text_of
from heaters_dagster.domain.timecode import timecode as timecode
from heaters_dagster.domain.timecode import timeline_rate as timeline_rate

T = TypeVar("T")


class CutListClip(Protocol):
    """What a cut list says about a clip; the store's `Clip` has it all. Frames: end exclusive. Times: seconds by the frame index."""

    @property
    def id(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def start_frame(self) -> int: ...
    @property
    def end_frame(self) -> int: ...
    @property
    def start_time_seconds(self) -> float: ...
    @property
    def end_time_seconds(self) -> float: ...
    @property
    def state(self) -> str: ...
    @property
    def confidence(self) -> float | None: ...
    @property
    def grouped_with_clip_id(self) -> int | None: ...
    @property
    def clip_filepath(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CutListSource:
    """The source video as an editing program must know it.

    media_url: where the program finds the file (file:, https: or a relative name); its last part is the media's name.
    frame_rate: frames per second, the average for a variable rate. width, height: of the displayed picture, in pixels.
    facts: what is known of it, as licence and rights. lines: of its first subtitles.
    """

    id: int
    title: str
    media_url: str
    frame_rate: Fraction
    duration_seconds: float
    width: int
    height: int
    has_audio: bool
    facts: SourceFacts = SourceFacts()
    lines: tuple[Line, ...] = ()

    def __post_init__(self) -> None:
        if self.frame_rate <= 0:
            raise BadRequestError(f"source video {self.id}: a cut list needs a frame rate above 0, not {self.frame_rate}")

    def said_in(self, clip: CutListClip) -> str | None:
        """The subtitles of a clip as one text, None without any."""
        return text_of(between(self.lines, clip.start_time_seconds, clip.end_time_seconds)) or None

    @property
    def media_name(self) -> str:
        return self.media_url.rstrip("/").rsplit("/", 1)[-1].split("?", 1)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutListFormat:
    """One format of cut lists.

    name: as in `heaters cutlist --format NAME`. title: for people. suffix: of its files, with the dot. write: the whole text of a list; it
    raises BadRequestError when the format cannot hold these clips. in_zip: whether the zip of approved clips has one too.
    most_clips: how many fit into one file; a longer list becomes several files. None: any number.
    """

    name: str
    title: str
    suffix: str
    write: Callable[[CutListSource, Sequence[CutListClip]], str]
    in_zip: bool = False
    most_clips: int | None = None

    def parts(self, clips: Sequence[T]) -> list[Sequence[T]]:
        """`clips` divided into lists that fit into one file each."""
        step = self.most_clips or max(1, len(clips))
        return [clips[first : first + step] for first in range(0, len(clips), step)]

    def file_names(self, stem: str, count: int) -> list[str]:
        """Of the files of a list in `count` parts: `NAME.edl`, or `NAME_1.edl`, `NAME_2.edl`."""
        return [f"{stem}{self.suffix}"] if count == 1 else [f"{stem}_{number}{self.suffix}" for number in range(1, count + 1)]


@dataclass(frozen=True, slots=True)
class TimelineRange:
    """[start, end) in frames of the timeline's rate, at least one frame long."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def timeline_range(clip: CutListClip, rate: Fraction) -> TimelineRange:
    """Where `clip` lies in the source, in frames of `rate`."""
    start = round(Fraction(clip.start_time_seconds) * rate)
    return TimelineRange(start, max(start + 1, round(Fraction(clip.end_time_seconds) * rate)))


def clip_name(source: CutListSource, clip: CutListClip) -> str:
    """The name of the clip's file without its ending: `video_{id}_clip_{nnn}`."""
    return f"video_{source.id}_clip_{clip.sequence:03d}"
