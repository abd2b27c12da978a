"""Cut lists as FCPXML, for Final Cut Pro and DaVinci Resolve."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from fractions import Fraction
from urllib.parse import unquote
from xml.parsers import expat

from heaters_dagster.domain.cut_list_media import CutListMedia, xml_text
from heaters_dagster.domain.cut_list_reading import Counting, ReadCutList, ReadEdit, ReadFor, name_in
from heaters_dagster.domain.cut_lists import (
    CutListClip,
    CutListEvent,
    CutListFormat,
    CutListSource,
    Verdict,
    clip_name,
    events,
    labels,
    verdict,
)
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.fact_fields import FIELD_OF, chapter_at, delivered
from heaters_dagster.domain.words import counted

_RATINGS = {Verdict.APPROVED: "favorite", Verdict.SKIPPED: "reject", Verdict.ARCHIVED: "reject"}


def fcpxml_cut_list(source: CutListSource, clips: Sequence[CutListClip]) -> str:
    """An FCPXML project that plays `clips`.

    Each has its verdict, the kind of its cut and the tags of its source video as keywords, a rating, a marker, and what is known of it as a
    note.

    All times are whole frames of the rate, and no clip reaches past its asset: Final Cut refuses others.
    """
    rate = source.frame_rate
    placed = events(source, clips)
    total = placed[-1].record_end if placed else 0
    counting = "DF" if source.drop_frame else "NDF"
    title = xml_text(source.title)

    root = ET.Element("fcpxml", version=source.fcpxml_version)
    resources = ET.SubElement(root, "resources")
    ET.SubElement(resources, "format", id="r1", frameDuration=_seconds(1, rate), width=str(source.width), height=str(source.height))
    assets: dict[str, str] = {}
    for media in dict.fromkeys([event.media for event in placed] or [source.media]):
        assets[media.path] = f"r{len(assets) + 2}"
        _asset(resources, assets[media.path], media, source)
    event_element = ET.SubElement(ET.SubElement(root, "library"), "event", name=title)
    project = ET.SubElement(event_element, "project", name=title)
    start = _seconds(source.timeline_start, rate)
    sound = {"audioLayout": "stereo", "audioRate": "48k"} if any(event.media.audio_channels for event in placed) else {}
    times = {"format": "r1", "duration": _seconds(total, rate), "tcStart": start, "tcFormat": counting}
    spine = ET.SubElement(ET.SubElement(project, "sequence", times | sound), "spine")
    reached = 0
    for event in placed:
        if event.record > reached:
            gap = {"name": "Gap", "offset": _seconds(source.timeline_start + reached, rate), "start": start}
            ET.SubElement(spine, "gap", gap | {"duration": _seconds(event.record - reached, rate)})
        _clip(spine, event, assets[event.media.path], source, counting)
        reached = event.record_end
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{ET.tostring(root, encoding="unicode")}\n'


def _asset(resources: ET.Element, number: str, media: CutListMedia, source: CutListSource) -> None:
    told = {
        "id": number,
        "name": xml_text(media.name),
        "start": _seconds(media.first_frame, source.frame_rate),
        "duration": _seconds(media.length_frames, source.frame_rate),
        "hasVideo": "1",
        "format": "r1",
    }
    told |= {"videoSources": "1"} if source.fcpxml_version.has_media_rep else {"src": media.address}
    if media.audio_channels:
        told |= {"hasAudio": "1", "audioSources": "1", "audioChannels": str(media.audio_channels), "audioRate": str(media.audio_rate)}
    asset = ET.SubElement(resources, "asset", told)
    if source.fcpxml_version.has_media_rep:
        ET.SubElement(asset, "media-rep", kind="original-media", src=media.address)
    known = [(f"heaters.{name}", FIELD_OF[name].label, text) for name, text in delivered(source.facts).items()]
    reel = [("com.apple.proapps.studio.reel", "Reel", media.reel)] if media.reel else []
    if known or reel:
        metadata = ET.SubElement(asset, "metadata")
        for key, label, text in (*reel, *known):
            ET.SubElement(metadata, "md", {"key": key, "value": xml_text(text), "displayName": label})


def _clip(spine: ET.Element, event: CutListEvent, asset: str, source: CutListSource, counting: str) -> None:
    rate, clip = source.frame_rate, event.clip
    start, length = _seconds(event.source_start, rate), _seconds(event.length, rate)
    # Resolve finds a file by the clip's name, so that is the file's, with its ending; the marker has the clip's own.
    named = {"ref": asset, "name": xml_text(event.media.name), "offset": _seconds(source.timeline_start + event.record, rate)}
    element = ET.SubElement(spine, "asset-clip", named | {"start": start, "duration": length, "tcFormat": counting})
    ET.SubElement(element, "note").text = _note(source, event)
    said = verdict(clip)
    inside = _seconds(event.source_start + event.head, rate)
    ET.SubElement(element, "marker", start=inside, duration=_seconds(1, rate), value=f"{clip_name(source, clip)} {', '.join(labels(clip))}")
    for label in (*labels(clip), *map(xml_text, source.facts.tags)):
        ET.SubElement(element, "keyword", start=start, duration=length, value=label)
    if said in _RATINGS:
        ET.SubElement(element, "rating", start=start, duration=length, value=_RATINGS[said])


def _note(source: CutListSource, event: CutListEvent) -> str:
    clip = event.clip
    sure = "" if clip.confidence is None else f", confidence {clip.confidence:.2f}"
    chapter = chapter_at(source.facts.chapters, clip.start_time_seconds)
    named = f", chapter {chapter}" if chapter else ""
    subtitles = source.said_in(clip)
    said = f": {subtitles}" if subtitles else ""
    return xml_text(f"clip {clip.sequence}, frames {clip.start_frame}..{clip.end_frame - 1}{sure}{named}{said}")


def _seconds(frames: int, rate: Fraction) -> str:
    """FCPXML's rational time. The denominator stays that of the rate, because the format requires multiples of its frameDuration."""
    if frames == 0:
        return "0s"
    numerator, denominator = frames * rate.denominator, rate.numerator
    return f"{numerator // denominator}s" if numerator % denominator == 0 else f"{numerator}/{denominator}s"


#: Attribute under which an element keeps the line on which it begins.
_LINE = " line"
#: Clips that are made of others: they have no range of a file of their own.
_COMPOUND = ("ref-clip", "sync-clip", "mc-clip", "audition")


def read_fcpxml(text: str, video: ReadFor) -> ReadCutList:
    """The clips of an FCPXML of any version, by their places in their files."""
    root = _parsed(text)
    if root.tag != "fcpxml":
        raise BadRequestError(f"the file is XML, but no FCPXML: it begins with <{root.tag}>")
    assets = {one.get("id", ""): one for one in root.iter("asset")}
    edits, retimed = [], 0
    for clip in root.iter():
        if clip.tag not in ("asset-clip", "clip") or clip.get("srcEnable") == "audio":
            continue
        inner = clip.find("video") if clip.tag == "clip" else None
        asset = assets.get((clip if inner is None else inner).get("ref", ""))
        if asset is None or asset.get("hasVideo") == "0":
            continue
        begin = _time(asset, "start", Fraction(0))
        start = _time(clip, "start", begin if inner is None else Fraction(0))
        if inner is not None:  # its clip counts as a timeline of its own, on which the file lies at `offset`
            start += _time(inner, "start", begin) - _time(inner, "offset", Fraction(0))
        length = _time(clip, "duration", _time(asset, "duration", Fraction(0)))
        retimed += clip.find("timeMap") is not None
        address = asset.get("src") or next((one.get("src", "") for one in asset.iter("media-rep")), "")
        names = (name_in(unquote(address)), asset.get("name", ""), clip.get("name", ""))
        where = f"line {clip.get(_LINE)}"
        edits.append(ReadEdit(where=where, start=start - begin, end=start - begin + length, media=tuple(filter(None, names))))
    compound = sum(1 for one in root.iter() if one.tag in _COMPOUND)
    notes = []
    if compound:
        notes.append(f"{counted(compound, 'compound clip')} {'is' if compound == 1 else 'are'} left out.")
    if retimed:
        told = "plays" if retimed == 1 else "play"
        notes.append(f"{counted(retimed, 'clip')} {told} at another speed: the beginning and the length on the timeline are taken.")
    return ReadCutList(counting=Counting.SECONDS, edits=tuple(edits), notes=tuple(notes))


def _parsed(text: str) -> ET.Element:
    """The document, each element with its line. Entities are refused: a list needs none, and a stranger's may grow without end."""
    builder, parser = ET.TreeBuilder(), expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(tag, attributes | {_LINE: str(parser.CurrentLineNumber)})

    def entity(*declared: object) -> None:
        raise BadRequestError(f"line {parser.CurrentLineNumber}: a cut list may not declare entities")

    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = entity
    try:
        # The text is decoded already: what its first line says of an encoding is not looked at.
        parser.Parse(_without_encoding(text).encode(), True)
    except expat.ExpatError as error:
        raise BadRequestError(f"line {error.lineno}: the file is no XML: {expat.ErrorString(error.code)}") from error
    return builder.close()


def _without_encoding(text: str) -> str:
    head, mark, rest = text.partition("?>")
    return f'<?xml version="1.0"{mark}{rest}' if mark and head.lstrip().startswith("<?xml") else text


def _time(element: ET.Element, name: str, otherwise: Fraction) -> Fraction:
    """FCPXML's time in seconds: `1001/30000s`, `5s`, `0.5s`."""
    text = element.get(name)
    if text is None:
        return otherwise
    try:
        return Fraction(text.strip().removesuffix("s").replace(" ", ""))
    except (ValueError, ZeroDivisionError):
        raise BadRequestError(f"line {element.get(_LINE)}: {name}={text!r} is no time, as 1001/30000s") from None


CUT_LIST_FORMAT = CutListFormat(name="fcpxml", title="FCPXML", suffix=".fcpxml", write=fcpxml_cut_list, in_zip=True, read=read_fcpxml)
