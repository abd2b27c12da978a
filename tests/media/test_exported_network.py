"""Detectors that are networks in ONNX files, with a small one that is made here: it finds hard cuts and dissolves by comparing pictures."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from huggingface_hub import constants
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from heaters_dagster.domain import scenes
from heaters_dagster.domain.cut_kinds import CutKind
from heaters_dagster.domain.errors import ModelUnavailableError
from heaters_dagster.domain.network_outputs import PerFrame
from heaters_dagster.domain.profiles import scene_scores
from heaters_dagster.settings import load_settings
from resources.media import ffmpeg
from resources.media.side_streams import ScorePass
from resources.models import hub
from resources.models.scores import exported_network
from resources.models.scores.exported_network import ExportedNetwork, NetworkScores, network_detector, weights_of
from tests import media_files

WINDOW, HEIGHT, WIDTH = 32, 18, 32


def small_network() -> bytes:
    """Of pictures (1, 32, 18, 32, 3) from 0 to 1: `cut` and `part` (1, 32), `kinds` (1, 32, 3), all logits."""
    nodes: list[Any] = []
    constants: list[Any] = []

    def value(name: str, numbers: Any, kind: type = np.float32) -> str:
        constants.append(numpy_helper.from_array(np.array(numbers, kind), name))
        return name

    def add(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def shifted(by: int) -> str:
        """The pictures `by` frames later; those at the ends are repeated."""
        places = np.clip(np.arange(WINDOW) + by, 0, WINDOW - 1)
        return add("Gather", ["pictures", value(f"places{by}", places, np.int64)], f"shifted{by}", axis=1)

    def difference(one: str, other: str, name: str) -> str:
        """(1, frames), 0 to 100."""
        apart = add("Abs", [add("Sub", [one, other], f"{name}_sub")], f"{name}_abs")
        mean = add("ReduceMean", [apart, value(f"{name}_axes", [2, 3, 4], np.int64)], f"{name}_mean", keepdims=0)
        return add("Mul", [mean, value(f"{name}_percent", 100.0)], name)

    near, far = difference("pictures", shifted(-1), "near"), difference(shifted(3), shifted(-3), "far")
    jump = add("Sub", [near, value("least_jump", 12.0)], "cut")
    around = add("MaxPool", [add("Unsqueeze", [near, value("one", [1], np.int64)], "near3")], "near_max", kernel_shape=[9], pads=[4, 4])
    beside_cut = add("Relu", [add("Sub", [add("Squeeze", [around, "one"], "near2"), value("calm", 6.0)], "above")], "beside_cut")
    slow = add("Sub", [far, value("least_slow", 5.0)], "slow")
    part = add("Sub", [slow, add("Mul", [beside_cut, value("much", 50.0)], "hidden")], "part")
    nothing = add("Mul", [near, value("zero", 0.0)], "nothing")
    last = value("last", [2], np.int64)
    add("Concat", [add("Unsqueeze", [one, last], f"class_{one}") for one in (nothing, jump, part)], "kinds", axis=2)
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, WINDOW]) for name in ("cut", "part")]
    outputs.append(helper.make_tensor_value_info("kinds", TensorProto.FLOAT, [1, WINDOW, 3]))
    given = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [1, WINDOW, HEIGHT, WIDTH, 3])
    graph = helper.make_graph(nodes, "small", [given], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


MODEL = small_network()
NETWORK = ExportedNetwork(
    name="small",
    file="small.onnx",
    sha256=hashlib.sha256(MODEL).hexdigest(),
    licence="MIT",
    source="tests/media/test_exported_network.py",
    reader=PerFrame(cut="cut", part="part", kinds="kinds", kind_of_class=(None, CutKind.HARD, CutKind.DISSOLVE)),
    width=WIDTH,
    height=HEIGHT,
    window_frames=WINDOW,
    overlap_frames=16,
    scale=(255.0, 255.0, 255.0),
)
DETECTOR = network_detector(NETWORK)


@pytest.fixture(autouse=True)
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of networks, with the small one in it."""
    folder = tmp_path / "networks"
    folder.mkdir()
    (folder / NETWORK.file).write_bytes(MODEL)
    monkeypatch.setenv("HEATERS_NETWORKS", str(folder))
    load_settings.cache_clear()
    exported_network.loaded.cache_clear()
    yield folder
    load_settings.cache_clear()
    exported_network.loaded.cache_clear()


def pictures(seed: int = 1, frames: int = 100) -> NDArray[np.uint8]:
    """Three textures: a hard cut at 30, and a dissolve in which frames 60 to 75 show both."""
    rng = np.random.default_rng(seed)
    shots = [rng.integers(30, 226, (HEIGHT, WIDTH, 3)).astype(np.float64) for _ in range(3)]
    share = np.clip((np.arange(frames) - 59) / 17, 0, 1)[:, None, None, None]
    mixed = np.where(np.arange(frames)[:, None, None, None] < 30, shots[0], shots[1] * (1 - share) + shots[2] * share)
    return (mixed + rng.integers(0, 3, mixed.shape)).astype(np.uint8)


def scored(film: NDArray[np.uint8], steps: Sequence[int] = (37,)) -> dict[str, NDArray[np.float32]]:
    stream = NetworkScores(NETWORK)
    at = turn = 0
    while at < len(film):
        stream.feed(film[at : at + steps[turn % len(steps)]])
        at, turn = at + steps[turn % len(steps)], turn + 1
    return dict(stream.finish())


def test_hard_cuts_and_dissolves_are_found_with_their_kinds_and_ranges() -> None:
    cut, dissolve = scenes.boundaries(scored(pictures()), DETECTOR, DETECTOR.default_threshold)
    assert cut.transition is not None
    assert (cut.frame, cut.transition.kind, cut.transition.frames) == (30, CutKind.HARD, None)
    assert dissolve.transition is not None
    assert dissolve.transition.kind is CutKind.DISSOLVE
    first, last = dissolve.transition.frames or (0, 0)
    assert 57 <= first <= 62
    assert 73 <= last <= 78
    assert 64 <= dissolve.frame <= 71
    assert min(cut.confidence, dissolve.confidence) > 0.9


@pytest.mark.parametrize("frames", [1, 31, 32, 33, 47, 48, 49, 100])
def test_every_frame_has_its_scores_however_the_frames_came(frames: int) -> None:
    film = pictures(frames=frames)
    columns = scored(film)
    assert tuple(columns) == DETECTOR.columns
    assert {len(column) for column in columns.values()} == {frames}
    for steps in ((1,), (0, 50, 7)):
        again = scored(film, steps)
        assert all(np.array_equal(columns[name], again[name]) for name in columns)


def test_scores_do_not_depend_on_where_a_window_ends() -> None:
    """Every place of a cut is found, also in the part that two windows share, and once."""
    for at in range(1, 100, 3):
        film = np.concatenate([np.full((at, HEIGHT, WIDTH, 3), 20, np.uint8), np.full((100 - at, HEIGHT, WIDTH, 3), 220, np.uint8)])
        assert [one.frame for one in scenes.boundaries(scored(film), DETECTOR, 0.5)] == [at]


def test_a_film_through_ffmpeg(tmp_path: Path) -> None:
    """A hard cut at frame 30 and a dissolve of frames 60 to 75, as ffmpeg's xfade makes it."""
    sources = [arg for name in ("smptebars", "rgbtestsrc", "testsrc") for arg in ("-f", "lavfi", "-t", "3", "-i", f"{name}=s=320x180:r=25")]
    joined = "[0]trim=end_frame=30[a];[1]trim=end_frame=46,setpts=PTS-STARTPTS[b];[a][b]concat,settb=1/25[ab];"
    mixed = "[2]trim=end_frame=40,setpts=PTS-STARTPTS,settb=1/25[c];[ab][c]xfade=duration=0.64:offset=2.4"
    film = media_files.ffmpeg([*sources, "-filter_complex", joined + mixed, "-c:v", "libx264", "-crf", "12"], tmp_path / "film.mp4")
    scoring = ScorePass(DETECTOR.open_streams(width=320, height=180))
    ffmpeg.run(scene_scores(scoring.side_streams), film, scoring.readers())
    stored = scenes.decoded(scenes.encoded("small", scoring.finish()))
    found = scenes.boundaries(stored.scores, DETECTOR, 0.5)
    assert [(one.frame if one.transition and one.transition.frames is None else None) for one in found] == [30, None]
    assert abs(found[1].frame - 68) <= 4
    assert found[1].transition is not None
    assert found[1].transition.kind is CutKind.DISSOLVE
    assert len(scenes.cut_list(found, stored.frame_count, 2)) == 3


def test_the_state_names_the_licence_and_where_the_weights_come_from() -> None:
    assert DETECTOR.state is not None
    assert DETECTOR.state() == "small on the processor; its weights: MIT, tests/media/test_exported_network.py"


def test_other_weights_have_other_columns() -> None:
    assert not set(DETECTOR.columns) & set(replace(NETWORK, sha256="0" * 64).columns)


def unavailable(network: ExportedNetwork) -> str:
    stream = NetworkScores(network)
    stream.feed(np.zeros((3, network.height, network.width, 3), np.uint8))
    with pytest.raises(ModelUnavailableError) as told:
        stream.finish()
    return str(told.value)


def test_weights_that_cannot_be_had_are_said_with_what_to_do(networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (networks / NETWORK.file).unlink()
    told = unavailable(NETWORK)
    assert f"The network small needs the file small.onnx. It is not in {networks}." in told
    assert "set HEATERS_NETWORKS to the folder that it is in" in told
    monkeypatch.setattr(hub, "hub_host", lambda: "hub.invalid")
    monkeypatch.setattr(exported_network, "hub_host", lambda: "hub.invalid")
    at_hub = replace(NETWORK, repository="ada/small")
    assert f"It is not in {networks}, and hub.invalid cannot be reached to fetch it from ada/small." in unavailable(at_hub)
    detector = network_detector(at_hub)
    assert detector.state is not None
    with pytest.raises(ImportError, match=r"hub\.invalid cannot be reached"):
        detector.state()


def test_weights_from_the_cache_of_the_hub(networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the hub's own library leaves them, so that a machine without a network finds what was fetched before."""
    revision, cache = "a" * 40, tmp_path / "cache"
    snapshot = cache / "models--ada--small" / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (networks / NETWORK.file).rename(snapshot / NETWORK.file)
    (cache / "models--ada--small" / "refs").mkdir()
    (cache / "models--ada--small" / "refs" / "main").write_text(revision)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    for named in ("main", revision):
        assert weights_of(replace(NETWORK, repository="ada/small", revision=named), networks) == snapshot / NETWORK.file


def test_another_file_than_the_declared_one_is_refused(networks: Path) -> None:
    (networks / NETWORK.file).write_bytes(MODEL + b"\0")
    assert "is not the network small: its SHA-256 is" in unavailable(NETWORK)


def test_a_file_that_is_no_network_is_said_to_be_none(networks: Path) -> None:
    (networks / NETWORK.file).write_bytes(b"no network")
    assert "cannot be loaded" in unavailable(replace(NETWORK, sha256=hashlib.sha256(b"no network").hexdigest()))


def test_a_network_that_is_declared_wrongly() -> None:
    assert "has no output cuts; it has cut, part, kinds" in unavailable(replace(NETWORK, reader=PerFrame(cut="cuts")))
    assert "cannot be run as its detector says" in unavailable(replace(NETWORK, width=64))
    assert "cannot be run as its detector says: kinds has the shape" in unavailable(
        replace(NETWORK, reader=PerFrame(cut="cut", kinds="kinds", kind_of_class=(None,)))
    )


def test_without_onnx_runtime_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'heaters[networks]'" in unavailable(NETWORK)
