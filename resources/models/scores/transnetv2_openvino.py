"""Runs TransNetV2 in 8-bit integers over a stream, by OpenVINO: every frame computed once, as in `transnetv2_network`, and without torch.

The convolutions are in the graph (`transnetv2_int8`); what compares frames with their neighbours, and the last small layers, are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resources.models.scores.quiet_openvino import openvino
from resources.models.scores.transnetv2_int8 import COMPARISONS, HEIGHT, LOOK_AHEAD, WIDTH, Rounding, graph, prepared
from resources.models.scores.transnetv2_steady import Steady, SteadyStates
from resources.models.scores.transnetv2_weights import BLOCKS_OF_A_STACK, STACKS, load_arrays, weights_file

if TYPE_CHECKING:
    from openvino import CompiledModel, Model

_COMPARED = 50
_LOOKS, _COLOURS = 128, 512
#: What comes after the convolutions.
_SMALL_LAYERS = frozenset({"color_hist_layer", "frame_sim_layer", "fc1", "cls_layer1", "cls_layer2"})
#: As in the package, the first frame is repeated before the video, and the last one after it.
_PADDING = 25
#: Frames that a score needs of either side in the convolutions: repeated ones too, where the package has zeros before and after a window.
_REACH = STACKS * BLOCKS_OF_A_STACK * LOOK_AHEAD
#: More at once are not computed faster.
BATCH_FRAMES = 128

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """The compiled convolutions, and the arrays of the small layers after them. It may be shared by many streams, one after another or at
    once.
    """

    compiled: CompiledModel
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    last: Mapping[str, NDArray[np.float32]]
    steady: SteadyStates


def load_network() -> Network:
    """Raises ImportError without OpenVINO, ModelUnavailableError without the weights."""
    rounding = Rounding.load()
    blocks, last = prepared(load_arrays(weights_file()), rounding)
    return compiled(graph(blocks, last, rounding.greatest), last, SteadyStates(blocks, rounding.greatest))


def compiled(model: Model, last: Mapping[str, NDArray[np.float32]], steady: SteadyStates) -> Network:
    # float32 where nothing is rounded: bfloat16 is not much faster and is not there on every processor, so scores would differ.
    # Threads are not pinned to processors: ffmpeg, and other videos, run on the same ones.
    wanted = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    inputs, outputs = ([node.get_friendly_name() for node in nodes] for nodes in (model.get_parameters(), model.get_results()))
    # The graph has its own copy of all the others.
    small = {name: array for name, array in last.items() if name.partition(".")[0] in _SMALL_LAYERS}
    small["fc1.weight"] = small["fc1.weight"][:, :COMPARISONS].copy()
    return Network(openvino().Core().compile_model(model, "CPU", wanted), tuple(inputs), tuple(outputs), small, steady)


class StreamingInt8:
    """Runs the network on one video. Push frames in order, then finish."""

    def __init__(self, network: Network) -> None:
        self._layers = network.last
        self._steady = network.steady
        self._convolutions = Convolutions(network)
        self._waiting = np.zeros((0, HEIGHT, WIDTH, 3), np.uint8)
        self._last: NDArray[np.uint8] | None = None
        self._pushed, self._answered = 0, 0
        self._means = [_Queue() for _ in range(STACKS)]
        self._tops = _Queue()
        self._tops.leave_out(_REACH)
        self._looks, self._colours = _Queue(), _Queue()
        # Before the repeated frames there is nothing to compare with.
        self._looks.add(np.zeros((_COMPARED - _PADDING, _LOOKS), np.float32))
        self._colours.add(np.zeros((_COMPARED - _PADDING, _COLOURS), np.float32))

    def push(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """frames: (n, 27, 48, 3) uint8 RGB, n >= 1. Returns the scores known by now, (m, 2), as `StreamingTransNetV2`."""
        if self._last is None:
            self._begin(frames[0])
        self._pushed += len(frames)
        self._last = frames[-1:].copy()
        self._colours.add(colour_histograms(frames))
        self._see(frames)
        return self._answers()

    def finish(self, *, batch_frames: int = BATCH_FRAMES) -> NDArray[np.float32]:
        """The scores of the frames that were held back."""
        if self._last is None:
            return np.zeros((0, 2), np.float32)
        left = self._pushed - self._answered
        self._colours.add(colour_histograms(np.repeat(self._last, _PADDING, axis=0)))
        self._see(np.repeat(self._last, _PADDING + _REACH, axis=0), all_of_them=True)
        for queue, size in ((self._looks, _LOOKS), (self._colours, _COLOURS)):
            queue.add(np.zeros((_COMPARED, size), np.float32))
        return self._answers()[:left]

    def _begin(self, first: NDArray[np.uint8]) -> None:
        """As if the first frame had always been there. A stack gives its frames so much later as its blocks look ahead."""
        steady = self._steady.of(first)
        self._convolutions.begin_with(steady)
        self._colours.add(colour_histograms(np.repeat(first[None], _PADDING, axis=0)))
        for stack, (queue, mean) in enumerate(zip(self._means, steady.means, strict=True)):
            late = (stack + 1) * BLOCKS_OF_A_STACK * LOOK_AHEAD
            queue.add(np.repeat(mean[None], max(0, _PADDING - late), axis=0))
            queue.leave_out(max(0, late - _PADDING))

    def _see(self, frames: NDArray[np.uint8], *, all_of_them: bool = False) -> None:
        """The convolutions. Frames wait until a batch is full, except at the end of the video."""
        waiting = np.concatenate([self._waiting, frames])
        while len(waiting) >= (1 if all_of_them else BATCH_FRAMES):
            top, means = self._convolutions.run(waiting[:BATCH_FRAMES])
            waiting = waiting[BATCH_FRAMES:]
            self._tops.add(top)
            for queue, rows in zip(self._means, means, strict=True):
                queue.add(rows)
            if count := min(map(len, self._means)):
                found = self._layer("frame_sim_layer.projection", np.concatenate([queue.take(count) for queue in self._means], 1))
                self._looks.add(_of_norm_1(found))
        self._waiting = waiting.copy()

    def _answers(self) -> NDArray[np.float32]:
        """Scores of the frames whose neighbours have all come."""
        count = min(len(self._looks) - 2 * _COMPARED, len(self._colours) - 2 * _COMPARED, len(self._tops))
        if count <= 0:
            return np.zeros((0, 2), np.float32)
        alike = [
            np.maximum(self._layer(f"{layer}.fc", _likeness(queue, count)), 0)
            for layer, queue in (("color_hist_layer", self._colours), ("frame_sim_layer", self._looks))
        ]
        x = np.maximum(self._layer("fc1", np.concatenate(alike, 1)) + self._tops.take(count), 0)
        logits = np.concatenate([self._layer(head, x) for head in ("cls_layer1", "cls_layer2")], 1)
        self._answered += count
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)

    def _layer(self, name: str, x: Rows) -> Rows:
        return np.asarray(x @ self._layers[f"{name}.weight"].T + self._layers[f"{name}.bias"])


class Convolutions:
    """The graph on one video, with what it remembers from batch to batch: two sets of states, read and written in turn."""

    def __init__(self, network: Network) -> None:
        self._request: Any = network.compiled.create_infer_request()
        self._names = network.inputs
        self._outputs = {name: place for place, name in enumerate(network.outputs)}
        self._states = [(place, self._outputs[name]) for place, name in enumerate(network.inputs) if name in self._outputs]
        self._pixels = network.inputs.index("pixels")
        shapes = [list(network.compiled.inputs[place].shape) for place, _ in self._states]
        self._before, self._after = ([openvino().Tensor(np.zeros(shape, np.float32)) for shape in shapes] for _ in range(2))

    def begin_with(self, steady: Steady) -> None:
        """Without it the states are zeros."""
        for (place, _), before in zip(self._states, self._before, strict=True):
            before.data[...] = steady.states[self._names[place]]

    def run(self, frames: NDArray[np.uint8]) -> tuple[Rows, list[Rows]]:
        """frames: (n, 27, 48, 3), n >= 1. Returns (n, 1024) and, for each stack, (n, channels)."""
        request = self._request
        request.set_input_tensor(self._pixels, openvino().Tensor(np.ascontiguousarray(frames)))
        for (place, out), before, after in zip(self._states, self._before, self._after, strict=True):
            request.set_input_tensor(place, before)
            request.set_output_tensor(out, after)
        request.infer()
        self._before, self._after = self._after, self._before
        top, *means = (request.get_output_tensor(self._outputs[name]).data for name in ("top", "mean0", "mean1", "mean2"))
        return top.copy(), [mean[0].T.copy() for mean in means]

    def watched(self) -> dict[str, Rows]:
        """Of a watched graph: place -> (1, channels, n, h, w), the values of the last run."""
        named = ((name.partition("at."), place) for name, place in self._outputs.items())
        return {name: self._request.get_output_tensor(place).data for (_, at, name), place in named if at}


class _Queue:
    """Rows that wait for rows that are computed later."""

    def __init__(self) -> None:
        self._without = 0
        self._rows: Rows = np.zeros((0, 0), np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Rows) -> None:
        rows, self._without = rows[self._without :], max(0, self._without - len(rows))
        self._rows = np.concatenate([self._rows, rows]) if len(self._rows) else rows

    def leave_out(self, count: int) -> None:
        """The next rows that come."""
        self._without += count

    def first(self, count: int) -> Rows:
        return self._rows[:count]

    def take(self, count: int) -> Rows:
        taken, self._rows = self._rows[:count], self._rows[count:].copy()
        return taken


def _likeness(queue: _Queue, count: int) -> Rows:
    """Take `count` unit vectors off the queue: (count, 101) cosines of the vector 50 places on with those 0 to 100 places on."""
    rows = queue.first(count + 2 * _COMPARED)
    products = rows[_COMPARED : _COMPARED + count] @ rows.T
    queue.take(count)
    row, column = products.strides
    return np.lib.stride_tricks.as_strided(products, (count, 2 * _COMPARED + 1), (row + column, column)).copy()


def colour_histograms(frames: NDArray[np.uint8]) -> Rows:
    """(n, h, w, 3) uint8 -> (n, 512) float32 of norm 1: how often each of 8 x 8 x 8 colours occurs."""
    levels = (frames >> 5).astype(np.int32)
    colours = ((levels[..., 0] << 6) + (levels[..., 1] << 3) + levels[..., 2]).reshape(len(frames), -1)
    places = colours + _COLOURS * np.arange(len(frames), dtype=np.int32)[:, None]
    counts = np.bincount(places.ravel(), minlength=_COLOURS * len(frames)).reshape(len(frames), _COLOURS)
    return _of_norm_1(counts.astype(np.float32))


def _of_norm_1(rows: Rows) -> Rows:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12)))
