"""What an object says of itself to browsers and CDNs: its media type, and how long a copy of it may be used without asking again."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

#: Written down here, because Python's own table depends on files of the machine.
_CONTENT_TYPES = {
    ".aac": "audio/aac", ".ass": "text/x-ssa", ".avi": "video/x-msvideo", ".bin": "application/octet-stream", ".flac": "audio/flac",
    ".flv": "video/x-flv", ".gif": "image/gif", ".jpg": "image/jpeg", ".json": "application/json", ".m2ts": "video/mp2t",
    ".m4a": "audio/mp4", ".m4v": "video/x-m4v", ".mkv": "video/x-matroska", ".mov": "video/quicktime", ".mp4": "video/mp4",
    ".mpeg": "video/mpeg", ".mpg": "video/mpeg", ".mts": "video/mp2t", ".mxf": "application/mxf", ".ogv": "video/ogg",
    ".parquet": "application/vnd.apache.parquet", ".png": "image/png", ".srt": "application/x-subrip", ".ssa": "text/x-ssa",
    ".tar": "application/x-tar", ".ts": "video/mp2t", ".txt": "text/plain", ".vtt": "text/vtt", ".wav": "audio/wav",
    ".webm": "video/webm", ".wmv": "video/x-ms-wmv",
}  # fmt: skip

_NAMES_ITS_BYTES = re.compile(r"_given_(?:[a-z0-9-]+_)?[0-9a-f]{32}\.[a-z0-9]+\Z")


def content_type(key: str) -> str:
    return _CONTENT_TYPES.get(PurePosixPath(key).suffix.lower(), "application/octet-stream")


def cache_control(key: str) -> str:
    """The `Cache-Control` of the object under a key.

    Most keys name a video or a clip, and the object under them is replaced when that is made anew: a copy of a proxy that does not go with
    the frame index shows wrong frames. So a copy is kept, and its tag is compared before each use. Keys that name their bytes never get
    others. "private": links go to people who may see the object, and only their browser may keep a copy; a CDN that checks who asks (by
    signed links or cookies) keeps one all the same.
    """
    return "private, max-age=31536000, immutable" if _NAMES_ITS_BYTES.search(key) else "private, no-cache"
