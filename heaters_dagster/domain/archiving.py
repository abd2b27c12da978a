"""How a gold master is made so that it can be proven: the profile, and in which pixel format two files are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from heaters_dagster.domain.ffmpeg_run import Filter, Options, Output, Profile
from heaters_dagster.domain.profiles import EXACT_TIMES, FILE_CLOCK, SourceStreams, gold_master

COPY = "copy"

#: PCM that holds what a decoder gives, by FFmpeg's name of its packed sample format.
PCM_OF_SAMPLES = {
    "u8": "pcm_u8", "s16": "pcm_s16le", "s32": "pcm_s32le", "s64": "pcm_s64le", "flt": "pcm_f32le", "dbl": "pcm_f64le",
}  # fmt: skip

#: Formats that swscale does not restore bit by bit: it dithers those with fewer than 8 bits per colour, and a padding byte may hold any
#: value. Each of their colours has exactly one value in rgb24, so two different pictures stay different in it.
_COMPARED_AS_RGB = ("rgb565", "bgr565", "rgb555", "bgr555", "rgb444", "bgr444", "bgr0", "rgb0", "0rgb", "0bgr")


@dataclass(frozen=True, slots=True)
class ArchivedSound:
    """One sound stream of an original and how it goes into the master. stream: index in the original; codec: `copy` or a PCM encoder."""

    stream: int
    codec: str


def archiving_profile(
    source: SourceStreams,
    sounds: Sequence[ArchivedSound],
    *,
    without_tags: Sequence[str] = (),
    timecode: str | None = None,
    jumps: bool = False,
) -> Profile:
    """The gold master and, from the same decoding, its proof. Outputs: the file, the frame hashes, and the sound hashes if there is sound.

    One decoding thread: with several, the pictures of a damaged H.264 stretch depend on the timing of the threads, so a second proof would
    fail. It costs little, because encoding FFV1 takes more than ten times the work of decoding.
    jumps: the clock of the file is set again on the way, and the file's own times are wanted: ffmpeg makes up others after 30 hours.
    """
    made = gold_master(source, without_tags=without_tags, timecode=timecode)
    file = replace(
        made.outputs[0],
        options={
            **made.outputs[0].options,
            **_codecs(sounds),
            **_stored_pixel_format(source.pixel_format),
            **(FILE_CLOCK if jumps else {}),
        },
        audio=tuple(str(sound.stream) for sound in sounds),
    )
    hashes = _sound_hashes([str(sound.stream) for sound in sounds], _codecs(sounds))
    outputs = (file, _frame_hashes(source.pixel_format), *((hashes,) if sounds else ()))
    return replace(made, input_options={**made.input_options, "threads": 1}, outputs=outputs)


def original_hashes_profile(source: SourceStreams, sounds: Sequence[ArchivedSound]) -> Profile:
    """The hashes of an original: frames, then sounds if there are any."""
    return replace(archiving_profile(source, sounds), outputs=archiving_profile(source, sounds).outputs[1:], filters=())


def master_hashes_profile(source: SourceStreams, sounds: Sequence[ArchivedSound]) -> Profile:
    """The hashes of a master, to compare with those of its original. `source` and `sounds` describe the original."""
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
    """One hash over all decoded samples of a sound stream: packets may be divided differently in two containers, samples are the same."""
    return Profile(
        name="gold_master_proof",
        video="v:0",
        outputs=(Output(options={"c:a": pcm, "f": "hash", "hash": "sha256"}, video=False, audio=(stream,)),),
        background=True,
    )


def sound_trial_profile(sound: ArchivedSound) -> Profile:
    """Write one packet of a sound stream into Matroska: only a try shows whether the container accepts the stream."""
    options: Options = {"c:a": sound.codec, "frames:a": 1, "f": "matroska"}
    return Profile(name="gold_master", video="v:0", outputs=(Output(options=options, video=False, audio=(str(sound.stream),)),))


def without_range(pixel_format: str) -> str:
    """The name of a pixel format's layout: yuvj420p holds yuv420p in full range."""
    return pixel_format.replace("yuvj", "yuv")


def compared_pixel_format(pixel_format: str) -> str:
    """The pixel format in which the frames of an original and its master are hashed: the original's own wherever it can be restored.

    FFV1 stores nv12, uyvy422, rgb24 and others in another layout; converted back to the original's layout they must be equal bit by bit.
    """
    if pixel_format == "pal8":
        return "bgra"
    if pixel_format.startswith(_COMPARED_AS_RGB):
        return "rgb24"
    return without_range(pixel_format)


def _frame_hashes(pixel_format: str) -> Output:
    """Hashes of the frames as decoded, without a conversion that could hide a loss, except where no comparison is possible without one.

    noautoscale: otherwise ffmpeg scales pictures of another size to the size of the first, in the master and in its proof.
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
    """ffmpeg's own choice is right, except for palettes: there it drops the transparency."""
    return {"pix_fmt": "bgra"} if pixel_format == "pal8" else {}
