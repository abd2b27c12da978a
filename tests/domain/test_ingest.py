"""Which strings, names and addresses are let in."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain.errors import ForbiddenSourceError
from heaters_dagster.domain.ingest import (
    SourceKind,
    clean_title,
    internal_reason,
    is_video_name,
    looks_like_address,
    original_suffix,
    s3_location,
    source_kind,
    status_may_pass,
    title_from_name,
    web_host,
)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("/videos/a.mp4", SourceKind.LOCAL_PATH),
        ("/videos/http: a.mp4", SourceKind.LOCAL_PATH),
        ("https://example.org/a.mp4", SourceKind.WEB_ADDRESS),
        ("HTTP://example.org:8080/watch?v=1", SourceKind.WEB_ADDRESS),
        ("https://[2606:4700::1111]/a", SourceKind.WEB_ADDRESS),
        ("s3://bucket/folder/a b.mp4", SourceKind.S3_ADDRESS),
    ],
)
def test_paths_web_and_s3_addresses_are_sources(source, kind):
    assert source_kind(source) is kind


@pytest.mark.parametrize(
    "source",
    [
        "", "a.mp4", "../a.mp4", "~/a.mp4", "file:///etc/passwd", "FILE:/etc/passwd", "ftp://example.org/a", "rtmp://example.org/a",
        "data:video/mp4;base64,AAAA", "concat:/a|/b", "pipe:0", "subfile,,start,0,end,9,,:/etc/passwd", "javascript:1",
        "https:///a.mp4", "http://", "https://[::1/a", "http://h:port/",
        "s3://", "s3://bucket", "s3://bucket/", "s3://Bucket/a", "s3://b/a", "s3://bucket/folder/", "s3://bucket/a\nb", "/a\x00b",
    ],
)  # fmt: skip
def test_everything_else_is_refused(source):
    with pytest.raises(ForbiddenSourceError):
        source_kind(source)


def test_a_refusal_says_what_can_be_submitted():
    with pytest.raises(
        ForbiddenSourceError, match=r"'ftp://x/y' cannot be a source: give an absolute path, or an address that begins with"
    ):
        source_kind("ftp://x/y")


@pytest.mark.parametrize(
    ("typed", "is_address"),
    [
        ("https://example.org", True), ("ftp://x", True), ("file:/etc/passwd", True), ("s3://b/k", True), ("data:,x", True),
        ("a.mp4", False), ("/a.mp4", False), ("Part 1: the end.mp4", False), ("a:b.mp4", False), ("folder/http://x", False),
    ],
)  # fmt: skip
def test_what_is_meant_as_an_address(typed, is_address):
    assert looks_like_address(typed) is is_address


def test_hosts():
    assert web_host("https://User:pw@Example.ORG:8443/x") == "example.org"
    assert web_host("http://[::1]:80/") == "::1"
    assert web_host("http:///x") is None
    assert web_host("http://h:99999/") is None


def test_s3_locations():
    assert s3_location("s3://my-bucket/a/b c.mp4") == ("my-bucket", "a/b c.mp4")


@pytest.mark.parametrize(
    ("name", "expected"), [("a.mp4", True), ("A.MOV", True), ("a.tar.mkv", True), (".a.mp4", False), ("a.txt", False), ("mp4", False)]
)
def test_which_names_in_a_folder_are_videos(name, expected):
    assert is_video_name(name) is expected


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("/videos/my_holiday_2020.mp4", "my holiday 2020"),
        ("Part 1: the end.mp4", "Part 1: the end"),
        ("v1.2 final", "v1.2 final"),
        ("https://example.org/a/b%20c.mp4?token=1", "b c"),
        ("https://example.org/", "example.org"),
        ("https://ada:s3cret@example.org:8443/", "example.org"),
        ("https://example.org?token=s3cret", "example.org"),
        ("s3://bucket/folder/shot_007.mov", "shot 007"),
        (".mp4", ".mp4"),
        ("_.mp4", "_.mp4"),
    ],
)
def test_titles(name, title):
    assert title_from_name(name) == title


@given(st.text())
def test_a_title_is_one_clean_line(text):
    title = clean_title(text)
    assert len(title) <= 200
    assert title == title.strip()
    assert all(character not in title for character in "\n\r\t\x00\x1b\u202e\u2028")
    assert clean_title(f"{text}\ud83d").encode() == title.encode(), "a site may send half a character, which nothing can store"


@given(st.text())
def test_any_string_is_a_kind_of_source_or_refused(text):
    with suppress(ForbiddenSourceError):
        assert source_kind(text) in SourceKind


@pytest.mark.parametrize(
    ("name", "container", "suffix"),
    [
        ("a.MOV", "mov,mp4,m4a,3gp,3g2,mj2", ".mov"),
        ("watch", "matroska,webm", ".mkv"),
        ("master.m3u8", "mpegts", ".ts"),
        ("notes.txt", "nut", ""),
        ("a.exe", "mov,mp4,m4a,3gp,3g2,mj2", ".mp4"),
    ],
)
def test_suffix_of_the_original(name, container, suffix):
    assert original_suffix(name, container) == suffix


def test_which_statuses_may_pass():
    assert [status for status in (400, 401, 403, 404, 408, 410, 425, 429, 451, 500, 502, 503) if status_may_pass(status)] == [
        408, 425, 429, 500, 502, 503,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1",
        "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "64:ff9b:1::1", "100::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
        "2002:a00:1::1",
        "2001:0:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    ],
)  # fmt: skip
def test_internal_addresses_are_known(address):
    assert internal_reason(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1", "64:ff9b::808:808"]
)
def test_public_addresses_are_let_through(address):
    assert internal_reason(ip_address(address)) is None


@given(
    st.ip_addresses(v=4, network="10.0.0.0/8")
    | st.ip_addresses(v=4, network="127.0.0.0/8")
    | st.ip_addresses(v=4, network="169.254.0.0/16")
)
def test_an_internal_address_stays_internal_inside_ipv6(address):
    assert internal_reason(ip_address(f"::ffff:{address}"))
    assert internal_reason(ip_address(int(ip_address("64:ff9b::")) + int(address)))
    assert internal_reason(ip_address((0x2002 << 112) + (int(address) << 80)))
