"""Decides from its first bytes whether a file that is still being sent can be a video: first by known kinds of other files, then by FFmpeg.

It runs as a separate program (`python -m resources.media.first_bytes NAME`, with the bytes on standard input), because the bytes come from
strangers: a fault of a parser ends that program and not the review app, and the program gets no secrets.
"""

from __future__ import annotations

import io
import subprocess
import sys

from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.file_kinds import no_video_kind
from heaters_dagster.domain.ingest import CONTAINERS
from heaters_dagster.settings import environment_without_secrets

#: FFmpeg needs at most the first megabyte to recognise a kind of file; the reader ends after that.
HEAD_BYTES = (1 << 20) + (1 << 17)
_TOLD_FROM_BYTES = 1 << 20
_SECONDS = 30.0
_NO_VIDEO = 3
#: Formats whose headers name every stream; other formats may name their pictures later.
_NAMES_ALL_STREAMS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "avi", "ogg"}


def refuse_no_video(head: bytes, *, is_whole: bool, name: str) -> None:
    """Raise InvalidMediaError when a file that begins with `head` cannot be a video. is_whole: `head` is the whole file.

    head: HEAD_BYTES, or all of a smaller file. A file that passes must still be probed when all of it has arrived.
    """
    command = [sys.executable, "-P", "-m", "resources.media.first_bytes", name, "whole" if is_whole else "head"]
    try:
        done = subprocess.run(command, input=head, capture_output=True, timeout=_SECONDS, check=False, env=environment_without_secrets())
    except subprocess.TimeoutExpired:
        return
    if done.returncode == _NO_VIDEO:
        raise InvalidMediaError(done.stdout.decode(errors="replace").strip())


class _Head(io.RawIOBase):
    """The first bytes of a file, for FFmpeg to read.

    When FFmpeg reads beyond them, it has recognised the kind of file, and that is the answer.
    """

    def __init__(self, head: bytes, *, is_whole: bool) -> None:
        self._file = io.BytesIO(head)
        self._end = None if is_whole else len(head)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        if self._end is not None and self._file.tell() + max(size, 0) > self._end:
            raise _Behind
        return self._file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        if self._end is not None and (whence == io.SEEK_END or place > self._end):
            raise _Behind
        return self._file.seek(place, whence)


class _Behind(Exception):
    """FFmpeg wants to read beyond the head."""


def problem(head: bytes, *, is_whole: bool, name: str) -> str | None:
    """Why the file is not a video; None when it can be one."""
    import av

    from resources.media.first_look import SNIFF_BYTES, unreadable

    kind = no_video_kind(head, is_whole=is_whole, name=name)
    if kind:
        return f"{name} is not a video: it is {kind}"
    options = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "", "formatprobesize": str(_TOLD_FROM_BYTES)}
    try:
        with av.open(_Head(head, is_whole=is_whole), options=options, metadata_errors="replace") as container:
            if container.format.name in _NAMES_ALL_STREAMS and not container.streams.video:
                return f"{name} is not a video: it has no pictures"
    except _Behind:
        return None
    except av.FFmpegError:
        return unreadable(name, head[:SNIFF_BYTES])
    return None


def main() -> int:
    name, extent = sys.argv[1:]
    told = problem(sys.stdin.buffer.read(), is_whole=extent == "whole", name=name)
    if told is None:
        return 0
    sys.stdout.buffer.write(told.encode())
    return _NO_VIDEO


if __name__ == "__main__":
    sys.exit(main())
