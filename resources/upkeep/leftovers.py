"""Removes half-done files of processes that died, uploads that have reached the object store, and pieces of proxies that are joined."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.keys import PIECES_PREFIX, UPLOADS_PREFIX, video_of_piece
from heaters_dagster.domain.stages import PROXY
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.object_store.open import open_object_store
from resources.object_store.piece_files import drop_pieces
from resources.object_store.s3 import listed_objects
from resources.object_store.work_folder import WorkFolder
from resources.postgres.database import Database
from resources.postgres.piece_store import PieceStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.submitted_videos import SubmittedVideos
from resources.sources.fetched import begun_name

#: An upload without a row is older than this only when the process died between storing the file and writing the row.
_ABANDONED_SECONDS = 24 * 3600.0


def sweep_leftovers(settings: Settings) -> None:
    """Remove temporary folders and half-written objects of processes that have ended; those of running processes stay.

    A store that does not answer is not reported here: the stages that need it report it.
    """
    WorkFolder(settings.work_folder).sweep()
    with suppress(HeatersError):
        open_object_store(settings).sweep()


def sweep_work(work: WorkFolder, videos: SourceVideoStore) -> list[Path]:
    """Remove the folders of attempts whose process is dead, and what was begun of source videos that are fetched or deleted by now."""
    waiting = {begun_name(source_video_id) for source_video_id in videos.waiting_to_be_fetched()}
    return work.sweep(is_over=lambda name: name not in waiting)


def sweep_uploaded_objects(settings: Settings, videos: SourceVideoStore) -> list[str]:
    """As `sweep_uploads`, of the uploads in the bucket; returns their keys. A lifecycle rule ends what nobody sweeps."""
    bucket = settings.object_bucket
    if bucket is None:
        return []
    objects, removed = open_object_store(settings), []
    found = list(listed_objects(bucket, f"{UPLOADS_PREFIX}/", endpoint_url=settings.s3_endpoint_url))
    names = [one.key.rpartition("/")[2] for one in found]
    stored = SubmittedVideos(videos.database).stored_by_file_name(names)
    # Subtitles that were sent with a video go with it.
    with_video = {Path(name).stem: is_stored for name, is_stored in stored.items()}
    oldest = datetime.now(UTC) - timedelta(seconds=_ABANDONED_SECONDS)
    for one, name in zip(found, names, strict=True):
        if stored.get(name, with_video.get(name.partition(".")[0], one.changed_at < oldest)):
            objects.delete(one.key)
            removed.append(one.key)
    return removed


def sweep_pieces(database: Database, objects: ObjectStore) -> list[str]:
    """Remove pieces of proxies that nobody will join, because the proxy is there or the source video is gone; returns their keys.

    Those of a proxy that is still to be made stay, because the next try goes on with them.
    """
    found = {video_of_piece(info.key) for info in objects.list(f"{PIECES_PREFIX}/")}
    ids = sorted(source_video_id for source_video_id in found if source_video_id is not None)
    unfinished, store = SourceVideoStore(database).in_states(ids, PROXY.steps.due), PieceStore(database)
    removed: list[str] = []
    for source_video_id in ids:
        if source_video_id not in unfinished and not database.stage_is_busy(PROXY.asset, source_video_id):
            removed += drop_pieces(objects, source_video_id)
            store.forget(source_video_id)
    return removed


def sweep_uploads(settings: Settings, videos: SourceVideoStore) -> list[Path]:
    """Remove the files in `HEATERS_HOME/uploads` whose original is in the store or that no source video names; returns them.

    An upload that could not be processed stays, because Retry needs it.
    """
    files = sorted(settings.uploads_folder.glob("*"))
    # Compared by file name, which is random, so that this also works after HEATERS_HOME was moved.
    stored = SubmittedVideos(videos.database).stored_by_file_name([path.name for path in files])
    oldest = time.time() - _ABANDONED_SECONDS
    removed = []
    for path in files:
        with suppress(FileNotFoundError):  # another process is removing files too
            if stored.get(path.name, path.stat().st_mtime < oldest):
                path.unlink()
                removed.append(path)
    return removed
