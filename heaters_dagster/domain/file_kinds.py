"""Files that are no video, told from their first bytes: pictures, documents, archives. Pure: nothing is decoded.

FFmpeg takes some of them for video of one frame (JPEG, HEIC), and finds others only after a long look.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from heaters_dagster.domain.errors import InvalidMediaError

#: So many bytes tell every kind here but a large JPEG, whose picture must end before something else can follow.
KIND_BYTES = 1 << 18

_STILL_BRANDS = {
    b"heic": "a HEIC picture", b"heix": "a HEIC picture", b"heim": "a HEIC picture", b"heis": "a HEIC picture",
    b"mif1": "a HEIF picture", b"mif2": "a HEIF picture", b"avif": "an AVIF picture", b"crx ": "a Canon raw picture (CR3)",
}  # fmt: skip
#: Files of these brands hold pictures that follow each other, beside a still one.
_SEQUENCE_BRANDS = frozenset({b"msf1", b"hevc", b"hevx", b"avis"})

_UNPACK = "; unpack it and submit the videos in it"
#: Of an extended WebP file, bit 1 of the byte behind "VP8X" and its length says that pictures follow each other.
_ANIMATED_WEBP = b"[" + re.escape(bytes(flags for flags in range(256) if flags & 2)) + b"]"
_SIGNATURES = {
    rb"RIFF.{4}WEBPVP8X.{4}" + _ANIMATED_WEBP: (
        "an animated WebP picture, which Heaters does not read; convert it to MP4 or GIF with another program, or submit the video that it"
        " was made from"
    ),
    rb"RIFF.{4}WEBP": "a WebP picture",
    rb"FUJIFILMCCD-RAW": "a Fujifilm raw picture",
    rb"II[*+]\0|MM\0[*+]|IIU\0|IIRO|IIRS": "a TIFF picture",
    rb"BM.{12}[\x0c\x28-\x7c]\0\0\0": "a BMP picture",
    rb"\0\0\0\x0cJXL \r\n\x87\n": "a JPEG XL picture",
    rb"\0\0\0\x0cjP  \r\n\x87\n": "a JPEG 2000 picture",
    rb"8BP[SB]\0[\x01\x02]": "a Photoshop picture",
    rb"v/1\x01": "an OpenEXR picture; convert the series of pictures to a video first",
    rb"SDPX|XPDS": "a DPX picture; convert the series of pictures to a video first",
    rb"P[1-7]\s+[\d#W]": "a PNM picture",
    rb"gimp xcf": "a GIMP picture",
    rb"%PDF-\d": "a PDF document",
    rb"%!PS|\xc5\xd0\xd3\xc6": "a PostScript document",
    rb"\{\\rtf": "a text document (RTF)",
    rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Office document (or another program's compound file)",
    rb"PK\x03\x04.{26}mimetypeapplication/(?:vnd\.oasis|epub)": "an Office document",
    rb"PK\x03\x04.{26}(?:\[Content_Types\]\.xml|_rels/|docProps/|word/|xl/|ppt/)": "an Office document",
    rb"PK\x03\x04.{26}(?:Index/|preview)": "a document",
    rb"PK(?:\x03\x04|\x05\x06|\x07\x08)": f"a ZIP archive{_UNPACK}",
    rb"Rar!\x1a\x07": f"a RAR archive{_UNPACK}",
    rb"7z\xbc\xaf\x27\x1c": f"a 7-Zip archive{_UNPACK}",
    rb"\x1f\x8b\x08|BZh[1-9]1AY&SY|\xfd7zXZ\0|\x28\xb5\x2f\xfd": f"a compressed file{_UNPACK}",
    rb".{257}ustar": f"a TAR archive{_UNPACK}",
    rb"SQLite format 3\0": "a database",
    rb"\x7fELF|MZ.{0,254}?This program|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe\0\0\0": "a program",
}
_KINDS = {re.compile(signature, re.DOTALL): kind for signature, kind in _SIGNATURES.items()}

_JPEG = "a JPEG picture"
_JPEG_BEGIN = b"\xff\xd8"
#: Markers that stand inside the coded data of a picture, where 0xff is followed by 0 unless it is one.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_JPEG_NEXT = re.compile(rb"[\x00\xff]*\xff\xd8\xff")
_JPEG_NAMES = frozenset({".mjpeg", ".mjpg"})


def no_video_kind(head: bytes, *, is_whole: bool, name: str | None = None) -> str | None:
    """What a file that begins with `head` is ("a PNG picture") when that is no video; None when it may be one.

    is_whole: `head` is all of it. name: the file's name, when a JPEG that goes on behind `head` is to be told by it from a film of JPEG
    pictures; without it such a file may be a video.
    """
    if head.startswith(_JPEG_BEGIN + b"\xff"):
        return _jpeg(head, is_whole=is_whole, name=name)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(head)
    if head[4:8] == b"ftyp":
        brands = {head[at : at + 4] for at in range(16, min(int.from_bytes(head[:4]), 256, len(head)), 4)}
        return None if brands & _SEQUENCE_BRANDS else _STILL_BRANDS.get(head[8:12])
    return next((kind for mark, kind in _KINDS.items() if mark.match(head)), None)


def refuse_other_kinds(head: bytes, *, is_whole: bool, called: str) -> None:
    """Raise InvalidMediaError when a file that begins with `head` is no video, as `no_video_kind` tells it. called: for the message."""
    kind = no_video_kind(head, is_whole=is_whole)
    if kind:
        raise InvalidMediaError(f"{called} is not a video: it is {kind}")


def _png(head: bytes) -> str | None:
    """An animation says so before its first picture."""
    at = 8
    while at + 8 <= len(head):
        length, kind = int.from_bytes(head[at : at + 4]), head[at + 4 : at + 8]
        if kind == b"acTL":
            return None
        if kind in {b"IDAT", b"IEND"}:
            break
        at += 12 + length
    return "a PNG picture"


def _jpeg(head: bytes, *, is_whole: bool, name: str | None) -> str | None:
    """A film has one picture behind the other. So has a picture with others inside (a gain map, a stereo pair), which says so (MPF)."""
    at = 2
    while at + 4 <= len(head):
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4])
        if head[at] != 0xFF:
            return _JPEG if is_whole else None
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == 0xE2 and head[at + 4 : at + 8] == b"MPF\0":
            return _JPEG
        if marker == 0xD9:
            by_name = name is None or PurePosixPath(name).suffix.lower() in _JPEG_NAMES
            follows = _JPEG_NEXT.match(head, at + 2) or (by_name and _JPEG_BEGIN + b"\xff" in head[at + 2 :])
            return None if follows else _JPEG
        at += 2 + length
        if marker == 0xDA:
            found = _JPEG_MARKER.search(head, at)
            if found is None:
                break
            at = found.start()
    if is_whole:
        return _JPEG
    if name is None or PurePosixPath(name).suffix.lower() in _JPEG_NAMES:
        return None
    return f"{_JPEG} (the name of a film of JPEG pictures must end in .mjpeg)"
