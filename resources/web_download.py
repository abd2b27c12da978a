"""One download of a web address with yt-dlp: best quality first, then what is more compatible; every failure in plain words."""

from __future__ import annotations

import errno
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from requests.exceptions import InvalidSchema
from yt_dlp.networking.exceptions import CertificateVerifyError, HTTPError, NoSupportingHandlers, RequestError
from yt_dlp.utils import ContentTooShortError, ExtractorError, UnsupportedError

from heaters_dagster.domain.errors import (
    DiskFullError,
    DownloadError,
    ForbiddenSourceError,
    HeatersError,
    InvalidMediaError,
    SourceNotFoundError,
    TransientError,
)
from heaters_dagster.domain.ingest import clean_title, status_may_pass, title_from_name, web_host
from heaters_dagster.domain.profiles import download_normalization
from heaters_dagster.domain.reasons import without_objects
from resources import ffmpeg
from resources.address_guard import AddressGuard
from resources.fetched import ByteMeter, Fetched, file_sha256
from resources.guarded_ytdlp import GuardedYoutubeDL
from resources.media_probe import probe
from resources.stream_joiner import check_clean, joined
from resources.work_folder import check_room

#: Best quality first, picture and sound apart where the site has them so; then what needs no joining or joins without trouble.
BEST_FORMATS = "bv*[ext=mp4]+ba[ext=m4a]/b[ext=mp4]/bv*+ba/b"
COMPATIBLE_FORMATS = "bestvideo[ext=mp4][vcodec^=avc1]+bestaudio[ext=m4a]/best[ext=mp4]/best"

_LONGEST_PAUSE_SECONDS = 10.0
_NO_ANSWER = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN})
_NO_VIDEO = "no video is found at {}"
_LABELS = re.compile(r"\s*(ERROR:)?\s*(\[[^]]*\])?\s*(Got error:)?\s*")
_STATUS = re.compile(r"HTTP Error (\d{3})")


class WebDownload:
    """address: http or https. folder: empty and ours. The rest as for Downloader."""

    def __init__(self, address: str, folder: Path, *, guard: AddressGuard, max_height: int, timeout_seconds: float, retries: int) -> None:
        self._address = address
        self._folder = folder
        self._guard = guard
        self._max_height = max_height
        self._timeout_seconds = timeout_seconds
        self._retries = retries
        self._name = PurePosixPath(unquote(urlsplit(address).path)).name or web_host(address) or address

    def fetched(self, meter: ByteMeter) -> Fetched:
        """The best formats, or the compatible ones when those fail and others exist. When both fail, a failure that may pass is told."""
        failures: list[HeatersError] = []
        tried: list[tuple[str, ...]] = []
        for formats in (BEST_FORMATS, COMPATIBLE_FORMATS):
            folder = self._folder / f"try_{len(failures)}"
            folder.mkdir()
            try:
                with self._session(formats, folder) as session:
                    info = self._info(session)
                    chosen = info.get("requested_formats") or [info]
                    names = tuple(str(one.get("format_id")) for one in chosen)
                    if names in tried:
                        break
                    tried.append(names)
                    path, warnings = self._file(session, info, chosen, folder, meter)
            except (ForbiddenSourceError, DiskFullError):
                raise
            except HeatersError as error:
                failures.append(error)
                shutil.rmtree(folder)
                if not tried:
                    break
            else:
                told = (f"the best formats could not be had ({failures[0]}); others were downloaded",) if failures else ()
                return Fetched(path, path.stat().st_size, file_sha256(path), self._name, self._title(info), (*told, *warnings))
        raise next((failure for failure in failures if isinstance(failure, TransientError)), failures[0])

    def _session(self, formats: str, folder: Path) -> GuardedYoutubeDL:
        def pause_seconds(n: int) -> float:
            return min(0.5 * 2.0**n, _LONGEST_PAUSE_SECONDS)

        parameters = {
            "format": formats,
            "format_sort": [f"res:{self._max_height}"],
            "noplaylist": True,
            "playlist_items": "1:2",
            "extract_flat": "in_playlist",
            "ffmpeg_location": str(folder / "none"),  # not even one that is installed: it would not pass the guard
            "hls_prefer_native": True,
            "skip_unavailable_fragments": False,  # by default a stream with segments missing counts as downloaded
            "socket_timeout": self._timeout_seconds,
            "retries": self._retries,
            "fragment_retries": self._retries,
            "extractor_retries": self._retries,
            "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), pause_seconds),
            "concurrent_fragment_downloads": 4,
            "cachedir": False,
            "color": {"stdout": "no_color", "stderr": "no_color"},
            "noprogress": True,
            "quiet": True,
            "logger": _Log(),
        }
        return GuardedYoutubeDL(parameters, self._guard)

    def _info(self, session: GuardedYoutubeDL) -> dict[str, Any]:
        """What yt-dlp knows of the one video at the address, formats chosen."""
        info = self._extracted(session, self._address)
        if info.get("_type") in {"playlist", "multi_video"}:
            entries = [entry for entry in info.get("entries") or () if entry]
            if not entries:
                raise InvalidMediaError(_NO_VIDEO.format(self._address))
            if len(entries) > 1:
                raise InvalidMediaError(f"{self._address} is a playlist of several videos; submit the address of each")
            entry = entries[0]
            info = self._extracted(session, entry["url"]) if entry.get("_type") in {"url", "url_transparent"} else entry
        if info.get("is_live") or info.get("live_status") in {"is_live", "is_upcoming"}:
            raise InvalidMediaError(f"{self._address} is a live stream that has not ended; submit it again when it has")
        return info

    def _extracted(self, session: GuardedYoutubeDL, address: str) -> dict[str, Any]:
        with self._plain_words(session):
            info: dict[str, Any] | None = session.extract_info(address, download=False)
        if info is None:
            raise InvalidMediaError(_NO_VIDEO.format(self._address))
        return info

    def _file(
        self, session: GuardedYoutubeDL, info: dict[str, Any], chosen: list[dict[str, Any]], folder: Path, meter: ByteMeter
    ) -> tuple[Path, tuple[str, ...]]:
        """(file, warnings): the chosen formats downloaded, and put together when picture and sound came apart."""
        sizes = [one.get("filesize") or one.get("filesize_approx") for one in chosen]
        check_room(folder, sum(size or 0 for size in sizes))
        whole = {name: value for name, value in info.items() if name != "requested_formats"}
        parts: list[Path] = []
        earlier_bytes = 0

        def hook(status: dict[str, Any]) -> None:
            if status.get("total_bytes"):
                check_room(folder, status["total_bytes"] - (status.get("downloaded_bytes") or 0))
            meter(*_progress(status, earlier_bytes, sizes[len(parts) + 1 :]))

        session.add_progress_hook(hook)
        for number, one in enumerate(chosen):
            part = folder / f"part_{number}"
            with self._plain_words(session):
                success, _ = session.dl(str(part), {**whole, **one})
            if not success or not part.is_file():
                raise DownloadError(f"{self._address}: the download broke off")
            parts.append(part)
            earlier_bytes += part.stat().st_size
        if len(parts) == 1:
            return parts[0], ()
        picture, sound = reversed(parts) if chosen[0].get("vcodec") == "none" else parts
        return self._together(picture, sound, folder)

    def _together(self, picture: Path, sound: Path, folder: Path) -> tuple[Path, tuple[str, ...]]:
        """(file, warnings). Encoded again only when copying the packets did not give a clean file."""
        copied = joined(picture, sound, folder, name=self._name)
        try:
            check_clean(copied, name=self._name)
            return copied.path, ()
        except InvalidMediaError as error:
            mended = folder / "normalized.mp4"
            ffmpeg.run(download_normalization(audio=True, copy=False), copied.path, [mended], called=self._name)
            probe(mended, name=self._name)
            return mended, (f"picture and sound did not come together cleanly ({error}); they were encoded again",)

    def _title(self, info: dict[str, Any]) -> str:
        said = "" if info.get("direct") else clean_title(str(info.get("title") or ""))
        return said or title_from_name(self._address)

    @contextmanager
    def _plain_words(self, session: GuardedYoutubeDL) -> Iterator[None]:
        try:
            yield
        except HeatersError as error:
            raise session.refusal or error from None
        except Exception as error:  # whatever: a missing segment can show as "write to closed file"
            said: list[str] = session.params["logger"].errors
            raise session.refusal or self._error(error, said[0] if said else str(error)) from error

    def _error(self, error: Exception, message: str) -> HeatersError:
        """The HeatersError that says what `error`, or what lies under it, means."""
        address = self._address
        for under in _chain(error):
            match under:
                case HeatersError():
                    return under
                case HTTPError() if under.redirect_loop:
                    return SourceNotFoundError(f"{address} cannot be fetched: its redirects come to no end")
                case HTTPError():
                    return _status_error(address, under.status)
                case InvalidSchema():
                    return ForbiddenSourceError(f"{address} leads to what is not fetched: {without_objects(str(under))}")
                case CertificateVerifyError():
                    return SourceNotFoundError(f"{address} is not fetched: the certificate of its server is not valid")
                case socket.gaierror() if under.errno != socket.EAI_AGAIN:
                    return SourceNotFoundError(f"{address} cannot be fetched: there is no host {web_host(address)}")
                case UnsupportedError():
                    return InvalidMediaError(_NO_VIDEO.format(address))
                case OSError() if under.errno in {errno.ENOSPC, errno.EDQUOT}:
                    return DiskFullError(f"no room left on the disk of {self._folder} for {address}; make room and try again")
                case OSError() if under.errno in _NO_ANSWER:
                    return DownloadError(f"{address}: the address does not answer")
        said = without_objects(_without_noise(message))
        if "No space left on device" in said:
            return DiskFullError(f"no room left on the disk of {self._folder} for {address}; make room and try again")
        status = _STATUS.search(said)  # of a segment: its exception is left in another thread
        if status:
            return _status_error(address, int(status.group(1)))
        for under in _chain(error):
            match under:
                case NoSupportingHandlers():
                    return ForbiddenSourceError(f"{address} leads to what is not fetched: {said}")
                case RequestError() | ContentTooShortError() | OSError():
                    return DownloadError(f"{address}: the download broke off: {said}")
                case ExtractorError() if under.expected:
                    return SourceNotFoundError(f"{address} cannot be fetched: {said}")
                case ExtractorError():
                    return InvalidMediaError(f"{address}: {said}; if it plays in a browser, a newer yt-dlp may know it")
        return DownloadError(f"{address}: the download broke off: {said}")


def _progress(status: dict[str, Any], earlier_bytes: int, later_sizes: list[int | None]) -> tuple[float, float | None]:
    """(bytes so far, bytes in all or None) of a download in several files, from what yt-dlp says about the one in hand."""
    this = status.get("total_bytes") or status.get("total_bytes_estimate")
    total = earlier_bytes + this + sum(size or 0 for size in later_sizes) if this and all(later_sizes) else None
    return earlier_bytes + (status.get("downloaded_bytes") or 0), total


def _status_error(address: str, status: int) -> HeatersError:
    if status_may_pass(status):
        return DownloadError(f"{address}: the server answers {status} just now")
    if status in {404, 410}:
        return SourceNotFoundError(f"there is nothing at {address}: the server answers {status}")
    return SourceNotFoundError(f"{address} cannot be fetched: the server answers {status}; it may need a sign-in or refuse this machine")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and all that lies under it, nearest first: yt-dlp keeps causes in attributes of its own."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        held = getattr(one, "exc_info", None)
        waiting += [
            getattr(one, "cause", None), held[1] if isinstance(held, tuple) else None, one.__cause__, one.__context__,
            getattr(one, "reason", None), *one.args,
        ]  # fmt: skip


def _without_noise(message: str) -> str:
    """yt-dlp's message without its own label, the extractor's, and the request to report it."""
    return _LABELS.sub("", message.split("; please report this issue")[0].split(" (caused by ")[0], count=1).strip().rstrip(".")


class _Log:
    """What yt-dlp would print: nothing is; its errors are kept, because what it raises later says less."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def debug(self, message: str) -> None: ...

    def info(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...

    def error(self, message: str) -> None:
        if message.strip():
            self.errors.append(message)
