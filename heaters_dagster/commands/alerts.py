"""Alerts: which are open, which are over, and whether they reach people."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import AsJson, example, opened_database
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.alerts import OpenAlert
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import load_settings

app = typer.Typer(help="Alerts: which are open, which are over, and whether they reach people.", no_args_is_help=True)


@app.command("list", epilog=example("alerts list"))
def list_alerts(as_json: AsJson = False) -> None:
    """List the alerts that are open, with what to do, and those that were over last; and channels that fail."""
    from resources.postgres.alert_store import AlertStore
    from resources.upkeep.alert_channels import alert_channels

    settings = load_settings()
    with opened_database(settings) as database:
        store = AlertStore(database)
        standing, ended, troubles = store.load_open(), store.ended(), store.troubles()
    channels = sorted(alert_channels(settings))
    if as_json:
        terminal.show_json(
            {
                "open": [_row(one) for one in standing],
                "over": [_row(one) | {"over_at": over.isoformat(timespec="seconds")} for one, over in ended],
                "channels": channels,
                "troubles": [asdict(trouble) for trouble in troubles],
            }
        )
        return
    what = Column("what is wrong", "words", wraps=True)
    if standing:
        columns = (Column("open since", "since"), what, Column("what to do", "advice", wraps=True))
        terminal.show_table("", columns, [{"since": _minute(one.begun_at), "words": one.words, "advice": one.advice} for one in standing])
    else:
        terminal.say("No alert is open." if ended else "No alert is open, and there has been none.")
    if ended:
        columns = (Column("was open from", "since"), Column("until", "over"), Column("what was wrong", "words", wraps=True))
        rows = [{"since": _minute(one.begun_at), "over": _minute(over), "words": one.words} for one, over in ended]
        terminal.show_table("", columns, rows)
    if channels:
        terminal.say(f"Alerts are told by: {', '.join(channels)}.")
    else:
        terminal.say("Nobody is told: set HEATERS_ALERT_WEBHOOK, HEATERS_ALERT_SLACK or HEATERS_ALERT_MAIL.")
    for trouble in troubles:
        given_up = f", {trouble.given_up} of them for good" if trouble.given_up else ""
        terminal.warn(f"{trouble.channel}: {counted(trouble.messages, 'message')} could not be sent{given_up}: {trouble.error}")


def _minute(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _row(one: OpenAlert) -> dict[str, str]:
    begun_at = one.begun_at.isoformat(timespec="seconds")
    return {"cause": one.cause, "what": one.what, "words": one.words, "advice": one.advice, "begun_at": begun_at}


@app.command(epilog=example("alerts test"))
def test() -> None:
    """Send a test message by every channel that is set: HEATERS_ALERT_WEBHOOK, HEATERS_ALERT_SLACK, HEATERS_ALERT_MAIL."""
    from resources.upkeep.alerts import send_test

    settings = load_settings()
    with opened_database(settings) as database:
        results = send_test(settings, database)
    for channel, error in sorted(results.items()):
        if error is None:
            terminal.say(f"{channel}: sent")
        else:
            terminal.complain(f"{channel}: {error}")
    if any(results.values()):
        raise typer.Exit(1)
