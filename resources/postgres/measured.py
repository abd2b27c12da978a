"""How long stages take: added up in rows, because the processes that do the work end with it.

A histogram as Prometheus has them, in a table: reading it costs the same after ten runs and after ten million.
"""

from __future__ import annotations

import math
from bisect import bisect_left

from sqlalchemy import BigInteger, Connection, func, literal, select
from sqlalchemy.dialects.postgresql import array, insert

from heaters_dagster.domain.stages import STAGES
from resources.postgres.knowing_tables import measured_seconds
from resources.postgres.tables import review_actions

#: From an export by stream copy to a gold master of many hours.
LIMITS_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0, math.inf)
APPROVAL_TO_FILE = "approval_to_file"
MEASURED = (*(stage.asset for stage in STAGES), APPROVAL_TO_FILE)


def measure(connection: Connection, what: str, seconds: float, *, outcome: str = "done") -> None:
    """Add one time. what: one of MEASURED. outcome: done or failed. The last statement of its transaction, because its row is shared."""
    own = measured_seconds.c
    limit = LIMITS_SECONDS[bisect_left(LIMITS_SECONDS, seconds)]
    row = insert(measured_seconds).values(what=what, outcome=outcome, up_to=limit, times=1, seconds=seconds)
    more = {"times": own.times + 1, "seconds": own.seconds + row.excluded.seconds}
    connection.execute(row.on_conflict_do_update(index_elements=["what", "outcome", "up_to"], set_=more))


def measure_approval_to_file(connection: Connection, clip_id: int) -> None:
    """Add the time since the last decision on the clip, which has its file now. Nothing for a clip on which nobody has decided."""
    decided = (
        select(func.max(review_actions.c.created_at))
        .where(review_actions.c.clip_ids.op("@>")(array([literal(clip_id, BigInteger)])))
        .scalar_subquery()
    )
    seconds = connection.scalar(select(func.extract("epoch", func.clock_timestamp() - decided)))
    if seconds is not None:
        measure(connection, APPROVAL_TO_FILE, max(0.0, float(seconds)))


def load_measured(connection: Connection) -> dict[tuple[str, str], tuple[list[int], float]]:
    """(what, outcome) -> how many times were up to each of LIMITS_SECONDS, the smaller ones included, and the sum of all in seconds."""
    found: dict[tuple[str, str], tuple[list[int], float]] = {}
    for row in connection.execute(select(measured_seconds)):
        counts, total = found.get((row.what, row.outcome), ([0] * len(LIMITS_SECONDS), 0.0))
        for place, limit in enumerate(LIMITS_SECONDS):
            if row.up_to <= limit:
                counts[place] += row.times
        found[row.what, row.outcome] = (counts, total + row.seconds)
    return found
