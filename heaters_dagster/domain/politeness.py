"""How long a site is left alone, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from heaters_dagster.domain.web_answers import wait_words

#: The first pause after a refusal without a time, doubled with each further one in a row.
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
#: No site is left alone for longer, whatever it says.
LONGEST_REQUESTED_PAUSE = timedelta(days=7)
#: Refusals in a row after which a person has to decide; with doubled pauses that is after most of a day.
MAX_REFUSALS = 20
#: The most downloads from one site at a time that the setting allows.
MAX_PER_SITE = 16


@dataclass(frozen=True, slots=True)
class HeldOff:
    """A site that gets no requests before `until`. refusals: in a row. reason: why; None: only the pause between two downloads."""

    site: str
    until: datetime
    reason: str | None = None
    refusals: int = 0

    @property
    def gives_up(self) -> bool:
        return self.refusals >= MAX_REFUSALS

    def words(self, now: datetime) -> str:
        """`waits until 14:05 UTC (7 minutes): its site answers 429`."""
        return f"waits {wait_words(self.until, now)}: {self.reason or f'a pause between two downloads from {self.site}'}"


def after_refusal(site: str, now: datetime, *, wanted: datetime | None, refusals: int, reason: str) -> HeldOff:
    """Until when a site is left alone. wanted: when it wants the next request. refusals: in a row, with this one."""
    doubled = FIRST_PAUSE * 2.0 ** min(refusals - 1, 16)
    until = min(wanted, now + LONGEST_REQUESTED_PAUSE) if wanted is not None else now + min(doubled, LONGEST_PAUSE)
    return HeldOff(site, max(until, now), reason, refusals)
