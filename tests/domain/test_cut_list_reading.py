from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from heaters_dagster.domain.cut_list_rates import frame_places
from heaters_dagster.domain.cut_list_reading import ClipFile, ReadFor, cuts_of, decoded
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.timecode import read_timecode, timecode
from heaters_dagster.registries import CUT_LIST_FORMATS
from tests.domain.test_cut_lists_read_back import EDGES, NTSC, RATES, listed, source_at

FORMS = ("edl", "fcpxml", "otio", "csv")


def video_at(rate: Fraction, *, drop: bool = False, frames: int = EDGES[-1], begin: int = 0, **more: Any) -> ReadFor:
    told: dict[str, Any] = {"rate": rate, "drop_frame": drop, "first_count": begin, "places": np.arange(frames + 1)}
    return ReadFor(**told | more)


def imported(form: str, text: str, video: ReadFor) -> tuple[int, ...]:
    chosen = CUT_LIST_FORMATS.load(form)
    assert chosen.read is not None
    return cuts_of(chosen.read(text, video), video).frames


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rate", "drop"), RATES)
def test_our_own_lists_come_back_as_the_same_cuts(form: str, rate: Fraction, drop: bool) -> None:
    source = source_at(rate, drop=drop)
    video = video_at(rate, drop=drop, begin=source.media.first_frame)
    text = CUT_LIST_FORMATS.load(form).write(source, listed(EDGES, rate))
    assert imported(form, text, video) == EDGES[1:-1]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "spoiled",
    [
        lambda text: text.replace("\r\n", "\n").replace("\n", "\r\n").encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("cp1252", errors="replace"),
        lambda text: text.replace("\r\n", "\n").replace("\n", "\r").encode(),
    ],
)
def test_line_ends_marks_and_encodings_do_not_matter(form: str, spoiled: Any) -> None:
    rate = Fraction(25)
    source = source_at(rate, name="h\u00e4fen.mov")
    text = CUT_LIST_FORMATS.load(form).write(source, listed(EDGES, rate))
    assert imported(form, decoded(spoiled(text)), video_at(rate, begin=source.media.first_frame)) == EDGES[1:-1]


@pytest.mark.parametrize("form", FORMS)
def test_lists_of_a_variable_rate_come_back_as_the_same_frames(form: str) -> None:
    rate = Fraction(30)
    times = np.cumsum([0, *((1 + n % 3) for n in range(600))])
    places = frame_places(times, Fraction(1, 30), rate)
    edges = (0, 17, 100, 333, 600)
    clips = [
        replace(
            clip,
            start_time_seconds=float(Fraction(int(times[clip.start_frame]), 30)),
            end_time_seconds=float(Fraction(int(times[clip.end_frame]), 30)),
        )
        for clip in listed(edges, rate)
    ]
    source = source_at(rate)
    source = replace(source, media=replace(source.media, length_frames=int(places[-1])))
    video = video_at(rate, begin=source.media.first_frame, places=places)
    assert not video.is_constant
    assert imported(form, CUT_LIST_FORMATS.load(form).write(source, clips), video) == edges[1:-1]


def edl(*events: str, head: str = "TITLE: x\nFCM: NON-DROP FRAME\n") -> str:
    return head + "\n".join(events) + "\n"


def event(number: int, start: str, end: str, *, reel: str = "AX", channels: str = "V", kind: str = "C") -> str:
    return f"{number:03d}  {reel}  {channels}  {kind}  {start} {end} 01:00:00:00 01:00:01:00"


def test_gaps_between_edits_become_clips_too() -> None:
    text = edl(event(1, "00:00:01:00", "00:00:02:00"), event(2, "00:00:04:00", "00:00:05:00"))
    assert imported("edl", text, video_at(Fraction(25), frames=200)) == (25, 50, 100, 125)


def test_an_edl_that_counts_from_zero_is_known_beside_a_timecode() -> None:
    text = edl(event(1, "00:00:00:00", "00:00:02:00"), event(2, "00:00:02:00", "00:00:04:00"))
    video = video_at(Fraction(25), frames=100, begin=10 * 3600 * 25)
    chosen = CUT_LIST_FORMATS.load("edl")
    assert chosen.read is not None
    found = cuts_of(chosen.read(text, video), video)
    assert (found.frames, found.notes) == (
        (50,),
        (
            "2 edits play at another speed: the frames of the source are taken.",
            "The list counts from 00:00:00:00, not from the timecode of the source video.",
        ),
    )


@pytest.mark.parametrize(
    ("head", "written", "frame"),
    [
        ("FCM: DROP FRAME\n", "00:01:00:02", 1800),
        ("FCM: NON-DROP FRAME\n", "00:01:00:02", 1802),
        ("FCM: NON-DROP FRAME\n", "00:01:00;02", 1800),
        ("", "00:01:00:02", 1800),
        ("FCM: DROP FRAME\n", "00:01:00:00", 1800),
    ],
)
def test_drop_frame_is_what_the_list_says_of_itself(head: str, written: str, frame: int) -> None:
    text = edl(event(1, "00:00:00:00", written), head=head)
    assert imported("edl", text, video_at(NTSC[1], drop=True)) == (frame,)


def test_sound_black_and_the_end_of_a_dissolve_are_no_cuts_of_their_own() -> None:
    text = edl(
        event(1, "00:00:00:00", "00:00:01:00"),
        event(2, "00:00:01:00", "00:00:01:00"),
        "002  AX  V  D    024 00:00:01:00 00:00:02:00 01:00:00:00 01:00:01:00",
        event(3, "00:00:00:13", "00:00:01:20", channels="A"),
        event(4, "00:00:00:13", "00:00:01:20", channels="AA"),
        event(5, "00:00:00:00", "00:00:03:00", reel="BL"),
        "M2   AX       000.0                00:00:01:00",
        "* FROM CLIP NAME: a.mov",
    )
    assert imported("edl", text, video_at(Fraction(25), frames=100)) == (25, 50)


def test_edits_of_other_files_are_left_out() -> None:
    text = edl(
        event(1, "00:00:00:00", "00:00:01:00", reel="A"),
        "* FROM CLIP NAME: Harbour.MOV",
        event(2, "00:00:00:10", "00:00:00:20", reel="B"),
        "* FROM CLIP NAME: sea.mov",
    )
    video = video_at(Fraction(25), frames=100, names=frozenset({"harbour.mov"}))
    assert imported("edl", text, video) == (25,)
    with pytest.raises(
        BadRequestError, match=r"the list has edits of 2 files \(Harbour\.MOV, sea\.mov\); none has a name of this source video"
    ):
        imported("edl", text, replace(video, names=frozenset({"other.mov"})))


@pytest.mark.parametrize(
    ("form", "text", "told"),
    [
        ("edl", edl(event(1, "00:00:00:00", "00:00:01:25")), r"line 3: '00:00:01:25' is no timecode at 25 .* of another rate\?"),
        (
            "edl",
            edl(event(1, "00:00:00:00", "00:00:09:00")),
            r"line 3: 00:00:09\.000 lies outside the source video, which has 00:00:04",
        ),
        ("edl", edl("001  AX  V  C  00:00:00:00 00:00:01:00"), "line 3: an event has four timecodes"),
        ("edl", "", "the list has no edit with a picture"),
        ("edl", edl(event(1, "00:00:02:00", "00:00:01:00")), "line 3: an edit must end after it begins"),
        ("csv", "start_frame,end_frame\n0,50\n50,1o0\n", "line 3: end_frame is a number, not '1o0'"),
        ("csv", "start_frame;end_frame\n0;50\n50;101\n", "line 3: frame 101 is not in the source video, which has 100 frames"),
        ("csv", "start_frame\tend_frame\n0\t50.5\n", "line 2: end_frame is a whole number, not '50.5'"),
        ("csv", "a,b\n1,2\n", "the table has neither the columns start_frame and end_frame nor those of PySceneDetect"),
        ("fcpxml", "<fcpxml>\n<resources>\n</fcpxml>", "line 3: the file is no XML: mismatched tag"),
        ("fcpxml", "<xmeml/>", "the file is XML, but no FCPXML: it begins with <xmeml>"),
        ("fcpxml", '<!DOCTYPE fcpxml [<!ENTITY a "b">]>\n<fcpxml/>', "line 1: a cut list may not declare entities"),
        (
            "fcpxml",
            '<fcpxml><resources><asset id="r1"/></resources>\n<asset-clip ref="r1" start="x"/></fcpxml>',
            "line 2: start='x' is no time",
        ),
        ("otio", "{", "the file is no OpenTimelineIO"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(form: str, text: str, told: str) -> None:
    with pytest.raises(BadRequestError, match=told):
        imported(form, text, video_at(Fraction(25), frames=100))


def scenes(edges: Sequence[int], *, first: int = 1, above: str = "") -> str:
    head = "Scene Number,Start Frame,Start Timecode,Start Time (seconds),End Frame,End Timecode,End Time (seconds),Length (frames)\n"
    rows = [
        f"{number},{start + first},x,{start / 25:.3f},{end},x,{end / 25:.3f},{end - start}"
        for number, (start, end) in enumerate(pairwise(edges), start=1)
    ]
    return above + head + "\n".join(rows) + "\n"


@pytest.mark.parametrize("above", ["", "Timecode List:,00:00:01.480,00:00:02.000\n", "00:00:01.480,00:00:02.000\n"])
@pytest.mark.parametrize("first", [0, 1])
def test_the_scene_list_of_pyscenedetect_is_read(above: str, first: int) -> None:
    edges = (0, 37, 50, 100)
    text = scenes(edges, first=first, above=above)
    assert imported("csv", text, video_at(Fraction(25), frames=100)) == (37, 50)


def test_what_pyscenedetect_itself_writes_is_read(tmp_path: Any) -> None:
    from scenedetect import FrameTimecode
    from scenedetect.output import write_scene_list

    edges = [FrameTimecode(frame, 25.0) for frame in (0, 37, 50, 100)]
    with open(tmp_path / "scenes.csv", "w") as file:
        write_scene_list(file, list(pairwise(edges)))
    assert imported("csv", (tmp_path / "scenes.csv").read_text(), video_at(Fraction(25), frames=100)) == (37, 50)


def test_at_a_variable_rate_the_times_of_pyscenedetect_decide() -> None:
    places = np.array([0, 2, 3, 7, 37, 50, 80, 100])
    assert imported("csv", scenes((0, 37, 50, 100)), video_at(Fraction(25), places=places)) == (4, 5)


def test_a_list_with_handles_says_that_its_edits_overlap() -> None:
    source = source_at(Fraction(25), handles=10)
    video = video_at(Fraction(25), begin=source.media.first_frame)
    chosen = CUT_LIST_FORMATS.load("edl")
    assert chosen.read is not None
    found = cuts_of(chosen.read(chosen.write(source, listed(EDGES, Fraction(25))), video), video)
    assert found.notes == ("5 edits begin inside another one (line 9), as in a list with handles: each edge becomes a cut.",)


def test_a_list_whose_timecode_passes_midnight_is_read_also_where_it_counts_from_zero() -> None:
    rate = NTSC[1]
    begin = read_timecode("23:59:58;00", rate, drop_frame=True).frame
    video = video_at(rate, drop=True, frames=300, begin=begin)
    for first, cut, end in (("23:59:58;00", "23:59:59;29", "00:00:07;29"), ("00:00:00;00", "00:00:01;29", "00:00:09;29")):
        assert imported("edl", edl(event(1, first, cut), event(2, cut, end)), video) == (59, 299)
    assert imported("edl", edl(event(1, "00:00:00;10", "00:00:01;00")), video) == (70, 90), "all of it after midnight"


def test_a_list_may_name_the_files_of_clips() -> None:
    rate = Fraction(25)
    files = {"film clip 002.mp4": ClipFile(100, 50, 1_000), "film clip 003.mp4": ClipFile(150, 50, 1_050)}
    video = video_at(rate, frames=200, begin=900, clip_files=files)
    for first in (1_010, 10):  # by the file's timecode, and from 0
        starts = [timecode(first + more, rate) for more in (0, 20)]
        named = [event(1, *starts), "* FROM CLIP NAME: Film clip 002.MP4", event(2, *starts), "* FROM CLIP NAME: another.mp4"]
        assert imported("edl", edl(*named), video) == (110, 130)


def test_clips_of_older_fcpxml_are_read_by_their_video() -> None:
    text = """<?xml version="1.0" encoding="UTF-16"?>
<fcpxml version="1.5"><resources><asset id="r2" start="36000s" hasVideo="1" src="file:///x/a.mov"/></resources>
<project><sequence><spine>
<clip name="a" offset="0s" start="36001s" duration="2s"><video ref="r2" offset="36000s" start="36000s" duration="10s"/></clip>
<ref-clip ref="r9" duration="1s"/>
</spine></sequence></project></fcpxml>"""
    video = video_at(Fraction(25), frames=250, begin=read_timecode("10:00:00:00", Fraction(25)).frame)
    chosen = CUT_LIST_FORMATS.load("fcpxml")
    assert chosen.read is not None
    found = cuts_of(chosen.read(text, video), video)
    assert (found.frames, found.notes) == ((25, 75), ("1 compound clip is left out.",))
