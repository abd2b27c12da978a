import csv
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain.cut_kinds import Transition
from heaters_dagster.domain.cut_list_media import CutListMedia, file_address, path_under, reels_of
from heaters_dagster.domain.cut_list_rates import (
    EDITING_RATES,
    constant_rate,
    first_count,
    frame_places,
    is_steady,
    place_at,
    rate_without_loss,
)
from heaters_dagster.domain.cut_lists import CutListSource, Gaps, events, timeline_range
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.source_facts import Chapter, SourceFacts
from heaters_dagster.domain.states import ClipState
from heaters_dagster.domain.subtitles import Line
from heaters_dagster.domain.timecode import SourceTime, timecode
from resources.clips.cut_lists.csv import CSV_COLUMNS, csv_cut_list
from resources.clips.cut_lists.edl import CUT_LIST_FORMAT as EDL
from resources.clips.cut_lists.edl import edl_cut_list
from resources.clips.cut_lists.fcpxml import fcpxml_cut_list

FILM = Fraction(24_000, 1001)
NTSC = Fraction(30_000, 1001)


@dataclass(frozen=True, kw_only=True)
class Listed:
    id: int = 17
    sequence: int = 3
    start_frame: int
    end_frame: int
    start_time_seconds: float
    end_time_seconds: float
    state: ClipState = ClipState.EXPORTED
    confidence: float | None = 0.75
    grouped_with_clip_id: int | None = None
    clip_filepath: str | None = "final_clips/video_7_clip_003.mp4"
    transition: Transition | None = None


def listed(start: int, end: int, rate: Fraction = FILM, **other: object) -> Listed:
    return Listed(start_frame=start, end_frame=end, start_time_seconds=float(start / rate), end_time_seconds=float(end / rate), **other)  # type: ignore[arg-type]


SOURCE = CutListSource(
    id=7,
    title="Märchen & <script>\n二",
    media=CutListMedia(name="video_7_proxy.mp4", path="/media/video_7_proxy.mp4", length_frames=5000, audio_channels=2),
    frame_rate=FILM,
    width=1280,
    height=720,
)
CLIPS = [listed(0, 36), listed(36, 2000, id=18, sequence=12, confidence=None), listed(2000, 5000, id=19, sequence=1234, clip_filepath=None)]


@given(st.integers(0, 10_000_000), st.integers(1, 100_000), st.sampled_from([FILM, NTSC, Fraction(25), Fraction(60), Fraction("12.5")]))
def test_at_a_constant_rate_the_timeline_frames_are_the_clips_frames(start: int, length: int, rate: Fraction) -> None:
    place = timeline_range(listed(start, start + length, rate), rate)
    assert (place.start, place.end) == (start, start + length)


def test_at_a_variable_rate_the_times_decide() -> None:
    clip = Listed(start_frame=10, end_frame=11, start_time_seconds=2.0, end_time_seconds=2.5)
    place = timeline_range(clip, Fraction(24))
    assert (place.start, place.end) == (48, 60)
    assert timeline_range(replace(clip, end_time_seconds=2.001), Fraction(24)).length == 1, "never empty"


def test_csv_has_a_row_per_clip() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_cut_list(SOURCE, CLIPS))))
    assert tuple(rows[0]) == CSV_COLUMNS, "each column is there once"
    assert [(row["name"], row["start_frame"], row["end_frame"], row["frame_count"]) for row in rows] == [
        ("video_7_clip_003", "0", "36", "36"),
        ("video_7_clip_012", "36", "2000", "1964"),
        ("video_7_clip_1234", "2000", "5000", "3000"),
    ]
    assert (rows[0]["start_timecode"], rows[0]["end_timecode"], rows[0]["state"]) == ("00:00:00:00", "00:00:01:12", "exported")
    assert float(rows[1]["start_time_seconds"]) == CLIPS[1].start_time_seconds
    assert (rows[1]["confidence"], rows[2]["clip_filepath"]) == ("", "")


def test_csv_has_timecode_and_reel_of_the_file_in_the_row() -> None:
    """An original at 10:00:00:00 that counts 25 for its 50 frames a second, and a clip's file that has other ones."""
    facts = SourceFacts(reel="A001", start_timecode="10:00:00:00", timecode_rate="25", camera="Arri")
    whole = replace(SOURCE.media, first_frame=36_000 * 50, reel="A001")
    own = CutListMedia(name="c.mp4", path="c.mp4", length_frames=36, first_frame=50, reel="C1")
    source = replace(SOURCE, media=whole, frame_rate=Fraction(50), facts=facts, clip_media={17: own})
    clips = [listed(0, 36, Fraction(50)), listed(36, 2000, Fraction(50), id=18)]
    head, *rows = csv.reader(io.StringIO(csv_cut_list(source, clips)))
    assert len(set(head)) == len(head)
    names = ("start_timecode", "end_timecode", "timecode_rate", "reel", "camera")
    assert [tuple(row[head.index(name)] for name in names) for row in rows] == [
        ("00:00:01:00", "00:00:01:36", "50", "C1", "Arri"),
        ("10:00:00:36", "10:00:40:00", "50", "A001", "Arri"),
    ]


def test_edl_says_states_in_the_words_of_the_pages() -> None:
    states = {ClipState.EMBEDDED: "searchable", ClipState.PENDING_REVIEW: "waiting", ClipState.REVIEW_SKIPPED: "skipped"}
    for state, words in states.items():
        assert f"* COMMENT: video_7_clip_003 frames 0..35 {words}\n" in edl_cut_list(SOURCE, [listed(0, 36, state=state)])


def test_edl_events_follow_one_another_on_the_record_side() -> None:
    text = edl_cut_list(SOURCE, [CLIPS[0], CLIPS[2]])
    assert text.splitlines() == [
        "TITLE: Marchen & <script> ?",
        "FCM: NON-DROP FRAME",
        "",
        "001  VIDEO_7_ AA/V  C        00:00:00:00 00:00:01:12 01:00:00:00 01:00:01:12",
        "* FROM CLIP NAME: video_7_proxy.mp4",
        "* SOURCE FILE: /media/video_7_proxy.mp4",
        "* COMMENT: video_7_clip_003 frames 0..35 exported",
        "* LOC: 01:00:00:00 GREEN   approved",
        "002  VIDEO_7_ AA/V  C        00:01:23:08 00:03:28:08 01:00:01:12 01:02:06:12",
        "* FROM CLIP NAME: video_7_proxy.mp4",
        "* SOURCE FILE: /media/video_7_proxy.mp4",
        "* COMMENT: video_7_clip_1234 frames 2000..4999 exported",
        "* LOC: 01:00:01:12 GREEN   approved",
    ]
    assert text.isascii()


def test_a_drop_frame_edl_starts_at_one_hour_too() -> None:
    silent = CutListMedia(name="a.mov", path="a.mov", length_frames=5000)
    text = edl_cut_list(replace(SOURCE, frame_rate=NTSC, media=silent, drop_frame=True), [listed(1800, 1801, NTSC)])
    assert "FCM: DROP FRAME" in text
    assert "001  A        V     C        00:01:00;02 00:01:00;03 01:00:00;00 01:00:00;01" in text


def test_an_edl_holds_999_events_and_says_so() -> None:
    clips = [listed(n, n + 1, id=n) for n in range(1000)]
    with pytest.raises(BadRequestError, match="at most 999 events, not 1,000 clips"):
        edl_cut_list(SOURCE, clips)
    parts = EDL.parts(clips)
    assert [len(part) for part in parts] == [999, 1]
    assert edl_cut_list(SOURCE, parts[0]).count("FROM CLIP NAME") == 999
    assert EDL.file_names("cuts", 2) == ["cuts_1.edl", "cuts_2.edl"]
    assert EDL.file_names("cuts", len(EDL.parts(clips[:999]))) == ["cuts.edl"]


def test_fcpxml_counts_in_whole_frames_of_its_rate() -> None:
    root = ET.fromstring(fcpxml_cut_list(SOURCE, CLIPS))
    frame = Fraction(1001, 24_000)
    assert root.find("resources/format").attrib["frameDuration"] == "1001/24000s"  # type: ignore[union-attr]
    clips = root.findall("library/event/project/sequence/spine/asset-clip")
    times = [tuple(Fraction(clip.attrib[name].rstrip("s")) / frame for name in ("offset", "start", "duration")) for clip in clips]
    assert times == [(86_400, 0, 36), (86_436, 36, 1964), (88_400, 2000, 3000)], "the timeline begins at 01:00:00:00"
    assert [clip.find("keyword").attrib["value"] for clip in clips] == ["approved"] * 3  # type: ignore[union-attr]
    assert {clip.attrib["name"] for clip in clips} == {"video_7_proxy.mp4"}, "Resolve finds a file by the clip's name"


def test_fcpxml_keeps_a_title_a_text() -> None:
    text = fcpxml_cut_list(replace(SOURCE, title="<script>\x00\x0b&\ud800"), CLIPS)
    assert ET.fromstring(text).find("library/event").attrib["name"] == "<script>&"  # type: ignore[union-attr]
    assert "<script>" not in text


def test_no_clip_reaches_past_its_file() -> None:
    short = replace(SOURCE, media=replace(SOURCE.media, length_frames=4999))
    root = ET.fromstring(fcpxml_cut_list(short, CLIPS))
    frame = Fraction(1001, 24_000)
    assert Fraction(root.find("resources/asset").attrib["duration"].rstrip("s")) / frame == 4999  # type: ignore[union-attr]
    last = root.findall("library/event/project/sequence/spine/asset-clip")[-1].attrib
    assert (Fraction(last["start"].rstrip("s")) + Fraction(last["duration"].rstrip("s"))) / frame == 4999
    with pytest.raises(BadRequestError, match=r"clip 1234 of source video 7 lies outside video_7_proxy\.mp4"):
        events(replace(SOURCE, media=replace(SOURCE.media, length_frames=2000)), CLIPS)


def test_a_source_without_a_frame_rate_has_no_cut_list() -> None:
    with pytest.raises(BadRequestError, match="frame rate above 0"):
        replace(SOURCE, frame_rate=Fraction(0))


@pytest.mark.parametrize("write", [csv_cut_list, edl_cut_list, fcpxml_cut_list])
def test_a_cut_list_without_clips_is_still_one(write: Callable[[CutListSource, Sequence[Listed]], str]) -> None:
    assert write(SOURCE, [])


def test_silent_media_is_not_said_to_have_sound() -> None:
    silent = replace(SOURCE, media=replace(SOURCE.media, audio_channels=0))
    assert "hasAudio" not in fcpxml_cut_list(silent, CLIPS)
    assert "audioLayout" not in fcpxml_cut_list(silent, CLIPS)


def test_facts_go_along_as_each_format_allows() -> None:
    facts = SourceFacts(
        licence='CC "BY"', rights="=HYPERLINK(1)", uploader="Märchen", tags=("a", "b"), chapters=(Chapter("The <sea>", 0.0, 2.0),)
    )
    lines = (Line(0.5, 1.0, "=1+1"), Line(1.0, 3.0, "over <the> cut"))
    source = replace(SOURCE, facts=facts, lines=lines)
    rows = list(csv.DictReader(io.StringIO(csv_cut_list(source, CLIPS))))
    assert [row["chapter"] for row in rows] == ["The <sea>", "The <sea>", ""]
    assert [row["subtitles"] for row in rows] == ["'=1+1 over <the> cut", "over <the> cut", ""]
    assert {(row["licence"], row["rights"], row["tags"], row["place"]) for row in rows} == {('CC "BY"', "'=HYPERLINK(1)", "a, b", "")}
    lines_of = edl_cut_list(source, CLIPS).splitlines()
    rights, licence, uploader, tags = lines_of[8:12]
    assert (rights, licence) == ("* COMMENT: RIGHTS: =HYPERLINK(1)", '* COMMENT: LICENCE: CC "BY"')
    assert (uploader, tags) == ("* COMMENT: UPLOADER: Marchen", "* COMMENT: TAGS: a, b")
    assert lines_of[12].startswith("002  VIDEO_7_")
    root = ET.fromstring(fcpxml_cut_list(source, CLIPS))
    known = {one.attrib["key"]: one.attrib["value"] for one in root.findall("resources/asset/metadata/md")}
    assert known == {"heaters.licence": 'CC "BY"', "heaters.rights": "=HYPERLINK(1)", "heaters.uploader": "Märchen", "heaters.tags": "a, b"}
    clips = root.findall("library/event/project/sequence/spine/asset-clip")
    assert [one.attrib["value"] for one in clips[0].findall("keyword")] == ["approved", "a", "b"]
    notes = [one.text for one in root.findall("library/event/project/sequence/spine/asset-clip/note")]
    assert [str(note).partition(", chapter ")[2] for note in notes] == [
        "The <sea>: =1+1 over <the> cut", "The <sea>: over <the> cut", ""
    ]  # fmt: skip


def test_handles_end_where_the_file_ends() -> None:
    found = events(replace(SOURCE, handles=24), [CLIPS[0], CLIPS[2]])
    assert [(event.start, event.end, event.head, event.tail, event.record) for event in found] == [
        (0, 60, 0, 24, 0),
        (1976, 5000, 24, 0, 60),
    ]


def test_kept_gaps_leave_each_clip_where_it_lies() -> None:
    clips = [listed(100, 200), listed(200, 300, id=18), listed(310, 400, id=19)]
    found = events(replace(SOURCE, gaps=Gaps.KEEP, handles=24), clips)
    assert [(event.record, event.start, event.end) for event in found] == [(76, 76, 200), (200, 200, 310), (310, 310, 424)]
    spine = ET.fromstring(fcpxml_cut_list(replace(SOURCE, gaps=Gaps.KEEP), clips)).find("library/event/project/sequence/spine")
    assert spine is not None
    assert [one.tag for one in spine] == ["gap", "asset-clip", "asset-clip", "gap", "asset-clip"]


@pytest.mark.parametrize(
    ("root", "path", "address"),
    [
        ("/Volumes/Foot age/", "/Volumes/Foot age/a&b.mov", "file:///Volumes/Foot%20age/a%26b.mov"),
        ("D:\\Footage", "D:\\Footage\\a&b.mov", "file:///D:/Footage/a%26b.mov"),
        ("d:/footage", "d:/footage\\a&b.mov", "file:///d:/footage/a%26b.mov"),
        ("\\\\nas\\foot", "\\\\nas\\foot\\a&b.mov", "file://nas/foot/a%26b.mov"),
        ("file:///Volumes/Foot%20age", "/Volumes/Foot age/a&b.mov", "file:///Volumes/Foot%20age/a%26b.mov"),
        ("file:///D:/Footage", "D:/Footage\\a&b.mov", "file:///D:/Footage/a%26b.mov"),
        ("file://nas/foot", "\\\\nas\\foot\\a&b.mov", "file://nas/foot/a%26b.mov"),
        (None, "a&b.mov", "./a%26b.mov"),
    ],
)
def test_paths_are_those_of_the_editors_machine(root: str | None, path: str, address: str) -> None:
    assert path_under(root, "a&b.mov") == path
    assert file_address(path) == address


@pytest.mark.parametrize("root", ["https://cdn.example/x?signature=1", "footage", "s3://bucket", ""])
def test_a_root_that_is_no_folder_of_a_machine_is_refused(root: str) -> None:
    with pytest.raises(BadRequestError, match="is no folder as an editing program's machine sees it"):
        path_under(root, "a.mov")


def test_a_reel_has_eight_characters_and_is_there_once() -> None:
    def media(name: str, reel: str | None = None) -> CutListMedia:
        return CutListMedia(name=name, path=f"/x/{name}", length_frames=1, reel=reel)

    found = reels_of(
        [
            *(media(name) for name in ("A001C003_261127_R1.mov", "A001C003_261127_R2.mov", "ax.mov", "\u6d77.mov")),
            media("b", "Tape 7"),
            media("c", "Tape 7"),
            media("Tape7.mov"),
        ]
    )
    assert list(found.values()) == ["A001C003", "A001C002", "AX2", "REEL", "TAPE7", "TAPE7", "TAPE72"]
    assert all(re.fullmatch("[A-Z0-9_]{1,8}", reel) for reel in found.values())


def test_a_thousand_files_with_one_beginning_have_reels_of_their_own() -> None:
    media = [CutListMedia(name=f"harbour clip {n:04d}.mp4", path=f"harbour clip {n:04d}.mp4", length_frames=1) for n in range(1200)]
    found = reels_of(media)
    assert len(set(found.values())) == 1200
    assert max(map(len, found.values())) == 8


@pytest.mark.parametrize("rate", EDITING_RATES)
def test_a_constant_rate_is_found_whatever_the_container_rounds_to(rate: Fraction) -> None:
    milliseconds = [(n, round(n * 1000 / rate) / 1000) for n in (0, 1, 77, 1234, 20_000)]
    average = Fraction(20_000) / Fraction(milliseconds[-1][1])
    assert constant_rate(average, milliseconds) == rate
    late = [(n, seconds + 2) for n, seconds in milliseconds]
    assert constant_rate(average, late) == rate, "also where the picture begins later than the sound"
    assert constant_rate(average, [*milliseconds, (20_001, milliseconds[-1][1] + float(3 / rate))]) is None


@pytest.mark.parametrize("rate", EDITING_RATES)
def test_a_picture_that_begins_half_a_frame_off_the_grid_keeps_its_frames(rate: Fraction) -> None:
    begin = float(Fraction(75, 2) / rate)
    edges = [(n, begin + float(n / rate)) for n in (0, 7, 16, 1235)]
    assert constant_rate(Fraction(1235) / Fraction(edges[-1][1] - begin), edges) == rate
    pts = np.array([round((begin + float(n / rate)) * 90_000) for n, _ in edges])
    assert [place_at(seconds, rate) - 38 for _, seconds in edges] == [n for n, _ in edges]
    if (45_000 / rate).denominator == 1:  # half a frame is a whole number of units
        assert list(frame_places(pts, Fraction(1, 90_000), rate)) == [n + 38 for n, _ in edges]


def test_a_short_file_has_the_rate_that_it_states() -> None:
    edges = [(n, round(n * 1001 / 30) / 1000) for n in (0, 30, 60)]
    assert constant_rate(Fraction(60) / Fraction(edges[-1][1]), edges, stated=NTSC) == NTSC


@pytest.mark.parametrize("every", [2, 3, 7, 11])
def test_a_film_without_every_nth_frame_is_not_steady_though_its_places_fit_the_average(every: int) -> None:
    shown = [n for n in range(25 * 77) if n % every != every // 2]
    pts, average = np.array(shown, dtype=np.int64) * 512, Fraction(25 * (every - 1), every)
    edges = [(n, one / 25) for n, one in enumerate(shown)]
    assert constant_rate(average, edges) == average
    assert is_steady(pts, Fraction(1, 12_800), average) is (every == 2), "of every second frame the rest has a constant rate"


def test_a_camera_whose_clock_trembles_is_steady() -> None:
    pts = np.array([round((n + (0.1, -0.1)[n % 2]) * 90_000 / 15) for n in range(300)], dtype=np.int64)
    assert is_steady(pts, Fraction(1, 90_000), Fraction(15))


@pytest.mark.parametrize(
    ("frames", "set_to", "rate"),
    [
        ([n for n in range(3000) if n % 7], Fraction(30), Fraction(30)),
        ([n for n in range(3000) if n % 100 < 30 or n % 4 == 0], NTSC, NTSC),
        ([n for n in range(6000) if n % 3], Fraction(60), Fraction(60)),
        ([n for n in range(2500) if n % 11 != 5], Fraction(25), Fraction(25)),
        # On no grid: 37 ms are less than a frame at 24 a second, yet round(seconds x 24000/1001) is 0, 1, 2, 3, 7.
        ([0, 37, 80, 118, 300], Fraction(1000), FILM),
        # At 24 a second two frames round to 2, at 25 also; at 30000/1001 they are 0, 1, 2, 3.
        ([0, 30, 63, 95], Fraction(1000), NTSC),
    ],
)
def test_a_variable_rate_gets_the_rate_that_loses_no_frame(frames: list[int], set_to: Fraction, rate: Fraction) -> None:
    pts = np.array([round(n * 1000 / set_to) for n in frames], dtype=np.int64)
    assert rate_without_loss(pts, Fraction(1, 1000)) == (rate, 0)
    places = frame_places(pts, Fraction(1, 1000), rate)
    assert len(set(places)) == len(frames)
    assert [round(Fraction(int(one), 1000) * rate) for one in pts] == list(places)


def test_a_rate_above_all_says_how_many_frames_are_lost() -> None:
    assert rate_without_loss(np.arange(10, dtype=np.int64), Fraction(1, 1000)) == (Fraction(120), 8)


def test_timecode_of_half_the_rate_begins_at_the_same_clock_time() -> None:
    time = SourceTime(36_000 * 25 + 7, Fraction(25))
    assert timecode(first_count(time, Fraction(50)), Fraction(50)) == "10:00:00:14"
    drop = SourceTime(1_078_920, NTSC, True)
    assert timecode(first_count(drop, Fraction(60_000, 1001)), Fraction(60_000, 1001), drop_frame=True) == "10:00:00;00"


def test_a_file_that_leaves_out_its_transitions_is_listed_as_it_is() -> None:
    own = CutListMedia(name="c.mp4", path="c.mp4", length_frames=20, begins_at=46, audio_channels=2)
    (event,) = events(replace(SOURCE, clip_media={17: own}, handles=5), [listed(36, 80)])
    assert (event.start, event.end, event.head, event.tail) == (0, 20, 0, 0)
