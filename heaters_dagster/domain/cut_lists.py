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

_COMMON_RATES = tuple(Fraction(n) for n in (24, 25, 30, 48, 50, 60, 100, 120)) + tuple(
    Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)
)

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


def timeline_rate(frame_rate: Fraction) -> Fraction:
    """`frame_rate`, or the common rate that it means when it is written as a decimal: 23.976 is 24000/1001, 29.97 is 30000/1001."""
    nearest = min(_COMMON_RATES, key=lambda rate: abs(rate - frame_rate))
    return nearest if abs(nearest - frame_rate) * 10_000 <= nearest else frame_rate


def timeline_range(clip: CutListClip, rate: Fraction) -> TimelineRange:
    """Where `clip` lies in the source, in frames of `rate`."""
    start = round(Fraction(clip.start_time_seconds) * rate)
    return TimelineRange(start, max(start + 1, round(Fraction(clip.end_time_seconds) * rate)))


def timecode(frame: int, rate: Fraction, *, drop_frame: bool = False) -> str:
    """`HH:MM:SS:FF` of a frame number, counted at the whole number nearest to `rate`; after 24 hours it starts at zero again.

    drop_frame: `HH:MM:SS;FF`, which skips the first frame numbers of each minute except every tenth, so that 30000/1001 and 60000/1001 stay
    in step with the clock (SMPTE ST 12-1). Raises BadRequestError for other rates.
    """
    nominal = max(1, round(rate))
    if drop_frame:
        if rate not in (Fraction(30_000, 1001), Fraction(60_000, 1001)):
            raise BadRequestError(f"drop-frame timecode exists for 30000/1001 and 60000/1001 frames per second, not for {rate}")
        dropped = nominal // 15
        per_minute = nominal * 60 - dropped
        per_ten_minutes = per_minute * 10 + dropped
        tens, rest = divmod(frame, per_ten_minutes)
        minutes = 0 if rest < nominal * 60 else 1 + (rest - nominal * 60) // per_minute
        frame += dropped * (9 * tens + minutes)
    seconds, frames = divmod(frame, nominal)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours % 24:02d}:{minutes:02d}:{seconds:02d}{';' if drop_frame else ':'}{frames:02d}"


def clip_name(source: CutListSource, clip: CutListClip) -> str:
    """The name of the clip's file without its ending: `video_{id}_clip_{nnn}`."""
    return f"video_{source.id}_clip_{clip.sequence:03d}"
