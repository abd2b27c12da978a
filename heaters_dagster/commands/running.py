"""Run Heaters on this machine: everything at once, only due work, or the demo; and test the installation."""

from __future__ import annotations

import sys
from dataclasses import asdict
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Annotated

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import AsJson, VideoIds, example
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import load_settings

app = typer.Typer()


@app.command(epilog=example("up --open"))
def up(
    open_browser: Annotated[bool, typer.Option("--open", help="Open the review app in a browser.")] = False,
) -> None:
    """Run everything: Postgres, Dagster with its sensors and schedules, and the review app. Ctrl-C ends all of it."""
    from heaters_dagster.commands.up.start import run_everything

    raise typer.Exit(run_everything(load_settings(), open_browser=open_browser))


@app.command(epilog=example("down"))
def down() -> None:
    """Stop the embedded Postgres. Data is kept."""
    from heaters_dagster.commands.up.held import running_at
    from resources.postgres.embedded_postgres import stop

    settings = load_settings()
    if settings.database_url:
        terminal.say("HEATERS_DATABASE_URL is set: Heaters did not start that Postgres, so it does not stop it.")
    elif running_at(settings) is not None:
        terminal.complain("heaters up is running and would start Postgres again: end heaters up with Ctrl-C, and Postgres stops with it")
        raise typer.Exit(1)
    elif stop(settings.postgres_folder):
        terminal.say("The embedded Postgres has stopped. Its data is kept.")
    else:
        terminal.say("The embedded Postgres was not running.")


@app.command(epilog=example("worker ingest enrich"))
def worker(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KIND]...",
            help="What it works on: export, ingest, enrich, archive_master, other. Without them: everything.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Work on runs that another machine hands out over Redis (HEATERS_BROKER_URL), until Ctrl-C.

    Each kind of work has processes of its own, as many as HEATERS_EXPORT_RUNS, HEATERS_INGEST_RUNS, HEATERS_ENRICH_RUNS and
    HEATERS_MASTER_RUNS say, so that an export never waits behind a gold master. All machines need the same broker, database, bucket and
    secret key.
    """
    from heaters_dagster.commands.up.worker import run_worker

    raise typer.Exit(run_worker(load_settings(), kinds or []))


@app.command(epilog=example("process 3 4"))
def process(
    videos: VideoIds = None,
    as_json: AsJson = False,
) -> None:
    """Do all due work now, with progress bars: fetch, proxy, cuts, gold master, exports, keyframes, embeddings, clean-up."""
    from heaters_dagster.commands.process_due import RunDone, process_due

    def tell(run: RunDone) -> None:
        if not as_json:
            terminal.say(run.sentence)

    try:
        with terminal.bars() as report:
            outcome = process_due(load_settings(), only=videos or None, report=report, say=terminal.warn, ended=tell)
    except KeyboardInterrupt:
        terminal.warn("interrupted; heaters process or heaters up does the interrupted work again")
        raise
    if as_json:
        terminal.show_json([asdict(done) for done in outcome.runs])
    elif outcome.problem is None:
        terminal.say(outcome.sentence)
    if outcome.problem is not None:
        terminal.complain(outcome.sentence)
    for told_last in (*outcome.waiting, *outcome.for_a_word, *outcome.notes):
        terminal.warn(told_last)
    for failure in outcome.failures:
        terminal.complain(failure)
    if outcome.failures or outcome.problem:
        raise typer.Exit(1)


@app.command(epilog=example("migrate --check"))
def migrate(
    check: Annotated[bool, typer.Option("--check", help="Only say what would be done; exit code 1 when there is something to do.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the schema of the database up to date. Other commands do so too, unless HEATERS_MIGRATE is false."""
    from resources.postgres.database import unmigrated_database
    from resources.postgres.migrations import migrate as bring_up_to_date
    from resources.postgres.migrations import refuse_unusable, schema_state

    database = unmigrated_database(load_settings())
    with database.read() as connection:
        before = schema_state(connection)
    if not check:
        bring_up_to_date(database)
    elif before.is_newer:
        refuse_unusable(before)
    database.dispose()
    steps = counted(len(before.pending), "step")
    if as_json:
        terminal.show_json({**asdict(before), "works": before.works or not check})
    elif before.pending:
        terminal.say(
            f"{steps} to do, from revision {before.revision or 'none'} to {before.newest}: type heaters migrate"
            if check
            else f"Done: {steps}, from revision {before.revision or 'none'} to {before.newest}."
        )
    else:
        newer = f", which a newer Heaters made; this one ({before.newest}) works with it" if before.is_newer else ""
        terminal.say(f"Nothing to do: the database is at revision {before.revision}{newer}.")
    if check and before.pending:
        raise typer.Exit(1)


@app.command(epilog=example("doctor --json"))
def doctor(
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Count again where stored counts are wrong; remove secrets that older versions left in the database, and then renew the "
            "signing key. Without it nothing is changed.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Test this machine and this installation: programs, database, store, model, settings, secrets in records, wrong data."""
    from heaters_dagster.commands.doctor import checked

    findings = checked(load_settings(), repair=repair)
    if as_json:
        terminal.show_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "[green]ok[/green]  " if finding.ok else "[red]FAIL[/red]" if finding.needed else "[yellow]note[/yellow]"
            terminal.out.print(f"{mark} {finding.what}: ", end="")
            terminal.say(finding.told)
    if any(finding.needed and not finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command(epilog=example("demo holiday.mp4"))
def demo(
    video: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A video of your own. Without it: the samples.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Take a video through the whole pipeline: proxy, cuts, approval, gold master, exports, keyframes, embeddings, search.

    In a terminal it then offers to start everything, so that you can review the second sample.
    """
    from heaters_dagster.commands.demo import run_demo

    code = run_demo(load_settings(), video)
    if code == 0 and sys.stdin.isatty() and terminal.out.is_terminal and _is_wanted_now():
        up(open_browser=False)
    raise typer.Exit(code)


def _is_wanted_now() -> bool:
    """Whether to start everything. Ctrl-C and Ctrl-D are a no: the demo is done, and `make demo` must not end with an error."""
    try:
        return typer.confirm("Start it now?", default=True)
    except typer.Abort:
        terminal.out.print()
        return False


@app.command(epilog=example("version"))
def version() -> None:
    """Print the version."""
    terminal.say(package_version("heaters"))


def print_version(wanted: bool) -> None:
    """For `heaters --version`."""
    if wanted:
        terminal.say(f"heaters {package_version('heaters')}")
        raise typer.Exit
