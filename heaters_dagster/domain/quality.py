"""What a site offered of a video, what was taken of it, and why; and the sentences about a drop in quality, so that none is silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from heaters_dagster.domain.source_facts import clean_line

#: Of what a site offers so many different pictures are kept, the best first.
MOST_OFFERED = 30
#: A picture may have so much less than what the site says of it: sites round, and crop black edges.
_ROUNDED = 0.9

#: What a name of a codec begins with -> what people call it.
_CODECS = {
    "av01": "AV1", "av1": "AV1", "vp9": "VP9", "vp09": "VP9", "vp8": "VP8", "vp08": "VP8", "avc": "H.264", "h264": "H.264", "x264": "H.264",
    "hvc1": "HEVC", "hev1": "HEVC", "hevc": "HEVC", "h265": "HEVC", "x265": "HEVC", "dvh": "Dolby Vision", "mp4v": "MPEG-4",
    "mpeg4": "MPEG-4", "theora": "Theora", "mp4a": "AAC", "aac": "AAC", "opus": "Opus", "vorbis": "Vorbis", "ec-3": "E-AC-3",
    "eac3": "E-AC-3", "ac-3": "AC-3", "ac3": "AC-3", "mp3": "MP3", "flac": "FLAC",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture as a site offers it, or as it arrived. None: nobody says it. codec: in the site's or FFmpeg's words.

    frame_rate: frames a second. dynamic_range: "HDR10", "HLG"; None for an ordinary one.
    """

    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    codec: str | None = None
    dynamic_range: str | None = None

    @property
    def lines(self) -> int | None:
        """The 1080 of "1080p": its shorter side, so that a portrait counts like a landscape."""
        return min((side for side in (self.width, self.height) if side), default=None)

    @property
    def words(self) -> str:
        """`2160p60 AV1 HDR10`."""
        rate = f"{self.frame_rate:.0f}" if self.frame_rate and self.frame_rate > 31 else ""
        size = f"{self.lines}p{rate}" if self.lines else "a picture of unknown size"
        return " ".join(filter(None, (size, codec_words(self.codec), self.dynamic_range)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """offered: different pictures, the best first. sound: of what was taken, in words. limit: lines above which none is taken.

    order: by what the best is chosen, as yt-dlp writes it. protected: the site has more that is protected against copying. cause: why
    something else than the best was taken, where that was not a choice. arrived: the picture of the file.
    """

    offered: tuple[Picture, ...]
    taken: Picture
    limit: int
    order: str
    sound: str | None = None
    protected: bool = False
    cause: str | None = None
    arrived: Picture | None = None

    @property
    def words(self) -> str:
        """What was taken of what was offered, and why: one sentence for people, without a full stop."""
        taken = ", ".join(filter(None, (self.taken.words, f"sound {self.sound}" if self.sound else None)))
        sizes = list(dict.fromkeys(one.lines for one in self.offered if one.lines))
        offered = f" of {', '.join(f'{lines}p' for lines in sizes)}" if len(sizes) > 1 else ""
        return f"{taken}{offered}: {self._why}"

    @property
    def _why(self) -> str:
        best, within = _most(self.offered), self._best_within_limit
        taken = self.taken.lines
        if self.cause:
            return self.cause
        if self.protected:
            return "the best that is not protected against copying (DRM)"
        if taken is None or best is None:
            return "the site does not say the size of its pictures"
        if within is not None and taken < within:
            return f"a better one, {within}p, could not be taken"
        if taken < best or taken > self.limit:
            return f"the best up to HEATERS_DOWNLOAD_MAX_HEIGHT={self.limit}"
        return "the best that the site offers" if len(self.offered) > 1 else "the only one that the site offers"

    @property
    def _best_within_limit(self) -> int | None:
        return _most([one for one in self.offered if one.lines and one.lines <= self.limit])

    def drops(self) -> tuple[str, ...]:
        """A sentence for each drop in quality that nobody chose; a limit that a person has set is none."""
        told = []
        taken, within = self.taken.lines, self._best_within_limit
        if taken is not None and within is not None and taken < within:
            because = f" ({self.cause})" if self.cause else ""
            told.append(f"the site offered {within}p and {taken}p was downloaded{because}")
        got = self.arrived.lines if self.arrived else None
        if taken is not None and got is not None and got < taken * _ROUNDED:
            told.append(f"the site said {taken}p, but the file that arrived has {got}p")
        return tuple(told)

    def with_arrived(self, arrived: Picture) -> Quality:
        return replace(self, arrived=arrived)

    def to_json(self) -> dict[str, Any]:
        return asdict(replace(self, offered=self.offered[:MOST_OFFERED])) | {"why": self._why}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any] | None) -> Quality | None:
        """The reverse of `to_json`; None when there is nothing, or nothing that this version knows."""
        try:
            known = {name: value for name, value in (fields or {}).items() if name != "why"}
            arrived = known.pop("arrived", None)
            offered = tuple(Picture(**one) for one in known.pop("offered"))
            return cls(
                **{**known, "offered": offered, "taken": Picture(**known["taken"]), "arrived": Picture(**arrived) if arrived else None}
            )
        except (KeyError, TypeError):
            return None


def codec_words(codec: str | None) -> str | None:
    """`H.264` for "avc1.640028"; what nobody knows stays as the site says it."""
    if not codec or codec == "none":
        return None
    lowered = codec.lower()
    known = next((words for start, words in _CODECS.items() if lowered.startswith(start)), None)
    return known or (clean_line(codec.partition(".")[0]) or "")[:20] or None


def _most(pictures: Sequence[Picture]) -> int | None:
    return max((one.lines for one in pictures if one.lines), default=None)
