"""The proxy of a very long video in pieces on several machines: whether it is the same proxy, what it saves, and from which length on."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from assets.proxy_pass import ProxyPass, Seeing, finished_pass, proxy_pass
from benchmarks.proxy_pass import looped_sample
from benchmarks.table import Row, at_most
from heaters_dagster.domain.proxy_pieces import LEAST_SECONDS, PIECE_SECONDS, difference
from resources.media import ffmpeg
from resources.media.first_look import MediaProbe
from resources.media.media_probe import probe
from resources.media.proxy_pieces import SmallFrames, WrittenPiece, one_after_another, pieces_of, told_seconds, write_piece
from resources.media.proxy_writer import join_proxy

_SECONDS, _PIECE_SECONDS = 24, 6
_DETECTOR = "transnetv2"
_MACHINES, _CORES = 4, 2
_HOURS = (0.5, 1, 4, 10)
#: Assumed: what a machine moves to or from the bucket in a second, and what a run costs from when it is asked for to its first frame.
_NETWORK_BYTES = 100e6
_RUN_START_SECONDS = 15.0


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = looped_sample(folder, "720", _SECONDS)
        found = probe(source)
        made: dict[str, ProxyPass] = {}
        written: list[WrittenPiece] = []
        short = looped_sample(folder, "720", 2)
        # So libraries are loaded before anything is measured.
        proxy_pass(short, probe(short), folder / "short.mp4", detector=_DETECTOR, called="short")

        def alone() -> None:
            made["alone"] = proxy_pass(source, found, folder / "whole.mp4", detector=_DETECTOR, called=source.name)

        def in_pieces() -> None:
            written.extend(_pieces(source, found, folder))

        def join() -> None:
            made["joined"] = _joined(source, found, written, folder / "joined.mp4")

        whole, pieces, joining = _timed(alone), _timed(in_pieces), _timed(join)
        frames, others = _hashes(folder / "whole.mp4"), _hashes(folder / "joined.mp4")
        differ = sum(one != other for one, other in zip(frames, others, strict=False)) + abs(len(frames) - len(others))
        scores = max(float(np.abs(column - made["joined"].scores[name]).max(initial=0.0)) for name, column in made["alone"].scores.items())
        proxy_bytes = (folder / "joined.mp4").stat().st_size / _SECONDS
        piece_bytes = sum(path.stat().st_size for one in written for path in (one.picture, *one.sides)) / _SECONDS
    how = f"{_SECONDS} s of 1280x720 with sound and {_DETECTOR} scores"
    moved = (2 * piece_bytes + proxy_bytes) / _NETWORK_BYTES

    def in_hours(seconds: float) -> tuple[float, float]:
        """(alone, by several idle machines): each piece is stored by one machine and read by the one that joins them."""
        rounds = -(-seconds // PIECE_SECONDS) / _MACHINES
        encoding = max(rounds, 1.0) * PIECE_SECONDS * (pieces / _SECONDS / _CORES + piece_bytes / _NETWORK_BYTES)
        last_round = PIECE_SECONDS * pieces / _SECONDS / _CORES / 2  # while the last pieces are made, some machines have nothing to do
        split = (
            2 * _RUN_START_SECONDS
            + encoding
            + last_round
            + seconds * (joining / _SECONDS / _CORES + (piece_bytes + proxy_bytes) / _NETWORK_BYTES)
        )
        return seconds * (whole / _SECONDS / _CORES + proxy_bytes / _NETWORK_BYTES), split

    rows = [
        at_most("frames of the joined proxy that differ", differ, "frames", 0, f"of {len(frames)}, by the hash of the decoded picture"),
        at_most("largest difference of a score", scores, "", 0, f"of {len(made['alone'].scores)} columns"),
        Row("proxy in one piece", whole / _SECONDS, "core s per second", note=how),
        Row(f"its {len(written)} pieces, one after the other", pieces / _SECONDS, "core s per second", note="without scores"),
        Row("joining them, with sound and scores", joining / _SECONDS, "core s per second"),
        Row(
            "bytes over the network",
            moved * _NETWORK_BYTES / proxy_bytes,
            "times the proxy",
            note="each piece stored and read, the proxy stored",
        ),
    ]
    for hours in _HOURS:
        one, split = in_hours(hours * 3600)
        by = f"{_MACHINES} idle machines of {_CORES} cores, with 100 MB/s to the bucket"
        note = f"computed: {one / 60:.0f} min alone, {split / 60:.0f} min by {by}"
        rows.append(Row(f"{hours:g} h: time until the proxy is there, against one machine", split / one, "times", note=note))
    lengths = range(60, 36_000, 60)
    pays = next((length for length in lengths if in_hours(length)[1] < in_hours(length)[0]), None)
    note = f"computed, in pieces of {PIECE_SECONDS:.0f} s; used from {LEAST_SECONDS:.0f} s on"
    return [*rows, Row(f"length from which {_MACHINES} idle machines are faster", float(pays or lengths[-1]), "s", note=note)]


def _pieces(source: Path, found: MediaProbe, folder: Path) -> Iterator[WrittenPiece]:
    pieces, why_not = pieces_of(source, found, piece_seconds=_PIECE_SECONDS)
    if why_not is not None:
        raise ValueError(f"the sample cannot be made in pieces: {why_not}")
    sides, streams, made = Seeing(found, _DETECTOR).side_streams, ffmpeg.source_streams(found), []
    for piece in pieces:
        place = folder / f"piece-{piece.number}"
        place.mkdir()
        made.append(write_piece(source, found, streams, piece, place, side_streams=sides))
        yield made[-1]
    if (problem := difference(pieces, [one.made for one in made])) is not None:
        raise ValueError(problem)


def _joined(source: Path, found: MediaProbe, pieces: Sequence[WrittenPiece], path: Path) -> ProxyPass:
    seeing = Seeing(found, _DETECTOR)
    with ThreadPoolExecutor(len(seeing.side_streams)) as pool:
        looking = [
            pool.submit(reader, SmallFrames(_blocks(one.sides[number]) for one in pieces))  # type: ignore[arg-type]
            for number, reader in enumerate(seeing.readers)
        ]
        written = join_proxy(
            source,
            found,
            ffmpeg.source_streams(found),
            path,
            picture=one_after_another(_blocks(one.picture) for one in pieces),
            told_seconds=told_seconds([one.made for one in pieces]),
        )
        for one in looking:
            one.result()
    return finished_pass(source, found, path, written, seeing, called=source.name)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def _hashes(path: Path) -> list[str]:
    command = [ffmpeg.ffmpeg_path(), "-v", "error", "-i", str(path), "-map", "0:v", "-f", "framemd5", "-"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.rpartition(",")[2].strip() for line in lines if not line.startswith("#")]


def _timed(work: Callable[[], object]) -> float:
    """Core seconds, of this process and of ffmpeg: they say more than a clock on a machine where other programs run."""
    began = _core_seconds()
    work()
    return _core_seconds() - began


def _core_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
