"""Tiny videos made for tests, of every odd kind, in which the pixels say which frame is shown.

A barcode strip in the top eighth of the picture holds the frame number; `read_barcode` reads it back through scaling, lossy coding and
one pixel of cropping. Audio is seeded noise, so that a cross-correlation shows any shift.
"""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from resources.media.frame_hashes import frame_hash
from tests.made_once import made_once, once, recipe_of

SAMPLE_RATE = 48_000
_BITS = 12
_BLOCKS = _BITS + 4  # quiet block, white, black, bits, quiet block

#: Presentation times in seconds of a video with variable frame rate: 24, 60 and 7.5 frames a second mixed, none of them on a common grid.
VARIABLE_STEPS = (1 / 24, 1 / 24, 1 / 60, 1 / 60, 1 / 7.5, 1 / 24)


def variable_times(frames: int) -> list[float]:
    """Presentation times in seconds of `frames` frames with variable frame rate, the first at 0."""
    steps = [VARIABLE_STEPS[n % len(VARIABLE_STEPS)] for n in range(frames - 1)]
    return [0.0, *np.cumsum(steps).tolist()]


def picture(number: int, *, size: tuple[int, int], scene: int = 0, barcode: bool = True) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB: a texture of its own per scene that drifts slowly, under a barcode of `number`."""
    width, height = size
    rng = np.random.default_rng(scene)
    coarse = rng.integers(30, 226, (6, 8, 3)).astype(np.uint8)
    rows = (np.arange(height) * 6 // height) % 6
    columns = ((np.arange(width) + number) * 8 // max(width, 8)) % 8
    image = coarse[rows][:, columns].copy()
    if barcode:
        strip = max(8, height // 8)
        bits = [1, 0, *((number >> (_BITS - 1 - n)) & 1 for n in range(_BITS))]
        levels = np.array([16, *(235 if bit else 16 for bit in bits), 16], dtype=np.uint8)
        image[:strip] = levels[np.arange(width) * _BLOCKS // width][None, :, None]
    return image


def read_barcode(image: NDArray[np.uint8]) -> int:
    """The frame number in an RGB or grey picture, (h, w[, 3]) uint8. Raises ValueError when there is no barcode."""
    height, width = image.shape[:2]
    strip = max(8, height // 8)
    middle = image[strip // 4 : strip * 3 // 4].reshape(strip * 3 // 4 - strip // 4, width, -1).mean(axis=(0, 2))
    centres = ((np.arange(_BLOCKS) + 0.5) * width / _BLOCKS).astype(int)
    bits = middle[centres] > 125
    if bits[0] or not bits[1] or bits[2] or bits[-1]:
        raise ValueError("no barcode in this picture")
    return int("".join("1" if bit else "0" for bit in bits[3:-1]), 2)


@once
def make_video(
    path: Path,
    *,
    frames: int = 48,
    rate: Fraction | int = 24,
    size: tuple[int, int] = (160, 120),
    audio: bool = True,
    vfr: bool = False,
    times: Sequence[float] | None = None,
    scenes: Sequence[int] = (),
    barcode: bool = False,
    codec: str = "libx264",
    audio_codec: str | None = None,
    pixel_format: str = "yuv420p",
    b_frames: int = 0,
    keyframe_every: int = 12,
    interlaced: bool = False,
    video_start_seconds: float = 0.0,
    sample_aspect_ratio: Fraction = Fraction(1),
    hdr: bool = False,
    format: str | None = None,
) -> Path:
    """Write a video and return `path`; the container follows the suffix.

    rate: frames a second. vfr: the times of `variable_times` instead; times: any other presentation times in seconds, one per frame.
    scenes: frames at which another picture begins. video_start_seconds: the audio begins at 0, the video later. hdr: tagged as PQ, BT.2020.
    """
    rate = Fraction(rate)
    starts = times if times is not None else variable_times(frames) if vfr else None
    container_options = {"movflags": "faststart"} if path.suffix in {".mp4", ".mov"} else {}
    with av.open(str(path), "w", format=format, options=container_options) as output:
        stream = _video_stream(output, codec, rate, size, pixel_format, b_frames, keyframe_every, interlaced, starts is not None)
        stream.codec_context.sample_aspect_ratio = sample_aspect_ratio
        if hdr:
            _tag_hdr(stream.codec_context)
        sound = _audio_stream(output, path, audio_codec) if audio else None
        base = stream.codec_context.time_base
        last = 0.0
        for number in range(frames):
            scene = sum(number >= first for first in scenes)
            image = av.VideoFrame.from_ndarray(picture(number, size=size, scene=scene, barcode=barcode), format="rgb24")
            frame = image.reformat(format=pixel_format)
            at = (starts[number] if starts is not None else float(number / rate)) + video_start_seconds
            frame.pts = round(at / base)
            frame.time_base = base
            if hdr:
                _tag_hdr(frame)
            last = at
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            _write_noise(output, sound, last + float(1 / rate))
    return path


def barcode_video(path: Path, **options: Any) -> Path:
    """`make_video` whose frames carry their number."""
    return make_video(path, barcode=True, **options)


def noisy_minute(path: Path) -> Path:
    """A minute with sound, 300 frames, all-intra, of pictures that do not compress: over 8 MiB."""
    picture = "testsrc2=size=320x240:rate=5:duration=60,noise=alls=80:allf=t"
    sound = "sine=frequency=440:duration=60"
    encoders = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "20", "-g", "1", "-bf", "0", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    return ffmpeg(["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *encoders, "-movflags", "+faststart"], path)


def _video_stream(
    output: Any,
    codec: str,
    rate: Fraction,
    size: tuple[int, int],
    pixel_format: str,
    b_frames: int,
    keyframe_every: int,
    interlaced: bool,
    variable: bool,
) -> Any:
    options = {"g": str(keyframe_every), "bf": str(b_frames)}
    if codec == "libx264":
        options |= {"preset": "ultrafast", "crf": "16"}
        if b_frames:
            options |= {"b_strategy": "0", "preset": "fast"}
        if interlaced:
            options |= {"x264-params": "interlaced=1:tff=1", "flags": "+ildct+ilme"}
    elif codec.startswith("libvpx"):
        options |= {"deadline": "realtime", "cpu-used": "8", "b": "2M"}
        options.pop("bf")
    elif codec in {"mpeg4", "mpeg2video"}:
        options |= {"b": "4M"}
    stream = output.add_stream(codec, rate=rate, options=options)
    stream.width, stream.height, stream.pix_fmt = *size, pixel_format
    stream.codec_context.time_base = Fraction(1, 60_000) if variable else 1 / rate
    return stream


def _tag_hdr(target: Any) -> None:
    target.color_trc, target.color_primaries, target.colorspace = 16, 9, 9  # SMPTE 2084, BT.2020, BT.2020 non-constant


def _audio_stream(output: Any, path: Path, codec: str | None) -> Any:
    default = {".webm": "libopus", ".avi": "libmp3lame"}.get(path.suffix, "aac")
    return output.add_stream(codec or default, rate=SAMPLE_RATE, layout="mono")


def _write_noise(output: Any, stream: Any, seconds: float) -> None:
    samples = np.random.default_rng(7).normal(0, 0.1, int(seconds * SAMPLE_RATE)).astype(np.float32)
    at = 0
    for block in np.array_split(samples, max(1, len(samples) // 1024)):
        frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, at, Fraction(1, SAMPLE_RATE)
        at += len(block)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def rotated(source: Path, path: Path, degrees: int) -> Path:
    """A copy that players turn counter-clockwise by `degrees`: the stored pixels are the same, the display matrix is not."""
    return ffmpeg(["-display_rotation", str(degrees), "-i", str(source), "-map", "0", "-c", "copy"], path)


def truncated(source: Path, path: Path, fraction: float = 0.6) -> Path:
    """The first part of the file, as after a broken download."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


def with_bit_errors(source: Path, path: Path, *, count: int = 20, seed: int = 1, skip_fraction: float = 0.3) -> Path:
    """`count` flipped bits, none of them in the first `skip_fraction` of the file, where the headers are."""
    data = bytearray(source.read_bytes())
    rng = random.Random(seed)
    for _ in range(count):
        data[rng.randrange(int(len(data) * skip_fraction), len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))
    return path


def with_sound_gap(source: Path, path: Path, start: float, end: float) -> Path:
    """A copy without the packets of sound between two times in seconds."""
    with av.open(str(source)) as original, av.open(str(path), "w") as output:
        copies = {stream.index: output.add_stream_from_template(stream) for stream in original.streams}
        for packet in original.demux():
            if packet.size and not (packet.stream.type == "audio" and start <= packet.pts * packet.time_base < end):
                packet.stream = copies[packet.stream.index]
                output.mux(packet)
    return path


def without_packets(source: Path, path: Path, kind: str, lost: Callable[[int], bool]) -> Path:
    """A copy without those packets of the `video` or `audio` stream, counted from 0, for which `lost` is true."""
    return _copied(source, path, lambda packet, number: None if packet.stream.type == kind and lost(number) else packet)


def with_shifted_times(source: Path, path: Path, kind: str, moved: Callable[[int, float], float]) -> Path:
    """A Matroska copy in which packets of `video`, `audio` or `both` have another time: moved(number in its stream, seconds) seconds.

    All begins 10 s later, as Matroska has no times below 0. A muxer would put wrong times in order, so the file is written by hand.
    """
    wanted: list[tuple[int, int]] = []

    def note(packet: Any, number: int) -> Any:
        seconds = float(packet.pts * packet.time_base)
        shifted = moved(number, seconds) if kind in {packet.stream.type, "both"} else seconds
        wanted.append((packet.stream.index, 10_000 + round(shifted * 1000)))
        return packet

    plain = _copied(source, path.with_name(f"plain-{path.name}"), note)
    return matroska_with_times(plain, path, wanted)


def matroska_with_times(source: Path, path: Path, wanted: Sequence[tuple[int, int]]) -> Path:
    """A Matroska file written by hand with the packets of `source`: one cluster for each, at any time in milliseconds.

    wanted: (stream index, milliseconds) for the packets of each stream in the order of the file.
    """
    times: dict[int, list[int]] = {}
    for stream, milliseconds in wanted:
        times.setdefault(stream, []).append(milliseconds)
    data = source.read_bytes()
    head = data[: data.index(b"\x1f\x43\xb6\x75")]
    segment = head.index(b"\x18\x53\x80\x67") + 4
    head = head[:segment] + b"\x01\xff\xff\xff\xff\xff\xff\xff" + head[segment + 8 :]  # a segment of unknown length
    clusters = []
    with av.open(str(source)) as container:
        for packet in container.demux():
            if packet.size:
                at = times[packet.stream.index].pop(0)
                flags = 0x80 if packet.is_keyframe else 0
                block = bytes([0x80 | (packet.stream.index + 1)]) + struct.pack(">hB", 0, flags) + bytes(packet)
                body = _ebml(b"\xe7", struct.pack(">q", at).lstrip(b"\0") or b"\0") + _ebml(b"\xa3", block)
                clusters.append(_ebml(b"\x1f\x43\xb6\x75", body))
    path.write_bytes(head + b"".join(clusters))
    return path


def _ebml(identifier: bytes, body: bytes) -> bytes:
    return identifier + struct.pack(">Q", len(body) | 1 << 56) + body


def _copied(source: Path, path: Path, change: Callable[[Any, int], Any]) -> Path:
    with av.open(str(source)) as original, av.open(str(path), "w") as output:
        copies = {stream.index: output.add_stream_from_template(stream) for stream in original.streams}
        numbers = dict.fromkeys(copies, 0)
        for packet in original.demux():
            if packet.size:
                number = numbers[packet.stream.index]
                numbers[packet.stream.index] += 1
                changed = change(packet, number)
                if changed is not None:
                    changed.stream = copies[changed.stream.index]
                    output.mux(changed)
    return path


def with_default_sound_second(source: Path, path: Path) -> Path:
    """A Matroska copy with silence as its first sound, and its own sound second and as the default."""
    silence = ["-f", "lavfi", "-i", "anullsrc=r=48000:cl=mono", "-map", "0:v", "-map", "1:a", "-map", "0:a", "-shortest"]
    which = ["-disposition:a:0", "0", "-disposition:a:1", "default"]
    return ffmpeg(["-i", str(source), *silence, "-c:v", "copy", "-c:a", "aac", *which], path)


def with_clean_aperture(source: Path, path: Path, width: int, height: int) -> Path:
    """A copy of an MP4 whose container asks players to show only the middle `width` x `height` pixels (a `clap` box)."""
    data = bytearray(ffmpeg(["-i", str(source), "-c", "copy"], path).read_bytes())  # its index comes last: no offset in it changes
    box = struct.pack(">I4s8I", 40, b"clap", width, 1, height, 1, 0, 1, 0, 1)
    at, parents = 0, []
    for kind, skipped in ((b"moov", 8), (b"trak", 8), (b"mdia", 8), (b"minf", 8), (b"stbl", 8), (b"stsd", 16), (b"avc1", 0)):
        at = data.index(kind, at) - 4
        parents.append(at)
        at += skipped
    end = at + struct.unpack_from(">I", data, at)[0]
    for parent in parents:
        struct.pack_into(">I", data, parent, struct.unpack_from(">I", data, parent)[0] + len(box))
    data[end:end] = box
    path.write_bytes(data)
    return path


def repeated_times(folder: Path, *, frames: int) -> Path:
    """Every fifth frame at the time of the one before it."""
    source = barcode_video(folder / "even.mkv", frames=frames)
    again = "if(eq(mod(N\\,5)\\,1)\\,PREV_OUT{0}\\,{0})"
    setts = f"setts=pts={again.format('PTS')}:dts={again.format('DTS')}"
    return ffmpeg(["-i", str(source), "-c", "copy", "-bsf:v", setts], folder / "s.mkv")


def size_changes(folder: Path) -> Path:
    """A transport stream of 48 frames, as a recording over a change of programme: 24 frames of 160x120 pixels, then 24 of 320x240."""
    parts = [barcode_video(folder / f"{size[0]}.ts", frames=24, size=size) for size in ((160, 120), (320, 240))]
    path = folder / "programmes.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def progressive_then_interlaced(folder: Path, *, codec: str = "libx264", suffix: str = "ts") -> Path:
    """As a recording of two programmes: 120 progressive frames in 12 s, then 10 that show two moments each."""
    coded = ["-c:v", codec, "-g", "10", "-bf", "0", "-b:v", "4M"]
    moving = "testsrc2=s=160x96:r={rate}:d={seconds}"
    film = ffmpeg(["-f", "lavfi", "-i", moving.format(rate=10, seconds=12), *coded], folder / f"film.{suffix}")
    fields = ["-vf", "tinterlace=interleave_top", "-flags", "+ilme+ildct", *(["-x264-params", "tff=1"] if codec == "libx264" else [])]
    sport = ffmpeg(["-f", "lavfi", "-i", moving.format(rate=20, seconds=1), *fields, *coded], folder / f"sport.{suffix}")
    path = folder / f"programmes.{suffix}"
    path.write_bytes(film.read_bytes() + sport.read_bytes())
    return path


def wrecked(source: Path, path: Path, kind: str) -> Path:
    """A copy in which every packet of the `video` or `audio` streams is nonsense, while the headers are whole."""
    data = bytearray(source.read_bytes())
    with closing(av.open(str(source))) as container:
        for packet in container.demux():
            if packet.size and packet.stream.type == kind:
                data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(bytes(data))
    return path


def ffmpeg(arguments: Sequence[str], path: Path) -> Path:
    """Run the wheel's ffmpeg with `arguments` and write `path`."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *arguments, str(path)]

    def run() -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    recipe = recipe_of(arguments, path)
    if recipe is not None:
        return made_once(path, ["ffmpeg", recipe], run)
    run()
    return path


def decoded(path: Path) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """(time in seconds, (h, w, 3) RGB picture) of every frame that decodes, as stored (not rotated)."""
    reformatter = VideoReformatter()  # one for all: each frame's own would begin with new tables
    with closing(av.open(str(path))) as container:
        for frame in container.decode(video=0):
            yield float(frame.pts * frame.time_base), reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()


def frame_times(path: Path) -> list[float]:
    """Presentation times in seconds of all frames that decode."""
    with closing(av.open(str(path))) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def barcodes(path: Path) -> list[int]:
    """The frame numbers seen in all frames that decode."""
    return [read_barcode(image) for _, image in decoded(path)]


def file_frame_hashes(path: Path) -> Iterator[str]:
    """The hash of every frame a decoder gives for the first video stream, in order of showing."""
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            yield frame_hash(frame)
