"""What belongs to a video of a web site: facts from yt-dlp's answer, subtitles, thumbnail. Every request goes through the address guard.

Everything here was written by strangers: it is cleaned, counted and measured. What cannot be had is a warning; the video is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from yt_dlp.networking import Request

from heaters_dagster.domain.errors import HeatersError, InvalidMediaError
from heaters_dagster.domain.ingest import web_host
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.source_facts import Chapter, SourceFacts, clean_line
from heaters_dagster.domain.subtitles import AUTOMATIC, MOST_BYTES, MOST_FILES, SUBTITLE, SubtitleFile, known_language, lines_of
from resources.media.thumbnails import thumbnail_jpeg
from resources.sources.guarded_ytdlp import GuardedYoutubeDL

_MOST_BYTES = MOST_BYTES
_FORMATS = ("vtt", "srt")
#: Extractors of yt-dlp that take any page; their ids are those of the page or the file, and two sites may have the same.
_OF_ANY_PAGE = frozenset({None, "Generic", "HTML5MediaEmbed", "GenericEmbeds"})
#: How yt-dlp marks the language that is spoken among those into which a site translates.
_SPOKEN = "-orig"
#: After so many that failed one after the other, the rest is not asked for.
_MOST_FAILURES = 2


@dataclass(frozen=True, slots=True)
class Belongings:
    """thumbnail: a JPEG. warnings: sentences about what could not be had."""

    subtitles: tuple[SubtitleFile, ...]
    thumbnail: bytes | None
    warnings: tuple[str, ...]


def facts_of(info: Mapping[str, Any]) -> SourceFacts:
    """What the site says of the video. info: yt-dlp's answer.

    A page that no extractor knows has no id of its own: its site is its host.
    """
    address = _line(info.get("webpage_url")) or _line(info.get("original_url"))
    is_known = info.get("extractor_key") not in _OF_ANY_PAGE
    return SourceFacts(
        site=_line(info.get("extractor_key")) if is_known else web_host(address or ""),
        site_id=_line(info.get("id")) if is_known else None,
        uploader=next((said for key in ("uploader", "channel", "creator", "artist") if (said := _line(info.get(key)))), None),
        uploaded_on=_day(info.get("upload_date")),
        page_address=None if address is None else without_access(address),
        licence=_line(info.get("license")),
        description=_line(info.get("description")),
        tags=tuple(one for one in _listed(info.get("tags")) if isinstance(one, str)),
        chapters=tuple(_chapters(info.get("chapters"))),
        place=_line(info.get("location")),
    ).cleaned()  # fmt: skip


def belongings(
    session: GuardedYoutubeDL,
    info: Mapping[str, Any],
    folder: Path,
    *,
    fresh: Callable[[], GuardedYoutubeDL],
    automatic_captions: bool = False,
) -> Belongings:
    """Subtitles and thumbnail of a video whose file is there already.

    folder: for this use. fresh: another session with the same guard, for subtitles that come in segments. automatic_captions: also those
    that a machine of the site has made in the language that is spoken; its translations are never taken.
    """
    warnings: list[str] = []
    wanted = [(SUBTITLE, *one) for one in _offered(info.get("subtitles"))]
    if automatic_captions:
        wanted += [(AUTOMATIC, *one) for one in _spoken(_offered(info.get("automatic_captions")), _line(info.get("language")))]
    subtitles = tuple(_subtitles(session, info, wanted, folder, fresh, warnings))
    return Belongings(subtitles, _thumbnail(session, info, warnings), tuple(warnings))


def _subtitles(
    session: GuardedYoutubeDL,
    info: Mapping[str, Any],
    wanted: Sequence[tuple[str, str, dict[str, Any]]],
    folder: Path,
    fresh: Callable[[], GuardedYoutubeDL],
    warnings: list[str],
) -> Iterator[SubtitleFile]:
    """wanted: (kind, language, form)."""
    if len(wanted) > MOST_FILES:
        warnings.append(f"the site has subtitles in {len(wanted)} languages; the first {MOST_FILES} were kept")
    failures = 0
    for number, (kind, language, one) in enumerate(wanted[:MOST_FILES]):
        if failures == _MOST_FAILURES:
            warnings.append("the other subtitles were not asked for")
            return
        try:
            data = _subtitle_bytes(session, info, one, folder / f"subtitles_{number}", fresh)
            lines = lines_of(data, is_rolling=kind == AUTOMATIC)
            if not lines:
                raise InvalidMediaError("they hold no lines with times")
        except Exception as error:  # any exception: extractors and downloaders raise what they like, and the video is there
            failures += 1
            what = "automatic captions" if kind == AUTOMATIC else "subtitles"
            warnings.append(f"the {what} in {language[:40]} could not be kept: {_reason(error)}")
        else:
            failures = 0
            said = language.removesuffix(_SPOKEN)
            yield SubtitleFile("site", known_language(said), clean_line(_line(one.get("name"))), f".{one['ext']}", data, lines, kind)


def _offered(said: Any) -> list[tuple[str, dict[str, Any]]]:
    """(language, form) of those subtitles that can be read."""
    offered = said if isinstance(said, dict) else {}
    return [(str(language), one) for language, forms in offered.items() if (one := _best_form(forms)) is not None]


def _spoken(offered: Sequence[tuple[str, dict[str, Any]]], language: str | None) -> list[tuple[str, dict[str, Any]]]:
    """Of automatic captions those in the language that is spoken: a site offers translations into a hundred others beside them."""
    named = [one for one in offered if one[0].endswith(_SPOKEN)]
    alike = [one for one in offered if language and one[0].lower().split("-")[0] == language.lower().split("-")[0]]
    return named or alike[:1] or list(offered if len(offered) == 1 else ())


def _best_form(forms: Any) -> dict[str, Any] | None:
    """The form that can be read: WebVTT before SubRip. Live chats and forms of other kinds are no subtitles."""
    usable = [one for one in _listed(forms) if isinstance(one, dict) and one.get("ext") in _FORMATS and (one.get("url") or one.get("data"))]
    return min(usable, key=lambda one: _FORMATS.index(one["ext"]), default=None)


def _subtitle_bytes(
    session: GuardedYoutubeDL, info: Mapping[str, Any], one: dict[str, Any], path: Path, fresh: Callable[[], GuardedYoutubeDL]
) -> bytes:
    if one.get("data"):
        return str(one["data"]).encode("utf-8", "replace")[:_MOST_BYTES]
    if not one.get("fragments") and not str(one.get("protocol") or "http").startswith("m3u8") and ".m3u8" not in str(one["url"]):
        return _bytes(session, one["url"], one.get("http_headers") or info.get("http_headers"))

    def hook(status: Mapping[str, Any]) -> None:
        if (status.get("downloaded_bytes") or 0) > _MOST_BYTES:
            raise InvalidMediaError("they are too large")

    with fresh() as other:
        other.add_progress_hook(hook)
        success, _ = other.dl(str(path), {"http_headers": info.get("http_headers") or {}, "title": "subtitles", "id": "s", **one}, True)
        if success is False or not path.is_file():  # None is what yt-dlp says of segments of WebVTT, also when all went well
            raise InvalidMediaError("the download broke off")
    return path.read_bytes()[:_MOST_BYTES]


def _thumbnail(session: GuardedYoutubeDL, info: Mapping[str, Any], warnings: list[str]) -> bytes | None:
    named = [one.get("url") for one in reversed(_listed(info.get("thumbnails"))) if isinstance(one, dict)]
    addresses = dict.fromkeys(one for one in (info.get("thumbnail"), *named) if isinstance(one, str) and web_host(one))
    reason = None
    for address in list(addresses)[:_MOST_FAILURES]:
        try:
            return thumbnail_jpeg(_bytes(session, address, None), called="the thumbnail")
        except Exception as error:  # as for subtitles
            reason = reason or _reason(error)
    if reason is not None:
        warnings.append(f"the thumbnail could not be kept: {reason}")
    return None


def _bytes(session: GuardedYoutubeDL, address: str, headers: Mapping[str, str] | None) -> bytes:
    response = session.urlopen(Request(address, headers=dict(headers or {})))
    try:
        data: bytes = response.read(_MOST_BYTES + 1)
    finally:
        response.close()
    if len(data) > _MOST_BYTES:
        raise InvalidMediaError(f"more than {_MOST_BYTES >> 20} MiB came")
    return data


def _reason(error: Exception) -> str:
    told = error if isinstance(error, HeatersError) else error.__cause__ if isinstance(error.__cause__, HeatersError) else error
    return without_access(" ".join(str(told).split())[:300]) or type(error).__name__


def _line(said: Any) -> str | None:
    return said if isinstance(said, str) and said.strip() else None


def _listed(said: Any) -> list[Any]:
    return list(said) if isinstance(said, (list, tuple)) else []


def _day(said: Any) -> Any:
    with suppress(ValueError, TypeError):
        return datetime.strptime(said, "%Y%m%d").date()
    return None


def _chapters(said: Any) -> Iterator[Chapter]:
    for number, one in enumerate(_listed(said), start=1):
        if not isinstance(one, dict):
            continue
        start, end = _time(one.get("start_time")), _time(one.get("end_time"))
        if start is not None:
            yield Chapter(_line(one.get("title")) or f"Chapter {number}", start, end if end is not None and end > start else None)


def _time(said: Any) -> float | None:
    with suppress(ValueError, TypeError, OverflowError):
        seconds = float(said)
        return seconds if math.isfinite(seconds) and 0 <= seconds < 10_000_000 else None
    return None
