"""What may be submitted: kinds of source, names that count as video, containers that are read, addresses that may be reached."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePosixPath
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from heaters_dagster.domain.errors import ForbiddenSourceError
from heaters_dagster.domain.secrets import without_access

Address: TypeAlias = IPv4Address | IPv6Address

#: Demuxers, by FFmpeg's names, for files that hold their pictures themselves. Playlists (hls, dash, concat, imf, sdp) are left out,
#: because they name further files and addresses that FFmpeg would open; so are text and single pictures, which FFmpeg also takes for
#: video. FFmpeg takes a .mjpeg file for `jpeg_pipe`, and also a single JPEG, which the probe refuses.
CONTAINERS = (
    "3dostr", "apng", "asf", "av1", "avi", "avs2", "avs3", "cavsvideo", "dirac", "dv", "evc", "film_cpk", "flic", "flv", "gif",
    "gxf", "h261", "h263", "h264", "hevc", "ivf", "ivr", "jpeg_pipe", "live_flv", "lxf", "m4v", "matroska,webm", "mjpeg", "mjpeg_2000",
    "mov,mp4,m4a,3gp,3g2,mj2", "mpeg", "mpegts", "mpegvideo", "mv", "mvi", "mxf", "nsv", "nut", "nuv", "obu", "ogg", "pmp",
    "psxstr", "rm", "roq", "smk", "smush", "swf", "ty", "vc1", "vc1test", "vivo", "vmd", "vvc", "wc3movie", "wtv", "xmv",
    "yuv4mpegpipe",
)  # fmt: skip

#: Other contents that a file with a video's name may have.
AUDIO_CONTAINERS = (
    "aac", "ac3", "aiff", "amr", "ape", "au", "caf", "dts", "eac3", "flac", "mp3", "oma", "tta", "w64", "wav", "wv",
)  # fmt: skip

#: What a folder is searched for; a file that is named by itself may have any name.
VIDEO_SUFFIXES = frozenset({
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg",
    ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".swf", ".ts",
    ".vob", ".webm", ".wmv", ".wtv", ".y4m",
})  # fmt: skip

MIN_SIDE_PIXELS = 2
MAX_SIDE_PIXELS = 16_384
MAX_PICTURE_PIXELS = 8_192 * 8_192

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
_TITLE_CHARACTERS = 200


class SourceKind(StrEnum):
    LOCAL_PATH = "local path"
    WEB_ADDRESS = "web address"
    S3_ADDRESS = "s3 address"


def looks_like_address(source: str) -> bool:
    """Whether somebody who typed this meant an address, allowed or not, and not a path."""
    scheme = _SCHEME.match(source)
    return scheme is not None and (source[scheme.end() :].startswith("//") or scheme.group(1).lower() in {"file", "data"})


def source_kind(source: str) -> SourceKind:
    """What a submitted string is. Raises ForbiddenSourceError for everything except an absolute path, http, https and s3."""
    if source.startswith("/"):
        if "\x00" in source:
            raise ForbiddenSourceError(f"{source!r} is not a path")
        return SourceKind.LOCAL_PATH
    scheme = _SCHEME.match(source)
    match scheme and scheme.group(1).lower():
        case "http" | "https":
            if not web_host(source):
                raise ForbiddenSourceError(f"{source} names no host")
            return SourceKind.WEB_ADDRESS
        case "s3":
            s3_location(source)
            return SourceKind.S3_ADDRESS
    raise ForbiddenSourceError(
        f"{source!r} cannot be a source: give an absolute path, or an address that begins with https://, http:// or s3://"
    )


def web_host(address: str) -> str | None:
    """The host of a web address, lower case, without port and brackets; None when there is none or the address is malformed."""
    try:
        parts = urlsplit(address)
        _ = parts.port
        return parts.hostname or None
    except ValueError:
        return None


def s3_location(source: str) -> tuple[str, str]:
    """(bucket, key) of `s3://bucket/key`. Raises ForbiddenSourceError when it is not one."""
    bucket, _, key = source.removeprefix("s3://").partition("/")
    if not source.startswith("s3://") or not _BUCKET.match(bucket) or not key or key.endswith("/") or _UNPRINTABLE.search(key):
        raise ForbiddenSourceError(
            f"{source!r} is not the address of an object: write s3://bucket/key, or s3://bucket/prefix/ for all videos below it"
        )
    return bucket, key


def is_video_name(name: str) -> bool:
    """Whether a file found in a folder is submitted: a video's suffix, and not hidden."""
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES


def title_from_name(name: str) -> str:
    """A title for people from a path or an address: its last part without a video's suffix, underscores as spaces.

    Of an address without such a part only the host: a user with a password, or a key, may stand beside it.
    """
    last = PurePosixPath(unquote(urlsplit(name).path) if "://" in name else name).name
    suffix = PurePosixPath(last).suffix
    stem = last.removesuffix(suffix) if suffix.lower() in VIDEO_SUFFIXES else last
    whole = (web_host(name) or without_access(name)) if "://" in name else name
    return clean_title(stem.replace("_", " ")) or clean_title(whole) or "untitled"


def clean_title(title: str) -> str:
    """One line of at most 200 characters, without control and direction-changing characters, and halves of characters."""
    return " ".join(_UNPRINTABLE.sub(" ", title).split())[:_TITLE_CHARACTERS].strip()


def original_suffix(name: str, container: str) -> str:
    """Suffix of the stored original: that of its name if it is a suffix of videos, else the usual one of the container, else none."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in VIDEO_SUFFIXES else _CONTAINER_SUFFIXES.get(container, "")


_CONTAINER_SUFFIXES = {
    "asf": ".asf", "avi": ".avi", "flv": ".flv", "gif": ".gif", "matroska,webm": ".mkv", "mov,mp4,m4a,3gp,3g2,mj2": ".mp4", "mpeg": ".mpg",
    "mpegts": ".ts", "mxf": ".mxf", "ogg": ".ogv", "yuv4mpegpipe": ".y4m",
}  # fmt: skip


def status_may_pass(status: int) -> bool:
    """Whether a later try may succeed after this HTTP error status: time-outs, too many requests, server errors."""
    return status in {408, 425, 429} or status >= 500


#: Not public, although `is_global` says so in some or all Python versions.
_INTERNAL: Sequence[IPv4Network | IPv6Network] = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # carrier NAT; Alibaba's metadata service is 100.100.100.200
    IPv4Network("168.63.129.16/32"),  # Azure's host: a public address that answers only inside Azure
    IPv4Network("192.0.0.0/24"),  # Oracle's metadata service is 192.0.0.192
    IPv4Network("192.88.99.0/24"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("fec0::/10"),
)
_NAT64 = IPv6Network("64:ff9b::/96")


def internal_reason(address: Address) -> str | None:
    """Why `address` may not be fetched ("a loopback address", ...), or None when it is on the public internet.

    IPv4 addresses inside IPv6 ones (mapped, 6to4, Teredo, NAT64) are judged by the IPv4 address that they reach.
    """
    for inner in _embedded(address):
        reason = internal_reason(inner)
        if reason:
            return reason
    named = (
        (address.is_loopback, "a loopback address"),
        (address.is_link_local, "a link-local address, where cloud metadata services live"),
        (address.is_multicast, "a multicast address"),
        (address.is_unspecified, "the unspecified address"),
        (address.is_private, "a private address"),
        (address.is_reserved or not address.is_global, "a reserved address"),
        (any(address in network for network in _INTERNAL if network.version == address.version), "an internal address"),
    )
    if isinstance(address, IPv6Address) and address in _NAT64:
        return None
    return next((reason for applies, reason in named if applies), None)


def _embedded(address: Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in inner if one is not None]
