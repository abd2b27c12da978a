"""Channels of a video site of the tests' own: an extractor for yt-dlp, and the answers of its server.

A channel has tabs, which are lists, and a tab has videos, which it names without a look at their pages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from yt_dlp.extractor import gen_extractor_classes
from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.globals import extractors
from yt_dlp.utils import ExtractorError

from tests.web_server import WebServer, text

#: The key of the extractor of single videos.
VIDEOS = "FakeTube"


class FakeChannelIE(InfoExtractor):  # type: ignore[misc]
    """A channel, or one of its tabs."""

    IE_NAME = "faketube:channel"
    _VALID_URL = r"(?P<site>https?://[^/?#]+/faketube)/c/(?P<id>[\w-]+)(?:/(?P<tab>[\w-]+))?"

    def _real_extract(self, url: str) -> dict[str, Any]:
        site, channel, tab = self._match_valid_url(url).group("site", "id", "tab")
        said = self._download_json(f"{site}/channels/{channel}{f'/{tab}' if tab else ''}.json", channel)
        if tab is None:
            tabs = [self.url_result(f"{site}/c/{channel}/{one}", FakeChannelIE) for one in said["tabs"]]
            return self.playlist_result(tabs, channel, said["title"])
        return self.playlist_result(self._videos(site, said), f"{channel}-{tab}", tab)

    def _videos(self, site: str, said: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for number, video_id in enumerate(said["videos"]):
            if number == said["breaks_after"]:
                raise ExtractorError("the next page does not come", expected=True)
            yield self.url_result(f"{site}/watch?v={video_id}", VIDEOS, video_id, f"Video {video_id}", duration=10)
        for number in count() if said["endless"] else ():
            yield self.url_result(f"{site}/watch?v=more{number}", VIDEOS, f"more{number}", "More")


@contextmanager
def channels_known() -> Iterator[None]:
    """While this is open, yt-dlp knows the channels, before all other sites."""
    gen_extractor_classes()  # fills the registry
    extractors.value = {FakeChannelIE.__name__: FakeChannelIE} | extractors.value
    try:
        yield
    finally:
        extractors.value = {name: one for name, one in extractors.value.items() if one is not FakeChannelIE}


def channel(
    web: WebServer,
    name: str,
    tabs: Mapping[str, Sequence[str]],
    *,
    title: str = "A channel",
    breaks_after: int | None = None,
    endless: bool = False,
) -> str:
    """The address of a new channel. tabs: name -> ids of videos. breaks_after: videos of a tab after which the site fails."""
    answers: dict[str, dict[str, Any]] = {"": {"title": title, "tabs": list(tabs)}}
    answers |= {f"/{tab}": {"videos": list(ids), "breaks_after": breaks_after, "endless": endless} for tab, ids in tabs.items()}
    for path, said in answers.items():
        web.answers[f"/faketube/channels/{name}{path}.json"] = text(json.dumps(said), "application/json")
    return f"{web.url}/faketube/c/{name}"
