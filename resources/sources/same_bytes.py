"""Keeps a download that is taken up again in one piece: the rest of a file is used only if it is the rest of the same bytes.

A request for a range says of which bytes (`If-Range`), and an answer that shows other bytes is not used: the file may have been replaced
since, between two tries or within one.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from heaters_dagster.domain.errors import DownloadError, InvalidMediaError

_RANGE = re.compile(r"bytes=(\d+)-(\d*)\s*\Z")
_CONTENT_RANGE = re.compile(r"bytes\s+(?:\d+-\d+|\*)/(\d+)")
_RANGE_NOT_SATISFIABLE = 416
_PARTIAL = 206


@dataclass(frozen=True, slots=True)
class Validator:
    """By what a server tells one version of a file from another. etag: a strong one. modified: its `Last-Modified`, where it is exact.

    total: bytes of the whole file. RFC 9110, 8.8.
    """

    etag: str | None = None
    modified: str | None = None
    total: int | None = None

    @classmethod
    def of(cls, response: Any) -> Validator:
        """What an answer with status 200 or 206 says. Compressed ones say nothing of the file's own bytes."""
        headers = response.headers
        if headers.get("Content-Encoding", "identity") != "identity":
            return cls()
        etag = headers.get("ETag")
        ranged = _CONTENT_RANGE.match(headers.get("Content-Range") or "")
        length = headers.get("Content-Length") or ""
        whole = int(length) if response.status != _PARTIAL and length.isdigit() else None
        return cls(
            etag if etag and etag.startswith('"') else None, _exact_time(headers), int(ranged[1]) if ranged else whole
        )  # fmt: skip

    @property
    def proof(self) -> str | None:
        """For `If-Range`; None when the server gives nothing by which it can be known that a file is the same."""
        return self.etag or self.modified

    def is_same(self, other: Validator) -> bool:
        """Whether both are certainly of the same bytes."""
        if self.total != other.total and None not in {self.total, other.total}:
            return False
        if self.etag and other.etag:
            return self.etag == other.etag
        return self.modified is not None and self.modified == other.modified

    def differs(self, other: Validator) -> bool:
        """Whether both are certainly of different bytes."""
        pairs = ((self.total, other.total), (self.etag, other.etag), (self.modified, other.modified))
        return any(mine != theirs for mine, theirs in pairs if mine is not None and theirs is not None)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class SameBytes:
    """What is known of the files that one download asks for, by address. Used by several threads at once.

    in_pieces: the streams at hand consist of ranges of files, so a server that sends a whole file instead gives nothing that can be used.
    """

    def __init__(self) -> None:
        self.in_pieces = False
        self._lock = threading.Lock()
        self._known: dict[str, Validator] = {}
        self._told: dict[str, Callable[[Validator], None]] = {}

    def expect(self, address: str, validator: Validator) -> None:
        """An earlier try has a part of this file."""
        with self._lock:
            self._known[address] = validator

    def known(self, address: str) -> Validator | None:
        """Which bytes are at `address`, as far as this download has asked."""
        with self._lock:
            return self._known.get(address)

    def tell(self, address: str, told: Callable[[Validator], None]) -> None:
        """`told` is called when the file at `address` is fetched from its beginning, unless it is certainly the one that was known."""
        with self._lock:
            self._told[address] = told

    def forget_who_is_told(self) -> None:
        """The stream at hand is complete, or was given up."""
        with self._lock:
            self._told.clear()
        self.in_pieces = False

    def conditional(self, request: Any) -> Any:
        """The request; for a range of a file that is known, only if it is still the same file."""
        with self._lock:
            known = self._known.get(request.url)
        asked = _RANGE.match(request.headers.get("Range") or "")
        if known is None or known.proof is None or asked is None or "If-Range" in request.headers:
            return request
        conditional = request.copy()
        conditional.headers["If-Range"] = known.proof
        return conditional

    def begins_anew(self, request: Any, error: Any) -> bool:
        """Whether a refused range was the rest of a file, which is then to be asked for as a whole."""
        return error.status == _RANGE_NOT_SATISFIABLE and _is_rest(request)

    def accepts(self, request: Any, response: Any) -> bool:
        """Take note of an answer. False: it is a range of other bytes than those that are known, so the whole file is to be asked for.

        Raises DownloadError and InvalidMediaError when the range belongs to a stream that cannot go on without it.
        """
        found = Validator.of(response)
        asked = _RANGE.match(request.headers.get("Range") or "")
        with self._lock:
            known = self._known.get(request.url)
            told = self._told.get(request.url)
        changed = known is not None and asked is not None and known.differs(found)
        if asked is not None and response.status != _PARTIAL:
            if asked[2] and not self._is_of_use(int(asked[1]), int(asked[2]), found):
                raise _other_bytes(request) if changed else _no_ranges(request)
        elif changed:
            if not _is_rest(request):
                raise _other_bytes(request)
            return False
        if asked is None or response.status != _PARTIAL or int(asked[1]) == 0:  # from its beginning
            with self._lock:
                self._known[request.url] = found
            if told is not None and (known is None or not known.is_same(found)):
                told(found)
        return True

    def _is_of_use(self, first: int, last: int, found: Validator) -> bool:
        """Whether a whole file can stand for the bytes `first` to `last` of it, which are all or the beginning of a file in chunks."""
        return first == 0 and (found.total == last + 1 or not self.in_pieces)


def whole(request: Any) -> Any:
    """The request without its range."""
    asked = request.copy()
    for name in ("Range", "If-Range"):
        asked.headers.pop(name, None)
    return asked


def _is_rest(request: Any) -> bool:
    """Whether all from some byte on is asked for: what yt-dlp does to go on with a file."""
    asked = _RANGE.match(request.headers.get("Range") or "")
    return asked is not None and not asked[2]


def _other_bytes(request: Any) -> DownloadError:
    return DownloadError(f"{request.url} was replaced while it was downloaded; nothing of it was kept")


def _no_ranges(request: Any) -> InvalidMediaError:
    return InvalidMediaError(
        f"{request.url} cannot be read in parts, as its stream needs: the server sends the whole file instead of the part that is asked for"
    )


def _exact_time(headers: Mapping[str, str]) -> str | None:
    """`Last-Modified`, when it is at least a second older than the answer: a file that changes twice within a second would not show it."""
    modified, date = headers.get("Last-Modified"), headers.get("Date")
    try:
        if modified and date and parsedate_to_datetime(date) - parsedate_to_datetime(modified) >= timedelta(seconds=1):
            return modified
    except (ValueError, TypeError):
        return None
    return None
