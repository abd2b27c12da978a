"""Subscriptions: lists of the web that are looked at again, and whose new videos become source videos."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heaters_dagster.commands import list_options, terminal
from heaters_dagster.commands.facts import ChaptersAsCuts
from heaters_dagster.commands.shared import AsJson, example, id_of, opened_database, reviewer_name, say_next
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.source_lists import Limits
from heaters_dagster.domain.spans import span_words
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import load_settings

if TYPE_CHECKING:
    from resources.postgres.subscription_store import Subscription

app = typer.Typer()

_COLUMNS = (
    Column("id", "id", True),
    Column("title", "title", wraps=True),
    Column("every", "every"),
    Column("takes", "takes", wraps=True),
    Column("taken", "taken_count", True),
    Column("last look", "looked_at"),
    Column("found", "told", wraps=True),
    Column("next look", "next_look_at"),
    Column("problem", "error", wraps=True),
)


@app.command(epilog=example("subscribe https://example.org/feed.xml --every 6h --max-length 20m"))
def subscribe(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Web address of a playlist, channel, series, feed or page with videos.")
    ],
    every: Annotated[str, typer.Option("--every", metavar="SPAN", help="From one look to the next: 30m, 6h, 1d, 2w.")] = "1d",
    only_new: Annotated[bool, typer.Option("--only-new", help="Take nothing of what the list has now, only what is added later.")] = False,
    rights: Annotated[
        str | None, typer.Option("--rights", metavar="TEXT", help="What may be done with its videos, in your words; kept with each.")
    ] = None,
    chapters_as_cuts: ChaptersAsCuts = False,
    yes: list_options.Yes = False,
    most: list_options.Most = None,
    since: list_options.Since = None,
    until: list_options.Until = None,
    min_length: list_options.Shortest = None,
    max_length: list_options.Longest = None,
    in_title: list_options.InTitle = None,
    not_in_title: list_options.NotInTitle = None,
    unknown: list_options.Unknown = False,
    as_json: AsJson = False,
) -> None:
    """Subscribe to a list: take its videos now, and look again by schedule for new ones, within the same limits.

    While `heaters up` runs, it looks by itself; else `heaters process` and `heaters subscriptions --look` do.
    """
    from heaters_dagster.orchestration.instance import register_partitions
    from resources.postgres.reviewer_store import ReviewerStore
    from resources.sources import subscriptions as follow

    settings, every_seconds = load_settings(), list_options.span(every)
    limits = list_options.limits_of(most, since, until, min_length, max_length, in_title, not_in_title, unknown)
    with opened_database(settings) as database:
        offer = follow.list_to_follow(address, limits, settings=settings, database=database, only_new=only_new, say=terminal.warn)
        ask = not only_new and bool(offer.new)
        if ask and not list_options.agreed(offer, yes=yes, quiet=as_json, question="Subscribe, and submit"):
            raise typer.Exit(1)
        name = reviewer_name(ReviewerStore(database), None)
        more: dict[str, Any] = {"only_new": only_new, "rights": rights, "chapters_as_cuts": chapters_as_cuts, "subscribed_by": name}
        looked = follow.subscribe(address, offer, limits, every_seconds=every_seconds, settings=settings, database=database, **more)
    register_partitions(settings, looked.ids)
    one = looked.subscription
    if as_json:
        terminal.show_json(_row(one))
        return
    terminal.say(f"Subscribed as subscription {one.id}: {one.title}, every {span_words(one.every_seconds)}; {one.told}.")
    for sentence in looked.refused:
        terminal.complain(sentence)
    say_next(settings)


@app.command(epilog=example("subscriptions --look"))
def subscriptions(
    look: Annotated[bool, typer.Option("--look", help="Look at all of them now, due or not, and submit what is new.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the subscriptions: what they take, when they were looked at, and what was wrong."""
    from heaters_dagster.orchestration.instance import register_partitions
    from resources.postgres.subscription_store import SubscriptionStore
    from resources.sources.subscriptions import Looked, look_at_due

    settings = load_settings()

    def tell(looked: Looked) -> None:
        if looked.subscription.error:
            terminal.warn(looked.sentence)
        elif not as_json:
            terminal.say(looked.sentence)

    with opened_database(settings) as database:
        store = SubscriptionStore(database)
        looks = look_at_due(settings, database, only=[one.id for one in store.load_all()], say=tell) if look else []
        rows = [_row(one) for one in store.load_all()]
    if ids := [one for looked in looks for one in looked.ids]:
        register_partitions(settings, ids)
    if as_json:
        terminal.show_json(rows)
    elif rows:
        terminal.show_table("", _COLUMNS, [_in_words(row) for row in rows])
    else:
        terminal.say("No subscriptions yet. Subscribe to a list: heaters subscribe ADDRESS")
    if any(looked.subscription.failed_looks for looked in looks):
        raise typer.Exit(1)


@app.command(epilog=example("unsubscribe 2"))
def unsubscribe(
    numbers: Annotated[
        list[int],
        typer.Argument(
            callback=id_of("subscription", "heaters subscriptions"), metavar="SUBSCRIPTION", help="As `heaters subscriptions` shows it."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """End subscriptions. The source videos that they brought stay."""
    from resources.postgres.subscription_store import SubscriptionStore

    with opened_database(load_settings()) as database:
        ended = [SubscriptionStore(database).remove(number) for number in dict.fromkeys(numbers)]
    if as_json:
        terminal.show_json([_row(one) for one in ended])
        return
    for one in ended:
        terminal.say(f"Ended subscription {one.id}, {one.title}. Its {counted(one.taken_count, 'source video')} stay.")


def _row(one: Subscription) -> dict[str, Any]:
    row = asdict(one)
    row["limits"] = one.limits.to_json()
    row["address"] = without_access(one.address)
    return row


def _in_words(row: dict[str, Any]) -> dict[str, Any]:
    limits = Limits.from_json(row["limits"]).words or "all videos"
    return row | {"every": span_words(row["every_seconds"]), "takes": limits}
