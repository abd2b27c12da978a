"""What people store for web sites: what is taken, what is refused, and that no refusal repeats a value."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.site_access import belongs, cookies_of, headers_of, named_files, proxy_of, site_name, with_renewed

NOW = datetime(2026, 11, 27, tzinfo=UTC)
LATER, EARLIER = 1_800_000_000, 1_700_000_000


def line(domain: str, name: str = "session", value: str = "M4rked", *, expires: object = 0, http_only: bool = False) -> str:
    return ("#HttpOnly_" if http_only else "") + "\t".join(
        (domain, str(domain.startswith(".")).upper(), "/", "TRUE", str(expires), name, value)
    )


def cookies_file(*lines: str) -> str:
    return "\n".join(("# Netscape HTTP Cookie File", "", *lines, ""))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("vimeo.com", "vimeo.com"),
        (" https://www.Vimeo.com/76979871?x=1 ", "vimeo.com"),
        ("player.vimeo.com:443", "player.vimeo.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("http://localhost:8000/a.mp4", "localhost"),
    ],
)
def test_a_site_is_called_by_its_host(given, name):
    assert site_name(given) == name


def test_a_site_that_is_not_said_is_asked_for():
    with pytest.raises(BadRequestError, match=r"write the name of the site: vimeo\.com, for example"):
        site_name("")


@pytest.mark.parametrize(
    "given", ["com", "/films/a.mp4", "a b.com", "-x-.com", "vimeo..com", "x" * 300 + ".com", "a.com\x1b[2J", "http://[::1"]
)
def test_what_names_no_site_is_refused(given):
    with pytest.raises(BadRequestError, match=r"is not the name of a site: write vimeo\.com") as refusal:
        site_name(given)
    assert "\x1b" not in str(refusal.value)


def test_a_part_of_a_site_belongs_to_it_and_a_site_that_ends_alike_does_not():
    assert [belongs(host, "vimeo.com") for host in ("vimeo.com", "player.vimeo.com", "notvimeo.com", "vimeo.com.example.org", "com")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert not belongs("1.127.0.0.1", "127.0.0.1")


def test_cookies_of_the_site_are_kept_and_all_others_left_out():
    given = cookies_file(
        line(".vimeo.com", "vuid", "one", expires=LATER, http_only=True),
        line("player.vimeo.com", "session", "two"),
        line(".vimeo.com", "old", "three", expires=EARLIER),
        line(".example.org", "session", "M4rked"),
        line(".notvimeo.com", "session", "a\x00b"),
        "",
        "# a remark",
    )
    found = cookies_of(given.replace("\n", "\r\n"), "vimeo.com", now=NOW)
    assert found.lines == ".vimeo.com\tTRUE\t/\tTRUE\t1800000000\tvuid\tone\nplayer.vimeo.com\tFALSE\t/\tTRUE\t0\tsession\ttwo\n"
    assert (found.count, found.ends_at, found.of_others, found.told) == (2, datetime.fromtimestamp(LATER, UTC), 2, "2 cookies")
    assert "vuid" not in repr(found)
    assert cookies_of(cookies_file(line("vimeo.com")), "vimeo.com", now=NOW).ends_at is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ('[{"domain": ".vimeo.com", "value": "M4rked"}]', "this is a cookies file in JSON: save it in Netscape format"),
        ("session=M4rked; path=/", "line 1 is not a line of a cookies file in Netscape format"),
        (cookies_file(line("vimeo.com", value="M4rked\x07")), "line 3 is not a line of a cookies file"),
        (cookies_file(line("vimeo.com", value="M4rked\u4e2d")), "line 3 is not a line of a cookies file"),
        (cookies_file(line("vimeo.com", expires="M4rked")), "line 3 is not a line of a cookies file"),
        (cookies_file(line("vimeo.com", expires=EARLIER)), "no cookie of vimeo.com that is valid: all 1 of vimeo.com have ended"),
        (cookies_file(line("example.org")), "no cookie of vimeo.com that is valid: it holds 1 cookie of other sites"),
        ("", "no cookie of vimeo.com that is valid: it is empty"),
        ("M4rked" * 200_000, "larger than 1 MB"),
    ],
)
def test_what_is_no_sign_in_is_refused_without_repeating_it(given, told):
    with pytest.raises(BadRequestError) as refusal:
        cookies_of(given, "vimeo.com", now=NOW)
    assert told in str(refusal.value)
    assert "M4rked" not in str(refusal.value)


def test_headers_are_read_line_by_line():
    assert headers_of(["Authorization: Bearer a:b", "", "referer:  https://example.org/ "]) == {
        "Authorization": "Bearer a:b", "referer": "https://example.org/",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["M4rked"], "a header is written NAME: VALUE"),
        (["X-Key:"], "a header is written NAME: VALUE"),
        (["X Key: M4rked"], "a header is written NAME: VALUE"),
        (["Cookie: session=M4rked"], "cookies are not stored as a header"),
        (["Host: M4rked"], "the header Host cannot be set"),
        (["Range: bytes=0-M4rked"], "the header Range cannot be set"),
        (["X-Key: M4rked\x00"], "the value of the header X-Key cannot be sent"),
        (["X-Key: M4rked\u4e2d"], "the value of the header X-Key cannot be sent"),
        (["X-Key: M4rked", "x-key: M4rked"], "the header x-key is given twice"),
        ([], "write at least one header"),
        ([f"X-{number}: M4rked" for number in range(21)], "at most 20 headers"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(lines, told):
    with pytest.raises(BadRequestError) as refusal:
        headers_of(lines)
    assert told in str(refusal.value)
    assert "M4rked" not in str(refusal.value)


def test_a_proxy_is_an_address_of_a_host():
    assert proxy_of(" http://ada:secret@proxy.example.org:3128/ ") == "http://ada:secret@proxy.example.org:3128"
    assert proxy_of("socks5h://127.0.0.1:1080") == "socks5h://127.0.0.1:1080"
    for given in (
        "proxy:3128",
        "ftp://M4rked@host",
        "http://",
        "http://h:99999",
        "http://h/M4rked",
        "http://h?M4rked",
        "http://M4rked h",
        "",
    ):
        with pytest.raises(BadRequestError, match=r"^a proxy is written http://host:3128") as refusal:
            proxy_of(given)
        assert "M4rked" not in str(refusal.value)


def test_a_renewed_cookie_takes_the_place_of_the_old_one_and_none_is_taken_away():
    old = (line(".vimeo.com", value="old"), line(".vimeo.com", "ended", "x", expires=EARLIER), line(".vimeo.com", "lang", "en"))
    stored = "".join(f"{one}\n" for one in old).replace(".vimeo.com", "vimeo.com", 1)
    renewed = [
        line(".vimeo.com", value="new", expires=LATER),
        line(".vimeo.com", "more", "two"),
        line(".vimeo.com", "bad", "a\x00b"),
        "a\tb",
    ]
    found = with_renewed(stored, renewed, now=NOW)
    assert found is not None
    assert [one.split("\t")[4:] for one in found.lines.splitlines()] == [
        [str(LATER), "session", "new"], ["0", "lang", "en"], ["0", "more", "two"],
    ]  # fmt: skip
    assert (found.told, found.ends_at) == ("3 cookies", datetime.fromtimestamp(LATER, UTC))
    assert with_renewed(found.lines, renewed, now=NOW) is None
    assert with_renewed(found.lines, [line(".vimeo.com", "large", "x" * (1 << 20))], now=NOW) is None


def test_a_setting_names_one_file_for_each_site():
    assert named_files(["https://www.vimeo.com/1=/s/a=b.txt", "example.org=~/c.txt"]) == {
        "vimeo.com": "/s/a=b.txt",
        "example.org": "~/c.txt",
    }
    for given, told in (
        (["vimeo.com"], "'vimeo.com' is not a site and the full path of its file"),
        (["vimeo.com=cookies.txt"], "is not a site and the full path of its file"),
        (["nowhere=/a"], "'nowhere' is not the name of a site"),
        (["vimeo.com=/a", "www.vimeo.com=/b"], "vimeo.com has two files"),
    ):
        with pytest.raises(BadRequestError, match=told):
            named_files(given)
