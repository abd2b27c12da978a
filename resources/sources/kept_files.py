"""Files of the command line, where work is done on several machines: they go into the bucket first, as uploads of the browser do.

A file is called by what it is and where it lies. So the same command, typed again after it was cut off, goes on with what is there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from heaters_dagster.domain.errors import DownloadError
from heaters_dagster.domain.keys import UPLOADS_PREFIX
from heaters_dagster.domain.progress import Report, silent
from heaters_dagster.domain.subtitles import MOST_BYTES, beside
from heaters_dagster.settings import Settings
from resources.object_store.open import open_object_store
from resources.postgres.source_video_store import SourceVideoStore
from resources.sources.begun_uploads import IDENTITY_DIGITS, begun_names, new_name, source_of_upload, suffix_of_name
from resources.sources.downloader import local_sha256
from resources.sources.fetched import ByteMeter
from resources.sources.file_identity import FileIdentity
from resources.sources.subtitles_beside import names_beside

#: Puts a file where every machine finds it: path, what is known of it -> source of its row, and what is known of it now.
Keep: TypeAlias = Callable[[Path, FileIdentity], tuple[str, FileIdentity]]


def keeper_of(settings: Settings, videos: SourceVideoStore, report: Report = silent) -> Keep | None:
    """None where all work is done on this machine: then a file stays where it lies."""
    if settings.object_bucket is None or (settings.broker_url is None and settings.machines == 1):
        return None
    objects = open_object_store(settings)

    def keep(path: Path, identity: FileIdentity) -> tuple[str, FileIdentity]:
        """Raises HeatersError and OSError."""
        sha256 = identity.sha256 or local_sha256(path)
        what = [settings.host_name, str(path), identity.byte_size, identity.modified_ns, sha256]
        mark = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:IDENTITY_DIGITS]
        suffix = suffix_of_name(path.name)
        names = [f"{mark}{'0' * (24 - IDENTITY_DIGITS)}{suffix}", *begun_names(mark, settings, objects), new_name(mark, suffix)]
        name = next(name for name in names if not videos.of_source(source_of_upload(name, settings)))
        key, meter = f"{UPLOADS_PREFIX}/{name}", ByteMeter(report, "upload")
        there = objects.info(key)
        if there is None or there.byte_size != identity.byte_size:
            objects.put_file(key, path, progress=lambda done: meter(done, identity.byte_size))
        for rest, file in _subtitles(path):
            objects.put_bytes(f"{key.removesuffix(suffix)}{rest}", file.read_bytes())
        now = os.stat(path)
        if (now.st_size, now.st_mtime_ns) != (identity.byte_size, identity.modified_ns):
            objects.delete(key)
            raise DownloadError(f"{path} changed while it was sent; submit it again when it is complete")
        return source_of_upload(name, settings), replace(identity, sha256=sha256)

    return keep


def _subtitles(path: Path) -> Iterable[tuple[str, Path]]:
    """(what follows the name of the video, file) of the subtitles beside it."""
    for found in beside(path.name, names_beside(path)):
        file = path.with_name(found.file)
        if file.is_file() and file.stat().st_size <= MOST_BYTES:
            yield found.file.removeprefix(path.stem), file
