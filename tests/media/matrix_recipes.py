"""How the files of the matrix are made: one small recording, put by ffmpeg and by hand into every container and codec.

The recording has 36 pictures that carry their number, and noise of which no two moments are alike. So every picture and every piece of
sound says when it was recorded, whatever times a file gives it.
"""

from __future__ import annotations

import shlex
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import av
import imageio_ffmpeg
import numpy as np

from tests.media_files import SAMPLE_RATE, ffmpeg, picture, variable_times, with_shifted_times
from tests.sound_sync import recorded

FRAMES = 36
RATE = 24
SECONDS = FRAMES / RATE
SIZE = (64, 48)
VARIED = variable_times(FRAMES)

#: Fast, and with frames that are shown in another order than they are stored.
X264 = "-pix_fmt yuv420p -c:v libx264 -preset veryfast -g 12 -bf 2 -sc_threshold 0"
KEPT = "-fps_mode passthrough -enc_time_base:v demux"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A file that is one output of ffmpeg. options: of that output, with `-map 0:v` the pictures, `-map 2:v` those with a variable frame
    rate, `-map 1:a` the noise."""

    options: str


#: Makes a file by hand at this path.
ByHand: TypeAlias = Callable[["Recording", Path], Path]


def heard(options: str) -> Encoded:
    """The recording with its sound."""
    return Encoded(f"-map 0:v -map 1:a -t {SECONDS} {options}")


def silent(options: str) -> Encoded:
    return Encoded(f"-map 0:v {options}")


def varied(options: str) -> Encoded:
    """With the pictures that have a variable frame rate."""
    return Encoded(f"-map 2:v -map 1:a -t {VARIED[-1] + 1 / RATE} {KEPT} {options}")


def channels(layout: str, count: int) -> str:
    """The noise in every channel of a layout."""
    return f"-af pan={layout}|" + "|".join(f"c{number}=c0" for number in range(count))


class Recording:
    """The recording as files: `frames.nut` with 24 frames a second, `varied.nut` with a variable frame rate, and `noise.wav`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._inputs = (
            _frames(folder / "frames.nut", [number / RATE for number in range(FRAMES)]),
            _noise(folder / "noise.wav"),
            _frames(folder / "varied.nut", VARIED),
        )

    def encoded(self, wanted: Sequence[tuple[Encoded, Path]]) -> None:
        """Make several files by one run of ffmpeg. Raises RuntimeError with what ffmpeg says."""
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y"]
        command += [word for source in self._inputs for word in ("-i", str(source))]
        command += [word for recipe, path in wanted for word in (*shlex.split(recipe.options), "-threads", "1", str(path))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)

    def made(self, recipe: Encoded, name: str) -> Path:
        """One file in the recording's folder, made when it is first asked for."""
        path = self.folder / name
        if not path.exists():
            self.encoded([(recipe, path)])
        return path

    @cached_property
    def mp4(self) -> Path:
        return self.made(heard(f"{X264} -c:a aac"), "plain.mp4")

    @cached_property
    def mov(self) -> Path:
        """With frames stored as they are shown and with sound whose samples stand alone: its edit lists can be written by hand."""
        return self.made(heard("-pix_fmt yuv420p -c:v libx264 -preset veryfast -g 4 -bf 0 -c:a pcm_s16le"), "plain.mov")

    @cached_property
    def mkv(self) -> Path:
        return self.made(heard("-pix_fmt yuv420p -c:v libx264 -preset veryfast -g 12 -bf 0 -c:a pcm_s16le"), "plain.mkv")

    @cached_property
    def wide(self) -> Path:
        """With pixels that are not square."""
        return self.made(heard(f"{X264} -vf setsar=16/11 -c:a aac"), "wide.mov")


def _frames(path: Path, seconds: Sequence[float]) -> Path:
    """The pictures as they are, each at its time."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("rawvideo", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "rgb24"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 60_000)
        for number, at in enumerate(seconds):
            frame = av.VideoFrame.from_ndarray(picture(number, size=SIZE), format="rgb24")
            frame.pts, frame.time_base = round(at * 60_000), Fraction(1, 60_000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def _noise(path: Path) -> Path:
    samples = (recorded(VARIED[-1] + 0.5) * 32767).clip(-32768, 32767).astype(np.int16)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def turned(*options: str, of: str = "mp4") -> ByHand:
    """A copy that players turn or mirror: `-display_rotation 90`."""
    return lambda recording, path: ffmpeg([*options, "-i", str(getattr(recording, of)), "-map", "0", "-c", "copy"], path)


def copied(before: str, after: str = "", *, of: str = "mp4") -> ByHand:
    """A copy of packets. before, after: options before and after the input."""
    return lambda recording, path: ffmpeg(
        [*shlex.split(before), "-i", str(getattr(recording, of)), "-map", "0", "-c", "copy", *shlex.split(after)], path
    )


def shifted(kind: str, moved: Callable[[int, float], float]) -> ByHand:
    """Matroska with other times in its packets; see `with_shifted_times`."""
    return lambda recording, path: with_shifted_times(recording.mkv, path, kind, moved)


def with_company(recording: Recording, path: Path) -> Path:
    """Cover art, the picture and its sound, subtitles, chapters, and (in Matroska) a font or (in MOV) a time code."""
    folder = path.with_suffix("")
    folder.mkdir()
    cover, text, chapters = folder / "cover.png", folder / "text.srt", folder / "chapters.txt"
    ffmpeg(["-f", "lavfi", "-i", "color=red:size=300x300:duration=0.04", "-frames:v", "1"], cover)
    text.write_text("1\n00:00:00,100 --> 00:00:01,000\nWords\n")
    chapters.write_text(";FFMETADATA1\ntitle=private\nlocation=+48.2-016.3/\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=private\n")
    kept = ["-map_metadata", "2", "-map_chapters", "2", "-c", "copy"]
    inputs = [word for source in (recording.mp4, text, chapters) for word in ("-i", str(source))]
    maps = [word for chosen in ("0:v", "0:a", "1:s") for word in ("-map", chosen)]
    if path.suffix == ".mkv":
        files = ["-attach", str(cover), "-metadata:s:t:0", "mimetype=image/png", "-metadata:s:t:0", "filename=cover.png"]
        files += ["-attach", str(text), "-metadata:s:t:1", "mimetype=application/x-truetype-font", "-metadata:s:t:1", "filename=text.ttf"]
        return ffmpeg([*inputs, *maps, *kept, *files], path)
    clock = ["-timecode", "10:00:00:00"] if path.suffix == ".mov" else []
    return ffmpeg(
        [*inputs, "-i", str(cover), "-map", "3:v", *maps, *kept, "-c:s", "mov_text", "-disposition:v:0", "attached_pic", *clock], path
    )


def joined(*parts: Encoded) -> ByHand:
    """Files one after the other, as recordings over a change of programme: with each part the clock begins anew."""

    def make(recording: Recording, path: Path) -> Path:
        pieces = [(part, path.with_name(f"{path.stem}-{number}{path.suffix}")) for number, part in enumerate(parts)]
        recording.encoded(pieces)
        path.write_bytes(b"".join(piece.read_bytes() for _, piece in pieces))
        return path

    return make


def from_second_keyframe(recipe: Encoded) -> ByHand:
    """A recording that begins in the middle: the first packets of the picture are gone, and the next keyframe has frames before it that
    need them."""

    def make(recording: Recording, path: Path) -> Path:
        whole = path.with_name(f"whole-{path.name}")
        recording.encoded([(recipe, whole)])
        with av.open(str(whole)) as source, av.open(str(path), "w") as output:
            copies = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
            keyframes = 0
            for packet in source.demux():
                if packet.size:
                    keyframes += packet.stream.type == "video" and packet.is_keyframe
                    if packet.stream.type == "audio" or keyframes > 1:
                        packet.stream = copies[packet.stream.index]
                        output.mux(packet)
        return path

    return make


def with_edits(*edits: tuple[float, float]) -> ByHand:
    """A MOV whose edit lists show these parts, each from one second to another, in that order; from below 0 means an empty part."""

    def make(recording: Recording, path: Path) -> Path:
        data = bytearray(recording.mov.read_bytes())  # its header comes last: no offset in it changes
        (moov,) = (body for kind, body in _boxes(data, 0, len(data)) if kind == b"moov")
        movie_scale = struct.unpack_from(">I", data, data.index(b"mvhd", moov.start) + 16)[0]
        for track in reversed([body for kind, body in _boxes(data, moov.start, moov.stop) if kind == b"trak"]):
            scale = struct.unpack_from(">I", data, data.index(b"mdhd", track.start) + 16)[0]
            rows = [
                struct.pack(">IiI", round((end - start) * movie_scale), -1 if start < 0 else round(start * scale), 1 << 16)
                for start, end in edits
            ]
            table = struct.pack(">I4sII", 16 + 12 * len(rows), b"elst", 0, len(rows)) + b"".join(rows)
            box = struct.pack(">I4s", 8 + len(table), b"edts") + table
            old = next((body for kind, body in _boxes(data, track.start, track.stop) if kind == b"edts"), range(track.stop, track.stop))
            place = slice(old.start - 8, old.stop) if len(old) else slice(track.stop, track.stop)
            grown = len(box) - (place.stop - place.start)
            data[place] = box
            for parent in (moov, track):
                at = parent.start - 8
                struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + grown)
            moov = range(moov.start, moov.stop + grown)
        path.write_bytes(data)
        return path

    return make


def _boxes(data: bytes | bytearray, start: int, end: int) -> Iterator[tuple[bytes, range]]:
    """(kind, where its contents are) of the boxes of an MP4 between two places."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 16 if size == 1 else 8
        size = struct.unpack_from(">Q", data, start + 8)[0] if size == 1 else size
        yield bytes(kind), range(start + head, start + size)
        start += size


def flash_with_times(moved: Callable[[float], float]) -> ByHand:
    """An FLV with other times in its packets, in seconds, as servers write them that record a stream in the middle."""

    def make(recording: Recording, path: Path) -> Path:
        data = bytearray(recording.made(heard(f"{X264} -c:a aac"), "plain.flv").read_bytes())
        at = 13
        while at + 11 <= len(data):
            size = int.from_bytes(data[at + 1 : at + 4])
            milliseconds = int.from_bytes(data[at + 4 : at + 7]) | data[at + 7] << 24
            shifted_to = round(moved(milliseconds / 1000) * 1000)
            data[at + 4 : at + 8] = (shifted_to & 0xFFFFFF).to_bytes(3) + bytes([shifted_to >> 24 & 0xFF])
            at += 11 + size + 4
        path.write_bytes(data)
        return path

    return make
