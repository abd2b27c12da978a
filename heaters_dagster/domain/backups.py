"""Backups: their names, which of them are kept, and what files that are newer than a backup tell about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from heaters_dagster.domain.audit import source_video_of_key

_STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"\d{8}T\d{6}Z\Z")
_CLIP = re.compile(r"[a-z_]+/video_(\d+)_clip_(\d+)[._]")

#: After a restore the numbers of source videos go on at the next multiple of this, and hidden ids (of clips, of actions) this much later: a
#: page or a program that still knows what was made after the backup must not reach something else under the same number.
NUMBERS_LEFT_OUT = 1_000
IDS_LEFT_OUT = 1_000_000


def backup_name(made_at: datetime) -> str:
    """`20261127T021300Z`: when it was made, in UTC. Names in order are backups in order."""
    return made_at.astimezone(UTC).strftime(_STAMP)


def is_backup_name(name: str) -> bool:
    return made_at(name) is not None


def made_at(name: str) -> datetime | None:
    """When the backup of this name was made; None when it is no such name."""
    if not _NAME.match(name):
        return None
    try:
        return datetime.strptime(name, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Keep:
    """How many backups are kept: the newest of each of the last `daily` days, `weekly` weeks and `monthly` months that have one."""

    daily: int = 7
    weekly: int = 4
    monthly: int = 12

    def outdated(self, names: Iterable[str]) -> list[str]:
        """Which of these backups may be deleted, oldest first. The newest one always stays; names of other things are left out."""
        known = sorted((name for name in names if is_backup_name(name)), reverse=True)
        kept = set(known[:1])
        spans: tuple[tuple[int, Callable[[datetime], object]], ...] = (
            (self.daily, lambda at: at.date()),
            (self.weekly, lambda at: at.isocalendar()[:2]),
            (self.monthly, lambda at: (at.year, at.month)),
        )
        for most, span_of in spans:
            newest: dict[object, str] = {}
            for name in known:
                at = made_at(name)
                assert at is not None
                newest.setdefault(span_of(at), name)
            kept.update(list(newest.values())[:most])
        return sorted(set(known) - kept)


def clip_of_key(key: str) -> tuple[int, int] | None:
    """(source video, number of the clip) of a file of a clip; None for another key."""
    found = _CLIP.match(key)
    return (int(found.group(1)), int(found.group(2))) if found else None


@dataclass(frozen=True, slots=True)
class NumbersInUse:
    """source_video: the greatest number in a key; clips: source video -> greatest number of a clip in a key. 0 and empty: none."""

    source_video: int
    clips: Mapping[int, int]


def numbers_in_use(keys: Iterable[str]) -> NumbersInUse:
    """What the keys of the stored objects use, so that nothing new is stored over a file that is newer than the backup."""
    most, clips = 0, dict[int, int]()
    for key in keys:
        most = max(most, source_video_of_key(key) or 0)
        if (clip := clip_of_key(key)) is not None:
            clips[clip[0]] = max(clips.get(clip[0], 0), clip[1])
    return NumbersInUse(most, clips)


def next_number(greatest: int) -> int:
    """The number of the first source video that is submitted after a restore. greatest: of any known before."""
    return (greatest // NUMBERS_LEFT_OUT + 1) * NUMBERS_LEFT_OUT + 1
