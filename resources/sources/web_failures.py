"""Turns what went wrong in a download with yt-dlp into one of our errors: a sentence with cause and remedy."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from requests.exceptions import InvalidSchema
from urllib3.exceptions import InvalidChunkLength, NameResolutionError, ProtocolError
from urllib3.exceptions import TimeoutError as Urllib3TimeoutError
from yt_dlp.networking import Request
from yt_dlp.networking.exceptions import CertificateVerifyError, HTTPError, IncompleteRead, NoSupportingHandlers, RequestError, SSLError
from yt_dlp.utils import ContentTooShortError, ExtractorError, UnsupportedError

from heaters_dagster.domain.errors import (
    DiskFullError,
    DownloadError,
    ForbiddenSourceError,
    HeatersError,
    InvalidMediaError,
    SiteRefusesError,
    SourceNotFoundError,
)
from heaters_dagster.domain.ingest import status_may_pass, web_host
from heaters_dagster.domain.reasons import without_objects
from heaters_dagster.domain.web_answers import BUSY, LOW_PIXELS, ONLY_BROWSERS, UNSOLVED, meaning, site_words, wait_words, why_low
from resources.sources.web_traffic import TOO_MANY_REQUESTS, FailedRequest, WebTraffic
from resources.sources.ytdlp_release import installed

_NO_ANSWER = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN})
_LABELS = re.compile(r"\s*(ERROR:)?\s*(\[[^]]*\])?\s*(Got error:)?\s*")
_VIDEO_ID = re.compile(r"^[\w-]{1,64}:\s+")
_STATUS = re.compile(r"HTTP Error (\d{3})")
_BYTES_READ = re.compile(r"\d+ bytes read")  # what an IncompleteRead of unknown length prints, when nothing else is left of the error
_NO_HTTP = "the server does not keep to HTTP or ended the connection"
_NO_FORMATS = re.compile(r"requested format is not available|no video formats found|only images are available", re.IGNORECASE)
_KEY_LENGTH = re.compile(r"AES key length|Invalid length for HLS AES", re.IGNORECASE)


def no_video(address: str) -> InvalidMediaError:
    return InvalidMediaError(f"no video was found at {address}")


def asked_for(address: str) -> str:
    """`address` as yt-dlp writes it in its requests: escaped, without a fragment."""
    return str(Request(address).url)


def failure(
    error: Exception,
    *,
    address: str,
    folder: Path,
    errors: Sequence[str],
    warnings: Sequence[str],
    traffic: WebTraffic,
    parts: Mapping[str, str],
    is_signed_in: bool = False,
) -> HeatersError:
    """The HeatersError for `error` and its causes.

    address: what was submitted. errors, warnings: yt-dlp's own. parts: address -> "segment 3 of 4", of the present stream. is_signed_in:
    a sign-in is stored for the site.
    """
    for under in causes(error):
        match under:
            case HeatersError():
                return under
            case HTTPError() if under.redirect_loop:
                return SourceNotFoundError(f"{address} cannot be fetched: it redirects without end")
            case HTTPError() if under.status == 403 and any(meaning([one]) == ONLY_BROWSERS for one in (*errors, *warnings)):
                return SourceNotFoundError(f"{address} cannot be fetched: {_told(ONLY_BROWSERS)}")
            case HTTPError():
                return _status_error(address, under.status, traffic.failed(under.status, parts), parts, is_signed_in=is_signed_in)
            case InvalidSchema():
                return ForbiddenSourceError(f"{address} leads to something that may not be fetched: {without_objects(str(under))}")
            case CertificateVerifyError():
                return SourceNotFoundError(f"{address} was not fetched: the certificate of its server is not valid")
            case socket.gaierror() if under.errno != socket.EAI_AGAIN:
                return SourceNotFoundError(f"{address} cannot be fetched: there is no host {web_host(address)}")
            case UnsupportedError():
                return no_video(address)
            case OSError() if under.errno in {errno.ENOSPC, errno.EDQUOT}:
                return _disk_full(address, folder)
            case OSError() if under.errno in _NO_ANSWER:
                return DownloadError(f"{address}: the address does not answer")
    said = without_objects(_without_noise(errors[0] if errors else str(error)))
    if "No space left on device" in said:
        return _disk_full(address, folder)
    status = _STATUS.search(said)  # of a segment, whose exception stays in another thread
    if status:
        failed = traffic.failed(int(status.group(1)), parts)
        return _status_error(address, int(status.group(1)), failed, parts, is_signed_in=is_signed_in)
    if _KEY_LENGTH.search(said):
        return InvalidMediaError(
            f"{address} is encrypted, but the file that its playlist names as the key is not a key: a key has 16 bytes"
        )
    if _NO_FORMATS.search(said):
        return _no_formats(address, warnings, is_signed_in=is_signed_in)
    for under in causes(error):
        match under:
            case NoSupportingHandlers():
                return ForbiddenSourceError(f"{address} leads to something that may not be fetched: {said}")
            case RequestError() | ContentTooShortError() | OSError():
                return DownloadError(f"{address}: the download broke off: {_connection_words(error, said)}")
            case ExtractorError():
                return _site_error(address, said, expected=under.expected, is_signed_in=is_signed_in)
    return DownloadError(f"{address}: the download broke off: {_connection_words(error, said)}")


def _disk_full(address: str, folder: Path) -> DiskFullError:
    return DiskFullError(f"no room left on the disk of {folder} for {address}; make room and try again")


def _status_error(address: str, status: int, failed: FailedRequest | None, parts: Mapping[str, str], *, is_signed_in: bool) -> HeatersError:
    asked = failed.address if failed else asked_for(address)
    part = parts.get(asked)
    whose = f" for {part} at {asked}" if part else f" at {asked}, to which it leads" if asked != asked_for(address) else ""
    if status_may_pass(status):
        now = datetime.now(UTC)
        until = failed.retry_at if failed and failed.retry_at and failed.retry_at > now else None
        later = f" and asks us to wait {wait_words(until, now)}" if until else ""
        told = f"{address}: the server answers {status} at the moment{whose}{later}"
        if until or status == TOO_MANY_REQUESTS:
            return SiteRefusesError(told, reason=f"its site answers {status}", until=until)
        return DownloadError(told)
    if status in {404, 410}:
        if part:
            return SourceNotFoundError(f"{part} of {address} is missing: the server answers {status} at {asked}")
        if whose:
            return SourceNotFoundError(f"{address} leads to {asked}, where there is nothing: the server answers {status}")
        return SourceNotFoundError(f"there is nothing at {address}: the server answers {status}")
    if is_signed_in:
        why = "the sign-in that is stored for it may have ended (heaters sites sign-in), or it refuses this machine"
    else:
        why = "it may need a sign-in (heaters sites sign-in) or refuse this machine"
    return SourceNotFoundError(f"{address} cannot be fetched: the server answers {status}{whose}; {why}")


def _no_formats(address: str, warnings: Sequence[str], *, is_signed_in: bool) -> InvalidMediaError:
    pictures = any("only images" in warning.lower() for warning in warnings)
    what = "offers still pictures only" if pictures else "offers no video that can be downloaded"
    known = meaning(warnings, is_signed_in=is_signed_in)
    return InvalidMediaError(
        f"{address} {what}: {_told(known) or 'it may be a page with pictures or sound only, or its kind of stream is not known'}"
    )


def _site_error(address: str, said: str, *, expected: bool, is_signed_in: bool) -> HeatersError:
    """expected: yt-dlp knows the site and repeats the site's reason; else it did not understand the page."""
    known = meaning([said], is_signed_in=is_signed_in)
    if known == BUSY:
        return SiteRefusesError(f"{address}: {known}", reason=known)
    if known:
        return SourceNotFoundError(f"{address} cannot be fetched: {_told(known)}")
    if expected:
        return SourceNotFoundError(f"{address} cannot be fetched: {site_words(_VIDEO_ID.sub('', said))}")
    return InvalidMediaError(
        f"yt-dlp cannot read the page {address} ({site_words(_VIDEO_ID.sub('', said))}). If the video plays in a browser, the site may "
        f"have changed. {installed().advice}"
    )


def low_formats_warnings(info: Mapping[str, Any], warnings: Sequence[str], *, is_signed_in: bool) -> tuple[str, ...]:
    """A sentence when the site offered fewer or poorer pictures than it has, and why. info: yt-dlp's, of the video."""
    offered = info.get("formats") or [info]
    tallest = max((one.get("height") or 0 for one in offered if one.get("vcodec") != "none"), default=0)
    at_most = f" (at most {tallest}p)" if tallest else ""
    if cause := why_low(tallest, warnings, is_signed_in=is_signed_in):
        return (f"the site may have better pictures than it offered{at_most}: {_told(cause)}",)
    release = installed()
    if 0 < tallest < LOW_PIXELS and release.is_old and info.get("extractor_key") not in {None, "Generic"}:
        return (f"the site may have better pictures than it offered{at_most}. {release.advice}",)
    return ()


def _told(cause: str | None) -> str | None:
    """With what to do where something newer, or something that is missing, may help."""
    if cause == UNSOLVED:
        return f"{cause}. {installed().advice}"
    if cause == ONLY_BROWSERS and find_spec("curl_cffi") is None:
        return f"{cause}. What connects like a browser (curl-cffi) is not installed here: type make install"
    return cause


def _connection_words(error: Exception, said: str) -> str:
    """Why a connection broke, without the words of the network library."""
    for under in causes(error):
        match under:
            case IncompleteRead() if under.expected:
                return said
            case TimeoutError() | Urllib3TimeoutError():
                return "the server was silent for too long (timed out)"
            case socket.gaierror() | NameResolutionError():
                return "the name of its server cannot be looked up at the moment"
            case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
                return "the server ended the connection"
            case SSLError():
                return "an encrypted connection to its server is not possible"
            case IncompleteRead() | InvalidChunkLength() | ProtocolError():
                return _NO_HTTP
    return _NO_HTTP if _BYTES_READ.fullmatch(said) else said


def causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and all its causes, nearest first: yt-dlp keeps causes in attributes of its own."""
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
