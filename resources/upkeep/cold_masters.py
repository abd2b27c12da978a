"""Asks gold masters back from cold storage, and notices when they are there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from heaters_dagster.domain.cold_storage import Restore, RestoreTerms
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.keys import gold_master_key
from resources.object_store.interface import ObjectStore
from resources.postgres.database import Database
from resources.postgres.master_restores import MasterRestores

#: A restore takes minutes at best and hours as a rule.
EVERY_SECONDS = 60.0


def asked_back(source_video_id: int, *, database: Database, objects: ObjectStore, terms: RestoreTerms) -> Restore | None:
    """Ask for the gold master of a source video, if it is in cold storage; returns what was asked for, None when it can be read.

    Done again it comes to the same; after the copy has expired it asks anew. Raises what ObjectStore raises.
    """
    key = gold_master_key(source_video_id)
    found = objects.info(key)
    if found is None or not found.needs_restore:
        return None
    objects.restore(key, days=terms.days, tier=terms.tier_for(found.storage_class))
    restores = MasterRestores(database)
    restores.put(source_video_id, Restore.asked(found.storage_class, found.byte_size, terms, datetime.now(UTC)))
    return restores.load([source_video_id])[source_video_id]


def notice_restored(
    database: Database, objects: Callable[[], ObjectStore], terms: RestoreTerms, *, every_seconds: float = EVERY_SECONDS
) -> list[int]:
    """Look for gold masters that were asked for; returns the source videos whose exports need not wait any more."""
    back = []
    for source_video_id in MasterRestores(database).to_look_at(every_seconds=every_seconds):
        with suppress(HeatersError):  # the store does not answer: the next look asks again
            if asked_back(source_video_id, database=database, objects=objects(), terms=terms) is None:
                MasterRestores(database).forget(source_video_id)
                back.append(source_video_id)
    return back
