"""What processes that died have left half done, and uploads that are in the object store by now."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.settings import Settings
from resources.object_store.open import open_object_store
from resources.object_store.work_folder import WorkFolder
from resources.postgres.source_video_store import SourceVideoStore

#: An upload without a row is older than this only when the process died between the two.
_ABANDONED_SECONDS = 24 * 3600.0


def sweep_leftovers(settings: Settings) -> None:
    """Remove temporary folders and half-written objects of processes that are gone; those of living ones stay.

    A store that is away is not complained of here: the stages that need it say so.
    """
    WorkFolder(settings.work_folder).sweep()
    with suppress(HeatersError):
        open_object_store(settings).sweep()


def sweep_uploads(settings: Settings, videos: SourceVideoStore) -> list[Path]:
    """Remove the files in `HEATERS_HOME/uploads` whose original is in the store, and those that no source video names; returns them.

    An upload that could not be fetched stays: Retry needs it.
    """
    files = sorted(settings.uploads_folder.glob("*"))
    # By name, which is random: a home that was moved still finds its rows.
    stored = {Path(video.source).name: video.original_filepath is not None for video in videos.load_all()} if files else {}
    oldest = time.time() - _ABANDONED_SECONDS
    removed = []
    for path in files:
        with suppress(FileNotFoundError):  # another process sweeps too
            if stored.get(path.name, path.stat().st_mtime < oldest):
                path.unlink()
                removed.append(path)
    return removed
