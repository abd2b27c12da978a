"""Which tags of a file are kept. Cameras write into files who they are, when they recorded, and where; a setting says what of it stays."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from heaters_dagster.domain.places import holds_a_position, names_a_place

#: Not what holds these letters by chance: `framereadouttimeinmicroseconds` of telephones, a `lens_identification`, who owns the rights.
_SERIAL_NAMES = re.compile(
    r"serial(?!i[sz])|(?<!t)imei|device[ _.-]?id(?!l)|(?:camera|body|lens|hardware)[ _.-]?id(?!ent|l|ea)|artist_?phone|"
    r"(?<!right[ _.-])(?<!rights[ _.-])(?<!content[ _.-])(?:(?<![a-z])|(?<=camera))owner",
    re.IGNORECASE,
)
#: A telephone's `camera.identifier` is "Back", that of another camera its serial number.
_IDENTIFIERS = re.compile(r"(?:camera|body|hardware)[ _.-]?identifier", re.IGNORECASE)
#: At least three letters and digits, at least one of them a digit, perhaps in groups: `K1TBA0001`, `AB 123456`, `12 34 56`; no ratio.
_NUMBER = r"(?!\d+(?:[.,]\d+)?(?:\s?dB|:\d))(?:(?-i:[A-Z]{1,4})[ -])?(?=[\w./-]*\d)(?:(?:[./-]|(?<=\d)[ ](?=\d))?\w){3}"
_SERIAL_NUMBER = re.compile(_NUMBER, re.IGNORECASE)
#: In texts and XML that cameras write: "SerialNo: 1234", "<SerialNumber>1234", "S/N 1234", `serial="1234"`. Without a number behind it
#: "serial" is a word, as in "a serial killer", and "s/n" a ratio.
_SERIAL_VALUES = re.compile(
    r"(?:serial[ _.-]*(?:no|nr|num|numbers?)(?![a-z])|serial(?=[\s\"']*[:=#>])|(?<![a-z])s/n(?![a-z])|(?<![a-z/])sn(?=\s*[:=#])|"
    r"(?<![a-z])imei)[\W_]{0,40}" + _NUMBER,
    re.IGNORECASE,
)
#: Also what programs of cameras call themselves, and dates in any form; never a timecode.
_CAMERA_NAMES = re.compile(
    r"(?<![a-z])(?:make|maker|vendor|company|product|software|firmware|encoder|handler)(?![a-z])|manufacturer|camera|model|lens|"
    r"(?<!re)creat(?:ion|ed)|(?<!up)(?<!candi)(?<!vali)date|record(?:ed|ing)|(?<![a-z])time(?![a-z]|[ _-]?(?:ref|code))|timestamp|"
    r"(?<![a-z])(?:arri|canon|sony|panasonic|gopro|dji|red)\.",
    re.IGNORECASE,
)


class CameraKept(StrEnum):
    """How much is kept of what a file says of its camera: nothing, nor when it recorded; maker, model and time; serial numbers too."""

    NONE = "none"
    MODEL = "model"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class KeptTags:
    """places: whether it is kept where a video was filmed."""

    places: bool = False
    camera: CameraKept = CameraKept.MODEL

    def hides(self, name: str, value: str) -> bool:
        """Whether the tag of this name with this value is left out of everything that is made and stored."""
        if not self.places and (names_a_place(name) or holds_a_position(value)):
            return True
        if self.camera is not CameraKept.ALL and _is_serial(name, value):
            return True
        return self.camera is CameraKept.NONE and _CAMERA_NAMES.search(name) is not None

    @property
    def words(self) -> str:
        """How a gold master with these tags differs from the usual one; empty when it does not."""
        cameras = {CameraKept.NONE: ", without the camera", CameraKept.MODEL: "", CameraKept.ALL: ", with serial numbers"}
        return (", with places" if self.places else "") + cameras[self.camera]


def _is_serial(name: str, value: str) -> bool:
    if _SERIAL_NAMES.search(name) or _SERIAL_VALUES.search(value):
        return True
    return _IDENTIFIERS.search(name) is not None and _SERIAL_NUMBER.match(value.strip()) is not None
