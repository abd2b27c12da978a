"""What one download learns from the answers of servers: requested pauses, failed requests, names of files."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from heaters_dagster.domain.web_answers import disposition_name, retry_at
from resources.sources.same_bytes import SameBytes

TOO_MANY_REQUESTS = 429
_ASK_TO_WAIT = frozenset({TOO_MANY_REQUESTS, 503})
_SHORTEST_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """address: as requested, before redirects. retry_at: when the server wants the next request, if it says so."""

    address: str
    status: int
    retry_at: datetime | None


class WebTraffic:
    """longest_wait_seconds: how long servers may let us wait in total; a longer wait fails, and the error says until when.

    tries: of one request that a server delays again and again. Used by several threads at once.
    same_bytes: which files it has asked for.
    """

    def __init__(self, *, longest_wait_seconds: float, tries: int) -> None:
        self.tries = tries
        self.same_bytes = SameBytes()
        self._left_seconds = longest_wait_seconds
        self._waiting_until = datetime.fromtimestamp(0, UTC)
        self._lock = threading.Lock()
        self._failed: dict[str, FailedRequest] = {}
        self._names: dict[str, str] = {}

    def failed(self, status: int, parts: Iterable[str] = ()) -> FailedRequest | None:
        """The request that failed with that status and did not succeed later: the first of `parts` (addresses), else the latest."""
        with self._lock:
            failed = {address: one for address, one in self._failed.items() if one.status == status}
        first = next((failed[part] for part in parts if part in failed), None)
        return first or next(reversed(failed.values()), None)

    def name(self, *addresses: str) -> str | None:
        """The file name in a server's answer for one of these addresses."""
        return next((self._names[address] for address in addresses if address in self._names), None)

    def refused(self, address: str, error: Any, *, tried: int) -> bool:
        """Take note of an HTTPError. Returns whether to try again; the requested pause is then over."""
        now = datetime.now(UTC)
        until = retry_at(error.response.headers.get("Retry-After"), now) if error.status in _ASK_TO_WAIT else None
        said = until is not None
        if not said and error.status == TOO_MANY_REQUESTS:
            until = now + timedelta(seconds=_SHORTEST_PAUSE_SECONDS * 2.0**tried)
        if until is not None and tried < self.tries:
            until = max(until, now + timedelta(seconds=_SHORTEST_PAUSE_SECONDS))
            with self._lock:
                more = (until - max(now, self._waiting_until)).total_seconds()
                may_wait = more <= self._left_seconds
                if may_wait:
                    self._left_seconds -= max(0.0, more)
                    self._waiting_until = max(until, self._waiting_until)
            if may_wait:
                error.close()
                time.sleep((until - now).total_seconds())
                return True
        with self._lock:
            self._failed.pop(address, None)
            self._failed[address] = FailedRequest(address, error.status, until if said else None)
        return False

    def answered(self, address: str, response: Any) -> None:
        name = disposition_name(response.headers.get("Content-Disposition"))
        with self._lock:
            self._failed.pop(address, None)
            if name:
                self._names[address] = self._names[response.url] = name
