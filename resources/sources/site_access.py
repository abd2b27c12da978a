"""What lets Heaters into web sites: stored by people, used by downloads, shown to nobody again.

It lies in Postgres, encrypted (`resources/files/sealed_text.py`), and not in a file of one machine: any worker may fetch any source video.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.cookiejar import CookieJar
from typing import TypeVar
from urllib.parse import quote, unquote, urlsplit

from heaters_dagster.domain.errors import HeatersError, NotFoundError, PermanentError, SettingsError
from heaters_dagster.domain.ingest import web_host
from heaters_dagster.domain.secrets import HIDDEN, rewritten
from heaters_dagster.domain.site_access import (
    PART_WORDS,
    SitePart,
    belongs,
    cookie_key,
    cookies_of,
    headers_of,
    is_cookie_line,
    proxy_of,
    site_name,
    with_renewed,
)
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings, is_loopback
from resources.files.sealed_text import Sealer, UnreadableError
from resources.postgres.database import Database
from resources.postgres.site_access_store import SiteAccessStore, StoredAccess
from resources.sources.address_guard import AddressGuard
from resources.sources.cookies import BrowserLikePolicy, cookies_in, lines_of, text_of_file

T = TypeVar("T")
_SHORTEST_HIDDEN = 8
#: Headers whose values are no secret, and may be a part of any message.
_PLAIN_HEADERS = frozenset({"referer", "origin", "user-agent", "accept", "accept-language"})
_SOON = timedelta(days=7)


def _kept_nowhere(site: str, lines: Collection[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class Sites:
    """All that is stored, as a download uses it. Each mapping is by site; a host gets what is stored for the nearest site above it.

    unreadable: why what is stored cannot be read here. without_file: of sites without a sign-in, what is wrong with the cookies file that a
    setting names. keep: gets a site and lines of cookies that it has renewed, to store them.
    """

    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    without_file: Mapping[str, str] = field(default_factory=dict)
    keep: Callable[[str, Collection[str]], None] = field(default=_kept_nowhere, repr=False, compare=False)
    _newer: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def check_readable(self, address: str) -> None:
        """Raise SettingsError when something is stored for the site of `address` that this machine cannot read."""
        site = _nearest(self.unreadable, web_host(address))
        if site is not None:
            raise SettingsError(f"what is stored for {site} cannot be read here: {self.unreadable[site]}. {_REMEDY}")
        site = _nearest(self.without_file, web_host(address))
        if site is not None:
            raise SettingsError(self.without_file[site])

    def is_signed_in(self, address: str) -> bool:
        return _nearest(self.cookies, web_host(address)) is not None

    def fill(self, jar: CookieJar) -> None:
        """Put all cookies into the jar, which sends each to its own site only."""
        jar.set_policy(BrowserLikePolicy(jar))
        for site in self.cookies:
            for cookie in cookies_in(self._lines(site)):
                jar.set_cookie(cookie)

    def take_back(self, jar: CookieJar, given: Collection[str]) -> frozenset[str]:
        """Keep what sites with a sign-in have renewed in the jar. given: the lines of the jar as it was. Returns those that it has now."""
        found = lines_of(jar) if self.cookies else frozenset()
        renewed = found - frozenset(given)
        for site in self.cookies:
            keys = {cookie_key(line) for line in self._lines(site).splitlines()}
            of_site = [line for line in sorted(renewed) if self._is_of(site, line, keys)]
            newer = with_renewed(self._lines(site), of_site, now=datetime.now(UTC))
            if newer is not None:
                self._newer[site] = newer.lines
                self.keep(site, of_site)
        return found

    def _is_of(self, site: str, line: str, keys: Collection[tuple[str, str, str]]) -> bool:
        """Whether a renewed cookie is stored for this site: it is there already, or no nearer site has a sign-in."""
        host = line.partition("\t")[0].lstrip(".").lower()
        return is_cookie_line(line) and belongs(host, site) and (_nearest(self.cookies, host) == site or cookie_key(line) in keys)

    def _lines(self, site: str) -> str:
        return self._newer.get(site, self.cookies[site])

    def headers_for(self, address: str) -> Mapping[str, str]:
        """The headers that a request gets. None over plain http, where everybody on the way could read them, except on this machine."""
        host = web_host(address) or ""
        site = _nearest(self.headers, host)
        if site is None or not (address.lower().startswith("https:") or is_loopback(host)):
            return {}
        return self.headers[site]

    def proxy_for(self, address: str) -> str | None:
        site = _nearest(self.proxies, web_host(address))
        return None if site is None else self.proxies[site]

    def hidden(self, text: str) -> str:
        """`text` without the values that are stored, for a message."""
        for value in self._values():
            text = text.replace(value, HIDDEN)
        return text

    @contextmanager
    def told_without_values(self) -> Iterator[None]:
        """Errors that leave this block hold no stored value, also in the errors that caused them."""
        try:
            yield
        except Exception as error:
            if rewritten(error, self.hidden) is not None:
                raise
            if self.hidden(str(error)) != str(error):
                raise PermanentError(self.hidden(str(error))) from None
            error.__context__ = None  # one of its causes cannot be rewritten
            raise error from None

    def _values(self) -> list[str]:
        """The longest first."""
        proxies = [urlsplit(proxy) for proxy in self.proxies.values()]
        headers = [value for one in self.headers.values() for name, value in one.items() if name.lower() not in _PLAIN_HEADERS]
        values = {
            *(cookie.value or "" for lines in (*self.cookies.values(), *self._newer.values()) for cookie in cookies_in(lines)),
            *headers,
            *(word for value in headers for word in value.split()),
            *(part for proxy in proxies for part in (proxy.password or "", unquote(proxy.password or ""))),
        }
        return sorted((value for one in values for value in {one, quote(one)} if len(value) >= _SHORTEST_HIDDEN), key=len, reverse=True)


NO_SITES = Sites()
_REMEDY = "Set HEATERS_SECRET_KEY to the same text on every machine, or store it again: heaters sites --help"
_FILES = "HEATERS_COOKIES_FILES"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSite:
    """What may be shown of a site. changed_by, changed_at: of its newest part. problem: in words, None when there is none."""

    site: str
    parts: Mapping[SitePart, str]
    ends_at: datetime | None
    changed_by: str
    changed_at: datetime
    problem: str | None


class SiteAccess:
    """What people store for sites. Raises BadRequestError for what cannot be used; no message repeats a value."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._store = SiteAccessStore(database)
        self._settings = settings

    def sign_in(self, site: str, cookies_file: str, *, by: str, now: datetime | None = None) -> str:
        """Store the cookies of the site. Returns a sentence."""
        name = site_name(site)
        cookies = cookies_of(cookies_file, name, now=now or datetime.now(UTC))
        self._put(name, SitePart.COOKIES, cookies.lines, told=cookies.told, ends_at=cookies.ends_at, by=by)
        left = f" {counted(cookies.of_others, 'cookie')} of other sites in the file {'was' if cookies.of_others == 1 else 'were'} left out."
        until = f", of which the last ends on {cookies.ends_at:%Y-%m-%d}" if cookies.ends_at else ""
        return f"Heaters signs in to {name} with {cookies.told}{until}.{left if cookies.of_others else ''}{self._key_advice()}"

    def set_headers(self, site: str, lines: Iterable[str], *, by: str) -> str:
        """Send these headers to the site, in place of those that were stored. Returns a sentence."""
        name, headers = site_name(site), headers_of(lines)
        self._put(name, SitePart.HEADERS, json.dumps(headers), told=", ".join(headers), ends_at=None, by=by)
        return f"Requests to {name} get {counted(len(headers), 'header')} over https: {', '.join(headers)}.{self._key_advice()}"

    def set_proxy(self, site: str, proxy: str, *, by: str, guard: AddressGuard | None = None) -> str:
        """Fetch from the site by this proxy. guard: refuses one on an internal network, for people in a browser."""
        name, address = site_name(site), proxy_of(proxy)
        if guard is not None:
            guard.check_host(web_host(address) or "")
        self._put(name, SitePart.PROXY, address, told="a proxy", ends_at=None, by=by)
        return f"Requests to {name} go by the proxy.{self._key_advice()}"

    def forget(self, site: str, part: SitePart | None = None) -> str:
        """Raises NotFoundError when nothing is stored."""
        name = site_name(site)
        gone = self._store.delete(name, part)
        if not gone:
            raise NotFoundError(
                f"nothing is stored for {name}{'' if part is None else f' as {PART_WORDS[part]}'}; heaters sites list shows what is"
            )
        again = name in self._settings.cookies_files and SitePart.COOKIES in gone
        taken = f" {_FILES} still names a file for it, which is taken again: change the setting, too." if again else ""
        return f"Forgotten for {name}: {', '.join(PART_WORDS[one] for one in gone)}.{taken}"

    def listed(self, *, now: datetime | None = None) -> list[ListedSite]:
        """By name."""
        moment = now or datetime.now(UTC)
        self._take_files(moment)
        return self._listed(moment)

    def _listed(self, moment: datetime) -> list[ListedSite]:
        by_site: dict[str, list[StoredAccess]] = {}
        for stored in self._store.load_all():
            by_site.setdefault(stored.site, []).append(stored)
        sealer = Sealer.of(self._settings) if by_site else None
        found = []
        for site, parts in by_site.items():
            newest = max(parts, key=lambda one: one.changed_at)
            ends_at = next((one.ends_at for one in parts if one.part is SitePart.COOKIES), None)
            reason = next((reason for one in parts if sealer and (reason := _unreadable(one, sealer))), None)
            found.append(
                ListedSite(
                    site=site, parts={one.part: one.told for one in parts}, ends_at=ends_at, changed_by=newest.changed_by,
                    changed_at=newest.changed_at, problem=f"{reason}. {_REMEDY}" if reason else _ending(ends_at, moment),
                )
            )  # fmt: skip
        return found

    def problems(self, *, now: datetime | None = None) -> list[str]:
        """A sentence for each site that needs a person: its sign-in has ended, ends within a week, or cannot be read here, or the cookies
        file that a setting names cannot be used.
        """
        moment = now or datetime.now(UTC)
        wrong = self._take_files(moment)
        return [*wrong.values(), *(f"{one.site}: {one.problem}" for one in self._listed(moment) if one.problem)]

    def load(self) -> Sites:
        """Everything, for a download."""
        wrong = self._take_files(datetime.now(UTC))
        stored = self._store.load_all()
        if not (stored or wrong):
            return NO_SITES
        sealer = Sealer.of(self._settings)
        opened: dict[SitePart, dict[str, str]] = {part: {} for part in SitePart}
        unreadable: dict[str, str] = {}
        for one in stored:
            try:
                opened[one.part][one.site] = sealer.opened(one.sealed, about=_about(one.site, one.part))
            except UnreadableError as error:
                unreadable[one.site] = str(error)
        return Sites(
            cookies=opened[SitePart.COOKIES],
            headers={site: json.loads(text) for site, text in opened[SitePart.HEADERS].items()},
            proxies=opened[SitePart.PROXY],
            unreadable=unreadable,
            without_file={site: told for site, told in wrong.items() if site not in opened[SitePart.COOKIES]},
            keep=self._keeper({one.site: one.changed_at for one in stored if one.part is SitePart.COOKIES}, sealer),
        )

    def _keeper(self, changed_at: Mapping[str, datetime], sealer: Sealer) -> Callable[[str, Collection[str]], None]:
        """Stores cookies that a site has renewed, unless a person has stored or deleted some since `changed_at`."""

        def keep(site: str, lines: Collection[str]) -> None:
            about = _about(site, SitePart.COOKIES)

            def again(one: StoredAccess) -> tuple[bytes, str, datetime | None] | None:
                newer = with_renewed(sealer.opened(one.sealed, about=about), lines, now=datetime.now(UTC))
                return None if newer is None else (sealer.sealed(newer.lines, about=about), newer.told, newer.ends_at)

            # What is fetched is right without that: at worst the site asks for a sign-in the next time.
            with suppress(HeatersError):
                self._store.renew(site, SitePart.COOKIES, again, changed_at=changed_at[site])

        return keep

    def _take_files(self, now: datetime) -> dict[str, str]:
        """Store the cookies of files that a setting names and that are new or changed. Site -> what is wrong with its file, in a sentence.

        What is the same file as last time is not taken again: a person, or the site, may have put newer cookies in its place.
        """
        wrong: dict[str, str] = {}
        for site, path in self._settings.cookies_files.items():
            sealer, about = Sealer.of(self._settings), _about(site, SitePart.COOKIES)
            try:
                text = text_of_file(path)
                mark = sealer.mark(text, about=about)
                if self._store.file_mark(site) == mark:
                    continue
                cookies = cookies_of(text, site, now=now)
            except PermanentError as error:
                wrong[site] = f"the cookies file {path}, which {_FILES} names for {site}, cannot be used: {error}"
            else:
                sealed = sealer.sealed(cookies.lines, about=about)
                self._store.put(
                    site, SitePart.COOKIES, sealed, told=cookies.told, ends_at=cookies.ends_at, by=_FILES, file_mark=mark
                )  # fmt: skip
        return wrong

    def renew_key(self, renew: Callable[[], T]) -> T:
        """Renew the signing key with `renew`, and seal everything under the new one. What was unreadable before stays so."""
        old = Sealer.of(self._settings)
        renewed = renew()
        new = Sealer.of(self._settings)

        def again(one: StoredAccess) -> bytes | None:
            about = _about(one.site, one.part)
            try:
                return new.sealed(old.opened(one.sealed, about=about), about=about)
            except UnreadableError:
                return None

        self._store.seal_anew(again)
        for site, path in self._settings.cookies_files.items():
            with suppress(PermanentError):  # a file that cannot be read now is taken again when it can
                text, about = text_of_file(path), _about(site, SitePart.COOKIES)
                self._store.mark_anew(site, old.mark(text, about=about), new.mark(text, about=about))
        return renewed

    def _put(self, site: str, part: SitePart, text: str, *, told: str, ends_at: datetime | None, by: str) -> None:
        sealed = Sealer.of(self._settings).sealed(text, about=_about(site, part))
        self._store.put(site, part, sealed, told=told, ends_at=ends_at, by=by)

    def _key_advice(self) -> str:
        """Machines share the database only, so they need the same key; a kept one is that of one machine."""
        if self._settings.secret_key or not self._settings.database_url:
            return ""
        return " Only this machine can use it: other workers need the same HEATERS_SECRET_KEY, and then it has to be stored again."


def _about(site: str, part: SitePart) -> str:
    return f"{part.value} of {site}"


def _unreadable(one: StoredAccess, sealer: Sealer) -> str | None:
    try:
        sealer.opened(one.sealed, about=_about(one.site, one.part))
    except UnreadableError as error:
        return str(error)
    return None


def _ending(ends_at: datetime | None, now: datetime) -> str | None:
    again = "sign in to the site in a browser and store its cookies again (heaters sites sign-in)"
    if ends_at is None or ends_at > now + _SOON:
        return None
    return f"the sign-in {'ends' if ends_at > now else 'ended'} on {ends_at:%Y-%m-%d}: {again}"


def _nearest(sites: Collection[str], host: str | None) -> str | None:
    return max((site for site in sites if belongs((host or "").rstrip("."), site)), key=len, default=None)
