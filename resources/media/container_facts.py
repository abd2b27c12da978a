"""What a media file says of itself beside its pictures and sound: tags, camera, reel, timecode, when it was recorded, chapters, subtitles.

Where it was filmed, which camera it was and when are kept only as settings say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.kept_tags import KeptTags
from heaters_dagster.domain.places import holds_a_position, names_a_place
from heaters_dagster.domain.source_facts import Chapter, SourceFacts
from heaters_dagster.domain.subtitles import MOST_LINES, Line, known_language, tidy
from heaters_dagster.domain.words import counted
from resources.media.first_look import MediaProbe, opened
from resources.media.picture_timecode import picture_timecode
from resources.media.timecode_reader import timecode_in

if TYPE_CHECKING:
    from av.container import InputContainer

#: Codecs of subtitles that are text; the others are pictures.
_TEXT_CODECS = frozenset({"mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text"})
_MAKES = ("com.apple.quicktime.make", "com.android.manufacturer", "make", "manufacturer")
_MODELS = ("com.apple.quicktime.model", "com.android.model", "model", "camera_model_name")
_RECORDED = ("com.apple.quicktime.creationdate", "creation_time", "date_recorded", "date")
_MOST_STREAMS = 30
#: Files begin to count at 1904 or 1970; a camera whose clock was never set says such a date.
_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FileSubtitles:
    """One subtitle stream of text. language, name: as the file says them. lines: counted from the beginning as it is played."""

    language: str | None
    name: str | None
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """facts: with the place, if the file says one. subtitles: without lines that say a position, unless places are kept. notes: for
    people.
    """

    facts: SourceFacts
    subtitles: tuple[FileSubtitles, ...]
    notes: tuple[str, ...] = ()


def container_facts(path: Path, probe: MediaProbe, *, name: str, kept: KeptTags) -> ContainerFacts:
    """What the file says of itself, without what is not kept.

    A file with text subtitles is read to its end. What cannot be read is left out, with a note: the pictures are there all the same.
    Raises InvalidMediaError, SourceNotFoundError when the file cannot be opened.
    """
    import av

    notes: list[str] = []
    with opened(path, name=name, look_bytes=probe.look_bytes) as container:
        zero = max(0.0, (container.start_time or 0) / 1_000_000)
        tags = {**_stream_tags(container, probe), **container.metadata}
        shown = {key: value for key, value in tags.items() if not kept.hides(key, value)}
        place = next((value for key, value in tags.items() if names_a_place(key) or holds_a_position(value)), None)
        clock = timecode_in(
            path,
            [_stream_tags(container, probe), container.metadata, *(stream.metadata for stream in container.streams)],
            frame_rate=probe.video.average_frame_rate,
            first_frame_seconds=probe.video.start_seconds,
            sound_rate=probe.audio[0].sample_rate if probe.audio else None,
            in_pictures=lambda rate: picture_timecode(path, probe, rate=rate, name=name),
        )
        facts = SourceFacts(
            chapters=tuple(_chapters(container, zero)),
            camera=_camera(shown),
            recorded_at=_recorded_at(shown),
            place=place if kept.places else None,
            container_tags=shown or None,
            start_timecode=clock.time.start if clock.time else None,
            timecode_rate=str(clock.time.rate) if clock.time else None,
            reel=None if kept.hides("reel", clock.reel or "") else clock.reel,
        ).cleaned()
        notes.extend(clock.notes)
        subtitles: tuple[FileSubtitles, ...] = ()
        try:
            subtitles = tuple(_subtitles(container, zero))
        except (av.FFmpegError, HeatersError) as error:
            notes.append(f"the subtitles in {name} cannot be read: {error}")
    if not kept.places:
        subtitles, hidden = _without_positions(subtitles)
        if hidden:
            notes.append(positions_left_out(hidden))
    return ContainerFacts(facts, tuple(one for one in subtitles if one.lines), tuple(notes))


def positions_left_out(lines: int) -> str:
    """A sentence about lines of subtitles that are not kept."""
    said = counted(lines, "line of its subtitles says", "lines of its subtitles say")
    return f"{said} where it was filmed, and such lines are left out without HEATERS_KEEP_PLACES"


def hidden_tags(path: Path, kept: KeptTags, *, name: str) -> tuple[str, ...]:
    """Names of the tags of a file, and of its streams, that are not kept."""
    with opened(path, name=name) as container:
        every = [container.metadata, *(stream.metadata for stream in container.streams)]
        return tuple(dict.fromkeys(key for tags in every for key, value in tags.items() if kept.hides(key, value)))


def _stream_tags(container: InputContainer, probe: MediaProbe) -> Mapping[str, str]:
    return dict(container.streams[probe.video.index].metadata) if probe.video.index < len(container.streams) else {}


def _camera(tags: Mapping[str, str]) -> str | None:
    """Make and model, where the model does not begin with the make already."""
    known = {key.lower(): value.strip() for key, value in tags.items()}
    make = next((known[key] for key in _MAKES if known.get(key)), "")
    model = next((known[key] for key in _MODELS if known.get(key)), "")
    return " ".join(part for part in ("" if model.lower().startswith(make.lower()) else make, model or make) if part) or None


def _recorded_at(tags: Mapping[str, str]) -> datetime | None:
    known = {key.lower(): value.strip() for key, value in tags.items()}
    for key in _RECORDED:
        with suppress(ValueError, OverflowError):
            said = known.get(key, "")
            if len(said) < len("2024-05-31T1"):  # a year or a day alone is no time
                continue
            moment = datetime.fromisoformat(said)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            if moment.astimezone(UTC) >= _EARLIEST:
                return moment
    return None


def _chapters(container: InputContainer, zero: float) -> Iterator[Chapter]:
    for number, one in enumerate(container.chapters(), start=1):
        base = one["time_base"]
        if base is None:
            continue
        start, end = (max(0.0, float(one[edge] * base) - zero) for edge in ("start", "end"))
        yield Chapter(one["metadata"].get("title") or f"Chapter {number}", start, end if end > start else None)


def _subtitles(container: InputContainer, zero: float) -> Iterator[FileSubtitles]:
    streams = [one for one in container.streams.subtitles if one.codec_context is not None and one.codec_context.name in _TEXT_CODECS]
    found: dict[int, list[Line]] = {stream.index: [] for stream in streams[:_MOST_STREAMS]}
    if not found:
        return
    for packet in container.demux([stream for stream in streams if stream.index in found]):
        lines = found[packet.stream.index]
        if packet.pts is None or not packet.size or len(lines) >= MOST_LINES or packet.time_base is None:
            continue
        start = float(packet.pts * packet.time_base) - zero
        length = float((packet.duration or 0) * packet.time_base)
        lines += [Line(start, start + length, text) for text in _texts(packet)]
    for stream in streams:
        if stream.index in found:
            yield FileSubtitles(known_language(stream.language), stream.metadata.get("title"), tidy(found[stream.index]))


def _texts(packet: Any) -> Iterator[str]:
    """The texts of one packet, without those that do not decode."""
    import av

    with suppress(av.FFmpegError, ValueError):
        for one in packet.decode():
            for rect in getattr(one, "rects", None) or [one]:
                said = getattr(rect, "dialogue", b"") or getattr(rect, "text", b"")
                yield said.decode("utf-8", "replace")


def _without_positions(subtitles: Iterable[FileSubtitles]) -> tuple[tuple[FileSubtitles, ...], int]:
    """(the subtitles without lines that say a position, how many those were)."""
    kept, hidden = [], 0
    for one in subtitles:
        lines = tuple(line for line in one.lines if not holds_a_position(line.text))
        hidden += len(one.lines) - len(lines)
        kept.append(FileSubtitles(one.language, one.name, lines))
    return tuple(kept), hidden
