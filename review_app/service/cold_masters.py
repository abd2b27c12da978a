"""What pages say of gold masters in cold storage, and what people agree to there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from heaters_dagster.domain.cold_storage import SMALL_SUM_USD, RestoreOffer
from heaters_dagster.domain.errors import HeatersError
from resources.files.price_table import restore_terms
from resources.postgres.clip_store import Clip
from resources.postgres.master_restores import RestoreAgreements
from resources.upkeep.cold_masters import offers, to_be_made_from_masters, unanswered, waits_for_a_word
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk


def masters_wait(desk: ReviewDesk, left: Sequence[Clip]) -> list[str]:
    """Sentences about gold masters in cold storage that files need because of a decision. left: the clips as it left them.

    The decision stands. The files wait until a person agrees to the price, which the page Source videos asks.
    """
    try:
        wanted = to_be_made_from_masters(left, database=desk.database)
        found = offers(wanted, database=desk.database, objects=lambda: desk.objects, terms=restore_terms(desk.settings))
        waiting = [offer for offer in found if waits_for_a_word(offer, database=desk.database)]
    except HeatersError:
        return []  # the store or the database does not answer: the export finds it out, and waits
    return [f"For files that are made again {offer.words}. Say under Source videos, Exports whether to get it back." for offer in waiting]


def unanswered_restore(desk: ReviewDesk, source_video_id: int) -> RestoreOffer | None:
    """What exports of a source video wait for, because nobody has agreed to it. Raises HeatersError."""
    return unanswered(desk.database, restore_terms(desk.settings), [source_video_id]).get(source_video_id)


def agree(desk: ReviewDesk, session: Session, source_video_ids: Iterable[int], offer: RestoreOffer | None) -> None:
    """A person asks for files from these gold masters. offer: to which they agreed; None when there was no question."""
    usd = SMALL_SUM_USD if offer is None else max(SMALL_SUM_USD, offer.price)
    RestoreAgreements(desk.database).agree(source_video_ids, usd, by=session.reviewer)
