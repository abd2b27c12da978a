"""Asks gold masters back from cold storage, once a person has agreed to what that costs, and notices when they are there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime

from heaters_dagster.domain.cold_storage import Restore, RestoreOffer, RestoreTerms
from heaters_dagster.domain.errors import HeatersError, UnknownNameError
from heaters_dagster.domain.export_profile import MadeFrom
from heaters_dagster.domain.keys import gold_master_key
from heaters_dagster.domain.states import APPROVED_STATES
from heaters_dagster.domain.transitions import BEFORE_EXPORT
from heaters_dagster.registries import EXPORT_PROFILES
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import Clip
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.master_restores import MasterRestores, RestoreAgreements

#: A restore takes minutes at best and hours as a rule.
EVERY_SECONDS = 60.0
#: How often it is looked whether a gold master can be read for which nobody has agreed: somebody may have brought it back by hand.
_UNANSWERED_EVERY_SECONDS = 3600.0


def is_from_master(profile: str) -> bool:
    """Whether files with this profile are made from the gold master. False for a profile that is not there: the export says so."""
    with suppress(UnknownNameError):
        return EXPORT_PROFILES.load(profile).made_from is MadeFrom.GOLD_MASTER
    return False


def to_be_made_from_masters(clips: Iterable[Clip], *, database: Database) -> set[int]:
    """Source videos of those of these clips, as a decision leaves them, that get files from the gold master because of it.

    An approved clip without a file gets all that were asked for; one that has its file gets its first one anew.
    """
    approved = [clip for clip in clips if clip.is_live and clip.state in APPROVED_STATES]
    exports = ExportStore(database).of_clips([clip.id for clip in approved if clip.is_virtual])
    found = set()
    for clip in approved:
        first = {clip.export_profile} if clip.is_virtual or clip.state in BEFORE_EXPORT else set()
        if any(map(is_from_master, first | {one.profile for one in exports.get(clip.id, ())})):
            found.add(clip.source_video_id)
    return found


def offers(
    source_video_ids: Collection[int], *, database: Database, objects: Callable[[], ObjectStore], terms: RestoreTerms
) -> list[RestoreOffer]:
    """What files from these gold masters take, before anything is asked for: a request to the store for each source video.

    Gold masters that are on their way cost nothing more. Raises what ObjectStore raises.
    """
    wanted = sorted(set(source_video_ids))
    coming = MasterRestores(database).load(wanted) if wanted else {}
    found = {one: objects().info(gold_master_key(one)) for one in wanted if one not in coming}
    return [RestoreOffer(one, info.storage_class, info.byte_size, terms) for one, info in found.items() if info and info.needs_restore]


def unanswered(database: Database, terms: RestoreTerms, source_video_ids: Collection[int] | None = None) -> dict[int, RestoreOffer]:
    """Source video id -> the offer to which nobody has agreed yet, although exports need it; of all when None.

    Not where nothing needs it any more, because clips were skipped, or the source video was deleted.
    """
    waiting = RestoreAgreements(database).unanswered(source_video_ids)
    wanted = ExportStore(database).unmade_from_master(waiting) if waiting else set()
    return {one: RestoreOffer(one, found.storage_class, found.byte_size, terms) for one, found in waiting.items() if one in wanted}


def waits_for_a_word(offer: RestoreOffer, *, database: Database) -> bool:
    """Whether nobody has agreed to this offer; exports then wait until a person does."""
    agreements = RestoreAgreements(database)
    if agreements.covers(offer.source_video_id, offer.price):
        return False
    agreements.ask(offer)
    return True


def asked_back(source_video_id: int, *, database: Database, objects: ObjectStore, terms: RestoreTerms) -> Restore | RestoreOffer | None:
    """Ask for the gold master of a source video, if it is in cold storage and a person has agreed to the price.

    Returns what was asked for, the offer that waits for a person's word, or None when it can be read. Done again it comes to the same;
    after the copy has expired it needs a word again. Raises what ObjectStore raises.
    """
    key, restores = gold_master_key(source_video_id), MasterRestores(database)
    found = objects.info(key)
    if found is None or not found.needs_restore:
        RestoreAgreements(database).forget(source_video_id)
        return None
    offer = RestoreOffer(source_video_id, found.storage_class, found.byte_size, terms)
    if source_video_id not in restores.load([source_video_id]) and waits_for_a_word(offer, database=database):
        return offer
    objects.restore(key, days=terms.days, tier=terms.tier_for(found.storage_class))
    restores.put(source_video_id, Restore.asked(found.storage_class, found.byte_size, terms, datetime.now(UTC)))
    return restores.load([source_video_id])[source_video_id]


def notice_restored(
    database: Database, objects: Callable[[], ObjectStore], terms: RestoreTerms, *, every_seconds: float = EVERY_SECONDS
) -> list[int]:
    """Look for gold masters that are waited for; returns the source videos whose exports need not wait any more."""
    back = []
    looked = MasterRestores(database).to_look_at(every_seconds=every_seconds)
    looked += RestoreAgreements(database).to_look_at(every_seconds=max(every_seconds, _UNANSWERED_EVERY_SECONDS))
    for source_video_id in looked:
        with suppress(HeatersError):  # the store does not answer: the next look asks again
            if asked_back(source_video_id, database=database, objects=objects(), terms=terms) is None:
                MasterRestores(database).forget(source_video_id)
                back.append(source_video_id)
    return back
