"""Networks as ONNX files: a detector for each is a file of its own that says what goes in, what comes out, and where the file lies.

ONNX, because such a file is data. Checkpoints of PyTorch are programs, which run when they are loaded, and need the network's own code.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.detector import Boundary, Detector, Scores, ScoreStream
from heaters_dagster.domain.errors import ModelUnavailableError
from heaters_dagster.domain.network_outputs import COLUMNS, Reader, network_boundaries
from heaters_dagster.settings import load_settings
from resources.models.hub import first_line, hub_file, hub_host

_INSTALL = "ONNX Runtime is not installed: .venv/bin/python -m pip install 'heaters[networks]'"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedNetwork:
    """One network.

    name: of its detector. file: name of its ONNX file. sha256: hex, of that file; another file is refused, and the scores that are stored
    belong to it. licence, source: of the weights, and where people find out about them.
    repository, revision: at the model hub, from which the file is fetched when it is not in HEATERS_NETWORKS; None: it must lie there.
    width, height: of the pictures that it wants. window_frames: how many at once. overlap_frames: shared by neighbouring windows; at either
    side half of them have too little around them for a good score.
    layout: order of the input's axes: N is 1, T frames, C red, green and blue. mean, scale: of 0..255; it gets (picture - mean) / scale.
    reader: what its outputs mean. default_threshold: 0..1.
    """

    name: str
    file: str
    sha256: str
    licence: str
    source: str
    reader: Reader
    width: int
    height: int
    window_frames: int
    overlap_frames: int
    repository: str | None = None
    revision: str = "main"
    layout: Literal["NTHWC", "NTCHW", "NCTHW"] = "NTHWC"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    default_threshold: float = 0.5

    @property
    def columns(self) -> tuple[str, ...]:
        """Other weights are other columns, because they score differently."""
        return tuple(f"{self.name}_{self.sha256[:8]}_{column}" for column in COLUMNS)


def network_detector(network: ExportedNetwork) -> Detector:
    """The detector of a network; nothing is read or loaded before it is used."""

    def open_streams(*, width: int, height: int) -> tuple[ScoreStream, ...]:
        return (NetworkScores(network),)

    def found(scores: Scores, threshold: float) -> tuple[Boundary, ...]:
        cut, part, kind = (scores[name] for name in network.columns)
        return network_boundaries(cut, part, kind, threshold)

    def state() -> str:
        try:
            providers = loaded(network).get_providers()
        except ModelUnavailableError as error:
            raise ImportError(str(error)) from error
        device = "a graphics card" if any("CUDA" in one or "TensorRT" in one for one in providers) else "the processor"
        return f"{network.name} on {device}; its weights: {network.licence}, {network.source}"

    return Detector(
        name=network.name,
        columns=network.columns,
        default_threshold=network.default_threshold,
        most_threshold=1.0,
        open_streams=open_streams,
        boundaries=found,
        curve=lambda scores: np.maximum(scores[network.columns[0]], scores[network.columns[1]]),
        state=state,
    )


class NetworkScores:
    """A ScoreStream that runs a network over windows at fixed places, so scores do not depend on how frames arrive. Holds one window."""

    pixel_format = "rgb24"
    scale_flags = "bicubic"

    def __init__(self, network: ExportedNetwork) -> None:
        self.name = network.name
        self.frame_size = network.width, network.height
        self._network = network
        self._held: list[NDArray[np.uint8]] = []
        self._start = 0
        self._first = 0
        self._columns: list[NDArray[np.float32]] = []

    def feed(self, frames: NDArray[np.uint8]) -> None:
        window, overlap = self._network.window_frames, self._network.overlap_frames
        for frame in frames:
            # One more frame than a window: the last window is another one, and only now it is sure that this is not the last.
            if len(self._held) == window:
                self._score(stop=self._start + window - (overlap - overlap // 2))
                self._held = self._held[window - overlap :]
                self._start += window - overlap
            self._held.append(frame.copy())

    def finish(self) -> Mapping[str, NDArray[np.float32]]:
        if self._held:
            self._score(stop=self._start + len(self._held))
        rows = np.concatenate(self._columns) if self._columns else np.zeros((0, len(COLUMNS)), np.float32)
        return {name: rows[:, place].copy() for place, name in enumerate(self._network.columns)}

    def _score(self, *, stop: int) -> None:
        """The columns of the frames from where the last window ended to `stop`."""
        network, frames = self._network, len(self._held)
        # At the end the last frame is repeated: black frames would be a cut.
        pictures = np.stack(self._held + [self._held[-1]] * (network.window_frames - frames))
        rows = _columns(network, pictures, frames)
        self._columns.append(rows[self._first - self._start : stop - self._start])
        self._first = stop


def _columns(network: ExportedNetwork, pictures: NDArray[np.uint8], frames: int) -> NDArray[np.float32]:
    """pictures: (window, height, width, 3), of which the first `frames` count; (frames, 3).

    Raises ModelUnavailableError when the network cannot take them, or says something else than its detector reads.
    """
    values = (pictures.astype(np.float32) - np.array(network.mean, np.float32)) / np.array(network.scale, np.float32)
    given = np.ascontiguousarray(values.transpose(["THWC".index(axis) for axis in network.layout[1:]]))[None]
    session, names = loaded(network), network.reader.names
    try:
        said = session.run(list(names), {session.get_inputs()[0].name: given})
        return network.reader.read({name: np.asarray(one, np.float32)[0] for name, one in zip(names, said, strict=True)}, frames)
    except Exception as error:
        raise ModelUnavailableError(f"the network {network.name} cannot be run as its detector says: {first_line(error)}") from error


@lru_cache(maxsize=2)
def loaded(network: ExportedNetwork) -> Any:
    """An ONNX Runtime session, one for each process. Raises ModelUnavailableError with what to do."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise ModelUnavailableError(_INSTALL)
    import onnxruntime

    settings = load_settings()
    path = weights_of(network, settings.networks or settings.home / "networks")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    wanted = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
    except Exception as error:
        raise ModelUnavailableError(f"the network in {path} cannot be loaded: {first_line(error)}") from error
    lacking = set(network.reader.names) - {one.name for one in session.get_outputs()}
    if lacking:
        given = ", ".join(one.name for one in session.get_outputs())
        raise ModelUnavailableError(f"the network in {path} has no output {', '.join(sorted(lacking))}; it has {given}")
    return session


def weights_of(network: ExportedNetwork, folder: Path) -> Path:
    """The ONNX file, with the checksum that is declared: in `folder`, else in the cache of the model hub, else fetched from there."""
    path = folder / network.file
    if not path.is_file():
        fetched = None if network.repository is None else hub_file(network.repository, network.revision, network.file)
        if fetched is None:
            unreachable = f", and {hub_host()} cannot be reached to fetch it from {network.repository}" if network.repository else ""
            raise ModelUnavailableError(
                f"The network {network.name} needs the file {network.file}. It is not in {folder}{unreachable}. Put it there "
                f"({network.source}), or set HEATERS_NETWORKS to the folder that it is in. Then type: heaters retry."
            )
        path = fetched
    found = _sha256(path)
    if found != network.sha256:
        raise ModelUnavailableError(
            f"{path} is not the network {network.name}: its SHA-256 is {found}, not {network.sha256}. Put the right file there"
        )
    return path


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
