"""Asks gold masters back from cold storage, and notices when they are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime

from heaters_dagster.domain.cold_storage import Restore, RestoreOffer, RestoreTerms
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.export_profile import MadeFrom
from heaters_dagster.domain.keys import gold_master_key
from heaters_dagster.registries import EXPORT_PROFILES
from resources.object_store.interface import ObjectStore
from resources.postgres.database import Database
from resources.postgres.master_restores import MasterRestores

#: A restore takes minutes at best and hours as a rule.
EVERY_SECONDS = 60.0


def offers(
    source_video_ids: Iterable[int], profile: str, *, database: Database, objects: Callable[[], ObjectStore], terms: RestoreTerms
) -> list[RestoreOffer]:
    """What exports with `profile` will ask back from cold storage, before anything is asked for: a request to the store for each video.

    Gold masters that are on their way cost nothing more. Raises what ObjectStore raises, UnknownNameError for a profile that is not there.
    """
    if EXPORT_PROFILES.load(profile).made_from is not MadeFrom.GOLD_MASTER:
        return []
    wanted = sorted(set(source_video_ids))
    coming = MasterRestores(database).load(wanted)
    found = {one: objects().info(gold_master_key(one)) for one in wanted if one not in coming}
    return [RestoreOffer(one, info.storage_class, info.byte_size, terms) for one, info in found.items() if info and info.needs_restore]


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
