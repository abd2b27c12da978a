"""Pictures that strangers send: read as pictures, and written anew without what else was in the file."""

from __future__ import annotations

import io

from heaters_dagster.domain.errors import InvalidMediaError

_FORMATS = ("JPEG", "PNG", "WEBP")
_LONGEST_SIDE_PIXELS = 1280
_MOST_PIXELS = 64_000_000


def thumbnail_jpeg(data: bytes, *, called: str) -> bytes:
    """The picture as a JPEG of at most 1280 pixels a side, without its metadata: it may say where a picture was taken.

    Raises InvalidMediaError for what is no JPEG, PNG or WebP, or has too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise InvalidMediaError(f"{called} has {picture.width}x{picture.height} pixels, which is too many for a thumbnail")
            picture.thumbnail((_LONGEST_SIDE_PIXELS, _LONGEST_SIDE_PIXELS))
            written = io.BytesIO()
            picture.convert("RGB").save(written, "JPEG", quality=88)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidMediaError(f"{called} is no picture that can be read ({type(error).__name__})") from error
    return written.getvalue()
