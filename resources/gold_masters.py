"""Gold masters: written by ffmpeg, and believed only after every frame and every sound was compared with the original's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from heaters_dagster.domain.archiving import (
    COPY,
    PCM_OF_SAMPLES,
    ArchivedSound,
    archiving_profile,
    decoded_sound_profile,
    master_hashes_profile,
    original_hashes_profile,
    sound_trial_profile,
    without_range,
)
from heaters_dagster.domain.errors import FfmpegError, InvalidMediaError
from heaters_dagster.domain.profiles import SourceStreams
from heaters_dagster.domain.progress import Report, silent
from resources import ffmpeg
from resources.media_probe import AudioStream, MediaProbe
from resources.proxy_bytes import RangeFile, media_input
from resources.remuxer import writing_errors

_DIGEST_BYTES = 32


#: Matroska rounds the times of two frames to the millisecond, each by up to half of one.
_TIME_TOLERANCE_SECONDS = Fraction(1, 1000)
_MARGIN_SECONDS = Fraction(1)


@dataclass(frozen=True, slots=True)
class GoldMasterFile:
    """What was written and proven. warnings: what was done to sound that Matroska cannot hold, one sentence each."""

    frame_count: int
    sound_count: int
    warnings: tuple[str, ...]


class _Hashes:
    """What ffmpeg's hash muxers print: one SHA-256 per frame (framehash), or per stream (streamhash, hash)."""

    def __init__(self) -> None:
        self._digests = bytearray()

    def read(self, file: IO[bytes]) -> None:
        """Read a pipe to its end."""
        rest = b""
        while piece := file.read(1 << 16):
            *lines, rest = (rest + piece).split(b"\n")
            self._take(lines)
        self._take([rest])

    def __len__(self) -> int:
        return len(self._digests) // _DIGEST_BYTES

    def __getitem__(self, number: int) -> bytes:
        return bytes(self._digests[number * _DIGEST_BYTES : (number + 1) * _DIGEST_BYTES])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashes) and self._digests == other._digests

    __hash__ = None  # type: ignore[assignment]

    def _take(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            if line and not line.startswith(b"#"):
                self._digests += bytes.fromhex(line.replace(b"=", b",").rsplit(b",", 1)[-1].strip().decode())


def write_gold_master(original: Path, probe: MediaProbe, path: Path, *, called: str, report: Report = silent) -> GoldMasterFile:
    """Write the gold master of `original` to `path` and prove it lossless.

    called: what people call the original, for messages. Damaged stretches of an original are kept as far as they decode.
    Raises InvalidMediaError when master and original differ, FfmpegError, ProcessKilledError, DiskFullError.
    """
    source = ffmpeg.source_streams(probe)
    sounds, warnings = _archived_sounds(original, probe)
    frames, sound_hashes = _Hashes(), _Hashes()
    targets: list[ffmpeg.Target] = [path, frames.read, *([sound_hashes.read] if sounds else [])]
    profile = archiving_profile(source, sounds)
    finished = ffmpeg.run(profile, original, targets, total_seconds=probe.duration_seconds, report=report, called=called)
    if len(frames) == 0:
        raise InvalidMediaError(f"{called}: no frame decodes, so there is nothing to archive")
    if others := _other_pictures(finished, probe):
        problems = [f"its pictures change to {others} on the way, and a master has one kind"]
    else:
        problems = _differences(original, path, source, sounds, frames, sound_hashes, probe.duration_seconds, report)
    if problems:
        raise InvalidMediaError(f"{called}: the gold master would not be lossless: {'; '.join(problems)}. The original is kept as it is")
    return GoldMasterFile(frame_count=len(frames), sound_count=len(sounds), warnings=tuple(warnings))


def _other_pictures(finished: ffmpeg.Finished, probe: MediaProbe) -> str:
    """What the pictures of an original change to, for people; empty when all are like the first."""
    video = probe.video
    first = (video.width, video.height, without_range(video.pixel_format))
    kinds = ((width, height, without_range(pixel_format)) for width, height, pixel_format in finished.pictures)
    return ", ".join(f"{width}x{height} {pixel_format}" for width, height, pixel_format in kinds if (width, height, pixel_format) != first)


def master_problems(original: Path, probe: MediaProbe, master: Path, *, report: Report = silent) -> list[str]:
    """How a gold master differs from its original, one sentence each; empty when frames and sounds are the same bit by bit.

    Decodes both to their ends. Raises FfmpegError, ProcessKilledError.
    """
    source = ffmpeg.source_streams(probe)
    sounds, _ = _archived_sounds(original, probe)
    frames, sound_hashes = _Hashes(), _Hashes()
    profile = original_hashes_profile(source, sounds)
    targets: list[ffmpeg.Target] = [frames.read, *([sound_hashes.read] if sounds else [])]
    ffmpeg.run(profile, original, targets, total_seconds=probe.duration_seconds, report=report)
    return _differences(original, master, source, sounds, frames, sound_hashes, probe.duration_seconds, report)


def _differences(
    original: Path,
    master: Path,
    source: SourceStreams,
    sounds: Sequence[ArchivedSound],
    frames: _Hashes,
    sound_hashes: _Hashes,
    total_seconds: float | None,
    report: Report,
) -> list[str]:
    kept, kept_sounds = _Hashes(), _Hashes()
    targets: list[ffmpeg.Target] = [kept.read, *([kept_sounds.read] if sounds else [])]
    try:
        ffmpeg.run(master_hashes_profile(source, sounds), master, targets, total_seconds=total_seconds, report=report)
    except FfmpegError as error:
        return [f"it cannot be read to its end ({error})"]
    problems = []
    if len(kept) != len(frames):
        problems.append(f"it has {len(kept)} frames, the original {len(frames)}")
    elif kept != frames:
        first = next(number for number in range(len(frames)) if kept[number] != frames[number])
        problems.append(f"frame {first} is another picture")
    for number, sound in enumerate(sounds):
        same = len(kept_sounds) == len(sound_hashes) > number and kept_sounds[number] == sound_hashes[number]
        if not same and not _sounds_alike(original, master, number, sound):
            problems.append(f"sound stream {sound.stream} is not the original's")
    return problems


def _archived_sounds(original: Path, probe: MediaProbe) -> tuple[list[ArchivedSound], list[str]]:
    """(how each sound stream is kept, what to tell people): copied if Matroska takes it, else its decoded samples, else left out."""
    sounds: list[ArchivedSound] = []
    warnings: list[str] = []
    for stream in probe.audio:
        pcm = _pcm(original, stream)
        fitting = [ArchivedSound(stream.index, codec) for codec in (COPY, pcm) if codec]
        sound = next((sound for sound in fitting if _fits(original, sound)), None)
        if sound is None:
            warnings.append(f"sound stream {stream.index} ({stream.codec}) can be neither copied nor decoded: the gold master lacks it")
            continue
        sounds.append(sound)
        if sound.codec != COPY:
            warnings.append(f"sound stream {stream.index} ({stream.codec}) does not fit into Matroska: kept losslessly as {sound.codec}")
    return sounds, warnings


def _fits(original: Path, sound: ArchivedSound) -> bool:
    try:
        ffmpeg.run(sound_trial_profile(sound), original, [Path("/dev/null")])
    except FfmpegError:
        return False
    return True


def _pcm(original: Path, stream: AudioStream) -> str | None:
    """The PCM encoder that holds what the stream's decoder gives; None when there is no decoder or the file cannot be opened."""
    import av

    try:
        with av.open(f"file:{original.absolute()}", options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
            context = container.streams[stream.index].codec_context
            sample_format = context.format if context is not None else None
            return PCM_OF_SAMPLES.get(sample_format.packed.name) if sample_format is not None else None
    except (av.FFmpegError, IndexError):
        return None


def _sounds_alike(original: Path, master: Path, number: int, sound: ArchivedSound) -> bool:
    """Whether a sound stream decodes to the same samples: packets of MPEG transport streams carry headers that Matroska does without."""
    decoded = []
    for path, stream in ((original, str(sound.stream)), (master, f"a:{number}")):
        hashes = _Hashes()
        try:
            ffmpeg.run(decoded_sound_profile(stream, "pcm_f32le"), path, [hashes.read])
        except FfmpegError:
            return False
        decoded.append(hashes)
    return len(decoded[0]) == 1 and decoded[0] == decoded[1]


@dataclass(frozen=True, slots=True)
class MasterSpan:
    """Where the frames of a clip are in a file that holds its part of a master. Times in seconds from that file's start, as ffmpeg counts.

    previous_frame: of the frame before the first, or any time before the first that no frame of the clip is at; None: nothing is before.
    sound: number of the sound that is used among those of the file; None without any.
    """

    path: Path
    first_frame: Fraction
    previous_frame: Fraction | None
    sound: int | None


def master_span(
    master: Path | RangeFile, *, first: Fraction, previous: Fraction | None, last: Fraction, folder: Path, called: str
) -> MasterSpan:
    """Find the frames of a clip in a master, and make sure that first and last are where they should be.

    first, previous, last: times of the clip's first frame, of the one before it (None when the clip begins with frame 0) and of its last,
    in seconds after frame 0. Of a remote master the part round the clip is copied into `folder`, and no more of it is read.
    Raises InvalidMediaError when there is no frame at such a time.
    """
    import av

    try:
        with av.open(media_input(master)) as container:
            stream = container.streams.video[0]
            origin = next(packet.pts * packet.time_base for packet in container.demux(stream) if packet.size)
            for time in (first, last):
                if not _has_frame_at(container, stream, origin + time):
                    raise InvalidMediaError(f"{called} has no frame {float(time):.3f} s after its first, as the proxy has: make it again")
            path = master if isinstance(master, Path) else folder / "master.mkv"
            if not isinstance(master, Path):
                with writing_errors(path):
                    _copy_part(container, origin + first - _MARGIN_SECONDS, origin + last + _MARGIN_SECONDS, path)
        with av.open(str(path)) as container:
            start = Fraction(container.start_time or 0, av.time_base)
            used = _used_sound(container)
            sound = None if used is None else container.streams.audio.index(used)
    except av.FFmpegError as error:
        raise InvalidMediaError(f"{called} cannot be read: {error.strerror}; make it again") from error
    at = origin + first - start
    before = None if at <= 0 else Fraction(0) if previous is None else origin + previous - start
    return MasterSpan(path, at, before, sound)


def _used_sound(container: Any) -> Any:
    """The default sound stream or else the first, as for the proxy; None without any."""
    from av.stream import Disposition

    sounds = container.streams.audio
    return next((stream for stream in sounds if stream.disposition & Disposition.default), next(iter(sounds), None))


def _has_frame_at(container: Any, stream: Any, time: Fraction) -> bool:
    _seek(container, stream, time - _MARGIN_SECONDS)
    for packet in container.demux(stream):
        if packet.size:
            shown = packet.pts * packet.time_base
            if shown > time + _TIME_TOLERANCE_SECONDS:
                return False
            if shown >= time - _TIME_TOLERANCE_SECONDS:
                return True
    return False


def _copy_part(container: Any, start: Fraction, end: Fraction, path: Path) -> None:
    """Copy picture and the sound that is used between two times, at their times, to a Matroska file."""
    import av

    sound = _used_sound(container)
    streams = [container.streams.video[0], *([sound] if sound is not None else [])]
    _seek(container, streams[0], start)
    with av.open(str(path), "w", format="matroska") as output:
        copies = {stream.index: output.add_stream_from_template(stream, opaque=True) for stream in streams}
        for packet in container.demux(streams):
            if not packet.size:
                continue
            if packet.stream is streams[0] and packet.pts * packet.time_base > end:
                break
            packet.stream = copies[packet.stream.index]
            output.mux_one(packet)


def _seek(container: Any, stream: Any, time: Fraction) -> None:
    container.seek(int(max(Fraction(0), time) / stream.time_base), stream=stream, backward=True)
