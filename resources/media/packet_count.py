"""Counts every packet of a file: which streams have packets, at what times, and whether the picture's times can be trusted.

The beginning of a container does not say everything: a sound may begin after the part that FFmpeg reads, a new programme brings new
streams, and a clock may be reset. So a file is read once to its end, without decoding, and no stream is dropped without a note.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain import words
from heaters_dagster.domain.clock import (
    FORWARD_SECONDS,
    FORWARD_SECONDS_OF_STREAMS,
    clock_jumps,
    in_order_of_decoding,
    mended,
    seconds_of,
    stands_still_at_an_end,
)
from resources.media.first_look import AudioStream, MediaProbe, opened

#: FFmpeg may have to read this far beyond the place in a transport stream that it needs.
_LOOK_MARGIN_BYTES = 1 << 20
#: A limit, because FFmpeg keeps in memory what it reads here.
LARGEST_LOOK_BYTES = 512 << 20
_TRIED_PACKETS = 200
#: In broadcasts pictures change from progressive to interlaced and back. What a file says about such a stream holds for its beginning only.
_MIXING_CODECS = frozenset({"h264", "mpeg1video", "mpeg2video", "vc1"})
_MIXING_CONTAINERS = frozenset({"h264", "mpeg", "mpegts", "mpegvideo", "mxf", "vc1"})
#: One keyframe is decoded in every so many seconds, to see whether it is interlaced.
_LOOKED_AT_EVERY_SECONDS = 1.0
#: Containers whose streams share a clock that each programme may reset.
_STREAM_CONTAINERS = frozenset({"mpegts", "mpeg"})
_TOGETHER_SECONDS = 0.1
#: Containers that count frames in the order of decoding and have no times for showing them.
_COUNTING_CONTAINERS = frozenset({"avi"})
#: Containers whose index may not say in which order frames are shown.
_INDEXED_CONTAINERS = frozenset({"mxf"})
_EDITED_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2"})
#: So many packets after one that is shown lies every one that is shown before it.
_TRIED_FRAMES = 40
_MOST_HIDDEN = 1000


@dataclass(slots=True)
class _Count:
    """One stream: its packets, their times if they have times, and for a sound of unknown kind what its first frame says."""

    packets: int = 0
    seconds: array[float] = field(default_factory=lambda: array("d"))
    untold: bool = False
    tried: int = 0
    channels: int = 0
    sample_rate: int = 0
    told_at_byte: int = 0
    first_keyframe_seconds: float | None = None
    #: Whether the first packet with a time is not shown; None before it came.
    begins_hidden: bool | None = None
    #: Of its first packet with a time, and of all: PyAV makes a new Fraction for each packet that is asked.
    time_base: Fraction | None = None

    def times(self) -> NDArray[np.float64]:
        return np.frombuffer(self.seconds, dtype=np.float64) if self.seconds else np.zeros(0)


def is_stream(container: str) -> bool:
    """Whether the container is used for broadcasts: the kind of its contents may change within the file."""
    return container in _STREAM_CONTAINERS


def forward_limit(container: str) -> float:
    """In seconds: a larger step forward means another clock, in a file of that container."""
    return FORWARD_SECONDS_OF_STREAMS if is_stream(container) else FORWARD_SECONDS


@dataclass(slots=True)
class _Fields:
    """Whether some keyframes are interlaced. Only keyframes are decoded, each alone, until the first interlaced one.

    done: the answer is known. looked_at: the time of the last keyframe that was decoded.
    """

    done: bool
    seen: bool = False
    looked_at: float = float("-inf")

    def look(self, packet: Any) -> None:
        import av

        if not packet.is_keyframe:
            return
        time = packet.dts if packet.dts is not None else packet.pts
        seconds = float(time * packet.time_base) if time is not None else None
        if seconds is not None and 0 <= seconds - self.looked_at < _LOOKED_AT_EVERY_SECONDS:
            return
        if seconds is not None:
            self.looked_at = seconds
        try:
            self._take(packet.decode())
        except av.FFmpegError:
            return

    def end(self, context: Any) -> None:
        """The decoder still holds the last ones."""
        import av

        try:
            self._take(context.decode(None))
        except av.FFmpegError:
            return

    def _take(self, frames: Any) -> None:
        self.seen = self.done = any(frame.interlaced_frame for frame in frames)


def counted(path: Path, found: MediaProbe, *, name: str) -> MediaProbe:
    """`found`, completed with what the whole file shows. name: of the file in messages. Raises the same errors as `first_look`."""
    fields = _Fields(done=not _may_mix(found))
    counts, pictures = _read_through(path, found, name, fields)
    audio = tuple(_told(stream, counts[stream.index]) for stream in found.audio)
    picture = counts[found.video.index].times()
    known = replace(found, audio=audio, video=replace(found.video, interlaced=found.video.interlaced or fields.seen))
    begins = counts[found.video.index].first_keyframe_seconds
    if found.container in _COUNTING_CONTAINERS and begins is not None:
        known = replace(known, video=replace(known.video, start_seconds=begins), in_decoding_order=True)
    if found.container in _INDEXED_CONTAINERS:
        known = replace(known, without_times=_has_times_of_decoding(path, known, name))
    if found.container in _EDITED_CONTAINERS and counts[found.video.index].begins_hidden and (early := _early_seconds(path, known, name)):
        start = known.video.start_seconds + early
        known = replace(known, video=replace(known.video, start_seconds=start), early_seconds=early)
    sounds = _sounds(known, counts)
    heard = np.concatenate([counts[number].times() for number in sounds]) if sounds else None
    limit = forward_limit(found.container)
    jumps = clock_jumps(picture, forward_seconds=limit, sound=None if is_stream(found.container) else heard)
    still = heard is not None and not is_stream(found.container) and stands_still_at_an_end(picture, heard)
    on_one_clock = mended(picture, jumps, forward_seconds=limit, stands_still=still).seconds
    return replace(
        known,
        look_bytes=max((count.told_at_byte for count in counts.values() if count.told_at_byte <= LARGEST_LOOK_BYTES), default=0),
        sounds=sounds,
        jumps=jumps,
        end_seconds=float(on_one_clock.max()) if len(on_one_clock) else None,
        stands_still=still,
        notes=tuple(_notes(known, counts, pictures, sounds)),
    )


def _has_times_of_decoding(path: Path, found: MediaProbe, name: str) -> bool:
    import av

    seconds: list[float] = []
    with opened(path, name=name) as container, suppress(av.FFmpegError):
        frames: Iterator[Any] = container.decode(container.streams[found.video.index])
        for frame in islice(frames, _TRIED_FRAMES):
            if frame.time is not None:
                seconds.append(frame.time)
    return in_order_of_decoding(np.array(seconds))


def _early_seconds(path: Path, found: MediaProbe, name: str) -> float:
    """See `MediaProbe.early_seconds`. The packets around the first one that is shown are read."""
    import av

    number = found.video.index
    hidden: set[int] = set()
    shown: dict[int, float] = {}
    times: dict[int, float] = {}
    with suppress(av.FFmpegError):
        with opened(path, name=name) as container:
            for packet in islice(_timed(container, number), _MOST_HIDDEN):
                if packet.is_discard:
                    hidden.add(packet.pos)
                else:
                    shown[packet.pos] = seconds_of(packet.pts, packet.time_base)
                if not hidden or len(shown) > _TRIED_FRAMES:
                    break
        if not hidden or not shown:
            return 0.0
        with opened(path, name=name, whole=True) as container:
            container.seek(0, stream=container.streams[number])
            for packet in islice(_timed(container, number), 2 * _MOST_HIDDEN):
                times[packet.pos] = seconds_of(packet.pts, packet.time_base)
                if times.keys() >= hidden | shown.keys():
                    break
    first = min(shown, key=lambda place: shown[place])
    if first not in times:
        return 0.0
    before = max((times[place] for place in hidden & times.keys() if times[place] < times[first]), default=times[first])
    early = times[first] - shown[first]
    return early if 0 < early < times[first] - before else 0.0


def _timed(container: Any, stream: int) -> Iterator[Any]:
    return (packet for packet in container.demux(container.streams[stream]) if packet.size and packet.pts is not None)


def _may_mix(found: MediaProbe) -> bool:
    return not found.video.interlaced and found.video.codec in _MIXING_CODECS and found.container in _MIXING_CONTAINERS


def _read_through(path: Path, found: MediaProbe, name: str, fields: _Fields) -> tuple[dict[int, _Count], set[int]]:
    """(stream index -> what was counted, indexes of the video streams that are not used)."""
    import av
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails
    counting = found.container in _COUNTING_CONTAINERS
    with opened(path, name=name) as container:
        counts = {stream.index: _Count() for stream in container.streams}
        for stream in container.streams.audio:
            counts[stream.index].untold = stream.codec_context is not None and not (stream.channels and stream.sample_rate)
        pictures = {one.index for one in container.streams.video if one.index != found.video.index and not one.disposition & still}
        try:
            for packet in container.demux():
                if packet.size:
                    _count(counts.setdefault(packet.stream.index, _Count()), packet, packet.dts if counting else packet.pts)
                    if packet.stream.index == found.video.index and not fields.done:
                        fields.look(packet)
        except av.FFmpegError:
            pass  # cut off: what came before counts
        if not fields.done:
            fields.end(container.streams[found.video.index].codec_context)
    return counts, pictures


def _count(count: _Count, packet: Any, time: int | None) -> None:
    import av

    count.packets += 1
    if count.begins_hidden is None and packet.pts is not None:
        count.begins_hidden = packet.is_discard
    time = packet.dts if time is None else time
    if time is not None and not packet.is_discard:
        count.time_base = count.time_base or packet.time_base
        count.seconds.append(seconds_of(time, count.time_base))
        if count.first_keyframe_seconds is None and packet.is_keyframe:
            count.first_keyframe_seconds = count.seconds[-1]
    if count.untold and count.tried < _TRIED_PACKETS:
        count.tried += 1
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError):
            return
        if frames:
            count.untold = False
            count.channels, count.sample_rate = frames[0].layout.nb_channels, frames[0].sample_rate
            count.told_at_byte = (packet.pos or 0) + packet.size + _LOOK_MARGIN_BYTES


def _told(stream: AudioStream, count: _Count) -> AudioStream:
    """A sound whose kind is known only from packets after the part of the container that FFmpeg reads first."""
    if not count.sample_rate:
        return stream
    start = count.seconds[0] if count.seconds else 0.0
    return replace(stream, channels=count.channels, sample_rate=count.sample_rate, start_seconds=start)


def _sounds(found: MediaProbe, counts: dict[int, _Count]) -> tuple[int, ...]:
    """The sound that is used, and the streams that continue where it ends while there are pictures, as after a change of programme."""
    used = found.used_audio
    if used is None:
        return ()
    if not counts[used.index].packets:
        later = [one for one in found.audio if one.channels > 0 and counts[one.index].packets]
        used = later[0] if later else used
    chosen, end = [used.index], _ends(counts[used.index])
    last_picture = _ends(counts[found.video.index])
    for stream in found.audio:
        times = counts[stream.index].times()
        if stream.index not in chosen and stream.channels > 0 and len(times) and end - _TOGETHER_SECONDS <= times[0] <= last_picture:
            chosen.append(stream.index)
            end = _ends(counts[stream.index])
    return tuple(chosen)


def _ends(count: _Count) -> float:
    return count.seconds[-1] if count.seconds else float("-inf")


def _notes(found: MediaProbe, counts: dict[int, _Count], pictures: set[int], sounds: tuple[int, ...]) -> list[str]:
    notes = []
    if found.video.dolby_vision_only:
        notes.append(
            "its picture is in Dolby Vision alone (profile 5), with none for other screens: the proxy has wrong colours, green and purple;"
            " convert it to HDR10 or standard range with a program that knows Dolby Vision, and submit that"
        )
    for number in sorted(pictures):
        count = counts[number]
        if count.packets > 1:
            begins = f", from {count.seconds[0]:.3f} s on" if count.seconds else ""
            notes.append(
                f"it has another picture (stream {number}, {words.counted(count.packets, 'frame')}{begins}): the proxy and the gold "
                "master show stream"
                f" {found.video.index} only; the original has both"
            )
    for stream in found.audio:
        count = counts[stream.index]
        if count.packets and not (stream.channels and stream.sample_rate):
            notes.append(
                f"sound stream {stream.index} ({stream.codec}) has {words.counted(count.packets, 'packet')}, and none can be "
                "decoded: it is left out"
            )
        elif count.told_at_byte > LARGEST_LOOK_BYTES:
            notes.append(
                f"sound stream {stream.index} begins after {count.told_at_byte / (1 << 20):.0f} MiB of the file: the proxy has it,"
                " the gold master cannot keep it; the original does"
            )
    if len(sounds) > 1:
        shown = ", ".join(str(number) for number in sounds)
        notes.append(f"its sound changes from one stream to another (streams {shown}): the proxy has them one after the other")
    return notes
