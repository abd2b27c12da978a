"""A selection of very many clips as one short text: ids and versions, packed for the browser to keep and to send back with its decision.

The browser need not know what is in it. A selection is what matched when it was made, so a decision on it compares versions as any other.
"""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.review_queue import MAX_ID

#: A decision on so many is one transaction, 2.4 s of Python and 3 to 6 s of Postgres on two cores; as long do others wait for these clips.
MAX_MATCHING = 20_000
#: Bytes of a number of 64 bits.
_LONGEST = 10
_MAX_BYTES = MAX_MATCHING * 2 * _LONGEST


def packed(seen: Mapping[int, int]) -> str:
    """seen: clip id -> version."""
    data = bytearray()
    before = 0
    for clip_id in sorted(seen):
        for number in (clip_id - before, seen[clip_id]):
            data += _varint(number)
        before = clip_id
    return urlsafe_b64encode(zlib.compress(bytes(data), 9)).decode()


def unpacked(text: str) -> dict[int, int]:
    """What `packed` was given. Raises BadRequestError."""
    try:
        inflate = zlib.decompressobj()
        data = inflate.decompress(urlsafe_b64decode(text.encode("ascii")), _MAX_BYTES)
        numbers = list(_numbers(data))
    except (ValueError, zlib.error):
        raise BadRequestError("the selection cannot be read: select the clips again") from None
    if not inflate.eof or len(numbers) % 2 or not 0 < len(numbers) // 2 <= MAX_MATCHING:
        raise BadRequestError(f"a selection has 1 to {MAX_MATCHING} clips: select the clips again")
    seen: dict[int, int] = {}
    clip_id = 0
    for step, version in zip(numbers[::2], numbers[1::2], strict=True):
        clip_id += step
        seen[clip_id] = version
    if clip_id > MAX_ID:
        raise BadRequestError("the selection names a clip that cannot be: select the clips again")
    return seen


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def _numbers(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if shift > 7 * _LONGEST:
            raise ValueError("the number is too long")
        if byte < 0x80:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("the last number is cut off")
