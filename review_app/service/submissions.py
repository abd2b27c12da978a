"""What pages submit: addresses, paths, lists, and subscriptions to lists. Every result is a sentence, errors too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from heaters_dagster.domain import list_files
from heaters_dagster.domain.errors import HeatersError, NotYetError, SiteRefusesError
from heaters_dagster.domain.fact_fields import FIELD_OF
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.source_lists import Limits, WebList
from heaters_dagster.domain.spans import span_words
from resources.postgres.nudges import Nudge, nudge
from resources.postgres.related_videos import RelatedVideos
from resources.sources import subscriptions
from resources.sources.file_identity import Wanted
from resources.sources.kept_files import keeper_of
from resources.sources.list_offer import ListOffer, offered, wanted_members
from resources.sources.object_prefixes import listing_of
from resources.sources.submission import submit
from resources.sources.submit_places import SubmitPlaces, own_folders
from review_app.service.links import Session
from review_app.service.outcome import Outcome, outcome_of
from review_app.service.review_desk import ReviewDesk

#: Sentences that one answer has at most.
_TOLD = 20
#: Of more addresses none is looked at: people wait for the answer.
_LOOKED_AT = 10
#: How long a look may wait for its site, for the same reason.
_PATIENCE_SECONDS = 20.0


def submit_sources(
    desk: ReviewDesk,
    text: str | bytes,
    *,
    name: str = "the list",
    rights: str = "",
    chapters_as_cuts: bool = False,
    by_force: bool = False,
) -> Outcome:
    """Submit addresses and paths, one a line; or a list as CSV or JSON lines. Lists of the web among them are only read: see `take_list`.

    name: of the file that the text comes from, for messages. rights: what may be done with them, where the list does not say it.
    chapters_as_cuts: their chapters begin clips. by_force: what is known already becomes a new source video too.
    """
    try:
        found = list_files.parsed(text if isinstance(text, bytes) else text.encode("utf-8", "replace"), name=name)
        lists, wanted, later = _read_lists(desk, found.sources)
        said = FIELD_OF["rights"].read(rights)
        wanted = [
            replace(one, facts=replace(one.facts, rights=one.facts.rights or said), chapters_as_cuts=chapters_as_cuts) for one in wanted
        ]
        guard, places = subscriptions.guard_of(desk.settings), SubmitPlaces.of(desk.settings)
        done = submit(
            wanted,
            desk.videos,
            guard=guard,
            places=places,
            list_objects=listing_of(desk.settings),
            by_force=RelatedVideos(desk.database) if by_force else None,
            own_folders=own_folders(desk.settings),
            own_bucket=desk.settings.object_bucket,
            keep=keeper_of(desk.settings, desk.videos),
        )
    except HeatersError as error:
        return Outcome(False, "", str(error))
    if not (found.sources or found.problems):
        return Outcome(False, "", "Write at least one web address, s3:// address or path.")
    refused = _some([*found.problems, *later, *(item.told for item in done if item.refused)])
    return Outcome(not refused, _some([*(item.told for item in done if not item.refused), *found.notes]), refused, lists)


def _read_lists(desk: ReviewDesk, sources: Sequence[list_files.ListedSource]) -> tuple[tuple[WebList, ...], list[Wanted], list[str]]:
    """(lists of the web, what is to be submitted, sentences about sites that must be left alone now). Of many sources none is looked at:
    each is one video then.
    """
    lists, wanted, later = [], [], []
    for one in sources:
        found = None
        try:
            if len(sources) <= _LOOKED_AT:
                found = subscriptions.read_if_list(
                    one.source, settings=desk.settings, database=desk.database, patience_seconds=_PATIENCE_SECONDS
                )
        except (NotYetError, SiteRefusesError) as error:
            later.append(f"{error}. Submit it again later.")
            continue
        if found is None:
            wanted.append(Wanted(one.source, one.title, one.facts))
        else:
            lists.append(found)
    return tuple(lists), wanted, later


def list_offer(desk: ReviewDesk, found: WebList, limits: Limits) -> ListOffer:
    """What a list has within these limits. Raises BadRequestError when nothing can be within them."""
    return offered(found, limits, desk.videos)


def take_list(desk: ReviewDesk, found: WebList, limits: Limits, *, rights: str = "", chapters_as_cuts: bool = False) -> Outcome:
    """Submit what is new in a list, within its limits. The rest as for `submit_sources`."""
    try:
        offer = list_offer(desk, found, limits)
        said = SourceFacts(rights=FIELD_OF["rights"].read(rights))
        done = submit(
            wanted_members(offer.new, said=said, chapters_as_cuts=chapters_as_cuts),
            desk.videos,
            guard=subscriptions.guard_of(desk.settings),
        )
    except HeatersError as error:
        return Outcome(False, "", str(error))
    refused, taken = (_some([item.told for item in done if bool(item.refused) is no]) for no in (True, False))
    return Outcome(not refused, taken or "Nothing of it is new.", refused)


def subscribe(
    desk: ReviewDesk,
    session: Session,
    found: WebList,
    limits: Limits,
    *,
    every_seconds: int,
    rights: str = "",
    chapters_as_cuts: bool = False,
) -> Outcome:
    """Submit what is new in a list, and have it looked at again. The rest as for `submit_sources`."""

    def apply() -> str:
        offer = list_offer(desk, found, limits)
        looked = subscriptions.subscribe(
            found.address, offer, limits, every_seconds=every_seconds, settings=desk.settings, database=desk.database,
            rights=FIELD_OF["rights"].read(rights), chapters_as_cuts=chapters_as_cuts, subscribed_by=session.reviewer,
        )  # fmt: skip
        one = looked.subscription
        return f"Subscribed to {one.title}, every {span_words(one.every_seconds)}: {one.told}."

    return outcome_of(desk, apply)


def look_soon(desk: ReviewDesk, subscription_id: int) -> Outcome:
    """Have a subscription looked at before its time."""

    def apply() -> str:
        one = desk.subscriptions.make_due(subscription_id)
        nudge(desk.database, Nudge.ROWS)
        return f"{one.title} is looked at as soon as Dagster, or heaters process, comes to it."

    return outcome_of(desk, apply)


def unsubscribe(desk: ReviewDesk, subscription_id: int) -> Outcome:
    """End a subscription; its source videos stay."""

    def apply() -> str:
        one = desk.subscriptions.remove(subscription_id)
        return f"{one.title} is no longer subscribed. Its source videos stay."

    return outcome_of(desk, apply)


def _some(told: list[str]) -> str:
    """When a folder has a thousand files, only some are named."""
    more = [f"And {len(told) - _TOLD} more."] if len(told) > _TOLD else []
    return "\n\n".join([*told[:_TOLD], *more])
