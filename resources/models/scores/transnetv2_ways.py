"""Which way this machine runs TransNetV2: PyTorch on a GPU, OpenVINO in bytes, or PyTorch on the processors.

Decided by what the machine has, not by measuring: the same machine must always give the same scores. PyTorch is imported only by its own
ways, because that takes seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from resources.files.memory import release_freed_memory
from resources.models.scores.quiet_openvino import openvino

SMALLEST_BATCH_FRAMES = 32
_GPU_BATCH_FRAMES = 256
#: Instructions that add up products of bytes without loss. Without them sums of two products are cut off at 16 bits, and scores are wrong.
_BYTE_INSTRUCTIONS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
#: What the drivers of graphics cards make: NVIDIA's, NVIDIA's in Windows' Linux, AMD's.
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


class Way(StrEnum):
    GPU = "gpu"
    BYTES = "bytes"
    PROCESSORS = "processors"


class StreamingNetwork(Protocol):
    def push(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]: ...

    def finish(self, *, batch_frames: int) -> NDArray[np.float32]: ...


OpenNetwork: TypeAlias = Callable[[], tuple[StreamingNetwork, int]]
"""Begins a video: its network, and how many frames it takes at once."""


def chosen_way() -> Way:
    if _may_have_gpu():
        import torch

        if torch.cuda.is_available():
            return Way.GPU
    return Way.BYTES if has_byte_instructions() and has_openvino() else Way.PROCESSORS


@lru_cache(maxsize=3)
def load_network(*, float32: bool = False, way: Way | None = None) -> OpenNetwork:
    """float32: with PyTorch and without any rounding. way: None for that of this machine. Raises ModelUnavailableError."""
    way = way or chosen_way()
    if way is Way.BYTES and not float32:
        from resources.models.scores.transnetv2_openvino import BATCH_FRAMES, StreamingInt8
        from resources.models.scores.transnetv2_openvino import load_network as load_bytes

        network = load_bytes()
        release_freed_memory()  # of what it was made from
        return lambda: (StreamingInt8(network), BATCH_FRAMES)
    return _torch_network(way, float32=float32)


def has_openvino() -> bool:
    try:
        openvino()
    except ImportError:
        return False
    return True


def has_byte_instructions() -> bool:
    """As Linux says; no other system runs Heaters on such a processor."""
    try:
        flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        return False
    return not _BYTE_INSTRUCTIONS.isdisjoint(flags.split())


def _torch_network(way: Way, *, float32: bool) -> OpenNetwork:
    import torch

    from resources.models.scores.transnetv2_network import StreamingTransNetV2, load_weights

    if way is Way.GPU:
        weights = load_weights(torch.device("cuda"), torch.float32)
        return lambda: (StreamingTransNetV2(weights), _GPU_BATCH_FRAMES)
    able = torch.cpu.get_capabilities()
    fast = any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    weights = load_weights(torch.device("cpu"), torch.bfloat16 if fast and not float32 else torch.float32)
    return lambda: (StreamingTransNetV2(weights), SMALLEST_BATCH_FRAMES)


def _may_have_gpu() -> bool:
    """Without asking PyTorch: a build for processors never has one, and a driver on Linux shows itself in /dev."""
    try:
        if version("torch").endswith("+cpu"):
            return False
    except PackageNotFoundError:
        return False
    return sys.platform != "linux" or any(Path(device).exists() for device in _GPU_DEVICES)
