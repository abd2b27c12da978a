"""Finds out what a media file contains: what its beginning says, and what the packets up to its end say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resources.media.first_look import MediaProbe, first_look
from resources.media.packet_count import counted


def probe(path: Path, *, name: str | None = None) -> MediaProbe:
    """Find out what the file contains; it is read to its end. name and errors: as for `first_look`."""
    return counted(path, first_look(path, name=name), name=name or path.name)


def known_probe(stored: Mapping[str, Any] | None, path: Path, *, name: str) -> MediaProbe:
    """The result of the probe at ingest, from the row; without it the file is probed now, which reads all of it."""
    return MediaProbe.from_json(dict(stored)) if stored else probe(path, name=name)
