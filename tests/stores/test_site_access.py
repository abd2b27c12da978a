"""Sign-ins, headers and proxies of web sites in Postgres: usable by every machine with the key, readable by nobody else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from sqlalchemy import text

from heaters_dagster.domain.errors import BadRequestError, DownloadError, NotFoundError, SettingsError
from heaters_dagster.domain.site_access import SitePart
from heaters_dagster.settings import Settings
from resources.files.sealed_text import Sealer, UnreadableError
from resources.files.signing_key import kept_signing_key, renew_signing_key
from resources.postgres.database import Database
from resources.sources.site_access import NO_SITES, SiteAccess, Sites

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
MARK = "M4rkedValue"


def cookies_file(domain: str, *, expires: datetime | None = None, value: str = MARK) -> str:
    return f"# Netscape HTTP Cookie File\n{domain}\tTRUE\t/\tTRUE\t{int(expires.timestamp()) if expires else 0}\tsession\t{value}\n"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, secret_key="that of every machine")


@pytest.fixture
def access(database: Database, settings: Settings) -> SiteAccess:
    return SiteAccess(database, settings)


def rows(database: Database) -> str:
    with database.read() as connection:
        return str([tuple(map(str, row)) for row in connection.execute(text("select * from site_access order by site, part"))])


def test_a_sealed_text_opens_with_its_key_for_its_purpose_only():
    sealer, other = Sealer("one secret"), Sealer("another secret")
    sealed = sealer.sealed("hush \u4e2d", about="cookies of vimeo.com")
    assert sealer.opened(sealed, about="cookies of vimeo.com") == "hush \u4e2d"
    assert sealed != sealer.sealed("hush \u4e2d", about="cookies of vimeo.com")
    assert b"hush" not in sealed
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for who, data, about in (
        (other, sealed, "cookies of vimeo.com"), (sealer, sealed, "cookies of evil.example"), (sealer, changed, "cookies of vimeo.com"),
        (sealer, b"", "cookies of vimeo.com"), (sealer, b"\x02" + sealed[1:], "cookies of vimeo.com"),
    ):  # fmt: skip
        with pytest.raises(UnreadableError, match=r"it was stored (with|by) another"):
            who.opened(data, about=about)


def test_what_is_stored_is_used_and_never_shown(access: SiteAccess, database: Database, settings: Settings) -> None:
    assert access.load() is NO_SITES
    told = [
        access.sign_in("https://www.vimeo.com/1", cookies_file(".vimeo.com", expires=NOW + timedelta(days=90)), by="Ada", now=NOW),
        access.set_headers("vimeo.com", [f"X-Api-Key: {MARK}", "Referer: https://example.org/"], by="Ada"),
        access.set_proxy("example.org", f"http://ada:{MARK}@proxy.example.org:3128", by="Bob"),
    ]
    assert told == [
        "Heaters signs in to vimeo.com with 1 cookie, of which the last ends on 2027-02-25.",
        "Requests to vimeo.com get 2 headers over https: X-Api-Key, Referer.",
        "Requests to example.org go by the proxy.",
    ]
    listed = access.listed(now=NOW)
    assert [(one.site, dict(one.parts), one.changed_by, one.problem) for one in listed] == [
        ("example.org", {SitePart.PROXY: "a proxy"}, "Bob", None),
        ("vimeo.com", {SitePart.COOKIES: "1 cookie", SitePart.HEADERS: "X-Api-Key, Referer"}, "Ada", None),
    ]
    sites = access.load()
    assert MARK not in rows(database) + repr(listed) + repr(sites)
    assert sites.headers_for("https://player.vimeo.com/x") == {"X-Api-Key": MARK, "Referer": "https://example.org/"}
    assert sites.headers_for("http://vimeo.com/x") == sites.headers_for("https://vimeo.com.evil.example/") == {}
    assert sites.proxy_for("https://cdn.example.org/x") == f"http://ada:{MARK}@proxy.example.org:3128"
    assert sites.proxy_for("https://vimeo.com/") is None
    assert (sites.is_signed_in("https://player.vimeo.com/"), sites.is_signed_in("https://example.org/")) == (True, False)
    jar = CookieJar()
    sites.fill(jar)
    assert [(cookie.domain, cookie.name, cookie.value, cookie.secure) for cookie in jar] == [(".vimeo.com", "session", MARK, True)]
    elsewhere = SiteAccess(database, replace(settings, home=settings.home / "another machine")).load()
    assert elsewhere == sites


def test_an_error_tells_no_stored_value_nor_do_its_causes():
    sites = Sites(
        cookies={"a.example": f"a.example\tFALSE\t/\tFALSE\t0\tsession\t{MARK}one\n"},
        headers={"a.example": {"Authorization": f"Bearer {MARK}two"}},
        proxies={"a.example": f"http://ada:{MARK}%2Fthree@proxy.example"},
    )  # fmt: skip
    said = f"{MARK}one {MARK}two {MARK}%2Fthree {MARK}/three"
    with pytest.raises(DownloadError) as told, sites.told_without_values():
        raise DownloadError(said) from ValueError(said)
    assert (str(told.value), str(told.value.__cause__)) == ("*** *** *** ***", "*** *** *** ***")

    class Stubborn(Exception):
        def __str__(self) -> str:
            return said

    with pytest.raises(DownloadError, match=r"^bad$") as told, sites.told_without_values():
        raise DownloadError("bad") from Stubborn()
    assert told.value.__cause__ is told.value.__context__ is None


def test_the_nearest_site_counts_and_a_new_value_takes_the_place_of_the_old(access: SiteAccess) -> None:
    access.set_proxy("example.org", "http://one.example:1", by="Ada")
    access.set_proxy("videos.example.org", "http://two.example:2", by="Ada")
    access.set_proxy("example.org", "http://three.example:3", by="Bob")
    sites = access.load()
    assert sites.proxy_for("https://cdn.videos.example.org/") == "http://two.example:2"
    assert sites.proxy_for("https://cdn.example.org/") == "http://three.example:3"


def test_what_is_forgotten_is_gone(access: SiteAccess, database: Database) -> None:
    access.sign_in("vimeo.com", cookies_file(".vimeo.com"), by="Ada")
    access.set_headers("vimeo.com", ["X-Key: abc"], by="Ada")
    assert access.forget("vimeo.com", SitePart.HEADERS) == "Forgotten for vimeo.com: headers."
    with pytest.raises(NotFoundError, match=r"^nothing is stored for vimeo\.com as headers"):
        access.forget("vimeo.com", SitePart.HEADERS)
    assert access.forget("https://vimeo.com/9") == "Forgotten for vimeo.com: sign-in."
    assert rows(database) == "[]"
    with pytest.raises(BadRequestError):
        access.forget("nowhere")


def test_a_sign_in_that_ends_is_told_before_and_after(access: SiteAccess) -> None:
    access.sign_in("vimeo.com", cookies_file(".vimeo.com", expires=NOW + timedelta(days=10)), by="Ada", now=NOW)
    assert access.problems(now=NOW) == []
    assert access.problems(now=NOW + timedelta(days=4))[0].startswith(
        "vimeo.com: the sign-in ends on 2026-12-07: sign in to the site in a browser"
    )
    assert access.problems(now=NOW + timedelta(days=11))[0].startswith("vimeo.com: the sign-in ended on 2026-12-07")


def test_what_another_key_has_sealed_is_told_and_stops_only_its_own_site(
    access: SiteAccess, database: Database, settings: Settings
) -> None:
    access.sign_in("vimeo.com", cookies_file(".vimeo.com"), by="Ada")
    other = SiteAccess(database, replace(settings, secret_key="of another machine"))
    sites = other.load()
    sites.check_readable("https://example.org/a.mp4")
    with pytest.raises(
        SettingsError,
        match=r"^what is stored for vimeo\.com cannot be read here: it was stored with another secret key.*HEATERS_SECRET_KEY",
    ):
        sites.check_readable("https://player.vimeo.com/1")
    assert "cannot be read" not in str(access.problems())
    assert other.problems()[0].startswith("vimeo.com: it was stored with another secret key")
    apart = replace(settings, secret_key=None)
    assert "other workers need the same HEATERS_SECRET_KEY" in SiteAccess(database, apart).set_headers(
        "example.org", ["X-Key: abc"], by="Ada"
    )


def test_a_renewed_key_takes_along_what_is_stored(database: Database, settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "vimeo.txt"
    path.write_text(cookies_file(".vimeo.com", value="of the file"))
    settings = replace(settings, secret_key=None, cookies_files_named=(f"vimeo.com={path}",))
    access = SiteAccess(database, settings)
    access.load()
    access.sign_in("vimeo.com", cookies_file(".vimeo.com"), by="Ada")
    before = kept_signing_key(settings)
    assert access.renew_key(lambda: renew_signing_key(settings)) is True
    assert kept_signing_key(settings) != before
    assert (list(access.load().cookies), access.problems()) == (["vimeo.com"], [])
    assert access.listed()[0].changed_by == "Ada", "the file is known, and older"


def test_a_cookies_file_of_a_setting_is_taken_once_and_again_when_it_has_changed(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "vimeo.txt"
    named = replace(settings, cookies_files_named=(f"vimeo.com={path}",))
    access = SiteAccess(database, named)

    def value() -> str:
        return access.load().cookies["vimeo.com"].rstrip().rpartition("\t")[2]

    names = f"the cookies file {path}, which HEATERS_COOKIES_FILES names for vimeo.com, cannot be used: "
    assert access.problems() == [f"{names}it cannot be read (No such file or directory)"]
    with pytest.raises(SettingsError, match=r"names for vimeo\.com, cannot be used"):
        access.load().check_readable("https://player.vimeo.com/1")
    path.write_text(cookies_file(".vimeo.com"))
    (one,) = access.listed()
    assert (one.changed_by, one.parts, access.problems()) == ("HEATERS_COOKIES_FILES", {SitePart.COOKIES: "1 cookie"}, [])
    assert (value(), MARK in rows(database)) == (MARK, False)
    assert "still names a file for it" in access.forget("vimeo.com")
    assert value() == MARK, "a file that is still named is taken again"

    access.sign_in("vimeo.com", cookies_file(".vimeo.com", value="of a person"), by="Ada")
    assert value() == "of a person", "it is newer than the file"
    path.write_text(cookies_file(".vimeo.com", value="of today"))
    assert value() == "of today"
    elsewhere = SiteAccess(database, settings)
    assert elsewhere.load().cookies == access.load().cookies, "a machine without the file"
    path.write_text(cookies_file(".example.org"))
    assert "it holds 1 cookie of other sites" in access.problems()[0]
    assert value() == "of today"
    access.load().check_readable("https://vimeo.com/1")
    path.write_text(cookies_file(".vimeo.com", value="of today"))
    other_key = SiteAccess(database, replace(named, secret_key="a new one"))
    assert list(other_key.load().cookies) == ["vimeo.com"], "another key reads the file anew"
    for bad in (tmp_path, tmp_path / "large", tmp_path / "binary"):
        (tmp_path / "large").write_bytes(b"x" * (1 << 20) + b"x")
        (tmp_path / "binary").write_bytes(b"\xff\xfe")
        told, *_ = SiteAccess(database, replace(settings, cookies_files_named=(f"example.org={bad}",))).problems()
        assert f"the cookies file {bad}, which HEATERS_COOKIES_FILES names for example.org, cannot be used: it " in told


def test_what_a_site_has_renewed_is_kept_unless_somebody_has_stored_or_deleted_a_sign_in_since(access: SiteAccess) -> None:
    def renewed(value: str) -> CookieJar:
        jar = CookieJar()
        Sites(cookies={"vimeo.com": cookies_file(".vimeo.com", value=value).split("\n")[1] + "\n"}).fill(jar)
        return jar

    access.sign_in("vimeo.com", cookies_file(".vimeo.com", value="first"), by="Ada")
    (before,) = access.listed()
    sites, beside = access.load(), access.load()
    sites.take_back(renewed("second"), given=())
    assert access.load().cookies["vimeo.com"].endswith("second\n")
    assert access.listed() == [before], "who stored it, and when"
    jar = CookieJar()
    sites.fill(jar)
    assert [cookie.value for cookie in jar] == ["second"], "the next request of the same download has it, too"
    beside.take_back(renewed("of another download"), given=())
    assert access.load().cookies["vimeo.com"].endswith("of another download\n")
    access.sign_in("vimeo.com", cookies_file(".vimeo.com", value="third"), by="Bob")
    sites.take_back(renewed("fourth"), given=())
    assert access.load().cookies["vimeo.com"].endswith("third\n")
    access.forget("vimeo.com")
    beside.take_back(renewed("fifth"), given=())
    assert access.load() is NO_SITES
