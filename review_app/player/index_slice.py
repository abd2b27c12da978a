"""The frame index as the player reads it: one clip's rows and what a WebCodecs decoder needs, as JSON."""

from __future__ import annotations

import base64
from fractions import Fraction
from typing import Any

from heaters_dagster.domain.frame_index import FrameIndex, FrameIndexHeader
from heaters_dagster.domain.timecode import timeline_rate


def slice_json(index: FrameIndex, start_frame: int, end_frame: int) -> dict[str, Any]:
    """The index route's answer for frames `[start_frame, end_frame)`.

    index: holds those frames, and frame `end_frame` too unless that is the end of the video: `end_pts` says when the slice's last frame
    stops showing, which on a variable frame rate only the next frame tells. Raises CutError when it does not hold them.
    """
    frames = index.slice(start_frame, end_frame)
    header = index.header
    return {
        "first_frame": start_frame,
        "end_frame": end_frame,
        "frame_count": header.frame_count,
        "frame_rate": _fraction(_frame_rate(header)),
        "time_base": _fraction(header.time_base),
        "end_pts": index.pts_of(end_frame),
        "width": header.width,
        "height": header.height,
        "sample_aspect_ratio": _fraction(header.sample_aspect_ratio),
        "has_audio": header.has_audio,
        "avcc": base64.b64encode(header.avcc).decode(),
        "pts": frames.pts.tolist(),
        "byte_offset": frames.byte_offset.tolist(),
        "byte_size": frames.byte_size.tolist(),
    }


def _frame_rate(header: FrameIndexHeader) -> Fraction:
    """What timecodes count in, as in the cut lists."""
    duration = header.end_pts * header.time_base
    return timeline_rate(Fraction(header.frame_count) / duration) if duration else Fraction(25)


def _fraction(value: Fraction) -> list[int]:
    return [value.numerator, value.denominator]
