"""How a gold master is made so that it can be proven: the profile, and in which pixel format two files are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from heaters_dagster.domain.profiles import EXACT_TIMES, Filter, Options, Output, Profile, SourceStreams, gold_master

COPY = "copy"

#: PCM that holds what a decoder gives, by FFmpeg's name of its packed sample format.
PCM_OF_SAMPLES = {
    "u8": "pcm_u8", "s16": "pcm_s16le", "s32": "pcm_s32le", "s64": "pcm_s64le", "flt": "pcm_f32le", "dbl": "pcm_f64le",
}  # fmt: skip

#: Formats that swscale does not bring back bit by bit: those of fewer than 8 bits a colour are dithered, those with a padding byte have
#: anything in it. All their colours have one place in rgb24, so it tells any two of their pictures apart.
_COMPARED_AS_RGB = ("rgb565", "bgr565", "rgb555", "bgr555", "rgb444", "bgr444", "bgr0", "rgb0", "0rgb", "0bgr")


@dataclass(frozen=True, slots=True)
class ArchivedSound:
    """One sound stream of an original and how it goes into the master. stream: index in the original; codec: `copy` or a PCM encoder."""

    stream: int
    codec: str


def archiving_profile(source: SourceStreams, sounds: Sequence[ArchivedSound]) -> Profile:
    """The gold master and, from the same decoding, what proves it: outputs are the file, frame hashes, and sound hashes if there is sound.

    One decoding thread: with several, what a damaged H.264 stretch decodes to depends on their timing, and nothing could be proven a
    second time. It costs little, because FFV1 takes more than ten times the work of decoding.
    """
    made = gold_master(source)
    file = replace(
        made.outputs[0],
        options={**made.outputs[0].options, **_codecs(sounds), **_stored_pixel_format(source.pixel_format)},
        audio=tuple(str(sound.stream) for sound in sounds),
    )
    hashes = _sound_hashes([str(sound.stream) for sound in sounds], _codecs(sounds))
    outputs = (file, _frame_hashes(source.pixel_format), *((hashes,) if sounds else ()))
    return replace(made, input_options={**made.input_options, "threads": 1}, outputs=outputs)


def original_hashes_profile(source: SourceStreams, sounds: Sequence[ArchivedSound]) -> Profile:
    """The hashes of an original: frames, then sounds if there are any."""
    return replace(archiving_profile(source, sounds), outputs=archiving_profile(source, sounds).outputs[1:], filters=())


def master_hashes_profile(source: SourceStreams, sounds: Sequence[ArchivedSound]) -> Profile:
    """The hashes of a master, to be compared with those of the original it was made from, which `source` and `sounds` describe."""
    pixel_format = compared_pixel_format(source.pixel_format)
    frames = Output(options={**EXACT_TIMES, "pix_fmt": pixel_format, "f": "framehash", "hash": "sha256"})
    sound_hashes = _sound_hashes([f"a:{number}" for number in range(len(sounds))], {"c:a": COPY})
    return Profile(
        name="gold_master_proof",
        video="v:0",
        input_options={"noautorotate": None},
        outputs=(frames, *((sound_hashes,) if sounds else ())),
        background=True,
    )


def decoded_sound_profile(stream: str, pcm: str) -> Profile:
    """One hash over all decoded samples of a sound stream, where the packets of two containers differ in their framing only."""
    return Profile(
        name="gold_master_proof",
        video="v:0",
        outputs=(Output(options={"c:a": pcm, "f": "hash", "hash": "sha256"}, video=False, audio=(stream,)),),
        background=True,
    )


def sound_trial_profile(sound: ArchivedSound) -> Profile:
    """One packet of a sound stream into Matroska: whether the container takes it is known only by trying."""
    options: Options = {"c:a": sound.codec, "frames:a": 1, "f": "matroska"}
    return Profile(name="gold_master", video="v:0", outputs=(Output(options=options, video=False, audio=(str(sound.stream),)),))


def without_range(pixel_format: str) -> str:
    """The name of a pixel format's layout: yuvj420p holds yuv420p in full range."""
    return pixel_format.replace("yuvj", "yuv")


def compared_pixel_format(pixel_format: str) -> str:
    """The pixel format in which the frames of an original and its master are hashed: the original's own wherever it can be had again.

    FFV1 stores nv12, uyvy422, rgb24 and others in another layout; brought back into the original's they must be equal bit by bit.
    """
    if pixel_format == "pal8":
        return "bgra"
    if pixel_format.startswith(_COMPARED_AS_RGB):
        return "rgb24"
    return without_range(pixel_format)


def _frame_hashes(pixel_format: str) -> Output:
    """Of the frames as they were decoded: no conversion that could hide a loss, except where nothing can be compared without one.

    noautoscale: otherwise ffmpeg brings pictures of another size to that of the first, in the master and in its proof.
    """
    compared = compared_pixel_format(pixel_format)
    converted = compared != without_range(pixel_format)
    filters = (Filter("format", {"pix_fmts": compared}),) if converted else ()
    return Output(options={**EXACT_TIMES, "noautoscale": None, "f": "framehash", "hash": "sha256"}, filters=filters)


def _sound_hashes(streams: Sequence[str], codecs: Options) -> Output:
    return Output(options={**codecs, "f": "streamhash", "hash": "sha256"}, video=False, audio=tuple(streams))


def _codecs(sounds: Sequence[ArchivedSound]) -> Options:
    return {f"c:a:{number}": sound.codec for number, sound in enumerate(sounds)}


def _stored_pixel_format(pixel_format: str) -> Options:
    """ffmpeg's own choice is right but for palettes, whose transparency it drops."""
    return {"pix_fmt": "bgra"} if pixel_format == "pal8" else {}
