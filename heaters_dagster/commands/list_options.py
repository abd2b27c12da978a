"""Options of commands that take lists of the web: which of their videos, and the question before many are taken."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import within
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.source_lists import Limits, Member, count_words
from heaters_dagster.domain.spans import span_seconds

if TYPE_CHECKING:
    from resources.sources.list_offer import ListOffer

#: Members that the question shows.
_SHOWN = 20


def span(text: str) -> float:
    """Typer's parser of a span of time."""
    try:
        return span_seconds(text)
    except BadRequestError as error:
        raise typer.BadParameter(str(error)) from None


def day(text: str) -> date:
    """Typer's parser of a day."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise typer.BadParameter(f"{text[:60]!r} is no day: write it as 2026-01-31") from None


Most = Annotated[
    int | None, typer.Option("--most", callback=within(1), metavar="N", help="Of a list: the first N videos that the other limits let in.")
]
Since = Annotated[
    date | None, typer.Option("--since", parser=day, metavar="DAY", help="Of a list: published on this day or later; 2026-01-31.")
]
Until = Annotated[date | None, typer.Option("--until", parser=day, metavar="DAY", help="Of a list: published on this day or before.")]
Shortest = Annotated[
    float | None, typer.Option("--min-length", parser=span, metavar="SPAN", help="Of a list: at least so long; 90, 1:30, 20m, 2h.")
]
Longest = Annotated[float | None, typer.Option("--max-length", parser=span, metavar="SPAN", help="Of a list: at most so long.")]
InTitle = Annotated[str | None, typer.Option("--in-title", metavar="WORDS", help="Of a list: only with these words in the title.")]
NotInTitle = Annotated[str | None, typer.Option("--not-in-title", metavar="WORDS", help="Of a list: not with these words in the title.")]
Unknown = Annotated[
    bool, typer.Option("--unknown", help="Of a list: also videos of which it does not say the date or length that a limit is about.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the videos of a list are taken. Needed in scripts.")]


def limits_of(
    most: int | None,
    since: date | None,
    until: date | None,
    shortest: float | None,
    longest: float | None,
    title: str | None,
    not_title: str | None,
    unknown: bool,
) -> Limits:
    """The options together. Raises BadRequestError when no video can be within them."""
    return Limits(
        most=most,
        since=since,
        until=until,
        shortest_seconds=shortest,
        longest_seconds=longest,
        title=title,
        not_title=not_title,
        unknown=unknown,
    ).checked()


def agreed(offer: ListOffer, *, yes: bool, quiet: bool, question: str = "Submit") -> bool:
    """Show what a list offers, and ask. quiet: standard output is for a program. Raises BadParameter where nobody can be asked."""
    if not quiet:
        terminal.say(offer.words)
    for problem in offer.problems:
        terminal.warn(problem)
    if not offer.new:
        if not quiet:
            terminal.say("Nothing of it is new.")
        return False
    if yes:
        return True
    if not (sys.stdin.isatty() and terminal.err.is_terminal):
        raise typer.BadParameter(
            f"{offer.title} is a list of {count_words(offer.members)}, and this is not a terminal, so Heaters cannot ask: add --yes to "
            f"submit the {len(offer.new):,} that are new; --most and other limits take fewer"
        )
    _show(offer.new)
    return typer.confirm(f"{question} {count_words(offer.new)}?", err=True)


def _show(members: Sequence[Member]) -> None:
    columns = [Column("title", "title", wraps=True), Column("length", "length", True), Column("published", "day")]
    rows = [
        {
            "title": one.title or one.source,
            "length": terminal.clock_time(one.duration_seconds),
            "day": one.uploaded_on and str(one.uploaded_on),
        }
        for one in members[:_SHOWN]
    ]
    terminal.show_table("", columns, rows)
    if len(members) > _SHOWN:
        terminal.say(f"and {len(members) - _SHOWN:,} more")
