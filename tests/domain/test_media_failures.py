from __future__ import annotations

import errno
import signal

import pytest

from heaters_dagster.domain.errors import (
    DiskFullError,
    FfmpegError,
    HeatersError,
    InvalidMediaError,
    LowMemoryError,
    ProcessKilledError,
    TransientError,
)
from heaters_dagster.domain.media_failures import ffmpeg_failure, is_low_memory, library_failure

#: What ffmpeg says, as it says it, and what people are told.
LINES: list[tuple[str, type[HeatersError], str]] = [
    ("av_interleaved_write_frame(): No space left on device", DiskFullError, "make room"),
    ("[in#0] Error during demuxing: Input/output error", TransientError, "check the disk"),
    ("[ffv1] Unsupported number 4 of slices requested, please specify a supported number", FfmpegError, "picture size"),
    ("[Parsed_zscale_3] code 3074: no path between colorspaces", FfmpegError, "colours"),
    ("Unknown encoder 'libx264'", FfmpegError, "IMAGEIO_FFMPEG_EXE"),
    ("[dec:none] Decoding requested, but no decoder found for: none", FfmpegError, "convert the video"),
    ("Cannot determine format of input stream 0:0 after EOF", InvalidMediaError, "no frame of it can be decoded"),
    ("Error opening input: Invalid data found when processing input", FfmpegError, "submit a complete copy"),
    ("[libx264] malloc of size 3133440 failed", LowMemoryError, "too little memory for making the proxy"),
    ("[dec:h264] pthread_create() failed: Resource temporarily unavailable", LowMemoryError, "too little memory"),
    ("[aac] something nobody has ever seen", FfmpegError, "run's log"),
]


@pytest.mark.parametrize(("line", "kind", "words"), LINES, ids=[line for line, _, _ in LINES])
def test_a_line_of_ffmpeg_becomes_a_sentence_with_a_remedy_and_is_not_in_it(line: str, kind: type[HeatersError], words: str):
    after = ["Task finished with error code: -22 (Invalid argument)"] * 50
    error = ffmpeg_failure("Harbour", "proxy", 187, [line, *after])
    assert type(error) is kind
    assert str(error).startswith("Harbour: ")
    assert words in str(error)
    assert line not in str(error)
    assert "Task finished" not in str(error)


def test_a_kill_is_told_as_what_the_system_does_when_memory_runs_out_and_may_be_tried_again():
    error = ffmpeg_failure("Harbour", "gold_master", -signal.SIGKILL, [])
    assert isinstance(error, ProcessKilledError | TransientError)
    assert "SIGKILL while making the gold master, as the system does when memory runs out" in str(error)


@pytest.mark.parametrize(("code", "lines"), [(-signal.SIGSEGV, []), (187, ["[h264] get_buffer() failed"])])
def test_under_a_limit_on_memory_what_follows_from_it_is_told_as_low_memory(code: int, lines: list[str]):
    assert isinstance(ffmpeg_failure("Harbour", "proxy", code, lines, memory_limited=True), LowMemoryError)
    assert not isinstance(ffmpeg_failure("Harbour", "proxy", code, lines), LowMemoryError)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_every_library_that_lacks_memory_is_understood(error: Exception):
    assert is_low_memory(error)
    assert isinstance(library_failure("clip 3 cannot be read", error), LowMemoryError)


def test_contents_that_a_library_cannot_read_are_the_contents_fault():
    assert not is_low_memory(ValueError("out of memory of nothing"))
    error = library_failure("proxy.mp4 cannot be read", ValueError("[Errno 1094995529] Invalid data found"), "make the proxy again")
    assert isinstance(error, InvalidMediaError)
    assert str(error) == "proxy.mp4 cannot be read: its contents are damaged or of the wrong kind; make the proxy again"


def test_what_the_system_refuses_is_not_the_contents_fault():
    error = library_failure("clip_3.mp4 cannot be written", PermissionError(errno.EACCES, "Permission denied"), "make it again")
    assert isinstance(error, TransientError)
    assert str(error) == "clip_3.mp4 cannot be written: the system refuses it (Permission denied); change that, and try again"
