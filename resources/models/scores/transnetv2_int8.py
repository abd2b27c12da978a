"""TransNetV2's convolutions as a graph of OpenVINO in 8-bit integers.

A graph takes any number of frames and what each convolution over time needs of the frames before, and gives the same for the next ones: so
each frame is computed once, and the batches do not show in the scores. All sums are of integers, so every processor gives the same scores.

What is rounded how, and which channels are spared, was measured on made films (training/transnetv2_int8): `Rounding`, in a file beside this
one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import ModelUnavailableError
from resources.models.scores.quiet_openvino import openvino, operations
from resources.models.scores.transnetv2_narrow import Narrowing
from resources.models.scores.transnetv2_weights import BLOCKS_OF_A_STACK, STACKS, Branch, blocks_of

if TYPE_CHECKING:
    from openvino import Model, Node

WIDTH, HEIGHT = 48, 27
#: A block gives its frames so much later than it takes them.
LOOK_AHEAD = 8
ROUNDING = Path(__file__).with_name("transnetv2_int8_2.npz")
#: The first inputs of `fc1` are the two comparisons of frames; the others the last pictures, 3 x 6 pixels.
COMPARISONS = 256
_LAST_PICTURE = (3, 6)
_TOP = 1024
#: The arrays of a `Narrowing`.
_NARROWING = tuple(one.name for one in fields(Narrowing))
#: An end that lies behind every last frame.
_ALL = np.iinfo(np.int64).max

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Rounding:
    """How the values between the layers become bytes, and between which convolutions there are fewer of them.

    greatest: of a place, the value that becomes 127 or 255; larger ones are cut off. scales: of a place, (channels,): each channel is
    divided by its own before it is rounded, and the next layer's weights are multiplied by it, so that all channels use the whole range.
    narrowings: of a place between a branch's two convolutions. The empty Rounding leaves the network as it is.
    """

    greatest: Mapping[str, float] = field(default_factory=dict)
    scales: Arrays = field(default_factory=dict)
    narrowings: Mapping[str, Narrowing] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path = ROUNDING) -> Rounding:
        """Raises ModelUnavailableError when the file cannot be read."""
        try:
            with np.load(path) as file:
                of_kind: dict[str, dict[str, NDArray[Any]]] = defaultdict(dict)
                for name in file.files:
                    kind, _, place = name.partition("/")
                    of_kind[kind][place] = file[name]
                greatest = {place: float(value) for place, value in of_kind["greatest"].items()}
                parts = zip(*(of_kind[kind].values() for kind in _NARROWING), strict=True)
                narrowings = {place: Narrowing(*each) for place, each in zip(of_kind[_NARROWING[0]], parts, strict=True)}
                return cls(greatest, of_kind["scales"], narrowings)
        except (OSError, ValueError, KeyError) as error:
            raise ModelUnavailableError(f"{path} cannot be read ({error}); install Heaters again") from error

    def save(self, path: Path) -> None:
        arrays: dict[str, Any] = {f"greatest/{place}": np.float32(value) for place, value in self.greatest.items()}
        arrays |= {f"scales/{place}": scale for place, scale in self.scales.items()}
        for place, one in self.narrowings.items():
            arrays |= {f"{kind}/{place}": getattr(one, kind) for kind in _NARROWING}
        np.savez_compressed(path, **arrays)


def prepared(arrays: Arrays, rounding: Rounding) -> tuple[list[list[Branch]], dict[str, NDArray[np.float32]]]:
    """The network with other units between its layers, and narrower: its blocks, and the arrays of its last layers."""
    last, scales, narrowings = dict(arrays), rounding.scales, rounding.narrowings
    blocks = [
        [narrowings[name].of(one) if (name := seen_name(number, place)) in narrowings else one for place, one in enumerate(block)]
        for number, block in enumerate(blocks_of(arrays))
    ]
    inside = [[scales.get(seen_name(number, place)) for place in range(4)] for number in range(len(blocks))]
    blocks = [
        [branch if scale is None else _inside(branch, scale) for branch, scale in zip(block, scale_of, strict=True)]
        for block, scale_of in zip(blocks, inside, strict=True)
    ]
    looks = last["frame_sim_layer.projection.weight"].copy()
    top = last["fc1.weight"].copy()
    begin = 0
    for stack in range(STACKS):
        end = begin + 4 * len(blocks[BLOCKS_OF_A_STACK * stack][0].bias)
        scale = scales.get(f"stack{stack}")
        if scale is not None:
            first = BLOCKS_OF_A_STACK * stack
            for number in (first, first + 1):
                blocks[number] = [_gives(one, part) for one, part in zip(blocks[number], np.split(scale, 4), strict=True)]
            for number in range(first + 1, min(first + 3, len(blocks))):
                blocks[number] = [replace(one, over_picture=one.over_picture * scale[:, None, None, None]) for one in blocks[number]]
            looks[:, begin:end] *= scale
            if stack == STACKS - 1:
                top[:, COMPARISONS:] *= np.tile(scale, _LAST_PICTURE[0] * _LAST_PICTURE[1])
        begin = end
    return blocks, {**last, "frame_sim_layer.projection.weight": looks, "fc1.weight": top}


def _inside(branch: Branch, scale: NDArray[np.float32]) -> Branch:
    return replace(
        branch,
        over_picture=branch.over_picture / scale[:, None, None, None, None],
        over_time=branch.over_time * scale[:, None, None, None],
    )


def _gives(branch: Branch, scale: NDArray[np.float32]) -> Branch:
    return replace(branch, over_time=branch.over_time / scale[:, None, None, None, None], bias=branch.bias / scale)


def graph(blocks: Sequence[Sequence[Branch]], last: Arrays, greatest: Mapping[str, float], *, watched: bool = False) -> Model:
    """greatest empty: nothing is rounded. watched: with one more output for each place that could be, `at.PLACE`.

    Inputs by friendly name: `pixels` (n, 27, 48, 3) uint8 and states (1, channels, frames, h, w). Outputs: `top` (n, 1024), what the
    last pictures add to the first full layer; `mean0` to `mean2` (1, c, n), the means of the stacks; and the states by the names of their
    inputs.
    """
    return _Graph(greatest, watched).built(blocks, last)


def past_name(block: int, branch: int) -> str:
    """The state of a convolution over time."""
    return f"past{block}.{branch}"


def short_name(stack: int) -> str:
    """The state of a stack's short cut past its second block."""
    return f"short{stack}"


def seen_name(block: int, branch: int) -> str:
    """The place between a branch's two convolutions."""
    return f"seen{block}.{branch}"


def rounded_weights(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(levels -127..127, a factor for each channel that comes out)."""
    factors = np.maximum(np.abs(weights).max(tuple(range(1, weights.ndim)), keepdims=True), np.float32(1e-8)) / np.float32(127)
    return np.rint(weights / factors).astype(np.int8), factors


class _Graph:
    def __init__(self, greatest: Mapping[str, float], watched: bool) -> None:
        self._openvino, self._ops = openvino(), operations()
        self._greatest, self._watched = greatest, watched
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def built(self, blocks: Sequence[Sequence[Branch]], last: Arrays) -> Model:
        ops = self._ops
        pixels = self._input("pixels", (-1, HEIGHT, WIDTH, 3), self._openvino.Type.u8)
        x = ops.convert(ops.unsqueeze(ops.transpose(pixels, np.array([3, 0, 1, 2])), np.int64(0)), self._openvino.Type.f32)
        for stack in range(STACKS):
            first = BLOCKS_OF_A_STACK * stack
            inner = self._rounded(f"x{first + 1}", ops.concat(self._block(first, x, blocks[first]), 1))
            outer = self._small(f"sum{stack}", self._block(first + 1, inner, blocks[first + 1]))
            small = self._pooled(inner)
            rows = ops.concat([self._state(short_name(stack), small, LOOK_AHEAD), small], 2)
            self._output(short_name(stack), self._frames(rows, begin=-LOOK_AHEAD))
            x = ops.add(outer, self._frames(rows, end=-LOOK_AHEAD))
            self._output(f"mean{stack}", ops.reduce_mean(x, np.array([3, 4]), keep_dims=False))
        self._output("top", self._top(self._rounded(f"x{len(blocks)}", x), last["fc1.weight"][:, COMPARISONS:]))
        return self._openvino.Model(self._outputs, self._inputs, "transnetv2")

    def _block(self, number: int, x: Node, branches: Sequence[Branch]) -> list[Node]:
        """(1, c, n, h, w) -> of each branch (1, f, n, h, w), rectified, 8 frames behind."""
        ops = self._ops
        x = self._rounded(f"x{number}", x)
        given = []
        for place, branch in enumerate(branches):
            name, held = seen_name(number, place), branch.dilation + LOOK_AHEAD
            seen = self._rounded(name, self._convolved(x, branch.over_picture, margin=1), signed=True)
            past = self._state(past_name(number, place), seen, held)
            rows = ops.concat([self._rounded(name, past, signed=True, watched=False), seen], 2)
            self._output(past_name(number, place), self._frames(rows, begin=-held))
            used = self._frames(rows, end=branch.dilation - LOOK_AHEAD)
            summed = self._convolved(used, branch.over_time, dilation=branch.dilation)
            given.append(ops.relu(ops.add(summed, ops.constant(branch.bias.reshape(1, -1, 1, 1, 1)))))
        return given

    def _small(self, place: str, parts: list[Node]) -> Node:
        """The parts put together after they are made smaller: so only a quarter of the values is copied."""
        if self._watched:
            self._output(f"at.{place}", self._ops.concat(parts, 1))
        return self._ops.concat([self._pooled(self._rounded(place, part, watched=False)) for part in parts], 1)

    def _top(self, x: Node, weights: NDArray[np.float32]) -> Node:
        """(1, c, n, 3, 6) -> (n, 1024). As one product of matrices; a convolution takes twice its time."""
        pictures = self._ops.reshape(self._ops.transpose(x, np.array([0, 2, 3, 4, 1])), np.array([-1, weights.shape[1]]), False)
        return self._ops.matmul(pictures, self._weights(weights), False, True)

    def _convolved(self, x: Node, weights: NDArray[np.float32], *, margin: int = 0, dilation: int = 1) -> Node:
        padding = [0, margin, margin]
        return self._ops.convolution(x, self._weights(weights), [1, 1, 1], padding, padding, [dilation, 1, 1])

    def _weights(self, weights: NDArray[np.float32]) -> Node:
        ops = self._ops
        if not self._greatest:
            return ops.constant(np.ascontiguousarray(weights))
        levels, factors = rounded_weights(weights)
        return ops.multiply(ops.convert(ops.constant(levels), self._openvino.Type.f32), ops.constant(factors))

    def _rounded(self, place: str, x: Node, *, signed: bool = False, watched: bool = True) -> Node:
        if self._watched and watched:
            self._output(f"at.{place}", x)
        if place not in self._greatest:
            return x
        high = np.float32(self._greatest[place])
        low = -high * np.float32(128 / 127) if signed else np.float32(0)
        bounds = [self._ops.constant(np.array(value, np.float32)) for value in (low, high)]
        return self._ops.fake_quantize(x, *bounds, *bounds, 256)

    def _pooled(self, x: Node) -> Node:
        return self._ops.avg_pool(x, [1, 2, 2], [0, 0, 0], [0, 0, 0], [1, 2, 2], True)

    def _frames(self, rows: Node, *, begin: int = 0, end: int = 0) -> Node:
        """begin, end: below 0 counted from the last frame; 0: the first one, and the one after the last."""
        if begin == end == 0:
            return rows
        return self._ops.slice(rows, *(np.array([value]) for value in (begin, end or _ALL, 1, 2)))

    def _state(self, name: str, like: Node, frames: int) -> Node:
        _, channels, _, height, width = like.get_output_partial_shape(0)
        return self._input(name, (1, channels.get_length(), frames, height.get_length(), width.get_length()))

    def _input(self, name: str, shape: tuple[int, ...], kind: Any = np.float32) -> Node:
        node = self._ops.parameter(list(shape), kind, name=name)
        self._inputs.append(node)
        return node

    def _output(self, name: str, node: Node) -> None:
        result = self._ops.result(node.output(0))
        result.set_friendly_name(name)
        self._outputs.append(result)
