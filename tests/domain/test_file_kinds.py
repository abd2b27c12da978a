from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from heaters_dagster.domain.file_kinds import KIND_BYTES, no_video_kind


def picture(kind: str, side: int = 16, **options: object) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()


def brands(*names: str) -> bytes:
    """The beginning of a file of the MP4 family."""
    words = "".join([names[0], "\0\0\0\0", *names]).encode()
    return (8 + len(words)).to_bytes(4, "big") + b"ftyp" + words + bytes(100)


def archive(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        written.writestr(name, "application/vnd.oasis.opendocument.text" if name == "mimetype" else "x")
    return file.getvalue()


KINDS = {
    "a JPEG picture": picture("JPEG"),
    "a PNG picture": picture("PNG"),
    "a WebP picture": picture("WEBP"),
    "a TIFF picture": picture("TIFF"),
    "a BMP picture": picture("BMP"),
    "a JPEG 2000 picture": picture("JPEG2000"),
    "a PNM picture": picture("PPM"),
    "a PDF document": picture("PDF"),
    "a HEIC picture": brands("heic", "mif1", "miaf"),
    "an AVIF picture": picture("AVIF"),
    "a Canon raw picture": brands("crx ", "isom"),
    "a Photoshop picture": b"8BPS\0\1" + bytes(30),
    "a PostScript document": b"%!PS-Adobe-3.0",
    "a ZIP archive; unpack it": archive("films/a.mp4"),
    "an Office document": archive("[Content_Types].xml"),
    "an Office document ": archive("mimetype"),
    "an Office document (or": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100),
    "a RAR archive": b"Rar!\x1a\x07\x01\0",
    "a compressed file": b"\x1f\x8b\x08" + bytes(20),
    "a TAR archive": b"a.mp4".ljust(257, b"\0") + b"ustar\0",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_video_is_told_by_its_first_bytes(kind: str):
    content = KINDS[kind]
    assert (no_video_kind(content, is_whole=True) or "").startswith(kind.strip())
    assert (no_video_kind(content + bytes(KIND_BYTES), is_whole=False) or "").startswith(kind.strip())


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.mp4", "a.mjpeg"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"\xff\xd8\xff\xd9" * 1000}])
def test_a_large_jpeg_picture_is_told_before_it_ends_by_its_name(name: str, options: dict[str, object]):
    content = picture("JPEG", 1200, quality=98, **options)
    assert len(content) > (1 << 20) + (1 << 17)
    found = no_video_kind(content[: 1 << 20], is_whole=False, name=name)
    assert (found is None) == (name == "a.mjpeg")
    assert no_video_kind(content[: 1 << 20], is_whole=False) is None
    assert no_video_kind(content, is_whole=True, name=name) == "a JPEG picture"


def test_jpeg_pictures_one_after_the_other_are_a_film_unless_they_are_parts_of_one():
    one = picture("JPEG")
    for between in (b"", b"\0\0", b"\xff\xff"):
        assert no_video_kind(one + between + one, is_whole=True, name="a") is None
    assert no_video_kind(one + b"\r\n--boundary\r\n" + one, is_whole=True, name="a.mjpg") is None
    assert no_video_kind(one + b"\0\0\0\x18ftypmp42", is_whole=True, name="a.jpg") == "a JPEG picture"
    second = one[:2] + b"\xff\xe2\0\x08MPF\0\0\0" + one[2:]
    assert no_video_kind(second + one, is_whole=True, name="a.mjpeg") == "a JPEG picture"


def test_what_can_be_a_video_is_none_of_these():
    noise = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    first, second = (Image.fromarray(one) for one in noise)
    for kind in ("PNG", "GIF"):
        file = io.BytesIO()
        first.save(file, kind, save_all=True, append_images=[second])
        assert no_video_kind(file.getvalue(), is_whole=True) is None
    for content in (brands("isom", "mp42"), brands("qt  "), brands("avis", "avif", "msf1"), brands("mif1", "heic", "hevc", "msf1")):
        assert no_video_kind(content, is_whole=True) is None
    starts = (
        "1a45dfa3",
        "000001ba21",
        "0000000167",
        "000001b3",
        "0000010000000120",
        "47400010",
        "464c5601",
        "060e2b34",
        "52494646",
        "fff1",
    )
    for start in map(bytes.fromhex, starts):
        assert no_video_kind(start + os.urandom(100), is_whole=True) is None
    assert no_video_kind(b"", is_whole=True) is None
