"""What a shell offers as completion for a source video or a clip. Nothing while the database does not run: Tab must not start a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from heaters_dagster.domain.clip_names import reference
from heaters_dagster.settings import load_settings

if TYPE_CHECKING:
    from resources.postgres.database import Database

#: How many completions a shell can show at once.
_MOST = 200


def source_videos(incomplete: str) -> list[tuple[str, str]]:
    """(number, title) of the source videos whose number begins with the text, newest first."""
    return [(str(source_video_id), title) for source_video_id, title in _titles(incomplete).items()]


def clips(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """(`3:14`, title) of the clips whose name begins with the text. Before the colon: of the source videos whose number begins with it."""
    video, colon, number = incomplete.partition(":")
    before = "".join((ctx.params.get("clips") or ctx.params.get("called") or [])[-2:])
    if not colon and before.endswith(":"):  # bash splits `3:1` into three words, and completes the third
        return [(name.partition(":")[2], title) for name, title in _clips_of(before.removesuffix(":"), video)]
    if colon:
        return _clips_of(video, number)
    return [found for one in _titles(video) for found in _clips_of(str(one), "")][:_MOST]


def _titles(begins: str) -> dict[int, str]:
    from resources.postgres.source_video_lists import SourceVideoLists

    with _running_database() as database:
        if database is None:
            return {}
        titles = SourceVideoLists(database).titles(text=begins, limit=_MOST)
    return {source_video_id: title for source_video_id, title in titles.items() if str(source_video_id).startswith(begins)}


def _clips_of(video: str, begins: str) -> list[tuple[str, str]]:
    from resources.postgres.clip_store import ClipStore

    if not (video.isascii() and video.isdigit() and len(video) < 16):
        return []
    with _running_database() as database:
        live = ClipStore(database).load_live(int(video)) if database is not None else []
    numbers = [clip.sequence for clip in live if str(clip.sequence).startswith(begins)]
    return [(reference(int(video), number), "") for number in numbers[:_MOST]]


@contextmanager
def _running_database() -> Iterator[Database | None]:
    from resources.postgres import embedded_postgres
    from resources.postgres.database import open_database

    settings = load_settings()
    if settings.database_url is None and not embedded_postgres.status(settings.postgres_folder).running:
        yield None
        return
    database = open_database(settings)
    try:
        yield database
    finally:
        database.dispose()
