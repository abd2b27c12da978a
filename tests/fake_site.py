"""A video site of the tests' own: an extractor for yt-dlp, and the answers of its server.

Sites differ from plain files: a video has an id, a page, and formats to choose from. The extractor reads what the tests' server says of a
video (`/faketube/videos/ID.json`, in the words of yt-dlp) through the same guarded connections as every extractor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin

from yt_dlp.extractor import gen_extractor_classes
from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.globals import extractors
from yt_dlp.utils import ExtractorError

from tests.web_server import WebServer, text

_SITE = r"(?P<site>https?://[^/?#]+/faketube)"


class FakeTubeIE(InfoExtractor):  # type: ignore[misc]
    """One video. Its JSON may hold `error`, what the site says instead of giving the video."""

    IE_NAME = "faketube"
    _VALID_URL = _SITE + r"/watch\?v=(?P<id>[\w-]+)"

    def _real_extract(self, url: str) -> dict[str, Any]:
        site, video_id = self._match_valid_url(url).group("site", "id")
        said = self._download_json(f"{site}/videos/{video_id}.json", video_id)
        if said.get("error"):
            raise ExtractorError(said["error"], expected=True)
        formats = [{**one, "url": urljoin(url, one["url"])} for one in said.pop("formats")]
        told = {"id": video_id, "webpage_url": url, **said, "formats": formats}
        told["subtitles"] = self.extract_subtitles(said.get("subtitles"))
        told["automatic_captions"] = self.extract_automatic_captions(said.get("automatic_captions"))
        return told

    def _get_subtitles(self, said: dict[str, Any] | None) -> dict[str, Any]:
        return said or {}

    _get_automatic_captions = _get_subtitles


#: Lists, channels and feeds of the site add their extractors here.
EXTRACTORS: list[type[InfoExtractor]] = [FakeTubeIE]


@contextmanager
def known_to_ytdlp() -> Iterator[None]:
    """While this is open, yt-dlp knows the site, before all others. Also for the processes of tests that are to be killed."""
    gen_extractor_classes()  # fills the registry
    extractors.value = {one.__name__: one for one in EXTRACTORS} | extractors.value
    try:
        yield
    finally:
        extractors.value = {name: one for name, one in extractors.value.items() if one not in EXTRACTORS}


class FakeSite:
    """The server's side."""

    def __init__(self, web: WebServer) -> None:
        self.web = web
        self.url = f"{web.url}/faketube"

    def add(self, video_id: str, formats: Sequence[Mapping[str, Any]], *, title: str = "A day out", **said: Any) -> str:
        """The address of a new video. formats: in the words of yt-dlp, see `picture` and `sound`. said: its further facts, likewise."""
        self.web.answers[f"/faketube/videos/{video_id}.json"] = text(
            json.dumps({"title": title, "formats": list(formats), **said}), "application/json"
        )
        return f"{self.url}/watch?v={video_id}"


def picture(path: str, height: int, *, codec: str = "avc1.640028", ext: str = "mp4", sound: str = "none", **more: Any) -> dict[str, Any]:
    """A format with pictures of 16:9. path: of the file on the server. sound: the codec of its sound, "none" without."""
    name = more.pop("format_id", f"{height}-{ext}-{codec.partition('.')[0]}")
    wide = {"width": height * 16 // 9, "height": height, "vcodec": codec, "acodec": sound, "ext": ext}
    return {"format_id": name, "url": path, "fps": 24, **wide, **more}


def sound(path: str, *, codec: str = "mp4a.40.2", ext: str = "m4a", **more: Any) -> dict[str, Any]:
    """A format with sound only."""
    return {"format_id": f"sound-{ext}", "url": path, "vcodec": "none", "acodec": codec, "ext": ext, "abr": 128, **more}
