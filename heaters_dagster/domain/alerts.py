"""Which alerts begin, which are over, and how people read them. Each is told once when it begins and once when it is over."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from heaters_dagster.domain.words import counted


class Cause(StrEnum):
    """Kinds of causes. docs/operate/troubleshoot.md says of each what to do."""

    FAILED = "failed"
    MANY_FAILURES = "many_failures"
    NOT_EXPORTED = "not_exported"
    STORE = "store"
    NO_ROOM = "no_room"
    DAEMON = "daemon"
    LEASE_LOST = "lease_lost"
    NO_PROGRESS = "no_progress"
    FAILING_STARTS = "failing_starts"
    YTDLP = "ytdlp"
    DATABASE_SIZE = "database_size"


#: What a person does first, as the end of a message.
ADVICE: Mapping[Cause, str] = {
    Cause.FAILED: "heaters status VIDEO says more; when the cause is gone: heaters retry VIDEO",
    Cause.MANY_FAILURES: "look for one cause of all; when it is gone: heaters retry",
    Cause.NOT_EXPORTED: "look at the sensor approvals_to_exports and at queued runs in the Dagster UI",
    Cause.STORE: "work goes on by itself when it can be used again",
    Cause.NO_ROOM: "make room under HEATERS_HOME; the work goes on by itself",
    Cause.DAEMON: "start heaters up, or the daemon's service, again; nothing new is started until then",
    Cause.LEASE_LOST: "a machine was lost, or its memory or network: its work is done again by itself",
    Cause.NO_PROGRESS: "look whether ffmpeg is stopped there and whether disk and network answer; else end the run in the Dagster UI, "
    "then heaters retry VIDEO",
    Cause.FAILING_STARTS: "mend what stands in the brackets; one run is tried every five minutes, and then all",
    Cause.YTDLP: "make update-ytdlp",
    Cause.DATABASE_SIZE: "docs/operate/troubleshoot.md says what to do",
}
#: So many rows that failed for one kind of reason are an alert; it is over when there are fewer than half as many.
MANY = 10
_LONGEST = 300
_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Condition:
    """Something is wrong now. what: tells several of one cause apart, "" where there is one only. words: what, in a sentence."""

    cause: Cause
    what: str
    words: str

    @property
    def key(self) -> tuple[str, str]:
        return self.cause.value, self.what


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert that has begun and is not over. words: those of its begin."""

    id: int
    cause: str
    what: str
    words: str
    begun_at: datetime

    @property
    def key(self) -> tuple[str, str]:
        return self.cause, self.what

    @property
    def advice(self) -> str:
        """What a person does first. Another version may have written a cause that is unknown here."""
        return ADVICE[Cause(self.cause)] if self.cause in set(Cause) else "docs/operate/monitor.md says what to do"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found. looked_at: the causes that were looked for. complete: those of which all conditions are among `conditions`;
    of another one, nothing is over because it was not found."""

    conditions: tuple[Condition, ...]
    looked_at: frozenset[Cause]
    complete: frozenset[Cause]


@dataclass(frozen=True, slots=True)
class Changes:
    begun: tuple[Condition, ...]
    over: tuple[OpenAlert, ...]

    def __bool__(self) -> bool:
        return bool(self.begun or self.over)


def changes(look: Look, known: Iterable[OpenAlert]) -> Changes:
    """What begins now, and what is over. An alert that goes on is no change, whatever its words are now."""
    standing = list(known)
    open_keys, found = {alert.key for alert in standing}, {condition.key for condition in look.conditions}
    begun: dict[tuple[str, str], Condition] = {}
    for condition in look.conditions:
        if condition.cause in look.looked_at and condition.key not in open_keys:
            begun.setdefault(condition.key, condition)
    ended = {cause.value for cause in look.complete & look.looked_at}
    return Changes(tuple(begun.values()), tuple(alert for alert in standing if alert.cause in ended and alert.key not in found))


def many_failures(counts: Mapping[str, int], known: Collection[tuple[str, str]]) -> list[Condition]:
    """counts: kind of reason -> how many rows failed for it. known: keys of open alerts."""
    found = []
    for kind, count in sorted(counts.items()):
        is_open = (Cause.MANY_FAILURES.value, kind) in known
        if count >= MANY or (is_open and count >= MANY // 2):
            words = f"{counted(count, 'source video or clip has failed', 'source videos and clips have failed')} for the reason {kind}"
            found.append(Condition(Cause.MANY_FAILURES, kind, words))
    return found


def one_line(text: str) -> str:
    """A text that a stranger may have written (a title, the message of a server), for a message: one line of bounded length."""
    plain = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 3]}..."


def subject(changed: Changes) -> str:
    """`Heaters: 2 new alerts, 1 over`."""
    parts = [counted(len(changed.begun), "new alert")] if changed.begun else []
    parts += [f"{len(changed.over)} over"] if changed.over else []
    return f"Heaters: {', '.join(parts)}"


def message(changed: Changes, *, where: str | None = None) -> str:
    """The text of a message. where: an address at which people see more."""
    lines = _limited([f"NEW: {one_line(condition.words)}. To do: {ADVICE[condition.cause]}" for condition in changed.begun])
    lines += _limited([f"OVER: {one_line(alert.words)} (since {alert.begun_at:%Y-%m-%d %H:%M} UTC)" for alert in changed.over])
    return "\n".join([*lines, *([where] if where else [])])


def standing_message(standing: Sequence[OpenAlert], *, where: str | None = None) -> str:
    """The text of a message to a channel that was not there when these began."""
    lines = _limited([f"OPEN since {one.begun_at:%Y-%m-%d %H:%M} UTC: {one_line(one.words)}. To do: {one.advice}" for one in standing])
    return "\n".join([*lines, *([where] if where else [])])


def _limited(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"... and {more} more: heaters alerts list"] if more > 0 else [])]
