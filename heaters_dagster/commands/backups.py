"""Back up both databases with the list of objects that they need; restore them; prove a backup."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import AsJson, example, opened_database
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from resources.upkeep.backup_place import AboutBackup
    from resources.upkeep.restore import Restored

app = typer.Typer()

_COLUMNS = (
    Column("backup", "name"),
    Column("rows", "rows", number=True),
    Column("objects", "objects", number=True),
    Column("MB", "megabytes", number=True),
    Column("missing", "missing", number=True),
)
_Name = Annotated[str | None, typer.Argument(metavar="BACKUP", help="Name of a backup, as --list shows it. Without it: the newest.")]
_PLACE = "A folder or s3://bucket/prefix; backups lie in backups/ there. Without it: HEATERS_BACKUP_TO, else the bucket, else HEATERS_HOME."


@app.command(epilog=example("backup --to /mnt/backups"))
def backup(
    name: _Name = None,
    to: Annotated[str | None, typer.Option("--to", metavar="PLACE", help=_PLACE)] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the backups that are there; make none.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Prove a backup: load it into a Postgres of its own, count, and compare the objects. Makes none."),
    ] = False,
    hash_all: Annotated[
        bool, typer.Option("--hash-all", help="Compute every checksum that is not known yet; else at most 20 GiB are read for them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Back up the rows of Heaters and Dagster and the list of objects that they need, and delete backups that are not kept.

    The objects themselves are not copied, and neither is the secret key: keep HEATERS_SECRET_KEY (or the file secret_key) apart.
    """
    from resources.object_store.open import open_object_store
    from resources.object_store.probe import check_that_they_answer
    from resources.upkeep.backup import HASHED_BYTES, make_backup
    from resources.upkeep.backup_place import BackupPlace

    settings = load_settings()
    place = BackupPlace.of(settings, _place(to))
    if listed and check:
        raise typer.BadParameter("--list and --check are two questions: give one of them")
    check_that_they_answer(settings, [place.bucket, None if listed else settings.object_bucket])
    place = BackupPlace.named(settings, _place(to))
    if check:
        _check(settings, place, name, as_json)
    elif listed:
        _list(place, as_json)
    elif name is not None:
        raise typer.BadParameter("a name is for --check only; without --check a new backup is made, and its name is the time")
    else:
        with opened_database(settings) as database:
            objects = open_object_store(settings)
            read = None if hash_all else HASHED_BYTES
            about = make_backup(settings, database, objects, place, hashed_bytes=read, say=_quiet if as_json else terminal.say)
        if as_json:
            terminal.show_json(_row(about))
            return
        terminal.say(f"{about.sentence} In {place.folder}")
        if about.missing:
            terminal.warn(
                f"{counted(about.missing, 'object', 'objects')} that rows need are missing in the store: heaters doctor names them"
            )
        if about.without_checksum:
            terminal.say(
                f"{counted(about.without_checksum, 'checksum is', 'checksums are')} not known yet; --hash-all or the next backups tell"
            )


@app.command(epilog=example("restore 20261127T021300Z --from /mnt/backups"))
def restore(
    name: _Name = None,
    source: Annotated[str | None, typer.Option("--from", metavar="PLACE", help=_PLACE)] = None,
    without_dagster: Annotated[
        bool, typer.Option("--without-dagster", help="Only the rows of Heaters; Dagster begins with an empty history.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into an empty place, and say which files are newer than it and which are lost.

    The object store must be the one that the backup was made with, or a copy of it. A database with rows is refused.
    """
    from assets.exports import shows_clip
    from heaters_dagster.commands.up.held import running_at
    from resources.object_store.open import open_object_store
    from resources.object_store.probe import check_that_they_answer
    from resources.object_store.work_folder import WorkFolder
    from resources.orchestrator.dagster_connections import make_dagster_tables
    from resources.upkeep import restore as restoring
    from resources.upkeep.backup_place import BackupPlace

    settings = load_settings()
    if running_at(settings) is not None:
        terminal.complain("heaters up is running here: end it with Ctrl-C, then restore")
        raise typer.Exit(1)
    place, objects = BackupPlace.of(settings, _place(source)), open_object_store(settings)
    check_that_they_answer(settings, [place.bucket, settings.object_bucket])
    place = BackupPlace.named(settings, _place(source))
    done = restoring.restore(
        settings,
        objects,
        place,
        _chosen(place, name),
        make_dagster_tables=None if without_dagster else make_dagster_tables,
        shows=partial(shows_clip, objects=objects, work=WorkFolder.of(settings)),
        say=_quiet if as_json else terminal.say,
    )
    if as_json:
        terminal.show_json(done.to_json())
    else:
        _tell(done)
    if done.problems:
        raise typer.Exit(1)


def _tell(done: Restored) -> None:
    from resources.upkeep.restore import said

    rows = " and ".join(f"{count:,} rows of {part.capitalize()}" for part, count in done.rows.items())
    terminal.say(f"Backup {done.name} is restored: {rows}. Everything is as it was at {done.made_at}.")
    before, now = done.revisions
    if before != now:
        terminal.say(f"The backup is of an older Heaters: its rows were migrated from revision {before} to {now}.")
    for warning in done.warnings:
        terminal.warn(warning)
    if done.newer:
        terminal.say(f"{counted(len(done.newer), 'file in the object store is', 'files in the object store are')} newer than the backup:")
        for told in said((one.told for one in done.newer), "newer file"):
            terminal.say(f"  {told}")
        commands = [one.command for one in done.newer if one.command is not None]
        approved = [command.removeprefix("review approve ") for command in commands if command.startswith("review approve ")]
        if approved:
            terminal.say(f"To approve the clips again: heaters review approve {' '.join(approved)}")
        for command in commands:
            if not command.startswith("review approve "):
                terminal.say(f"To submit again: heaters {command}")
    for lost in said(done.lost, "object"):
        terminal.warn(f"lost: {lost}")
    if done.made_again:
        terminal.say(f"{counted(len(done.made_again), 'clip is', 'clips are')} exported again, because a file of them is lost.")
    for problem in done.problems:
        terminal.complain(problem)
    terminal.say("Next: heaters doctor, then heaters up")


def _check(settings: Settings, place: Any, name: str | None, as_json: bool) -> None:
    from resources.object_store.open import open_object_store
    from resources.orchestrator.dagster_connections import make_dagster_tables
    from resources.upkeep.backup_check import check_backup
    from resources.upkeep.restore import said

    about = _chosen(place, name)
    checked = check_backup(settings, open_object_store(settings), place, about, make_dagster_tables=make_dagster_tables)
    if as_json:
        terminal.show_json(checked.to_json())
    elif not checked.problems:
        rows = " and ".join(f"{count:,} rows of {part.capitalize()}" for part, count in checked.rows.items())
        read = f" ({checked.unread:,} of them have no checksum yet)" if checked.unread else ""
        terminal.say(f"Backup {about.name} is good: {rows} were loaded, all of {counted(checked.objects, 'object')} are there{read}.")
    for problem in said(checked.problems, "problem"):
        terminal.complain(problem)
    if checked.problems:
        raise typer.Exit(1)


def _chosen(place: Any, name: str | None) -> AboutBackup:
    from heaters_dagster.domain.errors import NotFoundError

    chosen = name or place.newest()
    if chosen is None:
        raise NotFoundError(f"there is no backup in {place.folder}: make one with heaters backup, or name another place")
    about: AboutBackup = place.about(chosen)
    return about


def _list(place: Any, as_json: bool) -> None:
    """One that cannot be read hides no other."""
    from heaters_dagster.domain.errors import PermanentError

    rows, unreadable = [], []
    for name in place.names():
        try:
            rows.append(_row(place.about(name)))
        except PermanentError as error:  # damaged, or thinned out meanwhile
            unreadable.append(str(error))
    _show(rows, place.folder, as_json)
    for told in unreadable:
        terminal.complain(told)
    if unreadable:
        raise typer.Exit(1)


def _show(rows: list[dict[str, Any]], folder: str, as_json: bool) -> None:
    if as_json:
        terminal.show_json(rows)
    elif rows:
        terminal.show_table(f"Backups in {folder}", _COLUMNS, [row | {"megabytes": f"{row['byte_size'] / 1e6:,.1f}"} for row in rows])
    else:
        terminal.say(f"There is no backup in {folder}.")


def _row(about: AboutBackup) -> dict[str, Any]:
    return {
        "name": about.name,
        "made_at": about.made_at,
        "heaters": about.heaters,
        "rows": sum(part.rows for part in about.parts.values()),
        "byte_size": about.byte_size,
        "objects": about.objects,
        "object_bytes": about.object_bytes,
        "missing": about.missing,
        "without_checksum": about.without_checksum,
    }


def _place(given: str | None) -> str | None:
    from heaters_dagster.setting_values import backup_place, path

    if given is None:
        return None
    try:
        return backup_place(given) if given.startswith("s3://") else str(path(given))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _quiet(sentence: str) -> None:
    """With --json nothing else is printed."""
