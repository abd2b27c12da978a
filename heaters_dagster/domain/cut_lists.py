"""What a cut list for editing programs is made from. Each format is a file of its own in `resources/clips/cut_lists/`.

Editing programs count time in frames of the timeline's rate. A cut is therefore placed at `round(seconds x frame_rate)` of the time that
the frame index gives: with a constant rate that is the frame's ordinal, with a variable rate the timeline frame shown at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Protocol, TypeVar

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cut_list_media import CutListMedia
from heaters_dagster.domain.cut_list_rates import place_at
from heaters_dagster.domain.cut_list_reading import ReadCutList, ReadFor
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.states import APPROVED_STATES, ClipState
from heaters_dagster.domain.subtitles import Line, TimedLines, text_of
from heaters_dagster.domain.timecode import DROP_FRAME_RATES, ClipTimecodes, nominal_rate, timecode

#: The timecode at which the timeline of a list begins, as programmes do and as editing programs suggest: 01:00:00:00.
TIMELINE_HOUR = 1

T = TypeVar("T")


class Gaps(StrEnum):
    """What becomes of the time between clips that are not neighbours in the source video: KEEP leaves it empty, CLOSE takes it out."""

    KEEP = "keep"
    CLOSE = "close"


class Verdict(StrEnum):
    """What a person decided on a clip, as cut lists say it."""

    APPROVED = "approved"
    SKIPPED = "skipped"
    ARCHIVED = "archived"
    PENDING = "pending"


class FcpxmlVersion(StrEnum):
    """Versions of FCPXML that are written. A program reads its own and older ones, so the oldest is the one that most programs read.

    Up to 1.8 an asset names its file itself, from 1.9 on in a `media-rep`. In what else our lists have Apple's grammars of them are alike.
    """

    V1_8 = "1.8"
    V1_9 = "1.9"
    V1_10 = "1.10"
    V1_11 = "1.11"
    V1_12 = "1.12"
    V1_13 = "1.13"
    V1_14 = "1.14"

    @property
    def has_media_rep(self) -> bool:
        return self is not FcpxmlVersion.V1_8


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
    @property
    def transition(self) -> Transition | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CutListSource:
    """The source video as an editing program must know it, and how its list is wanted.

    media: the file of the whole source video. clip_media: clip id -> its own file, where the list names those. frame_rate: frames per
    second of the timeline. width, height: of the displayed picture, in pixels. drop_frame: whether timecodes leave out numbers. handles:
    frames more at each end of a clip, as far as its file has them. facts: what is known of the source video, as licence and rights.
    lines: of its first subtitles. timecodes: clip id -> those of its first and last frame in the source video, where it has some.
    fcpxml_version: of its list in that format.
    """

    id: int
    title: str
    media: CutListMedia
    clip_media: Mapping[int, CutListMedia] = field(default_factory=dict)
    frame_rate: Fraction
    width: int
    height: int
    drop_frame: bool = False
    handles: int = 0
    gaps: Gaps = Gaps.CLOSE
    facts: SourceFacts = SourceFacts()
    lines: tuple[Line, ...] = ()
    timecodes: Mapping[int, ClipTimecodes] = field(default_factory=dict)
    fcpxml_version: FcpxmlVersion = FcpxmlVersion.V1_8
    _timed_lines: TimedLines = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_timed_lines", TimedLines(self.lines))
        if self.frame_rate <= 0:
            raise BadRequestError(f"source video {self.id}: a cut list needs a frame rate above 0, not {self.frame_rate}")
        if self.handles < 0:
            raise BadRequestError(f"handles are a number of frames from 0 on, not {self.handles}")
        if self.drop_frame and self.frame_rate not in DROP_FRAME_RATES:
            raise BadRequestError(f"there is no drop-frame timecode at the rate {self.frame_rate}")

    def media_of(self, clip: CutListClip) -> CutListMedia:
        """The file in which an editing program finds the clip."""
        return self.clip_media.get(clip.id, self.media)

    def said_in(self, clip: CutListClip) -> str | None:
        """The subtitles of a clip as one text, None without any."""
        return text_of(self._timed_lines.between(clip.start_time_seconds, clip.end_time_seconds)) or None

    def written(self, count: int) -> str:
        """A frame count as timecode of this list."""
        return timecode(count, self.frame_rate, drop_frame=self.drop_frame)

    @property
    def timeline_start(self) -> int:
        """The count of the timecode 01:00:00:00."""
        nominal = nominal_rate(self.frame_rate)
        return TIMELINE_HOUR * (3600 * nominal - (54 * (nominal // 15) if self.drop_frame else 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class CutListFormat:
    """One format of cut lists.

    name: as in `heaters cutlist --format NAME`. title: for people. suffix: of its files, with the dot. write: the whole text of a list; it
    raises BadRequestError when the format cannot hold these clips. in_zip: whether the zip of approved clips has one too.
    most_clips: how many fit into one file; a longer list becomes several files. None: any number. read: what a text in this format says,
    for `heaters cuts import`; it raises BadRequestError with the line. None: it cannot be read.
    """

    name: str
    title: str
    suffix: str
    write: Callable[[CutListSource, Sequence[CutListClip]], str]
    in_zip: bool = False
    most_clips: int | None = None
    read: Callable[[str, ReadFor], ReadCutList] | None = None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CutListEvent:
    """A clip in its list. Frames are those of the timeline's rate.

    [start, end): of its file, counted from the file's first frame, with the handles. record: where it begins, counted from the beginning of
    the timeline. head, tail: how many of its frames are handles.
    """

    clip: CutListClip
    media: CutListMedia
    start: int
    end: int
    record: int
    head: int = 0
    tail: int = 0

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def record_end(self) -> int:
        return self.record + self.length

    @property
    def source_start(self) -> int:
        """The count of the timecode of its first frame."""
        return self.media.first_frame + self.start

    @property
    def source_end(self) -> int:
        return self.media.first_frame + self.end


def timeline_range(clip: CutListClip, rate: Fraction) -> TimelineRange:
    """Where `clip` lies in the source, in frames of `rate`."""
    start = place_at(clip.start_time_seconds, rate)
    return TimelineRange(start, max(start + 1, place_at(clip.end_time_seconds, rate)))


def events(source: CutListSource, clips: Sequence[CutListClip]) -> list[CutListEvent]:
    """`clips`, in the order of the source video, as events that lie within their files and do not overlap on the timeline.

    With Gaps.KEEP a clip lies where it lies in the source video, so its handles end where the next clip of the list begins.
    Raises BadRequestError for a clip that lies outside its file.
    """
    found: list[CutListEvent] = []
    places = [timeline_range(clip, source.frame_rate) for clip in clips]
    reached = 0
    for number, (clip, place) in enumerate(zip(clips, places, strict=True)):
        media = source.media_of(clip)
        if clip.id in source.clip_media:  # its own file may leave out the transitions at its ends
            place = TimelineRange(max(place.start, media.begins_at), min(place.end, media.begins_at + media.length_frames))
        start, end = place.start - media.begins_at, min(place.end - media.begins_at, media.length_frames)
        if not 0 <= start < end:
            raise BadRequestError(f"clip {clip.sequence} of source video {source.id} lies outside {media.name}")
        head, tail = min(source.handles, start), min(source.handles, media.length_frames - end)
        if source.gaps is Gaps.KEEP:
            following = places[number + 1].start if number + 1 < len(places) else place.end + tail
            head, tail = min(head, max(0, place.start - reached)), min(tail, max(0, following - place.end))
            reached = max(reached, place.start - head)
        event = CutListEvent(clip=clip, media=media, start=start - head, end=end + tail, record=reached, head=head, tail=tail)
        found.append(event)
        reached = event.record_end
    return found


def verdict(clip: CutListClip) -> Verdict:
    """The standing decision on a clip, however far the pipeline has come with it."""
    state = str(clip.state)
    if state in APPROVED_STATES:
        return Verdict.APPROVED
    said = {ClipState.REVIEW_SKIPPED.value: Verdict.SKIPPED, ClipState.REVIEW_ARCHIVED.value: Verdict.ARCHIVED}
    return said.get(state, Verdict.PENDING)


def kind_words(clip: CutListClip) -> str | None:
    """What the cut is at which the clip begins; None when nobody knows, and at the beginning of the file."""
    return None if clip.transition is None or clip.transition.kind is CutKind.END else clip.transition.kind.words


def labels(clip: CutListClip) -> tuple[str, ...]:
    """What markers say of a clip: its verdict, and what the cut is at which it begins."""
    kind = kind_words(clip)
    return (str(verdict(clip)), kind) if kind else (str(verdict(clip)),)


def clip_name(source: CutListSource, clip: CutListClip) -> str:
    """The name of the clip's file without its ending: `video_{id}_clip_{nnn}`."""
    return f"video_{source.id}_clip_{clip.sequence:03d}"
