"""Many objects of a bucket as one source: `s3://bucket/prefix/` for all videos below it, `s3://bucket/day*.mp4` for those that fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from heaters_dagster.domain.errors import ForbiddenSourceError, InvalidMediaError, SourceNotFoundError, StoreRefusedError
from heaters_dagster.domain.folder_choice import FolderChoice
from heaters_dagster.domain.ingest import s3_location
from heaters_dagster.domain.keys import is_own_key
from heaters_dagster.settings import Settings
from resources.sources.file_identity import NamedSource
from resources.sources.submit_places import SubmitPlaces

#: (bucket, prefix) -> the keys that begin with it.
ListObjects: TypeAlias = Callable[[str, str], Iterable[str]]

_MOST_OBJECTS = 100_000


def listing_of(settings: Settings) -> ListObjects:
    """Lists any bucket that the credentials of this process reach, without the objects that Heaters itself keeps there."""

    def keys(bucket: str, prefix: str) -> Iterable[str]:
        from resources.object_store.s3 import list_keys

        found = list_keys(bucket, prefix, endpoint_url=settings.s3_endpoint_url)
        return (key for key in found if not is_own_key(key)) if bucket == settings.object_bucket else found

    return keys


def is_object_pattern(source: str) -> bool:
    """Whether an s3:// address stands for several objects. `*` may be part of a key, but then the object is among those that fit."""
    return source.startswith("s3://") and (source.endswith("/") or "*" in source)


def objects_below(source: str, places: SubmitPlaces | None, choice: FolderChoice, list_objects: ListObjects) -> Iterator[NamedSource]:
    """The videos that an address with a slash at its end or a `*` stands for, by key. `*` is any text, also with slashes.

    places: where they must lie. Raises ForbiddenSourceError, SourceNotFoundError, InvalidMediaError, and what the bucket raises.
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
    try:
        for key in sorted(list_objects(bucket, prefix)):
            address = f"s3://{bucket}/{key}"
            if fits.match(key) and choice.takes(key.removeprefix(folder)) and _may_be_named(address, places):
                found += 1
                if found > _MOST_OBJECTS:
                    raise InvalidMediaError(f"{source} has more than {_MOST_OBJECTS:,} videos; submit parts of it")
                yield NamedSource(address)
    except StoreRefusedError as error:
        missing = str(error).startswith("there is no bucket")  # the rest of that sentence is about the bucket of Heaters
        raise SourceNotFoundError(f"{source} cannot be listed: {f'there is no bucket {bucket}' if missing else error}") from None
    if not found:
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
