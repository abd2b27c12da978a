"""Every format of cut lists, read by programs that Heaters did not write: adapters of OpenTimelineIO, and grammars of the XML formats."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
from lxml import etree

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cut_list_media import CutListMedia
from heaters_dagster.domain.cut_lists import CutListSource, FcpxmlVersion, Gaps, events
from heaters_dagster.domain.source_facts import Chapter, SourceFacts
from heaters_dagster.domain.states import ClipState
from heaters_dagster.domain.subtitles import Line
from heaters_dagster.domain.timecode import read_timecode
from heaters_dagster.registries import CUT_LIST_FORMATS

GRAMMARS = Path(__file__).parent / "grammars"
NTSC = [Fraction(n * 1000, 1001) for n in (24, 30, 60)]
RATES = [(Fraction(n), False) for n in (24, 25, 30, 50, 60)] + [(rate, False) for rate in NTSC] + [(rate, True) for rate in NTSC[1:]]
#: Frames over several minutes, so that drop-frame timecode leaves out numbers between them.
EDGES = (0, 36, 100, 1800, 3597, 3601, 20_000)
#: What people call files, and worse.
ODD = [
    'a "quoted" & <tagged> name.mov',
    "M\u00e4rchen \u4e8c \U0001f6a2.mov",
    "\u05e2\u05d1\u05e8\u05d9\u05ea \u202eRTL.mov",
    "two\nlines\tand a tab.mov",
    "back\\slash:colon;semi%20percent#hash?.mov",
    "'=1+1.mov",
    "no_ending",
]


@dataclass(frozen=True, kw_only=True)
class Listed:
    id: int
    sequence: int
    start_frame: int
    end_frame: int
    start_time_seconds: float
    end_time_seconds: float
    state: ClipState = ClipState.EXPORTED
    confidence: float | None = 0.75
    grouped_with_clip_id: int | None = None
    clip_filepath: str | None = None
    transition: Transition | None = None


def listed(edges: Sequence[int], rate: Fraction) -> list[Listed]:
    states = (ClipState.EXPORTED, ClipState.PENDING_REVIEW, ClipState.REVIEW_SKIPPED, ClipState.REVIEW_ARCHIVED)
    return [
        Listed(
            id=number,
            sequence=number,
            start_frame=start,
            end_frame=end,
            start_time_seconds=float(start / rate),
            end_time_seconds=float(end / rate),
            state=states[number % len(states)],
        )
        for number, (start, end) in enumerate(pairwise(edges), start=1)
    ]


def source_at(
    rate: Fraction, *, drop: bool = False, name: str = "harbour.mov", hour: int = 10, channels: int = 2, **more: Any
) -> CutListSource:
    begin = read_timecode(f"{hour:02d}:00:00:00", rate, drop_frame=drop).frame
    media = CutListMedia(
        name=name, path=f"/Volumes/Footage/{name}", length_frames=EDGES[-1], first_frame=begin, reel="A001", audio_channels=channels
    )
    told: dict[str, Any] = {"id": 7, "title": name, "media": media, "frame_rate": rate, "width": 1920, "height": 1080, "drop_frame": drop}
    return CutListSource(**told | more)


@dataclass(frozen=True)
class Read:
    """What another program understood of an event, in frames."""

    name: str
    start: int
    length: int
    record: int


def read_back(form: str, source: CutListSource, clips: Sequence[Listed]) -> list[Read]:
    text = CUT_LIST_FORMATS.load(form).write(source, clips)
    rate = float(source.frame_rate)
    if form == "ale":
        logged = otio.adapters.read_from_string(text, "ale")
        spans = [clip.source_range for clip in logged]
        return [
            Read(clip.name, span.start_time.to_frames(), span.duration.to_frames(), -1) for clip, span in zip(logged, spans, strict=True)
        ]
    if form == "edl":
        timeline = otio.adapters.read_from_string(text, "cmx_3600", rate=rate)
    elif form == "fcp7xml":
        timeline = otio.adapters.read_from_string(text, "fcp_xml")
    elif form == "fcpxml":
        timeline = otio.adapters.read_from_string(text, "fcpx_xml")[0]
    else:
        timeline = otio.adapters.read_from_string(text, "otio_json")
    (track,) = timeline.video_tracks()
    found = [(clip, track.range_of_child(clip).start_time.to_frames()) for clip in track.find_clips()]
    first = found[0][1] if found else 0
    return [
        Read(clip.name, clip.source_range.start_time.to_frames(), clip.source_range.duration.to_frames(), record - first)
        for clip, record in found
    ]


def expected(source: CutListSource, clips: Sequence[Listed], *, handles: int = 0, keep: bool = False) -> list[tuple[int, int, int]]:
    """(first frame by timecode, length, place after the first) of each clip, counted here and not by the code under test."""
    found, reached = [], 0
    for clip in clips:
        start, end = max(0, clip.start_frame - handles), min(EDGES[-1], clip.end_frame + handles)
        place = clip.start_frame - clips[0].start_frame if keep else reached
        found.append((source.media.first_frame + start, end - start, place))
        reached += end - start
    return found


@pytest.mark.parametrize("form", ["edl", "fcp7xml", "otio", "ale"])
@pytest.mark.parametrize(("rate", "drop"), RATES)
@pytest.mark.parametrize("handles", [0, 12])
def test_another_program_reads_the_same_frames(form: str, rate: Fraction, drop: bool, handles: int) -> None:
    source = source_at(rate, drop=drop, handles=handles)
    clips = listed(EDGES, rate)
    found = read_back(form, source, clips)
    begin = source.media.first_frame if form == "fcp7xml" and found[0].start == 0 else 0
    wanted = expected(source, clips, handles=handles)
    assert [(one.start + begin, one.length) for one in found] == [one[:2] for one in wanted]
    if form != "ale":
        assert [one.record for one in found] == [one[2] for one in wanted]
        assert {one.name for one in found} == {"harbour.mov"}


@pytest.mark.parametrize("form", ["edl", "fcp7xml", "otio"])
@pytest.mark.parametrize(("rate", "drop"), RATES[-3:])
def test_another_program_reads_the_gaps(form: str, rate: Fraction, drop: bool) -> None:
    source = source_at(rate, drop=drop, gaps=Gaps.KEEP)
    clips = listed(EDGES, rate)[1::2]
    found = read_back(form, source, clips)
    assert [one.record for one in found] == [one[2] for one in expected(source, clips, keep=True)]


@pytest.mark.parametrize(("rate", "drop"), RATES)
@pytest.mark.parametrize("handles", [0, 12])
def test_fcpxml_is_read_with_the_same_frames(rate: Fraction, drop: bool, handles: int) -> None:
    """What the list says exactly is read from its XML: the adapter rounds down to whole frames.

    It counts beginnings and lengths of clips at whole rates (29 for 30000/1001), but their places on the timeline at the rate itself.
    """
    source = source_at(rate, drop=drop, handles=handles)
    clips = listed(EDGES, rate)
    wanted = expected(source, clips, handles=handles)
    found = read_back("fcpxml", source, clips)
    whole = int(rate)
    for one, (start, length, record) in zip(found, wanted, strict=True):
        assert 0 <= start / rate * whole - one.start <= 1
        assert 0 <= length / rate * whole - one.length <= 1
        assert abs(record - one.record) <= 1
    root = etree.fromstring(CUT_LIST_FORMATS.load("fcpxml").write(source, clips).encode())

    def frames(text: str) -> Fraction:
        return Fraction(text.rstrip("s")) * rate

    (asset,) = root.findall("resources/asset")
    held = frames(asset.get("start")), frames(asset.get("start")) + frames(asset.get("duration"))
    assert held == (source.media.first_frame, source.media.first_frame + EDGES[-1])
    (sequence,) = root.findall("library/event/project/sequence")
    assert (sequence.get("tcFormat"), frames(sequence.get("tcStart"))) == ("DF" if drop else "NDF", source.timeline_start)
    spine = sequence.find("spine")
    told = [tuple(frames(clip.get(name)) for name in ("start", "duration", "offset")) for clip in spine]
    assert told == [(start, length, source.timeline_start + record) for start, length, record in wanted]
    assert all(held[0] <= start and start + length <= held[1] for start, length, _ in told)
    assert frames(sequence.get("duration")) == sum(length for _, length, _ in wanted)
    for clip, (start, length, _) in zip(spine, told, strict=True):
        assert all(start <= frames(one.get("start")) < start + length for one in clip if one.get("start"))


@pytest.mark.parametrize("form", ["fcpxml", "fcp7xml"])
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("channels", [0, 1, 2, 6])
def test_xml_keeps_to_its_grammar_whatever_a_name_has(form: str, name: str, channels: int) -> None:
    facts = SourceFacts(licence='CC "BY" <&>', rights=name, tags=("a", "b"), chapters=(Chapter(name, 0.0, 1.0),))
    more = {"facts": facts, "lines": (Line(0.0, 9.0, name),)}
    source = source_at(NTSC[1], drop=True, name=name, channels=channels, gaps=Gaps.KEEP, **more)
    text = CUT_LIST_FORMATS.load(form).write(source, listed(EDGES, NTSC[1])[::2])
    grammar = etree.DTD(str(GRAMMARS / ("fcpxml_1_8.dtd" if form == "fcpxml" else "xmeml_5.dtd")))
    root = etree.fromstring(text.encode())
    assert grammar.validate(root), grammar.error_log.filter_from_errors()
    named = root.findall(".//asset-clip") if form == "fcpxml" else root.findall(".//clipitem")
    names = {one.get("name") if form == "fcpxml" else one.findtext("name") for one in named}
    assert names == {name.replace("\n", " ").replace("\t", " ") if form == "fcpxml" else name} or names == {name}


@pytest.mark.parametrize("version", FcpxmlVersion)
def test_each_version_of_fcpxml_names_the_file_as_its_grammar_says(version: FcpxmlVersion) -> None:
    source = source_at(NTSC[0], facts=SourceFacts(rights="mine"), fcpxml_version=version)
    clips = listed(EDGES, NTSC[0])
    root = etree.fromstring(CUT_LIST_FORMATS.load("fcpxml").write(source, clips).encode())
    grammar = etree.DTD(str(GRAMMARS / ("fcpxml_1_8.dtd" if version == "1.8" else "fcpxml_1_9.dtd")))
    assert grammar.validate(root), grammar.error_log.filter_from_errors()
    address = "file:///Volumes/Footage/harbour.mov"
    named = (version, [address], []) if version == "1.8" else (version, [], [address])
    assert (root.get("version"), root.xpath("//asset/@src"), root.xpath("//asset/media-rep/@src")) == named


def test_the_oldest_version_of_fcpxml_is_the_one_in_which_older_readers_find_the_file() -> None:
    clips = listed(EDGES, Fraction(25))
    timeline = otio.adapters.read_from_string(CUT_LIST_FORMATS.load("fcpxml").write(source_at(Fraction(25)), clips), "fcpx_xml")[0]
    (track,) = timeline.video_tracks()
    assert {clip.media_reference.target_url for clip in track.find_clips()} == {"file:///Volumes/Footage/harbour.mov"}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("form", ["edl", "otio", "ale", "csv"])
def test_odd_names_come_through(form: str, name: str) -> None:
    source = source_at(Fraction(25), name=name)
    clips = listed(EDGES, Fraction(25))
    text = CUT_LIST_FORMATS.load(form).write(source, clips)
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert {row["media"] for row in rows} == {f"/Volumes/Footage/{name}"}
        return
    found = read_back(form, source, clips)
    assert len(found) == len(clips)
    if form != "ale":
        assert {one.name for one in found} == {name if form == "otio" else " ".join(name.split())}
    if form == "edl":
        events_of = [line for line in text.splitlines() if re.match(r"\d{3}  ", line)]
        assert all(line.isascii() for line in events_of)


@pytest.mark.parametrize("form", ["edl", "fcp7xml", "otio", "ale", "fcpxml"])
def test_1200_clips_are_all_read(form: str) -> None:
    rate = Fraction(25)
    clips = listed([*range(0, 12_000, 10), 12_000], rate)
    chosen = CUT_LIST_FORMATS.load(form)
    source = source_at(rate)
    parts = chosen.parts(clips)
    assert [len(part) for part in parts] == ([999, 201] if form == "edl" else [1200])
    found = [one for part in parts for one in read_back(form, source, part)]
    assert len(found) == 1200
    assert {one.length for one in found} == {10}


def test_each_exported_file_is_a_file_of_its_own() -> None:
    rate = NTSC[1]
    clips = listed(EDGES, rate)
    own = {
        clip.id: CutListMedia(
            name=f"harbour clip {clip.sequence:03d}.mp4",
            path=f"harbour clip {clip.sequence:03d}.mp4",
            length_frames=clip.end_frame - clip.start_frame,
            begins_at=clip.start_frame,
            audio_channels=2,
        )
        for clip in clips
    }
    source = replace(source_at(rate), clip_media=own, handles=24)
    assert [(event.start, event.length, event.head, event.tail) for event in events(source, clips)] == [
        (0, clip.end_frame - clip.start_frame, 0, 0) for clip in clips
    ], "a clip's own file has no handles"
    for form in ("edl", "otio"):
        assert [one.name for one in read_back(form, source, clips)] == [media.name for media in own.values()]
    root = etree.fromstring(CUT_LIST_FORMATS.load("fcpxml").write(source, clips).encode())
    assert [asset.get("src") for asset in root.findall("resources/asset")] == [
        f"./harbour%20clip%20{clip.sequence:03d}.mp4" for clip in clips
    ]
    xmeml = etree.fromstring(CUT_LIST_FORMATS.load("fcp7xml").write(source, clips).encode())
    assert [one.text for one in xmeml.findall(".//pathurl")] == [f"harbour%20clip%20{clip.sequence:03d}.mp4" for clip in clips]
    assert etree.DTD(str(GRAMMARS / "xmeml_5.dtd")).validate(xmeml)


def test_premiere_gets_the_addresses_that_it_writes() -> None:
    source = source_at(Fraction(25))
    windows = replace(source, media=replace(source.media, path="D:\\Footage\\a b.mov", name="a b.mov"))
    for one, address in ((source, "file://localhost/Volumes/Footage/harbour.mov"), (windows, "file://localhost/D%3a/Footage/a%20b.mov")):
        root = etree.fromstring(CUT_LIST_FORMATS.load("fcp7xml").write(one, listed(EDGES, Fraction(25))).encode())
        assert [place.text for place in root.findall(".//pathurl")] == [address]
        assert {(rate.findtext("timebase"), rate.findtext("ntsc")) for rate in root.iter("rate")} == {("25", "FALSE")}
        assert {reel.findtext("name") for reel in root.iter("reel")} == {"A001"}


def test_locators_of_an_edl_are_read_as_markers() -> None:
    source, clips = source_at(NTSC[1]), listed(EDGES, NTSC[1])
    timeline = otio.adapters.read_from_string(CUT_LIST_FORMATS.load("edl").write(source, clips), "cmx_3600", rate=30_000 / 1001)
    marks = [(clip.markers[0].name, clip.markers[0].color) for clip in timeline.video_tracks()[0].find_clips()]
    assert marks[:4] == [("pending", "YELLOW"), ("skipped", "RED"), ("archived", "RED"), ("approved", "GREEN")]
    assert timeline.video_tracks()[0][0].metadata["cmx_3600"]["reel"] == "A001"


def test_the_kind_of_a_cut_is_in_every_form() -> None:
    rate = Fraction(25)
    clips = listed(EDGES, rate)
    clips[0] = replace(clips[0], transition=Transition(CutKind.END))
    clips[1] = replace(clips[1], transition=Transition(CutKind.DISSOLVE, 30, 44))
    source = source_at(rate)
    texts = {form: CUT_LIST_FORMATS.load(form).write(source, clips) for form in CUT_LIST_FORMATS.built_in}
    assert all(text.count("dissolve") >= 1 and "end of the file" not in text for text in texts.values())
    (row,) = [row for row in csv.DictReader(io.StringIO(texts["csv"])) if row["cut_kind"] == "dissolve"]
    assert (row["cut_first_frame"], row["cut_last_frame"], row["start_frame"]) == ("30", "44", "36")
    root = etree.fromstring(texts["fcpxml"].encode())
    assert [[one.get("value") for one in clip.findall("keyword")] for clip in root.iter("asset-clip")][:2] == [
        ["pending"],
        ["skipped", "dissolve"],
    ]
    (clip, *_) = [clip for clip in otio.adapters.read_from_string(texts["otio"], "otio_json").find_clips() if clip.markers]
    assert clip.markers[0].name == "pending"
