"""Before gold masters are asked back from cold storage: what that takes, in words, and a question where it costs more than a small sum.

What a person agrees to here is stored (`RestoreAgreements`): without that no stage asks for a gold master.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.domain.cold_storage import SMALL_SUM_USD, price_words
from heaters_dagster.domain.states import APPROVED_STATES, ClipState
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings

if TYPE_CHECKING:
    from resources.postgres.clip_store import Clip
    from resources.postgres.database import Database

_BY = "the command line"


def agree_to_restores(clip_ids: Sequence[int], profile: str, settings: Settings, database: Database, *, yes: bool) -> None:
    """For files of these clips with this export profile. Raises BadParameter where there is nobody to ask, Abort when the answer is no."""
    from resources.postgres.clip_store import ClipStore
    from resources.upkeep.cold_masters import is_from_master

    videos = {clip.source_video_id for clip in ClipStore(database).load_many(clip_ids)} if is_from_master(profile) else set()
    _agree(videos, settings, database, yes=yes, undone="Nothing was asked for")


def agree_to_approve(clip_ids: Sequence[int], settings: Settings, database: Database, *, yes: bool) -> None:
    """For the files that are asked for already, and are made when these clips are approved (again). Raises as `agree_to_restores`."""
    from resources.postgres.clip_store import ClipStore

    again = [clip for clip in ClipStore(database).load_many(clip_ids) if clip.state not in APPROVED_STATES]
    approved = [replace(clip, state=ClipState.REVIEW_APPROVED, is_virtual=True) for clip in again]
    agree_to_decision(approved, settings, database, yes=yes, undone="Nothing was approved")


def agree_to_decision(clips: Iterable[Clip], settings: Settings, database: Database, *, yes: bool, undone: str) -> None:
    """For the files that are made because of a decision. clips: as it leaves them. Raises as `agree_to_restores`."""
    from resources.upkeep.cold_masters import to_be_made_from_masters

    _agree(to_be_made_from_masters(clips, database=database), settings, database, yes=yes, undone=undone)


def agree_to_retry(videos: Collection[int], settings: Settings, database: Database, *, yes: bool) -> None:
    """For the files of these source videos that failed, or that wait for a word. The rest is tried again whatever the answer is."""
    from resources.postgres.export_store import ExportStore

    try:
        _agree(ExportStore(database).unmade_from_master(videos), settings, database, yes=yes, undone="It stays there until then")
    except typer.BadParameter as error:
        terminal.warn(str(error))
    except typer.Abort:
        terminal.warn("It stays in cold storage, and the files from it wait.")


def _agree(videos: Collection[int], settings: Settings, database: Database, *, yes: bool, undone: str) -> None:
    """videos: those of which a file is made from the gold master."""
    if not videos:
        return
    from resources.files.price_table import restore_terms
    from resources.object_store.open import open_object_store
    from resources.postgres.master_restores import RestoreAgreements
    from resources.postgres.source_video_store import SourceVideoStore
    from resources.upkeep.cold_masters import offers

    terms = restore_terms(settings)
    found = offers(videos, database=database, objects=lambda: open_object_store(settings), terms=terms)
    for offer in found:
        title = SourceVideoStore(database).load(offer.source_video_id).title
        terminal.warn(f"{title}: {offer.words}.")
    price = sum(offer.price for offer in found)
    if price > SMALL_SUM_USD and not yes:
        told = price_words(price, terms.prices.currency)
        if not sys.stdin.isatty():
            raise typer.BadParameter(f"this is not a terminal, so Heaters cannot ask: add --yes to spend about {told}. {undone}")
        typer.confirm(f"Ask for {counted(len(found), 'gold master')}, for about {told}?", abort=True, err=True)
    agreements = RestoreAgreements(database)
    # Also of a gold master that is not made yet, and will be in cold storage then: the small sum is never asked about.
    agreements.agree(set(videos) - {offer.source_video_id for offer in found}, SMALL_SUM_USD, by=_BY)
    for offer in found:
        agreements.agree([offer.source_video_id], max(offer.price, SMALL_SUM_USD), by=_BY)
