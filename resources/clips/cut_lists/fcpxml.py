"""Cut lists as FCPXML, for Final Cut Pro and DaVinci Resolve."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from fractions import Fraction

from heaters_dagster.domain.cut_lists import CutListClip, CutListFormat, CutListSource, clip_name, timeline_range, timeline_rate
from heaters_dagster.domain.fact_fields import FIELD_OF, chapter_at, delivered


def fcpxml_cut_list(source: CutListSource, clips: Sequence[CutListClip]) -> str:
    """An FCPXML 1.10 project that plays `clips` one after another; each is marked with its state and the confidence of its cuts."""
    rate = timeline_rate(source.frame_rate)
    title = _xml_text(source.title)
    places = [timeline_range(clip, rate) for clip in clips]
    total = sum(place.length for place in places)
    held = max([round(Fraction(source.duration_seconds) * rate), *(place.end for place in places)])

    root = ET.Element("fcpxml", version="1.10")
    resources = ET.SubElement(root, "resources")
    ET.SubElement(resources, "format", id="r1", frameDuration=_seconds(1, rate), width=str(source.width), height=str(source.height))
    media = {
        "id": "r2",
        "name": _xml_text(source.media_name),
        "start": "0s",
        "duration": _seconds(held, rate),
        "hasVideo": "1",
        "format": "r1",
    }
    sound = {"hasAudio": "1", "audioSources": "1", "audioChannels": "2"} if source.has_audio else {}
    asset = ET.SubElement(resources, "asset", {**media, **sound})
    ET.SubElement(asset, "media-rep", kind="original-media", src=_xml_text(source.media_url))
    if known := delivered(source.facts):
        metadata = ET.SubElement(asset, "metadata")
        for name, text in known.items():
            told = {"key": f"heaters.{name}", "value": _xml_text(text), "displayName": FIELD_OF[name].label}
            ET.SubElement(metadata, "md", told)
    event = ET.SubElement(ET.SubElement(root, "library"), "event", name=title)
    project = ET.SubElement(event, "project", name=title)
    sequence = ET.SubElement(project, "sequence", format="r1", duration=_seconds(total, rate), tcStart="0s", tcFormat="NDF")
    spine = ET.SubElement(sequence, "spine")
    offset = 0
    for clip, place in zip(clips, places, strict=True):
        start, length = _seconds(place.start, rate), _seconds(place.length, rate)
        times = {"offset": _seconds(offset, rate), "start": start, "duration": length, "tcFormat": "NDF"}
        element = ET.SubElement(spine, "asset-clip", {"ref": "r2", "name": clip_name(source, clip), **times})
        sure = "" if clip.confidence is None else f", confidence {clip.confidence:.2f}"
        chapter = chapter_at(source.facts.chapters, clip.start_time_seconds)
        named = f", chapter {_xml_text(chapter)}" if chapter else ""
        subtitles = source.said_in(clip)
        said = f": {_xml_text(subtitles)}" if subtitles else ""
        ET.SubElement(element, "note").text = f"clip {clip.sequence}, frames {clip.start_frame}..{clip.end_frame - 1}{sure}{named}{said}"
        ET.SubElement(element, "keyword", start=start, duration=length, value=str(clip.state))
        offset += place.length
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{ET.tostring(root, encoding="unicode")}\n'


def _seconds(frames: int, rate: Fraction) -> str:
    """FCPXML's rational time. The denominator stays that of the rate, because the format requires multiples of its frameDuration."""
    if frames == 0:
        return "0s"
    numerator, denominator = frames * rate.denominator, rate.numerator
    return f"{numerator // denominator}s" if numerator % denominator == 0 else f"{numerator}/{denominator}s"


def _xml_text(text: str) -> str:
    """`text` without the characters that XML 1.0 cannot hold."""
    return "".join(
        letter
        for letter in text
        if letter in "\t\n\r" or "\x20" <= letter <= "\ud7ff" or "\ue000" <= letter <= "\ufffd" or letter >= "\U00010000"
    )


CUT_LIST_FORMAT = CutListFormat(name="fcpxml", title="FCPXML 1.10", suffix=".fcpxml", write=fcpxml_cut_list)
