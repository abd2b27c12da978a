"""Cut lists as Final Cut Pro 7 XML (xmeml), for Premiere Pro and DaVinci Resolve."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from fractions import Fraction

from heaters_dagster.domain.cut_list_media import CutListMedia, file_address, xml_text
from heaters_dagster.domain.cut_lists import CutListClip, CutListEvent, CutListFormat, CutListSource, clip_name, events, labels, verdict
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.fact_fields import delivered
from heaters_dagster.domain.timecode import nominal_rate

_BITS = 16


def fcp7xml_cut_list(source: CutListSource, clips: Sequence[CutListClip]) -> str:
    """An xmeml 5 sequence that plays `clips`, with a sound track for each channel of their files, linked to the picture.

    In and out are counted at the sequence's rate from the first frame of the file, because Premiere and Resolve read them so. Premiere and
    Resolve find a file by its path, else by the name of the clip, which is therefore the file's with its ending.
    Raises BadRequestError for rates that this format cannot write: it knows whole numbers and those times 1000/1001.
    """
    rate = _Rate(source)
    placed = events(source, clips)
    total = placed[-1].record_end if placed else 0
    root = ET.Element("xmeml", version="5")
    sequence = ET.SubElement(root, "sequence", id="sequence-1")
    _texts(sequence, name=xml_text(source.title), duration=total)
    rate.add(sequence)
    rate.timecode(sequence, source.timeline_start)
    media = ET.SubElement(sequence, "media")
    video = ET.SubElement(media, "video")
    picture = ET.SubElement(ET.SubElement(video, "format"), "samplecharacteristics")
    rate.add(picture)
    _picture(picture, source)
    channels = max((event.media.audio_channels for event in placed), default=0)
    tracks = [ET.SubElement(video, "track")]
    if channels:
        audio = ET.SubElement(media, "audio")
        _texts(audio, numOutputChannels=channels)
        form = ET.SubElement(ET.SubElement(audio, "format"), "samplecharacteristics")
        _texts(form, depth=_BITS, samplerate=placed[0].media.audio_rate)
        tracks += [ET.SubElement(audio, "track") for _ in range(channels)]
    files = _Files(source, rate)
    for number, event in enumerate(placed, start=1):
        for channel in range(event.media.audio_channels + 1):
            _clip_item(tracks[channel], event, number, channel, source, rate, files)
    for channel, track in enumerate(tracks):
        _texts(track, enabled="TRUE", locked="FALSE")
        if channel:
            _texts(track, outputchannelindex=channel)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE xmeml>\n{ET.tostring(root, encoding="unicode")}\n'


class _Rate:
    """The rate of the whole list as this format writes it: a whole number, and whether a thousandth is missing."""

    def __init__(self, source: CutListSource) -> None:
        self._source = source
        self._timebase = nominal_rate(source.frame_rate)
        ntsc = Fraction(self._timebase * 1000, 1001)
        if source.frame_rate not in (self._timebase, ntsc):
            raise BadRequestError(
                f"Final Cut Pro 7 XML cannot write the rate {source.frame_rate}, only whole numbers and those times 1000/1001:"
                " choose FCPXML, OpenTimelineIO or EDL, or add --companion for a file of a common rate"
            )
        self._ntsc = "TRUE" if source.frame_rate == ntsc else "FALSE"

    def add(self, parent: ET.Element) -> None:
        _texts(ET.SubElement(parent, "rate"), timebase=self._timebase, ntsc=self._ntsc)

    def timecode(self, parent: ET.Element, frame: int, reel: str | None = None) -> None:
        element = ET.SubElement(parent, "timecode")
        self.add(element)
        _texts(element, string=self._source.written(frame), frame=frame, displayformat="DF" if self._source.drop_frame else "NDF")
        if reel:
            _texts(ET.SubElement(element, "reel"), name=xml_text(reel))


class _Files:
    """The files of a list: each is described where it is named first, later by its id alone."""

    def __init__(self, source: CutListSource, rate: _Rate) -> None:
        self._source = source
        self._rate = rate
        self._known: dict[str, str] = {}

    def add(self, parent: ET.Element, media: CutListMedia) -> None:
        if media.path in self._known:
            ET.SubElement(parent, "file", id=f"file-{self._known[media.path]}")
            return
        self._known[media.path] = str(len(self._known) + 1)
        element = ET.SubElement(parent, "file", id=f"file-{self._known[media.path]}")
        address = file_address(media.path, host="localhost", drive_colon="%3a")
        _texts(element, name=xml_text(media.name), pathurl=address.removeprefix("./"))
        self._rate.add(element)
        _texts(element, duration=media.length_frames)
        self._rate.timecode(element, media.first_frame, media.reel)
        about = ET.SubElement(element, "media")
        picture = ET.SubElement(ET.SubElement(about, "video"), "samplecharacteristics")
        self._rate.add(picture)
        _picture(picture, self._source)
        if media.audio_channels:
            audio = ET.SubElement(about, "audio")
            _texts(ET.SubElement(audio, "samplecharacteristics"), depth=_BITS, samplerate=media.audio_rate)
            _texts(audio, channelcount=media.audio_channels)


def _clip_item(
    track: ET.Element, event: CutListEvent, number: int, channel: int, source: CutListSource, rate: _Rate, files: _Files
) -> None:
    """channel: 0 for the picture, else the number of the sound's channel."""
    media, said = event.media, verdict(event.clip)
    element = ET.SubElement(track, "clipitem", id=_item(number, channel))
    _texts(element, name=xml_text(media.name), enabled="TRUE", duration=media.length_frames)
    rate.add(element)
    _texts(element, start=event.record, end=event.record_end)
    _texts(element, **{"in": event.start, "out": event.end})
    files.add(element, media)
    _texts(ET.SubElement(element, "sourcetrack"), mediatype="audio" if channel else "video", trackindex=channel or 1)
    if not channel:
        marker = ET.SubElement(element, "marker")
        _texts(marker, name=f"{clip_name(source, event.clip)} {', '.join(labels(event.clip))}", comment=_comment(source, event))
        _texts(marker, **{"in": event.start + event.head, "out": -1})
        about = ET.SubElement(element, "logginginfo")
        _texts(about, description=clip_name(source, event.clip), good="TRUE" if said == "approved" else "FALSE")
        comments = ET.SubElement(element, "comments")
        _texts(comments, mastercomment1=_comment(source, event))
        known = [f"{name}: {text}" for name, text in delivered(source.facts).items()]
        if known:
            _texts(comments, mastercomment2=xml_text("; ".join(known)))
    if media.audio_channels:
        for linked in range(media.audio_channels + 1):
            link = ET.SubElement(element, "link")
            _texts(link, linkclipref=_item(number, linked), mediatype="audio" if linked else "video")
            _texts(link, trackindex=linked or 1, clipindex=number)
            if linked:
                _texts(link, groupindex=1)


def _comment(source: CutListSource, event: CutListEvent) -> str:
    clip = event.clip
    sure = "" if clip.confidence is None else f", confidence {clip.confidence:.2f}"
    subtitles = source.said_in(clip)
    said = f": {subtitles}" if subtitles else ""
    return xml_text(f"clip {clip.sequence}, frames {clip.start_frame}..{clip.end_frame - 1}, {', '.join(labels(clip))}{sure}{said}")


def _item(number: int, channel: int) -> str:
    return f"clipitem-{number}-audio-{channel}" if channel else f"clipitem-{number}"


def _picture(characteristics: ET.Element, source: CutListSource) -> None:
    _texts(characteristics, width=source.width, height=source.height, anamorphic="FALSE", pixelaspectratio="square", fielddominance="none")


def _texts(parent: ET.Element, **texts: object) -> None:
    for name, text in texts.items():
        ET.SubElement(parent, name).text = str(text)


CUT_LIST_FORMAT = CutListFormat(
    name="fcp7xml", title="Final Cut Pro 7 XML, for Premiere Pro", suffix=".xml", write=fcp7xml_cut_list, in_zip=True
)
