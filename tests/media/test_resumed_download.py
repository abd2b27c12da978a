"""Downloads that were killed or broke off go on where they were, and never with the bytes of another file."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from yt_dlp.aes import aes_cbc_encrypt_bytes

from heaters_dagster.domain.errors import DownloadError, InvalidMediaError
from resources.object_store.work_folder import WorkFolder
from resources.sources import web_download
from tests.fake_site import FakeSite, known_to_ytdlp, picture, sound
from tests.media_files import barcode_video, barcodes, ffmpeg
from tests.web_server import Handler, Stop, WebServer, downloader, file, hanging, ranged, status

FRAMES = 48
KEY = bytes(range(16))
LONG_AGO = 1_700_000_000


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return barcode_video(tmp_path_factory.mktemp("clip") / "a_clip.mp4", frames=FRAMES, keyframe_every=12)


@pytest.fixture(scope="module")
def streams(tmp_path_factory, clip) -> Path:
    """`clip` as HLS with segments encrypted by their number, as HLS in ranges of one file, and as DASH with separate sound; all is old."""
    folder = tmp_path_factory.mktemp("streams")
    for name in ("aes", "ranges", "dash"):
        (folder / name).mkdir()
    (folder / "aes" / "key.bin").write_bytes(KEY)
    hls = ["-i", str(clip), "-c", "copy", "-f", "hls", "-hls_time", "0.5", "-hls_playlist_type", "vod"]
    ffmpeg([*hls, "-start_number", "7", "-hls_segment_filename", str(folder / "aes" / "part_%d.ts")], folder / "aes" / "list.m3u8")
    _encrypt_by_number(folder / "aes")
    ffmpeg([*hls, "-hls_flags", "single_file", "-hls_segment_filename", str(folder / "ranges" / "all.ts")], folder / "ranges" / "list.m3u8")
    dash = ["-i", str(clip), "-map", "0:v", "-map", "0:a", "-c", "copy", "-f", "dash", "-seg_duration", "0.5"]
    ffmpeg(dash, folder / "dash" / "manifest.mpd")
    for path in folder.rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    return folder


def _encrypt_by_number(folder: Path) -> None:
    """Encrypt segments as RFC 8216, 5.2 says where a playlist gives no other number: each by its own, of which the first is 7."""
    for path in folder.glob("part_*.ts"):
        number = int(path.stem.removeprefix("part_"))
        path.write_bytes(aes_cbc_encrypt_bytes(path.read_bytes(), KEY, number.to_bytes(16, "big")))
    playlist = folder / "list.m3u8"
    playlist.write_text(playlist.read_text().replace("#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="key.bin"\n#EXTINF', 1))


@pytest.fixture
def web(tmp_path, streams) -> Iterator[WebServer]:
    folder = tmp_path / "web"
    shutil.copytree(streams, folder)
    with WebServer(folder).running() as server:
        yield server


_FETCH = """
import sys, threading
from pathlib import Path
from resources.object_store.work_folder import WorkFolder
from tests.web_server import downloader

def fetch(place, address):
    with WorkFolder(Path(sys.argv[1])).continued(f"video-{place}", address, stays=lambda error: True) as folder:
        downloader(timeout_seconds=60).fetch(address, folder)

threads = [threading.Thread(target=fetch, args=one) for one in enumerate(sys.argv[2:])]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def wait_for(is_so: Callable[[], bool], *, seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with suppress(OSError):
            if is_so():
                return
        time.sleep(0.02)
    raise AssertionError("it did not come about")


def test_a_process_that_is_killed_in_the_middle_is_continued(web, clip, tmp_path):
    data = clip.read_bytes()
    web.answers["/a.mp4"] = ranged(data, stops=Stop(at=len(data) * 2 // 3, hangs=True))
    # The third segment of each stream does not come; of the DASH stream the picture is complete, and its sound is not.
    late = ("/aes/part_9.ts", "/dash/chunk-stream1-00003.m4s")
    web.answers |= dict.fromkeys(late, hanging)
    addresses = [f"{web.url}/{path}" for path in ("a.mp4", "aes/list.m3u8", "dash/manifest.mpd")]
    root = Path(__file__).parent.parent.parent
    process = subprocess.Popen([sys.executable, "-c", _FETCH, str(tmp_path / "work"), *addresses], cwd=root)
    begun = [tmp_path / "work" / f"video-{place}.continued" / "files" / "try_0" for place in range(3)]
    try:
        wait_for(lambda: (begun[0] / "part_0.part").stat().st_size > len(data) // 3)
        wait_for(lambda: len((begun[1] / "part_0.journal").read_text().splitlines()) == 2)
        wait_for(lambda: len((begun[2] / "part_1.journal").read_text().splitlines()) == 3)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    for path in late:
        del web.answers[path]
    work = WorkFolder(tmp_path / "work")
    assert work.sweep() == [], "what was begun survives the clean-up"
    web.ranges.clear()
    for place, address in enumerate(addresses):
        with work.continued(f"video-{place}", address, stays=lambda error: True) as folder:
            fetched = downloader().fetch(address, folder)
            assert barcodes(fetched.path) == list(range(FRAMES)), address
            assert fetched.sha256 == sha256(fetched.path), address
    assert list((tmp_path / "work").iterdir()) == []
    rests = [(asked, unless) for path, asked, unless in web.ranges if path == "/a.mp4" and asked]
    assert len(rests) == 1
    assert int(rests[0][0].removeprefix("bytes=").removesuffix("-")) > len(data) // 3
    assert rests[0][1] == '"1"'
    whole = [path for path, asked, _ in web.ranges if asked is None]
    proofs = [path for path, asked, _ in web.ranges if asked == "bytes=0-0"]
    assert "/aes/part_7.ts" not in whole
    assert "/aes/part_7.ts" in proofs
    assert "/aes/part_9.ts" in whole
    assert not [path for path in whole if "stream0" in path], "the picture was complete"
    assert "/dash/chunk-stream1-00003.m4s" in whole


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("address", "last", "stream"), [("a.mp4", "/a.mp4", False), ("aes/list.m3u8", "/aes/part_10.ts", True)])
def test_a_download_is_hashed_as_it_comes_and_not_read_again(web, clip, folder, tmp_path, address, last, stream):
    data = clip.read_bytes()
    web.answers["/a.mp4"] = ranged(data)
    whole = tmp_path / "whole"
    whole.mkdir()
    told = sha256(downloader().fetch(f"{web.url}/{address}", whole).path)
    unfinished = folder / "try_0" / "part_0.part"
    rest = file((web.folder / last[1:]).read_bytes(), "video/mp2t") if stream else ranged(data, stops=Stop(at=len(data) // 2))

    def spoilt(handler: Handler) -> None:
        """Change a byte on the disk when a part has come: the hash does not show it when it is that of what came."""
        if stream or (handler.headers.get("Range") or "bytes=0-") != "bytes=0-":
            wait_for(lambda: unfinished.stat().st_size > 100)
            with unfinished.open("r+b") as written:
                written.seek(100)
                (byte,) = written.read(1)
                written.seek(100)
                written.write(bytes([byte ^ 1]))
        rest(handler)

    web.answers[last] = spoilt
    fetched = downloader(retries=2).fetch(f"{web.url}/{address}", folder)
    assert fetched.sha256 == told != sha256(fetched.path)


def broken_off(web: WebServer, path: str, folder: Path) -> None:
    with pytest.raises(DownloadError):
        downloader(retries=0).fetch(f"{web.url}/{path}", folder)
    web.ranges.clear()


def other(data: bytes) -> bytes:
    """Of the same length, and every byte different."""
    return data[:64] + bytes(byte ^ 0x55 for byte in data[64:])


@pytest.mark.parametrize(
    ("etag", "heeds_if_range", "length"),
    [('"2"', True, None), ('"2"', False, None), ('"2"', False, -50), (None, True, None)],
    ids=["another", "another, and the server ignores If-Range", "another that is shorter", "nothing proves that it is the same"],
)
def test_the_rest_of_another_file_is_never_taken(web, clip, folder, etag, heeds_if_range, length):
    data = clip.read_bytes()
    web.answers["/a.mp4"] = ranged(data, etag=etag if etag is None else '"1"', stops=Stop(at=len(data) - 10))
    broken_off(web, "a.mp4", folder)
    now = other(data)[:length]
    web.answers["/a.mp4"] = ranged(now, etag=etag, heeds_if_range=heeds_if_range)
    fetched = downloader(retries=0).fetch(f"{web.url}/a.mp4", folder)
    assert (fetched.path.read_bytes(), fetched.sha256) == (now, hashlib.sha256(now).hexdigest())


def test_a_file_that_is_replaced_between_two_tries_of_one_download_is_fetched_anew(web, clip, folder):
    data, now = clip.read_bytes(), other(clip.read_bytes())
    stop = Stop(at=len(data) // 2)
    before, after = ranged(data, stops=stop), ranged(now, etag='"2"', heeds_if_range=False)
    web.answers["/a.mp4"] = lambda handler: (after if stop.there.is_set() else before)(handler)
    fetched = downloader(retries=2).fetch(f"{web.url}/a.mp4", folder)
    assert (fetched.path.read_bytes(), fetched.sha256) == (now, hashlib.sha256(now).hexdigest())
    assert [asked is not None for _, asked, _ in web.ranges][-2:] == [True, False]


def test_what_is_complete_is_not_fetched_again_and_what_has_changed_is(web, clip, folder):
    web.answers["/dash/chunk-stream1-00002.m4s"] = status(500)
    broken_off(web, "dash/manifest.mpd", folder)
    del web.answers["/dash/chunk-stream1-00002.m4s"]
    os.utime(web.folder / "dash" / "chunk-stream0-00001.m4s", (LONG_AGO + 1, LONG_AGO + 1))
    fetched = downloader().fetch(f"{web.url}/dash/manifest.mpd", folder)
    assert barcodes(fetched.path) == list(range(FRAMES))
    whole = [path for path, asked, _ in web.ranges if asked is None]
    assert "/dash/init-stream0.m4s" in whole
    assert "/dash/init-stream1.m4s" not in whole


def test_a_server_that_refuses_ranges_is_asked_for_the_whole_file(web, clip, folder):
    data = clip.read_bytes()
    web.answers["/a.mp4"] = ranged(data, stops=Stop(at=len(data) // 2))
    broken_off(web, "a.mp4", folder)
    web.answers["/a.mp4"] = file(data, "video/mp4", {"ETag": '"1"'})
    assert downloader(retries=0).fetch(f"{web.url}/a.mp4", folder).path.read_bytes() == data


def test_a_stream_in_ranges_of_one_file_needs_a_server_that_gives_them(web, clip, folder):
    with pytest.raises(InvalidMediaError, match=r"all\.ts cannot be read in parts, as its stream needs: the server sends the whole file"):
        downloader(retries=0).fetch(f"{web.url}/ranges/list.m3u8", folder)
    web.answers["/ranges/all.ts"] = ranged((web.folder / "ranges" / "all.ts").read_bytes())
    fetched = downloader(retries=0).fetch(f"{web.url}/ranges/list.m3u8", folder)
    assert barcodes(fetched.path) == list(range(FRAMES))


def test_the_best_formats_are_tried_again_before_poorer_ones_are_taken(web, clip, folder, monkeypatch):
    monkeypatch.setattr(web_download, "_TRIES_AT_THE_BEST", 3)
    site = FakeSite(web)
    web.answers["/poor.mp4"] = file(clip.read_bytes(), "video/mp4")
    web.answers["/best.webm"] = status(503)
    formats = [picture("/poor.mp4", 120, sound="mp4a.40.2"), picture("/best.webm", 2160, codec="vp9", ext="webm"), sound("/sound.m4a")]
    address = site.add("v1", formats)
    with known_to_ytdlp():
        for _ in range(2):
            with pytest.raises(DownloadError, match="503"):
                downloader(retries=0).fetch(address, folder)
        fetched = downloader(retries=0).fetch(address, folder)
    assert fetched.warnings[0].startswith("the best formats could not be downloaded (")
    quality = fetched.facts.quality
    assert ([one["height"] for one in quality["offered"]], quality["taken"]["height"]) == ([2160, 120], 120)


def test_a_download_that_always_breaks_off_keeps_what_it_has(web, clip, folder, monkeypatch):
    monkeypatch.setattr(web_download, "_TRIES_AT_THE_BEST", 2)
    data = clip.read_bytes()
    web.answers["/cut.mp4"] = ranged(data, stops=Stop(at=len(data) - 10, left=99))
    for _ in range(4):
        broken_off(web, "cut.mp4", folder)
    assert (folder / "try_0" / "part_0.part").stat().st_size > len(data) // 2
