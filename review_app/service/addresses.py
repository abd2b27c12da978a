"""Addresses that pages name: of media on this server, signed, and of the Dagster UI."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from heaters_dagster.settings import Settings
from review_app.service.links import Links


class Addresses:
    def __init__(self, settings: Settings, links: Links) -> None:
        self._settings = settings
        self._links = links

    def media_url(self, kind: Any, row_id: int, **query: Any) -> str:
        """A signed address on this server."""
        return f"/api/{kind}/{row_id}?" + urlencode({"token": self._links.media_token(kind, row_id), **query})

    def partition_url(self, source_video_id: int, asset: str = "virtual_clips") -> str:
        """The partition's page in the Dagster UI."""
        return f"{self.dagster_url}/assets/{asset}?" + urlencode({"view": "partitions", "partition": source_video_id})

    @property
    def dagster_url(self) -> str:
        return (self._settings.dagster_url or self._settings.dagster_local_url).rstrip("/")
