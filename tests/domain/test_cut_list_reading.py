from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from heaters_dagster.domain.cut_list_media import CutListMedia
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
    ends = np.array([0, 2, 3, 7, 37, 50, 92, 100])
    for stated in (89, 92, 99):  # the length that the file states
        assert imported("csv", scenes((0, 37, 50, stated)), video_at(Fraction(25), places=ends)) == (4, 5)
    assert imported("csv", scenes((0, 37, 50, 60)), video_at(Fraction(25), places=ends)) == (4, 5, 6), "it was told to stop before"
    text = "* CREATED WITH PYSCENEDETECT 0.7.2\n" + edl(event(1, "00:00:00:00", "00:00:01:12"))
    with pytest.raises(BadRequestError, match="at the rate of this source video, which varies: take its CSV, which has their times"):
        imported("edl", text, video_at(Fraction(25), places=places))


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


@pytest.mark.parametrize("form", FORMS[:3])
@pytest.mark.parametrize("rate", [Fraction(25), NTSC[1]])
def test_files_without_their_transitions_come_back_as_the_cuts_of_their_clips(form: str, rate: Fraction) -> None:
    """A dissolve over the frames 90 to 109 at the cut 100: the files end before it and begin behind it."""
    clips = listed((0, 100, 200), rate)
    names = [f"clip_{clip.id}.mp4" for clip in clips]
    held = [CutListMedia(name=names[0], path=names[0], length_frames=90, first_frame=1_000)]
    held.append(CutListMedia(name=names[1], path=names[1], length_frames=90, first_frame=1_110, begins_at=110))
    source = replace(source_at(rate), clip_media={clip.id: media for clip, media in zip(clips, held, strict=True)})
    files = {names[0]: ClipFile(0, 90, 1_000, tail=10), names[1]: ClipFile(110, 90, 1_110, head=10)}
    video = video_at(rate, frames=200, begin=1_000, clip_files=files)
    text = CUT_LIST_FORMATS.load(form).write(source, clips)
    assert imported(form, text, video) == (100,)
    inside = replace(clips[0], end_time_seconds=float(80 / rate))
    text = CUT_LIST_FORMATS.load(form).write(source, [inside, clips[1]])
    assert imported(form, text, video) == (80, 100), "an edit that ends inside the file ends there"


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
    assert (found.frames, found.notes) == ((25, 75), ("1 compound clip is left out, because the file does not have what is inside.",))


def found_in(form: str, text: str, video: ReadFor) -> tuple[tuple[int, ...], tuple[str, ...]]:
    chosen = CUT_LIST_FORMATS.load(form)
    assert chosen.read is not None
    found = cuts_of(chosen.read(text, video), video)
    return found.frames, found.notes


OURS = video_at(Fraction(25), frames=250, names=frozenset({"a.mov", "a"}))


def test_a_dissolve_or_wipe_of_an_edl_names_the_shot_that_goes_and_then_the_one_that_comes() -> None:
    text = edl(
        event(1, "00:00:00:00", "00:00:01:00"),
        "* FROM CLIP NAME: a.mov",
        event(2, "00:00:01:00", "00:00:01:00"),
        event(2, "00:00:03:00", "00:00:04:00", kind="D    024"),
        "* FROM CLIP NAME: a.mov",
        "* TO CLIP NAME: b.mov",
        event(3, "00:00:05:00", "00:00:05:00"),
        event(3, "00:00:06:00", "00:00:07:00", kind="W001 024"),
        "* FROM CLIP NAME: b.mov",
        "* TO CLIP NAME: a.mov",
        event(4, "00:00:00:00", "00:00:00:00", reel="BL"),
        event(4, "00:00:08:00", "00:00:09:00", kind="D    024"),
        "* FROM CLIP NAME: BL",
        "* TO CLIP NAME: a.mov",
    )
    frames, notes = found_in("edl", text, OURS)
    assert (frames, notes[-1]) == ((25, 150, 175, 200, 225), "1 edit of other files is left out.")


def test_events_in_small_letters_with_keys_or_spaces_in_their_reels_are_read() -> None:
    text = edl(
        event(1, "00:00:00:00", "00:00:01:00", reel="A 001", kind="c").lower(),
        "* from clip name: A.mov",
        event(2, "00:00:01:00", "00:00:02:00", kind="K B"),
        event(2, "00:00:02:00", "00:00:03:00", kind="K O  010"),
        event(3, "00:00:04:00", "00:00:05:00", kind="KB   010 (F)"),
    )
    assert imported("edl", text, video_at(Fraction(25), frames=250)) == (25, 50, 75, 100, 125)
    with pytest.raises(BadRequestError, match="line 3: an event has four timecodes"):
        imported("edl", edl(event(1, "00:00:00:00", "00:00:01:00") + " and more"), OURS)


def test_an_edit_that_plays_backwards_is_the_same_frames() -> None:
    text = edl(event(1, "00:00:03:00", "00:00:02:00"), "M2   AX       -025.0                00:00:03:00")
    assert imported("edl", text, OURS) == (50, 75)


@pytest.mark.parametrize(
    ("source_drops", "head", "sign", "notes"),
    [
        (False, "FCM: DROP FRAME\n", ";", ()),
        (False, "FCM: DROP FRAME\n", ":", ("FCM is of the sequence: the timecodes of the source are non-drop frame.",)),
        (True, "FCM: NON-DROP FRAME\n", ":", ("FCM is of the sequence: the timecodes of the source are drop frame.",)),
    ],
)
def test_a_sequence_may_count_otherwise_than_its_source(source_drops: bool, head: str, sign: str, notes: tuple[str, ...]) -> None:
    """At 10:00:00 drop-frame and other timecode are 36 seconds apart."""
    begin = read_timecode("10:00:00:00", NTSC[1], drop_frame=source_drops).frame
    text = edl(
        f"001  AX  V  C  10:00:00:00 10:00:01:00 01:00:00{sign}00 01:00:01{sign}00",
        f"002  AX  V  C  10:00:01:00 10:00:02:10 01:00:01{sign}00 01:00:02{sign}10",
        head=head,
    )
    assert found_in("edl", text, video_at(NTSC[1], drop=source_drops, frames=900, begin=begin)) == ((30, 70), notes)


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("sep=;\nStart_Frame;End_Frame\n0;50\n;\n\n50;100\n;\n", (50, 100)),
        (f"start_frame,end_frame,subtitles\n0,50,{'a' * 200_000}\n50,100,\n", (50, 100)),
        ('start_frame,end_frame,subtitles\n0,50,"two\nlines"\n50,100,\n', (50, 100)),
    ],
)
def test_tables_as_spreadsheets_write_them_are_read(text: str, frames: tuple[int, ...]) -> None:
    assert imported("csv", text, OURS) == frames


def test_a_comma_may_be_that_of_a_decimal_number() -> None:
    text = scenes((0, 37, 50, 100)).replace(",", ";").replace(".", ",")
    assert "0,000;37;x;1,480" in text
    assert imported("csv", text, video_at(Fraction(25), places=np.array([0, 2, 3, 7, 37, 50, 80, 100]))) == (4, 5)


@pytest.mark.parametrize(
    ("form", "text", "told"),
    [
        ("csv", "start_frame,end_frame\n0,1e999999999\n", "line 2: end_frame is a number, not '1e999999999'"),
        ("csv", 'start_frame,end_frame,x\n0,50,"no end\n50,100,\n', "line 4: the table is no CSV: unexpected end of data"),
        ("fcpxml", '<fcpxml><resources><asset id="r1"/></resources><clip start="1e999999999s"/></fcpxml>', "line 1: start='1e9"),
        ("fcpxml", f"<fcpxml>{'<gap>' * 5000}{'</gap>' * 5000}</fcpxml>", "line 1: clips lie in clips more than 100 deep"),
        ("otio", f'{{"OTIO_SCHEMA":"Timeline.1","metadata":{"[" * 100_000}{"]" * 100_000}}}', "lie more than 500 deep"),
    ],
)
def test_what_would_fill_the_memory_is_refused(form: str, text: str, told: str) -> None:
    with pytest.raises(BadRequestError, match=told):
        imported(form, text, OURS)


def test_compound_clips_that_hold_each_other_are_refused() -> None:
    media = "".join(
        f'<media id="m{n}"><sequence><spine>{f"""<ref-clip ref="m{n + 1}" duration="1s"/>""" * 10}</spine></sequence></media>'
        for n in range(30)
    )
    text = f'<fcpxml><resources>{media}</resources><ref-clip ref="m0" duration="1s"/></fcpxml>'
    with pytest.raises(BadRequestError, match="or more than 10,000 compound ones"):
        imported("fcpxml", text, OURS)


ASSET = '<asset id="r2" start="0s" duration="10s" hasVideo="1" src="file:///x/a.mov"/>'
SOUND = '<asset id="r3" start="0s" duration="500s" hasAudio="1" src="file:///x/music.wav"/>'


@pytest.mark.parametrize(
    ("body", "media", "frames", "notes"),
    [
        # Sound that hangs on a clip is no file of its own, though Final Cut does not say that it has no picture.
        (
            '<asset-clip ref="r2" start="1s" duration="2s"><asset-clip ref="r3" lane="-1" offset="1s" duration="9s"/></asset-clip>',
            "",
            (25, 75),
            (),
        ),
        (
            '<sync-clip start="2s" duration="3s"><asset-clip ref="r2" offset="0s" duration="10s"/>'
            '<asset-clip ref="r3" lane="-1" offset="0s" duration="10s"/></sync-clip>',
            "",
            (50, 125),
            (),
        ),
        (
            '<ref-clip ref="r5" offset="3600s" start="1s" duration="3s"/>',
            '<media id="r5"><sequence><spine><asset-clip ref="r2" offset="0s" start="4s" duration="2s"/>'
            '<asset-clip ref="r2" offset="2s" start="8s" duration="2s"/></spine></sequence></media>',
            (125, 150, 200),
            (),
        ),
        (
            '<mc-clip ref="r5" start="1s" duration="3s"><mc-source angleID="x"/></mc-clip>',
            '<media id="r5"><multicam><mc-angle angleID="y"><asset-clip ref="r2" offset="0s" start="6s" duration="3s"/></mc-angle>'
            '<mc-angle angleID="x"><asset-clip ref="r2" offset="0s" duration="10s"/></mc-angle></multicam></media>',
            (25, 100),
            (),
        ),
        (
            '<audition><asset-clip ref="r2" start="1s" duration="1s"/><asset-clip ref="r2" start="5s" duration="2s"/></audition>',
            "",
            (25, 50),
            (),
        ),
        ('<video ref="r2" start="1s" duration="1s"/><transition duration="1s"/><gap duration="9s"/>', "", (25, 50), ()),
        # A clip that hangs on another one may be longer than it.
        (
            '<clip start="2s" duration="1s"><video ref="r2" offset="0s" duration="10s"/>'
            '<asset-clip ref="r2" lane="1" offset="2s" start="5s" duration="3s"/></clip>',
            "",
            (50, 75, 125, 200),
            (),
        ),
        (
            '<asset-clip ref="r2" start="1s" duration="1s" enabled="0"/><asset-clip ref="r2" start="3s" duration="1s"/>',
            "",
            (75, 100),
            ("1 disabled clip is left out.",),
        ),
        (
            '<asset-clip ref="r2" start="1s" duration="1s"><conform-rate srcFrameRate="24"/></asset-clip>'
            '<asset-clip ref="r2" start="2s" duration="1s"><conform-rate scaleEnabled="0" srcFrameRate="24"/></asset-clip>',
            "",
            (25, 50, 75),
            ("1 clip is conformed to another rate: look at these cuts, they may lie beside their frames.",),
        ),
    ],
)
def test_what_an_fcpxml_shows_is_read(body: str, media: str, frames: tuple[int, ...], notes: tuple[str, ...]) -> None:
    text = f"<fcpxml><resources>{ASSET}{SOUND}{media}</resources><project><sequence><spine>{body}</spine></sequence></project></fcpxml>"
    assert found_in("fcpxml", text, replace(OURS, names=frozenset())) == (frames, notes)


def test_otio_shows_what_its_stacks_show() -> None:
    import opentimelineio as otio

    def span(start: float, frames: float, rate: float = 25) -> Any:
        return otio.opentime.TimeRange(otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(frames, rate))

    def clip(start: float, frames: float, media: Any = None, **more: Any) -> Any:
        media = media or otio.schema.ExternalReference("file:///x/a.mov", span(0, 250))
        return otio.schema.Clip("a.mov", media, span(start, frames, **more))

    def frames_of(*children: Any, sound: Any = None) -> tuple[tuple[int, ...], tuple[str, ...]]:
        timeline = otio.schema.Timeline()
        timeline.tracks.append(otio.schema.Track(kind="Video", children=list(children)))
        if sound is not None:
            timeline.tracks.append(otio.schema.Track(kind="Audio", children=[sound]))
        bundle = otio.schema.SerializableCollection(children=[timeline])
        return found_in("otio", otio.adapters.write_to_string(bundle, "otio_json"), OURS)

    inner = otio.schema.Track(children=[clip(50, 25), clip(100, 25)])
    assert frames_of(otio.schema.Stack(children=[inner], source_range=span(10, 20))) == ((60, 75, 100, 105), ())
    assert frames_of(clip(25, 25), sound=clip(40, 25)) == ((25, 50), ())
    without = [clip(start, 25, otio.schema.MissingReference()) for start in (25, 50)]
    assert frames_of(*without) == ((25, 50, 75), ())
    assert frames_of(clip(100, 25), *without) == ((100, 125), ())
    fast, hidden = clip(25, 25), clip(100, 25)
    fast.effects.append(otio.schema.LinearTimeWarp(time_scalar=2.0))
    hidden.enabled = False
    notes = (
        "1 disabled clip is left out.",
        "1 clip plays at another speed: the beginning and the length on the timeline are taken.",
    )
    assert frames_of(fast, hidden) == ((25, 50), notes)
    for wrong in (clip(float("nan"), 25), clip(0, float("inf")), clip(0, 25, rate=-25)):
        with pytest.raises(BadRequestError, match=r"clip 1 \(a\.mov\): its range is no time"):
            frames_of(wrong)


@pytest.mark.parametrize("rate", [Fraction(25), *NTSC])
def test_the_lists_for_programs_that_pyscenedetect_writes_are_read(rate: Fraction, tmp_path: Any) -> None:
    from scenedetect import FrameTimecode
    from scenedetect import output as written

    edges = list(pairwise(FrameTimecode(frame, rate) for frame in (0, 37, 50, 1801, 3600)))
    written.write_scene_list_edl(tmp_path / "a.edl", edges)
    written.write_scene_list_fcpx(tmp_path / "a.fcpxml", edges, "/x/a.mov", rate, (640, 360))
    written.write_scene_list_otio(tmp_path / "a.otio", edges, "/x/a.mov", rate)
    video = video_at(rate, frames=3600)
    for form in ("fcpxml", "otio", "edl"):
        text = (tmp_path / f"a.{form}").read_text()
        if form == "edl" and rate.denominator != 1:
            with pytest.raises(BadRequestError, match="PySceneDetect counts the frames of its EDL from whole seconds of the clock"):
                imported(form, text, video)
        else:
            assert imported(form, text, video) == (37, 50, 1801)


@pytest.mark.parametrize("stated", [89, 92, 100, 109])
def test_at_a_variable_rate_the_last_scene_of_pyscenedetect_ends_with_the_video(stated: int, tmp_path: Any) -> None:
    from scenedetect import FrameTimecode
    from scenedetect import output as written

    video = video_at(Fraction(25), places=np.array([0, 2, 3, 7, 37, 50, 92, 100]))

    def lists(end: int) -> dict[str, str]:
        edges = list(pairwise(FrameTimecode(frame, Fraction(25)) for frame in (0, 37, 50, end)))
        written.write_scene_list_fcpx(tmp_path / "a.fcpxml", edges, "/x/a.mov", Fraction(25), (640, 360))
        written.write_scene_list_otio(tmp_path / "a.otio", edges, "/x/a.mov", Fraction(25))
        with open(tmp_path / "a.csv", "w") as file:
            written.write_scene_list(file, edges)
        return {form: (tmp_path / f"a.{form}").read_text() for form in ("fcpxml", "otio", "csv")}

    for form, text in lists(stated).items():
        assert imported(form, text, video) == (4, 5), f"{form}: no cut in the last frames, and nothing lies outside"
    for form, text in lists(60).items():
        assert imported(form, text, video) == (4, 5, 6), f"{form}: it was told to stop before"
    for form, text in lists(120).items():
        with pytest.raises(BadRequestError, match="lies outside the source video"):
            imported(form, text, video)


def test_a_timeline_of_an_editor_ends_where_it_ends_also_at_a_variable_rate(tmp_path: Any) -> None:
    import opentimelineio as otio

    timeline, track = otio.schema.Timeline(), otio.schema.Track()
    timeline.tracks.append(track)
    media = otio.schema.ExternalReference("a.mov", otio.opentime.range_from_start_end_time(at(0), at(100)))
    track.append(otio.schema.Clip("a", media, otio.opentime.range_from_start_end_time(at(0), at(92))))
    video = video_at(Fraction(25), places=np.array([0, 2, 3, 7, 37, 50, 92, 100]))
    assert imported("otio", otio.adapters.write_to_string(timeline, "otio_json"), video) == (6,)


@pytest.mark.parametrize("rate", [Fraction(59997, 2000), Fraction("29.97"), Fraction(30)])
def test_an_average_rate_beside_a_common_one_is_taken_as_it_is(rate: Fraction, tmp_path: Any) -> None:
    from scenedetect import FrameTimecode
    from scenedetect.output import write_scene_list_otio

    meant = Fraction(30000, 1001) if rate == Fraction("29.97") else rate
    edges = [FrameTimecode(frame, rate) for frame in (0, 100_000, 100_001, 108_000)]
    write_scene_list_otio(tmp_path / "a.otio", list(pairwise(edges)), "/x/a.mov", rate)
    times = [Fraction(frame) / meant for frame in (0, 1, 50_000, 99_999, 100_000, 100_001, 107_999, 108_000)]
    video = video_at(Fraction(120), places=np.array([round(120 * time) for time in times]))
    assert imported("otio", (tmp_path / "a.otio").read_text(), video) == (4, 5)


def at(frame: int) -> Any:
    import opentimelineio as otio

    return otio.opentime.RationalTime(frame, 25)
