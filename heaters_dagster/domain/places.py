"""Whether a text says where a video was filmed. Telephones and drones write it into files; it is kept only when a setting says so."""

from __future__ import annotations

import re

_NAMES = re.compile(
    r"(?<!al)location|gps|latitude|longitude|altitude|6709|country|coordinate|(?<![a-z])(?:geo|xyz\b|loci\b|place|city|province)",
    re.IGNORECASE,
)
#: ISO 6709, as "+52.5200+013.4050/"; and how drones write it, as "GPS(13.4,52.5,10)" or "[latitude: 52.5]".
_VALUES = re.compile(
    r"[+-]\d{2,6}\.\d+[+-]\d{3,7}\.\d+|\bgps\s*[(:=]\W{0,4}[nsew]?\W{0,3}\d|"
    r"\b(?:latitude|longitude|longtitude|lat|lon|lng)\s*[:=]\s*[+-]?\d",
    re.IGNORECASE,
)


def names_a_place(tag: str) -> bool:
    """Whether the tag of this name holds a place: `location`, `com.apple.quicktime.location.ISO6709`, ..."""
    return _NAMES.search(tag) is not None


def holds_a_position(text: str) -> bool:
    """Whether a text holds coordinates."""
    return _VALUES.search(text) is not None
