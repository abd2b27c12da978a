"""Writes the cut list of a stored source video in one of the formats, from its rows and its frame index."""

from __future__ import annotations

from fractions import Fraction

from heaters_dagster.domain.cut_lists import CutListSource
from heaters_dagster.domain.errors import NotFoundError
from heaters_dagster.domain.keys import proxy_key
from heaters_dagster.domain.subtitles import AUTOMATIC, PERSON, Line
from heaters_dagster.registries import CUT_LIST_FORMATS
from heaters_dagster.settings import Settings
from resources.media.frame_index_reader import FrameIndexes
from resources.object_store.interface import ObjectStore
from resources.object_store.open import open_object_store
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.transcript_store import TranscriptStore

_LINK_SECONDS = 7 * 24 * 3600


def stored_cut_list(
    source_video_id: int, form: str, *, database: Database, settings: Settings, objects: ObjectStore | None = None
) -> list[str]:
    """The cut list in the format named `form`. It refers to the proxy, because cuts are numbers of its frames.

    Returns the text of each of its files: several when one file cannot hold all clips.
    Raises NotFoundError when the source video has no clips yet, UnknownNameError when there is no such format, BadRequestError when the
    format cannot hold these clips.
    """
    chosen = CUT_LIST_FORMATS.load(form)
    video = SourceVideoStore(database).load(source_video_id)
    clips = ClipStore(database).load_live(source_video_id)
    if not clips:
        raise NotFoundError(f"source video {source_video_id} has no clips yet (its state: {video.state})")
    objects = objects or open_object_store(settings)
    key = proxy_key(source_video_id)
    path = objects.local_path(key)
    header = FrameIndexes(objects).header(source_video_id)
    duration = header.end_pts * header.time_base
    source = CutListSource(
        id=video.id,
        title=video.title,
        media_url=path.as_uri() if path is not None else objects.url(key, expires_seconds=_LINK_SECONDS) or key,
        frame_rate=Fraction(header.frame_count) / duration if duration else Fraction(25),
        duration_seconds=float(duration),
        width=round(header.width * header.sample_aspect_ratio),
        height=header.height,
        has_audio=header.has_audio,
        facts=FactsStore(database).load(source_video_id),
        lines=tuple(_first_subtitles(TranscriptStore(database), source_video_id)),
    )
    return [chosen.write(source, part) for part in chosen.parts(clips)]


def _first_subtitles(transcripts: TranscriptStore, source_video_id: int) -> list[Line]:
    """Those that people wrote before those that a machine made."""
    known = sorted(transcripts.of_video(source_video_id), key=lambda one: (one.kind == AUTOMATIC, one.origin != PERSON, one.id))
    return transcripts.lines(known[0].id) if known else []
