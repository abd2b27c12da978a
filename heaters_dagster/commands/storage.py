"""The bucket: how it is set, how it should be set, and the rights in it that Heaters needs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import example
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.errors import BadRequestError, SettingsError
from heaters_dagster.settings import Settings, load_settings

app = typer.Typer(help="Set up the bucket, check it, and print the rights that Heaters needs in it.", no_args_is_help=True)


@app.command(epilog=example("storage setup"))
def setup(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit with 1 when something would be changed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Set the bucket as Heaters needs it: who may read, what is removed by itself, what moves to other storage classes.

    It shows what it will change and asks. The bucket is made if it is not there. Rules and tags of others stay. It can be typed again at
    any time. docs/operate/storage.md describes it.
    """
    from resources.object_store.bucket_setup import BucketSetup
    from resources.object_store.probe import check_that_they_answer
    from resources.object_store.s3_errors import store_errors

    settings = load_settings()
    bucket = BucketSetup(settings)
    check_that_they_answer(settings, [bucket.bucket])
    parts = bucket.parts()
    terminal.say(f"s3://{bucket.bucket} (APP_ENV={settings.app_env})")
    columns = (Column("", "what"), Column("now", "told", wraps=True), Column("to change", "wanted", wraps=True))
    terminal.show_table("", columns, [{"what": part.what, "told": part.told, "wanted": part.wanted} for part in parts])
    wanted = [part for part in parts if part.change is not None]
    if not wanted:
        terminal.say("Nothing has to be changed.")
        return
    if check:
        terminal.say("To change it, type: heaters storage setup")
        raise typer.Exit(1)
    if not yes:
        if not sys.stdin.isatty():
            raise BadRequestError("nobody is there to ask: add --yes to change it, or --check to look only")
        if not typer.confirm("Change it?", default=False):
            raise typer.Exit(1)
    for part in wanted:
        assert part.change is not None
        with store_errors(bucket.bucket, ""):
            part.change()
        terminal.say(f"{part.what}: done")


@app.command(epilog=example("storage policy"))
def policy(
    for_setup: Annotated[bool, typer.Option("--setup", help="The rights for heaters storage setup instead.")] = False,
) -> None:
    """Print the least IAM policy for the credentials that Heaters runs with, as JSON."""
    terminal.show_json(policy_of(load_settings(), setup=for_setup))


def policy_of(settings: Settings, *, setup: bool = False) -> dict[str, object]:
    """The least policy for these settings. Raises SettingsError when there is no bucket."""
    from heaters_dagster.domain.bucket_rights import least_policy

    if settings.object_bucket is None:
        raise SettingsError("there is no bucket, so no rights are needed: objects lie in a folder")
    submitted = {place for place in settings.submit_folders if place.startswith("s3://")}
    watched = {place for place in settings.watch if place.startswith("s3://")}
    backups = settings.backup_to if (settings.backup_to or "").startswith("s3://") else None
    return least_policy(
        settings.object_bucket,
        kms_key=settings.s3_kms_key,
        has_tags=bool(settings.s3_tags),
        read_places=submitted | watched,
        moved_places=watched if settings.watch_then == "move" else (),
        backups=backups if backups != f"s3://{settings.object_bucket}" else None,
        setup=setup,
    )
