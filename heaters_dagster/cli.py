"""The `heaters` program: all commands, and errors as a line or two with an exit code.

Exit codes: 0 done, 1 work failed, 2 wrong usage. Heavy modules are imported where they are used: `heaters --help` answers at once.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO, StringIO, TextIOWrapper
from typing import Annotated

import typer

from heaters_dagster import event_log
from heaters_dagster.commands import (
    alerts,
    backups,
    clips,
    cut_lists,
    cuts,
    evaluate,
    facts,
    health,
    metrics,
    replacement,
    report,
    review,
    running,
    serve,
    sites,
    source_videos,
    storage,
    submit,
    subscriptions,
    terminal,
    watched,
)
from heaters_dagster.domain.errors import HeatersError, SettingsError
from heaters_dagster.settings import load_settings

app = typer.Typer(
    name="heaters",
    help="Turn long videos into reviewed, frame-exact, searchable clips.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def heaters(
    version: Annotated[
        bool, typer.Option("--version", callback=running.print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Turn long videos into reviewed, frame-exact, searchable clips."""


for commands in (
    running.app,
    submit.app,
    source_videos.app,
    replacement.app,
    facts.app,
    subscriptions.app,
    watched.app,
    clips.app,
    cut_lists.app,
    metrics.app,
    backups.app,
    report.app,
    evaluate.app,
    health.app,
):
    app.add_typer(commands)
app.add_typer(cuts.app, name="cuts")
app.add_typer(review.app, name="review")
app.add_typer(sites.app, name="sites")
app.add_typer(alerts.app, name="alerts")
app.add_typer(storage.app, name="storage")
app.add_typer(serve.app, name="serve")


def main() -> None:
    """Run the `heaters` program: it runs a command and turns errors into a line or two and an exit code."""
    # When the caller has closed standard output or error, it wants no output; Python then has None for them. Closed input is empty.
    sys.stdout, sys.stderr = sys.stdout or StringIO(), sys.stderr or StringIO()
    sys.stdin = sys.stdin or TextIOWrapper(BytesIO())
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    warnings.filterwarnings(
        "ignore", category=Warning, module=r"dagster\..*"
    )  # warnings about preview features, which Heaters uses on purpose
    logging.getLogger().addFilter(_worth_saying)
    with suppress(SettingsError):  # the command itself says what is wrong
        event_log.set_up(load_settings(), "command")
    try:
        app(args=list(arguments))
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0 if done.code is None else 1
    except SettingsError as error:
        terminal.complain(str(error))
        return 2
    except HeatersError as error:
        terminal.complain(str(error))
        return 1
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        terminal.complain(told)
        return 1
    return 0


def _worth_saying(record: logging.LogRecord) -> bool:
    """False for the four lines that dagster-postgres writes at each try to reach a dead database: the last error is enough."""
    return not record.getMessage().startswith("Retrying failed database")


def _told(error: Exception) -> str | None:
    """What went wrong outside Heaters (files, the database, Dagster), in words. None for a defect of Heaters, which needs its traceback."""
    package, lines = type(error).__module__.partition(".")[0], str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, (OSError, UnicodeError)):
        return reason
    if package in {"sqlalchemy", "psycopg", "psycopg2", "dagster_postgres"}:
        return f"the database cannot be used: {reason}. heaters doctor says more; after the repair type the same command again"
    if package.startswith("dagster"):
        return f"Dagster: {reason}. heaters doctor tests its database; after the repair type the same command again"
    return None
