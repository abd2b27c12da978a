"""How old the installed yt-dlp is, and how to renew it: sites change, and a yt-dlp of last month may know nothing of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version

from heaters_dagster.domain.words import counted
from heaters_dagster.settings import PROJECT_ROOT

#: yt-dlp makes a release about every three weeks.
OLD_DAYS = 60


@dataclass(frozen=True, slots=True)
class YtdlpRelease:
    """made: the day of its release, which its version names."""

    made: date
    today: date

    @property
    def days(self) -> int:
        return (self.today - self.made).days

    @property
    def is_old(self) -> bool:
        return self.days > OLD_DAYS

    @property
    def age(self) -> str:
        return f"yt-dlp of {self.made}, {counted(self.days, 'day')} old"

    @property
    def advice(self) -> str:
        """A sentence for the message of a failure that a newer release may mend."""
        return f"The yt-dlp here is {counted(self.days, 'day')} old: to renew it, {renewal()}"


def installed(today: date | None = None) -> YtdlpRelease:
    made = date(*map(int, version("yt-dlp").split(".")[:3]))
    return YtdlpRelease(made, today or date.today())


def renewal() -> str:
    """What to type. In a checkout the new version is noted beside the other dependencies, too."""
    if (PROJECT_ROOT / "Makefile").is_file():
        return "type make update-ytdlp"
    return f"type {sys.executable} -m pip install --upgrade 'yt-dlp[default,deno,curl-cffi]'"
