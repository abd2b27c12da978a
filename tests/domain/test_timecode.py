import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.timecode import SourceTime, Timecode, frames_per_day, read_timecode, timecode, timeline_rate

FILM = Fraction(24_000, 1001)
NTSC = Fraction(30_000, 1001)
DOUBLE_NTSC = Fraction(60_000, 1001)
HIGH_NTSC = Fraction(120_000, 1001)
RATES = [
    *((rate, False) for rate in (FILM, Fraction(24), Fraction(25), NTSC, Fraction(30), Fraction(50), DOUBLE_NTSC, Fraction(60), HIGH_NTSC)),
    *((rate, True) for rate in (NTSC, DOUBLE_NTSC, HIGH_NTSC)),
]


@pytest.mark.parametrize(
    ("frame", "rate", "drop", "expected"),
    [
        (0, FILM, False, "00:00:00:00"),
        (23, FILM, False, "00:00:00:23"),
        (24, FILM, False, "00:00:01:00"),
        (86_400 * 25 + 1, Fraction(25), False, "00:00:00:01"),
        (1799, NTSC, True, "00:00:59;29"),
        (1800, NTSC, True, "00:01:00;02"),
        (17_981, NTSC, True, "00:09:59;29"),
        (17_982, NTSC, True, "00:10:00;00"),
        (107_892, NTSC, True, "01:00:00;00"),
        (3600, Fraction(60_000, 1001), True, "00:01:00;04"),
        (7, Fraction(1, 2), False, "00:00:07:00"),
    ],
)
def test_timecode_of_a_frame(frame: int, rate: Fraction, drop: bool, expected: str) -> None:
    assert timecode(frame, rate, drop_frame=drop) == expected


@given(st.integers(0, 2_589_407), st.sampled_from([(NTSC, 30), (Fraction(60_000, 1001), 60)]))
def test_drop_frame_timecode_names_every_frame_once_and_keeps_to_the_clock(frame: int, rate: tuple[Fraction, int]) -> None:
    text = timecode(frame, rate[0], drop_frame=True)
    hours, minutes, seconds, frames = map(int, re.split("[:;]", text))
    dropped = rate[1] // 15
    total_minutes = hours * 60 + minutes
    assert (total_minutes * 60 + seconds) * rate[1] + frames - dropped * (total_minutes - total_minutes // 10) == frame
    assert not (minutes % 10 and seconds == 0 and frames < dropped)
    # The numbers that are skipped come once a minute, and what is left over grows by 86.4 ms a day.
    clock = float(frame / rate[0])
    assert abs(total_minutes * 60 + seconds + frames / rate[1] - clock) < dropped / rate[1] + 0.0864 * clock / 86_400 + 1e-6


def test_drop_frame_is_for_ntsc_rates_only() -> None:
    with pytest.raises(BadRequestError, match="not at 25"):
        timecode(0, Fraction(25), drop_frame=True)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (Fraction("23.976"), FILM),
        (Fraction("29.97"), NTSC),
        (Fraction(25), Fraction(25)),
        (Fraction("12.5"), Fraction("12.5")),
        (Fraction("24.3"), Fraction("24.3")),
    ],
)
def test_a_decimal_rate_is_taken_for_the_rate_it_means(written: Fraction, meant: Fraction) -> None:
    assert timeline_rate(written) == meant


@given(st.data(), st.sampled_from(RATES))
def test_what_is_written_is_read_as_the_same_frame(data: st.DataObject, counted: tuple[Fraction, bool]) -> None:
    rate, drop = counted
    frame = data.draw(st.integers(0, frames_per_day(rate, drop_frame=drop) - 1))
    text = timecode(frame, rate, drop_frame=drop)
    assert read_timecode(text, rate) == Timecode(frame, drop)
    assert read_timecode(text.replace(";", ":"), rate, drop_frame=drop) == Timecode(frame, drop)


@given(st.data(), st.sampled_from(RATES))
def test_the_next_frame_has_the_next_timecode_and_a_day_is_a_circle(data: st.DataObject, counted: tuple[Fraction, bool]) -> None:
    rate, drop = counted
    day = frames_per_day(rate, drop_frame=drop)
    frame = data.draw(st.integers(-day, 2 * day))
    here, after = timecode(frame, rate, drop_frame=drop), timecode(frame + 1, rate, drop_frame=drop)
    parts_here, parts_after = ([int(part) for part in re.split("[:;]", text)] for text in (here, after))
    assert parts_here < parts_after or parts_after == [0, 0, 0, 0]
    assert timecode(frame + day, rate, drop_frame=drop) == here


@pytest.mark.parametrize(("rate", "drop"), RATES)
def test_a_day_ends_with_its_last_frame(rate: Fraction, drop: bool) -> None:
    day = frames_per_day(rate, drop_frame=drop)
    sign = ";" if drop else ":"
    assert timecode(day - 1, rate, drop_frame=drop) == f"23:59:59{sign}{round(rate) - 1}" == timecode(-1, rate, drop_frame=drop)
    assert read_timecode(f"24:00:00{sign}00", rate).frame == day
    with pytest.raises(BadRequestError, match="last one of a day"):
        read_timecode(f"24:00:00{sign}09", rate)


def test_frames_of_a_day() -> None:
    assert frames_per_day(NTSC, drop_frame=True) == 2_589_408
    assert frames_per_day(NTSC) == 2_592_000
    assert frames_per_day(DOUBLE_NTSC, drop_frame=True) == 2 * 2_589_408


@pytest.mark.parametrize(
    ("text", "rate", "read"),
    [
        ("10:00:00:00", Fraction(25), Timecode(900_000, False)),
        (" 1:2:3:4 ", Fraction(25), Timecode(93_079, False)),
        ("00:01:00;02", NTSC, Timecode(1800, True)),
        ("00:01:00.02", NTSC, Timecode(1800, True)),
        ("00:01:00:02", NTSC, Timecode(1802, False)),
        ("00:10:00;00", NTSC, Timecode(17_982, True)),
        ("00:00:01:119", Fraction(120), Timecode(239, False)),
    ],
)
def test_a_timecode_is_read(text: str, rate: Fraction, read: Timecode) -> None:
    assert read_timecode(text, rate) == read


@pytest.mark.parametrize(
    ("text", "rate", "why"),
    [
        ("00:00:00:25", Fraction(25), r"at 25 frames a second: frames go to 24; is it of another rate\?"),
        ("00:60:00:00", Fraction(25), "minutes and seconds go to 59"),
        ("00:00:00;00", Fraction(25), "not at 25"),
        ("00:00:00", Fraction(25), "HH:MM:SS:FF"),
        ("00:00:-1:00", Fraction(25), "HH:MM:SS:FF"),
        ("", Fraction(25), "HH:MM:SS:FF"),
        ("00:01:00;00", NTSC, "the first frame of that minute is 00:01:00;02"),
        ("09:59:00;03", DOUBLE_NTSC, "the first frame of that minute is 09:59:00;04"),
    ],
)
def test_what_is_no_timecode_is_refused_with_the_reason(text: str, rate: Fraction, why: str) -> None:
    with pytest.raises(BadRequestError, match=why):
        read_timecode(text, rate)


@pytest.mark.parametrize("text", ["00:01:00;00", "00:01:00;01", "00:01:00;02"])
def test_a_number_that_is_left_out_can_be_read_as_the_next_one(text: str) -> None:
    assert read_timecode(text, NTSC, mend=True) == Timecode(1800, True)


@given(st.integers(0, 500_000), st.sampled_from(RATES), st.sampled_from([1, 1000]))
def test_at_a_constant_rate_each_frame_has_the_next_timecode(frame: int, counted: tuple[Fraction, bool], units: int) -> None:
    """Also with stamps in whole milliseconds, as Matroska has them."""
    rate, drop = counted
    source = SourceTime(frames_per_day(rate, drop_frame=drop) - 1000, rate, drop)
    seconds = frame / rate if units == 1 else Fraction(round(frame / rate * units), units)
    assert source.count_at(seconds) == source.first_frame + frame
    assert source.at(float(seconds)) == timecode(source.first_frame + frame, rate, drop_frame=drop)
    assert source.seconds_of(source.at(seconds)) == Fraction(frame) / rate


def test_frames_at_twice_the_rate_share_a_timecode_in_pairs() -> None:
    source = SourceTime(900_000, Fraction(25))
    assert [source.at(Fraction(frame, 50)) for frame in range(4)] == ["10:00:00:00", "10:00:00:00", "10:00:00:01", "10:00:00:01"]


def test_at_a_variable_rate_the_clock_goes_on_through_long_frames() -> None:
    source = SourceTime(107_892, NTSC, True, "A001")
    assert [source.at(seconds) for seconds in (0, 0.04, 0.99, 61.0)] == ["01:00:00;00", "01:00:00;01", "01:00:00;29", "01:01:01;00"]


@pytest.mark.parametrize("first_frame", [-1, 2_589_408])
def test_a_start_outside_a_day_is_refused(first_frame: int) -> None:
    with pytest.raises(BadRequestError, match="within a day"):
        SourceTime(first_frame, NTSC, True)


@pytest.mark.parametrize("rate", [FILM, Fraction(25), Fraction(60)])
def test_no_source_leaves_out_numbers_at_a_rate_without_drop_frame_timecode(rate: Fraction) -> None:
    with pytest.raises(BadRequestError, match="drop-frame timecode exists at"):
        SourceTime(0, rate, True)


def test_a_timecode_before_the_first_one_is_of_the_next_day() -> None:
    source = SourceTime(frames_per_day(Fraction(25)) - 25, Fraction(25))
    assert source.start == "23:59:59:00"
    assert source.seconds_of("00:00:01:00") == 2
