"""Contradictions: objects that no row names, and rows that name an object that is gone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set

from heaters_dagster.domain.keys import OF_VIDEO, PREFIXES

#: What the keys of objects begin with that are made again -> from what.
_MADE_OF = {
    "gold_masters/": "original",
    "review_proxies/": "original",
    "metadata/": "original",
    "final_clips/": "proxy",
    "keyframes/": "proxy",
}

_SOURCE_VIDEO = re.compile(rf"(?:{'|'.join(map(re.escape, PREFIXES))})video_(\d+)[._]")


def source_video_of_key(key: str) -> int | None:
    """The source video that an object key is made from; None for a key that Heaters does not make."""
    found = _SOURCE_VIDEO.match(key + ".")
    return int(found.group(1)) if found else None


def orphan_keys(stored: Iterable[str], *, known: Set[str], at_work: Set[int]) -> list[str]:
    """Stored objects that no row names, sorted.

    at_work: source videos with a stage still to come. Such a stage stores before it writes the row, and when it dies in between, it stores
    the same key again; so their objects are no orphans. Files of clips always have their row first, so this exception is not for them.
    """
    return sorted(key for key in stored if key not in known and not (key.startswith(OF_VIDEO) and source_video_of_key(key) in at_work))


def lost_keys(stored: Set[str], needed: Mapping[str, str]) -> list[str]:
    """One sentence for every object that a row needs and that is not stored. needed: key -> who needs it."""
    return [f"{key} of {owner} is gone from the store{remedy(key)}" for key, owner in sorted(needed.items()) if key not in stored]


def remedy(key: str) -> str:
    """What to do when the object under this key of ours was deleted by somebody else, as the end of a sentence; nothing for other keys."""
    number = source_video_of_key(key)
    if number is None:
        return ""
    restore = "restore it from the versions of the bucket or a copy of the store"
    made_of = next((made_of for kind, made_of in _MADE_OF.items() if key.startswith(kind)), None)
    if key.startswith("originals/"):
        return f": {restore}, or type heaters refetch {number}"
    if made_of is None:
        return f": {restore}"
    return f": {restore}, or type heaters retry {number}, which lets it be made again from the {made_of}"
