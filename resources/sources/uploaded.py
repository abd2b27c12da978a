"""Uploads of reviewers, until their original is in the object store.

With a bucket they lie there, under `uploads/`, because any machine may take them. Without one they lie under HEATERS_HOME and become
originals without being read or copied once more: they were hashed when they arrived.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from heaters_dagster.domain.ingest import SourceKind, s3_location, source_kind, title_from_name
from heaters_dagster.domain.keys import UPLOADS_PREFIX
from resources.object_store.interface import ObjectStore
from resources.postgres.source_video_store import SourceVideo
from resources.sources.fetched import Fetched


def drop_taken(key: str, objects: ObjectStore) -> None:
    """Remove an upload that has become an original, and the subtitles that were sent with it."""
    for beside in list(objects.list(f"{key.removesuffix(Path(key).suffix)}.")):
        objects.delete(beside.key)
    objects.delete(key)


def upload_key(source: str, bucket: str | None) -> str | None:
    """The key of an upload in our bucket; None for every other source."""
    if bucket is None or source_kind(source) is not SourceKind.S3_ADDRESS:
        return None
    of, key = s3_location(source)
    return key if of == bucket and key.startswith(f"{UPLOADS_PREFIX}/") else None


def linked_upload(video: SourceVideo, folder: Path, uploads_folder: Path) -> Fetched | None:
    """The upload that a source video names, as a second name of the same file in `folder`. Nobody may write to it afterwards.

    None when it must be copied like any other file: it is no upload, it has changed since it arrived, or the disk has no links.
    """
    path = Path(video.source)
    if path.parent != uploads_folder or video.source_sha256 is None:
        return None
    with suppress(OSError):
        found = path.stat(follow_symlinks=False)
        if (found.st_size, found.st_mtime_ns) == (video.source_bytes, video.source_modified_ns):
            linked = folder / "original"
            os.link(path, linked, follow_symlinks=False)
            return Fetched(linked, found.st_size, video.source_sha256, path.name, title_from_name(path.name))
    return None
