"""Downloads from servers that hang up in the middle, stall, or lead where nobody should go."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from heaters_dagster.domain.errors import (
    DiskFullError,
    DownloadError,
    ForbiddenSourceError,
    InvalidMediaError,
    SourceNotFoundError,
)
from resources.media.media_probe import probe
from resources.sources.address_guard import AddressGuard
from resources.sources.fetched import Fetched
from tests.media_files import barcode_video, barcodes, ffmpeg
from tests.web_server import WebServer, cut_off, downloader, file, redirect, slow, status, text

MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="sound",DEFAULT=YES,URI="sound.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=300000,RESOLUTION=160x120,CODECS="avc1.42c00b,mp4a.40.2",AUDIO="sound"
picture.m3u8
"""
TALLER = """#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=640x480,CODECS="hvc1.1.6.L93.90,mp4a.40.2",AUDIO="sound"
taller.m3u8
"""
HLS = "application/vnd.apple.mpegurl"


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return barcode_video(tmp_path_factory.mktemp("clip") / "a_clip.mp4", frames=48, keyframe_every=12)


@pytest.fixture(scope="module")
def streams(tmp_path_factory, clip) -> Path:
    """A folder with `clip` as HLS and as DASH, picture and sound apart in both; hls/both.m3u8 has them together."""
    folder = tmp_path_factory.mktemp("streams")
    (folder / "hls").mkdir()
    (folder / "dash").mkdir()
    for name, maps in (("picture", ["0:v"]), ("sound", ["0:a"]), ("both", ["0:v", "0:a"])):
        mapped = [word for one in maps for word in ("-map", one)]
        segments = [
            "-f",
            "hls",
            "-hls_time",
            "0.5",
            "-hls_playlist_type",
            "vod",
            "-hls_segment_filename",
            str(folder / "hls" / f"{name}_%03d.ts"),
        ]
        ffmpeg(["-i", str(clip), *mapped, "-c", "copy", *segments], folder / "hls" / f"{name}.m3u8")
    (folder / "hls" / "master.m3u8").write_text(MASTER)
    ffmpeg(
        ["-i", str(clip), "-map", "0:v", "-map", "0:a", "-c", "copy", "-f", "dash", "-seg_duration", "0.5"],
        folder / "dash" / "manifest.mpd",
    )
    return folder


@pytest.fixture
def web(tmp_path, streams) -> Iterator[WebServer]:
    folder = tmp_path / "web"
    shutil.copytree(streams, folder)
    with WebServer(folder).running() as server:
        yield server


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_whole(fetched: Fetched) -> None:
    assert fetched.byte_size == fetched.path.stat().st_size
    assert fetched.sha256 == sha256(fetched.path)


def test_a_plain_file(web, folder, clip):
    shutil.copy(clip, web.folder / "a_clip.mp4")
    seen = []
    fetched = downloader().fetch(f"{web.url}/a_clip.mp4", folder, report=seen.append)
    assert (fetched.name, fetched.title, fetched.sha256, fetched.warnings) == ("a_clip.mp4", "a clip", sha256(clip), ())
    assert_whole(fetched)
    assert seen[-1].done == seen[-1].total == clip.stat().st_size


def test_what_its_first_bytes_show_to_be_no_video_is_not_downloaded_to_its_end(web, folder):
    web.answers["/scan.mp4"] = file(b"%PDF-1.7" + bytes(30_000_000), "video/mp4")
    seen = []
    with pytest.raises(InvalidMediaError, match=r"^scan\.mp4 is not a video: it is a PDF document$"):
        downloader().fetch(f"{web.url}/scan.mp4", folder, report=seen.append)
    assert all(progress.done < 30_000_000 for progress in seen)


@pytest.mark.parametrize("path", ["hls/master.m3u8", "dash/manifest.mpd"])
def test_a_stream_with_picture_and_sound_apart(web, folder, clip, path):
    seen = []
    fetched = downloader().fetch(f"{web.url}/{path}", folder, report=seen.append)
    assert_whole(fetched)
    found = probe(fetched.path)
    assert (found.container, found.video.codec, [stream.codec for stream in found.audio]) == ("mov,mp4,m4a,3gp,3g2,mj2", "h264", ["aac"])
    assert barcodes(fetched.path) == list(range(48))
    assert fetched.warnings == ()
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)


@pytest.mark.parametrize("path", ["hls/master.m3u8", "dash/manifest.mpd"])
def test_picture_and_sound_keep_their_distance_in_time(web, folder, clip, path):
    """Sound codecs begin with samples that are not to be heard; with or without those the sound lies where it lay, within one packet."""
    lag = [video.start_seconds - audio.start_seconds for video, (audio,) in ((found.video, found.audio) for found in (probe(clip),))]
    found = probe(downloader().fetch(f"{web.url}/{path}", folder).path)
    assert found.video.start_seconds - found.audio[0].start_seconds == pytest.approx(lag[0], abs=1024 / 48_000 + 0.001)
    assert min(found.video.start_seconds, found.audio[0].start_seconds) == pytest.approx(0, abs=0.001)


def test_a_page_whose_video_lies_elsewhere(web, folder, clip):
    shutil.copy(clip, web.folder / "a_clip.mp4")
    page = '<html><head><title>A day out</title></head><body><video src="/a_clip.mp4"></video></body></html>'
    web.answers["/page.html"] = text(page, "text/html")
    fetched = downloader().fetch(f"{web.url}/page.html", folder)
    assert fetched.title.startswith("A day out")
    assert fetched.sha256 == sha256(clip)


def test_a_redirect_is_followed(web, folder, clip):
    shutil.copy(clip, web.folder / "a_clip.mp4")
    web.answers["/go"] = redirect("/a_clip.mp4")
    assert downloader().fetch(f"{web.url}/go", folder).sha256 == sha256(clip)


def test_a_connection_that_is_cut_is_taken_up_again(web, folder, clip):
    web.answers["/cut.mp4"] = cut_off(clip.read_bytes(), times=2)
    assert downloader(retries=3).fetch(f"{web.url}/cut.mp4", folder).sha256 == sha256(clip)


def test_a_connection_that_is_always_cut_may_pass(web, folder, clip):
    web.answers["/cut.mp4"] = cut_off(clip.read_bytes(), times=99)
    with pytest.raises(DownloadError, match=r"/cut\.mp4: the download broke off: \d+ bytes read, \d+ more expected"):
        downloader().fetch(f"{web.url}/cut.mp4", folder)


def test_a_slow_server_is_waited_for(web, folder, clip):
    web.answers["/slow.mp4"] = slow(clip.read_bytes(), pieces=4, pause_seconds=0.4)
    seen = []
    assert downloader(timeout_seconds=5).fetch(f"{web.url}/slow.mp4", folder, report=seen.append).sha256 == sha256(clip)
    assert len(seen) >= 2
    assert seen[0].done < seen[0].total


def test_a_silent_server_is_given_up(web, folder, clip):
    web.answers["/stalled.mp4"] = slow(clip.read_bytes(), pieces=2, pause_seconds=5)
    with pytest.raises(DownloadError, match=r"/stalled\.mp4: .*timed out"):
        downloader(timeout_seconds=0.5).fetch(f"{web.url}/stalled.mp4", folder)


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (404, SourceNotFoundError, r"^there is nothing at http://127.0.0.1:\d+/a.mp4: the server answers 404$"),
        (410, SourceNotFoundError, "there is nothing at"),
        (401, SourceNotFoundError, "the server answers 401; it may need a sign-in"),
        (403, SourceNotFoundError, "the server answers 403"),
        (429, DownloadError, "the server answers 429 at the moment"),
        (500, DownloadError, "the server answers 500 at the moment"),
        (503, DownloadError, "the server answers 503 at the moment"),
    ],
)
def test_what_a_server_answers_is_permanent_or_may_pass(web, folder, code, error, words):
    web.answers["/a.mp4"] = status(code)
    with pytest.raises(error, match=words):
        downloader(retries=0).fetch(f"{web.url}/a.mp4", folder)


def test_a_server_that_is_not_there_may_come_back(web, folder):
    with WebServer(folder).running() as gone:
        address = f"{gone.url}/a.mp4"
    with pytest.raises(DownloadError, match=r"a\.mp4: the address does not answer$"):
        downloader(retries=0).fetch(address, folder)


def test_a_page_without_a_video(web, folder):
    web.answers["/page.html"] = text("<html><body>nothing to see</body></html>", "text/html")
    with pytest.raises(InvalidMediaError, match=r"^no video was found at http://127.0.0.1:\d+/page.html$"):
        downloader().fetch(f"{web.url}/page.html", folder)


def test_a_page_with_several_videos_is_a_list(web, folder, clip):
    web.answers["/page.html"] = text('<html><body><video src="/1.mp4"></video><video src="/2.mp4"></video></body></html>', "text/html")
    with pytest.raises(
        InvalidMediaError, match=r"page\.html is a list of several videos: submit it again, and Heaters shows what it holds"
    ):
        downloader().fetch(f"{web.url}/page.html", folder)


def test_a_live_stream_is_not_waited_for(web, folder):
    playlist = (web.folder / "hls" / "both.m3u8").read_text().replace("#EXT-X-ENDLIST", "").replace("#EXT-X-PLAYLIST-TYPE:VOD\n", "")
    web.answers["/hls/live.m3u8"] = text(playlist, HLS)
    with pytest.raises(InvalidMediaError, match="is a live stream that has not ended"):
        downloader().fetch(f"{web.url}/hls/live.m3u8", folder)


def test_a_missing_segment_fails_the_download_instead_of_leaving_a_gap(web, folder):
    (web.folder / "hls" / "picture_002.ts").unlink()
    missing = rf"^segment 3 of 4 of {web.url}/hls/master.m3u8 is missing: the server answers 404 at {web.url}/hls/picture_002.ts$"
    with pytest.raises(SourceNotFoundError, match=missing):
        downloader(retries=0).fetch(f"{web.url}/hls/master.m3u8", folder)


def test_a_part_that_is_missing_is_told_from_what_was_submitted(web, folder):
    (web.folder / "dash" / "chunk-stream0-00002.m4s").unlink()
    with pytest.raises(
        SourceNotFoundError, match=r"^segment 2 of 4 of \S+manifest.mpd is missing: the server answers 404 at \S+-00002.m4s$"
    ):
        downloader(retries=0).fetch(f"{web.url}/dash/manifest.mpd", folder)


def test_a_playlist_that_is_missing_is_told_from_the_one_that_names_it(web, folder):
    (web.folder / "hls" / "picture.m3u8").unlink()
    with pytest.raises(
        SourceNotFoundError, match=r"master.m3u8 leads to \S+/hls/picture.m3u8, where there is nothing: the server answers 404$"
    ):
        downloader(retries=0).fetch(f"{web.url}/hls/master.m3u8", folder)


def test_the_address_of_a_missing_segment_gives_no_key_away(web, folder):
    playlist = (web.folder / "hls" / "both.m3u8").read_text().replace("both_001.ts", "gone.ts?token=0123456789abcdef01")
    web.answers["/hls/signed.m3u8"] = text(playlist, HLS)
    with pytest.raises(SourceNotFoundError, match=r"^segment 2 of 4 of .* at \S+/hls/gone.ts\?token=\*\*\*$"):
        downloader(retries=0).fetch(f"{web.url}/hls/signed.m3u8", folder)


def add_taller_picture(web: WebServer) -> None:
    """The DASH manifest offers one more picture, taller and of another codec, whose segments are not there."""
    manifest = web.folder / "dash" / "manifest.mpd"
    picture = re.search(r'<Representation id="0".*?</Representation>', manifest.read_text(), re.DOTALL)
    assert picture
    taller = (
        re.sub(r'codecs="[^"]*"', 'codecs="hvc1.1.6.L93.90"', picture[0])
        .replace('id="0"', 'id="9"')
        .replace('height="120"', 'height="480"')
    )
    manifest.write_text(manifest.read_text().replace(picture[0], picture[0] + taller))


def test_when_the_best_formats_fail_compatible_ones_are_taken(web, folder):
    add_taller_picture(web)
    fetched = downloader(retries=0).fetch(f"{web.url}/dash/manifest.mpd", folder)
    assert barcodes(fetched.path) == list(range(48))
    assert "/dash/init-stream9.m4s" in web.requests
    (warning,) = fetched.warnings
    assert warning.startswith("the best formats could not be downloaded (the beginning (initialization) of ")
    assert [path.name for path in folder.iterdir()] == ["try_1"]


def test_when_both_fail_the_failure_that_may_pass_is_told(web, folder):
    add_taller_picture(web)
    web.answers["/dash/init-stream0.m4s"] = status(503)
    with pytest.raises(DownloadError, match="503"):
        downloader(retries=0).fetch(f"{web.url}/dash/manifest.mpd", folder)
    assert {"/dash/init-stream9.m4s", "/dash/init-stream0.m4s"} <= set(web.requests)


def test_the_tallest_picture_is_a_setting(web, folder):
    web.answers["/hls/master.m3u8"] = text(MASTER + TALLER, HLS)
    downloader(max_height=200).fetch(f"{web.url}/hls/master.m3u8", folder)
    assert "/hls/taller.m3u8" not in web.requests


def test_a_join_that_is_not_clean_is_encoded_again(web, folder):
    last = sorted((web.folder / "dash").glob("chunk-stream0-*.m4s"))[-1]
    data = last.read_bytes()
    media = data.index(b"mdat") + 4
    last.write_bytes(data[:media] + bytes(len(data) - media))
    fetched = downloader().fetch(f"{web.url}/dash/manifest.mpd", folder)
    (warning,) = fetched.warnings
    assert "picture and sound could not be joined cleanly" in warning
    assert barcodes(fetched.path)[:36] == list(range(36))
    assert probe(fetched.path).audio[0].codec == "aac"


def test_a_disk_that_is_full_is_told_from_a_bad_connection(web, folder, clip, monkeypatch):
    shutil.copy(clip, web.folder / "a_clip.mp4")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 9, 9))
    with pytest.raises(DiskFullError, match="are needed, 9 are free"):
        downloader().fetch(f"{web.url}/a_clip.mp4", folder)


# what must not be reached


class OnlyThisServer(AddressGuard):
    """Lets the tests' own server through and judges every other address as usual."""

    def check_address(self, address: str, *, host: str) -> None:
        if address != "127.0.0.1":
            super().check_address(address, host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"])
def test_internal_addresses_are_not_fetched(web, folder, host):
    port = web.url.rpartition(":")[2]
    with pytest.raises(ForbiddenSourceError, match=r"may not be fetched: it leads to .*HEATERS_ALLOW_PRIVATE_ADDRESSES"):
        downloader(guard=AddressGuard()).fetch(f"http://{host}:{port}/a.mp4", folder)
    assert web.requests == []


def test_a_redirect_to_an_internal_address_is_not_followed(web, folder):
    web.answers["/a.mp4"] = redirect("http://169.254.169.254/latest/meta-data")
    with pytest.raises(ForbiddenSourceError, match=r"169\.254\.169\.254.*link-local"):
        downloader(guard=OnlyThisServer()).fetch(f"{web.url}/a.mp4", folder)


@pytest.mark.parametrize("scheme", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:video/mp4;base64,AAAA"])
def test_a_redirect_to_another_scheme_is_not_followed(web, folder, scheme):
    web.answers["/a.mp4"] = redirect(scheme)
    with pytest.raises(ForbiddenSourceError, match="leads to something that may not be fetched"):
        downloader(guard=OnlyThisServer()).fetch(f"{web.url}/a.mp4", folder)
    assert not any(path.is_file() for path in folder.rglob("*"))


def test_redirects_without_an_end_are_told_from_an_answer(web, folder):
    web.answers["/a.mp4"] = redirect("/a.mp4")
    with pytest.raises(SourceNotFoundError, match="it redirects without end"):
        downloader(guard=OnlyThisServer()).fetch(f"{web.url}/a.mp4", folder)


@pytest.mark.parametrize("target", ["http://127.0.0.2:9/secret.ts", "file:///etc/passwd", "http://169.254.169.254/latest"])
def test_a_playlist_that_names_internal_addresses_or_files_is_not_obeyed(web, folder, target):
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n"
    web.answers["/list.m3u8"] = text(playlist, HLS)
    with pytest.raises((ForbiddenSourceError, InvalidMediaError, SourceNotFoundError)):
        downloader(guard=OnlyThisServer(), retries=0).fetch(f"{web.url}/list.m3u8", folder)
    assert not any(b"root:" in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_downloaded_playlist_is_never_opened(web, folder, clip):
    """A server says `video/mp4` and sends a list of files of this machine: nobody follows it."""
    web.answers["/a.mp4"] = text(f"#EXTM3U\n#EXTINF:1,\nfile://{clip}\n#EXT-X-ENDLIST\n", "video/mp4")

    def fetch_and_probe() -> None:
        probe(downloader(guard=OnlyThisServer()).fetch(f"{web.url}/a.mp4", folder).path)

    with pytest.raises((InvalidMediaError, ForbiddenSourceError)):
        fetch_and_probe()


def test_a_stream_part_that_is_a_playlist_is_never_opened(web, folder, clip):
    for part in (web.folder / "dash").glob("*stream0*.m4s"):
        part.write_bytes(f"#EXTM3U\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n".encode())
    with pytest.raises(InvalidMediaError, match="is an HLS playlist"):
        downloader(guard=OnlyThisServer()).fetch(f"{web.url}/dash/manifest.mpd", folder)


def test_a_name_that_leads_elsewhere_once_it_was_checked_gains_nothing(web, folder):
    """The address that was connected to counts, not the answer that the resolver gave before."""

    class Rebound(AddressGuard):
        def check_host(self, host: str) -> None:
            return

    with pytest.raises(ForbiddenSourceError, match=r"it leads to 127\.0\.0\.1, a loopback address"):
        downloader(guard=Rebound()).fetch(f"{web.url}/a.mp4", folder)
    assert web.requests == []


def test_a_proxy_does_not_hide_where_an_address_leads(web, folder, monkeypatch):
    monkeypatch.setenv("http_proxy", web.url)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ForbiddenSourceError, match=r"10\.1\.2\.3 may not be fetched"):
        downloader(guard=AddressGuard()).fetch("http://10.1.2.3/a.mp4", folder)
    assert web.requests == []


def test_what_is_no_source_is_refused(folder):
    for source in ("relative.mp4", "file:///etc/passwd", "ftp://example.org/a.mp4"):
        with pytest.raises(ForbiddenSourceError, match="cannot be a source"):
            downloader().fetch(source, folder)
