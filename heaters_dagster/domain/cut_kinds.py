"""What a cut is: its kind, and the frames of the transition where there is one.

The cut itself stays one frame, the first of the right-hand clip: only this point divides the video into clips. The kind and the range
of a cut belong to the clip that begins at it. Frames of a range may lie on both sides of the point; the range always touches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from heaters_dagster.domain.errors import CutError


class CutKind(StrEnum):
    """How one shot becomes the next one.

    JUMP: the same shot goes on, and a part is missing. HAND: a person, or a chapter, puts the cut there, and nobody has said what it is.
    END: an end of the file, which is its beginning, because a cut belongs to the clip that begins at it; it has no range.
    """

    HARD = "hard"
    DISSOLVE = "dissolve"
    FADE = "fade"
    WIPE = "wipe"
    JUMP = "jump"
    HAND = "hand"
    END = "end"

    @property
    def words(self) -> str:
        return {CutKind.HARD: "hard cut", CutKind.JUMP: "jump cut", CutKind.HAND: "made by hand", CutKind.END: "beginning of the file"}.get(
            self, self.value
        )


#: Kinds that a person may give to a cut.
GIVEN_KINDS = tuple(kind for kind in CutKind if kind != CutKind.END)

#: Kinds of one moment, in which no frame shows both shots or neither: they have no range.
SUDDEN_KINDS = (CutKind.HARD, CutKind.JUMP)

#: A cut without a kind: found by a detector that tells none, or before kinds were stored.
UNKNOWN_KIND = "kind not known"


@dataclass(frozen=True, slots=True)
class Transition:
    """Kind of a cut, and the first and the last frame that show both shots or neither; None, None when there are none.

    Raises CutError for a range that is none: one end alone, below 0, last before first, or at the beginning of the file.
    """

    kind: CutKind
    first_frame: int | None = None
    last_frame: int | None = None

    def __post_init__(self) -> None:
        first, last = self.first_frame, self.last_frame
        if (first is None) != (last is None):
            raise CutError("the range of a cut has a first and a last frame, or neither")
        if first is None or last is None:
            return
        if not 0 <= first <= last:
            raise CutError(f"the range of a cut cannot have the frames {first}..{last}")
        if self.kind == CutKind.END:
            raise CutError("the beginning of the file has no range")

    @property
    def frames(self) -> tuple[int, int] | None:
        """(first frame, last frame) of the range; None without one."""
        return None if self.first_frame is None or self.last_frame is None else (self.first_frame, self.last_frame)

    @property
    def frame_count(self) -> int:
        return 0 if self.frames is None else self.frames[1] - self.frames[0] + 1

    @property
    def words(self) -> str:
        """`dissolve, frames 116..123`."""
        return self.kind.words if self.frames is None else f"{self.kind.words}, frames {self.frames[0]}..{self.frames[1]}"

    def touches(self, frame: int) -> bool:
        """Whether a cut at `frame` lies in the range or directly beside it; always without a range."""
        return self.frames is None or self.frames[0] <= frame <= self.frames[1] + 1

    def around(self, frame: int, *, start_frame: int, end_frame: int) -> Transition:
        """What is left of it for a cut at `frame`, where the clips beside the cut have the frames [start_frame, end_frame) together.

        A range that does not touch the cut goes; one that reaches over the next cut ends there. start_frame < frame < end_frame.
        """
        if self.frames is None:
            return self
        if not self.touches(frame):
            return Transition(self.kind)
        first, last = self.frames
        return replace(self, first_frame=max(first, start_frame), last_frame=min(last, end_frame - 1))

    def to_json(self) -> dict[str, Any]:
        return {"kind": str(self.kind), "first_frame": self.first_frame, "last_frame": self.last_frame}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Transition:
        """The reverse of `to_json`. Raises KeyError, ValueError, TypeError, CutError for what is none."""
        return cls(CutKind(fields["kind"]), fields["first_frame"], fields["last_frame"])
