"""Which tags of a file are kept. Cameras write into files who they are, when they recorded, and where; a setting says what of it stays."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from heaters_dagster.domain.places import holds_a_position, names_a_place

_SERIAL_NAMES = re.compile(r"serial|imei|(?:device|camera|body|lens|hardware)[ _.-]?id|(?<![a-z])owner|artist_?phone", re.IGNORECASE)
#: In texts and XML that cameras write: "SerialNo: 1234", "<SerialNumber>1234", "S/N 1234".
_SERIAL_VALUES = re.compile(r"serial[ _-]?(?:no|nr|num|number)?\b\W{0,12}\w|\bs/n\W{0,4}\w|\bimei\W{0,4}\d", re.IGNORECASE)
#: Also what programs of cameras call themselves, and dates in any form; never a timecode.
_CAMERA_NAMES = re.compile(
    r"(?<![a-z])(?:make|maker|vendor|company|product|software|firmware|encoder|handler)(?![a-z])|manufacturer|camera|model|lens|"
    r"creat(?:ion|ed)|date|record(?:ed|ing)|(?<![a-z])time(?![a-z]|[ _-]?ref)|timestamp|"
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
        if self.camera is not CameraKept.ALL and (_SERIAL_NAMES.search(name) or _SERIAL_VALUES.search(value)):
            return True
        return self.camera is CameraKept.NONE and _CAMERA_NAMES.search(name) is not None

    @property
    def words(self) -> str:
        """How a gold master with these tags differs from the usual one; empty when it does not."""
        cameras = {CameraKept.NONE: ", without the camera", CameraKept.MODEL: "", CameraKept.ALL: ", with serial numbers"}
        return (", with places" if self.places else "") + cameras[self.camera]
