"""`heaters health`: whether the parts of Heaters answer and can do their work, for people and for the health checks of containers."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import AsJson, example
from heaters_dagster.domain.errors import HeatersError, TransientError
from heaters_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from resources.postgres.database import Database

app = typer.Typer()

_PATIENCE_SECONDS = 5.0


class _NotWell(HeatersError):
    """A part does not answer, or cannot do its work."""


@app.command(epilog=example("health review"))
def health(
    part: Annotated[
        str | None,
        typer.Argument(metavar="PART", help="review, dagster, daemon, code or worker. Without it: those of heaters up."),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Only whether it answers, not whether it can use the database and the object store.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether a part of Heaters on this machine is ready for work. Exit code 0: it is; 1: it is not."""
    settings = load_settings()
    if part is not None and part not in _PARTS:
        raise typer.BadParameter(f"{part!r} is no part of Heaters: write {', '.join(list(_PARTS)[:-1])} or {list(_PARTS)[-1]}")
    told = {name: _problem(name, settings, live=live) for name in ([part] if part is not None else _OF_UP)}
    if as_json:
        terminal.show_json({name: {"ready": problem is None, "problem": problem} for name, problem in told.items()})
    else:
        for name, problem in told.items():
            if problem is None:
                terminal.say(f"{name}: {'answers' if live else 'ready'}")
            else:
                terminal.complain(f"{name}: {problem}")
    if any(told.values()):
        raise typer.Exit(1)


def _problem(name: str, settings: Settings, *, live: bool) -> str | None:
    try:
        _PARTS[name](settings, live)
    except (HeatersError, OSError) as error:
        return settings.without_secrets(str(error))
    return None


def _review(settings: Settings, live: bool) -> None:
    _ask(settings.review_url, "the review app", settings, live)


def _dagster(settings: Settings, live: bool) -> None:
    _ask(settings.dagster_local_url, "the Dagster UI", settings, live)


def _ask(address: str, what: str, settings: Settings, live: bool) -> None:
    """Ask a server. It says which part it cannot use; why, this process sees best for itself."""
    from resources.upkeep.readiness import LIVE_PATH, READY_PATH

    try:
        with urllib.request.urlopen(address + (LIVE_PATH if live else READY_PATH), timeout=_PATIENCE_SECONDS):
            return
    except urllib.error.HTTPError as error:
        try:
            unusable = json.loads(error.read(10_000))["unusable"]
        except (ValueError, KeyError, TypeError):
            raise _NotWell(f"{what} at {address} answers with status {error.code}: is another program there?") from None
        _check_places(settings)
        raise _NotWell(f"{what} at {address} says that it cannot use: {', '.join(map(str, unusable))}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise _NotWell(f"{what} does not answer at {address} ({reason})") from None


def _code(settings: Settings, live: bool) -> None:
    """By gRPC's own health check; Dagster's code server answers it once it has loaded the definitions."""
    import grpc  # type: ignore[import-untyped]
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

    from heaters_dagster.commands.up.held import socket_of

    sockets = map(socket_of, _held(settings, "up"))
    place = next((f"unix:{one}" for one in sockets if one.exists()), settings.code_server)
    with grpc.insecure_channel(place) as channel:
        try:
            asked = health_pb2.HealthCheckRequest(service="DagsterApi")
            answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=_PATIENCE_SECONDS)
        except grpc.RpcError as error:
            raise _NotWell(f"the code server does not answer at {place} ({error.code().name.lower()})") from None
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise _NotWell(f"the code server at {place} says that it does not serve")
    if not live:
        _check_places(settings)


def _daemon(settings: Settings, live: bool) -> None:
    """By what it writes into the database: of all machines only one has a daemon that works."""
    from resources.postgres.server_figures import load_dagster_figures, reading_dagster_tables
    from resources.upkeep.condition import daemon_problem

    # It must be there: what follows would start an embedded one.
    with _running_database(settings), reading_dagster_tables(settings) as connection:
        found = load_dagster_figures(connection)
    if (problem := daemon_problem(found)) is not None:
        raise _NotWell(problem)
    if not live:
        _check_places(settings)


def _worker(settings: Settings, live: bool) -> None:
    """By its folder, which it holds while it runs; in it is a file for each kind of work that it waits for."""
    if not any(any(folder.iterdir()) for folder in _held(settings, "worker")):
        raise _NotWell(f"no worker runs with HEATERS_HOME={settings.home}, or it does not wait for work yet")
    if not live:
        _check_places(settings)


def _held(settings: Settings, name: str) -> Iterator[Path]:
    from resources.object_store.work_folder import WorkFolder

    work = WorkFolder(settings.work_folder)
    yield from (folder for folder in work.root.glob(f"{name}.*") if work.is_held(folder.name))


def _check_places(settings: Settings) -> None:
    """Raises HeatersError when this process cannot use the database or the object store."""
    from resources.upkeep.readiness import Readiness

    with _running_database(settings) as database:
        found = Readiness(settings, lambda: database).now()
    if not found.ok:
        raise _NotWell("; ".join(f"the {name} cannot be used: {problem}" for name, problem in found.problems.items()))


@contextmanager
def _running_database(settings: Settings) -> Iterator[Database]:
    """Neither started nor migrated: a health check changes nothing. Raises HeatersError."""
    from resources.postgres import embedded_postgres
    from resources.postgres.database import Database, database_url

    if settings.database_url is None and not embedded_postgres.status(settings.postgres_folder).running:
        raise TransientError("the embedded Postgres does not run: heaters up starts it")
    database = Database.connect(database_url(settings), pool_size=1)
    try:
        with database.read() as connection:
            connection.exec_driver_sql("select 1")
        yield database
    finally:
        database.dispose()


_PARTS: dict[str, Callable[[Settings, bool], None]] = {
    "review": _review,
    "dagster": _dagster,
    "daemon": _daemon,
    "code": _code,
    "worker": _worker,
}
_OF_UP = ("review", "dagster", "daemon", "code")
