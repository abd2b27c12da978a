"""Subtitle files that lie beside a video, in its folder or in its bucket, are taken along with it: `film.srt`, `film.de.vtt`.

What cannot be kept is a warning, because the video is there. Only a temporary failure ends the fetch: the next try may get all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from heaters_dagster.domain.errors import HeatersError, InvalidMediaError, TransientError
from heaters_dagster.domain.source_facts import clean_line
from heaters_dagster.domain.subtitles import MOST_BYTES, MOST_FILES, SubtitleFile, beside, lines_of
from resources.sources.fetched import Fetched


def with_subtitles_beside(fetched: Fetched, names: Callable[[], Iterable[str]], read: Callable[[str], bytes]) -> Fetched:
    """The fetched video with the subtitle files beside it. names: of the files in its folder. read: a name -> all bytes of that file.

    Raises TransientError, as `read` and `names` do.
    """
    warnings: list[str] = []
    subtitles = tuple(_subtitles(fetched.name, names, read, warnings))
    return replace(fetched, subtitles=(*fetched.subtitles, *subtitles), warnings=(*fetched.warnings, *warnings))


def names_beside(path: Path) -> list[str]:
    """The names in the folder of a file that can be stored."""
    return [name for name in os.listdir(path.parent) if os.fsencode(name).decode("utf-8", "replace") == name]


def subtitle_file(origin: str, file: str, data: bytes, *, language: str | None, name: str | None) -> SubtitleFile:
    """file: its name, with its suffix. Raises InvalidMediaError when it holds no subtitles."""
    lines = lines_of(data)
    if not lines:
        raise InvalidMediaError("it holds no lines with times")
    return SubtitleFile(origin, language, name, Path(file).suffix.lower(), data, lines)


def _subtitles(video: str, names: Callable[[], Iterable[str]], read: Callable[[str], bytes], warnings: list[str]) -> Iterator[SubtitleFile]:
    try:
        found = beside(video, names())
    except TransientError:
        raise
    except (HeatersError, OSError) as error:
        warnings.append(f"subtitle files beside it could not be looked for: {_reason(error)}")
        return
    if len(found) > MOST_FILES:
        warnings.append(f"{len(found)} subtitle files lie beside it; the first {MOST_FILES} were kept")
    for one in found[:MOST_FILES]:
        try:
            yield subtitle_file("beside", one.file, read(one.file), language=one.language, name=one.name)
        except TransientError:
            raise
        except (HeatersError, OSError) as error:
            warnings.append(f"the subtitle file {clean_line(one.file)} could not be kept: {_reason(error)}")


def checked_size(byte_size: int) -> int:
    """The size of a subtitle file. Raises InvalidMediaError when it is too large."""
    if byte_size > MOST_BYTES:
        raise InvalidMediaError(f"it has {byte_size:,} bytes, and subtitles have at most {MOST_BYTES >> 20} MiB")
    return byte_size


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) and not isinstance(error, HeatersError) else None) or clean_line(str(error)) or ""
