"""`python -m review_app`: serve the review app on HEATERS_REVIEW_HOST and HEATERS_REVIEW_PORT."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from heaters_dagster import event_log
from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.quiet_server import serve
from heaters_dagster.settings import load_settings
from review_app.server.daemon_watch import watch_the_daemon
from review_app.server.pace import PatientProtocol

#: Longer than browsers keep a connection that they may use again (Chromium 300 s, Firefox 115 s), so it is they who end it. A request
#: that is on its way when the server ends its connection meets a reset: with uvicorn's own 5 s, 110 of 400 posts did that came 5 s after
#: each other.
KEEP_ALIVE_SECONDS = 330
#: Time for running requests when the server is stopped: decisions take milliseconds, and an upload must not delay the end.
GRACE_SECONDS = 5


_HELP = """Usage: python -m review_app

Serve the review app on HEATERS_REVIEW_HOST and HEATERS_REVIEW_PORT until it is stopped. It takes no arguments: docs/settings.md has all
settings, docs/review-app.md says what it shows. heaters up starts it with everything else; heaters serve review is the same as this."""


def main(arguments: Sequence[str] = ()) -> int:
    """Exit code: 0 when it was stopped or has shown its help, 2 when the settings or arguments cannot be used."""
    if {"-h", "--help"} & set(arguments):
        print(_HELP)
        return 0
    if arguments:
        print(f"python -m review_app takes no arguments, but got: {' '.join(arguments)}. Its help: --help", file=sys.stderr)
        return 2
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    event_log.set_up(settings, "review", owns_output=True)
    print(f"Review app: {settings.review_url}", flush=True)
    watch_the_daemon(settings)
    serve(
        "review_app.server.launch:app",
        host=settings.review_host,
        port=settings.review_port,
        access_log=False,
        http=PatientProtocol,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        **event_log.uvicorn_options(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
