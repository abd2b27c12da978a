"""Watched places: what has arrived in them, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import AsJson, example, opened_database
from heaters_dagster.commands.terminal import Column
from heaters_dagster.settings import load_settings

if TYPE_CHECKING:
    from resources.postgres.watched_store import WatchedPlace

app = typer.Typer()


@app.command(epilog=example("watched --look"))
def watched(
    look: Annotated[bool, typer.Option("--look", help="Look at all of them now; without it heaters up looks from time to time.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the folders and s3:// prefixes of HEATERS_WATCH: how many files are arriving, taken and refused, and why.

    A file is taken when it has the same size and time at two looks, so a new one needs two; an object of a bucket needs one.
    """
    from heaters_dagster.orchestration.instance import register_partitions
    from resources.postgres.watched_store import WatchedStore
    from resources.sources.submit_places import watched_names
    from resources.sources.watched_places import Watcher

    settings = load_settings()
    with opened_database(settings) as database:
        looks = Watcher(settings, database).look(at_once=True) if look else []
        places = WatchedStore(database).places(watched_names(settings))
    if taken := [video_id for one in looks for video_id in one.taken]:
        register_partitions(settings, taken)
    if as_json:
        terminal.show_json([_row(place) for place in places])
        return
    if not settings.watch:
        terminal.say("No place is watched. Name folders and s3:// prefixes in HEATERS_WATCH, for example /videos/incoming")
        return
    for one in looks:
        terminal.say(one.sentence)
    if not places:
        terminal.say("Nobody has looked yet: heaters up does, and heaters watched --look")
        return
    columns = [Column("place", "place", wraps=True), Column("looked at", "looked_at")]
    columns += [Column(name, name, True) for name in ("arriving", "taken", "refused")]
    terminal.show_table("", columns, [_row(place) for place in places])
    for place in places:
        if place.problem:
            terminal.warn(place.problem)
        for path, reason in place.refused_files.items():
            terminal.warn(f"{path}: {reason}")


def _row(place: WatchedPlace) -> dict[str, Any]:
    counts = {str(state): count for state, count in place.files.items()}
    return {
        "place": place.place,
        "looked_at": place.looked_at.isoformat(timespec="seconds"),
        "problem": place.problem,
        **{name: counts.get(name, 0) for name in ("arriving", "taken", "refused")},
        "refused_files": [{"path": path, "reason": reason} for path, reason in place.refused_files.items()],
    }
