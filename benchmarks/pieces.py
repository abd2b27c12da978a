"""Whether several machines should make the proxy of a very long video in pieces: what it would save, and whether it is the same proxy."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av

from benchmarks.proxy_pass import looped_sample
from benchmarks.table import Row
from heaters_dagster.domain.profiles import EXACT_TIMES, PROXY_VIDEO
from resources.media.ffmpeg import ffmpeg_path

_SECONDS = 20
_MACHINES = 4
_HOURS = (1, 4, 10)
#: Assumed: what a machine moves to or from the bucket in a second, and what another run costs before its first frame.
_NETWORK_BYTES = 100e6
_RUN_START_SECONDS = 10.0


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = looped_sample(folder, "720", _SECONDS)
        whole, joined = folder / "whole.mp4", folder / "joined.mp4"
        encoding = _timed(lambda: _encoded(source, whole))
        cut = _keyframe_after(source, _SECONDS / 2)
        pieces = [folder / "first.mp4", folder / "second.mp4"]

        def encode_both() -> None:
            _encoded(source, pieces[0], end=cut)
            _encoded(source, pieces[1], start=cut)

        in_pieces = _timed(encode_both)
        joining = _timed(lambda: _joined(pieces, joined))
        frames, others = _hashes(whole), _hashes(joined)
        per_second = whole.stat().st_size / _SECONDS
        differ = sum(one != other for one, other in zip(frames, others, strict=False)) + abs(len(frames) - len(others))
        rows = [
            Row("proxy in one piece", encoding / _SECONDS, "s per second", note=f"{_SECONDS} s of 1280x720, picture only, both cores"),
            Row("proxy in two pieces, one after the other", in_pieces / encoding, "times", note="the same work, begun twice"),
            Row("joining by stream copy", joined.stat().st_size / joining / 1e6, "MB/s"),
            Row("frames of the joined proxy that differ", differ, "frames", note=f"of {len(frames)}, by the hash of the decoded picture"),
        ]
        join_seconds = joining / _SECONDS
        for hours in _HOURS:
            seconds, network = hours * 3600, hours * 3600 * per_second / _NETWORK_BYTES
            alone = seconds * encoding / _SECONDS + network
            split = _RUN_START_SECONDS * 2 + (seconds * encoding / _SECONDS + network) / _MACHINES + 2 * network + seconds * join_seconds
            note = f"computed: {alone / 60:.0f} min alone, {split / 60:.0f} min by {_MACHINES} idle machines with 100 MB/s to the bucket"
            rows.append(Row(f"{hours} h: time until the proxy is there, against one machine", split / alone, "times", note=note))
        gain = encoding / _SECONDS * (1 - 1 / _MACHINES) - per_second / _NETWORK_BYTES * (1 + 1 / _MACHINES) - join_seconds
        note = "computed: a longer one is there sooner" if gain > 0 else "computed: no video is there sooner"
        return [*rows, Row(f"length from which {_MACHINES} idle machines are faster", _RUN_START_SECONDS * 2 / gain, "s", note=note)]


def _encoded(source: Path, target: Path, *, start: float | None = None, end: float | None = None) -> None:
    part = [*(["-ss", f"{start:.6f}"] if start is not None else []), *(["-to", f"{end:.6f}"] if end is not None else [])]
    options = [text for name, value in {**PROXY_VIDEO, **EXACT_TIMES}.items() for text in (f"-{name}", str(value))]
    _ffmpeg(*part, "-i", str(source), "-an", *options, str(target))


def _joined(pieces: list[Path], target: Path) -> None:
    names = target.with_suffix(".txt")
    names.write_text("".join(f"file '{piece}'\n" for piece in pieces))
    _ffmpeg("-f", "concat", "-safe", "0", "-i", str(names), "-c", "copy", "-movflags", "+faststart", str(target))


def _keyframe_after(source: Path, seconds: float) -> float:
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            if packet.is_keyframe and packet.pts is not None and float(packet.pts * stream.time_base) >= seconds:
                return float(packet.pts * stream.time_base)
    raise ValueError(f"{source} has no keyframe after {seconds} s")


def _hashes(path: Path) -> list[str]:
    command = [ffmpeg_path(), "-v", "error", "-i", str(path), "-map", "0:v", "-f", "framemd5", "-"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.rpartition(",")[2].strip() for line in lines if not line.startswith("#")]


def _ffmpeg(*arguments: str) -> None:
    subprocess.run([ffmpeg_path(), "-nostdin", "-v", "error", "-y", *arguments], check=True)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
