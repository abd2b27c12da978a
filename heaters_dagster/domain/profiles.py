"""Every use of ffmpeg, as data: which streams, filters and options. `resources.media.ffmpeg` runs it.

Times are never recalculated: `-fps_mode passthrough -enc_time_base:v demux` on each output keeps every frame at its own time. ffmpeg's
defaults dropped 17 of 120 frames of a file with variable frame rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from heaters_dagster.domain.colour import Colour, ShownColour, Treatment, shown_colour
from heaters_dagster.domain.ffmpeg_run import Filter, Options, Output, Profile, SoundInput
from heaters_dagster.domain.proxy_pieces import Piece

#: Keeps the number of frames and the time of each. For the picture only: sound counts in samples. In the container's unit (a millisecond
#: in Matroska, up to 24 in AVI) its packets would no longer follow each other without gaps.
EXACT_TIMES: Options = {"fps_mode": "passthrough", "enc_time_base:v": "demux"}

#: Not in the proxy: data and subtitle streams, chapters and time codes (MP4 stores both as one more track), and the original's metadata,
#: which may hold the place where a telephone filmed. The original keeps them; the gold master, too, but for the place.
_PICTURE_AND_SOUND_ONLY: Options = {"map_metadata": -1, "map_chapters": -1, "write_tmcd": 0}

#: Level 6.2, ITU-T H.264, table A-1. x264 encodes larger pictures too, and software decoders show them.
_LARGEST_LEVEL_MACROBLOCKS = 139_264
_RGB_PREFIXES = ("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal8", "x2rgb", "x2bgr", "xyz", "bayer")
_GRAY_PREFIXES = ("gray", "mono", "ya8", "ya16", "yaf", "y400a")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStreams:
    """What a profile must know about an original. Colour words are ffprobe's, None when the file does not say.

    video: index of the picture stream; audio: index of the sound stream that is used, None for none. master_slices: the
    `ffv1.slice_count` of its pictures. look_bytes: how much of the file ffmpeg must read to find all streams; 0 when its default is enough.
    alpha_decoder: the decoder for a gold master, where the usual one drops the transparency.
    first_seconds: when the first frame is shown, counted from the file's beginning, when ffmpeg may show it up to longest_delay_seconds
    later. early_seconds: how much too early ffmpeg shows the picture, but not the sound. even_rate: frames a second, where the file has no
    times for showing them; None where it has. is_small: it has SMALL_PICTURE_PIXELS or fewer.
    """

    video: int
    pixel_format: str
    alpha_decoder: str | None = None
    master_slices: int | None = 4
    interlaced: bool = False
    color_primaries: str | None = None
    color_transfer: str | None = None
    color_space: str | None = None
    color_range: str | None = None
    hdr_metadata: bool = False
    audio: int | None = None
    audio_channels: int = 0
    look_bytes: int = 0
    first_seconds: float = 0.0
    longest_delay_seconds: float = 0.0
    early_seconds: float = 0.0
    even_rate: Fraction | None = None
    is_small: bool = False

    @property
    def look_options(self) -> Options:
        return {"probesize": self.look_bytes, "analyzeduration": 10**12} if self.look_bytes else {}

    @property
    def colour(self) -> ShownColour:
        stated = Colour(self.color_primaries, self.color_transfer, self.color_space, self.color_range)
        return shown_colour(stated, rgb=self.is_rgb, gray=self.is_gray, hdr_metadata=self.hdr_metadata)

    @property
    def is_rgb(self) -> bool:
        return self.pixel_format.startswith(_RGB_PREFIXES)

    @property
    def is_gray(self) -> bool:
        return self.pixel_format.startswith(_GRAY_PREFIXES)


#: One original of each kind that is treated differently: what a profile makes of these stands for the profile.
USUAL_SOURCES = (
    SourceStreams(video=0, pixel_format="yuv420p"),
    SourceStreams(video=0, pixel_format="yuv422p", interlaced=True),
    SourceStreams(video=0, pixel_format="yuvj420p", color_range="pc"),
    SourceStreams(video=0, pixel_format="rgb24"),
    SourceStreams(video=0, pixel_format="yuv420p10le", color_transfer="smpte2084", color_primaries="bt2020", color_space="bt2020nc"),
    SourceStreams(video=0, pixel_format="yuv444p", color_space="ycgco"),
)


@dataclass(frozen=True, slots=True)
class SideStream:
    """Small raw frames for a detector: width x height in pixels, `rgb24` or `bgr24`, and the scale filter's flags."""

    width: int
    height: int
    pixel_format: str
    scale_flags: str = "fast_bilinear"

    @property
    def frame_bytes(self) -> int:
        return self.width * self.height * 3


def displayed_size(width: int, height: int, rotation_degrees: int) -> tuple[int, int]:
    """(width, height) in pixels of the proxy, for an original with stored pixels `width` x `height`: turned upright, odd sizes cropped."""
    if rotation_degrees % 180 == 90:
        width, height = height, width
    return max(2, width // 2 * 2), max(2, height // 2 * 2)


def picture_filters(source: SourceStreams) -> tuple[Filter, ...]:
    """From the original's picture to what people see: progressive, of even size, 8-bit 4:2:0 in limited range, HDR tone-mapped.

    ffmpeg has turned the picture upright before the first of these. An odd-sized picture loses one row or column and gets no black one:
    H.264 in 4:2:0 has even sizes only, and the gold master keeps every pixel. Frame count and times stay, because bwdif makes one frame
    from each. Sample aspect ratio and colour tags pass through.
    """
    filters: list[Filter] = []
    if source.interlaced:
        filters.append(Filter("bwdif", {"mode": "send_frame", "deint": "interlaced"}))
    filters.append(Filter("crop", {"w": "trunc(iw/2)*2", "h": "trunc(ih/2)*2", "x": 0, "y": 0}))
    shown = source.colour
    if shown.treatment is not Treatment.KEEP:
        filters += [_described_as(Colour()), Filter("format", {"pix_fmts": _planar_formats(source)}), _described_as(shown.colour)]
        filters += _TONE_MAPPING if shown.treatment is Treatment.TONE_MAP else (_TO_BT709,)
    else:
        filters += [_described_as(shown.colour)] if shown.warnings else []
        if source.is_rgb:
            filters.append(Filter("scale", {"out_color_matrix": "bt709", "out_range": "limited"}))
        elif source.color_range == "pc":
            filters.append(Filter("scale", {"out_range": "limited"}))
    filters.append(Filter("format", {"pix_fmts": "yuv420p"}))
    return tuple(filters)


def treatment_notes(source: SourceStreams, width: int, height: int) -> list[str]:
    """What `picture_filters` and the sound options do to an upright picture of `width` x `height`, one sentence each, for people."""
    notes = []
    if source.interlaced:
        notes.append("interlaced: the proxy is deinterlaced (one frame from each frame), the gold master is not")
    if width % 2 or height % 2:
        shown = displayed_size(width, height, 0)
        notes.append(
            f"pictures of {width}x{height} pixels: the proxy shows {shown[0]}x{shown[1]} of them, because its format allows even sizes only"
        )
    if -(-width // 16) * -(-height // 16) > _LARGEST_LEVEL_MACROBLOCKS:
        notes.append(f"pictures of {width}x{height} pixels: larger than H.264 levels allow, so some players may not show the proxy")
    colour = source.colour
    notes += colour.warnings
    if colour.treatment is Treatment.TONE_MAP:
        notes.append("high dynamic range: the proxy is tone-mapped to standard range, the gold master is not")
    if colour.treatment is Treatment.CONVERT:
        notes.append("colours of a kind that players do not show: the proxy has them converted to BT.709, the gold master unchanged")
    if source.audio is not None and source.audio_channels > 2:
        notes.append(f"{source.audio_channels} sound channels: the proxy has two, mixed from all; the gold master has all channels")
    return notes


def _described_as(colour: Colour) -> Filter:
    """Gives the frames the colour tags that their file should have had; where the right one is not known, the tag is `unknown`."""
    words = {"color_trc": colour.transfer, "color_primaries": colour.primaries, "colorspace": colour.matrix}
    known: dict[str, str | int | None] = {name: word or "unknown" for name, word in words.items()}
    return Filter("setparams", known | {"range": colour.range or "auto"})


def _planar_formats(source: SourceStreams) -> str:
    """The format that zscale reads directly. Convert a picture to it before its colours are tagged: with some tags zscale refuses it."""
    if source.is_gray:
        return "yuv444p|yuv444p16le"
    depths = ("", "10le", "12le", "16le")
    if source.is_rgb:
        return "|".join([*(f"gbrp{depth}" for depth in depths), "gbrpf32le"])
    layouts = ("420", "422", "444")
    return "|".join([*(f"yuv{layout}p{depth}" for depth in depths for layout in layouts), *(f"yuvj{layout}p" for layout in layouts)])


_TO_BT709 = Filter("zscale", {"transfer": "bt709", "matrix": "bt709", "range": "limited"})

#: PQ or HLG to BT.709.
_TONE_MAPPING = (
    Filter("zscale", {"transfer": "linear", "npl": 100}),
    Filter("format", {"pix_fmts": "gbrpf32le"}),
    Filter("zscale", {"primaries": "bt709"}),
    Filter("tonemap", {"tonemap": "hable", "desat": 0}),
    _TO_BT709,
)


#: How every proxy is encoded. Each frame is a keyframe, so each frame decodes alone and every cut is a stream copy. `medium` costs twice
#: the CPU of `veryfast` for at most 0.004 SSIM. With qcomp 1 no frame depends on how complex those before it were, so that a proxy can be
#: made in pieces. CRF 25 is lossy; it gives the bytes (1.02 times) and the SSIM (+0.00003) of CRF 20 with x264's own qcomp, 0.6.
PROXY_VIDEO: Options = {"c:v": "libx264", "preset": "veryfast", "crf": 25, "qcomp": 1, "g": 1, "bf": 0, "pix_fmt": "yuv420p"}

#: Pictures of at most so many pixels get more bits: the constant quantiser costs their few blocks, full of edges, more than those of
#: larger pictures, and their bytes do not matter.
SMALL_PICTURE_PIXELS, _SMALL_PICTURE = 128 * 96, {"crf": 18}

_AAC: Options = {"c:a": "aac", "b:a": "128k"}

#: Frames keep the times of the file, whatever they are; `resources.media.proxy_writer` mends them and counts from the first.
FILE_CLOCK: Options = {"copyts": None}


#: MP4 for a pipe: times unchanged, also below 0, and a new fragment only where a frame begins. If a packet of sound began a fragment,
#: ffmpeg would guess how long the frame before it is shown, which is wrong where the frame rate varies.
_FRAGMENTS: Options = {
    "movflags": "+empty_moov+default_base_moof+frag_discont+frag_keyframe+skip_trailer",
    "min_frag_duration": 500_000,
    "avoid_negative_ts": "disabled",
}


def proxy(
    source: SourceStreams, side_streams: Sequence[SideStream] = (), *, sound: SoundInput | None = None, in_fragments: bool = False
) -> Profile:
    """The proxy and, from the same decoded pictures, one small raw stream per entry of `side_streams`: outputs in that order.

    sound: None for a silent proxy. in_fragments: fragmented MP4 into a pipe; `resources.media.progressive_mp4` makes the same file from it,
    with memory that does not grow with the file.
    """
    container: Options = _FRAGMENTS if in_fragments else {"movflags": "+faststart"}
    coded: Options = {**PROXY_VIDEO, **(_SMALL_PICTURE if source.is_small else {}), **({**_AAC, "af": sound.filter} if sound else {})}
    file = Output({**coded, **EXACT_TIMES, **_PICTURE_AND_SOUND_ONLY, **container, "f": "mp4"}, sound=sound is not None)
    return Profile(
        name="proxy",
        video=str(source.video),
        sound=sound,
        input_options={**FILE_CLOCK, **source.look_options},
        filters=picture_filters(source),
        outputs=(file, *(_raw_frames(side) for side in side_streams)),
    )


def proxy_piece(source: SourceStreams, side_streams: Sequence[SideStream], piece: Piece) -> Profile:
    """The frames of one piece as `proxy` makes them, in fragments without sound; its small streams; hashes of the first pictures of the
    next piece, and of its own, as far as there are any. Outputs in that order.

    ffmpeg begins at or before the keyframe that is sought, and what comes before the piece is decoded and thrown away.
    """
    whole = proxy(source, side_streams, in_fragments=True)
    own = _between(piece.begin_seconds, piece.end_seconds)
    ends = [(piece.end_seconds, piece.proves_until_seconds), (piece.begin_seconds, piece.proved_until_seconds)]
    proofs = [
        Output(options={"c:v": "rawvideo", **EXACT_TIMES, "f": "framemd5"}, filters=(_between(low, high),))
        for low, high in ends
        if high is not None
    ]
    seek: Options = {} if piece.seek_seconds is None else {
        "ss": f"{piece.seek_seconds:.6f}", "seek_timestamp": 1, "noaccurate_seek": None,
    }  # fmt: skip
    return replace(
        whole,
        name="proxy_piece",
        input_options={**whole.input_options, **seek},
        outputs=(*(replace(output, filters=(own, *output.filters)) for output in whole.outputs), *proofs),
    )


def joined_proxy(*, sound: SoundInput | None = None) -> Profile:
    """The proxy from the packets of its pieces, which come through a pipe as one stream in fragments, and from its sound."""
    whole = proxy(USUAL_SOURCES[0], sound=sound, in_fragments=True)
    (file,) = whole.outputs
    copied = {name: value for name, value in file.options.items() if name not in PROXY_VIDEO and name not in EXACT_TIMES}
    return replace(whole, video="v:0", filters=(), outputs=(replace(file, options={**copied, "c:v": "copy"}),))


def _between(begin_seconds: float | None, end_seconds: float | None) -> Filter:
    """Keeps the frames from one time on to before the other."""
    times = {"start": begin_seconds, "end": end_seconds}
    return Filter("trim", {name: f"{time:.6f}" for name, time in times.items() if time is not None})


def scene_scores(side_streams: Sequence[SideStream]) -> Profile:
    """Only the small raw streams, in that order, from a proxy: for a detector that was chosen after the proxy was made."""
    return Profile(name="scene_scores", video="v:0", outputs=tuple(_raw_frames(side) for side in side_streams))


def _raw_frames(side: SideStream) -> Output:
    return Output(
        options={**EXACT_TIMES, "f": "rawvideo", "flush_packets": 0},
        filters=(
            # In one thread: several would each scale the lines around the border between them, which are many for pictures so small.
            Filter("scale", {"width": side.width, "height": side.height, "flags": side.scale_flags, "threads": 1}),
            Filter("format", {"pix_fmts": side.pixel_format}),
        ),
    )


def gold_master(source: SourceStreams, *, without_tags: Sequence[str] = (), timecode: str | None = None) -> Profile:
    """FFV1 in Matroska: the stored pixels (display matrix beside them, not applied) and every sound stream, copied.

    -context 1 helps only with a longer -g; -slicecrc costs nothing. Full range is stated twice, because ffmpeg otherwise compresses it to
    limited range. Pictures that cannot be divided into slices are stored in the format's version 1, which has no slices and no checksums.
    without_tags: names of tags of the original that are left out, because they are not kept. timecode: of the first frame.
    """
    full = source.color_range == "pc" and not source.is_rgb
    sliced: Options = {"level": 1} if source.master_slices is None else {"level": 3, "slices": source.master_slices, "slicecrc": 1}
    return Profile(
        name="gold_master",
        video=str(source.video),
        input_options={
            "noautorotate": None,
            **({f"c:{source.video}": source.alpha_decoder} if source.alpha_decoder else {}),
            **source.look_options,
        },
        filters=(Filter("scale", {"in_range": "full", "out_range": "full"}),) if full else (),
        outputs=(
            Output(
                options={
                    "c:v": "ffv1",
                    **sliced,
                    "coder": 1,
                    "context": 0,
                    "g": 1,
                    **({"color_range": "pc"} if full else {}),
                    "c:a": "copy",
                    **EXACT_TIMES,
                    "f": "matroska",
                    **({"metadata": f"timecode={timecode}", "metadata:s:v:0": f"timecode={timecode}"} if timecode else {}),
                },
                filters=_in_time(source),
                audio=("a?",),
                without_tags=tuple(without_tags),
            ),
        ),
        background=True,
    )


def _in_time(source: SourceStreams) -> tuple[Filter, ...]:
    """Gives frames their right times, where ffmpeg gives them others."""
    if source.longest_delay_seconds:
        late = f"between(STARTT-{source.first_seconds:.6f},0,{source.longest_delay_seconds:.6f})"
        return (Filter("setpts", {"expr": f"if({late},PTS-STARTPTS+{source.first_seconds:.6f}/TB,PTS)"}),)
    if source.even_rate:
        return (Filter("setpts", {"expr": f"STARTPTS+N/({source.even_rate}*TB)"}),)
    if source.early_seconds:
        return (Filter("setpts", {"expr": f"PTS+{source.early_seconds:.6f}/TB"}),)
    return ()


def frame_times(source: SourceStreams) -> Profile:
    """Decodes an original as for the proxy and keeps nothing but the times of the frames."""
    return Profile(
        name="frame_times",
        video=str(source.video),
        input_options={**FILE_CLOCK, **source.look_options},
        outputs=(Output(options={**EXACT_TIMES, "f": "null"}),),
        background=True,
    )


def delivery(*, audio: bool) -> Profile:
    """A small file for delivery, re-encoded from an exported clip: the same frames at the same times, 9 to 18 times fewer bytes."""
    return Profile(
        name="delivery",
        video="v:0",
        outputs=(Output(options={**_DELIVERY, **(_AAC if audio else {})}, audio=("a:0",) if audio else ()),),
    )


_DELIVERY: Options = {
    "c:v": "libx264",
    "preset": "medium",
    "crf": 23,
    "pix_fmt": "yuv420p",
    **EXACT_TIMES,
    **_PICTURE_AND_SOUND_ONLY,
    "movflags": "+faststart",
    "f": "mp4",
}


def master_export(source: SourceStreams, *, sound: SoundInput | None) -> Profile:
    """A clip re-encoded from its frames in a gold master, which are the original's, the first one at time 0.

    source: the streams of the *original*, so that the picture is treated as the proxy's was. sound: counted from the first frame.
    """
    sounding: Options = {"c:a": "aac", "b:a": "256k", "af": sound.filter} if sound else {}
    return Profile(
        name="master_export",
        video="v:0",
        sound=sound,
        filters=(*picture_filters(source), Filter("setpts", {"expr": "PTS-STARTPTS"})),
        outputs=(
            Output(
                options={
                    "c:v": "libx264",
                    "preset": "medium",
                    "crf": 12,
                    "g": 1,
                    "bf": 0,
                    "pix_fmt": "yuv420p",
                    **sounding,
                    **EXACT_TIMES,
                    **_PICTURE_AND_SOUND_ONLY,
                    "movflags": "+faststart",
                    "f": "mp4",
                },
                sound=sound is not None,
            ),
        ),
    )


def download_normalization(*, audio: bool, copy: bool) -> Profile:
    """Repair what joining separately downloaded picture and sound may leave behind.

    copy: only the container is written again. Otherwise the picture is encoded again, close enough to lossless for a source.
    """
    video: Options = {"c:v": "copy"} if copy else {"c:v": "libx264", "preset": "fast", "crf": 18, "pix_fmt": "yuv420p", **EXACT_TIMES}
    return Profile(
        name="download_normalization",
        video="V:0",
        outputs=(
            Output(
                options={**video, **({"c:a": "copy"} if copy else _AAC), "movflags": "+faststart", "f": "mp4"},
                audio=("a:0",) if audio else (),
            ),
        ),
    )
