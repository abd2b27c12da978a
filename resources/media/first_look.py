"""Finds out what the beginning of a media file says, with PyAV instead of ffprobe.

One frame is decoded to prove that this works; the others are not.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heaters_dagster.domain.clock import ClockJump
from heaters_dagster.domain.colour import HDR_TRANSFERS, RESERVED
from heaters_dagster.domain.errors import InvalidMediaError, SourceNotFoundError
from heaters_dagster.domain.file_kinds import KIND_BYTES, refuse_other_kinds
from heaters_dagster.domain.ingest import AUDIO_CONTAINERS, CONTAINERS, MAX_PICTURE_PIXELS, MAX_SIDE_PIXELS, MIN_SIDE_PIXELS
from heaters_dagster.domain.media_failures import library_failure

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

# FFmpeg's names (libavutil/pixdesc.c) of the code points of ITU-T H.273, sections 8.1 to 8.3; 2 is "unspecified" in all of them. Files
# that do not know say 0, too, where that has no meaning. 256 are of FFmpeg's own.
_PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 10: "smpte428", 11: "smpte431",
    12: "smpte432", 22: "ebu3213", 256: "vgamut",
}  # fmt: skip
_TRANSFERS = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316", 11: "iec61966-2-4",
    12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67",
    256: "vlog",
}  # fmt: skip
_SPACES = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc", 10: "bt2020c",
    11: "smpte2085", 12: "chroma-derived-nc", 13: "chroma-derived-c", 14: "ictcp", 15: "ipt-c2", 16: "ycgco-re", 17: "ycgco-ro",
}  # fmt: skip
_RANGES = {1: "tv", 2: "pc"}

#: Sample entries whose pictures only decoders of Dolby Vision may show; those that others may show too are called hvc1, hev1 and av01.
_DOLBY_VISION_TAGS = frozenset({"dvh1", "dvhe", "dav1"})
#: A start code and a video parameter set (ITU-T H.265, 7.3.1.2). FFmpeg writes HEVC into AVI without a codec's name, which reads as RGB.
_HEVC_HEAD = bytes.fromhex("000000014001")
#: WebM stores the transparency of these beside their pictures, where FFmpeg's own decoders do not look.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_INTERLACED_FIELD_ORDERS = frozenset({2, 3, 4, 5})
_PLAYLISTS = {b"#EXTM3U": "an HLS playlist", b"ffconcat": "an ffmpeg file list", b"<MPD": "a DASH manifest", b"[playlist]": "a playlist"}
#: Bytes of a file that are read to see whether it is text or zeros.
SNIFF_BYTES = 4096
_LOOK_MICROSECONDS = 10**12
#: ITU-T H.264, A.3.1: max_num_reorder_frames.
_MOST_FRAMES_HELD = 16
_FRAMES_PER_SECOND_WHEN_UNKNOWN = 25.0


@dataclass(frozen=True, slots=True)
class VideoStream:
    """The video stream that is used.

    index: of the stream in the file, for `-map 0:index`. width, height: stored pixels, before rotation. average_frame_rate: frames a
    second, 0 when unknown. time_base: seconds per pts unit. rotation_degrees: clockwise turn for showing it: 0, 90, 180 or 270.
    color_*: ffprobe's names and values, None when the file does not say, "reserved 3" when it says a number without a meaning.
    start_seconds: when the first frame is shown. hdr_metadata: the file describes the screen on which its HDR picture was made.
    dolby_vision_only: decoders that do not know Dolby Vision show it in wrong colours. alpha_decoder: FFmpeg's decoder that keeps the
    picture's transparency, where the usual one drops it; pixel_format is then the one of that decoder.
    """

    index: int
    codec: str
    width: int
    height: int
    pixel_format: str
    bit_depth: int
    average_frame_rate: Fraction
    time_base: Fraction
    sample_aspect_ratio: Fraction
    rotation_degrees: int
    interlaced: bool
    color_primaries: str | None
    color_transfer: str | None
    color_space: str | None
    color_range: str | None
    start_seconds: float
    hdr_metadata: bool = False
    dolby_vision_only: bool = False
    alpha_decoder: str | None = None

    @property
    def is_hdr(self) -> bool:
        """PQ or HLG: must be tone-mapped for 8-bit pictures."""
        return self.color_transfer in HDR_TRANSFERS


@dataclass(frozen=True, slots=True)
class AudioStream:
    """index: of the stream in the file. sample_rate in Hz. language: ISO 639-2, None when the file does not say.

    is_default: players play it unless the user chooses another; several streams may have this mark.
    """

    index: int
    codec: str
    channels: int
    sample_rate: int
    language: str | None
    start_seconds: float
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class MediaProbe:
    """container: FFmpeg's name of the demuxer. duration_seconds: what the container claims, an estimate; None without a claim.

    look_bytes: how much of the file must be read until the kind of every stream is known; 0 when FFmpeg's usual number of bytes is enough.
    sounds: indexes of the streams that make up the sound that is used: its first stream, and those that continue where it ends.
    jumps: where the picture's clock was reset. end_seconds: when the last picture is shown, without those jumps.
    stands_still: the picture stands still for long near its beginning or end, while there is sound.
    in_decoding_order: the container counts frames in decoding order and has no other times (AVI). Players show the first frame at the
    first of these times; FFmpeg shows all frames late, by as many frames as the decoder holds back, but not the sound.
    without_times: the container gives each frame the time at which it is decoded (MXF without an order in its index), so its frames are
    shown at even distances. early_seconds: how much too early FFmpeg shows the picture, but not the sound, because an edit list begins
    within a frame: FFmpeg leaves out that frame and moves the next to the beginning.
    notes: what is unusual about the streams, one sentence each, for people.
    """

    container: str
    duration_seconds: float | None
    video: VideoStream
    audio: tuple[AudioStream, ...]
    look_bytes: int = 0
    sounds: tuple[int, ...] = ()
    jumps: tuple[ClockJump, ...] = ()
    end_seconds: float | None = None
    stands_still: bool = False
    in_decoding_order: bool = False
    without_times: bool = False
    early_seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For the `probe` column; fractions as "30000/1001"."""
        fields = asdict(self)
        fields["video"] = {name: str(value) if isinstance(value, Fraction) else value for name, value in fields["video"].items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> MediaProbe:
        """The reverse of `to_json`."""
        fractions = ("average_frame_rate", "time_base", "sample_aspect_ratio")
        return cls(
            container=fields["container"],
            duration_seconds=fields["duration_seconds"],
            video=VideoStream(**fields["video"] | {name: Fraction(fields["video"][name]) for name in fractions}),
            audio=tuple(AudioStream(**stream) for stream in fields["audio"]),
            look_bytes=fields.get("look_bytes", 0),
            sounds=tuple(fields.get("sounds", ())),
            jumps=tuple(ClockJump(**jump) for jump in fields.get("jumps", ())),
            end_seconds=fields.get("end_seconds"),
            stands_still=fields.get("stands_still", True),
            in_decoding_order=fields.get("in_decoding_order", False),
            without_times=fields.get("without_times", False),
            early_seconds=fields.get("early_seconds", 0.0),
            notes=tuple(fields.get("notes", ())),
        )

    @property
    def longest_delay_seconds(self) -> float:
        """The largest delay with which FFmpeg may show the picture, in seconds; 0 for no delay."""
        frames_per_second = float(self.video.average_frame_rate) or _FRAMES_PER_SECOND_WHEN_UNKNOWN
        return (_MOST_FRAMES_HELD + 0.5) / frames_per_second if self.in_decoding_order else 0.0

    def delay_seconds(self, first_seconds: float) -> float:
        """The delay of the picture in FFmpeg, below 0 when it is early, when FFmpeg shows the first frame at `first_seconds`. A file whose
        first frames do not decode is not late."""
        delay = first_seconds - self.video.start_seconds
        return delay if 0 < delay <= self.longest_delay_seconds else -self.early_seconds

    @property
    def used_audio(self) -> AudioStream | None:
        """Of the sounds that are usable, the default or else the first."""
        usable = [stream for stream in self.audio if stream.channels > 0 and stream.sample_rate > 0]
        return next((stream for stream in usable if stream.is_default), next(iter(usable), None))


def first_look(path: Path, *, name: str | None = None) -> MediaProbe:
    """Find out what the beginning of the file says, up to the first frame that can be decoded.

    name: for messages, when people know the file by another name than its path. Raises InvalidMediaError when it is not a usable video,
    SourceNotFoundError when it does not exist or cannot be read.
    """
    called = name or path.name
    with opened(path, name=called) as container:
        stream = chosen_video(container, called)
        if stream.codec_context.width:  # 0 until the first keyframe, which may come late in a recording that begins between two keyframes
            _check_size(stream.codec_context.width, stream.codec_context.height, called)
        frame = _first_frame(container, stream, called)
        _check_size(frame.width, frame.height, called)
        if container.format.name == "jpeg_pipe" and not any(packet.size for packet in container.demux(stream)):
            raise InvalidMediaError(f"{called} is not a video: it is a JPEG picture")
        return MediaProbe(
            container=container.format.name,
            duration_seconds=_duration_seconds(container, stream),
            video=_video_stream(stream, frame),
            audio=tuple(_audio_stream(audio) for audio in container.streams.audio if audio.codec_context is not None),
        )


def _head(path: Path, called: str) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(KIND_BYTES)
    except FileNotFoundError:
        raise SourceNotFoundError(f"there is no file {called}") from None
    except IsADirectoryError:
        raise InvalidMediaError(f"{called} is a folder, not a video") from None
    except PermissionError:
        raise SourceNotFoundError(f"{called} cannot be read: permission denied") from None
    if not head:
        raise InvalidMediaError(f"{called} is empty (0 bytes)")
    return head


@contextmanager
def opened(path: Path, *, name: str | None = None, look_bytes: int = 0, whole: bool = False) -> Iterator[InputContainer]:
    """Open a media file that nobody has checked, in such a way that it cannot make FFmpeg open anything else.

    Raises the same errors as `first_look`. look_bytes: see `MediaProbe`. whole: with the frames that an edit list hides, none moved.
    """
    import av

    called = name or path.name
    head = _head(path, called)
    playlist = next((what for mark, what in _PLAYLISTS.items() if mark in head[:SNIFF_BYTES] and _is_text(head[:SNIFF_BYTES])), None)
    refuse_other_kinds(head, is_whole=len(head) < KIND_BYTES, called=called)
    if playlist:
        raise InvalidMediaError(
            f"{called} is not a video: it is {playlist}, which only names other files; submit those, or its web address"
        )
    # FFmpeg asks these lists before it reads on, so a file that names other files never gets to open them.
    options = {"format_whitelist": ",".join(CONTAINERS + AUDIO_CONTAINERS), "protocol_whitelist": "file", **look_options(look_bytes)}
    if whole:
        options["advanced_editlist"] = "0"
    try:
        container = av.open(f"file:{path.resolve()}", options=options, metadata_errors="replace")
    except (av.error.InvalidDataError, av.error.ArgumentError, av.error.EOFError, av.error.PatchWelcomeError) as error:
        raise InvalidMediaError(unreadable(called, head[:SNIFF_BYTES])) from error
    except av.error.FFmpegError as error:
        raise _from_ffmpeg(called, error) from error
    with container:
        yield container


def look_options(look_bytes: int) -> dict[str, str]:
    """FFmpeg's options to read that many bytes of a file before it decides what its streams are."""
    return {"probesize": str(look_bytes), "analyzeduration": str(_LOOK_MICROSECONDS)} if look_bytes else {}


def unreadable(called: str, head: bytes) -> str:
    if head[4:8] == b"ftyp":
        return (
            f"{called} is cut off: it begins as an MP4 or MOV file, but its index (moov) is missing or damaged;"
            " it may not have been copied completely"
        )
    if head.count(0) == len(head):
        return f"{called} is not a video: it begins with {len(head)} zero bytes; it may not have been copied or downloaded completely"
    what = "it holds text" if _is_text(head) else "it is in no video format that Heaters can read"
    return f"{called} is not a video: {what}"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode()
    return all(character.isprintable() or character.isspace() for character in text)


def _from_ffmpeg(called: str, error: av.error.FFmpegError) -> Exception:
    if error.errno in {errno.ENOENT, errno.EACCES, errno.EPERM}:
        return SourceNotFoundError(f"{called} cannot be read: {error.strerror}")
    return library_failure(f"{called} is not a video that can be read", error)


def chosen_video(container: InputContainer, called: str) -> Any:
    """The default video stream, or else the largest; cover art of an audio file does not count."""
    from av.stream import Disposition

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if not streams:
        art = " (only cover art)" if container.streams.video else ""
        raise InvalidMediaError(f"{called} has no video stream{art}{': it is sound only' if container.streams.audio else ''}")
    readable = [stream for stream in streams if stream.codec_context is not None]
    if not readable:
        raise InvalidMediaError(f"{called} has a video stream in a format that Heaters cannot decode")
    return max(
        readable,
        key=lambda stream: (
            bool(stream.disposition & Disposition.default),
            stream.codec_context.width * stream.codec_context.height,
            -stream.index,
        ),
    )


def _check_size(width: int, height: int, called: str) -> None:
    fits = min(width, height) >= MIN_SIDE_PIXELS and max(width, height) <= MAX_SIDE_PIXELS and width * height <= MAX_PICTURE_PIXELS
    if not fits:
        raise InvalidMediaError(
            f"{called} has pictures of {width}x{height} pixels; sides from {MIN_SIDE_PIXELS} to {MAX_SIDE_PIXELS}"
            f" and at most {MAX_PICTURE_PIXELS // 1_000_000} million pixels can be used"
        )


def _first_frame(container: InputContainer, stream: Any, called: str) -> Any:
    """The first frame that can be decoded. Packets before it are skipped: a damaged or cut beginning has some that cannot."""
    import av

    packets = errors = 0
    try:
        for packet in container.demux(stream):
            packets += packet.size > 0
            if stream.codec_context.name == "rawvideo" and bytes(packet)[: len(_HEVC_HEAD)] == _HEVC_HEAD:
                raise InvalidMediaError(
                    f"{called} has an HEVC picture, but does not say so (AVI has no name for HEVC), so players cannot show it; make an MP4"
                    f" of it and submit that. With ffmpeg: ffmpeg -c:v hevc -i INPUT.avi -c copy OUTPUT.mp4"
                )
            if packet.has_sidedata("encryption_info"):
                raise InvalidMediaError(
                    f"{called} is encrypted, as protected downloads are, and Heaters has no key; submit a file without protection"
                )
            try:
                frames = packet.decode()
            except MemoryError:
                raise
            except av.error.FFmpegError:
                errors += 1
                continue
            if frames:
                return frames[0]
    except MemoryError as error:
        raise library_failure(called, error) from error
    except av.error.FFmpegError:
        errors += 1
    if packets == 0:
        raise InvalidMediaError(f"{called} has a video stream without a single frame; it may be cut off")
    raise InvalidMediaError(
        f"{called}: no frame can be decoded (of {packets}, {stream.codec_context.name}); the file is damaged, encrypted or cut off"
    )


def _duration_seconds(container: InputContainer, stream: Any) -> float | None:
    if container.duration is not None and container.duration > 0:
        return container.duration / 1_000_000
    if stream.duration is not None and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    return None


def _video_stream(stream: Any, frame: Any) -> VideoStream:
    codec = stream.codec_context
    alpha_decoder = _alpha_decoder(stream, frame)
    pixel_format = "yuva420p" if alpha_decoder else frame.format.name
    start = frame.time if frame.time is not None else _start_seconds(stream)
    return VideoStream(
        index=stream.index,
        codec=codec.codec.canonical_name,
        width=frame.width,
        height=frame.height,
        pixel_format=pixel_format,
        bit_depth=max(component.bits for component in frame.format.components),
        average_frame_rate=_frame_rate(stream),
        time_base=Fraction(stream.time_base),
        sample_aspect_ratio=Fraction(stream.sample_aspect_ratio or codec.sample_aspect_ratio or 1),
        rotation_degrees=round(-frame.rotation / 90) * 90 % 360,
        interlaced=bool(frame.interlaced_frame) or int(codec.field_order) in _INTERLACED_FIELD_ORDERS,
        color_primaries=_word(_PRIMARIES, frame.color_primaries, codec.color_primaries),
        color_transfer=_word(_TRANSFERS, frame.color_trc, codec.color_trc),
        color_space=_word(_SPACES, frame.colorspace, codec.colorspace),
        color_range="pc" if pixel_format.startswith("yuvj") else _RANGES.get(int(frame.color_range) or int(codec.color_range)),
        start_seconds=float(start),
        dolby_vision_only=_is_dolby_vision(codec, frame) and _word(_TRANSFERS, frame.color_trc, codec.color_trc) is None,
        hdr_metadata=bool(_side_data(frame) & {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"}),
        alpha_decoder=alpha_decoder,
    )


def _frame_rate(stream: Any) -> Fraction:
    """Frames per second on average; 0 when nothing says it."""
    average, guessed, base = stream.average_rate or 0, stream.guessed_rate or 0, stream.base_rate or 0
    # Of DV, FFmpeg gives ticks of a clock as the average. No average lies above the rate that all times are multiples of.
    return Fraction((average if average <= 2 * max(guessed, base) else 0) or guessed or average or base)


def _alpha_decoder(stream: Any, frame: Any) -> str | None:
    """See `VideoStream`. libvpx has transparency with 8 bits in 4:2:0 only."""
    stated = {name.lower(): value for name, value in stream.metadata.items()}.get("alpha_mode")
    decoder = _ALPHA_DECODERS.get(stream.codec_context.codec.canonical_name)
    return decoder if stated == "1" and frame.format.name == "yuv420p" else None


def _is_dolby_vision(codec: Any, frame: Any) -> bool:
    """Whether a picture has Dolby Vision's metadata, or is of one of its own kinds in MP4, MOV and CMAF."""
    named = str(codec.codec_tag) in _DOLBY_VISION_TAGS
    return named or bool(_side_data(frame) & {"DOVI_RPU_BUFFER", "DOVI_METADATA"})


def _side_data(frame: Any) -> set[str]:
    """FFmpeg's names of the kinds of data that come with a picture.

    None when there is a kind that PyAV has no name for, such as LCEVC: then it gives nothing of them, not even of those that it knows.
    """
    try:
        return {one.type.name for one in frame.side_data}
    except ValueError:
        return set()


def _word(words: Mapping[int, str], of_frame: Any, of_codec: Any) -> str | None:
    """The value of the frame, or else of the stream; None when neither has one."""
    unspecified = {2, 0} - words.keys()
    number = next((said for said in (int(of_frame), int(of_codec)) if said not in unspecified), None)
    return None if number is None else words.get(number, f"{RESERVED} {number}")


def _audio_stream(stream: Any) -> AudioStream:
    from av.stream import Disposition

    codec = stream.codec_context
    language = stream.language
    return AudioStream(
        index=stream.index,
        codec=codec.codec.canonical_name,
        channels=codec.channels,
        sample_rate=codec.sample_rate,
        language=None if language in (None, "", "und") else language,
        start_seconds=_start_seconds(stream),
        is_default=bool(stream.disposition & Disposition.default),
    )


def _start_seconds(stream: Any) -> float:
    return float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0
