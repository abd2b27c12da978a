"""Clips and source videos in the words of the player's pages."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from heaters_dagster.domain import scenes
from heaters_dagster.domain.detector import CHAPTER, Boundary
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.keys import proxy_key, scenes_key
from heaters_dagster.domain.timecode import ClockOfVideo
from heaters_dagster.registries import DETECTORS
from heaters_dagster.settings import Settings
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.review_page_store import ReviewPageStore
from resources.postgres.reviewer_store import ReviewerStore
from resources.postgres.source_clocks import clocks_of
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from review_app.service import views
from review_app.service.addresses import Addresses

#: What was read of a video counts so long: it may be cut again.
_BOUNDARIES_SECONDS = 30.0


class PageRows:
    """Keeps what does not change, or seldom: names of reviewers, and for half a minute what detectors said of a video."""

    def __init__(self, *, settings: Settings, database: Database, objects: ObjectStore, addresses: Addresses) -> None:
        self._settings = settings
        self._database = database
        self._objects = objects
        self._addresses = addresses
        self._clips = ClipStore(database)
        self._videos = SourceVideoStore(database)
        self._around = ReviewPageStore(database)
        self._boundaries_read: dict[int, tuple[float, Mapping[int, Boundary]]] = {}
        self._names: dict[int, str] = {}

    def told(self, clip_ids: Sequence[int]) -> list[dict[str, Any]]:
        """These clips as they are now, and their neighbours."""
        around = self._around.around(clip_ids)
        return self.clips_json(around, self._clips.words_beside(around))

    def name(self, reviewer_id: int) -> str:
        """Of a reviewer. A name once given stays."""
        if reviewer_id not in self._names:
            self._names[reviewer_id] = ReviewerStore(self._database).load(reviewer_id).name
        return self._names[reviewer_id]

    def clips_json(self, clips: Sequence[Clip], beside: Mapping[int, str]) -> list[dict[str, Any]]:
        """Called outside of a transaction: it may ask the object store. beside: clip id -> what stages beside the others say of it."""
        return [self._clip_json(clip, beside.get(clip.id, "")) for clip in clips]

    def _clip_json(self, clip: Clip, beside: str) -> dict[str, Any]:
        """beside: what stages beside the others say of it."""
        boundaries = self._boundaries(clip.source_video_id)
        changed_by = clip.last_modified_by_user_id
        return {
            "id": clip.id,
            "source_video_id": clip.source_video_id,
            "sequence": clip.sequence,
            "start_frame": clip.start_frame,
            "end_frame": clip.end_frame,
            "start_seconds": clip.start_time_seconds,
            "end_seconds": clip.end_time_seconds,
            "state": str(clip.state),
            "beside": beside,
            "version": clip.cut_point_version,
            "changed_by": None if changed_by is None else {"id": changed_by, "name": self.name(changed_by)},
            "grouped_with_clip_id": clip.grouped_with_clip_id,
            "cut": None if clip.transition is None else clip.transition.to_json(),
            **_edge(boundaries.get(clip.start_frame), "start"),
            **_edge(boundaries.get(clip.end_frame), "end"),
            "links": [
                {"label": "Clips", "url": f"/clips?video={clip.source_video_id}"},
                {"label": "Source video", "url": f"/videos?video={clip.source_video_id}"},
                {"label": "Dagster", "url": self._addresses.partition_url(clip.source_video_id)},
            ],
        }

    def videos_json(self, videos: Sequence[SourceVideo]) -> list[dict[str, Any]]:
        clocks = clocks_of([video.id for video in videos], database=self._database)
        return [self._video_json(video, clocks.get(video.id)) for video in videos]

    def _video_json(self, video: SourceVideo, clock: ClockOfVideo | None) -> dict[str, Any]:
        remote = self._objects.url(proxy_key(video.id), expires_seconds=self._settings.link_ttl_seconds)
        return {
            "id": video.id,
            "title": video.title,
            "frame_count": video.frame_count,
            "media_url": remote or self._addresses.media_url("proxy", video.id),
            "index_url": self._addresses.media_url("index", video.id),
            "segment_url": self._addresses.media_url("segment", video.id),
            "still_url": self._addresses.media_url("still", video.id),
            "source_time": views.source_time_json(clock),
        }

    def _boundaries(self, source_video_id: int) -> Mapping[int, Boundary]:
        """As in the scenes file, read again after half a minute: a video may be cut again."""
        read = self._boundaries_read.get(source_video_id)
        if read is None or time.monotonic() - read[0] > _BOUNDARIES_SECONDS:
            read = (time.monotonic(), self._read_boundaries(source_video_id))
            self._boundaries_read[source_video_id] = read
        return read[1]

    def _read_boundaries(self, source_video_id: int) -> Mapping[int, Boundary]:
        """Frame -> the boundary there; empty when there is no scenes file."""
        try:
            document = scenes.decoded(self._objects.get_bytes(scenes_key(source_video_id)))
        except HeatersError:
            return {}
        made_with = self._videos.load(source_video_id).scene_settings
        return {boundary.frame: boundary for boundary in scenes.told_boundaries(document, made_with, DETECTORS.find)}


def _edge(boundary: Boundary | None, side: str) -> dict[str, Any]:
    """What a clip's cut at this side is: how sure a detector is of it, and its kind where it has one."""
    if boundary is None:
        return {f"{side}_confidence": None, f"{side}_kind": None}
    is_found = boundary.kind != CHAPTER
    return {f"{side}_confidence": boundary.confidence if is_found else None, f"{side}_kind": boundary.kind or None}
