"""A row of the container and codec matrix: a kind of file, and what proxy, frame index, gold master, exports and sound of it must be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tests.media.matrix_recipes import (
    FRAMES,
    RATE,
    SECONDS,
    SIZE,
    VARIED,
    ByHand,
    Encoded,
)
from tests.media_files import SAMPLE_RATE

#: What the stages say of such files, as regular expressions.
INTERLACED = "^interlaced: the proxy is deinterlaced"
TONE_MAPPED = "^high dynamic range: the proxy is tone-mapped"
HIDDEN = "^the file says that it has"
BEFORE = r"^its sound begins [345]\d\d ms before its first frame: a clip has the sound that is heard with its frames"
AFTER = r"^its sound goes on for [235]\d\d ms after its last frame: a clip has the sound that is heard with its frames"
OVERLAP = "^12 ms of its sound overlap"
AS_SAMPLES = "cannot be stored in Matroska: the gold master has it losslessly as"


#: How far off colours may be, in levels: another matrix makes 6.0 of them, another range 7.2 and more.
COLOURS = 4.0
#: Of one frame alone or of few bits, where losses do not even out; and where one sample of colour stands for 4 x 4 pixels.
COLOURS_OF_ONE, COLOURS_IN_FOURS = 5.0, 7.0


@dataclass(frozen=True, slots=True)
class Row:
    """name: what the file stands for; unique. file: its name, whose ending says the container.

    Of the proxy: size in pixels; frames, the numbers that the recording gave them; recorded, when the frame with a number was recorded, in
    seconds (frames are shown at the same distances; closed_up: at the usual distance, whatever lies between; within_seconds: beside the
    rounding of the container); pixel_shape; clockwise and mirrored, how the recording's pictures are turned in it;
    colours, by how many levels its colours may differ from the recording's, None when nothing is said of it.
    channels: of its sound, 0 for none. hears: the part of the recording that is heard, in seconds. late: by how many milliseconds the sound
    is late in the original itself, because its container cannot tell the encoder's delay. unheard: quarter seconds of sound that may be
    silence, or lie across a place where the original jumps.
    Of the gold master: sounds, its number of sound streams; used_sound, which of them is heard; compared_as, the pixel format in
    which its frames are compared with the original's, when it stores them in another layout; decoder, the one that sees all of the
    original. refused_master: why there is none.
    warnings: one for each sentence for people, and no others. refused: why the file cannot be used at all.
    """

    name: str
    file: str
    recipe: Encoded | ByHand
    size: tuple[int, int] = SIZE
    frames: Sequence[int] = range(FRAMES)
    recorded: Callable[[int], float] = lambda number: number / RATE
    closed_up: bool = False
    within_seconds: float = 0.0
    pixel_shape: Fraction = Fraction(1)
    clockwise: int = 0
    mirrored: bool = False
    colours: float | None = COLOURS
    channels: int = 1
    hears: tuple[float, float] = (0.0, SECONDS)
    late: float = 0.0
    unheard: int = 0
    sounds: int = 1
    used_sound: int = 0
    compared_as: str = ""
    decoder: str = ""
    refused_master: str = ""
    warnings: tuple[str, ...] = ()
    refused: str = ""

    @property
    def jumps(self) -> bool:
        """Whether its clock is set again on the way."""
        return any(warning.startswith("^its clock jumps") for warning in self.warnings)

    @property
    def overlap(self) -> float:
        """Seconds by which the sound before a new programme goes on: in the gold master the picture of that begins so much later."""
        return 0.012 if OVERLAP in self.warnings and self.file.endswith(".ts") else 0.0


#: Samples by which encoders delay the sound: libmp3lame (`lame_get_encoder_delay` and 529 of the decoder), ac3, dca.
MP3_DELAY, AC3_DELAY, DTS_DELAY = 1105, 256, 512


def late_by(samples: int, rate: int = SAMPLE_RATE) -> float:
    """In milliseconds."""
    return samples * 1000 / rate


#: The first block of WMA only starts the decoder: samples of it.
WMA_BLOCK = 2048


def at(rate: Fraction | int) -> Callable[[int], float]:
    return lambda number: float(number / Fraction(rate))


def retimed(rate: str) -> str:
    """Filters that show the recording's pictures at another rate."""
    return f"-vf setpts=N/({rate})/TB -r {rate}"


def scaled(width: int, height: int, more: str = "") -> str:
    return f"-vf scale={width}:{height}:flags=neighbor{more}"


#: Decoders of DNxHR and Dirac say that a picture is of this kind.
BT709 = ":out_color_matrix=bt709"
VARIED_TIMES = {"recorded": VARIED.__getitem__, "hears": (0.0, VARIED[-1] + 1 / RATE)}
TWICE = [*range(FRAMES), *range(FRAMES)]
QUIET = {"channels": 0, "sounds": 0}
X265 = "-pix_fmt yuv420p -c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=12:bframes=2:pools=none:frame-threads=1"
MPEG2 = "-c:v mpeg2video -g 12 -bf 2 -q:v 2"
VP9 = "-pix_fmt yuv420p -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 12"
AV1 = "-pix_fmt yuv420p -c:v libaom-av1 -usage realtime -cpu-used 8 -g 12"
HALF_CLEAR = "-vf format=yuva420p,colorchannelmixer=aa=0.5"
HDR = "format=yuv420p10le,setparams=color_primaries=bt2020:colorspace=bt2020nc:color_trc="
