"""How far a queue is, for every answer to a page: counted when somebody has decided, else as it was counted a moment ago."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from dataclasses import replace
from threading import Lock
from typing import Any

from heaters_dagster.domain.review_queue import QueueFilter, QueueProgress
from resources.postgres.review_queue_store import ReviewQueueStore

#: How old the counts may be, and how old the rate of a reviewer, in an answer that is no decision. 200 pages ask 75 times a second.
_COUNTS_SECONDS = 2.0
_RATE_SECONDS = 20.0
#: Queues and reviewers that are remembered.
_MOST = 1000


class RecentProgress:
    """One per process; safe to share between threads."""

    def __init__(self, store: ReviewQueueStore) -> None:
        self._store = store
        self._lock = Lock()
        self._counted: dict[Hashable, tuple[float, QueueProgress]] = {}

    def counted(self, chosen: QueueFilter, reviewer: str) -> QueueProgress:
        """As it is now. Whatever is answered later is not older."""
        began = time.monotonic()
        progress = self._store.progress(chosen, reviewer=reviewer)
        queue = replace(chosen, states=())
        with self._lock:
            for key in (queue, (queue, reviewer)):
                if (known := self._counted.pop(key, None)) is not None and known[0] > began:
                    self._counted[key] = known
                else:
                    self._counted[key] = (began, progress)
            while len(self._counted) > _MOST:
                del self._counted[next(iter(self._counted))]
        return progress

    def recent(self, chosen: QueueFilter, reviewer: str) -> QueueProgress:
        """As somebody counted it in the last seconds, with the rate of this reviewer."""
        queue, now = replace(chosen, states=()), time.monotonic()
        with self._lock:
            counts, rate = self._counted.get(queue), self._counted.get((queue, reviewer))
        if counts is None or rate is None or now - counts[0] > _COUNTS_SECONDS or now - rate[0] > _RATE_SECONDS:
            return self.counted(chosen, reviewer)
        return replace(counts[1], per_hour=rate[1].per_hour)


def progress_json(progress: QueueProgress) -> Mapping[str, Any]:
    """For a page."""
    return {"done": progress.done, "left": progress.left, "per_hour": round(progress.per_hour, 1)}
