"""Frame hashes: the proof that two files show the same pictures.

The hash of a frame is SHA-256, in hex, over its decoded planes in their own pixel format, row by row without padding: Y, then U, then V for
the yuv420p of proxies and clips. Any ffmpeg prints the same for every frame: `ffmpeg -i clip.mp4 -map 0:v:0 -f framehash -hash sha256 -`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from heaters_dagster.domain.errors import InvalidMediaError

if TYPE_CHECKING:
    import av

#: What proxies and stream-copied clips are made of; yuvj420p is the same bytes in full range.
HASHED_FORMATS = frozenset({"yuv420p", "yuvj420p"})


def frame_hash(frame: av.VideoFrame) -> str:
    """SHA-256 (hex) over the planes of a decoded 8-bit 4:2:0 frame, without padding. Raises InvalidMediaError for another format."""
    if frame.format.name not in HASHED_FORMATS:
        raise InvalidMediaError(f"frames of pixel format {frame.format.name} are not hashed here; proxies and clips are yuv420p")
    digest = hashlib.sha256()
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
        digest.update(np.ascontiguousarray(rows[:, : plane.width]).data)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of the whole file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
