"""Reads lists of the web with yt-dlp: which videos a playlist, channel, feed or page has. It downloads none and reads no page of one.

Nothing that a site says is trusted: addresses must be web addresses, texts are cleaned, numbers are checked, and a list that never ends is
cut off. Import it where it is used, because importing yt-dlp takes long.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from yt_dlp.extractor import gen_extractor_classes
from yt_dlp.networking import Request
from yt_dlp.utils import PlaylistEntries, UnsupportedError, smuggle_url, unsmuggle_url

from heaters_dagster.domain.errors import ForbiddenSourceError, HeatersError, InvalidMediaError, SiteRefusesError
from heaters_dagster.domain.ingest import VIDEO_SUFFIXES, SourceKind, clean_title, source_kind, web_host
from heaters_dagster.domain.page_videos import videos_named
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.source_facts import LINE_CHARACTERS, clean_line
from heaters_dagster.domain.source_lists import MOST_MEMBERS, Limits, Member, WebList, item_address, lets_in, page_and_item
from heaters_dagster.domain.words import counted
from resources.sources.address_guard import AddressGuard
from resources.sources.guarded_ytdlp import GuardedYoutubeDL, QuietLog
from resources.sources.site_access import NO_SITES, Sites
from resources.sources.web_failures import causes, failure, no_video
from resources.sources.web_traffic import WebTraffic

_LEADS_ON = frozenset({"url", "url_transparent"})
_LISTS = frozenset({"playlist", "multi_video", "compat_list"})
_MOST_STEPS = 8
#: Lists within a list (the tabs of a channel, the seasons of a series) that are read, and how deep.
_MOST_INNER = 100
_DEEPEST = 3
_PROBLEMS_TOLD = 20
_LARGEST_PAGE_BYTES = 4 << 20
_LONGEST_SECONDS = 366 * 86_400.0
#: Of what yt-dlp hides in an address, that which the address alone makes good.
_HARMLESS = frozenset({"force_videoid", "to_generic"})
#: Extractors for pages of no known site, which number what they find.
_WITHOUT_IDS = frozenset({"Generic", "HTML5MediaEmbed"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_STREAMS = frozenset({".m3u8", ".mpd"})


def may_be_list(address: str) -> bool:
    """Whether only a look can tell that a web address is one video. Nothing is fetched."""
    page, item = page_and_item(address)
    suffix = PurePosixPath(unquote(urlsplit(page).path)).suffix.lower()
    if item is not None or suffix in VIDEO_SUFFIXES | _STREAMS or not web_host(page):
        return False
    return _is_single(page) is not True


def read_list(
    address: str,
    *,
    guard: AddressGuard,
    timeout_seconds: float = 20.0,
    most: int = MOST_MEMBERS,
    limits: Limits = Limits(),
    sites: Sites = NO_SITES,
    plugins: Path | None = None,
) -> WebList | None:
    """The list at a web address; None when there is a single video. The rest as for GuardedYoutubeDL.

    most: members that are read at the most. limits: once there are as many as they take, no more is read.

    Raises what a download raises: SourceNotFoundError, ForbiddenSourceError, InvalidMediaError, DownloadError.
    """
    log, traffic = QuietLog(), WebTraffic(longest_wait_seconds=timeout_seconds, tries=2)
    parameters = {
        "noplaylist": True,  # the address of a video within a playlist is that video
        "extractor_args": {"youtubetab": {"approximate_date": [""]}},  # else a limit by date would need a request for each video
        "ffmpeg_location": "/nonexistent",
        "socket_timeout": timeout_seconds,
        "retries": 1,
        "extractor_retries": 1,
        "cachedir": False,
        "color": {"stdout": "no_color", "stderr": "no_color"},
        "noprogress": True,
        "quiet": True,
        "logger": log,
    }
    with tempfile.TemporaryDirectory(prefix="heaters-list-") as folder:
        with GuardedYoutubeDL(parameters, guard, traffic=traffic, folder=Path(folder), sites=sites, plugins=plugins) as session:
            reading = _Reading(session, traffic, address, most, limits)
            with reading.plain_words():
                info = resolved(session, address)
            if info is None or info.get("_type", "video") not in _LISTS:
                return None
            return reading.whole(info)


def resolved(session: GuardedYoutubeDL, address: str, ie_key: str | None = None) -> dict[str, Any] | None:
    """What yt-dlp finds at an address, without following any entry of a list; None for what is known to be one video without a look."""
    outer: dict[str, Any] = {}
    for step in range(_MOST_STEPS):
        if step and _is_single(address, ie_key):
            return None
        info = _info(session, address, ie_key)
        if info is None and step == 0:
            info = _plain_links(session, address)
        if info is None:
            raise no_video(address)
        if info.get("_type") not in _LEADS_ON:
            return info | outer
        if info["_type"] == "url_transparent":
            outer = {name: value for name in ("title", "uploader") if (value := info.get(name))} | outer
        address, ie_key = str(info["url"]), info.get("ie_key")
    raise no_video(address)


def _info(session: GuardedYoutubeDL, address: str, ie_key: str | None) -> dict[str, Any] | None:
    """What yt-dlp finds at an address; None when it is a page on which yt-dlp finds nothing."""
    try:
        info: dict[str, Any] | None = session.extract_info(address, download=False, ie_key=ie_key, process=False)
    except Exception as error:
        if not any(isinstance(one, UnsupportedError) for one in causes(error)):
            raise
        return None
    return info


def _plain_links(session: GuardedYoutubeDL, address: str) -> dict[str, Any] | None:
    """A list in yt-dlp's words, of the videos that a feed or a page names by links; None for a page that names none."""
    response = session.urlopen(Request(address))
    data, charset = response.read(_LARGEST_PAGE_BYTES), response.headers.get_content_charset() or "utf-8"
    try:
        text = data.decode(charset, "replace")
    except LookupError:
        text = data.decode("utf-8", "replace")
    named = videos_named(text, response.url)
    entries = [
        {
            "_type": "url",
            "url": one.address if one.own_id is None else smuggle_url(one.address, {"force_videoid": one.own_id}),
            "title": one.title,
            "timestamp": one.published.timestamp() if one.published else None,
        }
        for one in named.videos
    ]
    is_list = bool(entries) or named.is_feed
    return {"_type": "playlist", "title": named.title, "entries": entries, "webpage_url": address} if is_list else None


def item_info(session: GuardedYoutubeDL, page: str, item: str) -> dict[str, Any]:
    """All about one video of a page, with chosen formats. item: see `item_address`. Raises InvalidMediaError when the page lacks it."""
    found = resolved(session, page)
    seen: list[str] = []
    if found is not None and found.get("_type", "video") in _LISTS:
        for name, entry in _named(found, _entries(session, found)):
            if name == item:
                extra = {key: found[key] for key in ("extractor", "extractor_key", "webpage_url") if key in found}
                info: dict[str, Any] = session.process_ie_result(entry, download=False, extra_info=extra)
                return info
            seen.append(name)
            if len(seen) >= MOST_MEMBERS:
                break
    there = f"it has {counted(len(seen), 'other video')}" if seen else "it has no list of videos now"
    raise InvalidMediaError(
        f"the page {page} no longer has the video {clean_line(item)}: {there}; submit the page again to see what it has"
    )


class _Reading:
    """Reads one list with all lists in it."""

    def __init__(self, session: GuardedYoutubeDL, traffic: WebTraffic, address: str, most: int, limits: Limits) -> None:
        self._session = session
        self._traffic = traffic
        self._address = address
        self._most = most
        self._limits = limits
        self._let_in = 0
        self._refusal: SiteRefusesError | None = None
        self._members: dict[str, Member] = {}
        self._problems: list[str] = []
        self._seen = {address}
        self._inner = 0

    def whole(self, info: dict[str, Any]) -> WebList:
        self._read(info, self._address, depth=1)
        if len(self._members) >= self._most:
            self._problems.append(f"only the first {self._most:,} videos of the list were read")
        told = self._problems[:_PROBLEMS_TOLD]
        if len(self._problems) > _PROBLEMS_TOLD:
            told.append(f"and {len(self._problems) - _PROBLEMS_TOLD:,} more of the list cannot be taken")
        title = clean_title(str(info.get("title") or "")) or web_host(self._address) or self._address
        return WebList(
            self._address, title, tuple(self._members.values()), tuple(told), is_whole=not self._has_enough, refusal=self._refusal
        )

    @property
    def _has_enough(self) -> bool:
        return self._limits.most is not None and self._let_in >= self._limits.most

    @property
    def _is_done(self) -> bool:
        return self._has_enough or len(self._members) >= self._most or self._refusal is not None

    def _read(self, info: dict[str, Any], page: str, *, depth: int) -> None:
        """Problems of one member, and of a list that breaks off, are kept; what was read until then counts."""
        number = 0
        try:
            with self.plain_words():
                for number, (name, entry) in enumerate(_named(info, _entries(self._session, info)), 1):
                    self._take(name, entry, info, page, number, depth)
                    if self._is_done:  # asked before the next one, for which the site may be asked for a page
                        return
        except HeatersError as error:
            if not self._members and not number:
                raise
            self._heed(error)
            self._problems.append(f"the list {without_access(page)} could be read up to its video {number:,} only: {error}")

    def _take(self, name: str, entry: dict[str, Any], info: dict[str, Any], page: str, number: int, depth: int) -> None:
        try:
            if entry.get("_type", "video") in _LISTS and "entries" in entry and depth < _DEEPEST:
                with self._bad_part_told(number):
                    self._read(entry, page, depth=depth + 1)
            elif self._is_list(entry, info) and depth < _DEEPEST and self._inner < _MOST_INNER:
                self._take_inner(entry, page, number, depth)
            else:
                member = _member(name, entry, info, page)
                if self._members.setdefault(member.key, member) is member and lets_in(self._limits, member):
                    self._let_in += 1
        except ForbiddenSourceError as error:
            self._problems.append(f"video {number:,} of the list cannot be taken: {error}")
        except (ValueError, TypeError, AttributeError, OverflowError):
            self._problems.append(f"video {number:,} of the list cannot be taken: what its site says of it cannot be understood")

    def _is_list(self, entry: Mapping[str, Any], info: Mapping[str, Any]) -> bool:
        """Whether an entry is a list itself: its site says so, or it is another page of the kind that the whole list is."""
        address, ie_key = entry.get("url"), entry.get("ie_key")
        if entry.get("_type") not in _LEADS_ON or not ie_key or ie_key == "Generic" or not isinstance(address, str):
            return False
        single = _is_single(address, ie_key)
        return single is False or (single is None and ie_key == info.get("extractor_key"))

    def _take_inner(self, entry: Mapping[str, Any], page: str, number: int, depth: int) -> None:
        address = str(entry["url"])
        if address in self._seen:
            return
        self._seen.add(address)
        self._inner += 1
        with self._bad_part_told(number):
            with self.plain_words():
                inner = resolved(self._session, address, entry.get("ie_key"))
            if inner is not None and inner.get("_type", "video") in _LISTS:
                self._read(inner, address, depth=depth + 1)
            elif inner is not None:
                self._take(str(inner.get("id") or number), {**entry, "ie_key": None}, inner, page, number, _DEEPEST)

    @contextmanager
    def _bad_part_told(self, number: int) -> Iterator[None]:
        """One list in the list that cannot be read does not stop the others."""
        try:
            yield
        except HeatersError as error:
            self._heed(error)
            self._problems.append(f"part {number:,} of the list cannot be read: {error}")

    def _heed(self, error: HeatersError) -> None:
        """A site that wants no requests for a while is not asked for the next part either."""
        if isinstance(error, SiteRefusesError):
            self._refusal = error

    @contextmanager
    def plain_words(self) -> Iterator[None]:
        session = self._session
        log: QuietLog = session.params["logger"]
        log.errors.clear()  # those of another part of the list
        try:
            yield
        except HeatersError as error:
            raise session.refusal or error from None
        except Exception as error:  # yt-dlp raises errors of all kinds on pages that it does not understand
            raise session.refusal or failure(
                error, address=self._address, folder=Path(tempfile.gettempdir()), errors=log.errors, warnings=log.warnings,
                traffic=self._traffic, parts={}, is_signed_in=session.is_signed_in(self._address),
            ) from error  # fmt: skip


def _entries(session: GuardedYoutubeDL, info: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The entries of a list as far as the site gives them, page after page."""
    if info.get("entries") is None:
        return
    for _, entry in PlaylistEntries(session, info)[:]:
        if isinstance(entry, dict):
            yield entry


def _named(info: Mapping[str, Any], entries: Iterator[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each entry with a name of its own, which it has again the next time as long as the page stays as it is.

    A site's id. A page without ids is known by the addresses of its files: a number would name another video when one is added on top.
    """
    taken: dict[str, int] = {}
    for number, entry in enumerate(entries, 1):
        name = _name(entry, str(entry.get("extractor_key") or info.get("extractor_key"))) or str(number)
        taken[name] = taken.get(name, 0) + 1
        yield (name if taken[name] == 1 else f"{name}~{taken[name]}"), entry


def _name(entry: Mapping[str, Any], extractor: str) -> str | None:
    own = entry.get("id")
    if isinstance(own, (str, int)) and str(own) and extractor not in _WITHOUT_IDS:
        return str(own)[:LINE_CHARACTERS]
    formats = entry.get("formats")
    first = formats[0] if isinstance(formats, list) and formats and isinstance(formats[0], dict) else entry
    address = first.get("manifest_url") or first.get("url")
    with suppress(ValueError):
        return urlsplit(str(address or "")).path.lstrip("/")[:LINE_CHARACTERS] or None
    return None


def _member(name: str, entry: Mapping[str, Any], info: Mapping[str, Any], page: str) -> Member:
    """Raises ForbiddenSourceError when the entry leads to what is no web address."""
    site, site_id = _identity(entry, info)
    return Member(
        source=_source(name, entry, page),
        title=clean_title(entry["title"]) or None if isinstance(entry.get("title"), str) else None,
        duration_seconds=_seconds(entry.get("duration")),
        uploaded_on=_day(entry),
        site=clean_line(site),
        site_id=clean_line(site_id),
    )


def _source(name: str, entry: Mapping[str, Any], page: str) -> str:
    """The address of an entry, or that of its page and its name where it has none that works alone."""
    if entry.get("_type") not in _LEADS_ON:
        return item_address(page, name)
    address, hidden = _unhidden(str(entry.get("url") or ""))
    if set(hidden) - _HARMLESS or (entry.get("ie_key") and "://" not in address):
        return item_address(page, name)
    if not _SCHEME.match(address):
        with suppress(ValueError):
            address = urljoin(page, address)
    if len(address) > 4 * LINE_CHARACTERS or not address.isprintable():
        raise ForbiddenSourceError(f"{address[:200]!r} is not a web address")
    if source_kind(address) is not SourceKind.WEB_ADDRESS:
        raise ForbiddenSourceError(f"{without_access(address[:200])} is not a web address")
    return address


def _identity(entry: Mapping[str, Any], info: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """(site, its name of the video), as `Fetched.facts` will say them; (host, guid) for a feed; both None where there are none."""
    key, own = entry.get("ie_key") or entry.get("extractor_key"), entry.get("id")
    if entry.get("_type") not in _LEADS_ON and not key:
        key = info.get("extractor_key")
    if key and key not in _WITHOUT_IDS and isinstance(own, str) and own:
        return str(key), own
    guid = _unhidden(str(entry.get("url") or ""))[1].get("force_videoid")
    if isinstance(guid, str) and guid.strip() and info.get("webpage_url"):
        return web_host(str(info["webpage_url"])), guid
    return None, None


def _unhidden(address: str) -> tuple[str, Mapping[str, Any]]:
    """(address, what yt-dlp has hidden in it)."""
    try:
        plain, hidden = unsmuggle_url(address, {})
    except (ValueError, KeyError, IndexError):
        return address.partition("#")[0], {}
    return plain, hidden if isinstance(hidden, dict) else {}


def _is_single(address: str, ie_key: str | None = None) -> bool | None:
    """Whether an address is that of one video; None when only a look can tell."""
    address = _unhidden(address)[0]
    for extractor in gen_extractor_classes():
        if (extractor.ie_key() == ie_key if ie_key else extractor.suitable(address)) and extractor.ie_key() != "Generic":
            single: bool | None = extractor.is_single_video(address)
            return single
    return None


def _seconds(value: Any) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= _LONGEST_SECONDS:
        return float(value)
    return None


def _day(entry: Mapping[str, Any]) -> date | None:
    """The day of publication, in UTC."""
    with suppress(TypeError, ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(entry["timestamp"], UTC).date() if entry.get("timestamp") else _written_day(entry)
    return _written_day(entry)


def _written_day(entry: Mapping[str, Any]) -> date | None:
    with suppress(ValueError):
        return datetime.strptime(str(entry.get("upload_date") or ""), "%Y%m%d").date()
    return None
