"""One download of a web address with yt-dlp: first the best quality, then more compatible formats; every failure in plain words.

A try that breaks off or is killed leaves what it has fetched in its folder, and the next try goes on with it: see begun_stream.py.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from yt_dlp.networking import Request

from heaters_dagster.domain import hls
from heaters_dagster.domain.errors import (
    DiskFullError,
    ForbiddenSourceError,
    HeatersError,
    InvalidMediaError,
    NoRoomError,
    SiteRefusesError,
    TransientError,
)
from heaters_dagster.domain.file_kinds import KIND_BYTES, refuse_other_kinds
from heaters_dagster.domain.ingest import clean_title, title_from_name, web_host
from heaters_dagster.domain.profiles import download_normalization
from heaters_dagster.domain.source_lists import page_and_item
from resources.media import ffmpeg
from resources.media.first_look import first_look
from resources.media.stream_joiner import check_clean, joined
from resources.object_store.work_folder import check_room
from resources.sources.address_guard import AddressGuard
from resources.sources.begun_stream import BegunStream, Stream
from resources.sources.fetched import ByteMeter, Fetched
from resources.sources.guarded_ytdlp import GuardedYoutubeDL, QuietLog
from resources.sources.same_bytes import Validator
from resources.sources.site_access import NO_SITES, Sites
from resources.sources.web_belongings import belongings, facts_of
from resources.sources.web_failures import asked_for, failure, low_formats_warnings, no_video
from resources.sources.web_list import item_info
from resources.sources.web_quality import quality_of
from resources.sources.web_traffic import WebTraffic

#: Best quality first whatever its container, with picture and sound apart if the site has them so; then formats that need no joining or are
#: easy to join. The order is yt-dlp's own but for the height, which comes first so that it has a limit.
BEST_FORMATS = "bv*+ba/b"
COMPATIBLE_FORMATS = "bestvideo[ext=mp4][vcodec^=avc1]+bestaudio[ext=m4a]/best[ext=mp4]/best"

#: So often the best formats break off without getting further before others are tried, which may be poorer. One run tries three times.
_TRIES_AT_THE_BEST = 6
_BROKEN_OFF = "broken_off"
_LONGEST_PAUSE_SECONDS = 10.0
_LARGEST_PLAYLIST_BYTES = 64 << 20
#: Room is asked for again when a stream turns out to be this many times as large as it seemed.
_MORE_THAN_ESTIMATED = 1.1


class WebDownload:
    """address: http or https. folder: for this download only; empty, or with what an earlier try left. The rest as for Downloader."""

    def __init__(
        self,
        address: str,
        folder: Path,
        *,
        guard: AddressGuard,
        max_height: int,
        timeout_seconds: float,
        retries: int,
        longest_wait_seconds: float,
        bytes_per_second: float | None = None,
        sites: Sites = NO_SITES,
        plugins: Path | None = None,
        automatic_captions: bool = False,
    ) -> None:
        self._address = address
        self._folder = folder
        self._guard = guard
        self._max_height = max_height
        self._order = (f"res:{max_height}", "fps", "hdr:12")
        self._bytes_per_second = bytes_per_second
        self._timeout_seconds = timeout_seconds
        self._retries = retries
        self._sites = sites
        self._plugins = plugins
        self._automatic_captions = automatic_captions
        self._page, self._item = page_and_item(address)
        self._name = PurePosixPath(self._item or unquote(urlsplit(address).path)).name or web_host(address) or address
        self._traffic = WebTraffic(longest_wait_seconds=longest_wait_seconds, tries=retries + 1)
        self._parts: dict[str, str] = {}

    def fetched(self, meter: ByteMeter) -> Fetched:
        """The best formats, or compatible ones when the best fail. When both fail and one failure is temporary, that one is raised.

        A temporary failure of the best is raised at once, so that they are tried again, unless they have broken off too often.
        """
        failures: list[HeatersError] = []
        tried: list[tuple[str, ...]] = []
        for formats in (BEST_FORMATS, COMPATIBLE_FORMATS):
            folder = self._folder / f"try_{len(failures)}"
            folder.mkdir(exist_ok=True)
            for made in (path for path in folder.iterdir() if not path.name.startswith("part_")):
                made.unlink() if made.is_file() else shutil.rmtree(made)
            try:
                with self._session(formats, folder) as session:
                    info = self._info(session)
                    chosen = info.get("requested_formats") or [info]
                    names = tuple(str(one.get("format_id")) for one in chosen)
                    if names in tried:
                        break
                    tried.append(names)
                    for earlier in set(self._folder.glob("try_*")) - {folder}:
                        shutil.rmtree(earlier)
                    path, warnings = self._file(session, info, chosen, folder, meter)
                    sha256 = session.sha256(path)
                    fresh = functools.partial(self._session, formats, folder)
                    beside = belongings(session, info, folder, fresh=fresh, automatic_captions=self._automatic_captions)
                    low = low_formats_warnings(info, session.params["logger"].warnings, is_signed_in=self._is_signed_in)
                    warnings = (*low, *warnings, *beside.warnings)
            except (ForbiddenSourceError, DiskFullError, NoRoomError):  # poorer formats would be no answer to that
                raise
            except HeatersError as error:
                if isinstance(error, TransientError):
                    if failures or isinstance(error, SiteRefusesError) or self._is_tried_again(folder):
                        raise
                else:
                    shutil.rmtree(folder)
                failures.append(error)
                if not tried:
                    break
            else:
                told = (f"the best formats could not be downloaded ({failures[0]}), so others were downloaded",) if failures else ()
                name = self._given_name(info)
                title = self._title(info, name)
                quality = quality_of(info, chosen, limit=self._max_height, order=self._order, cause=told[0] if told else None)
                facts = replace(facts_of(info), quality=quality.to_json() if quality else None)
                return Fetched(
                    path, path.stat().st_size, sha256, name or self._name, title, (*told, *warnings), facts,
                    subtitles=beside.subtitles, thumbnail=beside.thumbnail,
                )  # fmt: skip
        raise next((one for one in failures if isinstance(one, TransientError)), failures[0])

    def _is_tried_again(self, folder: Path) -> bool:
        """Whether the best formats are worth another try after they broke off: they have got further, or have not broken off so often."""
        noted, got = self._folder / _BROKEN_OFF, _byte_size(folder)
        times = 1
        with suppress(OSError, ValueError):
            before, got_before = map(int, noted.read_text().split())
            times = before + 1 if got <= got_before else 1
        noted.write_text(f"{times} {got}")
        return times < _TRIES_AT_THE_BEST

    def _session(self, formats: str, folder: Path) -> GuardedYoutubeDL:
        def pause_seconds(n: int) -> float:
            return min(0.5 * 2.0**n, _LONGEST_PAUSE_SECONDS)

        parameters = {
            "format": formats,
            "format_sort": list(self._order),
            "noplaylist": True,
            "writesubtitles": True,  # else many extractors do not even look for them; nothing is written here
            "writeautomaticsub": self._automatic_captions,
            "playlist_items": "1:2",
            "extract_flat": "in_playlist",
            "ffmpeg_location": str(folder / "none"),  # not even an installed one, because its connections would not pass the guard
            "hls_prefer_native": True,
            "skip_unavailable_fragments": False,  # by default a stream with segments missing counts as downloaded
            "socket_timeout": self._timeout_seconds,
            "retries": self._retries,
            "fragment_retries": self._retries,
            "extractor_retries": self._retries,
            "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), pause_seconds),
            "ratelimit": self._bytes_per_second,
            "concurrent_fragment_downloads": 1 if self._bytes_per_second else 4,  # the limit is that of one connection
            "cachedir": False,
            "color": {"stdout": "no_color", "stderr": "no_color"},
            "noprogress": True,
            "quiet": True,
            "logger": QuietLog(),
        }
        return GuardedYoutubeDL(
            parameters, self._guard, traffic=self._traffic, folder=folder, sites=self._sites, plugins=self._plugins
        )  # fmt: skip

    def _info(self, session: GuardedYoutubeDL) -> dict[str, Any]:
        """What yt-dlp knows about the one video at the address, with chosen formats."""
        info = self._extracted(session, self._address) if self._item is None else self._extracted_item(session, self._item)
        if info.get("_type") in {"playlist", "multi_video"}:
            entries = [entry for entry in info.get("entries") or () if entry]
            if not entries:
                raise no_video(self._address)
            if len(entries) > 1:
                raise InvalidMediaError(
                    f"{self._address} is a list of several videos: submit it again, and Heaters shows what it holds before it takes them"
                )
            entry = entries[0]
            info = self._extracted(session, entry["url"]) if entry.get("_type") in {"url", "url_transparent"} else entry
        if info.get("is_live") or info.get("live_status") in {"is_live", "is_upcoming"}:
            raise InvalidMediaError(f"{self._address} is a live stream that has not ended; submit it again when it has")
        return info

    def _extracted(self, session: GuardedYoutubeDL, address: str) -> dict[str, Any]:
        with self._plain_words(session):
            info: dict[str, Any] | None = session.extract_info(address, download=False)
        if info is None:
            raise no_video(self._address)
        return info

    def _extracted_item(self, session: GuardedYoutubeDL, item: str) -> dict[str, Any]:
        with self._plain_words(session):
            return item_info(session, self._page, item)

    def _file(
        self, session: GuardedYoutubeDL, info: dict[str, Any], chosen: list[dict[str, Any]], folder: Path, meter: ByteMeter
    ) -> tuple[Path, tuple[str, ...]]:
        """(file, warnings): downloads the chosen formats, and joins them when picture and sound are separate."""
        sizes = [one.get("filesize") or one.get("filesize_approx") for one in chosen]
        all_of_it = sum(size or 0 for size in sizes) * (2 if len(chosen) > 1 else 1)  # joined, they are there twice
        check_room(folder, all_of_it - _byte_size(folder))
        whole = {name: value for name, value in info.items() if name != "requested_formats"}
        parts: list[Path] = []
        looked_at: set[int] = set()
        earlier_bytes = asked_bytes = 0

        def hook(status: dict[str, Any]) -> None:
            nonlocal asked_bytes
            total = status.get("total_bytes") or status.get("total_bytes_estimate") or 0
            if total > asked_bytes * _MORE_THAN_ESTIMATED:
                asked_bytes = int(total)
                check_room(folder, asked_bytes - (status.get("downloaded_bytes") or 0))
            if len(parts) not in looked_at and (status.get("downloaded_bytes") or 0) >= KIND_BYTES:
                looked_at.add(len(parts))
                self._look(Path(status.get("tmpfilename") or status.get("filename") or ""))
            meter(*_progress(status, earlier_bytes, sizes[len(parts) + 1 :]))

        session.add_progress_hook(hook)
        for number, one in enumerate(chosen):
            part = folder / f"part_{number}"
            with self._plain_words(session):
                stream = {**whole, **one}
                stream |= self._playlist(session, stream)
                self._parts = _parts(stream)
                begun = BegunStream(part, Stream.of(stream), self._traffic.same_bytes, asked_for=asked_for)
                with begun.taken_up(functools.partial(_bytes_at, session)):
                    if not part.is_file():
                        session.dl(str(part), stream)
                if not part.is_file():
                    raise RuntimeError("the download broke off")
            if hls.is_encrypted(stream.get("hls_media_playlist_data") or "") and not _looks_like_a_stream(part):
                raise InvalidMediaError(f"{self._address} is encrypted, and the key in its playlist does not decrypt it")
            parts.append(part)
            asked_bytes = 0
            earlier_bytes += part.stat().st_size
        if len(parts) == 1:
            return parts[0], ()
        picture, sound = reversed(parts) if chosen[0].get("vcodec") == "none" else parts
        return self._together(picture, sound, folder)

    def _look(self, path: Path) -> None:
        """End the download when the first bytes show that the file is not a video."""
        with suppress(OSError), path.open("rb") as file:
            refuse_other_kinds(file.read(KIND_BYTES), is_whole=False, called=self._name)

    def _playlist(self, session: GuardedYoutubeDL, stream: dict[str, Any]) -> dict[str, Any]:
        """The media playlist of an HLS stream, checked here first: yt-dlp would give what it cannot read to any ffmpeg on the PATH."""
        if not str(stream.get("protocol")).startswith("m3u8") or stream.get("hls_media_playlist_data"):
            return {}
        response = session.urlopen(Request(stream["url"], headers=stream.get("http_headers") or {}))
        playlist = response.read(_LARGEST_PLAYLIST_BYTES).decode("utf-8", "ignore")
        reason = hls.unreadable(playlist)
        if reason:
            raise InvalidMediaError(f"{self._address} cannot be read: {reason}")
        return {"hls_media_playlist_data": playlist, "url": response.url}

    def _together(self, picture: Path, sound: Path, folder: Path) -> tuple[Path, tuple[str, ...]]:
        """(file, warnings). It is encoded again only when copying the packets gave no clean file."""
        copied = joined(picture, sound, folder, name=self._name)
        try:
            check_clean(copied, name=self._name)
            return copied.path, ()
        except InvalidMediaError as error:
            mended = folder / "normalized.mp4"
            ffmpeg.run(download_normalization(audio=True, copy=False), copied.path, [mended], called=self._name)
            first_look(mended, name=self._name)  # ingest counts its packets
            return mended, (f"picture and sound could not be joined cleanly ({error}); they were encoded again",)

    @property
    def _is_signed_in(self) -> bool:
        return self._sites.is_signed_in(self._address)

    def _given_name(self, info: dict[str, Any]) -> str | None:
        """The file name that the server gives to the file at the address itself."""
        addresses = [self._address, *([str(info.get("url"))] if info.get("direct") else [])]
        return self._traffic.name(*map(asked_for, addresses))

    def _title(self, info: dict[str, Any], name: str | None) -> str:
        said = "" if info.get("direct") or name else clean_title(str(info.get("title") or ""))
        return said or title_from_name((name or self._address).removesuffix(".m3u8").removesuffix(".mpd"))

    @contextmanager
    def _plain_words(self, session: GuardedYoutubeDL) -> Iterator[None]:
        try:
            yield
        except HeatersError as error:
            raise session.refusal or error from None
        except Exception as error:  # any exception: a missing segment can appear as "write to closed file"
            log: QuietLog = session.params["logger"]
            raise session.refusal or failure(
                error, address=self._address, folder=self._folder, errors=log.errors, warnings=log.warnings,
                traffic=self._traffic, parts=self._parts, is_signed_in=self._is_signed_in,
            ) from error  # fmt: skip


def _byte_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _bytes_at(session: GuardedYoutubeDL, address: str, headers: Mapping[str, str]) -> Validator:
    """Which bytes are at an address now; one of them is asked for."""
    response = session.urlopen(Request(address, headers={**headers, "Range": "bytes=0-0", "Accept-Encoding": "identity"}))
    response.close()
    return Validator.of(response)


def _progress(status: dict[str, Any], earlier_bytes: int, later_sizes: list[int | None]) -> tuple[float, float | None]:
    """(bytes so far, bytes in all or None) of a download in several files, from yt-dlp's report on the current file."""
    this = status.get("total_bytes") or status.get("total_bytes_estimate")
    total = earlier_bytes + this + sum(size or 0 for size in later_sizes) if this and all(later_sizes) else None
    return earlier_bytes + (status.get("downloaded_bytes") or 0), total


def _parts(stream: dict[str, Any]) -> dict[str, str]:
    """Address -> name in messages, for the parts of an HLS or DASH stream."""
    playlist = stream.get("hls_media_playlist_data")
    if playlist:
        return {asked_for(part.address): part.called for part in hls.parts(playlist, stream["url"])}
    fragments = stream.get("fragments")
    if not isinstance(fragments, list):
        return {}
    base = stream.get("fragment_base_url") or ""
    addresses = [asked_for(one.get("url") or urljoin(base, one.get("path") or "")) for one in fragments]
    first = int(len(fragments) > 1 and "duration" not in fragments[0] and "duration" in fragments[1])
    numbered = {address: f"segment {number} of {len(addresses) - first}" for number, address in enumerate(addresses[first:], 1)}
    return dict.fromkeys(addresses[:first], "the beginning (initialization)") | numbered


def _looks_like_a_stream(path: Path) -> bool:
    """Whether a file begins as segments do: MPEG transport stream, MP4, or packed sound, which may begin with an ID3 tag."""
    with path.open("rb") as file:
        head = file.read(12)
    return head[:1] in {b"\x47", b"\xff"} or head[:3] in {b"ID3"} or head[:2] == b"\x0bw" or head[4:8].isalpha()
