"""Alerts: which are open, which are over, and whether they reach people."""

from __future__ import annotations

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import example, opened_database
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import load_settings

app = typer.Typer(help="Alerts: which are open, which are over, and whether they reach people.", no_args_is_help=True)


@app.command("list", epilog=example("alerts list"))
def list_alerts() -> None:
    """List the alerts that are open and those that were over last, and channels that fail."""
    from resources.postgres.alert_store import AlertStore

    with opened_database(load_settings()) as database:
        store = AlertStore(database)
        standing, ended, troubles = store.load_open(), store.ended(), store.troubles()
    rows = [{"state": "open", "since": f"{one.begun_at:%Y-%m-%d %H:%M}", "cause": one.cause, "words": one.words} for one in standing]
    rows += [
        {"state": f"over {over:%Y-%m-%d %H:%M}", "since": f"{one.begun_at:%Y-%m-%d %H:%M}", "cause": one.cause, "words": one.words}
        for one, over in ended
    ]
    columns = (Column("", "state"), Column("since (UTC)", "since"), Column("cause", "cause"), Column("what is wrong", "words", wraps=True))
    if rows:
        terminal.show_table("", columns, rows)
    else:
        terminal.say("No alert is open, and there has been none.")
    for trouble in troubles:
        given_up = f", {trouble.given_up} of them for good" if trouble.given_up else ""
        terminal.warn(f"{trouble.channel}: {counted(trouble.messages, 'message')} could not be sent{given_up}: {trouble.error}")


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
