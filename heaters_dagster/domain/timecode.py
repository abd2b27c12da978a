"""Timecode: the clock that a camera or a tape wrote beside its frames, `HH:MM:SS:FF`, and the frame count that it stands for.

A count is a whole number of frames at the nominal rate (30 for 30000/1001), from 0 at 00:00:00:00. Drop-frame timecode leaves out numbers,
never frames: the first two of each minute except every tenth (four at 60, eight at 120), so that rates a thousandth below a whole number
stay in step with the clock. Source: SMPTE ST 12-1 and, above 60 frames a second, ST 12-3.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.words import counted

_COMMON_RATES = tuple(Fraction(n) for n in (24, 25, 30, 48, 50, 60, 100, 120)) + tuple(
    Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)
)
DROP_FRAME_RATES = (Fraction(30_000, 1001), Fraction(60_000, 1001), Fraction(120_000, 1001))
_WRITTEN = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})([:;.])(\d{1,3})")
#: A frame belongs to the timecode in which it begins. Stamps are whole units of a time base, up to half a millisecond off (Matroska), which
#: is 0.06 of a frame at 120 a second; a frame that begins this little before a timecode belongs to it.
_EARLY = Fraction(1, 10)


def timeline_rate(frame_rate: Fraction) -> Fraction:
    """`frame_rate`, or the common rate that it means when it is written as a decimal: 23.976 is 24000/1001, 29.97 is 30000/1001."""
    nearest = min(_COMMON_RATES, key=lambda rate: abs(rate - frame_rate))
    return nearest if abs(nearest - frame_rate) * 10_000 <= nearest else frame_rate


def common_rate(frame_rate: Fraction) -> Fraction:
    """The rate at which timecode of pictures with this average rate counts: that of many files is a little off, or varies."""
    rate = timeline_rate(frame_rate)
    return rate if rate in _COMMON_RATES else min(_COMMON_RATES, key=lambda one: abs(one - frame_rate))


def nominal_rate(rate: Fraction) -> int:
    """Frame numbers in a second of timecode: the whole number nearest to `rate`, at least 1."""
    return max(1, round(rate))


def frames_per_day(rate: Fraction, *, drop_frame: bool = False) -> int:
    """Frames between 00:00:00:00 and its next time. Raises BadRequestError for drop-frame timecode at a rate that has none."""
    return 86_400 * nominal_rate(rate) - 9 * 144 * (_dropped(rate) if drop_frame else 0)


def timecode(frame: int, rate: Fraction, *, drop_frame: bool = False) -> str:
    """`HH:MM:SS:FF` of a frame count; after 24 hours it starts at zero again, and before zero it counts down from 23:59:59.

    drop_frame: `HH:MM:SS;FF`. Raises BadRequestError for drop-frame timecode at a rate that has none.
    """
    nominal = nominal_rate(rate)
    frame %= frames_per_day(rate, drop_frame=drop_frame)
    if drop_frame:
        dropped = _dropped(rate)
        per_minute = nominal * 60 - dropped
        per_ten_minutes = per_minute * 10 + dropped
        tens, rest = divmod(frame, per_ten_minutes)
        minutes = 0 if rest < nominal * 60 else 1 + (rest - nominal * 60) // per_minute
        frame += dropped * (9 * tens + minutes)
    seconds, frames = divmod(frame, nominal)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{';' if drop_frame else ':'}{frames:02d}"


@dataclass(frozen=True, slots=True)
class Timecode:
    """A written timecode: its frame count, and whether it counts as drop-frame timecode."""

    frame: int
    drop_frame: bool


def read_timecode(text: str, rate: Fraction, *, drop_frame: bool | None = None, mend: bool = False) -> Timecode:
    """The timecode that `text` writes: `HH:MM:SS:FF`, or `HH:MM:SS;FF` and `HH:MM:SS.FF`, which mean drop-frame timecode.

    drop_frame: how it counts whatever the sign before the frames says, for people who type `:` always; None: as the sign says.
    mend: a number that drop-frame timecode leaves out is read as the next one that there is, as editing programs do; else it is refused.
    24:00:00:00 is the end of the day: the frame after the last one. Raises BadRequestError with the reason.
    """
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        raise BadRequestError(f"{text!r} is no timecode: write HH:MM:SS:FF, or HH:MM:SS;FF for drop-frame timecode")
    hours, minutes, seconds, frames = (int(match[part]) for part in (1, 2, 3, 5))
    drop = match[4] != ":" if drop_frame is None else drop_frame
    nominal = nominal_rate(rate)
    if minutes > 59 or seconds > 59:
        raise BadRequestError(f"{text!r} is no timecode: minutes and seconds go to 59")
    if frames >= nominal:
        rate_words = f"{counted(nominal, 'frame')} a second"
        raise BadRequestError(f"{text!r} is no timecode at {rate_words}: frames go to {nominal - 1}; is it of another rate?")
    dropped = _dropped(rate) if drop else 0
    if frames < dropped and seconds == 0 and minutes % 10:
        if not mend:
            after = f"{hours:02d}:{minutes:02d}:00;{dropped:02d}"
            raise BadRequestError(f"{text!r} is left out in drop-frame timecode: the first frame of that minute is {after}")
        frames = dropped
    total_minutes = hours * 60 + minutes
    frame = (total_minutes * 60 + seconds) * nominal + frames - dropped * (total_minutes - total_minutes // 10)
    if frame > frames_per_day(rate, drop_frame=drop):
        raise BadRequestError(f"{text!r} is no timecode: the last one of a day begins with 23:59:59")
    return Timecode(frame, drop)


@dataclass(frozen=True, slots=True)
class SourceTime:
    """The timecode of a source video, as its camera or tape wrote it.

    first_frame: the count of frame 0 of the frame index, 0 <= first_frame < frames of a day. rate: of the timecode, frames per second, not
    always the video's: 50 frames a second may count 25. drop_frame: whether it leaves out numbers. reel: the name of the tape or card.

    Which timecode another frame has follows from its time, not from its number: with a variable rate, it is the one that a clock shows
    which started at frame 0 and runs at `rate`. With a constant rate that is one timecode after the other.
    """

    first_frame: int
    rate: Fraction
    drop_frame: bool = False
    reel: str | None = None

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise BadRequestError(f"timecode needs a frame rate above 0, not {self.rate}")
        if not 0 <= self.first_frame < frames_per_day(self.rate, drop_frame=self.drop_frame):
            raise BadRequestError(f"the first frame's timecode lies within a day, not at {self.first_frame:,}")

    @classmethod
    def from_count(cls, count: int, rate: Fraction, *, drop_frame: bool = False, reel: str | None = None) -> SourceTime:
        """Of a count that may lie before or after the day: it starts again at midnight."""
        return cls(count % frames_per_day(rate, drop_frame=drop_frame), rate, drop_frame, reel)

    @property
    def start(self) -> str:
        """The timecode of frame 0."""
        return self.written(self.first_frame)

    def written(self, count: int) -> str:
        return timecode(count, self.rate, drop_frame=self.drop_frame)

    def count_at(self, seconds: Fraction | float) -> int:
        """The count of a frame that begins `seconds` after frame 0. It goes on after midnight, so that a length stays a difference."""
        return self.first_frame + math.floor(Fraction(seconds) * self.rate + _EARLY)

    def at(self, seconds: Fraction | float) -> str:
        """The timecode of a frame that begins `seconds` after frame 0."""
        return self.written(self.count_at(seconds))

    def beginning_at(self, seconds: Fraction | float) -> SourceTime:
        """That of a clip whose first frame begins `seconds` after frame 0."""
        return SourceTime.from_count(self.count_at(seconds), self.rate, drop_frame=self.drop_frame, reel=self.reel)

    def at_rate_of(self, frame_rate: Fraction) -> SourceTime:
        """The same in numbers of each picture, where pictures with this average rate come several times in a number of the timecode.

        For files that say a timecode without its rate: whoever reads them counts at the rate of the pictures.
        """
        rate = common_rate(frame_rate)
        times = rate / self.rate
        if times.denominator != 1 or times < 2:
            return self
        return SourceTime.from_count(self.first_frame * times.numerator, rate, drop_frame=self.drop_frame, reel=self.reel)

    def seconds_of(self, text: str) -> Fraction:
        """How long after frame 0 the timecode `text` begins, at least 0: one that seems to lie before it is of the next day.

        The sign before the frames is not looked at; a number that is left out is read as the next one. Raises BadRequestError.
        """
        count = read_timecode(text, self.rate, drop_frame=self.drop_frame, mend=True).frame
        return Fraction((count - self.first_frame) % frames_per_day(self.rate, drop_frame=self.drop_frame)) / self.rate


@dataclass(frozen=True, slots=True)
class ClockOfVideo:
    """The timecode of a source video at the times of its frame index. begins_seconds: when frame 0 is shown, by the frame index."""

    time: SourceTime
    begins_seconds: float

    def at(self, seconds: float) -> str:
        """The timecode of a frame that is shown at that time of the frame index."""
        return self.time.at(seconds - self.begins_seconds)


@dataclass(frozen=True, slots=True)
class ClipTimecodes:
    """The timecodes of the first and of the last frame of a clip in its source video. last: None when its time cannot be found out now."""

    first: str
    last: str | None


def _dropped(rate: Fraction) -> int:
    """How many numbers drop-frame timecode leaves out in a minute."""
    if rate not in DROP_FRAME_RATES:
        raise BadRequestError(f"drop-frame timecode exists at the rates {', '.join(map(str, DROP_FRAME_RATES))}, not at {rate}")
    return nominal_rate(rate) // 15
