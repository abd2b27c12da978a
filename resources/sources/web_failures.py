"""Turns what went wrong in a download with yt-dlp into one of our errors: a sentence with cause and remedy."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

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
from heaters_dagster.domain.web_answers import BUSY, meaning, site_words, wait_words
from resources.sources.web_traffic import TOO_MANY_REQUESTS, FailedRequest, WebTraffic

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
) -> HeatersError:
    """The HeatersError for `error` and its causes.

    address: what was submitted. errors, warnings: yt-dlp's own. parts: address -> "segment 3 of 4", of the present stream.
    """
    for under in _chain(error):
        match under:
            case HeatersError():
                return under
            case HTTPError() if under.redirect_loop:
                return SourceNotFoundError(f"{address} cannot be fetched: it redirects without end")
            case HTTPError():
                return _status_error(address, under.status, traffic.failed(under.status, parts), parts)
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
        return _status_error(address, int(status.group(1)), traffic.failed(int(status.group(1)), parts), parts)
    if _KEY_LENGTH.search(said):
        return InvalidMediaError(
            f"{address} is encrypted, but the file that its playlist names as the key is not a key: a key has 16 bytes"
        )
    if _NO_FORMATS.search(said):
        return _no_formats(address, warnings)
    for under in _chain(error):
        match under:
            case NoSupportingHandlers():
                return ForbiddenSourceError(f"{address} leads to something that may not be fetched: {said}")
            case RequestError() | ContentTooShortError() | OSError():
                return DownloadError(f"{address}: the download broke off: {_connection_words(error, said)}")
            case ExtractorError():
                return _site_error(address, said, expected=under.expected)
    return DownloadError(f"{address}: the download broke off: {_connection_words(error, said)}")


def _disk_full(address: str, folder: Path) -> DiskFullError:
    return DiskFullError(f"no room left on the disk of {folder} for {address}; make room and try again")


def _status_error(address: str, status: int, failed: FailedRequest | None, parts: Mapping[str, str]) -> HeatersError:
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
    return SourceNotFoundError(
        f"{address} cannot be fetched: the server answers {status}{whose}; it may need a sign-in or refuse this machine"
    )


def _no_formats(address: str, warnings: Sequence[str]) -> InvalidMediaError:
    pictures = any("only images" in warning.lower() for warning in warnings)
    what = "offers still pictures only" if pictures else "offers no video that can be downloaded"
    return InvalidMediaError(
        f"{address} {what}: {meaning(warnings) or 'it may be a page with pictures or sound only, or its kind of stream is not known'}"
    )


def _site_error(address: str, said: str, *, expected: bool) -> HeatersError:
    """expected: yt-dlp knows the site and repeats the site's reason; else it did not understand the page."""
    known = meaning([said])
    if known == BUSY:
        return SiteRefusesError(f"{address}: {known}", reason=known)
    if known:
        return SourceNotFoundError(f"{address} cannot be fetched: {known}")
    if expected:
        return SourceNotFoundError(f"{address} cannot be fetched: {site_words(_VIDEO_ID.sub('', said))}")
    return InvalidMediaError(
        f"yt-dlp cannot read the page {address} ({site_words(_VIDEO_ID.sub('', said))}); if the video plays in a browser, try a "
        "newer yt-dlp"
    )


def _connection_words(error: Exception, said: str) -> str:
    """Why a connection broke, without the words of the network library."""
    for under in _chain(error):
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


def _chain(error: BaseException) -> Iterator[BaseException]:
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
