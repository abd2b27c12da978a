"""Gold masters: written by ffmpeg, and accepted only after every frame and every sound was compared with the original's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

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
from heaters_dagster.domain.words import counted
from resources.media import ffmpeg
from resources.media.first_look import AudioStream, MediaProbe, opened
from resources.media.master_times import clock_is_wrong, file_clock, has_jumps, write_in_step
from resources.media.proxy_writer import shown_times

_DIGEST_BYTES = 32
_CUT_IT = (
    "To get a gold master, cut the file where that changes and submit the parts, or convert it with another program first so "
    "that nothing changes"
)


@dataclass(frozen=True, slots=True)
class GoldMasterFile:
    """What was written and proven. warnings: one sentence for each sound that Matroska cannot hold."""

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


def write_gold_master(
    original: Path,
    probe: MediaProbe,
    path: Path,
    *,
    called: str,
    without_tags: Sequence[str] = (),
    timecode: str | None = None,
    report: Report = silent,
) -> GoldMasterFile:
    """Write the gold master of `original` to `path` and prove it lossless.

    called: what people call the original, for messages. without_tags: tags that the master shall not have. timecode: of the first frame;
    None: as the original says it.
    Damaged parts of an original are kept as far as they can be decoded.
    Raises InvalidMediaError when master and original differ, FfmpegError, ProcessKilledError, DiskFullError.
    """
    source = ffmpeg.source_streams(probe)

    def write(sounds: Sequence[ArchivedSound]) -> tuple[ffmpeg.Finished, _Hashes, _Hashes, ffmpeg.FrameTimes]:
        frames, sound_hashes, times = _Hashes(), _Hashes(), ffmpeg.FrameTimes()
        targets: list[ffmpeg.Target] = [path, frames.read, *([sound_hashes.read] if sounds else [])]
        profile = archiving_profile(source, sounds, without_tags=without_tags, timecode=timecode, jumps=has_jumps(probe))
        finished = ffmpeg.run(
            profile,
            original,
            targets,
            total_seconds=probe.duration_seconds,
            report=report,
            called=called,
            frame_times=times.read,
            frame_rate=float(probe.video.average_frame_rate),
        )
        return finished, frames, sound_hashes, times

    sounds, warnings = [ArchivedSound(stream.index, COPY) for stream in probe.audio], list[str]()
    try:  # Matroska takes nearly every sound, and refuses one before much is written: only then each is tried alone
        finished, frames, sound_hashes, times = write(sounds)
    except (FfmpegError, InvalidMediaError):
        copied = sounds
        sounds, warnings = _archived_sounds(original, probe)
        if sounds == copied:
            raise
        finished, frames, sound_hashes, times = write(sounds)
    if len(frames) == 0:
        raise InvalidMediaError(f"{called}: no frame can be decoded, so there is nothing to archive")
    if others := _other_pictures(finished, probe):
        problems = [f"its pictures change to {others} within the file, and a gold master can hold one kind only. {_CUT_IT}"]
    else:
        _put_in_step(path, original, probe, times.seconds, sounds, called=called)
        problems = _differences(original, path, source, sounds, frames, sound_hashes, probe.duration_seconds, report)
    if problems:
        raise InvalidMediaError(f"{called}: the gold master would not be lossless: {'; '.join(problems)}. The original is kept as it is")
    return GoldMasterFile(frame_count=len(frames), sound_count=len(sounds), warnings=tuple(warnings))


def _put_in_step(
    path: Path, original: Path, probe: MediaProbe, told: NDArray[np.float64], sounds: Sequence[ArchivedSound], *, called: str
) -> None:
    """Write a master again whose original has a wrong clock, with right times."""
    told = file_clock(original, probe, told)
    shown = shown_times(probe, told)
    if clock_is_wrong(probe, told, shown):
        in_step = path.with_stem(f"{path.stem}-in-step")
        write_in_step(path, original, probe, in_step, shown=shown, sounds=[sound.stream for sound in sounds], called=called)
        in_step.replace(path)


def _other_pictures(finished: ffmpeg.Finished, probe: MediaProbe) -> str:
    """What the pictures of an original change to, in words; empty when all are like the first."""
    video = probe.video
    first = (video.width, video.height, without_range(video.pixel_format))
    kinds = ((width, height, without_range(pixel_format)) for width, height, pixel_format in finished.pictures)
    return ", ".join(f"{width}x{height} {pixel_format}" for width, height, pixel_format in kinds if (width, height, pixel_format) != first)


def master_problems(original: Path, probe: MediaProbe, master: Path, *, report: Report = silent) -> list[str]:
    """How a gold master differs from its original, one sentence each; empty when frames and sounds are equal bit by bit.

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
        return [f"it cannot be read to the end ({error})"]
    problems = []
    if len(kept) != len(frames):
        problems.append(f"it has {counted(len(kept), 'frame')}, the original {len(frames)}")
    elif kept != frames:
        first = next(number for number in range(len(frames)) if kept[number] != frames[number])
        problems.append(f"frame {first} shows another picture")
    for number, sound in enumerate(sounds):
        same = len(kept_sounds) == len(sound_hashes) > number and kept_sounds[number] == sound_hashes[number]
        if not same and not _sounds_alike(original, master, number, sound):
            kinds = _kinds_of_sound(original, sound.stream)
            changed = f": it changes from {' to '.join(kinds)} within the file, and a gold master can hold one kind only. {_CUT_IT}"
            problems.append(f"sound stream {sound.stream} differs from the original's{changed if len(kinds) > 1 else ''}")
    return problems


def _kinds_of_sound(original: Path, stream: int) -> list[str]:
    """Rate and channels of the decoded sound, in words: each combination once, in order of time."""
    import av

    kinds: dict[str, None] = {}
    try:
        with opened(original) as container:
            for packet in container.demux(container.streams[stream]):
                with suppress(av.FFmpegError):
                    frames: list[Any] = list(packet.decode())
                    kinds |= {f"{frame.sample_rate} Hz ({frame.layout.name})": None for frame in frames}
    except (av.FFmpegError, InvalidMediaError, IndexError):
        pass  # what came before it counts
    return list(kinds)


def _archived_sounds(original: Path, probe: MediaProbe) -> tuple[list[ArchivedSound], list[str]]:
    """(how each sound stream is kept, sentences for people): copied if Matroska takes it, else its decoded samples, else left out."""
    sounds: list[ArchivedSound] = []
    warnings: list[str] = []
    for stream in probe.audio:
        pcm = _pcm(original, stream)
        fitting = [ArchivedSound(stream.index, codec) for codec in (COPY, pcm) if codec]
        sound = next((sound for sound in fitting if _fits(original, sound)), None)
        if sound is None:
            warnings.append(f"sound stream {stream.index} ({stream.codec}) can be neither copied nor decoded: it is not in the gold master")
            continue
        sounds.append(sound)
        if sound.codec != COPY:
            warnings.append(
                f"sound stream {stream.index} ({stream.codec}) cannot be stored in Matroska: the gold master has it losslessly as "
                f"{sound.codec}"
            )
    return sounds, warnings


def _fits(original: Path, sound: ArchivedSound) -> bool:
    try:
        ffmpeg.run(sound_trial_profile(sound), original, [Path("/dev/null")], trial=True)
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
    except MemoryError:
        raise
    except (av.FFmpegError, IndexError):
        return None


def _sounds_alike(original: Path, master: Path, number: int, sound: ArchivedSound) -> bool:
    """Whether a sound stream decodes to the same samples.

    Packets cannot be compared: in MPEG transport streams they have headers that Matroska leaves out.
    """
    decoded = []
    for path, stream in ((original, str(sound.stream)), (master, f"a:{number}")):
        hashes = _Hashes()
        try:
            ffmpeg.run(decoded_sound_profile(stream, "pcm_f32le"), path, [hashes.read])
        except FfmpegError:
            return False
        decoded.append(hashes)
    return len(decoded[0]) == 1 and decoded[0] == decoded[1]
