"""Every kind of file through the real stages, and what came of it decoded by ffmpeg by hand, PyAV and numpy, not by our own readers.

The rows are in `matrix_rows.py` and `matrix_containers.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain.errors import InvalidMediaError
from heaters_dagster.domain.profiles import master_export
from resources.media.master_export import encode_from_master
from resources.media.media_probe import probe
from resources.media.proxy_bytes import RangeFile
from resources.media.proxy_proof import compared_with_original
from resources.media.remuxer import retimed
from tests.media.matrix_made import Made, Matrix
from tests.media.matrix_recipes import RATE, SIZE
from tests.media.matrix_row import COLOURS_IN_FOURS, COLOURS_OF_ONE, Row
from tests.media.matrix_rows import REMOTE, ROWS
from tests.media_files import SAMPLE_RATE, decoded, frame_times, picture, read_barcode
from tests.sound_sync import decoded_sound, heard_lags

_WINDOW_SECONDS = 0.25
_REACH_SECONDS = 0.1
_SOUND_MS = 5.0
#: The unit of Matroska and RealMedia is a millisecond.
_UNIT_MS = 1.0
#: Encoders add silence: at most a packet of the original's, and one of AAC, which is the longest at 11025 Hz with 93 ms.
_PADDING_SECONDS = 0.1
#: Half the unit in which a container counts time, in seconds; 0.1 ms for others.
_ROUNDING = {f".{kind}": 0.0005 for kind in ("mkv", "webm", "flv", "wmv", "asf", "swf", "rm", "apng")} | {".gif": 0.005}


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Matrix:
    chosen = [item.callspec.params.get("row") for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    return Matrix(tmp_path_factory.mktemp("matrix"), [row for row in chosen if isinstance(row, Row)])


def test_rows_have_names_of_their_own() -> None:
    names = {row.name for row in ROWS}
    assert len(names) == len(ROWS)
    assert names >= REMOTE


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_a_file_of_this_kind_becomes_what_it_should(row: Row, matrix: Matrix, tmp_path: Path) -> None:
    if row.refused:
        with pytest.raises(InvalidMediaError, match=row.refused):
            probe(matrix.original(row))
        return
    made = matrix.made(row)
    check_master(row, made)
    seconds = check_proxy(row, made)
    clip = made.frames["clip"]
    assert np.abs(clip.seconds - (seconds[made.start : made.end] - seconds[made.start])).max() < 1e-4
    assert clip.hashes == made.frames["proxy"].hashes[made.start : made.end]
    if row.late:
        check_delay(row, made.original)
    if row.channels:
        numbers = row.frames
        check_sound(row, made.proxy, numbers, seconds)
        check_sound(row, made.clip, numbers[made.start : made.end], clip.seconds, whole=False)
        if made.archived is not None:
            check_sound(row, made.master, numbers, made.frames["master"].seconds, stream=row.used_sound)
    if made.archived is not None:
        kept, end = made.frames["master"].seconds, len(row.frames)
        assert np.abs((kept - kept[0]) - (seconds - seconds[0])).max() <= 2 * _ROUNDING[".mkv"] + row.within_seconds + row.overlap
        if row.name not in REMOTE:
            check_export_from_master(row, made, made.master, made.start, made.end, tmp_path)
        if row.name in REMOTE or row.jumps:
            stored = made.master.read_bytes()
            remote = RangeFile(lambda first, past: stored[first:past], len(stored))
            check_export_from_master(row, made, remote, made.end, end, tmp_path)
    compared = compared_with_original(made.original, made.found, made.passed.index)
    assert compared.same, compared
    left = [warning for warning in made.warnings if not any(re.search(wanted, warning) for wanted in row.warnings)]
    assert (left, len(made.warnings)) == ([], len(row.warnings)), made.warnings


def check_master(row: Row, made: Made) -> None:
    """It has all frames and sounds, and the pictures of the original, by the hashes of an ffmpeg that was asked by hand."""
    if row.refused_master:
        assert made.archived is None
        assert re.search(row.refused_master, str(made.refusal)), made.refusal
        return
    assert made.refusal is None, made.refusal
    assert made.archived is not None
    assert (made.archived.frame_count, made.archived.sound_count) == (len(row.frames), row.sounds)
    assert made.frames["original"].hashes == made.frames["master"].hashes


def check_proxy(row: Row, made: Made) -> NDArray[np.float64]:
    """What browsers need, every packet a keyframe and where the frame index says, the right pictures in the right order, each at its time.

    Returns when each frame is shown.
    """
    with av.open(str(made.proxy)) as container:
        video, sounds = container.streams.video[0], container.streams.audio
        context = video.codec_context
        assert [stream.type for stream in container.streams] == ["video", *(["audio"] if row.channels else [])]
        assert (context.name, context.pix_fmt, (context.width, context.height)) == ("h264", "yuv420p", row.size)
        assert (video.sample_aspect_ratio or Fraction(1)) == row.pixel_shape
        assert context.color_trc not in {16, 18}, "tone-mapped"
        assert [(stream.codec_context.name, stream.codec_context.channels) for stream in sounds] == [("aac", row.channels)] * len(sounds)
        packets = list(container.demux())
        heard = [packet.duration for packet in packets if packet.stream.type == "audio"]
        assert set(heard[:-2]) <= {1024}, "packets follow each other"
        shown = [packet for packet in packets if packet.stream.type == "video" and packet.size]
        assert all(packet.is_keyframe for packet in shown)
        index = made.passed.index
        rows = [(packet.pts, packet.pos, packet.size) for packet in shown]
        assert rows == list(zip(index.pts.tolist(), index.byte_offset.tolist(), index.byte_size.tolist(), strict=True))
    data = made.proxy.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert b"private" not in data
    assert len(made.frames["proxy"].hashes) == len(row.frames)
    return check_shown(row, made.proxy, range(len(row.frames)))


def check_shown(row: Row, path: Path, part: range) -> NDArray[np.float64]:
    """The right pictures of that part of the frames, upright, each at its time. Returns these times."""
    numbers = list(row.frames)[part.start : part.stop]
    seconds, pictures = zip(*decoded(path), strict=True)
    assert {image.shape[1::-1] for image in pictures} == {row.size}
    if min(row.size) >= min(SIZE):
        upright = [lying(image, row) for image in pictures]
        assert [read_barcode(image) for image in upright] == numbers
        if row.colours is not None:
            assert colour_difference(upright, numbers) < row.colours
    shown = np.array(seconds) - seconds[0]
    expected = np.array([place / RATE if row.closed_up else row.recorded(number) for place, number in zip(part, numbers, strict=True)])
    within = 1e-4 + row.within_seconds + 2 * _ROUNDING.get(Path(row.file).suffix, 0.0)
    assert len(shown) == len(expected)
    assert np.abs(shown - (expected - expected[0])).max() <= within, shown - (expected - expected[0])
    return np.array(seconds)


def check_export_from_master(row: Row, made: Made, master: Path | RangeFile, start: int, end: int, folder: Path) -> None:
    """A clip encoded from the gold master shows the same frames, as upright as the proxy does, at the same times, with its sound."""
    index, encoded, path = made.passed.index, folder / "encoded.mp4", folder / "from-master.mp4"
    begins, ends = ((index.pts_of(number) - index.pts_of(0)) * index.header.time_base for number in (start, end))
    encode_from_master(
        master_export,
        made.found,
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
    seconds = check_shown(row, path, range(start, end))
    if row.channels:
        check_sound(row, path, row.frames[start:end], seconds, whole=False)


def lying(image: NDArray[np.uint8], row: Row) -> NDArray[np.uint8]:
    """A picture of the proxy turned back to how it was recorded."""
    image = np.rot90(image, row.clockwise // 90)
    return np.ascontiguousarray(image[:, ::-1] if row.mirrored else image)


def colour_difference(images: Sequence[NDArray[np.uint8]], numbers: Sequence[int]) -> float:
    """By how many levels, on average over the recording's colours, each is shown as another one.

    Of each colour the mean of all places and frames is taken: what an encoder loses goes both ways, what a wrong conversion does does not.
    """
    codes, errors = [], []
    for image, number in zip(images, numbers, strict=True):
        truth, inside, code = coloured_fields(number)
        rows = (np.arange(SIZE[1]) + 0.5) * image.shape[0] / SIZE[1]
        columns = (np.arange(SIZE[0]) + 0.5) * image.shape[1] / SIZE[0]
        errors.append(image[rows.astype(int)][:, columns.astype(int)][inside] - truth)
        codes.append(code)
    _, colour = np.unique(np.concatenate(codes), return_inverse=True)
    sums = np.stack([np.bincount(colour, weights=channel) for channel in np.concatenate(errors).T], axis=1)
    return float(np.abs(sums / np.bincount(colour)[:, None]).mean())


@lru_cache
def coloured_fields(number: int) -> tuple[NDArray[np.int_], NDArray[np.bool_], NDArray[np.int_]]:
    """Of a picture of the recording, where pixels have neighbours of the same colour all around: (n, 3) colours, the (h, w) places, (n,)
    names of the colours."""
    truth = picture(number, size=SIZE).astype(int)
    moves = [(down, right) for down in (-2, 2) for right in (-2, 2)]
    inside = np.all([(np.roll(truth, move, axis=(0, 1)) == truth).all(axis=2) for move in moves], axis=0)
    inside[:11] = inside[:, :2] = inside[:, -2:] = inside[-2:] = False
    return truth[inside], inside, truth[inside] @ (1, 256, 65536)


def by_another_matrix(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stored by ITU-R BT.601, and shown as if by BT.709."""
    stored, shown = (0.299, 0.114), (0.2126, 0.0722)
    red, green, blue = np.moveaxis(image, -1, 0)
    luma = stored[0] * red + (1 - sum(stored)) * green + stored[1] * blue
    red = luma + (red - luma) * (1 - shown[0]) / (1 - stored[0])
    blue = luma + (blue - luma) * (1 - shown[1]) / (1 - stored[1])
    return np.stack([red, (luma - shown[0] * red - shown[1] * blue) / (1 - sum(shown)), blue], axis=-1)


@pytest.mark.parametrize(
    ("limit", "wrong"),
    [
        pytest.param(COLOURS_OF_ONE, by_another_matrix, id="another matrix"),
        pytest.param(COLOURS_IN_FOURS, lambda image: (image - 16) * 255 / 219, id="limited range as full"),
        pytest.param(COLOURS_IN_FOURS, lambda image: image * 219 / 255 + 16, id="full range as limited"),
        pytest.param(COLOURS_IN_FOURS, lambda image: image[..., ::-1], id="red and blue exchanged"),
    ],
)
def test_colours_of_a_wrong_kind_are_further_off_than_rows_allow(
    limit: float, wrong: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> None:
    numbers = range(RATE)
    shown = [wrong(picture(number, size=SIZE).astype(float)).clip(0, 255).astype(np.uint8) for number in numbers]
    assert colour_difference(shown, numbers) > limit


def check_delay(row: Row, original: Path) -> None:
    """The original itself has its sound so late: its frames and samples are taken at the times that it gives them."""
    heard = heard_lags(
        original,
        time_of_frame=row.recorded,
        numbers=row.frames,
        shown=np.array(frame_times(original)),
        window_seconds=_WINDOW_SECONDS,
        reach_seconds=_REACH_SECONDS,
    )
    assert [one.lag_ms for one in heard] == [pytest.approx(row.late, abs=_UNIT_MS)] * len(heard)


def check_sound(row: Row, path: Path, numbers: Sequence[int], shown: NDArray[np.float64], *, whole: bool = True, stream: int = 0) -> None:
    """All that was recorded is heard, and each quarter second of it when it was recorded, relative to the picture.

    numbers: of the frames of that file; shown: when. whole: not a clip.
    """
    sound = samples, begins = decoded_sound(path, stream=stream)
    heard = heard_lags(
        path,
        time_of_frame=row.recorded,
        numbers=numbers,
        shown=shown,
        sound=sound,
        window_seconds=_WINDOW_SECONDS,
        reach_seconds=_REACH_SECONDS,
    )
    wrong = [one for one in heard if one.lag_ms is None or abs(one.lag_ms - row.late) > _SOUND_MS]
    assert len(wrong) <= row.unheard, f"{path.name}: {wrong}"
    first = begins + row.recorded(numbers[0]) - float(shown[0])
    last = first + len(samples) / SAMPLE_RATE
    if not whole and row.recorded(numbers[0]) > row.hears[0]:
        assert begins - float(shown[0]) < _SOUND_MS / 1000, f"{path.name}: the beginning of its sound is missing"
    shown_for = min([1 / RATE, *np.diff(shown)])
    until = float(shown[-1]) + min(shown_for, row.hears[1] - row.recorded(numbers[-1]))
    assert begins + len(samples) / SAMPLE_RATE > until - _SOUND_MS / 1000, f"{path.name}: the end of its sound is missing"
    if whole and not row.closed_up and not row.unheard:
        assert row.hears[0] - _PADDING_SECONDS < first < row.hears[0] + _SOUND_MS / 1000, f"{path.name}: its sound begins elsewhere"
        assert row.hears[1] - _SOUND_MS / 1000 < last < row.hears[1] + _PADDING_SECONDS, f"{path.name}: its sound ends elsewhere"
