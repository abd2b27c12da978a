"""yt-dlp's downloaders of streams in segments, made so that one that was killed at any moment goes on, with no segment lost or twice.

yt-dlp itself notes a segment after it has appended it, so one that is killed between the two appends it again; the number that it notes may
be that of another segment; and after a break it counts wrongly, so that segments that are encrypted by their number become noise. Here a
line of a journal says how long the file was when a segment was complete. What lies beyond that length is cut off, and the whole list of
segments is counted. What is written is hashed on the way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from yt_dlp.downloader.dash import DashSegmentsFD
from yt_dlp.downloader.hls import HlsFD

from resources.sources.written_hash import WrittenHash

_JOURNALED = (HlsFD, DashSegmentsFD)


def journal_of(stream: Path) -> Path:
    """Beside the file of a stream: a line `number size` for each complete segment."""
    return stream.with_name(f"{stream.name}.journal")


def complete_segments(stream: Path) -> tuple[int, int]:
    """(number of complete segments, their bytes in the unfinished file). A line that was cut off does not count."""
    with suppress(OSError, ValueError):
        *_, last = [line for line in journal_of(stream).read_text("ascii").splitlines(keepends=True) if line.endswith("\n")]
        number, size = map(int, last.split())
        return number, size
    return 0, 0


@cache
def resumable(downloader: type) -> type:
    """The class of a downloader of yt-dlp with `start`, which hashes; with a journal where it downloads segments of HLS or DASH."""
    journal = (_Journal,) if downloader in _JOURNALED else ()
    return type(downloader.__name__, (*journal, _Started, downloader), {})


class _Started:
    """What `YoutubeDL.dl` does with a downloader of its own choice, and the hash of the file that it writes."""

    ydl: Any
    _hash: WrittenHash
    _unfinished: str

    def start(self, name: str, info: dict[str, Any], written: WrittenHash, subtitle: bool = False) -> Any:
        session = self.ydl
        self._hash, self._unfinished = written, self.temp_name(name)  # type: ignore[attr-defined]
        for hook in session._progress_hooks:
            self.add_progress_hook(hook)  # type: ignore[attr-defined]
        stream = session._copy_infodict(info)
        if stream.get("http_headers") is None:
            stream["http_headers"] = session._calc_headers(stream)
        return self.download(name, stream, subtitle)  # type: ignore[attr-defined]

    def sanitize_open(self, name: str, mode: str) -> Any:
        """yt-dlp opens with it every file that it writes or reads; the one that is hashed is only written at its end."""
        file, opened_name = super().sanitize_open(name, mode)  # type: ignore[misc]
        if name == self._unfinished and mode in {"wb", "ab"}:
            file = self._hash.hashing(file, Path(opened_name), anew=mode == "wb")
        return file, opened_name


class _Journal:
    """Goes before FragmentFD. Its own file of notes (.ytdl) is not used."""

    def _prepare_frag_download(self, context: dict[str, Any]) -> None:
        stream = Path(context["filename"])
        context["complete"], size = complete_segments(stream)
        unfinished = Path(self.temp_name(context["filename"]))  # type: ignore[attr-defined]
        Path(self.ytdl_filename(context["filename"])).unlink(missing_ok=True)  # type: ignore[attr-defined]
        if context["complete"] and unfinished.is_file() and unfinished.stat().st_size >= size:
            os.truncate(unfinished, size)
        else:
            context["complete"] = 0
            for path in (unfinished, journal_of(stream)):
                path.unlink(missing_ok=True)
        super()._prepare_frag_download(context)  # type: ignore[misc]

    def _start_frag_download(self, context: dict[str, Any], info: dict[str, Any]) -> Any:
        """Progress is counted from the complete segments; the list of segments is made from its beginning."""
        context["fragment_index"] = context["complete"]
        started = super()._start_frag_download(context, info)  # type: ignore[misc]
        context["fragment_index"] = 0
        return started

    def download_and_append_fragments(self, context: dict[str, Any], fragments: Iterable[Any], *rest: Any, **options: Any) -> Any:
        already = context["complete"]
        left = (one for one in fragments if one["frag_index"] > already)
        return super().download_and_append_fragments(context, left, *rest, **options)  # type: ignore[misc]

    def _append_fragment(self, context: dict[str, Any], content: bytes) -> None:
        super()._append_fragment(context, content)  # type: ignore[misc]
        context["complete"] += 1  # not its own count, which other threads change
        with journal_of(Path(context["filename"])).open("a", encoding="ascii") as journal:
            journal.write(f"{context['complete']} {context['dest_stream'].tell()}\n")
