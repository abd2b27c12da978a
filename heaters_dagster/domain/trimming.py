"""Which frames of a clip its file has when it leaves out the transitions at its two ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heaters_dagster.domain.cut_kinds import Transition
from heaters_dagster.domain.errors import PermanentError


@dataclass(frozen=True, slots=True)
class FileFrames:
    """The file has the frames [start_frame, end_frame) of the source video.

    left_out: of the clip's own frames those that it has not, and why: `first_frame`, `last_frame`, `kind` of the cut, and `range` of its
    transition, which may reach over the clip's end.
    """

    start_frame: int
    end_frame: int
    left_out: tuple[Mapping[str, Any], ...] = ()


def without_transitions(start_frame: int, end_frame: int, *, begins: Transition | None, ends: Transition | None, called: str) -> FileFrames:
    """The frames of the clip [start_frame, end_frame) that lie in neither transition: of the cut where it begins, and where it ends.

    called: the clip, for the message. Raises PermanentError when there are none.
    """
    first, end = start_frame, end_frame
    left_out = []
    if begins is not None and begins.frames is not None and begins.frames[1] >= start_frame:
        first = begins.frames[1] + 1
        left_out.append(_left_out(begins, start_frame, min(first, end_frame) - 1))
    if ends is not None and ends.frames is not None and ends.frames[0] < end_frame:
        end = max(start_frame, ends.frames[0])
        left_out.append(_left_out(ends, end, end_frame - 1))
    if first >= end:
        told = " and ".join(f"{one['kind']} of frames {one['range'][0]}..{one['range'][1]}" for one in left_out)
        raise PermanentError(
            f"{called} has no frame outside of its transitions ({told}; its own frames are {start_frame}..{end_frame - 1}), so there is "
            "nothing to export without them. Export it with them, or correct the ranges: heaters cuts set"
        )
    return FileFrames(first, end, tuple(left_out))


def _left_out(transition: Transition, first_frame: int, last_frame: int) -> dict[str, Any]:
    assert transition.frames is not None
    return {"first_frame": first_frame, "last_frame": last_frame, "kind": str(transition.kind), "range": list(transition.frames)}
