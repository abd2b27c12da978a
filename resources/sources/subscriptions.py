"""Looks at subscribed lists and submits what is new in them. A failure is said on the subscription and stops nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from heaters_dagster.domain.errors import BadRequestError, BusyError, ForbiddenSourceError, HeatersError, NotFoundError
from heaters_dagster.domain.ingest import SourceKind, looks_like_address, source_kind
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.source_lists import Limits, WebList
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.subscription_store import Subscription, SubscriptionStore
from resources.sources.address_guard import AddressGuard
from resources.sources.list_offer import ListOffer, offered, wanted_members
from resources.sources.site_access import SiteAccess
from resources.sources.submission import submit

_LOCK = "subscription"
#: Problems of one look that are kept.
_TOLD = 5


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of one look. subscription: as it is afterwards. ids: of the new source videos. refused: sentences about members."""

    subscription: Subscription
    ids: tuple[int, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        one = self.subscription
        head = f"subscription {one.id}, {one.title}: "
        if one.failed_looks:
            return f"{head}{one.error}"
        return f"{head}{one.told}" + (f". {one.error}" if one.error else "")


def read_offer(address: str, limits: Limits, *, settings: Settings, database: Database) -> ListOffer | None:
    """What a web address offers; None when it is one video. Raises what `read_list` raises."""
    found = _read(address, settings, database)
    videos = SourceVideoStore(database)
    return None if found is None else offered(found.title, found.members, limits, videos, problems=found.problems)


def read_if_list(source: str, *, settings: Settings, database: Database) -> WebList | None:
    """The list at a source; None when it is no web address, is one video, or cannot be read.

    What cannot be read is one video to whoever asks: then it is fetched later, tried again, and its row says what is wrong.
    """
    if not is_web_address(source):
        return None
    from resources.sources.web_list import may_be_list

    try:
        return _read(source, settings, database) if may_be_list(source) else None
    except HeatersError:
        return None


def _read(address: str, settings: Settings, database: Database) -> WebList | None:
    """With what people have stored for the site: private lists need a sign-in."""
    from resources.sources.web_list import read_list

    sites = SiteAccess(database, settings).load()
    sites.check_readable(address)
    with sites.told_without_values():
        found = read_list(address, guard=guard_of(settings), sites=sites, plugins=settings.ytdlp_plugins)
    return None if found is None else replace(found, problems=tuple(map(sites.hidden, found.problems)))


def is_web_address(source: str) -> bool:
    try:
        return looks_like_address(source) and source_kind(source) is SourceKind.WEB_ADDRESS
    except ForbiddenSourceError:
        return False


def guard_of(settings: Settings) -> AddressGuard:
    return AddressGuard(allow_private=settings.allow_private_addresses)


def list_to_follow(address: str, limits: Limits, *, settings: Settings, database: Database) -> ListOffer:
    """What a list offers to a new subscriber. Raises BadRequestError when there is no list, and what `read_list` raises."""
    if not is_web_address(address):
        raise BadRequestError(f"{address} cannot be subscribed: give the web address of a playlist, channel, feed or page")
    SubscriptionStore(database).refuse_known(address)
    offer = read_offer(address, limits, settings=settings, database=database)
    if offer is None:
        raise BadRequestError(f"{address} is a single video and no list: submit it instead")
    return offer


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
    one = SubscriptionStore(database).add(
        address,
        offer.title,
        every_seconds=int(every_seconds),
        limits=limits,
        rights=rights,
        chapters_as_cuts=chapters_as_cuts,
        subscribed_by=subscribed_by,
        seen=[member.key for member in offer.members] if only_new else (),
    )
    return take_new(one, offer, settings, database)


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
        offer = read_offer(one.address, one.limits, settings=settings, database=database)
        if offer is None:
            return Looked(store.fail_look(one.id, f"{one.address} is a single video now and no list"))
        return take_new(one, offer, settings, database)
    except NotFoundError:  # unsubscribed meanwhile
        raise
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
    more = [f"and {len(problems) - _TOLD} more"] if len(problems) > _TOLD else []
    written = store.finish_look(
        one.id,
        [member.key for member in offer.choice.taken],
        taken=len(ids),
        told=f"{counted(len(ids), 'new video')} of {counted(len(offer.members), 'video')} in the list",
        title=offer.title,
        problem="; ".join([*problems[:_TOLD], *more]) or None,
    )
    return Looked(written, ids, refused)
