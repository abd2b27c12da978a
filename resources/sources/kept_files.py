"""Files that lie on one machine, where work is done on several: they go into the bucket first, as uploads of the browser do.

A file is called by what it is and where it lies. So the same command, typed again after it was cut off, goes on with what is there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypeAlias

from heaters_dagster.domain.errors import DownloadError, HeatersError
from heaters_dagster.domain.keys import UPLOADS_PREFIX
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.domain.subtitles import beside
from heaters_dagster.settings import Settings
from resources.object_store.open import open_object_store
from resources.postgres.source_video_store import SourceVideoStore
from resources.sources.begun_uploads import IDENTITY_DIGITS, begun_names, is_name_of, new_name, source_of_upload, suffix_of_name
from resources.sources.downloader import local_sha256, opened_source, small_file
from resources.sources.fetched import ByteMeter
from resources.sources.file_identity import FileIdentity
from resources.sources.subtitles_beside import names_beside

#: Puts a file where every machine finds it: path, what is known of it, the folder in which it must lie -> source of its row, and what is
#: known of it now.
Keep: TypeAlias = Callable[[Path, FileIdentity, str | None], tuple[str, FileIdentity]]


def keeper_of(settings: Settings, videos: SourceVideoStore, report: Report = silent) -> Keep | None:
    """None where all work is done on this machine: then a file stays where it lies."""
    if settings.object_bucket is None or (settings.broker_url is None and settings.machines == 1):
        return None
    objects = open_object_store(settings)

    @cache
    def begun() -> list[str]:
        """Listed once, however many files are kept: what others begin meanwhile has another mark."""
        return begun_names("", settings, objects)

    def keep(path: Path, identity: FileIdentity, confined_to: str | None) -> tuple[str, FileIdentity]:
        """Raises HeatersError and OSError."""
        sha256 = identity.sha256 or local_sha256(path, confined_to=confined_to)
        what = [settings.host_name, str(path), identity.byte_size, identity.modified_ns, sha256]
        mark = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:IDENTITY_DIGITS]
        suffix = suffix_of_name(path.name)
        of_this = [name for name in begun() if is_name_of(name, mark)]
        names = [f"{mark}{'0' * (24 - IDENTITY_DIGITS)}{suffix}", *of_this, new_name(mark, suffix)]
        name = next(name for name in names if not videos.of_source(source_of_upload(name, settings)))
        key, meter = f"{UPLOADS_PREFIX}/{name}", ByteMeter(report, "upload")
        there = objects.info(key)
        if there is None or there.byte_size != identity.byte_size:
            with opened_source(path, confined_to) as file:  # the path itself may lead elsewhere by now
                objects.put_file(key, Path(f"/dev/fd/{file.fileno()}"), progress=lambda done: meter(done, identity.byte_size))
        for rest, data in _subtitles(path, confined_to):
            objects.put_bytes(f"{key.removesuffix(suffix)}{rest}", data)
        with opened_source(path, confined_to) as again:
            now = os.fstat(again.fileno())
        if (now.st_size, now.st_mtime_ns) != (identity.byte_size, identity.modified_ns):
            objects.delete(key)
            raise DownloadError(f"{path} changed while it was sent; submit it again when it is complete")
        return source_of_upload(name, settings), replace(identity, sha256=sha256)

    return keep


def _subtitles(path: Path, confined_to: str | None) -> Iterator[tuple[str, bytes]]:
    """(what follows the name of the video, all bytes) of the subtitles beside it that can be read."""
    for found in beside(path.name, names_beside(path)):
        with suppress(OSError, HeatersError):
            yield found.file.removeprefix(path.stem), small_file(path.with_name(found.file), confined_to)
