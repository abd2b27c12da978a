"""Reads the qualities of a video from what yt-dlp says of its formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from heaters_dagster.domain.quality import Picture, Quality, codec_words
from heaters_dagster.domain.source_facts import clean_line

Format = Mapping[str, Any]


def quality_of(info: Mapping[str, Any], chosen: Sequence[Format], *, limit: int, order: Sequence[str], cause: str | None) -> Quality | None:
    """What was offered and taken; None when the site says nothing of its pictures, as for a plain file.

    chosen: the formats that were downloaded. cause: why they are not the best ones.
    """
    with_picture = [one for one in info.get("formats") or chosen if one.get("vcodec") != "none"]
    offered = tuple(dict.fromkeys(map(_picture, reversed(with_picture))))  # yt-dlp has the best last
    taken = next((_picture(one) for one in chosen if one.get("vcodec") != "none"), None)
    if taken is None or not any(one.lines for one in (*offered, taken)):
        return None
    sound = next((_sound(one) for one in chosen if one.get("acodec") not in {None, "none"}), None)
    protected = bool(info.get("_has_drm"))
    return Quality(offered=offered, taken=taken, limit=limit, order=",".join(order), sound=sound, protected=protected, cause=cause)


def _picture(one: Format) -> Picture:
    codec, dynamic_range = _text(one.get("vcodec")), _text(one.get("dynamic_range"))
    return Picture(
        width=_whole(one.get("width")),
        height=_whole(one.get("height")),
        frame_rate=_number(one.get("fps")),
        codec=codec,
        dynamic_range=None if dynamic_range in {None, "SDR"} else dynamic_range,
    )


def _sound(one: Format) -> str:
    rate = _number(one.get("abr"))
    return " ".join(filter(None, (codec_words(_text(one.get("acodec"))), f"{rate:.0f} kbit/s" if rate else None)))


def _text(value: object) -> str | None:
    return (clean_line(value) or "")[:40] or None if isinstance(value, str) else None


def _number(value: object) -> float | None:
    """A positive number of a size that means something; a site may send anything."""
    return float(value) if isinstance(value, (int, float)) and 0 < value < 1_000_000 else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
