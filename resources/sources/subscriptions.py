"""Looks at subscribed lists and submits what is new in them. A failure is said on the subscription and stops nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace

from heaters_dagster.domain.errors import (
    BadRequestError,
    BusyError,
    ForbiddenSourceError,
    HeatersError,
    NotFoundError,
    NotYetError,
    SiteRefusesError,
)
from heaters_dagster.domain.ingest import SourceKind, looks_like_address, source_kind
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.source_lists import Limits, WebList
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.postgres.site_turns import SiteTurns
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.subscription_store import Subscription, SubscriptionStore
from resources.sources.address_guard import AddressGuard
from resources.sources.list_offer import ListOffer, offered, wanted_members
from resources.sources.site_access import SiteAccess
from resources.sources.submission import submit

#: How long a look at a list waits for its site, as a download does.
PATIENCE_SECONDS = 120.0
_LOCK = "subscription"
#: Problems of one look that are kept.
_TOLD = 5


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of one look. subscription: as it is afterwards. ids: of the new source videos. refused: sentences about members.
    is_put_off: its site must be left alone for now.
    """

    subscription: Subscription
    ids: tuple[int, ...] = ()
    refused: tuple[str, ...] = ()
    is_put_off: bool = False

    @property
    def sentence(self) -> str:
        one = self.subscription
        head = f"subscription {one.id}, {one.title}: "
        if self.is_put_off:
            return f"{head}{one.told}"
        if one.failed_looks:
            return f"{head}{one.error}"
        return f"{head}{one.told}" + (f". {one.error}" if one.error else "")


def read_if_list(
    source: str,
    *,
    settings: Settings,
    database: Database,
    limits: Limits = Limits(),
    patience_seconds: float = PATIENCE_SECONDS,
    say: Callable[[str], None] = lambda told: None,
) -> WebList | None:
    """The list at a source; None when it is no web address, is one video, or cannot be read.

    What cannot be read is one video to whoever asks: then it is fetched later, tried again, and its row says what is wrong. But a site that
    wants no requests now is only asked again later: raises NotYetError and SiteRefusesError. The rest as for `read_web`.
    """
    if not is_web_address(source):
        return None
    from resources.sources.web_list import may_be_list

    try:
        if not may_be_list(source):
            return None
        return read_web(source, limits, settings=settings, database=database, patience_seconds=patience_seconds, say=say)
    except (NotYetError, SiteRefusesError):
        raise
    except HeatersError:
        return None


def read_web(
    address: str,
    limits: Limits,
    *,
    settings: Settings,
    database: Database,
    patience_seconds: float = PATIENCE_SECONDS,
    say: Callable[[str], None] = lambda told: None,
) -> WebList | None:
    """The list at a web address as far as these limits need it, with what people have stored for the site: private lists need a sign-in.

    patience_seconds: how long it may wait for the site; say: gets a sentence about that. Raises NotYetError when the site must be left
    alone for longer, SiteRefusesError when it asks for that now, and what `read_list` raises.
    """
    from resources.sources.web_list import read_list

    turns = SiteTurns.from_settings(settings, database)
    site = turns.site_of(address)
    try:
        with turns.list_turn(site, patience_seconds=patience_seconds, say=say) if site is not None else nullcontext():
            sites = SiteAccess(database, settings).load()
            sites.check_readable(address)
            with sites.told_without_values():
                found = read_list(address, guard=guard_of(settings), limits=limits, sites=sites, plugins=settings.ytdlp_plugins)
            if site is not None and found is not None and found.refusal is not None:
                turns.refused(site, found.refusal.reason, found.refusal.until, counts=False)
    except NotYetError as error:
        raise NotYetError(f"{without_access(address)} is not looked at now: it {error}") from None
    except SiteRefusesError as error:
        if site is not None:
            turns.refused(site, error.reason, error.until, counts=False)
        raise
    return None if found is None else replace(found, problems=tuple(map(sites.hidden, found.problems)))


def is_web_address(source: str) -> bool:
    try:
        return looks_like_address(source) and source_kind(source) is SourceKind.WEB_ADDRESS
    except ForbiddenSourceError:
        return False


def guard_of(settings: Settings) -> AddressGuard:
    return AddressGuard(allow_private=settings.allow_private_addresses)


def list_to_follow(
    address: str,
    limits: Limits,
    *,
    settings: Settings,
    database: Database,
    only_new: bool = False,
    say: Callable[[str], None] = lambda told: None,
) -> ListOffer:
    """What a list offers to a new subscriber. only_new: who wants nothing of it, so that all of it has to be known.

    Raises BadRequestError when there is no list, and what `read_web` raises.
    """
    if not is_web_address(address):
        raise BadRequestError(f"{address} cannot be subscribed: give the web address of a playlist, channel, feed or page")
    SubscriptionStore(database).refuse_known(address)
    found = read_web(address, Limits() if only_new else limits, settings=settings, database=database, say=say)
    if found is None:
        raise BadRequestError(f"{address} is a single video and no list: submit it instead")
    return offered(found, limits, SourceVideoStore(database))


def subscribe(
    address: str,
    offer: ListOffer,
    limits: Limits,
    *,
    every_seconds: float,
    settings: Settings,
    database: Database,
    only_new: bool = False,
    rights: str | None = None,
    chapters_as_cuts: bool = False,
    subscribed_by: str | None = None,
) -> Looked:
    """Follow a list, and take what it offers now; only_new: nothing of it. Raises BadRequestError."""
    store = SubscriptionStore(database)
    one = store.add(
        address,
        offer.title,
        every_seconds=int(every_seconds),
        limits=limits,
        rights=rights,
        chapters_as_cuts=chapters_as_cuts,
        subscribed_by=subscribed_by,
        seen=[member.key for member in offer.members] if only_new else (),
    )
    try:
        # From the moment that it is stored it is due, and a process that looks would take the same videos.
        with database.stage_lock(_LOCK, one.id):
            return take_new(one, offer, settings, database)
    except BusyError:
        taken = store.load(one.id)
        return Looked(replace(taken, told=taken.told or "its videos are being taken"))


def look_at_due(
    settings: Settings, database: Database, *, only: Iterable[int] | None = None, say: Callable[[Looked], None] = lambda looked: None
) -> list[Looked]:
    """Look at all subscriptions that are due, or at `only` these, due or not. say: gets each result when it is there."""
    found = []
    for subscription_id in SubscriptionStore(database).due() if only is None else only:
        # Another process looks at it, or somebody has unsubscribed it meanwhile.
        with suppress(BusyError, NotFoundError), database.stage_lock(_LOCK, subscription_id):
            if only is None and subscription_id not in SubscriptionStore(database).due():
                continue
            looked = _look(subscription_id, settings, database)
            say(looked)
            found.append(looked)
    return found


def _look(subscription_id: int, settings: Settings, database: Database) -> Looked:
    store = SubscriptionStore(database)
    one = store.load(subscription_id)
    try:
        found = read_web(one.address, one.limits, settings=settings, database=database)
        if found is None:
            return Looked(store.fail_look(one.id, f"{one.address} is a single video now and no list"))
        return take_new(one, offered(found, one.limits, SourceVideoStore(database)), settings, database)
    except NotFoundError:  # unsubscribed meanwhile
        raise
    except NotYetError as error:
        turns = SiteTurns.from_settings(settings, database)
        held = turns.held_off(turns.site_of(one.address) or "")
        return Looked(store.put_off_look(one.id, str(error), until=held.until if held else None), is_put_off=True)
    except HeatersError as error:
        return Looked(store.fail_look(one.id, str(error)))


def take_new(one: Subscription, offer: ListOffer, settings: Settings, database: Database) -> Looked:
    """Submit the members of a list that this subscription has not dealt with. Killed in the middle, the next look does the rest."""
    store = SubscriptionStore(database)
    unseen = store.unseen(one.id, [member.key for member in offer.choice.taken])
    new = [member for member in offer.new if member.key in unseen]
    wanted = wanted_members(new, said=SourceFacts(rights=one.rights), chapters_as_cuts=one.chapters_as_cuts)
    done = submit(wanted, SourceVideoStore(database), guard=guard_of(settings))
    ids = tuple(dict.fromkeys(item.video.id for item in done if item.video is not None))
    refused = tuple(item.told for item in done if item.refused)
    problems = [*offer.problems, *refused]
    there = ("" if offer.is_whole else "the first ") + counted(len(offer.members), "video")
    more = [f"and {len(problems) - _TOLD} more"] if len(problems) > _TOLD else []
    written = store.finish_look(
        one.id,
        [member.key for member in offer.choice.taken],
        taken=len(ids),
        told=f"{counted(len(ids), 'new video')} of {there} in the list",
        title=offer.title,
        problem="; ".join([*problems[:_TOLD], *more]) or None,
    )
    return Looked(written, ids, refused)
