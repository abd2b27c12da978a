"""Which description of its colours a picture is shown by. A tag may be missing, reserved or contradict the picture: no video fails then.

Words are FFmpeg's (libavutil/pixdesc.c) for the code points of ITU-T H.273, sections 8.1 to 8.3; `reserved 3` has no meaning there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: PQ and HLG: brighter and with more colours than an ordinary screen shows.
HDR_TRANSFERS = frozenset({"smpte2084", "arib-std-b67"})

_PRIMARIES = frozenset({
    "bt709", "bt470m", "bt470bg", "smpte170m", "smpte240m", "film", "bt2020", "smpte428", "smpte431", "smpte432", "ebu3213",
})  # fmt: skip
#: Matrices that the tone-mapping filter (zscale) can convert from. Constant luminance is missing: zscale has it only with other transfer
#: functions.
_HDR_MATRICES = frozenset({"bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "ycgco", "bt2020nc", "ictcp"})
_MATRICES = frozenset({"bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "bt2020nc"})
_TRANSFERS = frozenset({
    "bt709", "bt470m", "bt470bg", "smpte170m", "smpte240m", "iec61966-2-4", "bt1361e", "iec61966-2-1", "bt2020-10", "bt2020-12", "smpte428",
})  # fmt: skip
#: No player shows these correctly, but zscale converts them to BT.709.
_CONVERTED_MATRICES = frozenset({"ycgco"})
_CONVERTED_TRANSFERS = frozenset({"linear", "log100", "log316"})
#: Players support these, zscale does not.
_UNCONVERTED_TRANSFERS = frozenset({"bt1361e", "smpte428"})

#: What `MediaProbe` returns where the number in the file has no meaning.
RESERVED = "reserved"


class Treatment(Enum):
    """What is done to the colours. KEEP: nothing; CONVERT: another description of the same colours; TONE_MAP: to standard range."""

    KEEP = "keep"
    CONVERT = "convert"
    TONE_MAP = "tone map"


@dataclass(frozen=True, slots=True)
class Colour:
    """A description; None where the file does not say. range: `tv` (limited) or `pc` (full)."""

    primaries: str | None = None
    transfer: str | None = None
    matrix: str | None = None
    range: str | None = None


@dataclass(frozen=True, slots=True)
class ShownColour:
    """colour: the description to use. warnings: what was wrong with the one in the file, one sentence each."""

    colour: Colour
    treatment: Treatment
    warnings: tuple[str, ...] = ()


def shown_colour(stated: Colour, *, rgb: bool = False, gray: bool = False, hdr_metadata: bool = False) -> ShownColour:
    """The nearest description that filters and players can use, for whatever a file states.

    rgb: the stored pixels are red, green and blue; gray: they have no colour; no matrix is applied to either.
    hdr_metadata: the file describes the screen that its HDR picture was made on.
    """
    warnings: list[str] = []
    primaries, transfer, matrix = stated.primaries, stated.transfer, None if rgb or gray else stated.matrix
    if transfer is None and hdr_metadata:
        transfer = "smpte2084"
        warnings.append("it has the metadata of high dynamic range, but does not say which kind: Heaters treats it as PQ")
    hdr = transfer in HDR_TRANSFERS
    if transfer is not None and not hdr and transfer not in _TRANSFERS | _CONVERTED_TRANSFERS:
        warnings.append(_unusable("transfer function", transfer, "bt709"))
        transfer = "bt709"
    if primaries is not None and primaries not in _PRIMARIES:
        nearest = "bt2020" if hdr or matrix in {"bt2020nc", "bt2020c"} else "bt709"
        warnings.append(_unusable("colour primaries", primaries, nearest))
        primaries = nearest
    if hdr and matrix == "ictcp" and primaries not in {None, "bt2020"}:
        warnings.append(_unusable("colour primaries", primaries, "bt2020", beside="the colour matrix ictcp"))
        primaries = "bt2020"
    if matrix is not None and matrix not in (_HDR_MATRICES if hdr else _MATRICES | _CONVERTED_MATRICES):
        nearest = "bt2020nc" if hdr or primaries == "bt2020" else "bt709"
        warnings.append(_unusable("colour matrix", matrix, nearest))
        matrix = nearest
    if hdr:
        full = Colour(primaries or "bt2020", transfer, matrix or "bt2020nc", stated.range or ("pc" if rgb else "tv"))
        return ShownColour(full, Treatment.TONE_MAP, tuple(warnings))
    if matrix in _CONVERTED_MATRICES or transfer in _CONVERTED_TRANSFERS:
        if transfer in _UNCONVERTED_TRANSFERS:
            warnings.append(_unusable("transfer function", transfer, "bt709", beside=f"the colour matrix {matrix}"))
            transfer = "bt709"
        full = Colour(primaries or "bt709", transfer or "bt709", matrix or "bt709", stated.range or ("pc" if rgb else "tv"))
        return ShownColour(full, Treatment.CONVERT, tuple(warnings))
    return ShownColour(Colour(primaries, transfer, matrix, stated.range), Treatment.KEEP, tuple(warnings))


def _unusable(what: str, stated: str | None, nearest: str, beside: str = "this picture") -> str:
    return f"its {what} {stated} cannot be used with {beside}: the proxy uses {nearest} instead, so its colours may be wrong"
