"""Cookies of sign-ins: from checked lines of a cookies file into a jar and back, as safely as browsers do it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.site_access import MOST_COOKIES_BYTES, belongs
from resources.files.ordinary_file import READ_AT_ONCE, other_kind


class BrowserLikePolicy(DefaultCookiePolicy):
    """As RFC 6265bis, 5.7: what comes over plain http sets no secure cookie and takes the place of none.

    Else somebody on the way could put a sign-in of their own into the jar, and from there into what is stored.
    """

    def __init__(self, jar: CookieJar) -> None:
        super().__init__()
        self._jar = jar

    def set_ok(self, cookie: Cookie, request: Any) -> bool:
        if not super().set_ok(cookie, request):
            return False
        if request.type == "https":
            return True
        return not cookie.secure and not any(one.secure and one.name == cookie.name and _overlap(one, cookie) for one in self._jar)


def _overlap(one: Cookie, other: Cookie) -> bool:
    first, second = one.domain.lstrip("."), other.domain.lstrip(".")
    return belongs(first, second) or belongs(second, first)


def cookies_in(lines: str) -> Iterator[Cookie]:
    """From lines that `cookies_of` has checked. A domain with a dot before it, or marked so, counts for subdomains."""
    for line in lines.splitlines():
        domain, subdomains, path, secure, expires, name, value = line.split("\t")
        is_wide = domain.startswith(".") or subdomains.upper() == "TRUE"
        end = int(float(expires or 0)) or None
        yield Cookie(
            version=0, name=name or value, value=value if name else None, port=None, port_specified=False,
            domain=f".{domain.lstrip('.')}" if is_wide else domain, domain_specified=is_wide, domain_initial_dot=is_wide, path=path,
            path_specified=True, secure=secure.upper() == "TRUE", expires=end, discard=end is None, comment=None, comment_url=None, rest={},
        )  # fmt: skip


def lines_of(jar: CookieJar) -> frozenset[str]:
    """The cookies of a jar in Netscape format. A site wrote them, so a line may not be usable."""
    return frozenset(_line(cookie) for cookie in jar)


def _line(cookie: Cookie) -> str:
    name, value = ("", cookie.name) if cookie.value is None else (cookie.name, cookie.value)
    is_wide, end = str(cookie.domain.startswith(".")).upper(), str(int(cookie.expires or 0))
    return "\t".join((cookie.domain, is_wide, cookie.path, str(bool(cookie.secure)).upper(), end, name, value))


def text_of_file(path: Path) -> str:
    """Raises BadRequestError when it cannot be read, or is no text of a fitting size. No message repeats what is in it."""
    try:
        descriptor = os.open(path, READ_AT_ONCE)
        with os.fdopen(descriptor, "rb") as file:
            if (kind := other_kind(os.fstat(descriptor).st_mode)) is not None:
                raise BadRequestError(f"it is {kind}")
            data = file.read(MOST_COOKIES_BYTES + 1)
    except OSError as error:
        raise BadRequestError(f"it cannot be read ({error.strerror})") from None
    if len(data) > MOST_COOKIES_BYTES:
        raise BadRequestError("it is larger than 1 MB: save only what belongs to this one site")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequestError("it is not a text in UTF-8") from None
