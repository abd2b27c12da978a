"""How much room on the disk each stage needs, estimated before it begins. Pure.

The estimates are upper ones: a stage that needs less gives the rest back when it ends. Measured on real footage, the proxy of a web
source has 3 to 11 times its bytes, and its gold master 13 to 86 times. For sources that are hardly compressed, the number of pixels says
more, so the lower of the two counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from heaters_dagster.domain.stages import GOLD_MASTER, PROXY, SOURCE_VIDEO

_PROXY_TIMES_ORIGINAL, _PROXY_BITS_PER_PIXEL = 11, 1.5
_MASTER_TIMES_ORIGINAL, _MASTER_OF_RAW = 86, 0.6
#: Sound as it may be decoded: two channels, 48 kHz, 4 bytes. Copied sound is smaller.
_SOUND_BYTES_A_SECOND = 2 * 48_000 * 4
_FRAMES_A_SECOND_WHEN_UNKNOWN = 25.0
#: A file that is encoded again may be larger than the stream copy.
_ENCODED_TIMES_COPY = 3
#: Headers, the index at the beginning of an MP4, manifests.
_SMALL_FILES_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSize:
    """What is known of the size of a source video; None and 0 while it is not known.

    source_bytes: of the file as submitted. original_bytes: of the stored original. frame_pixels: of one picture. frames: how many
    pictures, perhaps estimated. picture_bits: of one picture, decoded. clock_jumps: then the gold master is written twice.
    """

    source_bytes: int | None = None
    original_bytes: int | None = None
    seconds: float = 0.0
    frame_pixels: int = 0
    frames: float = 0.0
    picture_bits: float = 0.0
    clock_jumps: bool = False

    @classmethod
    def of(
        cls,
        probe: Mapping[str, Any] | None,
        *,
        source_bytes: int | None,
        original_bytes: int | None,
        duration_seconds: float | None,
        frame_count: int | None,
    ) -> MediaSize:
        """From the columns of a source video. probe: as `MediaProbe.to_json` writes it; its `video` is enough."""
        video: Mapping[str, Any] = (probe or {}).get("video") or {}
        seconds = duration_seconds or 0.0
        rate = float(Fraction(video.get("average_frame_rate") or 0)) or _FRAMES_A_SECOND_WHEN_UNKNOWN
        pixels = int(video.get("width") or 0) * int(video.get("height") or 0)
        samples = samples_per_pixel(str(video.get("pixel_format") or ""))
        return cls(
            source_bytes=source_bytes,
            original_bytes=original_bytes,
            seconds=seconds,
            frame_pixels=pixels,
            frames=float(frame_count or seconds * rate),
            picture_bits=pixels * samples * int(video.get("bit_depth") or 8),
            clock_jumps=bool((probe or {}).get("jumps")),
        )


def samples_per_pixel(pixel_format: str) -> float:
    """Of FFmpeg's pixel formats: 1.5 for yuv420p, 2 for yuv422p, 3 where nothing is left out; one more with transparency."""
    alpha = 1.0 if pixel_format.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya")) else 0.0
    if pixel_format.startswith(("gray", "mono", "ya", "pal8")):
        return 1.0 + alpha
    subsampled = {"420": 1.5, "nv12": 1.5, "p010": 1.5, "422": 2.0, "411": 1.5, "410": 1.125, "yuyv": 2.0, "uyvy": 2.0, "440": 2.0}
    return alpha + next((samples for name, samples in subsampled.items() if name in pixel_format), 3.0)


def download_bytes(media: MediaSize) -> int:
    """For the copy of a submitted file. Of other sources the size becomes known only when their server is asked."""
    return media.source_bytes or 0


def proxy_bytes(media: MediaSize) -> int:
    by_pixels = media.frames * media.frame_pixels * _PROXY_BITS_PER_PIXEL / 8
    return _lower(_PROXY_TIMES_ORIGINAL * (media.original_bytes or 0), by_pixels, media)


def gold_master_bytes(media: MediaSize) -> int:
    by_pixels = media.frames * media.picture_bits * _MASTER_OF_RAW / 8
    return _lower(_MASTER_TIMES_ORIGINAL * (media.original_bytes or 0), by_pixels, media) * (2 if media.clock_jumps else 1)


def export_bytes(copied_bytes: int, *, encodes: bool) -> int:
    """For the file of a clip that has `copied_bytes` in the proxy. encodes: it is no stream copy but made from one."""
    return copied_bytes * (1 + _ENCODED_TIMES_COPY if encodes else 1) + _SMALL_FILES_BYTES


def _lower(by_bytes: float, by_pixels: float, media: MediaSize) -> int:
    known = [size for size in (by_bytes, by_pixels + media.seconds * _SOUND_BYTES_A_SECOND if by_pixels else 0.0) if size]
    return round(min(known, default=0)) + _SMALL_FILES_BYTES


#: Asset -> what its stage needs. A stage that is not here needs so little that nobody asks.
ESTIMATES: Mapping[str, Callable[[MediaSize], int]] = {
    SOURCE_VIDEO.asset: download_bytes,
    PROXY.asset: proxy_bytes,
    GOLD_MASTER.asset: gold_master_bytes,
}
