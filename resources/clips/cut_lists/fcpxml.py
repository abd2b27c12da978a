"""Cut lists as FCPXML, for Final Cut Pro and DaVinci Resolve."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from fractions import Fraction
from urllib.parse import unquote
from xml.parsers import expat

from heaters_dagster.domain.cut_list_media import CutListMedia, xml_text
from heaters_dagster.domain.cut_list_reading import Counting, ReadCutList, ReadEdit, ReadFor, name_in, notes_on_clips, number_of
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
#: Elements that have a place on the timeline in which they lie, and a time of their own inside.
_PLACED = ("asset-clip", "clip", "video", "ref-clip", "sync-clip", "mc-clip", "gap")
#: Clips that hold each other several times would never come to an end.
_DEEPEST, _MOST_COMPOUND, _MOST_CLIPS = 100, 10_000, 1_000_000

#: What is seen of a timeline: from, to; None: all of it.
_Span = tuple[Fraction, Fraction] | None


def read_fcpxml(text: str, video: ReadFor) -> ReadCutList:
    """The clips of an FCPXML of any version, by their places in their files.

    Of compound, synchronised and multicam clips it is what they show.
    """
    root = _parsed(text)
    if root.tag != "fcpxml":
        raise BadRequestError(f"the file is XML, but no FCPXML: it begins with <{root.tag}>")
    reader = _Reader(root)
    reader.inside(root, None, 0)
    by_pyscenedetect = all(edit.media[-1:] == (f"Shot {number}",) for number, edit in enumerate(reader.edits, start=1))
    return ReadCutList(counting=Counting.SECONDS, edits=tuple(reader.edits), notes=tuple(reader.notes()), ends_as_stated=by_pyscenedetect)


class _Reader:
    def __init__(self, root: ET.Element) -> None:
        self._assets = {one.get("id", ""): one for one in root.iter("asset")}
        self._compound = {one.get("id", ""): one for one in root.iter("media")}
        self.edits: list[ReadEdit] = []
        self._clips = self._opened = self._retimed = self._conformed = self._disabled = self._lost = 0

    def notes(self) -> Iterator[str]:
        """What was left out or is uncertain, a sentence each."""
        if self._lost:
            lost = counted(self._lost, "compound clip is", "compound clips are")
            yield f"{lost} left out, because the file does not have what is inside."
        yield from notes_on_clips(disabled=self._disabled, retimed=self._retimed)
        if self._conformed:
            conformed = counted(self._conformed, "clip is", "clips are")
            yield f"{conformed} conformed to another rate: look at these cuts, they may lie beside their frames."

    def inside(self, parent: ET.Element, seen: _Span, depth: int) -> None:
        """Read what lies in an element. seen: of the timeline on which its children lie."""
        if depth > _DEEPEST:
            raise BadRequestError(f"line {parent.get(_LINE)}: clips lie in clips more than {_DEEPEST} deep")
        for child in list(parent)[:1] if parent.tag == "audition" else parent:  # the first one is the one that is shown
            if child.tag in _PLACED:
                self._clip(child, seen, depth)
            elif child.tag == "spine" and child.get("lane"):  # a storyline that hangs on a clip counts from its own beginning
                self.inside(child, _moved(seen, -_time(child, "offset", Fraction(0))), depth + 1)
            elif child.tag != "resources":
                self.inside(child, seen, depth + 1)

    def _clip(self, clip: ET.Element, seen: _Span, depth: int) -> None:
        self._clips += 1
        if self._clips > _MOST_CLIPS or self._opened > _MOST_COMPOUND:
            raise BadRequestError(f"the list has more than {_MOST_CLIPS:,} clips, or more than {_MOST_COMPOUND:,} compound ones")
        is_enabled = clip.get("enabled") != "0"
        self._disabled += not is_enabled
        asset = self._assets.get(clip.get("ref", "")) if clip.tag in ("asset-clip", "video") else None
        content = self._content(clip)
        begin = _time(asset, "start", Fraction(0)) if asset is not None else Fraction(0)
        first = begin if content is None else _time(content, "tcStart", Fraction(0))
        start = _time(clip, "start", first)
        length = _time(clip, "duration", _time(asset, "duration", Fraction(0)) if asset is not None else Fraction(0))
        own = _moved(seen, start - _time(clip, "offset", Fraction(0)))
        shown = (start, start + length) if own is None else (max(start, own[0]), min(start + length, own[1]))
        has_picture = is_enabled and clip.get("srcEnable") != "audio" and shown[0] < shown[1]
        self._retimed += clip.find("timeMap") is not None
        conform = clip.find("conform-rate")
        self._conformed += conform is not None and conform.get("scaleEnabled") != "0"
        if asset is not None and has_picture and _is_picture(asset):
            self._edit(clip, asset, (shown[0] - begin, shown[1] - begin))
        if content is not None and has_picture:
            self._opened += 1
            self.inside(content, shown, depth + 1)
        self._lost += content is None and clip.tag in ("ref-clip", "mc-clip")
        made_of = clip.tag in ("clip", "sync-clip")
        for child in clip:
            if child.tag in _PLACED or child.tag in ("spine", "audition"):
                # What hangs on a clip may be longer than it; what the clip is made of is seen as far as the clip is.
                inner = shown if made_of and not child.get("lane") else own
                if not made_of or child.get("lane") or has_picture:
                    self.inside(_alone(child), inner, depth + 1)

    def _content(self, clip: ET.Element) -> ET.Element | None:
        """What a compound or multicam clip shows: a sequence, or the angle of its picture."""
        media = self._compound.get(clip.get("ref", ""))
        if media is None or clip.tag not in ("ref-clip", "mc-clip"):
            return None
        if clip.tag == "ref-clip":
            return media.find("sequence")
        chosen = {one.get("angleID") for one in clip.iter("mc-source") if one.get("srcEnable") in (None, "all", "video")}
        return next((angle for angle in media.iter("mc-angle") if angle.get("angleID") in chosen), None)

    def _edit(self, clip: ET.Element, asset: ET.Element, span: tuple[Fraction, Fraction]) -> None:
        address = asset.get("src") or next((one.get("src", "") for one in asset.iter("media-rep")), "")
        names = (name_in(unquote(address)), asset.get("name", ""), clip.get("name", ""))
        self.edits.append(ReadEdit(where=f"line {clip.get(_LINE)}", start=span[0], end=span[1], media=tuple(filter(None, names))))


def _alone(element: ET.Element) -> ET.Element:
    """A parent of this element alone."""
    parent = ET.Element("only", {_LINE: element.get(_LINE, "")})
    parent.append(element)
    return parent


def _moved(span: _Span, by: Fraction) -> _Span:
    return None if span is None else (span[0] + by, span[1] + by)


def _is_picture(asset: ET.Element) -> bool:
    """Final Cut says of a sound alone only that it has sound."""
    told = asset.get("hasVideo")
    return told != "0" and not (told is None and asset.get("hasAudio") == "1")


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
        return number_of(text.strip().removesuffix("s").replace(" ", ""))
    except ValueError:
        raise BadRequestError(f"line {element.get(_LINE)}: {name}={text!r} is no time, as 1001/30000s") from None


CUT_LIST_FORMAT = CutListFormat(
    name="fcpxml",
    title="FCPXML, for Final Cut Pro and Resolve",
    suffix=".fcpxml",
    write=fcpxml_cut_list,
    in_zip=True,
    read=read_fcpxml,
)
