"""Why ffmpeg, its libraries or a detector failed, with a remedy: one table from their messages to the words that people read."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Sequence

from heaters_dagster.domain.errors import (
    DiskFullError,
    FfmpegError,
    HeatersError,
    InvalidMediaError,
    LowMemoryError,
    ProcessKilledError,
    TransientError,
)

_STAGES = {
    "proxy": "making the proxy",
    "scene_scores": "reading the proxy for the shot detector",
    "gold_master": "making the gold master",
    "gold_master_proof": "comparing the gold master with the original",
    "frame_times": "reading the times of the original's frames",
    "delivery": "making the small file for delivery",
    "master_export": "exporting from the gold master",
    "download_normalization": "writing the download anew",
}
_EXITED_ON_SIGNAL = 255

#: Messages of ffmpeg or a library that always mean too little memory.
_NO_MEMORY = re.compile(
    r"cannot allocate memory|can't allocate memory|out of memory|not enough memory|insufficient memory|unable to allocate|bad_alloc"
    r"|malloc of size|failed to allocate|pthread_create\(\) failed|can't start new thread|resource temporarily unavailable",
    re.IGNORECASE,
)
#: Messages that may mean too little memory, or something else: taken as that only when the failed run had a limit on its memory.
_PERHAPS_NO_MEMORY = re.compile(r"get_buffer\(\) failed|Error while opening (?:en|de)coder|encoder_init failed|Error initializing")

#: (what a line of ffmpeg contains, kind of the error, cause and remedy), the clearest first. `{}` is what was being done.
_CAUSES: tuple[tuple[re.Pattern[str], type[HeatersError], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind, text)
    for pattern, kind, text in (
        (
            "no space left on device|disk quota exceeded",
            DiskFullError,
            "no room left on the disk while {}; make room and try again",
        ),
        (
            "input/output error|stale file handle",
            TransientError,
            "the disk gave an error while {}; check the disk, then try again",
        ),
        (
            "too many open files",
            TransientError,
            "too many files are open on this machine while {}; try again when fewer programs run, or raise the limit of open files",
        ),
        (
            "cannot determine format of input",
            InvalidMediaError,
            "no frame of it can be decoded; the file is damaged, encrypted or cut off",
        ),
        (
            "no such file or directory",
            FfmpegError,
            "a file was missing while {}; submit the video again if its original is no longer in the store",
        ),
        ("permission denied", FfmpegError, "a file may not be read or written while {}; check the rights of Heaters' folders"),
        (
            "unsupported number .* of slices|picture size .* is invalid|width .* not divisible|invalid .*dimensions",
            FfmpegError,
            "its picture size cannot be stored while {}; convert the video to another size and submit that",
        ),
        (
            "no path between colorspaces|invalid colorspace|color family|impossible to convert between the formats",
            FfmpegError,
            "the description of its colours cannot be used while {}; rewrite the file with ordinary colour tags and submit that",
        ),
        (
            "unknown encoder|encoder not found|no such filter|unrecognized option|option not found|unknown decoder|filter not found",
            FfmpegError,
            "this ffmpeg lacks a part that is needed for {}; unset IMAGEIO_FFMPEG_EXE, so that Heaters uses its own ffmpeg",
        ),
        (
            "no decoder found|decoder .*not found|could not find codec parameters|not implemented. update your ffmpeg",
            FfmpegError,
            "it has a stream that ffmpeg cannot decode, so {} failed; convert the video, for example to H.264 in MP4, and submit that",
        ),
        (
            "version 4 needed|floating.?point|32bit requires remap",
            FfmpegError,
            "its pictures consist of floating-point numbers, which an FFV1 gold master cannot hold; the original is kept as it is",
        ),
        (
            "could not find tag for codec|not currently supported in container|not supported by this format",
            FfmpegError,
            "it has a stream that the new file cannot hold, so {} failed; convert the video and submit that",
        ),
        (
            "too many packets buffered",
            FfmpegError,
            "its picture and its sound lie too far apart in the file for {}; rewrite the file (ffmpeg -c copy) and submit that",
        ),
        (
            "error opening input|error demuxing|invalid data found|moov atom not found|end of file",
            FfmpegError,
            "it could not be read to the end while {}: it is damaged, cut off or encrypted; submit a complete copy",
        ),
    )
)


def ffmpeg_failure(called: str, profile: str, code: int, lines: Sequence[str], *, memory_limited: bool = False) -> HeatersError:
    """The error to raise for a run of ffmpeg that failed.

    called: what people call the source. code: ffmpeg's exit code, below 0 for a signal. lines: its error lines, the first ones included.
    memory_limited: whether a limit is set on the memory of this process.
    """
    doing = _doing(profile)
    said = "\n".join(lines)
    if ran_out_of_memory(lines, memory_limited=memory_limited) or (memory_limited and code < 0):
        return low_memory(called, profile)
    for pattern, kind, text in _CAUSES[:1]:
        if pattern.search(said):
            return kind(f"{called}: {text.format(doing)}")
    if code == -signal.SIGKILL:
        return ProcessKilledError(
            f"{called}: ffmpeg was ended by SIGKILL while {doing}, as the system does when memory runs out;"
            " it can be tried again when less runs on this machine"
        )
    if code < 0 or code == _EXITED_ON_SIGNAL:
        by = signal.Signals(-code).name if code < 0 else "a signal"
        return ProcessKilledError(f"{called}: ffmpeg was ended by {by} while {doing}; it can be tried again")
    for pattern, kind, text in _CAUSES[1:]:
        if pattern.search(said):
            return kind(f"{called}: {text.format(doing)}")
    return FfmpegError(
        f"{called}: ffmpeg failed while {doing}, for a reason that Heaters does not know (exit code {code});"
        " what ffmpeg said is in the run's log"
    )


def says_too_little_memory(line: str) -> bool:
    """Whether a line of ffmpeg can mean nothing else than too little memory. Then no result of the run may be used."""
    return bool(_NO_MEMORY.search(line))


def ran_out_of_memory(lines: Sequence[str], *, memory_limited: bool) -> bool:
    """Whether ffmpeg's lines say that memory was short. A run may end with exit code 0 all the same, with frames missing."""
    said = "\n".join(lines)
    return bool(_NO_MEMORY.search(said) or (memory_limited and _PERHAPS_NO_MEMORY.search(said)))


def low_memory(called: str, profile: str) -> LowMemoryError:
    """The error to raise when ffmpeg had too little memory for a profile."""
    return LowMemoryError(
        f"{called}: too little memory for {_doing(profile)}; it can be tried again when fewer programs run on this machine, or with "
        "a higher limit"
    )


def _doing(profile: str) -> str:
    return _STAGES.get(profile, f"running its profile {profile}")


#: The system said no before any content was read or written, so the content is not at fault. PyAV leaves out which file it was.
_REFUSALS = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}


def library_failure(message: str, error: Exception, remedy: str = "") -> HeatersError:
    """The error to raise for an error of PyAV. message: what could not be done to what; remedy: what to do if the contents are at fault."""
    number = getattr(error, "errno", None)
    if number == errno.ENOMEM or is_low_memory(error):
        return LowMemoryError(f"{message}: too little memory; it can be tried again when fewer programs run on this machine")
    if number in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFullError(f"{message}: no room left on the disk; make room and try again")
    if number in {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.EAGAIN}:
        return TransientError(f"{message}: the system could not read or write at that moment; try again")
    if number in _REFUSALS:
        return TransientError(f"{message}: the system refuses it ({getattr(error, 'strerror', error)}); change that, and try again")
    return InvalidMediaError(f"{message}: its contents are damaged or of the wrong kind{remedy and '; ' + remedy}")


def is_low_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short: Python, numpy, PyAV, torch and OpenCV each word it differently."""
    if isinstance(error, MemoryError):
        return True
    return (isinstance(error, RuntimeError | OSError) and _NO_MEMORY.search(str(error)) is not None) or _of_opencv(error)


def _of_opencv(error: BaseException) -> bool:
    return type(error).__module__ == "cv2" and _NO_MEMORY.search(str(error)) is not None
