"""Downloads from servers that encrypt, ask for a pause, name their files, or answer what is no HTTP."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from heaters_dagster.domain.errors import DownloadError, InvalidMediaError, SourceNotFoundError
from tests.media_files import barcode_video, barcodes, ffmpeg
from tests.web_server import WebServer, downloader, file, first, redirect, status, text

HLS = "application/vnd.apple.mpegurl"
KEY = bytes(range(16))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return barcode_video(tmp_path_factory.mktemp("clip") / "a_clip.mp4", frames=24, keyframe_every=12)


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory, clip) -> Path:
    """A folder with `clip` as HLS in two segments, encrypted with AES-128; the playlist is list.m3u8 and the key key.bin."""
    folder = tmp_path_factory.mktemp("encrypted")
    (folder / "key.bin").write_bytes(KEY)
    (folder / "key_info").write_text(f"key.bin\n{folder / 'key.bin'}\n")
    segments = ["-hls_time", "0.5", "-hls_playlist_type", "vod", "-hls_segment_filename", str(folder / "part_%d.ts")]
    ffmpeg(["-i", str(clip), "-c", "copy", "-f", "hls", *segments, "-hls_key_info_file", str(folder / "key_info")], folder / "list.m3u8")
    assert "METHOD=AES-128" in (folder / "list.m3u8").read_text()
    return folder


@pytest.fixture
def web(tmp_path, encrypted) -> Iterator[WebServer]:
    folder = tmp_path / "web"
    shutil.copytree(encrypted, folder)
    with WebServer(folder).running() as server:
        yield server


@pytest.fixture
def an_ffmpeg_on_the_path(tmp_path, monkeypatch) -> Path:
    """A program called ffmpeg comes first on the PATH; the file is there once anybody has run it."""
    programs, ran = tmp_path / "programs", tmp_path / "ran"
    programs.mkdir()
    for name in ("ffmpeg", "ffprobe"):
        (programs / name).write_text(f"#!/bin/sh\ntouch {ran}\necho ffmpeg version 8.0\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    return ran


# encrypted streams


def test_an_encrypted_stream_is_decrypted_and_no_ffmpeg_of_the_path_is_run(web, folder, an_ffmpeg_on_the_path):
    fetched = downloader().fetch(f"{web.url}/list.m3u8", folder)
    assert barcodes(fetched.path) == list(range(24))
    assert "/key.bin" in web.requests
    assert not an_ffmpeg_on_the_path.exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('METHOD=SAMPLE-AES,URI="key.bin"', "it is encrypted with SAMPLE-AES, which is not supported; only AES-128 is supported"),
        ('METHOD=SAMPLE-AES,URI="skd://1",KEYFORMAT="com.apple.streamingkeydelivery"', "it is protected against copying"),
        ("METHOD=AES-128", "its playlist names no key"),
    ],
)
def test_a_stream_that_nobody_can_decrypt_without_a_licence_is_refused(web, folder, an_ffmpeg_on_the_path, line, words):
    playlist = "".join(
        f"#EXT-X-KEY:{line}\n" if one.startswith("#EXT-X-KEY") else one
        for one in (web.folder / "list.m3u8").read_text().splitlines(keepends=True)
    )
    web.answers["/list.m3u8"] = text(playlist, HLS)
    with pytest.raises((InvalidMediaError, SourceNotFoundError), match=rf"^{web.url}/list.m3u8 .*{words}"):
        downloader().fetch(f"{web.url}/list.m3u8", folder)
    assert not an_ffmpeg_on_the_path.exists()


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        (status(404), SourceNotFoundError, r"^the key of \S+/list.m3u8 is missing: the server answers 404 at \S+/key.bin$"),
        (
            status(403),
            SourceNotFoundError,
            r"/list.m3u8 cannot be fetched: the server answers 403 for the key at \S+; it may need a sign-in",
        ),
        (status(503), DownloadError, r"the server answers 503 at the moment for the key at \S+/key.bin$"),
        (file(b"short", "application/octet-stream"), InvalidMediaError, "is encrypted, .*a key has 16 bytes$"),
        (file(bytes(16), "application/octet-stream"), InvalidMediaError, "the key in its playlist does not decrypt it$"),
    ],
)
def test_a_key_that_is_missing_or_wrong_is_told(web, folder, key, error, words):
    web.answers["/key.bin"] = key
    with pytest.raises(error, match=words):
        downloader(retries=0).fetch(f"{web.url}/list.m3u8", folder)


def test_a_segment_whose_name_must_be_escaped_is_told_by_its_number(web, folder):
    playlist = (web.folder / "list.m3u8").read_text().replace("part_1.ts", "teil ü.ts")
    web.answers["/list.m3u8"] = file(playlist.encode(), HLS)
    with pytest.raises(SourceNotFoundError, match=r"^segment 2 of 2 of \S+/list.m3u8 is missing: the server answers 404 at "):
        downloader(retries=0).fetch(f"{web.url}/list.m3u8", folder)


# pauses that a server asks for


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
def test_a_server_that_asks_for_a_pause_gets_it(web, folder, clip, code, as_date):
    asked: list[float] = []

    def busy(handler) -> None:
        asked.append(time.monotonic())
        at = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        status(code, {"Retry-After": at if as_date else "1"})(handler)

    def then(handler) -> None:
        asked.append(time.monotonic())
        file(clip.read_bytes(), "video/mp4")(handler)

    web.answers["/a.mp4"] = first(busy, then=then)
    downloader(retries=0 if code == 503 else 1).fetch(f"{web.url}/a.mp4", folder)
    assert asked[1] - asked[0] >= 1


def test_a_segment_that_is_put_off_is_fetched_after_the_pause(web, folder):
    data = (web.folder / "part_1.ts").read_bytes()
    web.answers["/part_1.ts"] = first(status(429, {"Retry-After": "1"}), then=file(data, "video/mp2t"))
    assert barcodes(downloader(retries=0).fetch(f"{web.url}/list.m3u8", folder).path) == list(range(24))


def test_a_pause_that_is_too_long_fails_and_says_until_when(web, folder):
    web.answers["/a.mp4"] = status(429, {"Retry-After": "600"})
    words = r"/a.mp4: the server answers 429 at the moment and asks us to wait until (\d{4}-\d\d-\d\d )?\d\d:\d\d UTC \(10 minutes\)$"
    with pytest.raises(DownloadError, match=words):
        downloader(longest_wait_seconds=60).fetch(f"{web.url}/a.mp4", folder)


def test_pauses_are_limited_in_all_and_in_number(web, folder):
    web.answers["/a.mp4"] = status(429, {"Retry-After": "0"})
    with pytest.raises(DownloadError, match=r"the server answers 429 at the moment$"):
        downloader(retries=1).fetch(f"{web.url}/a.mp4", folder)
    assert len(web.requests) == 3
    web.answers["/a.mp4"] = status(429, {"Retry-After": "2"})
    with pytest.raises(DownloadError, match="asks us to wait until"):
        downloader(retries=9, longest_wait_seconds=3).fetch(f"{web.url}/a.mp4", folder)
    assert len(web.requests) == 5


# names


@pytest.mark.parametrize(
    ("header", "name", "title"),
    [
        ('attachment; filename="My_film.mp4"', "My_film.mp4", "My film"),
        ("attachment; filename=\"x.mp4\"; filename*=UTF-8''%C5%81%C3%B3d%C5%BA%20in%20May.mov", "Łódź in May.mov", "Łódź in May"),
        ('attachment; filename="../../etc/cron.d/x.mp4"', "x.mp4", "x"),
        ("inline", "download", "download"),
    ],
)
def test_a_file_has_the_name_that_its_server_gives_to_it(web, folder, clip, header, name, title):
    for path in ("/download", "/moved"):
        web.answers[path] = file(clip.read_bytes(), "video/mp4", {"Content-Disposition": header.encode().decode("latin-1")})
    web.answers["/go"] = redirect("/moved")
    for address in ("download?id=3", *(["go"] if name != "download" else [])):
        (folder / address[:3]).mkdir(exist_ok=True)
        fetched = downloader().fetch(f"{web.url}/{address}", folder / address[:3])
        assert (fetched.name, fetched.title) == (name, title)


def test_a_playlist_has_the_title_that_its_server_gives_to_it(web, folder):
    playlist = (web.folder / "list.m3u8").read_bytes()
    web.answers["/stream"] = file(playlist, HLS, {"Content-Disposition": 'inline; filename="Harbour.m3u8"'})
    assert downloader().fetch(f"{web.url}/stream", folder).title == "Harbour"


# what broke off, in words


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "the server ended the connection|does not keep to HTTP"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "the server does not keep to HTTP or ended the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx", "does not keep to HTTP"),
    ],
)
def test_a_server_that_speaks_no_http_is_told_without_a_librarys_words(folder, said, words):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4"
        with pytest.raises(DownloadError, match=words) as raised:
            downloader(retries=0).fetch(address, folder)
        server.shutdown(socket.SHUT_RDWR)
    for raw in ("object at 0x", "urllib3", "Connection(", "Error(", "Errno", "_ssl", "caused by"):
        assert raw not in str(raised.value)


def test_no_encrypted_connection_is_told_in_words(web, folder):
    address = web.url.replace("http:", "https:") + "/a.mp4"
    with pytest.raises(DownloadError, match=rf"^{address}: the download broke off: an encrypted connection to its server is not possible$"):
        downloader(retries=0).fetch(address, folder)


def test_a_stream_of_pictures_only_is_told(web, folder):
    web.answers["/a.mpd"] = text(PICTURES, "application/dash+xml")
    with pytest.raises(InvalidMediaError, match=r"/a.mpd offers still pictures only: "):
        downloader().fetch(f"{web.url}/a.mpd", folder)


PICTURES = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT10S"><Period>
<AdaptationSet mimeType="image/jpeg" contentType="image"><SegmentTemplate media="$Number$.jpg" duration="10" startNumber="1"/>
<Representation id="p" bandwidth="1000" width="160" height="90"/></AdaptationSet></Period></MPD>"""
