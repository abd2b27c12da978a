"""Whether a file that is still being sent can be a video, judged by its first bytes: known kinds of other files, then FFmpeg's own look.

It runs as a program of its own (`python -m resources.media.first_bytes NAME`, the bytes on standard input), because strangers make
these bytes: a fault of a parser ends that program and not the review app, and it gets no secret.
"""

from __future__ import annotations

import io
import subprocess
import sys

from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.file_kinds import no_video_kind
from heaters_dagster.domain.ingest import CONTAINERS
from heaters_dagster.settings import environment_without_secrets

#: FFmpeg tells a kind of file from its first megabyte at the latest; the reader ends behind that.
HEAD_BYTES = (1 << 20) + (1 << 17)
_TOLD_FROM_BYTES = 1 << 20
_SECONDS = 30.0
_NO_VIDEO = 3
#: Their headers name every stream; other formats may name their pictures later.
_NAMES_ALL_STREAMS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "avi", "ogg"}


def refuse_no_video(head: bytes, *, is_whole: bool, name: str) -> None:
    """Raise InvalidMediaError when a file that begins with `head` cannot be a video; is_whole: `head` is all of it. Else say nothing.

    head: HEAD_BYTES, or all of a smaller file. What can be one is still to be probed when all of it is there.
    """
    command = [sys.executable, "-P", "-m", "resources.media.first_bytes", name, "whole" if is_whole else "head"]
    try:
        done = subprocess.run(command, input=head, capture_output=True, timeout=_SECONDS, check=False, env=environment_without_secrets())
    except subprocess.TimeoutExpired:
        return
    if done.returncode == _NO_VIDEO:
        raise InvalidMediaError(done.stdout.decode(errors="replace").strip())


class _Head(io.RawIOBase):
    """The first bytes of a file as FFmpeg reads it. Whoever reads on shows that it knows the kind of file: that is all there is to ask."""

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
    """Somebody wants what lies behind the head."""


def problem(head: bytes, *, is_whole: bool, name: str) -> str | None:
    """Why the file is no video, None when it can be one."""
    import av

    from resources.media.media_probe import SNIFF_BYTES, unreadable

    kind = no_video_kind(head, is_whole=is_whole, name=name)
    if kind:
        return f"{name} is not a video: it is {kind}"
    options = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "", "formatprobesize": str(_TOLD_FROM_BYTES)}
    try:
        with av.open(_Head(head, is_whole=is_whole), options=options, metadata_errors="replace") as container:
            if container.format.name in _NAMES_ALL_STREAMS and not container.streams.video:
                return f"{name} is not a video: it holds no pictures"
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
