"""Looks at watched places in a thread of its own, where files are sent to a bucket: Dagster ends a tick of a sensor after a minute."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, Queue
from threading import Lock, Thread

from resources.sources.watched_places import PlaceLook

Looked = list[PlaceLook] | Exception


class LookBeside:
    """One look at a time. When the process ends in the middle, the next look goes on with what is in the bucket."""

    def __init__(self) -> None:
        self._answers: Queue[Looked] = Queue()
        self._lock = Lock()
        self._at_work = False

    def look(self, look: Callable[[], list[PlaceLook]], *, patience_seconds: float) -> list[PlaceLook] | None:
        """What a look has found, this one or one that was begun before; None when it still goes on. Raises what the look has raised."""
        with self._lock:
            if not self._at_work:
                self._at_work = True
                Thread(target=self._run, args=(look,), name="watched places", daemon=True).start()
        try:
            answer = self._answers.get(timeout=patience_seconds)
        except Empty:
            return None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _run(self, look: Callable[[], list[PlaceLook]]) -> None:
        answer: Looked
        try:
            answer = look()
        except Exception as error:  # the sensor says it
            answer = error
        with self._lock:
            self._at_work = False
            self._answers.put(answer)
