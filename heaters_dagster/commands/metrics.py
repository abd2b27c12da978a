"""The figures for Prometheus: printed once, or served from a machine that has no review app."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Annotated

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import example
from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.doors import machine_names, refusal_of_host, refusal_of_metrics
from heaters_dagster.settings import Settings, is_loopback, load_settings

if TYPE_CHECKING:
    from resources.upkeep.metrics import Metrics

app = typer.Typer()
#: A connection that sends nothing for this long is ended.
_SILENT_SECONDS = 10.0


@app.command(epilog=example("metrics"))
def metrics(
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="Serve them at HEATERS_METRICS_ADDRESS until Ctrl-C, for a machine that has nothing else which serves them."
        ),
    ] = False,
) -> None:
    """Print the figures that Prometheus reads: queues, durations, failures, sizes, pools, connections."""
    settings = load_settings()
    if not serve:
        terminal.out.file.write(_opened(settings).text().decode())
        return
    if settings.metrics_place is None:
        raise SettingsError("HEATERS_METRICS_ADDRESS is not set: set it to the host and port to serve at, for example 127.0.0.1:9464")
    with served_metrics(settings) as address:
        terminal.say(f"Serving {address}; Ctrl-C ends it")
        threading.Event().wait()


def _opened(settings: Settings) -> Metrics:
    from resources.orchestrator.dagster_resources import shared_database
    from resources.upkeep.metrics import Metrics

    return Metrics(settings, lambda: shared_database(settings))


@contextmanager
def served_metrics(settings: Settings) -> Iterator[str | None]:
    """Serve the figures at HEATERS_METRICS_ADDRESS while the block runs; yields where. None and nothing when that is not set.

    Raises SettingsError when other machines could reach it and no token is set, or when the port cannot be used.
    """
    place = settings.metrics_place
    if place is None:
        yield None
        return
    host, port = place
    if not is_loopback(host) and settings.metrics_token is None:
        raise SettingsError(f"HEATERS_METRICS_ADDRESS={settings.metrics_address} lets other machines in: set HEATERS_METRICS_TOKEN too")
    try:
        server = _server(settings, host, port)
    except OSError as error:
        raise SettingsError(
            f"HEATERS_METRICS_ADDRESS={settings.metrics_address} cannot be used ({error.strerror or error}): set it to another port"
        ) from None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    try:
        yield f"http://{settings.metrics_address}/metrics"
    finally:
        server.shutdown()
        server.server_close()


def _server(settings: Settings, host: str, port: int) -> ThreadingHTTPServer:
    from resources.upkeep.metrics import CONTENT_TYPE

    figures = _opened(settings)
    names = machine_names([host])

    class Figures(BaseHTTPRequestHandler):
        timeout = _SILENT_SECONDS
        server_version, sys_version = "Heaters", ""

        def do_GET(self) -> None:
            given = {name.lower(): value for name, value in self.headers.items()}
            refusal = refusal_of_host(self.headers.get_all("host") or [], names, setting="HEATERS_METRICS_ADDRESS")
            refusal = refusal or refusal_of_metrics(given, settings.metrics_token, is_private=is_loopback(host))
            if refusal is None and self.path.partition("?")[0] != "/metrics":
                refusal = 404, "There is only /metrics here.\n"
            status, body, kind = (200, figures.text(), CONTENT_TYPE) if refusal is None else (refusal[0], refusal[1].encode(), "text/plain")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            logging.getLogger(__name__).debug(format, *args)

    class Server(ThreadingHTTPServer):
        address_family = AF_INET6 if ":" in host else AF_INET
        daemon_threads = True

    return Server((host, port), Figures)
