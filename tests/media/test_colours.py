"""No description of colours makes the filters fail: each value of each tag, and combinations at random, through the real ffmpeg."""

from __future__ import annotations

import random
import subprocess
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest

from heaters_dagster.domain.colour import Colour, ShownColour, Treatment, shown_colour
from heaters_dagster.domain.profiles import SourceStreams, picture_filters
from resources.media.ffmpeg import ffmpeg_path, source_streams
from resources.media.frame_reader import rgb
from resources.media.media_probe import probe
from resources.media.proxy_writer import write_proxy
from tests.media_files import decoded, ffmpeg

PRIMARIES = [
    None, "bt709", "bt470m", "bt470bg", "smpte170m", "smpte240m", "film", "bt2020", "smpte428", "smpte431", "smpte432", "ebu3213", "vgamut",
    "reserved 3",
]  # fmt: skip
TRANSFERS = [
    None, "bt709", "bt470m", "bt470bg", "smpte170m", "smpte240m", "linear", "log100", "log316", "iec61966-2-4", "bt1361e", "iec61966-2-1",
    "bt2020-10", "bt2020-12", "smpte2084", "smpte428", "arib-std-b67", "vlog", "reserved 19",
]  # fmt: skip
MATRICES = [
    None, "gbr", "bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "ycgco", "bt2020nc", "bt2020c", "smpte2085", "chroma-derived-nc",
    "chroma-derived-c", "ictcp", "ipt-c2", "ycgco-re", "ycgco-ro", "reserved 3",
]  # fmt: skip
RANGES = [None, "tv", "pc"]
PIXEL_FORMATS = ["yuv420p10le", "nv12", "yuv410p", "uyvy422", "yuva444p16le", "gbrp10le", "rgb24", "gray16le", "ya8", "pal8", "xyz12le"]
BATCH = 60


def combinations() -> list[SourceStreams]:
    each = [Colour(value, "smpte2084", "bt2020nc", "tv") for value in PRIMARIES]
    each += [Colour("bt2020", value, matrix, "tv") for value in TRANSFERS for matrix in ("bt2020nc", "ycgco")]
    each += [Colour("bt2020", transfer, value, range) for transfer, value, range in product(["arib-std-b67", None], MATRICES, RANGES)]
    rng = random.Random(7)
    drawn = [Colour(*(rng.choice(values) for values in (PRIMARIES, TRANSFERS, MATRICES, RANGES))) for _ in range(60)]
    sources = [(colour, "yuv420p10le") for colour in each] + [(colour, rng.choice(PIXEL_FORMATS)) for colour in drawn]
    sources += [(Colour("bt709", "smpte2084", "ictcp", None), pixel_format) for pixel_format in PIXEL_FORMATS]
    return [
        SourceStreams(
            video=0, pixel_format=pixel_format, color_primaries=colour.primaries, color_transfer=colour.transfer,
            color_space=colour.matrix, color_range=colour.range,
        )
        for colour, pixel_format in sources
    ]  # fmt: skip


def graph(source: SourceStreams) -> str:
    steps = [f"{step.name}={':'.join(f'{name}={value}' for name, value in step.options.items())}" for step in picture_filters(source)]
    return f"color=teal:size=16x16:rate=1,trim=end_frame=1,format={source.pixel_format},{','.join(steps)}"


def test_no_description_makes_the_filters_fail():
    graphs = sorted({graph(source) for source in combinations()})
    for first in range(0, len(graphs), BATCH):
        some = graphs[first : first + BATCH]
        chains = ";".join(f"{chain}[out{number}]" for number, chain in enumerate(some))
        outputs = [word for number in range(len(some)) for word in ("-map", f"[out{number}]", "-f", "null", "-")]
        command = [ffmpeg_path(), "-nostdin", "-v", "error", "-filter_complex_threads", "1", "-filter_complex", chains, *outputs]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), chains


def test_what_can_be_used_is_taken_as_it_is_and_nothing_is_said():
    for stated in (Colour(), Colour("bt709", "bt709", "bt709", "tv"), Colour("smpte170m", "bt470bg", "fcc", "pc")):
        assert shown_colour(stated) == ShownColour(stated, Treatment.KEEP)
    hdr = Colour("bt2020", "smpte2084", "ictcp", "tv")
    assert (shown_colour(hdr).colour, shown_colour(hdr).treatment, shown_colour(hdr).warnings) == (hdr, Treatment.TONE_MAP, ())
    assert shown_colour(Colour(matrix="gbr", transfer="smpte2084"), rgb=True).warnings == ()


@pytest.mark.parametrize(
    ("stated", "taken", "word"),
    [
        (Colour("bt2020", "arib-std-b67", "bt2020c", "tv"), Colour("bt2020", "arib-std-b67", "bt2020nc", "tv"), "bt2020c"),
        (Colour("bt709", "smpte2084", "ictcp", "tv"), Colour("bt2020", "smpte2084", "ictcp", "tv"), "ictcp"),
        (Colour("reserved 3", "bt709", "gbr", "tv"), Colour("bt709", "bt709", "bt709", "tv"), "reserved 3"),
        (Colour("bt709", "vlog", "bt709", "tv"), Colour("bt709", "bt709", "bt709", "tv"), "vlog"),
    ],
)
def test_what_cannot_be_used_becomes_the_nearest_that_can_and_a_sentence_says_so(stated: Colour, taken: Colour, word: str):
    shown = shown_colour(stated)
    assert shown.colour == taken
    assert word in shown.warnings[0]


def test_hdr_metadata_without_a_transfer_function_is_taken_as_pq_and_said():
    shown = shown_colour(Colour("bt2020", None, "bt2020nc", "tv"), hdr_metadata=True)
    assert (shown.colour.transfer, shown.treatment, len(shown.warnings)) == ("smpte2084", Treatment.TONE_MAP, 1)


ENCODER = ["-f", "lavfi", "-i", "color=0x20A060:size=64x64:rate=5:duration=0.4"]


@pytest.mark.parametrize(
    ("tags", "pixel_format"),
    [
        ("colormatrix=bt2020c:transfer=arib-std-b67:colorprim=bt2020", "yuv420p"),
        ("colormatrix=bt709:transfer=bt709:colorprim=bt709:videoformat=pal", "yuv420p"),
        ("colormatrix=ICtCp:transfer=smpte2084:colorprim=bt709", "yuv422p10le"),
        ("colormatrix=YCgCo", "yuv444p"),
    ],
)
def test_a_file_with_such_tags_gets_a_proxy_that_says_what_it_shows(tags: str, pixel_format: str, tmp_path: Path):
    encoder = ["-c:v", "libx264", "-pix_fmt", pixel_format, "-x264-params", tags]
    source, made = ffmpeg([*ENCODER, *encoder], tmp_path / "s.mp4"), tmp_path / "proxy.mp4"
    found = probe(source)
    write_proxy(source, found, source_streams(found), made)
    assert len(list(decoded(made))) == 2
    assert probe(made).video.color_space in {None, "bt709"}


def test_ycgco_keeps_its_colours(tmp_path: Path):
    """The pixels are made by hand, because no filter writes them: Y, Cg, Co of a green, as 8-bit full range samples."""
    red, green, blue = 32, 160, 96
    y, cg, co = (red + 2 * green + blue) // 4, (2 * green - red - blue) // 4 + 128, (red - blue) // 2 + 128
    raw = tmp_path / "s.yuv"
    raw.write_bytes(b"".join(bytes([level]) * 64 * 64 for level in (y, cg, co)))
    layout = ["-f", "rawvideo", "-pix_fmt", "yuv444p", "-s", "64x64", "-i", str(raw)]
    encoder = ["-c:v", "libx264", "-qp", "1", "-x264-params", "colormatrix=YCgCo:fullrange=on"]
    source, made = ffmpeg([*layout, *encoder], tmp_path / "s.mp4"), tmp_path / "proxy.mp4"
    found = probe(source)
    assert (found.video.color_space, found.video.color_range) == ("ycgco", "pc")
    write_proxy(source, found, source_streams(found), made)
    with av.open(str(made)) as container:
        shown = rgb(next(container.decode(video=0)))
    assert np.abs(shown.mean(axis=(0, 1)) - (red, green, blue)).max() < 4
