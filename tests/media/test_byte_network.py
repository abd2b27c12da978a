"""TransNetV2 in 8-bit integers against the same network in torch and float32, on real footage; and which way a machine takes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain import scenes
from heaters_dagster.domain.detector import ScoreStream
from heaters_dagster.domain.errors import ModelUnavailableError
from heaters_dagster.domain.profiles import scene_scores
from heaters_dagster.registries import DETECTORS
from heaters_dagster.settings import PROJECT_ROOT
from resources.media.ffmpeg import run
from resources.media.side_streams import ScorePass
from resources.models.scores import transnetv2_ways
from resources.models.scores.transnetv2 import TransNetV2Scores
from resources.models.scores.transnetv2_int8 import Rounding, graph, prepared
from resources.models.scores.transnetv2_narrow import narrowing_of
from resources.models.scores.transnetv2_openvino import Convolutions, Network, StreamingInt8, compiled, load_network
from resources.models.scores.transnetv2_steady import SteadyStates
from resources.models.scores.transnetv2_weights import Branch, load_arrays, weights_file

_SAMPLE = PROJECT_ROOT / "samples" / "tears_of_steel_battle.mp4"
_FRAMES = 260
_DETECTOR = "transnetv2"
#: What is computed once for several tests is computed by one process.
pytestmark = pytest.mark.xdist_group("byte network")
able = pytest.mark.skipif(
    not (transnetv2_ways.has_byte_instructions() and transnetv2_ways.has_openvino()),
    reason="this processor has no VNNI, or OpenVINO is not for it: torch runs the network here",
)


class _Kept:
    name, frame_size, pixel_format, scale_flags = "kept", (48, 27), "rgb24", "bicubic"

    def __init__(self) -> None:
        self.frames: list[NDArray[np.uint8]] = []

    def feed(self, frames: NDArray[np.uint8]) -> None:
        self.frames.append(frames.copy())

    def finish(self) -> dict[str, NDArray[np.float32]]:
        return {}


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    kept = _Kept()
    stream: ScoreStream = kept
    scoring = ScorePass([stream])
    run(scene_scores(scoring.side_streams), _SAMPLE, scoring.readers())
    return np.concatenate(kept.frames)[:_FRAMES]


@pytest.fixture(scope="module")
def exact(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    stream = TransNetV2Scores(float32=True, both_heads=True)
    stream.feed(frames)
    return np.stack(list(stream.finish().values()), 1)


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network()


def streamed(network: StreamingInt8, frames: NDArray[np.uint8], step: int) -> NDArray[np.float32]:
    parts = [network.push(frames[at : at + step]) for at in range(0, len(frames), step)]
    return np.concatenate([*parts, network.finish()])


@able
def test_in_bytes_the_scores_are_nearly_those_of_float32_and_the_boundaries_the_same(
    frames: NDArray[np.uint8], exact: NDArray[np.float32], network: Network
) -> None:
    ours = streamed(StreamingInt8(network), frames, 64)
    assert ours.shape == exact.shape == (_FRAMES, 2)
    assert np.abs(ours - exact).max() < 0.1
    assert np.abs(ours - exact).mean() < 0.002
    entry = DETECTORS.load(_DETECTOR)
    found = [[one.frame for one in scenes.boundaries({_DETECTOR: one[:, 0]}, entry, entry.default_threshold)] for one in (ours, exact)]
    assert found[0] == found[1]
    assert len(found[0]) > 3


@able
def test_how_frames_come_changes_no_bit_of_a_score(frames: NDArray[np.uint8], network: Network) -> None:
    first, second = (streamed(StreamingInt8(network), frames[:100], step) for step in (64, 17))
    np.testing.assert_array_equal(first, second)


@able
def test_a_video_begins_as_if_its_first_frame_had_always_been_there(frames: NDArray[np.uint8], network: Network) -> None:
    repeated, begun = Convolutions(network), Convolutions(network)
    repeated.run(np.repeat(frames[:1], 100, axis=0))
    begun.begin_with(network.steady.of(frames[0]))
    (top, means), (our_top, our_means) = (one.run(frames[:130]) for one in (repeated, begun))
    for theirs, ours in zip([top, *means], [our_top, *our_means], strict=True):
        assert ours.shape[0] == 130
        assert np.abs(ours - theirs).max() < 0.02 * np.abs(theirs).max()
        np.testing.assert_array_equal(ours[2 * 48 :], theirs[2 * 48 :])


@able
def test_as_many_frames_are_computed_as_the_video_has_and_those_after_it_that_a_score_needs(
    frames: NDArray[np.uint8], network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short clip from a phone must not cost as much as a full batch."""
    seen: list[int] = []
    run = Convolutions.run
    monkeypatch.setattr(Convolutions, "run", lambda self, batch: (seen.append(len(batch)), run(self, batch))[1])
    assert streamed(StreamingInt8(network), frames[:70], 32).shape == (70, 2)
    assert seen == [128, 70 + 25 + 48 - 128]


@able
def test_the_graph_without_rounding_is_the_network_itself(frames: NDArray[np.uint8], exact: NDArray[np.float32]) -> None:
    measured = Rounding.load()
    scales = {place: scale for place, scale in measured.scales.items() if place not in measured.narrowings}
    blocks, last = prepared(load_arrays(weights_file()), Rounding(scales=scales))
    ours = streamed(StreamingInt8(compiled(graph(blocks, last, {}), last, SteadyStates(blocks, {}))), frames, 64)
    # The first frames have repeated frames in reach here, where torch has zeros.
    np.testing.assert_allclose(ours[23:], exact[23:], atol=1e-4)


@able
def test_a_network_keeps_no_weights_that_its_graph_has(network: Network) -> None:
    assert sum(array.nbytes for array in network.last.values()) < 2 << 20


@able
def test_the_channels_that_are_spared_move_no_boundary(frames: NDArray[np.uint8], exact: NDArray[np.float32]) -> None:
    measured = Rounding.load()
    blocks, last = prepared(load_arrays(weights_file()), replace(measured, greatest={}))
    assert [len(block[0].over_picture) for block in blocks] == [16, 32, 64, 64, 112, 112]
    ours = streamed(StreamingInt8(compiled(graph(blocks, last, {}), last, SteadyStates(blocks, {}))), frames, 64)
    assert np.abs(ours - exact)[23:].mean() < 0.002
    np.testing.assert_array_equal(np.flatnonzero(ours[23:, 0] > 0.5), np.flatnonzero(exact[23:, 0] > 0.5))


def test_a_branch_whose_channels_depend_on_fewer_gives_the_same_with_so_many() -> None:
    random = np.random.default_rng(3)
    few, many, given, pictures = 5, 12, 4, 3
    parts = random.normal(size=(few, pictures, 1, 3, 3))
    mixed = random.normal(size=(many, few))
    branch = Branch(
        2,
        over_picture=np.tensordot(mixed, parts, 1).astype(np.float32),
        over_time=random.normal(size=(given, many, 3, 1, 1)).astype(np.float32),
        bias=np.zeros(given, np.float32),
    )
    narrowing = narrowing_of(branch, mixed @ np.diag([5.0, 1, 2, 3, 1]) @ mixed.T, few)
    assert (narrowing.kept.shape, narrowing.added.shape, narrowing.told.shape) == ((few,), (few, many - few), (many - few, few))
    narrow = narrowing.of(branch)
    assert narrow.over_picture.shape == (few, pictures, 1, 3, 3)
    whole, less = (np.einsum("fmtab,mcaij->ftcij", one.over_time, one.over_picture) for one in (branch, narrow))
    np.testing.assert_allclose(less, whole, atol=0.01 * np.abs(whole).max())  # the matrices are kept in 16 bits


@able
def test_a_process_that_only_detects_loads_no_torch_and_nothing_that_reports_to_the_makers_of_openvino() -> None:
    """`import openvino` by itself would send an event to them. Nor has numpy a second thread, which uses processor time while it waits."""
    code = (
        "import os, sys\n"
        "from resources.models.scores.transnetv2 import TransNetV2Scores\n"
        "import numpy\n"
        "print(len(os.listdir('/proc/self/task')))\n"
        "stream = TransNetV2Scores()\n"
        "stream.feed(numpy.zeros((40, 27, 48, 3), numpy.uint8))\n"
        "stream.finish()\n"
        "print([name for name in ('torch', 'openvino_telemetry') if sys.modules.get(name)])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["1", "[]"]


@pytest.mark.parametrize("missing", ["has_openvino", "has_byte_instructions"])
def test_without_openvino_or_the_instructions_torch_runs_it_and_doctor_says_so(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transnetv2_ways, missing, lambda: False)
    monkeypatch.setattr(transnetv2_ways, "_may_have_gpu", lambda: False)
    assert transnetv2_ways.chosen_way() is transnetv2_ways.Way.PROCESSORS
    network, _ = transnetv2_ways.load_network.__wrapped__()()
    assert type(network).__name__ == "StreamingTransNetV2"
    state = DETECTORS.load(_DETECTOR).state
    assert state is not None
    assert "torch" in state()


@able
def test_doctor_says_that_the_network_runs_in_bytes() -> None:
    state = DETECTORS.load(_DETECTOR).state
    assert state is not None
    assert "8-bit integers (OpenVINO" in state()


def test_a_file_of_weights_that_asks_for_anything_but_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({"weights": subprocess.run}, protocol=4))
    with pytest.raises(ModelUnavailableError, match=r"it asks for subprocess\.run"):
        load_arrays(path)
