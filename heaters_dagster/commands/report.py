"""What the library costs: storage by kind and class, by month and source video, against the eager design; processing per hour of video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import AsJson, example, opened_database, within
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.costs import size_words
from heaters_dagster.settings import load_settings

if TYPE_CHECKING:
    from resources.upkeep.cost_report import CostReport

app = typer.Typer()

_MONEY = "a month"


@app.command(epilog=example("report --prices my_prices.json"))
def report(
    prices: Annotated[
        Path | None,
        typer.Option("--prices", metavar="FILE", help="A price table. Without it: list prices of Amazon S3 as an example.", dir_okay=False),
    ] = None,
    most: Annotated[
        int, typer.Option("--videos", metavar="COUNT", callback=within(0, 10_000), help="List so many source videos, the largest first.")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Say what is stored and what it costs, against a design with a file for every clip, and what processing took.

    It lists the whole object store: of a bucket that is a request for each 1,000 objects.
    """
    from resources.files.price_table import read_prices
    from resources.object_store.open import open_object_store
    from resources.object_store.probe import check_that_they_answer
    from resources.upkeep.cost_report import cost_report

    settings = load_settings()
    table = read_prices(prices)
    check_that_they_answer(settings, [settings.object_bucket])
    with opened_database(settings) as database:
        found = cost_report(settings, database, open_object_store(settings), table)
    if as_json:
        terminal.show_json(found.to_json())
    else:
        _tell(found, most)


def _tell(found: CostReport, most: int) -> None:
    said = found.to_json()
    currency = found.prices.currency
    if not said["kinds"]:
        terminal.say("Nothing is stored yet.")
        return
    terminal.say(f"Prices: {found.prices.name}, as of {found.prices.as_of}.")
    size, price = Column("size", "size", number=True), Column(f"{currency} {_MONEY}", "price", number=True)
    kinds = [Column("kind", "kind"), Column("class", "storage_class"), Column("objects", "objects", number=True), size, price]
    rows = [row | _shown(row) for row in sorted(said["kinds"], key=lambda row: -row["bytes"])]
    total = {"kind": "all", "objects": sum(row["objects"] for row in rows)} | _shown(said)
    terminal.show_table("Stored, by kind and class", kinds, [*rows, total])
    if said["unpriced"]:
        terminal.warn(f"the price table has no price for {', '.join(said['unpriced'])}, so these are not in the sums")
    months = [Column("submitted in", "month"), Column("videos", "videos", number=True), size, price]
    terminal.show_table("By month", months, [row | _shown(row) for row in said["months"]])
    if most and said["videos"]:
        videos = sorted(said["videos"], key=lambda row: -row["bytes"])[:most]
        columns = [Column("video", "id", number=True), Column("title", "title", wraps=True), size, price]
        terminal.show_table("The largest source videos", columns, [row | _shown(row) for row in videos])
    eager = [{"kind": kind, "size": size_words(said["eager"][kind])} for kind in ("originals", "clips", "sprites", "stills")]
    eager.append({"kind": "all"} | _shown(said["eager"]))
    terminal.show_table("The eager design would have stored", [Column("kind", "kind"), size, price], eager)
    terminal.say(f"These are {said['eager']['note']}.")
    for sentence in said["words"]:
        terminal.say(sentence)
    if said["jobs"]:
        columns = [Column("job", "job"), Column("runs", "runs", number=True)]
        columns += [Column("machine seconds for an hour of video", "each", number=True), Column(currency, "costs", number=True)]
        jobs = [
            row | {"each": f"{row['seconds_per_hour']:,.0f}", "costs": f"{row['price_per_hour']:,.4f}"}
            for row in said["jobs"]
            if row["seconds_per_hour"] is not None
        ]
        terminal.show_table(f"Processing, measured here, at the price of {found.prices.machine_name}", columns, jobs)


def _shown(row: dict[str, object]) -> dict[str, str]:
    price = row["month_price"]
    return {"size": size_words(float(str(row["bytes"]))), "price": "" if price is None else f"{float(str(price)):,.4f}"}
