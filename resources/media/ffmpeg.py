"""Runs ffmpeg: the program that comes in imageio-ffmpeg's wheel, with a command line that ffmpeg-python builds from a profile.

A child process never outlives its parent (PR_SET_PDEATHSIG on Linux). It never gets the terminal's Ctrl-C, because it has its own process
group; the caller ends it. Exit code 0 does not mean that the file is complete: callers compare frame counts.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, cast

from heaters_dagster.domain.errors import FfmpegError
from heaters_dagster.domain.ffmpeg_run import Filter, Options, Output, Profile
from heaters_dagster.domain.ffv1 import slice_count
from heaters_dagster.domain.ingest import AUDIO_CONTAINERS, CONTAINERS
from heaters_dagster.domain.media_failures import ffmpeg_failure, low_memory, ran_out_of_memory, says_too_little_memory
from heaters_dagster.domain.profiles import SMALL_PICTURE_PIXELS, SourceStreams
from heaters_dagster.domain.progress import Progress, Report, silent
from heaters_dagster.settings import environment_without_secrets

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from resources.media.first_look import MediaProbe

#: Reads a pipe that ffmpeg writes to, until its end, in its own thread.
PipeReader: TypeAlias = Callable[[IO[bytes]], None]
#: Writes to a pipe that ffmpeg reads, in its own thread.
PipeWriter: TypeAlias = Callable[[IO[bytes]], None]
Target: TypeAlias = Path | PipeReader

_BACKGROUND_NICENESS = 19
_PIPE_BYTES = 1 << 20
#: How many of ffmpeg's error lines are kept: the first lines say what failed, the last ones what followed.
_LOG_LINES = 40
_REPORT_INTERVAL_SECONDS = 0.5
_LOGGER = logging.getLogger(__name__)
#: FFmpeg's AV_NOPTS_VALUE, and what it prints for it.
_NO_TIMES = (-(2**63), 2**63 - 1)
_ADDRESS = re.compile(r"\[([^\]@]+) @ 0x[0-9a-f]+\] ")
#: Only at the beginning of a line, because ffmpeg also prints the original's metadata, which may contain any text.
_LEVEL = re.compile(r"(?:[^\s:\[][^\[]*: )?\[(info|warning|error|fatal|panic)\] ")
_NEW_PICTURE = re.compile(r"Reconfiguring filter graph because video parameters changed to (\w+)\(.*, (\d+)x(\d+)\b")
_TIME_NOT_LATER = "non monotonically increasing dts"

# Runs between fork and ffmpeg. Python's preexec_fn could do this, but it is not safe in a process with threads, and torch starts threads.
# The parent may die before prctl runs, so its pid is checked again afterwards (1 is PR_SET_PDEATHSIG).
# The signal's number is an argument, because the import of its module takes a third of the time that all this needs.
# With MALLOC_MMAP_THRESHOLD_ glibc gives large blocks back; otherwise 20 MB stay unused after the header of a 2-hour MP4 was read.
_EXEC = """
import ctypes, os, sys
parent, niceness, killed, command = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, killed, 0, 0, 0)
if os.getppid() != parent:
    sys.exit(1)
os.nice(niceness)
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "131072")
os.execv(command[0], command)
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that ended with exit code 0. damage_count: errors that demuxer, decoder or encoder reported. first_damage: the first of them.

    times_moved: some frames had the time of the frame before, or an earlier time. pictures: the kinds of stored pictures after changes
    within the file: width, height and pixel format, each once.
    """

    wall_seconds: float
    damage_count: int
    first_damage: str | None
    times_moved: bool = False
    pictures: tuple[tuple[int, int, str], ...] = ()


def ffmpeg_path() -> str:
    """The path of the program in the wheel. Raises FfmpegError when there is none for this machine."""
    import imageio_ffmpeg

    try:
        return cast(str, imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise FfmpegError(f"there is no ffmpeg for this machine: {error}; install one and set IMAGEIO_FFMPEG_EXE to its path") from None


def source_streams(probe: MediaProbe) -> SourceStreams:
    """What the profiles must know about an original: its picture, and its sound (of the usable ones the default, or else the first)."""
    audio = next((stream for stream in probe.audio if stream.index in probe.sounds[:1]), probe.used_audio)
    return SourceStreams(
        video=probe.video.index,
        pixel_format=probe.video.pixel_format,
        alpha_decoder=probe.video.alpha_decoder,
        master_slices=slice_count(
            probe.video.width, probe.video.height, pixel_format=probe.video.pixel_format, bit_depth=probe.video.bit_depth
        ),
        interlaced=probe.video.interlaced,
        color_primaries=probe.video.color_primaries,
        color_transfer=probe.video.color_transfer,
        color_space=probe.video.color_space,
        color_range=probe.video.color_range,
        hdr_metadata=probe.video.hdr_metadata,
        audio=None if audio is None else audio.index,
        audio_channels=0 if audio is None else audio.channels,
        look_bytes=probe.look_bytes,
        first_seconds=probe.video.start_seconds - min([probe.video.start_seconds, *(sound.start_seconds for sound in probe.audio)]),
        longest_delay_seconds=probe.longest_delay_seconds,
        early_seconds=probe.early_seconds,
        even_rate=probe.video.average_frame_rate if probe.without_times else None,
        is_small=0 < probe.video.width * probe.video.height <= SMALL_PICTURE_PIXELS,
    )


def command(
    profile: Profile,
    source: Path,
    targets: Sequence[str],
    *,
    progress: str = "pipe:2",
    picture: str | None = None,
    sound: str | None = None,
    frame_times: str | None = None,
) -> list[str]:
    """The complete command line. targets: one address for each output of the profile, as `file:/folder/proxy.mp4` or `pipe:5`.

    picture: where the picture comes from instead of `source`. sound: where the profile's sound comes from. frame_times: where ffmpeg writes
    the source time of each frame of the first output.
    """
    import ffmpeg

    opened = ffmpeg.input(
        picture or _file_url(source),
        **profile.input_options,
        # So a file that names other files or addresses (a playlist with the name of a video) cannot make ffmpeg open them.
        protocol_whitelist="file,pipe",
        format_whitelist=",".join(CONTAINERS + AUDIO_CONTAINERS),
        # LCEVC enhancement is passed on but not applied: this ffmpeg would make 1920x1080 pictures where every other decoder shows 960x540.
        export_side_data="+enhancements",
        # Edges that a container asks players to hide are kept: PyAV shows them too, and a gold master without them would not be lossless.
        apply_cropping="codec",
    )
    filtered = _filtered(opened[profile.video], profile.filters)
    pictured = sum(output.video for output in profile.outputs)
    split = filtered.split() if pictured > 1 else None
    pictures = iter([filtered] if split is None else [split[number] for number in range(pictured)])
    sounding = None if sound is None or profile.sound is None else ffmpeg.input(sound, **profile.sound.input_options)
    told: Options = {} if frame_times is None else {
        "stats_enc_pre:v": frame_times, "stats_enc_pre_fmt:v": "{ptsi} {tbi} {pts} {tb}",
    }  # fmt: skip
    outputs = [
        _output(opened, sounding, pictures, output, target, {} if number else told)
        for number, (output, target) in enumerate(zip(profile.outputs, targets, strict=True))
    ]
    words = ffmpeg.get_args(ffmpeg.merge_outputs(*outputs) if len(outputs) > 1 else outputs[0])
    for output, target in zip(profile.outputs, targets, strict=True):
        removed = [word for tag in output.without_tags for option in ("-metadata", "-metadata:s") for word in (option, f"{tag}=")]
        words[words.index(target) : words.index(target)] = removed  # the library gives each option once
    return [
        ffmpeg_path(), "-nostdin", "-hide_banner", "-y", "-nostats",
        "-loglevel", "level+info",
        "-progress", progress, "-stats_period", str(_REPORT_INTERVAL_SECONDS),
        "-max_error_rate", "1",  # by default ffmpeg fails, after everything was decoded, when more than two thirds of it had errors
        *words,
    ]  # fmt: skip


def run(
    profile: Profile,
    source: Path,
    targets: Sequence[Target],
    *,
    total_seconds: float | None = None,
    report: Report = silent,
    called: str | None = None,
    picture: PipeWriter | None = None,
    sound: PipeWriter | None = None,
    frame_times: PipeReader | None = None,
    frame_rate: float = 0.0,
    trial: bool = False,
) -> Finished:
    """Run `profile` on `source`. Each output has a target: a file to write, or a function that reads the pipe that ffmpeg writes to.

    report: gets finished seconds, out of total_seconds, at the beginning and twice a second, in this thread. called: the name of the
    source in messages.
    picture: writes the data that is read instead of `source`. sound: writes the profile's sound; each has its own thread. frame_times:
    reads one line for each frame of the first output (`FrameTimes.read`). frame_rate: frames per second, to compute the progress from the
    number of frames where times cannot be used; 0: from times.
    An error in `report` or in a reader, or an interrupt, kills ffmpeg and is raised here.
    trial: the run only tests whether something works, so its error lines are not logged.
    Raises the errors of `ffmpeg_failure`: FfmpegError, InvalidMediaError when no frame decodes, ProcessKilledError when a signal ended it,
    LowMemoryError, DiskFullError.
    Files that it wrote before it failed are not deleted: write to the folder of an attempt.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        progress = _Pipe(stack)
        pipes = [None if isinstance(target, Path) else _Pipe(stack) for target in targets]
        urls = [pipe.url if pipe else _file_url(cast(Path, target)) for pipe, target in zip(pipes, targets, strict=True)]
        seen, heard = (None if writer is None else _Pipe(stack, to_child=True) for writer in (picture, sound))
        told = None if frame_times is None else _Pipe(stack)
        niceness = _BACKGROUND_NICENESS if profile.background else 0
        arguments = command(
            profile,
            source,
            urls,
            progress=progress.url,
            picture=seen.url if seen else None,
            sound=heard.url if heard else None,
            frame_times=told.url if told else None,
        )
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _EXEC, str(os.getpid()), str(niceness), str(int(signal.SIGKILL)), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment_without_secrets(),
            pass_fds=[pipe.child_end for pipe in (progress, *pipes, seen, heard, told) if pipe],
            process_group=0,
        )
        child = _Child(process)
        try:
            assert process.stderr is not None
            child.start(child.read_log, process.stderr)
            for pipe, target in zip(pipes, targets, strict=True):
                if pipe:
                    child.start(cast(PipeReader, target), pipe.opened())
            if told and frame_times:
                child.start(frame_times, told.opened())
            for written, writer in ((seen, picture), (heard, sound)):
                if written and writer:
                    child.start(writer, written.opened())
            # A run that never gets further has told that it began.
            report(Progress(profile.name, 0.0, total_seconds, "seconds", time.monotonic() - started))
            for seconds in _progress_seconds(progress.opened(), frame_rate):
                report(Progress(profile.name, seconds, total_seconds, "seconds", time.monotonic() - started))
            code = process.wait()
        finally:
            child.end()
    if child.reader_error is not None:
        raise child.reader_error
    lines = [*child.first_lines, *child.last_lines]
    limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    if code != 0:
        if not trial:
            _LOGGER.warning("%s: ffmpeg (%s) ended with code %d and said:\n%s", called or source.name, profile.name, code, "\n".join(lines))
        raise ffmpeg_failure(called or source.name, profile.name, code, lines, memory_limited=limited)
    if ran_out_of_memory(lines, memory_limited=limited):  # then frames are missing, but not because of the source
        raise low_memory(called or source.name, profile.name)
    return Finished(time.monotonic() - started, child.damage_count, child.first_damage, child.times_moved, tuple(child.pictures))


class _Pipe:
    """A pipe from ffmpeg to us or from us to ffmpeg. Its ends are closed with `stack` at the latest."""

    def __init__(self, stack: ExitStack, *, to_child: bool = False) -> None:
        read_end, write_end = os.pipe()
        self._to_child = to_child
        self.child_end, self._own_end = (read_end, write_end) if to_child else (write_end, read_end)
        self._open = {read_end, write_end}
        stack.callback(self._close)
        if sys.platform == "linux":
            with suppress(OSError):  # above the user's limit for pipe memory: the default size works too, but more slowly
                fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def url(self) -> str:
        return f"pipe:{self.child_end}"

    def opened(self) -> IO[bytes]:
        """Our end, after ffmpeg has taken the other end; the caller closes it."""
        self._close_end(self.child_end)
        self._open.discard(self._own_end)
        return os.fdopen(self._own_end, "wb" if self._to_child else "rb", buffering=0)

    def _close(self) -> None:
        for end in list(self._open):
            self._close_end(end)

    def _close_end(self, end: int) -> None:
        self._open.discard(end)
        os.close(end)


class _Child:
    """A running ffmpeg, with the threads that read its messages and its output."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._threads: list[threading.Thread] = []
        self.first_lines: list[str] = []
        self.last_lines: deque[str] = deque(maxlen=_LOG_LINES)
        self.damage_count = 0
        self.first_damage: str | None = None
        self.times_moved = False
        self.pictures: dict[tuple[int, int, str], None] = {}
        self.reader_error: BaseException | None = None

    def start(self, reader: PipeReader, file: IO[bytes]) -> None:
        """Read `file` in a thread. When the reader fails, ffmpeg is killed, because nobody would read the pipe any more."""

        def read() -> None:
            try:
                with file:
                    reader(file)
            except BaseException as error:
                self.reader_error = self.reader_error or error
                self._kill()

        thread = threading.Thread(target=read, name="ffmpeg-pipe", daemon=True)
        thread.start()
        self._threads.append(thread)

    def read_log(self, file: IO[bytes]) -> None:
        level = ""
        for raw in file:
            line = _ADDRESS.sub(r"\1: ", raw.decode(errors="replace").strip())[:500]
            tag = _LEVEL.match(line)
            level = tag[1] if tag else level
            if level != "info":
                self._complaint(line.replace(f"[{level}] ", "", 1), level)
            elif tag and (changed := _NEW_PICTURE.match(line, tag.end())):
                self.pictures[int(changed[2]), int(changed[3]), changed[1]] = None

    def _complaint(self, line: str, level: str) -> None:
        (self.first_lines if len(self.first_lines) < _LOG_LINES else self.last_lines).append(line)
        if says_too_little_memory(line):  # ffmpeg's H.264 decoder would try again for ever
            self._kill()
        if _TIME_NOT_LATER in line:
            self.times_moved = True
        elif level not in {"", "warning"}:
            self.damage_count += 1
            self.first_damage = self.first_damage or line

    def end(self) -> None:
        """Kill ffmpeg if it still runs, and wait for it and for the threads."""
        if self._process.poll() is None:
            self._kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


class FrameTimes:
    """The source time of each encoded frame: give `read` to `run` as `frame_times`."""

    def __init__(self) -> None:
        self._seconds = array("d")

    @property
    def seconds(self) -> NDArray[np.float64]:
        """(n,) in the order in which frames are shown, in times of the source."""
        import numpy as np

        return np.array(self._seconds, dtype=np.float64)

    def read(self, file: IO[bytes]) -> None:
        """Lines with four values: the frame's source time and its unit; then both as the encoder gets them, for frames without a time."""
        units: dict[bytes, float] = {}
        for line in os.fdopen(os.dup(file.fileno()), "rb"):
            time, unit, encoded_time, encoded_unit = line.split()
            if int(time) in _NO_TIMES:
                time, unit = encoded_time, encoded_unit
            if unit not in units:
                units[unit] = float(Fraction(unit.decode()))
            self._seconds.append(int(time) * units[unit])


def _progress_seconds(file: IO[bytes], frame_rate: float) -> Iterable[float]:
    """The position in the output, in seconds, each time ffmpeg reports it."""
    buffered = os.fdopen(os.dup(file.fileno()), "r", encoding="utf-8", errors="replace")
    file.close()
    with buffered:
        for line in buffered:
            name, _, value = line.strip().partition("=")
            if frame_rate and name == "frame" and value.isdigit():
                yield int(value) / frame_rate
            elif not frame_rate and name == "out_time_us" and value.lstrip("-").isdigit():
                yield max(0, int(value)) / 1_000_000


def _file_url(path: Path) -> str:
    """A path as an address that ffmpeg cannot mistake for another protocol, whatever the name contains."""
    return f"file:{path.absolute()}"


def _filtered(stream: Any, filters: Iterable[Filter]) -> Any:
    for step in filters:
        stream = stream.filter(step.name, **step.options)
    return stream


def _output(opened: Any, sounding: Any, pictures: Any, output: Output, target: str, told: Options) -> Any:
    import ffmpeg

    streams = [_filtered(next(pictures), output.filters)] if output.video else []
    streams += [opened[specifier] for specifier in output.audio]
    streams += [sounding["a:0"]] if output.sound else []
    return ffmpeg.output(*streams, target, **output.options, **told)
