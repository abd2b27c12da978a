"""Keeps the leases of the runs that this process works on, and stops the work of a run whose lease was taken away."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from heaters_dagster.domain.errors import HeatersError, RunTakenAwayError
from resources.files import run_fence
from resources.postgres.run_leases import RunLeases

#: Of a lease's time: how often it is renewed.
_RENEWED_EVERY = 1 / 4
#: After a renewal that failed, for example because Postgres is being restarted.
_RETRY_SECONDS = 1.0


def _clock() -> float:
    """Seconds that also pass while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def interrupt_thread(thread: int) -> None:
    """Raise KeyboardInterrupt in a thread of this process, at its next step in Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))


def spare_thread(thread: int) -> None:
    """Take back what `interrupt_thread` has asked for, where it has not happened yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)


@dataclass(slots=True)
class _Kept:
    """thread: the one that works on the run. until: by this process's own clock, when the lease may have expired. lost: it was taken
    away, and the work has not stopped yet."""

    thread: int
    until: float
    lost: bool = False


class RunKeeper:
    """One for each process and database. `begin` a run, and `end` it when its work is over.

    stop: stops the work of a thread.
    """

    def __init__(self, leases: RunLeases, *, stop: Callable[[int], None] = interrupt_thread) -> None:
        self._leases, self._stop = leases, stop
        self._kept: dict[str, _Kept] = {}
        self._taken_away: set[str] = set()
        self._lock, self._renewing = threading.Lock(), threading.Lock()
        self._emptied = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    @property
    def is_of_this_process(self) -> bool:
        """False in a fork of the process that it was made in: its thread is not here."""
        return self._process == os.getpid()

    def begin(self, run_id: str) -> None:
        """This thread works on the run from now on, and on no other. Raises RunTakenAwayError when the run belongs to another process or
        was ended.
        """
        asked_at = _clock()
        try:
            self._leases.begin(run_id)
        except RunTakenAwayError:
            self._taken_away.add(run_id)
            raise
        with self._lock:
            mine = threading.get_ident()
            for earlier in [one for one, kept in self._kept.items() if kept.thread == mine]:  # nobody said that its work was over
                self._forget(earlier)
            self._kept[run_id] = _Kept(mine, asked_at + self._leases.seconds)
            self._emptied.clear()
            run_fence.put_up(self.check)
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep, name="leases of runs", daemon=True)
                self._thread.start()

    def end(self, run_id: str) -> bool:
        """The work on the run is over in this process; False when this process had not begun it."""
        while True:
            try:
                with self._lock:
                    kept = self._forget(run_id)
                    if not self._kept:
                        run_fence.take_down(self.check)
                        self._emptied.set()
                break
            except KeyboardInterrupt:
                if not self.was_taken_away(run_id):
                    raise
                # It was to stop the work, which is over here.
        if kept is None:
            return False
        with suppress(HeatersError):
            self._leases.end(run_id)
        return True

    def _forget(self, run_id: str) -> _Kept | None:
        """Hold the lock. No interrupt on account of this run comes afterwards."""
        kept = self._kept.pop(run_id, None)
        if kept is not None and kept.lost:
            spare_thread(kept.thread)
        return kept

    def was_taken_away(self, run_id: str) -> bool:
        """Whether this process worked on the run, or wanted to, and has no right to: it says nothing more about it."""
        return run_id in self._taken_away

    def check(self, *, anew: bool = False) -> None:
        """The fence: see `run_fence`. A lease that may have expired is renewed first; anew: each.

        Raises RunTakenAwayError, and DatabaseUnavailableError when it is not known.
        """
        if not self._kept or not self.is_of_this_process:
            return
        if anew or any(kept.until <= _clock() for kept in list(self._kept.values())):
            self.renew()
        mine = threading.get_ident()
        with self._lock:
            others = {kept.thread for kept in self._kept.values() if not kept.lost}
            lost = next((run_id for run_id, kept in self._kept.items() if kept.lost and (kept.thread == mine or mine not in others)), None)
        if lost is not None:
            raise RunTakenAwayError(_words(lost))

    def renew(self) -> None:
        """Renew all leases now. Raises DatabaseUnavailableError."""
        with self._renewing:
            with self._lock:
                wanted = [run_id for run_id, kept in self._kept.items() if not kept.lost]
            if not wanted:
                return
            asked_at = _clock()
            held = self._leases.renew(wanted)
            others = self._leases.load(set(wanted) - held)
            with self._lock:
                for run_id in wanted:
                    if (kept := self._kept.get(run_id)) is None:
                        continue
                    if run_id in held:
                        kept.until = asked_at + self._leases.seconds
                    elif run_id not in others:  # nobody took it away: the table was emptied, as by a restore
                        del self._kept[run_id]
                    else:
                        kept.lost = True
                        self._taken_away.add(run_id)
                        self._stop(kept.thread)

    def _keep(self) -> None:
        usual = pause = self._leases.seconds * _RENEWED_EVERY
        while True:
            self._emptied.wait(pause)
            with self._lock:
                if not self._kept:
                    self._thread = None
                    return
            try:
                self.renew()
                pause = usual
            except HeatersError:
                pause = min(_RETRY_SECONDS, usual)


def _words(run_id: str) -> str:
    return (
        f"run {run_id} was given up on, because this process had not reported for too long: it stops here and writes nothing more; "
        "another run does the work"
    )
