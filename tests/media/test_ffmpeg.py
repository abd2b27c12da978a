from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain.errors import DiskFullError, FfmpegError, InvalidMediaError, ProcessKilledError
from heaters_dagster.domain.profiles import SideStream, delivery, proxy
from heaters_dagster.domain.progress import Progress
from resources.media.ffmpeg import Finished, command, run, source_streams
from resources.media.first_look import MediaProbe
from resources.media.media_probe import probe
from resources.media.proxy_writer import write_proxy
from tests.media_files import (
    barcode_video,
    barcodes,
    decoded,
    ffmpeg,
    make_video,
    progressive_then_interlaced,
    repeated_times,
    size_changes,
    truncated,
    with_bit_errors,
    with_clean_aperture,
    with_shifted_times,
    wrecked,
)
from tests.warm_process import started

SIDE = SideStream(48, 36, "rgb24")
FRAMES = 48


class Frames:
    """A pipe reader that keeps what it gets."""

    def __init__(self) -> None:
        self.data = b""

    def __call__(self, file: IO[bytes]) -> None:
        while block := file.read(1 << 16):
            self.data += block

    def pictures(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.data, np.uint8).reshape(-1, SIDE.height, SIDE.width, 3)


def make(source: Path, path: Path, *sinks: Frames) -> tuple[Finished, MediaProbe]:
    """The proxy of `source` at `path`."""
    found = probe(source)
    sides = [SIDE] * len(sinks)
    return write_proxy(source, found, source_streams(found), path, side_streams=sides, readers=sinks, called=source.name).finished, found


def times(path: Path) -> NDArray[np.float64]:
    return np.array([seconds for seconds, _ in decoded(path)])


def test_the_side_stream_shows_what_the_proxy_shows(tmp_path: Path):
    source, made = barcode_video(tmp_path / "s.mp4", frames=40, scenes=[13, 30]), tmp_path / "proxy.mp4"
    frames = Frames()
    make(source, made, frames)
    shown = [image[::4, ::4].mean() for _, image in decoded(made)]
    assert np.abs(frames.pictures().mean(axis=(1, 2, 3)) - np.array(shown)).max() < 8


def test_frames_at_one_time_stay_frames_of_their_own_and_are_no_damage(tmp_path: Path):
    source, made = repeated_times(tmp_path, frames=FRAMES), tmp_path / "proxy.mp4"
    finished, _ = make(source, made, Frames())
    assert (finished.times_moved, finished.damage_count) == (True, 0)
    original, shown = times(source), times(made)
    assert (np.diff(original) == 0).any()
    assert barcodes(made) == list(range(FRAMES))
    assert (np.diff(shown) > 0).all()
    assert np.abs(original - shown).max() < 1e-4


def test_pictures_that_change_size_are_all_kept_at_the_first_ones_size_and_the_others_are_told(tmp_path: Path):
    finished, _ = make(size_changes(tmp_path), tmp_path / "proxy.mp4")
    assert finished.pictures == ((320, 240, "yuv420p"),)
    assert finished.damage_count == 0
    assert barcodes(tmp_path / "proxy.mp4") == [*range(24), *range(24)]


def test_edges_that_the_container_hides_are_shown_as_the_probe_says(tmp_path: Path):
    source = with_clean_aperture(barcode_video(tmp_path / "plain.mp4", frames=6), tmp_path / "s.mp4", 140, 100)
    _, found = make(source, tmp_path / "proxy.mp4")
    assert {image.shape[1::-1] for _, image in decoded(tmp_path / "proxy.mp4")} == {(found.video.width, found.video.height)} == {(160, 120)}


def test_what_an_originals_metadata_says_is_not_taken_for_ffmpegs_words(tmp_path: Path):
    lines = ["Reconfiguring filter graph because video parameters changed to x, 8x8", "[error] No space left on device", "h264: [fatal] no"]
    tagged = ["-i", str(barcode_video(tmp_path / "plain.mkv", frames=4)), "-c", "copy", "-metadata", "title=" + "\n".join(lines)]
    finished, _ = make(ffmpeg(tagged, tmp_path / "s.mkv"), tmp_path / "proxy.mp4")
    assert (finished.damage_count, finished.pictures) == (0, ())


def test_a_truncated_file_is_kept_to_the_last_frame_that_decodes(tmp_path: Path):
    source = truncated(barcode_video(tmp_path / "whole.mp4", frames=FRAMES, audio=False), tmp_path / "s.mp4")
    frames = Frames()
    finished, _ = make(source, tmp_path / "proxy.mp4", frames)
    kept = barcodes(tmp_path / "proxy.mp4")
    assert kept == list(range(len(kept)))
    assert FRAMES // 3 < len(kept) < FRAMES
    assert len(frames.pictures()) == len(kept)
    assert finished.damage_count >= 0


def test_bit_errors_cost_few_frames_and_are_counted(tmp_path: Path):
    source = with_bit_errors(barcode_video(tmp_path / "whole.mp4", frames=FRAMES, b_frames=2), tmp_path / "s.mp4", count=30)
    finished, _ = make(source, tmp_path / "proxy.mp4")
    # Where the bits fall differs from run to run, as the encoder's bytes do; one in a header loses its picture.
    assert FRAMES * 3 // 4 <= len(times(tmp_path / "proxy.mp4")) <= FRAMES
    assert finished.damage_count > 0
    assert "@ 0x" not in (finished.first_damage or "@ 0x")


def test_delivery_has_the_same_frames_at_the_same_times(tmp_path: Path):
    source, small = barcode_video(tmp_path / "s.mp4", frames=FRAMES, vfr=True), tmp_path / "small.mp4"
    run(delivery(audio=True), source, [small])
    assert barcodes(small) == barcodes(source)
    assert np.abs(times(small) - times(source)).max() < 1e-4


def test_progress_rises_to_the_end(tmp_path: Path):
    source = barcode_video(tmp_path / "s.mp4", frames=FRAMES)
    seen: list[Progress] = []
    run(proxy(source_streams(probe(source))), source, [tmp_path / "proxy.mp4"], total_seconds=2.0, report=seen.append, frame_rate=24)
    assert seen[-1].fraction == pytest.approx(1, abs=0.05)
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    assert seen[-1].stage == "proxy"


def test_the_reason_is_a_sentence_and_ffmpegs_own_words_are_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    source = tmp_path / "notes.mp4"
    source.write_text("not a video")
    with pytest.raises(FfmpegError, match=r"^notes\.mp4: it could not be read to the end.*submit a complete copy$"):
        run(delivery(audio=False), source, [tmp_path / "out.mp4"])
    assert "Invalid data found when processing input" in caplog.text


LIMITED = """
import resource, sys
from pathlib import Path
from heaters_dagster.domain.media_failures import is_low_memory
from resources.media.ffmpeg import command, run, source_streams
from resources.media.media_probe import probe
from heaters_dagster.domain.profiles import proxy
source = Path(sys.argv[1])
profile = proxy(source_streams(probe(source)))
command(profile, source, ["file:x"])  # has all loaded that it needs
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = held + (int(sys.argv[2]) << 20)  # enough for threads here, too little for ffmpeg
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    run(profile, source, [source.with_name("proxy.mp4")], called="Harbour")
except Exception as error:
    print(is_low_memory(error), str(error))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is kept on Linux only")
@pytest.mark.parametrize("megabytes", [16, 24, 48])  # with the first two its decoder tries again for ever
def test_a_limit_on_memory_is_told_as_low_memory(tmp_path: Path, megabytes: int):
    source = make_video(tmp_path / "s.mp4", frames=3, size=(4096, 2160))
    limited = [sys.executable, "-c", LIMITED, str(source), str(megabytes)]
    done = subprocess.run(limited, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("True Harbour: too little memory for making the proxy"), done.stderr


def test_a_file_of_which_no_frame_decodes_is_said_to_be_useless(tmp_path: Path):
    whole = barcode_video(tmp_path / "whole.mp4", frames=12)
    source = wrecked(whole, tmp_path / "s.mp4", "video")
    with pytest.raises(InvalidMediaError, match=r"s\.mp4: no frame"):
        run(proxy(source_streams(probe(whole))), source, [tmp_path / "proxy.mp4"])


def test_a_playlist_under_a_videos_name_opens_nothing(tmp_path: Path):
    secret = barcode_video(tmp_path / "secret.mp4", frames=12)
    playlist = tmp_path / "s.mp4"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
    with pytest.raises(FfmpegError):
        run(delivery(audio=False), playlist, [tmp_path / "out.mp4"])
    assert not (tmp_path / "out.mp4").exists()


def test_a_name_that_looks_like_a_protocol_is_a_file_name(tmp_path: Path):
    folder = tmp_path / "concat:a|b's %d [x];"
    folder.mkdir()
    source = barcode_video(folder / "-y.mp4", frames=12)
    make(source, folder / "out.mp4")
    assert len(times(folder / "out.mp4")) == 12


def test_a_full_disk_is_said_to_be_full(tmp_path: Path):
    source = barcode_video(tmp_path / "s.mp4", frames=12)
    with pytest.raises(DiskFullError, match="no room left"):
        run(proxy(source_streams(probe(source))), source, [Path("/dev/full")])


@pytest.fixture(scope="module")
def long_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source that keeps ffmpeg busy for some seconds."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    return ffmpeg(["-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25:d=24", "-c:v", "mpeg4", "-b:v", "4M"], path)


def children(parent: int | None = None) -> list[int]:
    """Process ids of the running ffmpegs that `parent`, or else this process, started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = status.read_text().partition("(")[2].rpartition(")")
            state, started_by = rest.split()[:2]
            if "ffmpeg" in name and state != "Z" and int(started_by) == (parent or os.getpid()):
                found.append(int(status.parent.name))
    return found


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_ffmpeg_is_a_temporary_failure(long_source: Path, tmp_path: Path):
    def kill(progress: Progress) -> None:
        for child in children():
            os.kill(child, signal.SIGKILL)

    with pytest.raises(ProcessKilledError, match="SIGKILL while making the proxy, as the system does when memory runs out"):
        run(proxy(source_streams(probe(long_source))), long_source, [tmp_path / "proxy.mp4"], report=kill)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whatever_is_raised_meanwhile_ends_ffmpeg(error: type[BaseException], long_source: Path, tmp_path: Path):
    def stop(progress: Progress) -> None:
        if progress.done:
            raise error

    with pytest.raises(error):
        run(proxy(source_streams(probe(long_source))), long_source, [tmp_path / "proxy.mp4"], report=stop)
    assert children() == []


def test_a_reader_that_fails_ends_ffmpeg_and_its_error_is_the_one_told(long_source: Path, tmp_path: Path):
    def fail(file: IO[bytes]) -> None:
        file.read(10)
        raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"):
        run(proxy(source_streams(probe(long_source)), [SIDE]), long_source, [tmp_path / "proxy.mp4", fail])
    assert children() == []


def test_a_slow_reader_makes_ffmpeg_wait_and_loses_nothing(tmp_path: Path):
    frames = Frames()

    def slow(file: IO[bytes]) -> None:
        time.sleep(0.3)
        frames(file)

    source = barcode_video(tmp_path / "s.mp4", frames=600, size=(64, 48), audio=False)
    run(proxy(source_streams(probe(source)), [SIDE]), source, [tmp_path / "proxy.mp4", slow])
    assert len(frames.pictures()) == 600


def test_no_descriptor_and_no_thread_is_left_behind(tmp_path: Path):
    source = barcode_video(tmp_path / "s.mp4", frames=6)
    make(source, tmp_path / "proxy.mp4", Frames())
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(3):
        make(source, tmp_path / "proxy.mp4", Frames())
        with pytest.raises(FfmpegError):
            run(delivery(audio=False), tmp_path / "missing.mp4", [tmp_path / "out.mp4"])
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_ffmpeg_dies_with_the_process_that_started_it(long_source: Path, tmp_path: Path):
    program = """
        import sys
        from pathlib import Path
        from heaters_dagster.domain.profiles import proxy
        from resources.media.ffmpeg import run, source_streams
        from resources.media.media_probe import probe
        source, target = map(Path, sys.argv[1:])
        # The first report is that of the beginning, before ffmpeg runs.
        told = lambda progress: print("running", flush=True) if progress.done else None
        run(proxy(source_streams(probe(source))), source, [target], report=told)
    """
    parent = started(textwrap.dedent(program), str(long_source), str(tmp_path / "proxy.mp4"))
    assert parent.stdout.readline().strip() == "running"
    (child,) = children(parent.pid)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(child)


def test_the_command_line_reads_only_files_and_pipes(tmp_path: Path):
    line = command(delivery(audio=False), tmp_path / "s.mp4", ["file:out.mp4"])
    assert line[line.index("-protocol_whitelist") + 1] == "file,pipe"
    assert "hls" not in line[line.index("-format_whitelist") + 1].split(",")
    assert "-nostdin" in line


def test_b_frames_in_avi_which_counts_only_in_the_order_of_decoding_come_in_order(tmp_path: Path):
    source, made = barcode_video(tmp_path / "s.avi", frames=FRAMES, b_frames=3), tmp_path / "proxy.mp4"
    make(source, made)
    assert barcodes(made) == list(range(FRAMES))
    assert np.diff(times(made)) == pytest.approx(1 / 24, abs=1e-4)


def test_steps_of_forty_hours_stay_as_they_are(tmp_path: Path):
    plain = barcode_video(tmp_path / "plain.mkv", frames=25, size=(96, 64), audio=False)
    source, made = with_shifted_times(plain, tmp_path / "s.mkv", "video", lambda n, t: n * 40 * 3600.0), tmp_path / "proxy.mp4"
    make(source, made)
    assert barcodes(made) == list(range(25))
    assert np.diff(times(made)) == pytest.approx(40 * 3600, abs=1e-4)


def test_interlaced_pictures_long_after_progressive_ones_are_deinterlaced_and_those_left_alone(tmp_path: Path):
    """FFmpeg looks at less than the first 12 s."""
    source, made = progressive_then_interlaced(tmp_path), tmp_path / "proxy.mp4"
    make(source, made)
    before, after = ([comb(image) for _, image in decoded(path)] for path in (source, made))
    assert len(before) == len(after) == 130
    assert after[125] < 0.8 * before[125]
    assert after[50] == pytest.approx(before[50], rel=0.1)


def comb(image: NDArray[np.uint8]) -> float:
    """How much neighbouring rows differ, as the two moments of an interlaced picture of something that moves do."""
    return float(np.abs(np.diff(image.astype(int), axis=0)).mean())
