"""Nudges: messages by Postgres' NOTIFY that there may be work.

Nothing depends on them. Work is found by looking at the rows; a missed nudge only delays it until the next look.
Triggers (`heaters_nudge`) send ROWS in the transaction of the decision.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.engine import make_url

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.settings import Settings
from resources.postgres.connecting import with_patience
from resources.postgres.database import Database, database_url

CHANNEL = "heaters"
_RECONNECT_SECONDS = 2.0
_LONGEST_SILENCE_SECONDS = 60.0


class Nudge(StrEnum):
    """ROWS: source videos or clips changed to a state in which work may be due. RUNS: a run was put into Dagster's queue."""

    ROWS = "rows"
    RUNS = "runs"


def nudge(database: Database, kind: Nudge) -> None:
    """Tell all listeners. Never fails: a listener that misses it looks later."""
    with suppress(HeatersError), database.begin() as connection:
        connection.execute(text("select pg_notify(:channel, :kind)"), {"channel": CHANNEL, "kind": kind.value})


class Nudges:
    """Listens in its own thread and over its own connection, which is opened again when it is lost.

    `listening` is False while there is no connection: then no nudge arrives. Between nudges it sleeps: nothing wakes it
    but a word of the server, `close`, and once a minute the question whether the server is still there.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._heard: dict[Nudge, int] = dict.fromkeys(Nudge, 0)
        self._changed = threading.Condition()
        self._last = time.monotonic()
        self.listening = False
        self._closed = threading.Event()
        self._closing, self._close = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, name="nudges", daemon=True)
        self._thread.start()

    def heard(self, kind: Nudge) -> int:
        """How many nudges of this kind there were so far."""
        return self._heard[kind]

    def seconds_since_last(self) -> float:
        """Seconds since the last nudge of any kind, or since the start."""
        return time.monotonic() - self._last

    def wait(self, kind: Nudge, heard: int, seconds: float, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Wait until there were more nudges of this kind than `heard`; False when none came in time.

        until: what else ends the wait, asked after each `wake`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._heard[kind] != heard or until(), seconds)
            return self._heard[kind] != heard

    def wake(self) -> None:
        """Let those who wait ask their `until`."""
        with self._changed:
            self._changed.notify_all()

    def _tell(self, *kinds: Nudge) -> None:
        with self._changed:
            self._last = time.monotonic()
            for kind in kinds:
                self._heard[kind] += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Stop listening."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._close.send(b"x")
        self._thread.join()
        self._closing.close()
        self._close.close()

    def _listen(self) -> None:
        while not self._closed.is_set():
            with suppress(psycopg.Error, HeatersError, OSError):
                url = with_patience(make_url(database_url(self._settings)).set(drivername="postgresql"))
                address = url.render_as_string(hide_password=False)
                with psycopg.connect(address, autocommit=True, application_name="heaters nudges") as own:
                    own.execute(f"listen {CHANNEL}")
                    self.listening = True
                    self._tell(*Nudge)  # nudges may have been missed while there was no connection
                    self._pass_on(own)
            self.listening = False
            self._closed.wait(_RECONNECT_SECONDS)

    def _pass_on(self, own: psycopg.Connection[Any]) -> None:
        # Not `notifies(timeout=60)`: psycopg looks ten times a second whether it was interrupted.
        while not self._closed.is_set():
            for told in own.notifies(timeout=0):
                if told.payload in set(Nudge):
                    self._tell(Nudge(told.payload))
            heard, *_ = select.select([own.fileno(), self._closing.fileno()], [], [], _LONGEST_SILENCE_SECONDS)
            if not heard:
                own.execute("select 1")  # to notice a server that is gone
