"""Subtitles as strangers write them become lines with times."""

from __future__ import annotations

import pytest

from heaters_dagster.domain.places import holds_a_position, names_a_place
from heaters_dagster.domain.subtitles import (
    MOST_LINES,
    Line,
    SubtitleFile,
    TimedLines,
    beside,
    has_a_namesake,
    known_language,
    lines_of,
    searchable,
    webvtt,
    within,
)

VTT = """WEBVTT - made by hand

NOTE nobody sees this

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.500 align:start
<v Grace>The <i>harbour</i> &amp; the sea
at night

1:00:00.000 --> 1:00:01.000
An hour later
"""
SRT = "1\r\n00:00:04,000 --> 00:00:05,250\r\n{\\an8}Second\r\n\r\n2\r\n00:00:01,000 --> 00:00:02,000\r\nFirst\r\nof two rows\r\n"


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (VTT.encode(), [(1.0, 2.5, "The harbour & the sea at night"), (3600.0, 3601.0, "An hour later")]),
        (SRT.encode(), [(1.0, 2.0, "First of two rows"), (4.0, 5.25, "Second")]),
        (b"\xef\xbb\xbf" + SRT.encode(), [(1.0, 2.0, "First of two rows"), (4.0, 5.25, "Second")]),
        (SRT.encode("utf-16"), [(1.0, 2.0, "First of two rows"), (4.0, 5.25, "Second")]),
        ("1\n00:00:01,0 --> 00:00:02,5\ncaf\xe9\n".encode("cp1252"), [(1.0, 2.5, "café")]),
        (b"00:02.000 --> 00:01.000\nends before it begins\n\n00:03.000 --> 00:04.000\n\n\n", []),
        (b"00:01.000 --> 00:02.000\n\xe2\x80\xae turned \x00\x1b[31m\n", [(1.0, 2.0, "turned [31m")]),
        (b"<html>not found</html>", []),
        (b"", []),
    ],
)
def test_what_can_be_read_becomes_lines_in_order(data: bytes, lines: list[tuple[float, float, str]]) -> None:
    assert lines_of(data) == tuple(Line(*one) for one in lines)


def test_there_is_an_end_to_what_a_stranger_may_send() -> None:
    one = "\n00:01.000 --> 00:02.000\n" + "x" * 40 + "\n"
    assert len(lines_of((one * (MOST_LINES + 10)).encode())) == MOST_LINES
    words = [Line(0.0, 1.0, " ".join(f"w{number}" for number in range(start, start + 100))) for start in range(0, 100_000, 100)]
    assert 250_000 < len(searchable(words).encode()) < 310_000


def test_lines_fit_into_the_length_of_the_video() -> None:
    lines = [Line(0.0, 1.0, "a"), Line(9.0, 12.0, "b"), Line(10.0, 11.0, "c")]
    assert within(lines, 10.0) == ((Line(0.0, 1.0, "a"), Line(9.0, 10.0, "b")), 1)
    assert within(lines, None) == (tuple(lines), 0)


def test_the_lines_of_a_clip_count_from_its_beginning() -> None:
    lines = TimedLines([Line(0.0, 1.0, "a"), Line(1.0, 3.0, "b"), Line(4.0, 6.0, "c")])
    assert lines.between(1.0, 4.0) == (Line(0.0, 2.0, "b"),)
    assert lines.between(2.0, 5.0) == (Line(0.0, 1.0, "b"), Line(2.0, 3.0, "c"))
    assert lines.between(3.0, 4.0) == ()


def test_a_line_that_goes_on_over_others_is_in_each_clip_that_it_reaches() -> None:
    lines = TimedLines([Line(7.0, 8.0, "last"), Line(0.0, 10.0, "all the time"), Line(1.0, 2.0, "short")])
    assert [one.text for one in lines.between(0.0, 1.0)] == ["all the time"]
    assert [one.text for one in lines.between(1.5, 7.5)] == ["all the time", "short", "last"]
    assert [one.text for one in lines.between(8.0, 9.0)] == ["all the time"]
    assert lines.between(10.0, 11.0) == ()


def test_what_is_written_is_read_again_as_it_was() -> None:
    lines = (Line(0.0, 1.5, "a & <b>"), Line(3599.9, 3601.25, "an hour"))
    assert lines_of(webvtt(lines)) == lines


def test_each_word_is_searched_for_once() -> None:
    assert searchable([Line(0.0, 1.0, "The sea, the SEA"), Line(1.0, 2.0, "sea 夜")]) == "the sea 夜"


@pytest.mark.parametrize(
    ("said", "known"), [("en", "en"), ("pt_BR", "pt-BR"), ("zh-Hans", "zh-Hans"), ("und", None), ("", None), (None, None), ("../x", None)]
)
def test_a_language_is_that_of_the_site_or_none(said: str | None, known: str | None) -> None:
    assert known_language(said) == known


def test_captions_that_roll_up_are_kept_once() -> None:
    """As YouTube sends those that it makes: each row stands there three times."""
    rolling = """WEBVTT

00:00:00.160 --> 00:00:02.000 align:start position:0%
 \nthe<00:00:00.500><c> harbour</c>

00:00:02.000 --> 00:00:02.010 align:start position:0%
the harbour
 \n
00:00:02.010 --> 00:00:04.000 align:start position:0%
the harbour
at<00:00:03.000><c> night</c>

00:00:04.000 --> 00:00:04.010 align:start position:0%
at night
 \n
00:00:09.000 --> 00:00:10.000 align:start position:0%
at night
"""
    lines = (Line(0.16, 2.0, "the harbour"), Line(2.01, 4.0, "at night"), Line(9.0, 10.0, "at night"))
    assert lines_of(rolling.encode(), is_rolling=True) == lines
    assert len(lines_of(rolling.encode())) == 5


def test_the_subtitle_files_of_a_video_are_known_by_their_names() -> None:
    of_the_film = {
        "film.srt": (None, None),
        "film.de.vtt": ("de", None),
        "film.en-US.SRT": ("en-US", None),
        "film.pt_BR.forced.srt": ("pt-BR", "forced"),
        "film.MP4.fr.srt": ("fr", None),
        "film.sdh.srt": (None, "sdh"),
        "film.Director's cut.srt": (None, "Director's cut"),
        "film.de.ass": ("de", None),
    }
    others = [
        "film.mp4",
        "film.txt",
        "film.de.ass",
        "film2.srt",
        "Film.srt",
        "film.part2.mov",
        "film.part2.srt",
        "film.part2.de.srt",
        "film",
    ]
    found = beside("film.mp4", [*others, *of_the_film])
    assert {one.file: (one.language, one.name) for one in found} == of_the_film
    assert [one.file for one in beside("film.part2.mov", others)] == ["film.part2.de.srt", "film.part2.srt"]
    assert not has_a_namesake("film.mp4", others)
    assert has_a_namesake("film.mp4", [*others, "film.mkv"])


def test_a_file_by_substation_alpha_is_read() -> None:
    data = r"""[Script Info]
Title: Harbour
[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,not shown
Dialogue: 0,0:00:05.00,0:00:07.25,Default,,0,0,0,,{\i1}Yes,{\i0} the quay\Nat night
Dialogue: 0,0:00:01.50,0:00:03.00,Default,Grace,0,0,0,,First
Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\p1}m 0 0 l 100 0{\p0}
Dialogue: 0,soon,0:00:02.00,Default,,0,0,0,,no time
Dialogue: 0
[Fonts]
Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,elsewhere
""".replace("\\\\", "\\")
    wanted = (Line(1.5, 3.0, "First"), Line(5.0, 7.25, "Yes, the quay at night"))
    assert lines_of(data.encode()) == wanted
    assert lines_of(b"\xff\xfe" + data.replace("\n", "\r\n").encode("utf-16-le")) == wanted
    assert lines_of(b"[Events]\nDialogue: " + b"{" * 100_000 + b"\\p1") == ()


def test_a_file_with_positions_is_written_anew_without_them() -> None:
    def of(data: bytes) -> SubtitleFile:
        return SubtitleFile("beside", None, None, ".srt", data, lines_of(data))

    plain = of(SRT.encode())
    assert plain.without_positions() == (plain, 0)
    flown = of(b"1\n00:00:00,000 --> 00:00:01,000\n[latitude: 52.52]\n\n2\n00:00:01,000 --> 00:00:02,000\nup\n")
    kept, left_out = flown.without_positions()
    assert (kept.lines, kept.suffix, left_out) == ((Line(1.0, 2.0, "up"),), ".vtt", 1)
    noted, none = of(b"WEBVTT\n\nNOTE GPS(13.4,52.5)\n\n00:01.000 --> 00:02.000\nup\n").without_positions()
    assert (noted.data, none) == (webvtt(kept.lines), 0)


@pytest.mark.parametrize("tag", ["location", "com.apple.quicktime.location.ISO6709", "location-eng", "xyz", "LOCATION", "GPSLatitude"])
def test_tags_that_name_a_place(tag: str) -> None:
    assert names_a_place(tag)


@pytest.mark.parametrize("tag", ["title", "creation_time", "encoder", "com.apple.quicktime.make", "major_brand", "publisher"])
def test_tags_that_name_none(tag: str) -> None:
    assert not names_a_place(tag)


@pytest.mark.parametrize(
    ("text", "is_position"),
    [
        ("+52.5200+013.4050/", True),
        ("GPS(13.405,52.52,34)", True),
        ("[latitude: 52.52] [longitude: 13.405]", True),
        ("at 10:30 it was -5.5 degrees", False),
        ("the lat was closed", False),
    ],
)
def test_texts_that_hold_a_position(text: str, is_position: bool) -> None:
    assert holds_a_position(text) is is_position
