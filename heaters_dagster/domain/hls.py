"""What an HLS media playlist (RFC 8216) names: its segments, its keys, and whether it can be read without a licence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')
_PLAIN_KEY_FORMAT = "identity"


@dataclass(frozen=True, slots=True)
class Part:
    """One file that a playlist names. called: for messages, "segment 3 of 4"."""

    address: str
    called: str


def parts(playlist: str, address: str) -> list[Part]:
    """Segments, keys and beginnings of the media playlist that lies at `address`."""
    segments = [urljoin(address, line) for line in _lines(playlist) if not line.startswith("#")]
    keys = [urljoin(address, key["URI"]) for key in _keys(playlist) if key.get("URI")]
    beginnings = [urljoin(address, one["URI"]) for one in map(_attributes, _tagged(playlist, "#EXT-X-MAP:")) if one.get("URI")]
    numbered = [Part(one, f"segment {number} of {len(segments)}") for number, one in enumerate(segments, 1)]
    return [*numbered, *(Part(one, "the key") for one in keys), *(Part(one, "the beginning (EXT-X-MAP)") for one in beginnings)]


def is_encrypted(playlist: str) -> bool:
    return any(key.get("METHOD") == "AES-128" for key in _keys(playlist))


def unreadable(playlist: str) -> str | None:
    """Why the playlist cannot be read without a licence or at all, or None. AES-128 with a key at an address can be."""
    if next(_tagged(playlist, "#EXT-X-FAXS-CM"), None) is not None:
        return "it is protected against copying (Adobe Access DRM)"
    for key in _keys(playlist):
        method, key_format = key.get("METHOD", "none"), key.get("KEYFORMAT", _PLAIN_KEY_FORMAT)
        if method == "NONE":
            continue
        if key_format.lower() != _PLAIN_KEY_FORMAT or key.get("URI", "").startswith("skd:"):
            return f"it is protected against copying (DRM, {method} with {_drm_name(key_format)})"
        if method != "AES-128":
            return f"it is encrypted with {method}, which is not supported; only AES-128 is supported"
        if not key.get("URI"):
            return "it is encrypted, and its playlist names no key"
    return None


def _drm_name(key_format: str) -> str:
    known = {
        "com.apple.streamingkeydelivery": "Apple FairPlay",
        "com.microsoft.playready": "Microsoft PlayReady",
        "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed": "Google Widevine",
        _PLAIN_KEY_FORMAT: "Apple FairPlay",
    }
    return known.get(key_format.lower(), "keys of its own kind")


def _lines(playlist: str) -> Iterator[str]:
    return (line.strip() for line in playlist.splitlines() if line.strip())


def _tagged(playlist: str, *tags: str) -> Iterator[str]:
    return (line.partition(":")[2] for line in _lines(playlist) if line.startswith(tags))


def _keys(playlist: str) -> Iterator[dict[str, str]]:
    return map(_attributes, _tagged(playlist, "#EXT-X-KEY:", "#EXT-X-SESSION-KEY:"))


def _attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}
