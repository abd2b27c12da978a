"""Says when Dagster's daemon is silent: its own sensors cannot, and the review app is another process."""

from __future__ import annotations

import logging
import threading

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.settings import Settings
from resources.postgres.database import open_database
from resources.upkeep.alert_channels import alert_channels
from resources.upkeep.alerts import OF_THE_REVIEW_APP, look_and_tell


def watch_the_daemon(settings: Settings, *, every_seconds: float = 60.0) -> threading.Event:
    """Look once a minute in a thread of its own, when the settings have a channel for alerts. Returns what ends it."""
    end = threading.Event()
    if alert_channels(settings):
        threading.Thread(target=_watch, args=(settings, every_seconds, end), name="watch of the daemon", daemon=True).start()
    return end


def _watch(settings: Settings, every_seconds: float, end: threading.Event) -> None:
    while not end.wait(every_seconds):
        try:
            database = open_database(settings)
            try:
                look_and_tell(settings, database, OF_THE_REVIEW_APP)
            finally:
                database.dispose()
        except HeatersError as error:  # Postgres is down; everything else says so too
            logging.getLogger(__name__).info("the daemon could not be looked for: %s", error)
