"""A watched prefix of a bucket: its objects, and how one is moved within it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from heaters_dagster.domain.keys import is_own_key
from heaters_dagster.domain.subtitles import beside, has_a_namesake
from heaters_dagster.domain.watching import REFUSED_FOLDER, TAKEN_FOLDER, SeenFile, below, is_passed_over


class WatchedPrefix:
    """address: s3://bucket/prefix/, with a slash at its end. An object is whole as soon as it is listed.

    own_bucket: in which Heaters keeps its objects, which are passed over; None: in a folder.
    """

    is_bucket = True

    def __init__(self, address: str, *, endpoint_url: str | None, own_bucket: str | None = None) -> None:
        self.place = address
        self._bucket, _, self._prefix = address.removeprefix("s3://").partition("/")
        self._endpoint_url = endpoint_url
        self.unread: list[str] = []
        self._is_own = self._bucket == own_bucket

    def files(self) -> Iterator[SeenFile]:
        """The objects below the prefix that are videos by name. Raises what an ObjectStore raises."""
        from resources.object_store.s3 import listed_objects

        moved = tuple(below(self.place, folder) for folder in (TAKEN_FOLDER, REFUSED_FOLDER))
        for found in listed_objects(self._bucket, self._prefix, endpoint_url=self._endpoint_url):
            if self._is_own and is_own_key(found.key):
                continue
            address = f"s3://{self._bucket}/{found.key}"
            parts = PurePosixPath(found.key.removeprefix(self._prefix)).parts
            if parts and not address.startswith(moved) and not is_passed_over(parts[-1]) and not any(one.startswith(".") for one in parts):
                yield SeenFile(path=address, byte_size=found.byte_size, version=found.tag)

    def move(self, path: str, folder: str, moved_to: str | None) -> str:
        """As WatchedFolder.move: a copy within the bucket, then the first one is deleted."""
        from resources.object_store.s3 import list_keys, moved_object

        target = moved_to or self.target(path, folder)
        moved_object(self._bucket, self._key(path), self._key(target), endpoint_url=self._endpoint_url)
        whole, name = self._key(path).removesuffix(PurePosixPath(path).name), PurePosixPath(path).name
        alike = list_keys(self._bucket, f"{whole}{PurePosixPath(name).stem}.", endpoint_url=self._endpoint_url)
        names = [rest for key in alike if "/" not in (rest := key.removeprefix(whole))]
        for one in () if has_a_namesake(name, names) else beside(name, names):
            moved_to_key = self._key(target).removesuffix(PurePosixPath(target).name) + one.file
            moved_object(self._bucket, f"{whole}{one.file}", moved_to_key, endpoint_url=self._endpoint_url)
        return target

    def target(self, path: str, folder: str) -> str:
        """Where an object goes. A key may have been used before: then the newer object is put over it, as buckets do."""
        return below(self.place, folder) + path.removeprefix(self.place)

    def _key(self, address: str) -> str:
        return address.removeprefix(f"s3://{self._bucket}/")
