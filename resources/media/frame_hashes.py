"""Frame hashes: the proof that two files show the same pictures.

The hash of a frame is SHA-256, in hex, over its decoded planes in their own pixel format, row by row without padding: Y, then U, then V for
the yuv420p of proxies and their copies. ffmpeg prints the same: `ffmpeg -i clip.mp4 -map 0:v:0 -f framehash -hash sha256 -`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from heaters_dagster.domain.errors import InvalidMediaError

if TYPE_CHECKING:
    import av


def frame_hash(frame: av.VideoFrame) -> str:
    """SHA-256 (hex) over the planes of a decoded frame, without padding.

    Raises InvalidMediaError for a pixel format with a palette, or whose samples do not fill whole bytes or share them with padding.
    """
    digest = hashlib.sha256()
    for plane, row_bytes in zip(frame.planes, _row_bytes(frame.format), strict=True):
        rows = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
        digest.update(np.ascontiguousarray(rows[:, :row_bytes]).data)
    return digest.hexdigest()


def _row_bytes(pixels: av.VideoFormat) -> list[int]:
    """How many bytes of each plane's row are picture."""
    parts = pixels.components
    packed = pixels.bits_per_pixel == pixels.padded_bits_per_pixel and all((one.bits, one.width) == (8, pixels.width) for one in parts)
    if pixels.has_palette or pixels.is_bit_stream or not (pixels.is_planar or packed):
        raise InvalidMediaError(f"frames of pixel format {pixels.name} are not hashed here: their samples are not whole bytes side by side")
    bytes_of_planes = [0] * (1 + max(one.plane for one in parts))
    for one in parts:
        bytes_of_planes[one.plane] += one.width * ((one.bits + 7) // 8)
    return bytes_of_planes


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of the whole file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
