"""Source videos that are, or may be, the same video: hints and links in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Relation(StrEnum):
    """What a source video is to another one that was there before it."""

    LOOKS_ALIKE = "looks_alike"
    SAME_ON_SITE = "same_on_site"
    AGAIN = "again"
    REPLACES = "replaces"

    @property
    def is_hint(self) -> bool:
        """Whether a person can say that it is of no use. The others are facts."""
        return self in {Relation.LOOKS_ALIKE, Relation.SAME_ON_SITE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """Another source video, as one of the two shows it.

    other_id, other_title: of the other one. is_newer: whether this one came after the other. details: `alike` and `compared` frames;
    `site`; of a replacement its `state`.
    """

    kind: Relation
    other_id: int
    other_title: str
    is_newer: bool
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def waits_for_word(self) -> bool:
        """Whether this source video is to replace the other one, and nobody has said yet whether it shall."""
        return self.kind is Relation.REPLACES and self.is_newer and self.details.get("state") == "waiting"

    @property
    def words(self) -> str:
        """One sentence about this source video, without its name."""
        other = f"source video {self.other_id}, {self.other_title}"
        if self.kind is Relation.LOOKS_ALIKE:
            alike, compared = self.details.get("alike"), self.details.get("compared")
            return f"May be the same video as {other}: same length, and of the frames that were compared {alike} of {compared} look alike"
        if self.kind is Relation.SAME_ON_SITE:
            return f"{self.details.get('site')} calls it by the same id as {other}: it may be the same video in another quality"
        if self.kind is Relation.AGAIN:
            return f"Submitted again by force: it has the bytes of {other}" if self.is_newer else f"Submitted again by force as {other}"
        return self._replacement(other)

    def _replacement(self, other: str) -> str:
        state = self.details.get("state")
        if state == "waiting":
            if self.is_newer:
                return f"Is to replace {other}: it is compared with it as soon as its proxy is made, and then you are asked"
            return f"Is to be replaced by {other}; nothing changes before you say so"
        if state == "carried":
            if self.is_newer:
                return f"Has taken over the clips and decisions of {other}"
            return f"Replaced by {other}, which has its clips and decisions; it is deleted when their files are made"
        if state == "kept" and not self.is_newer:
            return f"Replaced by {other}, but not deleted, so that no decision is lost"
        return f"Replaces {other}" if self.is_newer else f"Replaced by {other}"


def told_once(related: Mapping[int, Sequence[Related]]) -> dict[int, list[str]]:
    """Source video id -> sentences, in the order in which they are read: what one has said of a pair, the other does not say again.

    Several that look alike are one sentence.
    """
    said: set[tuple[int, int, Relation]] = set()
    told: dict[int, list[str]] = {}
    for own_id, others in related.items():
        new = [one for one in others if (min(own_id, one.other_id), max(own_id, one.other_id), one.kind) not in said]
        said |= {(min(own_id, one.other_id), max(own_id, one.other_id), one.kind) for one in new}
        alike = [one for one in new if one.kind is Relation.LOOKS_ALIKE]
        if len(alike) > 1:
            names = "; ".join(f"{one.other_id}, {one.other_title}" for one in alike)
            sentences = [f"May be the same video as each of the source videos {names}: same length, and their frames look alike"]
        else:
            sentences = [one.words for one in alike]
        told[own_id] = sentences + [one.words for one in new if one.kind is not Relation.LOOKS_ALIKE]
    return told
