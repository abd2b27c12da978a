"""Cut lists as ALE (Avid Log Exchange), for Avid Media Composer and what reads its logs: a clip for each of ours, with its columns."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from heaters_dagster.domain.cut_list_media import one_line
from heaters_dagster.domain.cut_lists import CutListClip, CutListFormat, CutListSource, clip_name, events, kind_words, verdict
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.fact_fields import delivered

_FPS = {
    Fraction(24_000, 1001): "23.976", Fraction(24): "24", Fraction(25): "25", Fraction(30_000, 1001): "29.97", Fraction(30): "30",
    Fraction(48_000, 1001): "47.952", Fraction(48): "48", Fraction(50): "50", Fraction(60_000, 1001): "59.94", Fraction(60): "60",
}  # fmt: skip
_COLUMNS = ("Name", "Tracks", "Start", "End", "Duration", "Tape", "Source File", "Source Path", "FPS", "Verdict", "Cut", "Comments")


def ale_cut_list(source: CutListSource, clips: Sequence[CutListClip]) -> str:
    """A log whose clips begin and end at the timecode of their files; End is the frame after the last one.

    Raises BadRequestError for rates that an ALE cannot write.
    """
    if source.frame_rate not in _FPS:
        raise BadRequestError(f"an ALE cannot write the rate {source.frame_rate}, only {', '.join(_FPS.values())}")
    fps = _FPS[source.frame_rate]
    facts = delivered(source.facts)
    names = (*_COLUMNS, *(name.replace("_", " ").capitalize() for name in facts))
    heading = (("FIELD_DELIM", "TABS"), ("VIDEO_FORMAT", _video_format(source.height)), ("AUDIO_FORMAT", "48khz"), ("FPS", fps))
    lines = ["Heading", *("\t".join(pair) for pair in heading), "", "Column", "\t".join(names), "", "Data"]
    for event in events(source, clips):
        media, clip = event.media, event.clip
        sure = "" if clip.confidence is None else f", confidence {clip.confidence:.2f}"
        said = source.said_in(clip)
        comment = f"clip {clip.sequence}, frames {clip.start_frame}..{clip.end_frame - 1}{sure}{f': {said}' if said else ''}"
        sounds = "".join(f"A{channel}" for channel in range(1, media.audio_channels + 1))
        values = (
            clip_name(source, clip),
            f"V{sounds}",
            source.written(event.source_start),
            source.written(event.source_end),
            source.written(event.length),
            media.reel or media.name,
            media.name,
            media.path,
            fps,
            str(verdict(clip)),
            kind_words(clip) or "",
            comment,
            *facts.values(),
        )
        lines.append("\t".join(map(one_line, values)))
    return "\n".join(lines) + "\n"


def _video_format(height: int) -> str:
    return {480: "NTSC", 486: "NTSC", 576: "PAL", 720: "720", 1080: "1080"}.get(height, "CUSTOM")


CUT_LIST_FORMAT = CutListFormat(name="ale", title="ALE, for Avid Media Composer", suffix=".ale", write=ale_cut_list, in_zip=True)
