"""What the real stages make of the files of the matrix, and what an ffmpeg that is asked by hand says of the results.

ffmpeg needs longer to start than to decode so small a file: so files are made, and their frames hashed, for several rows at once.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from assets.proxy_pass import ProxyPass, proxy_pass
from heaters_dagster.domain.errors import HeatersError
from resources.media.first_look import MediaProbe
from resources.media.gold_masters import GoldMasterFile, write_gold_master
from resources.media.media_probe import probe
from resources.media.remuxer import ProxyReader, remux
from tests.media.matrix_recipes import Encoded, Recording
from tests.media.matrix_row import Row

_TOGETHER = 8


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of a file, as ffmpeg decodes them. seconds: (n,) by the file's clock. hashes: of each as it is stored."""

    seconds: NDArray[np.float64]
    hashes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What the stages made of a row's file. clip: an export of frames `[start, end)`. refusal: why there is no gold master.

    frames: of `original`, `proxy`, `clip` and `master`, by these names.
    """

    row: Row
    original: Path
    found: MediaProbe
    proxy: Path
    passed: ProxyPass
    clip: Path
    start: int
    end: int
    master: Path
    archived: GoldMasterFile | None
    refusal: HeatersError | None
    frames: dict[str, Frames] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        return [*self.found.notes, *self.passed.warnings, *(self.archived.warnings if self.archived else ())]


class Matrix:
    """The files of rows, and what became of them: both made when they are first asked for, with those of the row's neighbours.

    rows: those that will be asked for.
    """

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        self._folder = folder
        self._rows = [row for row in rows if not row.refused]
        self._recording = Recording(folder)
        self._made: dict[str, Made | Exception] = {}

    def original(self, row: Row) -> Path:
        self._encode([row])
        path = self._path(row)
        return path if isinstance(row.recipe, Encoded) else row.recipe(self._recording, path)

    def made(self, row: Row) -> Made:
        """Raises the error of the stage that failed."""
        if row.name not in self._made:
            self._make(self._neighbours(row))
        made = self._made[row.name]
        if isinstance(made, Exception):
            raise made
        return made

    def _neighbours(self, row: Row) -> list[Row]:
        number = self._rows.index(row)
        return self._rows[number - number % _TOGETHER :][:_TOGETHER]

    def _make(self, rows: Sequence[Row]) -> None:
        try:
            self._encode(rows)
        except RuntimeError as error:  # the options of one of them are wrong: each alone says which
            for row in rows if len(rows) > 1 else ():
                self._make([row])
            self._made.setdefault(rows[0].name, error)
            return
        for row in rows:
            path = self._path(row)
            try:
                self._made[row.name] = _staged(row, path if isinstance(row.recipe, Encoded) else row.recipe(self._recording, path))
            except Exception as error:
                self._made[row.name] = error
        staged = [made for row in rows if isinstance(made := self._made[row.name], Made)]
        try:
            _hash(staged)
        except RuntimeError:
            for made in staged:
                try:
                    _hash([made])
                except RuntimeError as error:
                    self._made[made.row.name] = error

    def _encode(self, rows: Sequence[Row]) -> None:
        wanted = [(row.recipe, self._path(row)) for row in rows if isinstance(row.recipe, Encoded)]
        if wanted:
            self._recording.encoded(wanted)

    def _path(self, row: Row) -> Path:
        folder = self._folder / re.sub(r"\W+", "-", row.name)
        folder.mkdir(exist_ok=True)
        return folder / row.file


def _staged(row: Row, original: Path) -> Made:
    folder = original.parent
    found, proxy, clip, master = probe(original), folder / "proxy.mp4", folder / "clip.mp4", folder / "master.mkv"
    passed = proxy_pass(original, found, proxy, detector="content", called=row.name)
    archived, refusal = None, None
    try:
        archived = write_gold_master(original, found, master, called=row.name)
    except HeatersError as error:
        refusal = error
    count = len(passed.index)
    start, end = count // 4, max(1, count * 3 // 4)
    with ProxyReader(proxy) as reader:
        remux(reader, passed.index, start_frame=start, end_frame=end, path=clip, title="a clip")
    return Made(
        row=row,
        original=original,
        found=found,
        proxy=proxy,
        passed=passed,
        clip=clip,
        start=start,
        end=end,
        master=master,
        archived=archived,
        refusal=refusal,
    )


def _hash(rows: Sequence[Made]) -> None:
    """By one ffmpeg. Raises RuntimeError with what ffmpeg says."""
    before: list[str] = []
    after: list[str] = []
    results: list[tuple[dict[str, Frames], str, Path]] = []
    for made in rows:
        files = {"proxy": made.proxy, "clip": made.clip}
        files |= {"original": made.original, "master": made.master} if made.archived else {}
        for name, path in files.items():
            as_stored = name in {"original", "master"} and made.row.compared_as
            layout = ["-pix_fmt", made.row.compared_as] if as_stored else []
            decoder = ["-c:v", made.row.decoder] if name == "original" and made.row.decoder else []
            before += [*decoder, "-threads", "1", "-noautorotate", "-i", str(path)]
            told = made.proxy.with_name(f"{name}.hashes")
            keep = ["-fps_mode", "passthrough", "-enc_time_base:v", "demux", *layout]
            after += ["-map", f"{len(results)}:V:0", *keep, "-f", "framehash", "-hash", "md5", str(told)]
            results.append((made.frames, name, told))
    if not results:
        return
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", "-copyts", *before, *after]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    for frames, name, told in results:
        frames[name] = _told(told)


def _told(path: Path) -> Frames:
    """What the framehash muxer writes: the time base in a comment, then stream, dts, pts, duration, size and hash of each frame."""
    lines = path.read_text().splitlines()
    (unit,) = (Fraction(line.split()[-1]) for line in lines if line.startswith("#tb 0:"))
    rows = [[word.strip() for word in line.split(",")] for line in lines if line[0] != "#"]
    return Frames(np.array([float(int(row[2]) * unit) for row in rows]), [row[5] for row in rows])
