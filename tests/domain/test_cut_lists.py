import csv
import io
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain.cut_lists import CutListSource, timeline_range
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.source_facts import Chapter, SourceFacts
from heaters_dagster.domain.states import ClipState
from heaters_dagster.domain.subtitles import Line
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


def listed(start: int, end: int, rate: Fraction = FILM, **other: object) -> Listed:
    return Listed(start_frame=start, end_frame=end, start_time_seconds=float(start / rate), end_time_seconds=float(end / rate), **other)  # type: ignore[arg-type]


SOURCE = CutListSource(
    id=7,
    title="Märchen & <script>\n二",
    media_url="file:///media/video_7_proxy.mp4",
    frame_rate=FILM,
    duration_seconds=float(5000 / FILM),
    width=1280,
    height=720,
    has_audio=True,
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
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [(row["name"], row["start_frame"], row["end_frame"], row["frame_count"]) for row in rows] == [
        ("video_7_clip_003", "0", "36", "36"),
        ("video_7_clip_012", "36", "2000", "1964"),
        ("video_7_clip_1234", "2000", "5000", "3000"),
    ]
    assert (rows[0]["start_timecode"], rows[0]["end_timecode"], rows[0]["state"]) == ("00:00:00:00", "00:00:01:12", "exported")
    assert float(rows[1]["start_time_seconds"]) == CLIPS[1].start_time_seconds
    assert (rows[1]["confidence"], rows[2]["clip_filepath"]) == ("", "")


def test_edl_events_follow_one_another_on_the_record_side() -> None:
    text = edl_cut_list(SOURCE, [CLIPS[0], CLIPS[2]])
    assert text.splitlines() == [
        "TITLE: Marchen & <script> ?",
        "FCM: NON-DROP FRAME",
        "",
        "001  AX       AA/V  C        00:00:00:00 00:00:01:12 01:00:00:00 01:00:01:12",
        "* FROM CLIP NAME: video_7_proxy.mp4",
        "* COMMENT: video_7_clip_003 frames 0..35 exported",
        "002  AX       AA/V  C        00:01:23:08 00:03:28:08 01:00:01:12 01:02:06:12",
        "* FROM CLIP NAME: video_7_proxy.mp4",
        "* COMMENT: video_7_clip_1234 frames 2000..4999 exported",
    ]
    assert text.isascii()


def test_a_drop_frame_edl_starts_at_one_hour_too() -> None:
    text = edl_cut_list(replace(SOURCE, frame_rate=NTSC, has_audio=False), [listed(1800, 1801, NTSC)], drop_frame=True)
    assert "FCM: DROP FRAME" in text
    assert "001  AX       V     C        00:01:00;02 00:01:00;03 01:00:00;00 01:00:00;01" in text


def test_an_edl_holds_999_events_and_says_so() -> None:
    clips = [listed(n, n + 1) for n in range(1000)]
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
    assert times == [(0, 0, 36), (36, 36, 1964), (2000, 2000, 3000)]
    assert [clip.find("keyword").attrib["value"] for clip in clips] == ["exported"] * 3  # type: ignore[union-attr]


def test_fcpxml_keeps_a_title_a_text() -> None:
    text = fcpxml_cut_list(replace(SOURCE, title="<script>\x00\x0b&\ud800"), CLIPS)
    assert ET.fromstring(text).find("library/event").attrib["name"] == "<script>&"  # type: ignore[union-attr]
    assert "<script>" not in text


def test_fcpxml_asset_is_at_least_as_long_as_what_is_taken_from_it() -> None:
    root = ET.fromstring(fcpxml_cut_list(replace(SOURCE, duration_seconds=1.0), CLIPS))
    assert Fraction(root.find("resources/asset").attrib["duration"].rstrip("s")) == 5000 / FILM  # type: ignore[union-attr]


def test_a_source_without_a_frame_rate_has_no_cut_list() -> None:
    with pytest.raises(BadRequestError, match="frame rate above 0"):
        replace(SOURCE, frame_rate=Fraction(0))


@pytest.mark.parametrize("write", [csv_cut_list, edl_cut_list, fcpxml_cut_list])
def test_a_cut_list_without_clips_is_still_one(write: Callable[[CutListSource, Sequence[Listed]], str]) -> None:
    assert write(SOURCE, [])


def test_silent_media_is_not_said_to_have_sound() -> None:
    assert "hasAudio" not in fcpxml_cut_list(replace(SOURCE, has_audio=False), CLIPS)


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
    events = edl_cut_list(source, CLIPS).splitlines()
    assert events[6:10] == ["* COMMENT: RIGHTS: =HYPERLINK(1)", '* COMMENT: LICENCE: CC "BY"', "* COMMENT: UPLOADER: Marchen", events[9]]
    assert events[9].startswith("002  AX")
    root = ET.fromstring(fcpxml_cut_list(source, CLIPS))
    known = {one.attrib["key"]: one.attrib["value"] for one in root.findall("resources/asset/metadata/md")}
    assert known == {"heaters.licence": 'CC "BY"', "heaters.rights": "=HYPERLINK(1)", "heaters.uploader": "Märchen", "heaters.tags": "a, b"}
    notes = [one.text for one in root.findall("library/event/project/sequence/spine/asset-clip/note")]
    assert [str(note).partition(", chapter ")[2] for note in notes] == [
        "The <sea>: =1+1 over <the> cut", "The <sea>: over <the> cut", ""
    ]  # fmt: skip
