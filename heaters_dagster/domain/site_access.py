"""What lets Heaters into a web site: cookies of a sign-in, headers, a proxy. They are read and checked here; no message repeats a value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.words import counted

MOST_COOKIES_BYTES = 1 << 20
_MOST_HEADERS = 20
_MOST_HEADER_CHARACTERS = 8192
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HTTP_ONLY = "#HttpOnly_"
_FIELDS = 7
_PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
#: Of these the connection itself takes care, and a range or encoding of ours would break a download.
_NOT_OURS = frozenset({
    "host", "content-length", "content-type", "transfer-encoding", "connection", "proxy-connection", "proxy-authorization", "te", "trailer",
    "upgrade", "expect", "keep-alive", "range", "if-range", "accept-encoding",
})  # fmt: skip


class SitePart(StrEnum):
    """What is stored for a site; each part for itself."""

    COOKIES = "cookies"
    HEADERS = "headers"
    PROXY = "proxy"


PART_WORDS = {SitePart.COOKIES: "sign-in", SitePart.HEADERS: "headers", SitePart.PROXY: "proxy"}


@dataclass(frozen=True, slots=True)
class CookiesFile:
    """The cookies of one site. lines: in Netscape format. ends_at: when the last one ends; None when they have no date."""

    lines: str = field(repr=False)
    count: int
    ends_at: datetime | None
    of_others: int

    @property
    def told(self) -> str:
        """What may be shown of them."""
        return counted(self.count, "cookie")


def site_name(text: str) -> str:
    """The site that somebody means by `vimeo.com`, `www.vimeo.com` or any address there: a host name. Raises BadRequestError."""
    given = text.strip()
    if not given:
        raise BadRequestError("write the name of the site: vimeo.com, for example, or an address there")
    try:
        host = urlsplit(given if "://" in given else f"//{given}").hostname or ""
        host = host.rstrip(".").removeprefix("www.")
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except (ValueError, UnicodeError):
        ascii_host = ""
    if _is_number(ascii_host) or ascii_host == "localhost":
        return ascii_host
    labels = ascii_host.split(".")
    if len(ascii_host) > 253 or len(labels) < 2 or not all(map(_LABEL.match, labels)):
        raise BadRequestError(
            f"{_CONTROL.sub(' ', given)[:60]!r} is not the name of a site: write vimeo.com, for example, or an address there"
        )
    return ascii_host


def named_files(named: Iterable[str]) -> dict[str, str]:
    """{site: full path} from `vimeo.com=/secrets/vimeo.txt`. Raises BadRequestError."""
    found: dict[str, str] = {}
    for one in named:
        site, _, path = one.partition("=")
        if not path.startswith(("/", "~")):
            raise BadRequestError(f"{one!r} is not a site and the full path of its file; write for example vimeo.com=/secrets/vimeo.txt")
        name = site_name(site)
        if name in found:
            raise BadRequestError(f"{name} has two files; it can have one")
        found[name] = path
    return found


def belongs(host: str, site: str) -> bool:
    """Whether a host is the site or a part of it, as `player.vimeo.com` is of `vimeo.com`."""
    return host == site or (host.endswith(f".{site}") and not _is_number(site))


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def cookies_of(text: str, site: str, *, now: datetime) -> CookiesFile:
    """The cookies of `site` in a cookies file in Netscape format. Those of other sites are left out: a browser writes all that it has.

    Raises BadRequestError when the text is no such file, or holds no cookie of the site that is still valid.
    """
    if len(text) > MOST_COOKIES_BYTES:
        raise BadRequestError("the cookies file is larger than 1 MB: save the cookies of this one site")
    if text.lstrip()[:1] in {"[", "{"}:
        raise BadRequestError("this is a cookies file in JSON: save it in Netscape format, which is often called cookies.txt")
    kept: list[str] = []
    ended = others = 0
    for number, raw in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        line = raw.removeprefix(_HTTP_ONLY)
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split("\t")
        domain = fields[0].lstrip(".").lower()
        is_other = len(fields) == _FIELDS and not belongs(domain, site)
        if not is_other and not _usable(fields):
            raise BadRequestError(
                f"line {number} is not a line of a cookies file in Netscape format, which has seven fields with tabs between them: save "
                "the file anew with your browser's extension, and copy it whole"
            )
        if is_other:
            others += 1
            continue
        if _has_ended(line, now):
            ended += 1
            continue
        kept.append(line)
    if not kept:
        why = (
            f"all {ended} of {site} have ended"
            if ended
            else f"it holds {counted(others, 'cookie')} of other sites"
            if others
            else "it is empty"
        )
        raise BadRequestError(
            f"the file holds no cookie of {site} that is valid: {why}. Sign in to the site in a browser and save its cookies then"
        )
    return _cookies_file(kept, of_others=others)


def with_renewed(lines: str, renewed: Iterable[str], *, now: datetime) -> CookiesFile | None:
    """The cookies of a site with those that it has renewed, as lines, in place of their older values; None when nothing usable is new.

    No cookie is taken away but those that have ended: a site that no longer accepts a sign-in deletes cookies, and a person has to know.
    """
    before = lines.splitlines()
    together = {cookie_key(line): line for line in before}
    together |= {cookie_key(line): line for line in renewed if is_cookie_line(line)}
    kept = [line for line in together.values() if not _has_ended(line, now)]
    found = _cookies_file(kept, of_others=0)
    return None if kept == before or not kept or len(found.lines) > MOST_COOKIES_BYTES else found


def is_cookie_line(line: str) -> bool:
    """Whether it is a line of a cookies file in Netscape format that can be used."""
    return _usable(line.split("\t"))


def cookie_key(line: str) -> tuple[str, str, str]:
    """(domain, path, name) by which a cookie takes the place of another; a dot before the domain says that it counts for subdomains."""
    domain, subdomains, path, _, _, name, value = line.split("\t")
    is_wide = domain.startswith(".") or subdomains.upper() == "TRUE"
    return f"{'.' if is_wide else ''}{domain.lstrip('.').lower()}", path, name or value


def _cookies_file(kept: Sequence[str], *, of_others: int) -> CookiesFile:
    ends = [end for line in kept if (end := _end(line))]
    return CookiesFile("\n".join(kept) + "\n", len(kept), _moment(max(ends)) if ends else None, of_others)


def _end(line: str) -> float:
    """Seconds; 0 when the cookie has no date."""
    return float(line.split("\t")[4] or 0)


def _has_ended(line: str, now: datetime) -> bool:
    return 0 < _end(line) < now.timestamp()


def _usable(fields: list[str]) -> bool:
    return (
        len(fields) == _FIELDS
        and all(one.isprintable() for one in fields)
        and all(one.encode("latin-1", "ignore").decode("latin-1") == one for one in fields)
        and fields[2].startswith("/")
        and re.fullmatch(r"(\d{1,15}(\.\d+)?)?", fields[4]) is not None
        and bool(fields[5] or fields[6])
    )


def _moment(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # so far away that it never ends
        return None


def headers_of(lines: Iterable[str]) -> dict[str, str]:
    """{name: value} from lines like `Authorization: Bearer ...`. Raises BadRequestError."""
    found: dict[str, str] = {}
    for line in lines:
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not _HEADER_NAME.match(name) or not value:
            raise BadRequestError("a header is written NAME: VALUE, for example Referer: https://example.org/")
        if name.lower() == "cookie":
            raise BadRequestError("cookies are not stored as a header: save the cookies file of the site, and sign in with it")
        if name.lower() in _NOT_OURS:
            raise BadRequestError(f"the header {name} cannot be set: each connection has its own")
        if _CONTROL.search(value) or len(value) > _MOST_HEADER_CHARACTERS or value.encode("latin-1", "ignore").decode("latin-1") != value:
            raise BadRequestError(
                f"the value of the header {name} cannot be sent: write one line of at most {_MOST_HEADER_CHARACTERS:,} characters"
            )
        if name.lower() in map(str.lower, found):
            raise BadRequestError(f"the header {name} is given twice")
        found[name] = value
    if not found:
        raise BadRequestError("write at least one header, for example Referer: https://example.org/")
    if len(found) > _MOST_HEADERS:
        raise BadRequestError(f"at most {_MOST_HEADERS} headers can be set for a site")
    return found


def proxy_of(text: str) -> str:
    """The address of a proxy. Raises BadRequestError, which does not repeat it: it may hold a password."""
    given = text.strip()
    try:
        parts = urlsplit(given)
        is_usable = parts.scheme in _PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if (
        not is_usable
        or not given.isascii()
        or not given.isprintable()
        or " " in given
        or parts.path not in {"", "/"}
        or parts.query
        or parts.fragment
    ):
        raise BadRequestError(
            f"a proxy is written http://host:3128 or http://user:password@host:3128; it may begin with {', '.join(_PROXY_SCHEMES)}"
        )
    return given.rstrip("/")
