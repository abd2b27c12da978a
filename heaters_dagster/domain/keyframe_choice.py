"""Which frames of a clip are kept as stills, and what each is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heaters_dagster.domain.errors import SettingsError

#: The `tag` strategy: names a person would use, and where in the clip (percent) each is.
TAGGED_PERCENTAGES = (("start", 0.0), ("mid", 50.0), ("end", 100.0))


@dataclass(frozen=True, slots=True)
class KeyframeChoice:
    """tag: the `{tag}` of the object key, lower-case letters and digits. frame_offset: 0-based from the clip's first frame."""

    tag: str
    frame_offset: int


def keyframe_choices(frame_count: int, *, strategy: str, percentages: Sequence[float] = ()) -> tuple[KeyframeChoice, ...]:
    """The stills of a clip of `frame_count` frames, by rising offset, no frame twice: when several fall on one frame, the first is kept.

    strategy: `midpoint` (one, tag `mid`), `multi` (one per entry of `percentages`, tags `p25`, `p12d5` for 12.5), `tag` (`start`, `mid`,
    `end`).
    percentages: 0..100; 0 is the first frame, 100 the last. Raises SettingsError for anything else.
    """
    if frame_count < 1:
        raise SettingsError(f"a clip has at least 1 frame, not {frame_count}")
    if strategy == "midpoint":
        places: Sequence[tuple[str, float]] = (("mid", 50.0),)
    elif strategy == "tag":
        places = TAGGED_PERCENTAGES
    elif strategy == "multi":
        if not percentages or not all(0 <= percentage <= 100 for percentage in percentages):
            raise SettingsError(f"keyframe percentages {list(percentages)}: give at least one, each from 0 to 100")
        places = [(_percentage_tag(percentage), percentage) for percentage in sorted(percentages)]
    else:
        raise SettingsError(f"keyframe strategy {strategy!r}: one of midpoint, multi, tag")
    by_offset: dict[int, str] = {}
    for tag, percentage in places:
        if tag not in by_offset.values():
            by_offset.setdefault(_offset(frame_count, percentage), tag)
    return tuple(KeyframeChoice(tag, offset) for offset, tag in by_offset.items())


def _offset(frame_count: int, percentage: float) -> int:
    return min(frame_count - 1, int(frame_count * percentage / 100))


def _percentage_tag(percentage: float) -> str:
    return "p" + f"{percentage:.3f}".rstrip("0").rstrip(".").replace(".", "d")
