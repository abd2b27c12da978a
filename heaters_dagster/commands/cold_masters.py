"""Before gold masters are asked back from cold storage: what that takes, in words, and a question where it costs more than a small sum."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.domain.cold_storage import RestoreOffer, price_words
from heaters_dagster.domain.errors import UnknownNameError
from heaters_dagster.domain.states import APPROVED_STATES
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings

if TYPE_CHECKING:
    from resources.postgres.database import Database

#: What getting gold masters back may cost without a question.
_SMALL_SUM = 1.00


def agree_to_restores(clip_ids: Sequence[int], profile: str, settings: Settings, database: Database, *, yes: bool) -> None:
    """For files of these clips with this export profile. Raises BadParameter where there is nobody to ask, Abort when the answer is no."""
    from resources.postgres.clip_store import ClipStore

    videos = {clip.source_video_id for clip in ClipStore(database).load_many(clip_ids)}
    _agree({profile: videos}, settings, database, yes=yes, undone="Nothing was asked for")


def agree_to_approve(clip_ids: Sequence[int], settings: Settings, database: Database, *, yes: bool) -> None:
    """For the files that are asked for already, and are made when these clips are approved (again). Raises as `agree_to_restores`."""
    from resources.postgres.clip_store import ClipStore
    from resources.postgres.export_store import ExportStore

    again = [clip for clip in ClipStore(database).load_many(clip_ids) if clip.state not in APPROVED_STATES]
    exports = ExportStore(database).of_clips([clip.id for clip in again])
    wanted: dict[str, set[int]] = {}
    for clip in again:
        for profile in {clip.export_profile, *(one.profile for one in exports.get(clip.id, ()))}:
            wanted.setdefault(profile, set()).add(clip.source_video_id)
    _agree(wanted, settings, database, yes=yes, undone="Nothing was approved")


def _agree(wanted: Mapping[str, Collection[int]], settings: Settings, database: Database, *, yes: bool, undone: str) -> None:
    """wanted: export profile -> source videos whose clips get a file with it."""
    from resources.files.price_table import restore_terms
    from resources.object_store.open import open_object_store
    from resources.postgres.source_video_store import SourceVideoStore
    from resources.upkeep.cold_masters import offers

    terms = restore_terms(settings)
    found: dict[int, RestoreOffer] = {}
    for profile, videos in sorted(wanted.items()):
        with suppress(UnknownNameError):  # the package is gone that had it, and the export says so
            offered = offers(videos, profile, database=database, objects=lambda: open_object_store(settings), terms=terms)
            found |= {offer.source_video_id: offer for offer in offered}
    for offer in found.values():
        title = SourceVideoStore(database).load(offer.source_video_id).title
        terminal.warn(f"{title}: {offer.words}.")
    price = sum(offer.price for offer in found.values())
    if yes or price <= _SMALL_SUM:
        return
    told = price_words(price, terms.prices.currency)
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"this is not a terminal, so Heaters cannot ask: add --yes to spend about {told}. {undone}")
    typer.confirm(f"Ask for {counted(len(found), 'gold master')}, for about {told}?", abort=True, err=True)
