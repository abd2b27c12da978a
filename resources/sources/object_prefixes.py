"""Many objects of a bucket as one source: `s3://bucket/prefix/` for all videos below it, `s3://bucket/day*.mp4` for those that fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

from heaters_dagster.domain.errors import ForbiddenSourceError, HeatersError, InvalidMediaError, SourceNotFoundError, StoreRefusedError
from heaters_dagster.domain.folder_choice import FolderChoice
from heaters_dagster.domain.ingest import s3_location
from heaters_dagster.domain.keys import is_own_key
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings
from resources.object_store.s3 import ListedObject, listed_objects
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.submitted_videos import LastSubmission, SubmittedVideos
from resources.sources.file_identity import NamedSource
from resources.sources.submit_places import SubmitPlaces

#: (bucket, prefix) -> the objects whose keys begin with it, by key.
ListObjects: TypeAlias = Callable[[str, str], Iterable[ListedObject]]

_MOST_OBJECTS = 100_000
#: Objects that are looked at at the same time: each answer takes a moment.
_LOOKS = 8


def listing_of(settings: Settings) -> ListObjects:
    """Lists any bucket that the credentials of this process reach, without the objects that Heaters itself keeps there."""

    def objects(bucket: str, prefix: str) -> Iterable[ListedObject]:
        found = listed_objects(bucket, prefix, endpoint_url=settings.s3_endpoint_url)
        return (one for one in found if not is_own_key(one.key)) if bucket == settings.object_bucket else found

    return objects


def is_own_object(source: str, own_bucket: str | None) -> bool:
    """Whether an s3:// address is that of an object that Heaters keeps. own_bucket: in which it does so; None: in a folder."""
    bucket, key = s3_location(source)
    return bucket == own_bucket and is_own_key(key)


def is_object_pattern(source: str) -> bool:
    """Whether an s3:// address stands for several objects. `*` may be part of a key, but then the object is among those that fit."""
    return source.startswith("s3://") and (source.endswith("/") or "*" in source)


def objects_below(
    source: str, places: SubmitPlaces | None, choice: FolderChoice, list_objects: ListObjects, left_out: list[str]
) -> Iterator[NamedSource]:
    """The videos that an address with a slash at its end or a `*` stands for, by key. `*` is any text, also with slashes.

    places: where they must lie. left_out: gets a sentence about videos whose keys cannot be addresses.
    Raises ForbiddenSourceError, SourceNotFoundError, InvalidMediaError, and what the bucket raises.
    """
    start, star, _ = source.partition("*")
    bucket, _, prefix = start.removeprefix("s3://").partition("/")
    if star and not start.startswith(f"s3://{bucket}/"):
        raise ForbiddenSourceError(f"{source!r}: the name of a bucket cannot have a *; write s3://bucket/*")
    s3_location(f"s3://{bucket}/{prefix}x")
    if places is not None:
        places.check_object(source)
    fits = re.compile(".*".join(map(re.escape, source.removeprefix(f"s3://{bucket}/").split("*"))) + (r"\Z" if star else ""), re.DOTALL)
    folder = prefix[: prefix.rfind("/") + 1]
    found = 0
    not_named: list[str] = []
    try:
        for one in sorted(list_objects(bucket, prefix), key=lambda one: one.key):
            address = f"s3://{bucket}/{one.key}"
            if not fits.match(one.key) or not choice.takes(one.key.removeprefix(folder)):
                continue
            if not _may_be_named(address, places):
                not_named.append(one.key)
                continue
            found += 1
            if found > _MOST_OBJECTS:
                raise InvalidMediaError(f"{source} has more than {_MOST_OBJECTS:,} videos; submit parts of it")
            yield NamedSource(address, listed=one)
    except StoreRefusedError as error:
        missing = str(error).startswith("there is no bucket")  # the rest of that sentence is about the bucket of Heaters
        raise SourceNotFoundError(f"{source} cannot be listed: {f'there is no bucket {bucket}' if missing else error}") from None
    if not_named:
        left_out.append(
            f"{source}: {counted(len(not_named), 'video was', 'videos were')} left out, because the key is no single line of plain text: "
            f"{', '.join(map(repr, not_named[:3]))}{' ...' if len(not_named) > 3 else ''}; give the object another key"
        )
    elif not found:
        which = " of those that are wanted" if choice.is_limited else ""
        raise InvalidMediaError(f"{source} has no videos{which} (.mp4, .mov, .mkv, ...); an object with another name needs its own address")


def _may_be_named(address: str, places: SubmitPlaces | None) -> bool:
    """Whether an object may be a source: its key is one line of text, and it lies where it may lie."""
    try:
        s3_location(address)
        if places is not None:
            places.check_object(address)
    except ForbiddenSourceError:
        return False
    return True


def with_changes(sources: Sequence[NamedSource], videos: SourceVideoStore, list_objects: ListObjects) -> list[NamedSource]:
    """The same; of objects that were replaced since they were last submitted it is said that they have changed, and of others which source
    video has their bytes.

    An object has changed when it has another size than what was fetched, or was put there after it was submitted. Put there again with the
    same bytes, it is fetched once more, and found to be the same. One that cannot be looked at counts as what it was.
    """
    known = SubmittedVideos(videos.database).last_submissions([one.source for one in sources if one.source.startswith("s3://")])

    def looked_at(one: NamedSource) -> NamedSource:
        last = known.get(one.source)
        if last is None:
            return one
        now = None
        if not last.waits:
            with suppress(HeatersError):
                now = one.listed or _listed(one.source, list_objects)
        if now is not None and _differs(now, last):
            return replace(one, wanted=replace(one.wanted, has_changed=True))
        return replace(one, holder_id=last.holder_id)

    if not known:
        return list(sources)
    with ThreadPoolExecutor(min(_LOOKS, len(known))) as looks:
        return list(looks.map(looked_at, sources))


def _listed(address: str, list_objects: ListObjects) -> ListedObject | None:
    bucket, key = s3_location(address)
    found = next(iter(list_objects(bucket, key)), None)  # by key: that which is as long as the prefix is the first
    return found if found is not None and found.key == key else None


def _differs(now: ListedObject, last: LastSubmission) -> bool:
    return now.changed_at > last.submitted_at or last.byte_size not in {None, now.byte_size}
