"""The frame index of a proxy of 100,000 frames (over an hour): made from the file, stored, and read by slices."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from benchmarks.table import Row, at_most
from heaters_dagster.domain.frame_index import encoded
from heaters_dagster.domain.keys import frame_index_key
from resources.media.frame_index_reader import FrameIndexes, read_frame_index
from resources.object_store.local import LocalObjectStore

FRAMES = 100_000
_SLICES = 200
_CLIP_FRAMES = 240


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        proxy = _long_proxy(folder / "proxy.mp4")
        began = time.perf_counter()
        index = read_frame_index(proxy)
        made_seconds = time.perf_counter() - began
        began = time.perf_counter()
        stored = encoded(index)
        encoded_seconds = time.perf_counter() - began
        store = LocalObjectStore(folder / "objects")
        store.put_bytes(frame_index_key(1), stored)
        slices, lookups = _reads(FrameIndexes(store))
    return [
        at_most(
            "frame index from the proxy", made_seconds + encoded_seconds, "s", 4, f"{FRAMES:,} frames, with sound; reading and encoding"
        ),
        at_most("slice of one clip, median", statistics.median(slices) * 1000, "ms", 10, f"{_CLIP_FRAMES} frames, local store"),
        at_most("slice of one clip, 99th percentile", _percentile(slices, 99) * 1000, "ms", 10, f"{_SLICES} random clips"),
        at_most("times of a clip's two cuts, 99th percentile", _percentile(lookups, 99) * 1000, "ms", 10),
        Row("size of the index", len(stored) / 1e6, "MB"),
    ]


def _reads(indexes: FrameIndexes) -> tuple[list[float], list[float]]:
    """Seconds of each slice and of each look-up of two times."""
    numbers, slices, lookups = random.Random(1), [], []
    for _ in range(_SLICES):
        start = numbers.randrange(FRAMES - _CLIP_FRAMES)
        began = time.perf_counter()
        indexes.slice(1, start, start + _CLIP_FRAMES)
        slices.append(time.perf_counter() - began)
        began = time.perf_counter()
        indexes.times(1, [start, start + _CLIP_FRAMES])
        lookups.append(time.perf_counter() - began)
    return slices, lookups


def _percentile(values: list[float], percent: float) -> float:
    return float(np.percentile(values, percent))


def _long_proxy(path: Path) -> Path:
    """An all-intra MP4 of FRAMES frames at 25 a second with AAC: one encoded picture and one encoded sound, copied again and again."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as output:
        video = output.add_stream("libx264", rate=25, options={"g": "1", "bf": "0", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        sound = output.add_stream("aac", rate=48_000, layout="mono")
        picture = av.VideoFrame.from_ndarray(np.full((180, 320, 3), 90, np.uint8), format="rgb24")
        encoded_picture = next(bytes(packet) for packet in [*video.encode(picture), *video.encode(None)])
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48_000
        encoded_sound = next(bytes(packet) for packet in [*sound.encode(silence), *sound.encode(None)])
        sounds = 0
        for number in range(FRAMES):
            _mux(output, video, encoded_picture, number, Fraction(1, 25))
            while sounds * 1024 * 25 < number * 48_000:
                _mux(output, sound, encoded_sound, sounds * 1024, Fraction(1, 48_000))
                sounds += 1
    return path


def _mux(output: av.container.OutputContainer, stream: av.stream.Stream, data: bytes, at: int, time_base: Fraction) -> None:
    packet = av.Packet(data)
    packet.stream, packet.time_base, packet.is_keyframe = stream, time_base, True
    packet.pts = packet.dts = at
    packet.duration = 1 if stream.type == "video" else 1024
    output.mux_one(packet)
