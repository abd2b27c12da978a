"""Fetches a submitted source into a folder: copies a local file, fetches an object of a bucket, or downloads a web address.

The result is the same for all sources: a file, its hash and a title.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BufferedReader
from pathlib import Path

from heaters_dagster.domain.errors import DownloadError, HeatersError, InvalidMediaError, ObjectNotFoundError, SourceNotFoundError
from heaters_dagster.domain.file_kinds import refuse_other_kinds
from heaters_dagster.domain.ingest import SourceKind, s3_location, source_kind, title_from_name
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.settings import Settings
from resources.files.confined_file import open_confined
from resources.files.ordinary_file import READ_AT_ONCE, other_kind
from resources.object_store.work_folder import check_room, disk_full_named
from resources.postgres.database import Database
from resources.sources.address_guard import AddressGuard
from resources.sources.fetched import CHUNK_BYTES, ByteMeter, Fetched
from resources.sources.site_access import SiteAccess, Sites
from resources.sources.subtitles_beside import checked_size, names_beside, with_subtitles_beside

#: Before Linux 6.13, two changes of a file within one tick of the kernel's clock have the same time; a tick is 10 ms at most.
_TICK_SECONDS = 0.02
#: A file that is never without a change for the length of a tick is given up after this long.
_STILL_WRITTEN_SECONDS = 1.0


class Downloader:
    """timeout_seconds: how long a server may be silent. retries: tries after the first, for each file and each segment of a stream.

    longest_wait_seconds: how long servers that ask for a pause (`Retry-After`) may delay one download, in total. bytes_per_second: that one
    download from the web may take, None for no limit. sites: gives what is stored for web
    sites, read anew for each download. plugins: the folder with yt-dlp's plug-ins. automatic_captions: whether those of a site are kept.
    """

    def __init__(
        self,
        *,
        guard: AddressGuard,
        max_height: int = 4320,
        s3_endpoint_url: str | None = None,
        timeout_seconds: float = 20.0,
        retries: int = 4,
        longest_wait_seconds: float = 120.0,
        bytes_per_second: float | None = None,
        sites: Callable[[], Sites] = Sites,
        plugins: Path | None = None,
        automatic_captions: bool = False,
    ) -> None:
        self.guard = guard
        self.max_height = max_height
        self.s3_endpoint_url = s3_endpoint_url
        self.timeout_seconds = timeout_seconds
        self.retries = retries
        self.longest_wait_seconds = longest_wait_seconds
        self.bytes_per_second = bytes_per_second
        self._sites = sites
        self.plugins = plugins
        self.automatic_captions = automatic_captions

    @classmethod
    def from_settings(cls, settings: Settings, database: Database | None = None) -> Downloader:
        """database: has what is stored for web sites; None: nothing is."""
        return cls(
            guard=AddressGuard(allow_private=settings.allow_private_addresses),
            max_height=settings.ytdlp_max_height,
            s3_endpoint_url=settings.s3_endpoint_url,
            bytes_per_second=None if settings.download_rate_mib is None else settings.download_rate_mib * (1 << 20),
            sites=Sites if database is None else SiteAccess(database, settings).load,
            plugins=settings.ytdlp_plugins,
            automatic_captions=settings.automatic_captions,
        )

    def fetch(self, source: str, folder: Path, *, confined_to: str | None = None, report: Report = silent) -> Fetched:
        """Fetch `source` into `folder`, which is for this source only: empty, or with what an earlier try of a download left. `report` gets
        bytes.

        confined_to: the folder in which a local file must lie. Raises SourceNotFoundError, ForbiddenSourceError, InvalidMediaError; and,
        when it is temporary: DownloadError, SiteRefusesError, DiskFullError, StoreUnavailableError. A file whose first bytes show that it
        is not a video is refused before the rest is fetched; other files are not checked here. Subtitle files that lie beside a file or an
        object are fetched with it.
        """
        meter = ByteMeter(report)
        match source_kind(source):
            case SourceKind.LOCAL_PATH:
                path = Path(source)
                return with_subtitles_beside(
                    _copied(path, folder, meter, confined_to),
                    lambda: names_beside(path),
                    lambda name: small_file(path.with_name(name), confined_to),
                )
            case SourceKind.S3_ADDRESS:
                return self._fetched_object(source, folder, meter)
            case SourceKind.WEB_ADDRESS:
                from resources.sources.web_download import WebDownload

                sites = self._sites()
                sites.check_readable(source)
                with sites.told_without_values():
                    fetched = WebDownload(
                        source, folder, guard=self.guard, max_height=self.max_height, timeout_seconds=self.timeout_seconds,
                        retries=self.retries, longest_wait_seconds=self.longest_wait_seconds,
                        bytes_per_second=self.bytes_per_second, sites=sites, plugins=self.plugins,
                        automatic_captions=self.automatic_captions,
                    ).fetched(meter)  # fmt: skip
                return replace(fetched, warnings=tuple(map(sites.hidden, fetched.warnings)))

    def _fetched_object(self, source: str, folder: Path, meter: ByteMeter) -> Fetched:
        from resources.object_store.s3 import fetch_object, list_keys, small_object

        bucket, key = s3_location(source)
        path, name = folder / "original", Path(key).name

        def look(head: bytes, is_whole: bool) -> None:
            refuse_other_kinds(head, is_whole=is_whole, called=name)

        try:
            sha256 = fetch_object(bucket, key, path, endpoint_url=self.s3_endpoint_url, progress=meter, look=look)
        except ObjectNotFoundError:
            raise SourceNotFoundError(f"there is no object {source}") from None
        fetched = Fetched(path, path.stat().st_size, sha256, name, title_from_name(key))
        prefix = key.removesuffix(name)

        def names() -> list[str]:
            found = (
                one.removeprefix(prefix) for one in list_keys(bucket, f"{prefix}{Path(name).stem}.", endpoint_url=self.s3_endpoint_url)
            )
            return [one for one in found if "/" not in one]

        def read(one: str) -> bytes:
            return small_object(bucket, f"{prefix}{one}", endpoint_url=self.s3_endpoint_url, check_size=checked_size)

        return with_subtitles_beside(fetched, names, read)


def local_sha256(path: Path, *, confined_to: str | None = None) -> str:
    """Hex SHA-256 of a submitted file, without copying it. Raises as `Downloader.fetch` does."""
    with _unchanged(path, confined_to) as (file, _):
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copied(source: Path, folder: Path, meter: ByteMeter, confined_to: str | None) -> Fetched:
    """Copy and hash in one read."""
    path = folder / "original"
    digest = hashlib.sha256()
    done = 0
    with _unchanged(source, confined_to) as (file, byte_size):
        check_room(folder, byte_size)
        with disk_full_named(path, bytes_needed=byte_size), path.open("xb") as copy:
            while chunk := _read(file, source, byte_size - done):
                if done == 0:
                    refuse_other_kinds(chunk, is_whole=len(chunk) == byte_size, called=source.name)
                digest.update(chunk)
                copy.write(chunk)
                done += len(chunk)
                meter(done, byte_size)
    return Fetched(path, done, digest.hexdigest(), source.name, title_from_name(source.name))


def small_file(path: Path, confined_to: str | None) -> bytes:
    """All bytes of a subtitle file."""
    with _unchanged(path, confined_to) as (file, byte_size):
        return file.read(checked_size(byte_size))


@contextmanager
def _unchanged(path: Path, confined_to: str | None = None) -> Iterator[tuple[BufferedReader, int]]:
    """(open file, its size). The file must be unchanged when the body ends: a file that is still being written is tried later."""
    try:
        file = opened_source(path, confined_to)
    except HeatersError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise SourceNotFoundError(f"there is no file {path}") from None
    except PermissionError:
        raise SourceNotFoundError(f"{path} cannot be read: permission denied") from None
    except OSError as error:
        raise DownloadError(f"{path} cannot be read at the moment: {error.strerror}") from error
    with file:
        before = _still(file, path)
        yield file, before.st_size
        try:
            with opened_source(path, confined_to) as again:
                after = os.fstat(again.fileno())
        except (OSError, HeatersError):
            raise SourceNotFoundError(f"{path} disappeared while it was read; nothing was stored") from None
        if _looks(after) != _looks(before):
            raise DownloadError(
                f"{path} changed while it was read ({before.st_size:,} bytes, now {after.st_size:,}); try again when it is complete"
            )


def _still(file: BufferedReader, path: Path) -> os.stat_result:
    """How a file is, at a moment from which on each change of it shows in its times."""
    given_up = time.monotonic() + _STILL_WRITTEN_SECONDS
    while 0 <= time.time() - (found := os.fstat(file.fileno())).st_ctime < _TICK_SECONDS:
        if time.monotonic() > given_up:
            raise DownloadError(f"{path} is being written at the moment; try again when it is complete")
        time.sleep(_TICK_SECONDS)
    return found


def _looks(found: os.stat_result) -> tuple[int, int, int, int]:
    """What changes with a file. A program may set the time of the last modification back, as rsync does, but not that of the change."""
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def opened_source(path: Path, confined_to: str | None = None) -> BufferedReader:
    """A submitted file, opened for reading, inside the folder to which it is confined. Raises OSError and HeatersError."""
    descriptor = os.open(path, READ_AT_ONCE) if confined_to is None else open_confined(path, Path(confined_to))
    kind = other_kind(os.fstat(descriptor).st_mode)
    if kind is not None:
        os.close(descriptor)
        raise InvalidMediaError(f"{path} is {kind}; submit files")
    return os.fdopen(descriptor, "rb")


def _read(file: BufferedReader, path: Path, left_bytes: int) -> bytes:
    """The next bytes, up to the size that the file had at first: a file that grows faster than it is read would never end."""
    try:
        return file.read(min(CHUNK_BYTES, left_bytes))
    except OSError as error:
        raise DownloadError(f"{path} cannot be read to the end: {error.strerror}") from error
