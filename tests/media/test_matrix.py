"""Every kind of file through the real stages, and what came of it decoded by ffmpeg by hand, PyAV and numpy, not by our own readers.

The rows are in `matrix_rows.py` and `matrix_containers.py`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from assets.proxy import ProxyPass, proxy_pass
from heaters_dagster.domain.errors import HeatersError, InvalidMediaError
from heaters_dagster.domain.profiles import master_export
from resources.media.gold_masters import write_gold_master
from resources.media.master_export import encode_from_master
from resources.media.media_probe import MediaProbe, probe
from resources.media.proxy_proof import compared_with_original
from resources.media.remuxer import ProxyReader, remux, retimed
from tests.media.matrix_recipes import RATE, SIZE, Encoded, Recording
from tests.media.matrix_row import Row
from tests.media.matrix_rows import ENCODED_TOO, ROWS
from tests.media_files import SAMPLE_RATE, decoded, frame_times, picture, read_barcode
from tests.sound_sync import decoded_sound, heard_lags

_TOGETHER = 8
_WINDOW_SECONDS = 0.25
_REACH_SECONDS = 0.1
_SOUND_MS = 5.0
_EDGE_SECONDS = 0.1
_LONGEST_SECONDS = 60.0
#: Half the unit in which a container counts time, in seconds; 0.1 ms for others.
_ROUNDING = {f".{kind}": 0.0005 for kind in ("mkv", "webm", "flv", "wmv", "asf", "swf", "rm", "apng")} | {".gif": 0.005}
_ENCODED = [row for row in ROWS if isinstance(row.recipe, Encoded)]


class Files:
    """The file of each row, made when it is first asked for, together with those of its neighbours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._recording = Recording(folder)

    def of(self, row: Row) -> Path:
        path = self._path(row)
        if path.exists():
            return path
        if not isinstance(row.recipe, Encoded):
            return row.recipe(self._recording, path)
        number = _ENCODED.index(row)
        neighbours = _ENCODED[number - number % _TOGETHER :][:_TOGETHER]
        try:
            self._recording.encoded([(one.recipe, self._path(one)) for one in neighbours if isinstance(one.recipe, Encoded)])
        except RuntimeError:  # another row's options are wrong
            for one in neighbours:
                self._path(one).unlink(missing_ok=True)
            self._recording.encoded([(row.recipe, path)])
        return path

    def _path(self, row: Row) -> Path:
        folder = self._folder / re.sub(r"\W+", "-", row.name)
        folder.mkdir(exist_ok=True)
        return folder / row.file


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("matrix"))


def test_rows_have_names_of_their_own() -> None:
    names = {row.name for row in ROWS}
    assert len(names) == len(ROWS)
    assert names >= ENCODED_TOO


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_a_file_of_this_kind_becomes_what_it_should(row: Row, files: Files, tmp_path: Path) -> None:
    original = files.of(row)
    if row.refused:
        with pytest.raises(InvalidMediaError, match=row.refused):
            probe(original)
        return
    found, proxy = probe(original), tmp_path / "proxy.mp4"
    made = proxy_pass(original, found, proxy, detector="content", called=row.name)
    warnings = [*found.notes, *made.warnings]
    master: Path | None = tmp_path / "master.mkv"
    if row.refused_master:
        with pytest.raises(HeatersError, match=row.refused_master):
            write_gold_master(original, found, tmp_path / "master.mkv", called=row.name)
        master = None
    else:
        archived = write_gold_master(original, found, tmp_path / "master.mkv", called=row.name)
        warnings += archived.warnings
        assert (archived.frame_count, archived.sound_count) == (len(row.frames), row.sounds)

    start, end = len(row.frames) // 4, max(1, len(row.frames) * 3 // 4)
    clip = tmp_path / "clip.mp4"
    with ProxyReader(proxy) as reader:
        remux(reader, made.index, start_frame=start, end_frame=end, path=clip, title="a clip")

    if row.name in ENCODED_TOO and master is not None:
        check_export_from_master(row, found, made, master, tmp_path, start, end)
    check_proxy(row, proxy)
    check_index(proxy, made)
    check_pictures(row, original, proxy, clip, master, start, end)
    times = frame_seconds(clip)
    assert np.abs(times - (frame_seconds(proxy)[start:end] - frame_seconds(proxy)[start])).max() < 1e-4
    if row.channels:
        check_sound(row, proxy, row.frames)
        check_sound(row, clip, row.frames[start:end], whole=False)
        if master is not None and not row.misplaced_in_master:
            check_sound(row, master, row.frames, stream=row.used_sound)
    compared = compared_with_original(original, found, made.index)
    assert compared.same, compared
    left = [warning for warning in warnings if not any(re.search(wanted, warning) for wanted in row.warnings)]
    assert (left, len(warnings)) == ([], len(row.warnings)), warnings


def check_proxy(row: Row, proxy: Path) -> None:
    """What browsers need, the right pictures in the right order, each at its time."""
    with av.open(str(proxy)) as container:
        video, sounds = container.streams.video[0], container.streams.audio
        context = video.codec_context
        assert [stream.type for stream in container.streams] == ["video", *(["audio"] if row.channels else [])]
        assert (context.name, context.pix_fmt, (context.width, context.height)) == ("h264", "yuv420p", row.size)
        assert (video.sample_aspect_ratio or Fraction(1)) == row.pixel_shape
        assert context.color_trc not in {16, 18}, "tone-mapped"
        assert [(stream.codec_context.name, stream.codec_context.channels) for stream in sounds] == [("aac", row.channels)] * len(sounds)
        if sounds:
            container.seek(0)
            assert {packet.duration for packet in list(container.demux(sounds[0]))[:-2]} == {1024}, "packets follow each other"
    data = proxy.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert b"private" not in data
    check_shown(row, proxy, range(len(row.frames)))


def check_shown(row: Row, path: Path, part: range) -> None:
    """The right pictures of that part of the frames, upright, each at its time."""
    numbers = list(row.frames)[part.start : part.stop]
    seconds, pictures = zip(*decoded(path), strict=True)
    assert {image.shape[1::-1] for image in pictures} == {row.size}
    if min(row.size) >= min(SIZE):
        upright = [lying(image, row) for image in pictures]
        assert [read_barcode(image) for image in upright] == numbers
        if row.colours is not None:
            differences = [colour_difference(image, number) for image, number in zip(upright, numbers, strict=True)]
            assert max(differences) < row.colours, differences
    shown = np.array(seconds) - seconds[0]
    expected = np.array([place / RATE if row.closed_up else row.recorded(number) for place, number in zip(part, numbers, strict=True)])
    within = 1e-4 + row.within_seconds + 2 * _ROUNDING.get(Path(row.file).suffix, 0.0)
    assert len(shown) == len(expected)
    assert np.abs(shown - (expected - expected[0])).max() <= within, shown - (expected - expected[0])


def check_export_from_master(row: Row, found: MediaProbe, made: ProxyPass, master: Path, folder: Path, start: int, end: int) -> None:
    """The clip encoded from the gold master shows the same frames, as upright as the proxy does, at the same times, with its sound."""
    index, encoded, path = made.index, folder / "encoded.mp4", folder / "from-master.mp4"
    begins, ends = ((index.pts_of(number) - index.pts_of(0)) * index.header.time_base for number in (start, end))
    encode_from_master(
        master_export,
        found,
        master,
        encoded,
        start_frame=start,
        end_frame=end,
        frame_count=len(index),
        begins_seconds=float(begins),
        duration_seconds=float(ends - begins),
        folder=folder,
        called=row.name,
    )
    retimed(encoded, index, start_frame=start, end_frame=end, path=path, title="a clip")
    check_shown(row, path, range(start, end))
    if row.channels:
        check_sound(row, path, row.frames[start:end], whole=False)


def lying(image: NDArray[np.uint8], row: Row) -> NDArray[np.uint8]:
    """A picture of the proxy turned back to how it was recorded."""
    image = np.rot90(image, row.clockwise // 90)
    return np.ascontiguousarray(image[:, ::-1] if row.mirrored else image)


def colour_difference(image: NDArray[np.uint8], number: int) -> float:
    """By how much, on average, the levels within each coloured field differ from the recording's."""
    truth = picture(number, size=SIZE).astype(int)
    rows = (np.arange(SIZE[1]) + 0.5) * image.shape[0] / SIZE[1]
    columns = (np.arange(SIZE[0]) + 0.5) * image.shape[1] / SIZE[0]
    small = image[rows.astype(int)][:, columns.astype(int)].astype(int)
    moves = [(down, right) for down in (-2, 2) for right in (-2, 2)]
    inside = np.all([(np.roll(truth, move, axis=(0, 1)) == truth).all(axis=2) for move in moves], axis=0)
    inside[:11] = inside[:, :2] = inside[:, -2:] = inside[-2:] = False
    return float(np.abs(small - truth)[inside].mean())


def check_index(proxy: Path, made: ProxyPass) -> None:
    """Every packet is a keyframe, and lies where the frame index says."""
    with av.open(str(proxy)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert all(packet.is_keyframe for packet in packets)
        rows = [(packet.pts, packet.pos, packet.size) for packet in packets]
    index = made.index
    assert rows == list(zip(index.pts.tolist(), index.byte_offset.tolist(), index.byte_size.tolist(), strict=True))


@lru_cache(maxsize=8)
def frame_seconds(path: Path) -> NDArray[np.float64]:
    return np.array(frame_times(path))


def check_pictures(row: Row, original: Path, proxy: Path, clip: Path, master: Path | None, start: int, end: int) -> None:
    """By hashes from an ffmpeg that was asked by hand: the clip has the proxy's pictures, and the master has the original's."""
    wanted = [(proxy, [], []), (clip, [], [])]
    if master is not None:
        layout = ["-pix_fmt", row.compared_as] if row.compared_as else []
        wanted += [(original, ["-c:v", row.decoder] if row.decoder else [], layout), (master, [], layout)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error"]
    command += [word for path, before, _ in wanted for word in (*before, "-threads", "1", "-noautorotate", "-i", str(path))]
    for number, (_, _, after) in enumerate(wanted):
        keep = ["-fps_mode", "passthrough", "-enc_time_base:v", "demux", *after]
        command += ["-map", f"{number}:V:0", *keep, "-f", "framehash", "-hash", "md5", str(clip.with_name(f"{number}.hashes"))]
    done = subprocess.run([*command, "-y"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    hashes = [
        [line.rsplit(",", 1)[-1].strip() for line in clip.with_name(f"{number}.hashes").read_text().splitlines() if line[0] != "#"]
        for number in range(len(wanted))
    ]
    assert len(hashes[0]) == len(row.frames)
    assert hashes[1] == hashes[0][start:end]
    if master is not None:
        assert hashes[2] == hashes[3]


def check_sound(row: Row, path: Path, numbers: Sequence[int], *, whole: bool = True, stream: int = 0) -> None:
    """All that was recorded is heard, and each quarter second of it when it was recorded, relative to the picture.

    numbers: of the frames of that file. whole: not a clip.
    """
    shown = frame_seconds(path)
    if shown[-1] - shown[0] > _LONGEST_SECONDS:
        return  # a gold master keeps the hours that the original's clock jumps
    heard = heard_lags(
        path,
        time_of_frame=row.recorded,
        numbers=numbers,
        shown=shown,
        stream=stream,
        window_seconds=_WINDOW_SECONDS,
        reach_seconds=_REACH_SECONDS,
    )
    wrong = [one for one in heard if one.lag_ms is None or abs(one.lag_ms - row.late) > _SOUND_MS]
    assert len(wrong) <= row.unheard, f"{path.name}: {wrong}"
    samples, begins = decoded_sound(path, stream=stream)
    if not whole and row.recorded(numbers[0]) > row.hears[0]:
        assert begins - float(shown[0]) < _SOUND_MS / 1000, f"{path.name}: the beginning of its sound is missing"
    if whole and not row.closed_up and not row.unheard:
        first = begins + row.recorded(numbers[0]) - float(shown[0])
        last = first + len(samples) / SAMPLE_RATE
        assert (first, last) == (pytest.approx(row.hears[0], abs=_EDGE_SECONDS), pytest.approx(row.hears[1], abs=_EDGE_SECONDS)), path.name
